"""States of recurrent layers: kept from batch to batch, learned, given, returned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import storage
from fastrnn.layers import GRU, LSTM, RNN, Dense, SimpleRNN

from ..helpers import assert_close
from .cells import Elman, Mealy

B, T, I, H = 3, 6, 2, 4  # noqa: E741

LAYERS: list[Callable[..., Any]] = [
    lambda **options: SimpleRNN(H, **options),
    lambda **options: LSTM(H, **options),
    lambda **options: GRU(H, **options),
    lambda **options: RNN(Elman(H), **options),
    lambda **options: RNN(Mealy(), **options),
]
layers = pytest.mark.parametrize("layer", LAYERS, ids=["rnn", "lstm", "gru", "elman", "mealy"])


@layers
def test_a_stateful_layer_goes_on_where_it_was(layer: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, 2 * T, I))
    whole = layer(return_sequences=True, seed=0)
    parts = layer(return_sequences=True, stateful=True, seed=0)
    halves = [parts(x[:, :T]), parts(x[:, T:])]
    np.testing.assert_array_equal(np.concatenate(halves, axis=1), whole(x))
    assert (parts(x[:, :T]) != halves[0]).any()
    parts.reset_states()
    np.testing.assert_array_equal(parts.infer(x[:, :T]), halves[0])
    np.testing.assert_array_equal(parts.forward(x[:, T:])[0], halves[1])


@layers
def test_a_stateful_layer_by_lengths_and_masks(layer: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, T, I))
    parts = layer(return_sequences=True, stateful=True, seed=0, dtype="float64")
    parts(x, lengths=[2, T], mask=np.array([[0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]], bool))
    after = parts(x)
    whole = layer(return_sequences=True, seed=0, dtype="float64")
    for row, true in enumerate(([1], [0, 1])):
        joined = np.concatenate([x[row : row + 1, true], x[row : row + 1]], axis=1)
        assert_close(after[row], whole(joined)[0, len(true) :], "float64")


@layers
def test_a_stateful_layer_keeps_rows_apart(layer: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    parts = layer(stateful=True, seed=0)
    parts(x)
    with pytest.raises(ValueError, match=r"x: expected 3 rows, as in the batch before.*got 2; reset_states"):
        parts(x[:2])
    given = tuple(np.zeros((2, size)) for size in parts.state_sizes.values())
    parts(x[:2], initial_state=given)  # whoever gives all states has said where the rows start
    parts(x[:2])
    parts.reset_states()
    assert parts(x).shape[0] == B


@layers
def test_a_given_state_goes_before_the_kept_one(layer: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    parts, plain = layer(stateful=True, seed=0), layer(seed=0)
    given = tuple(rng.normal(size=(B, size)) for size in parts.state_sizes.values())
    parts(x)
    np.testing.assert_array_equal(parts(x, initial_state=given), plain(x, initial_state=given))


@layers
def test_what_a_caller_does_to_an_output_does_not_reach_the_kept_state(layer: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    expected, spoiled = layer(stateful=True, return_state=True, seed=0), layer(stateful=True, return_state=True, seed=0)
    for model in (expected, spoiled):
        out, *state = model(x)
        if model is spoiled:
            for array in (out, *state):
                array[:] = 7
    np.testing.assert_array_equal(spoiled(x)[0], expected(x)[0])


def test_gradients_end_between_batches(rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, 2 * T, I))
    layer = GRU(H, stateful=True, dtype="float64", seed=0)
    _, cache = layer.forward(x[:, :T])
    out, second = layer.forward(x[:, T:])
    dx, grads, _ = layer.backward(np.ones_like(out), second)
    plain = GRU(H, dtype="float64", seed=0)
    out, alone = plain.forward(x[:, T:], initial_state=cache.state)
    expected_dx, expected, _ = plain.backward(np.ones_like(out), alone)
    np.testing.assert_array_equal(dx, expected_dx)
    for name in grads:
        np.testing.assert_array_equal(grads[name], expected[name])


# ---- a learned initial state -----------------------------------------------------------------------------------------


@layers
@pytest.mark.parametrize("return_sequences", [False, True])
def test_gradients_of_a_learned_state(layer: Any, return_sequences: bool, rng: np.random.Generator) -> None:
    built = layer(return_sequences=return_sequences, learn_initial_state=True, seed=0)
    resets = np.zeros((B, T), bool)
    resets[0, 0] = resets[1, 2] = True
    mask = rng.random((B, T)) < 0.7
    result = fastrnn.check_gradients(
        built, rng.normal(size=(B, T, I)), reset_mask=resets, mask=mask, randomize=0.5, verbose=False
    )
    assert {f"{name}0" for name in built.state_sizes} <= set(result.errors)
    assert result.max_error < 1e-7, result


@layers
def test_a_learned_state_is_what_every_row_starts_from(layer: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    learned, plain = layer(learn_initial_state=True, seed=0), layer(seed=0)
    np.testing.assert_array_equal(learned(x), plain(x))  # it is zero at first
    rows = {name: rng.normal(size=size) for name, size in learned.state_sizes.items()}
    learned.params.update({f"{name}0": row for name, row in rows.items()})
    given = tuple(np.tile(row, (B, 1)) for row in rows.values())
    np.testing.assert_array_equal(learned(x), plain(x, initial_state=given))
    # a state that is given goes before, and then the learned one has no gradient
    out, cache = learned.forward(x, initial_state=given)
    assert not any(learned.backward(out, cache)[1][f"{name}0"].any() for name in rows)


def test_a_half_given_state() -> None:
    layer = LSTM(H, learn_initial_state=True, seed=0)
    layer.build(I)
    layer.params["c0"] = np.full(H, 0.5)
    x = np.ones((B, T, I))
    out, cache = layer.forward(x, initial_state=(np.ones((B, H)), None))
    grads = layer.backward(out, cache)[1]
    assert not grads["h0"].any() and grads["c0"].any()
    np.testing.assert_array_equal(out, LSTM(H, seed=0)(x, initial_state=(np.ones((B, H)), np.full((B, H), 0.5))))


@layers
def test_a_learned_state_is_saved(layer: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    built = layer(learn_initial_state=True)
    built.build(I)
    for name, array in built.params.items():
        built.params[name] = rng.normal(size=array.shape)
    storage.save(built, tmp_path / "layer")
    x = rng.normal(size=(B, T, I))
    np.testing.assert_array_equal(storage.load(tmp_path / "layer")(x), built(x))


def test_training_moves_the_learned_state(rng: np.random.Generator) -> None:
    x = np.zeros((16, 2, 1))
    model = fastrnn.Sequential([GRU(4, learn_initial_state=True), Dense(1)], seed=0)
    model.compile("sgd", "mse")
    model.fit(x, np.ones((16, 1)), epochs=3, verbose=0)
    assert model.params["0/h0"].any()


@layers
def test_a_stateful_layer_that_learns_its_start(layer: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    built = layer(stateful=True, learn_initial_state=True, seed=0)
    names = [f"{name}0" for name in built.state_sizes]
    out, cache = built.forward(x)
    assert any(built.backward(np.ones_like(out), cache)[1][name].any() for name in names)
    out, cache = built.forward(x)  # starts from the kept state
    assert not any(built.backward(np.ones_like(out), cache)[1][name].any() for name in names)
