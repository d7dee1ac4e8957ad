"""Closed loops: a model that goes on from its own output, one step at a time, for a batch of rows at once.

All of them work on a `Step`: a function from what goes in (tokens (B,) or values (B, K)) and a state to what comes out
(logits or values (B, K)) and the next state.  What a state holds is the step's affair; rows of it can be taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from fastrnn import _check
from fastrnn.training.losses import log_softmax

__all__ = ["Generated", "State", "Step", "beam_search", "closed_loop", "greedy", "sample"]


class State(Protocol):
    """What a step hands to the next."""

    def take(self, rows: np.ndarray) -> Self:
        """The state of some of the rows, each as often as it is named."""


Step = Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]


class Generated(NamedTuple):
    """Sequences of tokens; with all beams kept, each array has an axis for them behind the first, best first.

    `tokens` (B, steps) hold the stop token from where a sequence ends, `lengths` (B,) count the tokens before it,
    `scores` (B,) are the logarithms of the sequences' probabilities (stop token included), in a beam search divided by
    its length penalty.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray


def closed_loop(
    step: Step,
    state: Any,
    first: np.ndarray,
    steps: int,
    feedback: Callable[[np.ndarray], Any] | None = None,
) -> np.ndarray:
    """Values that are fed back.

    Parameters
    ----------
    step : Step
    state : State
        As before the first step.
    first : ndarray (B, K)
        What goes into the first step.
    steps : int
    feedback : callable, optional
        Makes the input of the next step (B, K) from an output (B, K); the output itself by default.

    Returns
    -------
    ndarray (B, steps, K)
        The outputs of all steps.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.training.decoding import closed_loop
    >>> closed_loop(lambda x, state: (2 * x, state), None, np.ones((1, 1)), 4)[0, :, 0].tolist()
    [2.0, 4.0, 8.0, 16.0]
    """
    outputs, value = [], first
    for _ in range(steps):
        output, state = step(value, state)
        outputs.append(output)
        value = output
        if feedback is not None:
            value = _check.as_float_array("feedback", feedback(output), output.dtype)
            _check.require_shape("feedback", value, first.shape, "of the input of a step")
    return np.stack(outputs, axis=1)


def greedy(step: Step, state: Any, first: np.ndarray, steps: int, stop: int | None = None) -> Generated:
    """The most probable token at every step.

    Parameters
    ----------
    step : Step
    state : State
    first : ndarray of int (B,)
        Tokens that go into the first step.
    steps : int
        The most tokens to make.
    stop : int, optional
        The token that ends a sequence.

    Returns
    -------
    Generated

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.training.decoding import greedy
    >>> def count_up(tokens, state):  # 0, 1, 2, 3, 3, ...
    ...     return np.eye(4)[np.minimum(tokens + 1, 3)], state
    >>> made = greedy(count_up, None, np.array([0, 2]), steps=5, stop=3)
    >>> made.tokens.tolist(), made.lengths.tolist()
    ([[1, 2, 3, 3, 3], [3, 3, 3, 3, 3]], [2, 0])
    """
    return _one_by_one(step, state, first, steps, stop, lambda log_p: log_p.argmax(axis=-1))


def sample(
    step: Step,
    state: Any,
    first: np.ndarray,
    steps: int,
    stop: int | None = None,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: Any = None,
) -> Generated:
    """Tokens drawn by their probabilities.

    Parameters
    ----------
    step, state, first, steps, stop
        As for `greedy`.
    temperature : float
        Logits are divided by it: below 1 the probable tokens become more so.
    top_k : int, optional
        Draw among the so many most probable tokens only.
    seed : int or numpy.random.Generator, optional
        With the same one the same tokens are drawn.

    Returns
    -------
    Generated
        The scores are by the model's own probabilities, whatever temperature and top_k.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.training.decoding import sample
    >>> def coin(tokens, state):
    ...     return np.zeros((len(tokens), 2)), state
    >>> sample(coin, None, np.array([0]), steps=1000, seed=0).tokens.mean().round(1)
    np.float64(0.5)
    """
    temperature = _check.number("temperature", temperature, 0.0, open_minimum=True)
    top_k = None if top_k is None else _check.integer("top_k", top_k, 1)
    rng = np.random.default_rng(seed)

    def draw(log_p: np.ndarray) -> np.ndarray:
        if top_k is not None and top_k < log_p.shape[-1]:
            least = np.partition(log_p, -top_k, axis=-1)[:, -top_k, None]
            log_p = np.where(log_p >= least, log_p, -np.inf)
        # the largest of log p plus Gumbel noise is a draw by p (Gumbel, 1954)
        return (log_p / temperature + rng.gumbel(size=log_p.shape)).argmax(axis=-1)

    return _one_by_one(step, state, first, steps, stop, draw)


def _one_by_one(
    step: Step,
    state: Any,
    first: np.ndarray,
    steps: int,
    stop: int | None,
    choose: Callable[[np.ndarray], np.ndarray],
) -> Generated:
    """One sequence for each row, each token chosen from the logarithms of the probabilities (B, K)."""
    batch = len(first)
    rows = np.arange(batch)
    tokens = np.full((batch, steps), 0 if stop is None else stop, dtype=np.intp)
    lengths, scores = np.zeros(batch, dtype=np.intp), np.zeros(batch)
    running, last = np.ones(batch, dtype=bool), first
    for t in range(steps):
        logits, state = step(last, state)
        log_p = log_softmax(logits)
        last = choose(log_p)
        scores[running] += log_p[rows, last][running]
        if stop is not None:
            last = np.where(running, last, stop)
            running &= last != stop
        tokens[:, t] = last
        lengths += running
        if not running.any():
            break
    return Generated(tokens, lengths, scores)


class _Beams(NamedTuple):
    """Hypotheses: tokens (B, W, steps), lengths (B, W) before the stop token, scores (B, W), -inf for none."""

    tokens: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray

    def best(self, width: int) -> _Beams:
        """The best ones of each row, best first."""
        order = np.argsort(-self.scores, axis=1, kind="stable")[:, :width]
        return _Beams(
            np.take_along_axis(self.tokens, order[..., None], axis=1),
            np.take_along_axis(self.lengths, order, axis=1),
            np.take_along_axis(self.scores, order, axis=1),
        )

    def joined(self, other: _Beams) -> _Beams:
        """The hypotheses of both."""
        return _Beams(*(np.concatenate(pair, axis=1) for pair in zip(self, other, strict=True)))


def beam_search(
    step: Step,
    state: State,
    first: np.ndarray,
    steps: int,
    stop: int | None = None,
    *,
    width: int = 4,
    length_penalty: float = 0.0,
) -> Generated:
    """The most probable sequences that a search of limited width finds.

    At every step each of the `width` open sequences of a row is continued by every token.  Of all continuations, those
    among the best `width` that end are put aside; the best `width` that do not end stay open.  A row is finished when
    `width` sequences have ended and nothing that is open can become better than they are.

    Parameters
    ----------
    step : Step
    state : State
        Of B rows.
    first : ndarray of int (B,)
    steps : int
        The most tokens to make; what is open then counts as it stands.
    stop : int, optional
    width : int
        1 is `greedy`, as long as there is no length penalty.
    length_penalty : float
        alpha: sequences are compared by log p / n^alpha, n their number of tokens with the stop token.  0 compares
        probabilities, which favours short sequences; 1 compares the mean of log p over the tokens.

    Returns
    -------
    Generated
        All arrays with an axis of `width`, best first: tokens (B, width, steps), lengths and scores (B, width).  A
        score is -inf where there were not so many sequences.

    Examples
    --------
    A first token of probability 0.4 that leads to a sure second one beats one of 0.6 with three equal seconds.

    >>> import numpy as np
    >>> from fastrnn.training.decoding import beam_search, greedy
    >>> p = np.array([[0.0, 0.6, 0.4], [1 / 3, 1 / 3, 1 / 3], [0.0, 0.0, 1.0]]) + 1e-9
    >>> class Nothing:
    ...     def take(self, rows):
    ...         return self
    >>> def step(tokens, state):
    ...     return np.log(p)[tokens], state
    >>> made = beam_search(step, Nothing(), np.array([0]), steps=2, width=2)
    >>> made.tokens[0, 0].tolist(), float(np.exp(made.scores[0, 0]).round(3))
    ([2, 2], 0.4)
    >>> greedy(step, None, np.array([0]), steps=2).tokens[0].tolist()
    [1, 0]
    """
    width = _check.integer("width", width, 1)
    alpha = _check.number("length_penalty", length_penalty, 0.0)
    batch = len(first)
    rows = np.arange(batch)[:, None]
    tokens = np.full((batch, width, steps), 0 if stop is None else stop, dtype=np.intp)
    totals = np.full((batch, width), -np.inf)  # log p of the open sequences
    totals[:, 0] = 0.0
    ended = _Beams(tokens, np.zeros((batch, width), np.intp), np.full((batch, width), -np.inf))
    state, last = state.take(np.repeat(np.arange(batch), width)), np.repeat(first, width)
    for t in range(steps):
        logits, state = step(last, state)
        log_p = log_softmax(logits)
        classes = log_p.shape[-1]
        continued = totals[..., None] + log_p.reshape(batch, width, classes)  # continued (B, W, K)
        places, scores = _highest(continued.reshape(batch, width * classes), 2 * width)
        origin, token = np.divmod(places, classes)
        grown = tokens[rows, origin]
        grown[:, :, t] = token
        if stop is not None:
            ends = token == stop
            among_best = ends & (np.arange(ends.shape[1]) < width)
            put_aside = np.where(among_best, scores, -np.inf) / (t + 1) ** alpha
            ended = ended.joined(_Beams(grown, np.full(ends.shape, t), put_aside)).best(width)
            scores = np.where(ends, -np.inf, scores)
        open_ones = np.argsort(-scores, axis=1, kind="stable")[:, :width]
        tokens, totals = grown[rows, open_ones], scores[rows, open_ones]
        hopeless = totals[:, 0] / steps**alpha <= ended.scores[:, -1]  # log p can but fall, and n rise to `steps`
        totals[hopeless] = -np.inf
        if not np.isfinite(totals).any():
            break
        state = state.take((origin[rows, open_ones] + rows * width).reshape(-1))
        last = token[rows, open_ones].reshape(-1)
    unfinished = _Beams(tokens, np.full((batch, width), steps), totals / steps**alpha)
    return Generated(*ended.joined(unfinished).best(width))


def _highest(a: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and values of the `count` largest of each row (or all, if there are fewer), largest first."""
    count = min(count, a.shape[1])
    places = np.sort(np.argpartition(-a, count - 1, axis=1)[:, :count], axis=1)
    values = np.take_along_axis(a, places, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")  # of equal ones the first, as argmax has it
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(values, order, axis=1)
