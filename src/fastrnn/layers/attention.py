"""Attention: every step of one sequence, the query, looks at all steps of another, the memory.

.. code-block:: text

    weights (B, T, S) = softmax of scores (B, T, S) over the true steps of the memory
    context (B, T, M) = weights (B, T, S) · memory (B, S, M)

The layers differ in their scores alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check, functional
from fastrnn.layers.base import Layer, Seed, Shape
from fastrnn.layers.initializers import Initializer, checked_initializer
from fastrnn.layers.steps import Steps

__all__ = ["AdditiveAttention", "Attention", "DotAttention"]

# How many numbers the largest temporary array (B, t, S, units) of additive attention may hold.
_MOST_AT_ONCE = 1 << 20


class AttentionCache(NamedTuple):
    """What backward needs.  Only `weights` (B, T, S) is meant for reading: how much each step sees of each other."""

    weights: np.ndarray
    query: np.ndarray
    memory: np.ndarray
    keys: np.ndarray


class Attention(Layer):
    """Base class: a subclass writes `keys_of`, `scores` and their backwards.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import DotAttention
    >>> query, memory = np.ones((2, 3, 4)), np.ones((2, 5, 4))
    >>> context, cache = DotAttention().forward(query, memory, lengths=[5, 2])
    >>> context.shape
    (2, 3, 4)
    >>> cache.weights[:, 0].tolist()
    [[0.2, 0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0.0, 0.0, 0.0]]
    """

    input_ndim = 3

    def __init__(self, dtype: Any = None, seed: int | None = None) -> None:
        super().__init__(dtype, seed)
        self.memory_size: int | None = None

    def build(self, input_size: int, seed: Seed = None, memory_size: int | None = None) -> None:
        """Create the parameters; the first data do it by themselves.

        Parameters
        ----------
        input_size : int
            H, size of the last axis of the query.
        seed : int or numpy.random.SeedSequence, optional
            Used where the layer has no seed of its own.
        memory_size : int, optional
            M, size of the last axis of the memory; H by default.
        """
        if self.memory_size is None:
            self.memory_size = _check.integer("memory_size", input_size if memory_size is None else memory_size, 1)
        elif memory_size is not None and memory_size != self.memory_size:
            raise ValueError(
                f"memory_size: {type(self).__name__} stands already with {self.memory_size}, got {memory_size}"
            )
        super().build(input_size, seed)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.memory_size)

    # -- what a subclass writes ---------------------------------------------------------------------------------------

    def keys_of(self, memory: np.ndarray) -> np.ndarray:
        """What of the memory (B, S, M) the scores are made from, (B, S, A): the same at every step."""
        raise NotImplementedError

    def scores(self, query: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """How well each step of the query (B, T, H) fits each of the keys (B, S, A): (B, T, S)."""
        raise NotImplementedError

    def scores_backward(
        self, dscores: np.ndarray, query: np.ndarray, keys: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Gradients by query, keys and parameters from those by the scores."""
        raise NotImplementedError

    def keys_backward(self, dkeys: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Gradients by memory and parameters from those by the keys."""
        raise NotImplementedError

    # -- forward and backward -----------------------------------------------------------------------------------------

    def forward(
        self,
        x: Any,
        memory: Any = None,
        lengths: Any = None,
        mask: Any = None,
        *,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, AttentionCache]:
        """The contexts of all steps.

        Parameters
        ----------
        x : array_like (B, T, H)
            The query, such as the outputs of a decoder.
        memory : array_like (B, S, M)
            Such as the outputs of an encoder.
        lengths : array_like of int (B,), optional
            True steps of each row of the memory; all by default.  A row without any gets a context of zeros.
        mask : array_like of bool (B, S), optional
            False at steps of the memory that do not count.
        training, rng
            Without effect.

        Returns
        -------
        context : ndarray (B, T, M)
        cache
            For `backward`; ``cache.weights`` (B, T, S) sum to 1 over the memory's steps.
        """
        query, memory = self._inputs(x, memory)
        true_steps = Steps.checked(memory, lengths, mask, None).counted(memory.shape[1])
        if true_steps is not None:  # padding may hold anything, NaN too
            memory = np.where(true_steps[..., None], memory, memory.dtype.type(0))
        keys = self.keys_of(memory)
        context, weights = self.attend(query, memory, keys, true_steps)
        return context, AttentionCache(weights, query, memory, keys)

    def attend(
        self, query: np.ndarray, memory: np.ndarray, keys: np.ndarray, true_steps: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Context and weights where the keys stand already, as in generation step by step.

        Parameters
        ----------
        query : ndarray (B, T, H)
        memory : ndarray (B, S, M)
        keys : ndarray (B, S, A)
            What `keys_of` made of the memory.
        true_steps : ndarray of bool (B, S) or None

        Returns
        -------
        context : ndarray (B, T, M)
        weights : ndarray (B, T, S)
        """
        weights = _softmax(self.scores(query, keys), true_steps)
        return weights @ memory, weights  # context (B, T, M) = weights (B, T, S) · memory (B, S, M)

    def backward(
        self, dout: Any, cache: AttentionCache, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
        """Gradients by query, parameters and memory.

        Parameters
        ----------
        dout : array_like (B, T, M)
            Gradient by the context.
        cache
            What `forward` returned.

        Returns
        -------
        dquery : ndarray (B, T, H)
        grads : dict of str to ndarray
        dmemory : ndarray (B, S, M)
            In the place where a recurrent layer has the gradient by its initial state.
        """
        self._no_state(dfinal_state)
        weights, query, memory, keys = cache
        dcontext = self._array("dout", dout, (*query.shape[:2], memory.shape[-1]), "(B, T, M)")
        dmemory = weights.transpose(0, 2, 1) @ dcontext  # dmemory (B, S, M) = weights' (B, S, T) · dcontext (B, T, M)
        dweights = dcontext @ memory.transpose(0, 2, 1)  # dweights (B, T, S) = dcontext (B, T, M) · memory' (B, M, S)
        dscores = weights * (dweights - (weights * dweights).sum(axis=-1, keepdims=True))
        dquery, dkeys, grads = self.scores_backward(dscores, query, keys)
        dmemory_by_keys, more = self.keys_backward(dkeys, memory)
        return dquery, grads | more, dmemory + dmemory_by_keys

    def _inputs(self, x: Any, memory: Any) -> tuple[np.ndarray, np.ndarray]:
        """Query and memory in one dtype, with fitting batches; the layer is built by the first it sees."""
        if memory is None:
            raise TypeError(f"memory: {type(self).__name__} takes an array (B, S, M), got None")
        dtype = self.dtype or _check.float_dtype(x=x, memory=memory)
        memory = _check.as_float_array("memory", memory, dtype, 3)
        if self.input_size is None:
            self.build(np.shape(x)[-1], memory_size=memory.shape[-1])
        query = self._input(_check.as_float_array("x", x, dtype, 3))
        if len(memory) != len(query) or memory.shape[1] == 0 or memory.shape[2] != self.memory_size:
            raise ValueError(
                f"memory: expected shape (B, S, M) = ({len(query)}, S >= 1, {self.memory_size}), got {memory.shape}"
            )
        return query, memory


class DotAttention(Attention):
    """Attention with the scores ``query · memory`` (Luong, Pham and Manning, 2015); it has no parameters.

    Parameters
    ----------
    scale : bool
        Divide the scores by sqrt(H).
    dtype : {"float32", "float64"} or None
        What the layer computes in; None follows the input.

    Notes
    -----
    Query and memory have the same size, H = M.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import DotAttention
    >>> DotAttention()(np.ones((2, 3, 4)), np.ones((2, 5, 4))).shape
    (2, 3, 4)
    """

    def __init__(self, *, scale: bool = False, dtype: Any = None) -> None:
        super().__init__(dtype)
        self.scale = _check.boolean("scale", scale)

    def build(self, input_size: int, seed: Seed = None, memory_size: int | None = None) -> None:
        if memory_size is not None and memory_size != input_size:
            raise ValueError(
                f"memory: dot attention takes query and memory of one size, got {input_size} and {memory_size}; "
                "additive attention takes any"
            )
        super().build(input_size, seed, memory_size)

    def keys_of(self, memory: np.ndarray) -> np.ndarray:
        return memory

    def scores(self, query: np.ndarray, keys: np.ndarray) -> np.ndarray:
        # scores (B, T, S) = query (B, T, H) · keys' (B, H, S)
        return self._scaled(query @ keys.transpose(0, 2, 1))

    def scores_backward(
        self, dscores: np.ndarray, query: np.ndarray, keys: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        dscores = self._scaled(dscores)
        dquery = dscores @ keys  # dquery (B, T, H) = dscores (B, T, S) · keys (B, S, H)
        dkeys = dscores.transpose(0, 2, 1) @ query  # dkeys (B, S, H) = dscores' (B, S, T) · query (B, T, H)
        return dquery, dkeys, {}

    def keys_backward(self, dkeys: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return dkeys, {}

    def _scaled(self, scores: np.ndarray) -> np.ndarray:
        assert self.input_size is not None
        return scores / np.sqrt(scores.dtype.type(self.input_size)) if self.scale else scores


class AdditiveAttention(Attention):
    """Attention with the scores ``v · tanh(query·w_query + memory·w_memory)`` (Bahdanau, Cho and Bengio, 2015).

    Parameters
    ----------
    units : int, optional
        A, the size in which query and memory meet; H by default.
    memory_size : int, optional
        M; the first data tell, or H where they do not.
    kernel_initializer : str or Initializer
    dtype : {"float32", "float64"}
        What the layer computes in; the input is cast to it.
    seed : int, optional
        Seed of the first weights; None draws fresh ones.

    Notes
    -----
    Parameters: ``w_query`` (H, A), ``w_memory`` (M, A), ``v`` (A,).  The array (B, T, S, A) of all sums is never held
    as a whole: it is worked on in parts, and once more in `backward`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import AdditiveAttention
    >>> AdditiveAttention(8, seed=0)(np.ones((2, 3, 4)), np.ones((2, 5, 6))).shape
    (2, 3, 6)
    """

    def __init__(
        self,
        units: int | None = None,
        *,
        memory_size: int | None = None,
        kernel_initializer: str | Initializer = "glorot_uniform",
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__("float32" if dtype is None else dtype, seed)
        self.memory_size = None if memory_size is None else _check.integer("memory_size", memory_size, 1)
        self.units = None if units is None else _check.integer("units", units, 1)
        self.kernel_initializer = checked_initializer("kernel_initializer", kernel_initializer)

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        assert self.memory_size is not None
        units = self.units or input_size
        return {
            "w_query": self._drawn("kernel_initializer", (input_size, units), rng),
            "w_memory": self._drawn("kernel_initializer", (self.memory_size, units), rng),
            "v": self._drawn("kernel_initializer", (units, 1), rng)[:, 0].copy(),
        }

    def keys_of(self, memory: np.ndarray) -> np.ndarray:
        return memory @ self.params["w_memory"]  # keys (B, S, A) = memory (B, S, M) · w_memory (M, A)

    def scores(self, query: np.ndarray, keys: np.ndarray) -> np.ndarray:
        asked = query @ self.params["w_query"]  # asked (B, T, A) = query (B, T, H) · w_query (H, A)
        scores = np.empty((*query.shape[:2], keys.shape[1]), query.dtype)
        for part in _parts(asked, keys):
            scores[:, part] = _met(asked[:, part], keys) @ self.params["v"]
        return scores

    def scores_backward(
        self, dscores: np.ndarray, query: np.ndarray, keys: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        w_query, v = self.params["w_query"], self.params["v"]
        asked = query @ w_query
        dasked, dkeys, dv = np.empty_like(asked), np.zeros_like(keys), np.zeros_like(v)
        for part in _parts(asked, keys):
            met, dpart = _met(asked[:, part], keys), dscores[:, part]  # met (B, t, S, A), dpart (B, t, S)
            dv += np.tensordot(dpart, met, axes=3)
            dsum = dpart[..., None] * (v - v * met * met)  # through tanh
            dasked[:, part] = dsum.sum(axis=2)
            dkeys += dsum.sum(axis=1)
        # dw_query (H, A) = query' (H, B*T) · dasked (B*T, A)
        grads = {"w_query": np.tensordot(query, dasked, axes=((0, 1), (0, 1))), "v": dv}
        return dasked @ w_query.T, dkeys, grads

    def keys_backward(self, dkeys: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        # dw_memory (M, A) = memory' (M, B*S) · dkeys (B*S, A)
        grads = {"w_memory": np.tensordot(memory, dkeys, axes=((0, 1), (0, 1)))}
        return dkeys @ self.params["w_memory"].T, grads


def _met(asked: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """tanh of the sum of each of asked (B, t, A) with each of keys (B, S, A): (B, t, S, A)."""
    total = asked[:, :, None] + keys[:, None]
    return functional.tanh(total, out=total)


def _parts(asked: np.ndarray, keys: np.ndarray) -> Iterator[slice]:
    """Parts of the query's time, so short that a temporary array for each stays small."""
    batch, steps, _ = asked.shape
    length = max(1, _MOST_AT_ONCE // max(1, batch * keys.shape[1] * keys.shape[2]))
    return (slice(start, start + length) for start in range(0, steps, length))


def _softmax(scores: np.ndarray, true_steps: np.ndarray | None) -> np.ndarray:
    """exp(scores) / sum(exp(scores)) over the true steps (B, S), 0 at the others; a row without any is all 0."""
    if true_steps is not None:
        scores = np.where(true_steps[:, None], scores, -np.inf)
    highest = scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(highest), highest, 0))
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total == 0, 1, total)
