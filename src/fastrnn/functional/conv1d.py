"""Convolutions along time."""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import ArrayLike

from .. import _check, _convolution, _engine, _threads
from ._call import Array
from ._options import Activation
from ._windows import padding_steps, window_count

__all__ = ["Conv1DCache", "Conv1DGradients", "conv1d_backward", "conv1d_forward"]

Conv1DCache = _convolution.Cache


class Conv1DGradients(NamedTuple):
    """Gradients of a convolution, each of the shape of what it belongs to."""

    dx: Array
    dw: Array
    db: Array | None


def conv1d_forward(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None,
    *,
    strides: int = 1,
    padding: str | tuple[int, int] = "valid",
    dilation_rate: int = 1,
    groups: int = 1,
    activation: Activation | None = None,
    num_threads: int | None = None,
) -> tuple[Array, Conv1DCache]:
    """A convolution along time.

    With x_p the input padded with zeros, K taps, s the stride and d the dilation rate::

        y[o] = phi(b + x_p[o·s] · w[0] + x_p[o·s + d] · w[1] + ... + x_p[o·s + (K-1)·d] · w[K-1])

    Parameters
    ----------
    x : array_like, (B, T, C) or (T, C)
        The input: a batch of sequences or one.
    w : array_like, (K, C/groups, F)
        The kernel: taps, channels that a filter sees, filters.
    b : array_like, (F,), or None
        The bias.
    strides : int
        Steps from one window to the next.
    padding : {"valid", "same", "causal"} or (int, int)
        "valid": none. "same": as many outputs as steps, ceil(T/strides) of them, the padding shared between both ends
        (the end gets more). "causal": all of it before the first step, so that output o sees nothing behind step
        o·strides. A tuple gives the steps of padding before and behind the sequence.
    dilation_rate : int
        Steps from one tap to the next.
    groups : int
        Channels and filters are cut into so many groups of neighbours, and a filter sees the channels of its group.
    activation : str or tuple, optional
        phi; None is linear.
    num_threads : int, optional
        Threads to use at most; None is what `fastrnn.set_num_threads` was told.

    Returns
    -------
    y : ndarray, (B, T', F) or (T', F)
        T' is the number of windows, (T + padding - (K-1)·dilation_rate - 1) // strides + 1.
    cache : Conv1DCache
        For `conv1d_backward`. It refers to x, w and y, it does not copy them: don't change them in place before the
        backward pass.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape or type, or the sequence is shorter than a window; the message names it.

    Notes
    -----
    A row gives the same bits alone and in any batch, for any number of threads. Stride and dilation may be combined.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> x = np.arange(6.0)[:, None]
    >>> mean_of_two = np.full((2, 1, 1), 0.5)
    >>> y, cache = fastrnn.conv1d_forward(x, mean_of_two, None)
    >>> y[:, 0]
    array([0.5, 1.5, 2.5, 3.5, 4.5])
    >>> fastrnn.conv1d_forward(x, mean_of_two, None, padding="causal", strides=2)[0][:, 0]
    array([0. , 1.5, 3.5])
    """
    phi = _check.activation("activation", "linear" if activation is None else activation, _engine.ACTIVATIONS)
    strides = _check.integer("strides", strides, 1, 2**31)
    dilation_rate = _check.integer("dilation_rate", dilation_rate, 1, 2**31)
    threads = _threads.threads_for(num_threads)
    x, w, b, groups, single_instance = _check.convolution_arguments(x, w, b, groups)
    time, span = x.shape[1], (w.shape[0] - 1) * dilation_rate + 1
    left, right = padding_steps(padding, time, span, strides)
    outputs = window_count(time, span, strides, left, right)
    if outputs == 0:
        raise ValueError(f"x: expected at least the {span - left - right} steps of a window, got {time}")
    return _convolution.forward(x, w, b, outputs, strides, dilation_rate, left, groups, phi, single_instance, threads)


def conv1d_backward(dy: ArrayLike, cache: Conv1DCache) -> Conv1DGradients:
    """Gradients of a convolution along time.

    Parameters
    ----------
    dy : array_like, (B, T', F) or (T', F)
        Gradient of the loss by `y`.
    cache : Conv1DCache
        What `conv1d_forward` returned.

    Returns
    -------
    Conv1DGradients
        ``dx, dw, db``, each of the shape of what it belongs to; `db` is None if `b` was.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> y, cache = fastrnn.conv1d_forward(np.ones((6, 1)), np.full((2, 1, 1), 0.5), None)
    >>> dx, dw, db = fastrnn.conv1d_backward(np.ones_like(y), cache)
    >>> dx[:, 0], dw[:, 0, 0], db
    (array([0.5, 1. , 1. , 1. , 1. , 0.5]), array([5., 5.]), None)
    """
    if not isinstance(cache, Conv1DCache):
        raise TypeError(f"cache: expected the cache that conv1d_forward returned, got {type(cache).__name__}")
    single = cache.single_instance
    shape, formula = (cache.y_shape[1:], "(T', F)") if single else (cache.y_shape, "(B, T', F)")
    given = _check.require_shape("dy", _check.as_real_array("dy", dy), shape, formula)
    dy = _check.as_float_array("dy", given, cache.x.dtype).reshape(cache.y_shape)
    return Conv1DGradients(*_convolution.backward(cache, dy, cache.num_threads))
