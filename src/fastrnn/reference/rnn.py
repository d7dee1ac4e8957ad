"""The simple recurrent network.

    h_t = φ(x_t·w_x + h_{t-1}·w_h + b)          y_t = h_t

Equations 15-1 and 15-2 of A. Géron, *Hands-On Machine Learning*, chapter "Processing Sequences Using RNNs and CNNs".
"""

# mypy: allow-redefinition
from __future__ import annotations

from functools import partial
from typing import NamedTuple

from numpy.typing import ArrayLike

from ._common import (
    Activation,
    Array,
    Gradients,
    SequenceCache,
    StepGradients,
    activation_named,
    backward_through_time,
    bias_gradient,
    forward_through_time,
    gradient_like,
    step_arguments,
    weight_gradient,
)


class RNNStepCache(NamedTuple):
    """What `rnn_step_backward` needs."""

    x_t: Array
    h_prev: Array
    w_x: Array
    w_h: Array
    has_bias: bool
    phi: Activation
    h: Array


def rnn_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: str = "tanh",
) -> tuple[Array, RNNStepCache]:
    """One step of a simple RNN, h = φ(x_t·w_x + h_prev·w_h + b).

    Parameters
    ----------
    x_t : array_like
        The input of this step, (B, I), or (I,) for one instance.
    h_prev : array_like or None
        The state before it, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, H), recurrent kernel (H, H), bias (H,) or None.
    activation : {"tanh", "sigmoid", "relu", "linear"}
        φ.

    Returns
    -------
    h : ndarray
        The state after the step, which is also its output, (B, H) or (H,).
    cache : RNNStepCache
        For `rnn_step_backward`.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, or an argument is not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> h, cache = reference.rnn_step_forward([1.0, 2.0], [0.5], [[0.1], [0.2]], [[0.3]], [0.0])
    >>> np.allclose(h, np.tanh(0.1 + 0.4 + 0.15))
    True
    """
    x_t, h_prev, w_x, w_h, b = step_arguments(x_t, {"h_prev": h_prev}, w_x, w_h, b, gates=1)
    phi = activation_named("activation", activation)

    a = x_t @ w_x + h_prev @ w_h  # (B, H) = (B, I) · (I, H) + (B, H) · (H, H)
    if b is not None:
        a = a + b
    h = phi.function(a)
    return h, RNNStepCache(x_t, h_prev, w_x, w_h, b is not None, phi, h)


def rnn_step_backward(dh: ArrayLike, cache: RNNStepCache) -> StepGradients:
    """Gradients of one step of a simple RNN.

    Parameters
    ----------
    dh : array_like
        The gradient of the loss by the state after the step, (B, H) or (H,).
    cache : RNNStepCache
        From `rnn_step_forward`.

    Returns
    -------
    dx, dh_prev, dw_x, dw_h, db : ndarray
        A named tuple; db is None without a bias.

    Examples
    --------
    >>> from fastrnn import reference
    >>> h, cache = reference.rnn_step_forward([3.0], [0.5], [[2.0]], [[4.0]], None, activation="linear")
    >>> gradients = reference.rnn_step_backward([1.0], cache)
    >>> gradients.dx, gradients.dh_prev, gradients.dw_x, gradients.dw_h, gradients.db
    (array([2.]), array([4.]), array([[3.]]), array([[0.5]]), None)
    """
    x_t, h_prev, w_x, w_h, has_bias, phi, h = cache
    dh = gradient_like("dh", dh, h)

    da = dh * phi.derivative(h)  # (B, H)
    return StepGradients(
        dx=da @ w_x.T,  # (B, I) = (B, H) · (H, I)
        dh_prev=da @ w_h.T,  # (B, H) = (B, H) · (H, H)
        dw_x=weight_gradient(x_t, da),  # (I, H) = (I, B) · (B, H)
        dw_h=weight_gradient(h_prev, da),  # (H, H) = (H, B) · (B, H)
        db=bias_gradient(da) if has_bias else None,  # (H,)
    )


def rnn_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: str = "tanh",
    lengths: ArrayLike | None = None,
    reset_mask: ArrayLike | None = None,
    reverse: bool = False,
    keep_cache: bool = True,
    num_threads: int | None = None,
) -> tuple[Array, SequenceCache]:
    """A simple RNN over whole sequences.

    Parameters
    ----------
    x : array_like
        The inputs, (B, T, I), or (T, I) for one instance.
    h0 : array_like or None
        The initial state, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, H), recurrent kernel (H, H), bias (H,) or None.
    activation : {"tanh", "sigmoid", "relu", "linear"}
        φ.
    lengths : array_like of int, optional
        The number of true steps of each row, (B,), from 0 to T in any order; for one instance a number.  Past its end
        a row's y is 0 and its inputs are not looked at.
    reset_mask : array_like of bool, optional
        (B, T) or (T,).  Where it is True, the state is zeroed before that step, and no gradient passes.
    reverse : bool
        Run each row from its last true step to its first; y stays in the order of the inputs.
    keep_cache, num_threads
        Ignored; here so that the signature is that of the fast function.

    Returns
    -------
    y : ndarray
        The states after every step, (B, T, H) or (T, H).
    cache : SequenceCache
        For `rnn_backward`; ``cache.h_n`` is the state after the last step of each row.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, T or I is 0, or an argument is not numeric.

    Notes
    -----
    Computes in float32 if every float argument is float32, otherwise in float64.  The cache refers to the weights: do
    not write to them between forward and backward.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> rng = np.random.default_rng(0)
    >>> x, w_x, w_h, b = rng.normal(size=(4, 9, 3)), rng.normal(size=(3, 5)), rng.normal(size=(5, 5)), np.zeros(5)
    >>> y, cache = reference.rnn_forward(x, None, w_x, w_h, b, lengths=[9, 2, 0, 5])
    >>> y.shape, cache.h_n.shape
    ((4, 9, 5), (4, 5))
    >>> np.array_equal(cache.h_n[1], y[1, 1])
    True
    """
    step = partial(rnn_step_forward, activation=activation)
    return forward_through_time(
        step, x, {"h0": h0}, (w_x, w_h, b), lengths=lengths, reset_mask=reset_mask, reverse=reverse
    )


def rnn_backward(dy: ArrayLike | None, cache: SequenceCache, *, dh_n: ArrayLike | None = None) -> Gradients:
    """Gradients of a simple RNN, by backpropagation through time.

    Parameters
    ----------
    dy : array_like or None
        The gradient of the loss by every output, (B, T, H) or (T, H); ignored past the end of a row.  None for zeros.
    cache : SequenceCache
        From `rnn_forward`.
    dh_n : array_like, optional
        The gradient by the final state, (B, H) or (H,).

    Returns
    -------
    dx, dh0, dw_x, dw_h, db : ndarray
        A named tuple; db is None without a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> y, cache = reference.rnn_forward(np.ones((9, 3)), None, np.ones((3, 5)) / 3, np.eye(5), np.zeros(5))
    >>> gradients = reference.rnn_backward(np.ones((9, 5)), cache)
    >>> gradients.dx.shape, gradients.dh0.shape, gradients.dw_h.shape
    ((9, 3), (5,), (5, 5))
    """
    return Gradients(*backward_through_time(rnn_step_backward, dy, cache, {"dh_n": dh_n}))
