"""WaveNet: how far back each layer of dilated convolutions sees, and ten steps of a wave forecast from fifty.

Eight causal convolutions of two taps, dilated by 1, 2, 4, 8 and again 1, 2, 4, 8, are trained to say at every step the
ten values that follow it.  The receptive field is then measured and not derived: the gradient of a layer's last output
by each input is zero exactly where the layer does not look.

    python examples/wavenet.py [--epochs 10] [--seed 0] [--out DIR] [--quick]

prints both receptive fields of every layer, the measured one and the formula's, and errors by steps ahead, and draws
wavenet.png.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from fastrnn import datasets
from fastrnn.layers import Conv1D, wavenet_stack
from fastrnn.training import Adam, Sequential, schedules

STEPS, AHEAD = 50, 10
TRAIN, HELD_OUT, BATCH = 7000, 1000, 32
KERNEL, DILATIONS = 2, (1, 2, 4, 8) * 2
NETWORK, TRUTH = "#d1495b", "#2b2d33"


def least_squares(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """What the best linear function of x (N, T) for y (N, K) makes of new ones."""
    with_one = [np.hstack([part, np.ones((len(part), 1))]) for part in (x, new)]
    return with_one[1] @ np.linalg.lstsq(with_one[0], y, rcond=None)[0]


def influence(model: Sequential, x: np.ndarray, seed: int) -> np.ndarray:
    """How much each input moves the last output of each convolution, (layers, T): mean absolute gradients.

    The gradient is that of a sum of the outputs with random weights, so that none of them cancel.
    """
    rng = np.random.default_rng(seed)
    found = []
    for depth in range(1, len(DILATIONS) + 1):
        lower = Sequential(model.layers[:depth])
        out, cache = lower.forward(x)
        dout = np.zeros_like(out)
        dout[:, -1] = rng.normal(size=dout[:, -1].shape)
        dx = lower.backward(dout, cache)[0]
        found.append(np.abs(dx[..., 0]).mean(axis=0))
    return np.array(found)


def formula() -> np.ndarray:
    """The receptive field of each layer: 1 + (K_1 - 1)·d_1 + (K_2 - 1)·d_2 + ..."""
    return 1 + np.cumsum((KERNEL - 1) * np.array(DILATIONS))


def draw(moved: np.ndarray, x: np.ndarray, y: np.ndarray, made: np.ndarray, file: Path) -> None:
    """The receptive field of each layer, and four series with their forecasts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.15])
    draw_receptive_fields(left, moved)
    panels: Any = right.subplots(2, 2, sharex=True, sharey=True)
    t = np.arange(-STEPS + 1, AHEAD + 1)
    for axes, past, truth, said in zip(panels.flat, x, y, made, strict=True):
        axes.plot(t, [*past[:, 0], *truth], color=TRUTH, lw=1.3, label="truth")
        axes.plot(t[STEPS:], said, "o-", color=NETWORK, ms=3, lw=1.3, label="forecast")
        axes.axvline(0.5, color="0.8", lw=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    right.legend(*panels[0, 0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=2)
    right.supxlabel("steps from the last one that is known", fontsize=10)
    right.supylabel("value of the series", fontsize=10)
    figure.savefig(file)


def draw_receptive_fields(figure: Any, moved: np.ndarray) -> None:
    """A row for each convolution, the first at the bottom: the inputs that move its last output."""
    from matplotlib.colors import LogNorm

    axes = figure.subplots()
    shown = np.ma.masked_equal(moved / moved.max(axis=1, keepdims=True), 0)
    extent = (-STEPS + 0.5, 0.5, 0.5, len(moved) + 0.5)
    norm = LogNorm(1e-2, 1)
    image = axes.imshow(shown, aspect="auto", origin="lower", extent=extent, cmap="Blues", norm=norm)
    fields = (moved > 0).sum(axis=1)
    axes.set_yticks(range(1, len(moved) + 1), [f"dilation {rate}" for rate in DILATIONS])
    for row, field in enumerate(fields, 1):
        axes.text(-field - 0.2, row, f"{field} steps", ha="right", va="center", fontsize=9)
    axes.set_xlim(-STEPS + 8.5, 0.5)
    axes.set_ylabel("layers, the first below")
    axes.set_xlabel("input, in steps from the output's")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    label = "gradient of the layer's last output\nby the input, part of the largest"
    figure.colorbar(image, ax=axes, label=label, extend="min", shrink=0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10, help=f"passes over {TRAIN:,} series (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("."), help="directory of the picture (default: this one)")
    parser.add_argument("--quick", action="store_true", help="one epoch, to see how it goes and not how well")
    args = parser.parse_args()
    epochs = 1 if args.quick else args.epochs

    series = datasets.wave_series(TRAIN + HELD_OUT, STEPS + AHEAD)  # (N, 60, 1)
    x, y = series[:, :STEPS], series[:, STEPS:, 0]
    following = np.lib.stride_tricks.sliding_window_view(series[:, 1:, 0], AHEAD, axis=1)  # (N, 50, 10)
    model = Sequential([*wavenet_stack(20, KERNEL, DILATIONS), Conv1D(AHEAD, 1)], seed=args.seed)
    model.compile(Adam(schedules.CosineDecay(0.005, epochs * -(-TRAIN // BATCH))), "mse")
    start = perf_counter()
    model.fit(x[:TRAIN], following[:TRAIN], epochs=epochs, batch_size=BATCH, verbose=0)
    print(f"trained on {TRAIN} series of {STEPS} steps in {perf_counter() - start:.1f} s\n")

    moved = influence(model, x[TRAIN : TRAIN + 200], args.seed)
    print("receptive field, steps      " + "".join(f"{rate:>6}" for rate in DILATIONS) + "  <- dilation")
    print("  inputs with a gradient    " + "".join(f"{field:>6}" for field in (moved > 0).sum(axis=1)))
    print("  by the formula            " + "".join(f"{field:>6}" for field in formula()))

    made = model.predict(x[TRAIN:])[:, -1]
    forecasts = {
        "last value": x[TRAIN:, -1:, 0],
        "least squares": least_squares(x[:TRAIN, :, 0], y[:TRAIN], x[TRAIN:, :, 0]),
        "network": made,
    }
    print(f"\nmean squared error of {HELD_OUT} other series, by steps ahead")
    print(f"{'':<16}{'1':>10}{'5':>10}{'10':>10}{'all ten':>10}")
    for name, said in forecasts.items():
        errors = np.square(said - y[TRAIN:]).mean(axis=0)
        print(f"{name:<16}" + "".join(f"{error:>10.4f}" for error in (*errors[[0, 4, 9]], errors.mean())))

    if find_spec("matplotlib") is None:
        print('\nno picture: that needs matplotlib, pip install "fastrnn[forecast]"')
        return
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "wavenet.png"
    draw(moved, x[TRAIN : TRAIN + 4], y[TRAIN : TRAIN + 4], made[:4], file)
    print(f"\n{file}")


if __name__ == "__main__":
    main()
