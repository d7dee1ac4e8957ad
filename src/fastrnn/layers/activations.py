"""Activations as layers are given them: a name, or ``(name, alpha[, beta])`` for one with constants."""

from __future__ import annotations

from typing import Any, TypeAlias

from fastrnn import _check, _engine

__all__ = ["ActivationLike", "as_kind", "checked_activation", "needs_argument"]

ActivationLike: TypeAlias = str | tuple[Any, ...]


def checked_activation(name: str, value: Any) -> ActivationLike:
    """An activation as it was given, once the engine takes it; the list that JSON makes of a tuple is one again."""
    value = tuple(value) if isinstance(value, list) else value
    _check.activation(name, value, _engine.ACTIVATIONS)
    return value


def as_kind(activation: ActivationLike | None) -> tuple[int, float, float]:
    """A checked activation as the engine takes it; None is linear."""
    return _check.activation("activation", "linear" if activation is None else activation, _engine.ACTIVATIONS)


def needs_argument(activation: ActivationLike) -> bool:
    """Whether the derivative does not follow from the value."""
    return _engine.ACTIVATIONS[activation if isinstance(activation, str) else activation[0]]["needs_argument"]
