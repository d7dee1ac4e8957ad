"""Layers that act while training alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Layer, Shape

__all__ = ["Dropout", "GaussianNoise", "SpatialDropout1D"]


class Dropout(Layer):
    """Inverted dropout: in training a number is kept with probability ``1 - rate`` and divided by it, or zeroed.

    Parameters
    ----------
    rate : float
        Fraction that is dropped, in [0, 1).
    seed : int, optional
        Source of the mask where `forward` is given no generator; a layer holds no hidden state, so each such call
        draws the same mask.  ``Sequential.fit`` hands its own generator down, which the model's seed starts.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import Dropout
    >>> out, cache = Dropout(0.5).forward(np.ones((2, 4)), training=True, rng=np.random.default_rng(0))
    >>> sorted(set(out.ravel().tolist()))
    [0.0, 2.0]
    """

    def __init__(self, rate: float, *, seed: int | None = None) -> None:
        super().__init__(seed=seed)
        self.rate = _check.number("rate", rate, 0.0, 1.0, open_maximum=True)

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Apply the layer.

        Parameters
        ----------
        x : array_like
        training : bool
            Only then anything is dropped.
        rng : numpy.random.Generator, optional
            Source of the mask.

        Returns
        -------
        out : ndarray
            Of the shape of x; x itself where nothing is dropped.
        cache
            For `backward`.
        """
        x = self._input(x)
        if not training or self.rate == 0.0:
            return x, None
        rng = np.random.default_rng(self.seed) if rng is None else rng
        kept = rng.random(self._mask_shape(x), dtype=np.float32) >= self.rate
        scale = kept.astype(x.dtype)
        scale /= 1.0 - self.rate
        return x * scale, scale

    def _mask_shape(self, x: np.ndarray) -> tuple[int, ...]:
        """The shape of what is drawn for an input."""
        return x.shape

    def backward(
        self, dout: Any, cache: np.ndarray | None, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """The gradient by the input, under the mask that `forward` drew."""
        self._no_state(dfinal_state)
        dout = np.asarray(dout)
        return (dout if cache is None else dout * cache), {}, None


class SpatialDropout1D(Dropout):
    """`Dropout` of whole features: what is dropped of a row is dropped at all of its steps (Tompson et al., 2015).

    Parameters
    ----------
    rate : float
        Fraction of the features that is dropped, in [0, 1).
    seed : int, optional
        As for `Dropout`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import SpatialDropout1D
    >>> out, cache = SpatialDropout1D(0.5).forward(np.ones((1, 50, 4)), training=True, rng=np.random.default_rng(0))
    >>> np.unique(out[0], axis=0)  # one and the same row at all 50 steps
    array([[2., 2., 2., 0.]])
    """

    input_ndim = 3

    def _mask_shape(self, x: np.ndarray) -> tuple[int, ...]:
        batch, _, features = x.shape
        return batch, 1, features


class GaussianNoise(Layer):
    """In training, normally distributed noise is added to every number.

    Parameters
    ----------
    stddev : float
        Its standard deviation.
    seed : int, optional
        As for `Dropout`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import GaussianNoise
    >>> x = np.zeros((100, 100))
    >>> out, cache = GaussianNoise(0.5).forward(x, training=True, rng=np.random.default_rng(0))
    >>> round(float(out.std()), 2)
    0.5
    """

    def __init__(self, stddev: float, *, seed: int | None = None) -> None:
        super().__init__(seed=seed)
        self.stddev = _check.number("stddev", stddev, 0.0)

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, None]:
        """Add the noise.

        Parameters
        ----------
        x : array_like
        training : bool
            Only then anything is added.
        rng : numpy.random.Generator, optional
            Source of the noise.

        Returns
        -------
        out : ndarray
            Of the shape of x; x itself where nothing is added.
        cache : None
        """
        x = self._input(x)
        if not training or self.stddev == 0.0:
            return x, None
        rng = np.random.default_rng(self.seed) if rng is None else rng
        noise = rng.standard_normal(x.shape, x.dtype)
        noise *= self.stddev
        return x + noise, None

    def backward(
        self, dout: Any, cache: None, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """The gradient by the input, which is that by the output."""
        self._no_state(dfinal_state)
        return np.asarray(dout), {}, None
