"""Scaling: mean 0 and standard deviation 1 over the training part."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["LARGEST", "ColumnScaler"]

LARGEST = 1e100  # of the numbers in a column: a sum of their squares stays finite


class ColumnScaler:
    """Shift and scale the columns of a table by mean and standard deviation of the rows it was fitted on.

    A column that does not vary over those rows has nothing to teach, and whatever it does later could only mislead: it
    is scaled to zero.

    Examples
    --------
    >>> import numpy as np
    >>> ColumnScaler().fit(np.array([[1.0, 5.0], [3.0, 5.0]])).transform([[5.0, 6.0]])
    array([[3., 0.]])
    """

    mean: np.ndarray
    scale: np.ndarray

    def fit(self, table: np.ndarray) -> ColumnScaler:
        """Mean and standard deviation (population) of each column of `table` (N, C)."""
        table = np.asarray(table, np.float64)
        self.mean = table.mean(axis=0)
        deviation = table.std(axis=0)
        # rounding leaves a constant column with a deviation of some 1e-16 of its size, not with 0
        varies = deviation > 1e-12 * np.abs(table).max(axis=0, initial=0.0)
        self.scale = np.where(varies, deviation, np.inf)
        return self

    def transform(self, table: np.ndarray) -> np.ndarray:
        """(table - mean) / scale."""
        return (np.asarray(table, np.float64) - self.mean) / self.scale

    def inverse(self, column: int, scaled: np.ndarray) -> np.ndarray:
        """Scaled values of one column back in their own units, float64."""
        scale = self.scale[column]
        return np.asarray(scaled, np.float64) * (scale if np.isfinite(scale) else 0.0) + self.mean[column]

    def to_plain(self) -> dict[str, list[Any]]:
        """Means and deviations as JSON takes them; None stands for a column that did not vary."""
        scale = [float(value) if np.isfinite(value) else None for value in self.scale]
        return {"mean": [float(value) for value in self.mean], "scale": scale}

    @classmethod
    def from_plain(cls, plain: dict[str, list[Any]]) -> ColumnScaler:
        """The inverse of `to_plain`."""
        scaler = cls()
        scaler.mean = np.array(plain["mean"], np.float64)
        scaler.scale = np.array([np.inf if value is None else value for value in plain["scale"]], np.float64)
        return scaler
