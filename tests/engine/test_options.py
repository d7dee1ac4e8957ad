"""Every option of every cell against the reference: alone, in pairs, all at once, and in long sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import _engine

from ..conftest import TOLERANCES
from ..helpers import CELLS, Cell, past_the_end
from ..options import ACTIVATIONS, LEARNED, build, covering, levels_of, plain
from .cases import (
    Array,
    assert_engine_is_right,
    cells,
    dtypes,
    gradients_of,
    in_turn,
    in_type,
    instruction_sets,
    outputs_of,
    upstream_of,
    with_nan_past_the_end,
)
from .mixes import MIXES, mix_of

Choice = Mapping[str, Any]

# What a configuration has beside the cell's options.  Sizes around those of vectors, panels and groups of rows.
AROUND: dict[str, tuple[Any, ...]] = {
    "batch": (5, 1, None, 2, 13),
    "steps": (5, 1, 2),
    "inputs": (3, 1, 17),
    "hidden": (8, 1, 3, 7, 9, 17, 33, 67),
    "projected": ("narrow", "wide"),
    "states": (True, False),
    "upstream": ("all", "dy", "final"),
    "dtype": ("float32", "float64"),
    "instruction_set": tuple(_engine.instruction_sets()),
}
GATES = ("sigmoid", "hard_sigmoid", ("scaled_tanh", 0.5, 0.7), "tanh", "gelu", "softplus", "linear", "relu")
WITHOUT_KINKS = {"clip": None, "cell_clip": None, "activation": "gelu", "recurrent_activation": "sigmoid"}
WITHOUT_KINKS |= {"output_activation": "softsign"}
UNBOUNDED = 0.4  # all numbers times this: states that grow from step to step are beyond any float32 arithmetic


def factors_of(cell: Cell) -> dict[str, Any]:
    """The levels of every factor of a configuration."""
    levels = {**levels_of(cell), **AROUND, "activation": ACTIVATIONS}
    if "recurrent_activation" in levels:
        levels["recurrent_activation"] = GATES
    return levels


def built(cell: Cell, choice: Choice, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and options of a configuration in its type."""
    hidden = choice["hidden"]
    if choice.get("layer_norm"):
        # The gradient through the norm of one value is 0, and close to 0 where a factor of all values changes alone:
        # no rounding error is a small part of that.
        hidden = max(hidden, 2)
        choice = {**choice, "layer_norm": 0.2} if choice["dtype"] == "float32" else choice
    arguments, options = build(
        cell, choice, rng, steps=choice["steps"], inputs=choice["inputs"], hidden=hidden,
        projected=hidden + 5 if choice["projected"] == "wide" else (hidden + 1) // 2,
    )  # fmt: skip
    for name, value in arguments.items():
        arguments[name] = None if value is None else UNBOUNDED * value
    if not choice["states"]:
        arguments |= {f"{state}0": None for state in cell.states}
    if options.get("w_proj") is not None:
        options["w_proj"] /= np.sqrt(hidden)
    return in_type(arguments, choice["dtype"]), in_type(options, choice["dtype"])


def upstream_for(
    cell: Cell, choice: Choice, arguments: dict[str, Any], options: dict[str, Any], rng: np.random.Generator
) -> dict[str, Any]:
    """The gradients that a configuration has from outside; NaN past the end of a row."""
    upstream = upstream_of(outputs_of(cell, *cell.forward(fastrnn, arguments, **options)), rng)
    by_step = [name for name in ("dy", "dc") if name in upstream]
    if choice["lengths"]:
        upstream |= {name: with_nan_past_the_end(upstream[name], options["lengths"]) for name in by_step}
    if choice["upstream"] == "dy":
        return {"dy": upstream["dy"]}
    if choice["upstream"] == "final":
        return {**{name: value for name, value in upstream.items() if name not in by_step}, "dy": None}
    return upstream


PAIRS = [
    pytest.param(cell, choice, choice["instruction_set"], id=f"{cell}-{k}")
    for cell in CELLS
    for k, choice in enumerate(covering(factors_of(cell)))
]


@pytest.mark.parametrize(("cell", "choice", "instruction_set"), PAIRS, indirect=["instruction_set"])
def test_every_pair_of_options(cell: Cell, choice: Choice, instruction_set: str, rng: np.random.Generator) -> None:
    """Any two levels of any two of: options, activations, sizes, types, instruction sets."""
    arguments, options = built(cell, choice, rng)
    assert_engine_is_right(cell, arguments, upstream_for(cell, choice, arguments, options, rng), **options)


@in_turn("name", tuple(MIXES))
def test_mixes_over_several_chunks(
    cell: Cell, dtype: str, name: str, instruction_set: str, rng: np.random.Generator
) -> None:
    """Enough rows that both passes run in several chunks of time, where the rows' number differs from step to step."""
    long = 1000 if dtype == "float64" else 300  # float32's rounding grows with the steps
    for batch, steps, hidden in ((2, long, 9), (70, 40, 70)):
        arguments, options = mix_of(cell, name, rng, batch, steps, 3, hidden, dtype)
        if dtype == "float32":  # of a million values some are rounded to the other side of a kink
            options |= {key: value for key, value in WITHOUT_KINKS.items() if key in options}
        options["lengths"] = rng.integers(0, steps + 1, batch)
        upstream = upstream_of(outputs_of(cell, *cell.forward(fastrnn, arguments, **options)), rng)
        assert_engine_is_right(cell, arguments, upstream, **options)


@instruction_sets
@dtypes
@pytest.mark.parametrize("cell", [cell for cell in CELLS if "layer_norm" in levels_of(cell)], ids=str)
def test_layer_norm_by_default(cell: Cell, dtype: str, instruction_set: str, rng: np.random.Generator) -> None:
    """With the epsilon of its default, on rows that vary by much more."""
    arguments, options = build(cell, plain(cell, batch=6, layer_norm=0.2), rng, steps=5, inputs=8, hidden=19)
    del options["ln_epsilon"]
    arguments, options = in_type(arguments, dtype), in_type(options, dtype)
    upstream = upstream_of(outputs_of(cell, *cell.forward(fastrnn, arguments, **options)), rng)
    assert_engine_is_right(cell, arguments, upstream, **options)


# ---- finite differences ----------------------------------------------------------------------------------------------


def with_gates(cell: Cell, arguments: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[dict[str, Array], Any]:
    """All that a forward pass gives, the gates too, and its cache."""
    y, cache = cell.forward(fastrnn, arguments, **options)
    return {**outputs_of(cell, y, cache), "gates": cache.gates}, cache


def gradient_along(
    cell: Cell, arguments: dict[str, Any], options: dict[str, Any], rng: np.random.Generator, eps: float = 1e-5
) -> list[tuple[str, float, float, float]]:
    """Of each variable: its name, the derivative of a loss along a random direction by the gradient and by differences,
    and the gradient's length."""
    outputs, cache = with_gates(cell, arguments, options)
    upstream = upstream_of(outputs, rng)
    dy, others = upstream["dy"], {name: value for name, value in upstream.items() if name != "dy"}
    gradients = gradients_of(cell, cell.backward(fastrnn, dy, cache, **others))
    given = {**cell.options, **options}
    variables = {name[1:]: np.asarray({**given, **arguments}[name[1:]]) for name in gradients}
    assert variables.keys() == {
        name for name, value in {**arguments, **given}.items() if value is not None and name in (*arguments, *LEARNED)
    }

    def loss(name: str, value: Array) -> float:
        changed = {**arguments, **options, name: value}
        results, _ = with_gates(cell, {key: changed.pop(key) for key in arguments}, changed)
        return sum(float(np.sum(upstream[f"d{key}"] * result)) for key, result in results.items())

    found = []
    for name, value in variables.items():
        past = np.isnan(value)
        start, direction = np.where(past, 0, value), np.where(past, 0, rng.normal(size=value.shape))
        direction /= max(np.linalg.norm(direction), 1e-300)  # of x it is 0 where no row has a step
        difference = loss(name, start + eps * direction) - loss(name, start - eps * direction)
        gradient = gradients[f"d{name}"]
        found.append((name, float(np.sum(gradient * direction)), difference / (2 * eps), np.linalg.norm(gradient)))
    return found


SOME_IN_DOUBLE = [case for case in PAIRS if case.values[1]["dtype"] == "float64"][::4]


@pytest.mark.parametrize(("cell", "choice", "instruction_set"), SOME_IN_DOUBLE, indirect=["instruction_set"])
def test_gradients_are_those_of_differences(
    cell: Cell, choice: Choice, instruction_set: str, rng: np.random.Generator
) -> None:
    """Of every fourth of the same configurations in float64, with every size, activation and option among them, always
    from initial states and with gradients by all that there is."""
    arguments, options = built(cell, {**choice, "states": True}, rng)
    for name, actual, expected, length in gradient_along(cell, arguments, options, rng):
        error = abs(actual - expected) / max(length, 1e-3)
        assert error <= TOLERANCES["finite_difference"], f"d{name}: error {error:.2e} of the length"


# ---- what options mean -----------------------------------------------------------------------------------------------


@cells
def test_options_that_ask_for_nothing_change_nothing(cell: Cell, rng: np.random.Generator) -> None:
    """None, and a number or mask that lets everything through."""
    arguments = cell.arguments(rng, 4, 6, 3, 9)
    expected, _ = cell.forward(fastrnn, arguments)
    nothing: dict[str, Any] = {"clip": 1e6, "zoneout_mask": 0.0, "dropout_mask": np.ones((4, 3))}
    if cell.recurrent is not None:
        nothing["recurrent_dropout_mask"] = np.ones((4, 9))
    if "c" in cell.states:
        nothing |= {"cell_clip": 1e6, "zoneout_cell_mask": 0.0, "peephole": np.zeros((3, 9)), "coupled": False}
    for name, value in nothing.items():
        np.testing.assert_allclose(cell.forward(fastrnn, arguments, **{name: value})[0], expected, atol=1e-14)
        np.testing.assert_array_equal(cell.forward(fastrnn, arguments, **{name: None})[0], expected)


@instruction_sets
@dtypes
@cells
def test_past_the_end_nothing_counts(cell: Cell, dtype: str, instruction_set: str, rng: np.random.Generator) -> None:
    """Neither the inputs there nor what masks of zoneout hold."""
    for name in MIXES:
        arguments, options = mix_of(cell, name, rng, 5, 7, 3, 9, dtype)
        options["lengths"] = np.array([3, 0, 7, 1, 5])
        outputs = outputs_of(cell, *cell.forward(fastrnn, arguments, **options))
        past = past_the_end(options["lengths"], 5, 7)[..., np.newaxis]
        arguments["x"] = np.where(past, arguments["x"].dtype.type(np.inf), arguments["x"])
        for mask in ("zoneout_mask", "zoneout_cell_mask"):
            if np.ndim(options.get(mask)):
                options[mask] = np.where(past, 1 - options[mask], options[mask])
        for key, value in outputs_of(cell, *cell.forward(fastrnn, arguments, **options)).items():
            np.testing.assert_array_equal(value, outputs[key], key)
            if value.ndim == 3:
                assert not value[np.broadcast_to(past, value.shape)].any()
