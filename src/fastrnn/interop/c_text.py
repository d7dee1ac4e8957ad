"""Pieces of C text: numbers, tables, activations, and the few functions that every generated file may need."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastrnn import _check, _engine

__all__ = ["Numbers", "Support", "comment", "indented"]

_PER_LINE = 8  # numbers of a table

_KINDS = {spec["default"][0]: name for name, spec in _engine.ACTIVATIONS.items()}

# The value of each activation at `a`, in C; {f} is the suffix of libm's functions, {one} is 1 in the right type.
_ACTIVATIONS = {
    "tanh": "return tanh{f}(a);",
    "sigmoid": (
        "const {real} e = exp{f}(-fabs{f}(a)); /* never overflows */\nreturn (a >= 0 ? {one} : e) / ({one} + e);"
    ),
    "relu": "return a > 0 ? a : {zero};",
    "hard_sigmoid": "return fmin{f}(fmax{f}({alpha} * a + {beta}, {zero}), {one});",
    "hard_tanh": "return fmin{f}(fmax{f}(a, -{one}), {one});",
    "softsign": "return a / ({one} + fabs{f}(a));",
    "softplus": "return fmax{f}(a, {zero}) + log1p{f}(exp{f}(-fabs{f}(a)));",
    "elu": "return a > 0 ? a : {alpha} * expm1{f}(a);",
    "selu": "return {beta} * (a > 0 ? a : {alpha} * expm1{f}(a));",
    "leaky_relu": "return a > 0 ? a : {alpha} * a;",
    "thresholded_relu": "return a > {alpha} ? a : {zero};",
    "gelu": "return {half} * a * erfc{f}(-a * {root_half});",
    "silu": (
        "const {real} e = exp{f}(-fabs{f}(a)); /* never overflows */\nreturn a * (a >= 0 ? {one} : e) / ({one} + e);"
    ),
    "exponential": "return exp{f}(a);",
    "affine": "return {alpha} * a + {beta};",
    "scaled_tanh": "return {alpha} * tanh{f}({beta} * a);",
}

_FUNCTIONS = {
    "start": """\
/* out (n,) = b (n,), or zeros where there is no b */
static void {prefix}_start({real} *out, const {real} *b, int n)
{{
    for (int j = 0; j < n; j++) out[j] = b ? b[j] : {zero};
}}
""",
    "add_product": """\
/* out (n,) += a (depth,) @ w (depth, n) */
static void {prefix}_add_product({real} *out, const {real} *a, const {real} *w, int depth, int n)
{{
    for (int k = 0; k < depth; k++, w += n)
        for (int j = 0; j < n; j++) out[j] += a[k] * w[j];
}}
""",
    "normalise": """\
/* v (n,) = (v - mean(v)) / sqrt(variance(v) + epsilon) * gain + bias; without a bias nothing is added */
static void {prefix}_normalise({real} *v, int n, {real} epsilon, const {real} *gain, const {real} *bias)
{{
    {real} mean = 0, variance = 0;
    for (int j = 0; j < n; j++) mean += v[j];
    mean /= ({real})n;
    for (int j = 0; j < n; j++) variance += (v[j] - mean) * (v[j] - mean);
    variance /= ({real})n;
    const {real} rate = {one} / sqrt{f}(variance + epsilon);
    for (int j = 0; j < n; j++) v[j] = (v[j] - mean) * rate * gain[j] + (bias ? bias[j] : {zero});
}}
""",
    "clip": """\
static {real} {prefix}_clip({real} a, {real} limit)
{{
    return a > limit ? limit : a < -limit ? -limit : a;
}}
""",
}


class Numbers:
    """How numbers of one type stand in C.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.real, self.f = ("float", "f") if self.dtype.itemsize == 4 else ("double", "")

    def literal(self, value: float) -> str:
        """The shortest decimal number that reads back as the value."""
        text = np.format_float_scientific(value, unique=True, trim="0", exp_digits=1)
        plain = np.format_float_positional(value, unique=True, trim="0")
        return min(plain, text, key=len) + self.f

    def of(self, value: float) -> str:
        """The literal of a Python number, rounded to the type."""
        return self.literal(self.dtype.type(value))

    def table(self, name: str, array: np.ndarray, shape: str) -> str:
        """A constant array, flat, with its shape in a comment."""
        rounded = np.ascontiguousarray(array, self.dtype).ravel()
        if not np.isfinite(rounded).all():
            raise ValueError(f"{name}: expected finite numbers, got NaN or infinity, which C has no literal for")
        literals = list(map(self.literal, rounded))
        lines = [", ".join(literals[i : i + _PER_LINE]) for i in range(0, len(literals), _PER_LINE)]
        values = indented(",\n".join(lines))
        return f"static const {self.real} {name}[{rounded.size}] = {{ /* {shape} */\n{values}\n}};\n"


class Support:
    """The functions that a file's layers call, written out once and only if somebody calls them."""

    def __init__(self, prefix: str, numbers: Numbers) -> None:
        self.prefix, self.numbers = prefix, numbers
        self._called: set[str] = set()
        self._activations: dict[tuple[str, float, float], str] = {}

    def call(self, function: str, *arguments: str | int) -> str:
        """A call of one of the functions in `_FUNCTIONS`."""
        self._called.add(function)
        return f"{self.prefix}_{function}({', '.join(map(str, arguments))})"

    def start(self, out: str, b: str | None, n: str | int) -> str:
        """out (n,) = b (n,)"""
        return self.call("start", out, b or "NULL", n) + ";"

    def add_product(self, out: str, a: str, w: str, depth: str | int, n: str | int) -> str:
        """out (n,) += a (depth,) @ w (depth, n)"""
        return self.call("add_product", out, a, w, depth, n) + ";"

    def normalise(self, v: str, n: str | int, epsilon: float, gain: str, bias: str | None) -> str:
        """v = LN(v)*gain + bias"""
        return self.call("normalise", v, n, self.numbers.of(epsilon), gain, bias or "NULL") + ";"

    def clipped(self, value: str, limit: float | None) -> str:
        """A value between minus and plus the limit."""
        return value if limit is None else self.call("clip", value, self.numbers.of(limit))

    def activated(self, activation: str | tuple[object, ...] | None, value: str, clip: float | None = None) -> str:
        """phi(value), the value clipped before."""
        kind, alpha, beta = _check.activation("activation", activation or "linear", _engine.ACTIVATIONS)
        name, value = _KINDS[kind], self.clipped(value, clip)
        if name == "linear":
            return value
        if (name, alpha, beta) not in self._activations:
            others = sum(other == name for other, _, _ in self._activations)
            self._activations[name, alpha, beta] = f"{self.prefix}_{name}{others + 1 if others else ''}"
        return f"{self._activations[name, alpha, beta]}({value})"

    def text(self) -> str:
        """All that was called."""
        words = {"prefix": self.prefix, "real": self.numbers.real, "f": self.numbers.f}
        words |= {"zero": self.numbers.of(0), "one": self.numbers.of(1), "half": self.numbers.of(0.5)}
        words["root_half"] = self.numbers.of(0.5**0.5)
        parts = [text.format(**words) for name, text in _FUNCTIONS.items() if name in self._called]
        for (name, alpha, beta), function in self._activations.items():
            constants = {"alpha": self.numbers.of(alpha), "beta": self.numbers.of(beta)}
            body = indented(_ACTIVATIONS[name].format(**words, **constants))
            parts.append(f"static {self.numbers.real} {function}({self.numbers.real} a)\n{{\n{body}\n}}\n")
        return "\n".join(parts)


def indented(text: str) -> str:
    """Every line four columns further to the right."""
    return "\n".join(f"    {line}" if line else "" for line in text.split("\n"))


def comment(lines: Iterable[str]) -> str:
    """Lines as a comment; nothing in them ends it, and every character is ASCII."""
    safe = [line.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?") for line in lines]
    text = "\n".join(f" * {line}".rstrip() for line in safe)
    return "/*" + text[2:].encode("ascii", "backslashreplace").decode() + "\n */\n"
