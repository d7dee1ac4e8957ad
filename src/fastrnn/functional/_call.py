"""What the functions of all cells share: from checked arguments to the engine and back."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import _check, _engine, _threads
from .._cache import Cache
from . import _options

Array = np.ndarray

_SIZES = {
    name: _check.CellSizes(spec["gates"], spec["bias_rows"], spec["recurrent"]) for name, spec in _engine.CELLS.items()
}


def _activations(activation: Any, recurrent_activation: Any) -> tuple[Any, Any]:
    """The activations as the engine takes them."""
    known = _engine.ACTIVATIONS
    return (
        _check.activation("activation", activation, known),
        _check.activation("recurrent_activation", recurrent_activation, known),
    )


def forward(
    cell: str,
    x: Any,
    states: dict[str, ArrayLike | None],
    w_x: Any,
    w_h: Any,
    b: Any,
    *,
    activation: Any,
    recurrent_activation: Any = "sigmoid",
    lengths: ArrayLike | None,
    reset_mask: ArrayLike | None,
    reverse: bool,
    num_threads: int | None,
    options: Mapping[str, Any],
    keep_cache: bool = True,
    memory: str | int | None = None,
    last_only: bool = False,
) -> tuple[Any, Cache]:
    """Any cell over a sequence."""
    spec = _engine.CELLS[cell]
    options = _options.given(cell, f"{spec['function']}_forward", options) if options else {}
    activations = _activations(activation, recurrent_activation)
    reverse, keep = _check.boolean("reverse", reverse), _check.boolean("keep_cache", keep_cache)
    threads, wants_y = _threads.threads_for(num_threads), not _check.boolean("last_only", last_only)
    h0, c0 = (*states.values(), None)[:2]
    plain = spec["recurrent"] == "product" and not options and lengths is None and reset_mask is None and memory is None
    if plain and _engine.fits(spec["index"], 2, x, h0, c0, w_x, w_h, b):
        single = x.ndim == 2
        return _engine.forward(
            spec["index"], x[None] if single else x, h0, c0, w_x, w_h, b, *activations, None, None, reverse, single,
            keep, threads, wants_y=wants_y,
        )  # fmt: skip
    a = _check.sequence_arguments(
        x, states, w_x, w_h, b, cell=_SIZES[cell], w_proj=options.get("w_proj"), lengths=lengths,
        reset_mask=reset_mask, parameters=_options.parameters_in(options),
    )  # fmt: skip
    h0, c0 = (*a.states, None)[:2]
    return _engine.forward(
        spec["index"], a.x, h0, c0, a.w_x, a.w_h, a.b, *activations, a.lengths, a.reset_mask, reverse,
        a.single_instance, keep, threads, _options.checked(cell, options, a), _check.memory_budget(memory),
        wants_y,
    )  # fmt: skip


def step_forward(
    cell: str,
    x_t: Any,
    states: dict[str, ArrayLike | None],
    w_x: Any,
    w_h: Any,
    b: Any,
    *,
    activation: Any,
    recurrent_activation: Any = "sigmoid",
    options: Mapping[str, Any],
) -> Cache:
    """One step of any cell: a sequence of one step, whose final states are the result."""
    spec = _engine.CELLS[cell]
    options = _options.given(cell, f"{spec['function']}_step_forward", options) if options else {}
    activations = _activations(activation, recurrent_activation)
    h_prev, c_prev = (*states.values(), None)[:2]
    checked = None
    plain = spec["recurrent"] == "product" and not options
    if plain and _engine.fits(spec["index"], 1, x_t, h_prev, c_prev, w_x, w_h, b):
        x, single = x_t[..., None, :], x_t.ndim == 1
        x = x[None] if single else x
    else:
        a = _check.step_arguments(
            x_t, states, w_x, w_h, b, cell=_SIZES[cell], w_proj=options.get("w_proj"),
            parameters=_options.parameters_in(options),
        )  # fmt: skip
        x, w_x, w_h, b, single = a.x, a.w_x, a.w_h, a.b, a.single_instance
        h_prev, c_prev = (*a.states, None)[:2]
        checked = _options.checked(cell, options, a, is_step=True)
    _, cache = _engine.forward(
        spec["index"], x, h_prev, c_prev, w_x, w_h, b, *activations, None, None, False, single, options=checked
    )
    cache.is_step = True
    return cache


def step_binding(
    cell: str, weights: tuple[Array | None, ...], keywords: Mapping[str, Any]
) -> tuple[tuple[Array | None, ...], tuple[Any, Any], _options.Options | None]:
    """What a bound step of a cell takes: w_x, w_h and b as the engine does, both activations, and the options."""
    spec = _engine.CELLS[cell]
    keywords = {"activation": spec["activation"], "recurrent_activation": "sigmoid", **keywords}
    activations = _activations(keywords.pop("activation"), keywords.pop("recurrent_activation"))
    options = _options.given(cell, f"{spec['function']}_step_forward", keywords)
    w_x, w_h, b = weights
    assert w_x is not None
    a = _check.step_arguments(
        np.zeros((1, len(w_x)), w_x.dtype), {"h_prev": None}, w_x, w_h, b, cell=_SIZES[cell],
        w_proj=options.get("w_proj"), parameters=_options.parameters_in(options),
    )  # fmt: skip
    return (a.w_x, a.w_h, a.b), activations, _options.checked(cell, options, a, is_step=True)


def _cache_of(function: str, cache: Any, is_step: bool) -> Cache:
    """The cache itself, if the forward function that belongs to this backward function made it."""
    name = f"{function}_step_forward" if is_step else f"{function}_forward"
    if not isinstance(cache, Cache):
        raise TypeError(f"cache: expected the cache that {name} returned, got {type(cache).__name__}")
    made_by = _engine.CELLS[cache.cell_name]["function"]
    if made_by != function or bool(cache.is_step) != is_step:
        other = f"{made_by}_step_forward" if cache.is_step else f"{made_by}_forward"
        raise ValueError(f"cache: expected one of {name}, got one of {other}")
    return cache


class Gradients(NamedTuple):
    """All that a backward pass finds; None where a cell has no such thing."""

    dx: Array | None
    d_first_h: Array
    d_first_c: Array | None
    dw_x: Array
    dw_h: Array | None
    db: Array | None
    of_options: dict[str, Array]  # by the names of the options' parameters


def _named_units(cache: Cache, of_options: dict[str, Array] | None) -> dict[str, Array]:
    """The gradients by options' parameters; those of single units get their name."""
    of_options = of_options or {}
    unit = of_options.pop("unit", None)
    spec = _engine.CELLS[cache.cell_name]
    if unit is None or spec["recurrent"] != "product":
        return of_options
    unit = unit.sum() if cache.options.unit_is_number else unit.reshape(cache.options.unit.shape)
    return {spec["unit_name"]: unit, **of_options}


def _result(kind: type, cache: Cache, found: tuple[Any, ...]) -> Any:
    """A named tuple of gradients from what the engine found; what options add stands behind what there always is."""
    dx, dh, dc, dw_x, dw_h, db, of_options = found
    values: tuple[Any, ...] = (dx, dh, dw_x, dw_h, db) if cache.c_n is None else (dx, dh, dc, dw_x, dw_h, db)
    if not of_options:
        return kind(*values)
    of_options = _named_units(cache, of_options)
    fields = kind._fields[len(values) :]  # type: ignore[attr-defined]  # optional ones, as dpeephole
    values += tuple(of_options.get(name[1:]) for name in fields)
    further = {f"d{name}": value for name, value in of_options.items() if f"d{name}" not in fields}
    if not further:
        return kind(*values)
    return _extended(kind, tuple(further))(*values, *further.values())


@functools.cache
def _extended(kind: type, names: tuple[str, ...]) -> Callable[..., Any]:
    """A named tuple with further fields behind those of `kind`."""
    return collections.namedtuple(kind.__name__, (*kind._fields, *names))  # type: ignore[attr-defined]


def _found(
    function: str,
    dy: ArrayLike | None,
    cache: Cache,
    dh_n: ArrayLike | None,
    dc_n: ArrayLike | None = None,
    dc: ArrayLike | None = None,
    dgates: ArrayLike | None = None,
    needs_dx: bool = True,
) -> tuple[Any, ...]:
    """What the engine finds, from checked gradients."""
    time, units, outputs, dtype = cache.time, cache.units, cache.outputs, cache.dtype
    rows: tuple[int, ...]
    rows, prefix = ((), "") if cache.single_instance else ((cache.batch,), "B, ")
    hidden = "H" if outputs == units else "P"
    return _engine.backward(
        cache,
        _check.upstream_gradient("dy", dy, (*rows, time, outputs), f"({prefix}T, {hidden})", dtype),
        _check.upstream_gradient("dh_n", dh_n, (*rows, outputs), f"({prefix}{hidden})", dtype),
        _check.upstream_gradient("dc_n", dc_n, (*rows, units), f"({prefix}H)", dtype),
        cache.num_threads,
        _check.upstream_gradient("dc", dc, (*rows, time, units), f"({prefix}T, H)", dtype),
        needs_dx,
        _check.upstream_gradient("dgates", dgates, (*rows, time, cache.gate_count * units), f"({prefix}T, G*H)", dtype),
    )


def backward(function: str, dy: ArrayLike | None, cache: Any, *final: Any, **more: Any) -> Gradients:
    """The gradients of any cell over a sequence, for callers that serve every cell; arguments as for `_found`."""
    cache = _cache_of(function, cache, is_step=False)
    *others, of_options = _found(function, dy, cache, *final, **more)
    return Gradients(*others, _named_units(cache, of_options))  # type: ignore[call-arg]


def gradients(function: str, kind: type, dy: ArrayLike | None, cache: Any, *final: Any, **more: Any) -> Any:
    """The same as a named tuple of that kind."""
    cache = _cache_of(function, cache, is_step=False)
    return _result(kind, cache, _found(function, dy, cache, *final, **more))


def step_gradients(function: str, kind: type, dh: ArrayLike | None, cache: Any, dc: ArrayLike | None = None) -> Any:
    """The gradients of one step of any cell, as a named tuple of that kind."""
    cache = _cache_of(function, cache, is_step=True)
    rows, prefix = ((), "") if cache.single_instance else ((cache.batch,), "B, ")
    hidden = "H" if cache.outputs == cache.units else "P"
    dx, *others = _engine.backward(
        cache,
        None,
        _check.upstream_gradient("dh", dh, (*rows, cache.outputs), f"({prefix}{hidden})", cache.dtype),
        _check.upstream_gradient("dc", dc, (*rows, cache.units), f"({prefix}H)", cache.dtype),
    )
    return _result(kind, cache, (dx[0] if cache.single_instance else dx[:, 0], *others))
