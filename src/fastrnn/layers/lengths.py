"""Rows of different lengths, for layers that look at several steps at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastrnn import _check

__all__ = ["checked_lengths", "inside", "refuse_resets", "zeroed_past"]


def checked_lengths(lengths: Any, batch: int, time: int) -> np.ndarray | None:
    """The lengths of the rows of a batch; None where every row goes on to the end."""
    if lengths is None:
        return None
    lengths = _check.as_int_vector("lengths", lengths, batch, 0, time, "(B,)")
    return None if (lengths == time).all() else lengths


def inside(lengths: np.ndarray, time: int) -> np.ndarray:
    """True at the steps of each row, (B, T, 1)."""
    return (np.arange(time) < lengths[:, None])[..., None]


def zeroed_past(array: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """An array (B, T, ...) that is 0 past the end of each row, whatever it held there; itself if all rows are full."""
    return array if lengths is None else np.where(inside(lengths, array.shape[1]), array, array.dtype.type(0))


def refuse_resets(layer: Any, reset_mask: Any) -> None:
    """A reset has no meaning for windows that reach over it."""
    if reset_mask is not None:
        raise ValueError(f"reset_mask: {type(layer).__name__} looks across steps and cannot be reset, expected None")
