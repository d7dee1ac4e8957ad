"""A decoder's closed loops in compiled code against the literal ones of `training.decoding` over single steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import _memory
from fastrnn.layers import (
    GRU,
    LSTM,
    RNN,
    AdditiveAttention,
    Attention,
    Bidirectional,
    Conv1D,
    Dense,
    DotAttention,
    Dropout,
    Embedding,
    Layer,
    LayerNormalization,
    Residual,
    SimpleRNN,
)
from fastrnn.streaming import decoder_writer
from fastrnn.training import EncoderDecoder
from fastrnn.training.decoding import Generated, beam_search, closed_loop, greedy
from fastrnn.training.pairs import Inputs

from ..helpers import assert_close
from ..layers.cells import Elman
from .cases import dtypes, instruction_sets

B, S, I, K, V, F, STEPS, STOP = 7, 6, 3, 5, 9, 2, 8, 2  # noqa: E741
ALL: dict[str, Any] = {"return_sequences": True}


class Halved(Layer):
    """A layer that nothing compiled stands for."""

    def output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def forward(self, x: Any, *, training: bool = False, rng: Any = None) -> tuple[np.ndarray, Any]:
        return np.asarray(x) / 2, None


class Distance(Attention):
    """Attention of another kind: scores -|query - key|."""

    def keys_of(self, memory: np.ndarray) -> np.ndarray:
        return memory

    def scores(self, query: np.ndarray, keys: np.ndarray) -> np.ndarray:
        return -np.abs(query[:, :, None] - keys[:, None]).sum(axis=-1)


TOLERANCE = {"float32": "float32_output", "float64": "float64"}
Make = Callable[[Any], EncoderDecoder]

VALUES: dict[str, Make] = {
    "plain": lambda d: EncoderDecoder(GRU(11, dtype=d), GRU(11, dtype=d, **ALL), Dense(K, dtype=d)),
    "one value": lambda d: EncoderDecoder(LSTM(4, dtype=d), LSTM(4, dtype=d, **ALL), Dense(1, dtype=d)),
    "future": lambda d: EncoderDecoder(
        SimpleRNN(6, dtype=d),
        SimpleRNN(6, dtype=d, **ALL),
        [Dense(7, "tanh", dtype=d), Dense(K, dtype=d)],
        future_size=F,
    ),
    "deep, dot": lambda d: EncoderDecoder(
        [LSTM(5, dtype=d, **ALL), GRU(7, dtype=d, **ALL)],
        [LSTM(5, dtype=d, **ALL), Dropout(0.3), LayerNormalization(dtype=d), GRU(7, dtype=d, **ALL)],
        Dense(K, dtype=d),
        attention="dot",
        future_size=F,
    ),
    "a cell in Python": lambda d: EncoderDecoder(
        RNN(Elman(5), dtype=d), RNN(Elman(5), dtype=d, **ALL), Dense(K, dtype=d)
    ),
}
TOKENS: dict[str, Make] = {
    "one-hot": lambda d: EncoderDecoder(
        SimpleRNN(6, dtype=d), SimpleRNN(6, dtype=d, **ALL), Dense(K, dtype=d), start_token=0
    ),
    "one-hot, future": lambda d: EncoderDecoder(
        GRU(17, dtype=d), GRU(17, dtype=d, **ALL), Dense(K, dtype=d), start_token=1, stop_token=STOP, future_size=F
    ),
    "embedding, additive": lambda d: EncoderDecoder(
        [Embedding(V, 4, mask_zero=True, dtype=d), Bidirectional(LSTM(5, dtype=d, **ALL))],
        [Embedding(K, 3, dtype=d), LSTM(10, dtype=d, **ALL)],
        Dense(K, dtype=d),
        attention=AdditiveAttention(9, dtype=d),
        start_token=1,
        stop_token=STOP,
    ),
    "scaled dot": lambda d: EncoderDecoder(
        [Embedding(V, 4, dtype=d), GRU(18, reset_after=False, dtype=d, **ALL)],
        [Embedding(K, 3, dtype=d), GRU(18, reset_after=False, dtype=d, **ALL)],
        [LayerNormalization(dtype=d), Dense(K, dtype=d)],
        attention=DotAttention(scale=True, dtype=d),
        start_token=0,
        stop_token=STOP,
    ),
    "another attention, another layer": lambda d: EncoderDecoder(
        GRU(6, dtype=d, **ALL), [GRU(6, dtype=d, **ALL), Halved()], Dense(K, dtype=d), attention=Distance(dtype=d),
        start_token=0, stop_token=STOP,
    ),
}  # fmt: skip
values = pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
tokens = pytest.mark.parametrize("make", TOKENS.values(), ids=TOKENS)


def made(
    make: Make, rng: np.random.Generator, dtype: str = "float64"
) -> tuple[EncoderDecoder, np.ndarray, dict[str, Any]]:
    """A model with large weights, sources of several lengths, and the other arguments of `generate`."""
    model = make(dtype)
    model.build(I)
    for name, array in model.params.items():
        model.params[name] = rng.normal(scale=1.2 if array.ndim == 1 else 2.5 / len(array) ** 0.5, size=array.shape)
    if model.stop_token is not None:
        model.head[-1].params["b"][STOP] += 0.7  # so that some sequences end
    lengths = rng.integers(1, S + 1, B)
    x = rng.integers(1, V, (B, S)) if model.takes_integers else rng.normal(size=(B, S, I))
    x[np.arange(S) >= lengths[:, None]] = 0
    options: dict[str, Any] = {"lengths": lengths}
    if model.future_size:
        options["future"] = rng.normal(size=(B, STEPS + 1, F))
    return model, x, options


def started(model: EncoderDecoder, x: np.ndarray, options: dict[str, Any]) -> tuple[Any, np.ndarray]:
    """State and first input of the literal loops."""
    pairs = model._pairs(
        Inputs(x, options.get("lengths"), None, options.get("first"), options.get("future")), steps=STEPS
    )
    return model._start(model._encode(pairs), pairs.future), model._first(pairs)


class Rows:
    """A decoder's state of which rows can be taken."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def take(self, rows: np.ndarray) -> Rows:
        arrays = {name: array[rows] for name, array in vars(self.state).items() if isinstance(array, np.ndarray)}
        states = [tuple(part[rows] for part in state) for state in self.state.states]
        return Rows(replace(self.state, states=states, **arrays))


def literal_step(model: EncoderDecoder) -> Callable[[np.ndarray, Rows], tuple[np.ndarray, Rows]]:
    def step(previous: np.ndarray, rows: Rows) -> tuple[np.ndarray, Rows]:
        out, state = model._step(previous, rows.state)
        return out, Rows(state)

    return step


def same(actual: Any, expected: Generated, dtype: str = "float64") -> None:
    np.testing.assert_array_equal(actual.tokens, expected.tokens)
    np.testing.assert_array_equal(actual.lengths, expected.lengths)
    finite = np.isfinite(expected.scores)
    np.testing.assert_array_equal(np.isfinite(actual.scores), finite)
    assert_close(actual.scores[finite], expected.scores[finite], TOLERANCE[dtype])


@pytest.fixture(autouse=True)
def poisoned() -> Any:
    """Fresh memory is full of NaN."""
    _memory.poison(True)
    yield
    _memory.poison(False)


@values
@dtypes
@instruction_sets
def test_values(make: Make, dtype: str, instruction_set: str, rng: np.random.Generator) -> None:
    model, x, options = made(make, rng, dtype)
    options["first"] = rng.normal(size=(B, model.output_size))
    expected = closed_loop(model._step, *started(model, x, options), STEPS)
    kept = {name: np.copy(array) for name, array in options.items()}
    assert_close(model.generate(x, STEPS, **options), expected, TOLERANCE[dtype])
    for name, array in options.items():
        np.testing.assert_array_equal(array, kept[name])


@tokens
@dtypes
@instruction_sets
def test_greedy(make: Make, dtype: str, instruction_set: str, rng: np.random.Generator) -> None:
    model, x, options = made(make, rng, dtype)
    expected = greedy(model._step, *started(model, x, options), STEPS, model.stop_token)
    same(model.generate(x, STEPS, **options), expected, dtype)
    assert len({tuple(row) for row in expected.tokens}) > 1


@tokens
@pytest.mark.parametrize(("width", "length_penalty"), [(1, 0.0), (2, 0.0), (3, 0.7), (7, 1.0)])
def test_beam_search(make: Make, width: int, length_penalty: float, rng: np.random.Generator) -> None:
    model, x, options = made(make, rng)
    state, first = started(model, x, options)
    expected = beam_search(
        literal_step(model), Rows(state), first, STEPS, model.stop_token, width=width, length_penalty=length_penalty
    )
    search: dict[str, Any] = {"method": "beam", "width": width, "length_penalty": length_penalty, **options}
    same(model.generate(x, STEPS, all_beams=True, **search), expected)
    same(model.generate(x, STEPS, **search), Generated(*(array[:, 0] for array in expected)))


@instruction_sets
def test_beam_search_in_float32(instruction_set: str, rng: np.random.Generator) -> None:
    model, x, options = made(TOKENS["embedding, additive"], rng, "float32")
    state, first = started(model, x, options)
    expected = beam_search(literal_step(model), Rows(state), first, STEPS, STOP, width=4, length_penalty=0.5)
    found = model.generate(x, STEPS, method="beam", length_penalty=0.5, all_beams=True, **options)
    assert isinstance(found, Generated)
    np.testing.assert_array_equal(found.tokens[:, 0], expected.tokens[:, 0])
    assert_close(found.scores[:, 0], expected.scores[:, 0], "float32_output")


@pytest.mark.parametrize("stop_token", [None, 0, 2])
def test_beams_of_equal_scores(stop_token: int | None) -> None:
    """All logits alike: of equal continuations the first count, as in the literal search."""
    model = EncoderDecoder(GRU(3), GRU(3, **ALL), Dense(4), start_token=1, stop_token=stop_token, seed=0)
    model.build(I)
    for name in ("head/0/w", "head/0/b"):
        model.params[name] = np.zeros_like(model.params[name])
    x = np.ones((2, 3, I))
    state, first = started(model, x, {})
    for width in (1, 2, 5, 300):
        expected = beam_search(literal_step(model), Rows(state), first, 3, stop_token, width=width)
        same(model.generate(x, 3, method="beam", width=width, all_beams=True), expected, "float32")


@tokens
def test_scores_are_the_logarithms_of_the_probabilities(make: Make, rng: np.random.Generator) -> None:
    """By one call over all steps under teacher forcing, whichever way the tokens were chosen."""
    model, x, options = made(make, rng)
    some_ended = False
    for how in ({}, {"method": "sample", "seed": 1, "temperature": 20.0, "top_k": 4}, {"method": "beam", "width": 3}):
        written = model.generate(x, STEPS, **how, **options)
        assert isinstance(written, Generated)
        future = {"future": options["future"][:, :STEPS]} if model.future_size else {}
        logits = model(x, written.tokens, options["lengths"], **future)
        log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        each = np.take_along_axis(log_p, written.tokens[..., None], axis=-1)[..., 0]
        counted = np.arange(STEPS) <= written.lengths[:, None]
        assert_close(written.scores, np.where(counted, each, 0).sum(axis=1), "float64")
        if model.stop_token is not None:
            ended = written.lengths < STEPS
            some_ended |= bool(ended.any())
            assert (written.tokens[ended, written.lengths[ended]] == model.stop_token).all()
            assert (written.tokens[~counted] == model.stop_token).all()
    assert some_ended or model.stop_token is None


# ---- drawing ---------------------------------------------------------------------------------------------------------


def uneven(rng: np.random.Generator) -> tuple[EncoderDecoder, np.ndarray]:
    """A model whose logits are the same at each step, and they."""
    model = EncoderDecoder(
        GRU(2, dtype="float64"), GRU(2, dtype="float64", **ALL), Dense(K, dtype="float64"), start_token=0
    )
    model.build(I)
    logits = rng.normal(size=K)
    model.params["head/0/w"], model.params["head/0/b"] = np.zeros((2, K)), logits
    return model, logits


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (3.0, 3), (1.0, 2), (1.0, 1), (2.0, 99)])
def test_tokens_are_drawn_by_their_probabilities(
    temperature: float, top_k: int | None, rng: np.random.Generator
) -> None:
    model, logits = uneven(rng)
    drawn = model.generate(
        np.zeros((50, 1, I)), 400, method="sample", temperature=temperature, top_k=top_k, seed=int(rng.integers(99))
    )
    assert isinstance(drawn, Generated)
    kept = np.sort(logits)[-min(top_k or K, K)]
    p = np.where(logits >= kept, np.exp(logits / temperature), 0)
    p /= p.sum()
    count = drawn.tokens.size
    found = np.bincount(drawn.tokens.reshape(-1), minlength=K)
    np.testing.assert_array_less(np.abs(found - count * p), 5 * np.sqrt(count * p * (1 - p)) + 1e-9)


def test_rows_draw_from_streams_of_their_own(rng: np.random.Generator) -> None:
    """Neither the size of the batches nor the number of threads matters; rows differ, and seeds."""
    model, _, _ = made(TOKENS["one-hot"], rng)
    x = np.zeros((70, 2, I))
    draw: dict[str, Any] = {"method": "sample", "temperature": 3.0}
    drawn = model.generate(x, STEPS, seed=5, **draw)
    assert isinstance(drawn, Generated) and len({tuple(row) for row in drawn.tokens}) > 60
    threads = fastrnn.get_num_threads()
    try:
        for number in (1, 3):
            fastrnn.set_num_threads(number)
            for batch_size in (1, 32, 256):
                again = model.generate(x, STEPS, seed=5, batch_size=batch_size, **draw)
                assert isinstance(again, Generated)
                np.testing.assert_array_equal(again.tokens, drawn.tokens)
    finally:
        fastrnn.set_num_threads(threads)
    generator = np.random.default_rng(5)
    first, second = (model.generate(x, STEPS, seed=generator, **draw) for _ in range(2))
    assert isinstance(first, Generated) and isinstance(second, Generated)
    np.testing.assert_array_equal(first.tokens, drawn.tokens)
    assert (second.tokens != drawn.tokens).any()


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [{}, {"method": "sample"}, {"method": "sample", "top_k": 2}, {"method": "beam"}], ids=str
)
def test_logits_that_are_not_finite(how: dict[str, Any], rng: np.random.Generator) -> None:
    model, _ = uneven(rng)
    model.params["head/0/b"] = np.array([0.0, np.nan, 1.0, 2.0, 3.0])
    with pytest.raises(
        ValueError, match="logits: expected finite outputs to choose from, got NaN or infinity at step 0"
    ):
        model.generate(np.zeros((3, 1, I)), 4, **how)


def test_errors_of_steps_in_python_are_raised(rng: np.random.Generator) -> None:
    class Broken(Halved):
        def forward(self, x: Any, *, training: bool = False, rng: Any = None) -> tuple[np.ndarray, Any]:
            raise RuntimeError("from within a step")

    model = EncoderDecoder(GRU(3), [GRU(3, **ALL), Broken()], Dense(K), start_token=0)
    model.build(I)
    with pytest.raises(RuntimeError, match="from within a step"):
        model.generate(np.ones((2, 3, I)), 4)


@pytest.mark.parametrize("dtypes_of", [("float32", "float64"), ("float64", "float32"), ("float32", "mixed")], ids=str)
@pytest.mark.parametrize("cell", [GRU, LSTM])
@pytest.mark.parametrize("attention", [None, "dot", "additive"])
def test_parts_of_different_types(
    dtypes_of: tuple[str, str], cell: Any, attention: str | None, rng: np.random.Generator
) -> None:
    """States, memory and inputs are cast on their way, as under teacher forcing."""
    first, second = dtypes_of
    types = ["float64", "float32"] if second == "mixed" else [second, second]
    model = EncoderDecoder(
        [cell(5, dtype=first, **ALL), cell(4, dtype=first, **ALL)],
        [cell(5, dtype=types[0], **ALL), cell(4, dtype=types[1], **ALL)],
        Dense(K, dtype=types[1]),
        attention=attention,
        seed=0,
    )
    model.build(I)
    x = rng.normal(size=(B, S, I))
    made_alone = model.generate(x, STEPS)
    assert_close(made_alone, closed_loop(model._step, *started(model, x, {}), STEPS), "float32_output")
    assert_close(model(x, made_alone), made_alone, "float32_output")


def test_states_of_another_size_are_refused() -> None:
    layer = GRU(4)
    layer.build(I)
    session = fastrnn.stream(layer, batch=2)
    with pytest.raises(ValueError, match="expected arrays"):
        session.stage.stages[0].state = (np.zeros((2, 5), "float32"),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": [GRU(4, **ALL), Dense(K)]}, r"head\[0\]: expected a layer that sees one step at a time"),
        ({"head": [Conv1D(K, 3, padding="causal")]}, r"head\[0\]: .* looks at several steps"),
        ({"head": [Residual([GRU(4, **ALL)]), Dense(K)]}, r"head\[0\]: .* has a state from the steps before"),
        ({"encoder": GRU(4, stateful=True)}, r"encoder\[0\]: .* is stateful"),
    ],
)
def test_parts_that_do_not_fit(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderDecoder(**{"encoder": GRU(4), "decoder": GRU(4, **ALL), "head": Dense(K)} | arguments)


@pytest.mark.parametrize(
    ("rows", "start", "message"),
    [
        (K - 1, 0, r"decoder\[0\]: expected an Embedding of the head's 5 tokens"),
        (K, K, "start_token: expected an integer <= 4, got 5"),
        (K, 10**12, "start_token"),
    ],
)
def test_tokens_that_the_table_does_not_have(rows: int, start: int, message: str) -> None:
    model = EncoderDecoder(GRU(4), [Embedding(rows, 3), GRU(4, **ALL)], Dense(K), start_token=start)
    with pytest.raises(ValueError, match=message):
        model.build(I)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"all_beams": True}, ValueError, "all_beams: expected method='beam', got 'greedy'"),
        ({"width": 0}, ValueError, "width"),
        ({"method": "sample", "top_k": 0}, ValueError, "top_k"),
        ({"temperature": 0.0}, ValueError, "temperature"),
        ({"method": "sample", "seed": "a"}, TypeError, "seed"),
        ({"method": "sample", "seed": -1}, ValueError, "seed"),
        ({"feedback": 3}, TypeError, "feedback"),
        ({"steps": 0}, ValueError, "steps"),
        ({"steps": 10**30}, ValueError, "steps"),
    ],
)
def test_arguments(how: dict[str, Any], error: type[Exception], message: str, rng: np.random.Generator) -> None:
    model, _ = uneven(rng)
    with pytest.raises(error, match=message):
        model.generate(np.zeros((3, 1, I)), **{"steps": 4} | how)


def test_no_sources_and_more_tokens_asked_for_than_there_are(rng: np.random.Generator) -> None:
    model, _ = uneven(rng)
    nothing = model.generate(np.empty((0, 1, I)), 4, method="beam", width=3, all_beams=True)
    assert isinstance(nothing, Generated) and [a.shape for a in nothing] == [(0, 3, 4), (0, 3), (0, 3)]
    x = np.zeros((2, 1, I))
    a, b = (model.generate(x, 5, method="sample", seed=1, top_k=k) for k in (None, 10**13))
    assert isinstance(a, Generated) and isinstance(b, Generated)
    np.testing.assert_array_equal(a.tokens, b.tokens)


def test_a_cancelled_loop_ends(rng: np.random.Generator) -> None:
    model, _ = uneven(rng)
    cancelled = Event()
    cancelled.set()
    states = [(np.zeros((2, 2)),)]
    for write in (
        lambda writer: writer.tokens(np.zeros(2, int), 10**6, -1, 0.0, 0, 0, 0),
        lambda writer: writer.logits(np.zeros(2, int), 10**6),
    ):
        with pytest.raises(KeyboardInterrupt):
            write(decoder_writer(model, states, cancelled=cancelled))


def test_scheduled_sampling_writes_no_padding() -> None:
    model = EncoderDecoder(
        GRU(4), [Embedding(K, 3, mask_zero=True), GRU(4, **ALL)], Dense(K), start_token=1, teacher_forcing=0.0, seed=0
    )
    model.build(I)
    model.params["head/0/b"] = np.array([50.0, 0.0, -1.0, 1.0, 0.0], np.float32)
    pairs = model._pairs(Inputs(np.ones((3, 2, I))), np.full((3, 4), 2))
    mixed = model._mixed(pairs, model._encode(pairs), 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed[:, 1:], model.generate(np.ones((3, 2, I)), 3).tokens)  # type: ignore[union-attr]


def test_zero_is_never_written_where_it_is_padding(rng: np.random.Generator) -> None:
    """A decoder whose Embedding has mask_zero=True reads tokens from 1 on."""
    decoder = [Embedding(K, 3, mask_zero=True), GRU(4, **ALL)]
    model = EncoderDecoder(GRU(4), decoder, Dense(K), start_token=1, stop_token=STOP, seed=0)
    model.build(I)
    model.params["head/0/b"] = np.array([50.0, 0.0, -1.0, 1.0, 0.0], np.float32)
    for how in ({}, {"method": "sample", "seed": 0}, {"method": "beam"}):
        written = model.generate(np.ones((3, 2, I)), 5, **how)
        assert isinstance(written, Generated) and (written.tokens > 0).all()
    with pytest.raises(ValueError, match="start_token: expected a token from 1 on"):
        EncoderDecoder(GRU(4), [Embedding(K, 3, mask_zero=True), GRU(4, **ALL)], Dense(K), start_token=0).build(I)


def test_there_is_a_token_to_write(rng: np.random.Generator) -> None:
    """With mask_zero a single output is padding alone."""
    decoder = [Embedding(4, 3, mask_zero=True), GRU(3, **ALL)]
    model = EncoderDecoder(GRU(3), decoder, Dense(1), start_token=1, seed=0)
    model.build(I)
    for how in ({}, {"method": "sample"}, {"method": "beam"}):
        with pytest.raises(ValueError, match=r"head: expected 2 to 4 outputs, .* Embedding reads, got 1"):
            model.generate(np.ones((2, 1, I)), 3, **how)
