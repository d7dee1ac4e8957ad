"""What all cells share: arrays and their dtype, activations, and the loop through time forward and backward.

Letters used in shape comments: B rows of the batch, T time steps, I inputs, H hidden units, G gates.
A "·" in a comment is a matrix product, a "∘" a product element by element.
"""

# mypy: allow-redefinition
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

Array: TypeAlias = np.ndarray

# ---------------------------------------------------------------------------------------------------------------------
# Arrays


def float_arrays(*values: ArrayLike | None) -> list[Any]:
    """The values as arrays of one dtype: float32 if every float among them is float32, otherwise float64.

    Integers follow the floats, None stays None, and nothing is copied that has the right dtype already.
    """
    arrays = [None if value is None else np.asarray(value) for value in values]
    for array in arrays:
        if array is not None and array.dtype.kind not in "fiub":
            raise TypeError(f"expected arrays of real numbers, got dtype {array.dtype}")
    floats = [array.dtype for array in arrays if array is not None and array.dtype.kind == "f"]
    dtype = np.float32 if floats and all(kind.itemsize == 4 for kind in floats) else np.float64
    return [None if array is None else array.astype(dtype, copy=False) for array in arrays]


def require_shape(name: str, array: Array, expected: tuple[int, ...], formula: str) -> None:
    """Raise ``ValueError`` unless the array has the expected shape; `formula` says where the sizes come from."""
    if array.shape != expected:
        raise ValueError(f"{name}: expected shape {formula} = {expected}, got {array.shape}")


def hidden_size(w_h: Array) -> int:
    """H, the number of rows of the recurrent kernel."""
    if w_h.ndim != 2:
        raise ValueError(f"w_h: expected 2-D, got {w_h.ndim}-D with shape {w_h.shape}")
    return w_h.shape[0]


def state_or_zeros(name: str, value: Array | None, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """The state itself if it has the shape, zeros if it is None."""
    if value is None:
        return np.zeros(shape, dtype)
    require_shape(name, value, shape, "(B, H)" if len(shape) == 2 else "(H,)")
    return value


def step_arguments(
    x_t: ArrayLike,
    states: dict[str, ArrayLike | None],
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    gates: int,
    bias_rows: int | None = None,
) -> list[Any]:
    """What a step computes with, as arrays of one dtype that fit each other: x_t, the states, w_x, w_h, b.

    x_t is (B, I) or, for one instance, (I,).  A state that is None starts at zero, a bias that is None stays None.
    With `bias_rows` the bias is (bias_rows, G*H), without it (G*H,).
    """
    x_t, w_x, w_h, b, *values = float_arrays(x_t, w_x, w_h, b, *states.values())
    if x_t.ndim not in (1, 2):
        raise ValueError(f"x_t: expected 1-D or 2-D, got {x_t.ndim}-D with shape {x_t.shape}")
    *batch, inputs = x_t.shape
    hidden = hidden_size(w_h)
    require_shape("w_x", w_x, (inputs, gates * hidden), f"(I, {gates}*H)")
    require_shape("w_h", w_h, (hidden, gates * hidden), f"(H, {gates}*H)")
    if b is not None:
        rows = () if bias_rows is None else (bias_rows,)
        formula = f"({gates}*H,)" if bias_rows is None else f"({bias_rows}, {gates}*H)"
        require_shape("b", b, (*rows, gates * hidden), formula)
    named = zip(states, values, strict=True)
    return [x_t, *(state_or_zeros(name, value, (*batch, hidden), x_t.dtype) for name, value in named), w_x, w_h, b]


def gradient_like(name: str, value: ArrayLike | None, like: Array) -> Array:
    """A gradient that came from outside, in the shape and dtype of the array it belongs to; None stands for zeros."""
    if value is None:
        return np.zeros_like(like)
    (gradient,) = float_arrays(value)
    require_shape(name, gradient, like.shape, f"that of {name[1:]}")
    return gradient.astype(like.dtype, copy=False)


def weight_gradient(inputs: Array, dproduct: Array) -> Array:
    """The gradient by w of inputs·w: inputsᵀ·dproduct, where one instance is a batch of one."""
    return np.atleast_2d(inputs).T @ np.atleast_2d(dproduct)  # (I, G*H) = (I, B) · (B, G*H)


def bias_gradient(dproduct: Array) -> Array:
    """The gradient by b, which every row of the batch shares."""
    return np.atleast_2d(dproduct).sum(axis=0)  # (G*H,)


# ---------------------------------------------------------------------------------------------------------------------
# Activations


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
    (x,) = float_arrays(x)
    return np.tanh(x, out=out)


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
    (x,) = float_arrays(x)
    e = np.exp(-np.abs(x))
    return np.divide(np.where(x >= 0, np.ones_like(e), e), 1 + e, out=out)


class Activation(NamedTuple):
    """A function y = phi(a) and its derivative written with the output, dy/da as a function of y."""

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


ACTIVATIONS = {
    "tanh": Activation(tanh, lambda y: 1 - y * y),
    "sigmoid": Activation(sigmoid, lambda y: y * (1 - y)),
    "relu": Activation(lambda a: np.maximum(a, 0), lambda y: (y > 0).astype(y.dtype)),
    "linear": Activation(lambda a: a, np.ones_like),
}


def activation_named(argument: str, name: str) -> Activation:
    """The activation of that name; `argument` is what the error message calls it."""
    if name not in ACTIVATIONS:
        raise ValueError(f"{argument}: expected one of {', '.join(map(repr, ACTIVATIONS))}, got {name!r}")
    return ACTIVATIONS[name]


# ---------------------------------------------------------------------------------------------------------------------
# Results


class Gradients(NamedTuple):
    """Gradients of a whole sequence, each of the shape of what it belongs to; `db` is None without a bias."""

    dx: Array
    dh0: Array
    dw_x: Array
    dw_h: Array
    db: Array | None


class StepGradients(NamedTuple):
    """Gradients of one step, each of the shape of what it belongs to; `db` is None without a bias."""

    dx: Array
    dh_prev: Array
    dw_x: Array
    dw_h: Array
    db: Array | None


# ---------------------------------------------------------------------------------------------------------------------
# Through time


class Moment(NamedTuple):
    """One step of the loop: the time, the rows of the batch that have this step, and which of them are reset first."""

    t: int
    rows: Array  # (b,) row numbers, b <= B
    reset: Array  # (b,) bool


@dataclass(frozen=True, eq=False)
class SequenceCache:
    """What the backward pass needs, and the states that y does not show.

    Attributes
    ----------
    h_n, c_n : ndarray or None
        The states after the last true step of each row, (B, H), or (H,) for one instance; `c_n` is None in a cell
        without a cell state.
    c : ndarray or None
        The cell state after every step, (B, T, H) or (T, H), 0 past the end of a row.
    """

    h_n: Array
    c_n: Array | None
    c: Array | None
    _tape: list[tuple[Moment, Any]]
    _x_shape: tuple[int, ...]
    _weight_shapes: tuple[tuple[int, ...] | None, ...]

    @property
    def _final_states(self) -> list[Array]:
        return [self.h_n] if self.c_n is None else [self.h_n, self.c_n]


def _split_shape(x: Array) -> tuple[tuple[int, ...], int, int]:
    """The shape of the inputs as (B,) or (), T and I."""
    if x.ndim not in (2, 3):
        raise ValueError(f"x: expected 2-D or 3-D, got {x.ndim}-D with shape {x.shape}")
    *batch, steps, inputs = x.shape
    if steps == 0 or inputs == 0:
        raise ValueError(f"x: expected at least one time step and one input, got shape {x.shape}")
    return tuple(batch), steps, inputs


def _row_lengths(lengths: ArrayLike | None, batch: tuple[int, ...], steps: int) -> Array:
    """The number of true steps of each row, (B,); for one instance a number will do."""
    rows = math.prod(batch)
    if lengths is None:
        return np.full(rows, steps)
    lengths = np.asarray(lengths)
    if not batch and lengths.ndim == 0:
        lengths = lengths[np.newaxis]
    require_shape("lengths", lengths, (rows,), "(B,)")
    if not np.isin(lengths, np.arange(steps + 1)).all():
        raise ValueError(f"lengths: expected integers from 0 to {steps}, got {lengths.tolist()}")
    return lengths


def _reset_rows(reset_mask: ArrayLike | None, batch: tuple[int, ...], steps: int) -> Array:
    """True where the state is zeroed before the step, (B, T)."""
    rows = math.prod(batch)
    if reset_mask is None:
        return np.zeros((rows, steps), dtype=bool)
    reset_mask = np.asarray(reset_mask)
    if reset_mask.dtype != np.bool_:
        raise TypeError(f"reset_mask: expected a boolean array, got dtype {reset_mask.dtype}")
    require_shape("reset_mask", reset_mask, (*batch, steps), "(B, T)" if batch else "(T,)")
    return reset_mask.reshape(rows, steps)


def _moments(lengths: Array, reset: Array, reverse: bool) -> Iterator[Moment]:
    """The steps in the order in which they are computed.

    Row r takes part at time t if t < lengths[r].  Running from the last time to the first, it thus enters the loop at
    its own last true step with its state still the initial one: reversal needs nothing but the order of the times.
    """
    steps = reset.shape[1]
    for t in reversed(range(steps)) if reverse else range(steps):
        rows = np.flatnonzero(t < lengths)
        yield Moment(t, rows, reset[rows, t])


def forward_through_time(
    step_forward: Callable[..., Any],
    x: ArrayLike,
    initial_states: dict[str, ArrayLike | None],
    weights: tuple[ArrayLike, ArrayLike, ArrayLike | None],
    *,
    lengths: ArrayLike | None,
    reset_mask: ArrayLike | None,
    reverse: bool,
) -> tuple[Array, SequenceCache]:
    """Run a cell over whole sequences.

    Parameters
    ----------
    step_forward : callable
        ``*states, cache = step_forward(x_t, *states, *weights)``, the first state being the output.
    x : array_like
        (B, T, I), or (T, I) for one instance.
    initial_states : dict
        The cell's states by name, (B, H) or (H,) each, or None for zeros.
    weights : tuple
        w_x, w_h and b, where b may be None.
    lengths, reset_mask, reverse
        As in `rnn_forward`.

    Returns
    -------
    y : ndarray
        (B, T, H) or (T, H).
    cache : SequenceCache
    """
    x, w_x, w_h, b, *values = float_arrays(x, *weights, *initial_states.values())
    batch, steps, inputs = _split_shape(x)
    state_shape = (*batch, hidden_size(w_h))
    named = zip(initial_states, values, strict=True)
    initial = [state_or_zeros(name, value, state_shape, x.dtype) for name, value in named]
    moments = _moments(_row_lengths(lengths, batch, steps), _reset_rows(reset_mask, batch, steps), reverse)

    # From here on one instance is a batch of one.
    rows_in_batch, hidden = math.prod(batch), state_shape[-1]
    sequences = x.reshape(rows_in_batch, steps, inputs)
    states = [np.array(state).reshape(rows_in_batch, hidden) for state in initial]  # copies, the loop writes to them
    histories = [np.zeros((rows_in_batch, steps, hidden), x.dtype) for _ in states]
    tape = []
    for moment in moments:
        t, rows, reset_now = moment
        previous = [state[rows] for state in states]  # copies, because rows are numbers
        for state in previous:
            state[reset_now] = 0
        *new, step_cache = step_forward(sequences[rows, t], *previous, w_x, w_h, b)
        for state, history, value in zip(states, histories, new, strict=True):
            state[rows] = history[rows, t] = value
        tape.append((moment, step_cache))

    h_n, *c_n = [state.reshape(state_shape) for state in states]
    y, *c = [history.reshape(*batch, steps, hidden) for history in histories]
    weight_shapes = tuple(None if weight is None else weight.shape for weight in (w_x, w_h, b))
    return y, SequenceCache(h_n, c_n[0] if c_n else None, c[0] if c else None, tape, x.shape, weight_shapes)


def backward_through_time(
    step_backward: Callable[..., Any],
    dy: ArrayLike | None,
    cache: SequenceCache,
    final_gradients: dict[str, ArrayLike | None],
) -> Sequence[Any]:
    """Run the loop of `forward_through_time` in the opposite direction.

    Parameters
    ----------
    step_backward : callable
        ``dx_t, *dstates, *dweights = step_backward(*dstates, cache)``.
    dy : array_like or None
        The gradient of the loss by every output, of the shape of y; ignored past the end of a row.  None for zeros.
    cache : SequenceCache
        From `forward_through_time`.
    final_gradients : dict
        The gradients by the final states, by name, or None for zeros.

    Returns
    -------
    list
        dx, the gradients by the initial states, dw_x, dw_h, db.
    """
    *batch, steps, inputs = cache._x_shape
    rows_in_batch = math.prod(batch)
    state_shape, dtype = cache.h_n.shape, cache.h_n.dtype
    hidden = state_shape[-1]
    (dy,) = float_arrays(np.zeros((*batch, steps, hidden), dtype) if dy is None else dy)
    require_shape("dy", dy, (*batch, steps, hidden), "(B, T, H)" if batch else "(T, H)")
    finals = zip(final_gradients.items(), cache._final_states, strict=True)
    dfinal = [gradient_like(name, value, state) for (name, value), state in finals]

    # From here on one instance is a batch of one.
    dy = dy.astype(dtype, copy=False).reshape(rows_in_batch, steps, hidden)
    dx = np.zeros((rows_in_batch, steps, inputs), dtype)
    dstates = [np.array(gradient).reshape(rows_in_batch, hidden) for gradient in dfinal]  # copies, as above
    dweights = [None if shape is None else np.zeros(shape, dtype) for shape in cache._weight_shapes]

    for (t, rows, reset_now), step_cache in reversed(cache._tape):
        dstates[0][rows] += dy[rows, t]  # y_t is h_t: what the output says, added to what later steps say
        dx_t, *rest = step_backward(*(dstate[rows] for dstate in dstates), step_cache)
        dx[rows, t] = dx_t
        dprevious, dweights_t = rest[: len(dstates)], rest[len(dstates) :]
        for dstate, dprev in zip(dstates, dprevious, strict=True):
            dprev[reset_now] = 0
            dstate[rows] = dprev
        for total, part in zip(dweights, dweights_t, strict=True):
            if total is not None:
                total += part

    return [dx.reshape(cache._x_shape), *(dstate.reshape(state_shape) for dstate in dstates), *dweights]
