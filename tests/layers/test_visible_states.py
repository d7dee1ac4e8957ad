"""What happens at every step: states and gates that a layer returns, and the gradients by them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn.layers import GRU, LSTM, RNN, Bidirectional, Dense, EchoState, IndRNN, MinGRU, SimpleRNN
from fastrnn.layers.masking import reverse_time

from ..helpers import assert_close
from .cells import Mealy

B, T, I, H = 4, 6, 2, 3  # noqa: E741
LENGTHS = np.array([6, 4, 5, 0])
HOLES = np.array([[1, 0, 1, 1, 0, 0], [0, 0, 1, 0, 1, 1], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]], bool)
PADDING = np.arange(T) < np.array([6, 3, 0, 5])[:, None]
RESETS = np.array([[0, 1, 0, 0, 0, 1], [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]], bool)
VISIBLE = {"return_all_states": True, "return_gates": True}

LAYERS: dict[str, Callable[..., Any]] = {
    "rnn": lambda **options: SimpleRNN(H, layer_norm=True, **VISIBLE, **options),
    "lstm": lambda **options: LSTM(H, projection=2, zoneout_cell=0.2, coupled=True, **VISIBLE, **options),
    "gru": lambda **options: GRU(H, zoneout=0.2, **VISIBLE, **options),
    "first gru": lambda **options: GRU(H, reset_after=False, **VISIBLE, **options),
    "indrnn": lambda **options: IndRNN(H, activation="tanh", **VISIBLE, **options),
    "mingru": lambda **options: MinGRU(H, **VISIBLE, **options),
    "echo": lambda **options: EchoState(H, leak=0.5, density=1.0, **VISIBLE, **options),
    "cell of one's own": lambda **options: RNN(Mealy(), return_all_states=True, **options),
}
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
backwards = pytest.mark.parametrize("go_backwards", [False, True])
TIMES: dict[str, dict[str, Any]] = {
    "all": {},
    "lengths": {"lengths": LENGTHS, "reset_mask": RESETS},
    "holes": {"mask": HOLES, "lengths": LENGTHS, "reset_mask": RESETS},
    "padding": {"mask": PADDING, "reset_mask": RESETS},
}
times = pytest.mark.parametrize("time", TIMES.values(), ids=TIMES)


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


# go_backwards, return_sequences, zero_output: three of the six forms for each time, in turn.
FORMS = list(itertools.product([False, True], [(True, False), (False, False), (True, True)]))
TIMES_IN_FORMS = [
    pytest.param(time, backwards, *shown, id=f"{name}-{backwards}-{shown}")
    for i, (name, time) in enumerate(TIMES.items())
    for k, (backwards, shown) in enumerate(FORMS)
    if (i + k) % 2
]


@layers
@pytest.mark.parametrize(("time", "go_backwards", "return_sequences", "zero_output"), TIMES_IN_FORMS)
def test_gradients(
    layer: Any, time: Any, go_backwards: bool, return_sequences: bool, zero_output: bool, rng: np.random.Generator
) -> None:
    built = layer(
        return_sequences=return_sequences, go_backwards=go_backwards, zero_output_for_mask=zero_output, seed=0
    )
    result = fastrnn.check_gradients(built, rng.normal(size=(B, T, I)), samples=6, verbose=False, **time)
    assert result.max_error < 1e-7, result


@pytest.mark.parametrize("dropped", ["dstates", "dgates"])
def test_a_gradient_that_is_left_out_is_found(dropped: str, rng: np.random.Generator) -> None:
    class Forgetful(LSTM):
        def backward(self, dout: Any, cache: Any, dfinal_state: Any = None, dstates: Any = None, dgates: Any = None):
            kept = {"dstates": dstates, "dgates": dgates} | {dropped: None}
            return super().backward(dout, cache, dfinal_state, **kept)

    layer = Forgetful(H, seed=0, **VISIBLE)
    assert fastrnn.check_gradients(layer, rng.normal(size=(B, T, I)), samples=6, verbose=False).max_error > 1e-2


@layers
@times
def test_states_are_those_that_a_shorter_run_ends_in(layer: Any, time: Any, rng: np.random.Generator) -> None:
    built = layer(return_state=True, return_sequences=True, dtype="float64", seed=0)
    x = rng.normal(size=(B, T, I))
    time = dict(time)
    mask, lengths = time.get("mask", np.ones((B, T), bool)), time.get("lengths", np.full(B, T))
    if "reset_mask" in time:  # a reset that waits behind the last step shows in the final state alone
        time["reset_mask"] = RESETS & mask
    count = len(built.state_sizes)
    states = built(x, **time)[1 + count : 1 + 2 * count]
    for t in range(T):
        known = {name: value[:, : t + 1] for name, value in time.items() if name != "lengths"}
        _, *others = built(x[:, : t + 1], lengths=np.minimum(lengths, t + 1), **known)
        shown = (t < lengths) & mask[:, : t + 1].any(axis=1)
        for state, final in zip(states, others[:count], strict=True):
            assert_close(state[:, t], np.where(shown[:, None], final, 0), "float64")


@layers
@times
def test_backwards_is_forwards_on_reversed_rows(layer: Any, time: Any, rng: np.random.Generator) -> None:
    x, lengths = rng.normal(size=(B, T, I)), time.get("lengths")
    there, back = (layer(go_backwards=go, dtype="float64", seed=0) for go in (False, True))
    turned = {name: a if name == "lengths" else reverse_time(a, lengths) for name, a in time.items()}
    for actual, expected in zip(back(x, **time), there(reverse_time(x, lengths), **turned), strict=True):
        assert_close(actual, expected, "float64")


@times
def test_gates_of_an_lstm(time: Any, rng: np.random.Generator) -> None:
    layer = LSTM(H, return_sequences=True, dtype="float64", **VISIBLE)
    x = rng.normal(size=(B, T, I))
    out, h, c, gates = layer(x, **time)
    np.testing.assert_array_equal(out, h)
    counted = time.get("mask", np.ones((B, T), bool)) & (np.arange(T) < time.get("lengths", np.full(B, T))[:, None])
    assert not gates[~counted].any()
    kernels = [layer.params[name] for name in ("w_x", "w_h", "b")]
    for b in range(B):
        h_prev, c_prev, reset = np.zeros(H), np.zeros(H), False
        for t in range(T):
            reset |= bool("reset_mask" in time and time["reset_mask"][b, t])
            if not counted[b, t]:
                continue
            if reset:
                h_prev, c_prev, reset = np.zeros(H), np.zeros(H), False
            i, f, g, o = np.split(x[b, t] @ kernels[0] + h_prev @ kernels[1] + kernels[2], 4)
            i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            assert_close(gates[b, t], np.concatenate([i, f, g, o]), "float64")
            assert_close(c[b, t], f * c_prev + i * g, "float64")
            h_prev, c_prev = h[b, t], c[b, t]


def test_the_order_of_what_is_returned(rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    layer = LSTM(H, projection=2, return_state=True, **VISIBLE)
    out, h_n, c_n, h, c, gates = layer(x)
    assert (h.shape, c.shape, gates.shape) == ((B, T, 2), (B, T, H), (B, T, 4 * H))
    for actual, expected in ((out, h_n), (h[:, -1], h_n), (c[:, -1], c_n)):
        np.testing.assert_array_equal(actual, expected)
    forward_out, cache = layer.forward(x)
    for actual, expected in zip((forward_out, *cache.state, *cache.states, cache.gates), layer(x), strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert len(GRU(H, return_all_states=True)(x)) == len(GRU(H, return_gates=True)(x)) == 2
    assert GRU(H).forward(x)[1].states is None and GRU(H).forward(x)[1].gates is None


@layers
def test_outputs_and_gradients_are_the_same_with_and_without(layer: Any, rng: np.random.Generator) -> None:
    x, time = rng.normal(size=(B, T, I)), TIMES["holes"]
    visible = layer(seed=0)
    hidden = type(visible).from_config(
        {n: False if n in VISIBLE else value for n, value in visible.get_config().items()}
    )
    out, cache = visible.forward(x, **time)
    expected, expected_cache = hidden.forward(x, **time)
    np.testing.assert_array_equal(out, expected)
    for actual, other in zip(
        visible.backward(out, cache)[1].values(), hidden.backward(out, expected_cache)[1].values(), strict=True
    ):
        np.testing.assert_array_equal(actual, other)


def test_the_output_is_the_users_to_write_to(rng: np.random.Generator) -> None:
    out, h = GRU(H, return_sequences=True, return_all_states=True)(rng.normal(size=(B, T, I)))
    out[:] = 0
    assert h.any()


@times
@pytest.mark.parametrize("return_sequences", [False, True])
def test_both_directions(time: Any, return_sequences: bool, rng: np.random.Generator) -> None:
    layer = Bidirectional(LSTM(H, return_sequences=return_sequences, return_state=True, seed=0, **VISIBLE))
    x = rng.normal(size=(B, T, I))
    assert fastrnn.check_gradients(layer, x, samples=6, verbose=False, **time).max_error < 1e-7
    out, _, c_n, h_back_n, c_back_n, h, c, h_back, c_back, gates, gates_back = layer(x, **time)
    assert gates.shape == gates_back.shape == (B, T, 4 * H)
    if return_sequences:  # states stand at the steps that they belong to
        np.testing.assert_array_equal(out, np.concatenate([h, h_back], axis=-1))
    if not time:
        np.testing.assert_array_equal(h_back[:, 0], h_back_n)
        np.testing.assert_array_equal(c_back[:, 0], c_back_n)
        np.testing.assert_array_equal(c[:, -1], c_n)


def test_checkpoints_hold_states_and_no_gates(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 5000, I))
    options: dict[str, Any] = {"return_all_states": True, "seed": 0}
    plain, sparing = LSTM(H, **options), LSTM(H, memory="sqrt", **options)
    results = []
    dstates = tuple(rng.normal(size=(2, 5000, H)) for _ in range(2))
    for layer in (plain, sparing):
        _, cache = layer.forward(x, reset_mask=rng.random((2, 5000)) < 0)
        results.append((*cache.states, *layer.backward(None, cache, dstates=dstates)[1].values()))
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(actual, expected)
    for memory in ("sqrt", 1 << 30):
        with pytest.raises(ValueError, match=r"^return_gates: expected False with memory="):
            LSTM(H, memory=memory, return_gates=True)


def test_a_model_with_visible_layers_is_the_same(rng: np.random.Generator, tmp_path: Path) -> None:
    x = rng.normal(size=(B, T, I))
    models = [fastrnn.Sequential([LSTM(H, **options), Dense(1)], seed=0) for options in ({}, VISIBLE)]
    for model in models:
        model.compile("adam", "mse")
        model.fit(x, x[:, 0, :1], epochs=2, verbose=0)
    np.testing.assert_array_equal(models[0].predict(x), models[1].predict(x))
    models[1].save(tmp_path / "model.safetensors")
    layer = fastrnn.load(tmp_path / "model.safetensors").layers[0]
    assert layer.return_all_states and layer.return_gates
    assert repr(LSTM(2, **VISIBLE)) == "LSTM(2, return_gates=True, return_all_states=True)"


@pytest.mark.parametrize(
    ("options", "gradients", "message"),
    [
        ({}, {"dstates": (None,)}, r"dstates: expected None, .* return_all_states=False"),
        ({}, {"dgates": 0}, r"dgates: expected None, .* return_gates=False"),
        (VISIBLE, {"dstates": (None, None)}, r"dstates: expected a tuple \(h,\), got 2 entries"),
        (
            VISIBLE,
            {"dstates": (np.zeros((B, H)),)},
            rf"dstates\[0\]: expected shape \(B, T, H\) = \({B}, {T}, {H}\), got \({B}, {H}\)",
        ),
        (
            VISIBLE,
            {"dgates": np.zeros((B, T, H))},
            rf"dgates: expected shape \(B, T, G\*H\) = \({B}, {T}, {3 * H}\), got \({B}, {T}, {H}\)",
        ),
    ],
)
def test_refused_gradients(options: Any, gradients: Any, message: str, rng: np.random.Generator) -> None:
    layer = GRU(H, **options)
    _, cache = layer.forward(rng.normal(size=(B, T, I)))
    with pytest.raises(ValueError, match=message):
        layer.backward(None, cache, **gradients)


def test_cells_of_ones_own_have_no_gates() -> None:
    with pytest.raises(TypeError, match="return_gates"):
        RNN(Mealy(), return_gates=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^dgates: expected a tuple of two arrays"):
        layer = Bidirectional(GRU(H, return_gates=True))
        layer.backward(None, layer.forward(np.ones((B, T, I)))[1], dgates=np.ones((B, T, 3 * H)))
    with pytest.raises(ValueError, match=r"backward_layer: expected the forward layer's return_gates=True, got False"):
        Bidirectional(GRU(H, return_gates=True), backward_layer=GRU(H, go_backwards=True))
