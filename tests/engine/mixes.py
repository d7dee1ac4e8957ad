"""Mixes of options that the tests of promises run with: what a promise holds for does not depend on the options."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..helpers import CELLS, Cell
from ..options import build, levels_of, plain
from .cases import DTYPES, in_type

# By what the engine makes of them: rows as a whole, some units of all rows (so that threads can share them), masks.
MIXES: dict[str, dict[str, Any]] = {
    "rows": {
        "resets": True, "activation": "gelu", "clip": 0.6, "dropout": True, "zoneout": "numbers",
        "recurrent_dropout": True, "recurrent_activation": "hard_sigmoid", "layer_norm": 0.2, "leak": "array",
        "output_activation": "softsign", "peephole": True, "projection": True, "cell_clip": 0.4,
        "zoneout_cell": "booleans",
    },
    "units": {
        "bias": False, "reverse": True, "activation": ("leaky_relu", 0.1), "clip": 0.6, "dropout": True,
        "recurrent_activation": ("hard_sigmoid", 0.3, 0.4), "leak": "array", "output_activation": ("elu", 0.7),
        "peephole": True, "cell_clip": 0.4, "coupled": True,
    },
    "held": {"resets": True, "zoneout": 0.3, "zoneout_cell": 0.3, "recurrent_dropout": True, "coupled": True},
}  # fmt: skip


def mix_of(
    cell: Cell, name: str, rng: np.random.Generator, batch: int | None, steps: int, inputs: int, hidden: int, dtype: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and options of a mix, so far as the cell has them; "plain" has none."""
    known = {key: value for key, value in MIXES.get(name, {}).items() if key in levels_of(cell)}
    choice = plain(cell, batch=batch, **known)
    projected = max(hidden // 2, 1)
    arguments, options = build(cell, choice, rng, steps=steps, inputs=inputs, hidden=hidden, projected=projected)
    if options.get("w_proj") is not None:
        options["w_proj"] /= np.sqrt(hidden)
    return in_type(arguments, dtype), in_type(options, dtype)


OF_ROWS = ("lengths", "reset_mask", "dropout_mask", "recurrent_dropout_mask", "zoneout_mask", "zoneout_cell_mask")


def only_rows(options: dict[str, Any], rows: slice) -> dict[str, Any]:
    """Options of some rows of the batch."""
    return {name: value[rows] if name in OF_ROWS and np.ndim(value) else value for name, value in options.items()}


def at_step(options: dict[str, Any], t: int) -> dict[str, Any]:
    """The options of one step as the step functions take them; a reset is left to the caller."""
    of_steps = ("zoneout_mask", "zoneout_cell_mask")
    return {
        name: value[:, t] if name in of_steps and np.ndim(value) else value
        for name, value in options.items()
        if name not in ("lengths", "reset_mask", "reverse")
    }


@st.composite
def calls(draw: st.DrawFn, **sizes: st.SearchStrategy[int]) -> tuple[Cell, dict[str, Any], dict[str, Any]]:
    """Any cell with any options: the cell, the arguments and the options of a forward pass."""
    cell, dtype = draw(st.sampled_from(CELLS)), draw(st.sampled_from(DTYPES))
    choice = {name: draw(st.sampled_from(values)) for name, values in levels_of(cell).items() if name != "batch"}
    choice["batch"] = draw(sizes.get("batch", st.integers(1, 20)))
    steps, inputs = draw(sizes.get("steps", st.integers(1, 9))), draw(st.integers(1, 20))
    hidden, projected = draw(sizes.get("hidden", st.integers(1, 70))), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    arguments, options = build(cell, choice, rng, steps=steps, inputs=inputs, hidden=hidden, projected=projected)
    return cell, in_type(arguments, dtype), in_type(options, dtype)
