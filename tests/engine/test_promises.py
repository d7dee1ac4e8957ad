"""What the engine promises beyond numbers: the same bits however a row is computed, and a cache that stays true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import _engine

from ..helpers import CELLS, Cell, some_lengths, some_resets
from .cases import (
    assert_same_bits,
    cells,
    dtypes,
    gradients_of,
    in_double,
    in_turn,
    instruction_sets,
    outputs_of,
    random_arguments,
    random_upstream,
    run,
)

BATCH, STEPS, INPUTS, HIDDEN = 9, 6, 5, 19
OF_A_ROW = ("dx", "dh0", "dc0")  # gradients that no other row has a part in
SHARED = ("w_x", "w_h", "b")

reversals = pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])


@pytest.fixture
def arguments(cell: Cell, dtype: str, rng: np.random.Generator) -> dict[str, Any]:
    return random_arguments(cell, rng, BATCH, STEPS, INPUTS, HIDDEN, dtype)


@pytest.fixture
def upstream(cell: Cell, dtype: str, rng: np.random.Generator) -> dict[str, Any]:
    return random_upstream(cell, rng, BATCH, STEPS, HIDDEN, dtype)


def rows_of(arrays: dict[str, Any], rows: slice) -> dict[str, Any]:
    """Some rows of what has rows, all of what is shared by them."""
    return {name: value if name in SHARED else value[rows] for name, value in arrays.items()}


@instruction_sets
@dtypes
@cells
@pytest.mark.parametrize("rows", [slice(0, 1), slice(3, 5), slice(2, 9)], ids=["1 row", "2 rows", "7 rows"])
def test_a_row_has_the_same_bits_in_every_batch(
    cell: Cell, dtype: str, rows: slice, instruction_set: str, arguments: dict[str, Any], upstream: dict[str, Any]
) -> None:
    outputs, gradients = run(fastrnn, cell, arguments, upstream)
    some_outputs, some_gradients = run(fastrnn, cell, rows_of(arguments, rows), rows_of(upstream, rows))
    assert_same_bits(some_outputs, rows_of(outputs, rows))
    for name in gradients.keys() & set(OF_A_ROW):
        np.testing.assert_array_equal(some_gradients[name], gradients[name][rows], name)


@instruction_sets
@dtypes
@cells
@reversals
@pytest.mark.parametrize("length", range(1, STEPS + 1), ids="length={}".format)
def test_a_padded_row_has_the_bits_of_one_cut_to_its_length(
    cell: Cell, dtype: str, length: int, reverse: bool, instruction_set: str,
    arguments: dict[str, Any], upstream: dict[str, Any],
) -> None:  # fmt: skip
    lengths = np.resize([2, STEPS, 0, 3], BATCH)
    row = 4
    lengths[row] = length
    outputs, gradients = run(fastrnn, cell, arguments, upstream, lengths=lengths, reverse=reverse)
    one = {name: value if name in SHARED else value[row] for name, value in arguments.items()}
    one["x"] = one["x"][:length]
    one_upstream = {name: value[row] for name, value in upstream.items()}
    one_upstream["dy"] = one_upstream["dy"][:length]
    expected_outputs, expected_gradients = run(fastrnn, cell, one, one_upstream, reverse=reverse)
    for name, value in outputs.items():
        actual = value[row, :length] if value.ndim == 3 else value[row]
        np.testing.assert_array_equal(actual, expected_outputs[name], name)
    np.testing.assert_array_equal(gradients["dx"][row, :length], expected_gradients["dx"])
    assert not outputs["y"][row, length:].any() and not gradients["dx"][row, length:].any()


@instruction_sets
@dtypes
@cells
def test_reverse_is_the_flipped_sequence(
    cell: Cell, dtype: str, instruction_set: str, arguments: dict[str, Any], upstream: dict[str, Any]
) -> None:
    outputs, gradients = run(fastrnn, cell, arguments, upstream, reverse=True)
    flipped = {**arguments, "x": arguments["x"][:, ::-1]}
    expected_outputs, expected = run(fastrnn, cell, flipped, {**upstream, "dy": upstream["dy"][:, ::-1]})
    in_time = {"y", "c"}
    assert_same_bits(outputs, {n: v[:, ::-1] if n in in_time else v for n, v in expected_outputs.items()})
    assert_same_bits(gradients, {n: v[:, ::-1] if n == "dx" else v for n, v in expected.items()})


@instruction_sets
@dtypes
@cells
def test_a_reset_cuts_the_sequence(
    cell: Cell, dtype: str, instruction_set: str, arguments: dict[str, Any], upstream: dict[str, Any]
) -> None:
    """Not even a NaN of the state before it comes through, forward or backward."""
    cut = 3
    reset_mask = np.zeros((BATCH, STEPS), dtype=bool)
    reset_mask[:, cut] = True
    x, dy = arguments["x"].copy(), upstream["dy"].copy()
    x[:, :cut] = np.nan
    outputs, _ = run(fastrnn, cell, {**arguments, "x": x}, upstream, reset_mask=reset_mask)
    fresh = {**arguments, "x": arguments["x"][:, cut:], **{f"{state}0": None for state in cell.states}}
    expected, _ = run(fastrnn, cell, fresh, {**upstream, "dy": dy[:, cut:]})
    assert np.isnan(outputs["y"][:, :cut]).all()
    assert_same_bits({n: v[:, cut:] if v.ndim == 3 else v for n, v in outputs.items()}, expected)

    dy[:, cut:] = np.nan
    _, gradients = run(fastrnn, cell, arguments, {**upstream, "dy": dy}, reset_mask=reset_mask)
    head = {**arguments, "x": arguments["x"][:, :cut]}
    _, expected = run(fastrnn, cell, head, {"dy": upstream["dy"][:, :cut]})
    assert np.isnan(gradients["dw_x"]).any()  # of all units but those that a relu kept off
    for state in cell.states:
        np.testing.assert_array_equal(gradients[f"d{state}0"], expected[f"d{state}0"])


@instruction_sets
@dtypes
@cells
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_row_leaves_the_others_alone(
    cell: Cell, dtype: str, bad: float, instruction_set: str, arguments: dict[str, Any], upstream: dict[str, Any]
) -> None:
    outputs, gradients = run(fastrnn, cell, arguments, upstream)
    x = arguments["x"].copy()
    x[5] = bad
    with_bad, gradients_with_bad = run(fastrnn, cell, {**arguments, "x": x}, upstream)
    others = np.arange(BATCH) != 5
    assert_same_bits({n: v[others] for n, v in with_bad.items()}, {n: v[others] for n, v in outputs.items()})
    for name in ("dx", *(f"d{state}0" for state in cell.states)):
        np.testing.assert_array_equal(gradients_with_bad[name][others], gradients[name][others], name)


@instruction_sets
@dtypes
@pytest.mark.parametrize("hidden", [3, 8], ids="H={}".format)
@pytest.mark.parametrize("steps", [3, 9], ids="T={}".format)
def test_saturated_by_infinity(dtype: str, steps: int, hidden: int, instruction_set: str) -> None:
    """tanh(±inf) is ±1 and flat: the gradient by the states before it is 0, whatever the number of units."""
    x = np.full((steps, 1), 0.5, dtype)
    x[1] = np.inf
    w_x, w_h = np.ones((1, hidden), dtype), np.eye(hidden, dtype=dtype)
    y, cache = fastrnn.rnn_forward(x, np.zeros(hidden, dtype), w_x, w_h, None)
    np.testing.assert_array_equal(y[1], 1)
    dy = np.zeros_like(y)
    dy[2:] = 1
    np.testing.assert_array_equal(fastrnn.rnn_backward(dy, cache).dh0, 0)


@instruction_sets
@dtypes
@cells
def test_backward_twice_and_after_edits_of_what_the_user_holds(
    cell: Cell, dtype: str, instruction_set: str, arguments: dict[str, Any], upstream: dict[str, Any]
) -> None:
    options = {"lengths": some_lengths(BATCH, STEPS), "reset_mask": some_resets(BATCH, STEPS)}
    expected_outputs, expected = run(fastrnn, cell, arguments, upstream, **options)
    y, cache = cell.forward(fastrnn, arguments, **options)
    for name in arguments.keys() - {"w_x", "w_h"}:
        arguments[name][...] = np.nan
    y[...] = np.nan
    options["lengths"][...] = 0
    options["reset_mask"][...] = True
    dfinal = {name: value for name, value in upstream.items() if name != "dy"}
    for _ in range(2):
        assert_same_bits(gradients_of(cell, cell.backward(fastrnn, upstream["dy"], cache, **dfinal)), expected)
    assert_same_bits(outputs_of(cell, expected_outputs["y"], cache), expected_outputs)


@dtypes
@cells
def test_results_share_no_memory(cell: Cell, dtype: str, arguments: dict[str, Any], upstream: dict[str, Any]) -> None:
    lengths = np.zeros(BATCH, dtype=int)  # states go through unchanged
    outputs, gradients = run(fastrnn, cell, arguments, upstream, lengths=lengths)
    results = [*outputs.values(), *gradients.values()]
    for i, result in enumerate(results):
        others = [*results[:i], *arguments.values(), *upstream.values()]
        assert not any(np.shares_memory(result, other) for other in others)


@dtypes
@cells
def test_workspaces_of_a_cache_are_not_used_by_later_calls(
    cell: Cell, dtype: str, arguments: dict[str, Any], upstream: dict[str, Any]
) -> None:
    _, expected = run(fastrnn, cell, arguments, upstream)
    _, cache = cell.forward(fastrnn, arguments)
    for _ in range(5):
        run(fastrnn, cell, {**arguments, "x": -arguments["x"]}, upstream)
    dfinal = {name: value for name, value in upstream.items() if name != "dy"}
    assert_same_bits(gradients_of(cell, cell.backward(fastrnn, upstream["dy"], cache, **dfinal)), expected)


@pytest.mark.skipif(len(_engine.instruction_sets()) < 2, reason="this machine has one instruction set")
@pytest.mark.parametrize("instruction_set", _engine.instruction_sets()[:1], indirect=True)
@dtypes
@cells
def test_backward_uses_the_instruction_set_of_its_forward_pass(
    cell: Cell, dtype: str, instruction_set: str, arguments: dict[str, Any], upstream: dict[str, Any]
) -> None:
    """Workspaces of different instruction sets are laid out differently."""
    _, expected = run(fastrnn, cell, arguments, upstream)
    _, cache = cell.forward(fastrnn, arguments)
    _engine.use_instruction_set(_engine.instruction_sets()[-1])
    dfinal = {name: value for name, value in upstream.items() if name != "dy"}
    assert_same_bits(gradients_of(cell, cell.backward(fastrnn, upstream["dy"], cache, **dfinal)), expected)


@dtypes
@cells
def test_instruction_sets_differ_but_little(cell: Cell, dtype: str, arguments: dict[str, Any]) -> None:
    """Each was really run: the fastest fuses multiply and add, and so has other last bits than the slowest."""
    before = _engine.instruction_set()
    results = []
    for name in _engine.instruction_sets():
        _engine.use_instruction_set(name)
        assert _engine.instruction_set() == name
        results.append(cell.forward(fastrnn, arguments)[0])
    _engine.use_instruction_set(before)
    for y in results:
        np.testing.assert_allclose(y, results[0], rtol=0, atol=1e-6 if dtype == "float32" else 1e-14)
    if {"baseline", "avx2"} <= set(_engine.instruction_sets()):
        assert (results[0] != results[-1]).any()


def infer(cell: Cell, arguments: dict[str, Any], **options: Any) -> tuple[np.ndarray, Any]:
    """A forward pass that keeps nothing for a backward pass."""
    return cell.forward(fastrnn, arguments, keep_cache=False, **options)


@dtypes
@cells
def test_backward_of_an_inference_raises(cell: Cell, dtype: str, arguments: dict[str, Any]) -> None:
    y, cache = infer(cell, arguments)
    with pytest.raises(ValueError, match=r"^cache: .* inference"):
        cell.backward(fastrnn, y, cache)


def test_cell_states_and_gates_of_an_inference_raise(rng: np.random.Generator) -> None:
    """What was not kept is not read."""
    lstm = next(cell for cell in CELLS if cell.name == "lstm")
    _, cache = infer(lstm, random_arguments(lstm, rng, 2, 50, 3, 7, "float64"))
    for name in ("c", "gates"):
        with pytest.raises(ValueError, match=r"^cache: expected one .*inference"):
            getattr(cache, name)


@in_turn("reverse", (False, True), each=2)
def test_final_states_alone(
    cell: Cell, dtype: str, reverse: bool, instruction_set: str, rng: np.random.Generator
) -> None:
    """Without y, but with all else: the same bits, with and without a cache."""
    arguments = random_arguments(cell, rng, BATCH, STEPS, INPUTS, HIDDEN, dtype)
    options = {"lengths": some_lengths(BATCH, STEPS), "reverse": reverse}
    _, whole = cell.forward(fastrnn, arguments, **options)
    expected = {f"d{name}": np.ones_like(value) for name, value in cell.final_states(whole).items()}
    for keep in (False, True):
        nothing, cache = cell.forward(fastrnn, arguments, last_only=True, keep_cache=keep, **options)
        assert nothing is None
        assert_same_bits(cell.final_states(cache), cell.final_states(whole))
    assert_same_bits(
        gradients_of(cell, cell.backward(fastrnn, None, cache, **expected)),
        gradients_of(cell, cell.backward(fastrnn, None, whole, **expected)),
    )


def test_registry_is_complete() -> None:
    """Every cell of the registry has its functions, and the reference too."""
    for cell in CELLS:
        for module in (fastrnn, fastrnn.reference):
            for suffix in ("forward", "backward", "step_forward", "step_backward"):
                assert callable(getattr(module, f"{cell.name}_{suffix}"))


def test_long_double_sized_inputs_come_down_to_double(rng: np.random.Generator) -> None:
    arguments = random_arguments(CELLS[0], rng, 2, 3, 4, 5, "float64")
    expected, _ = CELLS[0].forward(fastrnn, in_double(arguments))
    wide = {name: value.astype(np.longdouble) for name, value in arguments.items()}
    y, _ = CELLS[0].forward(fastrnn, wide)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, expected)
