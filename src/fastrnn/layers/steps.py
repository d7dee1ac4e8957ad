"""What is known of the time steps of a batch, and goes along with it from layer to layer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check

__all__ = ["Steps", "rows_in_time", "rows_of_steps"]


class Steps(NamedTuple):
    """What is known of the steps of an array (B, T, ...); None where there is nothing to know.

    `lengths` (B,) are the true steps of each row, the rest is padding; `mask` (B, T) is True at the steps that count;
    `reset_mask` (B, T) is True where a state is zeroed before that step.
    """

    lengths: np.ndarray | None = None
    mask: np.ndarray | None = None
    reset_mask: np.ndarray | None = None

    @classmethod
    def checked(cls, x: Any, lengths: Any, mask: Any, reset_mask: Any, *, min_ndim: int = 3) -> Steps:
        """What a user says of the steps of x, once it fits.

        Parameters
        ----------
        x : array_like (B, T, ...)
        lengths : array_like of int (B,) or None
        mask, reset_mask : array_like of bool (B, T) or None
        min_ndim : int
            Rank of x from which it has a time axis.
        """
        if lengths is None and mask is None and reset_mask is None:
            return cls()
        shape = np.shape(x)
        if len(shape) < min_ndim:
            first = next(n for n, v in zip(cls._fields, (lengths, mask, reset_mask), strict=True) if v is not None)
            wanted = "(B, T)" if min_ndim == 2 else "(B, T, I)"
            raise ValueError(f"{first}: expected x to be {min_ndim}-D {wanted}, got {len(shape)}-D with shape {shape}")
        batch, time = shape[:2]
        if lengths is not None:
            lengths = _check.as_int_vector("lengths", lengths, batch, 0, time, "(B,)")
        if mask is not None:
            mask = _check.as_bool_mask("mask", mask, (batch, time), "(B, T)")
        if reset_mask is not None:
            reset_mask = _check.as_bool_mask("reset_mask", reset_mask, (batch, time), "(B, T)")
        return cls(lengths, mask, reset_mask)

    def given(self) -> dict[str, Any]:
        """What there is, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def counted(self, time: int) -> np.ndarray | None:
        """Which of the T steps of each row count, bool (B, T); None where all do."""
        if self.lengths is None:
            return self.mask
        within = np.arange(time) < self.lengths[:, None]
        return within if self.mask is None else within & self.mask

    def without_holes(self, layer: object) -> Steps:
        """The same with lengths in place of the mask, which must cut off nothing but the ends of rows."""
        if self.mask is None:
            return self
        time = self.mask.shape[1]
        counted = self.counted(time)
        assert counted is not None
        lengths = np.count_nonzero(counted, axis=1)
        if (counted != (np.arange(time) < lengths[:, None])).any():
            raise ValueError(
                f"mask: {layer!r} looks at several steps at a time and can leave out nothing but the ends of rows, got "
                "a mask with steps that count behind steps that do not"
            )
        return Steps(lengths, None, self.reset_mask)


def rows_of_steps(a: np.ndarray, counted: np.ndarray | None) -> np.ndarray:
    """The steps of a (B, T, ...) that count, one below the other: (N, ...)."""
    return a.reshape(-1, *a.shape[2:]) if counted is None else a[counted]


def rows_in_time(rows: np.ndarray, counted: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `rows_of_steps`, for the `shape` of its argument: zero at the steps that do not count."""
    if counted is None:
        return rows.reshape(shape)
    out = np.zeros(shape, rows.dtype)
    out[counted] = rows.reshape(-1, *shape[2:])
    return out
