"""Checkpoints: a layer with `memory` has the same outputs and gradients bit for bit and keeps less for them."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import _memory
from fastrnn.layers import GRU, LSTM, RNN, Dense, IndRNN, MinGRU, SimpleRNN

from .cells import Elman

B, T, I, H = 2, 20_000, 3, 8  # noqa: E741  # long enough for checkpoints

LAYERS: dict[str, Callable[..., Any]] = {
    "rnn": lambda **options: SimpleRNN(H, layer_norm=True, **options),
    "lstm": lambda **options: LSTM(H, projection=5, zoneout_cell=0.1, **options),
    "gru": lambda **options: GRU(H, recurrent_dropout=0.2, **options),
    "first gru": lambda **options: GRU(H, reset_after=False, **options),
    "indrnn": lambda **options: IndRNN(H, **options),
    "mingru": lambda **options: MinGRU(H, dropout=0.2, **options),
}
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def kept_bytes(layer: Any, x: np.ndarray) -> int:
    """What a forward pass holds for its backward pass."""
    gc.collect()
    _memory.release()  # or pieces of earlier calls, larger than asked for, would be used again
    _, cache = layer.forward(x)
    gc.collect()
    _memory.release()
    del cache
    gc.collect()
    return _memory.held()


@layers
@pytest.mark.parametrize("known", [False, True])
def test_the_same_bits_from_less_memory(layer: Any, known: bool, rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    options: dict[str, Any] = {"training": True}
    if known:
        options |= {"lengths": [T, T - 4000], "mask": rng.random((B, T)) < 0.9, "reset_mask": rng.random((B, T)) < 0.01}
    dout, dstate = rng.normal(size=(B, T, layer().output_size)), None
    plain = layer(return_sequences=True, seed=0)
    expected_out, expected_cache = plain.forward(x, **options)
    dstate = tuple(rng.normal(size=state.shape) for state in expected_cache.state)
    expected = plain.backward(dout, expected_cache, dstate)
    most = kept_bytes(plain, x)
    for memory in ("sqrt", most * 2 // 3):
        sparing = layer(return_sequences=True, seed=0, memory=memory)
        out, cache = sparing.forward(x, **options)
        np.testing.assert_array_equal(out, expected_out)
        dx, grads, dinitial = sparing.backward(dout, cache, dstate)
        np.testing.assert_array_equal(dx, expected[0])
        for name, grad in expected[1].items():
            np.testing.assert_array_equal(grads[name], grad, err_msg=name)
        for actual, value in zip(dinitial, expected[2], strict=True):
            np.testing.assert_array_equal(actual, value)
        assert 0 < kept_bytes(sparing, x) <= most // 4


def test_a_budget_that_is_enough_keeps_everything(rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    assert kept_bytes(GRU(H, memory=1 << 30, seed=0), x) == kept_bytes(GRU(H, seed=0), x)


def test_a_model_learns_the_same_and_is_saved_with_it(rng: np.random.Generator, tmp_path: Path) -> None:
    x, y = rng.normal(size=(4, 3000, 1)), rng.normal(size=(4, 1))
    weights = []
    for memory in (None, "sqrt"):
        model = fastrnn.Sequential(
            [LSTM(H, return_sequences=True, memory=memory), GRU(H, memory=memory), Dense(1)], seed=0
        )
        model.compile("adam", "mse")
        model.fit(x, y, batch_size=2, epochs=2, verbose=0)
        weights.append(model.get_weights())
    for actual, expected in zip(*weights, strict=True):
        np.testing.assert_array_equal(actual, expected)
    model.save(tmp_path / "model.safetensors")
    loaded = fastrnn.load(tmp_path / "model.safetensors")
    assert [layer.memory for layer in loaded.layers[:2]] == ["sqrt", "sqrt"]
    np.testing.assert_array_equal(loaded(x), model(x))
    assert repr(GRU(2, memory=4096)) == "GRU(2, memory=4096)"
    assert GRU.from_config(GRU(2, memory=4096).get_config()).memory == 4096


@pytest.mark.parametrize(
    ("memory", "error"), [("log", ValueError), (0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_bad_budgets(memory: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^memory: expected"):
        LSTM(H, memory=memory)


def test_a_budget_that_is_too_small_says_what_it_needs(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"^memory: expected at least \d+ bytes for this sequence, got 100$"):
        LSTM(H, memory=100).forward(rng.normal(size=(B, T, I)))


def test_cells_in_python_have_no_checkpoints() -> None:
    with pytest.raises(TypeError, match="memory"):
        RNN(Elman(H), memory="sqrt")  # type: ignore[call-arg]


# ---- the first layer of a model --------------------------------------------------------------------------------------


@layers
@pytest.mark.parametrize("memory", [None, "sqrt"])
@pytest.mark.parametrize("sequences", [True, False])
def test_gradients_by_the_parameters_alone(layer: Any, memory: Any, sequences: bool, rng: np.random.Generator) -> None:
    built = layer(learn_initial_state=True, return_sequences=sequences, memory=memory, seed=0)
    out, cache = built.forward(rng.normal(size=(B, T, I)), mask=rng.random((B, T)) < 0.9)
    dout = rng.normal(size=out.shape)
    expected = built.backward(dout, cache)[1]
    actual = built.parameter_gradients(dout, cache)
    assert set(actual) == set(built.params) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def test_a_cell_in_python_by_the_parameters_alone(rng: np.random.Generator) -> None:
    layer = RNN(Elman(H), seed=0)
    out, cache = layer.forward(rng.normal(size=(B, 7, I)))
    for name, value in layer.backward(out, cache)[1].items():
        np.testing.assert_array_equal(layer.parameter_gradients(out, cache)[name], value)
