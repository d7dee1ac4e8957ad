"""Embedding: what it looks up, its gradient, the mask it makes, and that class numbers stay class numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn.layers import GRU, LSTM, Activation, Bidirectional, Dense, Embedding, Flatten, Parallel, TimeDistributed
from fastrnn.training import Adam, Sequential

from ..helpers import assert_close
from .test_gradients import check_parameter


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_look_up(dtype: str, rng: np.random.Generator) -> None:
    layer = Embedding(7, 3, dtype=dtype, seed=0)
    x = rng.integers(0, 7, (4, 5))
    out = layer(x)
    assert out.dtype == dtype and layer.params["w"].shape == (7, 3)
    np.testing.assert_array_equal(out, layer.params["w"][x])
    np.testing.assert_array_equal(layer(x.astype(float).tolist()), out)  # whole numbers of any type
    np.testing.assert_array_equal(layer(x[:, :2]), out[:, :2])  # any number of steps


def test_gradient(rng: np.random.Generator) -> None:
    layer = Embedding(6, 3, dtype="float64", seed=0)
    x = np.array([[1, 4, 1, 1], [4, 0, 5, 1]])  # 2 and 3 do not occur, 1 four times
    out, cache = layer.forward(x)
    dout = rng.normal(size=out.shape)
    dx, grads, _ = layer.backward(dout, cache)
    assert dx is None
    assert not grads["w"][[2, 3]].any()
    check_parameter(layer, "w", grads["w"], lambda: float((layer(x) * dout).sum()))
    expected = np.zeros((6, 3))
    np.add.at(expected, x, dout)
    assert_close(grads["w"], expected, "float64")
    empty = layer.backward(np.zeros((0, 4, 3)), layer.forward(x[:0])[1])[1]
    assert not empty["w"].any()


def test_the_cache_does_not_follow_the_input(rng: np.random.Generator) -> None:
    layer = Embedding(4, 2)
    x = np.array([[1, 2]])
    out, cache = layer.forward(x)
    x[:] = 0
    assert not layer.backward(np.ones_like(out), cache)[1]["w"][0].any()


def test_large_class_numbers_keep_their_last_digit() -> None:
    number = 2**24 + 1  # the first that float32 does not hold
    seen = []

    class Remainder(Embedding):
        def forward(self, x: Any, **options: Any) -> Any:
            seen.append(np.asarray(x).tolist())
            return super().forward(np.asarray(x) % 4, **options)

    model = Sequential([TimeDistributed(Sequential([Remainder(4, 1), GRU(1)])), Dense(1)], seed=0)
    model.compile()
    model.fit([[[number]]], [[[0.0]]], verbose=0)
    model.predict([[[number]]])
    assert seen == [[[number]]] * 2


def models_gradients(model: Sequential, x: np.ndarray, rng: np.random.Generator, **options: Any) -> None:
    model.build(x.shape[1:])
    for name, array in model.params.items():
        model.params[name] = rng.normal(scale=0.7, size=array.shape)
    out, caches = model.forward(x, **options)
    dout = rng.normal(size=out.shape)
    dx, grads, _ = model.backward(dout, caches)
    assert dx is None and set(grads) == set(model.params)
    alone = model.parameter_gradients(dout, caches)
    for name in model.params:
        check_parameter(model, name, grads[name], lambda: float((model(x, **options) * dout).sum()))
        np.testing.assert_array_equal(alone[name], grads[name])


@pytest.mark.parametrize("mask_zero", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
def test_gradients_of_models(mask_zero: bool, ragged: bool, rng: np.random.Generator) -> None:
    x = rng.integers(0, 4, (3, 5))
    x[1, 2] = x[2, 0] = 0
    options: dict[str, Any] = {"lengths": [5, 3, 0]} if ragged else {}
    embedding = Embedding(4, 2, mask_zero=mask_zero, dtype="float64")
    layers = [
        embedding,
        Bidirectional(LSTM(2, return_sequences=True, dtype="float64")),
        TimeDistributed(Dense(2, dtype="float64")),
    ]
    models_gradients(Sequential(layers), x, rng, **options)


def test_gradients_of_parallel_and_of_wrapped_embeddings(rng: np.random.Generator) -> None:
    parallel = Parallel([Embedding(4, 2, dtype="float64"), Embedding(4, 3, dtype="float64")])
    models_gradients(Sequential([parallel, GRU(2, dtype="float64")]), rng.integers(0, 4, (3, 4)), rng)
    words = TimeDistributed(Sequential([Embedding(4, 2, dtype="float64"), GRU(2, dtype="float64")]))
    models_gradients(Sequential([words, GRU(2, dtype="float64")]), rng.integers(0, 4, (2, 3, 2)), rng)
    flat = [Embedding(4, 2, dtype="float64"), Flatten(), Dense(1, dtype="float64")]
    models_gradients(Sequential(flat), rng.integers(0, 4, (3, 4)), rng)


def test_mask_zero_is_the_mask(rng: np.random.Generator) -> None:
    x = rng.integers(1, 5, (4, 6))
    x[0, 4:] = x[1, :2] = x[2, 3] = 0
    for recurrent in (GRU(3, return_sequences=True), LSTM(3), Bidirectional(GRU(3, return_sequences=True))):
        with_zero = Sequential([Embedding(5, 2, mask_zero=True), recurrent], seed=0)
        out = with_zero(x)
        without = Sequential([Embedding(5, 2), recurrent], seed=0)
        without.build(6)
        without.set_weights(with_zero.get_weights())
        np.testing.assert_array_equal(out, without(x, mask=x != 0))
        assert (out != without(x)).any()
        both = with_zero(x, lengths=[6, 4, 6, 2])
        np.testing.assert_array_equal(both, without(x, mask=x != 0, lengths=[6, 4, 6, 2]))
        more = rng.random(x.shape) < 0.7
        np.testing.assert_array_equal(with_zero(x, mask=more), without(x, mask=more & (x != 0)))


def test_the_loss_leaves_out_what_is_padding(rng: np.random.Generator) -> None:
    x = rng.integers(1, 5, (20, 6))
    x[rng.random(x.shape) < 0.3] = 0
    y = rng.normal(size=(20, 6, 1))
    results = []
    for junk in (0.0, 1e6):
        y[x == 0] = junk
        model = Sequential([Embedding(5, 3, mask_zero=True), GRU(4, return_sequences=True), Dense(1)], seed=0)
        model.compile(Adam(0.01), "mse", ["mae"])
        history = model.fit(x, y, epochs=2, batch_size=8, validation_data=(x, y), verbose=0).history
        results.append((history, model.evaluate(x, y, batch_size=7, return_dict=True), model.get_weights()))
    assert results[0][:2] == results[1][:2]
    for a, b in zip(results[0][2], results[1][2], strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_learns(rng: np.random.Generator) -> None:
    """Whether the first letter, before padding of any length in front, is in the second half of the alphabet."""
    letters = rng.integers(1, 9, 512)
    x = np.zeros((512, 6), int)
    x[np.arange(512), rng.integers(0, 6, 512)] = letters
    model = Sequential([Embedding(9, 4, mask_zero=True), LSTM(8), Dense(1)], seed=0)
    model.compile(Adam(0.02), "binary_crossentropy", ["accuracy"])
    history = model.fit(x, letters > 4, epochs=15, verbose=0).history
    assert history["accuracy"][-1] == 1.0


@pytest.mark.parametrize("behind", [[GRU(3)], [Flatten(), Dense(2)]])
def test_a_model_comes_back_from_its_file(behind: list[Any], tmp_path: Path, rng: np.random.Generator) -> None:
    model = Sequential([Embedding(5, 2, mask_zero=True), *behind], seed=0)
    x = rng.integers(0, 5, (3, 4))
    out = model.predict(x)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(fastrnn.load(tmp_path / "model").predict(x), out)


def test_summary_names_no_number_of_steps() -> None:
    model = Sequential([Embedding(10, 4), GRU(3, return_sequences=True)], seed=0)
    model(np.ones((2, 7), int))
    lines: list[str] = []
    model.summary(lines.append)
    assert "(None, None, 4)" in lines[2] and lines[2].endswith("40") and "(None, None, 3)" in lines[3]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda e: e([[1, 4]]), ValueError, "x: expected integers from 0 to 3, got 1 to 4"),
        (lambda e: e([[-1, 0]]), ValueError, "x: expected integers from 0 to 3, got -1 to 0"),
        (lambda e: e([[0.5, 1.0]]), ValueError, "x: expected integers"),
        (lambda e: e([[True, False]]), TypeError, "x: expected integers"),
        (lambda e: e([1, 2]), ValueError, "x: expected 2-D, got 1-D"),
        (lambda e: Sequential([e]).predict([1, 2]), ValueError, r"x: expected 2-D \(N, T\), got 1-D"),
        (lambda e: Sequential([e]).predict([[1, 9]]), ValueError, "x: expected integers from 0 to 3"),
        (lambda e: Sequential([e]).predict([[1, 2]], mask=[[True]]), ValueError, "mask: expected shape"),
        (lambda e: Embedding(0, 2), ValueError, "input_dim: expected an integer >= 1"),
        (lambda e: Embedding(2, 2, mask_zero=1), TypeError, "mask_zero: expected True or False"),
        (lambda e: Parallel([e, Activation("linear")]).build(3), ValueError, "branches: expected outputs of one rank"),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(Embedding(4, 2))
