"""Activations on any array."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .. import _check, _engine
from ._call import Array


def _activate(name: str, x: ArrayLike, out: Array | None) -> Array:
    array = _check.as_float_array("x", x, _check.float_dtype(x=x))
    if out is None:
        out = np.empty(array.shape, array.dtype)
    elif not isinstance(out, np.ndarray):
        raise TypeError(f"out: expected an ndarray, got {type(out).__name__}")
    elif out.shape != array.shape or out.dtype != array.dtype or not out.flags.carray:
        raise ValueError(
            f"out: expected a writeable C-contiguous {array.dtype} array of shape {array.shape}, "
            f"got {out.dtype} of shape {out.shape}" + ("" if out.flags.writeable else ", read-only")
        )
    elif out is not array and np.may_share_memory(out, array):
        array = array.copy()
    _engine.activate(_engine.ACTIVATIONS[name]["default"], array, out)
    return out


def tanh(x: ArrayLike, out: Array | None = None) -> Array:
    """Hyperbolic tangent of every element, by the kernel that the cells use.

    Parameters
    ----------
    x : array_like
        Any shape; float32 is computed in float32, everything else in float64.
    out : ndarray, optional
        Where to put the result: C-contiguous, of the shape and type of the result; may be `x` itself.

    Returns
    -------
    ndarray
        tanh(x), at most 2 (float32) or 2.5 (float64) units in the last place off; NaN stays NaN.

    Examples
    --------
    >>> import fastrnn
    >>> fastrnn.tanh([-1000.0, 0.0, 1000.0])
    array([-1.,  0.,  1.])
    """
    return _activate("tanh", x, out)


def sigmoid(x: ArrayLike, out: Array | None = None) -> Array:
    """Logistic function 1 / (1 + exp(-x)) of every element, by the kernel that the cells use.

    Parameters
    ----------
    x : array_like
        Any shape; float32 is computed in float32, everything else in float64.
    out : ndarray, optional
        Where to put the result: C-contiguous, of the shape and type of the result; may be `x` itself.

    Returns
    -------
    ndarray
        sigmoid(x), at most 2 (float32) or 2.5 (float64) units in the last place off; NaN stays NaN.

    Examples
    --------
    >>> import fastrnn
    >>> fastrnn.sigmoid([-1000.0, 0.0, 1000.0])
    array([0. , 0.5, 1. ])
    """
    return _activate("sigmoid", x, out)
