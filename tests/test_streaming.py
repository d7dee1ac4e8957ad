"""Sessions: states, updates of the model, closed loops, threads, and what is refused."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import streaming
from fastrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    AveragePooling1D,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    EchoState,
    Embedding,
    Flatten,
    GlobalMaxPooling1D,
    Layer,
    LayerNormalization,
    Parallel,
    RepeatVector,
    Residual,
    SimpleRNN,
    TimeDistributed,
    UpSampling1D,
    WaveNet,
)
from fastrnn.training import Sequential

from .layers.cells import Elman, Mealy

Array = np.ndarray


def small_model() -> Sequential:
    layers = [GRU(6, return_sequences=True), Conv1D(5, 3, padding="causal"), BatchNormalization(), LSTM(4), Dense(2)]
    return Sequential(layers, input_size=3, seed=0)


def inputs(rng: np.random.Generator, *shape: int) -> Array:
    return rng.normal(size=shape).astype("float32")


# ---- states ----------------------------------------------------------------------------------------------------------


def test_state_of_a_layer_is_a_tuple(rng: np.random.Generator) -> None:
    layer = LSTM(4, return_state=True, seed=0)
    x = inputs(rng, 2, 7, 3)
    _, h, c = layer(x)
    session = fastrnn.stream(layer, 2)
    session.run(x)
    state = session.state
    assert isinstance(state, tuple)
    np.testing.assert_array_equal(state[0], h)
    np.testing.assert_array_equal(state[1], c)
    state[0][:] = 9
    np.testing.assert_array_equal(session.state[0], h)  # type: ignore[index]


def test_state_of_a_model_has_the_prefixes_of_its_parameters(rng: np.random.Generator) -> None:
    session = fastrnn.stream(small_model(), 2)
    x = inputs(rng, 2, 7, 3)
    session.run(x)
    state = session.state
    assert isinstance(state, dict)
    assert {name: [part.shape for part in parts] for name, parts in state.items()} == {
        "0": [(2, 6)],
        "1": [(2, 2, 6)],
        "3": [(2, 4), (2, 4)],
    }
    past = session.model.layers[0](x)[:, -2:]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(state["1"][0], past)
    nested = fastrnn.stream(built(WaveNet(4, dilations=(1, 2)), 3))
    assert list(nested.state) == ["first", "0/gates", "1/gates"]


def test_learned_initial_states_begin_a_stream(rng: np.random.Generator) -> None:
    for layer in (LSTM(4, learn_initial_state=True), RNN(Elman(4), learn_initial_state=True)):
        layer.build(3)
        layer.params["h0"] = np.arange(4)
        session = fastrnn.stream(layer, 3)
        np.testing.assert_array_equal(session.state[0], np.tile(np.arange(4), (3, 1)))  # type: ignore[index]
        session.run(inputs(rng, 3, 5, 3))
        before = session.state
        layer.params["h0"] = np.full(4, 7)
        session.reset(np.array([False, True, False]))
        expected = before[0].copy()  # type: ignore[index]
        expected[1] = 7
        np.testing.assert_array_equal(session.state[0], expected)  # type: ignore[index]


@pytest.mark.parametrize("rows", [[2], 2, np.array([False, False, True]), (2,), [-1 + 3]])
def test_rows_can_be_named_in_several_ways(rows: Any, rng: np.random.Generator) -> None:
    session = fastrnn.stream(built(GRU(4), 3), 3)
    session.run(inputs(rng, 3, 5, 3))
    session.reset(rows)
    assert session.state[0].any(axis=1).tolist() == [True, True, False]  # type: ignore[index]
    session.reset([])
    assert session.state[0].any()  # type: ignore[index]
    session.reset()
    assert not session.state[0].any()  # type: ignore[index]


@pytest.mark.parametrize(
    ("rows", "message"),
    [([3], "rows: expected integers from 0 to 2"), ([-1], "rows: expected integers"), ([[0]], "rows: expected numbers"),
     (np.array([True, False]), "rows: expected shape"), ([0.5], "rows: expected integers")],
)  # fmt: skip
def test_bad_rows(rows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastrnn.stream(built(GRU(4), 3), 3).reset(rows)


def test_bad_states_change_nothing(rng: np.random.Generator) -> None:
    session = fastrnn.stream(small_model(), 2)
    session.run(inputs(rng, 2, 5, 3))
    before: Any = session.state
    bad: list[tuple[Any, str]] = [
        ({**before, "3": before["3"][:1]}, r"state\['3'\]: expected a tuple of 2 arrays"),
        ({**before, "3": (before["3"][0], np.zeros((2, 5)))}, r"state\['3'\]\[1\]: expected shape"),
        ({name: before[name] for name in ("0", "1")}, "state: expected a dict with '0', '1', '3'"),
        (before["0"], "state: expected a dict"),
    ]
    for state, message in bad:
        with pytest.raises(ValueError, match=message):
            session.state = state
    after: Any = session.state
    for name, parts in before.items():
        for part, same in zip(parts, after[name], strict=True):
            np.testing.assert_array_equal(part, same)


def test_state_in_a_file(tmp_path: Path, rng: np.random.Generator) -> None:
    model, x = small_model(), inputs(rng, 2, 20, 3)
    session, path = fastrnn.stream(model, 2), tmp_path / "state.safetensors"
    session.run(x[:, :11])
    session.save(path)
    expected = session.run(x[:, 11:])
    other = fastrnn.stream(model, 2)
    other.load(path)
    np.testing.assert_array_equal(other.run(x[:, 11:]), expected)
    layer = fastrnn.stream(built(LSTM(4), 3), 2)
    layer.save(tmp_path / "layer.safetensors")
    layer.load(tmp_path / "layer.safetensors")
    with pytest.raises(ValueError, match="expected the state of a session of this model"):
        other.load(tmp_path / "layer.safetensors")
    with pytest.raises(ValueError, match="expected shape"):
        fastrnn.stream(model, 3).load(path)
    with pytest.raises(FileNotFoundError):
        other.load(tmp_path / "none")
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="expected the state"):
        other.load(tmp_path / "model.safetensors")


# ---- updates of the model --------------------------------------------------------------------------------------------


def changes() -> dict[str, Callable[[Sequential], Any]]:
    def fit(model: Sequential) -> None:
        model.compile("adam", "mse")
        rng = np.random.default_rng(1)
        model.fit(inputs(rng, 8, 6, 3), inputs(rng, 8, 2), epochs=1, verbose=0)

    def set_weights(model: Sequential) -> None:
        model.set_weights([weight + 0.1 for weight in model.get_weights()])

    def assign(model: Sequential) -> None:
        for name, array in model.params.items():
            model.params[name] = 1.1 * array

    def one_bias(model: Sequential) -> None:
        model.layers[4].params["b"] = [1.0, 2.0]

    def buffer(model: Sequential) -> None:
        model.buffers["2/moving_mean"] = np.arange(5)

    return {"fit": fit, "set_weights": set_weights, "assign": assign, "one_bias": one_bias, "buffer": buffer}


@pytest.mark.parametrize("name", list(changes()))
def test_an_update_is_seen_at_the_next_step(name: str, rng: np.random.Generator) -> None:
    model, x = small_model(), inputs(rng, 2, 9, 3)
    session, chunks = fastrnn.stream(model, 2), fastrnn.stream(model, 2)
    before = model(x)
    session.run(x)
    state = session.state
    changes()[name](model)
    np.testing.assert_array_equal(session.state["0"], state["0"])  # type: ignore[call-overload]
    session.reset()
    stepped = [session.step(x[:, t]) for t in range(9)]
    np.testing.assert_array_equal(stepped[-1], model(x))
    np.testing.assert_array_equal(chunks.run(x)[:, -1], model(x))
    assert not np.array_equal(model(x), before)


def test_every_kind_of_layer_is_bound_again(rng: np.random.Generator) -> None:
    layers: list[Layer] = [
        LSTM(4, layer_norm=True, peephole=True, projection=3, return_sequences=True),
        EchoState(5, return_sequences=True), Conv1D(6, 2, padding="causal", groups=3), Conv1D(4, 1),
        Conv1D(3, 3, padding="causal", dilation_rate=2, groups=3),
        WaveNet(3, dilations=(1, 2), outputs=4), LayerNormalization(), BatchNormalization(), TimeDistributed(Dense(3)),
        Residual(Dense(4), projection=True), Parallel([Dense(2), GRU(3, return_sequences=True)]), RNN(Elman(3)),
    ]  # fmt: skip
    x = inputs(rng, 2, 5, 3)
    for layer in layers:
        layer.build(3)
        session = fastrnn.stream(layer, 2)
        before = session.run(x)
        for arrays in (layer.params, layer.buffers):
            for name, array in arrays.items():
                arrays[name] = array + rng.uniform(0.1, 0.2, array.shape)
        session.reset()
        after, expected = session.run(x), layer(x)
        np.testing.assert_array_equal(after if expected.ndim == 3 else after[:, -1], expected, str(layer))
        assert not np.array_equal(after, before)
    table = built(Embedding(5, 2), 1)
    session = fastrnn.stream(table)
    table.params["w"] = np.arange(10).reshape(5, 2)
    assert session.step(3).tolist() == [6, 7]


def test_writing_into_an_array_is_seen_after_refresh(rng: np.random.Generator) -> None:
    layer, x = built(LSTM(4), 3), inputs(rng, 1, 3)
    session = fastrnn.stream(layer)
    before = session.step(x)
    layer.params["w_x"][:] = 0.5
    session.reset()
    np.testing.assert_array_equal(session.step(x), before)
    session.refresh()
    session.reset()
    np.testing.assert_array_equal(session.step(x), layer(x[:, None]))


def test_weights_stay_the_models_own(rng: np.random.Generator) -> None:
    """A session made of a copy of a model does not see what happens to the model."""
    model, x = small_model(), inputs(rng, 1, 5, 3)
    twin = copy.deepcopy(model)
    session, expected = fastrnn.stream(twin), model(x)
    for name, array in model.params.items():
        model.params[name] = 2 * array
    np.testing.assert_array_equal(session.run(x)[:, -1], expected)


# ---- closed loops ----------------------------------------------------------------------------------------------------


def by_hand(session: Any, steps: int, x: Any, following: Callable[[Array], Any]) -> Array:
    """The loop that `generate` is."""
    outputs = []
    for _ in range(steps):
        outputs.append(session.step(x))
        x = following(outputs[-1])
    return np.stack(outputs, axis=-2)


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("dtypes", [("float32", "float32"), ("float32", "float64"), ("float64", "float32")])
def test_output_fed_back(batch: int | None, dtypes: tuple[str, str], rng: np.random.Generator) -> None:
    model = Sequential([GRU(6, dtype=dtypes[0]), Dense(3, dtype=dtypes[1])], input_size=3, seed=0)
    first = rng.normal(size=(3,) if batch is None else (batch, 3))
    one, other = (fastrnn.stream(model, batch or 1) for _ in range(2))
    expected = by_hand(other, 30, first, lambda y: y)
    outputs = one.generate(30, first)
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(
        one.generate(5, outputs[..., -1, :]), by_hand(other, 5, expected[..., -1, :], lambda y: y)
    )
    one.state = fastrnn.stream(model, batch or 1).state
    other.reset()
    half = by_hand(other, 9, first, lambda y: y / 2)
    np.testing.assert_array_equal(one.generate(9, first, lambda y: y / 2), half)
    assert one.generate(0, first).shape == (*first.shape[:-1], 0, 3)
    assert one.generate(0, first, lambda y: y).shape == (*first.shape[:-1], 0, 3)


def language_models() -> dict[str, Sequential]:
    return {
        "embedding": Sequential([Embedding(7, 4), LSTM(9), Dense(7)], input_size=(1,), seed=0),
        "one-hot": Sequential([LSTM(9), Dense(7)], input_size=7, seed=0),
        "one-hot-double": Sequential([LSTM(9, dtype="float64"), Dense(7)], input_size=7, seed=0),
        "fewer-outputs": Sequential([Embedding(9, 4), LSTM(9), Dense(7)], input_size=(1,), seed=0),
    }


@pytest.mark.parametrize("sampler", ["argmax", "softmax"])
@pytest.mark.parametrize("name", list(language_models()))
def test_chosen_classes_fed_back(name: str, sampler: str) -> None:
    """Compiled, with a feedback in Python, and step by step: the same classes; rows do not depend on one another."""
    model = language_models()[name]
    for i in (-2, -1):
        for key, array in model.layers[i].params.items():
            model.layers[i].params[key] = 4 * array
    options: dict[str, Any] = {"sampler": sampler, "temperature": 0.8, "seed": 5}
    first = np.array([1, 5, 1, 0])
    made = fastrnn.stream(model, 4).generate(40, first, **options)
    assert made.tokens.shape == (4, 40) and made.outputs.shape == (4, 40, 7)
    if sampler == "argmax":
        np.testing.assert_array_equal(made.tokens, made.outputs.argmax(axis=-1))

    eye = np.eye(7, dtype="float32")
    encoded = (lambda tokens: tokens) if "Embedding" in repr(model.layers[0]) else (lambda tokens: eye[tokens])
    session = fastrnn.stream(model, 4)
    x = encoded(first)
    for t in range(40):
        np.testing.assert_array_equal(session.step(x), made.outputs[:, t])
        x = encoded(made.tokens[:, t])

    session.reset()
    python = session.generate(40, encoded(first), feedback=encoded, **options)
    np.testing.assert_array_equal(python.tokens, made.tokens)
    np.testing.assert_array_equal(python.outputs, made.outputs)

    alone = fastrnn.stream(model).generate(40, 1, **options)
    assert alone.tokens.shape == (40,) and alone.outputs.shape == (40, 7)
    np.testing.assert_array_equal(alone.tokens, made.tokens[0])
    if sampler == "softmax":
        assert (made.tokens[0] != made.tokens[2]).any()  # the same first class, another stream
        again = fastrnn.stream(model, 4).generate(40, first, **{**options, "seed": 6})
        assert (again.tokens != made.tokens).any()
        fresh = {
            tuple(fastrnn.stream(model).generate(40, 1, sampler="softmax", temperature=50.0).tokens) for _ in range(3)
        }
        assert len(fresh) == 3


def test_sampler_of_ones_own() -> None:
    model = language_models()["embedding"]
    session = fastrnn.stream(model, 2)
    made = session.generate(6, [0, 1], sampler=lambda y: y.argmin(axis=-1))
    np.testing.assert_array_equal(made.tokens, made.outputs.argmin(axis=-1))
    assert fastrnn.stream(model).generate(0, 0, sampler=lambda y: y.argmin(axis=-1)).tokens.shape == (0,)
    with pytest.raises(ValueError, match="sampler: expected integers from 0 to 6"):
        session.generate(6, [0, 1], sampler=lambda y: [7, 7])


def test_draws_are_distributed_as_they_should() -> None:
    """Frequencies of 200 000 draws, within five standard deviations."""
    logits = np.array([0.0, 1.0, -1.0, 2.0, -np.inf])
    model = Sequential([Embedding(5, 5), Activation("linear")], input_size=(1,), seed=0)
    model.params["0/w"] = np.zeros((5, 5))
    model.layers[0].params["w"][:] = logits
    for temperature in (1.0, 0.5, 3.0):
        made = fastrnn.stream(model, 20).generate(
            10_000, np.zeros(20, int), sampler="softmax", temperature=temperature, seed=1
        )
        p = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        count = np.bincount(made.tokens.ravel(), minlength=5)
        n = made.tokens.size
        assert (np.abs(count - n * p) <= 5 * np.sqrt(n * p * (1 - p))).all(), (temperature, count / n, p)
        rows = np.array([(row == 3).mean() for row in made.tokens])
        assert np.abs(rows - p[3]).max() < 5 * np.sqrt(p[3] / 10_000)


def test_padding_is_never_chosen_and_never_goes_in() -> None:
    model = Sequential([Embedding(5, 4, mask_zero=True), GRU(3), Dense(5)], input_size=(1,), seed=0)
    model.params["2/b"] = [100, 0, 0, 0, 0]
    session = fastrnn.stream(model, 2)
    for sampler in ("argmax", "softmax"):
        assert session.generate(100, [1, 2], sampler=sampler, seed=0).tokens.min() == 1
    with pytest.raises(ValueError, match="x: expected class numbers from 1"):
        session.step([0, 1])


@pytest.mark.parametrize("sampler", ["argmax", "softmax"])
def test_nothing_is_chosen_where_padding_is_all_there_is(sampler: str) -> None:
    model = Sequential([Embedding(5, 4, mask_zero=True), GRU(3), Dense(1)], input_size=(1,), seed=0)
    options: list[dict[str, Any]] = [{}, {"feedback": lambda token: token}]
    for further in options:
        with pytest.raises(ValueError, match=r"sampler: expected a model with at least 2 outputs, .* got 1"):
            fastrnn.stream(model).generate(3, 1, sampler=sampler, **further)


@pytest.mark.parametrize("sampler", ["argmax", "softmax"])
def test_nothing_is_chosen_of_nan(sampler: str) -> None:
    model = language_models()["embedding"]
    model.params["2/b"] = np.full(7, np.nan)
    with pytest.raises(
        ValueError, match="sampler: expected finite outputs to choose from, got NaN or infinity at step 0"
    ):
        fastrnn.stream(model).generate(3, 0, sampler=sampler)
    with pytest.raises(ValueError, match="sampler: expected finite outputs"):
        fastrnn.stream(model).generate(3, 0, sampler=sampler, feedback=lambda token: token)


def test_bad_closed_loops() -> None:
    language, plain = language_models(), Sequential([GRU(4), Dense(2)], input_size=3, seed=0)
    bad: list[tuple[Sequential, dict[str, Any], type[Exception], str]] = [
        (plain, {"first": np.ones(3)}, ValueError, "feedback: the model takes 3 values and gives 2 values"),
        (plain, {"first": 0, "sampler": "argmax"}, ValueError, "sampler: the model gives 2 values and takes 3"),
        (language["embedding"], {"first": 0}, ValueError, "feedback: the model takes class numbers"),
        (language["embedding"], {"first": 7, "sampler": "argmax"}, ValueError, "first: expected integers from 0 to 6"),
        (language["embedding"], {"first": [0, 1], "sampler": "argmax"}, ValueError, "first: expected class numbers"),
        (language["one-hot"], {"first": 0, "sampler": "best"}, ValueError, "sampler: expected one of"),
        (language["one-hot"], {"first": 0, "sampler": 3}, TypeError, "sampler: expected one of"),
        (language["one-hot"], {"first": 0, "sampler": "softmax", "temperature": 0}, ValueError, "temperature"),
        (language["one-hot"], {"first": 0, "sampler": "softmax", "seed": -1}, ValueError, "seed"),
        (language["one-hot"], {"first": np.ones(6)}, ValueError, r"first: expected shape \(I,\) = \(7,\)"),
        (language["one-hot"], {"first": np.ones((2, 7))}, ValueError, r"first: expected shape \(B, I\) = \(1, 7\)"),
        (language["one-hot"], {"first": np.ones(7), "steps": -1}, ValueError, "steps"),
    ]
    for model, options, error, message in bad:
        with pytest.raises(error, match=message):
            fastrnn.stream(model).generate(**{"steps": 3, **options})


def test_generate_of_a_model(rng: np.random.Generator) -> None:
    model = Sequential([GRU(6), Dense(3)], input_size=3, seed=0)
    first = inputs(rng, 2, 3)
    np.testing.assert_array_equal(model.generate(first, 7), fastrnn.stream(model, 2).generate(7, first))
    assert model.generate(first[0], 7).shape == (7, 3)
    language = language_models()["embedding"]
    made = language.generate([0, 1], 7, sampler="softmax", seed=2)
    np.testing.assert_array_equal(made.tokens[0], language.generate(0, 7, sampler="softmax", seed=2).tokens)


# ---- threads ---------------------------------------------------------------------------------------------------------


def test_many_sessions_share_a_model(rng: np.random.Generator) -> None:
    model, x = small_model(), inputs(rng, 8, 400, 3)
    expected = fastrnn.stream(model, 8).run(x)
    results: dict[int, Array] = {}

    def work(row: int) -> None:
        session = fastrnn.stream(model)
        results[row] = np.concatenate([session.run(x[row, :200]), [session.step(x_t) for x_t in x[row, 200:]]])

    threads = [threading.Thread(target=work, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for row, result in results.items():
        np.testing.assert_array_equal(result, expected[row])
    assert len(results) == 8


def test_a_second_thread_is_refused(rng: np.random.Generator) -> None:
    """While a session is in a step, here a step in Python that waits, nobody else may enter."""
    entered, leave = threading.Event(), threading.Event()

    class Waiting(Elman):
        def step_forward(self, params: Any, x_t: Array, states: Any) -> Any:
            entered.set()
            assert leave.wait(30)
            return super().step_forward(params, x_t, states)

    session = fastrnn.stream(built(RNN(Waiting(3)), 2))
    thread = threading.Thread(target=lambda: session.step(np.ones(2)))
    thread.start()
    assert entered.wait(30)
    try:
        for call in (
            lambda: session.step(np.ones(2)),
            lambda: session.run(np.ones((4, 2))),
            lambda: session.reset(),
            lambda: session.state,
            lambda: session.refresh(),
            lambda: session.generate(2, np.ones(2), lambda y: y[:2]),
        ):
            with pytest.raises(RuntimeError, match="another thread is in it"):
                call()
    finally:
        leave.set()
        thread.join()
    assert session.step(np.ones(2)).shape == (3,)


def test_long_chunks_let_other_threads_run(rng: np.random.Generator) -> None:
    """A session that works without the GIL refuses a second thread too, which sees it at work."""
    session, x = fastrnn.stream(built(LSTM(64), 8), 8), inputs(rng, 8, 20_000, 8)
    thread = threading.Thread(target=lambda: session.run(x))
    refused = 0
    thread.start()
    while thread.is_alive():
        try:
            session.state  # noqa: B018
        except RuntimeError:
            refused += 1
    thread.join()
    assert refused


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_an_error_in_a_custom_cell_comes_out(rng: np.random.Generator) -> None:
    class Failing(Mealy):
        def step_forward(self, params: Any, x_t: Array, states: Any) -> Any:
            if (x_t > 100).any():
                raise OverflowError("too large")
            return super().step_forward(params, x_t, states)

    model = Sequential([RNN(Failing(), return_sequences=True), Dense(3)], input_size=3, seed=0)
    session, x = fastrnn.stream(model), inputs(rng, 5, 3)
    session.run(x)
    with pytest.raises(OverflowError, match="too large"):
        session.step(np.full(3, 1000.0))
    x[3] = 1000
    with pytest.raises(OverflowError, match="too large"):
        session.run(x)
    with pytest.raises(OverflowError, match="too large"):
        session.generate(3, x[3])
    session.reset()
    np.testing.assert_array_equal(session.run(x[:3])[None], model(x[None, :3]))


REFUSED: dict[str, tuple[Callable[[], Layer], str]] = {
    "backwards": (lambda: GRU(4, go_backwards=True), "train it forwards"),
    "backwards-custom": (lambda: RNN(Elman(4), go_backwards=True), "train it forwards"),
    "bidirectional": (lambda: Bidirectional(GRU(4)), "train the model with the forward layer alone"),
    "same": (lambda: Conv1D(4, 3, padding="same"), "use padding='causal'"),
    "valid": (lambda: Conv1D(4, 3), "use padding='causal'"),
    "strides": (lambda: Conv1D(4, 3, padding="causal", strides=2), "use strides=1"),
    "strides-one-tap": (lambda: Conv1D(4, 1, strides=2), "use strides=1"),
    "flatten": (lambda: Sequential([GRU(4, return_sequences=True), Flatten(), Dense(2)]), "Flatten.* cannot stream"),
    "repeat": (lambda: Sequential([GRU(4), RepeatVector(3)]), "RepeatVector.* cannot stream"),
    "pooling": (lambda: AveragePooling1D(2), "AveragePooling1D.* cannot stream"),
    "global-pooling": (lambda: GlobalMaxPooling1D(), "GlobalMaxPooling1D.* cannot stream"),
    "upsampling": (lambda: UpSampling1D(2), "UpSampling1D.* cannot stream"),
    "nested": (lambda: Residual([Sequential([Conv1D(3, 3, padding="same")])]), "use padding='causal'"),
    "time-distributed": (lambda: TimeDistributed(GRU(4)), "a step of a stream is one vector"),
    "types": (lambda: Parallel([Dense(2), Dense(2, dtype="float64")]), "expected branches of one dtype"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_stream_is_refused(name: str, rng: np.random.Generator) -> None:
    make, message = REFUSED[name]
    layer = make()
    layer(inputs(rng, *((2, 4, 5, 3) if name == "time-distributed" else (2, 4, 3))))
    with pytest.raises(ValueError, match=message) as error:
        fastrnn.stream(layer)
    assert "cannot stream" in str(error.value)


def test_part_of_a_model(rng: np.random.Generator) -> None:
    parts = [Residual([Activation("tanh"), GRU(3, return_sequences=True)]), Sequential([LSTM(4)])]
    model, x = Sequential(parts, input_size=3, seed=0), inputs(rng, 2, 5, 3)
    for part in parts:
        session = fastrnn.stream(part, 2)
        expected = part(x)
        np.testing.assert_array_equal(session.run(x)[:, -1], expected[:, -1] if expected.ndim == 3 else expected)
    assert fastrnn.stream(model).step(x[0, 0]).shape == (4,)


def test_bad_models_and_batches() -> None:
    with pytest.raises(ValueError, match="GRU has no parameters yet"):
        fastrnn.stream(GRU(4))
    with pytest.raises(TypeError, match="model: expected a Sequential or a layer"):
        fastrnn.stream([GRU(4)])  # type: ignore[arg-type]
    for batch in (0, 1.5):
        with pytest.raises((ValueError, TypeError), match="batch"):
            fastrnn.stream(small_model(), batch)  # type: ignore[arg-type]


def test_bad_inputs_change_nothing(rng: np.random.Generator) -> None:
    session = fastrnn.stream(small_model(), 2)
    session.run(inputs(rng, 2, 5, 3))
    before: Any = session.state
    for x in (
        np.ones(3),
        np.ones((2, 4)),
        np.ones((1, 3)),
        np.ones((2, 1, 3)),
        1.0,
        [[1, 2, 3], [1, 2]],
        "ab",
        np.ones((2, 3), complex),
    ):
        with pytest.raises((ValueError, TypeError), match="x: expected"):
            session.step(x)
    for x in (np.ones((5, 3)), np.ones((2, 5, 4)), np.ones((3, 5, 3)), 1.0):
        with pytest.raises(ValueError, match=r"x: expected shape \(B, T, I\) = \(2, T, 3\)"):
            session.run(x)
    words = fastrnn.stream(Sequential([Embedding(5, 2), GRU(3)], input_size=(1,), seed=0))
    for x in (5, -1, 0.5, [[1]], [1, 2]):
        with pytest.raises(ValueError, match="x: expected"):
            words.step(x)
    assert words.run([1, 2]).shape == (2, 3) and words.run([[1, 2]]).shape == (1, 2, 3)
    after: Any = session.state
    np.testing.assert_array_equal(after["3"], before["3"])


def test_inputs_of_any_kind(rng: np.random.Generator) -> None:
    """Lists, other types and other layouts are cast as the layer does; the input is not written to."""
    layer, x = built(SimpleRNN(4), 3), rng.normal(size=(2, 3))
    expected = layer(x[:, None])
    read_only = x.copy()
    read_only.flags.writeable = False
    for given in (x, x.tolist(), np.asfortranarray(x), x.astype(">f8"), np.repeat(x, 2, axis=1)[:, ::2], read_only):
        session = fastrnn.stream(layer, 2)
        np.testing.assert_array_equal(session.step(given), expected)
    assert fastrnn.stream(layer, 2).run(np.ones((2, 0, 3))).shape == (2, 0, 4)


def test_output_into_a_given_array(rng: np.random.Generator) -> None:
    session, x = fastrnn.stream(built(GRU(4), 3)), inputs(rng, 3)
    out = np.full((1, 4), np.nan, "float32")
    assert session.step(x, out=out) is out
    session.reset()
    np.testing.assert_array_equal(session.step(x), out[0])
    flat = np.empty(4, "float32")
    assert session.step(x[None], flat) is flat
    for bad in (np.empty(4), np.empty((4, 1), "float32"), np.empty(8, "float32")[::2], [0.0] * 4):
        with pytest.raises(ValueError, match="out: expected"):
            session.step(x, out=bad)  # type: ignore[arg-type]


def test_repr_and_names() -> None:
    assert repr(fastrnn.stream(built(GRU(4, seed=0), 3), 2)) == "Session(GRU(4, seed=0), batch=2)"
    assert fastrnn.stream is streaming.stream
    session = fastrnn.stream(built(Dense(2), 3))
    assert session.state == {} and session.batch == 1


def built(layer: Any, size: int) -> Any:
    layer.build(size)
    return layer
