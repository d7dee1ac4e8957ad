"""The fully connected layer, and an activation as a layer of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check, _engine
from fastrnn.functional import _rows
from fastrnn.layers.activations import ActivationLike, as_kind, checked_activation, needs_argument
from fastrnn.layers.base import Layer, Shape
from fastrnn.layers.initializers import Initializer, checked_initializer

__all__ = ["Activation", "Dense"]


class _DenseCache(NamedTuple):
    inner: Any
    x_shape: tuple[int, ...]
    out_shape: tuple[int, ...]


class Dense(Layer):
    """``out = activation(x·w + b)`` on the last axis, so a batch of sequences is taken as it is.

    Parameters
    ----------
    units : int
        Size of the last axis of the output.
    activation : str, tuple or None
        Any of the recurrent layers', see `LSTM`; None is linear.
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    dtype : {"float32", "float64"}
        What the layer computes in; the input is cast to it.
    seed : int, optional
        Seed of the first weights; None draws fresh ones.

    Notes
    -----
    Parameters: ``w`` (I, units), ``b`` (units,).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import Dense
    >>> Dense(3, seed=0)(np.ones((32, 50, 20))).shape
    (32, 50, 3)
    """

    def __init__(
        self,
        units: int,
        activation: ActivationLike | None = None,
        *,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__("float32" if dtype is None else dtype, seed)
        self.units = _check.integer("units", units, 1)
        self.activation = None if activation is None else checked_activation("activation", activation)
        self.use_bias = _check.boolean("use_bias", use_bias)
        self.kernel_initializer = checked_initializer("kernel_initializer", kernel_initializer)
        self.bias_initializer = checked_initializer("bias_initializer", bias_initializer)

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        params = {"w": self._drawn("kernel_initializer", (input_size, self.units), rng)}
        if self.use_bias:
            params["b"] = self._drawn("bias_initializer", (self.units,), rng)
        return params

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, _DenseCache]:
        """Apply the layer.

        Parameters
        ----------
        x : array_like (..., I)
        training, rng
            Without effect.

        Returns
        -------
        out : ndarray (..., units)
        cache
            For `backward`.
        """
        x = self._input(x)
        rows, activation = x.reshape(-1, x.shape[-1]), as_kind(self.activation)
        # out (N, units) = rows (N, I) · w (I, units)
        out, cache = _rows.dense_forward(rows, self.params["w"], self.params.get("b"), activation)
        shape = (*x.shape[:-1], self.units)
        return out.reshape(shape), _DenseCache(cache, x.shape, shape)

    def backward(
        self, dout: Any, cache: _DenseCache, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """Gradients by the input and the parameters.

        Parameters
        ----------
        dout : array_like (..., units)
        cache
            What `forward` returned.

        Returns
        -------
        dx : ndarray (..., I)
        grads : dict of str to ndarray
        dstate : None
        """
        self._no_state(dfinal_state)
        dx, grads = self._back(dout, cache, needs_dx=True)
        assert dx is not None
        return dx.reshape(cache.x_shape), grads, None

    def parameter_gradients(self, dout: Any, cache: _DenseCache) -> dict[str, np.ndarray]:
        """The gradients by the parameters alone."""
        return self._back(dout, cache, needs_dx=False)[1]

    def _back(self, dout: Any, cache: _DenseCache, needs_dx: bool) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx (N, I), None unless it is needed, and the gradients by the parameters."""
        rows = self._array("dout", dout, cache.out_shape).reshape(-1, self.units)
        dx, dw, db = _rows.dense_backward(rows, cache.inner, needs_dx)
        return dx, {"w": dw} if db is None else {"w": dw, "b": db}


class _ActivationCache(NamedTuple):
    kept: np.ndarray  # x, where the derivative does not follow from the output, or the output
    activation: tuple[int, float, float]


class Activation(Layer):
    """``out = activation(x)``, number by number.

    Parameters
    ----------
    activation : str or tuple
        Any of the recurrent layers', see `LSTM`; "linear" hands the input on as it is.
    dtype : {"float32", "float64"}, optional
        What the layer computes in; None follows the input.

    Examples
    --------
    >>> from fastrnn.layers import Activation
    >>> Activation("relu")([[-1.0, 2.0]])
    array([[0., 2.]])
    """

    def __init__(self, activation: ActivationLike, *, dtype: Any = None) -> None:
        super().__init__(dtype)
        self.activation = checked_activation("activation", activation)

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, _ActivationCache]:
        """Apply the activation.

        Parameters
        ----------
        x : array_like
        training, rng
            Without effect.

        Returns
        -------
        out : ndarray
            Of the shape of x.
        cache
            For `backward`.
        """
        x, activation = self._input(x), as_kind(self.activation)
        out = np.empty_like(x)
        _engine.activate(activation, x, out)
        kept = x.copy() if needs_argument(self.activation) else out
        return out, _ActivationCache(kept, activation)

    def backward(
        self, dout: Any, cache: _ActivationCache, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """The gradient by the input."""
        self._no_state(dfinal_state)
        dout = self._array("dout", dout, cache.kept.shape)
        dx = np.empty_like(dout)
        _engine.activate_back(cache.activation, cache.kept, dout, dx)
        return dx, {}, None
