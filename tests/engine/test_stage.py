"""A cell bound for stepping: the bits of the step functions, its own copy of the weights, and clear errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import _engine
from fastrnn._recurrent_stage import RecurrentStage
from fastrnn._session import Loop

from ..helpers import Cell, spec_of
from ..options import build, covering, levels_of
from .cases import cells, dtypes, in_turn, in_type, instruction_sets, random_arguments

MASKS = {"lengths", "resets", "reverse", "dropout", "recurrent_dropout"}  # of sequences or of training


def activation_of(option: object) -> tuple[int, float, float]:
    """As the engine takes it."""
    name, *constants = option if isinstance(option, tuple) else (option,)
    kind, *defaults = _engine.ACTIVATIONS[name]["default"]
    return (kind, *constants, *defaults[len(constants) :])


def stage_of(
    cell: Cell, arguments: dict[str, Any], batch: int, options: dict[str, Any] | None = None
) -> RecurrentStage:
    """The cell bound with these weights; the options as the functions of the cell check them."""
    spec, options = spec_of(cell), options or {}
    _, cache = cell.forward(fastrnn, arguments, **options)
    return RecurrentStage(
        spec["index"], batch, *(arguments[name] for name in ("w_x", "w_h", "b")),
        activation_of(options.get("activation", spec["activation"])),
        activation_of(options.get("recurrent_activation", "sigmoid")), cache.options,
    )  # fmt: skip


def assert_steps_have_the_bits_of_the_step_function(
    cell: Cell, arguments: dict[str, Any], options: dict[str, Any]
) -> None:
    weights = {name: arguments[name] for name in ("w_x", "w_h", "b")}
    batch, steps, _ = arguments["x"].shape
    stage = stage_of(cell, arguments, batch, options)
    loop = Loop(stage)
    states: list[np.ndarray | None] = [None] * len(cell.states)
    out = np.full_like(arguments["h0"], np.nan)
    for t in range(steps):
        x_t = np.ascontiguousarray(arguments["x"][:, t])
        *states, _ = cell.step_forward(fastrnn, {"x_t": x_t, **dict(enumerate(states)), **weights}, **options)
        h = loop.step(x_t) if t % 2 else loop.step(x_t, out)
        assert np.array_equal(h, states[0])
        assert (h is out) == (t % 2 == 0)
        for mine, theirs in zip(stage.state, states, strict=True):
            assert np.array_equal(mine, theirs)
    stage.reset()
    assert not any(part.any() for part in stage.state)


@instruction_sets
@cells
@dtypes
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("hidden", [1, 20, 37])
def test_plain_steps(
    cell: Cell, dtype: str, batch: int, hidden: int, instruction_set: str, rng: np.random.Generator
) -> None:
    arguments = random_arguments(cell, rng, batch, 6, 3, hidden, dtype)
    assert_steps_have_the_bits_of_the_step_function(cell, arguments, {})


@in_turn("seed", range(12), each=12)
def test_steps_with_options(cell: Cell, dtype: str, seed: int, instruction_set: str, rng: np.random.Generator) -> None:
    """Those that have a meaning at inference, two by two."""
    levels = {name: values for name, values in levels_of(cell).items() if name not in MASKS}
    levels |= {name: (None, 0.3) for name in ("zoneout", "zoneout_cell") if name in levels} | {"batch": (5, 1)}
    rows = covering(levels)
    off = {name: False for name in MASKS if name in levels_of(cell)}
    arguments, options = build(cell, {**rows[seed % len(rows)], **off}, rng, steps=6, inputs=3, hidden=21, projected=10)
    del options["reverse"]
    assert_steps_have_the_bits_of_the_step_function(cell, in_type(arguments, dtype), in_type(options, dtype))


@cells
def test_masks_do_not_fit(cell: Cell, rng: np.random.Generator) -> None:
    arguments = random_arguments(cell, rng, 2, 4, 3, 9, "float64")
    masks = {"dropout_mask": np.ones((2, 3)), "zoneout_mask": np.ones((2, 4, 9))}
    if cell.recurrent is not None:
        masks["recurrent_dropout_mask"] = np.ones((2, 9))
    for name, mask in masks.items():
        with pytest.raises(ValueError, match=r"^options: expected no masks of dropout and numbers for zoneout"):
            stage_of(cell, arguments, 2, {name: mask})


@cells
def test_weights_are_those_of_the_last_binding(cell: Cell, rng: np.random.Generator) -> None:
    arguments = random_arguments(cell, rng, 1, 1, 3, 9, "float64")
    others = {name: None if value is None else 2 * value for name, value in arguments.items()}
    x = arguments["x"][0, 0].copy()
    stage, expected = stage_of(cell, arguments, 1), Loop(stage_of(cell, others, 1)).step(x)
    loop = Loop(stage)
    before = loop.step(x)
    for value in arguments.values():
        if value is not None:
            value[:] = np.nan
    stage.reset()
    assert np.array_equal(loop.step(x), before)
    assert before.shape == (9,)
    _, cache = cell.forward(fastrnn, others)
    stage.bind(*(others[name] for name in ("w_x", "w_h", "b")), cache.options)
    stage.reset()
    assert np.array_equal(loop.step(x), expected)
    assert not np.array_equal(before, expected)


@cells
def test_bad_arrays(cell: Cell, rng: np.random.Generator) -> None:
    arguments = {**random_arguments(cell, rng, 2, 1, 3, 9, "float32"), "b": None}
    stage = stage_of(cell, arguments, 2)
    before, loop = stage.state[0], Loop(stage)
    for x in (np.ones(3), np.ones((2, 4)), np.ones((3, 3)), np.ones((1, 2, 3)), np.float32(1)):
        with pytest.raises(ValueError, match="x: expected shape"):
            loop.step(x)
    for x in (np.ones((2, 3)), np.ones((2, 4, 4)), np.ones((3, 4, 3)), np.ones((1, 2, 4, 3)), np.float32(1)):
        with pytest.raises(ValueError, match="x: expected shape"):
            loop.run(x)
    with pytest.raises(TypeError, match="x: expected an array of real numbers"):
        loop.step(np.full((2, 3), "1"))
    x = np.ones((2, 3), "float32")
    for out in (np.ones((2, 9)), np.ones((2, 18), "float32")[:, ::2], np.broadcast_to(np.float32(0), (2, 9))):
        with pytest.raises(ValueError, match="out: expected"):
            loop.step(x, out)
    assert np.array_equal(stage.state[0], before)
    assert np.array_equal(loop.step(x.astype("float64")), Loop(stage_of(cell, arguments, 2)).step(x))
