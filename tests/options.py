"""The options of the cells: values to test with, and lists of configurations in which every pair of values meets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np

from fastrnn.functional._options import names_of

from .helpers import Cell, past_the_end, some_lengths, some_resets, spec_of

# Every activation with its own constants, and those that have constants with others.
ACTIVATIONS: tuple[Any, ...] = (
    "tanh", "sigmoid", "relu", "linear", "hard_sigmoid", "hard_tanh", "softsign", "softplus", "elu", "selu",
    "leaky_relu", "thresholded_relu", "gelu", "silu", "exponential", "affine", "scaled_tanh",
    ("hard_sigmoid", 0.2), ("hard_sigmoid", 0.3, 0.4), ("elu", 0.7), ("selu", 1.5, 0.8), ("leaky_relu", 0.01),
    ("leaky_relu", -0.3), ("thresholded_relu", 0.1), ("affine", 0.5, 0.2), ("scaled_tanh", 1.7, 0.6),
)  # fmt: skip

# Options that are arrays with a gradient, each named d<option>.
LEARNED = ("peephole", "w_proj", "leak", "ln_gain", "ln_bias", "ln_x_gain", "ln_h_gain", "ln_c_gain", "ln_c_bias")

Choice = Mapping[str, Any]


# Every factor of a configuration: the keyword that it is of (None: of every call, whatever the cell), and its levels,
# of which the first is that without the option.
FACTORS: dict[str, tuple[str | None, Sequence[Any]]] = {
    "batch": (None, (3, 1, None)),
    "bias": (None, (True, False)),
    "lengths": (None, (False, True)),
    "resets": (None, (False, True)),
    "reverse": (None, (False, True)),
    "activation": (None, ("tanh", "relu", ("leaky_relu", 0.1), "gelu", "linear")),
    "clip": ("clip", (None, 0.6)),
    "dropout": ("dropout_mask", (False, True)),
    "zoneout": ("zoneout_mask", (None, "booleans", "numbers", 0.3)),
    "recurrent_dropout": ("recurrent_dropout_mask", (False, True)),
    "recurrent_activation": ("recurrent_activation", ("sigmoid", "hard_sigmoid", ("scaled_tanh", 0.5, 0.7))),
    "layer_norm": ("ln_epsilon", (None, 1e-3, 0.2)),
    "leak": ("leak", ("number", "array")),
    "output_activation": ("output_activation", (None, "softsign", ("elu", 0.7))),
    "peephole": ("peephole", (False, True)),
    "projection": ("w_proj", (False, True)),
    "cell_clip": ("cell_clip", (None, 0.4)),
    "coupled": ("coupled", (False, True)),
    "zoneout_cell": ("zoneout_cell_mask", (None, "booleans", "numbers", 0.3)),
}


def keywords_of(cell: Cell) -> frozenset[str]:
    """The keywords by which a cell does more than its equations, as the registry has them."""
    spec = spec_of(cell)
    return names_of(spec) | ({"recurrent_activation"} if spec["gated"] else set())


def levels_of(cell: Cell) -> dict[str, Sequence[Any]]:
    """The factors of a configuration of a cell, and the levels of each; the first level is that without the option."""
    known = keywords_of(cell)
    return {name: levels for name, (keyword, levels) in FACTORS.items() if keyword is None or keyword in known}


def covering(levels: Mapping[str, Sequence[Any]], seed: int = 0) -> list[dict[str, Any]]:
    """A short list of configurations in which every two levels of every two factors meet at least once.

    Greedy: begin with a pair that has not met, then give every other factor the level that meets most others anew.
    """
    rng = np.random.default_rng(seed)
    missing = {
        ((one, i), (other, j)): None
        for one, other in combinations(levels, 2)
        for i, j in product(range(len(levels[one])), range(len(levels[other])))
    }
    place = {name: k for k, name in enumerate(levels)}

    def pair(one: tuple[str, int], other: tuple[str, int]) -> Any:
        return (one, other) if place[one[0]] < place[other[0]] else (other, one)

    rows = []
    while missing:
        row = dict(next(iter(missing)))
        for name in rng.permutation([name for name in levels if name not in row]).tolist():
            gain = [sum(pair((name, i), met) in missing for met in row.items()) for i in range(len(levels[name]))]
            best = np.flatnonzero(np.array(gain) == max(gain))
            row[name] = int(rng.choice(best))
        for one, other in combinations(row.items(), 2):
            missing.pop(pair(one, other), None)
        rows.append({name: levels[name][row[name]] for name in levels})
    return rows


def plain(cell: Cell, **changes: Any) -> dict[str, Any]:
    """The configuration without any option, with some changes."""
    chosen = {name: values[0] for name, values in levels_of(cell).items()}
    assert changes.keys() <= chosen.keys(), f"{cell} has no {changes.keys() - chosen.keys()}"
    return {**chosen, **changes}


def build(
    cell: Cell, choice: Choice, rng: np.random.Generator, *, steps: int, inputs: int, hidden: int, projected: int = 2
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and options of the forward function for a configuration; x is NaN past the end of a row."""
    batch = choice["batch"]
    rows = () if batch is None else (batch,)
    shown = projected if choice.get("projection") else hidden
    arguments = cell.arguments(rng, batch, steps, inputs, hidden, shown)
    options: dict[str, Any] = {"activation": choice["activation"], "reverse": choice["reverse"]}

    def mask(kind: Any, shape: tuple[int, ...]) -> Any:
        return {"booleans": rng.random(shape) < 0.4, "numbers": rng.random(shape)}.get(kind, kind)

    if not choice["bias"]:
        arguments["b"] = None
    if choice["lengths"]:
        options["lengths"] = some_lengths(batch, steps)
        past = past_the_end(options["lengths"], batch, steps)
        arguments["x"] = np.where(past[..., np.newaxis], np.nan, arguments["x"])
    if choice["resets"]:
        options["reset_mask"] = some_resets(batch, steps)
    if choice["dropout"]:
        options["dropout_mask"] = (rng.random((*rows, inputs)) < 0.7) / 0.7
    if choice.get("recurrent_dropout"):
        options["recurrent_dropout_mask"] = (rng.random((*rows, shown)) < 0.7) / 0.7
    options["zoneout_mask"] = mask(choice["zoneout"], (*rows, steps, shown))
    if choice.get("layer_norm"):
        options |= _layer_norm(cell, rng, hidden, choice["layer_norm"])
    if "leak" in choice:
        options["leak"] = 0.3 if choice["leak"] == "number" else rng.uniform(0.1, 1, hidden)
    if "zoneout_cell" in choice:
        options["zoneout_cell_mask"] = mask(choice["zoneout_cell"], (*rows, steps, hidden))
    if "peephole" in choice:
        options["peephole"] = rng.normal(size=(3, hidden)) if choice["peephole"] else None
    if "projection" in choice:
        options["w_proj"] = rng.normal(size=(hidden, projected)) if choice["projection"] else None
    names = ("clip", "recurrent_activation", "output_activation", "cell_clip", "coupled")
    return arguments, {**options, **{name: choice[name] for name in names if name in choice}}


def _layer_norm(cell: Cell, rng: np.random.Generator, hidden: int, epsilon: float) -> dict[str, Any]:
    """Gains and biases that are far from 1 and 0."""
    wide = cell.gates * hidden
    if spec_of(cell)["norm"] == "sum":
        sizes = {"ln_gain": wide, "ln_bias": wide}
    else:
        sizes = {"ln_x_gain": wide, "ln_h_gain": wide}
        if "c" in cell.states:
            sizes |= {"ln_c_gain": hidden, "ln_c_bias": hidden}
    return {"ln_epsilon": epsilon, **{name: rng.normal(size=size) for name, size in sizes.items()}}


def label(choice: Choice, cell: Cell) -> str:
    """What of a configuration is not plain, as the name of a test."""
    off = plain(cell)
    words = [f"{name}={value}".replace(" ", "") for name, value in choice.items() if value != off[name]]
    return f"{cell}:" + (",".join(words) or "plain")
