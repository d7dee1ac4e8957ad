"""Activations of the layers that have no time: each with its derivative, written by the output y.

The recurrent layers' activations belong to the engine; these are for `Dense`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastrnn import functional

__all__ = ["ACTIVATIONS", "Activation"]


class Activation(NamedTuple):
    """y = value(a), and da = gradient(dy, y)."""

    value: Callable[[np.ndarray], np.ndarray]
    gradient: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _identity(a: np.ndarray) -> np.ndarray:
    return a


def _relu(a: np.ndarray) -> np.ndarray:
    return np.maximum(a, 0)


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(_identity, lambda dy, y: dy),
    "relu": Activation(_relu, lambda dy, y: dy * (y > 0)),
    "sigmoid": Activation(functional.sigmoid, lambda dy, y: dy * y * (1 - y)),
    "tanh": Activation(functional.tanh, lambda dy, y: dy * (1 - y * y)),
}
