"""The one table of tolerances, and the fixtures that all tests share."""

from __future__ import annotations

import gc
import os

# The products of the reference and of what is compared with are small: threads of NumPy's BLAS would wait for one
# another most of the time, ten times as long on a busy machine.  NumPy reads it when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest

# The largest error a result may have, as a fraction of the largest absolute value of what is expected.
TOLERANCES = {
    "float64": 1e-12,  # two float64 computations of the same thing, as the engine and the reference
    "float32_output": 2e-6,  # a float32 output against the float64 result
    "float32_gradient": 1e-5,  # a float32 gradient against the float64 result
    "finite_difference": 1e-7,  # an analytic gradient against `central_difference`, float64
    "torch": 1e-10,  # against PyTorch, float64
}


@pytest.fixture(scope="module", autouse=True)
def only_own_garbage() -> None:
    """What pytest keeps of thousands of tests, and the packages that earlier ones imported, are no garbage: they would
    be half a second's work for each `gc.collect` that tests of memory call."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every run."""
    return np.random.default_rng(20240607)
