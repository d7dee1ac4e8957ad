"""Prediction intervals: pairs of quantiles, how they are calibrated, and how much they cover.

An interval lies between the quantiles q and 1 - q; its nominal coverage is 1 - 2q.  Split conformal calibration
(Romano, Patterson and Candès, 2019) asks, on data that did not train the network, by how much the truth was outside,

    score = max(lower - y, y - upper),

and moves both ends out by the score that ceil((n + 1)(1 - 2q)) of the n data stay below: if the future were like those
data, 1 - 2q of it would be covered, whatever the network had said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

__all__ = ["conformal_margins", "interval_pairs", "interval_quantiles", "widened"]

Pair = tuple[float, float]


def interval_quantiles(coverage: float) -> tuple[float, float, float]:
    """Lower end, median and upper end of the interval with a nominal coverage.

    Examples
    --------
    >>> interval_quantiles(0.9)
    (0.05, 0.5, 0.95)
    """
    tail = round((1.0 - coverage) / 2.0, 12)
    return (tail, 0.5, round(1.0 - tail, 12))


def interval_pairs(quantiles: tuple[float, ...]) -> list[Pair]:
    """The pairs (q, 1 - q) with q below 0.5, the widest first.

    Examples
    --------
    >>> interval_pairs((0.05, 0.25, 0.5, 0.75, 0.9))
    [(0.25, 0.75)]
    """
    return [(q, p) for q in quantiles for p in quantiles if q < 0.5 and math.isclose(q + p, 1.0)]


def conformal_margins(said: np.ndarray, truth: np.ndarray, quantiles: tuple[float, ...]) -> dict[Pair, np.ndarray]:
    """By how much each interval has to be widened at each step ahead; negative where it is too wide.

    Parameters
    ----------
    said : (n, horizon, Q) array
    truth : (n, horizon) array
    quantiles : tuple of float
        In rising order, as in the last axis of `said`.

    Returns
    -------
    dict of (q, 1 - q) to (horizon,) array
    """
    margins = {}
    for pair in interval_pairs(quantiles):
        lower, upper = (said[..., quantiles.index(level)] for level in pair)
        scores = np.sort(np.maximum(lower - truth, truth - upper), axis=0)
        # too few data for the nominal coverage: the largest score is the best there is
        rank = min(math.ceil((len(scores) + 1) * (pair[1] - pair[0]) - 1e-9), len(scores))
        margins[pair] = scores[rank - 1]
    return margins


def widened(said: np.ndarray, quantiles: tuple[float, ...], margins: Mapping[Pair, np.ndarray]) -> np.ndarray:
    """Quantiles (n, horizon, Q) with both ends of every interval moved out, in rising order again."""
    said = said.copy()
    middle = said[..., quantiles.index(0.5)].copy()
    for (low, high), margin in margins.items():
        lower, upper = quantiles.index(low), quantiles.index(high)
        # an end does not pass the median, however much the interval narrows
        said[..., lower] = np.minimum(said[..., lower] - margin, middle)
        said[..., upper] = np.maximum(said[..., upper] + margin, middle)
    return np.sort(said, axis=-1)
