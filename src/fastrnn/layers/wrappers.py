"""Layers that change how another layer, or the input, meets the time axis."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Layer, Seed, Shape

__all__ = ["RepeatVector", "TimeDistributed"]


class _TimeDistributedCache(NamedTuple):
    x_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    inner: Any


class TimeDistributed(Layer):
    """Apply a layer to every time step by itself: (B, T, ...) is worked on as (B*T, ...).

    Parameters
    ----------
    layer : Layer

    Notes
    -----
    The parameters are the wrapped layer's.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import Dense, TimeDistributed
    >>> TimeDistributed(Dense(3, seed=0))(np.ones((32, 50, 20))).shape
    (32, 50, 3)
    """

    def __init__(self, layer: Layer) -> None:
        if not isinstance(layer, Layer):
            raise TypeError(f"layer: expected a Layer, got {type(layer).__name__}")
        super().__init__(layer.dtype)
        self.layer = layer
        self.input_ndim = 3 if layer.input_ndim is None else layer.input_ndim + 1

    @property
    def params(self) -> MutableMapping[str, np.ndarray]:
        return self.layer.params

    def build(self, input_size: int, seed: Seed = None) -> None:
        self.layer.build(input_size, seed)
        self.input_size = self.layer.input_size

    def output_shape(self, input_shape: Shape) -> Shape:
        batch, time, *rest = input_shape
        return (batch, time, *self.layer.output_shape((None, *rest))[1:])

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, _TimeDistributedCache]:
        """Apply the layer.

        Parameters
        ----------
        x : array_like (B, T, ...)
        training, rng
            Handed on to the wrapped layer.

        Returns
        -------
        out : ndarray (B, T, ...)
        cache
            For `backward`.
        """
        x = self._input(x)
        batch, time = x.shape[:2]
        out, inner = self.layer.forward(x.reshape(batch * time, *x.shape[2:]), training=training, rng=rng)
        return out.reshape(batch, time, *out.shape[1:]), _TimeDistributedCache(x.shape, out.shape, inner)

    def backward(
        self, dout: Any, cache: _TimeDistributedCache, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """Gradients by the input and the wrapped layer's parameters."""
        self._no_state(dfinal_state)
        batch, time = cache.x_shape[:2]
        dout = self._array("dout", dout, (batch, time, *cache.out_shape[1:]))
        dx, grads, _ = self.layer.backward(dout.reshape(cache.out_shape), cache.inner)
        return dx.reshape(cache.x_shape), grads, None


class RepeatVector(Layer):
    """Repeat a vector along a new time axis: (B, I) becomes (B, n, I).

    Parameters
    ----------
    n : int
        Time steps of the output.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import RepeatVector
    >>> RepeatVector(50)(np.ones((32, 20))).shape
    (32, 50, 20)
    """

    input_ndim = 2

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = _check.integer("n", n, 1)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.n, input_shape[1])

    def pass_on(self, lengths: Any, reset_mask: Any) -> tuple[Any, Any]:
        return None, None

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, None]:
        """Repeat x.

        Parameters
        ----------
        x : array_like (B, I)
        training, rng
            Without effect.

        Returns
        -------
        out : ndarray (B, n, I)
        cache : None
        """
        x = self._input(x)
        return np.repeat(x[:, None], self.n, axis=1), None

    def backward(
        self, dout: Any, cache: None, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """The gradient by x: the sum over time."""
        self._no_state(dfinal_state)
        return _check.as_float_array("dout", dout, _check.float_dtype(dout=dout), 3).sum(axis=1), {}, None
