"""Memory cells of one's own: one step forward and one step backward in NumPy, and the layer that runs them.

The layer is the same as those of the engine's cells in everything around the cell: lengths, masks, resets, states,
models, training, files.  It is slower, because its loop through time runs in Python.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, Unpack

import numpy as np

from fastrnn.layers.config import Configurable
from fastrnn.layers.masking import TimePlan
from fastrnn.layers.through_time import CellRun, Recurrent, RecurrentOptions

__all__ = ["RNN", "MemoryCell"]

Arrays: TypeAlias = Mapping[str, np.ndarray]
Rows: TypeAlias = slice | np.ndarray


class MemoryCell(Configurable):
    """Base class of cells of one's own: ``h_t = f(h_{t-1}, x_t)`` and ``y_t = g(h_{t-1}, x_t)``.

    A subclass says what it carries (`state_sizes`) and how wide its output is (`output_size`), makes its parameters,
    and computes one step and the gradients of one step on a batch of rows.  Its constructor keeps each argument under
    its own name, so that a model with the cell can be saved; `fastrnn.check_gradients` tells whether
    `step_backward` fits `step_forward`.

    Examples
    --------
    A moving average whose rate each unit learns, ``h = s·h_prev + (1 - s)·(x·w)`` with ``s = sigmoid(a)``:

    >>> import numpy as np
    >>> import fastrnn
    >>> class MovingAverage(fastrnn.MemoryCell):
    ...     def __init__(self, units):
    ...         self.units = units
    ...
    ...     @property
    ...     def state_sizes(self):
    ...         return {"h": self.units}
    ...
    ...     @property
    ...     def output_size(self):
    ...         return self.units
    ...
    ...     def initial_parameters(self, input_size, rng):
    ...         return {"w": rng.normal(size=(input_size, self.units)), "a": np.zeros(self.units)}
    ...
    ...     def step_forward(self, params, x_t, states):
    ...         s, new = fastrnn.sigmoid(params["a"]), x_t @ params["w"]
    ...         h = s * states["h"] + (1 - s) * new
    ...         return h, {"h": h}, (x_t, states["h"], s, new)
    ...
    ...     def step_backward(self, params, dy_t, dstates, cache):
    ...         x_t, h_prev, s, new = cache
    ...         dh = dy_t + dstates["h"]
    ...         dnew = dh * (1 - s)
    ...         da = (dh * (h_prev - new)).sum(axis=0) * s * (1 - s)
    ...         return dnew @ params["w"].T, {"h": dh * s}, {"w": x_t.T @ dnew, "a": da}
    >>> x = np.random.default_rng(0).normal(size=(2, 5, 3))
    >>> fastrnn.check_gradients(MovingAverage(4), x, verbose=False).max_error < 1e-7
    True
    >>> model = fastrnn.Sequential([fastrnn.RNN(MovingAverage(4)), fastrnn.Dense(1)], seed=0)
    >>> model(x, lengths=[5, 2]).shape
    (2, 1)
    """

    @property
    def state_sizes(self) -> Mapping[str, int]:
        """The names and sizes of the states that are carried from step to step."""
        raise NotImplementedError

    @property
    def output_size(self) -> int:
        """The size of an output."""
        raise NotImplementedError

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """First values of the parameters.

        Parameters
        ----------
        input_size : int
            I.
        rng : numpy.random.Generator
            The source of whatever is drawn.

        Returns
        -------
        dict of str to ndarray
            The layer casts them to its dtype.
        """
        raise NotImplementedError

    def step_forward(self, params: Arrays, x_t: np.ndarray, states: Arrays) -> tuple[np.ndarray, Arrays, Any]:
        """One step on b rows, none of whose arguments may be written to.

        Parameters
        ----------
        params : mapping of str to ndarray
        x_t : ndarray (b, I)
        states : mapping of str to ndarray (b, size)
            The states before the step.

        Returns
        -------
        y_t : ndarray (b, output_size)
        new_states : mapping of str to ndarray (b, size)
        cache
            Whatever `step_backward` needs.
        """
        raise NotImplementedError

    def step_backward(
        self, params: Arrays, dy_t: np.ndarray, dstates: Arrays, cache: Any
    ) -> tuple[np.ndarray, Arrays, Arrays]:
        """Gradients of one step.

        Parameters
        ----------
        params : mapping of str to ndarray
        dy_t : ndarray (b, output_size)
            Gradient by the output of this step.
        dstates : mapping of str to ndarray (b, size)
            Gradients by the states after the step, as later steps see them; what `y_t` shows of them is not in here.
        cache
            What `step_forward` returned.

        Returns
        -------
        dx_t : ndarray (b, I)
        dprevious_states : mapping of str to ndarray (b, size)
        dparams : mapping of str to ndarray
            The names and shapes of the parameters, summed over the rows.
        """
        raise NotImplementedError


class _Moment(NamedTuple):
    """One step of the loop: the time, the rows that have it, and which of these are reset before it (None: none)."""

    t: int
    rows: Rows
    reset: np.ndarray | None


@dataclass(frozen=True)
class _Tape:
    """What the way back needs."""

    moments: list[tuple[_Moment, Any]]
    x_shape: tuple[int, ...]
    last_steps: np.ndarray  # (B,): when each row's last output was made, -1 for never


class RNN(Recurrent):
    """A recurrent layer around a memory cell of one's own.

    Parameters
    ----------
    cell : MemoryCell
    return_sequences, return_state, return_all_states, go_backwards, stateful
        As for `LSTM`.
    zero_output_for_mask, learn_initial_state, dtype, seed
        As for `LSTM`.

    Notes
    -----
    Parameters: the cell's; with ``learn_initial_state`` the name of each state with a 0 behind it.  State: a tuple, in
    the order of the cell's ``state_sizes``.  The output of a row without a true step is zero.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import RNN, MemoryCell
    >>> class RunningSum(MemoryCell):
    ...     state_sizes = {"total": 1}
    ...     output_size = 1
    ...
    ...     def initial_parameters(self, input_size, rng):
    ...         return {"w": np.ones((input_size, 1))}
    ...
    ...     def step_forward(self, params, x_t, states):
    ...         total = states["total"] + x_t @ params["w"]
    ...         return total, {"total": total}, x_t
    ...
    ...     def step_backward(self, params, dy_t, dstates, x_t):
    ...         dtotal = dy_t + dstates["total"]
    ...         return dtotal @ params["w"].T, {"total": dtotal}, {"w": x_t.T @ dtotal}
    >>> RNN(RunningSum(), return_sequences=True)(np.ones((1, 4, 2)), lengths=[3]).ravel()
    array([2., 4., 6., 0.], dtype=float32)
    """

    def __init__(self, cell: MemoryCell, **options: Unpack[RecurrentOptions]) -> None:
        super().__init__(**options)
        if not isinstance(cell, MemoryCell):
            raise TypeError(f"cell: expected a MemoryCell, got {type(cell).__name__}")
        if not cell.state_sizes:
            raise ValueError(f"cell: expected {type(cell).__name__}.state_sizes to name at least one state, got none")
        self.cell = cell

    @property
    def state_sizes(self) -> dict[str, int]:
        return dict(self.cell.state_sizes)

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    def cell_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        params = self.cell.initial_parameters(input_size, rng)
        return {name: np.array(value, dtype=self.dtype) for name, value in params.items()}

    def _run_cell(
        self,
        x: np.ndarray,
        states: tuple[np.ndarray | None, ...],
        plan: TimePlan,
        rng: np.random.Generator | None,
        keep_cache: bool,
    ) -> CellRun:
        batch, time, _ = x.shape
        sizes = self.state_sizes
        current = {
            name: np.zeros((batch, size), self.dtype) if given is None else given.copy()
            for (name, size), given in zip(sizes.items(), states, strict=True)
        }
        y = np.zeros((batch, time, self.output_size), self.dtype)
        steps = None
        if keep_cache and self.return_all_states:
            steps = {name: np.zeros((batch, time, size), self.dtype) for name, size in sizes.items()}
        tape: list[tuple[_Moment, Any]] = []
        for moment in _moments(batch, time, plan.lengths, plan.reset_mask, self.go_backwards):
            t, rows, reset = moment
            previous = {name: state[rows] for name, state in current.items()}
            if reset is not None:
                previous = {name: np.where(reset[:, None], 0, state) for name, state in previous.items()}
            y_t, new, cache = self.cell.step_forward(self.params, x[rows, t], previous)
            self._fits("y_t", y_t, y[rows, t].shape)
            self._names("new_states", new, sizes)
            y[rows, t] = y_t
            for name, state in previous.items():
                self._fits(f"new_states[{name!r}]", new[name], state.shape)
                if isinstance(rows, slice):  # a copy: the cell's own array may stand in its cache
                    current[name] = np.array(new[name], dtype=self.dtype)
                else:
                    current[name] = current[name].copy()
                    current[name][rows] = new[name]
                if steps is not None:
                    steps[name][rows, t] = new[name]
            if keep_cache:
                tape.append((moment, cache))
        last_steps = _last_steps(batch, time, plan.lengths, self.go_backwards)
        last = y[np.arange(batch), last_steps]
        last[last_steps < 0] = 0
        kept = _Tape(tape, x.shape, last_steps) if keep_cache else None
        return CellRun(y, last, tuple(current.values()), kept, None if steps is None else tuple(steps.values()))

    def _run_cell_back(
        self,
        dy: np.ndarray | None,
        dlast: np.ndarray | None,
        dstates: tuple[np.ndarray | None, ...],
        cache: Any,
        needs_dx: bool,
        dsteps: tuple[np.ndarray | None, ...] | None = None,
        dgates: np.ndarray | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray], tuple[np.ndarray, ...]]:
        if cache is None:
            raise ValueError("cache: expected one of forward, got one of an inference, which keeps none")
        batch, time, _ = cache.x_shape
        dy = np.zeros((batch, time, self.output_size), self.dtype) if dy is None else dy
        if dlast is not None:
            dy = dy.copy()
            ran = np.flatnonzero(cache.last_steps >= 0)
            dy[ran, cache.last_steps[ran]] += dlast[ran]
        current = {
            name: np.zeros((batch, size), self.dtype) if given is None else given.copy()
            for (name, size), given in zip(self.state_sizes.items(), dstates, strict=True)
        }
        grads = {n: np.zeros_like(array) for n, array in self.params.items() if n not in self.learned_states}
        dx = np.zeros(cache.x_shape, self.dtype)
        for (t, rows, reset), step_cache in reversed(cache.moments):
            for state, d in zip(current.values(), dsteps or (), strict=False):
                if d is not None:
                    state[rows] += d[rows, t]
            dnext = {name: state[rows] for name, state in current.items()}
            dx_t, dprevious, dparams = self.cell.step_backward(self.params, dy[rows, t], dnext, step_cache)
            self._fits("dx_t", dx_t, dx[rows, t].shape)
            self._names("dprevious_states", dprevious, current)
            self._names("dparams", dparams, grads)
            dx[rows, t] = dx_t
            for name, state in dnext.items():
                self._fits(f"dprevious_states[{name!r}]", dprevious[name], state.shape)
                gradient = dprevious[name] if reset is None else np.where(reset[:, None], 0, dprevious[name])
                current[name][rows] = gradient
            for name, gradient in grads.items():
                self._fits(f"dparams[{name!r}]", dparams[name], gradient.shape)
                gradient += dparams[name]
        return dx, grads, tuple(current.values())

    def _fits(self, name: str, value: Any, expected: tuple[int, ...]) -> None:
        """Refuse what the cell returned if it has another shape, before NumPy broadcasts it."""
        if np.shape(value) != expected:
            raise ValueError(f"{name} of {type(self.cell).__name__}: expected shape {expected}, got {np.shape(value)}")

    def _names(self, name: str, value: Arrays, expected: Mapping[str, Any]) -> None:
        """Refuse what the cell returned if it has other names."""
        if set(value) != set(expected):
            raise ValueError(
                f"{name} of {type(self.cell).__name__}: expected the names {', '.join(expected) or 'of no parameter'}, "
                f"got {', '.join(value) or 'none'}"
            )


def _moments(
    batch: int, time: int, lengths: np.ndarray | None, reset_mask: np.ndarray | None, backwards: bool
) -> Iterator[_Moment]:
    """The steps in the order in which they are processed; a row takes part in its true steps."""
    for t in reversed(range(time)) if backwards else range(time):
        rows: Rows = slice(None)
        if lengths is not None and not (t < lengths).all():
            rows = np.flatnonzero(t < lengths)
            if not rows.size:
                continue
        reset = None if reset_mask is None else reset_mask[rows, t]
        yield _Moment(t, rows, reset if reset is not None and reset.any() else None)


def _last_steps(batch: int, time: int, lengths: np.ndarray | None, backwards: bool) -> np.ndarray:
    """When each row's last output is made (B,), -1 for a row without a step."""
    count: np.ndarray = np.full(batch, time) if lengths is None else lengths
    return np.where(count > 0, 0, -1) if backwards else count - 1
