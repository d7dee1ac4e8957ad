"""What a cell does beyond its equations: the keywords that the functions of cells take, checked for the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from .. import _check, _engine

Array = np.ndarray
Activation = str | tuple[Any, ...]


class CellOptions(TypedDict, total=False):
    """The keywords of every cell."""

    clip: float | None
    dropout_mask: ArrayLike | None
    recurrent_dropout_mask: ArrayLike | None
    zoneout_mask: ArrayLike | float | None


class NormOfSum(CellOptions, total=False):
    """Of cells whose one sum of products is normalised."""

    ln_gain: ArrayLike | None
    ln_bias: ArrayLike | None
    ln_epsilon: float


class NormsApart(CellOptions, total=False):
    """Of cells whose products are normalised apart."""

    ln_x_gain: ArrayLike | None
    ln_h_gain: ArrayLike | None
    ln_epsilon: float


class LSTMOptions(NormsApart, total=False):
    """Of the LSTM."""

    output_activation: Activation | None
    w_proj: ArrayLike | None
    cell_clip: float | None
    coupled: bool
    zoneout_cell_mask: ArrayLike | float | None
    ln_c_gain: ArrayLike | None
    ln_c_bias: ArrayLike | None


class Options(NamedTuple):
    """Checked options as the engine reads them."""

    output_activation: tuple[int, float, float] | None = None
    clip: float | None = None
    cell_clip: float | None = None
    coupled: bool = False
    unit: Array | None = None  # (U, H) or (H,): the cell's parameters of single units
    unit_is_number: bool = False
    w_proj: Array | None = None
    norm: dict[str, Array] | None = None
    epsilon: float = 1e-3
    dropout_mask: Array | None = None
    recurrent_dropout_mask: Array | None = None
    zoneout: Array | None = None  # (B, T, P), or one number ()
    zoneout_cell: Array | None = None


_COMMON = ("clip", "dropout_mask", "zoneout_mask")
_OF_CELL_STATE = ("output_activation", "cell_clip", "coupled", "w_proj", "zoneout_cell_mask")


def _norm_sizes(spec: dict[str, Any]) -> dict[str, int]:
    """The parameters of a cell's layer norm, each with its size in units."""
    if spec["norm"] == "sum":
        return {"ln_gain": spec["gates"], "ln_bias": spec["gates"]}
    if spec["norm"] is None:
        return {}
    of_c = {"ln_c_gain": 1, "ln_c_bias": 1} if spec["cell_state"] else {}
    return {"ln_x_gain": spec["gates"], "ln_h_gain": spec["gates"], **of_c}


def names_of(spec: dict[str, Any]) -> frozenset[str]:
    """The keywords that a cell takes."""
    names = {*_COMMON, *_norm_sizes(spec)}
    if spec["norm"]:
        names.add("ln_epsilon")
    if spec["recurrent"] != "nothing":
        names.add("recurrent_dropout_mask")
    if spec["cell_state"]:
        names.update(_OF_CELL_STATE)
    if spec["unit_name"] and spec["recurrent"] == "product":
        names.add(spec["unit_name"])
    return frozenset(names)


_NAMES = {name: names_of(spec) for name, spec in _engine.CELLS.items()}
_NAMES_OF_FUNCTION = {  # a function may run one of several cells; what one of them takes may be None for the others
    spec["function"]: frozenset().union(
        *(_NAMES[name] for name, other in _engine.CELLS.items() if other["function"] == spec["function"])
    )
    for spec in _engine.CELLS.values()
}
_PARAMETERS = frozenset().union(*(_norm_sizes(spec) for spec in _engine.CELLS.values())) | {
    spec["unit_name"] for spec in _engine.CELLS.values() if spec["unit_name"] and spec["recurrent"] == "product"
}


def given(cell: str, function: str, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords that ask for something; those that the cell does not know are refused."""
    spec = _engine.CELLS[cell]
    for name, value in keywords.items():
        if name in _NAMES[cell] or (name in _NAMES_OF_FUNCTION[spec["function"]] and value is None):
            continue
        if name.startswith("ln_") and spec["norm"] is None and value is not None:
            raise ValueError(f"{name}: {_without_norm(spec)}")
        raise _check.unexpected_keyword(function, name)
    return {name: value for name, value in keywords.items() if value is not None and value is not False}


def _without_norm(spec: dict[str, Any]) -> str:
    """Why a cell has no layer norm."""
    if spec["second"]:
        return "layer norm needs reset_after=True: it spans all gates, and the candidate's product waits for the others"
    return f"{spec['function']} has no recurrent product to normalise; normalise its input instead"


def parameters_in(keywords: dict[str, Any]) -> dict[str, Any]:
    """Those arrays among the keywords that have a say in the type of the result."""
    return {name: value for name, value in keywords.items() if name in _PARAMETERS and np.ndim(value)}


def checked(
    cell: str, keywords: dict[str, Any], arguments: _check.SequenceArguments, is_step: bool = False
) -> Options | None:
    """The keywords that were given, in shape; None without any."""
    spec, (batch, time, inputs), dtype = _engine.CELLS[cell], arguments.x.shape, arguments.x.dtype
    units, outputs, single = arguments.units, arguments.outputs, arguments.single_instance
    elementwise = spec["recurrent"] == "elementwise"
    if not keywords and not elementwise:
        return None
    rows: tuple[int, ...] = () if single else (batch,)
    steps: tuple[int, ...] = rows if is_step else (*rows, time)
    prefix = "" if single else "B, "
    hidden = "H" if arguments.w_proj is None else "P"

    def array(name: str, shape: tuple[int, ...], formula: str) -> Array | None:
        value = keywords.get(name)
        return None if value is None else _check.shaped_float_array(name, value, dtype, shape, formula)

    def zoneout(name: str, size: int, letter: str) -> Array | None:
        value = keywords.get(name)
        if value is None:
            return None
        time_letter = "" if is_step else "T, "
        mask = _zoneout_mask(name, value, dtype, (*steps, size), f"({prefix}{time_letter}{letter})")
        return mask if mask.ndim == 0 else mask.reshape(batch, time, size)

    masks = {
        "dropout_mask": array("dropout_mask", (*rows, inputs), f"({prefix}I)"),
        "recurrent_dropout_mask": array("recurrent_dropout_mask", (*rows, outputs), f"({prefix}{hidden})"),
    }
    output = keywords.get("output_activation")
    return Options(
        None if output is None else _check.activation("output_activation", output, _engine.ACTIVATIONS),
        _positive("clip", keywords),
        _positive("cell_clip", keywords),
        _check.boolean("coupled", keywords.get("coupled", False)),
        arguments.w_h if elementwise else _unit_parameters(spec, keywords, units, dtype),
        np.ndim(keywords.get(spec["unit_name"] or "", ())) == 0,
        arguments.w_proj,
        _norm(spec, keywords, units, dtype),
        _check.number("ln_epsilon", keywords.get("ln_epsilon", 1e-3), 0.0),
        **masks,
        zoneout=zoneout("zoneout_mask", outputs, hidden),
        zoneout_cell=zoneout("zoneout_cell_mask", units, "H"),
    )


def _positive(name: str, keywords: dict[str, Any]) -> float | None:
    value = keywords.get(name)
    return None if value is None else _check.number(name, value, 0.0, open_minimum=True)


def _unit_parameters(spec: dict[str, Any], keywords: dict[str, Any], units: int, dtype: np.dtype) -> Array | None:
    """Parameters of single units, (U, H) or (H,); a number stands for as many equal ones."""
    name, count = spec["unit_name"], spec["unit_parameters"]
    value = keywords.get(name)
    if value is None:
        return None
    if count == 1 and np.ndim(value) == 0:
        value = np.full(units, _check.number(name, value), dtype)
    shape, formula = ((units,), "(H,)") if count == 1 else ((count, units), f"({count}, H)")
    array = _check.shaped_float_array(name, value, dtype, shape, formula)
    if name == "leak" and not ((array > 0) & (array <= 1)).all():
        raise ValueError(f"leak: expected numbers > 0 and <= 1, got {array.min():g} to {array.max():g}")
    return array


def _norm(spec: dict[str, Any], keywords: dict[str, Any], units: int, dtype: np.dtype) -> dict[str, Array] | None:
    """The parameters of layer norm: all of them or none."""
    sizes = _norm_sizes(spec)
    present = [name for name in sizes if name in keywords]
    if not present:
        return None
    missing = [name for name in sizes if name not in keywords]
    if missing:
        raise ValueError(f"{missing[0]}: layer norm needs {', '.join(sizes)}, got {', '.join(present)} alone")
    formulas = {name: "(H,)" if size == 1 else f"({size}*H,)" for name, size in sizes.items()}
    return {
        name: _check.shaped_float_array(name, keywords[name], dtype, (size * units,), formulas[name])
        for name, size in sizes.items()
    }


def _zoneout_mask(name: str, value: Any, dtype: np.dtype, shape: tuple[int, ...], formula: str) -> Array:
    """Shares of the old state, between 0 and 1: one number, or one for each unit at each step."""
    mask = _check.as_real_array(name, value)
    if mask.ndim:
        _check.require_shape(name, mask, shape, formula)
    if mask.dtype != np.bool_ and mask.size and not (mask.min() >= 0 and mask.max() <= 1):
        raise ValueError(f"{name}: expected numbers from 0 to 1, got {mask.min()} to {mask.max()}")
    return _check.as_float_array(name, mask, dtype)
