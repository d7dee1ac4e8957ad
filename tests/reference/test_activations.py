"""tanh and sigmoid on any array, and every derivative against finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastrnn import reference
from fastrnn.reference._common import ACTIVATIONS

from ..helpers import assert_close, central_difference


def exact_sigmoid(x: float) -> float:
    """In the form that does not lose digits on the left."""
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)


@pytest.mark.parametrize(
    ("function", "exact"), [(reference.tanh, math.tanh), (reference.sigmoid, exact_sigmoid)], ids=["tanh", "sigmoid"]
)
def test_value_by_value(function, exact, rng) -> None:
    x = np.concatenate([rng.normal(size=99) * 10, [0.0, -0.0, 1e-300, -30.0, -600.0, 40.0]])
    for value, result in zip(x, function(x), strict=True):
        assert result == pytest.approx(exact(value), rel=1e-14, abs=0)


@pytest.mark.parametrize("function", [reference.tanh, reference.sigmoid])
def test_far_out_and_not_a_number(function) -> None:
    low = -1.0 if function is reference.tanh else 0.0
    x = np.array([-np.inf, -1e4, 1e4, np.inf, np.nan])
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(function(x.astype(dtype)), np.array([low, low, 1, 1, np.nan], dtype))


@pytest.mark.parametrize("function", [reference.tanh, reference.sigmoid])
def test_shape_dtype_and_out(function, rng) -> None:
    x = rng.normal(size=(3, 4, 5))
    x.flags.writeable = False
    expected = function(x)
    assert expected.shape == x.shape
    out = np.empty_like(expected)
    assert function(x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(function(x[:, ::2].transpose(2, 0, 1)), expected[:, ::2].transpose(2, 0, 1))
    assert function(x.astype(np.float32)).dtype == np.float32
    assert_close(function(x.astype(np.float32)), expected, "float32_output")
    assert function([0, 1]).dtype == np.float64
    assert function(np.zeros((0, 3))).shape == (0, 3)
    assert np.shape(function(0.5)) == ()


@pytest.mark.parametrize("function", [reference.tanh, reference.sigmoid])
def test_out_may_be_the_input(function, rng) -> None:
    x = rng.normal(size=17)
    expected = function(x)
    function(x, out=x)
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_from_the_output(name, rng) -> None:
    function, derivative = ACTIVATIONS[name]
    a = rng.normal(size=31) * 2
    assert np.abs(a).min() > 1e-3  # no kink within reach
    expected = central_difference(lambda shifted: function(shifted).sum(), a)
    assert_close(derivative(function(a)), expected, "finite_difference")
