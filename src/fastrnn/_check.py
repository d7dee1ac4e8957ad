"""Every coercion and every error message of fastrnn.

A function here takes a name and a value, returns the value in the form the code below it wants, or raises
``ValueError``/``TypeError`` with one sentence: the argument, what was expected, what came.  Nothing is ever written to.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "as_bool_mask",
    "as_class_numbers",
    "as_float_array",
    "as_int_vector",
    "as_real_array",
    "boolean",
    "choice",
    "convolution_arguments",
    "float_dtype",
    "integer",
    "not_built",
    "number",
    "require_finite",
    "require_shape",
    "sequence_arguments",
    "upstream_gradient",
]


def _shown(value: Any) -> str:
    """A value as an error message shows it: short, on one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def not_built(what: str, instead: str = "") -> NotImplementedError:
    """The error for an option that has a name but no implementation yet."""
    return NotImplementedError(f"{what} is not built yet" + (f"; {instead}" if instead else ""))


def choice(name: str, value: Any, options: Collection[str]) -> str:
    """One of a fixed set of strings."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected one of {', '.join(map(repr, options))}, got {_shown(value)}")
    if value not in options:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def boolean(name: str, value: Any) -> bool:
    """A true or false, Python's or NumPy's."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {_shown(value)}")
    return bool(value)


def integer(name: str, value: Any, minimum: int | None = None, maximum: int | None = None) -> int:
    """An integer within bounds (both included); a bool is not one."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    try:
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {_shown(value)} of type {type(value).__name__}") from None
    if minimum is not None and result < minimum:
        raise ValueError(f"{name}: expected an integer >= {minimum}, got {result}")
    if maximum is not None and result > maximum:
        raise ValueError(f"{name}: expected an integer <= {maximum}, got {result}")
    return result


def number(
    name: str,
    value: Any,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    open_minimum: bool = False,
    open_maximum: bool = False,
) -> float:
    """A finite real number within bounds; ``open_...`` leaves the bound itself out."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Real, np.floating, np.integer)):
        raise TypeError(f"{name}: expected a number, got {_shown(value)} of type {type(value).__name__}")
    result = float(value)
    if not math.isfinite(result):
        raise ValueError(f"{name}: expected a finite number, got {result}")
    low = minimum is not None and (result < minimum or (open_minimum and result == minimum))
    high = maximum is not None and (result > maximum or (open_maximum and result == maximum))
    if low or high:
        bounds = [f"{'>' if open_minimum else '>='} {minimum:g}"] if minimum is not None else []
        bounds += [f"{'<' if open_maximum else '<='} {maximum:g}"] if maximum is not None else []
        raise ValueError(f"{name}: expected a number {' and '.join(bounds)}, got {result:g}")
    return result


def _real_array(name: str, value: Any) -> np.ndarray:
    """Any array-like of real numbers as an array; complex, object, string and ragged input raise."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array of numbers, got a ragged sequence ({error})") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected an array of real numbers, got dtype {array.dtype}")
    return array


def float_dtype(**arrays: Any) -> np.dtype:
    """float32 if every float argument is float32 (integers follow), otherwise float64.  None is passed over."""
    kinds = [_real_array(name, value).dtype for name, value in arrays.items() if value is not None]
    floats = [kind for kind in kinds if kind.kind == "f"]
    single = bool(floats) and all(kind.itemsize == 4 for kind in floats)  # in any byte order
    return np.dtype(np.float32 if single else np.float64)


def as_float_array(
    name: str, value: Any, dtype: np.dtype | type, ndim: int | Iterable[int] | None = None
) -> np.ndarray:
    """A C-contiguous, aligned, native array of `dtype`; no copy is made where none is needed."""
    array = _real_array(name, value) if type(value) is not np.ndarray or value.dtype != dtype else value
    if ndim is not None:
        ranks = (ndim,) if isinstance(ndim, int) else tuple(ndim)
        if array.ndim not in ranks:
            wanted = " or ".join(f"{rank}-D" for rank in ranks)
            raise ValueError(f"{name}: expected {wanted}, got {array.ndim}-D with shape {array.shape}")
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return array
    return np.require(array, dtype=dtype, requirements=["C", "A"])


def require_shape(name: str, array: np.ndarray, expected: tuple[int, ...], formula: str = "") -> np.ndarray:
    """The array itself if it has the expected shape; `formula` says where the sizes come from."""
    if array.shape != expected:
        origin = f"{formula} = " if formula else ""
        raise ValueError(f"{name}: expected shape {origin}{expected}, got {array.shape}")
    return array


def require_finite(name: str, array: np.ndarray) -> np.ndarray:
    """The array itself if it holds no NaN and no infinity."""
    if not np.isfinite(array).all():
        count = int(array.size - np.isfinite(array).sum())
        raise ValueError(f"{name}: expected finite numbers, got {count} NaN or infinite of {array.size}")
    return array


def as_int_vector(name: str, value: Any, size: int, minimum: int, maximum: int, formula: str) -> np.ndarray:
    """A vector of `size` integers between two bounds (both included), as intp."""
    array = _real_array(name, value)
    require_shape(name, array, (size,), formula)
    if array.dtype.kind == "f":
        require_finite(name, array)
        if (array != np.floor(array)).any():
            raise ValueError(f"{name}: expected integers, got {_shown(array.tolist())}")
    elif array.dtype.kind == "b":
        raise TypeError(f"{name}: expected integers, got dtype bool")
    if size and (array.min() < minimum or array.max() > maximum):
        raise ValueError(f"{name}: expected integers from {minimum} to {maximum}, got {array.min()} to {array.max()}")
    return np.ascontiguousarray(array, dtype=np.intp)


def as_class_numbers(name: str, value: Any, classes: int, ndim: int | None = None) -> np.ndarray:
    """An array of whole numbers from 0 to below `classes`, as intp."""
    array = _real_array(name, value)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim}-D, got {array.ndim}-D with shape {array.shape}")
    shape = array.shape
    return as_int_vector(name, array.reshape(-1), array.size, 0, classes - 1, "").reshape(shape)


def as_bool_mask(name: str, value: Any, shape: tuple[int, ...], formula: str) -> np.ndarray:
    """A boolean array of the given shape; numbers are refused, because 0/1 and index masks look alike."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected a boolean array, got a ragged sequence ({error})") from None
    if array.dtype != np.bool_:
        raise TypeError(f"{name}: expected a boolean array, got dtype {array.dtype}")
    require_shape(name, array, shape, formula)
    return np.ascontiguousarray(array)


# ---- the arguments of the recurrent functions ------------------------------------------------------------------------


def activation(name: str, value: Any, known: Mapping[str, Mapping[str, Any]]) -> tuple[int, float, float]:
    """An activation as the kernels take it, (kind, alpha, beta), from a name or ``(name, alpha[, beta])``."""
    if not isinstance(value, (tuple, list)):
        return known[choice(name, value, known)]["default"]
    kind, given = (value[0], value[1:]) if value else ("", ())
    spec = known[choice(name, kind, known)]
    if len(given) > spec["constants"]:
        raise ValueError(f"{name}: {kind} takes {spec['constants'] or 'no'} constants, got {_shown(value)}")
    most = float(np.finfo(np.float32).max)  # float32 kernels round the constants to their type
    numbers = [number(f"{name}[{i}]", constant, -most, most) for i, constant in enumerate(given, 1)]
    index, *constants = spec["default"]
    constants[: len(numbers)] = numbers
    alpha, beta = constants
    return index, alpha, beta


class CellSizes(NamedTuple):
    """What the shapes of a cell's weights follow from: gates G, rows of the bias, what meets the state."""

    gates: int
    bias_rows: int
    recurrent: str  # "product": w_h is (H, G*H); "elementwise": (H,); "nothing": None


class SequenceArguments(NamedTuple):
    """The arguments of a recurrent function as the engine takes them; x is (B, T, I) whatever the user gave."""

    x: np.ndarray
    states: tuple[np.ndarray | None, ...]
    w_x: np.ndarray
    w_h: np.ndarray | None
    b: np.ndarray | None
    w_proj: np.ndarray | None
    lengths: np.ndarray | None
    reset_mask: np.ndarray | None
    single_instance: bool
    units: int
    outputs: int


def sequence_arguments(
    x: Any,
    states: dict[str, Any],
    w_x: Any,
    w_h: Any,
    b: Any,
    *,
    cell: CellSizes,
    w_proj: Any = None,
    lengths: Any = None,
    reset_mask: Any = None,
    parameters: Mapping[str, Any] | None = None,
) -> SequenceArguments:
    """Check the arguments of a recurrent function over a sequence against one another.

    `states` maps the names of the initial states, h first, to their values; `parameters` are arrays of options, which
    have a say in the type.
    """
    dtype = float_dtype(x=x, **states, w_x=w_x, w_h=w_h, b=b, w_proj=w_proj, **(parameters or {}))
    shape = np.shape(x)
    if len(shape) not in (2, 3):
        raise ValueError(f"x: expected 2-D (T, I) or 3-D (B, T, I), got {len(shape)}-D with shape {shape}")
    single_instance = len(shape) == 2
    batch, time, inputs = (1, *shape) if single_instance else shape
    if time == 0 or inputs == 0:
        raise ValueError(f"x: expected at least one time step and one input, got shape {shape}")
    return _fitting(
        x, (batch, time, inputs), states, w_x, w_h, b, cell, w_proj, lengths, reset_mask, dtype, single_instance
    )


def step_arguments(
    x_t: Any,
    states: dict[str, Any],
    w_x: Any,
    w_h: Any,
    b: Any,
    *,
    cell: CellSizes,
    w_proj: Any = None,
    parameters: Mapping[str, Any] | None = None,
) -> SequenceArguments:
    """The same for a single step: x_t is (I,) or (B, I), and becomes a sequence of one step."""
    dtype = float_dtype(x_t=x_t, **states, w_x=w_x, w_h=w_h, b=b, w_proj=w_proj, **(parameters or {}))
    shape = np.shape(x_t)
    if len(shape) not in (1, 2):
        raise ValueError(f"x_t: expected 1-D (I,) or 2-D (B, I), got {len(shape)}-D with shape {shape}")
    batch, inputs = (1, *shape) if len(shape) == 1 else shape
    if inputs == 0:
        raise ValueError(f"x_t: expected at least one input, got shape {shape}")
    single = len(shape) == 1
    return _fitting(x_t, (batch, 1, inputs), states, w_x, w_h, b, cell, w_proj, None, None, dtype, single)


def _units_of(w_x: Any, w_h: Any, w_proj: Any, cell: CellSizes) -> int:
    """H, by the weights that say it best."""
    if w_proj is not None:
        return _rows_of_matrix("w_proj", w_proj)
    if cell.recurrent == "product":
        return _rows_of_matrix("w_h", w_h)
    if cell.recurrent == "elementwise":
        shape = np.shape(_real_array("w_h", w_h))
        if len(shape) != 1 or shape[0] == 0:
            raise ValueError(f"w_h: expected shape (H,) with at least one unit, got {shape}")
        return shape[0]
    if w_h is not None:
        raise ValueError("w_h: expected None, the cell has no recurrent weights")
    shape = np.shape(_real_array("w_x", w_x))
    if len(shape) != 2 or shape[1] == 0 or shape[1] % cell.gates:
        raise ValueError(f"w_x: expected shape (I, {cell.gates}*H), got {shape}")
    return shape[1] // cell.gates


def _fitting(
    x: Any,
    shape: tuple[int, int, int],
    states: dict[str, Any],
    w_x: Any,
    w_h: Any,
    b: Any,
    cell: CellSizes,
    w_proj: Any,
    lengths: Any,
    reset_mask: Any,
    dtype: np.dtype,
    single_instance: bool,
) -> SequenceArguments:
    """Weights, states and masks that fit x and one another; `shape` is (B, T, I)."""
    batch, time, inputs = shape
    units = outputs = _units_of(w_x, w_h, w_proj, cell)
    hidden = "H"
    if w_proj is not None:
        w_proj = _real_array("w_proj", w_proj)
        if w_proj.ndim != 2 or w_proj.shape[1] == 0:
            raise ValueError(f"w_proj: expected shape (H, P), got {w_proj.shape}")
        w_proj, outputs, hidden = as_float_array("w_proj", w_proj, dtype), w_proj.shape[1], "P"
    wide = cell.gates * units
    columns = "H" if cell.gates == 1 else f"{cell.gates}*H"
    if cell.recurrent == "product":
        w_h = _shaped_float_array("w_h", w_h, dtype, (outputs, wide), f"({hidden}, {columns})")
    elif cell.recurrent == "elementwise":
        w_h = as_float_array("w_h", w_h, dtype)
    require_addressable(batch, time, inputs, wide, dtype)
    w_x = _shaped_float_array("w_x", w_x, dtype, (inputs, wide), f"(I, {columns})")
    if b is not None:
        bias_shape = (wide,) if cell.bias_rows == 1 else (cell.bias_rows, wide)
        formula = f"({columns},)" if cell.bias_rows == 1 else f"({cell.bias_rows}, {columns})"
        b = _shaped_float_array("b", b, dtype, bias_shape, formula)
    checked = []
    for i, (name, value) in enumerate(states.items()):
        size, letter = (outputs, hidden) if i == 0 else (units, "H")
        row, formula = ((size,), f"({letter},)") if single_instance else ((batch, size), f"(B, {letter})")
        checked.append(None if value is None else _shaped_float_array(name, value, dtype, row, formula))
    if lengths is not None:
        if single_instance and np.ndim(lengths) == 0:
            lengths = [lengths]
        lengths = as_int_vector("lengths", lengths, batch, 0, time, "(B,)")
    if reset_mask is not None:
        mask_shape: tuple[int, ...]
        mask_shape, formula = ((time,), "(T,)") if single_instance else ((batch, time), "(B, T)")
        reset_mask = as_bool_mask("reset_mask", reset_mask, mask_shape, formula).copy()  # the cache keeps it
    x = as_float_array("x", x, dtype).reshape(shape)
    return SequenceArguments(
        x, tuple(checked), w_x, w_h, b, w_proj, lengths, reset_mask, single_instance, units, outputs
    )


def shaped_float_array(name: str, value: Any, dtype: np.dtype, expected: tuple[int, ...], formula: str) -> np.ndarray:
    """An array as the engine takes it; the parameters and masks of options."""
    return _shaped_float_array(name, value, dtype, expected, formula)


def memory_budget(memory: Any) -> int | None:
    """Bytes that a cache may take, 0 for as few as possible; None is no limit."""
    if memory is None or memory == "sqrt":
        return None if memory is None else 0
    if isinstance(memory, str):
        raise ValueError(f"memory: expected 'sqrt', a number of bytes or None, got {memory!r}")
    return integer("memory", memory, 1)


def unexpected_keyword(function: str, name: str) -> TypeError:
    """Python's own words for a keyword that a function does not take."""
    return TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def _rows_of_matrix(name: str, value: Any) -> int:
    """The number of rows, at least one, of what has to be a matrix."""
    shape = np.shape(_real_array(name, value))
    if len(shape) != 2:
        raise ValueError(f"{name}: expected 2-D, got {len(shape)}-D with shape {shape}")
    if shape[0] == 0:
        raise ValueError(f"{name}: expected at least one unit, got shape {shape}")
    return shape[0]


def _shaped_float_array(name: str, value: Any, dtype: np.dtype, expected: tuple[int, ...], formula: str) -> np.ndarray:
    """`as_float_array` of an expected shape: a misfit is refused before anything is copied."""
    return as_float_array(name, require_shape(name, _real_array(name, value), expected, formula), dtype)


def require_addressable(batch: int, time: int, inputs: int, wide: int, dtype: np.dtype) -> None:
    """Refuse sizes whose workspace could not be addressed; `wide` is G*H."""
    most = 2**31 - 65
    for name, value in (("I", inputs), ("G*H", wide)):
        if value > most:
            raise ValueError(f"{name}: expected at most {most}, got {value}")
    if max(batch, 1) * time * (inputs + 2 * (wide + 256)) * dtype.itemsize >= 2**62:
        raise ValueError(f"x: B*T*(I + G*H) = {batch}*{time}*({inputs} + {wide}) values cannot be addressed")


def upstream_gradient(
    name: str, value: Any, shape: tuple[int, ...], formula: str, dtype: np.dtype
) -> np.ndarray | None:
    """A gradient that comes from the loss, in the type of what it belongs to; None stays None."""
    if value is None:
        return None
    array = _real_array(name, value)
    require_shape(name, array, shape, formula)
    return as_float_array(name, array, dtype)


def as_real_array(name: str, value: Any) -> np.ndarray:
    """An array of real numbers in the type it has."""
    return _real_array(name, value)


# ---- the arguments of convolutions -----------------------------------------------------------------------------------


def convolution_arguments(
    x: Any, w: Any, b: Any, groups: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, int, bool]:
    """x, w and b of a convolution that fit one another and the number of groups; x is (B, T, C) whatever the user gave,
    and the last of what is returned says whether that was one instance."""
    dtype = float_dtype(x=x, w=w, b=b)
    groups = integer("groups", groups, 1)
    shape, kernel = np.shape(x), np.shape(_real_array("w", w))
    if len(shape) not in (2, 3):
        raise ValueError(f"x: expected 2-D (T, C) or 3-D (B, T, C), got {len(shape)}-D with shape {shape}")
    single_instance = len(shape) == 2
    batch, time, channels = (1, *shape) if single_instance else shape
    if time == 0 or channels == 0:
        raise ValueError(f"x: expected at least one time step and one channel, got shape {shape}")
    if len(kernel) != 3 or 0 in kernel:
        raise ValueError(f"w: expected 3-D (K, C/groups, F), at least one of each, got shape {kernel}")
    taps, _, filters = kernel
    if channels % groups or filters % groups:
        raise ValueError(f"groups: expected a divisor of C = {channels} and F = {filters}, got {groups}")
    w = _shaped_float_array("w", w, dtype, (taps, channels // groups, filters), "(K, C/groups, F)")
    b = None if b is None else _shaped_float_array("b", b, dtype, (filters,), "(F,)")
    return as_float_array("x", x, dtype).reshape(batch, time, channels), w, b, groups, single_instance
