"""One step of an LSTM at batch 1 with its weights in fewer bits, beside float32 and PyTorch's dynamic quantisation.

    pytest benches/test_quantised.py --benchmark-only

Such a step waits for its weights: the prediction is bytes of weights by the bandwidth of the cache that holds them,
which the record has as "floor".  I = H, names are <H>-<format>.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastrnn import _engine
from fastrnn import benchmark as bench
from fastrnn._recurrent_stage import RecurrentStage
from fastrnn._session import Loop
from fastrnn.benchmark.probe import Machine

from .conftest import RATIO_SECONDS, note_environment

BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "int8": 8, "torch-float16": 16, "torch-int8": 8}
TOLERANCES = {
    "float32": 1e-6,
    "float16": 2e-3,
    "bfloat16": 1e-2,
    "int8": 2e-2,
    "torch-float16": 2e-3,
    "torch-int8": 5e-2,
}
MACHINE = Machine("float32", 1)


def arrays_of(size: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(size)
    shapes = {"x": (1, size), "w_x": (size, 4 * size), "w_h": (size, 4 * size), "b": (4 * size,)}
    return {name: (rng.normal(size=shape) / np.sqrt(size)).astype("float32") for name, shape in shapes.items()}


def fastrnn_step(arrays: dict[str, np.ndarray], weights: str) -> Callable[[], np.ndarray]:
    """A step from the state that the step before left."""
    tanh, sigmoid = (_engine.ACTIVATIONS[name]["default"] for name in ("tanh", "sigmoid"))
    x, *matrices = arrays.values()
    stored = None if weights == "float32" else weights
    stage = Loop(RecurrentStage(_engine.CELLS["lstm"]["index"], 1, *matrices, tanh, sigmoid, stored=stored))
    out = np.empty((1, x.shape[1]), "float32")
    return lambda: stage.step(x, out)


def torch_step(arrays: dict[str, np.ndarray], weights: str) -> Callable[[], np.ndarray]:
    """The same by nn.LSTM, quantised dynamically, one step at a time."""
    import torch

    torch.set_num_threads(1)
    x, w_x, w_h, b = (torch.from_numpy(array) for array in arrays.values())
    lstm = torch.nn.LSTM(x.shape[1], x.shape[1])
    with torch.no_grad():
        for name, value in zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"), (w_x.T, w_h.T, b), strict=True):
            getattr(lstm, name).copy_(value)
        lstm.bias_hh_l0.zero_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and there is nothing else for LSTMs
        kind = {"torch-float16": torch.float16, "torch-int8": torch.qint8}[weights]
        lstm = torch.ao.quantization.quantize_dynamic(lstm, {torch.nn.LSTM}, dtype=kind)
    state = (torch.zeros(1, 1, x.shape[1]), torch.zeros(1, 1, x.shape[1]))

    def step() -> np.ndarray:
        nonlocal state
        with torch.inference_mode():
            out, state = lstm(x[None], state)
        return out[0].numpy()

    return step


@pytest.mark.parametrize("weights", BITS)
@pytest.mark.parametrize("size", [256, 512, 1024])
@pytest.mark.benchmark(min_rounds=20, max_time=0.5)
def test_quantised_step(benchmark: Any, size: int, weights: str) -> None:
    if weights.startswith("torch") and importlib.util.find_spec("torch") is None:
        pytest.skip("no PyTorch")
    arrays = arrays_of(size)
    make = torch_step if weights.startswith("torch") else fastrnn_step
    exact = fastrnn_step(arrays, "float32")
    run = make(arrays, weights)
    for _ in range(5):
        expected, made = exact().copy(), run()
    assert np.abs(made - expected).max() <= TOLERANCES[weights] * np.abs(expected).max()

    benchmark.group = f"lstm step {size}"
    note_environment(benchmark)
    stored = (arrays["w_x"].size + arrays["w_h"].size) * BITS[weights] // 8
    benchmark.extra_info["megabytes of weights"] = round(stored / 1e6, 2)
    benchmark.extra_info["floor, microseconds"] = round(1e6 * stored / MACHINE.bandwidth(stored), 2)
    benchmark(run)
    if weights != "float32" and benchmark.enabled:
        seconds = bench.time_in_turns({weights: run, "float32": exact}, RATIO_SECONDS)
        benchmark.extra_info["float32 / this"] = round(seconds["float32"] / seconds[weights], 3)
