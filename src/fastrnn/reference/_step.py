"""What a cell is, and one step of any cell.

A cell is an object that holds its weights and constants and says how one step is computed, forward and backward.  It
sees a batch, (B, I) and (B, H), never a single instance, and it knows nothing of time.  The state comes to it twice: as
it enters the recurrent product, where recurrent dropout may have zeroed units, and as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ._common import Array, as_batch_or_zeros, one_dtype


class StepBack(NamedTuple):
    """What a step says backward: gradients by all that went into it."""

    dx_t: Array  # (B, I)
    dh_in: Array  # (B, P), by the state on its way into the recurrent product
    dstates: list[Array]  # by every state on all its other ways
    dparams: dict[str, Array | None]  # by the arrays that every row and every step share


class Cell(Protocol):
    """One step of a cell."""

    def check(self, inputs: int) -> dict[str, int]:
        """Raise unless all weights fit each other and I inputs; the sizes by letter, I, H and P."""

    @property
    def state_sizes(self) -> tuple[str, ...]:
        """The letter of the size of every state."""

    def forward(self, x_t: Array, h_in: Array, *states: Array) -> tuple[list[Array], Any]:
        """The new states, of which the first is the output, and what backward needs."""

    def backward(self, dstates: list[Array], saved: Any) -> StepBack:
        """The gradients, from those by the new states."""


@dataclass(frozen=True, eq=False)
class StepCache:
    """What the backward pass of one step needs."""

    _cell: Cell
    _saved: Any
    _params: dict[str, Array | None]
    _sizes: dict[str, int]
    _single: bool
    _dtype: np.dtype


def step_forward(
    make_cell: Callable[..., Cell],
    x_t: ArrayLike,
    states: Mapping[str, ArrayLike | None],
    params: Mapping[str, ArrayLike | None],
) -> tuple[Any, ...]:
    """One step of the cell that `make_cell` makes of the params: the new states, and a cache.

    x_t is (B, I) or, for one instance, (I,), as are the states; a state that is None is zero.
    """
    arrays = one_dtype({"x_t": x_t, **states, **params})
    x = arrays["x_t"]
    if x.ndim not in (1, 2) or x.shape[-1] == 0:
        raise ValueError(f"x_t: expected (B, I) or (I,) with at least one input, got shape {x.shape}")
    single = x.ndim == 1
    shared = {name: arrays[name] for name in params}
    cell = make_cell(**shared)
    sizes = {**cell.check(x.shape[-1]), "B": 1 if single else len(x)}
    previous = [
        as_batch_or_zeros(name, arrays[name], letter, sizes, single, x.dtype)
        for name, letter in zip(states, cell.state_sizes, strict=True)
    ]
    new, saved = cell.forward(x.reshape(sizes["B"], sizes["I"]), previous[0], *previous)
    results = [state[0] if single else state for state in new]
    return (*results, StepCache(cell, saved, shared, sizes, single, x.dtype))


def step_backward(cache: StepCache, **dstates: ArrayLike | None) -> dict[str, Array | None]:
    """Gradients by x, the states before the step (h_prev, ...), and the params."""
    cell, single = cache._cell, cache._single
    given = [
        as_batch_or_zeros(name, value, letter, cache._sizes, single, cache._dtype)
        for (name, value), letter in zip(dstates.items(), cell.state_sizes, strict=True)
    ]
    dx_t, dh_in, dprevious, dparams = cell.backward(given, cache._saved)
    dprevious[0] = dprevious[0] + dh_in
    by_input = {"x": dx_t, **{f"{name[1:]}_prev": d for name, d in zip(dstates, dprevious, strict=True)}}
    by_param = {name: None if value is None else dparams[name] for name, value in cache._params.items()}
    return {**{name: d[0] if single else d for name, d in by_input.items()}, **by_param}
