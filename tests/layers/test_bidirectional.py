"""Bidirectional: two layers by hand, every kind of padding, gradients of everything."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fastrnn.layers import GRU, LSTM, Bidirectional, Dense, SimpleRNN
from fastrnn.layers.merging import MERGE_MODES
from fastrnn.training import Sequential

from ..helpers import assert_close, central_difference
from .test_gradients import RECURRENT, B, H, I, T, check_gradients, check_parameter, randomised

HOLES = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0]], bool)
RESETS = np.array([[0, 0, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 1, 0]], bool)
STEPS: tuple[dict[str, Any], ...] = (
    {},
    {"lengths": [T, 2, 0]},
    {"mask": HOLES},
    {"mask": HOLES, "lengths": [T, 3, 1]},
    {"reset_mask": RESETS},
    {"reset_mask": RESETS, "lengths": [4, 3, 5], "mask": HOLES},
)


@pytest.mark.parametrize("cls", RECURRENT)
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("steps", STEPS)
def test_gradients(cls: Any, return_sequences: bool, steps: dict[str, Any], rng: np.random.Generator) -> None:
    layer = Bidirectional(cls(H, return_sequences=return_sequences, dtype="float64"))
    check_gradients(randomised(layer, rng), rng.normal(size=(B, T, I)), rng, **steps)


@pytest.mark.parametrize("mode", [*MERGE_MODES, None])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_gradients_by_states(mode: str | None, go_backwards: bool, rng: np.random.Generator) -> None:
    cell = LSTM(H, return_sequences=True, go_backwards=go_backwards, dtype="float64")
    layer = randomised(Bidirectional(cell, mode), rng)
    x = rng.normal(size=(B, T, I))
    state = [rng.normal(size=(B, H)) for _ in range(4)]
    lengths = [T, 3, 0]
    out, cache = layer.forward(x, initial_state=tuple(state), lengths=lengths)
    outs = out if mode is None else (out,)
    douts = tuple(rng.normal(size=part.shape) for part in outs)
    dfinal = tuple(rng.normal(size=(B, H)) for _ in range(4))
    dx, grads, dinitial = layer.backward(douts if mode is None else douts[0], cache, dfinal)

    def cost(x: np.ndarray = x) -> float:
        out, cache = layer.forward(x, initial_state=tuple(state), lengths=lengths)
        outs = out if mode is None else (out,)
        pairs = [*zip(outs, douts, strict=True), *zip(cache.state, dfinal, strict=True)]
        return float(sum((value * d).sum() for value, d in pairs))

    assert_close(dx, central_difference(cost, x), "finite_difference", "dx")
    for i, original in enumerate(state):

        def cost_of(value: np.ndarray, i: int = i) -> float:
            state[i] = value
            return cost()

        expected = central_difference(cost_of, original)
        state[i] = original
        assert_close(dinitial[i], expected, "finite_difference", f"dinitial_state[{i}]")
    for name in layer.params:
        check_parameter(layer, name, grads[name], cost)


@pytest.mark.parametrize("return_sequences", [False, True])
def test_gradients_with_dropout(return_sequences: bool, rng: np.random.Generator) -> None:
    cell = LSTM(H, return_sequences=return_sequences, dropout=0.4, dtype="float64", seed=3)
    layer = randomised(Bidirectional(cell), rng)
    check_gradients(layer, rng.normal(size=(B, T, I)), rng, training=True, lengths=[5, 3, 2])


@pytest.mark.parametrize("steps", STEPS)
def test_each_row_is_two_layers_over_its_true_steps(steps: dict[str, Any], rng: np.random.Generator) -> None:
    """By hand: cut each row into pieces at the resets, leave out what does not count, run both layers on each piece."""
    x = rng.normal(size=(B, T, I))
    layer = Bidirectional(GRU(H, return_sequences=True, dtype="float64", seed=0))
    out = layer(x, **steps)
    there, back = layer.forward_layer, layer.backward_layer
    lengths = steps.get("lengths", [T] * B)
    for row in range(B):
        counts = steps["mask"][row] if "mask" in steps else np.ones(T, bool)
        resets = steps["reset_mask"][row] if "reset_mask" in steps else np.zeros(T, bool)
        starts = [0, *(t for t in range(1, lengths[row]) if resets[t]), lengths[row]]
        for first, end in pairwise(starts):
            true = [t for t in range(first, end) if counts[t]]
            if true:
                piece = x[row : row + 1, true]
                assert_close(out[row, true, :H], there(piece)[0], "float64")
                assert_close(out[row, true, H:], back(piece)[0, ::-1], "float64")
        assert not out[row, lengths[row] :].any()


def test_a_reset_behind_a_rows_end_leaves_the_initial_state_alone(rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, T, I))
    layer = Bidirectional(GRU(H, return_sequences=True, seed=0))
    state = tuple(rng.normal(size=(1, H)) for _ in range(2))
    resets = np.zeros((1, T), bool)
    resets[0, 3] = True
    out = layer(x, state, lengths=[3], reset_mask=resets)
    np.testing.assert_array_equal(out, layer(x, state, lengths=[3]))
    assert (out != layer(x, (state[0], None), lengths=[3])).any()
    assert (layer(x, state, lengths=[4], reset_mask=resets) != layer(x, state, lengths=[4])).any()


@pytest.mark.parametrize("steps", [s for s in STEPS if "reset_mask" not in s])
def test_last_outputs_are_the_final_states(steps: dict[str, Any], rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    options = {"dtype": "float64", "return_state": True, "seed": 0}
    sequences = Bidirectional(LSTM(H, return_sequences=True, **options))
    last = Bidirectional(LSTM(H, **options))
    out, h, c, h_back, c_back = sequences(x, **steps)
    np.testing.assert_array_equal(last(x, **steps)[0], np.concatenate([h, h_back], axis=1))
    for a, b in zip(last(x, **steps)[1:], (h, c, h_back, c_back), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(out[0, 0, H:], h_back[0])  # row 0 counts at step 0
    np.testing.assert_array_equal(sequences.infer(x, **steps), out)


def test_modes(rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    outs: dict[str | None, Any] = {}
    for mode in (*MERGE_MODES, None):
        outs[mode] = Bidirectional(SimpleRNN(H, return_sequences=True, dtype="float64", seed=0), mode)(x)
    a, b = outs[None]
    np.testing.assert_array_equal(a, SimpleRNN(H, return_sequences=True, dtype="float64", seed=0)(x))
    np.testing.assert_array_equal(outs["concat"], np.concatenate([a, b], axis=-1))
    np.testing.assert_array_equal(outs["sum"], a + b)
    np.testing.assert_array_equal(outs["ave"], (a + b) / 2)
    np.testing.assert_array_equal(outs["mul"], a * b)


def test_seeds_and_options_of_the_mirrored_layer() -> None:
    layer = Bidirectional(GRU(4, activation="relu", use_bias=False, dropout=0.1, seed=5))
    assert layer.backward_layer.get_config() == layer.forward_layer.get_config() | {"go_backwards": True, "seed": 6}
    layer.build(3)
    assert (layer.params["forward/w_x"] != layer.params["backward/w_x"]).any()
    seeded = [Sequential([Bidirectional(GRU(4))], input_size=3, seed=seed) for seed in (1, 1, 2)]
    first, same, other = ([array.tobytes() for array in model.get_weights()] for model in seeded)
    assert first == same and first[0] != other[0] and first[0] != first[3]
    assert layer.count_params() == 2 * (3 * 12 + 4 * 12)


def test_two_cells(rng: np.random.Generator) -> None:
    layer = Bidirectional(
        LSTM(3, return_sequences=True, dtype="float64"),
        backward_layer=GRU(2, return_sequences=True, go_backwards=True, dtype="float64"),
    )
    assert layer.output_shape((None, None, I)) == (None, None, 5)
    randomised(layer, rng)
    x = rng.normal(size=(B, T, I))
    check_gradients(layer, x, rng, lengths=[5, 2, 0])
    state = tuple(rng.normal(size=(B, size)) for size in (3, 3, 2))
    out, cache = layer.forward(x, state)
    _, _, dstate = layer.backward(np.ones_like(out), cache, (None, None, state[2]))
    assert [s.shape for s in cache.state] == [s.shape for s in dstate] == [s.shape for s in state]
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    with pytest.raises(ValueError, match="backward_layer: expected outputs of one shape"):
        Bidirectional(LSTM(3), "sum", backward_layer=LSTM(2, go_backwards=True)).build(1)


def test_stateful(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 6, I))
    layer = Bidirectional(GRU(H, stateful=True, seed=0))
    model = Sequential([layer, Dense(1)], seed=0)
    first = model.predict(x)
    assert (model.predict(x) != first).any()
    model.reset_states()
    np.testing.assert_array_equal(model.predict(x), first)


def test_configuration() -> None:
    layer = Bidirectional(LSTM(4, return_sequences=True), "sum")
    assert repr(layer) == "Bidirectional(LSTM(4, return_sequences=True), merge_mode='sum')"
    again = Bidirectional.from_config(layer.get_config())
    assert again.get_config() == layer.get_config() and repr(again) == repr(layer)
    assert again.backward_layer.go_backwards and copy.deepcopy(layer).get_config() == layer.get_config()


def test_one_layer_serves_many_threads(rng: np.random.Generator) -> None:
    layer = Bidirectional(LSTM(8, return_sequences=True, seed=0))
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


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: Bidirectional(Dense(3)), TypeError, "layer: expected a recurrent layer, got Dense"),
        (
            lambda x: Bidirectional(GRU(3), backward_layer="gru"),
            TypeError,
            "backward_layer: expected a recurrent layer, got str",
        ),
        (lambda x: Bidirectional(GRU(3), "max"), ValueError, "merge_mode: expected one of 'concat', 'sum'"),
        (
            lambda x: Bidirectional(GRU(3), backward_layer=GRU(3)),
            ValueError,
            "backward_layer: expected go_backwards=True",
        ),
        (
            lambda x: Bidirectional(GRU(3), backward_layer=GRU(3, go_backwards=True, return_sequences=True)),
            ValueError,
            "backward_layer: expected the forward layer's return_sequences=False, got True",
        ),
        (lambda x: Sequential([Bidirectional(GRU(3), None)]).predict(x), ValueError, "merge_mode: expected one of"),
        (
            lambda x: Bidirectional(LSTM(3))(x, (None, None)),
            ValueError,
            "initial_state: expected a tuple of 4 arrays, got 2 entries",
        ),
        (lambda x: Bidirectional(LSTM(3))(x, x), TypeError, "initial_state: expected a tuple of 4 arrays, got ndarray"),
        (lambda x: Bidirectional(GRU(3))(x[0]), ValueError, "x: expected 3-D, got 2-D"),
        (lambda x: Bidirectional(GRU(3))(x, lengths=[1]), ValueError, r"lengths: expected shape \(B,\) = \(2,\)"),
        (lambda x: Bidirectional(GRU(3))(x, mask=[[1, 0]]), TypeError, "mask: expected a boolean array"),
        (
            lambda x: Bidirectional(GRU(3)).backward(x, Bidirectional(GRU(3)).forward(x)[1]),
            ValueError,
            r"dout: expected shape \(2, 6\), got \(2, 4, 1\)",
        ),
        (
            lambda x: Bidirectional(GRU(3), None).backward(x, Bidirectional(GRU(3), None).forward(x)[1]),
            TypeError,
            "dout: expected a tuple of two arrays",
        ),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(np.ones((2, 4, 1)))
