"""The convolution along time.

    y[o] = φ(b + Σ_k x_p[o·s + k·d]·w[k])

with x_p the input padded with zeros at both ends, s the stride, d the dilation rate, and K taps k.  With groups, that
is done for each group of channels and filters by itself.

A. van den Oord et al., "WaveNet: a generative model for raw audio", 2016, has the causal and dilated form.
"""

# mypy: allow-redefinition
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._activations import Activation, Spec, activation_named
from ._common import Array, one_dtype, real_array, require_shape


class Conv1DCache(NamedTuple):
    """What `conv1d_backward` needs."""

    x_padded: Array  # (B, left + T + right, C)
    left: int
    steps: int
    w: Array
    has_bias: bool
    stride: int
    dilation: int
    groups: int
    phi: Activation
    a: Array  # (B, T', F), what phi is applied to
    y: Array
    single_instance: bool


class Conv1DGradients(NamedTuple):
    """Gradients of a convolution; `db` is None without a bias."""

    dx: Array
    dw: Array
    db: Array | None


def padding_steps(padding: Any, steps: int, span: int, stride: int) -> tuple[int, int]:
    """Steps of padding before and behind a sequence, for windows that span so many steps; "same" as in TensorFlow."""
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return span - 1, 0
    if padding == "same":
        outputs = -(-steps // stride)  # rounded up
        missing = max((outputs - 1) * stride + span - steps, 0)
        return missing // 2, missing - missing // 2
    if isinstance(padding, str):
        raise ValueError(f"padding: expected one of 'valid', 'same', 'causal' or a tuple, got {padding!r}")
    left, right = padding
    return left, right


def conv1d_forward(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None,
    *,
    strides: int = 1,
    padding: str | tuple[int, int] = "valid",
    dilation_rate: int = 1,
    groups: int = 1,
    activation: Spec | None = None,
    num_threads: int | None = None,
) -> tuple[Array, Conv1DCache]:
    """A convolution along time.

    Parameters
    ----------
    x : array_like
        The inputs, (B, T, C), or (T, C) for one instance.
    w, b : array_like
        Kernel (K, C/groups, F), bias (F,) or None.
    strides : int
        s, the steps from one window to the next.
    padding : {"valid", "same", "causal"} or (int, int)
        No padding; the same number of outputs as steps (divided by the stride, rounded up); all padding before the
        first step; or the steps of padding before and behind the sequence.
    dilation_rate : int
        d, the steps from one tap to the next.
    groups : int
        Into how many groups channels and filters are cut.
    activation : {"tanh", "sigmoid", "relu", "linear"} or None
        φ; None is linear.
    num_threads
        Ignored; here so that the signature is that of the fast function.

    Returns
    -------
    y : ndarray
        (B, T', F) or (T', F).
    cache : Conv1DCache
        For `conv1d_backward`.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, the sequence is shorter than a window, or an argument is not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> y, cache = reference.conv1d_forward(np.arange(4.0)[:, None], np.ones((2, 1, 1)), None)
    >>> y[:, 0]
    array([1., 3., 5.])
    """
    x, w, b = one_dtype({"x": x, "w": w, "b": b}).values()
    if x.ndim not in (2, 3):
        raise ValueError(f"x: expected 2-D or 3-D, got {x.ndim}-D with shape {x.shape}")
    if w.ndim != 3 or x.shape[-1] % groups or w.shape[-1] % groups:
        raise ValueError(f"w: expected (K, C/groups, F) for {groups} groups, got shape {w.shape}")
    single_instance = x.ndim == 2
    if single_instance:
        x = x[np.newaxis]
    batch, steps, channels = x.shape
    taps, _, filters = w.shape
    if w.shape[1] != channels // groups:
        raise ValueError(f"w: expected shape (K, C/groups, F) = {(taps, channels // groups, filters)}, got {w.shape}")
    require_shape("b", b, "(F,)", {"F": filters})
    phi = activation_named("activation", "linear" if activation is None else activation)

    span = (taps - 1) * dilation_rate + 1
    left, right = padding_steps(padding, steps, span, strides)
    outputs = (left + steps + right - span) // strides + 1
    if outputs < 1:
        raise ValueError(f"x: expected at least the {span - left - right} steps of a window, got {steps}")

    x_padded = np.pad(x, [(0, 0), (left, right), (0, 0)])
    a = np.zeros((batch, outputs, filters), x.dtype)
    if b is not None:
        a += b
    for tap in range(taps):
        seen = x_padded[:, _seen_by(tap, outputs, strides, dilation_rate)]
        for own_channels, own_filters in _groups(channels, filters, groups):
            # (B, T', F/groups) += (B, T', C/groups) · (C/groups, F/groups)
            a[..., own_filters] += seen[..., own_channels] @ w[tap][:, own_filters]
    y = phi.function(a)
    cache = Conv1DCache(
        x_padded, left, steps, w, b is not None, strides, dilation_rate, groups, phi, a, y, single_instance
    )
    return y[0] if single_instance else y, cache


def conv1d_backward(dy: ArrayLike, cache: Conv1DCache) -> Conv1DGradients:
    """Gradients of a convolution along time.

    Parameters
    ----------
    dy : array_like
        The gradient of the loss by every output, (B, T', F) or (T', F).
    cache : Conv1DCache
        From `conv1d_forward`.

    Returns
    -------
    dx, dw, db : ndarray
        A named tuple; db is None without a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> y, cache = reference.conv1d_forward(np.arange(4.0)[:, None], np.ones((2, 1, 1)), None)
    >>> gradients = reference.conv1d_backward(np.ones((3, 1)), cache)
    >>> gradients.dx[:, 0], gradients.dw[:, 0, 0]
    (array([1., 2., 2., 1.]), array([3., 6.]))
    """
    x_padded, left, steps, w, has_bias, stride, dilation, groups, phi, a, y, single_instance = cache
    shown = y[0] if single_instance else y
    dy = real_array("dy", dy)
    if dy.shape != shown.shape:
        raise ValueError(f"dy: expected shape that of y = {shown.shape}, got {dy.shape}")
    dy = dy.astype(y.dtype, copy=False).reshape(y.shape)
    taps, _, filters = w.shape
    batch, outputs, channels = len(y), y.shape[1], x_padded.shape[-1]

    da = dy * phi.derivative(a, y)  # (B, T', F)
    dx_padded, dw = np.zeros_like(x_padded), np.zeros_like(w)
    for tap in range(taps):
        times = _seen_by(tap, outputs, stride, dilation)
        for own_channels, own_filters in _groups(channels, filters, groups):
            own_da = da[..., own_filters]
            # (B, T', C/groups) += (B, T', F/groups) · (F/groups, C/groups)
            dx_padded[:, times, own_channels] += own_da @ w[tap][:, own_filters].T
            # (C/groups, F/groups) = (C/groups, B·T') · (B·T', F/groups)
            seen = x_padded[:, times, own_channels].reshape(batch * outputs, w.shape[1])
            dw[tap][:, own_filters] = seen.T @ own_da.reshape(batch * outputs, own_da.shape[-1])
    dx = dx_padded[:, left : left + steps]
    db = da.sum(axis=(0, 1)) if has_bias else None
    return Conv1DGradients(dx[0] if single_instance else dx, dw, db)


def _seen_by(tap: int, outputs: int, stride: int, dilation: int) -> slice:
    """The padded steps that a tap of all outputs sees."""
    start = tap * dilation
    return slice(start, start + (outputs - 1) * stride + 1, stride)


def _groups(channels: int, filters: int, groups: int) -> list[tuple[slice, slice]]:
    """The channels and the filters of each group."""
    c, f = channels // groups, filters // groups
    return [(slice(g * c, (g + 1) * c), slice(g * f, (g + 1) * f)) for g in range(groups)]
