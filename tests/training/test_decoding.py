"""Decoding on models that are written down: a table of probabilities for every prefix, all sequences by brute force."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from fastrnn.training.decoding import Generated, beam_search, closed_loop, greedy, sample

from ..helpers import assert_close

CLASSES, STEPS, BATCH, STOP = 4, 4, 3, 0


@dataclass(frozen=True)
class Prefix:
    """The state of a model that remembers all it was fed: one number for each row."""

    codes: np.ndarray

    def take(self, rows: np.ndarray) -> Prefix:
        return Prefix(self.codes[rows])


class Table:
    """Logits for every prefix, each row of the batch with a table of its own."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.logits = rng.normal(scale=1.5, size=(BATCH * (CLASSES + 1) ** (STEPS + 1), CLASSES))

    def start(self) -> Prefix:
        return Prefix(np.arange(BATCH))

    def step(self, tokens: np.ndarray, state: Prefix) -> tuple[np.ndarray, Prefix]:
        codes = (state.codes * (CLASSES + 1) + tokens + 1) % len(self.logits)
        return self.logits[codes], Prefix(codes)

    def log_probability(self, row: int, tokens: tuple[int, ...]) -> float:
        """Of one sequence, from step to step."""
        state, last, total = Prefix(np.array([row])), STOP, 0.0
        for token in tokens:
            logits, state = self.step(np.array([last]), state)
            total += logits[0, token] - np.log(np.exp(logits[0]).sum())
            last = token
        return total


def all_sequences(stop: int | None) -> Iterator[tuple[int, ...]]:
    """Everything that can be written in STEPS steps; a sequence ends with the stop token."""
    for length in range(1, STEPS + 1):
        for tokens in itertools.product(range(CLASSES), repeat=length):
            ended = tokens[-1] == stop
            if stop not in tokens[:-1] and (ended or length == STEPS):
                yield tokens


def as_tuple(made: Generated, *index: int, stop: int | None) -> tuple[int, ...]:
    """A generated sequence, with the stop token where it ended."""
    length = int(made.lengths[index])
    return tuple(made.tokens[index][: length + (stop is not None)].tolist())


@pytest.fixture
def table(rng: np.random.Generator) -> Table:
    return Table(rng)


FIRST = np.full(BATCH, STOP)


@pytest.mark.parametrize("stop", [STOP, None])
@pytest.mark.parametrize("alpha", [0.0, 0.7, 2.0])
def test_a_wide_beam_finds_what_brute_force_finds(table: Table, stop: int | None, alpha: float) -> None:
    """Wider than there are sequences, so all of them come back, best first."""
    sequences = list(all_sequences(stop))
    width = len(sequences) + 2
    made = beam_search(table.step, table.start(), FIRST, STEPS, stop, width=width, length_penalty=alpha)
    assert made.tokens.shape == (BATCH, width, STEPS)
    for row in range(BATCH):
        scored = {tokens: table.log_probability(row, tokens) / len(tokens) ** alpha for tokens in sequences}
        expected = sorted(scored, key=lambda tokens: -scored[tokens])
        assert [as_tuple(made, row, i, stop=stop) for i in range(len(expected))] == expected
        assert_close(made.scores[row, : len(expected)], np.array([scored[t] for t in expected]), "float64")
        assert np.isneginf(made.scores[row, len(expected) :]).all()


@pytest.mark.parametrize("stop", [STOP, None])
def test_a_beam_of_one_is_greedy(table: Table, stop: int | None) -> None:
    beam = beam_search(table.step, table.start(), FIRST, STEPS, stop, width=1)
    made = greedy(table.step, table.start(), FIRST, STEPS, stop)
    for one, other in zip(beam, made, strict=True):
        np.testing.assert_array_equal(one[:, 0], other)


@pytest.mark.parametrize("stop", [STOP, None])
def test_greedy_takes_the_most_probable_token_at_each_step(table: Table, stop: int | None) -> None:
    made = greedy(table.step, table.start(), FIRST, STEPS, stop)
    for row in range(BATCH):
        tokens = as_tuple(made, row, stop=stop)[:STEPS]
        prefixes = [tokens[: i + 1] for i in range(len(tokens))]
        for prefix in prefixes:
            others = [table.log_probability(row, (*prefix[:-1], k)) for k in range(CLASSES)]
            assert others[prefix[-1]] == max(others)
        assert made.scores[row] == pytest.approx(table.log_probability(row, tokens), rel=1e-12)
        assert stop is None or (made.tokens[row, made.lengths[row] :] == stop).all()


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_a_narrow_beam_is_what_the_rule_says(table: Table, width: int) -> None:
    """The rule of the docstring, written out for one row with lists."""
    made = beam_search(table.step, table.start(), FIRST, STEPS, STOP, width=width)
    for row in range(BATCH):
        open_ones: list[tuple[int, ...]] = [()]
        ended: list[tuple[int, ...]] = []
        for _ in range(STEPS):
            grown = [(*tokens, k) for tokens in open_ones for k in range(CLASSES)]
            grown.sort(key=lambda tokens: -table.log_probability(row, tokens))
            ended += [tokens for tokens in grown[:width] if tokens[-1] == STOP]
            open_ones = [tokens for tokens in grown if tokens[-1] != STOP][:width]
            least = sorted((table.log_probability(row, tokens) for tokens in ended), reverse=True)[width - 1 : width]
            if least and table.log_probability(row, open_ones[0]) <= least[0]:
                open_ones = []
                break
        found = sorted(ended + open_ones, key=lambda tokens: -table.log_probability(row, tokens))[:width]
        assert [as_tuple(made, row, i, stop=STOP)[: len(t)] for i, t in enumerate(found)] == found


def test_no_step_is_made_for_what_cannot_become_better() -> None:
    """Where the stop token is nearly sure, all ways of decoding end long before the last step."""
    calls = []

    def step(tokens: np.ndarray, state: Prefix) -> tuple[np.ndarray, Prefix]:
        calls.append(len(tokens))
        return np.tile([20.0, 1.0, 0.0, 0.0], (len(tokens), 1)), state

    for decode, most in ((beam_search, 4), (greedy, 1), (sample, 3)):
        calls.clear()
        made = decode(step, Prefix(np.arange(BATCH)), FIRST, 50, STOP)  # type: ignore[operator]
        assert not made.lengths.reshape(BATCH, -1)[:, 0].any() and len(calls) <= most


def test_sampling_by_probabilities(rng: np.random.Generator) -> None:
    """Frequencies of 40,000 draws against the softmax, with and without temperature and top_k."""
    logits = np.array([1.0, 0.0, -1.0, 0.5])
    rows = 40_000

    def step(tokens: np.ndarray, state: None) -> tuple[np.ndarray, None]:
        return np.tile(logits, (len(tokens), 1)), state

    for temperature, top_k in ((1.0, None), (0.5, None), (2.0, 2), (1.0, 9)):
        made = sample(
            step, None, np.zeros(rows, int), 1, temperature=temperature, top_k=top_k, seed=int(rng.integers(99))
        )
        weights = np.exp(logits / temperature)
        if top_k == 2:
            weights[[1, 2]] = 0
        p = weights / weights.sum()
        frequencies = np.bincount(made.tokens[:, 0], minlength=CLASSES) / rows
        assert (np.abs(frequencies - p) <= 5 * np.sqrt(p * (1 - p) / rows)).all()
        own = np.log(np.exp(logits) / np.exp(logits).sum())
        np.testing.assert_allclose(made.scores, own[made.tokens[:, 0]], rtol=1e-12)


def test_sampling_repeats_itself_with_a_seed(table: Table) -> None:
    draws = [sample(table.step, table.start(), FIRST, STEPS, STOP, seed=seed) for seed in (1, 1, *range(2, 12))]
    np.testing.assert_array_equal(draws[0].tokens, draws[1].tokens)
    assert any((draws[0].tokens != other.tokens).any() for other in draws[2:])
    coldest = sample(table.step, table.start(), FIRST, STEPS, STOP, temperature=1e-6, seed=0)
    np.testing.assert_array_equal(coldest.tokens, greedy(table.step, table.start(), FIRST, STEPS, STOP).tokens)
    one = sample(table.step, table.start(), FIRST, STEPS, STOP, top_k=1, seed=0)
    np.testing.assert_array_equal(one.tokens, coldest.tokens)


def test_values_are_fed_back() -> None:
    def step(x: np.ndarray, state: int) -> tuple[np.ndarray, int]:
        return x + state, state + 1

    first = np.array([[0.0], [10.0]])
    assert closed_loop(step, 1, first, 4)[..., 0].tolist() == [[1, 3, 6, 10], [11, 13, 16, 20]]
    assert closed_loop(step, 1, first, 3, lambda y: -y)[..., 0].tolist() == [[1, 1, 2], [11, -9, 12]]
    with pytest.raises(ValueError, match=r"feedback: expected shape of the input of a step = \(2, 1\), got \(2,\)"):
        closed_loop(step, 1, first, 3, lambda y: y[:, 0])


def test_bad_options(table: Table) -> None:
    arguments = (table.step, table.start(), FIRST, STEPS)
    with pytest.raises(ValueError, match="width: expected an integer >= 1, got 0"):
        beam_search(*arguments, width=0)
    with pytest.raises(ValueError, match="length_penalty: expected a number >= 0, got -1"):
        beam_search(*arguments, length_penalty=-1)
    with pytest.raises(ValueError, match="temperature: expected a number > 0, got 0"):
        sample(*arguments, temperature=0.0)
    with pytest.raises(ValueError, match="top_k: expected an integer >= 1, got 0"):
        sample(*arguments, top_k=0)
