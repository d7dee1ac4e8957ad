"""Backward passes against finite differences: whether gradients are what they say."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fastrnn import _check, functional

__all__ = ["GradientCheck", "check_gradients"]

Arrays: TypeAlias = dict[str, np.ndarray]

# A gradient this small beside the largest one is judged on the scale of the latter: differences don't resolve it.
_SMALL = 1e-3
# A slope further off than this, relative to the largest one, is looked at again.
_DIFFERENT = 1e-8


class _Entry(NamedTuple):
    """One line of the result."""

    name: str
    shape: tuple[int, ...]
    checked: int  # how many of its numbers were shifted
    error: float


@dataclass(frozen=True)
class GradientCheck:
    """What `check_gradients` found; printing it shows a table.

    Attributes
    ----------
    errors : dict of str to float
        The largest error of each gradient, relative to the largest number of that gradient.
    shapes : dict of str to tuple
        Their shapes.
    max_error : float
        The largest of the errors.
    """

    _entries: tuple[_Entry, ...]

    @property
    def errors(self) -> dict[str, float]:
        """The largest relative error by name."""
        return {entry.name: entry.error for entry in self._entries}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape by name."""
        return {entry.name: entry.shape for entry in self._entries}

    @property
    def max_error(self) -> float:
        """The largest error of all."""
        return max((entry.error for entry in self._entries), default=0.0)

    def __str__(self) -> str:
        rows = [("gradient by", "shape", "numbers checked", "max relative error")]
        for name, shape, checked, error in self._entries:
            size = int(np.prod(shape))
            numbers = "all" if checked == size else f"{checked:,} of {size:,}"
            rows.append((name, " x ".join(map(str, shape)) or "number", numbers, f"{error:.1e}"))
        rows.append(("all", "", "", f"{self.max_error:.1e}"))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}".rstrip() for a, b, c, d in rows
        ]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


@dataclass(frozen=True)
class _Problem:
    """Something differentiable: outputs as a function of named arrays, and its own gradients by them."""

    arrays: Arrays
    outputs: Callable[[Mapping[str, np.ndarray]], tuple[np.ndarray, ...]]
    gradients: Callable[[tuple[np.ndarray, ...]], Mapping[str, np.ndarray | None]]  # from those by the outputs


def check_gradients(
    what: Any,
    x: Any,
    *arguments: Any,
    eps: float = 1e-4,
    samples: int = 100,
    randomize: float = 0.0,
    seed: int = 0,
    verbose: bool = True,
    **options: Any,
) -> GradientCheck:
    """Compare a backward pass with central differences of its forward pass, in float64.

    The loss is a random projection of all outputs, of final states and of what a layer shows of every step, so that one
    backward pass gives every gradient: by the input, by each parameter and by the initial states.  Each number of these
    is shifted up and down by `eps` and twice `eps`, and the central difference of fourth order is compared with the
    gradient.

    Parameters
    ----------
    what : Layer, Sequential, MemoryCell or str
        A layer or model is copied in float64 with the parameters it has (not built: with fresh ones), so what is given
        is not written to; a memory cell is checked inside the layer `RNN`; a string names a cell of
        `fastrnn.functional`, like ``"lstm"``.
    x : array_like
        The input.
    *arguments : array_like or None
        For a functional cell alone: what follows x in its forward function, ``h0[, c0], w_x, w_h, b``.
    eps : float
        How far numbers are shifted.
    samples : int
        The most numbers of one array that are shifted; of a larger array a random choice.
    randomize : float
        Standard deviation of normal noise on the copy's parameters: zeros and ones hide errors that other numbers show.
    seed : int
        Seed of the projection, the choices, the noise and the masks that dropout draws.
    verbose : bool
        Print the table.
    **options
        For ``forward``: ``lengths``, ``mask``, ``reset_mask``, ``initial_state``, ``training``, ...; ``training`` is
        True by default, so that dropout and zoneout act, with the same masks in every pass.  An initial state is drawn
        where none is given, unless the layer learns one.  For a functional cell its keywords, of which the arrays with
        a gradient (``peephole``, ...) are checked too.

    Returns
    -------
    GradientCheck

    Notes
    -----
    The errors are relative to the largest number of each gradient, and are about 1e-10 where the gradient is right.  At
    a kink, like that of relu at 0, there is no derivative: an x that lies on one shows as an error.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> layer = fastrnn.GRU(4, return_sequences=True, seed=0)
    >>> x = np.random.default_rng(0).normal(size=(2, 5, 3))
    >>> result = fastrnn.check_gradients(layer, x, lengths=[5, 3], verbose=False)
    >>> sorted(result.errors)
    ['b', 'h0', 'w_h', 'w_x', 'x']
    >>> result.max_error < 1e-7
    True
    """
    eps = _check.number("eps", eps, 0.0, open_minimum=True)
    samples = _check.integer("samples", samples, 1)
    randomize = _check.number("randomize", randomize, 0.0)
    seed = _check.integer("seed", seed, 0)
    verbose = _check.boolean("verbose", verbose)
    rng = np.random.default_rng(seed)
    if isinstance(what, str):
        problem = _functional_problem(what, x, arguments, options)
    elif arguments:
        raise TypeError(f"check_gradients: expected keywords alone after x, got {len(arguments)} more arguments")
    else:
        problem = _layer_problem(_float64_copy(what, x, randomize, rng), x, options, seed, rng)
    result = GradientCheck(tuple(_compare(problem, eps, samples, rng)))
    if verbose:
        print(result)
    return result


def _compare(problem: _Problem, eps: float, samples: int, rng: np.random.Generator) -> Iterator[_Entry]:
    """Each gradient beside its central differences."""
    upstream = tuple(rng.normal(size=out.shape) for out in problem.outputs(problem.arrays))
    gradients = problem.gradients(upstream)
    found = {}
    for name, array in problem.arrays.items():
        gradient = gradients.get(name)
        if gradient is None or gradient.shape != array.shape:
            got = "none" if gradient is None else str(gradient.shape)
            raise ValueError(f"d{name}: expected a gradient of shape {array.shape}, got {got}")
        places: np.ndarray = np.arange(array.size)
        if array.size > samples:
            places = np.sort(rng.choice(array.size, samples, replace=False))
        found[name] = places.size, *_slopes(problem, name, places, gradient.ravel()[places], upstream, eps)
    largest = max((_largest(slopes) for _, _, slopes in found.values()), default=0.0)
    for name, (checked, gradient, slopes) in found.items():
        scale = max(_largest(gradient), _largest(slopes), _SMALL * largest)
        difference = _largest(gradient - slopes)
        error = difference / scale if 0 < scale < np.inf else difference
        yield _Entry(name, problem.arrays[name].shape, checked, error)


def _slopes(
    problem: _Problem, name: str, places: np.ndarray, gradient: np.ndarray, upstream: tuple[np.ndarray, ...], eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient at some places, and the slopes there.

    Where they differ a much smaller shift is tried too: it is less exact, but seldom crosses a kink like relu's.  A
    wrong gradient stays wrong.
    """
    slopes = np.array([_slope(problem, name, int(place), upstream, eps) for place in places])
    for i in np.flatnonzero(np.abs(gradient - slopes) > _DIFFERENT * max(_largest(gradient), _largest(slopes))):
        closer = _slope(problem, name, int(places[i]), upstream, eps / 100)
        if abs(gradient[i] - closer) < abs(gradient[i] - slopes[i]):
            slopes[i] = closer
    return gradient, slopes


def _slope(problem: _Problem, name: str, place: int, upstream: tuple[np.ndarray, ...], eps: float) -> float:
    """The derivative of the loss by one number: (8·(f(eps) - f(-eps)) - (f(2·eps) - f(-2·eps))) / (12·eps)."""
    near, far = (_change(problem, name, place, upstream, shift) for shift in (eps, 2 * eps))
    return (8 * near - far) / (12 * eps)


def _change(problem: _Problem, name: str, place: int, upstream: tuple[np.ndarray, ...], eps: float) -> float:
    """f(eps) - f(-eps), f being the loss by one number.

    Outputs are subtracted before they are summed up: those that don't depend on the number add no rounding error.
    """
    above, below = (problem.outputs(_shifted(problem.arrays, name, place, by)) for by in (eps, -eps))
    return sum(float(((a - b) * d).sum()) for a, b, d in zip(above, below, upstream, strict=True))


def _shifted(arrays: Arrays, name: str, place: int, by: float) -> Arrays:
    """The arrays with one number changed."""
    changed = arrays[name].copy()
    changed.flat[place] += by
    return arrays | {name: changed}


def _largest(values: np.ndarray) -> float:
    """The largest absolute value; infinite if there is a NaN, so that it never passes for a small one."""
    return float(np.nan_to_num(np.abs(values), nan=np.inf).max(initial=0.0))


# ---- layers and models -----------------------------------------------------------------------------------------------


def _float64_copy(what: Any, x: Any, randomize: float, rng: np.random.Generator) -> Any:
    """A layer, model or cell as a built layer or model of its own, in float64 and without state between calls."""
    from fastrnn.layers import RNN, MemoryCell
    from fastrnn.layers.config import from_plain, to_plain

    if isinstance(what, MemoryCell):
        what = RNN(what, return_sequences=True)
    if not callable(getattr(what, "backward", None)) or not callable(getattr(what, "get_config", None)):
        raise TypeError(
            f"what: expected a layer, a model, a MemoryCell or the name of a cell, got {type(what).__name__}"
        )
    copy = from_plain(_in_float64(to_plain(what)))
    if what.built:
        copy.build(what.input_size)
    else:
        copy(x)  # the first data tell whatever a layer has to know
    for kind in ("params", "buffers"):
        given = getattr(what, kind, {})
        for name, array in getattr(copy, kind, {}).items():
            getattr(copy, kind)[name] = given.get(name, array)
    for name, array in copy.params.items():
        copy.params[name] = array + rng.normal(scale=randomize, size=array.shape) if randomize else array
    return copy


def _in_float64(config: Any) -> Any:
    """A plain configuration with every dtype float64 and every layer stateless."""
    if isinstance(config, list):
        return [_in_float64(item) for item in config]
    if not isinstance(config, dict):
        return config
    changes = {"dtype": "float64", "stateful": False}
    return {
        name: changes[name] if name in changes and not isinstance(value, dict) else _in_float64(value)
        for name, value in config.items()
    }


def _layer_problem(layer: Any, x: Any, options: dict[str, Any], seed: int, rng: np.random.Generator) -> _Problem:
    """The outputs and final states of a layer or model as a function of x, its parameters and its initial states."""
    options = {"training": True} | options
    x = np.asarray(x)
    x_moves = not getattr(layer, "takes_integers", False)
    x = x.astype(np.float64) if x_moves else x
    state = _initial_state(layer, x, options, seed, rng)
    options.pop("initial_state", None)
    arrays = ({"x": x} if x_moves else {}) | {name: array.copy() for name, array in layer.params.items()} | state

    def run(values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, Any]:
        for name in layer.params:
            layer.params[name] = values[name]
        initial = {"initial_state": tuple(values[name] for name in state)} if state else {}
        return layer.forward(values.get("x", x), rng=np.random.default_rng(seed), **initial, **options)

    def outputs(values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        out, cache = run(values)
        return (out, *(array for _, array in _beside(layer, cache)))

    def gradients(upstream: tuple[np.ndarray, ...]) -> Mapping[str, np.ndarray | None]:
        _, cache = run(arrays)
        dout, *others = upstream
        beside: dict[str, Any] = {}
        for (name, _), d in zip(_beside(layer, cache), others, strict=True):
            beside[name] = (*beside.get(name, ()), d)
        if "dgates" in beside and isinstance(cache.gates, np.ndarray):
            beside["dgates"] = beside["dgates"][0]
        dx, grads, dinitial = layer.backward(dout, cache, **beside)
        if set(grads) != set(layer.params):
            raise ValueError(f"grads: expected the names {', '.join(layer.params)}, got {', '.join(grads)}")
        return {"x": dx, **grads, **dict(zip(state, dinitial or (), strict=False))}

    return _Problem(arrays, outputs, gradients)


def _beside(layer: Any, cache: Any) -> list[tuple[str, np.ndarray]]:
    """What a cache shows beside the output, each array with the argument of `backward` for gradients by its kind."""
    taken = inspect.signature(layer.backward).parameters
    gates = getattr(cache, "gates", None)
    kinds = {
        "dfinal_state": _final_state(cache),
        "dstates": getattr(cache, "states", None) or (),
        "dgates": () if gates is None else gates if isinstance(gates, tuple) else (gates,),
    }
    return [(name, array) for name, arrays in kinds.items() if name in taken for array in arrays]


def _final_state(cache: Any) -> tuple[np.ndarray, ...]:
    """The final states that a cache shows."""
    state = getattr(cache, "state", None)
    return tuple(state) if isinstance(state, (tuple, list)) else ()


def _initial_state(layer: Any, x: np.ndarray, options: dict[str, Any], seed: int, rng: np.random.Generator) -> Arrays:
    """The initial states to check, by name: as given, or drawn where the layer takes but does not learn them."""
    given = options.get("initial_state")
    if given is None and any(getattr(part, "learn_initial_state", False) for part in _parts(layer)):
        return {}
    if "initial_state" not in inspect.signature(layer.forward).parameters:
        return {}
    final = _final_state(layer.forward(x, rng=np.random.default_rng(seed), **options)[1])
    given = given or (None,) * len(final)
    names = [f"{name}0" for name in getattr(layer, "state_sizes", {})]
    if len(names) != len(final):
        names = [f"initial_state[{i}]" for i in range(len(final))]
    return {
        name: rng.normal(size=s.shape) if value is None else np.array(value, dtype=np.float64)
        for name, value, s in zip(names, given, final, strict=True)
    }


def _parts(layer: Any) -> Iterator[Any]:
    """A layer and the layers inside it."""
    yield layer
    for value in vars(layer).values():
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if callable(getattr(part, "backward", None)) and part is not layer:
                yield from _parts(part)


# ---- functional cells ------------------------------------------------------------------------------------------------


def _functional_problem(cell: str, x: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> _Problem:
    """y, the final states and every c of a cell's function over a sequence as a function of its arrays."""
    cells = sorted({name.removesuffix("_forward") for name in functional.__all__ if name.endswith("_forward")})
    cells = [name for name in cells if not name.endswith("_step")]
    _check.choice("what", cell, cells)
    forward, backward = getattr(functional, f"{cell}_forward"), getattr(functional, f"{cell}_backward")
    positional = [
        name for name, p in inspect.signature(forward).parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    if len(arguments) != len(positional) - 1:
        raise TypeError(f"check_gradients: expected {', '.join(positional)} for {cell!r}, got {1 + len(arguments)}")
    given = dict(zip(positional, (x, *arguments), strict=True))
    given |= {name: None if value is None else np.asarray(value, dtype=np.float64) for name, value in given.items()}
    finals = [name for name in ("dh_n", "dc_n", "dc") if name in inspect.signature(backward).parameters]

    def run(values: Mapping[str, Any]) -> tuple[np.ndarray, Any]:
        merged = {**given, **options, **values}
        return forward(*(merged[name] for name in positional), **{n: merged[n] for n in options})

    def outputs(values: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
        y, cache = run(values)
        return (y, *(getattr(cache, name[1:]) for name in finals))

    def gradients_of(upstream: tuple[np.ndarray, ...]) -> dict[str, np.ndarray | None]:
        _, cache = run({})
        g = backward(upstream[0], cache, **dict(zip(finals, upstream[1:], strict=True)))
        return {name[1:]: gradient for name, gradient in g._asdict().items()}

    known = gradients_of(tuple(np.zeros_like(out) for out in outputs({})))
    arrays = {name: value for name, value in given.items() if value is not None}
    for name, value in options.items():
        if known.get(name) is not None:
            arrays[name] = options[name] = np.array(value, dtype=np.float64)
    return _Problem(arrays, outputs, gradients_of)
