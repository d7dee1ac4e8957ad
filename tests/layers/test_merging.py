"""Residual, Parallel, Stack and models within models: sums, gradients, names, steps."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import storage
from fastrnn.layers import (
    GRU,
    LSTM,
    Activation,
    BatchNormalization,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GaussianNoise,
    Layer,
    LayerNormalization,
    Parallel,
    RepeatVector,
    Reshape,
    Residual,
    SimpleRNN,
    SpatialDropout1D,
    TimeDistributed,
)
from fastrnn.layers.merging import MERGE_MODES
from fastrnn.training import SGD, Sequential

from ..helpers import assert_close
from .test_gradients import B, H, I, T, check_gradients

HOLES = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0]], bool)
RESETS = np.array([[0, 0, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 1, 0]], bool)
F64 = "float64"
STEPS: tuple[dict[str, Any], ...] = (
    {},
    {"lengths": [T, 2, 0], "reset_mask": RESETS},
    {"mask": HOLES},
    {"mask": HOLES, "lengths": [T, 3, 1], "reset_mask": RESETS},
)


def sequences(units: int = I) -> GRU:
    return GRU(units, return_sequences=True, dtype=F64)


LAYERS: dict[str, Callable[[], Layer]] = {
    "residual": lambda: Residual(sequences()),
    "residual-stack": lambda: Residual([sequences(H), Dense(I, "tanh", dtype=F64)]),
    "residual-projection": lambda: Residual([LayerNormalization(dtype=F64), sequences(H)], projection=True),
    "parallel-concat": lambda: Parallel([sequences(1), [Dense(3, dtype=F64), sequences(H)], Activation("linear")]),
    "parallel-sum": lambda: Parallel([sequences(H), Dense(H, dtype=F64)], merge="sum"),
    "parallel-ave": lambda: Parallel([Activation("tanh"), Activation("linear"), sequences()], merge="ave"),
    "parallel-mul": lambda: Parallel([Activation("linear"), Activation("linear"), sequences()], merge="mul"),
    "parallel-last": lambda: Parallel([GRU(2, dtype=F64), SimpleRNN(3, dtype=F64)]),
    "model": lambda: Sequential([Dropout(0.3, seed=1), sequences(H), Sequential([Dense(3, dtype=F64), sequences(2)])]),
    "time-distributed-model": lambda: TimeDistributed(Sequential([Dense(3, "tanh", dtype=F64), Dense(2, dtype=F64)])),
    "batch-norm-within": lambda: Residual([sequences(H), BatchNormalization(epsilon=0.1, dtype=F64)], projection=True),
    "bidirectional-within": lambda: Parallel([Bidirectional(sequences(2)), Residual(sequences())]),
    "backwards": lambda: Sequential([GRU(2, return_sequences=True, go_backwards=True, dtype=F64), sequences(3)]),
    "flat": lambda: Sequential([Parallel([[Flatten(), Dense(2, dtype=F64)], GRU(2, dtype=F64)]), Dense(1, dtype=F64)]),
    "reshaped": lambda: Sequential([Flatten(), Reshape((T, I)), sequences(H), Reshape((-1, 2)), GRU(2, dtype=F64)]),
    "open-rank": lambda: Sequential([Dense(4, dtype=F64), Reshape((T * 2, 2)), GRU(2, dtype=F64)]),
    "flatten": Flatten,
    "reshape": lambda: Reshape((-1, T)),
    "relu": lambda: Activation("relu"),
    "noise": lambda: GaussianNoise(0.5, seed=3),
    "spatial-dropout": lambda: SpatialDropout1D(0.5, seed=3),
}  # fmt: skip


def randomised(layer: Layer, x: np.ndarray, rng: np.random.Generator) -> Layer:
    """The layer built by its first data, with parameters that are all different from zero."""
    layer.forward(x)
    for name, array in layer.params.items():
        layer.params[name] = rng.normal(scale=0.7, size=array.shape)
    return layer


def options_for(layer: Layer, steps: dict[str, Any]) -> dict[str, Any]:
    return steps if layer.takes_time else {}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("steps", STEPS)
def test_gradients(name: str, steps: dict[str, Any], rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    layer = randomised(LAYERS[name](), x, rng)
    options = options_for(layer, steps)
    check_gradients(layer, x, rng, training=True, **options)
    out, cache = layer.forward(x, training=True, **options)
    dout = rng.normal(size=out.shape)
    grads, alone = layer.backward(dout, cache)[1], layer.parameter_gradients(dout, cache)
    assert set(grads) == set(alone)
    for parameter, gradient in grads.items():
        np.testing.assert_array_equal(alone[parameter], gradient)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("steps", STEPS)
def test_inference_is_forward(name: str, steps: dict[str, Any], rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    layer = randomised(LAYERS[name](), x, rng)
    options = options_for(layer, steps)
    out, _ = layer.forward(x, **options)
    np.testing.assert_array_equal(layer.infer(x, **options), out)
    np.testing.assert_array_equal(layer(x, **options), out)
    assert out.dtype == np.float64
    known = [
        size if size is not None else n for size, n in zip(layer.output_shape((None, T, I)), out.shape, strict=True)
    ]
    assert tuple(known) == out.shape


@pytest.mark.parametrize("name", LAYERS)
def test_config_pickle_copy_and_file(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    layer = randomised(LAYERS[name](), x, rng)
    for buffer, array in layer.buffers.items():
        layer.buffers[buffer] = rng.uniform(0.5, 1.5, size=array.shape)
    expected = layer(x)
    again = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config() and repr(again) == repr(layer)
    storage.save(layer, tmp_path / "layer")
    for other in (fastrnn.load(tmp_path / "layer"), pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert list(other.params) == list(layer.params) and list(other.buffers) == list(layer.buffers)
        np.testing.assert_array_equal(other(x), expected)
        other.params.update({name: array * 0 for name, array in other.params.items()})
    np.testing.assert_array_equal(layer(x), expected)


@pytest.mark.parametrize("name", LAYERS)
def test_many_threads(name: str, rng: np.random.Generator) -> None:
    layer = LAYERS[name]()
    x = rng.normal(size=(B, T, I))
    with ThreadPoolExecutor(4) as pool:  # the first calls race to build the layer
        results = list(pool.map(layer, [x] * 12))
    for out in results:
        np.testing.assert_array_equal(out, layer(x))
    before = pickle.dumps(layer)
    layer.backward(*layer.forward(x, training=True))
    assert pickle.dumps(layer) == before


def test_by_hand(rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    layer = Residual(sequences())
    np.testing.assert_array_equal(layer(x), x + layer.layers[0](x))
    layer = Residual(sequences(H), projection=True)
    assert_close(layer(x), x @ layer.params["projection/w"] + layer.layers[0](x), "float64")
    outs: dict[str, np.ndarray] = {}
    for mode in MERGE_MODES:
        layer = Parallel([sequences(), Activation("linear")], merge=mode)
        outs[mode] = layer(x)
        a = layer.branches[0](x)
        expected = {"concat": np.concatenate([a, x], axis=-1), "sum": a + x, "ave": (a + x) / 2, "mul": a * x}
        np.testing.assert_array_equal(outs[mode], expected[mode])


def test_names() -> None:
    model = Sequential(
        [
            Residual([LSTM(3, return_sequences=True), Dense(2)], projection=False),
            Parallel([[Dense(3), Dense(4)], BatchNormalization()]),
            Sequential([Bidirectional(GRU(2)), BatchNormalization()]),
        ],
        input_size=2,
        seed=0,
    )
    assert list(model.params) == [
        "0/0/w_x", "0/0/w_h", "0/0/b", "0/1/w", "0/1/b",
        "1/0/0/w", "1/0/0/b", "1/0/1/w", "1/0/1/b", "1/1/gamma", "1/1/beta",
        *(f"2/0/{way}/{name}" for way in ("forward", "backward") for name in ("w_x", "w_h", "b")),
        "2/1/gamma", "2/1/beta",
    ]  # fmt: skip
    assert list(model.buffers) == [f"{i}/1/moving_{name}" for i in (1, 2) for name in ("mean", "variance")]
    model.params["1/0/0/b"] = [1, 2, 3]
    np.testing.assert_array_equal(model.layers[1].params["0/0/b"], [1, 2, 3])
    model.buffers["2/1/moving_mean"] = np.arange(4)
    np.testing.assert_array_equal(model.layers[2].layers[1].buffers["moving_mean"], np.arange(4))
    with pytest.raises(ValueError, match="1/2/w: no such parameter"):
        model.params["1/2/w"] = 1


def test_seeds_reach_every_part() -> None:
    def build(seed: int) -> Sequential:
        inner = Sequential([Dense(2), Dense(2)])
        layers = [Residual([Dense(2), Dense(2)]), Parallel([Dense(2), [Dense(2)]], merge="sum"), inner]
        return Sequential(layers, input_size=2, seed=seed)

    kernels = [array.tobytes() for name, array in build(3).params.items() if name.endswith("w")]
    assert len(kernels) == len(set(kernels)) == 6
    assert kernels == [array.tobytes() for name, array in build(3).params.items() if name.endswith("w")]
    assert not set(kernels) & {array.tobytes() for name, array in build(4).params.items() if name.endswith("w")}
    inner = Sequential([Dense(2)], seed=8)
    Sequential([Dense(2), inner], input_size=2, seed=0)
    alone = Sequential([Dense(2)], input_size=2, seed=8)
    np.testing.assert_array_equal(inner.params["0/w"], alone.params["0/w"])


def test_averages_move_at_every_depth(rng: np.random.Generator) -> None:
    def norm() -> BatchNormalization:
        return BatchNormalization(momentum=0.0, center=False, scale=False)

    model = Sequential(
        [
            Sequential([norm()]),
            Residual([norm()]),
            Parallel([norm(), [norm()]], merge="ave"),
            TimeDistributed(norm()),
            Dense(1),
        ],
        input_size=2,
        seed=0,
    )
    model.compile(SGD(0.0))
    x = rng.normal(5.0, 2.0, size=(32, 4, 2))
    model.fit(x, x[..., :1], batch_size=32, verbose=0)
    assert len(model.buffers) == 10
    assert not any((array == (name.endswith("variance"))).all() for name, array in model.buffers.items())


def test_states_are_reset_at_every_depth(rng: np.random.Generator) -> None:
    def recurrent() -> GRU:
        return GRU(2, return_sequences=True, stateful=True)

    model = Sequential(
        [
            Sequential([recurrent()]),
            Residual([recurrent()]),
            Parallel([recurrent(), [recurrent()]]),
            Bidirectional(recurrent()),
        ],
        seed=0,
    )
    x = rng.normal(size=(3, 4, 2))
    first = model(x)
    assert (model(x) != first).any()
    for layer in model.layers:
        before = model(x)
        layer.reset_states()
        assert (model(x) != before).any()
    model.reset_states()
    np.testing.assert_array_equal(model(x), first)


def test_steps_of_branches_are_joined(rng: np.random.Generator) -> None:
    x = rng.integers(1, 5, (3, 6))
    y = rng.integers(1, 5, (3, 6))
    x[0, 4:] = y[0, 5] = 0
    both = Parallel([Embedding(5, 2, mask_zero=True), Embedding(5, 2)])
    from fastrnn.layers.steps import Steps

    steps = both.output_steps(x, Steps(lengths=np.array([6, 3, 6])))
    np.testing.assert_array_equal(steps.mask, x != 0)
    np.testing.assert_array_equal(steps.lengths, [6, 3, 6])
    ended = Parallel([GRU(2), SimpleRNN(2)]).output_steps(None, steps)
    assert ended == Steps()


def test_a_model_within_a_model_is_the_same_as_one(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(20, 6, 2)), rng.normal(size=(20, 6, 1))
    mask = rng.random((20, 6)) < 0.7
    flat = Sequential([GRU(3, return_sequences=True), Dense(4, "tanh"), Dense(1)], input_size=2, seed=0)
    nested = Sequential([Sequential([GRU(3, return_sequences=True), Dense(4, "tanh")]), Dense(1)], input_size=2, seed=1)
    nested.set_weights(flat.get_weights())
    for model in (flat, nested):
        model.compile("adam", metrics=["mae"])
        model.fit(x, y, mask=mask, epochs=2, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(flat.get_weights(), nested.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert flat.evaluate(x, y, mask=mask) == nested.evaluate(x, y, mask=mask)


def test_layers_that_act_in_training_alone(rng: np.random.Generator) -> None:
    x = np.ones((50, 8, 40))
    for layer in (GaussianNoise(0.5), SpatialDropout1D(0.25)):
        assert layer(x) is x
        out, _ = layer.forward(x, training=True, rng=np.random.default_rng(0))
        again, _ = layer.forward(x, training=True, rng=np.random.default_rng(0))
        np.testing.assert_array_equal(out, again)
        assert layer.forward(x.astype(np.float32), training=True)[0].dtype == np.float32
    np.testing.assert_array_equal(out, np.broadcast_to(out[:, :1], out.shape))  # the same at all steps
    assert abs((out[:, 0] == 0).mean() - 0.25) < 0.02 and set(np.unique(out)) == {0.0, 1 / 0.75}
    noise = GaussianNoise(0.5).forward(x, training=True)[0] - x
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 0.5) < 0.01


def test_flatten_learns_the_number_of_steps_from_the_data(rng: np.random.Generator) -> None:
    model = Sequential([Dense(2), Flatten(), Dense(1)], seed=0)
    model.compile()
    x = rng.normal(size=(10, 4, 3))
    model.fit(x, x[:, 0, :1], verbose=0)
    assert model.params["2/w"].shape == (8, 1) and model.input_size == (4, 3)
    with pytest.raises(ValueError, match=r"x: expected a last axis of size 8, got shape \(10, 6\)"):
        model.predict(x[:, :3])
    told = Sequential([Dense(2), Flatten(), Dense(1)], input_size=(4, 3), seed=0)
    assert told.get_config() == Sequential.from_config(told.get_config()).get_config()
    assert told.params["2/w"].shape == (8, 1)
    with pytest.raises(ValueError, match=r"input_size: Dense\(1\) has to know the number of time steps"):
        Sequential([Flatten(), Dense(1)], input_size=3)


def test_summary(rng: np.random.Generator) -> None:
    layers = [
        Bidirectional(LSTM(3, return_sequences=True)),
        Residual(GRU(5, return_sequences=True), projection=True),
        Parallel([GRU(2, return_sequences=True), Activation("linear")]),
        TimeDistributed(BatchNormalization()),
        Sequential([GRU(4), RepeatVector(3)]),
        Flatten(),
        Dense(1),
    ]
    model = Sequential(layers, input_size=2, seed=0)
    lines: list[str] = []
    model.summary(lines.append)
    shapes = [line.split("  (")[1].split(")")[0] for line in lines[2:9]]
    assert shapes == [
        "None, None, 6", "None, None, 5", "None, None, 7", "None, None, 7", "None, 3, 4", "None, 12", "None, 1"
    ]  # fmt: skip
    counts = [int(line.split()[-1].replace(",", "")) for line in lines[2:9]]
    gru = 3 * 5 * (6 + 5 + 2)
    assert counts == [2 * 4 * 3 * (2 + 3 + 1), gru + 30, 3 * 2 * (5 + 2 + 2), 14, 3 * 4 * (7 + 4 + 2), 0, 13]
    assert int(lines[-2].split()[-1]) == sum(counts) and lines[-1].split() == ["not", "learned", "14"]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: Residual(GRU(3))(x), ValueError, "layers: expected an output of the input's rank, got 2-D from 3-D"),
        (
            lambda x: Residual(GRU(3, return_sequences=True))(x),
            ValueError,
            "layers: expected an output of the input's size 2, got 3; projection=True",
        ),
        (lambda x: Residual(Embedding(3, 2)), ValueError, "layers: expected layers that take floats"),
        (lambda x: Residual([])(x), ValueError, "layers: expected at least one layer"),
        (lambda x: Residual(["gru"]), TypeError, "layer: expected a Layer, got str"),
        (lambda x: Parallel([GRU(3)]), ValueError, "branches: expected at least two, got 1"),
        (lambda x: Parallel([GRU(3), GRU(3)], merge="max"), ValueError, "merge: expected one of 'concat'"),
        (
            lambda x: Parallel([GRU(3), GRU(2)], merge="sum")(x),
            ValueError,
            r"branches: expected outputs of one shape for merging by 'sum', got \(None, 3\), \(None, 2\)",
        ),
        (
            lambda x: Parallel([GRU(3), GRU(2, return_sequences=True)])(x),
            ValueError,
            "branches: expected outputs of one rank",
        ),
        (
            lambda x: Parallel([Reshape((2, 3)), Reshape((3, 2))], merge="concat")(x),
            ValueError,
            "branches: expected outputs with the same number of steps",
        ),
        (lambda x: Parallel([GRU(2), GRU(2)])(x, lengths=[9, 1]), ValueError, "lengths: expected integers from 0 to 3"),
        (lambda x: Parallel([GRU(2), GRU(2)])(x[0]), ValueError, "x: expected 3-D, got 2-D"),
        (lambda x: Flatten()(x[0]), ValueError, "x: expected 3-D, got 2-D"),
        (lambda x: Reshape((4, 2))(x), ValueError, r"x: expected rows that fit target_shape \(4, 2\), got shape"),
        (lambda x: Reshape((-1, -1)), ValueError, "target_shape: expected sizes >= 1, one of them perhaps -1"),
        (lambda x: Reshape((2.5,)), TypeError, "target_shape: expected an integer"),
        (lambda x: Activation("swish"), ValueError, "activation: expected one of"),
        (lambda x: GaussianNoise(-1.0), ValueError, "stddev: expected a number >= 0"),
        (lambda x: SpatialDropout1D(0.5)(x[0]), ValueError, "x: expected 3-D, got 2-D"),
        (lambda x: TimeDistributed(Dense(2))(x, lengths=[1]), ValueError, r"lengths: expected shape \(B,\) = \(2,\)"),
        (
            lambda x: Sequential([Sequential([GRU(2)]), GRU(2)]).predict(x),
            ValueError,
            r"layers\[1\]: GRU\(2\) takes 3-D input, the layer before gives 2-D",
        ),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(np.ones((2, 3, 2)))
