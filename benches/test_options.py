"""Options beside the plain cell: no more than they may cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .conftest import note_environment
from .options import OPTIONS, SHAPES, cost, training_step

ROWS = [
    (layer, title) for title, option in OPTIONS.items() for layer in option.layers if layer in ("LSTM", "GRU")
]  # the rows of small cells are in the table alone


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize(("layer", "title"), ROWS, ids=lambda part: part.split(",")[0])
@pytest.mark.benchmark(min_rounds=5, max_time=0.5)
def test_option(benchmark: Any, layer: str, title: str, shape: tuple[int, int, int, int]) -> None:
    option = OPTIONS[title]
    masks = option.masks(np.random.default_rng(1), shape[0], shape[1])
    run = training_step(layer, shape, option.keywords, masks)
    dx, grads, _ = run()
    assert np.isfinite(dx).all() and all(np.isfinite(gradient).all() for gradient in grads.values())
    benchmark.group = f"{layer} forward+backward {shape}"
    note_environment(benchmark)
    benchmark(run)
    if benchmark.enabled:
        ratio = cost(layer, option, shape, seconds=1.0)
        benchmark.extra_info["option / plain"] = round(ratio, 3)
        assert option.at_most is None or ratio <= option.at_most
