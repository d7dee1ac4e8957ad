"""Layers one after the other whose recurrent states are given and taken: the halves of an encoder-decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from fastrnn.layers.base import Layer, Shape, prefixed
from fastrnn.layers.bidirectional import Bidirectional
from fastrnn.layers.containers import Stack
from fastrnn.layers.steps import Steps
from fastrnn.layers.through_time import Recurrent
from fastrnn.training.truncated import reason_against_steps, recurrent_layers

__all__ = ["Chain", "ChainCache", "States", "check_handover", "check_head", "handed_back", "handed_over"]

States = list[tuple[np.ndarray, ...]]  # the state of each recurrent layer, first to last


class ChainCache(NamedTuple):
    """What backward needs; `states` are the final states of the recurrent layers."""

    caches: list[Any]
    states: States


class Chain(Stack):
    """A stack that starts from given states and hands out its final ones."""

    @property
    def recurrent(self) -> list[Recurrent | Bidirectional]:
        """The layers with a state."""
        return [layer for layer in self.layers if _has_state(layer)]

    def shapes(self, input_shape: Shape) -> list[Shape]:
        """The shape of the input and of each layer's output."""
        return self._shapes(input_shape)

    def run(
        self,
        x: np.ndarray,
        states: States | None = None,
        steps: Steps | None = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, ChainCache, Steps]:
        """The output of the last layer, the cache, and what is known of the output's steps.

        Parameters
        ----------
        x : ndarray
        states : list of tuple, optional
            The initial state of each recurrent layer.
        steps : Steps, optional
        training, rng
            As for the layers.
        """
        left = None if states is None else list(states)
        steps = steps or Steps()
        caches, final = [], []
        for layer in self.layers:
            options: dict[str, Any] = layer.time_arguments(steps)
            if _has_state(layer) and left is not None:
                options["initial_state"] = left.pop(0)
            out, cache = layer.forward(x, training=training, rng=rng, **options)
            caches.append(cache)
            if _has_state(layer):
                final.append(cache.state)
            x, steps = out, layer.output_steps(x, steps)
        return x, ChainCache(caches, final), steps

    def run_back(
        self, dout: np.ndarray | None, cache: ChainCache, dstates: Sequence[Any] | None = None
    ) -> tuple[Any, dict[str, np.ndarray], States]:
        """Gradients by the input, the parameters and the initial states.

        Parameters
        ----------
        dout : ndarray or None
            Gradient by the output; None where the final states alone count.
        cache : ChainCache
        dstates : sequence of tuple or None, optional
            Gradient by the final state of each recurrent layer.
        """
        left = [None] * len(cache.states) if dstates is None else list(dstates)
        grads: dict[str, np.ndarray] = {}
        dinitial: States = []
        for i, layer in reversed(list(enumerate(self.layers))):
            dstate = left.pop() if _has_state(layer) else None
            if dout is None and dstate is None:  # nothing that counts depends on this layer
                own = {name: np.zeros_like(array) for name, array in layer.params.items()}
            else:
                dout, own, initial = layer.backward(dout, cache.caches[i], dstate)
                if _has_state(layer):
                    dinitial.insert(0, initial)
            grads |= prefixed(str(i), own)
        return dout, grads, dinitial


def _has_state(layer: Layer) -> TypeGuard[Recurrent | Bidirectional]:
    """Whether a layer starts from a state."""
    return isinstance(layer, (Recurrent, Bidirectional))


def _state_sizes(layer: Recurrent | Bidirectional) -> tuple[int, ...]:
    """The sizes of the states that a layer carries, of a bidirectional one those of both directions."""
    if isinstance(layer, Bidirectional):
        return (*_state_sizes(layer.forward_layer), *_state_sizes(layer.backward_layer))
    return tuple(layer.state_sizes.values())


def check_handover(encoder: Chain, decoder: Chain) -> None:
    """Refuse a decoder that does not go step by step, and an encoder whose final states do not fit it."""
    for i, layer in enumerate(decoder.layers):
        reason = reason_against_steps(layer) or _reason_against_handover(layer)
        if reason is not None:
            raise ValueError(f"decoder[{i}]: expected a layer that runs step by step, but {reason}")
    for i, layer in enumerate(encoder.layers):
        stateful = [part for part in recurrent_layers(layer) if part.stateful]
        if stateful:
            raise ValueError(
                f"encoder[{i}]: expected a layer that reads each source anew, but {stateful[0]!r} is stateful"
            )
    readers, writers = encoder.recurrent, decoder.recurrent
    if not writers:
        raise ValueError("decoder: expected at least one recurrent layer")
    if len(readers) < len(writers):
        raise ValueError(
            f"encoder: expected at least as many recurrent layers as in the decoder, {len(writers)}, got {len(readers)}"
        )
    for reader, writer in zip(readers[-len(writers) :], writers, strict=True):
        given, taken = _state_sizes(reader), _state_sizes(writer)
        side_by_side = tuple(sum(given[i :: len(taken)]) for i in range(len(taken)))
        if len(given) % len(taken) or side_by_side != taken:
            raise ValueError(
                f"encoder: {reader!r} ends in states of the sizes {given}, {writer!r} of the decoder takes {taken}"
            )


def check_head(head: Chain) -> None:
    """Refuse a head that looks at more than one step: in the closed loop it sees them one by one."""
    for i, layer in enumerate(head.layers):
        reason = reason_against_steps(layer)
        if reason is None and recurrent_layers(layer):
            reason = f"{layer!r} has a state from the steps before; put it at the end of the decoder"
        if reason is not None:
            raise ValueError(f"head[{i}]: expected a layer that sees one step at a time, but {reason}")


def _reason_against_handover(layer: Layer) -> str | None:
    """Why the states of a layer that goes from step to step cannot be given and taken; None if they can."""
    if isinstance(layer, Recurrent):
        return f"{layer!r} is stateful" if layer.stateful else None
    return f"{layer!r} has a recurrent layer inside, whose state is not handed on" if recurrent_layers(layer) else None


def handed_over(given: States, takers: Sequence[Recurrent | Bidirectional]) -> States:
    """The last final states of an encoder as the initial states of a decoder's layers.

    Behind a bidirectional layer the states of both directions stand side by side.
    """
    counts = [len(_state_sizes(taker)) for taker in takers]
    last = given[len(given) - len(takers) :]
    return [
        tuple(state[i] if len(state) == count else np.concatenate(state[i::count], axis=-1) for i in range(count))
        for state, count in zip(last, counts, strict=True)
    ]


def handed_back(dtaken: States, given: States) -> list[tuple[np.ndarray, ...] | None]:
    """The transpose of `handed_over`: gradients by all final states of the encoder, None where nothing was taken."""
    result: list[tuple[np.ndarray, ...] | None] = [None] * (len(given) - len(dtaken))
    for dstate, state in zip(dtaken, given[len(result) :], strict=True):
        parts: list[np.ndarray] = [np.empty(0)] * len(state)
        for i, d in enumerate(dstate):
            own = state[i :: len(dstate)]
            parts[i :: len(dstate)] = np.split(d, np.cumsum([part.shape[-1] for part in own])[:-1], axis=-1)
        result.append(tuple(parts))
    return result
