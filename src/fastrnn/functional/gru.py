"""The gated recurrent unit."""

from __future__ import annotations

from typing import NamedTuple, Unpack

from numpy.typing import ArrayLike

from .. import _check
from . import _call
from ._call import Array, Cache
from ._options import Activation, NormsApart


class GRUGradients(NamedTuple):
    """Gradients of a GRU over a sequence, each of the shape of what it belongs to."""

    dx: Array
    dh0: Array
    dw_x: Array
    dw_h: Array
    db: Array | None


class GRUStepGradients(NamedTuple):
    """Gradients of one step of a GRU."""

    dx: Array
    dh_prev: Array
    dw_x: Array
    dw_h: Array
    db: Array | None


def _registered(reset_after: bool) -> str:
    """The name that the registry has for one of the two forms."""
    return "gru" if _check.boolean("reset_after", reset_after) else "gru_reset_before"


def gru_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Activation = "tanh",
    recurrent_activation: Activation = "sigmoid",
    reset_after: bool = True,
    lengths: ArrayLike | None = None,
    reset_mask: ArrayLike | None = None,
    reverse: bool = False,
    keep_cache: bool = True,
    num_threads: int | None = None,
    memory: str | int | None = None,
    last_only: bool = False,
    **options: Unpack[NormsApart],
) -> tuple[Array, Cache]:
    """A gated recurrent unit over a sequence.

    With the gates in the order z, r, n (Keras' layout), b[0] the bias of the input and b[1] that of the recurrence::

        z, r = sigma(x_t · w_x + b[0] + h_{t-1} · w_h + b[1])
        n    = phi(x_t · w_x + b[0] + r ∘ (h_{t-1} · w_h + b[1]))
        h_t  = z ∘ h_{t-1} + (1 - z) ∘ n

    Parameters
    ----------
    x : array_like, (B, T, I) or (T, I)
        The input: a batch of sequences or one.
    h0 : array_like, (B, H) or (H,), or None
        The initial state; None is zero.
    w_x : array_like, (I, 3*H)
        The kernel.
    w_h : array_like, (H, 3*H)
        The recurrent kernel.
    b : array_like, (2, 3*H), or None
        The biases.
    activation, recurrent_activation : str or tuple
        phi and sigma, by name or as ``(name, alpha[, beta])``; docs/options.md lists the names.
    reset_after : bool
        False: the original form, in which the reset gate acts on h_{t-1} before the product; `b` is (3*H,) then.
    lengths, reset_mask, reverse, keep_cache, num_threads, memory, last_only
        As for `rnn_forward`.

    Returns
    -------
    y : ndarray, (B, T, H) or (T, H)
        The state after every step.
    cache : Cache
        For `gru_backward`; ``cache.h_n`` is the final state.
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
    ln_x_gain, ln_h_gain : array_like, (3*H,), optional
        Layer norm (Ba et al., 2016) of each product over all gates, the biases behind it; needs `reset_after`.
    ln_epsilon : float
        Added to layer norm's variances, 1e-3 by default.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape or type; the message names it.

    Notes
    -----
    Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014, version 3.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2, 5, 3))
    >>> w_x, w_h, b = rng.normal(size=(3, 12)), rng.normal(size=(4, 12)), np.zeros((2, 12))
    >>> y, cache = fastrnn.gru_forward(x, None, w_x, w_h, b)
    >>> y.shape
    (2, 5, 4)
    """
    return _call.forward(
        _registered(reset_after), x, {"h0": h0}, w_x, w_h, b, activation=activation,
        recurrent_activation=recurrent_activation,
        lengths=lengths, reset_mask=reset_mask, reverse=reverse, keep_cache=keep_cache,
        num_threads=num_threads, memory=memory, last_only=last_only, options=options,
    )  # fmt: skip


def gru_backward(
    dy: ArrayLike | None, cache: Cache, *, dh_n: ArrayLike | None = None, dgates: ArrayLike | None = None
) -> GRUGradients:
    """Gradients of a GRU over a sequence, by backpropagation through time.

    Parameters
    ----------
    dy : array_like, (B, T, H) or (T, H), or None
        Gradient of the loss by `y`; what it holds past a row's end is ignored. None is zero.
    cache : Cache
        What `gru_forward` returned.
    dh_n : array_like, (B, H) or (H,), optional
        Gradient of the loss by the final state ``cache.h_n``, on top of `dy`.
    dgates : array_like, (B, T, 3*H) or (T, 3*H), optional
        Gradient of the loss by ``cache.gates``.

    Returns
    -------
    GRUGradients
        ``dx, dh0, dw_x, dw_h, db``, each of the shape of what it belongs to; `db` is None if `b` was.  Behind them the
        gradients by the options' parameters, if there were any, named likewise (``dln_gain``).

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2, 5, 3))
    >>> w_x, w_h, b = rng.normal(size=(3, 12)), rng.normal(size=(4, 12)), np.zeros((2, 12))
    >>> y, cache = fastrnn.gru_forward(x, None, w_x, w_h, b)
    >>> fastrnn.gru_backward(y, cache).db.shape
    (2, 12)
    """
    return _call.gradients("gru", GRUGradients, dy, cache, dh_n, dgates=dgates)


def gru_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Activation = "tanh",
    recurrent_activation: Activation = "sigmoid",
    reset_after: bool = True,
    **options: Unpack[NormsApart],
) -> tuple[Array, Cache]:
    """One step of a GRU, for programs that own their loop.

    Parameters
    ----------
    x_t : array_like, (B, I) or (I,)
        The input of this step.
    h_prev : array_like, (B, H) or (H,), or None
        The state before it.
    w_x, w_h, b, activation, recurrent_activation, reset_after
        As for `gru_forward`.

    Returns
    -------
    h : ndarray, (B, H) or (H,)
        The state after it.
    cache : Cache
        For `gru_step_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> h, cache = fastrnn.gru_step_forward(np.ones(3), None, np.ones((3, 6)), np.ones((2, 6)), None)
    >>> h.round(4)
    array([0.0472, 0.0472])
    """
    cache = _call.step_forward(
        _registered(reset_after), x_t, {"h_prev": h_prev}, w_x, w_h, b, activation=activation,
        recurrent_activation=recurrent_activation,
        options=options,
    )  # fmt: skip
    return cache.h_n, cache


def gru_step_backward(dh: ArrayLike, cache: Cache) -> GRUStepGradients:
    """Gradients of one step of a GRU.

    Parameters
    ----------
    dh : array_like, (B, H) or (H,)
        Gradient of the loss by the state after the step.
    cache : Cache
        What `gru_step_forward` returned.

    Returns
    -------
    GRUStepGradients
        ``dx, dh_prev, dw_x, dw_h, db``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> h, cache = fastrnn.gru_step_forward(np.ones(3), None, np.ones((3, 6)), np.ones((2, 6)), None)
    >>> fastrnn.gru_step_backward(np.ones(2), cache).dh_prev.shape
    (2,)
    """
    return _call.step_gradients("gru", GRUStepGradients, dh, cache)
