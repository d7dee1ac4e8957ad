"""The fully connected layer, and an activation as a layer of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check
from fastrnn.layers.activations import ACTIVATIONS
from fastrnn.layers.base import Layer, Shape
from fastrnn.layers.initializers import Initializer, checked_initializer

__all__ = ["Activation", "Dense"]


class _DenseCache(NamedTuple):
    x: np.ndarray
    out: np.ndarray


class Dense(Layer):
    """``out = activation(x·w + b)`` on the last axis, so a batch of sequences is taken as it is.

    Parameters
    ----------
    units : int
        Size of the last axis of the output.
    activation : {"linear", "relu", "sigmoid", "tanh"} or None
        None is linear.
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
        activation: str | None = None,
        *,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__("float32" if dtype is None else dtype, seed)
        self.units = _check.integer("units", units, 1)
        self.activation = None if activation is None else _check.choice("activation", activation, ACTIVATIONS)
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
        rows = x.reshape(-1, x.shape[-1])
        out = rows @ self.params["w"]  # out (N, units) = rows (N, I) · w (I, units)
        if self.use_bias:
            out += self.params["b"]
        out = ACTIVATIONS[self.activation or "linear"].value(out).reshape(*x.shape[:-1], self.units)
        return out, _DenseCache(x, out)

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
        da = self._before_activation(dout, cache)
        dx = da @ self.params["w"].T  # dx (N, I) = da (N, units) · w' (units, I)
        return dx.reshape(cache.x.shape), self._by_parameters(da, cache), None

    def parameter_gradients(self, dout: Any, cache: _DenseCache) -> dict[str, np.ndarray]:
        """The gradients by the parameters alone."""
        return self._by_parameters(self._before_activation(dout, cache), cache)

    def _before_activation(self, dout: Any, cache: _DenseCache) -> np.ndarray:
        """da (N, units), from dout (..., units)."""
        dout = self._array("dout", dout, cache.out.shape)
        return ACTIVATIONS[self.activation or "linear"].gradient(dout, cache.out).reshape(-1, self.units)

    def _by_parameters(self, da: np.ndarray, cache: _DenseCache) -> dict[str, np.ndarray]:
        """The gradients by the parameters, from da (N, units)."""
        rows = cache.x.reshape(-1, cache.x.shape[-1])
        grads = {"w": rows.T @ da}  # dw (I, units) = rows' (I, N) · da (N, units)
        if self.use_bias:
            grads["b"] = da.sum(axis=0)
        return grads


class Activation(Layer):
    """``out = activation(x)``, number by number.

    Parameters
    ----------
    activation : {"linear", "relu", "sigmoid", "tanh"}
        "linear" hands the input on as it is.
    dtype : {"float32", "float64"}, optional
        What the layer computes in; None follows the input.

    Examples
    --------
    >>> from fastrnn.layers import Activation
    >>> Activation("relu")([[-1.0, 2.0]])
    array([[0., 2.]])
    """

    def __init__(self, activation: str, *, dtype: Any = None) -> None:
        super().__init__(dtype)
        self.activation = _check.choice("activation", activation, ACTIVATIONS)

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
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
        out = ACTIVATIONS[self.activation].value(self._input(x))
        return out, out

    def backward(
        self, dout: Any, cache: np.ndarray, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """The gradient by the input."""
        self._no_state(dfinal_state)
        return ACTIVATIONS[self.activation].gradient(self._array("dout", dout, cache.shape), cache), {}, None
