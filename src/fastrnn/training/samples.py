"""The arrays that a model is trained or judged on, held together row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from fastrnn import _check
from fastrnn.layers.steps import Steps

__all__ = ["Samples"]

Rows = slice | np.ndarray


@dataclass(frozen=True)
class Samples:
    """Inputs, targets, weights and what is known of the steps, one row for each sample; what is not given is None."""

    x: np.ndarray
    y: np.ndarray | None = None
    sample_weight: np.ndarray | None = None
    lengths: np.ndarray | None = None
    mask: np.ndarray | None = None
    reset_mask: np.ndarray | None = None

    @classmethod
    def checked(
        cls,
        dtype: Any,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        lengths: Any = None,
        mask: Any = None,
        reset_mask: Any = None,
    ) -> Self:
        """The arrays, once they have the same number of rows.

        Parameters
        ----------
        dtype : dtype or None
            What x is cast to; None keeps float32 and makes anything else float64.  An integer type stands for class
            numbers (N, T), which stay what they are.
        x, y, sample_weight, lengths, mask, reset_mask : array_like
        """
        classes = dtype is not None and np.dtype(dtype).kind == "i"
        x = _check.as_real_array("x", x)
        x = x if classes else _check.as_float_array("x", x, dtype or _check.float_dtype(x=x))
        if x.ndim < 2:
            wanted = "2-D (N, T)" if classes else "2-D (N, I) or 3-D (N, T, I)"
            raise ValueError(f"x: expected {wanted}, got {x.ndim}-D with shape {x.shape}")
        others = {
            "y": None if y is None else _check.as_real_array("y", y),
            "sample_weight": None if sample_weight is None else _check.as_real_array("sample_weight", sample_weight),
        }
        for name, array in others.items():
            if array is not None and (array.ndim == 0 or len(array) != len(x)):
                raise ValueError(f"{name}: expected {len(x)} rows as in x, got shape {array.shape}")
        steps = Steps.checked(x, lengths, mask, reset_mask, min_ndim=2 if classes else 3)
        return cls(x, **others, **steps._asdict())

    @property
    def steps(self) -> Steps:
        """What is known of the time steps of x."""
        return Steps(self.lengths, self.mask, self.reset_mask)

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Rows) -> Self:
        """Some of the rows."""
        arrays: dict[str, Any] = {n: value[rows] for n, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **arrays)

    def split(self, fraction: float) -> tuple[Self, Self]:
        """The first rows and the last, which are the given fraction of all; neither may be empty."""
        first = round(len(self) * (1.0 - fraction))
        if not 0 < first < len(self):
            raise ValueError(f"validation_split: {fraction:g} of {len(self)} rows leaves no row on one side")
        return self.take(slice(0, first)), self.take(slice(first, None))

    def batches(self, batch_size: int, order: np.ndarray | None = None) -> Iterator[Self]:
        """Batches of rows, in the given order or as they stand."""
        for start in range(0, len(self), batch_size):
            rows = slice(start, start + batch_size)
            yield self.take(rows if order is None else order[rows])
