"""The simple recurrent network."""

from __future__ import annotations

from typing import NamedTuple, Unpack

from numpy.typing import ArrayLike

from . import _call
from ._call import Array, Cache
from ._options import Activation, NormOfSum


class RNNGradients(NamedTuple):
    """Gradients of a simple RNN over a sequence, each of the shape of what it belongs to."""

    dx: Array
    dh0: Array
    dw_x: Array
    dw_h: Array
    db: Array | None


class RNNStepGradients(NamedTuple):
    """Gradients of one step of a simple RNN."""

    dx: Array
    dh_prev: Array
    dw_x: Array
    dw_h: Array
    db: Array | None


def rnn_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Activation = "tanh",
    lengths: ArrayLike | None = None,
    reset_mask: ArrayLike | None = None,
    reverse: bool = False,
    keep_cache: bool = True,
    num_threads: int | None = None,
    memory: str | int | None = None,
    last_only: bool = False,
    **options: Unpack[NormOfSum],
) -> tuple[Array, Cache]:
    """A simple recurrent network over a sequence.

    ``h_t = phi(x_t · w_x + h_{t-1} · w_h + b)``, the textbook's equation 15-2.

    Parameters
    ----------
    x : array_like, (B, T, I) or (T, I)
        The input: a batch of sequences or one.
    h0 : array_like, (B, H) or (H,), or None
        The initial state; None is zero.
    w_x : array_like, (I, H)
        The kernel.
    w_h : array_like, (H, H)
        The recurrent kernel.
    b : array_like, (H,), or None
        The bias.
    activation : str or tuple
        phi, by name or as ``(name, alpha[, beta])``; docs/options.md lists the names.
    lengths : array_like of int, (B,), optional
        The true number of steps of each row, in any order, 0 allowed; `y` is 0 past a row's end.
    reset_mask : array_like of bool, (B, T) or (T,), optional
        True: the state is set to zero before that step.
    reverse : bool
        Run each row from its last true step to its first; `y` stays in the order of `x`.
    keep_cache : bool
        False is for inference: it takes less memory and time, and the cache then holds the final states alone.
    num_threads : int, optional
        The most threads to use, here and in the backward pass; by default what `fastrnn.set_num_threads` was told.
    memory : "sqrt" or int, optional
        Keep states at intervals instead of everything and compute the rest again in the backward pass: the same
        gradients, bit for bit, with memory that grows with the square root of T, in up to 1.5 times the time.  A number
        is a budget in bytes: everything is kept if it fits.
    last_only : bool
        `y` is None: only the final state is wanted.

    Returns
    -------
    y : ndarray, (B, T, H) or (T, H)
        The state after every step.
    cache : Cache
        For `rnn_backward`; ``cache.h_n`` is the final state.
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
    ln_gain, ln_bias : array_like, (H,), optional
        Layer norm (Ba et al., 2016) of the sum of products: ``phi(LN(x_t·w_x + h_{t-1}·w_h + b)∘ln_gain + ln_bias)``.
    ln_epsilon : float
        Added to layer norm's variances, 1e-3 by default.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape or type; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> x = np.array([[1.0], [2.0], [3.0]])
    >>> y, cache = fastrnn.rnn_forward(x, None, [[0.5]], [[0.1]], [0.0])
    >>> y.round(4).ravel()
    array([0.4621, 0.7803, 0.9183])
    >>> bool((cache.h_n == y[-1]).all())
    True
    """
    return _call.forward(
        "rnn", x, {"h0": h0}, w_x, w_h, b, activation=activation, lengths=lengths, reset_mask=reset_mask,
        reverse=reverse, keep_cache=keep_cache,
        num_threads=num_threads, memory=memory, last_only=last_only, options=options,
    )  # fmt: skip


def rnn_backward(
    dy: ArrayLike | None, cache: Cache, *, dh_n: ArrayLike | None = None, dgates: ArrayLike | None = None
) -> RNNGradients:
    """Gradients of a simple RNN over a sequence, by backpropagation through time.

    Parameters
    ----------
    dy : array_like, (B, T, H) or (T, H), or None
        Gradient of the loss by `y`; what it holds past a row's end is ignored. None is zero.
    cache : Cache
        What `rnn_forward` returned.
    dh_n : array_like, (B, H) or (H,), optional
        Gradient of the loss by the final state ``cache.h_n``, on top of `dy`.
    dgates : array_like, (B, T, H) or (T, H), optional
        Gradient of the loss by ``cache.gates``, here phi's values: what zoneout or a leak has not touched yet.

    Returns
    -------
    RNNGradients
        ``dx, dh0, dw_x, dw_h, db``, each of the shape of what it belongs to; `db` is None if `b` was.  Behind them the
        gradients by the options' parameters, if there were any, named likewise (``dln_gain``).

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> x = np.array([[1.0], [2.0], [3.0]])
    >>> y, cache = fastrnn.rnn_forward(x, None, [[0.5]], [[0.1]], [0.0])
    >>> gradients = fastrnn.rnn_backward(np.ones_like(y), cache)
    >>> gradients.dw_x.round(3), gradients.db.round(3)
    (array([[2.082]]), array([1.372]))
    """
    return _call.gradients("rnn", RNNGradients, dy, cache, dh_n, dgates=dgates)


def rnn_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Activation = "tanh",
    **options: Unpack[NormOfSum],
) -> tuple[Array, Cache]:
    """One step of a simple RNN, for programs that own their loop.

    Parameters
    ----------
    x_t : array_like, (B, I) or (I,)
        The input of this step.
    h_prev : array_like, (B, H) or (H,), or None
        The state before it.
    w_x, w_h, b, activation
        As for `rnn_forward`.

    Returns
    -------
    h : ndarray, (B, H) or (H,)
        The state after it.
    cache : Cache
        For `rnn_step_backward`.

    Examples
    --------
    >>> import fastrnn
    >>> h, cache = fastrnn.rnn_step_forward([1.0], None, [[0.5]], [[0.1]], [0.0])
    >>> h.round(4)
    array([0.4621])
    """
    cache = _call.step_forward("rnn", x_t, {"h_prev": h_prev}, w_x, w_h, b, activation=activation, options=options)
    return cache.h_n, cache


def rnn_step_backward(dh: ArrayLike, cache: Cache) -> RNNStepGradients:
    """Gradients of one step of a simple RNN.

    Parameters
    ----------
    dh : array_like, (B, H) or (H,)
        Gradient of the loss by the state after the step.
    cache : Cache
        What `rnn_step_forward` returned.

    Returns
    -------
    RNNStepGradients
        ``dx, dh_prev, dw_x, dw_h, db``.

    Examples
    --------
    >>> import fastrnn
    >>> h, cache = fastrnn.rnn_step_forward([1.0], None, [[0.5]], [[0.1]], [0.0])
    >>> fastrnn.rnn_step_backward([1.0], cache).dx.round(4)
    array([0.3932])
    """
    return _call.step_gradients("rnn", RNNStepGradients, dh, cache)
