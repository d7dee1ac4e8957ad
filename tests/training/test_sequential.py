"""Sequential: that it learns, repeats itself with a seed, sees lengths and weights, and refuses what does not fit."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest

from fastrnn.layers import GRU, LSTM, Dense, Dropout, RepeatVector, SimpleRNN, TimeDistributed
from fastrnn.training import (
    SGD,
    Adam,
    BinaryCrossentropy,
    Callback,
    EarlyStopping,
    History,
    Sequential,
    TerminateOnNaN,
    schedules,
)
from fastrnn.training.callbacks import wants_progress

from ..helpers import assert_close


def small_model(seed: int | None = 0, **options: Any) -> Sequential:
    return Sequential([GRU(4), Dropout(0.2), Dense(1)], seed=seed, **options)


def small_data(rng: np.random.Generator, rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(rows, 6, 2))
    return x, x[:, -1, :1]


# ---- learning --------------------------------------------------------------------------------------------------------


def test_sequence_to_sequence(rng: np.random.Generator) -> None:
    """Running mean of the last three inputs: variance 1/3, learnt to below 0.003."""
    x = rng.normal(size=(256, 20, 1))
    padded = np.pad(x, ((0, 0), (2, 0), (0, 0)))
    y = (padded[:, 2:] + padded[:, 1:-1] + padded[:, :-2]) / 3
    model = Sequential([SimpleRNN(16, return_sequences=True), TimeDistributed(Dense(1))], seed=0)
    model.compile(Adam(0.01), "mse", metrics=["last_step_mse"])
    model.fit(x, y, epochs=40, verbose=0)
    fresh = rng.normal(size=(64, 20, 1))
    padded = np.pad(fresh, ((0, 0), (2, 0), (0, 0)))
    loss, last = model.evaluate(fresh, (padded[:, 2:] + padded[:, 1:-1] + padded[:, :-2]) / 3)  # type: ignore[misc]
    assert loss < 0.003 and last < 0.003


def test_sequence_to_vector(rng: np.random.Generator) -> None:
    """The sign of the first input, five steps later: chance is 0.5."""
    x = rng.normal(size=(512, 6, 1))
    y = x[:, 0] > 0
    model = Sequential([LSTM(16), Dense(1)], seed=0)
    model.compile(Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=30, verbose=0)
    fresh = rng.normal(size=(256, 6, 1))
    loss, accuracy = model.evaluate(fresh, fresh[:, 0] > 0)  # type: ignore[misc]
    assert loss < 0.1 and accuracy > 0.95


def test_vector_to_sequence(rng: np.random.Generator) -> None:
    """A sine wave from its phase: variance 1/2, learnt to below 0.005."""
    phase = rng.uniform(0, 2 * np.pi, 512)
    t = np.arange(12) * 0.5
    x = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    y = np.sin(phase[:, None] + t)[..., None]
    model = Sequential([RepeatVector(12), GRU(24, return_sequences=True), Dense(1)], seed=0)
    model.compile(Adam(0.01), "mse")
    model.fit(x[:400], y[:400], epochs=60, verbose=0)
    assert model.evaluate(x[400:], y[400:]) < 0.005  # type: ignore[operator]


def test_classes_of_each_step(rng: np.random.Generator) -> None:
    """The running sum modulo 3 of digits 0 to 2, with ragged rows."""
    digits = rng.integers(0, 3, (512, 6))
    lengths = rng.integers(1, 7, 512)
    y = digits.cumsum(axis=1) % 3
    y[np.arange(6) >= lengths[:, None]] = -1  # what lies past a row's end does not matter
    model = Sequential([GRU(24, return_sequences=True), Dense(3)], seed=0)
    model.compile(Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(np.eye(3)[digits], y, lengths=lengths, epochs=40, verbose=0).history
    assert history["loss"][0] > 0.8
    assert history["loss"][-1] < 0.05 and history["accuracy"][-1] > 0.99


# ---- the same again --------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_bit_for_bit(rng: np.random.Generator) -> None:
    x, y = small_data(rng)
    results = []
    for seed in (7, 7, 8):
        model = small_model(seed)
        model.compile("adam")
        model.fit(x, y, epochs=2, batch_size=16, verbose=0)
        model.fit(x, y, epochs=1, batch_size=16, verbose=0)
        results.append([array.tobytes() for array in model.get_weights()])
    assert results[0] == results[1]
    assert all(a != b for a, b in zip(results[0], results[2], strict=True))


def test_layers_without_a_seed_get_different_ones_from_the_model() -> None:
    model = Sequential([Dense(3), Dense(3), Dense(3, seed=5)], input_size=3, seed=0)
    kernels = [layer.params["w"].tobytes() for layer in model.layers]
    assert len(set(kernels)) == 3
    alone = Dense(3, seed=5)
    alone.build(3)
    assert alone.params["w"].tobytes() == kernels[2]


def test_dropout_differs_from_batch_to_batch(rng: np.random.Generator) -> None:
    x = np.ones((64, 1))
    masks = []

    class Spy(Dropout):
        def forward(self, x: Any, **options: Any) -> Any:
            out, cache = super().forward(x, **options)
            masks.append(out.tobytes())
            return out, cache

    model = Sequential([Spy(0.5), Dense(1)], seed=0)
    model.compile("sgd")
    model.fit(x, x, epochs=2, batch_size=32, verbose=0)
    assert len(masks) == len(set(masks)) == 4


def test_shuffle(rng: np.random.Generator) -> None:
    x = np.arange(10.0)[:, None]
    seen: list[list[float]] = []

    class Spy(Dense):
        def forward(self, x: Any, **options: Any) -> Any:
            seen.append(np.ravel(x).tolist())
            return super().forward(x, **options)

    for shuffle in (False, True):
        model = Sequential([Spy(1)], seed=0)
        model.compile(SGD(0.0))
        seen.clear()
        model.fit(x, x, epochs=2, batch_size=4, shuffle=shuffle, verbose=0)
        epochs = [[*seen[0], *seen[1], *seen[2]], [*seen[3], *seen[4], *seen[5]]]
        assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
        assert (epochs[0] == list(range(10))) is not shuffle
        assert (epochs[0] == epochs[1]) is not shuffle


# ---- what fit is told ------------------------------------------------------------------------------------------------


def test_padding_does_not_matter(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(20, 6, 2)), rng.normal(size=(20, 6, 1))
    lengths = rng.integers(1, 7, 20)
    weights = []
    for junk in (0.0, 1e3):
        past = np.arange(6) >= lengths[:, None]
        x[past] = y[past] = junk
        model = Sequential([LSTM(4, return_sequences=True), GRU(3, return_sequences=True), Dense(1)], seed=0)
        model.compile("adam", "mae", ["mse"])
        history = model.fit(x, y, lengths=lengths, epochs=2, batch_size=8, verbose=0)
        weights.append([*model.get_weights(), np.array(history.history["mse"])])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_lengths_end_with_the_time_axis(rng: np.random.Generator) -> None:
    """The second recurrent layer runs over repeated vectors, whose steps are all true ones."""
    x = rng.normal(size=(3, 6, 2))
    model = Sequential([GRU(4), RepeatVector(5), GRU(3, return_sequences=True)], seed=0)
    out = model(x, lengths=[1, 6, 3])
    code = model.layers[0](x, lengths=[1, 6, 3])
    np.testing.assert_array_equal(out, model.layers[2](np.repeat(code[:, None], 5, axis=1)))


def test_sample_weights_choose_what_is_learnt(rng: np.random.Generator) -> None:
    x = np.ones((40, 5, 1))
    y = np.where(np.arange(40) < 20, 1.0, -1.0)[:, None]
    for weight in (np.arange(40) < 20, (np.arange(40) < 20).astype(float)):
        model = Sequential([SimpleRNN(4), Dense(1)], seed=0)
        model.compile(Adam(0.05))
        model.fit(x, y, sample_weight=weight, epochs=30, verbose=0)
        np.testing.assert_allclose(model.predict(x), 1.0, atol=0.05)


def test_a_time_mask_chooses_the_steps_of_the_cost(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(8, 6, 2)), rng.normal(size=(8, 6, 1))
    last = np.broadcast_to(np.arange(6) == 5, (8, 6))
    models = [
        Sequential([GRU(4, return_sequences=True), Dense(1)], seed=0),
        Sequential([GRU(4), Dense(1)], seed=0),
    ]
    for model in models:
        model.compile(SGD(0.1))
    models[0].fit(x, y, sample_weight=last, epochs=3, shuffle=False, verbose=0)
    models[1].fit(x, y[:, -1], epochs=3, shuffle=False, verbose=0)
    for a, b in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_validation(rng: np.random.Generator) -> None:
    x, y = small_data(rng)
    model = small_model()
    model.compile(metrics=["mae"])
    history = model.fit(x, y, validation_split=0.25, epochs=3, verbose=0)
    assert isinstance(history, History) and history.epoch == [0, 1, 2]
    assert list(history.history) == ["loss", "mae", "val_loss", "val_mae"]
    assert [history.history["val_loss"][-1], history.history["val_mae"][-1]] == model.evaluate(x[30:], y[30:])
    history = model.fit(x[:30], y[:30], validation_data=(x[30:], y[30:], None, [6] * 10), verbose=0)
    assert history.history["val_loss"] == [model.evaluate(x[30:], y[30:], return_dict=True)["loss"]]  # type: ignore[index]


def test_gradient_norms(rng: np.random.Generator) -> None:
    x, y = small_data(rng)
    model = Sequential([GRU(4, dtype="float64"), Dense(1, dtype="float64")], seed=0)
    model.compile(SGD(0.1, global_clipnorm=1e-9))
    out, caches = model.forward(x)
    grads = model.backward(2 * (out - y) / len(x), caches)[1]
    expected = np.sqrt(sum((gradient**2).sum() for gradient in grads.values()))
    history = model.fit(x, y, batch_size=40, epochs=2, record_gradient_norms=True, verbose=0).history
    assert history["gradient_norm"] == pytest.approx([expected] * 2, rel=1e-6)  # before clipping
    assert "gradient_norm" not in model.fit(x, y, verbose=0).history


def test_train_on_batch_is_one_step_of_fit(rng: np.random.Generator) -> None:
    x, y = small_data(rng)
    first, second = (Sequential([GRU(4), Dense(1)], seed=0) for _ in range(2))
    for model in (first, second):
        model.compile("adam")
    loss = first.train_on_batch(x, y)
    history = second.fit(x, y, batch_size=40, shuffle=False, verbose=0)
    assert history.history["loss"] == [loss]
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_predict_in_batches(rng: np.random.Generator) -> None:
    x, _ = small_data(rng)
    model = small_model()
    expected = model(x)
    assert_close(model.predict(x, batch_size=7), expected.astype(np.float64), "float32_output")
    assert model.predict(x[:0]).shape == (0, 1)
    lengths = rng.integers(0, 7, 40)
    assert_close(model.predict(x, lengths=lengths, batch_size=9), model(x, lengths=lengths), "float32_output")


# ---- callbacks -------------------------------------------------------------------------------------------------------


def fed(stopping: EarlyStopping, values: list[float], name: str = "val_loss") -> tuple[Sequential, int]:
    """Feed figures to early stopping; the weight of the model is the epoch's number.  The epochs that ran."""
    model = Sequential([Dense(1, use_bias=False)], input_size=1)
    stopping.model = model
    stopping.on_train_begin()
    for epoch, value in enumerate(values):
        model.set_weights([[[epoch]]])
        stopping.on_epoch_end(epoch, {name: value})
        if model.stop_training:
            break
    stopping.on_train_end()
    return model, epoch + 1


@pytest.mark.parametrize(
    ("options", "values", "epochs", "best"),
    [
        ({"patience": 2}, [3, 2, 2.5, 2.6, 0], 4, 1),
        ({}, [3, 2, 2, 1], 3, 1),
        ({"patience": 2}, [3, 2, 2.5, 1, 1.5, 1.5, 0], 6, 3),
        ({"patience": 1, "min_delta": 0.5}, [3, 2.6, 1], 2, 0),
        ({"patience": 1, "mode": "max"}, [1, 2, 1.5, 3], 3, 1),
        ({"patience": 1, "start_from_epoch": 2}, [1, 2, 3, 2.5, 2.6, 0], 5, 3),
        ({"patience": 2, "baseline": 0.5}, [3, 2, 1], 2, 1),
        ({"patience": 2}, [np.nan, 3, np.nan, np.nan, 0], 4, 1),
    ],
)
def test_early_stopping(options: dict[str, Any], values: list[float], epochs: int, best: int) -> None:
    stopping = EarlyStopping(**options, restore_best_weights=True)
    model, ran = fed(stopping, values)
    assert ran == epochs
    assert (stopping.best_epoch, stopping.stopped_epoch) == (best, epochs - 1)
    assert stopping.best == values[best]
    assert model.get_weights()[0] == best
    model, ran = fed(EarlyStopping(**options), values)
    assert ran == epochs and model.get_weights()[0] == epochs - 1


def test_early_stopping_knows_accuracy_and_restores_without_a_stop() -> None:
    stopping = EarlyStopping("val_accuracy", patience=3, restore_best_weights=True)
    model, ran = fed(stopping, [0.5, 0.7, 0.6], "val_accuracy")
    assert ran == 3 and stopping.stopped_epoch is None and model.get_weights()[0] == 1


def test_early_stopping_in_fit(rng: np.random.Generator) -> None:
    x, y = small_data(rng)
    model = small_model()
    model.compile(Adam(0.3))
    stopping = EarlyStopping(patience=2, restore_best_weights=True)
    history = model.fit(x, y, validation_split=0.5, epochs=200, callbacks=[stopping], verbose=0).history["val_loss"]
    assert len(history) < 200 and stopping.best == min(history)
    assert model.evaluate(x[20:], y[20:]) == stopping.best
    with pytest.raises(ValueError, match="monitor: expected one of 'loss', got 'val_loss'"):
        model.fit(x, y, callbacks=[EarlyStopping()], verbose=0)


def test_terminate_on_nan(rng: np.random.Generator) -> None:
    x, y = small_data(rng)
    y[10] = np.nan
    model = small_model()
    model.compile()
    history = model.fit(x, y, epochs=5, batch_size=8, shuffle=False, callbacks=[TerminateOnNaN()], verbose=0)
    assert len(history.history["loss"]) == 1
    assert model.optimizer is not None and model.optimizer.iterations == 2


def test_callbacks_are_called_in_order(rng: np.random.Generator) -> None:
    x, y = small_data(rng)
    calls: list[Any] = []

    class Recorder(Callback):
        def on_train_begin(self) -> None:
            calls.append("begin")

        def on_epoch_begin(self, epoch: int) -> None:
            calls.append(("epoch", epoch))

        def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
            calls.append((batch, list(logs)))

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            calls.append(("end", epoch, list(logs)))
            self.model.stop_training = epoch == 1

        def on_train_end(self) -> None:
            calls.append("over")

    model = small_model()
    model.compile()
    model.fit(x, y, epochs=9, batch_size=20, callbacks=[Recorder()], verbose=0)
    epoch = [(0, ["loss"]), (1, ["loss"])]
    assert calls == [
        "begin", ("epoch", 0), *epoch, ("end", 0, ["loss"]), ("epoch", 1), *epoch, ("end", 1, ["loss"]), "over"
    ]  # fmt: skip


def test_an_interrupt_leaves_a_usable_model(rng: np.random.Generator) -> None:
    x, y = small_data(rng)

    class Interrupt(Callback):
        def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
            raise KeyboardInterrupt

    model = small_model()
    model.compile()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, callbacks=[Interrupt()], verbose=1)
    assert np.isfinite(model.predict(x)).all()
    assert model.optimizer is not None and model.optimizer.iterations == 1
    assert len(model.fit(x, y, epochs=2, verbose=0).history["loss"]) == 2


def test_progress_bar(rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = small_data(rng)
    model = small_model()
    model.compile()
    model.fit(x, y, epochs=2, validation_split=0.5, verbose="auto")  # no terminal here
    model.fit(x, y, epochs=2, validation_split=0.5, verbose=0)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    model.fit(x, y, epochs=2, validation_split=0.5, verbose=1)
    shown = capsys.readouterr().err
    assert "epoch 2/2" in shown and "loss=" in shown and "val_loss=" in shown and "<00:" in shown and "2/2" in shown
    with pytest.raises(ValueError, match="verbose: expected 'auto', 0 or 1, got 2"):
        wants_progress(2)


# ---- structure -------------------------------------------------------------------------------------------------------


def test_parameters_of_a_model() -> None:
    model = Sequential([LSTM(3), Dense(2)], input_size=4, seed=0)
    assert list(model.params) == ["0/w_x", "0/w_h", "0/b", "1/w", "1/b"]
    model.params["1/b"] = [1.0, 2.0]
    np.testing.assert_array_equal(model.layers[1].params["b"], [1, 2])
    weights = model.get_weights()
    other = Sequential([LSTM(3), Dense(2)], input_size=4)
    other.set_weights(weights)
    np.testing.assert_array_equal(other(np.ones((2, 3, 4))), model(np.ones((2, 3, 4))))
    weights[0][:] = 0
    assert model.params["0/w_x"].any()
    with pytest.raises(ValueError, match="weights: expected 5 arrays, got 4"):
        model.set_weights(weights[:4])
    with pytest.raises(ValueError, match=r"1/w: expected shape \(3, 2\), got \(2, 3\)"):
        model.set_weights([*(w * 0 for w in weights[:3]), np.ones((2, 3)), weights[4]])
    assert model.params["0/w_h"].any()  # nothing was set
    with pytest.raises(ValueError, match="2/w: no such parameter"):
        model.params["2/w"] = 1


def test_summary() -> None:
    model = Sequential([LSTM(20, return_sequences=True), GRU(8), Dense(1)], seed=0)
    lines: list[str] = []
    model.summary(lines.append)
    assert any("not built" in line for line in lines)
    model.build(3)
    lines.clear()
    model.summary(lines.append)
    assert [line.split("  ")[0] for line in lines[2:5]] == ["LSTM(20, return_sequences=True)", "GRU(8)", "Dense(1)"]
    assert "(None, None, 20)" in lines[2] and lines[2].endswith("1,920")
    assert "(None, 8)" in lines[3] and lines[3].endswith("720")
    assert lines[-1].startswith("total") and lines[-1].endswith("2,649")


def test_copies_are_independent(rng: np.random.Generator) -> None:
    x, y = small_data(rng)
    model = small_model(input_size=2)
    model.compile("adam")
    twin = copy.deepcopy(model)
    model.fit(x, y, verbose=0)
    assert (model.predict(x) != twin.predict(x)).any()
    twin.fit(x, y, verbose=0)
    np.testing.assert_array_equal(model.predict(x), twin.predict(x))


def test_every_public_method_is_documented() -> None:
    for name, member in inspect.getmembers(Sequential):
        if not name.startswith("_") and callable(member):
            assert inspect.getdoc(member), name


# ---- bad arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m, x, y: m.fit(x, y[:-1]), ValueError, r"y: expected 40 rows as in x, got shape \(39, 1\)"),
        (lambda m, x, y: m.fit(x, None), TypeError, "y: expected targets"),
        (lambda m, x, y: m.fit(x[:0], y[:0]), ValueError, "x: expected at least one row"),
        (lambda m, x, y: m.fit(x[0, 0], y), ValueError, "x: expected 2-D"),
        (lambda m, x, y: m.fit(x[:, 0], y, verbose=0), ValueError, "x: expected 3-D"),
        (lambda m, x, y: m.fit(x.astype(str), y), TypeError, "x: expected an array of real numbers"),
        (lambda m, x, y: m.fit(x, y, epochs=0), ValueError, "epochs: expected an integer >= 1"),
        (lambda m, x, y: m.fit(x, y, batch_size=0), ValueError, "batch_size: expected an integer >= 1"),
        (lambda m, x, y: m.fit(x, y, validation_split=1.0), ValueError, "validation_split: expected a number"),
        (lambda m, x, y: m.fit(x, y, validation_split=0.001), ValueError, "validation_split: 0.001 of 40 rows"),
        (lambda m, x, y: m.fit(x, y, validation_split=0.5, validation_data=(x, y)), ValueError, "validation_split"),
        (lambda m, x, y: m.fit(x, y, validation_data=(x,)), ValueError, "validation_data: expected a tuple"),
        (lambda m, x, y: m.fit(x, y, lengths=[7] * 40), ValueError, "lengths: expected integers from 0 to 6"),
        (lambda m, x, y: m.fit(x, y, lengths=[6] * 39), ValueError, "lengths: expected shape"),
        (lambda m, x, y: m.fit(x, y, sample_weight=np.ones(3)), ValueError, "sample_weight: expected 40 rows"),
        (lambda m, x, y: m.fit(x, y, callbacks=["stop"]), TypeError, "callbacks: expected Callback objects, got str"),
        (lambda m, x, y: m.fit(x, y, shuffle="yes"), TypeError, "shuffle: expected True or False"),
        (lambda m, x, y: m.fit(x, y, verbose="loud"), ValueError, "verbose: expected"),
        (lambda m, x, y: m.fit(x, np.ones((40, 2)), verbose=0), ValueError, r"y_true: expected shape .* got \(.*, 2\)"),
        (lambda m, x, y: m.predict(x[..., :1]) and m.predict(x), ValueError, "x: expected a last axis of size"),
        (lambda m, x, y: m.forward(x, mask=np.ones((40, 6))), TypeError, "mask: expected a boolean array"),
        (lambda m, x, y: m.fit(x, y, mask=np.ones((40, 5), bool)), ValueError, r"mask: expected shape \(B, T\) = "),
        (lambda m, x, y: m.fit(x, y, reset_mask=np.ones((40, 5), bool)), ValueError, "reset_mask: expected shape"),
        (lambda m, x, y: m.predict(x[:, 0], mask=np.ones((40, 6), bool)), ValueError, "mask: expected x to be 3-D"),
    ],
)  # fmt: skip
def test_bad_data(call: Any, error: type[Exception], match: str, rng: np.random.Generator) -> None:
    model = small_model(input_size=2)
    model.compile()
    with pytest.raises(error, match=match):
        call(model, *small_data(rng))


def test_bad_models(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="call compile"):
        small_model().fit(*small_data(rng))
    with pytest.raises(ValueError, match="call compile"):
        small_model().evaluate(*small_data(rng))
    with pytest.raises(ValueError, match="layers: expected at least one layer"):
        Sequential().predict(np.ones((2, 3)))
    with pytest.raises(TypeError, match="layer: expected a Layer, got str"):
        Sequential(["lstm"])  # type: ignore[list-item]
    layer = Dense(3)
    with pytest.raises(ValueError, match="is in the model already"):
        Sequential([layer, layer])
    with pytest.raises(ValueError, match=r"layers\[1\]: LSTM\(2\) takes 3-D input, the layer before gives 2-D"):
        Sequential([LSTM(3), LSTM(2)], input_size=1)
    with pytest.raises(ValueError, match="input_size: the model stands already with 2, got 3"):
        small_model(input_size=2).build(3)
    with pytest.raises(ValueError, match="takes logits"):
        Sequential([Dense(1, "sigmoid")]).compile(loss="binary_crossentropy")
    Sequential([Dense(1, "sigmoid")]).compile(loss=BinaryCrossentropy(from_logits=False))


def test_schedule_in_fit(rng: np.random.Generator) -> None:
    x, y = small_data(rng)
    model = small_model(input_size=2)
    model.compile(SGD(schedules.PiecewiseConstantDecay([1], [0.1, 0.0])))
    model.fit(x, y, batch_size=20, verbose=0)
    settled = model.get_weights()
    model.fit(x, y, epochs=2, verbose=0)
    for a, b in zip(settled, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_optimizer_serves_one_model(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))
    optimizer = Adam(0.01)
    first, second = Sequential([Dense(1)], seed=0), Sequential([Dense(1)], seed=1)
    first.compile(optimizer)
    second.compile(optimizer)  # nothing to remember yet
    first.fit(x, y, verbose=0)
    first.compile(optimizer)  # its own
    second.build(3)
    before = second.get_weights()
    for use in (
        lambda: second.fit(x, y, verbose=0),
        lambda: second.train_on_batch(x, y),
        lambda: second.compile(optimizer),
    ):
        with pytest.raises(ValueError, match="optimizer: this Adam has trained another model"):
            use()
    assert all(np.array_equal(now, then) for now, then in zip(second.get_weights(), before, strict=True))
    for twin in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        twin.fit(x, y, verbose=0)  # model and optimizer were copied together
    optimizer.reset()
    second.fit(x, y, verbose=0)
