"""What all files of the reference share: arrays of one dtype, checks of what came in, and the results.

Letters used in shape comments: B rows of the batch, T time steps, I inputs, H hidden units, P projected units, G gates.
A "·" in a comment is a matrix product, a "∘" a product element by element.
"""

from __future__ import annotations

import math
import numbers
from collections import namedtuple
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

Array: TypeAlias = np.ndarray

# ---------------------------------------------------------------------------------------------------------------------
# Arrays


def real_array(name: str, value: ArrayLike) -> Array:
    """The value as an array, if it holds real numbers."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array of numbers, got a ragged sequence ({error})") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected an array of real numbers, got dtype {array.dtype}")
    return array


def one_dtype(named: Mapping[str, ArrayLike | None]) -> dict[str, Any]:
    """The values as arrays of one dtype: float32 if every float array among them is float32, otherwise float64.

    Integers and single numbers follow the arrays, None stays None, and nothing is copied that has the right dtype.
    """
    arrays = {name: None if value is None else real_array(name, value) for name, value in named.items()}
    floats = [array.dtype for array in arrays.values() if array is not None and array.ndim and array.dtype.kind == "f"]
    dtype = np.float32 if floats and all(kind.itemsize == 4 for kind in floats) else np.float64
    return {name: None if array is None else array.astype(dtype, copy=False) for name, array in arrays.items()}


def plus(value: Array, bias: Array | None) -> Array:
    """The sum, or the value alone if there is no bias."""
    return value if bias is None else value + bias


# ---------------------------------------------------------------------------------------------------------------------
# Checks


def require_shape(name: str, array: Array, formula: str, sizes: Mapping[str, int]) -> None:
    """Raise ``ValueError`` unless the array has the shape of a formula such as ``"(H, 4*H)"``; None is passed over."""
    if array is None:
        return
    factors = [term.split("*") for term in formula.strip("()").split(",") if term]
    expected = tuple(math.prod(int(f) if f.isdigit() else sizes[f] for f in map(str.strip, term)) for term in factors)
    if array.shape != expected:
        raise ValueError(f"{name}: expected shape {formula} = {expected}, got {array.shape}")


def require_shapes(owner: Any, sizes: Mapping[str, int], **formulas: str) -> None:
    """`require_shape` for attributes of the owner."""
    for name, formula in formulas.items():
        require_shape(name, getattr(owner, name), formula, sizes)


def batch_formula(*letters: str, single: bool) -> str:
    """The shape of an array with an axis B in front, which one instance leaves out, as `require_shape` takes it."""
    letters = letters if single else ("B", *letters)
    return f"({letters[0]},)" if len(letters) == 1 else f"({', '.join(letters)})"


def as_batch(name: str, value: ArrayLike, letters: str, sizes: Mapping[str, int], single: bool) -> Array:
    """The value as (B, *letters); one instance becomes a batch of one."""
    array = np.asarray(value)
    require_shape(name, array, batch_formula(*letters, single=single), sizes)
    return array.reshape([sizes[letter] for letter in ("B", *letters)])


def as_batch_or_zeros(
    name: str, value: ArrayLike | None, letters: str, sizes: Mapping[str, int], single: bool, dtype: np.dtype
) -> Array:
    """The same in a given dtype; None stands for zeros."""
    if value is None:
        return np.zeros([sizes[letter] for letter in ("B", *letters)], dtype)
    return as_batch(name, real_array(name, value), letters, sizes, single).astype(dtype, copy=False)


def require_ndim(name: str, array: Array, ndim: int) -> None:
    """Raise ``ValueError`` unless the array has that many axes."""
    if array.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim}-D, got {array.ndim}-D with shape {array.shape}")


def require_units(name: str, hidden: int) -> None:
    """Raise ``ValueError`` if the array that says how many hidden units there are says none."""
    if hidden == 0:
        raise ValueError(f"{name}: expected at least one unit, got none")


def together(what: str, **arrays: Any) -> bool:
    """Whether the arrays are there; ``ValueError`` if only some of them are."""
    missing = [name for name, array in arrays.items() if array is None]
    if 0 < len(missing) < len(arrays):
        raise ValueError(
            f"{missing[0]}: expected an array, because {what} takes {', '.join(arrays)} together, got None"
        )
    return not missing


def refuse(why: str, **arrays: Any) -> None:
    """Raise ``ValueError`` if one of the arrays is there."""
    for name, array in arrays.items():
        if array is not None:
            raise ValueError(f"{name}: expected None, because {why}; got an array of shape {np.shape(array)}")


def finite_number(name: str, value: Any) -> float:
    """A finite real number; a bool is not one."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Real, np.floating, np.integer)):
        raise TypeError(f"{name}: expected a number, got {value!r} of type {type(value).__name__}")
    if not math.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {value}")
    return float(value)


def positive_number(name: str, value: Any) -> float:
    """A finite number above 0."""
    number = finite_number(name, value)
    if number <= 0:
        raise ValueError(f"{name}: expected a number > 0, got {number:g}")
    return number


def ln_variance(value: Any) -> float:
    """What layer normalization adds to the variance, 0 or more."""
    number = finite_number("ln_epsilon", value)
    if number < 0:
        raise ValueError(f"ln_epsilon: expected a number >= 0, got {number:g}")
    return number


def limit(name: str, value: Any) -> float | None:
    """A positive number to clip at, or None for no clipping."""
    return None if value is None else positive_number(name, value)


def boolean(name: str, value: Any) -> bool:
    """A true or false, Python's or NumPy's."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


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


def result(kind: Any, gradients: Mapping[str, Array | None], further: tuple[str, ...] = ()) -> Any:
    """A named tuple `kind` of the gradients, which are named by what they belong to.

    Gradients by `further` names stand behind the others, those that there are.
    """
    fields = kind._fields
    present = [f"d{name}" for name in further if gradients.get(name) is not None]
    wider: Any = namedtuple(kind.__name__, (*fields, *present)) if present else kind
    return wider(*(gradients.get(field[1:]) for field in (*fields, *present)))
