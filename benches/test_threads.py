"""fastrnn with one thread and with two, in turns: the same bits, and how many times faster."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastrnn

from .conftest import note_environment, note_ratio

SHAPES = [(1, 100, 64, 128), (32, 50, 64, 128), (64, 100, 128, 256), (32, 100, 512, 512), (1, 100, 512, 512)]
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("cell", list(GATES))
@pytest.mark.benchmark(min_rounds=5, max_time=0.5)
def test_two_threads(benchmark: Any, cell: str, shape: tuple[int, int, int, int]) -> None:
    batch, steps, inputs, hidden = shape
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, steps, inputs)).astype("float32")
    w_x = (rng.normal(size=(inputs, GATES[cell] * hidden)) / np.sqrt(inputs)).astype("float32")
    w_h = (rng.normal(size=(hidden, GATES[cell] * hidden)) / np.sqrt(hidden)).astype("float32")
    states = (None, None) if cell == "lstm" else (None,)
    forward, backward = getattr(fastrnn, f"{cell}_forward"), getattr(fastrnn, f"{cell}_backward")

    def train(threads: int) -> tuple[Any, ...]:
        y, cache = forward(x, *states, w_x, w_h, None, num_threads=threads)
        return y, backward(y, cache).dw_h

    for one, two in zip(train(1), train(2), strict=True):
        assert np.array_equal(one, two)
    benchmark.group = f"{cell} forward+backward {shape}"
    note_environment(benchmark)
    benchmark(train, 2)
    if benchmark.enabled:
        note_ratio(benchmark, "one thread", lambda: train(1), lambda: train(2))
