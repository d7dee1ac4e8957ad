"""Every gradient of the reference against central finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastrnn import reference

from ..conftest import TOLERANCES
from ..helpers import (
    CELL_OF,
    CELLS,
    Cell,
    assert_close,
    central_difference,
    past_the_end,
    some_lengths,
    some_resets,
    spec_of,
)
from ..options import ACTIVATIONS, LEARNED, build, covering, label, levels_of, plain

STEPS, INPUTS, HIDDEN = 4, 2, 3

cells = pytest.mark.parametrize("cell", CELLS, ids=str)
gated_cells = pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.gates > 1], ids=str)
batches = pytest.mark.parametrize("batch", [None, 1, 3], ids=lambda batch: f"B={batch}")


class Loss:
    """A weighted sum of y, the final states, and every c_t of a cell that has c, and its gradients by the cell."""

    def __init__(
        self, cell: Cell, rng: np.random.Generator, arguments: dict[str, Any], options: dict[str, Any]
    ) -> None:
        self.cell, self.arguments, self.options = cell, arguments, options
        y, cache = cell.forward(reference, arguments, **options)
        self.dy = rng.normal(size=y.shape)
        self.dfinal = {f"d{name}": rng.normal(size=state.shape) for name, state in cell.final_states(cache).items()}
        self.dc = rng.normal(size=cache.c.shape) if "c" in cell.states else None
        past = past_the_end(options.get("lengths"), None if y.ndim == 2 else len(y), y.shape[-2])[..., np.newaxis]
        by_step = {} if self.dc is None else {"dc": np.where(past, np.nan, self.dc)}
        self.gradients = cell.backward(reference, np.where(past, np.nan, self.dy), cache, **self.dfinal, **by_step)
        learned = {name: value for name, value in {**cell.options, **options}.items() if name in LEARNED}
        self.variables = {
            name: np.asarray(value) for name, value in {**arguments, **learned}.items() if value is not None
        }

    def __call__(self, name: str, value: np.ndarray) -> float:
        """The loss with another value of one variable."""
        arguments = {**self.arguments, name: value} if name in self.arguments else self.arguments
        options = self.options if name in self.arguments else {**self.options, name: value}
        y, cache = self.cell.forward(reference, arguments, **options)
        final = self.cell.final_states(cache)
        return (
            np.sum(self.dy * y)
            + sum(np.sum(self.dfinal[f"d{state}"] * final[state]) for state in final)
            + (0 if self.dc is None else np.sum(self.dc * cache.c))
        )

    def check_every_element(self) -> None:
        """Every gradient is that of central differences, element by element; what is not there has none."""
        for name, value in self.variables.items():
            past = np.isnan(value)  # x past the end of a row, where nothing counts
            expected = central_difference(
                lambda shifted, name=name, past=past: self(name, np.where(past, np.nan, shifted)),
                np.where(past, 0, value),
            )
            assert_close(getattr(self.gradients, f"d{name}"), expected, "finite_difference", f"d{name}")
        for field, gradient in self.gradients._asdict().items():
            assert (gradient is not None) == (field[1:] in self.variables), field

    def check_directions(self, rng: np.random.Generator, eps: float = 1e-5) -> None:
        """The same, faster: along one random direction for each variable, as a fraction of the gradient's length."""
        for name, value in self.variables.items():
            direction = rng.normal(size=value.shape)
            direction /= np.linalg.norm(direction)
            expected = (self(name, value + eps * direction) - self(name, value - eps * direction)) / (2 * eps)
            gradient = getattr(self.gradients, f"d{name}")
            assert gradient.shape == value.shape, name
            error = abs(np.sum(gradient * direction) - expected) / max(np.linalg.norm(gradient), 1e-3)
            assert error <= TOLERANCES["finite_difference"], f"d{name}: error {error:.2e} of the length"


def single_changes(cell: Cell) -> list[Any]:
    """The configurations with one option each, in a batch with bias, ragged, with resets, in both directions."""
    around = {"lengths": True, "resets": True}
    changes = [
        {**around, "reverse": k % 2 == 1, name: value}
        for name, values in levels_of(cell).items()
        for k, value in enumerate(values)
        if name not in around and value != values[0]
    ]
    return [pytest.param(cell, plain(cell, **change), id=label(change, cell)) for change in changes]


@pytest.mark.parametrize(("cell", "choice"), [param for cell in CELLS for param in single_changes(cell)])
def test_one_option(cell: Cell, choice: dict[str, Any], rng: np.random.Generator) -> None:
    arguments, options = build(cell, choice, rng, steps=STEPS, inputs=INPUTS, hidden=HIDDEN)
    Loss(cell, rng, arguments, options).check_every_element()


@pytest.mark.parametrize(
    ("cell", "choice"),
    [pytest.param(cell, row, id=label(row, cell)) for cell in CELLS for row in covering(levels_of(cell))],
)
def test_options_together(cell: Cell, choice: dict[str, Any], rng: np.random.Generator) -> None:
    arguments, options = build(cell, choice, rng, steps=5, inputs=INPUTS, hidden=HIDDEN)
    Loss(cell, rng, arguments, options).check_directions(rng)


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
    Loss(cell, rng, cell.arguments(rng, batch, STEPS, INPUTS, HIDDEN), options).check_every_element()


def check_activation(cell: Cell, rng: np.random.Generator, **options: Any) -> None:
    # A relu closer to its kink than the step of the differences would show as an error of the gradient's own size.
    # Unbounded gates multiply states that are large already: keep them small.
    scale = 0.3 if "exponential" in options.values() else 0.6
    arguments = cell.arguments(rng, 3, STEPS, INPUTS, HIDDEN)
    arguments = {name: None if value is None else scale * value for name, value in arguments.items()}
    Loss(cell, rng, arguments, options).check_directions(rng)


activations = pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)


@cells
@activations
def test_activation(cell: Cell, activation: Any, rng: np.random.Generator) -> None:
    check_activation(cell, rng, activation=activation)


@gated_cells
@activations
def test_recurrent_activation(cell: Cell, activation: Any, rng: np.random.Generator) -> None:
    check_activation(cell, rng, recurrent_activation=activation)


@activations
def test_output_activation(activation: Any, rng: np.random.Generator) -> None:
    check_activation(CELL_OF["lstm"], rng, output_activation=activation)


@cells
@batches
def test_without_bias(cell: Cell, batch: int | None, rng: np.random.Generator) -> None:
    arguments = {**cell.arguments(rng, batch, STEPS, INPUTS, HIDDEN), "b": None}
    Loss(cell, rng, arguments, {}).check_every_element()


@cells
@pytest.mark.parametrize(("steps", "inputs", "hidden"), [(1, 1, 1), (1, 3, 2), (5, 1, 1)])
def test_smallest_sizes(cell: Cell, steps: int, inputs: int, hidden: int, rng: np.random.Generator) -> None:
    Loss(cell, rng, cell.arguments(rng, 2, steps, inputs, hidden), {}).check_directions(rng)


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


def step_choices() -> list[Any]:
    """What a step knows of the options, one at a time."""
    ignored = {"batch", "lengths", "resets", "reverse", "dropout", "recurrent_dropout", "zoneout", "zoneout_cell"}
    choices = [
        (cell, {name: value})
        for cell in CELLS
        for name, values in levels_of(cell).items()
        for value in values[1:]
        if name not in ignored
    ]
    choices += [(cell, {}) for cell in CELLS]
    return [pytest.param(cell, plain(cell, **change), id=label(change, cell)) for cell, change in choices]


@batches
@pytest.mark.parametrize(("cell", "choice"), step_choices())
def test_step(cell: Cell, choice: dict[str, Any], batch: int | None, rng: np.random.Generator) -> None:
    sequence, options = build(cell, {**choice, "batch": batch}, rng, steps=1, inputs=INPUTS, hidden=HIDDEN)
    for name in ("reverse", "zoneout_mask", "zoneout_cell_mask"):
        options.pop(name, None)
    rename = {f"{state}0": f"{state}_prev" for state in cell.states}
    arguments = {rename.get(name, name): value for name, value in sequence.items()}
    arguments["x"] = arguments["x"][..., 0, :]
    *states, cache = cell.step_forward(reference, arguments, **options)
    dstates = [rng.normal(size=state.shape) for state in states]
    gradients = cell.step_backward(reference, *dstates, cache)

    def loss(name: str, value: np.ndarray) -> float:
        given = {**arguments, name: value} if name in arguments else arguments
        further = options if name in arguments else {**options, name: value}
        *states, _ = cell.step_forward(reference, given, **further)
        return sum(np.sum(dstate * state) for dstate, state in zip(dstates, states, strict=True))

    learned = {name: value for name, value in {**cell.options, **options}.items() if name in LEARNED}
    for name, value in {**arguments, **learned}.items():
        gradient = getattr(gradients, f"d{name}", None)
        if value is None:
            assert gradient is None
            continue
        expected = central_difference(lambda shifted, name=name: loss(name, shifted), np.asarray(value))
        assert_close(gradient, expected, "finite_difference", f"d{name}")


@cells
def test_fields_without_options(cell: Cell, rng: np.random.Generator) -> None:
    """The tuples that callers unpack have no further fields unless an option asks for them."""
    y, cache = cell.forward(reference, cell.arguments(rng, 2, STEPS, INPUTS, HIDDEN))
    spec = spec_of(cell)
    further = [f"d{spec['unit_name']}"] if spec["unit_name"] not in (None, "w_h") else []
    expected = ["dx", *(f"d{state}0" for state in cell.states), "dw_x", "dw_h", "db", *further]
    assert list(cell.backward(reference, y, cache)._fields) == expected


def test_fields_with_options(rng: np.random.Generator) -> None:
    sizes = {"steps": STEPS, "inputs": INPUTS, "hidden": HIDDEN}
    for cell in CELLS:
        if "layer_norm" in levels_of(cell):
            arguments, options = build(cell, plain(cell, layer_norm=1e-3), rng, **sizes)
            gradients = Loss(cell, rng, arguments, options).gradients
            plainly = Loss(cell, rng, cell.arguments(rng, 2, STEPS, INPUTS, HIDDEN), {}).gradients._fields
            of_norm = [f"d{name}" for name in LEARNED if name.startswith("ln_") and name in options]
            assert list(gradients._fields) == [*plainly, *of_norm]
    lstm = CELL_OF["lstm"]
    arguments, options = build(lstm, plain(lstm, projection=True), rng, **sizes)
    assert Loss(lstm, rng, arguments, options).gradients._fields[-2:] == ("dpeephole", "dw_proj")


def test_nothing_flows_into_an_unused_forget_gate(rng: np.random.Generator) -> None:
    """coupled: the columns of f, and its peepholes, have the gradient 0, and all others have not."""
    lstm = CELL_OF["lstm"]
    arguments, options = build(
        lstm, plain(lstm, coupled=True, peephole=True), rng, steps=STEPS, inputs=INPUTS, hidden=HIDDEN
    )
    gradients = Loss(lstm, rng, arguments, options).gradients
    for name in ("dw_x", "dw_h", "db"):
        i, f, g, o = np.split(getattr(gradients, name), 4, axis=-1)
        assert not f.any() and all(part.all() for part in (i, g, o)), name
    assert [row.any() for row in gradients.dpeephole] == [True, False, True]


def test_nothing_flows_where_a_value_is_clipped() -> None:
    """At the limit itself too."""
    arguments = ([[1.0]], [0.0], [[1.0]], [[0.0]], None)
    for limit, expected in ((0.5, 0.0), (1.0, 0.0), (1.5, 1.0)):
        _, cache = reference.rnn_forward(*arguments, activation="linear", clip=limit)
        assert reference.rnn_backward([[1.0]], cache).dw_x == expected
    weights = (np.zeros((1, 4)), np.zeros((1, 4)), [0.0, 0.0, 2.0, 0.0])  # c = 1/2 · 2
    for limit, expected in ((0.5, 0.0), (1.0, 0.0), (1.5, 0.25)):  # dh/dg = o·i
        _, cache = reference.lstm_forward([[1.0]], None, None, *weights, activation="linear", cell_clip=limit)
        assert reference.lstm_backward([[1.0]], cache).db[2] == expected
