"""Losses: one number for each entry of the output, their weighted mean, and the gradient by the prediction.

An entry is a row (B,) or, for sequences, a step of a row (B, T); a loss is averaged over the last axis first.  The
cost is

    L = sum(weight · entry) / number of entries

A boolean `sample_weight` selects entries: the cost is the mean over the selected ones, and what the target holds
elsewhere (NaN, -1) does not matter.  Numbers weigh the entries, as in Keras.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastrnn import _check, functional
from fastrnn.layers.config import Configurable, resolve

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Pinball",
    "SparseCategoricalCrossentropy",
    "get_loss",
]


class Loss(Configurable):
    """Base class: a subclass writes `entries` and `entry_gradients` (and `targets`, if not shaped like y_pred).

    Examples
    --------
    >>> from fastrnn.training import MeanSquaredError
    >>> loss = MeanSquaredError()
    >>> loss([[0.0], [2.0]], [[1.0], [2.0]])
    0.5
    >>> value, dy_pred = loss.value_and_gradient([[0.0], [2.0]], [[1.0], [2.0]])
    >>> dy_pred.tolist()
    [[1.0], [0.0]]
    """

    def entries(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The loss of each entry, (B,) or (B, T)."""
        raise NotImplementedError

    def entry_gradients(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The gradient of each entry's loss by its prediction, shaped like y_pred."""
        raise NotImplementedError

    def targets(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The targets as `entries` takes them: dtype and shape of y_pred; a last axis of 1 may be left out."""
        y_true = _check.as_float_array("y_true", y_true, y_pred.dtype)
        if y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
            y_true = y_true[..., None]
        return _check.require_shape("y_true", y_true, y_pred.shape, "of y_pred")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """The cost.

        Parameters
        ----------
        y_true, y_pred : array_like (B, K) or (B, T, K)
        sample_weight : array_like, optional
            Numbers or booleans, broadcastable to (B,) or (B, T); (B,) gives a whole sequence one weight.

        Returns
        -------
        float
        """
        y_true, y_pred, weight = self._prepare(y_true, y_pred, sample_weight)
        return _weighted_mean(self.entries(y_true, y_pred), weight)

    def value_and_gradient(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[float, np.ndarray]:
        """The cost and its gradient by y_pred.

        Parameters
        ----------
        y_true, y_pred, sample_weight
            As for calling the loss.

        Returns
        -------
        value : float
        dy_pred : ndarray
            Shaped like y_pred.
        """
        y_true, y_pred, weight = self._prepare(y_true, y_pred, sample_weight)
        entries = self.entries(y_true, y_pred)
        dy_pred = self.entry_gradients(y_true, y_pred)
        dy_pred /= entries.size
        if weight is not None:
            dy_pred *= weight[..., None]
            dy_pred[weight == 0] = 0  # an infinite or NaN gradient of an entry that does not count
        return _weighted_mean(entries, weight), dy_pred

    def _prepare(
        self, y_true: Any, y_pred: Any, sample_weight: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Targets, predictions and weights that fit each other."""
        y_pred = _check.as_float_array("y_pred", y_pred, _check.float_dtype(y_pred=y_pred))
        if y_pred.ndim < 2 or y_pred.size == 0:
            raise ValueError(f"y_pred: expected a non-empty (B, K) or (B, T, K), got shape {y_pred.shape}")
        weight = entry_weights(sample_weight, y_pred.shape[:-1], y_pred.dtype)
        y_true = np.asarray(y_true)
        if weight is not None and y_true.shape[: weight.ndim] == weight.shape and (weight == 0).any():
            y_true = y_true.copy()
            y_true[weight == 0] = 0
        return self.targets(y_true, y_pred), y_pred, weight


class MeanSquaredError(Loss):
    """Mean of (y_pred - y_true)²."""

    def entries(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.square(y_pred - y_true).mean(axis=-1)

    def entry_gradients(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return (y_pred - y_true) * (2.0 / y_pred.shape[-1])


class MeanAbsoluteError(Loss):
    """Mean of |y_pred - y_true|; the gradient is 0 where they are equal."""

    def entries(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.abs(y_pred - y_true).mean(axis=-1)

    def entry_gradients(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.sign(y_pred - y_true) / y_pred.shape[-1]


class Huber(Loss):
    """Mean of e²/2 for |e| <= delta and delta·|e| - delta²/2 beyond, with e = y_pred - y_true (Huber, 1964).

    Parameters
    ----------
    delta : float
        Above 0.
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = _check.number("delta", delta, 0.0, open_minimum=True)

    def entries(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        size = np.abs(y_pred - y_true)
        near = np.minimum(size, self.delta)
        return (near * (size - 0.5 * near)).mean(axis=-1)  # near is e up to delta, then delta

    def entry_gradients(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.clip(y_pred - y_true, -self.delta, self.delta) / y_pred.shape[-1]


class Pinball(Loss):
    """Mean of max(q·e, (q - 1)·e) with e = y_true - y_pred, over quantiles q (Koenker and Bassett, 1978).

    What makes it least is the quantile q of the target, given the input: q = 0.5 is the median and half of the mean
    absolute error.  The gradient is 0 where they are equal.

    Parameters
    ----------
    quantiles : float or iterable of float
        Q of them, each between 0 and 1 and only once.  The last axis of y_pred holds, for each of the K targets of
        y_true, one value for each quantile: K·Q numbers, the quantiles of a target side by side.

    Examples
    --------
    >>> from fastrnn.training import Pinball
    >>> round(Pinball((0.1, 0.5, 0.9))([[1.0]], [[0.0, 1.0, 3.0]]), 6)  # 0.1·1, 0 and 0.1·2, over three
    0.1
    """

    def __init__(self, quantiles: float | Iterable[float] = 0.5) -> None:
        levels = quantiles if isinstance(quantiles, Iterable) else (quantiles,)
        self.quantiles = tuple(
            _check.number("quantiles", level, 0.0, 1.0, open_minimum=True, open_maximum=True) for level in levels
        )
        if len(set(self.quantiles)) != len(self.quantiles) or not self.quantiles:
            raise ValueError(f"quantiles: expected different numbers, at least one, got {self.quantiles}")

    def targets(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Each target as often as there are quantiles, shaped like y_pred, as which it may be given too."""
        y_true = _check.as_float_array("y_true", y_true, y_pred.dtype)
        width, count = y_pred.shape[-1], len(self.quantiles)
        if width % count:
            raise ValueError(f"y_pred: expected a last axis of K * {count} quantiles, got shape {y_pred.shape}")
        if y_true.shape == y_pred.shape:  # each as often as there are quantiles already
            return y_true
        if y_true.ndim == y_pred.ndim - 1 and width == count:
            y_true = y_true[..., None]
        expected = (*y_pred.shape[:-1], width // count)
        y_true = _check.require_shape("y_true", y_true, expected, "of y_pred, its last axis over the quantiles")
        return np.repeat(y_true, count, axis=-1)

    def _levels(self, y_pred: np.ndarray) -> np.ndarray:
        """The quantile of each place in the last axis."""
        return np.tile(np.array(self.quantiles, y_pred.dtype), y_pred.shape[-1] // len(self.quantiles))

    def entries(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        error, q = y_true - y_pred, self._levels(y_pred)
        return np.maximum(q * error, (q - 1) * error).mean(axis=-1)

    def entry_gradients(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        q = self._levels(y_pred)
        slope = np.where(y_pred > y_true, 1 - q, np.where(y_pred < y_true, -q, np.zeros_like(q)))
        return slope / y_pred.shape[-1]


class BinaryCrossentropy(Loss):
    """Mean of -y·log(p) - (1 - y)·log(1 - p).

    Parameters
    ----------
    from_logits : bool
        True: y_pred holds logits z, p = sigmoid(z), and the loss max(z, 0) - z·y + log(1 + exp(-|z|)) neither
        overflows nor loses digits.  False: y_pred holds p, which is kept off 0 and 1 by 1e-7.
    """

    _EPSILON = 1e-7

    def __init__(self, from_logits: bool = True) -> None:
        self.from_logits = _check.boolean("from_logits", from_logits)

    def entries(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        if self.from_logits:
            losses = np.maximum(y_pred, 0) - y_pred * y_true + np.log1p(np.exp(-np.abs(y_pred)))
        else:
            p = np.clip(y_pred, self._EPSILON, 1 - self._EPSILON)
            losses = -y_true * np.log(p) - (1 - y_true) * np.log1p(-p)
        return losses.mean(axis=-1)

    def entry_gradients(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        if self.from_logits:
            return (functional.sigmoid(y_pred) - y_true) / y_pred.shape[-1]
        p = np.clip(y_pred, self._EPSILON, 1 - self._EPSILON)
        return np.where(p == y_pred, (p - y_true) / (p * (1 - p)), 0) / y_pred.shape[-1]


class CategoricalCrossentropy(Loss):
    """-sum(y·log(softmax(z))) over the classes; y_pred holds logits z, y_true a probability for each class."""

    def entries(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return -(y_true * log_softmax(y_pred)).sum(axis=-1)

    def entry_gradients(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.exp(log_softmax(y_pred)) * y_true.sum(axis=-1, keepdims=True) - y_true


class SparseCategoricalCrossentropy(Loss):
    """-log(softmax(z))[y]; y_pred holds logits z (B, K) or (B, T, K), y_true class numbers from 0, (B,) or (B, T)."""

    def targets(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        y_true = np.asarray(y_true)
        if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
            y_true = y_true[..., 0]
        _check.require_shape("y_true", y_true, y_pred.shape[:-1], "of y_pred without its last axis")
        classes = y_pred.shape[-1]
        flat = _check.as_int_vector("y_true", y_true.reshape(-1), y_true.size, 0, classes - 1, "the number of entries")
        return flat.reshape(*y_true.shape, 1)

    def entries(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return -np.take_along_axis(log_softmax(y_pred), y_true, axis=-1)[..., 0]

    def entry_gradients(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        p = np.exp(log_softmax(y_pred))
        np.put_along_axis(p, y_true, np.take_along_axis(p, y_true, axis=-1) - 1, axis=-1)
        return p


def entry_weights(sample_weight: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    """Weights of all entries, scaled so that the cost is their weighted sum over the number of entries.

    Parameters
    ----------
    sample_weight : array_like or None
        Booleans select, numbers weigh.
    shape : tuple of int
        (B,) or (B, T).
    dtype : dtype
    """
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight)
    selects = weight.dtype == np.bool_
    if not selects:
        weight = _check.require_finite("sample_weight", _check.as_float_array("sample_weight", weight, dtype))
    if weight.ndim < len(shape) and weight.shape == shape[: weight.ndim]:
        weight = weight.reshape(weight.shape + (1,) * (len(shape) - weight.ndim))
    try:
        weight = np.broadcast_to(weight, shape)
    except ValueError:
        raise ValueError(f"sample_weight: expected a shape that fits {shape}, got {weight.shape}") from None
    if not selects:
        return weight
    selected = int(np.count_nonzero(weight))
    return weight.astype(dtype) * (weight.size / max(1, selected))


def combined_weights(sample_weight: Any, mask: np.ndarray | None) -> Any:
    """A sample weight as it holds under a mask of true steps (B, T): the mean goes over those alone."""
    if sample_weight is None or mask is None:
        return mask if sample_weight is None else sample_weight
    weight = np.asarray(sample_weight)
    if weight.dtype == np.bool_:
        weight = weight.reshape(-1, 1) if weight.ndim == 1 else weight
        return weight & mask
    scales, weights = (np.asarray(entry_weights(w, mask.shape, np.dtype(np.float64))) for w in (mask, weight))
    return weights * scales


def _weighted_mean(entries: np.ndarray, weight: np.ndarray | None) -> float:
    """sum(weight · entries) / number of entries; what weighs nothing is left out even if it is NaN."""
    if weight is None:
        return float(entries.mean(dtype=np.float64))
    counted = weight != 0
    return float(np.dot(entries[counted].astype(np.float64), weight[counted]) / entries.size)


def log_softmax(z: np.ndarray) -> np.ndarray:
    """log(exp(z) / sum(exp(z))) over the last axis, without overflow."""
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


LOSSES: dict[str, type[Loss]] = {
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "huber": Huber,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "pinball": Pinball,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
}


def get_loss(value: str | Loss) -> Loss:
    """A loss, given itself or by name."""
    return resolve("loss", value, Loss, LOSSES)
