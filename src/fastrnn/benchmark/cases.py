"""What is timed: cells x shapes x modes, their numbers, and the results that every implementation has to reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import _engine, reference

Array = np.ndarray

CELLS = ("rnn", "lstm", "gru")  # those that the peers have
MODES = ("forward", "forward+backward", "step")
DTYPES = ("float32", "float64")
CHECKED_STEPS = 3  # the first from a state of zero, those after it need w_h too


class Shape(NamedTuple):
    """B rows, T steps, I inputs, H units."""

    batch: int
    time: int
    inputs: int
    hidden: int

    def __str__(self) -> str:
        return ",".join(map(str, self))


SEQUENCE_SHAPES = (
    Shape(1, 100, 1, 20),
    Shape(32, 50, 1, 20),
    Shape(1, 100, 64, 128),
    Shape(32, 50, 64, 128),
    Shape(64, 100, 128, 256),
    Shape(32, 100, 512, 512),
)
STEP_SHAPES = (Shape(1, 1, 1, 20), Shape(1, 1, 40, 64), Shape(1, 1, 128, 256), Shape(1, 1, 512, 512))
QUICK_SHAPES = (Shape(1, 100, 1, 20), Shape(32, 50, 64, 128))
QUICK_STEP_SHAPES = (Shape(1, 1, 40, 64),)

# The largest error a result may have before it counts as wrong, as a fraction of the largest value of what is expected.
# It tells the same numbers from other numbers: accuracy is the tests' business, and peers differ in it.
TOLERANCES = {"float32": 1e-4, "float64": 1e-10}


@dataclass(frozen=True)
class Case:
    """One computation that every implementation does.

    A step is part of a loop, as in a program that owns it: the state is zero at first, and every call goes on from the
    state that the call before it has left, with the same x_t.
    """

    cell: str
    mode: str
    shape: Shape
    dtype: str = "float32"

    @property
    def states(self) -> tuple[str, ...]:
        """The states that the cell carries from step to step."""
        return ("h", "c") if _engine.CELLS[self.cell]["cell_state"] else ("h",)

    @property
    def checked_calls(self) -> int:
        """The results of which call are those of `expected`."""
        return CHECKED_STEPS if self.mode == "step" else 1

    @property
    def operations(self) -> int:
        """Floating-point operations of the products with w_x and w_h; backward has twice as many as forward."""
        batch, time, inputs, hidden = self.shape
        forward = 2 * time * batch * (inputs + hidden) * _engine.CELLS[self.cell]["gates"] * hidden
        return 3 * forward if self.mode == "forward+backward" else forward

    @property
    def weight_bytes(self) -> int:
        """Size of w_x and w_h."""
        _, _, inputs, hidden = self.shape
        return (inputs + hidden) * _engine.CELLS[self.cell]["gates"] * hidden * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.cell}-{self.mode}-{'x'.join(map(str, self.shape))}"

    def arguments(self) -> dict[str, Array]:
        """x, h0[, c0], w_x, w_h, b by name, in the order of the signature; the same numbers at every call.

        Weights are as a layer is born with them, uniform within 1/sqrt(H).  In a step, x is x_t (B, I) and the
        states are zero.
        """
        spec = _engine.CELLS[self.cell]
        batch, time, inputs, hidden = self.shape
        width = spec["gates"] * hidden
        rng = np.random.default_rng([*self.shape, CELLS.index(self.cell)])
        arrays = {
            "x": rng.normal(size=(batch, inputs) if self.mode == "step" else (batch, time, inputs)),
            **{f"{state}0": rng.normal(size=(batch, hidden)) * (self.mode != "step") for state in self.states},
            "w_x": rng.uniform(-1, 1, (inputs, width)) / np.sqrt(hidden),
            "w_h": rng.uniform(-1, 1, (hidden, width)) / np.sqrt(hidden),
            "b": rng.uniform(-1, 1, (width,) if spec["bias_rows"] == 1 else (2, width)) / np.sqrt(hidden),
        }
        return {name: array.astype(self.dtype) for name, array in arrays.items()}

    def dy(self) -> Array:
        """The gradient of the loss by y (B, T, H), the same numbers at every call."""
        batch, time, _, hidden = self.shape
        return np.random.default_rng(self.shape).normal(size=(batch, time, hidden)).astype(self.dtype)

    def expected(self) -> dict[str, Array]:
        """The results by name, from the reference in float64.

        Steps give the last h[, c]; forward y and the final states; forward+backward y and the gradient of every
        argument.
        """
        arguments = {name: array.astype(np.float64) for name, array in self.arguments().items()}
        if self.mode == "step":
            x, *values = arguments.values()
            states, weights = values[:-3], values[-3:]
            for _ in range(self.checked_calls):
                *states, _ = getattr(reference, f"{self.cell}_step_forward")(x, *states, *weights)
            return dict(zip(self.states, states, strict=True))
        y, cache = getattr(reference, f"{self.cell}_forward")(*arguments.values())
        if self.mode == "forward":
            return {"y": y, **{f"{state}_n": getattr(cache, f"{state}_n") for state in self.states}}
        gradients = getattr(reference, f"{self.cell}_backward")(self.dy().astype(np.float64), cache)
        return {"y": y, **{f"d{name}": getattr(gradients, f"d{name}") for name in arguments}}


def make_cases(
    cells: Iterable[str] = CELLS,
    modes: Iterable[str] = MODES,
    shapes: Iterable[Shape] = SEQUENCE_SHAPES,
    step_shapes: Iterable[Shape] = STEP_SHAPES,
    dtype: str = "float32",
) -> list[Case]:
    """Every combination: `shapes` for whole sequences, `step_shapes` for single steps."""
    shapes, step_shapes, modes = tuple(shapes), tuple(step_shapes), tuple(modes)
    return [
        Case(cell, mode, shape, dtype)
        for cell in cells
        for mode in modes
        for shape in (step_shapes if mode == "step" else shapes)
    ]


def fault(results: Mapping[str, Array], expected: Mapping[str, Array], dtype: str) -> str | None:
    """What is wrong with an implementation's results, in one line; None if they are the expected ones."""
    missing = [name for name in expected if name not in results]
    if missing:
        return f"no {', '.join(missing)}"
    for name, value in expected.items():
        result = np.asarray(results[name])
        if result.dtype != dtype:
            return f"{name} is {result.dtype}, expected {dtype}"
        if result.shape != value.shape:
            return f"{name} has shape {result.shape}, expected {value.shape}"
        error = np.abs(result - value).max() / np.abs(value).max()
        if not error <= TOLERANCES[dtype]:  # a NaN is an error too
            return f"{name} is off by {error:.1e} of its scale, allowed are {TOLERANCES[dtype]:.0e}"
    return None
