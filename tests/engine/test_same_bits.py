"""The promise of the README: the same bits for any number of threads, for a row alone or in a batch, for any layout of
memory (tests/test_functional.py), with or without a cache (test_checkpoints.py has those that keep little), and for a
step by itself or inside a sequence; with any options."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn import _engine

from ..helpers import CELLS, Cell, assert_close
from .cases import (
    cells,
    gradients_of,
    in_turn,
    instruction_sets,
    outputs_of,
    random_arguments,
    random_upstream,
    run,
    upstream_of,
)
from .mixes import MIXES, at_step, calls, mix_of, only_rows

Array = np.ndarray

# Enough work for two threads and more in every cell (`members_for` in _share.pyx): rows of the batch are shared, or,
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
PARAMETERS = ("w_x", "w_h", "b")

some_examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def assert_same_bits(actual: dict[str, Array], expected: dict[str, Array]) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert value.shape == actual[name].shape, name
        same = np.ascontiguousarray(actual[name]).view(np.uint8) == np.ascontiguousarray(value).view(np.uint8)
        assert same.all(), name


# ---- threads ---------------------------------------------------------------------------------------------------------


def assert_same_bits_on_threads(
    cell: Cell, arguments: dict[str, Any], options: dict[str, Any], several: tuple[int, ...], rng: np.random.Generator
) -> None:
    upstream = upstream_of(outputs_of(cell, *cell.forward(fastrnn, arguments, num_threads=1, **options)), rng)
    outputs, gradients = run(fastrnn, cell, arguments, upstream, num_threads=1, **options)
    for threads in several:
        again, again_gradients = run(fastrnn, cell, arguments, upstream, num_threads=threads, **options)
        assert_same_bits(again, outputs)
        assert_same_bits(again_gradients, gradients)


@in_turn("case", list(product(SHARED_SHAPES, ("plain", *MIXES), ("full", "ragged"))), each=2)
def test_any_number_of_threads(
    cell: Cell, dtype: str, case: tuple[Any, ...], instruction_set: str, rng: np.random.Generator
) -> None:
    (batch, steps, inputs, hidden), name, form = case
    arguments, options = mix_of(cell, name, rng, batch, steps, inputs, hidden, dtype)
    if form == "ragged":
        options |= {"lengths": rng.integers(0, steps + 1, size=batch), "reset_mask": rng.random((batch, steps)) < 0.2}
    assert_same_bits_on_threads(cell, arguments, options, (2, 3, 7), rng)


@in_turn("case", list(product(WIDE_SHAPES, ("plain", "units"))), of=[CELLS[i] for i in (0, 1, 2)])
def test_any_number_of_threads_on_few_rows(
    cell: Cell, dtype: str, case: tuple[Any, ...], instruction_set: str, rng: np.random.Generator
) -> None:
    (batch, steps, inputs, hidden), name = case
    hidden = round(hidden / np.sqrt(cell.gates))  # as many weights in w_h for each cell
    arguments, options = mix_of(cell, name, rng, batch, steps, inputs, hidden, dtype)
    assert_same_bits_on_threads(cell, arguments, options, (2, 7), rng)


@cells
@pytest.mark.parametrize("name", ["rows", "held"])
def test_threads_that_share_a_batch_keep_out_of_each_others_rows(
    cell: Cell, name: str, rng: np.random.Generator
) -> None:
    """Whoever writes a row that is another's is found out sooner or later: here the rows of all kinds differ in size,
    and there are no waits between steps."""
    arguments, options = mix_of(cell, name, rng, 70, 40, 3, 70, "float32")
    assert_same_bits_on_threads(cell, arguments, options, (2,) * 8, rng)


# ---- rows ------------------------------------------------------------------------------------------------------------


@instruction_sets
@given(call=calls(batch=st.integers(2, 20)), data=st.data())
@some_examples
def test_a_row_alone_or_in_a_batch(instruction_set: str, call: tuple[Any, ...], data: st.DataObject) -> None:
    cell, arguments, options = call
    row = data.draw(st.integers(0, len(arguments["x"]) - 1), "row")
    rows = slice(row, row + 1)
    upstream = upstream_of(outputs_of(cell, *cell.forward(fastrnn, arguments, **options)), np.random.default_rng(0))
    outputs, gradients = run(fastrnn, cell, arguments, upstream, **options)

    def of_the_row(values: dict[str, Any]) -> dict[str, Any]:
        return {n: value if n in PARAMETERS or value is None else value[rows] for n, value in values.items()}

    alone, alone_gradients = run(fastrnn, cell, of_the_row(arguments), of_the_row(upstream), **only_rows(options, rows))
    assert_same_bits(alone, of_the_row(outputs))
    own = {"dx", *(f"d{state}0" for state in cell.states)}  # the batch sums into the others
    assert_same_bits({n: alone_gradients[n] for n in own}, of_the_row({n: gradients[n] for n in own}))


# ---- steps -----------------------------------------------------------------------------------------------------------


@in_turn("name", ("plain", *MIXES), each=4)
def test_a_step_alone_or_in_a_sequence(
    cell: Cell, dtype: str, name: str, instruction_set: str, rng: np.random.Generator
) -> None:
    """States and cell states to the bit, gradients up to the order of their sums."""
    batch, steps = 5, 6
    arguments, options = mix_of(cell, name, rng, batch, steps, 6, 37, dtype)
    options["reverse"] = False
    outputs = outputs_of(cell, *cell.forward(fastrnn, arguments, **options))
    upstream = upstream_of(outputs, rng)
    _, gradients = run(fastrnn, cell, arguments, upstream, **options)
    resets = options.get("reset_mask", np.zeros((batch, steps), bool))
    weights = {name: arguments[name] for name in PARAMETERS}
    states = [arguments[f"{state}0"] for state in cell.states]
    caches = []
    for t in range(steps):
        states = [np.where(resets[:, t, np.newaxis], state.dtype.type(0), state) for state in states]
        call = {"x_t": arguments["x"][:, t], **dict(enumerate(states)), **weights}
        *states, cache = cell.step_forward(fastrnn, call, **at_step(options, t))
        for state, value in zip(("y", "c"), states, strict=False):
            assert_same_bits({state: value}, {state: outputs[state][:, t]})
        caches.append(cache)

    dstates = [upstream[f"d{state}_n"] for state in cell.states]
    totals = {name: np.zeros_like(value) for name, value in gradients.items() if name not in ("dx", "dh0", "dc0")}
    dx = np.empty_like(arguments["x"])
    for t in reversed(range(steps)):
        by_step = [upstream[name][:, t] for name in ("dy", "dc") if name in upstream]
        found = gradients_of(
            cell, cell.step_backward(fastrnn, *(d + own for d, own in zip(dstates, by_step, strict=True)), caches[t])
        )
        dx[:, t] = found["dx"]
        dstates = [np.where(resets[:, t, np.newaxis], 0, found[f"d{state}_prev"]) for state in cell.states]
        for name in totals:
            totals[name] = totals[name] + found[name]
    firsts = {f"d{state}0": value for state, value in zip(cell.states, dstates, strict=True)}
    for name, value in {"dx": dx, **totals, **firsts}.items():
        assert_close(gradients[name], value, "float64" if dtype == "float64" else "float32_gradient", name)


# ---- inference, and again --------------------------------------------------------------------------------------------


@instruction_sets
@given(call=calls())
@some_examples
def test_with_or_without_a_cache(instruction_set: str, call: tuple[Any, ...]) -> None:
    cell, arguments, options = call
    y, cache = cell.forward(fastrnn, arguments, **options)
    bare_y, bare = cell.forward(fastrnn, arguments, keep_cache=False, **options)
    assert_same_bits({"y": bare_y, **cell.final_states(bare)}, {"y": y, **cell.final_states(cache)})


@in_turn("name", ("plain", *MIXES), each=2)
def test_with_or_without_a_cache_over_several_chunks(
    cell: Cell, dtype: str, name: str, instruction_set: str, rng: np.random.Generator
) -> None:
    arguments, options = mix_of(cell, name, rng, 40, 50, 3, 150, dtype)
    for lengths in (None, rng.integers(0, 51, 40)):
        y, cache = cell.forward(fastrnn, arguments, lengths=lengths, **options)
        bare_y, bare = cell.forward(fastrnn, arguments, lengths=lengths, keep_cache=False, **options)
        assert_same_bits({"y": bare_y, **cell.final_states(bare)}, {"y": y, **cell.final_states(cache)})


@cells
@pytest.mark.parametrize("name", ["plain", *MIXES])
def test_from_run_to_run(cell: Cell, name: str, rng: np.random.Generator) -> None:
    arguments, options = mix_of(cell, name, rng, 16, 30, 9, 65, "float32")
    upstream = upstream_of(outputs_of(cell, *cell.forward(fastrnn, arguments, **options)), rng)
    first = run(fastrnn, cell, arguments, upstream, **options)
    for _ in range(3):
        for again, expected in zip(run(fastrnn, cell, arguments, upstream, **options), first, strict=True):
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
    cell = CELLS[0]
    arguments = random_arguments(cell, rng, 2, 3, 4, 5, "float64")
    y, cache = cell.forward(fastrnn, {**arguments, "b": None})
    assert set(gradients_of(cell, cell.backward(fastrnn, y, cache))) == {"dx", "dh0", "dw_x", "dw_h"}
    upstream = random_upstream(cell, rng, 2, 3, 5, "float64")
    assert run(fastrnn, cell, arguments, upstream)[1].keys() == {"dx", "dh0", "dw_x", "dw_h", "db"}
