"""A recurrent layer run step by step, so that the gradient by the state after every step can be seen.

The way through one step ends in the gradient by the states that entered it, which are those that the step before left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastrnn.layers.masking import TimePlan
from fastrnn.layers.steps import Steps
from fastrnn.layers.through_time import Recurrent

__all__ = ["Trace", "trace_back", "trace_forward"]

States = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class _Step:
    """One step of all rows: when it is, and what its backward pass needs."""

    t: int
    plan: TimePlan
    cache: Any


@dataclass(frozen=True)
class Trace:
    """A run of a layer, step by step.

    Attributes
    ----------
    out : ndarray
        The output of the layer.
    states : dict of str to ndarray (B, T, H)
        The states after every step, held where a step does not count.
    """

    out: np.ndarray
    states: dict[str, np.ndarray]
    _layer: Recurrent
    _plan: TimePlan
    _counted: np.ndarray | None  # (B, T)
    _x_shape: tuple[int, ...]
    _path: list[_Step]  # in the order in which the steps were run


def trace_forward(layer: Recurrent, x: Any, known: Steps) -> Trace:
    """Run a layer at inference, from the state that it would start from; what it keeps stays as it is.

    Parameters
    ----------
    layer : Recurrent
    x : array_like (B, T, I)
    known : Steps
        What is known of the steps of x.
    """
    x = layer._input(x)
    batch, time, _ = x.shape
    plan = layer._plan(x, *known)
    current, _ = layer._start(None, batch)
    out = layer._output(layer._run_cell(plan.gather(x), current, plan, None, False), plan)
    states = {name: np.empty((batch, time, size), layer.dtype) for name, size in layer.state_sizes.items()}
    path: list[_Step] = []
    for t in reversed(range(time)) if layer.go_backwards else range(time):
        x_t = x[:, t : t + 1]
        plan_t = layer._plan(x_t, *_one_step(known, t))
        run = layer._run_cell(x_t, current, plan_t, None, True)
        current = tuple(map(plan_t.forget, run.states))
        for state_of_all, state in zip(states.values(), current, strict=True):
            state_of_all[:, t] = state
        path.append(_Step(t, plan_t, run.cache))
    return Trace(out, states, layer, plan, known.counted(time), x.shape, path)


def trace_back(dout: Any, trace: Trace) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The way back through a trace.

    Parameters
    ----------
    dout : array_like
        Gradient by the output of the layer.
    trace : Trace

    Returns
    -------
    dx : ndarray (B, T, I)
    dstates : dict of str to ndarray (B, T, H)
        The gradient by the states after every step: through the steps behind and, by a state that is the output,
        through the output too.  Zero behind the last step of a row.
    """
    layer = trace._layer
    dy = _by_step(layer._array("dout", dout, trace.out.shape), trace)
    dx = np.empty(trace._x_shape, layer.dtype)
    dstates = {name: np.empty_like(states) for name, states in trace.states.items()}
    current: States = tuple(np.zeros_like(d[:, 0]) for d in dstates.values())
    for step in reversed(trace._path):
        now = slice(step.t, step.t + 1)
        for d_of_all, d in zip(dstates.values(), current, strict=True):
            d_of_all[:, step.t] = d
        after = tuple(map(step.plan.forget, current))
        dx_t, _, current = layer._run_cell_back(dy[:, now], None, after, step.cache, True)
        assert dx_t is not None
        dx[:, now] = dx_t
    if layer.output_is_state:
        dstates[next(iter(dstates))] += dy
    return dx, dstates


def _one_step(known: Steps, t: int) -> Steps:
    """What is known of one step."""
    lengths, mask, reset_mask = known
    return Steps(
        None if lengths is None else (lengths > t).astype(np.intp),
        None if mask is None else mask[:, t : t + 1],
        None if reset_mask is None else reset_mask[:, t : t + 1],
    )


def _by_step(dout: np.ndarray, trace: Trace) -> np.ndarray:
    """The gradient by the output of each step (B, T, H), zero at those that do not count."""
    layer, plan = trace._layer, trace._plan
    batch, time, _ = trace._x_shape
    counted = np.ones((batch, time), bool) if trace._counted is None else trace._counted
    dy: np.ndarray = np.zeros((batch, time, dout.shape[-1]), dout.dtype)
    dlast: np.ndarray | None = dout
    if layer.return_sequences:
        shown, dlast = plan.collect(dout, time if plan.steps is None else plan.steps.shape[1])
        dy = np.where(counted[:, :, None], plan.scatter(shown), dy)
    if dlast is not None:
        ran = np.flatnonzero(counted.any(axis=1))
        last = counted.argmax(axis=1) if layer.go_backwards else time - 1 - counted[:, ::-1].argmax(axis=1)
        dy[ran, last[ran]] += dlast[ran]
    return dy
