"""What every recurrent layer does around its cell: lengths, masks, resets, states, the shape of the output."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypedDict

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Layer, Shape
from fastrnn.layers.masking import TimePlan, plan_time, reverse_time

__all__ = ["CellRun", "Recurrent", "RecurrentCache", "RecurrentOptions", "summed"]


class CellRun(NamedTuple):
    """What a cell makes of a sequence.

    Attributes
    ----------
    y : ndarray (B, T, output_size)
        Its outputs, zero past a row's end; may be None where the layer returns the last one alone.
    last : ndarray (B, output_size)
        The output of each row's last true step.
    states : tuple of ndarray
        The final states, in the order of `Recurrent.state_sizes`.
    cache
        For the backward pass.
    steps : tuple of ndarray (B, T, size)
        The states after every step, zero past a row's end; where the layer shows them and the cache is kept.
    gates : ndarray (B, T, G*H)
        The gates at every step, likewise.
    """

    y: np.ndarray | None
    last: np.ndarray
    states: tuple[np.ndarray, ...]
    cache: Any
    steps: tuple[np.ndarray, ...] | None = None
    gates: np.ndarray | None = None


@dataclass(frozen=True)
class RecurrentCache:
    """What backward needs.  Only `state`, `states` and `gates` are meant for reading.

    Attributes
    ----------
    state : tuple of ndarray (B, H)
        The final state, (h,) or (h, c).
    states : tuple of ndarray (B, T, H), or None
        The states after every step, (h,) or (h, c), with ``return_all_states``.
    gates : ndarray (B, T, G*H), or None
        The gates at every step, with ``return_gates``.
    """

    state: tuple[np.ndarray, ...]
    steps: Any
    plan: TimePlan
    y_shape: tuple[int, ...]
    learned: tuple[bool, ...]
    states: tuple[np.ndarray, ...] | None = None
    gates: np.ndarray | None = None

    @property
    def shown(self) -> tuple[np.ndarray, ...]:
        """All that there is to see of the steps, states first."""
        return (*(self.states or ()), *(() if self.gates is None else (self.gates,)))


class RecurrentOptions(TypedDict, total=False):
    """The keyword arguments that every recurrent layer takes."""

    return_sequences: bool
    return_state: bool
    return_all_states: bool
    go_backwards: bool
    stateful: bool
    zero_output_for_mask: bool
    learn_initial_state: bool
    dtype: Any
    seed: int | None


class Recurrent(Layer):
    """Base class of the recurrent layers; see `LSTM` for the options.

    A subclass says which states it carries (`state_sizes`) and how wide its output is (`output_size`), and runs its
    cell over a plain batch of sequences, forward and backward (`_run_cell`, `_run_cell_back`).
    """

    input_ndim = 3
    takes_time = True

    output_is_state: ClassVar[bool] = False
    """Whether the output of a step is the first of the states after it."""

    def __init__(
        self,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        return_all_states: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        learn_initial_state: bool = False,
        dtype: Any = "float32",
        seed: int | None = None,
        **unknown: Any,
    ) -> None:
        refuse_unknown(type(self), unknown)
        super().__init__("float32" if dtype is None else dtype, seed)
        self.return_sequences = _check.boolean("return_sequences", return_sequences)
        self.return_state = _check.boolean("return_state", return_state)
        self.return_all_states = _check.boolean("return_all_states", return_all_states)
        self.go_backwards = _check.boolean("go_backwards", go_backwards)
        self.stateful = _check.boolean("stateful", stateful)
        self.zero_output_for_mask = _check.boolean("zero_output_for_mask", zero_output_for_mask)
        self.learn_initial_state = _check.boolean("learn_initial_state", learn_initial_state)
        self._kept_state: tuple[np.ndarray, ...] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__signature__ = _with_inherited_options(cls)  # type: ignore[attr-defined]

    # -- what a subclass says -----------------------------------------------------------------------------------------

    @property
    def state_sizes(self) -> dict[str, int]:
        """The carried states by name, with their sizes."""
        raise NotImplementedError

    @property
    def output_size(self) -> int:
        """The size of the last axis of the output."""
        raise NotImplementedError

    def cell_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The first values of the cell's parameters."""
        raise NotImplementedError

    def _run_cell(
        self,
        x: np.ndarray,
        states: tuple[np.ndarray | None, ...],
        plan: TimePlan,
        rng: np.random.Generator | None,
        keep_cache: bool,
    ) -> CellRun:
        """Run the cell over x (B, T, I), with `rng` in training alone, from the last step with ``go_backwards``.

        With `keep_cache` the run holds what the layer shows of every step, too.
        """
        raise NotImplementedError

    def _run_cell_back(
        self,
        dy: np.ndarray | None,
        dlast: np.ndarray | None,
        dstates: tuple[np.ndarray | None, ...],
        cache: Any,
        needs_dx: bool,
        dsteps: tuple[np.ndarray | None, ...] | None = None,
        dgates: np.ndarray | None = None,
    ) -> tuple[np.ndarray | None, dict[str, np.ndarray], tuple[np.ndarray, ...]]:
        """dx (None unless it is needed), the gradients by the cell's parameters and those by the initial states.

        `dstates` are the gradients by the final states, `dsteps` those by the states after every step.
        """
        raise NotImplementedError

    # -- parameters and states ----------------------------------------------------------------------------------------

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        params = self.cell_parameters(input_size, rng)
        for name, size in zip(self.learned_states, self.state_sizes.values(), strict=False):
            if name in params:
                raise ValueError(f"{name}: expected another name for this parameter, the learned initial state has it")
            params[name] = np.zeros(size, self.dtype)
        return params

    @property
    def _shows_steps(self) -> bool:
        """Whether a call returns something of every step that a kept cache alone holds."""
        return self.return_all_states

    @property
    def learned_states(self) -> tuple[str, ...]:
        """The parameters that are initial states."""
        return tuple(f"{name}0" for name in self.state_sizes) if self.learn_initial_state else ()

    def reset_states(self) -> None:
        """Forget the state that a layer with ``stateful=True`` has kept: the next batch starts anew."""
        self._kept_state = None

    def output_shape(self, input_shape: Shape) -> Shape:
        batch, time, _ = input_shape
        return (batch, time, self.output_size) if self.return_sequences else (batch, self.output_size)

    def pass_on(self, lengths: Any, reset_mask: Any) -> tuple[Any, Any]:
        if not self.return_sequences:
            return None, None
        if self.go_backwards and reset_mask is not None:
            reset_mask = reverse_time(np.asarray(reset_mask), None if lengths is None else np.asarray(lengths))
        return lengths, reset_mask

    # -- forward and backward -----------------------------------------------------------------------------------------

    def __call__(
        self,
        x: Any,
        initial_state: tuple[Any, ...] | None = None,
        lengths: Any = None,
        mask: Any = None,
        reset_mask: Any = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> Any:
        """Inference: the output of `forward`, or a tuple of it and all that the layer is to return beside it.

        The order is ``out``; with ``return_state`` ``cache.state``, that is h, of an LSTM h and c, after the last step;
        with ``return_all_states`` ``cache.states``, h (and c) after every step; with ``return_gates`` ``cache.gates``.
        """
        out, cache = self._run(x, initial_state, lengths, mask, reset_mask, training, rng, keep_cache=self._shows_steps)
        beside = (*(cache.state if self.return_state else ()), *cache.shown)
        return (out, *beside) if beside else out

    def forward(
        self,
        x: Any,
        initial_state: tuple[Any, ...] | None = None,
        lengths: Any = None,
        mask: Any = None,
        reset_mask: Any = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, RecurrentCache]:
        """Run over a batch of sequences.

        Parameters
        ----------
        x : array_like (B, T, I)
            Cast to the layer's dtype.
        initial_state : tuple of array_like (B, H), optional
            ``(h0,)``, for an LSTM ``(h0, c0)``; an entry may be None.  What is not given is the state kept from the
            batch before if the layer is stateful, else the learned one if it learns one, else zero.
        lengths : array_like of int (B,), optional
            True steps of each row; all by default.  The output is zero past them.
        mask : array_like of bool (B, T), optional
            False where a step does not count: state and output are held there, or the output is zero with
            ``zero_output_for_mask`` and before the first step that counts.
        reset_mask : array_like of bool (B, T), optional
            True where the state is zeroed before that step; at a masked step it acts before the next that counts.
        training : bool
            Whether dropout and zoneout draw.
        rng : numpy.random.Generator, optional
            Source of what they draw; without one the layer's seed starts a new one at each call.

        Returns
        -------
        out : ndarray (B, T, H) or (B, H)
            All outputs with ``return_sequences``, otherwise the last true one of each row.  With ``go_backwards`` in
            the order in which the steps were processed.
        cache : RecurrentCache
            For `backward`; ``cache.state`` is the final state.  With ``return_all_states`` ``cache.states`` are the
            states after every step, each shown where an output with ``return_sequences`` would be: in its order, held
            or zero at masked steps, zero past the end.  With ``return_gates`` ``cache.gates`` are the gates (B, T, G*H)
            in that order, zero at every step that is not run.
        """
        return self._run(x, initial_state, lengths, mask, reset_mask, training, rng, keep_cache=True)

    def infer(self, x: Any, lengths: Any = None, mask: Any = None, reset_mask: Any = None) -> np.ndarray:
        """The output of `forward`, without keeping what `backward` would need."""
        return self._run(x, None, lengths, mask, reset_mask, False, None, keep_cache=False)[0]

    def step(self, x: np.ndarray, states: tuple[np.ndarray, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """One step at inference.

        Parameters
        ----------
        x : ndarray (B, I)
        states : tuple of ndarray (B, size)
            In the order of `state_sizes`.

        Returns
        -------
        y : ndarray (B, output_size)
        new_states : tuple of ndarray (B, size)
        """
        run = self._run_cell(x[:, None], states, plan_time(1, None, None, None), None, False)
        return run.last, run.states

    def _run(
        self,
        x: Any,
        initial_state: Any,
        lengths: Any,
        mask: Any,
        reset_mask: Any,
        training: bool,
        rng: np.random.Generator | None,
        keep_cache: bool,
    ) -> tuple[np.ndarray, RecurrentCache]:
        x = self._input(x)
        plan = self._plan(x, lengths, mask, reset_mask)
        states, learned = self._start(initial_state, len(x))
        if not _check.boolean("training", training):
            rng = None
        elif rng is None:
            rng = np.random.default_rng(self.seed)
        x = plan.gather(x)
        run = self._run_cell(x, states, plan, rng, keep_cache)
        state = tuple(map(plan.forget, run.states))
        if self.stateful:
            self._kept_state = tuple(s.copy() for s in state)
        cache = RecurrentCache(
            state,
            run.cache,
            plan,
            (*x.shape[:2], self.output_size),
            learned,
            None if run.steps is None else tuple(map(plan.spread, run.steps, run.states)),
            None if run.gates is None else plan.without_holding().spread(run.gates, run.last),
        )
        return self._output(run, plan), cache

    def _output(self, run: CellRun, plan: TimePlan) -> np.ndarray:
        """What the layer returns of a run of its cell."""
        if not self.return_sequences:
            return run.last
        assert run.y is not None
        return plan.spread(run.y, run.last)

    def backward(
        self,
        dout: Any,
        cache: RecurrentCache,
        dfinal_state: tuple[Any, ...] | None = None,
        dstates: tuple[Any, ...] | None = None,
        dgates: Any = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray], tuple[np.ndarray, ...]]:
        """Backpropagate through time.

        Parameters
        ----------
        dout : array_like or None
            Gradient by the output of `forward`, of its shape; None where the loss sees the final state alone.
        cache : RecurrentCache
            What `forward` returned.
        dfinal_state : tuple of array_like (B, H), optional
            Gradient by ``cache.state``; an entry may be None.
        dstates : tuple of array_like (B, T, H), optional
            Gradient by ``cache.states``; an entry may be None.
        dgates : array_like (B, T, G*H), optional
            Gradient by ``cache.gates``.

        Returns
        -------
        dx : ndarray (B, T, I)
        grads : dict of str to ndarray
            By parameter name.
        dinitial_state : tuple of ndarray (B, H)
            ``(dh0,)``, for an LSTM ``(dh0, dc0)``.
        """
        dx, grads, dinitial = self._back(dout, cache, dfinal_state, dstates, dgates, needs_dx=True)
        assert dx is not None
        return cache.plan.scatter(dx), grads, dinitial

    def parameter_gradients(self, dout: Any, cache: RecurrentCache) -> dict[str, np.ndarray]:
        """The gradients by the parameters alone: neither time nor memory is spent on that by the input."""
        return self._back(dout, cache, needs_dx=False)[1]

    def _back(
        self,
        dout: Any,
        cache: RecurrentCache,
        dfinal_state: tuple[Any, ...] | None = None,
        dstates: tuple[Any, ...] | None = None,
        dgates: Any = None,
        *,
        needs_dx: bool,
    ) -> tuple[np.ndarray | None, dict[str, np.ndarray], tuple[np.ndarray, ...]]:
        """What `backward` returns, dx as the cell gives it, None unless it is needed."""
        batch, steps, width = cache.y_shape
        plan = cache.plan
        dfinal = tuple(
            None if d is None else plan.forget(d) for d in self._as_states("dfinal_state", dfinal_state, batch)
        )
        visible: dict[str, Any] = {}
        if dstates is not None:
            visible["dsteps"], dfinal = self._by_steps(dstates, cache, dfinal)
        if dgates is not None:
            visible["dgates"] = self._by_gates(dgates, cache)
        dy = dlast = None
        if dout is not None and self.return_sequences:
            dout = self._array("dout", dout, (batch, plan.time, width), "(B, T, H)")
            dy, dlast = plan.collect(dout, steps)
        elif dout is not None:
            dlast = self._array("dout", dout, (batch, width), "(B, H)")
        dx, grads, dinitial = self._run_cell_back(dy, dlast, dfinal, cache.steps, needs_dx, **visible)
        for name, d, learned in zip(self.learned_states, dinitial, cache.learned, strict=False):
            grads[name] = d.sum(axis=0) if learned else np.zeros(d.shape[1], d.dtype)
        return dx, grads, dinitial

    def _by_steps(
        self, dstates: tuple[Any, ...], cache: RecurrentCache, dfinal: tuple[np.ndarray | None, ...]
    ) -> tuple[tuple[np.ndarray | None, ...], tuple[np.ndarray | None, ...]]:
        """The gradients by the states after every step as the cell runs them, and those by the final states.

        A state that is held behind the last step of its row is the final one.
        """
        if cache.states is None:
            raise ValueError("dstates: expected None, the cache shows no states: the layer has return_all_states=False")
        batch, steps, _ = cache.y_shape
        dsteps: list[np.ndarray | None] = []
        found = list(dfinal)
        for i, d in enumerate(self._as_states("dstates", dstates, batch, cache.plan.time)):
            d_run, d_held = (None, None) if d is None else cache.plan.collect(d, steps)
            dsteps.append(d_run)
            found[i] = summed(found[i], d_held)
        return tuple(dsteps), tuple(found)

    def _by_gates(self, dgates: Any, cache: RecurrentCache) -> np.ndarray:
        """The gradients by the gates as the cell runs them."""
        if cache.gates is None:
            raise ValueError("dgates: expected None, the cache shows no gates: the layer has return_gates=False")
        dgates = self._array("dgates", dgates, cache.gates.shape, "(B, T, G*H)")
        return cache.plan.without_holding().collect(dgates, cache.y_shape[1])[0]

    def _plan(self, x: np.ndarray, lengths: Any, mask: Any, reset_mask: Any) -> TimePlan:
        """Lengths, mask and resets checked and put together."""
        batch, time = x.shape[:2]
        if time == 0:
            raise ValueError(f"x: expected at least one time step, got shape {x.shape}")
        if lengths is not None:
            lengths = _check.as_int_vector("lengths", lengths, batch, 0, time, "(B,)").copy()
        if mask is not None:
            mask = _check.as_bool_mask("mask", mask, (batch, time), "(B, T)")
        if reset_mask is not None:
            reset_mask = _check.as_bool_mask("reset_mask", reset_mask, (batch, time), "(B, T)").copy()
        return plan_time(
            time, lengths, mask, reset_mask, backwards=self.go_backwards, hold=not self.zero_output_for_mask
        )

    def _start(self, initial_state: Any, batch: int) -> tuple[tuple[np.ndarray | None, ...], tuple[bool, ...]]:
        """The initial states (None is zeros), and which of them are the learned ones."""
        states = list(self._as_states("initial_state", initial_state, batch))
        learned = [False] * len(states)
        if self._kept_state is not None:
            kept_rows = len(self._kept_state[0])
            if kept_rows != batch and any(given is None for given in states):
                raise ValueError(
                    f"x: expected {kept_rows} rows, as in the batch before, because the layer is stateful, "
                    f"got {batch}; reset_states() lets it start anew"
                )
            states = [kept if given is None else given for given, kept in zip(states, self._kept_state, strict=True)]
        elif self.learn_initial_state:
            learned = [given is None for given in states]
            for i, name in enumerate(self.learned_states):
                if learned[i]:
                    row = self.params[name]
                    states[i] = np.ascontiguousarray(np.broadcast_to(row, (batch, row.size)))
        return tuple(states), tuple(learned)

    def _as_states(self, name: str, states: Any, batch: int, time: int | None = None) -> tuple[np.ndarray | None, ...]:
        """One array (B, H), or (B, T, H) for so many steps, or None for each state that the cell carries."""
        sizes = self.state_sizes
        count = len(sizes)
        if states is None:
            return (None,) * count
        expected = "(" + ", ".join(sizes) + ("," if count == 1 else "") + ")"
        if not isinstance(states, (tuple, list)):
            raise TypeError(f"{name}: expected a tuple {expected}, got {type(states).__name__}")
        if len(states) != count:
            raise ValueError(f"{name}: expected a tuple {expected}, got {len(states)} entries")
        rows, formula = ((batch,), "(B, H)") if time is None else ((batch, time), "(B, T, H)")
        return tuple(
            None if s is None else self._array(f"{name}[{i}]", s, (*rows, size), formula)
            for i, (s, size) in enumerate(zip(states, sizes.values(), strict=True))
        )


def summed(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    """The sum of two gradients, of which None is zero."""
    if a is None or b is None:
        return b if a is None else a
    return a + b


def refuse_unknown(cls: type, options: dict[str, Any]) -> None:
    """Raise for keyword arguments that are left over."""
    if options:
        raise TypeError(f"{cls.__name__}() got an unexpected keyword argument {next(iter(options))!r}")


def _with_inherited_options(cls: type[Recurrent]) -> inspect.Signature:
    """The constructor's signature with the options behind ``**options`` written out, but those the cell lacks."""
    own = list(inspect.signature(cls.__init__).parameters.values())[1:]
    if not any(p.kind is p.VAR_KEYWORD for p in own):
        return inspect.Signature(own)
    own = [p for p in own if p.kind is not p.VAR_KEYWORD]
    names = {p.name for p in own} | set(getattr(cls, "lacks", ()))
    inherited = inspect.signature(cls.__mro__[1]).parameters.values()
    return inspect.Signature(own + [p for p in inherited if p.name not in names and p.kind is not p.VAR_KEYWORD])
