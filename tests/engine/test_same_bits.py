"""The promise of the README: the same bits for any number of threads, for a row alone or in a batch, for any layout of
memory (tests/test_functional.py), and for a step by itself or inside a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn import _engine

from ..helpers import Cell
from .cases import (
    ENGINE_CELLS,
    cells,
    dtypes,
    gradients_of,
    instruction_sets,
    outputs_of,
    random_arguments,
    random_upstream,
    run,
)

Array = np.ndarray

# Enough work for two threads and more in every cell (`members_for` in _engine.pyx): rows of the batch are shared, or,
# where there are too few of them, units.
SHARED_SHAPES = [
    (1, 60, 7, 371),
    (2, 50, 20, 257),
    (3, 60, 5, 200),
    (33, 40, 9, 67),
    (64, 30, 8, 100),
    (5, 150, 3, 130),
]
# So few rows of so many units (of a simple RNN) that the weights are used as they are, and yet by several threads.
WIDE_SHAPES = [(3, 1, 5, 1800), (1, 2, 5, 3200)]
batch_shapes = pytest.mark.parametrize("shape", SHARED_SHAPES, ids=lambda shape: "x".join(map(str, shape)))


def assert_same_bits(actual: dict[str, Array], expected: dict[str, Array]) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert value.shape == actual[name].shape, name
        assert np.array_equal(actual[name].view(np.uint8), value.view(np.uint8)), name


def ragged_options(rng: np.random.Generator, batch: int, steps: int) -> dict[str, Any]:
    return {
        "lengths": rng.integers(0, steps + 1, size=batch),
        "reset_mask": rng.random((batch, steps)) < 0.2,
        "reverse": True,
    }


def assert_same_bits_on_threads(
    cell: Cell, shape: tuple[int, ...], several: tuple[int, ...], ragged: bool, rng: np.random.Generator
) -> None:
    batch, steps, inputs, hidden = shape
    arguments = random_arguments(cell, rng, batch, steps, inputs, hidden, "float32")
    upstream = random_upstream(cell, rng, batch, steps, hidden, "float32")
    options = ragged_options(rng, batch, steps) if ragged else {}
    outputs, gradients = run(fastrnn, cell, arguments, upstream, num_threads=1, **options)
    for threads in several:
        again, again_gradients = run(fastrnn, cell, arguments, upstream, num_threads=threads, **options)
        assert_same_bits(again, outputs)
        assert_same_bits(again_gradients, gradients)


@instruction_sets
@cells
@batch_shapes
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_any_number_of_threads(
    cell: Cell, instruction_set: str, shape: tuple[int, ...], ragged: bool, rng: np.random.Generator
) -> None:
    assert_same_bits_on_threads(cell, shape, (2, 3, 7), ragged, rng)


@instruction_sets
@cells
@pytest.mark.parametrize("shape", WIDE_SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_any_number_of_threads_on_few_rows(
    cell: Cell, instruction_set: str, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    *sizes, hidden = shape
    hidden = round(hidden / np.sqrt(cell.gates))  # as many weights in w_h for each cell
    assert_same_bits_on_threads(cell, (*sizes, hidden), (2, 7), False, rng)


@instruction_sets
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_alone_or_in_a_batch(instruction_set: str, data: st.DataObject) -> None:
    cell = data.draw(st.sampled_from(ENGINE_CELLS))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    batch, steps = data.draw(st.integers(2, 20)), data.draw(st.integers(1, 9))
    inputs, hidden = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 70))
    row = data.draw(st.integers(0, batch - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    arguments = random_arguments(cell, rng, batch, steps, inputs, hidden, dtype)
    upstream = random_upstream(cell, rng, batch, steps, hidden, dtype)
    options = ragged_options(rng, batch, steps) if data.draw(st.booleans()) else {}

    def only_row(values: dict[str, Any], shared: tuple[str, ...]) -> dict[str, Any]:
        return {name: value if name in shared else value[row : row + 1] for name, value in values.items()}

    outputs, gradients = run(fastrnn, cell, arguments, upstream, **options)
    alone, alone_gradients = run(
        fastrnn,
        cell,
        only_row(arguments, ("w_x", "w_h", "b")),
        only_row(upstream, ()),
        **only_row(options, ("reverse",)),
    )
    assert_same_bits(alone, only_row(outputs, ()))
    own = [name for name in gradients if name not in ("dw_x", "dw_h", "db")]  # the batch sums into these
    assert_same_bits({name: alone_gradients[name] for name in own}, only_row({n: gradients[n] for n in own}, ()))


@instruction_sets
@cells
@dtypes
def test_a_step_alone_or_in_a_sequence(cell: Cell, dtype: str, instruction_set: str, rng: np.random.Generator) -> None:
    batch, steps, inputs, hidden = 5, 4, 6, 37
    arguments = random_arguments(cell, rng, batch, steps, inputs, hidden, dtype)
    y, _ = cell.forward(fastrnn, arguments)
    states = [arguments[f"{state}0"] for state in cell.states]
    weights = [arguments[name] for name in ("w_x", "w_h", "b")]
    step = getattr(fastrnn, f"{cell.name}_step_forward")
    for t in range(steps):
        *states, _ = step(arguments["x"][:, t], *states, *weights)
        assert_same_bits({"h": np.ascontiguousarray(states[0])}, {"h": np.ascontiguousarray(y[:, t])})


@cells
def test_from_run_to_run(cell: Cell, rng: np.random.Generator) -> None:
    arguments = random_arguments(cell, rng, 16, 30, 9, 65, "float32")
    upstream = random_upstream(cell, rng, 16, 30, 65, "float32")
    first = run(fastrnn, cell, arguments, upstream)
    for _ in range(5):
        for again, expected in zip(run(fastrnn, cell, arguments, upstream), first, strict=True):
            assert_same_bits(again, expected)


@cells
def test_instruction_sets_agree(cell: Cell, rng: np.random.Generator) -> None:
    """Across instruction sets the bits differ, by a stated bound: 2e-6 of the result's scale in float32."""
    arguments = random_arguments(cell, rng, 7, 20, 9, 65, "float32")
    before = _engine.instruction_set()
    results = []
    try:
        for name in _engine.instruction_sets():
            _engine.use_instruction_set(name)
            results.append(outputs_of(cell, *cell.forward(fastrnn, arguments)))
    finally:
        _engine.use_instruction_set(before)
    for other in results[1:]:
        for name, value in results[0].items():
            assert np.abs(other[name] - value).max() <= 2e-6 * np.abs(value).max(), name


def test_gradients_without_bias_keep_their_names(rng: np.random.Generator) -> None:
    """The helper that the tests above rest on leaves out what is None, and nothing else."""
    cell = ENGINE_CELLS[0]
    arguments = random_arguments(cell, rng, 2, 3, 4, 5, "float64")
    y, cache = cell.forward(fastrnn, {**arguments, "b": None})
    assert set(gradients_of(cell, cell.backward(fastrnn, y, cache))) == {"dx", "dh0", "dw_x", "dw_h"}
