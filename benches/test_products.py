"""The product behind the weights' gradients, aᵀ·b, beside the BLAS that NumPy brings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastrnn import _kernels

from .conftest import note_environment, note_ratio

# rows, m, n: what the chunks of the table's LSTM rows have
SHAPES = [(100, 1, 96), (256, 20, 96), (256, 64, 512), (256, 128, 512), (256, 256, 1024), (256, 512, 2048)]


@pytest.mark.parametrize("implementation", ["fastrnn", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.benchmark(min_rounds=5, max_time=0.3)
def test_transposed_product(benchmark: Any, shape: tuple[int, int, int], dtype: str, implementation: str) -> None:
    rows, m, n = shape
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(rows, m)).astype(dtype), rng.normal(size=(rows, n)).astype(dtype)
    c = np.zeros((m, n), dtype)
    _kernels.add_gram(a, b, c)
    exact = a.T.astype("float64") @ b.astype("float64")
    assert np.abs(c - exact).max() <= (1e-5 if dtype == "float32" else 1e-13) * np.abs(exact).max()

    runs = {"fastrnn": lambda: _kernels.add_gram(a, b, c), "numpy": lambda: np.matmul(a.T, b, out=c)}
    benchmark.group = f"{shape} {dtype}"
    note_environment(benchmark)
    benchmark(runs[implementation])
    if implementation == "numpy" and benchmark.enabled:
        note_ratio(benchmark, "numpy", runs["numpy"], runs["fastrnn"])
