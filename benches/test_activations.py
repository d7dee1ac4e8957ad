"""fastrnn.tanh and fastrnn.sigmoid beside NumPy, on arrays that fit in the first, the second and no cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastrnn

from .conftest import note_environment, note_ratio

Array = np.ndarray


def numpy_sigmoid(x: Array, out: Array) -> Array:
    """1 / (1 + exp(-x)) without a temporary array."""
    np.negative(x, out=out)
    np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)


FUNCTIONS: dict[str, dict[str, Callable[..., Array]]] = {
    "tanh": {"fastrnn": fastrnn.tanh, "numpy": np.tanh},
    "sigmoid": {"fastrnn": fastrnn.sigmoid, "numpy": numpy_sigmoid},
}
TOLERANCES = {"float32": 1e-6, "float64": 1e-15}


@pytest.mark.parametrize("implementation", ["fastrnn", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [4_000, 40_000, 4_000_000])
@pytest.mark.parametrize("name", list(FUNCTIONS))
@pytest.mark.benchmark(min_rounds=5, max_time=0.3)
def test_activation(benchmark: Any, name: str, size: int, dtype: str, implementation: str) -> None:
    x = np.random.default_rng(0).normal(scale=2.0, size=size).astype(dtype)
    out = np.empty_like(x)
    x64 = x.astype(np.float64)
    expected = np.tanh(x64) if name == "tanh" else 0.5 * (1 + np.tanh(x64 / 2))
    runs = {key: lambda function=function: function(x, out=out) for key, function in FUNCTIONS[name].items()}
    np.testing.assert_allclose(runs[implementation](), expected, rtol=0, atol=TOLERANCES[dtype])

    benchmark.group = f"{name} {size} {dtype}"
    note_environment(benchmark)
    benchmark(runs[implementation])
    if implementation != "fastrnn" and benchmark.enabled:
        note_ratio(benchmark, implementation, runs[implementation], runs["fastrnn"])
