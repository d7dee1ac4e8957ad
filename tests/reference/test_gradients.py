"""Every gradient of the reference against central finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastrnn import reference

from ..helpers import CELLS, Cell, assert_close, central_difference, past_the_end, some_lengths, some_resets

STEPS, INPUTS, HIDDEN = 4, 2, 3

cells = pytest.mark.parametrize("cell", CELLS, ids=str)
batches = pytest.mark.parametrize("batch", [None, 1, 3], ids=lambda batch: f"B={batch}")


def check_sequence_gradients(
    cell: Cell, rng: np.random.Generator, arguments: dict[str, Any], options: dict[str, Any]
) -> None:
    """Compare the gradients of a weighted sum of y and the final states."""
    y, cache = cell.forward(reference, arguments, **options)
    dy = rng.normal(size=y.shape)
    dfinal = {f"d{name}": rng.normal(size=state.shape) for name, state in cell.final_states(cache).items()}

    def loss(name: str, value: np.ndarray) -> float:
        y, cache = cell.forward(reference, {**arguments, name: value}, **options)
        states = cell.final_states(cache)
        return np.sum(dy * y) + sum(np.sum(dfinal[f"d{state}"] * states[state]) for state in states)

    batch = None if y.ndim == 2 else len(y)
    dy_given = np.where(past_the_end(options.get("lengths"), batch, y.shape[-2])[..., np.newaxis], np.nan, dy)
    gradients = cell.backward(reference, dy_given, cache, **dfinal)
    for name, value in arguments.items():
        gradient = getattr(gradients, f"d{name}")
        if value is None:
            assert name == "b" and gradient is None
            continue
        expected = central_difference(lambda shifted, name=name: loss(name, shifted), value)
        assert_close(gradient, expected, "finite_difference", f"d{name}")


@cells
@batches
@pytest.mark.parametrize("reverse", [False, True], ids=["onward", "reverse"])
@pytest.mark.parametrize("with_resets", [False, True], ids=["no_resets", "resets"])
@pytest.mark.parametrize("with_lengths", [False, True], ids=["full", "lengths"])
def test_sequence(
    cell: Cell, batch: int | None, with_lengths: bool, with_resets: bool, reverse: bool, rng: np.random.Generator
) -> None:
    options: dict[str, Any] = {"reverse": reverse}
    if with_lengths:
        options["lengths"] = some_lengths(batch, STEPS)
    if with_resets:
        options["reset_mask"] = some_resets(batch, STEPS)
    check_sequence_gradients(cell, rng, cell.arguments(rng, batch, STEPS, INPUTS, HIDDEN), options)


@cells
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu", "linear"])
def test_activation(cell: Cell, activation: str, rng: np.random.Generator) -> None:
    # A relu closer to its kink than the step of the differences would show as an error of the gradient's own size.
    arguments = cell.arguments(rng, 3, STEPS, INPUTS, HIDDEN)
    check_sequence_gradients(cell, rng, arguments, {"activation": activation})


@pytest.mark.parametrize("cell", CELLS[1:], ids=str)
@pytest.mark.parametrize("recurrent_activation", ["tanh", "relu", "linear"])
def test_recurrent_activation(cell: Cell, recurrent_activation: str, rng: np.random.Generator) -> None:
    arguments = {name: 0.5 * value for name, value in cell.arguments(rng, 3, STEPS, INPUTS, HIDDEN).items()}
    check_sequence_gradients(cell, rng, arguments, {"recurrent_activation": recurrent_activation})


@cells
@batches
def test_without_bias(cell: Cell, batch: int | None, rng: np.random.Generator) -> None:
    arguments = {**cell.arguments(rng, batch, STEPS, INPUTS, HIDDEN), "b": None}
    check_sequence_gradients(cell, rng, arguments, {})


@cells
@pytest.mark.parametrize(("steps", "inputs", "hidden"), [(1, 1, 1), (1, 3, 2), (5, 1, 1)])
def test_smallest_sizes(cell: Cell, steps: int, inputs: int, hidden: int, rng: np.random.Generator) -> None:
    check_sequence_gradients(cell, rng, cell.arguments(rng, 2, steps, inputs, hidden), {})


@cells
@batches
def test_final_gradients_may_be_left_out(cell: Cell, batch: int | None, rng: np.random.Generator) -> None:
    y, cache = cell.forward(reference, cell.arguments(rng, batch, STEPS, INPUTS, HIDDEN))
    dy = rng.normal(size=y.shape)
    zeros = {f"d{name}": np.zeros_like(state) for name, state in cell.final_states(cache).items()}
    for left_out, given in zip(
        cell.backward(reference, dy, cache), cell.backward(reference, dy, cache, **zeros), strict=True
    ):
        np.testing.assert_array_equal(left_out, given)


@cells
@batches
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no_bias"])
def test_step(cell: Cell, batch: int | None, with_bias: bool, rng: np.random.Generator) -> None:
    rows = () if batch is None else (batch,)
    sequence = cell.arguments(rng, batch, STEPS, INPUTS, HIDDEN)
    arguments: dict[str, Any] = {
        "x": sequence["x"][..., 0, :],
        **{f"{state}_prev": sequence[f"{state}0"] for state in cell.states},
        "w_x": sequence["w_x"],
        "w_h": sequence["w_h"],
        "b": sequence["b"] if with_bias else None,
    }
    dstates = [rng.normal(size=(*rows, HIDDEN)) for _ in cell.states]

    def loss(name: str, value: np.ndarray) -> float:
        *states, _ = cell.step_forward(reference, {**arguments, name: value})
        return sum(np.sum(dstate * state) for dstate, state in zip(dstates, states, strict=True))

    *_, cache = cell.step_forward(reference, arguments)
    gradients = cell.step_backward(reference, *dstates, cache)
    assert [field[1:] for field in gradients._fields] == list(arguments)
    for name, value in arguments.items():
        gradient = getattr(gradients, f"d{name}")
        if value is None:
            assert gradient is None
            continue
        expected = central_difference(lambda shifted, name=name: loss(name, shifted), value)
        assert_close(gradient, expected, "finite_difference", f"d{name}")
