"""Long sequences: gradients that vanish or explode, truncated backpropagation through time, checkpoints.

Draws three pictures and prints two tables:

unstable_gradients.png   state and gradient by it at every time step, from first weights of different size
clipped_gradients.png    what training makes of too large first weights, with gradients clipped and not
remedies.png             the gradient through a simple layer, through layer norm, through the cell state of an LSTM
truncated                the same model trained on whole sequences and in windows
checkpoints              time and peak memory of an update with everything kept and with states at intervals

python examples/long_sequences.py [--out DIRECTORY] [--quick]
python examples/long_sequences.py --million        an LSTM on a sequence of a million steps, in less than a gigabyte
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from fastrnn.layers import GRU, LSTM, Dense, SimpleRNN
from fastrnn.layers.initializers import Orthogonal
from fastrnn.training import (
    SGD,
    Adam,
    NormRecorder,
    NormsThroughTime,
    Sequential,
    TerminateOnNaN,
    norms_through_time,
    plot_norms,
)

STEPS = 100  # of the sequences whose gradients are drawn
PICTURES = ("unstable_gradients", "clipped_gradients", "remedies")
COLOURS = ("#7d9bbd", "#2b2d33", "#d1495b", "#e0a030")


# ---- gradients that vanish or explode --------------------------------------------------------------------------------


def waves(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sums of two sines with noise (B, T, 1), and the value behind the last (B, 1)."""
    t = np.linspace(0, 1, STEPS + 1)
    f1, f2, o1, o2 = rng.random((4, rows, 1))
    series = 0.5 * np.sin((t - o1) * (10 * f1 + 10)) + 0.2 * np.sin((t - o2) * (20 * f2 + 20))
    series += 0.1 * (rng.random(series.shape) - 0.5)
    return series[:, :-1, None].astype(np.float32), series[:, -1:].astype(np.float32)


def simple(activation: str, gain: float, **options: Any) -> Sequential:
    """A simple recurrent network whose recurrent weights keep lengths, times a gain."""
    layer = SimpleRNN(32, activation=activation, recurrent_initializer=Orthogonal(gain), **options)
    return Sequential([layer, Dense(1)], seed=1)


def new_figure(rows: int) -> tuple[Any, Any]:
    """A figure of rows of two panels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, 2, squeeze=False)


def draw_norms(panels: Any, norms: dict[str, NormsThroughTime], title: str) -> None:
    """Two panels, the gradients and the states, in the colours of this page."""
    for panel in panels:
        panel.set_prop_cycle(color=COLOURS)
    plot_norms(norms, axes=panels)
    for panel in panels:
        panel.set_title(f"{title}: {panel.get_title(loc='left').lower()}", loc="left", fontsize=10)


def draw_unstable_gradients(directory: Path) -> None:
    """First weights of three sizes with a saturating and a non-saturating activation."""
    x, y = waves(32, np.random.default_rng(0))
    figure, panels = new_figure(2)
    for row, activation in zip(panels, ("tanh", "relu"), strict=True):
        norms = {}
        for gain in (0.7, 1.0, 1.5):
            norms[f"recurrent weights × {gain:g}"] = norms_through_time(simple(activation, gain), x, y, loss="mse")
        draw_norms(row, norms, activation)
    figure.savefig(directory / "unstable_gradients.png")


def draw_clipped_gradients(directory: Path, epochs: int) -> None:
    """Training from too large first weights, with the norm of all gradients clipped to 1 and as they are."""
    x, y = waves(640, np.random.default_rng(0))
    figure, panels = new_figure(2)
    for (left, right), activation in zip(panels, ("tanh", "relu"), strict=True):
        norms: dict[str, NormsThroughTime] = {}
        losses: dict[str, list[float]] = {}
        for name, clip in (("as they are", None), ("clipped", 1.0)):
            model = simple(activation, 1.5)
            model.compile(SGD(0.01, momentum=0.9, global_clipnorm=clip), "mse")
            recorder = NormRecorder(x[:32], y[:32])
            with np.errstate(over="ignore", invalid="ignore"):  # some of this is meant to burst
                history = model.fit(x, y, epochs=epochs, verbose=0, callbacks=[recorder, TerminateOnNaN()])
            losses[name] = history.history["loss"]
            norms |= {"before training": recorder.norms[0], f"after it, gradients {name}": recorder.norms[-1]}
        left.set_prop_cycle(color=COLOURS[1:])
        plot_norms(norms, axes=(left, right))
        left.set_ylim(1e-13, 1e7)
        left.set_title(f"{activation}: gradient of the loss by the state, norm", loc="left", fontsize=10)
        right.clear()
        draw_losses(right, activation, losses)
    figure.savefig(directory / "clipped_gradients.png")


def draw_losses(panel: Any, activation: str, losses: dict[str, list[float]]) -> None:
    """The loss of each epoch; a run that burst has none."""
    for (name, values), colour in zip(losses.items(), COLOURS[2:], strict=False):
        finite = bool(np.isfinite(values).all())
        label = f"gradients {name}" + ("" if finite else f": NaN in epoch {len(values)}")
        panel.plot(range(1, len(values) + 1), values if finite else [np.nan] * len(values), "o-", c=colour, label=label)
    panel.set_title(f"{activation}: training loss", loc="left", fontsize=10)
    panel.set_yscale("log")
    panel.set_xlabel("epoch")
    panel.grid(color="#e6e8ec", lw=0.8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, fontsize=9)


def draw_remedies(directory: Path) -> None:
    """What the cell does for the gradient by the state that it carries, before any training."""
    x, y = waves(32, np.random.default_rng(0))
    remembering = LSTM(32, seed=1)
    remembering.build(1)
    remembering.params["b"][32:64] = 5.0  # the forget gate's: 0.993 of the cell state stays at each step
    small = Orthogonal(0.7)
    cases = {
        "SimpleRNN, weights × 0.7": (SimpleRNN(32, recurrent_initializer=small), "0/h"),
        "the same, layer norm": (SimpleRNN(32, recurrent_initializer=small, layer_norm=True), "0/h"),
        "LSTM, cell state, forget bias 1": (LSTM(32), "0/c"),
        "LSTM, cell state, forget bias 5": (remembering, "0/c"),
    }
    norms = {}
    for name, (layer, state) in cases.items():
        found = norms_through_time(Sequential([layer, Dense(1)], seed=1), x, y, loss="mse")
        norms[name] = NormsThroughTime({"h": found.states[state]}, {"h": found.gradients[state]})
    figure, panels = new_figure(1)
    draw_norms(panels[0], norms, "tanh")
    figure.savefig(directory / "remedies.png")


def draw_all(directory: Path, epochs: int) -> None:
    """The three pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    draw_unstable_gradients(directory)
    draw_clipped_gradients(directory, epochs)
    draw_remedies(directory)
    print(f"pictures: {', '.join(str(directory / f'{name}.png') for name in PICTURES)}")


# ---- truncated backpropagation through time --------------------------------------------------------------------------


def leaky_sums(rows: int, steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noise (B, T, 1), and at each step the sum of all that came so far, where what is 50 steps old counts a third."""
    x = rng.normal(size=(rows, steps, 1)).astype(np.float32)
    y = np.empty_like(x)
    total = np.zeros((rows, 1), np.float32)
    for t in range(steps):
        y[:, t] = total = 0.98 * total + 0.2 * x[:, t]
    return x, y


def compare_truncation(steps: int, epochs: int) -> None:
    """The same model and the same number of epochs, with windows of different length."""
    rng = np.random.default_rng(0)
    x, y = leaky_sums(16, steps, rng)
    fresh_x, fresh_y = leaky_sums(16, steps, rng)
    print(f"truncated BPTT: GRU(16) on 16 sequences of {steps} steps, {epochs} epochs")
    print(f"  {'':34s}{'updates':>8s}{'seconds':>9s}{'error':>8s}   of the variance, on fresh sequences")
    cases: list[tuple[str, int | None, int]] = [("whole sequences", None, steps)]
    cases += [(f"tbptt={k}", k, steps) for k in (200, 50, 10)]
    cases += [("windows of 50, each from zero", None, 50)]
    for name, tbptt, length in cases:
        model = Sequential([GRU(16, return_sequences=True), Dense(1)], seed=0)
        model.compile(Adam(0.003, global_clipnorm=1.0, use_ema=True), "mse")  # the last weights alone jump about
        start = perf_counter()
        rows = x.reshape(-1, length, 1), y.reshape(-1, length, 1)
        model.fit(*rows, epochs=epochs, batch_size=16, verbose=0, tbptt=tbptt)
        seconds = perf_counter() - start
        error = np.square(model.predict(fresh_x) - fresh_y).mean() / fresh_y.var()
        assert model.optimizer is not None
        print(f"  {name:34s}{model.optimizer.iterations:8d}{seconds:9.2f}{error:8.1%}")


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def peak_megabytes() -> float:
    """The most memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) / 1024
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def train_on_one_sequence(memory: str | None, steps: int, updates: int) -> dict[str, Any]:
    """Updates of an LSTM on one long sequence with one target at its end: what they took."""
    x = np.random.default_rng(0).normal(size=(1, steps, 1)).astype(np.float32)
    y = x.mean(axis=1) * 100
    model = Sequential([LSTM(64, memory=memory), Dense(1)], seed=0)
    model.compile(Adam(0.001, global_clipnorm=1.0), "mse")
    losses, seconds = [], []
    for _ in range(updates):
        start = perf_counter()
        losses.append(model.train_on_batch(x, y))
        seconds.append(perf_counter() - start)
    return {"losses": losses, "seconds": seconds, "megabytes": peak_megabytes()}


def compare_memory(steps: int, updates: int) -> None:
    """The same updates with everything kept and with checkpoints, each in a process of its own."""
    print(f"checkpoints: LSTM(64) + Dense(1) on one sequence of {steps:,} steps, {updates} updates")
    print(f"  {'':34s}{'s an update':>12s}{'µs a step':>11s}{'peak memory, MB':>17s}   losses")
    results = {}
    for name, memory in (("memory='sqrt'", "sqrt"), ("everything kept", None)):
        arguments = [sys.executable, __file__, "--alone", json.dumps([memory, steps, updates])]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode:
            if memory is not None or "MemoryError" not in done.stderr:
                raise SystemExit(done.stderr)
            print(f"  {name:34s} does not fit into the memory of this machine")
            continue
        found = results[name] = json.loads(done.stdout)
        best = min(found["seconds"])
        losses = " ".join(f"{loss:.6f}" for loss in found["losses"])
        print(f"  {name:34s}{best:12.2f}{best / steps * 1e6:11.2f}{found['megabytes']:17.0f}   {losses}")
    if len({tuple(found["losses"]) for found in results.values()}) > 1:
        raise SystemExit("the losses differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(), help="directory of the pictures (default: this one)")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--million", action="store_true", help="the million steps alone")
    parser.add_argument("--alone", help=argparse.SUPPRESS)  # one run of the table of checkpoints
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(train_on_one_sequence(*json.loads(arguments.alone))))
        return
    if arguments.million:
        compare_memory(1_000_000, 3)
        return
    if find_spec("matplotlib") is None:
        print('no pictures: they need matplotlib, pip install "fastrnn[forecast]"')
    else:
        draw_all(arguments.out, epochs=2 if arguments.quick else 10)
    compare_truncation(*((200, 2) if arguments.quick else (2000, 40)))
    compare_memory(*((20_000, 2) if arguments.quick else (200_000, 5)))


if __name__ == "__main__":
    main()
