"""Mixes of options that the tests of promises run with: what a promise holds for does not depend on the options."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..helpers import Cell
from ..options import build, levels_of, plain
from .cases import in_type

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
        "recurrent_activation": ("scaled_tanh", 0.5, 0.7), "leak": "array", "output_activation": ("elu", 0.7),
        "peephole": True, "cell_clip": 0.4, "coupled": True,
    },
    "held": {"resets": True, "zoneout": 0.3, "zoneout_cell": 0.3, "recurrent_dropout": True, "coupled": True},
}  # fmt: skip


def mix_of(
    cell: Cell, name: str, rng: np.random.Generator, batch: int | None, steps: int, inputs: int, hidden: int, dtype: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and options of a mix, so far as the cell has them."""
    known = {key: value for key, value in MIXES[name].items() if key in levels_of(cell)}
    choice = plain(cell, batch=batch, **known)
    projected = max(hidden // 2, 1)
    arguments, options = build(cell, choice, rng, steps=steps, inputs=inputs, hidden=hidden, projected=projected)
    if options.get("w_proj") is not None:
        options["w_proj"] /= np.sqrt(hidden)
    return in_type(arguments, dtype), in_type(options, dtype)
