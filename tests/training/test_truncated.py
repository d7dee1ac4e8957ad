"""Truncated backpropagation through time: windows, the states carried from one to the next, the gradients cut."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest

from fastrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    Layer,
    MaxPooling1D,
    Residual,
    SimpleRNN,
    TimeDistributed,
    WaveNet,
)
from fastrnn.training import SGD, Adam, MeanSquaredError, Sequential
from fastrnn.training.samples import Samples
from fastrnn.training.truncated import carried_states, recurrent_layers, windows

from ..helpers import assert_close, central_difference
from ..layers.cells import Mealy

N, T, I, H = 4, 11, 2, 3  # noqa: E741


class Watched(SGD):
    """Changes nothing and remembers every gradient."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.seen: list[dict[str, np.ndarray]] = []

    def apply(self, params: Mapping[str, np.ndarray], grads: Mapping[str, np.ndarray]) -> None:
        self.seen.append({name: np.array(grad) for name, grad in grads.items()})


def stack(**options: Any) -> list[Layer]:
    """Recurrent layers of every kind, one inside another layer."""
    return [
        LSTM(H, return_sequences=True, dtype="float64", **options),
        Residual(GRU(H, return_sequences=True, dtype="float64", **options)),
        RNN(Mealy(), return_sequences=True, dtype="float64", **options),
        TimeDistributed(Dense(1, dtype="float64")),
    ]


def compiled(layers: list[Layer], optimizer: Any = None, loss: Any = "mse", metrics: Any = ()) -> Sequential:
    model = Sequential(layers, seed=0)
    model.compile(optimizer or Adam(0.01), loss, metrics)
    return model


def data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(N, T, I)), rng.normal(size=(N, T, 1))


def steps_of(rng: np.random.Generator) -> dict[str, Any]:
    """Lengths, a mask with holes and resets; the first row ends within the first window of four."""
    return {
        "lengths": np.array([3, T, 6, 9]),
        "mask": rng.random((N, T)) < 0.8,
        "reset_mask": rng.random((N, T)) < 0.2,
    }


# ---- windows ---------------------------------------------------------------------------------------------------------


def test_windows_of_a_batch(rng: np.random.Generator) -> None:
    x, y = data(rng)
    known = steps_of(rng)
    weight = rng.random((N, T))
    parts = list(windows(Samples(x, y, weight, **known), 4))
    assert [part.x.shape[1] for part in parts] == [4, 4, 3]
    for name, whole in (("x", x), ("y", y), ("sample_weight", weight)):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts], axis=1), whole)
    assert [part.lengths.tolist() for part in parts] == [[3, 4, 4, 4], [0, 4, 2, 4], [0, 3, 0, 1]]  # type: ignore[union-attr]
    of_rows = np.arange(N)
    assert all(part.sample_weight is of_rows for part in windows(Samples(x, y, of_rows), 4))


def test_windows_end_with_the_longest_row(rng: np.random.Generator) -> None:
    x, y = data(rng)
    assert [part.x.shape[1] for part in windows(Samples(x, y, lengths=np.array([3, 5, 0, 1])), 4)] == [4, 4]
    assert [part.x.shape[1] for part in windows(Samples(x, y, lengths=np.zeros(N, int)), 4)] == [4]


# ---- the same as without ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [T, T + 5])
@pytest.mark.parametrize("ragged", [False, True])
def test_one_window_is_the_ordinary_fit_bit_for_bit(steps: int, ragged: bool, rng: np.random.Generator) -> None:
    x, y = data(rng)
    options = steps_of(rng) | {"sample_weight": rng.random((N, T)) < 0.9} if ragged else {}
    results = []
    for tbptt in (None, steps):
        noise = [LSTM(H, return_sequences=True, dropout=0.2, zoneout=0.1), Dropout(0.3)]
        model = compiled([*noise, *stack()], metrics=["mae", "last_step_mse"])
        history = model.fit(
            x, y, epochs=3, batch_size=3, verbose=0, tbptt=tbptt, record_gradient_norms=True,
            validation_split=0.25, **options,
        )  # fmt: skip
        results.append((model.get_weights(), history.history))
    (expected, expected_figures), (weights, figures) = results
    for actual, value in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(actual, value)
    assert figures == expected_figures


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_states_and_losses_are_those_of_the_whole(ragged: bool, steps: int, rng: np.random.Generator) -> None:
    x, y = data(rng)
    options = steps_of(rng) if ragged else {}
    whole = compiled(stack(stateful=True), Watched(), metrics=["mae"])
    parts = compiled(stack(stateful=True), Watched(), metrics=["mae"])
    history = parts.fit(x, y, verbose=0, shuffle=False, tbptt=steps, **options).history
    expected = whole.fit(x, y, verbose=0, shuffle=False, **options).history
    for part, layer in zip(recurrent_layers(parts), recurrent_layers(whole), strict=True):
        assert part._kept_state is not None and layer._kept_state is not None
        for actual, value in zip(part._kept_state, layer._kept_state, strict=True):
            assert actual.any()
            assert_close(actual, value, "float64")
    for name in expected:
        assert_close(np.array(history[name]), np.array(expected[name]), "float64", name)


def test_layers_are_what_they_were(rng: np.random.Generator) -> None:
    x, y = data(rng)
    layers = stack()
    model = compiled([LSTM(H, return_sequences=True, stateful=True, dtype="float64"), *layers])
    model.fit(x, y, verbose=0, shuffle=False, tbptt=4)
    kept, *others = recurrent_layers(model)
    assert kept.stateful and kept._kept_state is not None
    assert [layer.stateful for layer in others] == [False] * 3
    assert [layer._kept_state for layer in others] == [None] * 3
    with pytest.raises(KeyboardInterrupt), carried_states(others):
        model.forward(x)
        assert others[0]._kept_state is not None
        raise KeyboardInterrupt
    assert others[0]._kept_state is None and not others[0].stateful


def test_no_state_goes_from_batch_to_batch(rng: np.random.Generator) -> None:
    x, y = data(rng)
    together, alone = compiled(stack(), Watched()), compiled(stack(), Watched())
    together.fit(x, y, batch_size=2, verbose=0, shuffle=False, tbptt=4)
    alone.fit(x[2:], y[2:], verbose=0, shuffle=False, tbptt=4)
    for actual, expected in zip(together.optimizer.seen[3:], alone.optimizer.seen, strict=True):  # type: ignore[union-attr]
        for name, value in expected.items():
            np.testing.assert_array_equal(actual[name], value)


# ---- gradients -------------------------------------------------------------------------------------------------------


def run_window(model: Sequential, part: Samples, entering: list[Any]) -> tuple[float, list[Any]]:
    """The loss of a window that starts from given states, and the states it ends in."""
    layers = recurrent_layers(model)
    with carried_states(layers):
        for layer, state in zip(layers, entering, strict=True):
            layer._kept_state = state
        out, _, steps = model.forward_with_steps(part.x, part.steps)
        return MeanSquaredError()(part.y, out, steps.counted(out.shape[1])), [layer._kept_state for layer in layers]


def test_gradient_of_a_window_by_finite_differences(rng: np.random.Generator) -> None:
    """The entering states are constants: shifting a parameter moves what the window makes of them alone."""
    x, y = data(rng)
    known = steps_of(rng)
    model = compiled(stack(), Watched())
    model.fit(x, y, verbose=0, shuffle=False, tbptt=4, **known)
    parts = list(windows(Samples(x, y, **known), 4))
    assert len(model.optimizer.seen) == len(parts) == 3  # type: ignore[union-attr]
    entering: list[Any] = [None] * len(recurrent_layers(model))
    for part, grads in zip(parts, model.optimizer.seen, strict=True):  # type: ignore[union-attr]

        def loss(value: np.ndarray, name: str, part: Samples = part, entering: list[Any] = entering) -> float:
            before = model.params[name].copy()
            model.params[name] = value
            found, _ = run_window(model, part, entering)
            model.params[name] = before
            return found

        assert set(grads) == set(model.params)
        for name, grad in grads.items():
            expected = central_difference(partial(loss, name=name), model.params[name])
            assert_close(grad, expected, "finite_difference", name)
        entering = run_window(model, part, entering)[1]


def test_the_learned_start_gets_its_gradient_from_the_first_window(rng: np.random.Generator) -> None:
    x, y = data(rng)
    model = compiled([GRU(H, return_sequences=True, learn_initial_state=True), Dense(1)], Watched())
    model.fit(x, y, verbose=0, tbptt=4)
    first, *others = [grads["0/h0"] for grads in model.optimizer.seen]  # type: ignore[union-attr]
    assert first.any() and not any(grad.any() for grad in others)


def test_windows_in_which_nothing_counts_change_nothing(rng: np.random.Generator) -> None:
    x, y = data(rng)
    model = compiled(stack(), Watched())
    mask = np.ones((N, T), bool)
    mask[:, 4:8] = False
    model.fit(x, y, verbose=0, tbptt=4, mask=mask)
    model.fit(x, y, verbose=0, tbptt=4, lengths=[4, 2, 1, 4])
    model.fit(x, y, verbose=0, tbptt=4, sample_weight=mask)
    assert len(model.optimizer.seen) == 2 + 1 + 2  # type: ignore[union-attr]
    assert model.fit(x, y, verbose=0, lengths=[0] * N).history["loss"] == [0.0]
    assert len(model.optimizer.seen) == 5  # type: ignore[union-attr]


# ---- that it learns --------------------------------------------------------------------------------------------------


def test_learns_what_a_state_carries_over_many_windows(rng: np.random.Generator) -> None:
    """A leaky sum: windows of ten that started from zero would miss a third of its variance."""
    x = rng.normal(size=(64, 200, 1))
    y = np.empty_like(x)
    total = np.zeros((64, 1))
    for t in range(200):
        y[:, t] = total = 0.9 * total + x[:, t]
    model = Sequential([SimpleRNN(4, activation="linear", return_sequences=True), Dense(1)], seed=0)
    model.compile(Adam(0.01, global_clipnorm=1.0), "mse")
    model.fit(x[:48], y[:48], epochs=15, batch_size=16, verbose=0, tbptt=10)
    assert model.evaluate(x[48:], y[48:]) < 0.05 * np.var(y)  # type: ignore[operator]
    forgetful = model.predict(x[48:].reshape(-1, 10, 1)).reshape(16, 200, 1)
    assert np.square(forgetful - y[48:]).mean() > 0.25 * np.var(y)


def test_class_numbers_in_windows(rng: np.random.Generator) -> None:
    tokens = rng.integers(1, 5, (N, T))
    model = Sequential([Embedding(5, 3, mask_zero=True), GRU(H, return_sequences=True), Dense(5)], seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(tokens, np.roll(tokens, -1, axis=1), epochs=3, verbose=0, tbptt=4).history["loss"]
    assert history[-1] < history[0]


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([GRU(2)], r"GRU\(2\) gives one output for all steps \(return_sequences=False\)"),
        ([GRU(2, return_sequences=True, go_backwards=True)], "runs from the last step to the first"),
        ([Bidirectional(GRU(2, return_sequences=True))], "also runs from the last step to the first"),
        ([Residual(Bidirectional(GRU(1, return_sequences=True)))], "also runs from the last step to the first"),
        ([Conv1D(2, 3, padding="causal"), GRU(2, return_sequences=True)], r"Conv1D\(.*looks at several steps"),
        ([Conv1D(2, 3, padding="same")], "looks at several steps at a time"),
        ([WaveNet(2, dilations=(1, 2))], "looks at several steps at a time"),
        ([MaxPooling1D(2)], "looks at several steps at a time"),
        ([GlobalAveragePooling1D()], "looks at several steps at a time"),
        ([Flatten()], r"Flatten\(\) does not give an output for each step"),
    ],
    ids=["vector", "backwards", "both", "both within", "causal", "same", "wavenet", "pooling", "global", "flat"],
)
def test_refuses_models_that_do_not_go_by_steps(layers: list[Layer], message: str, rng: np.random.Generator) -> None:
    x, y = data(rng)
    model = compiled([*layers, Dense(1)])
    with pytest.raises(ValueError, match=f"^tbptt: expected layers that go from step to step, but .*{message}"):
        model.fit(x, y, verbose=0, tbptt=4)


def test_refuses_what_does_not_fit(rng: np.random.Generator) -> None:
    x, y = data(rng)
    model = compiled([GRU(2, return_sequences=True), Dense(1)])
    with pytest.raises(ValueError, match=r"^y: expected targets .*\(N, T, ...\) with T = 11, got.*\(4, 1\)"):
        model.fit(x, y[:, -1], verbose=0, tbptt=4)
    with pytest.raises(ValueError, match=r"^tbptt: expected an integer >= 1, got 0"):
        model.fit(x, y, verbose=0, tbptt=0)
    with pytest.raises(TypeError, match=r"^tbptt"):
        model.fit(x, y, verbose=0, tbptt=2.5)  # type: ignore[arg-type]
    assert model.optimizer is not None and model.optimizer.iterations == 0
