"""The engine without options against the reference: every cell x type x instruction set over the shapes.

test_options.py has the options.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from ..helpers import CELLS, Cell, some_lengths, some_resets, spec_of
from ..options import ACTIVATIONS
from .cases import (
    assert_engine_is_right,
    in_turn,
    random_arguments,
    random_upstream,
    with_nan_past_the_end,
)

HIDDEN = (1, 3, 7, 8, 9, 17, 33, 67)
SHAPES = ((None, 1, 1), (None, 5, 3), (1, 1, 1), (1, 2, 5), (2, 9, 1), (3, 1, 7), (5, 6, 3), (13, 4, 17))
SIZES_OF_SEVERAL_CHUNKS = [(2, 1000, 3, 8), (1, 1000, 2, 33), (70, 40, 5, 200), (None, 300, 1, 130), (300, 3, 2, 65)]
GATED = [cell for cell in CELLS if spec_of(cell)["gated"]]


@in_turn("sizes", [(*shape, hidden) for shape in SHAPES for hidden in HIDDEN], each=11)
def test_shapes(cell: Cell, dtype: str, sizes: tuple[Any, ...], instruction_set: str, rng: np.random.Generator) -> None:
    """Every shape and number of units with every cell."""
    batch, steps, inputs, hidden = sizes
    arguments = random_arguments(cell, rng, batch, steps, inputs, hidden, dtype)
    assert_engine_is_right(cell, arguments, random_upstream(cell, rng, batch, steps, hidden, dtype))


@in_turn("sizes", SIZES_OF_SEVERAL_CHUNKS)
def test_sizes_of_several_chunks(
    cell: Cell, dtype: str, sizes: tuple[Any, ...], instruction_set: str, rng: np.random.Generator
) -> None:
    batch, steps, inputs, hidden = sizes
    arguments = random_arguments(cell, rng, batch, steps, inputs, hidden, dtype)
    upstream = random_upstream(cell, rng, batch, steps, hidden, dtype)
    lengths = None if batch is None else rng.integers(0, steps + 1, batch)
    # Of each unit: the gradient by one number for all is a sum over thousands of terms of either sign.
    options = {"leak": np.full(hidden, 0.4, dtype)} if "leak" in cell.options else {}
    assert_engine_is_right(cell, arguments, upstream, **options)
    assert_engine_is_right(cell, arguments, upstream, lengths=lengths, reverse=True, **options)


@in_turn("form", list(product((None, 1, 2, 7), (1, 2, 8), (False, True), (False, True), (False, True))), each=16)
def test_lengths_resets_and_reverse(
    cell: Cell, dtype: str, form: tuple[Any, ...], instruction_set: str, rng: np.random.Generator
) -> None:
    """All of them together, in every kind of batch."""
    batch, steps, ragged, resets, reverse = form
    arguments = random_arguments(cell, rng, batch, steps, 3, 11, dtype)
    upstream = random_upstream(cell, rng, batch, steps, 11, dtype)
    lengths = some_lengths(batch, steps) if ragged else None
    if ragged:
        arguments["x"] = with_nan_past_the_end(arguments["x"], lengths)
        upstream["dy"] = with_nan_past_the_end(upstream["dy"], lengths)
    reset_mask = some_resets(batch, steps) if resets else None
    assert_engine_is_right(cell, arguments, upstream, lengths=lengths, reset_mask=reset_mask, reverse=reverse)


@in_turn("missing", [("b",), ("h0", "c0"), ("c0",), ("h0",), ("b", "h0", "c0")], each=5)
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


@in_turn("activations", list(product(ACTIVATIONS, ("tanh", "linear", "gelu"))), each=26, of=GATED)
def test_recurrent_activations(
    cell: Cell, dtype: str, activations: tuple[Any, Any], instruction_set: str, rng: np.random.Generator
) -> None:
    """Any activation of the gates; test_options.py has those of the candidates."""
    recurrent, activation = activations
    arguments = random_arguments(cell, rng, 5, 4, 3, 11, dtype)
    # Unbounded gates multiply states that are large already, which no float32 arithmetic survives: keep them small.
    scale = np.dtype(dtype).type(0.15 if recurrent == "exponential" else 0.4)
    arguments = {name: None if value is None else scale * value for name, value in arguments.items()}
    upstream = random_upstream(cell, rng, 5, 4, 11, dtype)
    assert_engine_is_right(cell, arguments, upstream, activation=activation, recurrent_activation=recurrent)
