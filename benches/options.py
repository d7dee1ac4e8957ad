"""What every option of every cell costs: forward and backward of a layer in training, beside the plain cell, in turns.

    python -m benches.options [B,T,I,H ...]

prints the table of docs/options.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fastrnn
from fastrnn import benchmark as bench

SHAPES = ((32, 50, 64, 128), (64, 100, 128, 256))
LAYERS = {layer: getattr(fastrnn, layer) for layer in ("SimpleRNN", "LSTM", "GRU", "IndRNN", "MinGRU")}


class Option(NamedTuple):
    """Keywords of the layer, which layers have it, what it may cost (times the plain cell), its masks."""

    keywords: dict[str, Any]
    layers: tuple[str, ...] = tuple(LAYERS)
    at_most: float | None = None
    masks: Callable[[np.random.Generator, int, int], dict[str, Any]] = lambda rng, batch, steps: {}


PRODUCT = ("SimpleRNN", "LSTM", "GRU")
OPTIONS = {
    "layer_norm": Option({"layer_norm": True}, PRODUCT, 1.35),
    "dropout=0.2": Option({"dropout": 0.2}, at_most=1.15),
    "recurrent_dropout=0.2": Option({"recurrent_dropout": 0.2}, (*PRODUCT, "IndRNN"), 1.15),
    "zoneout=0.1": Option({"zoneout": 0.1}, at_most=1.15),
    "zoneout_cell=0.1": Option({"zoneout_cell": 0.1}, ("LSTM",), 1.15),
    "peephole": Option({"peephole": True}, ("LSTM",), 1.1),
    "projection=H/2": Option({"projection": 0.5}, ("LSTM",)),
    "coupled": Option({"coupled": True}, ("LSTM",)),
    "cell_clip=3": Option({"cell_clip": 3.0}, ("LSTM",)),
    "clip=5": Option({"clip": 5.0}),
    "reset_after=False": Option({"reset_after": False}, ("GRU",)),
    "learn_initial_state": Option({"learn_initial_state": True}),
    "activation='relu'": Option({"activation": "relu"}),
    "activation='gelu'": Option({"activation": "gelu"}),
    "recurrent_activation='hard_sigmoid'": Option({"recurrent_activation": "hard_sigmoid"}, ("LSTM", "GRU", "MinGRU")),
    "reset_mask, 2 % of the steps": Option(
        {}, at_most=1.1, masks=lambda rng, batch, steps: {"reset_mask": rng.random((batch, steps)) < 0.02}
    ),
    "mask, 10 % of the steps left out": Option(
        {}, at_most=1.1, masks=lambda rng, batch, steps: {"mask": rng.random((batch, steps)) > 0.1}
    ),
    "lengths, half of the steps padded": Option(
        {}, at_most=0.6, masks=lambda rng, batch, steps: {"lengths": np.linspace(0, steps, batch).astype(int)}
    ),
}


def training_step(
    name: str, shape: tuple[int, int, int, int], keywords: dict[str, Any], masks: dict[str, Any]
) -> Callable[[], Any]:
    """Forward and backward of a layer that returns sequences, all masks drawn anew in each call."""
    batch, steps, inputs, hidden = shape
    if "projection" in keywords:
        keywords = {"projection": round(keywords["projection"] * hidden)}
    layer = LAYERS[name](hidden, return_sequences=True, seed=0, **keywords)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, steps, inputs)).astype("float32")
    out, _ = layer.forward(x)
    dout = rng.normal(size=out.shape).astype("float32")

    def run() -> Any:
        _, cache = layer.forward(x, training=True, rng=rng, **masks)
        return layer.backward(dout, cache)

    return run


def cost(name: str, option: Option, shape: tuple[int, int, int, int], seconds: float) -> float:
    """Time with the option by time of the plain cell, medians of turns in one run."""
    masks = option.masks(np.random.default_rng(1), shape[0], shape[1])
    runs = {"plain": training_step(name, shape, {}, {}), "option": training_step(name, shape, option.keywords, masks)}
    times = bench.time_in_turns(runs, seconds)
    return times["option"] / times["plain"]


def main() -> None:
    shapes = [tuple(map(int, shape.split(","))) for shape in sys.argv[1:]] or SHAPES
    for shape in shapes:
        print(f"\nB,T,I,H = {','.join(map(str, shape))}\n")
        print("| option | " + " | ".join(f"`{name}`" for name in LAYERS) + " | at most |")
        print("|---|" + "---:|" * (len(LAYERS) + 1))
        for title, option in OPTIONS.items():
            costs = [f"{cost(name, option, shape, 1.0):.2f}" if name in option.layers else "" for name in LAYERS]
            print(f"| {title} | " + " | ".join(costs) + f" | {option.at_most or ''} |", flush=True)


if __name__ == "__main__":
    with bench.limited_threads(1):
        fastrnn.set_num_threads(1)
        main()
