"""The networks of a section trained by Keras itself, if it is installed: whence the column "Keras, measured".

    KERAS_BACKEND=jax python examples/chapter15/keras_runs.py several_steps [--rows 0 2] [--seeds 8]

The chapter's figures are those of one training each, and from seed to seed they move.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import keras
import numpy as np
from chapter import BATCH, EPOCHS, FIRST_SEED, STEPS, Network, Task, mean_squared_error

from fastrnn.layers import GRU, LSTM, BatchNormalization, Conv1D, Dense, Flatten, Layer, SimpleRNN


class LayerNormCell(keras.layers.Layer):
    """The simple cell with layer normalization before its activation."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.state_size = self.output_size = units
        self.cell = keras.layers.SimpleRNNCell(units, activation=None)
        self.norm = keras.layers.LayerNormalization()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.cell.build(input_shape)
        self.norm.build((input_shape[0], self.state_size))
        self.built = True

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        h = keras.ops.tanh(self.norm(self.cell(inputs, states)[0]))
        return h, [h]


def recurrent(layer: SimpleRNN | LSTM | GRU) -> keras.layers.Layer:
    """Keras' layer of the same cell."""
    if layer.layer_norm:
        return keras.layers.RNN(LayerNormCell(layer.units), return_sequences=layer.return_sequences)
    kind = {"rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[layer.cell.name]
    return kind(layer.units, return_sequences=layer.return_sequences)


def convolution(layer: Conv1D) -> keras.layers.Layer:
    """Keras' convolution."""
    return keras.layers.Conv1D(
        layer.filters,
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        activation=layer.activation,
    )


COUNTERPARTS: dict[type[Layer], Callable[[Any], keras.layers.Layer]] = {
    SimpleRNN: recurrent,
    LSTM: recurrent,
    GRU: recurrent,
    Conv1D: convolution,
    BatchNormalization: lambda _: keras.layers.BatchNormalization(),
    Dense: lambda layer: keras.layers.Dense(layer.units),
    Flatten: lambda _: keras.layers.Flatten(),
}


class Model:
    """A Keras model with the `predict` that `Network.forecast` calls; x may be longer than what it was trained on."""

    def __init__(self, network: Network, seed: int) -> None:
        keras.utils.set_random_seed(seed)
        layers = network.layers()
        steps = STEPS if any(isinstance(layer, Flatten) for layer in layers) else None
        made = [COUNTERPARTS[type(layer)](layer) for layer in layers]
        self.model = keras.Sequential([keras.Input((steps, 1)), *made])
        self.model.compile(loss="mse", optimizer=keras.optimizers.Adam(network.learning_rate))

    def fit(self, data: Task) -> None:
        """Train with the chapter's recipe."""
        self.model.fit(data.x, data.y, batch_size=BATCH, epochs=EPOCHS, verbose=0)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The output for all rows."""
        return self.model.predict(x, batch_size=500, verbose=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("section", help="a script's name without .py")
    parser.add_argument("--rows", type=int, nargs="+", help="networks of the section, from 0 (default: all)")
    parser.add_argument("--seeds", type=int, default=8)
    arguments = parser.parse_args()
    section = importlib.import_module(arguments.section).SECTION
    x, y = section.task().validation
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, seeds from {FIRST_SEED}")
    for i in arguments.rows or range(len(section.networks)):
        network = section.networks[i]
        errors = []
        start = perf_counter()
        for seed in range(FIRST_SEED, FIRST_SEED + arguments.seeds):
            model = Model(network, seed)
            model.fit(network.task().train)
            errors.append(mean_squared_error(network.forecast(model, x), y))
        listed = " ".join(f"{error:.5f}" for error in sorted(errors))
        print(f"{network.name}: median {median(errors):.5f} of {listed}, {perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
