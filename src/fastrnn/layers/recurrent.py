"""The recurrent layers of the engine's cells: SimpleRNN, LSTM, GRU, IndRNN, MinGRU.

All of them are one base class.  What sets them apart stands in a `Cell`, which the registry of the kernels fills:
which functions run it, how many gates it has, which states it carries, which options it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

import numpy as np

from fastrnn import _check, _engine, functional
from fastrnn.functional import _call
from fastrnn.layers.activations import ActivationLike, checked_activation
from fastrnn.layers.initializers import Initializer, RandomUniform, checked_initializer
from fastrnn.layers.masking import TimePlan
from fastrnn.layers.through_time import CellRun, Recurrent, RecurrentCache, RecurrentOptions, refuse_unknown, summed

__all__ = ["GRU", "LSTM", "EngineRecurrent", "IndRNN", "MinGRU", "Recurrent", "RecurrentCache", "SimpleRNN"]

_UP_TO_ONE = RandomUniform(0.0, 1.0)


@dataclass(frozen=True)
class Cell:
    """What a recurrent layer has to know of its cell; all of it comes from the registry of the kernels."""

    name: str
    gates: int
    states: tuple[str, ...]  # carried from step to step, h first
    bias_rows: int | None  # rows of a two-dimensional bias
    recurrent: str  # how h_prev comes in: "product" with w_h, "elementwise" or "nothing"
    norm: str | None  # what layer norm normalises: the "sum" of both products or each "apart"; None: there is none

    @classmethod
    def named(cls, name: str) -> Cell:
        """The cell that the registry has under a name."""
        spec = _engine.CELLS[name]
        return cls(
            name=name,
            gates=spec["gates"],
            states=("h", "c") if spec["cell_state"] else ("h",),
            bias_rows=None if spec["bias_rows"] == 1 else spec["bias_rows"],
            recurrent=spec["recurrent"],
            norm=spec["norm"],
        )

    @property
    def forward(self) -> Callable[..., Any]:
        """The function that runs the cell over a sequence."""
        return getattr(functional, f"{self.name}_forward")

    def backward(self, dy: Any, cache: Any, dh_n: Any, dc_n: Any = None, **options: Any) -> _call.Gradients:
        """All gradients of that function, that by x only if ``needs_dx``; `dc`, `dgates` where every step is seen."""
        return _call.backward(_engine.CELLS[self.name]["function"], dy, cache, dh_n, dc_n, **options)

    @property
    def lacks(self) -> tuple[str, ...]:
        """The options of `EngineRecurrent` that have no meaning for the cell."""
        product = () if self.recurrent != "nothing" else ("recurrent_initializer", "recurrent_dropout")
        norm = () if self.norm else ("layer_norm", "ln_epsilon")
        return product + norm


class EngineOptions(RecurrentOptions, total=False):
    """The keyword arguments that every layer of an engine's cell takes, `activation` aside, whose default differs."""

    use_bias: bool
    kernel_initializer: str | Initializer
    recurrent_initializer: str | Initializer
    bias_initializer: str | Initializer
    dropout: float
    recurrent_dropout: float
    zoneout: float
    layer_norm: bool
    ln_epsilon: float
    clip: float | None
    memory: str | int | None
    return_gates: bool


class EngineRecurrent(Recurrent):
    """Base class of the layers whose cell is one of the engine's; see `LSTM` for the options."""

    cell: ClassVar[Cell]
    output_is_state = True

    def __init__(
        self,
        units: int,
        *,
        activation: ActivationLike = "tanh",
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        recurrent_initializer: str | Initializer = "orthogonal",
        bias_initializer: str | Initializer = "zeros",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        layer_norm: bool = False,
        ln_epsilon: float = 1e-3,
        clip: float | None = None,
        memory: str | int | None = None,
        return_gates: bool = False,
        **options: Unpack[RecurrentOptions],
    ) -> None:
        super().__init__(**options)
        self.units = _check.integer("units", units, 1)
        self.activation = checked_activation("activation", activation)
        self.use_bias = _check.boolean("use_bias", use_bias)
        self.kernel_initializer = checked_initializer("kernel_initializer", kernel_initializer)
        self.recurrent_initializer = checked_initializer("recurrent_initializer", recurrent_initializer)
        self.bias_initializer = checked_initializer("bias_initializer", bias_initializer)
        self.dropout = _check.number("dropout", dropout, 0.0, 1.0, open_maximum=True)
        self.recurrent_dropout = _check.number("recurrent_dropout", recurrent_dropout, 0.0, 1.0, open_maximum=True)
        self.zoneout = _check.number("zoneout", zoneout, 0.0, 1.0, open_maximum=True)
        self.layer_norm = _check.boolean("layer_norm", layer_norm)
        self.ln_epsilon = _check.number("ln_epsilon", ln_epsilon, 0.0, open_minimum=True)
        self.clip = _bound("clip", clip)
        _check.memory_budget(memory)
        self.memory = memory
        self.return_gates = _check.boolean("return_gates", return_gates)
        if self.return_gates and memory is not None:
            raise ValueError(f"return_gates: expected False with memory={memory!r}, which keeps the gates of no step")

    @property
    def state_sizes(self) -> dict[str, int]:
        return dict.fromkeys(self.cell.states, self.units)

    @property
    def output_size(self) -> int:
        return self.units

    @property
    def bias_rows(self) -> int | None:
        """Rows of the bias, None if it is a vector."""
        return self.cell.bias_rows

    @property
    def _shows_steps(self) -> bool:
        return self.return_all_states or self.return_gates

    # -- parameters ---------------------------------------------------------------------------------------------------

    def cell_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        columns = self.cell.gates * self.units
        params = {"w_x": self._drawn("kernel_initializer", (input_size, columns), rng)}
        if self.cell.recurrent == "product":
            params["w_h"] = self._drawn("recurrent_initializer", (self.output_size, columns), rng)
        elif self.cell.recurrent == "elementwise":
            params["w_h"] = self._drawn("recurrent_initializer", (self.units,), rng)
        if self.use_bias:
            shape = (columns,) if self.bias_rows is None else (self.bias_rows, columns)
            params["b"] = self._drawn("bias_initializer", shape, rng)
        if self.layer_norm:
            params |= self._norm_parameters(columns)
        return params

    def _norm_parameters(self, columns: int) -> dict[str, np.ndarray]:
        """Gains of one and biases of zero."""
        if self.cell.norm == "sum":
            return {"ln_gain": np.ones(columns, self.dtype), "ln_bias": np.zeros(columns, self.dtype)}
        params = {"ln_x_gain": np.ones(columns, self.dtype), "ln_h_gain": np.ones(columns, self.dtype)}
        if "c" in self.cell.states:
            params |= {"ln_c_gain": np.ones(self.units, self.dtype), "ln_c_bias": np.zeros(self.units, self.dtype)}
        return params

    @property
    def _arrays(self) -> Mapping[str, np.ndarray]:
        """The arrays that the cell computes with."""
        return self.params

    # -- forward and backward -----------------------------------------------------------------------------------------

    def _run_cell(
        self,
        x: np.ndarray,
        states: tuple[np.ndarray | None, ...],
        plan: TimePlan,
        rng: np.random.Generator | None,
        keep_cache: bool,
    ) -> CellRun:
        arrays = self._arrays
        shows_states = keep_cache and self.return_all_states
        y, cache = self.cell.forward(
            x,
            *states,
            arrays["w_x"],
            arrays.get("w_h"),
            arrays.get("b"),
            lengths=plan.lengths,
            reset_mask=plan.reset_mask,
            reverse=self.go_backwards,
            keep_cache=keep_cache,
            memory=self.memory,
            last_only=not (self.return_sequences or shows_states),
            **self._cell_options(),
            **self._noise(x.shape, rng),
        )
        final = tuple(getattr(cache, f"{name}_n") for name in self.cell.states)
        steps = None
        if shows_states:  # a copy of h: the output is the user's to write to
            steps = (y.copy(), cache.c)[: len(final)]
        gates = cache.gates if keep_cache and self.return_gates else None
        return CellRun(y, final[0], final, cache, steps, gates)

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
        dh, *others = dstates
        dh_t, dc_t = (*(dsteps or ()), None, None)[:2]
        g = self.cell.backward(  # every output is an h, the last one the final h
            summed(dy, dh_t), cache, summed(dlast, dh), *others, dc=dc_t, dgates=dgates, needs_dx=needs_dx
        )
        found = {"w_x": g.dw_x, "w_h": g.dw_h, "b": g.db, **g.of_options}
        grads = {name: found[name] for name in self.params if name not in self.learned_states}
        return g.dx, grads, (g.d_first_h, g.d_first_c)[: len(self.cell.states)]  # type: ignore[return-value]

    def _cell_options(self) -> dict[str, Any]:
        """The options in use, by the names that the cell's forward function has for them."""
        options: dict[str, Any] = {"activation": self.activation}
        if self.clip is not None:
            options["clip"] = self.clip
        if self.layer_norm:
            arrays = self._arrays
            options |= {name: arrays[name] for name in arrays if name.startswith("ln_")}
            options["ln_epsilon"] = self.ln_epsilon
        return options

    @property
    def cell_name(self) -> str:
        """The cell's name in the registry."""
        return self.cell.name

    def step_arguments(self) -> tuple[tuple[np.ndarray | None, ...], dict[str, Any]]:
        """What a step at inference works with: (w_x, w_h, b) and the options in use, by the functions' names."""
        arrays = self._arrays
        return (arrays["w_x"], arrays.get("w_h"), arrays.get("b")), self._cell_options() | self._zoneout_rates()

    def _noise(self, shape: tuple[int, ...], rng: np.random.Generator | None) -> dict[str, Any]:
        """Dropout and zoneout masks for x of a shape: drawn with a generator, without one what they are on average."""
        batch, time, inputs = shape
        masks: dict[str, Any] = {}
        if self.dropout and rng is not None:
            masks["dropout_mask"] = self._dropout_mask(self.dropout, (batch, inputs), rng)
        if self.recurrent_dropout and rng is not None:
            masks["recurrent_dropout_mask"] = self._dropout_mask(self.recurrent_dropout, (batch, self.output_size), rng)
        for name, rate in self._zoneout_rates().items():
            size = self.state_sizes["c" if name == "zoneout_cell_mask" else "h"]
            masks[name] = rate if rng is None else _happens(rate, (batch, time, size), rng)
        return masks

    def _zoneout_rates(self) -> dict[str, float]:
        """How often a state stays what it was, by the name of the mask, where it ever does."""
        return {"zoneout_mask": self.zoneout} if self.zoneout else {}

    def _dropout_mask(self, rate: float, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """0 with probability `rate`, otherwise 1 / (1 - rate)."""
        mask = (rng.random(shape, dtype=np.float32) >= rate).astype(self.dtype)
        mask /= 1.0 - rate
        return mask


class SimpleRNN(EngineRecurrent):
    """The simple recurrent layer, ``h = tanh(x·w_x + h_prev·w_h + b)``.

    With ``layer_norm`` the textbook's cell, ``h = tanh(LN(x·w_x + h_prev·w_h + b)·ln_gain + ln_bias)``.

    Parameters
    ----------
    units : int
        H, the size of the state and of an output.
    **options
        As for `LSTM`.

    Notes
    -----
    Parameters: ``w_x`` (I, H), ``w_h`` (H, H), ``b`` (H,); with ``layer_norm`` ``ln_gain``, ``ln_bias`` (H,); with
    ``learn_initial_state`` ``h0`` (H,).  State: ``(h,)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import SimpleRNN
    >>> SimpleRNN(20, return_sequences=True, seed=0)(np.ones((32, 50, 1))).shape
    (32, 50, 20)
    """

    cell = Cell.named("rnn")

    def __init__(self, units: int, *, activation: ActivationLike = "tanh", **options: Unpack[EngineOptions]) -> None:
        super().__init__(units, activation=activation, **options)


class LSTM(EngineRecurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997) with a forget gate, gate order ``i f g o``.

    .. code-block:: text

        i, f, o = sigmoid(x·w_x + h_prev·w_h + b)       g = tanh(x·w_x + h_prev·w_h + b)
        c = f·c_prev + i·g                              h = o·tanh(c)

    Parameters
    ----------
    units : int
        H, the size of the cell state and, without a projection, of an output.
    activation : str or tuple
        Activation of the cell's input and output: a name, or ``(name, alpha[, beta])`` for one with constants.
    recurrent_activation : str or tuple
        Activation of the gates.
    output_activation : str or tuple, optional
        Activation of c on its way to h; by default `activation`.
    unit_forget_bias : bool
        Start with a forget gate bias of 1, the rest by `bias_initializer`.
    peephole : bool
        Input and forget gate see c_prev, the output gate sees c, each unit its own (Gers et al., 2002).
    peephole_initializer : str or Initializer
        First values of the peepholes, each row (H,) drawn by itself.
    projection : int, optional
        P: the output and h are ``(o·tanh(c))·w_proj``, of size P (Sak et al., 2014).
    coupled : bool
        The forget gate is one minus the input gate.
    zoneout_cell : float
        As `zoneout`, for c.
    cell_clip : float, optional
        c is clipped to [-cell_clip, cell_clip].
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
        First values of ``w_x`` (and ``w_proj``), ``w_h`` and ``b``.  Glorot and orthogonal take the fused (I, G*H) and
        (H, G*H) kernels as they are, as Keras does.
    dropout : float
        In training a part of the inputs is zeroed and the rest scaled up: one mask a sequence, the same at all steps.
    recurrent_dropout : float
        The same for h_prev on its way into the product (Gal and Ghahramani, 2016).
    zoneout : float
        How often a unit of h stays what it was: drawn in training, at inference on average (Krueger et al., 2017).
    layer_norm : bool
        Both products and c on its way to h are normalised (Ba et al., 2016).
    ln_epsilon : float
        Added to the variance.
    clip : float, optional
        Every sum is clipped to [-clip, clip] before its activation.
    memory : "sqrt" or int, optional
        Keep the states at intervals alone for the way back and compute the rest again, the same gradients bit for bit:
        "sqrt" with as little memory as that takes, about the square root of what all steps need, a number with no more
        than so many bytes.
    return_sequences : bool
        Return all outputs (B, T, H) and not the last one (B, H).
    return_state : bool
        Calling the layer returns ``(out, h, c)``.
    return_all_states : bool
        Calling the layer returns h (B, T, P) and c (B, T, H) after every step, too, behind what it returns else; they
        are ``forward``'s ``cache.states``, and ``backward`` takes the gradients by them.
    return_gates : bool
        Calling the layer returns the gates (B, T, 4*H) at every step, too, last of all: after their activations, side
        by side in the gate order.  They are ``forward``'s ``cache.gates``, and ``backward`` takes the gradient by them.
        Not with `memory`.
    go_backwards : bool
        Process the steps from the last to the first; outputs are in that order.
    stateful : bool
        Start from where the batch before ended, row by row, until `reset_states`; no gradient flows between batches.
    zero_output_for_mask : bool
        At a masked step the output is zero, not the last one again.
    learn_initial_state : bool
        The initial states are parameters ``h0`` and ``c0``, zeros at first, shared by all rows.
    dtype : {"float32", "float64"}
        What the layer computes in; the input is cast to it.
    seed : int, optional
        Seed of the first weights, and of the masks where `forward` gets no generator; None draws fresh ones.

    Notes
    -----
    Parameters: ``w_x`` (I, 4*H), ``w_h`` (P, 4*H), ``b`` (4*H,), P being H without a projection; ``w_proj`` (H, P);
    ``peephole`` (3, H) for i, f, o; with ``layer_norm`` ``ln_x_gain``, ``ln_h_gain`` (4*H,), ``ln_c_gain``,
    ``ln_c_bias`` (H,); with ``learn_initial_state`` ``h0`` (P,), ``c0`` (H,).  State: ``(h, c)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import LSTM
    >>> layer = LSTM(20, return_sequences=True, seed=0)
    >>> out, cache = layer.forward(np.ones((32, 50, 1)))
    >>> dx, grads, (dh0, dc0) = layer.backward(np.ones_like(out), cache)
    >>> grads["w_h"].shape
    (20, 80)
    """

    cell = Cell.named("lstm")

    def __init__(
        self,
        units: int,
        *,
        activation: ActivationLike = "tanh",
        recurrent_activation: ActivationLike = "sigmoid",
        output_activation: ActivationLike | None = None,
        unit_forget_bias: bool = True,
        peephole: bool = False,
        peephole_initializer: str | Initializer = "glorot_uniform",
        projection: int | None = None,
        coupled: bool = False,
        zoneout_cell: float = 0.0,
        cell_clip: float | None = None,
        **options: Unpack[EngineOptions],
    ) -> None:
        super().__init__(units, activation=activation, **options)
        self.recurrent_activation = checked_activation("recurrent_activation", recurrent_activation)
        self.output_activation = (
            None if output_activation is None else checked_activation("output_activation", output_activation)
        )
        self.unit_forget_bias = _check.boolean("unit_forget_bias", unit_forget_bias)
        self.peephole = _check.boolean("peephole", peephole)
        self.peephole_initializer = checked_initializer("peephole_initializer", peephole_initializer)
        self.projection = None if projection is None else _check.integer("projection", projection, 1)
        self.coupled = _check.boolean("coupled", coupled)
        self.zoneout_cell = _check.number("zoneout_cell", zoneout_cell, 0.0, 1.0, open_maximum=True)
        self.cell_clip = _bound("cell_clip", cell_clip)

    @property
    def state_sizes(self) -> dict[str, int]:
        return {"h": self.output_size, "c": self.units}

    @property
    def output_size(self) -> int:
        return self.units if self.projection is None else self.projection

    def cell_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        params = super().cell_parameters(input_size, rng)
        if self.use_bias and self.unit_forget_bias:
            params["b"][self.units : 2 * self.units] = 1.0
        if self.peephole:
            rows = [self._drawn("peephole_initializer", (self.units,), rng) for _ in range(3)]
            params["peephole"] = np.stack(rows)
        if self.projection is not None:
            params["w_proj"] = self._drawn("kernel_initializer", (self.units, self.projection), rng)
        return params

    def _cell_options(self) -> dict[str, Any]:
        options = super()._cell_options() | {"recurrent_activation": self.recurrent_activation}
        options |= {name: self.params[name] for name in ("peephole", "w_proj") if name in self.params}
        if self.output_activation is not None:
            options["output_activation"] = self.output_activation
        if self.cell_clip is not None:
            options["cell_clip"] = self.cell_clip
        if self.coupled:
            options["coupled"] = True
        return options

    def _zoneout_rates(self) -> dict[str, float]:
        return super()._zoneout_rates() | ({"zoneout_cell_mask": self.zoneout_cell} if self.zoneout_cell else {})


class GRU(EngineRecurrent):
    """Gated recurrent unit (Cho et al., 2014), by default with the reset after the product, gate order ``z r n``.

    .. code-block:: text

        z, r = sigmoid(x·w_x + b[0] + h_prev·w_h + b[1])
        n = tanh(x·w_x + b[0] + r·(h_prev·w_h + b[1]))      h = z·h_prev + (1 - z)·n

    Parameters
    ----------
    units : int
        H, the size of the state and of an output.
    recurrent_activation : str or tuple
        Activation of the gates.
    reset_after : bool
        False is the first form of the cell, ``n = tanh(x·w_x + (r·h_prev)·w_h + b)`` with a bias of one row; it has no
        layer norm, because its two products are never seen apart.
    **options
        As for `LSTM`.

    Notes
    -----
    Parameters: ``w_x`` (I, 3*H), ``w_h`` (H, 3*H), ``b`` (2, 3*H): a row for the input and one for the state, or
    (3*H,) without ``reset_after``; with ``layer_norm`` ``ln_x_gain``, ``ln_h_gain`` (3*H,); with
    ``learn_initial_state`` ``h0`` (H,).  State: ``(h,)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import GRU
    >>> GRU(20, return_state=True, seed=0)(np.ones((32, 50, 1)))[1].shape
    (32, 20)
    """

    cell = Cell.named("gru")

    def __init__(
        self,
        units: int,
        *,
        activation: ActivationLike = "tanh",
        recurrent_activation: ActivationLike = "sigmoid",
        reset_after: bool = True,
        **options: Unpack[EngineOptions],
    ) -> None:
        super().__init__(units, activation=activation, **options)
        self.recurrent_activation = checked_activation("recurrent_activation", recurrent_activation)
        self.reset_after = _check.boolean("reset_after", reset_after)
        if self.layer_norm and not self.reset_after:
            raise ValueError(
                "layer_norm: expected False with reset_after=False: the recurrent product of the candidate "
                "is made from another vector than that of the gates, so there is no one product to normalise"
            )

    @property
    def bias_rows(self) -> int | None:
        return self.cell.bias_rows if self.reset_after else None

    @property
    def cell_name(self) -> str:
        return "gru" if self.reset_after else "gru_reset_before"

    def step_arguments(self) -> tuple[tuple[np.ndarray | None, ...], dict[str, Any]]:
        weights, options = super().step_arguments()
        options.pop("reset_after", None)  # the registry has a cell for each form
        return weights, options

    def _cell_options(self) -> dict[str, Any]:
        options = super()._cell_options() | {"recurrent_activation": self.recurrent_activation}
        return options if self.reset_after else options | {"reset_after": False}


class IndRNN(EngineRecurrent):
    """Independently recurrent layer (Li et al., 2018): each unit sees its own past alone.

    .. code-block:: text

        h = relu(x·w_x + w_h·h_prev + b)

    Parameters
    ----------
    units : int
        H, the size of the state and of an output.
    activation : str or tuple
        Activation of the state.
    recurrent_initializer : str or Initializer
        First values of ``w_h``; by default uniform between 0 and 1, so that nothing grows without bound.
    **options
        As for `LSTM`, without ``layer_norm``.

    Notes
    -----
    Parameters: ``w_x`` (I, H), ``w_h`` (H,), ``b`` (H,); with ``learn_initial_state`` ``h0`` (H,).  State: ``(h,)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import IndRNN
    >>> IndRNN(20, return_sequences=True, seed=0)(np.ones((32, 50, 1))).shape
    (32, 50, 20)
    """

    cell = Cell.named("indrnn")
    lacks = cell.lacks

    def __init__(  # type: ignore[misc]  # a default of its own
        self,
        units: int,
        *,
        activation: ActivationLike = "relu",
        recurrent_initializer: str | Initializer = _UP_TO_ONE,
        **options: Unpack[EngineOptions],
    ) -> None:
        _refuse_lacking(type(self), options)
        super().__init__(units, activation=activation, recurrent_initializer=recurrent_initializer, **options)


class MinGRU(EngineRecurrent):
    """Minimal gated recurrent unit (Feng et al., 2024), gate order ``z n``: the gates see the input alone.

    .. code-block:: text

        z = sigmoid(x·w_x + b)      n = x·w_x + b      h = (1 - z)·h_prev + z·n

    Parameters
    ----------
    units : int
        H, the size of the state and of an output.
    activation : str or tuple
        Activation of the candidate n.
    recurrent_activation : str or tuple
        Activation of the gate.
    **options
        As for `LSTM`, without ``layer_norm``, and without ``recurrent_initializer`` and ``recurrent_dropout``, because
        there is no recurrent product.

    Notes
    -----
    Parameters: ``w_x`` (I, 2*H), ``b`` (2*H,); with ``learn_initial_state`` ``h0`` (H,).  State: ``(h,)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import MinGRU
    >>> MinGRU(20, return_sequences=True, seed=0)(np.ones((32, 50, 1))).shape
    (32, 50, 20)
    """

    cell = Cell.named("mingru")
    lacks = cell.lacks

    def __init__(
        self,
        units: int,
        *,
        activation: ActivationLike = "linear",
        recurrent_activation: ActivationLike = "sigmoid",
        **options: Unpack[EngineOptions],
    ) -> None:
        _refuse_lacking(type(self), options)
        super().__init__(units, activation=activation, **options)
        self.recurrent_activation = checked_activation("recurrent_activation", recurrent_activation)

    def _cell_options(self) -> dict[str, Any]:
        return super()._cell_options() | {"recurrent_activation": self.recurrent_activation}


def _refuse_lacking(cls: Any, options: Mapping[str, Any]) -> None:
    """Raise for the options that a layer's cell lacks."""
    refuse_unknown(cls, {name: value for name, value in options.items() if name in cls.lacks})


def _bound(name: str, value: float | None) -> float | None:
    """A bound above zero, or None for none."""
    return None if value is None else _check.number(name, value, 0.0, open_minimum=True)


def _happens(rate: float, shape: Iterable[int], rng: np.random.Generator) -> np.ndarray:
    """True with probability `rate` to 1/65536, at two random bytes a number."""
    return rng.integers(0, 1 << 16, tuple(shape), dtype=np.uint16) < round(rate * (1 << 16))
