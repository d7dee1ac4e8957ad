"""Truncated backpropagation through time: long sequences in windows, the state carried on and the gradient cut.

The windows of a batch are worked on in their order.  Each starts from the state that the one before ended in, which is
a constant to it: what is differentiated is the window alone, so no gradient crosses (Williams and Peng, 1990).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from fastrnn.layers.base import Layer
from fastrnn.layers.bidirectional import Bidirectional
from fastrnn.layers.containers import Container
from fastrnn.layers.through_time import Recurrent
from fastrnn.layers.wrappers import TimeDistributed
from fastrnn.training.samples import Samples

__all__ = ["carried_states", "reason_against_steps", "recurrent_layers", "require_windows", "windows"]


def recurrent_layers(layer: Layer) -> list[Recurrent]:
    """The recurrent layers of a model, wherever they stand in it."""
    if isinstance(layer, Recurrent):
        return [layer]
    parts = layer.parts().values() if isinstance(layer, Container) else ()
    return [found for part in parts for found in recurrent_layers(part)]


@contextmanager
def carried_states(layers: Sequence[Recurrent]) -> Iterator[None]:
    """Within, each layer starts from where it ended; behind it, what is not stateful has forgotten again."""
    passing = [layer for layer in layers if not layer.stateful]
    try:
        for layer in passing:
            layer.stateful = True
        yield
    finally:
        for layer in passing:
            layer.stateful = False
            layer.reset_states()


def windows(batch: Samples, steps: int) -> Iterator[Samples]:
    """A batch in windows of so many steps, the last one perhaps shorter, up to the end of its longest row."""
    time = batch.x.shape[1]
    end = time if batch.lengths is None else max(1, int(batch.lengths.max()))
    for start in range(0, end, steps):
        stop = min(start + steps, time)
        weight = batch.sample_weight
        yield replace(
            batch,
            x=batch.x[:, start:stop],
            y=None if batch.y is None else batch.y[:, start:stop],
            sample_weight=weight if weight is None or weight.shape[1:2] != (time,) else weight[:, start:stop],
            lengths=None if batch.lengths is None else np.clip(batch.lengths - start, 0, stop - start),
            mask=None if batch.mask is None else batch.mask[:, start:stop],
            reset_mask=None if batch.reset_mask is None else batch.reset_mask[:, start:stop],
        )


def require_windows(model: Layer, samples: Samples) -> None:
    """Refuse a model that gives something else in windows than on whole sequences, and targets without steps.

    Raises
    ------
    ValueError
        Naming the first layer that does not go from step to step, or y.
    """
    reason = reason_against_steps(model)
    if reason is not None:
        raise ValueError(f"tbptt: expected layers that go from step to step, but {reason}")
    time = samples.x.shape[1]
    if samples.y is not None and samples.y.shape[1:2] != (time,):
        raise ValueError(
            f"y: expected targets for each step with tbptt, (N, T, ...) with T = {time}, got shape {samples.y.shape}"
        )


def reason_against_steps(layer: Layer) -> str | None:
    """Why a layer's output on windows, its states carried on, is not its output on the whole; None if it is."""
    if isinstance(layer, Bidirectional):
        return f"{layer!r} also runs from the last step to the first"
    if isinstance(layer, Recurrent):
        if layer.go_backwards:
            return f"{layer!r} runs from the last step to the first"
        return None if layer.return_sequences else f"{layer!r} gives one output for all steps (return_sequences=False)"
    if isinstance(layer, Container):
        return next(filter(None, map(reason_against_steps, layer.parts().values())), None)
    if isinstance(layer, TimeDistributed):
        return None
    if not layer.takes_holes:
        return f"{layer!r} looks at several steps at a time"
    probe = np.array([2, 3])
    if not np.array_equal(layer.pass_on(probe, None)[0], probe):
        return f"{layer!r} does not give an output for each step"
    return None
