"""What the tests of the engine share: its cells, its instruction sets, and a run of both engine and reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import _engine, reference

from ..helpers import CELLS, Cell, assert_close, past_the_end

Array = np.ndarray

DTYPES = ("float32", "float64")

cells = pytest.mark.parametrize("cell", CELLS, ids=str)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
instruction_sets = pytest.mark.parametrize("instruction_set", _engine.instruction_sets(), indirect=True)


def in_turn(name: str, values: Sequence[Any], each: int = 1, of: Sequence[Cell] = CELLS) -> pytest.MarkDecorator:
    """Parametrize with every cell x type x instruction set, each with the next few of the values, in rounds.

    No loop of the engine knows the type or the instruction set, so that not every value has to meet every one of them:
    each value meets every cell, and over the cells every type and every set.
    """
    rng, coming, cases = np.random.default_rng(0), [], []
    for cell, dtype, instruction_set in product(of, DTYPES, _engine.instruction_sets()):
        for _ in range(each):
            coming = coming or rng.permutation(len(values)).tolist()
            value = values[coming.pop()]
            case_id = f"{cell}-{dtype}-{instruction_set}-{value}".replace(" ", "")
            cases.append(pytest.param(cell, dtype, instruction_set, value, id=case_id))
    return pytest.mark.parametrize(("cell", "dtype", "instruction_set", name), cases, indirect=["instruction_set"])


def in_type(values: Mapping[str, Any], dtype: Any) -> dict[str, Any]:
    """The same values, arrays of floats in one type."""
    return {
        name: value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for name, value in values.items()
    }


def random_arguments(
    cell: Cell, rng: np.random.Generator, batch: int | None, steps: int, inputs: int, hidden: int, dtype: str
) -> dict[str, Any]:
    """Arguments of a forward function by name; weights of the size 1/sqrt(their rows) keep float32 well conditioned."""
    return in_type(cell.arguments(rng, batch, steps, inputs, hidden), dtype)


def random_upstream(
    cell: Cell, rng: np.random.Generator, batch: int | None, steps: int, hidden: int, dtype: str
) -> dict[str, Array]:
    """Gradients of a loss by y and by the final states."""
    rows = () if batch is None else (batch,)
    return {
        "dy": rng.normal(size=(*rows, steps, hidden)).astype(dtype),
        **{f"d{state}_n": rng.normal(size=(*rows, hidden)).astype(dtype) for state in cell.states},
    }


def upstream_of(outputs: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Gradients of a loss by everything that a forward pass gives, every c_t of a cell that has c included."""
    return {f"d{name}": rng.normal(size=value.shape).astype(value.dtype) for name, value in outputs.items()}


def with_nan_past_the_end(array: Array, lengths: Any) -> Array:
    """A copy of a (B, T, ...) or (T, ...) array with NaN where a row has ended."""
    *batch, steps, _ = array.shape
    past = past_the_end(lengths, batch[0] if batch else None, steps)
    return np.where(past[..., np.newaxis], array.dtype.type(np.nan), array)


def outputs_of(cell: Cell, y: Array, cache: Any) -> dict[str, Array]:
    """What a forward pass gives, by name."""
    return {"y": y, **cell.final_states(cache), **({"c": cache.c} if "c" in cell.states else {})}


def gradients_of(cell: Cell, gradients: Any) -> dict[str, Array]:
    """What a backward pass gives, by name, without what is None."""
    return {name: value for name, value in gradients._asdict().items() if value is not None}


def run(
    module: ModuleType, cell: Cell, arguments: Mapping[str, Any], upstream: Mapping[str, Array], **options: Any
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs and gradients of a forward and a backward pass, by name."""
    y, cache = cell.forward(module, arguments, **options)
    dy, dfinal = upstream["dy"], {name: value for name, value in upstream.items() if name != "dy"}
    return outputs_of(cell, y, cache), gradients_of(cell, cell.backward(module, dy, cache, **dfinal))


def in_double(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The same numbers in float64."""
    return in_type(arrays, np.float64)


def assert_engine_is_right(
    cell: Cell, arguments: Mapping[str, Any], upstream: Mapping[str, Array], **options: Any
) -> None:
    """Outputs and all gradients of the engine are those of the float64 reference, and no input was written to.

    By one thread; test_same_bits.py has the other numbers.
    """
    everything = (*arguments.values(), *upstream.values(), *options.values())
    given = [value for value in everything if isinstance(value, np.ndarray)]
    before = [value.copy() for value in given]
    for value in given:
        value.flags.writeable = False
    results = run(fastrnn, cell, arguments, upstream, num_threads=1, **options)
    for value, copy in zip(given, before, strict=True):
        value.flags.writeable = True
        np.testing.assert_array_equal(value, copy, "an input was written to")

    expected = run(reference, cell, in_double(arguments), in_double(upstream), **in_double(options))
    single = arguments["x"].dtype == np.float32
    for result, right, kind in zip(results, expected, ("float32_output", "float32_gradient"), strict=True):
        assert result.keys() == right.keys()
        for name, value in right.items():
            assert result[name].dtype == arguments["x"].dtype, name
            assert_close(result[name], value, kind if single else "float64", name)


def assert_same_bits(actual: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    """Equal names and equal arrays, bit for bit but for the sign of zero."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        np.testing.assert_array_equal(actual[name], value, name)
