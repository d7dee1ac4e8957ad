"""Encoder and decoder: gradients, one call against step by step, closed loops, training, files, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn.layers import (
    GRU,
    LSTM,
    AdditiveAttention,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    SimpleRNN,
)
from fastrnn.training import SGD, Adam, EncoderDecoder, Sequential, schedules
from fastrnn.training.decoding import Generated, closed_loop
from fastrnn.training.losses import SparseCategoricalCrossentropy
from fastrnn.training.model import Model

from ..helpers import assert_close, central_difference

B, S, T, I, K, V, F = 3, 5, 4, 2, 3, 6, 2  # noqa: E741
LENGTHS, TARGET_LENGTHS = np.array([5, 2, 3]), np.array([2, 4, 1])
D: dict[str, Any] = {"dtype": "float64"}
SEQUENCES: dict[str, Any] = {"return_sequences": True, "dtype": "float64"}


def randomised(model: EncoderDecoder, rng: np.random.Generator, input_size: int = I) -> EncoderDecoder:
    """The model with parameters that are all different from zero."""
    model.build(input_size)
    for name, array in model.params.items():
        model.params[name] = rng.normal(scale=2.0 if name.startswith("attention") else 0.6, size=array.shape)
    return model


MODELS: dict[str, Callable[[], EncoderDecoder]] = {
    "values": lambda: EncoderDecoder(GRU(4, **D), GRU(4, **SEQUENCES), Dense(K, **D)),
    "values, future": lambda: EncoderDecoder(LSTM(3, **D), LSTM(3, **SEQUENCES), Dense(K, **D), future_size=F),
    "values, dot": lambda: EncoderDecoder(
        GRU(4, **SEQUENCES), GRU(4, **SEQUENCES), [Dense(5, "tanh", **D), Dense(K, **D)], attention="dot"
    ),
    "one-hot": lambda: EncoderDecoder(SimpleRNN(4, **D), SimpleRNN(4, **SEQUENCES), Dense(K, **D), start_token=0),
    "one-hot, future": lambda: EncoderDecoder(
        GRU(4, **D), GRU(4, **SEQUENCES), Dense(K, **D), start_token=0, future_size=F
    ),
    "deep, additive": lambda: EncoderDecoder(
        [LSTM(3, **SEQUENCES), Dense(4, "tanh", **D), LSTM(4, **SEQUENCES)],
        [Embedding(K, 2, **D), LSTM(4, **SEQUENCES)],
        Dense(K, **D),
        attention=AdditiveAttention(3, **D),
        start_token=1,
    ),
    "deeper": lambda: EncoderDecoder(
        Sequential([GRU(3, **SEQUENCES), GRU(4, **SEQUENCES), SimpleRNN(2, **D)]),
        [GRU(4, **SEQUENCES), SimpleRNN(2, **SEQUENCES)],
        [Dense(K, **D)],
    ),
    "bidirectional": lambda: EncoderDecoder(
        Bidirectional(LSTM(2, **SEQUENCES)), LSTM(4, **SEQUENCES), Dense(K, **D), attention="dot", start_token=0
    ),
    "tokens to tokens": lambda: EncoderDecoder(
        [Embedding(V, 3, **D), GRU(4, **SEQUENCES)],
        [Embedding(K, 2, **D), GRU(4, **SEQUENCES)],
        Dense(K, **D),
        attention="dot",
        start_token=0,
        stop_token=2,
    ),
}
models = pytest.mark.parametrize("name", MODELS)


def data(
    model: EncoderDecoder, rng: np.random.Generator, ragged: bool
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Source, targets and the rest of the arguments that fit a model."""
    x = rng.integers(0, V, (B, S)) if model.takes_integers else rng.normal(size=(B, S, I))
    y = rng.normal(size=(B, T, K)) if model.start_token is None else rng.integers(0, K, (B, T))
    options: dict[str, Any] = {"lengths": LENGTHS, "target_lengths": TARGET_LENGTHS} if ragged else {}
    if model.future_size:
        options["future"] = rng.normal(size=(B, T, F))
    return x, y, options


# ---- gradients -------------------------------------------------------------------------------------------------------


@models
@pytest.mark.parametrize("ragged", [False, True])
def test_gradients(name: str, ragged: bool, rng: np.random.Generator) -> None:
    """By the source and all parameters, through head, attention, decoder, the states and the encoder."""
    model = randomised(MODELS[name](), rng)
    x, y, options = data(model, rng, ragged)
    out, cache = model.forward(x, y, **options)
    assert out.shape == (B, T, K)
    dout = rng.normal(size=out.shape)
    dx, grads, dstate = model.backward(dout, cache)
    assert set(grads) == set(model.params) and dstate is None

    def cost() -> float:
        return float((model(x, y, **options) * dout).sum())

    if model.takes_integers:
        assert dx is None
    else:
        given = x
        expected = central_difference(lambda value: float((model(value, y, **options) * dout).sum()), given)
        assert_close(dx, expected, "finite_difference", "dx")
    for key in model.params:
        original = model.params[key]

        def cost_of(value: np.ndarray, key: str = key) -> float:
            model.params[key] = value
            return cost()

        expected = central_difference(cost_of, original)
        model.params[key] = original
        assert_close(grads[key], expected, "finite_difference", key)


def test_the_encoder_learns_through_states_and_attention(rng: np.random.Generator) -> None:
    """The yardstick of the gradients above: each of the two ways alone gives another gradient than both."""
    model = randomised(MODELS["values, dot"](), rng)
    x, y, _ = data(model, rng, ragged=False)
    out, cache = model.forward(x, y)
    both = model.backward(np.ones_like(out), cache)[1]["encoder/0/w_x"]
    dh = model._head.run_back(np.ones_like(out), cache.head)[0]
    states_alone = model._encoder.run_back(
        None, cache.encoded.cache, model._decoder.run_back(dh[..., 4:], cache.decoder)[2]
    )[1]["0/w_x"]
    assert scale_of(both - states_alone) > 0.01 * scale_of(both)


def scale_of(a: np.ndarray) -> float:
    return float(np.abs(a).max())


# ---- one call against step by step -----------------------------------------------------------------------------------


@models
@pytest.mark.parametrize("ragged", [False, True])
def test_one_call_and_step_by_step_agree(name: str, ragged: bool, rng: np.random.Generator) -> None:
    """The decoder fed with the same previous outputs; with lengths, up to the end of each target."""
    model = randomised(MODELS[name](), rng)
    x, y, options = data(model, rng, ragged)
    out = model(x, y, **options)
    pairs = model._pairs(fastrnn.training.pairs.Inputs(x, **options), y)
    state, previous = model._start(model._encode(pairs), pairs.future), model._first(pairs)
    for t in range(T):
        step, state = model._step(previous, state)
        true = np.arange(B)[t < TARGET_LENGTHS] if ragged else np.arange(B)
        assert_close(step[true], out[true, t], "float64", f"step {t}")
        previous = y[:, t]


@models
def test_a_model_reads_back_what_it_wrote(name: str, rng: np.random.Generator) -> None:
    """The closed loop gives what one call gives when its own outputs are the targets."""
    model = randomised(MODELS[name](), rng)
    x, _, options = data(model, rng, ragged=True)
    del options["target_lengths"]
    made = model.generate(x, T, **options)
    if isinstance(made, Generated):
        log_p = -SparseCategoricalCrossentropy().entries(
            made.tokens[..., None], model(x, made.tokens, **options).astype(np.float64)
        )
        counted = np.arange(T) < (made.lengths + (model.stop_token is not None))[:, None]
        assert_close(made.scores, (log_p * counted).sum(axis=1), "float64", "scores")
        best = model(x, made.tokens, **options).argmax(axis=-1)
        np.testing.assert_array_equal(best[counted], made.tokens[counted])
    else:
        assert_close(model(x, made, **options), made, "float64")


@models
def test_rows_do_not_see_each_other(name: str, rng: np.random.Generator) -> None:
    """Nor what stands past the end of a source or a target."""
    model = randomised(MODELS[name](), rng)
    x, y, options = data(model, rng, ragged=True)
    out = model(x, y, **options)
    x, y = x.copy(), y.copy()
    if not model.takes_integers:
        x[np.arange(S) >= LENGTHS[:, None]] = np.nan
    y[np.arange(T) >= TARGET_LENGTHS[:, None]] = -1 if model.start_token is not None else np.nan
    for row in range(B):
        part = slice(row, row + 1)
        alone = model(x[part], y[part], **{key: value[part] for key, value in options.items()})
        true = TARGET_LENGTHS[row]
        assert_close(alone[0, :true], out[row, :true], "float64", f"row {row}")


def test_the_attention_weights_are_handed_out(rng: np.random.Generator) -> None:
    model = randomised(MODELS["tokens to tokens"](), rng)
    x, y, _ = data(model, rng, ragged=False)
    _, cache = model.forward(x, y, LENGTHS)
    assert cache.weights is not None and cache.weights.shape == (B, T, S)
    assert not cache.weights[1, :, 2:].any() and (cache.weights[0] > 0).all()


def test_padding_tokens_are_not_looked_at(rng: np.random.Generator) -> None:
    """A mask that an Embedding makes of zeros does what lengths do."""
    encoder = [Embedding(V, 3, mask_zero=True, **D), GRU(4, **SEQUENCES)]
    model = randomised(EncoderDecoder(encoder, GRU(4, **SEQUENCES), Dense(K, **D), attention="dot", start_token=0), rng)
    x, y = rng.integers(1, V, (B, S)), rng.integers(0, K, (B, T))
    x[np.arange(S) >= LENGTHS[:, None]] = 0
    out, cache = model.forward(x, y)
    assert cache.weights is not None
    np.testing.assert_array_equal(cache.weights[:, 0] > 0, np.arange(S) < LENGTHS[:, None])
    shorter = model(x[1:2, :2], y[1:2])
    assert_close(out[1:2], shorter, "float64")


# ---- generation ------------------------------------------------------------------------------------------------------


def token_model(rng: np.random.Generator) -> EncoderDecoder:
    """With weights so large that tokens differ from row to row."""
    model = randomised(MODELS["tokens to tokens"](), rng)
    for name, array in model.params.items():
        model.params[name] = 3 * array
    return model


def test_methods(rng: np.random.Generator) -> None:
    model = token_model(rng)
    x = rng.integers(0, V, (20, S))
    made = model.generate(x, 6)
    assert isinstance(made, Generated) and made.tokens.shape == (20, 6) and len(set(made.lengths.tolist())) > 1
    np.testing.assert_array_equal(model.predict(x, 6), made.tokens)
    for name, other in {
        "beam of one": model.generate(x, 6, method="beam", width=1),
        "coldest sample": model.generate(x, 6, method="sample", top_k=1, seed=0),
        "small batches": model.generate(x, 6, batch_size=7),
    }.items():
        for one, expected in zip(other, made, strict=True):
            np.testing.assert_array_equal(one, expected, err_msg=name)
    drawn = [model.generate(x, 6, method="sample", seed=seed) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(drawn[0].tokens, drawn[1].tokens)  # type: ignore[union-attr]
    assert (drawn[0].tokens != drawn[2].tokens).any()  # type: ignore[union-attr]
    beams = model.generate(x, 6, method="beam", width=3, all_beams=True)
    best = model.generate(x, 6, method="beam", width=3, batch_size=6)
    assert isinstance(beams, Generated) and isinstance(best, Generated)
    assert beams.tokens.shape == (20, 3, 6) and (np.diff(beams.scores, axis=1) <= 0).all()
    np.testing.assert_array_equal(beams.tokens[:, 0], best.tokens)
    assert (best.scores >= made.scores - 1e-9).mean() > 0.8


def test_a_wide_beam_finds_the_most_probable_of_all_sequences(rng: np.random.Generator) -> None:
    """Brute force: every sequence of three tokens through one call of the model."""
    model = token_model(rng)
    x = rng.integers(0, V, (1, S))
    every = np.stack(np.meshgrid(*[np.arange(K)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    logits = model(np.repeat(x, len(every), axis=0), every)
    log_p = -SparseCategoricalCrossentropy().entries(every[..., None], logits)
    ends = np.where((every == 2).any(axis=1), (every == 2).argmax(axis=1), 2)  # where the stop token stands
    totals = np.where(np.arange(3) <= ends[:, None], log_p, 0).sum(axis=1)
    best = int(totals.argmax())
    made = model.generate(x, 3, method="beam", width=40)
    assert isinstance(made, Generated)
    assert_close(made.scores[0], totals[best], "float64")
    np.testing.assert_array_equal(made.tokens[0, : ends[best] + 1], every[best, : ends[best] + 1])


def test_first_and_feedback(rng: np.random.Generator) -> None:
    model = randomised(MODELS["values"](), rng)
    x = data(model, rng, ragged=False)[0]
    first = rng.normal(size=(B, K))
    made = model.generate(x, T, first=first)
    assert_close(model(x, made, first=first), made, "float64")
    assert scale_of(np.asarray(made) - np.asarray(model.generate(x, T))) > 1e-3
    halved = np.asarray(model.generate(x, T, feedback=lambda out: out / 2))
    assert_close(model(x, halved / 2), halved, "float64")
    tokens = token_model(rng)
    source = rng.integers(0, V, (2, S))
    started = tokens.generate(source, 3, first=[1, 0])
    assert isinstance(started, Generated)
    np.testing.assert_array_equal(started.tokens[1], tokens.predict(source, 3)[1])


def test_no_sources() -> None:
    model = randomised(MODELS["values"](), np.random.default_rng(0))
    assert model.predict(np.empty((0, S, I)), 4).shape == (0, 4, K)
    tokens = token_model(np.random.default_rng(0))
    assert [a.shape for a in tokens.generate(np.empty((0, S), int), 4)] == [(0, 4), (0,), (0,)]


# ---- training --------------------------------------------------------------------------------------------------------


def reversals(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Digits 1 to 4 to be written backwards, 0 starts and stops; of 2 to 5 digits."""
    lengths = rng.integers(2, 6, rows)
    x = rng.integers(1, 5, (rows, 5))
    y = np.full((rows, 6), -1)
    for row, n in enumerate(lengths):
        y[row, :n], y[row, n] = x[row, :n][::-1], 0
        x[row, n:] = 0
    return {"x": x, "y": y, "lengths": lengths, "target_lengths": lengths + 1}


def exact(made: Any, batch: dict[str, np.ndarray]) -> float:
    """The fraction of targets that came out right as a whole."""
    true = np.arange(6) < batch["target_lengths"][:, None]
    return float(((made.tokens == batch["y"]) | ~true).all(axis=1).mean())


@pytest.mark.parametrize("attention", [None, "dot", "additive"])
def test_learns_to_write_backwards(attention: str | None, rng: np.random.Generator) -> None:
    """Ragged on both sides; there are 1360 different sources, so those that are new are mostly unseen."""
    train, fresh = reversals(rng, 1500), reversals(rng, 300)
    model = EncoderDecoder(
        [Embedding(5, 8), GRU(48, return_sequences=attention is not None)],
        [Embedding(5, 8), GRU(48, return_sequences=True)],
        Dense(5),
        attention=attention,
        start_token=0,
        stop_token=0,
        seed=0,
    )
    epochs = 20
    model.compile(Adam(schedules.CosineDecay(0.01, epochs * 47), global_clipnorm=1.0), metrics=["accuracy"])
    history = model.fit(**train, validation_data=fresh, epochs=epochs, verbose=0).history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history["val_loss"][0] > 5 * history["val_loss"][-1]
    made = model.generate(fresh["x"], 6, lengths=fresh["lengths"])
    assert exact(made, fresh) > 0.9
    loss, accuracy = model.evaluate(**fresh)  # type: ignore[misc]
    assert loss == pytest.approx(history["val_loss"][-1]) and accuracy == pytest.approx(history["val_accuracy"][-1])
    closed = model.evaluate(**fresh, closed_loop=True, return_dict=True)
    assert isinstance(closed, dict) and closed["accuracy"] > 0.9


def waves(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sine waves of unknown frequency: 12 values, the next 6, and the last known one."""
    t = np.arange(18)
    wave = np.sin(rng.uniform(0.3, 0.8, (rows, 1)) * t + rng.uniform(0, 6.3, (rows, 1)))[..., None]
    return wave[:, :12], wave[:, 12:], wave[:, 11]


@pytest.mark.parametrize("teacher_forcing", [1.0, schedules.CosineDecay(1.0, 600), 0.0])
def test_learns_to_go_on_with_a_wave(teacher_forcing: Any, rng: np.random.Generator) -> None:
    """Mean squared error in the closed loop, where the last value costs 0.5 and more."""
    (x, y, first), (fresh, target, last) = waves(rng, 512), waves(rng, 128)
    model = EncoderDecoder(GRU(24), GRU(24, return_sequences=True), Dense(1), teacher_forcing=teacher_forcing, seed=0)
    model.compile(Adam(0.01), metrics=["mae"])
    validation = {"x": fresh, "y": target, "first": last}
    history = model.fit(
        x, y, first=first, epochs=60, validation_data=validation, closed_loop_validation=True, verbose=0
    ).history
    made = model.predict(fresh, 6, first=last)
    error = float(np.square(made - target).mean())
    assert error < 0.01 < 0.4 < np.square(last[:, None] - target).mean()
    assert history["val_loss"][-1] == pytest.approx(error, rel=1e-5)
    forced = model.evaluate(fresh, target[..., 0], first=last, return_dict=True)
    assert isinstance(forced, dict) and forced["loss"] != pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("name", ["values, future", "tokens to tokens", "values, dot"])
def test_scheduled_sampling_mixes_true_and_own_outputs(name: str, rng: np.random.Generator) -> None:
    model = randomised(MODELS[name](), rng)
    x, y, options = data(model, rng, ragged=False)
    pairs = model._pairs(fastrnn.training.pairs.Inputs(x, **options), y)
    encoded = model._encode(pairs)
    true = model._shifted(pairs)
    np.testing.assert_array_equal(model._mixed(pairs, encoded, 1.0, rng), true)
    # never forced: what the closed loop gives
    back = None if model.start_token is None else (lambda logits: logits.argmax(axis=-1))
    loop = closed_loop(model._step, model._start(encoded, pairs.future), model._first(pairs), T, back)
    made = loop if model.start_token is None else loop.argmax(axis=-1)
    assert_close(model._mixed(pairs, encoded, 0.0, rng)[:, 1:], made[:, :-1], "float64")
    # half and half: each is a true one, or what the model makes of those before
    mixed = model._mixed(pairs, encoded, 0.5, np.random.default_rng(1))
    out, _ = model._decode(pairs, mixed, encoded)
    own = out if model.start_token is None else out.argmax(axis=-1)
    is_true = np.isclose(mixed[:, 1:], true[:, 1:]).reshape(B, T - 1, -1).all(axis=-1)
    is_own = np.isclose(mixed[:, 1:], own[:, :-1]).reshape(B, T - 1, -1).all(axis=-1)
    assert (is_true | is_own).all() and (is_true & ~is_own).any() and (is_own & ~is_true).any()
    np.testing.assert_array_equal(mixed[:, 0], true[:, 0])


def test_the_rate_of_teacher_forcing_follows_its_schedule(rng: np.random.Generator) -> None:
    rates: list[float] = []

    class Recorded(EncoderDecoder):
        def _mixed(self, pairs: Any, encoded: Any, rate: float, rng: np.random.Generator) -> np.ndarray:
            rates.append(rate)
            return super()._mixed(pairs, encoded, rate, rng)

    schedule = schedules.InverseTimeDecay(1.0, 1, 1.0)
    model = Recorded(GRU(3), GRU(3, return_sequences=True), Dense(1), teacher_forcing=schedule, seed=0)
    model.compile("sgd")
    x, y = rng.normal(size=(8, S, I)), rng.normal(size=(8, T))
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    assert rates == [1.0, 1 / 2, 1 / 3, 1 / 4]


def test_the_same_seed_gives_the_same_weights_bit_for_bit(rng: np.random.Generator) -> None:
    batch = reversals(rng, 64)
    results = []
    for seed in (7, 7, 8):
        model = EncoderDecoder(
            [Embedding(5, 4), Dropout(0.2), GRU(6, dropout=0.1)],
            [Embedding(5, 4), GRU(6, return_sequences=True), BatchNormalization()],
            Dense(5),
            start_token=0,
            stop_token=0,
            teacher_forcing=0.5,
            seed=seed,
        )
        model.compile("adam")
        model.fit(**batch, epochs=2, batch_size=16, validation_split=0.25, verbose=0)
        results.append([array.tobytes() for array in model.get_weights()])
        assert model.buffers["decoder/2/moving_mean"].any()  # batch normalization has seen the batches
    assert results[0] == results[1] != results[2]


def test_loss_and_metrics_leave_out_what_is_past_the_ends(rng: np.random.Generator) -> None:
    """Also under weights, and whatever the batches."""
    model = randomised(MODELS["tokens to tokens"](), rng)
    model.compile(SGD(0.1), metrics=["accuracy"])
    x, y, options = data(model, rng, ragged=True)
    y[np.arange(T) >= TARGET_LENGTHS[:, None]] = -1
    logits = model(x, y, **options)
    true = np.arange(T) < TARGET_LENGTHS[:, None]
    entries = SparseCategoricalCrossentropy().entries(np.where(true, y, 0)[..., None], logits)
    loss, accuracy = model.evaluate(x, y, **options, batch_size=2)  # type: ignore[misc]
    assert loss == pytest.approx(entries[true].mean()) and accuracy == (logits.argmax(-1) == y)[true].mean()
    kept = np.array([True, False, True])
    loss, accuracy = model.evaluate(x, y, **options, sample_weight=kept)  # type: ignore[misc]
    assert loss == pytest.approx(entries[true & kept[:, None]].mean())
    assert accuracy == (logits.argmax(-1) == y)[true & kept[:, None]].mean()
    before = model.evaluate(x, y, **options)
    assert model.train_on_batch(x, y, **options) == pytest.approx(before[0])  # type: ignore[index]
    assert model.evaluate(x, y, **options)[0] < before[0]  # type: ignore[index]


def test_a_batch_in_which_nothing_counts_changes_nothing(rng: np.random.Generator) -> None:
    """No more than it does to any other model; momentum alone would move the weights."""
    encoder = [GRU(4, **SEQUENCES), BatchNormalization(**D), GRU(4, **D)]
    model = randomised(EncoderDecoder(encoder, GRU(4, **SEQUENCES), Dense(K, **D), teacher_forcing=0.5, seed=0), rng)
    model.compile(SGD(0.1, momentum=0.9), metrics=["mae"])
    x, y, _ = data(model, rng, ragged=False)
    model.fit(x, y, verbose=0)
    before, iterations = model.get_weights(), model.optimizer.iterations
    history = model.fit(x, y, target_lengths=[0, 0, 0], epochs=2, record_gradient_norms=True, verbose=0).history
    assert history["gradient_norm"] == [0.0, 0.0] and np.isnan(history["mae"]).all()
    model.train_on_batch(x, y, sample_weight=np.zeros(B, bool))
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert model.optimizer.iterations == iterations


def test_it_is_a_model_and_no_sequential() -> None:
    model = MODELS["values"]()
    assert isinstance(model, Model) and not isinstance(model, Sequential) and isinstance(Sequential(), Model)
    assert not hasattr(model, "add")


# ---- files, copies, tables -------------------------------------------------------------------------------------------


@models
def test_save_and_load(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = randomised(MODELS[name](), rng)
    x, y, options = data(model, rng, ragged=True)
    model.compile(Adam(0.01), metrics=["accuracy"] if model.start_token is not None else ["mae"])
    model.fit(x, y, **options, epochs=1, verbose=0)
    model.save(tmp_path / "model.safetensors")
    again = fastrnn.load(tmp_path / "model.safetensors")
    assert isinstance(again, EncoderDecoder) and repr(again) == repr(model)
    np.testing.assert_array_equal(again(x, y, **options), model(x, y, **options))
    assert again.evaluate(x, y, **options) == model.evaluate(x, y, **options)
    again.fit(x, y, **options, epochs=1, verbose=0)


def test_a_schedule_of_teacher_forcing_is_saved(tmp_path: Path) -> None:
    schedule = schedules.ExponentialDecay(1.0, 100, 0.5)
    model = EncoderDecoder(GRU(3), GRU(3, return_sequences=True), Dense(1), teacher_forcing=schedule)
    model.build(I)
    model.save(tmp_path / "model.safetensors")
    assert fastrnn.load(tmp_path / "model.safetensors").teacher_forcing(100) == 0.5


def test_summary() -> None:
    model = MODELS["tokens to tokens"]()
    model.build(S)
    lines: list[str] = []
    model.summary(lines.append)
    text = "\n".join(lines)
    assert all(name in text for name in ("Embedding(6, 3", "GRU(4", "DotAttention(", "Dense(3"))
    assert f"{model.count_params():,}" in lines[-1]
    assert "(None, None, 8)" not in text and "(None, None, 4)" in text  # the context, behind which stands the head


# ---- bad input -------------------------------------------------------------------------------------------------------

GIVER, TAKER = GRU(4), GRU(4, return_sequences=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], TAKER, Dense(2)), "encoder: expected at least one layer, got none"),
        ((GIVER, [3], Dense(2)), "decoder: layer: expected a Layer, got int"),
        ((GIVER, Dense(4), Dense(2)), "decoder: expected at least one recurrent layer"),
        ((GIVER, GRU(4), Dense(2)), r"decoder\[0\]: .* gives one output for all steps"),
        (
            (GIVER, GRU(4, return_sequences=True, go_backwards=True), Dense(2)),
            "but .* runs from the last step to the first",
        ),
        ((GIVER, GRU(4, return_sequences=True, stateful=True), Dense(2)), r"runs step by step, but GRU.* is stateful"),
        (
            (GIVER, [TAKER, Sequential([GRU(4, return_sequences=True)])], Dense(2)),
            r"decoder\[1\]: .* has a recurrent layer inside",
        ),
        ((GIVER, [TAKER, Conv1D(4, 2, padding="causal")], Dense(2)), "looks at several steps at a time"),
        ((GIVER, Bidirectional(GRU(2, return_sequences=True)), Dense(2)), "runs step by step"),
        ((GIVER, LSTM(4, return_sequences=True), Dense(2)), r"ends in states of the sizes \(4,\), LSTM\(4"),
        ((LSTM(4), LSTM(5, return_sequences=True), Dense(2)), r"sizes \(4, 4\), LSTM\(5, return_sequences=True\) of"),
        (
            (GIVER, [TAKER, GRU(4, return_sequences=True)], Dense(2)),
            "as many recurrent layers as in the decoder, 2, got 1",
        ),
        ((TAKER, TAKER, Dense(2)), "is in the model twice"),
    ],
)
def test_layers_that_do_not_fit(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        EncoderDecoder(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "luong"}, "attention: expected one of 'additive', 'dot', got 'luong'"),
        ({"attention": 3}, "attention: expected None, 'dot', 'additive' or a layer, got int"),
        ({"attention": "dot"}, "encoder: attention looks at all its outputs"),
        ({"start_token": -1}, "start_token: expected an integer >= 0, got -1"),
        ({"start_token": 2}, "start_token: expected an integer <= 1, got 2"),
        ({"start_token": 0, "stop_token": 2}, "stop_token: expected an integer <= 1, got 2"),
        ({"stop_token": 1}, "start_token: a model of tokens needs one, got None"),
        ({"teacher_forcing": 1.5}, "teacher_forcing: expected a number >= 0 and <= 1, got 1.5"),
        ({"future_size": -1}, "future_size: expected an integer >= 0, got -1"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        EncoderDecoder(GRU(4), GRU(4, return_sequences=True), Dense(2), **options).build(I)


def test_an_embedding_reads_tokens_alone() -> None:
    decoder = [Embedding(3, 2), GRU(4, return_sequences=True)]
    with pytest.raises(ValueError, match="start_token: a model of tokens needs one"):
        EncoderDecoder(GRU(4), decoder, Dense(3)).build(I)
    with pytest.raises(ValueError, match="future_size: an Embedding reads tokens alone"):
        EncoderDecoder(GRU(4), decoder, Dense(3), start_token=0, future_size=1).build(I)


def test_data_that_do_not_fit(rng: np.random.Generator) -> None:
    values, tokens = randomised(MODELS["values, future"](), rng), randomised(MODELS["tokens to tokens"](), rng)
    x, y, options = data(values, rng, ragged=False)
    future = options["future"]
    with pytest.raises(ValueError, match="compile"):
        values.fit(x, y, future=future)
    with pytest.raises(ValueError, match=r"y: expected shape \(3, T, 3\) with T >= 1, got \(3, 4, 2\)"):
        values(x, y[..., :2], future=future)
    with pytest.raises(ValueError, match=r"y: expected shape \(3, T, 3\) with T >= 1, got \(2, 4, 3\)"):
        values(x, y[:2], future=future)
    with pytest.raises(ValueError, match=r"future: the model has future_size=2, got None"):
        values(x, y)
    with pytest.raises(ValueError, match=r"future: expected shape \(N, T, F\) = \(3, 4, 2\), got \(3, 3, 2\)"):
        values(x, y, future=future[:, :3])
    with pytest.raises(ValueError, match=r"future: expected shape \(N, T, F\) = \(3, 9, 2\), got \(3, 4, 2\)"):
        values.generate(x, 9, future=future)
    assert values.predict(x, 2, future=future).shape == (B, 2, K)
    with pytest.raises(ValueError, match=r"first: expected shape \(N, K\) = \(3, 3\), got \(3,\)"):
        values(x, y, future=future, first=[0, 0, 0])
    with pytest.raises(ValueError, match="target_lengths: expected integers from 0 to 4, got 1 to 5"):
        values(x, y, None, [1, 2, 5], future=future)
    with pytest.raises(ValueError, match="lengths: expected integers from 0 to 5, got 1 to 6"):
        values(x, y, [1, 2, 6], future=future)
    with pytest.raises(ValueError, match="method: 'beam' is for tokens"):
        values.generate(x, 3, future=future, method="beam")
    with pytest.raises(ValueError, match="x: expected"):
        values(x[0], y, future=future)
    x, y, _ = data(tokens, rng, ragged=False)
    with pytest.raises(TypeError, match="y: expected integer tokens, got dtype float64"):
        tokens(x, y.astype(float))
    with pytest.raises(ValueError, match="x: expected integers from 0 to 5, got"):
        tokens(x + V, y)
    with pytest.raises(ValueError, match="y: expected integers from 0 to 2, got 3 to 3"):
        tokens(x, np.full_like(y, 3))
    with pytest.raises(ValueError, match="y: expected integers from 0 to 2, got -1 to -1"):
        tokens(x, np.full_like(y, -1), None, [1, 0, 0])
    with pytest.raises(TypeError, match="EncoderDecoder has no output of x alone"):
        tokens.infer(x)
    with pytest.raises(ValueError, match="future: the model has future_size=0, got shape"):
        tokens(x, y, future=np.ones((B, T, F)))
    with pytest.raises(ValueError, match="method: expected one of 'greedy', 'sample', 'beam', got 'best'"):
        tokens.generate(x, 3, method="best")
    with pytest.raises(ValueError, match="feedback: tokens are fed back as they are"):
        tokens.generate(x, 3, feedback=lambda out: out)
    with pytest.raises(ValueError, match="steps: expected an integer >= 1, got 0"):
        tokens.generate(x, 0)
    tokens.compile("adam")
    with pytest.raises(TypeError, match="y: expected targets, got None"):
        tokens.fit(x, None)
    with pytest.raises(ValueError, match=r"sample_weight: expected 3 rows as in x, got shape \(2,\)"):
        tokens.fit(x, y, sample_weight=[1, 2], verbose=0)
    with pytest.raises(ValueError, match="validation_data: expected a tuple"):
        tokens.fit(x, y, validation_data=(x,), verbose=0)
    with pytest.raises(ValueError, match=r"validation_data: expected x, y and any of .*, got \['x', 'y', 'z'\]"):
        tokens.fit(x, y, validation_data={"x": x, "y": y, "z": 1}, verbose=0)
