"""The recurrent layers: SimpleRNN, LSTM and GRU.

All of them are one base class.  What sets them apart stands in a `Cell`, which the registry of the kernels fills:
which functions run it, how many gates it has, which states it carries.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict, Unpack

import numpy as np

from fastrnn import _check, _engine, functional
from fastrnn.layers.base import Layer, Shape
from fastrnn.layers.initializers import Initializer, checked_initializer

__all__ = ["GRU", "LSTM", "Recurrent", "RecurrentCache", "SimpleRNN"]


@dataclass(frozen=True)
class Cell:
    """What a recurrent layer has to know of its cell; all of it comes from the registry of the kernels."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    gates: int
    states: tuple[str, ...]  # carried from step to step, h first
    bias_rows: int | None  # rows of a two-dimensional bias
    gated: bool  # whether there is an activation of the gates

    @classmethod
    def named(cls, name: str) -> Cell:
        """The cell that the registry has under a name."""
        spec = _engine.CELLS[name]
        return cls(
            forward=getattr(functional, f"{name}_forward"),
            backward=getattr(functional, f"{name}_backward"),
            gates=spec["gates"],
            states=("h", "c") if spec["cell_state"] else ("h",),
            bias_rows=None if spec["bias_rows"] == 1 else 2,
            gated=spec["gated"],
        )


@dataclass(frozen=True)
class RecurrentCache:
    """What backward needs.  Only `state` is meant for reading: the final state, (h,) or (h, c), each (B, H)."""

    state: tuple[np.ndarray, ...]
    steps: Any
    lengths: np.ndarray | None
    output_shape: tuple[int, int, int]


class RecurrentOptions(TypedDict, total=False):
    """The keyword arguments that every recurrent layer takes."""

    activation: str
    use_bias: bool
    kernel_initializer: str | Initializer
    recurrent_initializer: str | Initializer
    bias_initializer: str | Initializer
    dropout: float
    recurrent_dropout: float
    zoneout: float
    layer_norm: bool
    ln_epsilon: float
    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    dtype: Any
    seed: int | None


# Options that have a name and no implementation yet, with the one value that they take.
_NOT_BUILT: dict[str, Any] = {
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
    "zoneout": 0.0,
    "layer_norm": False,
    "ln_epsilon": 1e-3,
    "stateful": False,
    "peephole": False,
    "reset_after": True,
}


def _with_inherited_options(cls: type[Layer]) -> inspect.Signature:
    """The constructor's signature with the options behind ``**options`` written out."""
    own = list(inspect.signature(cls.__init__).parameters.values())[1:]
    if not any(p.kind is p.VAR_KEYWORD for p in own):
        return inspect.Signature(own)
    own = [p for p in own if p.kind is not p.VAR_KEYWORD]
    names = {p.name for p in own}
    inherited = inspect.signature(cls.__mro__[1]).parameters.values()
    return inspect.Signature(own + [p for p in inherited if p.name not in names and p.kind is not p.VAR_KEYWORD])


class Recurrent(Layer):
    """Base class of the recurrent layers; see `LSTM` for the options."""

    input_ndim = 3
    takes_time = True
    cell: ClassVar[Cell]

    def __init__(
        self,
        units: int,
        *,
        activation: str = "tanh",
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        recurrent_initializer: str | Initializer = "orthogonal",
        bias_initializer: str | Initializer = "zeros",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        layer_norm: bool = False,
        ln_epsilon: float = 1e-3,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        dtype: Any = "float32",
        seed: int | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument {next(iter(unknown))!r}")
        super().__init__("float32" if dtype is None else dtype, seed)
        self.units = _check.integer("units", units, 1)
        self.activation = _checked_activation("activation", activation)
        self.use_bias = _check.boolean("use_bias", use_bias)
        self.kernel_initializer = checked_initializer("kernel_initializer", kernel_initializer)
        self.recurrent_initializer = checked_initializer("recurrent_initializer", recurrent_initializer)
        self.bias_initializer = checked_initializer("bias_initializer", bias_initializer)
        self.dropout = _only_default("dropout", dropout)
        self.recurrent_dropout = _only_default("recurrent_dropout", recurrent_dropout)
        self.zoneout = _only_default("zoneout", zoneout)
        self.layer_norm = _only_default("layer_norm", layer_norm)
        self.ln_epsilon = _only_default("ln_epsilon", ln_epsilon)
        self.return_sequences = _check.boolean("return_sequences", return_sequences)
        self.return_state = _check.boolean("return_state", return_state)
        self.go_backwards = _check.boolean("go_backwards", go_backwards)
        self.stateful = _only_default("stateful", stateful)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__signature__ = _with_inherited_options(cls)  # type: ignore[attr-defined]

    # -- parameters ---------------------------------------------------------------------------------------------------

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        columns = self.cell.gates * self.units
        params = {
            "w_x": self._drawn("kernel_initializer", (input_size, columns), rng),
            "w_h": self._drawn("recurrent_initializer", (self.units, columns), rng),
        }
        if self.use_bias:
            shape = (columns,) if self.cell.bias_rows is None else (self.cell.bias_rows, columns)
            params["b"] = self._drawn("bias_initializer", shape, rng)
        return params

    def output_shape(self, input_shape: Shape) -> Shape:
        batch, time, _ = input_shape
        return (batch, time, self.units) if self.return_sequences else (batch, self.units)

    def pass_on(self, lengths: Any, reset_mask: Any) -> tuple[Any, Any]:
        if not self.return_sequences:
            return None, None
        if self.go_backwards and reset_mask is not None:
            reset_mask = _reverse_time(np.asarray(reset_mask), _as_lengths(lengths))
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
    ) -> Any:
        """Inference: the output of `forward`, with ``return_state`` the tuple ``(out, h)`` or ``(out, h, c)``."""
        out, cache = self._run(x, initial_state, lengths, mask, reset_mask, keep_cache=False)
        return (out, *cache.state) if self.return_state else out

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
            ``(h0,)``, for an LSTM ``(h0, c0)``; an entry may be None, which is zeros.
        lengths : array_like of int (B,), optional
            True steps of each row; all by default.
        mask : None
            Not built yet.
        reset_mask : array_like of bool (B, T), optional
            True where the state is zeroed before that step.
        training : bool
            Without effect on a layer without dropout.
        rng : numpy.random.Generator, optional
            Source of dropout masks; without effect on a layer without dropout.

        Returns
        -------
        out : ndarray (B, T, H) or (B, H)
            All outputs with ``return_sequences``, otherwise the last true one of each row.  With ``go_backwards`` in
            the order in which the steps were processed.
        cache : RecurrentCache
            For `backward`; ``cache.state`` is the final state.
        """
        return self._run(x, initial_state, lengths, mask, reset_mask, keep_cache=True)

    def infer(self, x: Any, lengths: Any = None, reset_mask: Any = None) -> np.ndarray:
        """The output of `forward`, without keeping what `backward` would need."""
        return self._run(x, None, lengths, None, reset_mask, keep_cache=False)[0]

    def _run(
        self, x: Any, initial_state: Any, lengths: Any, mask: Any, reset_mask: Any, keep_cache: bool
    ) -> tuple[np.ndarray, RecurrentCache]:
        if mask is not None:
            raise _check.not_built("mask", "give lengths or reset_mask")
        x = self._input(x)
        y, steps = self.cell.forward(
            x,
            *self._as_states("initial_state", initial_state, len(x)),
            self.params["w_x"],
            self.params["w_h"],
            self.params.get("b"),
            lengths=lengths,
            reset_mask=reset_mask,
            reverse=self.go_backwards,
            keep_cache=keep_cache,
            **self._cell_options(),
        )
        state = tuple(getattr(steps, f"{name}_n") for name in self.cell.states)
        cache = RecurrentCache(state, steps, _as_lengths(lengths), y.shape)
        if not self.return_sequences:
            return state[0], cache
        return (_reverse_time(y, cache.lengths) if self.go_backwards else y), cache

    def backward(
        self, dout: Any, cache: RecurrentCache, dfinal_state: tuple[Any, ...] | None = None
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

        Returns
        -------
        dx : ndarray (B, T, I)
        grads : dict of str to ndarray
            By parameter name.
        dinitial_state : tuple of ndarray (B, H)
            ``(dh0,)``, for an LSTM ``(dh0, dc0)``.
        """
        dstates = self._as_states("dfinal_state", dfinal_state, cache.output_shape[0])
        dy = None
        if dout is not None and self.return_sequences:
            dy = self._array("dout", dout, cache.output_shape, "(B, T, H)")
            dy = _reverse_time(dy, cache.lengths) if self.go_backwards else dy
        elif dout is not None:
            dh = self._array("dout", dout, cache.state[0].shape, "(B, H)")
            dstates = (dh if dstates[0] is None else dh + dstates[0], *dstates[1:])
        finals = {f"d{name}_n": value for name, value in zip(self.cell.states, dstates, strict=True)}
        g = self.cell.backward(dy, cache.steps, **finals)
        grads = {name: getattr(g, f"d{name}") for name in self.params}
        return g.dx, grads, tuple(getattr(g, f"d{name}0") for name in self.cell.states)

    def _cell_options(self) -> dict[str, Any]:
        """The activations, by the names that the cell's forward function has for them."""
        names = ("activation", "recurrent_activation") if self.cell.gated else ("activation",)
        return {name: getattr(self, name) for name in names}

    def _as_states(self, name: str, states: Any, batch: int) -> tuple[np.ndarray | None, ...]:
        """One array (B, H) or None for each state that the cell carries."""
        count = len(self.cell.states)
        if states is None:
            return (None,) * count
        expected = "(" + ", ".join(self.cell.states) + ("," if count == 1 else "") + ")"
        if not isinstance(states, (tuple, list)):
            raise TypeError(f"{name}: expected a tuple {expected}, got {type(states).__name__}")
        if len(states) != count:
            raise ValueError(f"{name}: expected a tuple {expected}, got {len(states)} entries")
        return tuple(
            None if s is None else self._array(f"{name}[{i}]", s, (batch, self.units), "(B, H)")
            for i, s in enumerate(states)
        )


class SimpleRNN(Recurrent):
    """The simple recurrent layer, ``h = tanh(x·w_x + h_prev·w_h + b)``.

    Parameters
    ----------
    units : int
        H, the size of the state and of an output.
    **options
        As for `LSTM`.

    Notes
    -----
    Parameters: ``w_x`` (I, H), ``w_h`` (H, H), ``b`` (H,).  State: ``(h,)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import SimpleRNN
    >>> SimpleRNN(20, return_sequences=True, seed=0)(np.ones((32, 50, 1))).shape
    (32, 50, 20)
    """

    cell = Cell.named("rnn")

    def __init__(self, units: int, **options: Unpack[RecurrentOptions]) -> None:
        super().__init__(units, **options)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997) with a forget gate, gate order ``i f g o``.

    .. code-block:: text

        i, f, o = sigmoid(x·w_x + h_prev·w_h + b)       g = tanh(x·w_x + h_prev·w_h + b)
        c = f·c_prev + i·g                              h = o·tanh(c)

    Parameters
    ----------
    units : int
        H, the size of the state and of an output.
    recurrent_activation : str
        Activation of the gates.
    unit_forget_bias : bool
        Start with a forget gate bias of 1, the rest by `bias_initializer`.
    peephole : bool
        Not built yet.
    activation : str
        Activation of the cell's input and output.
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
        First values of ``w_x``, ``w_h`` and ``b``.  Glorot and orthogonal take the fused (I, G*H) and (H, G*H)
        kernels as they are, as Keras does.
    dropout, recurrent_dropout, zoneout, layer_norm, ln_epsilon, stateful
        Not built yet: a value other than the default raises ``NotImplementedError``.
    return_sequences : bool
        Return all outputs (B, T, H) in place of the last one (B, H).
    return_state : bool
        Calling the layer returns ``(out, h, c)``.
    go_backwards : bool
        Run from the last true step of each row to its first; the outputs come in that order.
    dtype : {"float32", "float64"}
        What the layer computes in; the input is cast to it.
    seed : int, optional
        Seed of the first weights; None draws fresh ones.

    Notes
    -----
    Parameters: ``w_x`` (I, 4*H), ``w_h`` (H, 4*H), ``b`` (4*H,).  State: ``(h, c)``.

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
        recurrent_activation: str = "sigmoid",
        unit_forget_bias: bool = True,
        peephole: bool = False,
        **options: Unpack[RecurrentOptions],
    ) -> None:
        super().__init__(units, **options)
        self.recurrent_activation = _checked_activation("recurrent_activation", recurrent_activation)
        self.unit_forget_bias = _check.boolean("unit_forget_bias", unit_forget_bias)
        self.peephole = _only_default("peephole", peephole)

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        params = super().initial_parameters(input_size, rng)
        if self.use_bias and self.unit_forget_bias:
            params["b"][self.units : 2 * self.units] = 1.0
        return params


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al., 2014) in the form with the reset after the product, gate order ``z r n``.

    .. code-block:: text

        z, r = sigmoid(x·w_x + b[0] + h_prev·w_h + b[1])
        n = tanh(x·w_x + b[0] + r·(h_prev·w_h + b[1]))      h = z·h_prev + (1 - z)·n

    Parameters
    ----------
    units : int
        H, the size of the state and of an output.
    recurrent_activation : str
        Activation of the gates.
    reset_after : bool
        Must be True, False is not built yet.
    **options
        As for `LSTM`.

    Notes
    -----
    Parameters: ``w_x`` (I, 3*H), ``w_h`` (H, 3*H), ``b`` (2, 3*H): a row for the input and one for the state. State:
    ``(h,)``.

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
        recurrent_activation: str = "sigmoid",
        reset_after: bool = True,
        **options: Unpack[RecurrentOptions],
    ) -> None:
        super().__init__(units, **options)
        self.recurrent_activation = _checked_activation("recurrent_activation", recurrent_activation)
        self.reset_after = _only_default("reset_after", reset_after)


def _checked_activation(name: str, value: Any) -> Any:
    """An activation as the user gave it."""
    _check.activation(name, value, _engine.ACTIVATIONS)
    return value


def _only_default(name: str, value: Any) -> Any:
    """The value of an option that is not built yet, which must be its default."""
    default = _NOT_BUILT[name]
    kind = _check.boolean(name, value) if isinstance(default, bool) else _check.number(name, value)
    if kind != default:
        raise _check.not_built(f"{name}={value!r}")
    return default


def _as_lengths(lengths: Any) -> np.ndarray | None:
    """Lengths as an index array of its own; their values were checked before."""
    return None if lengths is None else np.array(lengths, dtype=np.intp)


def _reverse_time(a: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """The true steps of each row in reverse order; what lies behind a row's end stays where it is."""
    if lengths is None:
        return np.ascontiguousarray(a[:, ::-1])
    t = np.arange(a.shape[1])
    source = np.where(t < lengths[:, None], lengths[:, None] - 1 - t, t)  # source (B, T)
    return a[np.arange(len(a))[:, None], source]
