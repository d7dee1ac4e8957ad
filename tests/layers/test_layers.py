"""What layers return, hold and refuse."""

from __future__ import annotations

import inspect
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastrnn.reference
from fastrnn.layers import GRU, LSTM, Dense, Dropout, Layer, RepeatVector, SimpleRNN, TimeDistributed
from fastrnn.layers.initializers import Constant, Orthogonal

from ..helpers import assert_close

RECURRENT = (SimpleRNN, LSTM, GRU)
FUNCTIONS = {SimpleRNN: "rnn_forward", LSTM: "lstm_forward", GRU: "gru_forward"}


@pytest.mark.parametrize("cls", RECURRENT)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_output_is_the_reference(cls: type[Layer], dtype: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 6, 2))
    layer = cls(4, return_sequences=True, dtype=dtype, seed=0)
    out, cache = layer.forward(x)
    states = [None] * len(cache.state)
    params = {name: array.astype(np.float64) for name, array in layer.params.items()}
    y, expected = getattr(fastrnn.reference, FUNCTIONS[cls])(x, *states, params["w_x"], params["w_h"], params["b"])
    tolerance = "float64" if dtype == "float64" else "float32_output"
    assert out.dtype == np.dtype(dtype)
    assert_close(out, y, tolerance)
    assert_close(cache.state[0], expected.h_n, tolerance)
    last = cls(4, dtype=dtype, seed=0)
    np.testing.assert_array_equal(last(x), out[:, -1])


@pytest.mark.parametrize("cls", RECURRENT)
def test_a_float64_layer_works_wholly_in_float64(cls: type[Layer]) -> None:
    layer = cls(4, return_sequences=True, dtype="float64")
    out, cache = layer.forward(np.ones((2, 3, 2), np.float32))
    dx, grads, dinitial = layer.backward(np.ones(out.shape, np.float32), cache)
    arrays = [out, *cache.state, dx, *grads.values(), *dinitial, *layer.params.values()]
    assert {array.dtype for array in arrays} == {np.dtype("float64")}


@pytest.mark.parametrize("cls", RECURRENT)
def test_a_float32_layer_casts_what_it_gets(cls: type[Layer]) -> None:
    layer = cls(4)
    state = (np.ones((2, 4)),) * (2 if cls is LSTM else 1)
    out, cache = layer.forward(np.ones((2, 3, 2)), initial_state=state)
    dx, grads, dinitial = layer.backward(np.ones(out.shape), cache)
    assert {array.dtype for array in (out, dx, *grads.values(), *dinitial)} == {np.dtype("float32")}


def test_go_backwards_returns_processing_order(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 5, 3))
    forwards = GRU(4, return_sequences=True, seed=0)
    backwards = GRU(4, return_sequences=True, go_backwards=True, seed=0)
    np.testing.assert_array_equal(backwards(x), forwards(x[:, ::-1]))


def test_go_backwards_with_lengths_reverses_the_true_steps(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 5, 3))
    lengths = [2, 5, 0]
    forwards = LSTM(4, return_sequences=True, seed=0)
    out = LSTM(4, return_sequences=True, go_backwards=True, seed=0)(x, lengths=lengths)
    for row, length in enumerate(lengths):
        if length:
            np.testing.assert_array_equal(out[row, :length], forwards(x[row : row + 1, :length][:, ::-1])[0])
        assert not out[row, length:].any()


@pytest.mark.parametrize("cls", RECURRENT)
def test_the_last_output_is_that_of_the_last_true_step(cls: type[Layer], rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 5, 2))
    whole = cls(4, return_sequences=True, seed=0)(x)
    last = cls(4, seed=0)(x, lengths=[5, 2, 0])
    np.testing.assert_array_equal(last, [whole[0, 4], whole[1, 1], np.zeros(4)])


@pytest.mark.parametrize("cls", RECURRENT)
def test_return_state(cls: type[Layer], rng: np.random.Generator) -> None:
    layer = cls(4, return_sequences=True, return_state=True, seed=0)
    x = rng.normal(size=(3, 5, 2))
    out, *state = layer(x)
    again, cache = layer.forward(x)
    np.testing.assert_array_equal(out, again)
    assert len(state) == len(cache.state)
    np.testing.assert_array_equal(state[0], out[:, -1])
    # a sequence in two parts, the state handed over
    first, *middle = layer(x[:, :2])
    second, *_ = layer(x[:, 2:], initial_state=tuple(middle))
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), out)


@pytest.mark.parametrize("cls", RECURRENT)
def test_reset_mask(cls: type[Layer], rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, 6, 2))
    layer = cls(4, return_sequences=True, seed=0)
    mask = np.zeros((1, 6), bool)
    mask[0, 4] = True
    out = layer(x, reset_mask=mask)
    np.testing.assert_array_equal(out[:, 4:], layer(x[:, 4:]))
    assert np.abs(out[:, 4:] - layer(x)[:, 4:]).max() > 1e-3


@pytest.mark.parametrize("cls", RECURRENT)
def test_empty_batch(cls: type[Layer]) -> None:
    layer = cls(4, return_sequences=True)
    out, cache = layer.forward(np.ones((0, 5, 2)))
    dx, grads, _ = layer.backward(out, cache)
    assert out.shape == (0, 5, 4) and dx.shape == (0, 5, 2)
    assert not any(gradient.any() for gradient in grads.values())


def test_dense_works_on_the_last_axis(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 5, 3))
    layer = Dense(4, dtype="float64", seed=0)
    assert_close(layer(x), x @ layer.params["w"] + layer.params["b"], "float64")
    assert_close(TimeDistributed(layer)(x), layer(x), "float64")


def test_repeat_vector() -> None:
    out = RepeatVector(3)([[1.0, 2.0]])
    np.testing.assert_array_equal(out, [[[1, 2], [1, 2], [1, 2]]])


def test_dropout() -> None:
    layer = Dropout(0.25)
    x = np.ones((200, 300), np.float32)
    assert layer(x) is x
    out, _ = layer.forward(x, training=True, rng=np.random.default_rng(0))
    assert out.dtype == np.float32
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((out == 0).mean() - 0.25) < 0.01
    again, _ = layer.forward(x, training=True, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(out, again)
    other, _ = layer.forward(x, training=True)
    assert (out != other).any()


# ---- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [*RECURRENT, Dense])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_seed_gives_the_same_weights(cls: Any, dtype: str) -> None:
    layers = [cls(9, dtype=dtype, seed=seed) for seed in (5, 5, 6, None, None)]
    for layer in layers:
        layer.build(3)
    first, same, *others = ({name: a.tobytes() for name, a in layer.params.items()} for layer in layers)
    kernel = "w" if cls is Dense else "w_x"
    assert first == same
    assert len({first[kernel], *(other[kernel] for other in others)}) == 4


def test_shapes_and_first_values() -> None:
    lstm, gru, rnn = LSTM(4, seed=0), GRU(4, seed=0), SimpleRNN(4, seed=0)
    for layer in (lstm, gru, rnn):
        layer.build(3)
    assert {n: a.shape for n, a in lstm.params.items()} == {"w_x": (3, 16), "w_h": (4, 16), "b": (16,)}
    assert {n: a.shape for n, a in gru.params.items()} == {"w_x": (3, 12), "w_h": (4, 12), "b": (2, 12)}
    assert {n: a.shape for n, a in rnn.params.items()} == {"w_x": (3, 4), "w_h": (4, 4), "b": (4,)}
    np.testing.assert_array_equal(lstm.params["b"], [0] * 4 + [1] * 4 + [0] * 8)  # gate order i f g o
    assert not gru.params["b"].any()
    limit = np.sqrt(6 / (3 + 16))
    assert 0.8 * limit < np.abs(lstm.params["w_x"]).max() <= limit
    np.testing.assert_allclose(lstm.params["w_h"] @ lstm.params["w_h"].T, np.eye(4), atol=1e-6)
    assert lstm.count_params() == 3 * 16 + 4 * 16 + 16


def test_initializers_by_object() -> None:
    layer = LSTM(
        4, kernel_initializer=Constant(0.5), recurrent_initializer=Orthogonal(2.0), bias_initializer="ones",
        unit_forget_bias=False,
    )  # fmt: skip
    layer.build(3)
    assert (layer.params["w_x"] == 0.5).all() and (layer.params["b"] == 1).all()
    np.testing.assert_allclose(layer.params["w_h"] @ layer.params["w_h"].T, 4 * np.eye(4), atol=1e-5)


def test_assigning_parameters_checks_and_copies() -> None:
    layer = GRU(4)
    assert len(layer.params) == 0
    layer.build(3)
    value = np.full((4, 12), 0.1)
    layer.params["w_h"] = value
    value[:] = 7
    assert layer.params["w_h"].dtype == np.float32
    assert (layer.params["w_h"] == np.float32(0.1)).all()
    with pytest.raises(ValueError, match=r"w_h: expected shape \(4, 12\), got \(4, 11\)"):
        layer.params["w_h"] = np.ones((4, 11))
    with pytest.raises(ValueError, match=r"kernel: GRU has no such parameter; it has w_x, w_h, b"):
        layer.params["kernel"] = value
    with pytest.raises(TypeError, match="w_h: expected an array of real numbers"):
        layer.params["w_h"] = np.ones((4, 12), complex)
    with pytest.raises(TypeError, match="not removed"):
        del layer.params["w_h"]
    with pytest.raises(KeyError):
        layer.params["kernel"]


def test_build_twice() -> None:
    layer = LSTM(4)
    layer.build(3)
    kernel = layer.params["w_x"]
    layer.build(3)
    assert layer.params["w_x"] is kernel
    with pytest.raises(ValueError, match="input_size: LSTM stands already with input size 3, got 2"):
        layer.build(2)


def test_one_layer_serves_many_threads(rng: np.random.Generator) -> None:
    layer = LSTM(8, return_sequences=True, seed=0)
    inputs = [rng.normal(size=(b, 20, 3)) for b in (1, 2, 5, 7) * 4]

    def work(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out, cache = layer.forward(x)
        return out, layer.backward(np.ones_like(out), cache)[0]

    with ThreadPoolExecutor(4) as pool:  # the first calls also race to build the layer
        results = list(pool.map(work, inputs))
    for x, (out, dx) in zip(inputs, results, strict=True):
        expected_out, expected_dx = work(x)
        np.testing.assert_array_equal(out, expected_out)
        np.testing.assert_array_equal(dx, expected_dx)


def test_forward_leaves_nothing_behind() -> None:
    layer = LSTM(4, seed=0)
    layer.build(2)
    before = pickle.dumps(layer)
    layer.backward(*layer.forward(np.ones((3, 5, 2))))
    assert pickle.dumps(layer) == before


@pytest.mark.parametrize(
    "layer",
    [
        LSTM(4, return_sequences=True, kernel_initializer=Constant(0.5), dtype="float64", seed=3),
        GRU(4, go_backwards=True, activation="relu"),
        SimpleRNN(4, use_bias=False),
        Dense(3, "tanh"),
        TimeDistributed(Dense(3)),
        RepeatVector(4),
        Dropout(0.2, seed=1),
    ],
)
def test_configuration_survives_json(layer: Layer) -> None:
    config = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(config)
    assert again.get_config() == layer.get_config()
    assert repr(again) == repr(layer)


# ---- bad arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: LSTM(0), ValueError, "units: expected an integer >= 1, got 0"),
        (lambda: LSTM(2.5), TypeError, "units: expected an integer"),
        (lambda: LSTM(4, activation="swish"), ValueError, "activation: expected one of"),
        (lambda: LSTM(4, dtype="float16"), ValueError, "dtype: expected one of"),
        (lambda: LSTM(4, dtype="nonsense"), TypeError, "dtype: expected"),
        (lambda: LSTM(4, seed=-1), ValueError, "seed: expected an integer >= 0"),
        (lambda: LSTM(4, kernel_initializer="magic"), ValueError, "kernel_initializer: expected one of"),
        (lambda: LSTM(4, bias_initializer=3), TypeError, "bias_initializer: expected a Initializer or one of"),
        (lambda: LSTM(4, return_sequences=1), TypeError, "return_sequences: expected True or False"),
        (lambda: SimpleRNN(4, reset_after=True), TypeError, "unexpected keyword"),
        (lambda: GRU(4, unit_forget_bias=True), TypeError, "unexpected keyword"),
        (lambda: Dense(3, "swish"), ValueError, "activation: expected one of"),
        (lambda: Dropout(1.0), ValueError, "rate: expected a number >= 0 and < 1, got 1"),
        (lambda: RepeatVector(0), ValueError, "n: expected an integer >= 1"),
        (lambda: TimeDistributed("dense"), TypeError, "layer: expected a Layer, got str"),
    ],
)
def test_bad_options(build: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        build()


@pytest.mark.parametrize(
    ("x", "options", "error", "match"),
    [
        (np.ones((2, 3)), {}, ValueError, r"x: expected 3-D, got 2-D with shape \(2, 3\)"),
        (np.ones((2, 3, 5)), {}, ValueError, r"x: expected a last axis of size 1"),
        (np.ones((2, 0, 1)), {}, ValueError, "x: expected at least one time step"),
        (np.ones((2, 3, 1), complex), {}, TypeError, "x: expected an array of real numbers"),
        (np.ones((2, 3, 1)), {"lengths": [4, 1]}, ValueError, "lengths: expected integers from 0 to 3"),
        (np.ones((2, 3, 1)), {"lengths": [1.0, np.nan]}, ValueError, "lengths: expected finite"),
        (np.ones((2, 3, 1)), {"reset_mask": np.ones((2, 3))}, TypeError, "reset_mask: expected a boolean array"),
        (
            np.ones((2, 3, 1)),
            {"initial_state": np.ones((2, 4))},
            TypeError,
            r"initial_state: expected a tuple \(h, c\)",
        ),
        (np.ones((2, 3, 1)), {"initial_state": (None,)}, ValueError, r"initial_state: expected a tuple \(h, c\)"),
        (
            np.ones((2, 3, 1)),
            {"initial_state": (None, np.ones((3, 4)))},
            ValueError,
            r"initial_state\[1\]: expected shape",
        ),
    ],
)
def test_bad_input(x: np.ndarray, options: dict[str, Any], error: type[Exception], match: str) -> None:
    layer = LSTM(4)
    layer.build(1)
    with pytest.raises(error, match=match):
        layer(x, **options)


def test_bad_gradients() -> None:
    layer = LSTM(4)
    out, cache = layer.forward(np.ones((2, 3, 1)))
    with pytest.raises(ValueError, match=r"dout: expected shape \(B, H\) = \(2, 4\), got \(2, 3\)"):
        layer.backward(out[:, :3], cache)
    dense = Dense(3)
    out, cache = dense.forward(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"dout: expected shape \(2, 3\), got \(2, 1\)"):
        dense.backward(out[:, :1], cache)
    with pytest.raises(ValueError, match="dfinal_state: Dense has no state"):
        dense.backward(out, cache, (out,))


@pytest.mark.parametrize("layer", [SimpleRNN, LSTM, GRU])
def test_an_unknown_option_is_told_with_the_name_of_the_layer(layer: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{layer.__name__}\(\) got an unexpected keyword argument 'unit'$"):
        layer(3, unit=4)
    assert "unknown" not in inspect.signature(layer).parameters
