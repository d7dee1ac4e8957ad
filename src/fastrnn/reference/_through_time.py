"""The loop through time, forward and backward, with all that is the same for every cell.

For every step of every row, in this order:

    states = 0 where the row is reset
    h_new, c_new = cell(x_t∘dropout_mask, h_prev∘recurrent_dropout_mask, h_prev, c_prev)
    h = m∘h_prev + (1 - m)∘h_new                        zoneout; c likewise, with a mask of its own

Dropout with one mask for all steps: Y. Gal and Z. Ghahramani (2016).  Zoneout: D. Krueger et al. (2017).
"""

# mypy: allow-redefinition
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._common import Array, as_batch, as_batch_or_zeros, boolean, one_dtype, real_array, require_shape
from ._step import Cell


class Moment(NamedTuple):
    """One step of the loop: the time, the rows of the batch that have this step, and which of them are reset first."""

    t: int
    rows: Array  # (b,) row numbers, b <= B
    reset: Array  # (b,) bool


class Masks(NamedTuple):
    """The masks of the caller; None where there is none."""

    dropout: Array | None  # (B, I)
    recurrent_dropout: Array | None  # (B, P)
    zoneout: list[Array | None]  # (B, T, H) for every state


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
    _cell: Cell
    _params: dict[str, Array | None]
    _masks: Masks
    _tape: list[tuple[Moment, Any]]
    _sizes: dict[str, int]
    _single: bool
    _dtype: np.dtype


def _masked(value: Array, mask: Array | None, rows: Array) -> Array:
    """value∘mask for some rows of the mask, or the value alone if there is no mask."""
    return value if mask is None else value * mask[rows]  # (b, N) = (b, N) ∘ (b, N)


# ---------------------------------------------------------------------------------------------------------------------
# Checks


def _row_lengths(lengths: ArrayLike | None, sizes: Mapping[str, int], single: bool) -> Array:
    """The number of true steps of each row, (B,); for one instance a number will do."""
    if lengths is None:
        return np.full(sizes["B"], sizes["T"])
    lengths = np.asarray(lengths)
    if single and lengths.ndim == 0:
        lengths = lengths[np.newaxis]
    require_shape("lengths", lengths, "(B,)", sizes)
    if not np.isin(lengths, np.arange(sizes["T"] + 1)).all():
        raise ValueError(f"lengths: expected integers from 0 to {sizes['T']}, got {lengths.tolist()}")
    return lengths


def _reset_rows(reset_mask: ArrayLike | None, sizes: Mapping[str, int], single: bool) -> Array:
    """True where the state is zeroed before the step, (B, T)."""
    if reset_mask is None:
        return np.zeros((sizes["B"], sizes["T"]), dtype=bool)
    reset_mask = np.asarray(reset_mask)
    if reset_mask.dtype != np.bool_:
        raise TypeError(f"reset_mask: expected a boolean array, got dtype {reset_mask.dtype}")
    return as_batch("reset_mask", reset_mask, "T", sizes, single)


def _zoneout_mask(name: str, mask: Array, letter: str, sizes: Mapping[str, int], single: bool) -> Array:
    """How much of a state is held at every step, (B, T, H); a number holds for all."""
    if mask.ndim > 0:
        mask = as_batch(name, mask, f"T{letter}", sizes, single)
    if not ((mask >= 0) & (mask <= 1)).all():
        raise ValueError(f"{name}: expected numbers from 0 to 1, got {mask.min():g} to {mask.max():g}")
    return np.broadcast_to(mask, [sizes["B"], sizes["T"], sizes[letter]])


def _checked_masks(
    given: Mapping[str, ArrayLike | None],
    state_sizes: tuple[str, ...],
    sizes: Mapping[str, int],
    single: bool,
    dtype: np.dtype,
) -> Masks:
    """The masks by the names that the user knows, as arrays that fit: two of dropout, then zoneout of every state."""
    masks = {name: None if mask is None else real_array(name, mask).astype(dtype) for name, mask in given.items()}
    (dropout, recurrent), zoneout = list(masks.items())[:2], list(masks.items())[2:]
    of_dropout = [
        None if mask is None else as_batch(name, mask, letter, sizes, single)
        for (name, mask), letter in ((dropout, "I"), (recurrent, state_sizes[0]))
    ]
    of_zoneout: list[Array | None] = [
        None if mask is None else _zoneout_mask(name, mask, letter, sizes, single)
        for (name, mask), letter in zip(zoneout, state_sizes, strict=True)
    ]
    return Masks(of_dropout[0], of_dropout[1], of_zoneout)


def _moments(lengths: Array, reset: Array, reverse: bool) -> Iterator[Moment]:
    """The steps in the order in which they are computed.

    Row r takes part at time t if t < lengths[r].  Running from the last time to the first, it thus enters the loop at
    its own last true step with its state still the initial one: reversal needs nothing but the order of the times.
    """
    steps = reset.shape[1]
    for t in reversed(range(steps)) if reverse else range(steps):
        rows = np.flatnonzero(t < lengths)
        yield Moment(t, rows, reset[rows, t])


# ---------------------------------------------------------------------------------------------------------------------
# Forward and backward


def forward_through_time(
    make_cell: Callable[..., Cell],
    x: ArrayLike,
    initial_states: Mapping[str, ArrayLike | None],
    params: Mapping[str, ArrayLike | None],
    *,
    lengths: ArrayLike | None,
    reset_mask: ArrayLike | None,
    reverse: bool,
    dropout_mask: ArrayLike | None,
    recurrent_dropout_mask: ArrayLike | None,
    zoneout_masks: Mapping[str, ArrayLike | None],
) -> tuple[Array, SequenceCache]:
    """Run a cell over whole sequences.

    Parameters
    ----------
    make_cell : callable
        Makes the cell of the params, which come by name as arrays of one dtype.
    x : array_like
        (B, T, I), or (T, I) for one instance.
    initial_states : dict
        The cell's states by name, (B, H) or (H,) each, or None for zeros; the first is the output.
    params : dict
        The arrays that all rows and all steps share, by name; None for one that is not there.
    lengths, reset_mask, reverse, dropout_mask, recurrent_dropout_mask
        As in `rnn_forward`.
    zoneout_masks : dict
        The zoneout mask of every state, by the name that the user knows.

    Returns
    -------
    y : ndarray
        (B, T, H) or (T, H).
    cache : SequenceCache
    """
    arrays = one_dtype({"x": x, **initial_states, **params})
    x = arrays["x"]
    if x.ndim not in (2, 3):
        raise ValueError(f"x: expected 2-D or 3-D, got {x.ndim}-D with shape {x.shape}")
    single = x.ndim == 2
    *batch, steps, inputs = x.shape
    if steps == 0 or inputs == 0:
        raise ValueError(f"x: expected at least one time step and one input, got shape {x.shape}")

    shared = {name: arrays[name] for name in params}
    cell = make_cell(**shared)
    sizes = {**cell.check(inputs), "B": 1 if single else batch[0], "T": steps}
    letters = cell.state_sizes
    initial = [
        as_batch_or_zeros(name, arrays[name], letter, sizes, single, x.dtype)
        for name, letter in zip(initial_states, letters, strict=True)
    ]
    given = {"dropout_mask": dropout_mask, "recurrent_dropout_mask": recurrent_dropout_mask, **zoneout_masks}
    masks = _checked_masks(given, letters, sizes, single, x.dtype)
    moments = _moments(
        _row_lengths(lengths, sizes, single), _reset_rows(reset_mask, sizes, single), boolean("reverse", reverse)
    )

    # From here on one instance is a batch of one.
    x = x.reshape(sizes["B"], steps, inputs)
    states = [np.array(state) for state in initial]  # copies, the loop writes to them
    histories = [np.zeros((sizes["B"], steps, state.shape[1]), x.dtype) for state in states]
    tape = []
    for moment in moments:
        t, rows, reset_now = moment
        previous = [state[rows] for state in states]  # copies, because rows are numbers
        for state in previous:
            state[reset_now] = 0
        x_t = _masked(x[rows, t], masks.dropout, rows)
        h_in = _masked(previous[0], masks.recurrent_dropout, rows)
        new, saved = cell.forward(x_t, h_in, *previous)
        new = _zoneout_forward(new, previous, masks.zoneout, rows, t)
        for state, history, value in zip(states, histories, new, strict=True):
            state[rows] = history[rows, t] = value
        tape.append((moment, saved))

    h_n, *c_n = [state[0] if single else state for state in states]
    y, *c = [history[0] if single else history for history in histories]
    return y, SequenceCache(
        h_n, c_n[0] if c_n else None, c[0] if c else None, cell, shared, masks, tape, sizes, single, x.dtype
    )


def backward_through_time(
    cache: SequenceCache, by_step: Mapping[str, ArrayLike | None], by_final: Mapping[str, ArrayLike | None]
) -> dict[str, Array | None]:
    """Run the loop of `forward_through_time` in the opposite direction.

    Parameters
    ----------
    cache : SequenceCache
        From `forward_through_time`.
    by_step : dict
        The gradients of the loss by every state after every step, {"dy": (B, T, H), ...}, None for zeros; ignored past
        the end of a row.
    by_final : dict
        The gradients by the final states, {"dh_n": (B, H), ...}, None for zeros.

    Returns
    -------
    dict
        The gradients by x, by the initial states (h0, ...) and by the params; None by a param that is not there.
    """
    cell, sizes, masks, single, dtype = cache._cell, cache._sizes, cache._masks, cache._single, cache._dtype
    letters = cell.state_sizes
    dhistories = [
        as_batch_or_zeros(name, value, f"T{letter}", sizes, single, dtype)
        for (name, value), letter in zip(by_step.items(), letters, strict=True)
    ]
    dstates = [
        np.array(as_batch_or_zeros(name, value, letter, sizes, single, dtype))  # copies, as above
        for (name, value), letter in zip(by_final.items(), letters, strict=True)
    ]
    dx = np.zeros((sizes["B"], sizes["T"], sizes["I"]), dtype)
    totals = {name: None if value is None else np.zeros_like(value) for name, value in cache._params.items()}

    for (t, rows, reset_now), saved in reversed(cache._tape):
        # What is said of the states after this step: by later steps, and by the loss.
        dafter = [dstate[rows] + history[rows, t] for dstate, history in zip(dstates, dhistories, strict=True)]
        dnew, dheld = _zoneout_backward(dafter, masks.zoneout, rows, t)
        dx_t, dh_in, dprevious, dparams = cell.backward(dnew, saved)
        dx[rows, t] = _masked(dx_t, masks.dropout, rows)
        dprevious[0] = dprevious[0] + _masked(dh_in, masks.recurrent_dropout, rows)
        for dstate, dprev, held in zip(dstates, dprevious, dheld, strict=True):
            dprev = dprev + held
            dprev[reset_now] = 0
            dstate[rows] = dprev
        for name, total in totals.items():
            if total is not None:
                total += dparams[name]

    by_input = {"x": dx, **{f"{name[1]}0": dstate for name, dstate in zip(by_final, dstates, strict=True)}}
    return {**{name: value[0] if single else value for name, value in by_input.items()}, **totals}


def _zoneout_forward(
    new: list[Array], previous: list[Array], zoneout: list[Array | None], rows: Array, t: int
) -> list[Array]:
    """Every state h = m∘h_prev + (1 - m)∘h_new."""
    return [
        h_new if mask is None else mask[rows, t] * h_prev + (1 - mask[rows, t]) * h_new
        for h_new, h_prev, mask in zip(new, previous, zoneout, strict=True)
    ]


def _zoneout_backward(
    dafter: list[Array], zoneout: list[Array | None], rows: Array, t: int
) -> tuple[list[Array], list[Any]]:
    """The gradients by every h_new, and by every h_prev on this way."""
    pairs = list(zip(dafter, zoneout, strict=True))
    dnew = [dh if mask is None else dh * (1 - mask[rows, t]) for dh, mask in pairs]
    dheld = [0 if mask is None else dh * mask[rows, t] for dh, mask in pairs]
    return dnew, dheld
