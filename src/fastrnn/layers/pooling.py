"""Layers that make one step of several: pooling; and the way back, upsampling."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastrnn import _check
from fastrnn.functional._windows import padding_steps, true_windows, window_count
from fastrnn.layers.base import Layer, Shape
from fastrnn.layers.lengths import checked_lengths, inside, refuse_resets, zeroed_past

__all__ = ["AveragePooling1D", "GlobalAveragePooling1D", "GlobalMaxPooling1D", "MaxPooling1D", "UpSampling1D"]


class _PoolingCache(NamedTuple):
    x_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    out_lengths: np.ndarray | None
    kept: np.ndarray  # what the kind of pooling needs


class _Pooling1D(Layer):
    """What the kinds of pooling share: windows of `pool_size` steps, `strides` steps apart."""

    input_ndim = 3
    takes_time = True
    takes_holes = False

    def __init__(self, pool_size: int = 2, strides: int | None = None, padding: str = "valid") -> None:
        super().__init__()
        self.pool_size = _check.integer("pool_size", pool_size, 1)
        self.strides = None if strides is None else _check.integer("strides", strides, 1)
        self.padding = _check.choice("padding", padding, ("valid", "same"))

    @property
    def _stride(self) -> int:
        return self.pool_size if self.strides is None else self.strides

    def _padding_steps(self, time: int) -> tuple[int, int]:
        return padding_steps(self.padding, time, self.pool_size, self._stride)

    def output_shape(self, input_shape: Shape) -> Shape:
        batch, time, channels = input_shape
        if time is not None:
            time = window_count(time, self.pool_size, self._stride, *self._padding_steps(time))
        return (batch, time, channels)

    def pass_on(self, lengths: Any, reset_mask: Any) -> tuple[Any, Any]:
        if lengths is not None:
            lengths = true_windows(np.asarray(lengths), self.padding, self.pool_size, self._stride)
        return lengths, reset_mask

    def forward(
        self,
        x: Any,
        *,
        lengths: Any = None,
        reset_mask: None = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, _PoolingCache]:
        """Apply the layer.

        Parameters
        ----------
        x : array_like (B, T, C)
        lengths : array_like of int (B,), optional
            True steps of each row; the others do not count, and windows past the end give 0.
        reset_mask : None
            Pooling looks across steps: it cannot be reset.
        training, rng
            Without effect.

        Returns
        -------
        out : ndarray (B, T', C)
        cache
            For `backward`.
        """
        refuse_resets(self, reset_mask)
        x = self._input(x)
        batch, time, _ = x.shape
        if time + sum(self._padding_steps(time)) < self.pool_size:
            raise ValueError(f"x: expected at least the {self.pool_size} steps of a window, got {time}")
        lengths = checked_lengths(lengths, batch, time)
        out_lengths, _ = self.pass_on(lengths, None)
        true = np.ones((1, time, 1), bool) if lengths is None else inside(lengths, time)
        out, kept = self._pooled(x, true)
        return zeroed_past(out, out_lengths), _PoolingCache(x.shape, out.shape, out_lengths, kept)

    def backward(
        self, dout: Any, cache: _PoolingCache, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """The gradient by the input; what `dout` (B, T', C) holds past the end of a row is ignored."""
        self._no_state(dfinal_state)
        dout = zeroed_past(self._array("dout", dout, cache.out_shape, "(B, T', C)"), cache.out_lengths)
        batch, time, channels = cache.x_shape
        left, right = self._padding_steps(time)
        dx = np.zeros((batch, left + time + right, channels), dout.dtype)
        last = (cache.out_shape[1] - 1) * self._stride + 1
        for tap in range(self.pool_size):
            dx[:, tap : tap + last : self._stride] += self._gradient(dout, cache.kept, tap)
        return dx[:, left : left + time], {}, None

    def _windows(self, x: np.ndarray, padding_value: float) -> np.ndarray:
        """Windows of x (B, T, C) as a view (B, T', C, pool_size) of its padded copy."""
        padded = np.pad(x, [(0, 0), self._padding_steps(x.shape[1]), (0, 0)], constant_values=padding_value)
        return sliding_window_view(padded, self.pool_size, axis=1)[:, :: self._stride]

    def _pooled(self, x: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The output, and what `_gradient` needs; `true` (B or 1, T, 1) says which steps count."""
        raise NotImplementedError

    def _gradient(self, dout: np.ndarray, kept: np.ndarray, tap: int) -> np.ndarray:
        """The gradient by what a tap of all windows saw, (B, T', C)."""
        raise NotImplementedError


class MaxPooling1D(_Pooling1D):
    """The largest value of each channel among the steps of a window.

    Parameters
    ----------
    pool_size : int
        Steps of a window.
    strides : int or None
        Steps from one window to the next; None is `pool_size`.
    padding : {"valid", "same"}
        As for `Conv1D`; padding never counts.

    Notes
    -----
    With `lengths`, steps past the end of a row do not count, and the output's lengths are those of a `Conv1D` with the
    same window.  The gradient goes to the first of several largest values.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import MaxPooling1D
    >>> MaxPooling1D(2)([[[1.0], [5.0], [2.0], [0.0], [9.0]]])[0, :, 0]
    array([5., 2.])
    """

    def _pooled(self, x: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        windows = self._windows(np.where(true, x, -np.inf).astype(x.dtype, copy=False), -np.inf)
        largest = windows.argmax(axis=-1)
        return np.take_along_axis(windows, largest[..., None], axis=-1)[..., 0], largest

    def _gradient(self, dout: np.ndarray, kept: np.ndarray, tap: int) -> np.ndarray:
        return np.where(kept == tap, dout, dout.dtype.type(0))


class AveragePooling1D(_Pooling1D):
    """The mean of each channel over the steps of a window.

    Parameters
    ----------
    pool_size : int
        Steps of a window.
    strides : int or None
        Steps from one window to the next; None is `pool_size`.
    padding : {"valid", "same"}
        As for `Conv1D`; padding does not count, a window at an end has the mean of what it sees.

    Notes
    -----
    With `lengths`, steps past the end of a row do not count, and the output's lengths are those of a `Conv1D` with the
    same window.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import AveragePooling1D
    >>> AveragePooling1D(2, padding="same")([[[1.0], [5.0], [2.0], [0.0], [9.0]]])[0, :, 0]
    array([3., 1., 9.])
    """

    def _pooled(self, x: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen = self._windows(true, False).sum(axis=-1)
        weight = (1 / np.maximum(seen, 1)).astype(x.dtype)  # (B or 1, T', 1)
        return self._windows(np.where(true, x, x.dtype.type(0)), 0).sum(axis=-1) * weight, np.where(
            self._windows(true, False), weight[..., None], x.dtype.type(0)
        )

    def _gradient(self, dout: np.ndarray, kept: np.ndarray, tap: int) -> np.ndarray:
        return dout * kept[..., tap]


class _GlobalCache(NamedTuple):
    x_shape: tuple[int, ...]
    weight: np.ndarray  # of each step in the output, (B, T, C) or (B, T, 1)


class _GlobalPooling1D(Layer):
    """What the kinds of global pooling share: (B, T, C) becomes (B, C)."""

    input_ndim = 3
    takes_time = True
    takes_holes = False

    def __init__(self) -> None:
        super().__init__()

    def output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], input_shape[2])

    def pass_on(self, lengths: Any, reset_mask: Any) -> tuple[Any, Any]:
        return None, None

    def forward(
        self,
        x: Any,
        *,
        lengths: Any = None,
        reset_mask: None = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, _GlobalCache]:
        """Apply the layer.

        Parameters
        ----------
        x : array_like (B, T, C)
        lengths : array_like of int (B,), optional
            True steps of each row; the others do not count, and a row without steps gives 0.
        reset_mask : None
            Pooling looks across steps: it cannot be reset.
        training, rng
            Without effect.

        Returns
        -------
        out : ndarray (B, C)
        cache
            For `backward`.
        """
        refuse_resets(self, reset_mask)
        x = self._input(x)
        batch, time, _ = x.shape
        if time == 0:
            raise ValueError(f"x: expected at least one time step, got shape {x.shape}")
        lengths = checked_lengths(lengths, batch, time)
        true = np.ones((batch, time, 1), bool) if lengths is None else inside(lengths, time)
        out, weight = self._pooled(x, true)
        return out, _GlobalCache(x.shape, weight)

    def backward(
        self, dout: Any, cache: _GlobalCache, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """The gradient by the input, from `dout` (B, C)."""
        self._no_state(dfinal_state)
        batch, _, channels = cache.x_shape
        return self._array("dout", dout, (batch, channels), "(B, C)")[:, None] * cache.weight, {}, None

    def _pooled(self, x: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The output, and the weight of each step in it; `true` (B, T, 1) says which steps count."""
        raise NotImplementedError


class GlobalAveragePooling1D(_GlobalPooling1D):
    """The mean of each channel over all true steps of a row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import GlobalAveragePooling1D
    >>> x = np.array([[[1.0], [5.0], [9.0]], [[1.0], [5.0], [np.nan]]])
    >>> GlobalAveragePooling1D()(x, lengths=[3, 2])[:, 0]
    array([5., 3.])
    """

    def _pooled(self, x: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = (true / np.maximum(true.sum(axis=1, keepdims=True), 1)).astype(x.dtype)
        return (np.where(true, x, x.dtype.type(0)) * weight).sum(axis=1), weight


class GlobalMaxPooling1D(_GlobalPooling1D):
    """The largest value of each channel over all true steps of a row.

    Notes
    -----
    The gradient goes to the first of several largest values.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import GlobalMaxPooling1D
    >>> x = np.array([[[1.0], [5.0], [9.0]], [[1.0], [5.0], [np.nan]]])
    >>> GlobalMaxPooling1D()(x, lengths=[3, 2])[:, 0]
    array([9., 5.])
    """

    def _pooled(self, x: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        largest = np.where(true, x, -np.inf).argmax(axis=1)[:, None]  # (B, 1, C)
        weight = (np.arange(x.shape[1])[:, None] == largest) & true
        out = np.take_along_axis(x, largest, axis=1)[:, 0]
        return np.where(true.any(axis=1), out, x.dtype.type(0)), weight.astype(x.dtype)


class UpSampling1D(Layer):
    """Repeat every step `size` times: (B, T, C) becomes (B, T·size, C).

    Parameters
    ----------
    size : int

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import UpSampling1D
    >>> UpSampling1D(2)([[[1.0], [5.0]]])[0, :, 0]
    array([1., 1., 5., 5.])
    """

    input_ndim = 3

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.size = _check.integer("size", size, 1)

    def output_shape(self, input_shape: Shape) -> Shape:
        batch, time, channels = input_shape
        return (batch, None if time is None else time * self.size, channels)

    def pass_on(self, lengths: Any, reset_mask: Any) -> tuple[Any, Any]:
        """A reset before a step is one before the first of its repetitions."""
        if lengths is not None:
            lengths = np.asarray(lengths) * self.size
        if reset_mask is not None:
            given = np.asarray(reset_mask)
            reset_mask = np.zeros((given.shape[0], given.shape[1] * self.size), bool)
            reset_mask[:, :: self.size] = given
        return lengths, reset_mask

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, tuple[int, ...]]:
        """Repeat the steps of x.

        Parameters
        ----------
        x : array_like (B, T, C)
        training, rng
            Without effect.

        Returns
        -------
        out : ndarray (B, T·size, C)
        cache
            For `backward`.
        """
        x = self._input(x)
        return np.repeat(x, self.size, axis=1), x.shape

    def backward(
        self, dout: Any, cache: tuple[int, ...], dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """The gradient by x: the sum over the repetitions."""
        self._no_state(dfinal_state)
        batch, time, channels = cache
        dout = self._array("dout", dout, (batch, time * self.size, channels), "(B, T·size, C)")
        return dout.reshape(batch, time, self.size, channels).sum(axis=2), {}, None
