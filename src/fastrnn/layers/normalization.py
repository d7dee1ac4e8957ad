"""Normalization: over the features of each step, or of each feature over the batch.

Both are the same two lines, with the mean over another axis, and a scale and a shift of each feature:

    normal = (x - mean(x)) · rate          rate = 1 / sqrt(var(x) + epsilon)
    out    = normal·gamma + beta

The variance is the mean squared deviation.  Backward, with dnormal = dout·gamma:

    dx = (dnormal - mean(dnormal) - normal·mean(dnormal·normal)) · rate
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check
from fastrnn.functional import _rows
from fastrnn.layers.base import Layer, Shape
from fastrnn.layers.steps import Steps, rows_in_time, rows_of_steps

__all__ = ["BatchNormalization", "LayerNormalization"]


def _mean(a: np.ndarray, axis: int) -> np.ndarray:
    """The mean over an axis, which stays with size 1; summed in float64, so that many rows do not cost digits."""
    return a.mean(axis=axis, keepdims=True, dtype=np.float64)


def _normalized(x: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features of rows x (N, F) normalized; with their rate in the dtype of x, mean and variance in float64."""
    mean = _mean(x, 0)
    normal = x - mean.astype(x.dtype)
    variance = _mean(np.square(normal), 0)
    rate = (1.0 / np.sqrt(variance + epsilon)).astype(x.dtype)
    normal *= rate
    return normal, rate, mean, variance


def _normalized_back(dnormal: np.ndarray, normal: np.ndarray, rate: np.ndarray, axis: int) -> np.ndarray:
    """dx (N, F) from dnormal (N, F)."""
    dx = dnormal - _mean(dnormal, axis).astype(dnormal.dtype)
    dx -= normal * _mean(dnormal * normal, axis).astype(dnormal.dtype)
    dx *= rate
    return dx


class _Scaled(Layer):
    """What both have in common: the scale gamma and the shift beta of each feature."""

    def __init__(self, epsilon: float, center: bool, scale: bool, dtype: Any) -> None:
        super().__init__("float32" if dtype is None else dtype)
        self.epsilon = _check.number("epsilon", epsilon, 0.0, open_minimum=True)
        self.center = _check.boolean("center", center)
        self.scale = _check.boolean("scale", scale)

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        gamma = {"gamma": np.ones(input_size, self.dtype)} if self.scale else {}
        beta = {"beta": np.zeros(input_size, self.dtype)} if self.center else {}
        return gamma | beta

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def _scaled(self, normal: np.ndarray) -> np.ndarray:
        """normal·gamma + beta; normal itself where there is neither."""
        out = normal * self.params["gamma"] if self.scale else normal
        return out + self.params["beta"] if self.center else out

    def _scaled_back(self, dout: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """dnormal (N, F) and the gradients by gamma and beta (F,)."""
        grads = {}
        if self.scale:
            grads["gamma"] = (dout * normal).sum(axis=0)
        if self.center:
            grads["beta"] = dout.sum(axis=0)
        return (dout * self.params["gamma"] if self.scale else dout), grads


class _LayerNormalizationCache(NamedTuple):
    normal: np.ndarray  # (N, F)
    rate: np.ndarray  # (N, 1)
    shape: tuple[int, ...]


class LayerNormalization(_Scaled):
    """Normalize the features of each step by themselves (Ba et al., 2016).

    .. code-block:: text

        out = (x - mean(x)) / sqrt(var(x) + epsilon)·gamma + beta        mean and variance over the last axis

    Parameters
    ----------
    axis : int
        -1: the last axis is the only one that can be normalized over.
    epsilon : float
        Above 0.
    center, scale : bool
        Whether there is a beta, and a gamma.
    dtype : {"float32", "float64"}
        What the layer computes in; the input is cast to it.

    Notes
    -----
    Parameters: ``gamma`` (F,), ones at first, and ``beta`` (F,), zeros at first.

    Examples
    --------
    >>> from fastrnn.layers import LayerNormalization
    >>> LayerNormalization(epsilon=1e-9)([[1.0, 2.0, 3.0], [0.0, 0.0, 9.0]]).round(2)
    array([[-1.22,  0.  ,  1.22],
           [-0.71, -0.71,  1.41]], dtype=float32)
    """

    def __init__(
        self,
        axis: int = -1,
        *,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(epsilon, center, scale, dtype)
        self.axis = _check.integer("axis", axis, -1, -1)

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, _LayerNormalizationCache]:
        """Normalize x.

        Parameters
        ----------
        x : array_like (..., F)
        training, rng
            Without effect.

        Returns
        -------
        out : ndarray (..., F)
        cache
            For `backward`.
        """
        x = self._input(x)
        rows, params = x.reshape(-1, x.shape[-1]), self.params
        out, normal, rate = _rows.layer_norm(rows, params.get("gamma"), params.get("beta"), self.epsilon)
        return out.reshape(x.shape), _LayerNormalizationCache(normal, rate, x.shape)

    def backward(
        self, dout: Any, cache: _LayerNormalizationCache, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """Gradients by the input and the parameters."""
        self._no_state(dfinal_state)
        dout = self._array("dout", dout, cache.shape).reshape(cache.normal.shape)
        dnormal, grads = self._scaled_back(dout, cache.normal)
        return _normalized_back(dnormal, cache.normal, cache.rate, 1).reshape(cache.shape), grads, None


class _BatchNormalizationCache(NamedTuple):
    normal: np.ndarray  # (N, F), the rows that count
    rate: np.ndarray  # (1, F) or (F,)
    counted: np.ndarray | None  # (B, T)
    shape: tuple[int, ...]
    statistics: dict[str, np.ndarray] | None  # of the batch, by the names of the buffers; None: the moving ones served


class BatchNormalization(_Scaled):
    """Normalize each feature over the batch and, in sequences, over time (Ioffe and Szegedy, 2015).

    .. code-block:: text

        out = (x - mean) / sqrt(variance + epsilon)·gamma + beta

    In training, mean and variance are those of the batch, over all axes but the last; afterwards they are moving
    averages of the batches' figures, ``moving = momentum·moving + (1 - momentum)·figure``.

    Parameters
    ----------
    momentum : float
        In [0, 1].
    epsilon : float
        Above 0.
    center, scale : bool
        Whether there is a beta, and a gamma.
    dtype : {"float32", "float64"}
        What the layer computes in; the input is cast to it.

    Notes
    -----
    Parameters: ``gamma`` (F,), ones at first, and ``beta`` (F,), zeros at first.  Buffers: ``moving_mean`` (F,), zeros
    at first, and ``moving_variance`` (F,), ones at first.

    Of sequences with ``lengths`` or a ``mask`` only the steps that count go into the figures; at all others the output
    is zero.

    `forward` never changes the moving averages, in training neither: `commit` does, with what `forward` left in the
    cache.  ``Sequential.fit`` calls it after each step.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import BatchNormalization
    >>> layer = BatchNormalization(momentum=0.5)
    >>> out, cache = layer.forward(np.array([[1.0, 10.0], [3.0, 30.0]]), training=True)
    >>> out.round(2)
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    >>> layer.commit(cache)
    >>> layer.buffers["moving_mean"]
    array([ 1., 10.], dtype=float32)
    """

    takes_time = True

    def __init__(
        self,
        *,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(epsilon, center, scale, dtype)
        self.momentum = _check.number("momentum", momentum, 0.0, 1.0)

    def initial_buffers(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {
            "moving_mean": np.zeros(input_size, self.dtype),
            "moving_variance": np.ones(input_size, self.dtype),
        }

    def forward(
        self,
        x: Any,
        lengths: Any = None,
        mask: Any = None,
        reset_mask: Any = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, _BatchNormalizationCache]:
        """Normalize x.

        Parameters
        ----------
        x : array_like (B, F) or (B, T, F)
        lengths : array_like of int (B,), optional
            True steps of each row.
        mask : array_like of bool (B, T), optional
            True at the steps that count.
        reset_mask, rng
            Without effect.
        training : bool
            Whether the batch's own figures serve, or the moving averages.

        Returns
        -------
        out : ndarray
            Of the shape of x.
        cache
            For `backward` and `commit`.
        """
        x = self._input(x)
        counted = Steps.checked(x, lengths, mask, None).counted(x.shape[1])
        rows = rows_of_steps(x, counted).reshape(-1, x.shape[-1])
        if training and len(rows):
            normal, rate, mean, variance = _normalized(rows, self.epsilon)
            statistics = {"moving_mean": mean[0], "moving_variance": variance[0]}
        else:
            shift, rate = self.moving_shift_and_rate()
            normal, statistics = (rows + shift) * rate, None
        out = rows_in_time(self._scaled(normal), counted, x.shape)
        return out, _BatchNormalizationCache(normal, rate, counted, x.shape, statistics)

    def moving_shift_and_rate(self) -> tuple[np.ndarray, np.ndarray]:
        """What an inference adds to a feature and multiplies it by, each (F,), before gamma and beta."""
        variance = self.buffers["moving_variance"]
        return -self.buffers["moving_mean"], 1.0 / np.sqrt(variance + variance.dtype.type(self.epsilon))

    def backward(
        self, dout: Any, cache: _BatchNormalizationCache, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """Gradients by the input and the parameters; moving averages count as constants."""
        self._no_state(dfinal_state)
        dout = rows_of_steps(self._array("dout", dout, cache.shape), cache.counted).reshape(cache.normal.shape)
        dnormal, grads = self._scaled_back(dout, cache.normal)
        if cache.statistics is None:
            dx = dnormal * cache.rate
        else:
            dx = _normalized_back(dnormal, cache.normal, cache.rate, 0)
        return rows_in_time(dx, cache.counted, cache.shape), grads, None

    def commit(self, cache: _BatchNormalizationCache) -> None:
        """Move the averages towards the figures of a training batch.

        Parameters
        ----------
        cache
            What `forward` returned; one of an inference changes nothing.
        """
        for name, figure in (cache.statistics or {}).items():
            self.buffers[name] = self.momentum * self.buffers[name] + (1.0 - self.momentum) * figure
