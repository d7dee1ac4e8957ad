"""What every layer is: named parameters, a forward pass that returns its cache, a backward pass that takes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, ClassVar

import numpy as np

from fastrnn import _changes, _check
from fastrnn.layers.config import Configurable
from fastrnn.layers.initializers import get_initializer
from fastrnn.layers.steps import Steps

__all__ = ["Layer", "Parameters", "PrefixedParameters", "Seed", "Shape", "UnknownSizeError", "child_seed", "prefixed"]

Shape = tuple[int | None, ...]  # None stands for a size that only the data knows
Seed = int | np.random.SeedSequence | None

_build_lock = threading.RLock()


class UnknownSizeError(ValueError):
    """A layer cannot be built before a size is known that only the whole shape of the input tells."""


def child_seed(seed: Seed, i: int) -> np.random.SeedSequence:
    """The seed of the i-th part of what has a seed; without one it is fresh at every call."""
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, i))


def prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gradients of a part under the names that `PrefixedParameters` gives its parameters."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


class Parameters(MutableMapping[str, np.ndarray]):
    """A layer's arrays by name.  Assigning copies the values in after a look at name, shape and kind; the dtype stays.

    Whoever writes into an array itself, as an optimizer does, says so by `_changes.note()`: sessions look out for it.

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
        _changes.note()

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

    A layer holds its options and its arrays and nothing else: what backward needs travels in the cache that forward
    returns.  One layer therefore serves any batch size and any number of threads at once, as long as nobody trains it
    meanwhile.

    Arrays are of two kinds.  `params` are learned: backward gives a gradient for each, the optimizer changes them.
    `buffers` are saved along with them and never given to the optimizer: fixed weights, moving statistics.  Even those
    are not touched by `forward`: what a training step found out stands in the cache, and `commit`, which
    ``Sequential.fit`` calls after each step, carries it over.

    A subclass writes `forward`, `backward`, `output_shape` and, if it has arrays, `initial_parameters` and
    `initial_buffers`, whose names differ.  A layer that changes the time axis writes `pass_on`.

    Parameters
    ----------
    dtype : {"float32", "float64"} or None
        What the layer computes in; None follows the input.
    seed : int, optional
        Seed of the first weights; None draws fresh ones.
    """

    input_ndim: int | None = None
    """The rank of the input, batch included; None for any from 2."""

    changes_rank: bool = False
    """Whether a layer that takes any rank gives another one."""

    takes_time: ClassVar[bool] = False
    """Whether forward and infer take ``lengths``, ``mask`` and ``reset_mask``."""

    takes_holes: ClassVar[bool] = True
    """Whether the layer can do with a mask that leaves out steps in the middle of a row.  One that looks at several
    steps at a time cannot: of a mask that cuts off the ends of the rows it gets the lengths, any other raises."""

    takes_integers: bool = False
    """Whether the input is class numbers, not to be cast to a float; its last axis then is time, not features."""

    def __init__(self, dtype: Any = None, seed: int | None = None) -> None:
        self.dtype = None if dtype is None else np.dtype(_check.choice("dtype", _dtype_name(dtype), _DTYPES))
        self.seed = None if seed is None else _check.integer("seed", seed, 0)
        self.input_size: Any = None  # an int once it is known, the shape (T, I) where that is needed
        self._params = Parameters(type(self).__name__)
        self._buffers = Parameters(type(self).__name__)

    @property
    def params(self) -> MutableMapping[str, np.ndarray]:
        """The parameters by name; assigning an array of the right shape replaces one."""
        return self._params

    @property
    def buffers(self) -> MutableMapping[str, np.ndarray]:
        """The arrays that are not learned, by name; assigning an array of the right shape replaces one."""
        return self._buffers

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
                self._buffers = Parameters(type(self).__name__, self.initial_buffers(input_size, rng))
                self.input_size = input_size
        if self.input_size != input_size:
            raise ValueError(
                f"input_size: {type(self).__name__} stands already with input size {self.input_size}, got {input_size}"
            )

    def build_for(self, input_shape: Shape, seed: Seed = None) -> None:
        """`build` for the shape of an input; a layer around others hands it on.

        Raises
        ------
        UnknownSizeError
            If the size of the last axis is not known.
        """
        if input_shape[-1] is None:
            raise UnknownSizeError(
                f"input_size: {self!r} has to know the number of time steps; give the whole shape of the input but for "
                "the batch, (T, I), or let the first data tell"
            )
        self.build(input_shape[-1], seed)

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The first values of the parameters, in the layer's dtype."""
        return {}

    def initial_buffers(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The first values of the arrays that are not learned; drawn, if at all, after the parameters."""
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
        """Lengths and a mask of steps as they hold for this layer's output: (None, None) if it has no such time axis.

        A mask of the steps that count goes the same way as one of resets, so this is asked for each of the two.
        """
        return lengths, reset_mask

    def admitted(self, steps: Steps) -> Steps:
        """What is known of the input's steps in the form that the layer can do with; see `takes_holes`."""
        return steps if self.takes_holes else steps.without_holes(self)

    def time_arguments(self, steps: Steps) -> dict[str, Any]:
        """The keywords about time that `forward` and `infer` are called with."""
        return self.admitted(steps).given() if self.takes_time else {}

    def output_steps(self, x: Any, steps: Steps) -> Steps:
        """What is known of the output's steps, from the input x and what is known of its steps."""
        steps = self.admitted(steps)
        lengths, reset_mask = self.pass_on(steps.lengths, steps.reset_mask)
        _, mask = self.pass_on(steps.lengths, steps.mask)
        return Steps(lengths, mask, reset_mask)

    def reset_states(self) -> None:
        """Forget the state that a layer with ``stateful=True`` keeps; nothing for any other."""

    def commit(self, cache: Any) -> None:
        """Take over into `buffers` what a training step's `forward` left in its cache; by default nothing."""

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

    def backward(self, dout: Any, cache: Any, dfinal_state: Any = None) -> tuple[Any, dict[str, np.ndarray], Any]:
        """The gradients by the input (None for class numbers), by each parameter, by the initial state (or None)."""
        raise NotImplementedError

    def parameter_gradients(self, dout: Any, cache: Any) -> dict[str, np.ndarray]:
        """The gradients by the parameters alone, which is what a model asks of its first layer.

        A layer whose gradient by the input is a product of its own leaves that out here.
        """
        return self.backward(dout, cache)[1]

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
