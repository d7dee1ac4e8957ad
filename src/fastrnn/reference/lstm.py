"""The long short-term memory cell.

    i = σ(x_t·w_xi + h_{t-1}·w_hi + b_i)        input gate: what of the candidate enters
    f = σ(x_t·w_xf + h_{t-1}·w_hf + b_f)        forget gate: what of the cell state stays
    g = φ(x_t·w_xg + h_{t-1}·w_hg + b_g)        candidate
    o = σ(x_t·w_xo + h_{t-1}·w_ho + b_o)        output gate: what of the cell state is shown
    c_t = f∘c_{t-1} + i∘g
    h_t = o∘φ(c_t)                              y_t = h_t

The four gates stand side by side in this order in w_x (I, 4*H), w_h (H, 4*H) and b (4*H,).  Source: S. Hochreiter and
J. Schmidhuber (1997), with the forget gate of F. Gers, J. Schmidhuber and F. Cummins (2000).
"""

# mypy: allow-redefinition
from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._common import (
    Activation,
    Array,
    SequenceCache,
    activation_named,
    backward_through_time,
    bias_gradient,
    forward_through_time,
    gradient_like,
    step_arguments,
    weight_gradient,
)


class LSTMGradients(NamedTuple):
    """Gradients of a whole sequence, each of the shape of what it belongs to; `db` is None without a bias."""

    dx: Array
    dh0: Array
    dc0: Array
    dw_x: Array
    dw_h: Array
    db: Array | None
    dpeephole: Array | None = None


class LSTMStepGradients(NamedTuple):
    """Gradients of one step, each of the shape of what it belongs to; `db` is None without a bias."""

    dx: Array
    dh_prev: Array
    dc_prev: Array
    dw_x: Array
    dw_h: Array
    db: Array | None


class LSTMStepCache(NamedTuple):
    """What `lstm_step_backward` needs."""

    x_t: Array
    h_prev: Array
    c_prev: Array
    w_x: Array
    w_h: Array
    has_bias: bool
    phi: Activation
    sigma: Activation
    i: Array
    f: Array
    g: Array
    o: Array
    phi_c: Array


def lstm_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    c_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
) -> tuple[Array, Array, LSTMStepCache]:
    """One step of an LSTM.

    Parameters
    ----------
    x_t : array_like
        The input of this step, (B, I), or (I,) for one instance.
    h_prev, c_prev : array_like or None
        Hidden state and cell state before it, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, 4*H), recurrent kernel (H, 4*H), bias (4*H,) or None; gates in the order i, f, g, o.
    activation, recurrent_activation : {"tanh", "sigmoid", "relu", "linear"}
        φ of the candidate and of the cell state on its way to h, σ of the gates.

    Returns
    -------
    h, c : ndarray
        Hidden state, which is also the output, and cell state after the step, (B, H) or (H,).
    cache : LSTMStepCache
        For `lstm_step_backward`.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, or an argument is not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> h, c, cache = reference.lstm_step_forward([7.0], [0.0], [0.6], np.zeros((1, 4)), np.zeros((1, 4)), None)
    >>> c  # every gate is half open, the candidate is 0
    array([0.3])
    """
    states = {"h_prev": h_prev, "c_prev": c_prev}
    x_t, h_prev, c_prev, w_x, w_h, b = step_arguments(x_t, states, w_x, w_h, b, gates=4)
    phi = activation_named("activation", activation)
    sigma = activation_named("recurrent_activation", recurrent_activation)

    a = x_t @ w_x + h_prev @ w_h  # (B, 4*H) = (B, I) · (I, 4*H) + (B, H) · (H, 4*H)
    if b is not None:
        a = a + b
    a_i, a_f, a_g, a_o = np.split(a, 4, axis=-1)  # (B, H) each, as all below
    i = sigma.function(a_i)
    f = sigma.function(a_f)
    g = phi.function(a_g)
    o = sigma.function(a_o)
    c = f * c_prev + i * g
    phi_c = phi.function(c)
    h = o * phi_c
    return h, c, LSTMStepCache(x_t, h_prev, c_prev, w_x, w_h, b is not None, phi, sigma, i, f, g, o, phi_c)


def lstm_step_backward(dh: ArrayLike, dc: ArrayLike | None, cache: LSTMStepCache) -> LSTMStepGradients:
    """Gradients of one step of an LSTM.

    Parameters
    ----------
    dh, dc : array_like
        The gradients of the loss by hidden state and cell state after the step, (B, H) or (H,).  `dc` is what later
        steps say; what h says about c is added here.  None stands for zeros.
    cache : LSTMStepCache
        From `lstm_step_forward`.

    Returns
    -------
    dx, dh_prev, dc_prev, dw_x, dw_h, db : ndarray
        A named tuple; db is None without a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> h, c, cache = reference.lstm_step_forward([7.0], [0.0], [0.6], np.zeros((1, 4)), np.zeros((1, 4)), None)
    >>> reference.lstm_step_backward([0.0], [1.0], cache).dc_prev  # the forget gate is half open
    array([0.5])
    """
    x_t, h_prev, c_prev, w_x, w_h, has_bias, phi, sigma, i, f, g, o, phi_c = cache
    dh = gradient_like("dh", dh, phi_c)
    dc = gradient_like("dc", dc, phi_c)

    do = dh * phi_c  # (B, H), as all gates and states here
    dc = dc + dh * o * phi.derivative(phi_c)
    di = dc * g
    df = dc * c_prev
    dg = dc * i
    da = np.concatenate(  # (B, 4*H)
        [di * sigma.derivative(i), df * sigma.derivative(f), dg * phi.derivative(g), do * sigma.derivative(o)], axis=-1
    )
    return LSTMStepGradients(
        dx=da @ w_x.T,  # (B, I) = (B, 4*H) · (4*H, I)
        dh_prev=da @ w_h.T,  # (B, H) = (B, 4*H) · (4*H, H)
        dc_prev=dc * f,
        dw_x=weight_gradient(x_t, da),  # (I, 4*H) = (I, B) · (B, 4*H)
        dw_h=weight_gradient(h_prev, da),  # (H, 4*H) = (H, B) · (B, 4*H)
        db=bias_gradient(da) if has_bias else None,  # (4*H,)
    )


def lstm_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    c0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    peephole: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    reset_mask: ArrayLike | None = None,
    reverse: bool = False,
    keep_cache: bool = True,
    num_threads: int | None = None,
) -> tuple[Array, SequenceCache]:
    """An LSTM over whole sequences.

    Parameters
    ----------
    x : array_like
        The inputs, (B, T, I), or (T, I) for one instance.
    h0, c0 : array_like or None
        The initial hidden state and cell state, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, 4*H), recurrent kernel (H, 4*H), bias (4*H,) or None; gates in the order i, f, g, o.
    activation, recurrent_activation : {"tanh", "sigmoid", "relu", "linear"}
        φ of the candidate and of the cell state on its way to h, σ of the gates.
    peephole : None
        Not built yet.
    lengths, reset_mask, reverse, keep_cache, num_threads
        As in `rnn_forward`; a reset zeroes both states.

    Returns
    -------
    y : ndarray
        The hidden states after every step, (B, T, H) or (T, H).
    cache : SequenceCache
        For `lstm_backward`; ``cache.h_n`` and ``cache.c_n`` are the states after the last step of each row, ``cache.c``
        is the cell state after every step, (B, T, H) or (T, H).

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, T or I is 0, or an argument is not numeric.
    NotImplementedError
        If peepholes are asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> rng = np.random.default_rng(0)
    >>> x, w_x, w_h, b = rng.normal(size=(4, 9, 3)), rng.normal(size=(3, 20)), rng.normal(size=(5, 20)), np.zeros(20)
    >>> y, cache = reference.lstm_forward(x, None, None, w_x, w_h, b)
    >>> y.shape, cache.h_n.shape, cache.c_n.shape, cache.c.shape
    ((4, 9, 5), (4, 5), (4, 5), (4, 9, 5))
    """
    if peephole is not None:
        raise NotImplementedError("peephole is not built yet")
    step = partial(lstm_step_forward, activation=activation, recurrent_activation=recurrent_activation)
    return forward_through_time(
        step, x, {"h0": h0, "c0": c0}, (w_x, w_h, b), lengths=lengths, reset_mask=reset_mask, reverse=reverse
    )


def lstm_backward(
    dy: ArrayLike | None, cache: SequenceCache, *, dh_n: ArrayLike | None = None, dc_n: ArrayLike | None = None
) -> LSTMGradients:
    """Gradients of an LSTM, by backpropagation through time.

    Parameters
    ----------
    dy : array_like or None
        The gradient of the loss by every output, (B, T, H) or (T, H); ignored past the end of a row.  None for zeros.
    cache : SequenceCache
        From `lstm_forward`.
    dh_n, dc_n : array_like, optional
        The gradients by the final states, (B, H) or (H,).

    Returns
    -------
    dx, dh0, dc0, dw_x, dw_h, db, dpeephole : ndarray
        A named tuple; db is None without a bias, dpeephole without peepholes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> y, cache = reference.lstm_forward(np.ones((9, 3)), None, None, np.ones((3, 20)), np.ones((5, 20)), np.zeros(20))
    >>> gradients = reference.lstm_backward(np.ones((9, 5)), cache)
    >>> gradients.dx.shape, gradients.dc0.shape, gradients.dw_h.shape
    ((9, 3), (5,), (5, 20))
    """
    gradients = backward_through_time(lstm_step_backward, dy, cache, {"dh_n": dh_n, "dc_n": dc_n})
    return LSTMGradients(*gradients)
