"""What tests share: comparing arrays, finite differences, and the cells with arguments to call them with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from fastrnn import _engine

from .conftest import TOLERANCES

Array = np.ndarray


def scale_relative_error(actual: Array, expected: Array) -> float:
    """max|actual - expected| / max|expected|, 0 for empty arrays."""
    if expected.size == 0:
        return 0.0
    difference = np.abs(actual.astype(np.float64) - expected)
    return float(difference.max() / max(np.abs(expected).max(), np.finfo(np.float64).tiny))


def assert_close(actual: Any, expected: Any, tolerance_name: str, what: str = "result") -> None:
    """Same shape, same kind of number, finite, and within ``TOLERANCES[tolerance_name]`` of the expected scale."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    assert actual.dtype.kind == expected.dtype.kind, f"{what}: dtype {actual.dtype}, expected {expected.dtype}"
    for name, array in (("result", actual), ("expected value", expected)):
        assert np.isfinite(array).all(), f"{what}: NaN or infinity in the {name}"
    error, tolerance = scale_relative_error(actual, expected), TOLERANCES[tolerance_name]
    assert error <= tolerance, f"{what}: error {error:.2e} of the scale, allowed {tolerance:.0e} ({tolerance_name})"


def central_difference(function: Callable[[Array], float], array: Array, eps: float = 1e-5) -> Array:
    """The gradient of a scalar function by every element, (f(a + eps) - f(a - eps)) / (2·eps).

    In float64 the error is of the order of eps² plus 1e-16/eps; the array itself is not written to.
    """
    shifted = np.array(array, dtype=np.float64)
    gradient = np.empty_like(shifted)
    for index in np.ndindex(shifted.shape):
        value = shifted[index]
        shifted[index] = value + eps
        above = function(shifted)
        shifted[index] = value - eps
        below = function(shifted)
        shifted[index] = value
        gradient[index] = (above - below) / (2 * eps)
    return gradient


@dataclass(frozen=True)
class Cell:
    """A cell as tests call it: what its functions are named, and which arguments they take.

    `recurrent` says what w_h is: a "matrix" (H, G*H), a "vector" (H,), or None.
    """

    name: str
    gates: int
    states: tuple[str, ...] = ("h",)
    bias_rows: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    recurrent: str | None = "matrix"

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{key}={value}" for key, value in self.options.items())])

    def arguments(
        self,
        rng: np.random.Generator,
        batch: int | None,
        steps: int,
        inputs: int,
        hidden: int,
        projected: int | None = None,
    ) -> dict[str, Any]:
        """Random x, h0[, c0], w_x, w_h, b by name, in the order of the signature; batch None is one instance.

        With a projection h has `projected` units.
        """
        rows = () if batch is None else (batch,)
        width, shown = self.gates * hidden, hidden if projected is None else projected
        bias_shape = (width,) if self.bias_rows is None else (self.bias_rows, width)
        recurrent = {"matrix": (shown, width), "vector": (width,), None: None}[self.recurrent]
        return {
            "x": rng.normal(size=(*rows, steps, inputs)),
            **{f"{s}0": rng.normal(size=(*rows, shown if s == "h" else hidden)) for s in self.states},
            "w_x": rng.normal(size=(inputs, width)) / np.sqrt(inputs),
            "w_h": None if recurrent is None else rng.normal(size=recurrent) / np.sqrt(shown),
            "b": rng.normal(size=bias_shape),
        }

    def forward(self, module: ModuleType, arguments: Mapping[str, Any], **options: Any) -> tuple[Array, Any]:
        """y and cache of the module's <cell>_forward."""
        return getattr(module, f"{self.name}_forward")(*arguments.values(), **{**self.options, **options})

    def backward(self, module: ModuleType, dy: Any, cache: Any, **dfinal: Any) -> Any:
        """Gradients of the module's <cell>_backward; `dfinal` is dh_n[, dc_n]."""
        return getattr(module, f"{self.name}_backward")(dy, cache, **dfinal)

    def step_forward(self, module: ModuleType, arguments: Mapping[str, Any], **options: Any) -> tuple[Any, ...]:
        """h[, c] and cache of the module's <cell>_step_forward."""
        return getattr(module, f"{self.name}_step_forward")(*arguments.values(), **{**self.options, **options})

    def step_backward(self, module: ModuleType, *dstates_and_cache: Any) -> Any:
        """Gradients of the module's <cell>_step_backward."""
        return getattr(module, f"{self.name}_step_backward")(*dstates_and_cache)

    def final_states(self, cache: Any) -> dict[str, Array]:
        """h_n[, c_n] by name."""
        return {f"{state}_n": getattr(cache, f"{state}_n") for state in self.states}


# What a cell of the registry is called with where it is not the plain call of its function.
OWN_OPTIONS: dict[str, dict[str, Any]] = {
    "gru": {"reset_after": True},
    "gru_reset_before": {"reset_after": False},
    "leaky": {"leak": 0.4},
}
W_H = {"product": "matrix", "elementwise": "vector", "nothing": None}


def cell_of(name: str) -> Cell:
    """A cell as the registry of the kernels describes it."""
    spec = _engine.CELLS[name]
    states = ("h", "c") if spec["cell_state"] else ("h",)
    bias_rows = None if spec["bias_rows"] == 1 else spec["bias_rows"]
    return Cell(spec["function"], spec["gates"], states, bias_rows, OWN_OPTIONS.get(name, {}), W_H[spec["recurrent"]])


CELL_OF = {name: cell_of(name) for name in _engine.CELLS}
CELLS = tuple(CELL_OF.values())


def spec_of(cell: Cell) -> dict[str, Any]:
    """What the registry says of a cell."""
    return next(_engine.CELLS[name] for name, other in CELL_OF.items() if other == cell)


def some_lengths(batch: int | None, steps: int) -> int | Array:
    """Lengths that are unsorted and, in a batch of three or more, hold 0 and T; a number for one instance."""
    if batch is None:
        return steps - 1
    return np.resize([steps - 1, 0, steps, 1], batch)


def some_resets(batch: int | None, steps: int) -> Array:
    """A mask that resets one row at its first step, another in the middle."""
    rows = np.arange(1 if batch is None else batch)[:, np.newaxis]
    mask = (np.arange(steps) + rows) % 3 == 1
    return mask[0] if batch is None else mask


def past_the_end(lengths: Any, batch: int | None, steps: int) -> Array:
    """True at (b, t) past the end of row b, (B, T) or (T,)."""
    if lengths is None:
        return np.zeros((steps,) if batch is None else (batch, steps), dtype=bool)
    return np.arange(steps) >= np.asarray(lengths)[..., np.newaxis]
