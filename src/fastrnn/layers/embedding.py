"""Vectors for class numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Layer, Seed, Shape
from fastrnn.layers.initializers import Initializer, checked_initializer
from fastrnn.layers.steps import Steps

__all__ = ["Embedding"]


class Embedding(Layer):
    """A learned vector for each of a number of classes (words, letters, weekdays): (B, T) becomes (B, T, D).

    Parameters
    ----------
    input_dim : int
        V, the number of classes; the input holds whole numbers from 0 to V - 1.
    output_dim : int
        D, the size of a vector.
    mask_zero : bool
        Whether class 0 stands for padding: the layers behind get a mask that leaves out such steps, and so does the
        loss.
    embeddings_initializer : str or Initializer
        First values of the vectors.
    dtype : {"float32", "float64"}
        Of the vectors.
    seed : int, optional
        Seed of the first vectors; None draws fresh ones.

    Notes
    -----
    Parameters: ``w`` (V, D).  The gradient by it is dense.  There is no gradient by the input: `backward` gives None.

    Examples
    --------
    >>> from fastrnn.layers import GRU, Embedding
    >>> from fastrnn.training import Sequential
    >>> model = Sequential([Embedding(1000, 16, mask_zero=True), GRU(8)], seed=0)
    >>> model.predict([[5, 17, 999, 0], [3, 0, 0, 0]]).shape
    (2, 8)
    """

    input_ndim = 2
    takes_integers = True

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        mask_zero: bool = False,
        embeddings_initializer: str | Initializer = "random_uniform",
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__("float32" if dtype is None else dtype, seed)
        self.input_dim = _check.integer("input_dim", input_dim, 1)
        self.output_dim = _check.integer("output_dim", output_dim, 1)
        self.mask_zero = _check.boolean("mask_zero", mask_zero)
        self.embeddings_initializer = checked_initializer("embeddings_initializer", embeddings_initializer)

    def build(self, input_size: int | None = None, seed: Seed = None) -> None:
        """Create the vectors; the first data do it by themselves.

        Parameters
        ----------
        input_size : int, optional
            Without effect: the input may have any number of steps.
        seed : int or numpy.random.SeedSequence, optional
            Used where the layer has no seed of its own.
        """
        super().build(self.input_dim, seed)

    def build_for(self, input_shape: Shape, seed: Seed = None) -> None:
        self.build(seed=seed)

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"w": self._drawn("embeddings_initializer", (self.input_dim, self.output_dim), rng)}

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def output_steps(self, x: Any, steps: Steps) -> Steps:
        if not self.mask_zero or x is None:
            return steps
        known = np.asarray(x) != 0
        return steps._replace(mask=known if steps.mask is None else known & steps.mask)

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Look the vectors up.

        Parameters
        ----------
        x : array_like of int (B, T)
        training, rng
            Without effect.

        Returns
        -------
        out : ndarray (B, T, D)
        cache
            For `backward`.
        """
        x = _check.as_class_numbers("x", x, self.input_dim, self.input_ndim)
        if not self.built:
            self.build()
        return self.params["w"][x], x.copy()

    def backward(
        self, dout: Any, cache: np.ndarray, dfinal_state: None = None
    ) -> tuple[None, dict[str, np.ndarray], None]:
        """The gradient by the vectors.

        Parameters
        ----------
        dout : array_like (B, T, D)
        cache
            What `forward` returned.

        Returns
        -------
        dx : None
        grads : dict of str to ndarray
        dstate : None
        """
        self._no_state(dfinal_state)
        dout = self._array("dout", dout, (*cache.shape, self.output_dim))
        dw = _sums_by_class(cache.ravel(), dout.reshape(-1, self.output_dim), self.input_dim)
        return None, {"w": dw}, None


def _sums_by_class(classes: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """The sum of the rows (N, D) of each class, (count, D); the rows of a class are added in their order."""
    sums = np.zeros((count, rows.shape[1]), rows.dtype)
    if len(classes):
        order = np.argsort(classes, kind="stable")
        ordered = classes[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))  # where the rows of each class begin
        sums[ordered[starts]] = np.add.reduceat(rows[order], starts, axis=0)
    return sums
