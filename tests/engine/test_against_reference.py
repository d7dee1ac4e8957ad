"""The engine against the reference: every cell x type x instruction set x shape x option."""

from __future__ import annotations

import numpy as np
import pytest

from fastrnn import _engine

from ..helpers import Cell, some_lengths, some_resets
from .cases import (
    ENGINE_CELLS,
    assert_engine_is_right,
    cells,
    dtypes,
    instruction_sets,
    random_arguments,
    random_upstream,
    spec_of,
    with_nan_past_the_end,
)

SHAPES = [(None, 1, 1), (None, 5, 3), (1, 1, 1), (1, 2, 5), (2, 9, 1), (3, 1, 7), (5, 6, 3), (13, 4, 17)]
SIZES_OF_SEVERAL_CHUNKS = [(2, 1000, 3, 8), (1, 1000, 2, 33), (70, 40, 5, 200), (None, 300, 1, 130), (300, 3, 2, 65)]
CELLS_AND_RECURRENT_ACTIVATIONS = [
    (cell, recurrent)
    for cell in ENGINE_CELLS
    for recurrent in (_engine.ACTIVATIONS if spec_of(cell)["gated"] else (None,))
]


@instruction_sets
@dtypes
@cells
@pytest.mark.parametrize("hidden", [1, 3, 7, 8, 9, 17, 33, 67], ids="H={}".format)
@pytest.mark.parametrize(("batch", "steps", "inputs"), SHAPES, ids=[f"B,T,I={shape}" for shape in SHAPES])
def test_shapes(
    cell: Cell, dtype: str, batch: int | None, steps: int, inputs: int, hidden: int,
    instruction_set: str, rng: np.random.Generator,
) -> None:  # fmt: skip
    arguments = random_arguments(cell, rng, batch, steps, inputs, hidden, dtype)
    assert_engine_is_right(cell, arguments, random_upstream(cell, rng, batch, steps, hidden, dtype))


@instruction_sets
@dtypes
@cells
@pytest.mark.parametrize(
    ("batch", "steps", "inputs", "hidden"),
    SIZES_OF_SEVERAL_CHUNKS,
    ids=[f"B,T,I,H={sizes}" for sizes in SIZES_OF_SEVERAL_CHUNKS],
)
def test_sizes_of_several_chunks(
    cell: Cell, dtype: str, batch: int | None, steps: int, inputs: int, hidden: int,
    instruction_set: str, rng: np.random.Generator,
) -> None:  # fmt: skip
    arguments = random_arguments(cell, rng, batch, steps, inputs, hidden, dtype)
    upstream = random_upstream(cell, rng, batch, steps, hidden, dtype)
    lengths = None if batch is None else rng.integers(0, steps + 1, batch)
    assert_engine_is_right(cell, arguments, upstream)
    assert_engine_is_right(cell, arguments, upstream, lengths=lengths, reverse=True)


@instruction_sets
@dtypes
@cells
@pytest.mark.parametrize("batch", [None, 1, 2, 7], ids="B={}".format)
@pytest.mark.parametrize("steps", [1, 2, 8], ids="T={}".format)
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("resets", [False, True], ids=["onward", "resets"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
def test_options(
    cell: Cell, dtype: str, batch: int | None, steps: int, ragged: bool, resets: bool, reverse: bool,
    instruction_set: str, rng: np.random.Generator,
) -> None:  # fmt: skip
    inputs, hidden = 3, 11
    arguments = random_arguments(cell, rng, batch, steps, inputs, hidden, dtype)
    upstream = random_upstream(cell, rng, batch, steps, hidden, dtype)
    lengths = some_lengths(batch, steps) if ragged else None
    if ragged:
        arguments["x"] = with_nan_past_the_end(arguments["x"], lengths)
        upstream["dy"] = with_nan_past_the_end(upstream["dy"], lengths)
    reset_mask = some_resets(batch, steps) if resets else None
    assert_engine_is_right(cell, arguments, upstream, lengths=lengths, reset_mask=reset_mask, reverse=reverse)


@instruction_sets
@dtypes
@cells
@pytest.mark.parametrize("missing", [("b",), ("h0", "c0"), ("c0",), ("h0",), ("b", "h0", "c0")], ids="-".join)
@pytest.mark.parametrize("batch", [None, 4], ids="B={}".format)
def test_missing_bias_and_states(
    cell: Cell, dtype: str, missing: tuple[str, ...], batch: int | None, instruction_set: str, rng: np.random.Generator
) -> None:
    steps, inputs, hidden = 6, 2, 9
    arguments = random_arguments(cell, rng, batch, steps, inputs, hidden, dtype)
    arguments |= {name: None for name in missing if name in arguments}
    upstream = random_upstream(cell, rng, batch, steps, hidden, dtype)
    assert_engine_is_right(cell, arguments, upstream)
    assert_engine_is_right(cell, arguments, {"dy": upstream["dy"]})


@instruction_sets
@dtypes
@pytest.mark.parametrize(("cell", "recurrent"), CELLS_AND_RECURRENT_ACTIVATIONS, ids=str)
@pytest.mark.parametrize("activation", _engine.ACTIVATIONS)
@pytest.mark.parametrize("batch", [1, 5], ids="B={}".format)
def test_activations(
    cell: Cell, recurrent: str | None, dtype: str, activation: str, batch: int,
    instruction_set: str, rng: np.random.Generator,
) -> None:  # fmt: skip
    steps, inputs, hidden = 4, 3, 11
    arguments = random_arguments(cell, rng, batch, steps, inputs, hidden, dtype)
    # Unbounded gates multiply states that are large already, which no float32 arithmetic survives: keep them small.
    arguments = {name: value * value.dtype.type(0.4) for name, value in arguments.items()}
    upstream = random_upstream(cell, rng, batch, steps, hidden, dtype)
    options = {} if recurrent is None else {"recurrent_activation": recurrent}
    assert_engine_is_right(cell, arguments, upstream, activation=activation, **options)
