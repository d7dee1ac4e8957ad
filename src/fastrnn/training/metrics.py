"""Metrics: figures to watch that nobody differentiates.

A metric gives a total and a count for each batch, so that the figure of an epoch is that of all its entries, whatever
the batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn.layers.config import Configurable, resolve
from fastrnn.training.losses import LOSSES, BinaryCrossentropy, Loss, MeanSquaredError, get_loss

__all__ = ["Accuracy", "FunctionMetric", "LastStepMSE", "LossMetric", "Metric", "RootMeanSquaredError", "get_metric"]


class Metric(Configurable):
    """Base class: a subclass writes `total` and `name`.

    Examples
    --------
    >>> from fastrnn.training import RootMeanSquaredError
    >>> RootMeanSquaredError()([[0.0], [0.0]], [[3.0], [3.0]])
    3.0
    """

    name: str

    def total(self, y_true: np.ndarray, y_pred: np.ndarray, mask: np.ndarray | None) -> tuple[float, int]:
        """Sum over the entries that the mask (B,) or (B, T) selects, and their number."""
        raise NotImplementedError

    def finish(self, mean: float) -> float:
        """The metric from the mean over all entries."""
        return mean

    def __call__(self, y_true: Any, y_pred: Any, mask: np.ndarray | None = None) -> float:
        """The metric of one set of predictions.

        Parameters
        ----------
        y_true, y_pred : array_like
            As for the losses.
        mask : ndarray of bool (B,) or (B, T), optional
            Entries that count.
        """
        total, count = self.total(np.asarray(y_true), np.asarray(y_pred), mask)
        return self.finish(total / count) if count else math.nan


class LossMetric(Metric):
    """A loss as a metric.

    Parameters
    ----------
    loss : str or Loss
    name : str, optional
    """

    def __init__(self, loss: str | Loss, name: str | None = None) -> None:
        self.loss = get_loss(loss)
        self.name = name or (loss if isinstance(loss, str) else type(loss).__name__)

    def total(self, y_true: np.ndarray, y_pred: np.ndarray, mask: np.ndarray | None) -> tuple[float, int]:
        entries = math.prod(y_pred.shape[:-1])
        count = entries if mask is None else int(np.count_nonzero(np.broadcast_to(mask, y_pred.shape[:-1])))
        return self.loss(y_true, y_pred, mask) * count, count


class RootMeanSquaredError(LossMetric):
    """Square root of the mean squared error over all entries."""

    def __init__(self) -> None:
        super().__init__("mse", "rmse")

    def finish(self, mean: float) -> float:
        return math.sqrt(mean) if mean >= 0 else math.nan


class LastStepMSE(Metric):
    """Mean squared error at the last true step of each sequence, whatever steps the loss sees."""

    name = "last_step_mse"

    def total(self, y_true: np.ndarray, y_pred: np.ndarray, mask: np.ndarray | None) -> tuple[float, int]:
        if y_pred.ndim < 3:
            raise ValueError(f"y_pred: last_step_mse expects (B, T, K), got shape {y_pred.shape}")
        y_true = y_true[..., None] if y_true.ndim == 2 else y_true
        rows = np.arange(len(y_pred))
        last = np.full(len(y_pred), y_pred.shape[1] - 1)
        if mask is not None:
            mask = np.broadcast_to(mask, y_pred.shape[:2])
            rows = rows[mask.any(axis=1)]
            last = y_pred.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
        if not len(rows):
            return 0.0, 0
        return MeanSquaredError()(y_true[rows, last], y_pred[rows, last]) * len(rows), len(rows)


class Accuracy(Metric):
    """Fraction of entries whose class is right.

    With one output the class is ``y_pred > threshold``, with more it is the largest; y_true holds class numbers, or
    with more outputs one number for each class.

    Parameters
    ----------
    threshold : float
        0.5 suits probabilities, 0 logits.  Asked for as ``"accuracy"``, the metric takes the one that suits the loss.
    """

    name = "accuracy"

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = _check.number("threshold", threshold)

    def total(self, y_true: np.ndarray, y_pred: np.ndarray, mask: np.ndarray | None) -> tuple[float, int]:
        binary = y_pred.shape[-1] == 1
        predicted = y_pred[..., 0] > self.threshold if binary else y_pred.argmax(axis=-1)
        if y_true.ndim == y_pred.ndim:
            y_true = y_true[..., 0] if y_true.shape[-1] == 1 else y_true.argmax(axis=-1)
        _check.require_shape("y_true", y_true, predicted.shape, "of the entries of y_pred")
        right = predicted == y_true
        right = right if mask is None else right[np.broadcast_to(mask, right.shape)]
        return float(np.count_nonzero(right)), right.size


class FunctionMetric(Metric):
    """A function ``f(y_true, y_pred)`` as a metric; the batches' figures are averaged by their number of entries.

    Under a mask the function sees the selected entries alone, (n, K).

    Parameters
    ----------
    function : callable
    """

    def __init__(self, function: Callable[[np.ndarray, np.ndarray], float]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def total(self, y_true: np.ndarray, y_pred: np.ndarray, mask: np.ndarray | None) -> tuple[float, int]:
        if mask is not None:
            mask = np.broadcast_to(mask, y_pred.shape[:-1])
            y_true, y_pred = y_true[mask], y_pred[mask]
        count = math.prod(y_pred.shape[:-1])
        return (float(self.function(y_true, y_pred)) * count if count else 0.0), count


_METRICS: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "last_step_mse": LastStepMSE,
    "rmse": RootMeanSquaredError,
}


def get_metric(value: Any, loss: Loss) -> Metric:
    """A metric, given itself, by name (a loss's name too) or as a function of y_true and y_pred."""
    if isinstance(value, Loss) or (isinstance(value, str) and value in LOSSES):
        return LossMetric(value)
    if value == "accuracy" and isinstance(loss, BinaryCrossentropy) and loss.from_logits:
        return Accuracy(threshold=0.0)
    if callable(value) and not isinstance(value, Metric):
        return FunctionMetric(value)
    return resolve("metrics", value, Metric, _METRICS | dict.fromkeys(LOSSES, LossMetric))
