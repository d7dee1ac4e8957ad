"""Sources and targets, held together row by row, and the checks that they fit a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check
from fastrnn.layers.steps import Steps
from fastrnn.training.samples import Samples

__all__ = ["Form", "Inputs", "Pairs", "checked_pairs"]


@dataclass(frozen=True)
class Pairs(Samples):
    """Sources x and targets y; `lengths` are the targets'."""

    source_lengths: np.ndarray | None = None
    first: np.ndarray | None = None
    future: np.ndarray | None = None
    closed_loop: bool = False  # whether the model is judged by what it makes of its own outputs


class Inputs(NamedTuple):
    """What a user gives beside the targets and the weights; names as in ``EncoderDecoder.fit``."""

    x: Any
    lengths: Any = None
    target_lengths: Any = None
    first: Any = None
    future: Any = None
    closed_loop: bool = False


class Form(NamedTuple):
    """What a model takes: tokens or values, K of them, F future inputs, in the decoder's dtype."""

    tokens: bool
    size: int
    future_size: int
    dtype: np.dtype


def checked_pairs(
    form: Form, x: np.ndarray, inputs: Inputs, y: Any = None, *, steps: int = 0, sample_weight: Any = None
) -> Pairs:
    """Everything that belongs to a batch.

    Parameters
    ----------
    form : Form
    x : ndarray
        The sources, checked.
    inputs : Inputs
    y : array_like, optional
        The targets.
    steps : int
        How many steps the targets have where there are none.
    sample_weight : array_like, optional
    """
    rows = len(x)
    if y is not None:
        y = _targets(form, y, rows)
        steps = y.shape[1]
    lengths = _lengths("target_lengths", inputs.target_lengths, rows, steps)
    if form.tokens and y is not None:
        counted = Steps(lengths).counted(steps)
        _check.as_class_numbers("y", y if counted is None else y[counted], form.size)
    if sample_weight is not None:
        sample_weight = _check.as_real_array("sample_weight", sample_weight)
        if sample_weight.ndim == 0 or len(sample_weight) != rows:
            raise ValueError(f"sample_weight: expected {rows} rows as in x, got shape {sample_weight.shape}")
    return Pairs(
        x=x,
        y=y,
        sample_weight=sample_weight,
        lengths=lengths,
        source_lengths=_lengths("lengths", inputs.lengths, rows, x.shape[1]),
        first=_first(form, inputs.first, rows),
        future=_future(form, inputs.future, rows, steps, may_be_longer=y is None),
        closed_loop=inputs.closed_loop,
    )


def _targets(form: Form, y: Any, rows: int) -> np.ndarray:
    """Tokens (N, T), or values (N, T, K)."""
    y = _check.as_real_array("y", y)
    if form.tokens:
        if y.dtype.kind not in "iu":
            raise TypeError(f"y: expected integer tokens, got dtype {y.dtype}")
        fits, wanted = y.ndim == 2, f"({rows}, T)"
    else:
        y = y[..., None] if y.ndim == 2 and form.size == 1 else y
        fits, wanted = y.ndim == 3 and y.shape[2] == form.size, f"({rows}, T, {form.size})"
    if not fits or len(y) != rows or y.shape[1] == 0:
        raise ValueError(f"y: expected shape {wanted} with T >= 1, got {y.shape}")
    return y


def _lengths(name: str, lengths: Any, rows: int, steps: int) -> np.ndarray | None:
    """The true steps of each row."""
    return None if lengths is None else _check.as_int_vector(name, lengths, rows, 0, steps, "(N,)")


def _first(form: Form, first: Any, rows: int) -> np.ndarray | None:
    """What stands before the targets: tokens (N,) or values (N, K)."""
    if first is None:
        return None
    if form.tokens:
        return _check.as_int_vector("first", first, rows, 0, form.size - 1, "(N,)")
    return _check.require_shape("first", _check.as_float_array("first", first, form.dtype), (rows, form.size), "(N, K)")


def _future(form: Form, future: Any, rows: int, steps: int, may_be_longer: bool) -> np.ndarray | None:
    """The inputs of the output steps (N, T, F), just where the model takes them."""
    if future is None and form.future_size == 0:
        return None
    if future is None or form.future_size == 0:
        given = "None" if future is None else f"shape {np.shape(future)}"
        raise ValueError(f"future: the model has future_size={form.future_size}, got {given}")
    future = _check.as_float_array("future", future, form.dtype, 3)
    if may_be_longer and future.shape[1] > steps:
        future = future[:, :steps]
    return _check.require_shape("future", future, (rows, steps, form.future_size), "(N, T, F)")
