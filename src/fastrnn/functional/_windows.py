"""Where windows that slide over time lie: Keras' rules for convolutions and pooling."""

from __future__ import annotations

from typing import Any

from .. import _check

PADDINGS = ("valid", "same", "causal")


def padding_steps(padding: Any, steps: int, span: int, stride: int) -> tuple[int, int]:
    """Steps of padding before and behind a sequence; `span` is what a window spans, (K - 1)·dilation + 1 steps.

    "same" pads as TensorFlow does: there are ceil(T / stride) windows, and where the padding is odd, the end gets more.
    """
    if not isinstance(padding, str):
        return _explicit_padding(padding)
    if _check.choice("padding", padding, PADDINGS) == "valid":
        return 0, 0
    if padding == "causal":
        return span - 1, 0
    missing = max((-(-steps // stride) - 1) * stride + span - steps, 0)
    return missing // 2, missing - missing // 2


def _explicit_padding(padding: Any) -> tuple[int, int]:
    """The padding itself, (left, right)."""
    if not isinstance(padding, (tuple, list)) or len(padding) != 2:
        names = ", ".join(map(repr, PADDINGS))
        raise TypeError(f"padding: expected one of {names} or a tuple (left, right), got {padding!r}")
    left, right = (_check.integer("padding", value, 0, 2**31) for value in padding)
    return left, right


def window_count(steps: int, span: int, stride: int, left: int = 0, right: int = 0) -> int:
    """How many windows fit; 0 where the sequence is shorter than one."""
    return max((steps + left + right - span) // stride + 1, 0)


def true_windows(lengths: Any, padding: str, span: int, stride: int) -> Any:
    """How many windows of a row of each length count as true ones.

    Window o belongs to step o·stride: with "same" and "causal" padding it is a true one if that is a step of the row.
    Without padding all steps of the window have to be.
    """
    if padding == "valid":
        return (lengths - span).clip(-stride) // stride + 1
    return -(-lengths // stride)
