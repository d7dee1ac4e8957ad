"""Sessions: the bits of single steps and of chunks are those of the whole sequence, for every layer and option."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    BatchNormalization,
    Conv1D,
    Dense,
    Dropout,
    EchoState,
    Embedding,
    GaussianNoise,
    IndRNN,
    Layer,
    LayerNormalization,
    MinGRU,
    Parallel,
    Residual,
    SimpleRNN,
    SpatialDropout1D,
    TimeDistributed,
    WaveNet,
    wavenet_stack,
)
from fastrnn.training import Sequential

from ..layers.cells import Mealy
from .cases import dtypes, instruction_sets

Array = np.ndarray
INPUTS, TIME = 6, 19
ALL: dict[str, Any] = {"return_sequences": True}

LAYERS: dict[str, Callable[[str], Layer]] = {
    "rnn": lambda dtype: SimpleRNN(5, dtype=dtype, **ALL),
    "rnn-norm": lambda dtype: SimpleRNN(18, layer_norm=True, ln_epsilon=1e-2, clip=1.5, dtype=dtype, **ALL),
    "rnn-elu": lambda dtype: SimpleRNN(5, activation=("elu", 0.5), use_bias=False, dtype=dtype, **ALL),
    "lstm": lambda dtype: LSTM(9, dtype=dtype, **ALL),
    "lstm-last": lambda dtype: LSTM(9, dtype=dtype),
    "lstm-norm": lambda dtype: LSTM(17, layer_norm=True, dtype=dtype, **ALL),
    "lstm-peephole": lambda dtype: LSTM(9, peephole=True, cell_clip=0.5, dtype=dtype, **ALL),
    "lstm-projection": lambda dtype: LSTM(9, projection=5, zoneout=0.2, zoneout_cell=0.3, dtype=dtype, **ALL),
    "lstm-coupled": lambda dtype: LSTM(9, coupled=True, output_activation="softsign", dtype=dtype, **ALL),
    "lstm-everything": lambda dtype: LSTM(
        9,
        projection=20,
        peephole=True,
        layer_norm=True,
        clip=2.0,
        cell_clip=1.0,
        zoneout=0.2,
        zoneout_cell=0.1,
        learn_initial_state=True,
        dropout=0.4,
        recurrent_dropout=0.3,
        dtype=dtype,
        **ALL,
    ),
    "gru": lambda dtype: GRU(7, dtype=dtype, **ALL),
    "gru-norm": lambda dtype: GRU(17, layer_norm=True, learn_initial_state=True, dtype=dtype, **ALL),
    "gru-before": lambda dtype: GRU(17, reset_after=False, zoneout=0.25, dtype=dtype, **ALL),
    "gru-hard": lambda dtype: GRU(7, recurrent_activation="hard_sigmoid", memory="sqrt", dtype=dtype, **ALL),
    "indrnn": lambda dtype: IndRNN(6, zoneout=0.5, dtype=dtype, **ALL),
    "mingru": lambda dtype: MinGRU(6, learn_initial_state=True, dtype=dtype, **ALL),
    "echo": lambda dtype: EchoState(20, leak=0.4, bias_scaling=0.1, dtype=dtype, **ALL),
    "dense": lambda dtype: Dense(5, "tanh", dtype=dtype),
    "dense-wide": lambda dtype: Dense(67, "gelu", use_bias=False, dtype=dtype),
    "activation": lambda dtype: Activation(("leaky_relu", 0.1), dtype=dtype),
    "conv": lambda dtype: Conv1D(5, 3, padding="causal", dtype=dtype),
    "conv-dilated": lambda dtype: Conv1D(16, 3, padding="causal", dilation_rate=4, activation="relu", dtype=dtype),
    "conv-groups": lambda dtype: Conv1D(
        6, 2, padding="causal", dilation_rate=2, groups=3, activation="softplus", use_bias=False, dtype=dtype
    ),
    "conv-one-tap": lambda dtype: Conv1D(5, 1, activation="sigmoid", dtype=dtype),
    "conv-one-tap-groups": lambda dtype: Conv1D(6, 1, groups=2, dtype=dtype),
    "wavenet": lambda dtype: WaveNet(8, dilations=(1, 2, 4), stacks=2, outputs=5, head_channels=7, dtype=dtype),
    "wavenet-no-head": lambda dtype: WaveNet(5, dilations=(1, 3), skip_channels=3, kernel_size=3, dtype=dtype),
    "wavenet-simple": lambda dtype: Sequential([*wavenet_stack(7, dtype=dtype), Conv1D(3, 1, dtype=dtype)]),
    "layer-norm": lambda dtype: LayerNormalization(dtype=dtype),
    "layer-norm-bare": lambda dtype: LayerNormalization(center=False, scale=False, epsilon=0.1, dtype=dtype),
    "batch-norm": lambda dtype: BatchNormalization(dtype=dtype),
    "batch-norm-bare": lambda dtype: BatchNormalization(center=False, scale=False, dtype=dtype),
    "noise": lambda dtype: Sequential(
        [Dropout(0.2), GRU(4, dtype=dtype, **ALL), GaussianNoise(1.0), SpatialDropout1D(0.1)]
    ),
    "time-distributed": lambda dtype: TimeDistributed(Sequential([Dense(4, dtype=dtype), Activation("tanh")])),
    "residual": lambda dtype: Residual([Dense(8, dtype=dtype), LSTM(INPUTS, dtype=dtype, **ALL)]),
    "residual-projection": lambda dtype: Residual(LSTM(4, dtype=dtype, **ALL), projection=True),
    "parallel": lambda dtype: Parallel(
        [GRU(4, dtype=dtype, **ALL), [Dense(8, dtype=dtype), Dense(2, dtype=dtype)], Activation("linear")]
    ),
    "parallel-ave": lambda dtype: Parallel(
        [GRU(4, dtype=dtype, **ALL), Dense(4, dtype=dtype), SimpleRNN(4, dtype=dtype, **ALL)], merge="ave"
    ),
    "parallel-mul": lambda dtype: Parallel([GRU(4, dtype=dtype, **ALL), Dense(4, "sigmoid", dtype=dtype)], merge="mul"),
    "parallel-sum": lambda dtype: Parallel([GRU(4, dtype=dtype, **ALL), Dense(4, dtype=dtype)], merge="sum"),
    "mixed-types": lambda dtype: Sequential(
        [
            Sequential([GRU(5, dtype=dtype, **ALL), LayerNormalization(dtype=dtype)]),
            Conv1D(4, 3, padding="causal", dtype="float64"),
            BatchNormalization(dtype="float32"),
            Dense(5),
            LSTM(3, dtype="float64"),
            Dense(2),
        ]
    ),
    "custom": lambda dtype: RNN(Mealy(), learn_initial_state=True, dtype=dtype, **ALL),
}


def with_random_arrays(layer: Layer, rng: np.random.Generator) -> Layer:
    """The layer with parameters and buffers that are none of their first values."""
    for arrays in (layer.params, layer.buffers):
        for name, array in arrays.items():
            noise = rng.uniform(0.1, 0.3, array.shape)
            arrays[name] = array + (noise if "variance" in name else noise * rng.choice([-1, 1], array.shape))
    return layer


def whole_sequence(layer: Layer, x: Array) -> tuple[Array, Array]:
    """The output at every step, and which steps of it the layer itself returns."""
    y = layer(x)
    return y, np.arange(x.shape[1]) if y.ndim == 3 else np.array([x.shape[1] - 1])


@instruction_sets
@dtypes
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", LAYERS)
def test_steps_and_chunks_have_the_bits_of_the_sequence(
    name: str, batch: int, dtype: str, instruction_set: str, rng: np.random.Generator
) -> None:
    layer = LAYERS[name](dtype)
    layer.build(INPUTS)
    with_random_arrays(layer, rng)
    x = rng.normal(size=(batch, TIME, INPUTS)).astype(dtype)
    expected, steps = whole_sequence(layer, x)
    expected = expected.reshape(batch, len(steps), -1)

    session = fastrnn.stream(layer, batch)
    stepped = np.stack([session.step(x[:, t]) for t in range(TIME)], axis=1)
    assert stepped.dtype == expected.dtype
    np.testing.assert_array_equal(stepped[:, steps], expected)

    session.reset()
    chunks = [session.run(x[:, start:stop]) for start, stop in ((0, 1), (1, 8), (8, 8), (8, TIME))]
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), stepped)

    row = batch - 1
    alone = fastrnn.stream(layer)
    if name == "custom":  # NumPy's products of one row and of several differ
        np.testing.assert_allclose(alone.run(x[row]), stepped[row], rtol=1e-4, atol=1e-5)
        return
    np.testing.assert_array_equal(alone.run(x[row]), stepped[row])


@instruction_sets
@dtypes
def test_class_numbers(dtype: str, instruction_set: str, rng: np.random.Generator) -> None:
    branches = [Embedding(11, 4, dtype=dtype), [Embedding(12, 3, dtype=dtype), LSTM(5, dtype=dtype, **ALL)]]
    model = Sequential([Parallel(branches), GRU(8, dtype=dtype, **ALL), Dense(11, dtype=dtype)], seed=0)
    x = rng.integers(0, 11, (3, TIME))
    expected, session = model(x), fastrnn.stream(model, 3)
    np.testing.assert_array_equal(session.run(x), expected)
    session.reset()
    np.testing.assert_array_equal(np.stack([session.step(x[:, t]) for t in range(TIME)], axis=1), expected)
    alone = fastrnn.stream(model)
    assert alone.step(3).shape == (11,) and alone.step([3]).shape == (1, 11)
    alone.reset()
    np.testing.assert_array_equal(np.concatenate([alone.step(x[1, 0])[None], alone.run(x[1, 1:])]), expected[1])


@pytest.mark.parametrize("name", LAYERS)
def test_states_are_all_there_is_to_know(name: str, rng: np.random.Generator) -> None:
    """A session that is given another's state goes on as that one does; a row that is reset begins anew."""
    layer = LAYERS[name]("float32")
    layer.build(INPUTS)
    with_random_arrays(layer, rng)
    x = rng.normal(size=(4, 3 * TIME, INPUTS)).astype("float32")
    session, other = fastrnn.stream(layer, 4), fastrnn.stream(layer, 4)
    beginning = session.run(x[:, :TIME])
    state = session.state
    expected = session.run(x[:, TIME : 2 * TIME])

    other.run(x[:, 2 * TIME :])
    other.state = state
    np.testing.assert_array_equal(other.run(x[:, TIME : 2 * TIME]), expected)

    other.state = state
    other.reset([1, 3])
    mixed = other.run(np.concatenate([x[:2, :TIME], x[2:, :TIME]]))
    np.testing.assert_array_equal(mixed[[1, 3]], beginning[[1, 3]])
    session.state = state
    np.testing.assert_array_equal(session.run(x[:, :TIME])[[0, 2]], mixed[[0, 2]])


@instruction_sets
@dtypes
@pytest.mark.parametrize("shape", [(1, 20, 10), (32, 20, 10), (700, 50, 1), (53, 7, 33), (0, 3, 2)], ids=str)
def test_dense_layers_have_a_bit_pattern_by_row(
    shape: tuple[int, int, int], dtype: str, instruction_set: str, rng: np.random.Generator
) -> None:
    """A row's result does not depend on the rows beside it, and is right."""
    rows, inputs, units = shape
    layer = Dense(units, dtype=dtype, seed=0)
    x = rng.normal(size=(rows, inputs)).astype(dtype)
    y = layer(x)
    exact = x.astype("float64") @ layer.params["w"].astype("float64")
    assert y.shape == (rows, units)
    np.testing.assert_allclose(y, exact, atol=1e-5 if dtype == "float32" else 1e-13)
    for row in range(0, rows, 13):
        np.testing.assert_array_equal(layer(x[row : row + 1]), y[row : row + 1])


@instruction_sets
@dtypes
@pytest.mark.parametrize("features", [1, 6, 16, 67])
def test_layer_normalization_by_row(features: int, dtype: str, instruction_set: str, rng: np.random.Generator) -> None:
    layer = with_random_arrays(built(LayerNormalization(dtype=dtype), features), rng)
    x = (3 + 2 * rng.normal(size=(1000, features))).astype(dtype)
    y, z = layer(x), x.astype("float64")
    normal = (z - z.mean(axis=1, keepdims=True)) / np.sqrt(z.var(axis=1, keepdims=True) + layer.epsilon)  # type: ignore[attr-defined]
    exact = normal * layer.params["gamma"] + layer.params["beta"]
    np.testing.assert_allclose(y, exact, atol=1e-5 if dtype == "float32" else 1e-13)
    np.testing.assert_array_equal(layer(x[7:9]), y[7:9])
    assert layer(x[:0]).shape == (0, features)


def built(layer: Layer, size: int) -> Layer:
    layer.build(size)
    return layer
