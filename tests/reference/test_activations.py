"""tanh and sigmoid on any array; every activation by its formula, its derivative by finite differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastrnn import reference
from fastrnn.reference._activations import KINDS, activation_named, clipped

from ..helpers import assert_close, central_difference
from ..options import ACTIVATIONS
from . import literal


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


def away_from_kinks(spec: Any) -> np.ndarray:
    """Arguments on both sides of every kink and bend of an activation, none of them close to one."""
    a = np.linspace(-4.03, 4.03, 101)
    kinks = {"hard_sigmoid": [-3, -2.5, 2, 3, -4 / 3, 2.0], "thresholded_relu": [0.1, 1]}
    kinks = np.array(kinks.get(spec if isinstance(spec, str) else spec[0], [-1, 0, 1]))
    return a[np.abs(a - kinks[:, np.newaxis]).min(axis=0) > 1e-3]


@pytest.mark.parametrize("spec", ACTIVATIONS, ids=str)
def test_derivative(spec: Any) -> None:
    function, derivative = activation_named("activation", spec)
    a = away_from_kinks(spec)
    expected = central_difference(lambda shifted: function(shifted).sum(), a)
    assert_close(derivative(a, function(a)), expected, "finite_difference")


@pytest.mark.parametrize("spec", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("clip", [0.5, 1.7])
def test_clipped(spec: Any, clip: float) -> None:
    phi = activation_named("activation", spec)
    a = away_from_kinks(spec)
    a = a[np.abs(np.abs(a) - clip) > 1e-3]
    function, derivative = clipped(phi, clip)
    np.testing.assert_array_equal(function(a), phi.function(a.clip(-clip, clip)))
    expected = central_difference(lambda shifted: function(shifted).sum(), a)
    assert_close(derivative(a, function(a)), expected, "finite_difference")
    edge = np.array([-clip, clip])
    assert not derivative(edge, function(edge)).any()
    assert clipped(phi, None) is phi


@pytest.mark.parametrize("spec", ACTIVATIONS, ids=str)
def test_scalar_formula(spec: Any) -> None:
    """The formula of the documentation, number by number."""
    a = np.concatenate([away_from_kinks(spec), [0.0, -1.0, 1.0, 3.0, -3.0, 0.1]])
    assert_close(activation_named("activation", spec).function(a), literal.phi(spec)(a), "float64")


@pytest.mark.parametrize("spec", ACTIVATIONS, ids=str)
def test_single_precision(spec: Any) -> None:
    function, derivative = activation_named("activation", spec)
    a = away_from_kinks(spec)
    single = a.astype(np.float32)
    y = function(single)
    assert y.dtype == np.float32 and derivative(single, y).dtype == np.float32
    assert_close(y, function(a), "float32_output")
    assert_close(derivative(single, y), derivative(a, function(a)), "float32_gradient")
    assert function(a[:0]).shape == derivative(a[:0], a[:0]).shape == (0,)


@pytest.mark.parametrize("name", ["softplus", "elu", "selu", "silu", "gelu", "sigmoid", "softsign", "hard_tanh"])
def test_far_out(name: str) -> None:
    """Nothing overflows, and nothing is lost: the warnings of NumPy are errors here."""
    function, derivative = activation_named("activation", name)
    for dtype in (np.float32, np.float64):
        a = np.array([-1e4, -50.0, 50.0, 1e4], dtype)
        y = function(a)
        assert np.isfinite(y).all() and np.isfinite(derivative(a, y)).all()
    a = np.array([-30.0])
    exact = {"softplus": 9.357622968840175e-14, "sigmoid": 9.357622968839299e-14, "gelu": -1.4720e-196}
    if name in exact:
        assert function(a)[0] == pytest.approx(exact[name], rel=1e-4)


def pytorch_has(spec: Any) -> bool:
    """hard_sigmoid and selu without other constants only."""
    return spec[0] in ("elu", "leaky_relu", "thresholded_relu") if isinstance(spec, tuple) else True


@pytest.mark.parametrize("spec", list(filter(pytorch_has, ACTIVATIONS)), ids=str)
def test_pytorch(spec: Any) -> None:
    """Value and derivative, where PyTorch has the function."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    name, *constants = (spec,) if isinstance(spec, str) else spec
    theirs = {
        "tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": f.relu, "linear": lambda a: 1 * a,
        "hard_sigmoid": f.hardsigmoid, "hard_tanh": f.hardtanh, "softsign": f.softsign, "softplus": f.softplus,
        "elu": lambda a: f.elu(a, *constants), "selu": f.selu,
        "leaky_relu": lambda a: f.leaky_relu(a, *(constants or [0.2])),
        "thresholded_relu": lambda a: f.threshold(a, *(constants or [1.0]), 0.0),
        "gelu": f.gelu, "silu": f.silu, "exponential": torch.exp,
        "affine": lambda a: 1 * a, "scaled_tanh": torch.tanh,
    }  # fmt: skip
    function, derivative = activation_named("activation", spec)
    a = away_from_kinks(spec)
    tensor = torch.tensor(a, requires_grad=True)
    y = theirs[name](tensor)
    y.sum().backward()
    assert_close(function(a), y.detach().numpy(), "torch")
    tolerance = "float32_output" if name == "hard_sigmoid" else "torch"  # its 1/6 has single precision on the way back
    assert_close(derivative(a, function(a)), tensor.grad.numpy(), tolerance)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("softmax", ValueError, "activation: expected one of 'tanh', 'sigmoid'"),
        (("softmax", 1.0), ValueError, "activation: expected one of"),
        (("tanh", 1.0), ValueError, "activation: expected no constants with 'tanh'"),
        (("elu", 1.0, 2.0), ValueError, "activation: expected at most 1 constants with 'elu'"),
        (("affine", 1, 2, 3), ValueError, "activation: expected at most 2 constants"),
        (("elu", np.inf), ValueError, "activation: expected a finite number"),
        (("elu", np.nan), ValueError, "activation: expected a finite number"),
        (("elu", "1"), TypeError, "activation: expected a number"),
        (("elu", True), TypeError, "activation: expected a number"),
        (("elu", None), TypeError, "activation: expected a number"),
        ((), TypeError, "activation: expected a name or a tuple"),
        (None, TypeError, "activation: expected a name or a tuple"),
        (np.tanh, TypeError, "activation: expected a name or a tuple"),
        (["tanh"], TypeError, "activation: expected a name or a tuple"),
    ],
)
def test_what_is_no_activation_raises(spec: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        activation_named("activation", spec)


def test_constants_that_are_left_out_have_their_defaults() -> None:
    a = np.linspace(-3, 3, 13)
    for short, full in [
        ("hard_sigmoid", ("hard_sigmoid", 1 / 6, 0.5)), (("hard_sigmoid", 0.2), ("hard_sigmoid", 0.2, 0.5)),
        ("elu", ("elu", 1.0)), ("leaky_relu", ("leaky_relu", 0.2)), ("thresholded_relu", ("thresholded_relu", 1.0)),
        ("selu", ("selu", 1.6732632423543772, 1.0507009873554805)), ("affine", ("affine", 1.0, 0.0)),
        ("scaled_tanh", ("scaled_tanh", 1, 1)), (("tanh",), "tanh"),
    ]:  # fmt: skip
        one, other = (activation_named("activation", spec).function(a) for spec in (short, full))
        np.testing.assert_array_equal(one, other)


def test_every_kind_is_tested() -> None:
    assert {spec if isinstance(spec, str) else spec[0] for spec in ACTIVATIONS} == set(KINDS)
