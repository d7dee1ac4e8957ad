"""Several outputs made into one: `Parallel` branches, `Residual` connections."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Layer, Seed, Shape, child_seed, prefixed
from fastrnn.layers.containers import Container, Stack
from fastrnn.layers.dense import Dense
from fastrnn.layers.steps import Steps

__all__ = ["MERGE_MODES", "Parallel", "Residual", "merge", "merged_shape", "unmerge"]

MERGE_MODES = ("concat", "sum", "ave", "mul")

_projection_lock = threading.Lock()


def merge(mode: str, outs: Sequence[np.ndarray]) -> np.ndarray:
    """One array of several, which differ in the last axis at most, and that only for "concat".

    Parameters
    ----------
    mode : {"concat", "sum", "ave", "mul"}
        Beside one another on the last axis, sum, mean or product.
    outs : sequence of ndarray (..., K)
    """
    if mode == "concat":
        return np.concatenate(outs, axis=-1)
    out = outs[0] * outs[1] if mode == "mul" else outs[0] + outs[1]
    for other in outs[2:]:
        out = out * other if mode == "mul" else out + other
    if mode == "ave":
        out /= len(outs)
    return out


def unmerge(mode: str, dout: np.ndarray, outs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The gradients by each of the arrays that `merge` took, from the gradient by what it made of them."""
    if mode == "concat":
        ends = np.cumsum([out.shape[-1] for out in outs])
        return np.split(dout, ends[:-1], axis=-1)
    if mode == "mul":  # by each: dout times all others
        return [dout * math.prod(outs[:i]) * math.prod(outs[i + 1 :]) for i in range(len(outs))]
    share = dout / len(outs) if mode == "ave" else dout
    return [share] * len(outs)


def merged_shape(mode: str, shapes: Sequence[Shape], what: str) -> Shape:
    """The shape of what `merge` makes; `what` names the arrays for messages."""
    ranks = {len(shape) for shape in shapes}
    sizes = [shape[-1] for shape in shapes]
    if len(ranks) > 1 or (mode != "concat" and len(set(sizes)) > 1):
        shown = ", ".join(map(str, shapes))
        wanted = "one rank" if mode == "concat" else "one shape"
        raise ValueError(f"{what}: expected outputs of {wanted} for merging by {mode!r}, got {shown}")
    last = sizes[0]
    if mode == "concat":
        known = [size for size in sizes if size is not None]
        last = sum(known) if len(known) == len(sizes) else None
    middle = [next((n for n in axis if n is not None), None) for axis in zip(*(s[:-1] for s in shapes), strict=True)]
    return (*middle, last)


class _ParallelCache(NamedTuple):
    branches: list[Any]
    outs: list[np.ndarray]


class Parallel(Container):
    """Several branches that all get the same input, and their outputs merged into one.

    Parameters
    ----------
    branches : iterable
        Each a layer, or a list of layers one after the other.  ``Activation("linear")`` is the branch that hands the
        input on as it is.
    merge : {"concat", "sum", "ave", "mul"}
        Outputs beside one another on the last axis, or their sum, mean or product.

    Notes
    -----
    Parameters: those of the branches, named like ``0/w``, or ``1/0/w`` in a branch of several layers.  A step of the
    output counts where it does in every branch.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import GRU, Activation, Dense, Parallel
    >>> layer = Parallel([GRU(4, return_sequences=True), [Dense(8, "tanh"), Dense(2)], Activation("linear")])
    >>> layer(np.ones((32, 10, 3))).shape
    (32, 10, 9)
    """

    def __init__(self, branches: Iterable[Layer | Iterable[Layer]], *, merge: str = "concat") -> None:
        super().__init__()
        self.branches = [branch if isinstance(branch, Layer) else Stack(branch) for branch in branches]
        self.merge = _check.choice("merge", merge, MERGE_MODES)
        if len(self.branches) < 2:
            raise ValueError(f"branches: expected at least two, got {len(self.branches)}")
        if len(set(map(id, self.branches))) < len(self.branches):
            raise ValueError("branches: expected different layers, got one twice")
        dtypes = [branch.dtype for branch in self.branches if branch.dtype is not None]
        self.dtype = np.result_type(*dtypes) if dtypes else None
        self.input_ndim = next((branch.input_ndim for branch in self.branches if branch.input_ndim is not None), None)
        self.takes_integers = any(branch.takes_integers for branch in self.branches)
        self.changes_rank = any(branch.changes_rank for branch in self.branches)

    def parts(self) -> dict[str, Layer]:
        return {str(i): branch for i, branch in enumerate(self.branches)}

    def build_for(self, input_shape: Shape, seed: Seed = None) -> None:
        self.output_shape(input_shape)
        for i, branch in enumerate(self.branches):
            branch.build_for(input_shape, child_seed(seed, i))

    def output_shape(self, input_shape: Shape) -> Shape:
        return merged_shape(self.merge, [branch.output_shape(input_shape) for branch in self.branches], "branches")

    def output_steps(self, x: Any, steps: Steps) -> Steps:
        return _common([branch.output_steps(x, steps) for branch in self.branches])

    def forward(
        self,
        x: Any,
        lengths: Any = None,
        mask: Any = None,
        reset_mask: Any = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, _ParallelCache]:
        """Run all branches and merge what they give.

        Parameters
        ----------
        x : array_like (B, T, I) or (B, I)
        lengths, mask, reset_mask, training, rng
            For the branches that take them.

        Returns
        -------
        out : ndarray
        cache
            For `backward`.
        """
        x = self._cast(x)
        steps = self._steps(x, lengths, mask, reset_mask)
        outs, caches = [], []
        for branch in self.branches:
            out, cache = branch.forward(x, training=training, rng=rng, **branch.time_arguments(steps))
            outs.append(out)
            caches.append(cache)
        self._require_equal_steps(outs)
        return merge(self.merge, outs), _ParallelCache(caches, outs)

    def infer(self, x: Any, lengths: Any = None, mask: Any = None, reset_mask: Any = None) -> np.ndarray:
        """The output of `forward`, without keeping what `backward` would need."""
        x = self._cast(x)
        steps = self._steps(x, lengths, mask, reset_mask)
        outs = [branch.infer(x, **branch.time_arguments(steps)) for branch in self.branches]
        self._require_equal_steps(outs)
        return merge(self.merge, outs)

    def _require_equal_steps(self, outs: list[np.ndarray]) -> None:
        merged_shape(self.merge, [out.shape for out in outs], "branches")
        if len({out.shape[:-1] for out in outs}) > 1:
            shown = ", ".join(str(out.shape) for out in outs)
            raise ValueError(f"branches: expected outputs with the same number of steps, got {shown}")

    def backward(
        self, dout: Any, cache: _ParallelCache, dfinal_state: None = None
    ) -> tuple[np.ndarray | None, dict[str, np.ndarray], None]:
        """Gradients by the input (None for class numbers) and by the parameters of all branches."""
        self._no_state(dfinal_state)
        dx: np.ndarray | None = None
        grads: dict[str, np.ndarray] = {}
        for i, (branch, own_dout) in enumerate(zip(self.branches, self._shares(dout, cache), strict=True)):
            own_dx, own, _ = branch.backward(own_dout, cache.branches[i])
            grads |= prefixed(str(i), own)
            if own_dx is not None:
                dx = own_dx if dx is None else dx + own_dx
        return dx, grads, None

    def parameter_gradients(self, dout: Any, cache: _ParallelCache) -> dict[str, np.ndarray]:
        """The gradients by the parameters of all branches."""
        grads: dict[str, np.ndarray] = {}
        for i, (branch, own_dout) in enumerate(zip(self.branches, self._shares(dout, cache), strict=True)):
            grads |= prefixed(str(i), branch.parameter_gradients(own_dout, cache.branches[i]))
        return grads

    def _shares(self, dout: Any, cache: _ParallelCache) -> list[np.ndarray]:
        """The gradient by each branch's output."""
        shape = merged_shape(self.merge, [out.shape for out in cache.outs], "branches")
        return unmerge(self.merge, self._array("dout", dout, shape), cache.outs)  # type: ignore[arg-type]

    def commit(self, cache: _ParallelCache) -> None:
        """Let each branch take over what a training step left in its cache."""
        for branch, own in zip(self.branches, cache.branches, strict=True):
            branch.commit(own)


class _ResidualCache(NamedTuple):
    block: list[Any]
    projection: Any


class Residual(Container):
    """Layers one after the other, and their input added to their output: ``out = x + f(x)`` (He et al., 2016).

    Parameters
    ----------
    layers : Layer or iterable of Layer
        f; its output has the rank of the input, and all of its steps.
    projection : bool
        Where f gives another size than it gets, add ``x·w`` in place of x.  Without it that is an error.

    Notes
    -----
    Parameters: those of the layers, named like ``0/w_x``, and with a projection ``projection/w``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import LSTM, Residual
    >>> Residual(LSTM(3, return_sequences=True))(np.ones((32, 10, 3))).shape
    (32, 10, 3)
    """

    def __init__(self, layers: Layer | Iterable[Layer], *, projection: bool = False) -> None:
        super().__init__()
        self._block = Stack([layers] if isinstance(layers, Layer) else layers)
        self.layers = self._block.layers
        self.projection = _check.boolean("projection", projection)
        self._shortcut: Dense | None = None
        self.dtype, self.input_ndim = self._block.dtype, self._block.input_ndim
        self.changes_rank = self._block.changes_rank
        if self._block.takes_integers:
            raise ValueError("layers: expected layers that take floats, because their input is added to their output")

    def parts(self) -> dict[str, Layer]:
        shortcut = {} if self._shortcut is None else {"projection": self._shortcut}
        return {**self._block.parts(), **shortcut}

    def build_for(self, input_shape: Shape, seed: Seed = None) -> None:
        size, out_shape = input_shape[-1], self._block.output_shape(input_shape)
        if len(out_shape) != len(input_shape):
            raise ValueError(
                f"layers: expected an output of the input's rank, got {len(out_shape)}-D from {len(input_shape)}-D; a "
                "recurrent layer gives 3-D with return_sequences=True"
            )
        if size != out_shape[-1]:
            if not self.projection:
                raise ValueError(
                    f"layers: expected an output of the input's size {size}, got {out_shape[-1]}; projection=True adds "
                    "x·w in place of x"
                )
            with _projection_lock:
                if self._shortcut is None:
                    self._shortcut = Dense(out_shape[-1], use_bias=False, dtype=self.dtype or "float32")  # type: ignore[arg-type]
            self._shortcut.build_for(input_shape, child_seed(seed, len(self.layers)))
        self._block.build_for(input_shape, seed)

    def output_shape(self, input_shape: Shape) -> Shape:
        return self._block.output_shape(input_shape)

    def output_steps(self, x: Any, steps: Steps) -> Steps:
        return self._block.output_steps(x, steps)

    def forward(
        self,
        x: Any,
        lengths: Any = None,
        mask: Any = None,
        reset_mask: Any = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, _ResidualCache]:
        """Run the layers and add the input.

        Parameters
        ----------
        x : array_like (B, T, I) or (B, I)
        lengths, mask, reset_mask, training, rng
            For the layers that take them.

        Returns
        -------
        out : ndarray
        cache
            For `backward`.
        """
        x = self._cast(x)
        steps = self._steps(x, lengths, mask, reset_mask)
        out, block, _ = self._block.forward_with_steps(x, steps, training, rng)
        shortcut, cache = (x, None) if self._shortcut is None else self._shortcut.forward(x)
        return self._sum(shortcut, out), _ResidualCache(block, cache)

    def infer(self, x: Any, lengths: Any = None, mask: Any = None, reset_mask: Any = None) -> np.ndarray:
        """The output of `forward`, without keeping what `backward` would need."""
        x = self._cast(x)
        out, _ = self._block.infer_with_steps(x, self._steps(x, lengths, mask, reset_mask))
        return self._sum(x if self._shortcut is None else self._shortcut.infer(x), out)

    def _sum(self, shortcut: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Shortcut and block, which must agree in the number of steps too."""
        if shortcut.shape != out.shape:
            raise ValueError(f"layers: expected an output of shape {shortcut.shape}, got {out.shape}")
        return shortcut + out

    def backward(
        self, dout: Any, cache: _ResidualCache, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """Gradients by the input and all parameters."""
        self._no_state(dfinal_state)
        dout = _check.as_float_array("dout", dout, self.dtype or _check.float_dtype(dout=dout))
        dx, grads, _ = self._block.backward(dout, cache.block)
        if self._shortcut is None:
            return dx + dout, grads, None
        through, own, _ = self._shortcut.backward(dout, cache.projection)
        return dx + through, grads | prefixed("projection", own), None

    def parameter_gradients(self, dout: Any, cache: _ResidualCache) -> dict[str, np.ndarray]:
        """The gradients by all parameters, without that by the input."""
        grads = self._block.parameter_gradients(dout, cache.block)
        if self._shortcut is None:
            return grads
        return grads | prefixed("projection", self._shortcut.parameter_gradients(dout, cache.projection))

    def commit(self, cache: _ResidualCache) -> None:
        """Let each layer take over what a training step left in its cache."""
        self._block.commit(cache.block)


def _common(all_steps: Sequence[Steps]) -> Steps:
    """What holds for the steps of a merged output: the shorter length, the steps that count in every branch."""
    lengths, mask, reset_mask = (
        [value for value in values if value is not None] for values in zip(*all_steps, strict=True)
    )
    return Steps(
        np.minimum.reduce(lengths) if lengths else None,
        np.logical_and.reduce(mask) if mask else None,
        np.logical_or.reduce(reset_mask) if reset_mask else None,
    )
