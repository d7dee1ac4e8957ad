"""The yardstick itself: it has to refuse what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import TOLERANCES
from .helpers import assert_close, central_difference


@pytest.mark.parametrize("name", TOLERANCES)
def test_assert_close_holds_the_tolerance(name: str) -> None:
    expected = np.array([-4.0, 1e-9, 2.0])
    error = np.array([0.0, 4 * TOLERANCES[name], 0.0])  # of the scale, wherever it stands
    assert_close(expected + 0.9 * error, expected, name)
    with pytest.raises(AssertionError, match="of the scale"):
        assert_close(expected + 1.1 * error, expected, name)


@pytest.mark.parametrize(
    ("actual", "expected", "message"),
    [
        (np.ones((1, 3)), np.ones(3), "shape"),
        (np.ones(3, dtype=int), np.ones(3), "dtype"),
        (np.array([1.0, np.nan]), np.ones(2), "in the result"),
        (np.ones(2), np.array([1.0, np.nan]), "in the expected"),
        (np.full(2, np.inf), np.full(2, np.inf), "infinity"),
        (np.full(2, 1e-30), np.zeros(2), "of the scale"),
        (np.zeros((0, 3)), np.zeros((3, 0)), "shape"),
    ],
)
def test_assert_close_refuses(actual: np.ndarray, expected: np.ndarray, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_close(actual, expected, "float64")


def test_assert_close_takes_empty_arrays_and_zeros() -> None:
    assert_close(np.zeros((0, 3)), np.zeros((0, 3)), "float64")
    assert_close(np.zeros(3), np.zeros(3), "float64")


def test_central_difference(rng: np.random.Generator) -> None:
    array = rng.normal(size=(3, 5))
    before = array.copy()
    gradient = central_difference(lambda a: np.sum(np.sin(a) * a), array)
    assert_close(gradient, np.cos(array) * array + np.sin(array), "finite_difference")
    np.testing.assert_array_equal(array, before)
