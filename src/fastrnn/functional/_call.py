"""What the functions of all cells share: from checked arguments to the engine and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _check, _engine, _threads
from .._cache import Cache

Array = np.ndarray


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


def forward(
    cell: str,
    x: Any,
    states: dict[str, ArrayLike | None],
    w_x: Any,
    w_h: Any,
    b: Any,
    *,
    activation: str,
    recurrent_activation: str = "sigmoid",
    lengths: ArrayLike | None,
    reset_mask: ArrayLike | None,
    reverse: bool,
    num_threads: int | None,
    options: dict[str, Any],
    keep_cache: bool = True,
) -> tuple[Array, Cache]:
    """Any cell over a sequence."""
    _check.no_options(f"{cell}_forward", options)
    codes = _codes(cell, activation, recurrent_activation)
    reverse, keep = _check.boolean("reverse", reverse), _check.boolean("keep_cache", keep_cache)
    threads = _threads.threads_for(num_threads)
    spec = _engine.CELLS[cell]
    h0, c0 = (*states.values(), None)[:2]
    if lengths is None and reset_mask is None and _engine.fits(spec["index"], 2, x, h0, c0, w_x, w_h, b):
        single = x.ndim == 2
        return _engine.forward(
            spec["index"], x[None] if single else x, h0, c0, w_x, w_h, b, *codes, None, None, reverse, single, keep,
            threads,
        )  # fmt: skip
    checked = _check.sequence_arguments(
        x, states, w_x, w_h, b, gates=spec["gates"], bias_rows=_bias_rows(cell), lengths=lengths, reset_mask=reset_mask
    )
    h0, c0 = (*checked.states, None)[:2]
    return _engine.forward(
        spec["index"], checked.x, h0, c0, checked.w_x, checked.w_h, checked.b, *codes,
        checked.lengths, checked.reset_mask, reverse, checked.single_instance, keep, threads,
    )  # fmt: skip


def step_forward(
    cell: str,
    x_t: Any,
    states: dict[str, ArrayLike | None],
    w_x: Any,
    w_h: Any,
    b: Any,
    *,
    activation: str,
    recurrent_activation: str = "sigmoid",
    options: dict[str, Any],
) -> Cache:
    """One step of any cell: a sequence of one step, whose final states are the result."""
    _check.no_options(f"{cell}_step_forward", options)
    codes = _codes(cell, activation, recurrent_activation)
    spec = _engine.CELLS[cell]
    h_prev, c_prev = (*states.values(), None)[:2]
    if _engine.fits(spec["index"], 1, x_t, h_prev, c_prev, w_x, w_h, b):
        x, single = x_t[..., None, :], x_t.ndim == 1
        x = x[None] if single else x
    else:
        checked = _check.step_arguments(x_t, states, w_x, w_h, b, gates=spec["gates"], bias_rows=_bias_rows(cell))
        x, w_x, w_h, b, single = checked.x, checked.w_x, checked.w_h, checked.b, checked.single_instance
        h_prev, c_prev = (*checked.states, None)[:2]
    _, cache = _engine.forward(
        spec["index"], x, h_prev, c_prev, w_x, w_h, b, *codes, None, None, False, single
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


def backward(
    cell: str, dy: ArrayLike | None, cache: Any, dh_n: ArrayLike | None, dc_n: ArrayLike | None = None
) -> tuple[Any, Any, Any, Any, Any, Any]:
    """dx, dh0, dc0, dw_x, dw_h, db of any cell."""
    cache = _cache_of(cell, cache, is_step=False)
    time, units, dtype = cache.time, cache.units, cache.dtype
    rows: tuple[int, ...]
    rows, prefix = ((), "") if cache.single_instance else ((cache.batch,), "B, ")
    state_formula = "(H,)" if cache.single_instance else "(B, H)"
    return _engine.backward(
        cache,
        _check.upstream_gradient("dy", dy, (*rows, time, units), f"({prefix}T, H)", dtype),
        _check.upstream_gradient("dh_n", dh_n, (*rows, units), state_formula, dtype),
        _check.upstream_gradient("dc_n", dc_n, (*rows, units), state_formula, dtype),
        cache.num_threads,
    )


def step_backward(
    cell: str, dh: ArrayLike | None, cache: Any, dc: ArrayLike | None = None
) -> tuple[Any, Any, Any, Any, Any, Any]:
    """dx, dh_prev, dc_prev, dw_x, dw_h, db of one step of any cell."""
    cache = _cache_of(cell, cache, is_step=True)
    single = cache.single_instance
    shape, formula = ((cache.units,), "(H,)") if single else ((cache.batch, cache.units), "(B, H)")
    dx, *others = _engine.backward(
        cache,
        None,
        _check.upstream_gradient("dh", dh, shape, formula, cache.dtype),
        _check.upstream_gradient("dc", dc, shape, formula, cache.dtype),
    )
    return (dx[0] if single else dx[:, 0], *others)
