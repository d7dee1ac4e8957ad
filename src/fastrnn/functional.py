"""Recurrent cells over whole sequences and over single steps, as functions: the drop-in for a NumPy loop.

Every function takes arrays and gives arrays; a forward function also gives a cache, which the backward function of the same
cell turns into gradients.  The equations stand at the top of ``csrc/cells/<cell>.h`` and, to be read, in
`fastrnn.reference`.

Shapes: B batch, T steps, I inputs, H units, G gates.  A 3-D ``x`` (B, T, I) is a batch, a 2-D ``x`` (T, I) one instance,
whose states are (H,).  Results are float32 if every float argument is float32, otherwise float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _check, _engine
from ._engine import Cache

__all__ = [
    "GRUGradients",
    "GRUStepGradients",
    "LSTMGradients",
    "LSTMStepGradients",
    "RNNGradients",
    "RNNStepGradients",
    "gru_backward",
    "gru_forward",
    "gru_step_backward",
    "gru_step_forward",
    "lstm_backward",
    "lstm_forward",
    "lstm_step_backward",
    "lstm_step_forward",
    "rnn_backward",
    "rnn_forward",
    "rnn_step_backward",
    "rnn_step_forward",
    "sigmoid",
    "tanh",
]

Array = np.ndarray


class RNNGradients(NamedTuple):
    """Gradients of a simple RNN over a sequence, each of the shape of what it belongs to."""

    dx: Array
    dh0: Array
    dw_x: Array
    dw_h: Array
    db: Array | None


class LSTMGradients(NamedTuple):
    """Gradients of an LSTM over a sequence, each of the shape of what it belongs to."""

    dx: Array
    dh0: Array
    dc0: Array
    dw_x: Array
    dw_h: Array
    db: Array | None
    dpeephole: Array | None


class GRUGradients(NamedTuple):
    """Gradients of a GRU over a sequence, each of the shape of what it belongs to."""

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


class LSTMStepGradients(NamedTuple):
    """Gradients of one step of an LSTM."""

    dx: Array
    dh_prev: Array
    dc_prev: Array
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


# ---- what all cells share --------------------------------------------------------------------------------------------


def _bias_rows(cell: str) -> int | None:
    """A cell that sees its two products apart has a bias for each: (2, G*H) instead of (G*H,)."""
    return None if _engine.CELLS[cell]["additive"] else 2


def _codes(cell: str, activation: Any, recurrent_activation: Any) -> tuple[int, int]:
    """The activations as the kernels number them."""
    built = _engine.ACTIVATIONS
    return (
        built[_check.activation("activation", activation, built)],
        built[_check.activation("recurrent_activation", recurrent_activation, built)],
    )


def _forward(
    cell: str,
    x: ArrayLike,
    states: dict[str, ArrayLike | None],
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: str,
    recurrent_activation: str = "sigmoid",
    lengths: ArrayLike | None,
    reset_mask: ArrayLike | None,
    reverse: bool,
    num_threads: int | None,
    options: dict[str, Any],
    keep: bool = True,
) -> tuple[Array, Cache]:
    """Any cell over a sequence."""
    _check.no_options(f"{cell}_forward", options)
    codes = _codes(cell, activation, recurrent_activation)
    reverse = _check.boolean("reverse", reverse)
    if num_threads is not None:
        _check.integer("num_threads", num_threads, 1)
    spec = _engine.CELLS[cell]
    checked = _check.sequence_arguments(
        x, states, w_x, w_h, b, gates=spec["gates"], bias_rows=_bias_rows(cell), lengths=lengths, reset_mask=reset_mask
    )
    h0, c0 = (*checked.states, None)[:2]
    return _engine.forward(
        spec["index"], checked.x, h0, c0, checked.w_x, checked.w_h, checked.b, *codes,
        checked.lengths, checked.reset_mask, reverse, checked.single_instance, keep,
    )  # fmt: skip


def _step_forward(
    cell: str,
    x_t: ArrayLike,
    states: dict[str, ArrayLike | None],
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: str,
    recurrent_activation: str = "sigmoid",
    options: dict[str, Any],
) -> Cache:
    """One step of any cell: a sequence of one step, whose final states are the result."""
    _check.no_options(f"{cell}_step_forward", options)
    codes = _codes(cell, activation, recurrent_activation)
    spec = _engine.CELLS[cell]
    checked = _check.step_arguments(x_t, states, w_x, w_h, b, gates=spec["gates"], bias_rows=_bias_rows(cell))
    h_prev, c_prev = (*checked.states, None)[:2]
    _, cache = _engine.forward(
        spec["index"], checked.x, h_prev, c_prev, checked.w_x, checked.w_h, checked.b, *codes,
        single_instance=checked.single_instance,
    )  # fmt: skip
    cache.is_step = True
    return cache


def _cache_of(cell: str, cache: Any, is_step: bool) -> Cache:
    """The cache itself, if the forward function that belongs to this backward function made it."""
    name = f"{cell}_step_forward" if is_step else f"{cell}_forward"
    if not isinstance(cache, Cache):
        raise TypeError(f"cache: expected the cache that {name} returned, got {type(cache).__name__}")
    if cache.cell_name != cell or bool(cache.is_step) != is_step:
        other = f"{cache.cell_name}_step_forward" if cache.is_step else f"{cache.cell_name}_forward"
        raise ValueError(f"cache: expected one of {name}, got one of {other}")
    return cache


def _backward(
    cell: str, dy: ArrayLike, cache: Any, dh_n: ArrayLike | None, dc_n: ArrayLike | None = None
) -> tuple[Array | None, ...]:
    """dx, dh0, dc0, dw_x, dw_h, db of any cell."""
    cache = _cache_of(cell, cache, is_step=False)
    if cache.single_instance:
        state, state_formula, formula = (cache.units,), "(H,)", "(T, H)"
        shape: tuple[int, ...] = (cache.time, cache.units)
    else:
        state, state_formula, formula = (cache.batch, cache.units), "(B, H)", "(B, T, H)"
        shape = (cache.batch, cache.time, cache.units)
    dy = _check.upstream_gradient("dy", dy, shape, formula, cache.dtype)
    dh_n = _check.upstream_gradient("dh_n", dh_n, state, state_formula, cache.dtype)
    dc_n = _check.upstream_gradient("dc_n", dc_n, state, state_formula, cache.dtype)
    return _engine.backward(cache, dy, dh_n, dc_n)


def _step_backward(cell: str, dh: ArrayLike | None, cache: Any, dc: ArrayLike | None = None) -> tuple[Array | None, ...]:
    """dx, dh_prev, dc_prev, dw_x, dw_h, db of one step of any cell."""
    cache = _cache_of(cell, cache, is_step=True)
    single = cache.single_instance
    shape, formula = ((cache.units,), "(H,)") if single else ((cache.batch, cache.units), "(B, H)")
    dh = _check.upstream_gradient("dh", dh, shape, formula, cache.dtype)
    dc = _check.upstream_gradient("dc", dc, shape, formula, cache.dtype)
    dx, *others = _engine.backward(cache, None, dh, dc)
    return (dx[0] if single else dx[:, 0], *others)


# ---- simple RNN ------------------------------------------------------------------------------------------------------


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
    num_threads: int | None = None,
    **options: Any,
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
    activation : {"tanh", "relu", "sigmoid", "linear"}
        phi.
    lengths : array_like of int, (B,), optional
        The true number of steps of each row, in any order, 0 allowed; `y` is 0 past a row's end.
    reset_mask : array_like of bool, (B, T) or (T,), optional
        True: the state is set to zero before that step.
    reverse : bool
        Run each row from its last true step to its first; `y` stays in the order of `x`.
    num_threads : int, optional
        The most threads to use.  This version computes every sequence in one.

    Returns
    -------
    y : ndarray, (B, T, H) or (T, H)
        The state after every step.
    cache : Cache
        For `rnn_backward`; ``cache.h_n`` is the final state.

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
    array([0.4621, 0.781 , 0.9193])
    >>> bool((cache.h_n == y[-1]).all())
    True
    """
    return _forward(
        "rnn", x, {"h0": h0}, w_x, w_h, b, activation=activation, lengths=lengths, reset_mask=reset_mask,
        reverse=reverse, num_threads=num_threads, options=options,
    )  # fmt: skip


def rnn_backward(dy: ArrayLike, cache: Cache, *, dh_n: ArrayLike | None = None) -> RNNGradients:
    """Gradients of a simple RNN over a sequence, by backpropagation through time.

    Parameters
    ----------
    dy : array_like, (B, T, H) or (T, H)
        Gradient of the loss by `y`; what it holds past a row's end is ignored.
    cache : Cache
        What `rnn_forward` returned.
    dh_n : array_like, (B, H) or (H,), optional
        Gradient of the loss by the final state ``cache.h_n``, on top of `dy`.

    Returns
    -------
    RNNGradients
        ``dx, dh0, dw_x, dw_h, db``, each of the shape of what it belongs to; `db` is None if `b` was.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> x = np.array([[1.0], [2.0], [3.0]])
    >>> y, cache = fastrnn.rnn_forward(x, None, [[0.5]], [[0.1]], [0.0])
    >>> gradients = fastrnn.rnn_backward(np.ones_like(y), cache)
    >>> gradients.dw_x.round(3), gradients.db.round(3)
    (array([[2.182]]), array([1.424]))
    """
    dx, dh0, _, dw_x, dw_h, db = _backward("rnn", dy, cache, dh_n)
    return RNNGradients(dx, dh0, dw_x, dw_h, db)


def rnn_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: str = "tanh",
    **options: Any,
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
    cache = _step_forward("rnn", x_t, {"h_prev": h_prev}, w_x, w_h, b, activation=activation, options=options)
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
    dx, dh_prev, _, dw_x, dw_h, db = _step_backward("rnn", dh, cache)
    return RNNStepGradients(dx, dh_prev, dw_x, dw_h, db)


# ---- LSTM ------------------------------------------------------------------------------------------------------------


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
    num_threads: int | None = None,
    **options: Any,
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
    activation, recurrent_activation : {"tanh", "relu", "sigmoid", "linear"}
        phi and sigma.
    peephole : None
        Peepholes are not built yet.
    lengths, reset_mask, reverse, num_threads
        As for `rnn_forward`; a reset sets the cell state to zero too.

    Returns
    -------
    y : ndarray, (B, T, H) or (T, H)
        h after every step.
    cache : Cache
        For `lstm_backward`; ``cache.h_n`` and ``cache.c_n`` are the final states, ``cache.c`` holds every c_t.

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
    return _forward(
        "lstm", x, {"h0": h0, "c0": c0}, w_x, w_h, b, activation=activation, recurrent_activation=recurrent_activation,
        lengths=lengths, reset_mask=reset_mask, reverse=reverse, num_threads=num_threads,
        options={"peephole": peephole, **options},
    )  # fmt: skip


def lstm_backward(
    dy: ArrayLike, cache: Cache, *, dh_n: ArrayLike | None = None, dc_n: ArrayLike | None = None, dc: None = None
) -> LSTMGradients:
    """Gradients of an LSTM over a sequence, by backpropagation through time.

    Parameters
    ----------
    dy : array_like, (B, T, H) or (T, H)
        Gradient of the loss by `y`; what it holds past a row's end is ignored.
    cache : Cache
        What `lstm_forward` returned.
    dh_n, dc_n : array_like, (B, H) or (H,), optional
        Gradients of the loss by the final states ``cache.h_n`` and ``cache.c_n``, on top of `dy`.
    dc : None
        A gradient by every c_t is not built yet.

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
    if dc is not None:
        raise _check.not_built("lstm_backward(dc=...)", "dc_n takes a gradient by the final cell state")
    return LSTMGradients(*_backward("lstm", dy, cache, dh_n, dc_n), None)


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
    **options: Any,
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
    cache = _step_forward(
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
    return LSTMStepGradients(*_step_backward("lstm", dh, cache, dc))


# ---- GRU -------------------------------------------------------------------------------------------------------------


def gru_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    reset_after: bool = True,
    lengths: ArrayLike | None = None,
    reset_mask: ArrayLike | None = None,
    reverse: bool = False,
    num_threads: int | None = None,
    **options: Any,
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
    activation, recurrent_activation : {"tanh", "relu", "sigmoid", "linear"}
        phi and sigma.
    reset_after : bool
        Only True is built: the reset gate acts behind the recurrent product.
    lengths, reset_mask, reverse, num_threads
        As for `rnn_forward`.

    Returns
    -------
    y : ndarray, (B, T, H) or (T, H)
        The state after every step.
    cache : Cache
        For `gru_backward`; ``cache.h_n`` is the final state.

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
    if not _check.boolean("reset_after", reset_after):
        raise _check.not_built("gru_forward(reset_after=False)", "fastrnn.reference.gru_forward has it")
    return _forward(
        "gru", x, {"h0": h0}, w_x, w_h, b, activation=activation, recurrent_activation=recurrent_activation,
        lengths=lengths, reset_mask=reset_mask, reverse=reverse, num_threads=num_threads, options=options,
    )  # fmt: skip


def gru_backward(dy: ArrayLike, cache: Cache, *, dh_n: ArrayLike | None = None) -> GRUGradients:
    """Gradients of a GRU over a sequence, by backpropagation through time.

    Parameters
    ----------
    dy : array_like, (B, T, H) or (T, H)
        Gradient of the loss by `y`; what it holds past a row's end is ignored.
    cache : Cache
        What `gru_forward` returned.
    dh_n : array_like, (B, H) or (H,), optional
        Gradient of the loss by the final state ``cache.h_n``, on top of `dy`.

    Returns
    -------
    GRUGradients
        ``dx, dh0, dw_x, dw_h, db``, each of the shape of what it belongs to; `db` is None if `b` was.

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
    dx, dh0, _, dw_x, dw_h, db = _backward("gru", dy, cache, dh_n)
    return GRUGradients(dx, dh0, dw_x, dw_h, db)


def gru_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    reset_after: bool = True,
    **options: Any,
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
    if not _check.boolean("reset_after", reset_after):
        raise _check.not_built("gru_step_forward(reset_after=False)", "fastrnn.reference.gru_step_forward has it")
    cache = _step_forward(
        "gru", x_t, {"h_prev": h_prev}, w_x, w_h, b, activation=activation, recurrent_activation=recurrent_activation,
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
    dx, dh_prev, _, dw_x, dw_h, db = _step_backward("gru", dh, cache)
    return GRUStepGradients(dx, dh_prev, dw_x, dw_h, db)


# ---- activations -----------------------------------------------------------------------------------------------------


def _activate(name: str, x: ArrayLike, out: Array | None) -> Array:
    array = _check.as_float_array("x", x, _check.float_dtype(x=x))
    if out is None:
        out = np.empty(array.shape, array.dtype)
    elif not isinstance(out, np.ndarray):
        raise TypeError(f"out: expected an ndarray, got {type(out).__name__}")
    elif out.shape != array.shape or out.dtype != array.dtype or not out.flags.carray:
        raise ValueError(
            f"out: expected a writeable C-contiguous {array.dtype} array of shape {array.shape}, "
            f"got {out.dtype} of shape {out.shape}"
        )
    elif out is not array and np.may_share_memory(out, array):
        array = array.copy()
    _engine.activate(_engine.ACTIVATIONS[name], array, out)
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
        tanh(x), at most 2 units in the last place off; NaN stays NaN.

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
