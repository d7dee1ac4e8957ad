"""The activations with their constants and derivatives."""

# mypy: allow-redefinition
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ._common import Array, finite_number, real_array

Spec: TypeAlias = str | tuple[Any, ...]  # how users say which: a name, or (name, alpha[, beta])


def _floats(x: ArrayLike) -> Array:
    """x as float32 if it is that, otherwise as float64."""
    array = real_array("x", x)
    single = array.dtype.kind == "f" and array.dtype.itemsize == 4
    return array.astype(np.float32 if single else np.float64, copy=False)


def tanh(x: ArrayLike, out: Array | None = None) -> Array:
    """Hyperbolic tangent of every element.

    Parameters
    ----------
    x : array_like
        Any shape; float32 is computed in float32, everything else in float64.
    out : ndarray, optional
        Where to put the result.

    Returns
    -------
    ndarray
        tanh(x), or `out`.

    Examples
    --------
    >>> from fastrnn import reference
    >>> reference.tanh([-1000.0, 0.0, 1000.0])
    array([-1.,  0.,  1.])
    """
    return np.tanh(_floats(x), out=out)


def sigmoid(x: ArrayLike, out: Array | None = None) -> Array:
    """Logistic function of every element, 1 / (1 + exp(-x)), which never overflows.

    Parameters
    ----------
    x : array_like
        Any shape; float32 is computed in float32, everything else in float64.
    out : ndarray, optional
        Where to put the result.

    Returns
    -------
    ndarray
        sigmoid(x), or `out`.

    Notes
    -----
    With e = exp(-abs(x)), which lies between 0 and 1: 1 / (1 + e) on the right of zero, e / (1 + e) on the left.

    Examples
    --------
    >>> from fastrnn import reference
    >>> reference.sigmoid([-1000.0, 0.0, 1000.0])
    array([0. , 0.5, 1. ])
    """
    x = _floats(x)
    e = np.exp(-np.abs(x))
    return np.divide(np.where(x >= 0, np.ones_like(e), e), 1 + e, out=out)


def _expm1_below_zero(a: Array) -> Array:
    """exp(a) - 1 where a is negative, elsewhere 0, so that nothing overflows."""
    return np.expm1(np.minimum(a, 0))


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _normal_distribution(a: Array) -> Array:
    """(1 + erf(a / √2)) / 2, written with the complement because that keeps its digits on the left."""
    return 0.5 * _erfc(-a / math.sqrt(2))


def _normal_density(a: Array) -> Array:
    """exp(-a²/2) / √(2π)."""
    return np.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)


class Kind(NamedTuple):
    """A function y = phi(a), its derivative dy/da in terms of a and y, and the defaults of their constants."""

    function: Callable[..., Array]
    derivative: Callable[..., Array]
    defaults: tuple[float, ...] = ()


KINDS = {
    "tanh": Kind(np.tanh, lambda a, y: 1 - y * y),
    "sigmoid": Kind(sigmoid, lambda a, y: y * (1 - y)),
    "relu": Kind(lambda a: np.maximum(a, 0), lambda a, y: a > 0),
    "linear": Kind(lambda a: a, lambda a, y: np.ones_like(a)),
    "hard_sigmoid": Kind(
        lambda a, alpha, beta: np.clip(alpha * a + beta, 0, 1),
        lambda a, y, alpha, beta: np.where((y > 0) & (y < 1), alpha, 0),
        defaults=(1 / 6, 0.5),
    ),
    "hard_tanh": Kind(lambda a: np.clip(a, -1, 1), lambda a, y: np.abs(a) < 1),
    "softsign": Kind(lambda a: a / (1 + np.abs(a)), lambda a, y: (1 - np.abs(y)) ** 2),
    "softplus": Kind(
        lambda a: np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a))),  # log(1 + exp(a)) without overflow
        lambda a, y: sigmoid(a),
    ),
    "elu": Kind(
        lambda a, alpha: np.where(a > 0, a, alpha * _expm1_below_zero(a)),
        lambda a, y, alpha: np.where(a > 0, 1, alpha * (1 + _expm1_below_zero(a))),
        defaults=(1.0,),
    ),
    "selu": Kind(
        lambda a, alpha, beta: beta * np.where(a > 0, a, alpha * _expm1_below_zero(a)),
        lambda a, y, alpha, beta: beta * np.where(a > 0, 1, alpha * (1 + _expm1_below_zero(a))),
        defaults=(1.6732632423543772, 1.0507009873554805),
    ),
    "leaky_relu": Kind(
        lambda a, alpha: np.where(a > 0, a, alpha * a),
        lambda a, y, alpha: np.where(a > 0, 1, alpha),
        defaults=(0.2,),
    ),
    "thresholded_relu": Kind(
        lambda a, alpha: np.where(a > alpha, a, 0),
        lambda a, y, alpha: a > alpha,
        defaults=(1.0,),
    ),
    "gelu": Kind(
        lambda a: a * _normal_distribution(a),
        lambda a, y: _normal_distribution(a) + a * _normal_density(a),
    ),
    "silu": Kind(lambda a: a * sigmoid(a), lambda a, y: sigmoid(a) + y * (1 - sigmoid(a))),
    "exponential": Kind(np.exp, lambda a, y: y),
    "affine": Kind(
        lambda a, alpha, beta: alpha * a + beta,
        lambda a, y, alpha, beta: np.full_like(a, alpha),
        defaults=(1.0, 0.0),
    ),
    "scaled_tanh": Kind(
        lambda a, alpha, beta: alpha * np.tanh(beta * a),
        lambda a, y, alpha, beta: alpha * beta * (1 - np.tanh(beta * a) ** 2),
        defaults=(1.0, 1.0),
    ),
}


class Activation(NamedTuple):
    """An activation with its constants put in: y = function(a), dy/da = derivative(a, y), in the dtype of a."""

    function: Callable[[Array], Array]
    derivative: Callable[[Array, Array], Array]


def activation_named(argument: str, spec: Any) -> Activation:
    """The activation that a user means by a name or by (name, alpha[, beta]).

    Constants that are left out have their defaults.  `argument` is what error messages call it.
    """
    name, *given = spec if isinstance(spec, tuple) and spec else (spec,)
    if not isinstance(name, str):
        raise TypeError(f"{argument}: expected a name or a tuple (name, alpha[, beta]), got {spec!r}")
    if name not in KINDS:
        raise ValueError(f"{argument}: expected one of {', '.join(map(repr, KINDS))}, got {name!r}")
    function, derivative, defaults = KINDS[name]
    if len(given) > len(defaults):
        most = f"at most {len(defaults)} constants" if defaults else "no constants"
        raise ValueError(f"{argument}: expected {most} with {name!r}, got {spec!r}")
    constants = (*(finite_number(argument, value) for value in given), *defaults[len(given) :])
    return Activation(
        lambda a: function(a, *constants).astype(a.dtype, copy=False),
        lambda a, y: derivative(a, y, *constants).astype(a.dtype, copy=False),
    )


def clipped(phi: Activation, clip: float | None) -> Activation:
    """phi(a clipped to [-clip, clip]); where a is at a limit or beyond it, the gradient is 0.  None: phi itself."""
    if clip is None:
        return phi
    return Activation(
        lambda a: phi.function(np.clip(a, -clip, clip)),
        lambda a, y: np.where(np.abs(a) < clip, phi.derivative(np.clip(a, -clip, clip), y), 0),
    )
