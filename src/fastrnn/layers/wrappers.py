"""Layers that change how another layer, or the input, meets the time axis."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Layer, Seed, Shape
from fastrnn.layers.steps import Steps, rows_in_time, rows_of_steps

__all__ = ["RepeatVector", "TimeDistributed"]


class _TimeDistributedCache(NamedTuple):
    x_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    counted: np.ndarray | None  # (B, T)
    inner: Any


class TimeDistributed(Layer):
    """Apply a layer to every time step by itself: (B, T, ...) is worked on as (B*T, ...).

    Parameters
    ----------
    layer : Layer

    Notes
    -----
    The parameters are the wrapped layer's.

    Steps that do not count by ``lengths`` or ``mask`` are not worked on at all, and the output is zero there: a
    `BatchNormalization` within sees true steps alone.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import Dense, TimeDistributed
    >>> TimeDistributed(Dense(3, seed=0))(np.ones((32, 50, 20))).shape
    (32, 50, 3)
    """

    takes_time = True

    def __init__(self, layer: Layer) -> None:
        if not isinstance(layer, Layer):
            raise TypeError(f"layer: expected a Layer, got {type(layer).__name__}")
        super().__init__(layer.dtype)
        self.layer = layer
        self.input_ndim = 3 if layer.input_ndim is None else layer.input_ndim + 1
        self.takes_integers = layer.takes_integers

    @property
    def params(self) -> MutableMapping[str, np.ndarray]:
        return self.layer.params

    @property
    def buffers(self) -> MutableMapping[str, np.ndarray]:
        return self.layer.buffers

    @property
    def built(self) -> bool:
        return self.layer.built

    def build(self, input_size: int, seed: Seed = None) -> None:
        self.layer.build(input_size, seed)
        self.input_size = self.layer.input_size

    def build_for(self, input_shape: Shape, seed: Seed = None) -> None:
        self.layer.build_for((None, *input_shape[2:]), seed)
        self.input_size = self.layer.input_size

    def output_shape(self, input_shape: Shape) -> Shape:
        batch, time, *rest = input_shape
        return (batch, time, *self.layer.output_shape((None, *rest))[1:])

    def forward(
        self,
        x: Any,
        lengths: Any = None,
        mask: Any = None,
        reset_mask: Any = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, _TimeDistributedCache]:
        """Apply the layer.

        Parameters
        ----------
        x : array_like (B, T, ...)
        lengths : array_like of int (B,), optional
            True steps of each row.
        mask : array_like of bool (B, T), optional
            True at the steps that count.
        reset_mask
            Without effect.
        training, rng
            Handed on to the wrapped layer.

        Returns
        -------
        out : ndarray (B, T, ...)
        cache
            For `backward`.
        """
        x, counted = self._checked(x, lengths, mask, reset_mask)
        out, inner = self.layer.forward(rows_of_steps(x, counted), training=training, rng=rng)
        cache = _TimeDistributedCache(x.shape, (*x.shape[:2], *out.shape[1:]), counted, inner)
        return rows_in_time(out, counted, cache.out_shape), cache

    def infer(self, x: Any, lengths: Any = None, mask: Any = None, reset_mask: Any = None) -> np.ndarray:
        """The output of `forward`, without keeping what `backward` would need."""
        x, counted = self._checked(x, lengths, mask, reset_mask)
        out = self.layer.infer(rows_of_steps(x, counted))
        return rows_in_time(out, counted, (*x.shape[:2], *out.shape[1:]))

    def _checked(self, x: Any, lengths: Any, mask: Any, reset_mask: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """The input, and which of its steps count; builds the layer where it is not built yet."""
        if self.takes_integers:
            x = _check.as_real_array("x", x)
        else:
            x = _check.as_float_array("x", x, self.dtype or _check.float_dtype(x=x))
        if x.ndim != self.input_ndim or x.shape[-1] == 0:
            raise ValueError(f"x: expected {self.input_ndim}-D with a last axis >= 1, got shape {x.shape}")
        if self.input_size is None:
            self.build_for(x.shape)
        size = self.layer.input_size
        if isinstance(size, int) and not self.takes_integers and size != x.shape[-1]:
            raise ValueError(f"x: expected a last axis of size {size}, got shape {x.shape}")
        return x, Steps.checked(x, lengths, mask, reset_mask).counted(x.shape[1])

    def backward(
        self, dout: Any, cache: _TimeDistributedCache, dfinal_state: None = None
    ) -> tuple[np.ndarray | None, dict[str, np.ndarray], None]:
        """Gradients by the input and the wrapped layer's parameters."""
        self._no_state(dfinal_state)
        dx, grads, _ = self.layer.backward(self._dout_rows(dout, cache), cache.inner)
        return None if dx is None else rows_in_time(dx, cache.counted, cache.x_shape), grads, None

    def parameter_gradients(self, dout: Any, cache: _TimeDistributedCache) -> dict[str, np.ndarray]:
        """The gradients by the wrapped layer's parameters alone."""
        return self.layer.parameter_gradients(self._dout_rows(dout, cache), cache.inner)

    def _dout_rows(self, dout: Any, cache: _TimeDistributedCache) -> np.ndarray:
        """The gradient by the output of the wrapped layer."""
        return rows_of_steps(self._array("dout", dout, cache.out_shape), cache.counted)

    def commit(self, cache: _TimeDistributedCache) -> None:
        """Let the wrapped layer take over what a training step left in its cache."""
        self.layer.commit(cache.inner)

    def reset_states(self) -> None:
        """Forget the state that a wrapped layer with ``stateful=True`` keeps."""
        self.layer.reset_states()


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
