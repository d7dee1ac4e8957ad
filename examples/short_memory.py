"""Short memory: the adding problem over 200 steps, where the simple RNN fails and four others get through.

At each step a network sees a number and a mark.  Two of the 200 steps are marked, one in each half, and at the end the
sum of their numbers is asked for.  Whoever remembers nothing says 1 and has a squared error of 1/6, the variance of the
sum of two numbers that are uniform in [0, 1).

    python examples/short_memory.py [--steps 200] [--epochs 8] [--seed 0] [--out DIR] [--quick]

prints a table and draws short_memory.png, the error after each epoch.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from fastrnn.layers import GRU, LSTM, Conv1D, Dense, Layer, SimpleRNN, WaveNet
from fastrnn.layers.initializers import Initializer
from fastrnn.training import Adam, Sequential, schedules

BATCH = 50
TRAIN, HELD_OUT = 10_000, 2_000


def adding_problem(count: int, steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sequences x (count, steps, 2) of numbers and marks, and the sums y (count, 1) of the marked numbers."""
    numbers, marks = rng.random((count, steps)), np.zeros((count, steps))
    rows = np.arange(count)
    marks[rows, rng.integers(0, steps // 2, count)] = 1
    marks[rows, rng.integers(steps // 2, steps, count)] = 1
    return np.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=1, keepdims=True)


class OpenForgetGates(Initializer):
    """Biases of an LSTM whose units remember for 1 to `steps` steps from the start (Tallec and Ollivier, 2018).

    A unit keeps f of its cell state at each step, so half of it is gone after -log(2) / log(f) steps.  With the usual
    forget bias of 1, f = sigmoid(1) = 0.73, these are two steps, and the gradient of what happened 100 steps ago is
    0.73^100 = 2e-14.  A bias of log(t - 1) makes it f = 1 - 1/t.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        units = shape[0] // 4
        forget = np.log(rng.uniform(1, self.steps - 1, units))
        return np.concatenate([-forget, forget, np.zeros(2 * units)])  # gates i, f, g, o


class LastStep(Layer):
    """The last step of a sequence: (B, T, I) becomes (B, I).  A layer of one's own takes no more than this."""

    input_ndim = 3

    def output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, _, size = input_shape
        return batch, size

    def pass_on(self, lengths: Any, reset_mask: Any) -> tuple[None, None]:
        return None, None

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, tuple[int, ...]]:
        x = self._input(x)
        return x[:, -1], x.shape

    def backward(
        self, dout: Any, cache: tuple[int, ...], dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        dx = np.zeros(cache, dout.dtype)
        dx[:, -1] = dout
        return dx, {}, None


def networks(steps: int) -> dict[str, list[Layer]]:
    """The simple RNN, and four ways to a longer memory."""
    dilations = [2**i for i in range((steps - 1).bit_length())]  # 1, 2, 4, ...: together they reach over all steps
    return {
        "simple RNN": [SimpleRNN(32), Dense(1)],
        "LSTM": [LSTM(32, unit_forget_bias=False, bias_initializer=OpenForgetGates(steps)), Dense(1)],
        "GRU": [GRU(32), Dense(1)],
        "Conv1D, GRU": [Conv1D(32, kernel_size=8, strides=4, activation="relu"), GRU(32), Dense(1)],
        "WaveNet": [WaveNet(16, dilations=dilations, outputs=1), LastStep()],
    }


def draw(errors: dict[str, list[float]], baseline: float, file: Path) -> None:
    """The error on held-out sequences after each epoch."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (name, values), marker in zip(errors.items(), "osD^v", strict=True):
        axes.semilogy(range(1, len(values) + 1), values, marker=marker, markersize=4, label=name)
    axes.axhline(baseline, color="0.4", linestyle="--", linewidth=1, label="nothing remembered")
    axes.set_xlabel("epochs")
    axes.set_ylabel("mean squared error, held-out")
    axes.legend(frameon=False, loc="lower left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="length of the sequences (default: 200)")
    parser.add_argument("--epochs", type=int, default=8, help="passes over 10,000 sequences (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="seed of data and weights (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("."), help="directory of the picture (default: this one)")
    parser.add_argument("--quick", action="store_true", help="one epoch over fewer sequences, to see how it goes")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    count, epochs = (500, 1) if args.quick else (TRAIN, args.epochs)

    rng = np.random.default_rng(args.seed)
    train, held_out = (adding_problem(n, args.steps, rng) for n in (count, HELD_OUT))
    baseline = float(np.mean(np.square(held_out[1] - 1)))
    print(f"adding problem over {args.steps} steps: error on {HELD_OUT} held-out sequences, seconds of training\n")
    print(f"{'nothing remembered':<20}{baseline:10.4f}")
    errors: dict[str, list[float]] = {}
    for name, layers in networks(args.steps).items():
        model = Sequential(layers, seed=args.seed)
        rate = schedules.CosineDecay(0.005, epochs * -(-count // BATCH))
        model.compile(Adam(rate, global_clipnorm=1.0), "mse")
        start = perf_counter()
        history = model.fit(*train, epochs=epochs, batch_size=BATCH, validation_data=held_out)
        errors[name] = history.history["val_loss"]
        print(f"{name:<20}{errors[name][-1]:10.4f}{perf_counter() - start:10.1f} s", flush=True)
    if find_spec("matplotlib") is None:
        print('\nno picture: that needs matplotlib, pip install "fastrnn[forecast]"')
        return
    file = args.out / "short_memory.png"
    draw(errors, baseline, file)
    print(f"\n{file}")


if __name__ == "__main__":
    main()
