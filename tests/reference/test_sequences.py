"""What the loop through time promises: lengths, resets, reversal, states, dtypes, and what it refuses."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastrnn import reference

from ..helpers import CELLS, Cell, assert_close, past_the_end, some_lengths, some_resets

BATCH, STEPS, INPUTS, HIDDEN = 5, 7, 3, 5

cells = pytest.mark.parametrize("cell", CELLS, ids=str)
reversals = pytest.mark.parametrize("reverse", [False, True], ids=["onward", "reverse"])


@pytest.fixture
def arguments(cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
    return cell.arguments(rng, BATCH, STEPS, INPUTS, HIDDEN)


def changed(arguments: dict[str, Any], change: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """Every argument changed; None, the recurrent weights of a cell that has none, stays."""
    return {name: None if value is None else change(value) for name, value in arguments.items()}


def run_row_by_step(
    cell: Cell, arguments: dict[str, Any], row: int, length: int, resets: np.ndarray, reverse: bool
) -> tuple[np.ndarray, list[np.ndarray]]:
    """One row, one step after the other with the step function: every state (n_states, T, H), and the final states."""
    states = [arguments[f"{state}0"][row] for state in cell.states]
    history = np.zeros((len(states), STEPS, HIDDEN))
    for t in range(length - 1, -1, -1) if reverse else range(length):
        if resets[t]:
            states = [np.zeros(HIDDEN) for _ in states]
        named = {f"{state}_prev": value for state, value in zip(cell.states, states, strict=True)}
        weights = {name: arguments[name] for name in ("w_x", "w_h", "b")}
        *states, _ = cell.step_forward(reference, {"x_t": arguments["x"][row, t], **named, **weights})
        history[:, t] = states
    return history, states


@cells
@reversals
def test_lengths_and_resets_row_by_row(cell: Cell, arguments: dict[str, Any], reverse: bool) -> None:
    lengths, resets = some_lengths(BATCH, STEPS), some_resets(BATCH, STEPS)
    y, cache = cell.forward(reference, arguments, lengths=lengths, reset_mask=resets, reverse=reverse)
    outputs = [y] if cell.states == ("h",) else [y, cache.c]
    for row in range(BATCH):
        history, states = run_row_by_step(cell, arguments, row, lengths[row], resets[row], reverse)
        for output, expected in zip(outputs, history, strict=True):
            assert_close(output[row], expected, "float64")
        for final, expected in zip(cell.final_states(cache).values(), states, strict=True):
            assert_close(final[row], expected, "float64")


@cells
@reversals
def test_one_instance_is_a_batch_of_one(cell: Cell, reverse: bool, rng: np.random.Generator) -> None:
    one = cell.arguments(rng, None, STEPS, INPUTS, HIDDEN)
    shared = ("w_x", "w_h", "b")
    batch = {**changed(one, lambda value: value[np.newaxis]), **{name: one[name] for name in shared}}
    resets = some_resets(None, STEPS)
    dy = rng.normal(size=(STEPS, HIDDEN))
    y_batch, cache_batch = cell.forward(reference, batch, lengths=[4], reset_mask=resets[np.newaxis], reverse=reverse)
    expected = cell.backward(reference, dy[np.newaxis], cache_batch)
    for length in (4, np.int32(4), [4], np.array(4)):
        y, cache = cell.forward(reference, one, lengths=length, reset_mask=resets, reverse=reverse)
        assert_close(y, y_batch[0], "float64")
        for name, state in cell.final_states(cache).items():
            assert_close(state, getattr(cache_batch, name)[0], "float64", name)
        gradients = cell.backward(reference, dy, cache)
        for name, value in one.items():
            if value is not None:
                gradient = getattr(expected, f"d{name}").reshape(value.shape)
                assert_close(getattr(gradients, f"d{name}"), gradient, "float64", f"d{name}")


@cells
def test_steps_forward_and_backward_equal_the_sequence(
    cell: Cell, arguments: dict[str, Any], rng: np.random.Generator
) -> None:
    weights = {name: arguments[name] for name in ("w_x", "w_h", "b")}
    states = {f"{state}_prev": arguments[f"{state}0"] for state in cell.states}
    outputs, caches = [], []
    for t in range(STEPS):
        *new, cache = cell.step_forward(reference, {"x_t": arguments["x"][:, t], **states, **weights})
        states = dict(zip(states, new, strict=True))
        outputs.append(new[0])
        caches.append(cache)
    y, sequence_cache = cell.forward(reference, arguments)
    assert_close(y, np.stack(outputs, axis=1), "float64")

    dy = rng.normal(size=y.shape)
    dstates = [np.zeros((BATCH, HIDDEN)) for _ in cell.states]
    totals: dict[str, Any] = {f"d{name}": np.zeros_like(value) for name, value in weights.items() if value is not None}
    dx = np.empty_like(arguments["x"])
    for t in reversed(range(STEPS)):
        dstates[0] = dstates[0] + dy[:, t]
        gradients = cell.step_backward(reference, *dstates, caches[t])
        dx[:, t] = gradients.dx
        dstates = [getattr(gradients, f"d{state}_prev") for state in cell.states]
        for name in totals:
            totals[name] += getattr(gradients, name)
    expected = {"dx": dx, **{f"d{s}0": d for s, d in zip(cell.states, dstates, strict=True)}, **totals}
    gradients = cell.backward(reference, dy, sequence_cache)
    for name, value in expected.items():
        assert_close(getattr(gradients, name), value, "float64", name)


@cells
def test_missing_output_gradient_is_zeros(cell: Cell, arguments: dict[str, Any], rng: np.random.Generator) -> None:
    y, cache = cell.forward(reference, arguments)
    dfinal = {f"d{state}_n": rng.normal(size=(BATCH, HIDDEN)) for state in cell.states}
    gradients = cell.backward(reference, None, cache, **dfinal)
    for gradient, expected in zip(gradients, cell.backward(reference, np.zeros_like(y), cache, **dfinal), strict=True):
        np.testing.assert_array_equal(gradient, expected)


@cells
def test_missing_states_are_zeros(cell: Cell, arguments: dict[str, Any]) -> None:
    names = [f"{state}0" for state in cell.states]
    zeros = {**arguments, **{name: np.zeros((BATCH, HIDDEN)) for name in names}}
    y, _ = cell.forward(reference, {**arguments, **dict.fromkeys(names)})
    expected, _ = cell.forward(reference, zeros)
    np.testing.assert_array_equal(y, expected)
    given, _ = cell.forward(reference, arguments)
    assert np.abs(given - expected).max() > 0.01


@cells
def test_missing_bias_is_zeros(cell: Cell, arguments: dict[str, Any]) -> None:
    y, _ = cell.forward(reference, {**arguments, "b": None})
    expected, _ = cell.forward(reference, {**arguments, "b": np.zeros_like(arguments["b"])})
    np.testing.assert_array_equal(y, expected)


@cells
@reversals
def test_past_the_end_nothing_counts(
    cell: Cell, arguments: dict[str, Any], reverse: bool, rng: np.random.Generator
) -> None:
    lengths = some_lengths(BATCH, STEPS)
    past = past_the_end(lengths, BATCH, STEPS)
    dy = rng.normal(size=(BATCH, STEPS, HIDDEN))
    results = []
    for filler in (0.0, np.nan, np.inf):
        x = np.where(past[..., np.newaxis], filler, arguments["x"])
        y, cache = cell.forward(reference, {**arguments, "x": x}, lengths=lengths, reverse=reverse)
        gradients = cell.backward(reference, np.where(past[..., np.newaxis], filler, dy), cache)
        assert not y[past].any() and not gradients.dx[past].any()
        if "c" in cell.states:
            assert not cache.c[past].any()
        results.append([y, *cell.final_states(cache).values(), *(g for g in gradients if g is not None)])
    for other in results[1:]:
        for actual, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(actual, expected)


@cells
@reversals
def test_row_of_length_zero_hands_its_state_through(
    cell: Cell, arguments: dict[str, Any], reverse: bool, rng: np.random.Generator
) -> None:
    y, cache = cell.forward(
        reference,
        arguments,
        lengths=np.zeros(BATCH, dtype=int),
        reset_mask=np.ones((BATCH, STEPS), dtype=bool),
        reverse=reverse,
    )
    dfinal = {f"d{state}_n": rng.normal(size=(BATCH, HIDDEN)) for state in cell.states}
    gradients = cell.backward(reference, np.full(y.shape, np.nan), cache, **dfinal)
    assert not y.any()
    for state in cell.states:
        np.testing.assert_array_equal(getattr(cache, f"{state}_n"), arguments[f"{state}0"])
        np.testing.assert_array_equal(getattr(gradients, f"d{state}0"), dfinal[f"d{state}_n"])
    for name in ("dx", "dw_x", "dw_h", "db"):
        assert not np.any(getattr(gradients, name)), name


@cells
def test_reset_forgets_whatever_the_state_was(cell: Cell, arguments: dict[str, Any]) -> None:
    resets = np.zeros((BATCH, STEPS), dtype=bool)
    resets[:, 0] = True
    bad = {f"{state}0": np.full((BATCH, HIDDEN), np.nan) for state in cell.states}
    y, cache = cell.forward(reference, {**arguments, **bad}, reset_mask=resets)
    expected, _ = cell.forward(reference, {**arguments, **dict.fromkeys(bad)})
    np.testing.assert_array_equal(y, expected)
    gradients = cell.backward(reference, np.ones_like(y), cache)
    for name in bad:
        assert not getattr(gradients, f"d{name}").any()


@cells
def test_empty_batch(cell: Cell, rng: np.random.Generator) -> None:
    arguments = cell.arguments(rng, 0, STEPS, INPUTS, HIDDEN)
    options = {"lengths": np.zeros(0, dtype=int), "reset_mask": np.zeros((0, STEPS), dtype=bool)}
    for chosen in ({}, options):
        y, cache = cell.forward(reference, arguments, **chosen)
        assert y.shape == (0, STEPS, HIDDEN)
        gradients = cell.backward(reference, np.zeros_like(y), cache)
        for name, value in arguments.items():
            assert np.shape(getattr(gradients, f"d{name}")) == np.shape(value)
            assert not np.any(getattr(gradients, f"d{name}"))
        for state in cell.final_states(cache).values():
            assert state.shape == (0, HIDDEN)


@cells
def test_inputs_are_not_written_to(cell: Cell, arguments: dict[str, Any], rng: np.random.Generator) -> None:
    changed(arguments, lambda value: value.setflags(write=False))
    lengths, resets = some_lengths(BATCH, STEPS), some_resets(BATCH, STEPS)
    lengths.flags.writeable = resets.flags.writeable = False
    y, cache = cell.forward(reference, arguments, lengths=lengths, reset_mask=resets)
    y_before = y.copy()
    gradients = [rng.normal(size=y.shape), *(rng.normal(size=(BATCH, HIDDEN)) for _ in cell.states)]
    for gradient in gradients:
        gradient.flags.writeable = False
    dfinal = dict(zip((f"d{state}_n" for state in cell.states), gradients[1:], strict=True))
    first = cell.backward(reference, gradients[0], cache, **dfinal)
    second = cell.backward(reference, gradients[0], cache, **dfinal)  # a cache can be used twice
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(y, y_before)


@cells
def test_results_share_no_memory_with_arguments(cell: Cell, arguments: dict[str, Any]) -> None:
    y, cache = cell.forward(reference, arguments, lengths=np.zeros(BATCH, dtype=int))
    dfinal = {f"d{state}_n": np.ones((BATCH, HIDDEN)) for state in cell.states}
    gradients = cell.backward(reference, np.ones_like(y), cache, **dfinal)
    given = [*arguments.values(), *dfinal.values(), *cell.final_states(cache).values()]
    for result in (y, *(g for g in gradients if g is not None)):
        assert not any(np.shares_memory(result, value) for value in given)
    for state in cell.final_states(cache).values():
        assert not any(np.shares_memory(state, value) for value in arguments.values())


@cells
def test_float32(cell: Cell, arguments: dict[str, Any], rng: np.random.Generator) -> None:
    single = changed(arguments, lambda value: value.astype(np.float32))
    double = changed(single, lambda value: value.astype(np.float64))
    dy = rng.normal(size=(BATCH, STEPS, HIDDEN)).astype(np.float32)
    y, cache = cell.forward(reference, single)
    expected, cache_expected = cell.forward(reference, double)
    assert y.dtype == np.float32
    assert_close(y, expected, "float32_output")
    gradients = cell.backward(reference, dy, cache)
    gradients_expected = cell.backward(reference, dy, cache_expected)
    for name, value in arguments.items():
        gradient = getattr(gradients, f"d{name}")
        if value is None:
            assert gradient is None
            continue
        assert gradient.dtype == np.float32
        assert_close(gradient, getattr(gradients_expected, f"d{name}"), "float32_gradient", f"d{name}")


@cells
def test_dtype_is_float32_only_if_every_float_is(cell: Cell, arguments: dict[str, Any]) -> None:
    single = changed(arguments, lambda value: value.astype(np.float32))
    integers = {**single, "x": np.ones((BATCH, STEPS, INPUTS), dtype=np.int64)}
    assert cell.forward(reference, integers)[0].dtype == np.float32
    for name, value in arguments.items():
        mixed = {**single, name: value}
        assert cell.forward(reference, mixed)[0].dtype == (np.float32 if value is None else np.float64)


@cells
def test_any_array_is_taken(cell: Cell, arguments: dict[str, Any]) -> None:
    expected, _ = cell.forward(reference, arguments)
    for change in (np.asfortranarray, lambda a: a.astype(">f8"), np.ndarray.tolist, lambda a: np.repeat(a, 2, 0)[::2]):
        y, _ = cell.forward(reference, changed(arguments, change))
        assert_close(y, expected, "float64")


@cells
def test_number_of_threads_is_ignored(cell: Cell, arguments: dict[str, Any]) -> None:
    y, _ = cell.forward(reference, arguments, num_threads=3)
    expected, _ = cell.forward(reference, arguments)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    ("cell", "name", "change", "message"),
    [
        (cell, *case)
        for cell in CELLS
        for case in (
            ("x", lambda a: a[0, 0], "x: expected 2-D or 3-D"),
            ("x", lambda a: a[:, :0], "x: expected at least one time step"),
            ("x", lambda a: a[..., :0], "x: expected at least one time step and one input"),
            ("h0", lambda a: a[1:], r"h0: expected shape \(B, H\) = \(5, 5\), got \(4, 5\)"),
            ("h0", lambda a: a[0], r"h0: expected shape \(B, H\)"),
            ("w_x", lambda a: a[1:], r"w_x: expected shape \(I, (\d\*)?H\) = \(3, \d+\), got \(2, \d+\)"),
            ("w_h", lambda a: a[..., 0], r"w_h: expected \d-D"),
            ("w_h", lambda a: a[..., :0], r"w_h: expected (shape \(H, (\d\*)?H\)|at least one unit)"),
            ("b", lambda a: a[..., 1:], "b: expected shape"),
        )
        if cell.recurrent is not None or case[0] != "w_h"
    ],
    ids=str,
)
def test_misfitting_shapes_raise(cell: Cell, arguments: dict[str, Any], name: str, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cell.forward(reference, {**arguments, name: change(arguments[name])})


@cells
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lengths": [1, 2, 3, 4, STEPS + 1]}, ValueError, "lengths: expected integers from 0 to 7"),
        ({"lengths": [1, 2, 3, 4, -1]}, ValueError, "lengths: expected integers"),
        ({"lengths": [1, 2, 3, 4, 2.5]}, ValueError, "lengths: expected integers"),
        ({"lengths": [1, 2, 3, 4, np.nan]}, ValueError, "lengths: expected integers"),
        ({"lengths": [1, 2]}, ValueError, r"lengths: expected shape \(B,\) = \(5,\), got \(2,\)"),
        ({"lengths": 3}, ValueError, "lengths: expected shape"),
        ({"reset_mask": np.zeros((BATCH, STEPS))}, TypeError, "reset_mask: expected a boolean array"),
        ({"reset_mask": np.zeros(STEPS, dtype=bool)}, ValueError, r"reset_mask: expected shape \(B, T\) = \(5, 7\)"),
        ({"activation": "softmax"}, ValueError, "activation: expected one of 'tanh'"),
        ({"no_such_option": 1}, TypeError, "no_such_option"),
    ],
)
def test_bad_options_raise(
    cell: Cell, arguments: dict[str, Any], options: dict[str, Any], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        cell.forward(reference, arguments, **options)


@cells
@pytest.mark.parametrize("name", ["x", "h0", "w_x", "w_h", "b"])
@pytest.mark.parametrize("dtype", [complex, object, "U8"])
def test_what_is_not_a_real_number_raises(cell: Cell, arguments: dict[str, Any], name: str, dtype: Any) -> None:
    with pytest.raises(TypeError, match="real numbers"):
        cell.forward(reference, {**arguments, name: np.ones((2, 2)).astype(dtype)})


@cells
def test_misfitting_gradients_raise(cell: Cell, arguments: dict[str, Any]) -> None:
    y, cache = cell.forward(reference, arguments)
    with pytest.raises(ValueError, match=r"dy: expected shape \(B, T, H\) = \(5, 7, 5\), got \(5, 6, 5\)"):
        cell.backward(reference, y[:, 1:], cache)
    for state in cell.states:
        with pytest.raises(ValueError, match=rf"d{state}_n: expected shape \(B, H\) = \(5, 5\), got \(5,\)"):
            cell.backward(reference, y, cache, **{f"d{state}_n": np.ones(HIDDEN)})


def test_imports_numpy_alone() -> None:
    for path in Path(inspect.getfile(reference)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level <= 1, f"{path.name} imports from outside the package"
                modules = [node.module] if node.level == 0 and node.module else []
            else:
                continue
            for module in modules:
                top = module.partition(".")[0]
                assert top == "numpy" or top in sys.stdlib_module_names, f"{path.name} imports {module}"
