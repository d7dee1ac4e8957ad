"""Layers that act while training alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Layer, Shape

__all__ = ["Dropout"]


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
        kept = rng.random(x.shape, dtype=np.float32) >= self.rate
        scale = kept.astype(x.dtype)
        scale /= 1.0 - self.rate
        return x * scale, scale

    def backward(
        self, dout: Any, cache: np.ndarray | None, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """The gradient by the input, under the mask that `forward` drew."""
        self._no_state(dfinal_state)
        dout = np.asarray(dout)
        return (dout if cache is None else dout * cache), {}, None
