"""What every layer is: named parameters, a forward pass that returns its cache, a backward pass that takes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, ClassVar

import numpy as np

from fastrnn import _check
from fastrnn.layers.config import Configurable
from fastrnn.layers.initializers import get_initializer

__all__ = ["Layer", "Parameters", "PrefixedParameters", "Shape"]

Shape = tuple[int | None, ...]  # None stands for a size that only the data knows
Seed = int | np.random.SeedSequence | None

_build_lock = threading.RLock()


class Parameters(MutableMapping[str, np.ndarray]):
    """A layer's arrays by name.  Assigning copies the values in after a look at name, shape and kind; the dtype stays.

    Parameters
    ----------
    owner : str
        Name of the layer, for messages.
    arrays : mapping of str to ndarray
    """

    def __init__(self, owner: str, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        self._owner = owner
        self._arrays = dict(arrays or {})

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._arrays:
            known = ", ".join(self._arrays) or "none (a layer has its parameters once build(input_size) has run)"
            raise ValueError(f"{name}: {self._owner} has no such parameter; it has {known}")
        present = self._arrays[name]
        array = _check.as_float_array(name, value, present.dtype)
        self._arrays[name] = _check.require_shape(name, array, present.shape).copy()

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name}: the parameters of a layer can be assigned, not removed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {a.dtype}{list(a.shape)}" for name, a in self.items()) + "}"


class PrefixedParameters(MutableMapping[str, np.ndarray]):
    """The parameters of several layers as one mapping with names like ``0/w_x``; assigning reaches the layer itself."""

    def __init__(self, parts: Mapping[str, MutableMapping[str, np.ndarray]]) -> None:
        self._parts = dict(parts)

    def __getitem__(self, name: str) -> np.ndarray:
        part, _, rest = name.partition("/")
        if part not in self._parts or rest not in self._parts[part]:
            raise KeyError(name)
        return self._parts[part][rest]

    def __setitem__(self, name: str, value: Any) -> None:
        part, _, rest = name.partition("/")
        if part not in self._parts or rest not in self._parts[part]:
            raise ValueError(f"{name}: no such parameter; there is {', '.join(self) or 'none'}")
        self._parts[part][rest] = value

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name}: parameters can be assigned, not removed")

    def __iter__(self) -> Iterator[str]:
        return (f"{prefix}/{name}" for prefix, part in self._parts.items() for name in part)

    def __len__(self) -> int:
        return sum(map(len, self._parts.values()))

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {a.dtype}{list(a.shape)}" for name, a in self.items()) + "}"


class Layer(Configurable):
    """Base class of all layers.

    A layer holds its options and its parameters and nothing else: what backward needs travels in the cache that forward
    returns.  One layer therefore serves any batch size and any number of threads at once, as long as nobody trains it
    meanwhile.

    A subclass writes `forward`, `backward`, `output_shape` and, if it has parameters, `initial_parameters`.

    Parameters
    ----------
    dtype : {"float32", "float64"} or None
        What the layer computes in; None follows the input.
    seed : int, optional
        Seed of the first weights; None draws fresh ones.
    """

    input_ndim: int | None = None
    """The rank of the input, batch included; None for any from 2."""

    takes_time: ClassVar[bool] = False
    """Whether forward takes ``lengths``, ``mask`` and ``reset_mask``."""

    def __init__(self, dtype: Any = None, seed: int | None = None) -> None:
        self.dtype = None if dtype is None else np.dtype(_check.choice("dtype", _dtype_name(dtype), _DTYPES))
        self.seed = None if seed is None else _check.integer("seed", seed, 0)
        self.input_size: int | None = None
        self._params = Parameters(type(self).__name__)

    @property
    def params(self) -> MutableMapping[str, np.ndarray]:
        """The parameters by name; assigning an array of the right shape replaces one."""
        return self._params

    @property
    def built(self) -> bool:
        """Whether the parameters stand."""
        return self.input_size is not None

    def build(self, input_size: int, seed: Seed = None) -> None:
        """Create the parameters; the first data do it by themselves.  Does nothing if they stand already.

        Parameters
        ----------
        input_size : int
            Size of the last axis of the input.
        seed : int or numpy.random.SeedSequence, optional
            Used where the layer has no seed of its own.

        Raises
        ------
        ValueError
            If the layer stands already with another input size.
        """
        input_size = _check.integer("input_size", input_size, 1)
        with _build_lock:
            if self.input_size is None:
                rng = np.random.default_rng(seed if self.seed is None else self.seed)
                self._params = Parameters(type(self).__name__, self.initial_parameters(input_size, rng))
                self.input_size = input_size
        if self.input_size != input_size:
            raise ValueError(
                f"input_size: {type(self).__name__} stands already with input size {self.input_size}, got {input_size}"
            )

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The first values of the parameters, in the layer's dtype."""
        return {}

    def _drawn(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """First values from the initialiser that the layer has under a name."""
        return get_initializer(name, getattr(self, name))(shape, self.dtype, rng)

    def count_params(self) -> int:
        """How many numbers the layer learns."""
        return sum(array.size for array in self.params.values())

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output for the shape of an input; None stands for an unknown size."""
        raise NotImplementedError

    def pass_on(self, lengths: Any, reset_mask: Any) -> tuple[Any, Any]:
        """Lengths and reset mask as they hold for this layer's output: (None, None) if it has no time axis any more."""
        return lengths, reset_mask

    def __call__(self, x: Any, *args: Any, **options: Any) -> Any:
        """Inference: the output of `forward` alone."""
        return self.forward(x, *args, **options)[0]

    def infer(self, x: Any, *args: Any, **options: Any) -> np.ndarray:
        """The output of `forward`; a layer that can do without keeping anything for `backward` does."""
        return self.forward(x, *args, **options)[0]

    def forward(
        self, x: Any, *, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, Any]:
        """The output and the cache that `backward` takes."""
        raise NotImplementedError

    def backward(
        self, dout: Any, cache: Any, dfinal_state: Any = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], Any]:
        """The gradients by the input, by each parameter, and by the initial state (None without one)."""
        raise NotImplementedError

    def _input(self, x: Any) -> np.ndarray:
        """The input in the layer's dtype, rank and last axis checked; builds the layer where it is not built yet."""
        dtype = self.dtype or _check.float_dtype(x=x)
        array = _check.as_float_array("x", x, dtype, self.input_ndim)
        if array.ndim < 2 or array.shape[-1] == 0:
            raise ValueError(f"x: expected at least 2-D with a last axis >= 1, got shape {array.shape}")
        if self.input_size is None:
            self.build(array.shape[-1])
        if array.shape[-1] != self.input_size:
            raise ValueError(f"x: expected a last axis of size {self.input_size}, got shape {array.shape}")
        return array

    def _array(self, name: str, value: Any, shape: tuple[int, ...], formula: str = "") -> np.ndarray:
        """A gradient or a state in the layer's dtype, of the given shape."""
        array = _check.as_float_array(name, value, self.dtype or _check.float_dtype(**{name: value}))
        return _check.require_shape(name, array, shape, formula)

    def _no_state(self, dfinal_state: Any) -> None:
        """Refuse a state gradient where there is no state."""
        if dfinal_state is not None:
            raise ValueError(f"dfinal_state: {type(self).__name__} has no state, expected None")


_DTYPES = ("float32", "float64")


def _dtype_name(dtype: Any) -> str:
    """The name of a dtype given in any of NumPy's ways."""
    try:
        return np.dtype(dtype).name
    except TypeError:
        raise TypeError(f"dtype: expected 'float32' or 'float64', got {dtype!r}") from None
