"""The one table of tolerances, and the fixtures that all tests share."""

from __future__ import annotations

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


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every run."""
    return np.random.default_rng(20240607)
