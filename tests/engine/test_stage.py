"""A cell bound for stepping: the bits of the step functions, its own copy of the weights, and clear errors."""

from __future__ import annotations

import numpy as np
import pytest

import fastrnn
from fastrnn import _engine
from fastrnn._stage import RecurrentStage
from fastrnn.functional._options import Options

from ..helpers import Cell
from .cases import cells, dtypes, instruction_sets, random_arguments, spec_of

SIGMOID = _engine.ACTIVATIONS["sigmoid"]["default"]


def stage_of(cell: Cell, weights: list[np.ndarray | None], batch: int) -> RecurrentStage:
    spec = spec_of(cell)
    activation = _engine.ACTIVATIONS[spec["activation"]]["default"]
    w_x, w_h, _ = weights
    unit = w_h if cell.recurrent == "vector" else None
    if "leak" in cell.options:
        unit = np.full(w_x.shape[1], cell.options["leak"], w_x.dtype)
    options = None if unit is None else Options(unit=unit)
    return RecurrentStage(spec["index"], batch, *weights, activation, SIGMOID, options)


@instruction_sets
@cells
@dtypes
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("hidden", [1, 20, 37])
def test_steps_have_the_bits_of_the_step_function(
    cell: Cell, dtype: str, batch: int, hidden: int, instruction_set: str, rng: np.random.Generator
) -> None:
    arguments = random_arguments(cell, rng, batch, 6, 3, hidden, dtype)
    weights = [arguments[name] for name in ("w_x", "w_h", "b")]
    stage = stage_of(cell, weights, batch)
    states: list[np.ndarray | None] = [None] * len(cell.states)
    out = np.full((batch, hidden), np.nan, dtype)
    for t in range(6):
        x_t = np.ascontiguousarray(arguments["x"][:, t])
        *states, _ = getattr(fastrnn, f"{cell.name}_step_forward")(x_t, *states, *weights, **cell.options)
        h = stage.step(x_t) if t % 2 else stage.step(x_t, out)
        assert np.array_equal(h, states[0])
        assert (h is out) == (t % 2 == 0)
        for mine, theirs in zip(stage.state, states, strict=True):
            assert np.array_equal(mine, theirs)
    stage.reset()
    assert not any(part.any() for part in stage.state)


@cells
def test_weights_are_copied(cell: Cell, rng: np.random.Generator) -> None:
    arguments = random_arguments(cell, rng, 1, 1, 3, 9, "float64")
    weights = [arguments[name] for name in ("w_x", "w_h", "b")]
    first, second = stage_of(cell, weights, 1), stage_of(cell, weights, 1)
    before = first.step(arguments["x"][0, 0])
    for weight in weights:
        if weight is not None:
            weight[:] = np.nan
    assert np.array_equal(second.step(arguments["x"][0, 0]), before)
    assert before.shape == (9,)


@cells
def test_bad_arrays(cell: Cell, rng: np.random.Generator) -> None:
    arguments = random_arguments(cell, rng, 2, 1, 3, 9, "float32")
    stage = stage_of(cell, [arguments["w_x"], arguments["w_h"], None], 2)
    before = stage.state[0]
    for x in (np.ones(3), np.ones((2, 4)), np.ones((3, 3)), np.ones((1, 2, 3)), np.float32(1)):
        with pytest.raises(ValueError, match="x: expected shape"):
            stage.step(x)
    x = np.ones((2, 3), "float32")
    for out in (np.ones((2, 9)), np.ones((2, 18), "float32")[:, ::2], np.broadcast_to(np.float32(0), (2, 9))):
        with pytest.raises(ValueError, match="out: expected"):
            stage.step(x, out)
    assert np.array_equal(stage.state[0], before)
    assert np.array_equal(
        stage.step(x.astype("float64")), stage_of(cell, [arguments["w_x"], arguments["w_h"], None], 2).step(x)
    )
