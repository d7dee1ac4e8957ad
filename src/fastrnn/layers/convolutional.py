"""The convolution along time as a layer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check, _engine, functional
from fastrnn.functional._windows import PADDINGS, padding_steps, true_windows, window_count
from fastrnn.layers.base import Layer, Shape
from fastrnn.layers.initializers import Initializer, checked_initializer
from fastrnn.layers.lengths import checked_lengths, refuse_resets, zeroed_past

__all__ = ["Conv1D"]


class _Conv1DCache(NamedTuple):
    inner: functional.Conv1DCache
    lengths: np.ndarray | None
    out_lengths: np.ndarray | None
    out_shape: tuple[int, ...]


class Conv1D(Layer):
    """A convolution along time: every output is one product of a window of steps with the kernel.

    ``out[o] = activation(b + sum_k x[o·strides + k·dilation_rate - left] · w[k])``, with zeros beyond both ends of x;
    `left` is 0, half or all of what a window spans but for one step, as `padding` says.

    Parameters
    ----------
    filters : int
        Size of the last axis of the output.
    kernel_size : int
        Taps: steps that a window sees.
    strides : int
        Steps from one window to the next.
    padding : {"valid", "same", "causal"}
        None; as many outputs as steps (divided by the stride, rounded up); all of it before the first step, so that
        output o sees no step behind o·strides.
    dilation_rate : int
        Steps from one tap to the next.
    groups : int
        A divisor of channels and filters: each group of filters sees its own group of channels.
    activation : {"linear", "relu", "sigmoid", "tanh"} or None
        None is linear.
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
        Fans are counted as in Keras: kernel_size · channels that a filter sees, and kernel_size · filters.
    dtype : {"float32", "float64"}
        What the layer computes in; the input is cast to it.
    seed : int, optional
        Seed of the first weights; None draws fresh ones.

    Notes
    -----
    Parameters: ``w`` (kernel_size, channels/groups, filters), ``b`` (filters,).

    With `lengths`, what x holds past the end of a row counts as 0 and the output there is 0.  Output o belongs to step
    o·strides: with "same" and "causal" padding ceil(length / strides) outputs of a row are true ones, without padding
    those whose whole window lies in the row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import Conv1D
    >>> Conv1D(20, 4, strides=2, seed=0)(np.ones((32, 50, 1))).shape
    (32, 24, 20)
    >>> Conv1D(20, 2, padding="causal", dilation_rate=8, activation="relu", seed=0)(np.ones((32, 50, 1))).shape
    (32, 50, 20)
    """

    input_ndim = 3
    takes_time = True
    takes_holes = False

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        *,
        strides: int = 1,
        padding: str = "valid",
        dilation_rate: int = 1,
        groups: int = 1,
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__("float32" if dtype is None else dtype, seed)
        self.filters = _check.integer("filters", filters, 1)
        self.kernel_size = _check.integer("kernel_size", kernel_size, 1)
        self.strides = _check.integer("strides", strides, 1)
        self.padding = _check.choice("padding", padding, PADDINGS)
        self.dilation_rate = _check.integer("dilation_rate", dilation_rate, 1)
        self.groups = _check.integer("groups", groups, 1)
        if self.filters % self.groups:
            raise ValueError(f"groups: expected a divisor of filters = {self.filters}, got {self.groups}")
        if activation is not None:
            _check.activation("activation", activation, _engine.ACTIVATIONS)
        self.activation = activation
        self.use_bias = _check.boolean("use_bias", use_bias)
        self.kernel_initializer = checked_initializer("kernel_initializer", kernel_initializer)
        self.bias_initializer = checked_initializer("bias_initializer", bias_initializer)

    @property
    def span(self) -> int:
        """Steps from the first to the last that an output sees, both counted."""
        return (self.kernel_size - 1) * self.dilation_rate + 1

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        if input_size % self.groups:
            raise ValueError(f"input_size: expected a multiple of groups = {self.groups}, got {input_size}")
        shape = (self.kernel_size, input_size // self.groups, self.filters)
        params = {"w": self._drawn("kernel_initializer", shape, rng)}
        if self.use_bias:
            params["b"] = self._drawn("bias_initializer", (self.filters,), rng)
        return params

    def output_shape(self, input_shape: Shape) -> Shape:
        batch, time, _ = input_shape
        if time is not None:
            time = window_count(
                time, self.span, self.strides, *padding_steps(self.padding, time, self.span, self.strides)
            )
        return (batch, time, self.filters)

    def pass_on(self, lengths: Any, reset_mask: Any) -> tuple[Any, Any]:
        if lengths is not None:
            lengths = true_windows(np.asarray(lengths), self.padding, self.span, self.strides)
        return lengths, reset_mask

    def forward(
        self,
        x: Any,
        *,
        lengths: Any = None,
        reset_mask: None = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, _Conv1DCache]:
        """Apply the layer.

        Parameters
        ----------
        x : array_like (B, T, C)
        lengths : array_like of int (B,), optional
            True steps of each row.
        reset_mask : None
            A convolution looks across steps: it cannot be reset.
        training, rng
            Without effect.

        Returns
        -------
        out : ndarray (B, T', filters)
        cache
            For `backward`.
        """
        refuse_resets(self, reset_mask)
        x = self._input(x)
        lengths = checked_lengths(lengths, *x.shape[:2])
        out_lengths, _ = self.pass_on(lengths, None)
        out, inner = functional.conv1d_forward(
            zeroed_past(x, lengths),
            self.params["w"],
            self.params["b"] if self.use_bias else None,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            groups=self.groups,
            activation=self.activation,
        )
        return zeroed_past(out, out_lengths), _Conv1DCache(inner, lengths, out_lengths, out.shape)

    def backward(
        self, dout: Any, cache: _Conv1DCache, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """Gradients by the input and the parameters.

        Parameters
        ----------
        dout : array_like (B, T', filters)
            What it holds past the end of a row is ignored.
        cache
            What `forward` returned.

        Returns
        -------
        dx : ndarray (B, T, C)
        grads : dict of str to ndarray
        dstate : None
        """
        self._no_state(dfinal_state)
        dout = zeroed_past(self._array("dout", dout, cache.out_shape, "(B, T', filters)"), cache.out_lengths)
        dx, dw, db = functional.conv1d_backward(dout, cache.inner)
        grads = {"w": dw} if db is None else {"w": dw, "b": db}
        return zeroed_past(dx, cache.lengths), grads, None
