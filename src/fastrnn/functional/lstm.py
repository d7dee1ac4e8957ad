"""Long short-term memory."""

from __future__ import annotations

from typing import NamedTuple, Unpack

from numpy.typing import ArrayLike

from . import _call
from ._call import Array, Cache
from ._options import Activation, LSTMOptions


class LSTMGradients(NamedTuple):
    """Gradients of an LSTM over a sequence, each of the shape of what it belongs to."""

    dx: Array
    dh0: Array
    dc0: Array
    dw_x: Array
    dw_h: Array
    db: Array | None
    dpeephole: Array | None = None


class LSTMStepGradients(NamedTuple):
    """Gradients of one step of an LSTM."""

    dx: Array
    dh_prev: Array
    dc_prev: Array
    dw_x: Array
    dw_h: Array
    db: Array | None


def lstm_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    c0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Activation = "tanh",
    recurrent_activation: Activation = "sigmoid",
    peephole: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    reset_mask: ArrayLike | None = None,
    reverse: bool = False,
    keep_cache: bool = True,
    num_threads: int | None = None,
    memory: str | int | None = None,
    last_only: bool = False,
    **options: Unpack[LSTMOptions],
) -> tuple[Array, Cache]:
    """A long short-term memory over a sequence.

    With the gates in the order i, f, g, o (Keras' layout)::

        i, f, o = sigma(x_t · w_x + h_{t-1} · w_h + b)
        g       = phi  (x_t · w_x + h_{t-1} · w_h + b)
        c_t = f ∘ c_{t-1} + i ∘ g
        h_t = o ∘ phi(c_t)

    Parameters
    ----------
    x : array_like, (B, T, I) or (T, I)
        The input: a batch of sequences or one.
    h0, c0 : array_like, (B, H) or (H,), or None
        The initial state and cell state; None is zero.
    w_x : array_like, (I, 4*H)
        The kernel.
    w_h : array_like, (H, 4*H)
        The recurrent kernel.
    b : array_like, (4*H,), or None
        The bias.
    activation, recurrent_activation : str or tuple
        phi and sigma, by name or as ``(name, alpha[, beta])``; docs/options.md lists the names.
    peephole : array_like, (3, H), optional
        Weights of the cell state on its way to the gates i and f (which see c_{t-1}) and o (which sees c_t).
    lengths, reset_mask, reverse, keep_cache, num_threads, memory, last_only
        As for `rnn_forward`; a reset sets the cell state to zero too.

    Returns
    -------
    y : ndarray, (B, T, H) or (T, H)
        h after every step.
    cache : Cache
        For `lstm_backward`; ``cache.h_n`` and ``cache.c_n`` are the final states, ``cache.c`` holds every c_t.
        It refers to the weights, it does not copy them: don't change them in place before the backward pass.

    Other Parameters
    ----------------
    clip : float, optional
        Limit of the size of every activation's argument.
    dropout_mask : array_like, (B, I), optional
        What each row's inputs are multiplied by, the same at every step.
    recurrent_dropout_mask : array_like, (B, H), optional
        The same for h_{t-1} on its way into the product (Gal and Ghahramani, 2016).
    zoneout_mask : array_like, (B, T, H), or float, optional
        Share of the old state in the new one, between 0 and 1: ``h_t = m ∘ h_{t-1} + (1 - m) ∘ h_t`` (Krueger et al.,
        2017).  A number is the share of all, as at inference.
    output_activation : str or tuple, optional
        Activation of the cell state on its way to h; by default `activation`.
    w_proj : array_like, (H, P), optional
        Projection of the output (Sak et al., 2014): ``h_t = (o ∘ phi(c_t)) · w_proj``; h is (B, P), w_h (P, 4*H).
    cell_clip : float, optional
        Limit of the cell state's size.
    coupled : bool
        One gate for both: ``f = 1 - i``.
    zoneout_cell_mask : array_like, (B, T, H), or float, optional
        As `zoneout_mask`, for the cell state; h is made of the new cell state (Krueger et al., 2017).
    ln_x_gain, ln_h_gain : array_like, (4*H,), optional
        Layer norm (Ba et al., 2016) of each product over all gates, the bias behind it; and, with
    ln_c_gain, ln_c_bias : array_like, (H,), optional
        of the cell state on its way to h: ``h_t = o ∘ phi(LN(c_t)∘ln_c_gain + ln_c_bias)``.  All four or none.
    ln_epsilon : float
        Added to layer norm's variances, 1e-3 by default.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape or type; the message names it.

    Notes
    -----
    Hochreiter and Schmidhuber, "Long short-term memory", 1997; forget gate by Gers, Schmidhuber and Cummins, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2, 5, 3))
    >>> w_x, w_h, b = rng.normal(size=(3, 16)), rng.normal(size=(4, 16)), np.zeros(16)
    >>> y, cache = fastrnn.lstm_forward(x, None, None, w_x, w_h, b, lengths=[5, 3])
    >>> y.shape, cache.c_n.shape
    ((2, 5, 4), (2, 4))
    >>> y[1, 3:].any()
    np.False_
    """
    return _call.forward(
        "lstm", x, {"h0": h0, "c0": c0}, w_x, w_h, b, activation=activation, recurrent_activation=recurrent_activation,
        lengths=lengths, reset_mask=reset_mask, reverse=reverse, keep_cache=keep_cache,
        num_threads=num_threads, memory=memory, last_only=last_only,
        options={"peephole": peephole, **options} if peephole is not None or options else {},
    )  # fmt: skip


def lstm_backward(
    dy: ArrayLike | None,
    cache: Cache,
    *,
    dh_n: ArrayLike | None = None,
    dc_n: ArrayLike | None = None,
    dc: ArrayLike | None = None,
    dgates: ArrayLike | None = None,
) -> LSTMGradients:
    """Gradients of an LSTM over a sequence, by backpropagation through time.

    Parameters
    ----------
    dy : array_like, (B, T, H) or (T, H), or None
        Gradient of the loss by `y`; what it holds past a row's end is ignored. None is zero.
    cache : Cache
        What `lstm_forward` returned.
    dh_n, dc_n : array_like, (B, H) or (H,), optional
        Gradients of the loss by the final states ``cache.h_n`` and ``cache.c_n``, on top of `dy`.
    dc : array_like, (B, T, H) or (T, H), optional
        Gradient of the loss by every c_t (``cache.c``).
    dgates : array_like, (B, T, 4*H) or (T, 4*H), optional
        Gradient of the loss by ``cache.gates``.

    Returns
    -------
    LSTMGradients
        ``dx, dh0, dc0, dw_x, dw_h, db, dpeephole``, each of the shape of what it belongs to; `db` is None if `b` was,
        `dpeephole` without peepholes.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2, 5, 3))
    >>> w_x, w_h, b = rng.normal(size=(3, 16)), rng.normal(size=(4, 16)), np.zeros(16)
    >>> y, cache = fastrnn.lstm_forward(x, None, None, w_x, w_h, b)
    >>> dx, dh0, dc0, dw_x, dw_h, db, _ = fastrnn.lstm_backward(y, cache)  # the gradient of (y**2).sum() / 2
    >>> dx.shape, dc0.shape, dw_h.shape
    ((2, 5, 3), (2, 4), (4, 16))
    """
    return _call.gradients("lstm", LSTMGradients, dy, cache, dh_n, dc_n, dc, dgates)


def lstm_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    c_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Activation = "tanh",
    recurrent_activation: Activation = "sigmoid",
    **options: Unpack[LSTMOptions],
) -> tuple[Array, Array, Cache]:
    """One step of an LSTM, for programs that own their loop.

    Parameters
    ----------
    x_t : array_like, (B, I) or (I,)
        The input of this step.
    h_prev, c_prev : array_like, (B, H) or (H,), or None
        The states before it.
    w_x, w_h, b, activation, recurrent_activation
        As for `lstm_forward`.

    Returns
    -------
    h, c : ndarray, (B, H) or (H,)
        The states after it.
    cache : Cache
        For `lstm_step_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> h, c, cache = fastrnn.lstm_step_forward(np.ones(3), None, None, np.ones((3, 8)), np.ones((2, 8)), np.zeros(8))
    >>> h.round(4), c.round(4)
    (array([0.7038, 0.7038]), array([0.9479, 0.9479]))
    """
    cache = _call.step_forward(
        "lstm", x_t, {"h_prev": h_prev, "c_prev": c_prev}, w_x, w_h, b, activation=activation,
        recurrent_activation=recurrent_activation, options=options,
    )  # fmt: skip
    return cache.h_n, cache.c_n, cache


def lstm_step_backward(dh: ArrayLike | None, dc: ArrayLike | None, cache: Cache) -> LSTMStepGradients:
    """Gradients of one step of an LSTM.

    Parameters
    ----------
    dh, dc : array_like, (B, H) or (H,), or None
        Gradients of the loss by the states after the step; None is zero.
    cache : Cache
        What `lstm_step_forward` returned.

    Returns
    -------
    LSTMStepGradients
        ``dx, dh_prev, dc_prev, dw_x, dw_h, db``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> h, c, cache = fastrnn.lstm_step_forward(np.ones(3), None, None, np.ones((3, 8)), np.ones((2, 8)), np.zeros(8))
    >>> fastrnn.lstm_step_backward(np.ones(2), None, cache).dx.shape
    (3,)
    """
    return _call.step_gradients("lstm", LSTMStepGradients, dh, cache, dc)
