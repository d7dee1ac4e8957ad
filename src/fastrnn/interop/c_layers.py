"""One function of C for each layer: what a layer does with the x of one step.

In the comments of the C code @ is a matrix product and * a product number by number, as in NumPy.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastrnn.interop.c_text import Numbers, Support, comment, indented
from fastrnn.layers import (
    GRU,
    LSTM,
    Activation,
    BatchNormalization,
    Conv1D,
    Dense,
    Dropout,
    EchoState,
    Embedding,
    GaussianNoise,
    IndRNN,
    Layer,
    LayerNormalization,
    MinGRU,
    SimpleRNN,
    SpatialDropout1D,
    TimeDistributed,
)
from fastrnn.layers.containers import Stack
from fastrnn.layers.recurrent import EngineRecurrent

__all__ = ["LayerCode", "code_of", "plain_layers"]

_NOTHING_AT_INFERENCE = (Dropout, GaussianNoise, SpatialDropout1D)


@dataclass
class LayerCode:
    """A layer in C, and what the file around it has to know.

    Attributes
    ----------
    name : str
        Of its function; tables are called ``{name}_w``, ..., parts of the state ``layer{i}_h``, ...
    inputs, outputs : int
        Numbers of a step.
    state : dict
        The parts of the state by name, each with its size and the table that it starts from (None: zeros).
    counters : list of str
        Parts of the state that are whole numbers.
    output : str or None
        The part of the state that is the output; None: the function has a parameter y.
    locals : int
        Numbers on the function's stack.
    takes_class : bool
        Whether x is a class number.
    """

    layer: Layer
    index: int
    prefix: str
    numbers: Numbers
    support: Support
    inputs: int
    outputs: int
    tables: list[str] = field(default_factory=list)
    parameters: int = 0
    state: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    counters: list[str] = field(default_factory=list)
    output: str | None = None
    locals: int = 0
    takes_class: bool = False
    equations: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    body: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.prefix}_layer{self.index}"

    # -- what the functions below say ---------------------------------------------------------------------------------

    def table(self, name: str, array: np.ndarray, shape: str = "") -> str:
        """Add a constant array; gives its name in C."""
        full = f"{self.name}_{name}"
        self.tables.append(self.numbers.table(full, array, shape or str(array.shape)))
        self.parameters += array.size
        return full

    def table_of(self, params: Any, name: str) -> str | None:
        """The table of a parameter, None where the layer has none of that name."""
        return self.table(name, params[name]) if name in params else None

    def keep(self, name: str, size: int, initial: np.ndarray | None = None) -> str:
        """Add a part to the state; gives the expression for it."""
        part = f"layer{self.index}_{name}"
        self.state[part] = (size, None if initial is None else self.table(f"{name}0", initial))
        return f"state->{part}"

    def count(self, name: str) -> str:
        """Add a whole number to the state, zero at first."""
        self.counters.append(f"layer{self.index}_{name}")
        return f"state->{self.counters[-1]}"

    def local(self, name: str, size: str, comment: str) -> None:
        """A buffer on the stack; its size is a product of numbers and names of `sizes`."""
        self.locals += math.prod(self.sizes.get(factor) or int(factor) for factor in size.split(" * "))
        self.say(f"{self.numbers.real} {name}[{size}]; /* {comment} */")

    def say(self, *lines: str) -> None:
        """Add lines to the function."""
        self.body += lines

    def each(self, n: str, *lines: str) -> None:
        """A loop over j from 0 to before n."""
        if len(lines) == 1:
            self.say(f"for (int j = 0; j < {n}; j++) {lines[0]}")
        else:
            self.say(f"for (int j = 0; j < {n}; j++) {{", *map(indented, lines), "}")

    # -- what the file says of it -------------------------------------------------------------------------------------

    @property
    def arguments(self) -> list[tuple[str, str]]:
        """Types and names of the function's parameters."""
        state = [(f"{self.prefix}_state *", "state")] if self.state else []
        x = [("const int *" if self.takes_class else f"const {self.numbers.real} *", "x")]
        return state + x + ([] if self.output else [(f"{self.numbers.real} *", "y")])

    def text(self) -> str:
        """The function."""
        arguments = ", ".join(kind + name for kind, name in self.arguments)
        sizes = ", ".join(f"{name} = {size}" for name, size in self.sizes.items())
        about = comment([f"Layer {self.index}, {type(self.layer).__name__}:", *self.equations])
        body = indented("\n".join([f"enum {{ {sizes} }};", *self.body]))
        return f"{about}static void {self.name}({arguments})\n{{\n{body}\n}}\n"


def plain_layers(layer: Layer, where: str = "") -> Iterator[tuple[str, Layer]]:
    """The layers of a model one after the other, those that do nothing at inference left out; each with its place."""
    if isinstance(layer, Stack):
        for i, part in enumerate(layer.layers):
            yield from plain_layers(part, f"{where}layers[{i}].")
    elif isinstance(layer, TimeDistributed):
        yield from plain_layers(layer.layer, f"{where}layer.")
    elif not isinstance(layer, _NOTHING_AT_INFERENCE):
        yield where.rstrip("."), layer


@functools.singledispatch
def _write(layer: Layer, code: LayerCode) -> None:
    """Fill in what a layer is in C."""
    kinds = sorted(kind.__name__ for kind in _write.registry if kind is not Layer and kind is not object)
    raise ValueError(
        f"{type(layer).__name__} cannot be written in C; what can: {', '.join(kinds)}, and Sequential and "
        "TimeDistributed of them"
    )


def code_of(
    layer: Layer, where: str, index: int, inputs: int, prefix: str, numbers: Numbers, support: Support
) -> LayerCode:
    """A layer in C.

    Parameters
    ----------
    layer : Layer
    where : str
        Its place in the model, for messages; empty for the model itself.
    index : int
        Its number among the layers that are written.
    inputs : int
        Size of a step's x.
    """
    code = LayerCode(layer, index, prefix, numbers, support, inputs, inputs)
    try:
        _write(layer, code)
    except ValueError as error:
        raise ValueError(f"{where or 'model'}: {error}") from None
    return code


# ---- layers without a state ------------------------------------------------------------------------------------------


@_write.register
def _(layer: Dense, code: LayerCode) -> None:
    code.outputs = layer.units
    code.sizes = {"inputs": code.inputs, "units": layer.units}
    value = code.support.activated(layer.activation, "y[j]")
    code.equations = [_shown("y", layer.activation, "x @ w + b")]
    code.say(code.support.start("y", code.table_of(layer.params, "b"), "units"))
    code.say(code.support.add_product("y", "x", code.table("w", layer.params["w"]), "inputs", "units"))
    if value != "y[j]":
        code.each("units", f"y[j] = {value};")


@_write.register
def _(layer: Activation, code: LayerCode) -> None:
    code.sizes = {"units": code.inputs}
    code.equations = [_shown("y", layer.activation, "x")]
    code.each("units", f"y[j] = {code.support.activated(layer.activation, 'x[j]')};")


@_write.register
def _(layer: Embedding, code: LayerCode) -> None:
    if layer.mask_zero:
        raise ValueError(
            "Embedding with mask_zero=True leaves steps out; in C a step is left out by not calling the function: set "
            "mask_zero of the layer to False"
        )
    code.takes_class, code.outputs = True, layer.output_dim
    code.sizes = {"classes": layer.input_dim, "units": layer.output_dim}
    code.equations = ["y = w[x], zeros for an x that is no class number"]
    w, zero = code.table("w", layer.params["w"]), code.numbers.of(0)
    code.say("const int known = 0 <= *x && *x < classes;")
    code.each("units", f"y[j] = known ? {w}[*x * units + j] : {zero};")


@_write.register
def _(layer: LayerNormalization, code: LayerCode) -> None:
    size = code.inputs
    code.sizes = {"units": size}
    code.equations = ["y = (x - mean(x)) / sqrt(variance(x) + epsilon) * gamma + beta"]
    gamma = code.table("gamma", layer.params.get("gamma", np.ones(size)))
    code.say(code.support.start("y", "x", "units"))
    code.say(code.support.normalise("y", "units", layer.epsilon, gamma, code.table_of(layer.params, "beta")))


@_write.register
def _(layer: BatchNormalization, code: LayerCode) -> None:
    code.sizes = {"units": code.inputs}
    code.equations = ["y = (x - mean) * scale + beta, with the moving variance and gamma in the scale"]
    rate = 1 / np.sqrt(layer.buffers["moving_variance"].astype(np.float64) + layer.epsilon)
    scale = code.table("scale", rate * layer.params.get("gamma", 1))
    mean, beta = code.table("mean", layer.buffers["moving_mean"]), code.table_of(layer.params, "beta")
    code.each("units", f"y[j] = (x[j] - {mean}[j]) * {scale}[j]" + (f" + {beta}[j];" if beta else ";"))


# ---- convolutions ----------------------------------------------------------------------------------------------------


@_write.register
def _(layer: Conv1D, code: LayerCode) -> None:
    past = layer.span - 1
    if past and layer.padding != "causal":
        raise ValueError(
            f"Conv1D with padding={layer.padding!r} does not give an output for each step from the steps up to it; "
            "padding='causal' does"
        )
    if layer.strides != 1:
        raise ValueError(f"Conv1D: expected strides=1, as a step in is a step out, got {layer.strides}")
    code.outputs, groups = layer.filters, layer.groups
    code.sizes = {"channels": code.inputs, "filters": layer.filters}
    code.sizes |= {"past": past, "taps": layer.kernel_size} if past else {}
    code.sizes |= {"groups": groups} if groups > 1 else {}
    code.equations = [_shown("y", layer.activation, "b + x[now - past] @ w[0] + ... + x[now] @ w[taps - 1]")]
    # (K, C/groups, filters) so that the weights of one tap and group follow one another
    taps = layer.params["w"].reshape(layer.kernel_size, code.inputs // groups, groups, layer.filters // groups)
    shape = "(taps, channels, filters)" if groups == 1 else "(taps, groups, channels / groups, filters / groups)"
    w = code.table("w", taps.transpose(0, 2, 1, 3), shape)
    value = code.support.activated(layer.activation, "y[j]")
    code.say(code.support.start("y", code.table_of(layer.params, "b"), "filters"))
    if past:
        ring, at = code.keep("past", past * code.inputs), code.count("at")
        code.say(
            f"/* the steps before this one lie in a ring, the oldest at layer{code.index}_at */",
            "for (int k = 0; k < taps - 1; k++) {",
            f"    const int place = ({at} + k * {layer.dilation_rate}) % past;",
            *map(indented, _tap(code, groups, f"{ring} + place * channels", w, "k")),
            "}",
            *_tap(code, groups, "x", w, "(taps - 1)"),
            code.support.start(f"{ring} + {at} * channels", "x", "channels"),
            f"{at} = ({at} + 1) % past;",
        )
    else:
        code.say(*_tap(code, groups, "x", w, "0"))
    if value != "y[j]":
        code.each("filters", f"y[j] = {value};")


def _tap(code: LayerCode, groups: int, x: str, w: str, k: str) -> list[str]:
    """y += x @ w[k], group by group."""
    if groups == 1:
        at = w if k == "0" else f"{w} + {k} * channels * filters"
        return [code.support.add_product("y", x, at, "channels", "filters")]
    at = "g" if k == "0" else f"({k} * groups + g)"
    call = code.support.add_product(
        "y + g * (filters / groups)",
        f"{x} + g * (channels / groups)",
        f"{w} + {at} * (channels / groups) * (filters / groups)",
        "channels / groups",
        "filters / groups",
    )
    return [f"for (int g = 0; g < groups; g++) {call}"]


# ---- recurrent layers ------------------------------------------------------------------------------------------------


def _begin(layer: EngineRecurrent, code: LayerCode) -> str:
    """What all recurrent layers share; gives the expression for h."""
    if layer.go_backwards:
        raise ValueError(f"{type(layer).__name__} with go_backwards=True needs the last step first: it cannot stream")
    code.outputs = layer.output_size
    code.sizes = {"inputs": code.inputs, "units": layer.units}
    h = code.keep("h", layer.output_size, layer.params.get("h0"))
    code.output = h
    code.say(f"{code.numbers.real} *h = {h};")
    return h


def _plus(out: str, code: LayerCode, b: str | None, n: str, *products: tuple[str, str, str]) -> None:
    """out (n,) = b + a @ w for each (a, w, depth)"""
    code.say(code.support.start(out, b, n))
    for a, w, depth in products:
        code.say(code.support.add_product(out, a, w, depth, n))


def _zoned(rate: float, before: str, new: str, numbers: Numbers) -> str:
    """Zoneout, on average: rate*before + (1 - rate)*new."""
    return f"{numbers.of(rate)} * {before} + {numbers.of(1 - rate)} * ({new})" if rate else new


def _shown(result: str, activation: Any, value: str) -> str:
    """An equation with the name of the activation."""
    name, *constants = (activation or "linear",) if not isinstance(activation, (tuple, list)) else activation
    if name == "linear":
        return f"{result} = {value}"
    return f"{result} = {name}({', '.join([value, *map(str, constants)])})"


def _write_simple(layer: EngineRecurrent, code: LayerCode, value: str, arrays: Any) -> None:
    """h = phi(x @ w_x + h @ w_h + b), perhaps normalised; `value` is h[j] in terms of n = phi(a[j])."""
    _begin(layer, code)
    code.local("a", "units", "x @ w_x + h @ w_h + b")
    products = [("x", code.table("w_x", arrays["w_x"]), "inputs"), ("h", code.table("w_h", arrays["w_h"]), "units")]
    _plus("a", code, code.table_of(arrays, "b"), "units", *products)
    if layer.layer_norm:
        gain, bias = (code.table(name, layer.params[name]) for name in ("ln_gain", "ln_bias"))
        code.say(code.support.normalise("a", "units", layer.ln_epsilon, gain, bias))
    n = code.support.activated(layer.activation, "a[j]", layer.clip)
    code.each("units", f"h[j] = {_zoned(layer.zoneout, 'h[j]', value.format(n=n), code.numbers)};")


@_write.register
def _(layer: SimpleRNN, code: LayerCode) -> None:
    argument = "LN(x @ w_x + h @ w_h + b) * ln_gain + ln_bias" if layer.layer_norm else "x @ w_x + h @ w_h + b"
    code.equations = [_shown("h", layer.activation, argument)]
    _write_simple(layer, code, "{n}", layer.params)


@_write.register
def _(layer: EchoState, code: LayerCode) -> None:
    code.equations = [_shown("h", layer.activation, "x @ w_x + h @ w_h + b")]
    if layer.leak == 1:
        _write_simple(layer, code, "{n}", layer.buffers)
        return
    code.equations = [_shown("h = (1 - leak) * h + leak * n,    n", layer.activation, "x @ w_x + h @ w_h + b")]
    leak, rest = code.numbers.of(layer.leak), code.numbers.of(1 - layer.leak)
    _write_simple(layer, code, f"{rest} * h[j] + {leak} * {{n}}", layer.buffers)


@_write.register
def _(layer: IndRNN, code: LayerCode) -> None:
    _begin(layer, code)
    code.equations = [_shown("h", layer.activation, "x @ w_x + w_h * h + b")]
    code.local("a", "units", "x @ w_x + b")
    w_x, w_h = (code.table(name, layer.params[name]) for name in ("w_x", "w_h"))
    _plus("a", code, code.table_of(layer.params, "b"), "units", ("x", w_x, "inputs"))
    value = code.support.activated(layer.activation, f"a[j] + {w_h}[j] * h[j]", layer.clip)
    code.each("units", f"h[j] = {_zoned(layer.zoneout, 'h[j]', value, code.numbers)};")


@_write.register
def _(layer: MinGRU, code: LayerCode) -> None:
    _begin(layer, code)
    code.equations = [
        _shown("z", layer.recurrent_activation, "x @ w_x + b"),
        _shown("n", layer.activation, "x @ w_x + b"),
        "h = (1 - z) * h + z * n",
    ]
    code.local("a", "2 * units", "z n: x @ w_x + b")
    w_x = code.table("w_x", layer.params["w_x"])
    _plus("a", code, code.table_of(layer.params, "b"), "2 * units", ("x", w_x, "inputs"))
    real, one = code.numbers.real, code.numbers.of(1)
    code.each(
        "units",
        f"const {real} z = {code.support.activated(layer.recurrent_activation, 'a[j]', layer.clip)};",
        f"const {real} n = {code.support.activated(layer.activation, 'a[units + j]', layer.clip)};",
        f"h[j] = {_zoned(layer.zoneout, 'h[j]', f'({one} - z) * h[j] + z * n', code.numbers)};",
    )


# ---- GRU -------------------------------------------------------------------------------------------------------------


@_write.register
def _(layer: GRU, code: LayerCode) -> None:
    _begin(layer, code)
    code.sizes["gates"] = 3 * layer.units
    (_write_gru if layer.reset_after else _write_gru_reset_before)(layer, code)


def _gru_equations(layer: GRU, z: str, n: str) -> list[str]:
    return [_shown("z, r", layer.recurrent_activation, z), _shown("n", layer.activation, n), "h = z * h + (1 - z) * n"]


def _gru_output(layer: GRU, code: LayerCode, z: str) -> str:
    """h in terms of z and n"""
    value = f"{z} * h[j] + ({code.numbers.of(1)} - {z}) * n"
    return f"h[j] = {_zoned(layer.zoneout, 'h[j]', value, code.numbers)};"


def _write_gru(layer: GRU, code: LayerCode) -> None:
    """Both products apart, as the reset gate is between them."""
    p, real = layer.params, code.numbers.real
    x_part, h_part = "x @ w_x", "h @ w_h"
    if layer.layer_norm:
        x_part, h_part = f"LN({x_part}) * ln_x_gain", f"LN({h_part}) * ln_h_gain"
    code.equations = _gru_equations(layer, f"{x_part} + b_x + {h_part} + b_h", f"{x_part} + b_x + r * ({h_part} + b_h)")
    code.local("gx", "gates", f"z r n: {x_part} + b_x")
    code.local("gh", "gates", f"z r n: {h_part} + b_h")
    biases = [code.table(f"b_{name}", row) for name, row in zip("xh", p["b"], strict=True)] if "b" in p else [None] * 2
    parts = [("x", "inputs", biases[0]), ("h", "units", biases[1])]
    for name, depth, b in parts:
        _write_product(layer, code, name, depth, b)
    gate = functools.partial(code.support.activated, layer.recurrent_activation, clip=layer.clip)
    n = code.support.activated(layer.activation, "gx[2 * units + j] + r * gh[2 * units + j]", layer.clip)
    code.each(
        "units",
        f"const {real} z = {gate('gx[j] + gh[j]')};",
        f"const {real} r = {gate('gx[units + j] + gh[units + j]')};",
        f"const {real} n = {n};",
        _gru_output(layer, code, "z"),
    )


def _write_product(layer: EngineRecurrent, code: LayerCode, name: str, depth: str, b: str | None) -> None:
    """gx = x @ w_x + b or gh = h @ w_h + b, the product perhaps normalised"""
    w = code.table(f"w_{name}", layer.params[f"w_{name}"])
    _plus(f"g{name}", code, None if layer.layer_norm else b, "gates", (name, w, depth))
    if layer.layer_norm:
        gain = code.table(f"ln_{name}_gain", layer.params[f"ln_{name}_gain"])
        code.say(code.support.normalise(f"g{name}", "gates", layer.ln_epsilon, gain, b))


def _write_gru_reset_before(layer: GRU, code: LayerCode) -> None:
    """The product of the candidate waits for the reset gate."""
    p, real, split = layer.params, code.numbers.real, 2 * layer.units
    code.equations = _gru_equations(layer, "x @ w_x + h @ w_h + b", "x @ w_x + (r * h) @ w_h + b")
    code.local("a", "gates", "z r n: x @ w_x + b, and then what h adds")
    code.local("reset", "units", "r * h")
    w_x = code.table("w_x", p["w_x"])
    w_h, w_n = code.table("w_h_zr", p["w_h"][:, :split]), code.table("w_h_n", p["w_h"][:, split:])
    _plus("a", code, code.table_of(p, "b"), "gates", ("x", w_x, "inputs"))
    code.say(code.support.add_product("a", "h", w_h, "units", "2 * units"))
    gate = functools.partial(code.support.activated, layer.recurrent_activation, clip=layer.clip)
    code.each("units", f"reset[j] = {gate('a[units + j]')} * h[j];")
    code.say(code.support.add_product("a + 2 * units", "reset", w_n, "units", "units"))
    code.each(
        "units",
        f"const {real} z = {gate('a[j]')};",
        f"const {real} n = {code.support.activated(layer.activation, 'a[2 * units + j]', layer.clip)};",
        _gru_output(layer, code, "z"),
    )


# ---- LSTM ------------------------------------------------------------------------------------------------------------


@_write.register
def _(layer: LSTM, code: LayerCode) -> None:
    _begin(layer, code)
    code.sizes["gates"] = 4 * layer.units
    if layer.projection is not None:
        code.sizes["outputs"] = layer.projection
    c = code.keep("c", layer.units, layer.params.get("c0"))
    code.say(f"{code.numbers.real} *c = {c};")
    code.equations = _lstm_equations(layer)
    _lstm_products(layer, code)
    _lstm_gates(layer, code)


def _lstm_equations(layer: LSTM) -> list[str]:
    total, shown = "x @ w_x + h @ w_h + b", "c"
    if layer.layer_norm:
        total, shown = "LN(x @ w_x) * ln_x_gain + LN(h @ w_h) * ln_h_gain + b", "LN(c) * ln_c_gain + ln_c_bias"
    gates, before = ("i", "i") if layer.coupled else ("i, f", "i, f")
    sigma, phi = layer.recurrent_activation, layer.activation
    output = phi if layer.output_activation is None else layer.output_activation
    if layer.peephole:
        lines = [
            _shown(gates, sigma, f"{total} + peephole[{before}] * c"),
            _shown("o", sigma, f"{total} + peephole[o] * c, of the new c"),
        ]
    else:
        lines = [_shown(f"{gates}, o", sigma, total)]
    lines += [_shown("g", phi, total), *(["f = 1 - i"] if layer.coupled else []), "c = f * c + i * g"]
    h = _shown("h = o * s,    s", output, shown)
    return [*lines, h if layer.projection is None else h.replace("h = o * s", "h = (o * s) @ w_proj")]


def _lstm_products(layer: LSTM, code: LayerCode) -> None:
    """gx (4*H,), all that is known before the gates"""
    p, depth = layer.params, "units" if layer.projection is None else "outputs"
    if not layer.layer_norm:
        code.local("gx", "gates", "i f g o: x @ w_x + h @ w_h + b")
        w_x, w_h = (code.table(name, p[name]) for name in ("w_x", "w_h"))
        _plus("gx", code, code.table_of(p, "b"), "gates", ("x", w_x, "inputs"), ("h", w_h, depth))
        return
    code.local("gx", "gates", "i f g o: LN(x @ w_x) * ln_x_gain + b, and then what h adds")
    code.local("gh", "gates", "i f g o: LN(h @ w_h) * ln_h_gain")
    _write_product(layer, code, "x", "inputs", code.table_of(p, "b"))
    _write_product(layer, code, "h", depth, None)
    code.each("gates", "gx[j] += gh[j];")


def _lstm_gates(layer: LSTM, code: LayerCode) -> None:
    """From gx to c and h, in one loop if nothing spans the units, in several otherwise."""
    real, one = code.numbers.real, code.numbers.of(1)
    gate = functools.partial(code.support.activated, layer.recurrent_activation, clip=layer.clip)
    peephole = code.table_of(layer.params, "peephole")
    see = [f" + {peephole}[{place}] * " if peephole else "" for place in ("j", "units + j", "2 * units + j")]
    i, f = (gate(a + (s + "c[j]" if s else "")) for a, s in zip(("gx[j]", "gx[units + j]"), see, strict=False))
    g = code.support.activated(layer.activation, "gx[2 * units + j]", layer.clip)
    new_c = code.support.clipped("f * c[j] + i * g", layer.cell_clip)
    first = [
        f"const {real} i = {i};",
        f"const {real} f = {one} - i;" if layer.coupled else f"const {real} f = {f};",
        f"const {real} g = {g};",
        f"const {real} new_c = {new_c};",
    ]
    o = gate("gx[3 * units + j]" + (see[2] + "new_c" if see[2] else ""))
    keep_c = f"c[j] = {_zoned(layer.zoneout_cell, 'c[j]', 'new_c', code.numbers)};"
    output_activation = layer.activation if layer.output_activation is None else layer.output_activation
    if layer.layer_norm:
        gain, bias = (code.table(name, layer.params[name]) for name in ("ln_c_gain", "ln_c_bias"))
        code.local("o", "units", "the output gate")
        code.local("shown", "units", "LN(c) * ln_c_gain + ln_c_bias")
        code.each("units", *first, f"o[j] = {o};", "shown[j] = new_c;", keep_c)
        code.say(code.support.normalise("shown", "units", layer.ln_epsilon, gain, bias))
        output = f"o[j] * {code.support.activated(output_activation, 'shown[j]')}"
        first, keep_c = [], ""
    else:
        first.append(f"const {real} o = {o};")
        output = f"o * {code.support.activated(output_activation, 'new_c')}"
    if layer.projection is None:
        h = f"h[j] = {_zoned(layer.zoneout, 'h[j]', output, code.numbers)};"
        code.each("units", *first, h, *([keep_c] if keep_c else []))
        return
    code.local("out", "units", "o * s, before the projection")
    code.each("units", *first, f"out[j] = {output};", *([keep_c] if keep_c else []))
    w_proj = code.table("w_proj", layer.params["w_proj"])
    if not layer.zoneout:
        _plus("h", code, None, "outputs", ("out", w_proj, "units"))
        return
    code.local("new_h", "outputs", "out @ w_proj")
    _plus("new_h", code, None, "outputs", ("out", w_proj, "units"))
    code.each("outputs", f"h[j] = {_zoned(layer.zoneout, 'h[j]', 'new_h[j]', code.numbers)};")
