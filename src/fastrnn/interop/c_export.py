"""A model as one C file: weights, state and one step, for microcontrollers, plug-ins and whatever has no Python."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from fastrnn import _check
from fastrnn._version import __version__
from fastrnn.interop.c_layers import LayerCode, code_of, plain_layers
from fastrnn.interop.c_text import Numbers, Support, comment, indented
from fastrnn.layers import Layer

__all__ = ["CSizes", "to_c"]

_FRAMES = 320  # bytes that calls, saved registers and loops take beside the arrays; libm's functions are on top


class CSizes(NamedTuple):
    """What a generated file takes, in bytes.

    Attributes
    ----------
    parameters : int
        Constants.
    state : int
        ``sizeof`` of the state, the caller's.
    stack : int
        Of a step, estimated: all arrays on the way down, and 320 for the rest.
    """

    parameters: int
    state: int
    stack: int


def to_c(
    model: Layer,
    path: str | os.PathLike[str],
    *,
    prefix: str = "net",
    dtype: str = "float32",
    header: str | os.PathLike[str] | None = None,
) -> CSizes:
    """Write a model as one C file that needs nothing but libm.

    The file is C99, calls no memory allocator and has no variables but constants: what a stream carries from step to
    step lies in a struct that the caller owns, so any number of streams run side by side::

        void net_init(net_state *state);                                   the state before the first step
        void net_step(net_state *state, const float *x, float *y);        one step: x (I,) in, y (O,) out
        void net_reset(net_state *state);                                  back to the state before the first step

    A comment at its top says how it is used, how large constants and state are and about how much stack a step takes.
    A step gives what the model gives at that step of a sequence, or as the last of it for a model that returns the last
    output alone, to rounding: 1e-6 of the outputs' size in float32.

    Parameters
    ----------
    model : Sequential or Layer
        With parameters.  Recurrent layers with any option, but ``go_backwards``; Dense, Activation, Embedding,
        LayerNormalization, BatchNormalization; Conv1D with causal padding; TimeDistributed and nested models of these.
        Dropout and noise do nothing at inference and are left out.
    path : str or os.PathLike
        An existing file is replaced.
    prefix : str
        What all names begin with.
    dtype : {"float32", "float64"}
        What the C code computes in, ``float`` or ``double``; weights are rounded to it.
    header : str or os.PathLike, optional
        Where to write the declarations alone.  The C file has them too and does not include the header.

    Returns
    -------
    CSizes
        Bytes of the constants, of the state, and about those of the stack.

    Raises
    ------
    ValueError
        If the model has no parameters yet, or holds a layer or an option that has no meaning step by step.

    Notes
    -----
    With an `Embedding` in front x is an ``int``: ``net_step(&state, &number, y)``.

    A layer's ``stateful`` is ignored: `net_init` starts from zeros, or from the learned initial states.

    Examples
    --------
    >>> from pathlib import Path
    >>> import fastrnn
    >>> model = fastrnn.Sequential([fastrnn.GRU(8, return_sequences=True), fastrnn.Dense(1)], input_size=3, seed=0)
    >>> fastrnn.interop.to_c(model, "net.c")
    CSizes(parameters=1284, state=32, stack=512)
    >>> Path("net.c").read_text().partition("\\n")[0]
    '/* net: a recurrent network in plain C.'
    """
    if not isinstance(model, Layer):
        raise TypeError(f"model: expected a model or a layer, got {type(model).__name__}")
    if not model.built or model.input_size is None:
        raise ValueError(f"{type(model).__name__} has no parameters yet: call build(input_size) or run data through it")
    if not isinstance(prefix, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", prefix):
        raise ValueError(f"prefix: expected letters, digits and _ after a letter, got {prefix!r}")
    numbers = Numbers(_check.choice("dtype", dtype, ("float32", "float64")))
    file, declared = _file("path", path), None if header is None else _file("header", header)
    source = _Source(model, prefix, numbers)
    file.write_text(source.text(), encoding="ascii")
    if declared is not None:
        declared.write_text(source.declarations(), encoding="ascii")
    return source.bytes


def _file(name: str, path: str | os.PathLike[str]) -> Path:
    """The path of a file to write."""
    try:
        return Path(path)
    except TypeError:
        raise TypeError(f"{name}: expected the path of a file to write, a str or os.PathLike, got {path!r}") from None


class _Source:
    """The parts of the file."""

    def __init__(self, model: Layer, prefix: str, numbers: Numbers) -> None:
        self.model, self.prefix, self.numbers = model, prefix, numbers
        self.support = Support(prefix, numbers)
        self.layers: list[LayerCode] = []
        size = model.input_size[-1] if isinstance(model.input_size, tuple) else model.input_size
        for where, layer in plain_layers(model):
            self.layers.append(code_of(layer, where, len(self.layers), size, prefix, numbers, self.support))
            size = self.layers[-1].outputs
        if not self.layers:
            raise ValueError("model: expected a layer that does something at inference")
        self.inputs, self.outputs = self.layers[0].inputs, size
        self.takes_class = self.layers[0].takes_class

    # -- figures ------------------------------------------------------------------------------------------------------

    @property
    def bytes(self) -> CSizes:
        size = self.numbers.dtype.itemsize
        state = sum(count for layer in self.layers for count, _ in layer.state.values()) * size
        counters = 4 * sum(len(layer.counters) for layer in self.layers)
        if not state:
            state, counters = 0, 4
        state = -(-(state + counters) // size) * size if state else counters
        parameters = sum(layer.parameters for layer in self.layers) * size
        between = sum(layer.outputs for layer in self.layers[:-1] if not layer.output)
        stack = (between + max(layer.locals for layer in self.layers)) * size + _FRAMES
        return CSizes(parameters, state, stack)

    # -- text ---------------------------------------------------------------------------------------------------------

    def text(self) -> str:
        """The whole file."""
        step, functions = self.step(), [layer.text() for layer in self.layers]
        parts = [
            comment(self.about()),
            self.declarations(),
            "#include <math.h>\n#include <stddef.h>\n",
            "/* ---- weights " + "-" * 88 + " */\n",
            *(table for layer in self.layers for table in layer.tables),
            "/* ---- what the layers share " + "-" * 74 + " */\n",
            self.support_text(),
            "/* ---- layers " + "-" * 89 + " */\n",
            *functions,
            "/* ---- the network " + "-" * 84 + " */\n",
            self.reset(),
            step,
        ]
        return "\n".join(part for part in parts if part)

    def support_text(self) -> str:
        self.reset()  # calls what it needs, too
        return self.support.text()

    def about(self) -> list[str]:
        """The comment at the top."""
        sizes, x = self.bytes, "one class number" if self.takes_class else f"({self.inputs},)"
        kind = self.numbers.real
        lines = [
            f"{self.prefix}: a recurrent network in plain C.",
            "",
            f"Made by fastrnn {__version__}, fastrnn.interop.to_c, in {kind}.  The model, one line a layer:",
            "",
        ]
        for layer in self.layers:
            lines.append(f"    {layer.index}  {layer.layer!r}: ({layer.inputs},) -> ({layer.outputs},)")
        first = "int x[1];" if self.takes_class else f"{kind} x[{self.inputs}];"
        return [
            *lines,
            "",
            f"A step takes x {x} and gives y ({self.outputs},).",
            "",
            f"Constants        {sizes.parameters:,} bytes",
            f"State            {sizes.state:,} bytes, sizeof({self.prefix}_state), one for each stream",
            f"Stack of a step  about {sizes.stack:,} bytes, and what the functions of libm take",
            "",
            "C99, needs libm; no allocation, no variables but the caller's.  cc -std=c99 -O2 net.c main.c -lm",
            "",
            "    int main(void)",
            "    {",
            f"        {self.prefix}_state state;",
            f"        {first} {kind} y[{self.outputs}];",
            f"        {self.prefix}_init(&state);",
            f"        while (next(x)) {{ {self.prefix}_step(&state, x, y); use(y); }}",
            "        return 0;",
            "    }",
        ]

    def declarations(self) -> str:
        """The struct and the three functions; the header is this alone."""
        guard, real = f"{self.prefix.upper()}_H", self.numbers.real
        members = [f"{real} {name}[{size}];" for layer in self.layers for name, (size, _) in layer.state.items()]
        members += [f"int {name};" for layer in self.layers for name in layer.counters]
        x = "const int *x" if self.takes_class else f"const {real} *x"
        return f"""\
#ifndef {guard}
#define {guard}

#ifdef __cplusplus
extern "C" {{
#endif

/* What a stream carries from step to step. */
typedef struct {{
{indented(chr(10).join(members or ["int nothing;"]))}
}} {self.prefix}_state;

/* The state before the first step. */
void {self.prefix}_init({self.prefix}_state *state);

/* One step: x {"(one class number)" if self.takes_class else f"({self.inputs},)"} in, y ({self.outputs},) out. */
void {self.prefix}_step({self.prefix}_state *state, {x}, {real} *y);

/* Back to the state before the first step. */
void {self.prefix}_reset({self.prefix}_state *state);

#ifdef __cplusplus
}}
#endif

#endif
"""

    def reset(self) -> str:
        """The functions that set the state."""
        lines = [
            self.support.start(f"state->{name}", table, size)
            for layer in self.layers
            for name, (size, table) in layer.state.items()
        ]
        lines += [f"state->{name} = 0;" for layer in self.layers for name in layer.counters]
        body = indented("\n".join(lines or ["state->nothing = 0;"]))
        p = self.prefix
        return (
            f"void {p}_reset({p}_state *state)\n{{\n{body}\n}}\n\n"
            f"void {p}_init({p}_state *state)\n{{\n    {p}_reset(state);\n}}\n"
        )

    def step(self) -> str:
        """The function of a step: a call of each layer."""
        real, lines, calls, x = self.numbers.real, [], [], "x"
        for layer in self.layers:
            last = layer is self.layers[-1]
            y = layer.output or ("y" if last else f"y{layer.index}")
            if y not in ("y", layer.output):
                lines.append(f"{real} {y}[{layer.outputs}];")
            values = {"state": "state", "x": x, "y": y}
            calls.append(f"{layer.name}({', '.join(values[name] for _, name in layer.arguments)});")
            x = y
        if x != "y":
            calls.append(self.support.start("y", x, self.outputs))
        if not any("state" in call for call in calls):
            calls.append("(void)state;")
        x_type = "const int *x" if self.takes_class else f"const {real} *x"
        body = indented("\n".join(lines + calls))
        return f"void {self.prefix}_step({self.prefix}_state *state, {x_type}, {real} *y)\n{{\n{body}\n}}\n"
