"""Every layer's backward against central finite differences in float64: the input, every parameter, every state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastrnn.layers import GRU, LSTM, Dense, Dropout, Layer, RepeatVector, SimpleRNN, TimeDistributed
from fastrnn.training import Sequential

from ..helpers import assert_close, central_difference

RECURRENT = (SimpleRNN, LSTM, GRU)
B, T, I, H = 3, 5, 2, 4  # noqa: E741


def randomised(layer: Any, rng: np.random.Generator, input_size: int = I) -> Any:
    """The layer with parameters that are all different from zero."""
    layer.build(input_size)
    for name, array in layer.params.items():
        layer.params[name] = rng.normal(scale=0.7, size=array.shape)
    return layer


def check_gradients(layer: Any, x: np.ndarray, rng: np.random.Generator, **options: Any) -> None:
    """Gradients by x and by each parameter of sum(out · weights)."""
    out, cache = layer.forward(x, **options)
    upstream = rng.normal(size=out.shape)
    dx, grads, _ = layer.backward(upstream, cache)
    assert set(grads) == set(layer.params)

    def cost(x: np.ndarray) -> float:
        return float((layer.forward(x, **options)[0] * upstream).sum())

    assert_close(dx, central_difference(cost, x), "finite_difference", "dx")
    for name in layer.params:
        check_parameter(layer, name, grads[name], lambda: cost(x))


def check_parameter(layer: Any, name: str, gradient: np.ndarray, cost: Callable[[], float]) -> None:
    """The gradient of a cost by one parameter."""
    original = layer.params[name]

    def cost_of(value: np.ndarray) -> float:
        layer.params[name] = value
        return cost()

    expected = central_difference(cost_of, original)
    layer.params[name] = original
    assert_close(gradient, expected, "finite_difference", f"d{name}")


@pytest.mark.parametrize("cls", RECURRENT)
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
def test_recurrent(
    cls: type[Layer], return_sequences: bool, go_backwards: bool, ragged: bool, rng: np.random.Generator
) -> None:
    layer = cls(H, return_sequences=return_sequences, go_backwards=go_backwards, dtype="float64")
    reset = np.zeros((B, T), bool)
    reset[1, 1] = reset[0, 3] = True
    options = {"lengths": [T, 2, 0], "reset_mask": reset} if ragged else {}
    check_gradients(randomised(layer, rng), rng.normal(size=(B, T, I)), rng, **options)


@pytest.mark.parametrize("cls", RECURRENT)
@pytest.mark.parametrize("return_sequences", [False, True])
def test_initial_and_final_states(cls: type[Layer], return_sequences: bool, rng: np.random.Generator) -> None:
    layer = randomised(cls(H, return_sequences=return_sequences, dtype="float64"), rng)
    x = rng.normal(size=(B, T, I))
    count = 2 if cls is LSTM else 1
    state = [rng.normal(size=(B, H)) for _ in range(count)]
    out, cache = layer.forward(x, initial_state=tuple(state))
    dout = rng.normal(size=out.shape)
    dfinal = tuple(rng.normal(size=(B, H)) for _ in range(count))
    _, grads, dinitial = layer.backward(dout, cache, dfinal)
    assert len(dinitial) == len(cache.state) == count

    def cost() -> float:
        out, cache = layer.forward(x, initial_state=tuple(state))
        return float((out * dout).sum() + sum((s * d).sum() for s, d in zip(cache.state, dfinal, strict=True)))

    for i in range(count):
        original = state[i]

        def cost_of(value: np.ndarray, i: int = i) -> float:
            state[i] = value
            return cost()

        expected = central_difference(cost_of, original)
        state[i] = original
        assert_close(dinitial[i], expected, "finite_difference", f"dinitial_state[{i}]")
    for name in layer.params:
        check_parameter(layer, name, grads[name], cost)


@pytest.mark.parametrize("cls", RECURRENT)
def test_without_an_output_gradient_the_final_state_alone_counts(cls: type[Layer], rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    layer = randomised(cls(H, return_sequences=True, dtype="float64"), rng)
    last = cls(H, dtype="float64")
    last.build(I)
    last.params.update(layer.params)
    dh = rng.normal(size=(B, H))
    dx, grads, _ = layer.backward(None, layer.forward(x)[1], (dh, *[None] * (cls is LSTM)))
    expected_dx, expected, _ = last.backward(dh, last.forward(x)[1])
    assert_close(dx, expected_dx, "float64", "dx")
    for name in grads:
        assert_close(grads[name], expected[name], "float64", name)


@pytest.mark.parametrize("cls", RECURRENT)
def test_without_bias(cls: type[Layer], rng: np.random.Generator) -> None:
    layer = randomised(cls(H, use_bias=False, dtype="float64"), rng)
    assert set(layer.params) == {"w_x", "w_h"}
    check_gradients(layer, rng.normal(size=(B, T, I)), rng)


@pytest.mark.parametrize("activation", [None, "linear", "tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("shape", [(B, I), (B, T, I)])
@pytest.mark.parametrize("use_bias", [False, True])
def test_dense(activation: str | None, shape: tuple[int, ...], use_bias: bool, rng: np.random.Generator) -> None:
    layer = randomised(Dense(H, activation, use_bias=use_bias, dtype="float64"), rng)
    check_gradients(layer, rng.normal(size=shape), rng)


def test_time_distributed(rng: np.random.Generator) -> None:
    check_gradients(
        randomised(TimeDistributed(Dense(H, "tanh", dtype="float64")), rng), rng.normal(size=(B, T, I)), rng
    )


def test_time_distributed_around_a_recurrent_layer(rng: np.random.Generator) -> None:
    layer = randomised(TimeDistributed(GRU(H, dtype="float64")), rng)
    assert layer(np.ones((2, 3, T, I))).shape == (2, 3, H)
    check_gradients(layer, rng.normal(size=(2, 3, T, I)), rng)


def test_repeat_vector(rng: np.random.Generator) -> None:
    check_gradients(RepeatVector(T), rng.normal(size=(B, I)), rng)


def test_dropout_under_its_mask(rng: np.random.Generator) -> None:
    check_gradients(Dropout(0.4, seed=3), rng.normal(size=(B, T, I)), rng, training=True)


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [LSTM(H, return_sequences=True, dtype="float64"), GRU(3, dtype="float64"), Dense(2, dtype="float64")],
        lambda: [
            SimpleRNN(H, return_sequences=True, go_backwards=True, dtype="float64"),
            Dropout(0.3, seed=1),
            LSTM(3, return_sequences=True, dtype="float64"),
            TimeDistributed(Dense(2, dtype="float64")),
        ],
        lambda: [
            GRU(3, dtype="float64"),
            RepeatVector(4),
            GRU(H, return_sequences=True, dtype="float64"),
            Dense(1, dtype="float64"),
        ],
    ],
)
@pytest.mark.parametrize("ragged", [False, True])
def test_models(layers: Callable[[], list[Layer]], ragged: bool, rng: np.random.Generator) -> None:
    model = randomised(Sequential(layers(), seed=0), rng)
    reset = np.zeros((B, T), bool)
    reset[1, 1] = reset[0, 3] = True
    options: dict[str, Any] = {"lengths": [T, 3, 1], "reset_mask": reset} if ragged else {}
    check_gradients(model, rng.normal(size=(B, T, I)), rng, training=True, **options)
