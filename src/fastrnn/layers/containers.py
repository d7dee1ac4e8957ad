"""Layers around other layers: what they have in common, and the plain stack."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import (
    Layer,
    PrefixedParameters,
    Seed,
    Shape,
    UnknownSizeError,
    child_seed,
    prefixed,
)
from fastrnn.layers.steps import Steps

__all__ = ["Container", "Stack"]

_SEED_OF_WEIGHTS = 0  # the branch of a model's seed that its layers grow from; other branches are for training


class Container(Layer):
    """Base class of the layers around named parts, whose arrays it shows under names like ``forward/w_x``.

    A subclass writes `parts` and `build_for`, beside what every layer writes.
    """

    takes_time = True

    def parts(self) -> Mapping[str, Layer]:
        """The layers by the prefixes of their arrays."""
        raise NotImplementedError

    @property
    def params(self) -> PrefixedParameters:
        """The parameters of all parts, named like ``0/w_x``; assigning reaches the part."""
        return PrefixedParameters({name: part.params for name, part in self.parts().items()})

    @property
    def buffers(self) -> PrefixedParameters:
        """The arrays of all parts that are not learned, named like ``0/moving_mean``."""
        return PrefixedParameters({name: part.buffers for name, part in self.parts().items()})

    def reset_states(self) -> None:
        """Forget the states that parts with ``stateful=True`` keep: the next batch starts anew."""
        for part in self.parts().values():
            part.reset_states()

    def output_steps(self, x: Any, steps: Steps) -> Steps:
        raise NotImplementedError

    def pass_on(self, lengths: Any, reset_mask: Any) -> tuple[Any, Any]:
        steps = self.output_steps(None, Steps(lengths, None, reset_mask))
        return steps.lengths, steps.reset_mask

    # -- building -----------------------------------------------------------------------------------------------------

    @property
    def built(self) -> bool:
        """Whether the parameters of all parts stand."""
        parts = self.parts().values()
        return bool(parts) and all(part.built for part in parts)

    def build(self, input_size: int | Sequence[int], seed: Seed = None) -> None:
        """Create the parameters; the first data do it by themselves.  Does nothing if they stand already.

        Parameters
        ----------
        input_size : int or tuple of int
            Size of the last axis of the input; the whole shape but for the batch, (T, I), where the number of time
            steps matters, as it does to a `Dense` behind a `Flatten`.
        seed : int or numpy.random.SeedSequence, optional
            Used where a layer has no seed of its own.

        Raises
        ------
        ValueError
            If the parameters stand already for another input size.
        """
        if isinstance(input_size, (tuple, list)):
            size: Any = tuple(_check.integer(f"input_size[{i}]", n, 1) for i, n in enumerate(input_size))
        else:
            size = _check.integer("input_size", input_size, 1)
        if self.input_size is not None and self.input_size != size:
            raise ValueError(f"input_size: the model stands already with {self.input_size}, got {size}")
        self.build_for(self._shape_for(size), seed)
        self.input_size = size

    def build_for(self, input_shape: Shape, seed: Seed = None) -> None:
        raise NotImplementedError

    def _shape_for(self, input_size: int | tuple[int, ...]) -> Shape:
        """The shape of an input for what `build` takes; a sequence of class numbers may be of any length."""
        if isinstance(input_size, tuple):
            return (None, *input_size)
        return (None,) * ((self.input_ndim or 2) - 1) + (None if self.takes_integers else input_size,)

    def _build_from(self, x: np.ndarray) -> None:
        """Build for the first x: by its last axis, or by its whole shape where that does not do."""
        if self.input_size is not None:
            return
        if x.ndim < 2 or x.shape[-1] == 0:
            raise ValueError(f"x: expected at least 2-D with a last axis >= 1, got shape {x.shape}")
        try:
            self.build_for((None,) * (x.ndim - 1) + (None if self.takes_integers else x.shape[-1],))
        except UnknownSizeError:
            self.build(x.shape[1:])
        else:  # what build() has to be given: the layers say of which rank x is, unless one of them reshapes
            rank_is_open = self.changes_rank and self.input_ndim is None
            self.input_size = x.shape[1:] if rank_is_open else x.shape[-1]

    # -- data ---------------------------------------------------------------------------------------------------------

    def _cast(self, x: Any) -> np.ndarray:
        """The input as the parts take it; builds them where they are not built yet."""
        x = _check.as_real_array("x", x) if self.takes_integers else self._as_float(x)
        self._build_from(x)
        return x

    def _as_float(self, x: Any) -> np.ndarray:
        return _check.as_float_array("x", x, self.dtype or _check.float_dtype(x=x), self.input_ndim)

    def _steps(self, x: Any, lengths: Any, mask: Any, reset_mask: Any) -> Steps:
        """What a caller says of the steps of x."""
        return Steps.checked(x, lengths, mask, reset_mask, min_ndim=2 if self.takes_integers else 3)


class Stack(Container):
    """Layers one after the other, as one layer; ``Sequential`` is this and can be trained.

    Parameters
    ----------
    layers : iterable of Layer
    seed : int, optional
        Seed of the weights of all layers without a seed of their own.

    Notes
    -----
    ``lengths``, ``mask`` and ``reset_mask`` go to every layer that takes them, up to the layer that ends the time axis.
    What they say of the steps of each layer's output is that layer's affair (`Layer.pass_on`).  A mask that a layer
    makes from its input, as `Embedding` does, comes from the first layer.
    """

    def __init__(self, layers: Iterable[Layer] = (), *, seed: int | None = None) -> None:
        super().__init__(seed=seed)
        self.layers: list[Layer] = []
        for layer in layers:
            self.add(layer)

    def add(self, layer: Layer) -> None:
        """Put a layer behind the others.

        Parameters
        ----------
        layer : Layer
            Not in the model yet.
        """
        if not isinstance(layer, Layer):
            raise TypeError(f"layer: expected a Layer, got {type(layer).__name__}")
        if any(layer is present for present in self.layers):
            raise ValueError(f"layer: {layer!r} is in the model already")
        self.layers.append(layer)
        self.takes_integers = self.layers[0].takes_integers
        if self.input_ndim is None and not self.changes_rank:  # so far the layers take any rank and keep it
            self.input_ndim = layer.input_ndim
        self.changes_rank = self.changes_rank or layer.changes_rank
        self.dtype = layer.dtype if self.dtype is None else self.dtype
        self.input_size = None

    def parts(self) -> dict[str, Layer]:
        return {str(i): layer for i, layer in enumerate(self.layers)}

    def build_for(self, input_shape: Shape, seed: Seed = None) -> None:
        if not self.layers:
            raise ValueError("layers: expected at least one layer before the model is built")
        root = child_seed(self.seed, _SEED_OF_WEIGHTS) if self.seed is not None or seed is None else seed
        for i, (layer, shape) in enumerate(zip(self.layers, self._shapes(input_shape), strict=False)):
            layer.build_for(shape, child_seed(root, i))

    def _shapes(self, input_shape: Shape) -> list[Shape]:
        """The shape of the input and of each layer's output."""
        shapes = [input_shape]
        for i, layer in enumerate(self.layers):
            shape = shapes[-1]
            if layer.input_ndim is not None and len(shape) != layer.input_ndim:
                if i == 0:
                    raise ValueError(f"x: expected {layer.input_ndim}-D, which {layer!r} takes, got {len(shape)}-D")
                raise ValueError(
                    f"layers[{i}]: {layer!r} takes {layer.input_ndim}-D input, the layer before gives {len(shape)}-D; "
                    "a recurrent layer gives 3-D with return_sequences=True, RepeatVector makes 3-D of 2-D"
                )
            shapes.append(layer.output_shape(shape))
        return shapes

    def output_shape(self, input_shape: Shape) -> Shape:
        return self._shapes(input_shape)[-1]

    def output_steps(self, x: Any, steps: Steps) -> Steps:
        for layer in self.layers:
            steps, x = layer.output_steps(x, steps), None  # only the first layer's input is at hand
        return steps

    # -- forward and backward -----------------------------------------------------------------------------------------

    def __call__(
        self, x: Any, lengths: Any = None, mask: Any = None, reset_mask: Any = None, training: bool = False
    ) -> np.ndarray:
        """The output of `forward` on all of x at once; nothing is kept for `backward`."""
        if training:
            return self.forward(x, lengths, mask, reset_mask, training=True)[0]
        return self.infer(x, lengths, mask, reset_mask)

    def infer(self, x: Any, lengths: Any = None, mask: Any = None, reset_mask: Any = None) -> np.ndarray:
        """The output of `forward`, without keeping what `backward` would need."""
        return self.infer_with_steps(x, self._steps(x, lengths, mask, reset_mask))[0]

    def infer_with_steps(self, x: Any, steps: Steps) -> tuple[np.ndarray, Steps]:
        """The output, and what is known of its steps."""
        return self._through(x, steps, lambda layer, x, time: layer.infer(x, **time))

    def forward(
        self,
        x: Any,
        lengths: Any = None,
        mask: Any = None,
        reset_mask: Any = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, list[Any]]:
        """Run all layers.

        Parameters
        ----------
        x : array_like (B, T, I) or (B, I)
        lengths : array_like of int (B,), optional
            True steps of each row.
        mask : array_like of bool (B, T), optional
            True at the steps that count.
        reset_mask : array_like of bool (B, T), optional
            True where states are zeroed before that step.
        training : bool
            Whether dropout acts, and batch normalization takes the statistics of the batch.
        rng : numpy.random.Generator, optional
            Source of dropout masks.

        Returns
        -------
        out : ndarray
        caches : list
            One for each layer, for `backward`.
        """
        out, caches, _ = self.forward_with_steps(x, self._steps(x, lengths, mask, reset_mask), training, rng)
        return out, caches

    def forward_with_steps(
        self, x: Any, steps: Steps, training: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, list[Any], Steps]:
        """The output, the caches, and what is known of the output's steps."""
        caches = []

        def run(layer: Layer, x: Any, time: dict[str, Any]) -> np.ndarray:
            out, cache = layer.forward(x, training=training, rng=rng, **time)
            caches.append(cache)
            return out

        out, steps = self._through(x, steps, run)
        return out, caches, steps

    def _through(
        self, x: Any, steps: Steps, run: Callable[[Layer, Any, dict[str, Any]], np.ndarray]
    ) -> tuple[np.ndarray, Steps]:
        """x through one layer after the other, and what is known of its steps beside it."""
        x = self._cast(x)
        for layer in self.layers:
            out = run(layer, x, layer.time_arguments(steps))
            x, steps = out, layer.output_steps(x, steps)
        return x, steps

    def backward(
        self, dout: Any, caches: list[Any], dfinal_state: None = None
    ) -> tuple[np.ndarray | None, dict[str, np.ndarray], None]:
        """Gradients by the input and all parameters.

        Parameters
        ----------
        dout : array_like
            Gradient by the output of `forward`.
        caches : list
            What `forward` returned.

        Returns
        -------
        dx : ndarray
            None where the input is class numbers.
        grads : dict of str to ndarray
            The names of `params`.
        dstate : None
        """
        self._no_state(dfinal_state)
        dout, grads = self._back_to_first(dout, caches)
        dx, own, _ = self.layers[0].backward(dout, caches[0])
        return dx, grads | prefixed("0", own), None

    def parameter_gradients(self, dout: Any, caches: list[Any]) -> dict[str, np.ndarray]:
        """The gradients by all parameters, without that by the input."""
        dout, grads = self._back_to_first(dout, caches)
        return grads | prefixed("0", self.layers[0].parameter_gradients(dout, caches[0]))

    def _back_to_first(self, dout: Any, caches: list[Any]) -> tuple[Any, dict[str, np.ndarray]]:
        """The gradient by the output of the first layer, and those by the parameters of all others."""
        grads: dict[str, np.ndarray] = {}
        for i in range(len(self.layers) - 1, 0, -1):
            dout, own, _ = self.layers[i].backward(dout, caches[i])
            grads |= prefixed(str(i), own)
        return dout, grads

    def commit(self, caches: list[Any]) -> None:
        """Let each layer take over what a training step left in its cache."""
        for layer, cache in zip(self.layers, caches, strict=True):
            layer.commit(cache)
