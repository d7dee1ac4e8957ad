"""Layers that change the shape and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Layer, Shape

__all__ = ["Flatten", "Reshape"]


class _Reshaping(Layer):
    """What both have in common: the numbers of each row stay, in their order."""

    def pass_on(self, lengths: Any, reset_mask: Any) -> tuple[Any, Any]:
        return None, None

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, tuple[int, ...]]:
        """Reshape x.

        Parameters
        ----------
        x : array_like (B, ...)
        training, rng
            Without effect.

        Returns
        -------
        out : ndarray (B, ...)
        cache
            For `backward`.
        """
        x = self._input(x)
        return x.reshape(len(x), *self._sizes(x.shape)), x.shape

    def output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self._sizes(input_shape))

    def _sizes(self, input_shape: Shape) -> Any:
        """The shape of the output without the batch."""
        raise NotImplementedError

    def backward(
        self, dout: Any, cache: tuple[int, ...], dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """The gradient by the input."""
        self._no_state(dfinal_state)
        shape = (cache[0], *self._sizes(cache))
        return self._array("dout", dout, shape).reshape(cache), {}, None


class Flatten(_Reshaping):
    """All steps of a sequence beside one another: (B, T, I) becomes (B, T*I).

    Notes
    -----
    A layer with parameters behind it is built for one number of steps.  A model learns it from the first data, or is
    told: ``Sequential([Flatten(), Dense(1)], input_size=(50, 1))``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import Flatten
    >>> Flatten()(np.ones((32, 50, 2))).shape
    (32, 100)
    """

    input_ndim = 3

    def _sizes(self, input_shape: Shape) -> tuple[int | None]:
        _, time, size = input_shape
        return (None if time is None or size is None else time * size,)


class Reshape(_Reshaping):
    """Each row in another shape.

    Parameters
    ----------
    target_shape : iterable of int
        Shape of the output without the batch; one entry may be -1, which is what is left.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import Reshape
    >>> Reshape((-1, 5))(np.ones((32, 100))).shape
    (32, 20, 5)
    """

    changes_rank = True

    def __init__(self, target_shape: Iterable[int]) -> None:
        super().__init__()
        self.target_shape = tuple(_check.integer("target_shape", size, -1) for size in target_shape)
        if not self.target_shape or 0 in self.target_shape or self.target_shape.count(-1) > 1:
            raise ValueError(f"target_shape: expected sizes >= 1, one of them perhaps -1, got {self.target_shape}")

    def _sizes(self, input_shape: Shape) -> tuple[int | None, ...]:
        fixed = math.prod(size for size in self.target_shape if size != -1)
        sizes = [size for size in input_shape[1:] if size is not None]
        if len(sizes) < len(input_shape) - 1:
            return tuple(None if size == -1 else size for size in self.target_shape)
        given = math.prod(sizes)
        left, rest = divmod(given, fixed)
        if rest or (left != 1 and -1 not in self.target_shape):
            raise ValueError(f"x: expected rows that fit target_shape {self.target_shape}, got shape {input_shape}")
        return tuple(left if size == -1 else size for size in self.target_shape)
