"""First values of the weights: Keras' initialisers, drawn from a NumPy generator.

Numbers are drawn in float64 and then cast, so a float32 and a float64 layer of the same seed start from the same point.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn.layers.config import Configurable, resolve

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "checked_initializer",
    "get_initializer",
]

# Standard deviation of a standard normal distribution cut off at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978


class Initializer(Configurable):
    """Base class: a subclass says how float64 numbers of a shape are drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers.initializers import GlorotUniform
    >>> GlorotUniform()((2, 3), "float32", np.random.default_rng(0)).dtype
    dtype('float32')
    """

    def __call__(self, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> np.ndarray:
        """Draw an array.

        Parameters
        ----------
        shape : tuple of int
        dtype : dtype
        rng : numpy.random.Generator

        Returns
        -------
        ndarray
            C-contiguous, of the given shape and dtype.
        """
        return np.ascontiguousarray(self.draw(shape, rng), dtype=dtype)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """The numbers in float64."""
        raise NotImplementedError


class Constant(Initializer):
    """Every weight the same `value`."""

    def __init__(self, value: float = 0.0) -> None:
        self.value = _check.number("value", value)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return np.full(shape, self.value)


class Zeros(Initializer):
    """All zeros."""

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return np.zeros(shape)


class Ones(Initializer):
    """All ones."""

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return np.ones(shape)


class RandomNormal(Initializer):
    """Normal distribution with the given mean and standard deviation."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05) -> None:
        self.mean = _check.number("mean", mean)
        self.stddev = _check.number("stddev", stddev, 0.0)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.normal(self.mean, self.stddev, shape)


class TruncatedNormal(RandomNormal):
    """Normal distribution; what falls further than two standard deviations from the mean is drawn again."""

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return self.mean + self.stddev * _truncated_standard_normal(shape, rng)


class RandomUniform(Initializer):
    """Uniform distribution over ``[minval, maxval)``."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05) -> None:
        self.minval = _check.number("minval", minval)
        self.maxval = _check.number("maxval", maxval, self.minval)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(self.minval, self.maxval, shape)


class VarianceScaling(Initializer):
    """Zero mean and variance ``scale / n``, with n the fan in, the fan out or their mean.

    The fans are those of the kernel as it is stored: a recurrent layer's ``w_x`` (I, G*H) has fan in I and fan out
    G*H, as in Keras.

    Parameters
    ----------
    scale : float
        Above 0.
    mode : {"fan_in", "fan_out", "fan_avg"}
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal") -> None:
        self.scale = _check.number("scale", scale, 0.0, open_minimum=True)
        self.mode = _check.choice("mode", mode, ("fan_in", "fan_out", "fan_avg"))
        self.distribution = _check.choice(
            "distribution", distribution, ("truncated_normal", "untruncated_normal", "uniform")
        )

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        fan_in, fan_out = _fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, fan))
        if self.distribution == "uniform":
            limit = math.sqrt(3.0) * stddev
            return rng.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return rng.normal(0.0, stddev, shape)
        return stddev / _TRUNCATED_STDDEV * _truncated_standard_normal(shape, rng)


class GlorotUniform(VarianceScaling):
    """Uniform within ``sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio, 2010)."""

    def __init__(self) -> None:
        super().__init__(1.0, "fan_avg", "uniform")


class GlorotNormal(VarianceScaling):
    """Truncated normal of variance ``2 / (fan_in + fan_out)`` (Glorot and Bengio, 2010)."""

    def __init__(self) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal")


class HeUniform(VarianceScaling):
    """Uniform within ``sqrt(6 / fan_in)`` (He et al., 2015)."""

    def __init__(self) -> None:
        super().__init__(2.0, "fan_in", "uniform")


class HeNormal(VarianceScaling):
    """Truncated normal of variance ``2 / fan_in`` (He et al., 2015)."""

    def __init__(self) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal")


class LecunUniform(VarianceScaling):
    """Uniform within ``sqrt(3 / fan_in)`` (LeCun et al., 1998)."""

    def __init__(self) -> None:
        super().__init__(1.0, "fan_in", "uniform")


class LecunNormal(VarianceScaling):
    """Truncated normal of variance ``1 / fan_in`` (LeCun et al., 1998)."""

    def __init__(self) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal")


class Orthogonal(Initializer):
    """Orthonormal rows (or columns, whichever are fewer), times `gain` (Saxe et al., 2014).

    For a recurrent kernel this is over the fused (H, G*H) matrix, as in Keras: its H rows are orthonormal, the H by H
    block of one gate by itself is not orthogonal.

    Parameters
    ----------
    gain : float
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = _check.number("gain", gain)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(f"shape: an orthogonal initializer expects at least two axes, got {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the decomposition, and so the distribution, unique
        return self.gain * (q.T if rows < columns else q).reshape(shape)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan in and fan out of a kernel whose last axis is the output and whose last but one is the input."""
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    receptive_field = math.prod(shape[:-2])
    return shape[-2] * receptive_field, shape[-1] * receptive_field


def _truncated_standard_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A standard normal distribution cut off at -2 and 2, by drawing again what lies outside."""
    values = rng.normal(size=shape)
    outside = np.abs(values) > 2.0
    while outside.any():
        values[outside] = rng.normal(size=int(outside.sum()))
        outside = np.abs(values) > 2.0
    return values


_INITIALIZERS: dict[str, type[Initializer]] = {
    "constant": Constant,
    "glorot_normal": GlorotNormal,
    "glorot_uniform": GlorotUniform,
    "he_normal": HeNormal,
    "he_uniform": HeUniform,
    "lecun_normal": LecunNormal,
    "lecun_uniform": LecunUniform,
    "ones": Ones,
    "orthogonal": Orthogonal,
    "random_normal": RandomNormal,
    "random_uniform": RandomUniform,
    "truncated_normal": TruncatedNormal,
    "variance_scaling": VarianceScaling,
    "zeros": Zeros,
}


def get_initializer(name: str, value: str | Initializer) -> Initializer:
    """An initialiser, given itself or by name; `name` is the argument an error message blames."""
    return resolve(name, value, Initializer, _INITIALIZERS)


def checked_initializer(name: str, value: str | Initializer) -> str | Initializer:
    """The value as it was given, once `get_initializer` takes it."""
    get_initializer(name, value)
    return value
