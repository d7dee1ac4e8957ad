"""Learning rates that change with the step, with Keras' names and formulas.  A step is one update of the weights."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from fastrnn import _check
from fastrnn.layers.config import Configurable

__all__ = [
    "ConstantRate",
    "CosineDecay",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LinearWarmup",
    "PiecewiseConstantDecay",
    "Schedule",
    "get_schedule",
]


class Schedule(Configurable):
    """Base class: a learning rate for each step, counted from 0.

    Examples
    --------
    >>> from fastrnn.training import Adam, schedules
    >>> schedule = schedules.ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)
    >>> schedule(0), schedule(10)
    (0.1, 0.05)
    >>> optimizer = Adam(schedule)
    """

    def __call__(self, step: int) -> float:
        """The learning rate of a step."""
        raise NotImplementedError


class ConstantRate(Schedule):
    """The same learning rate at every step."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = _check.number("learning_rate", learning_rate, 0.0)

    def __call__(self, step: int) -> float:
        return self.learning_rate


class ExponentialDecay(Schedule):
    """initial_learning_rate · decay_rate^(step / decay_steps).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
    staircase : bool
        Round the exponent down.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate = _check.number("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = _check.integer("decay_steps", decay_steps, 1)
        self.decay_rate = _check.number("decay_rate", decay_rate, 0.0)
        self.staircase = _check.boolean("staircase", staircase)

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * self.decay_rate ** _progress(step, self.decay_steps, self.staircase)


class InverseTimeDecay(Schedule):
    """initial_learning_rate / (1 + decay_rate · step / decay_steps).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
    staircase : bool
        Round step / decay_steps down.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate = _check.number("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = _check.integer("decay_steps", decay_steps, 1)
        self.decay_rate = _check.number("decay_rate", decay_rate, 0.0)
        self.staircase = _check.boolean("staircase", staircase)

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1.0 + self.decay_rate * _progress(step, self.decay_steps, self.staircase))


class CosineDecay(Schedule):
    """Half a cosine from initial_learning_rate down to alpha · initial_learning_rate (Loshchilov and Hutter, 2016).

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
        Length of the decay; afterwards the rate stays.
    alpha : float
        The last rate as a fraction of the first, in [0, 1].
    """

    def __init__(self, initial_learning_rate: float, decay_steps: int, alpha: float = 0.0) -> None:
        self.initial_learning_rate = _check.number("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = _check.integer("decay_steps", decay_steps, 1)
        self.alpha = _check.number("alpha", alpha, 0.0, 1.0)

    def __call__(self, step: int) -> float:
        fraction = min(step, self.decay_steps) / self.decay_steps
        cosine = 0.5 * (1.0 + math.cos(math.pi * fraction))
        return self.initial_learning_rate * ((1.0 - self.alpha) * cosine + self.alpha)


class PiecewiseConstantDecay(Schedule):
    """values[0] up to and with the step boundaries[0], then values[1] up to boundaries[1], and so on.

    Parameters
    ----------
    boundaries : sequence of int
        Steps in rising order.
    values : sequence of float
        One more than boundaries.
    """

    def __init__(self, boundaries: Sequence[int], values: Sequence[float]) -> None:
        self.boundaries = [_check.integer("boundaries", step, 0) for step in boundaries]
        self.values = [_check.number("values", value, 0.0) for value in values]
        if self.boundaries != sorted(set(self.boundaries)):
            raise ValueError(f"boundaries: expected steps in rising order, got {self.boundaries}")
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(f"values: expected {len(self.boundaries) + 1}, 1 more than boundaries, got {len(values)}")

    def __call__(self, step: int) -> float:
        return self.values[bisect_left(self.boundaries, step)]


class LinearWarmup(Schedule):
    """A straight line from `start` to the first rate of another schedule, then that schedule from its beginning.

    Parameters
    ----------
    learning_rate : float or Schedule
        What follows the warm-up.
    warmup_steps : int
    start : float
    """

    def __init__(self, learning_rate: float | Schedule, warmup_steps: int, start: float = 0.0) -> None:
        get_schedule(learning_rate)
        self.learning_rate = learning_rate
        self.warmup_steps = _check.integer("warmup_steps", warmup_steps, 1)
        self.start = _check.number("start", start, 0.0)

    def __call__(self, step: int) -> float:
        after = get_schedule(self.learning_rate)
        if step >= self.warmup_steps:
            return after(step - self.warmup_steps)
        return self.start + (after(0) - self.start) * step / self.warmup_steps


def get_schedule(value: float | Schedule) -> Schedule:
    """A schedule, given itself or as one learning rate for all steps.

    Examples
    --------
    >>> from fastrnn.training.schedules import get_schedule
    >>> get_schedule(0.01)(1000)
    0.01
    """
    return value if isinstance(value, Schedule) else ConstantRate(value)


def _progress(step: int, decay_steps: int, staircase: bool) -> float:
    """How many decay periods have passed."""
    return step // decay_steps if staircase else step / decay_steps
