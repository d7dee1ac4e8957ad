"""A cell bound for stepping: the bits of the step functions, the weights of the last binding, clear errors."""

from __future__ import annotations

import numpy as np
import pytest

import fastrnn
from fastrnn import _engine
from fastrnn._recurrent_stage import RecurrentStage
from fastrnn._session import Loop
from fastrnn.functional._options import Options

from ..helpers import Cell
from .cases import cells, dtypes, instruction_sets, random_arguments, spec_of

SIGMOID = _engine.ACTIVATIONS["sigmoid"]["default"]


def stage_of(cell: Cell, weights: list[np.ndarray | None], batch: int) -> RecurrentStage:
    spec = spec_of(cell)
    activation = _engine.ACTIVATIONS[spec["activation"]]["default"]
    return RecurrentStage(spec["index"], batch, *weights, activation, SIGMOID, stage_options(cell, weights))


def stage_options(cell: Cell, weights: list[np.ndarray | None]) -> Options | None:
    """The parameters of single units that a cell cannot do without."""
    w_x, w_h, _ = weights
    unit = w_h if cell.recurrent == "vector" else None
    if "leak" in cell.options:
        unit = np.full(w_x.shape[1], cell.options["leak"], w_x.dtype)
    return None if unit is None else Options(unit=unit)


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
    loop = Loop(stage)
    states: list[np.ndarray | None] = [None] * len(cell.states)
    out = np.full((batch, hidden), np.nan, dtype)
    for t in range(6):
        x_t = np.ascontiguousarray(arguments["x"][:, t])
        *states, _ = getattr(fastrnn, f"{cell.name}_step_forward")(x_t, *states, *weights, **cell.options)
        h = loop.step(x_t) if t % 2 else loop.step(x_t, out)
        assert np.array_equal(h, states[0])
        assert (h is out) == (t % 2 == 0)
        for mine, theirs in zip(stage.state, states, strict=True):
            assert np.array_equal(mine, theirs)
    stage.reset()
    assert not any(part.any() for part in stage.state)


@cells
def test_weights_are_those_of_the_last_binding(cell: Cell, rng: np.random.Generator) -> None:
    arguments = random_arguments(cell, rng, 1, 1, 3, 9, "float64")
    weights = [arguments[name] for name in ("w_x", "w_h", "b")]
    x = arguments["x"][0, 0]
    first, second = stage_of(cell, weights, 1), stage_of(cell, weights, 1)
    before = Loop(first).step(x)
    others = [None if weight is None else 2 * weight for weight in weights]
    for weight in weights:
        if weight is not None:
            weight[:] = np.nan
    assert np.array_equal(Loop(second).step(x), before)
    assert before.shape == (9,)
    first.reset()
    options = stage_options(cell, others)
    first.bind(*others, options)
    assert np.array_equal(Loop(first).step(x), Loop(stage_of(cell, others, 1)).step(x))
    assert not np.array_equal(first.state[0][0], before)


@cells
def test_bad_arrays(cell: Cell, rng: np.random.Generator) -> None:
    arguments = random_arguments(cell, rng, 2, 1, 3, 9, "float32")
    weights = [arguments["w_x"], arguments["w_h"], None]
    stage = stage_of(cell, weights, 2)
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
    assert np.array_equal(loop.step(x.astype("float64")), Loop(stage_of(cell, weights, 2)).step(x))
