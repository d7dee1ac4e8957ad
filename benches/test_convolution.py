"""Convolutions along time beside PyTorch's: forward, and forward with all gradients.

    pytest benches/test_convolution.py --benchmark-only

PyTorch gets its own layout, (B, C, T), and pads by an argument of conv1d where it can, before it where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastrnn
from fastrnn import reference

from .conftest import DTYPE, THREADS, note_environment, note_ratio

Array = np.ndarray


class Convolution(NamedTuple):
    """One row of the bench."""

    batch: int
    steps: int
    channels: int
    filters: int
    taps: int
    options: dict[str, Any]

    @property
    def groups(self) -> int:
        """Into how many groups channels and filters are cut."""
        return self.options.get("groups", 1)

    def __str__(self) -> str:
        options = "-".join(f"{name}={value}" for name, value in self.options.items())
        return "x".join(map(str, self[:5])) + (f"-{options}" if options else "")

    def arrays(self) -> tuple[Array, Array, Array]:
        """x, w, b."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(self.batch, self.steps, self.channels))
        seen = self.channels // self.groups
        w = rng.normal(size=(self.taps, seen, self.filters)) / np.sqrt(self.taps * seen)
        return x.astype(DTYPE), w.astype(DTYPE), rng.normal(size=self.filters).astype(DTYPE)


CASES = [
    Convolution(32, 1000, 32, 64, 3, {}),
    Convolution(32, 1000, 32, 64, 3, {"padding": "same"}),
    Convolution(32, 60, 1, 20, 4, {"strides": 2}),
    Convolution(32, 60, 20, 20, 2, {"padding": "causal"}),
    Convolution(32, 60, 20, 20, 2, {"padding": "causal", "dilation_rate": 8}),
    Convolution(1, 1000, 64, 64, 2, {"padding": "causal"}),
    Convolution(1, 1000, 64, 64, 2, {"padding": "causal", "dilation_rate": 64}),
    Convolution(8, 500, 64, 128, 5, {"padding": "same"}),
    Convolution(1, 200, 256, 256, 9, {"padding": "same"}),
    Convolution(16, 400, 3, 16, 7, {"padding": "same"}),
    Convolution(32, 60, 20, 20, 2, {"padding": "causal", "dilation_rate": 8, "groups": 20}),
    Convolution(1, 200, 64, 64, 3, {"padding": "same", "groups": 64}),
    Convolution(32, 1000, 64, 64, 3, {"padding": "same", "groups": 64}),
    Convolution(1, 2000, 256, 256, 9, {"padding": "same", "groups": 256}),
    Convolution(8, 500, 128, 128, 4, {"strides": 2, "groups": 128}),
    Convolution(8, 500, 12, 12, 4, {"strides": 2, "groups": 12}),
    Convolution(32, 60, 64, 64, 3, {"padding": "same", "groups": 32}),
    Convolution(32, 60, 64, 64, 3, {"padding": "same", "groups": 16}),
    Convolution(32, 60, 64, 64, 3, {"padding": "same", "groups": 8}),
    Convolution(32, 60, 64, 64, 3, {"padding": "same", "groups": 4}),
    Convolution(8, 500, 256, 256, 5, {"padding": "causal", "dilation_rate": 4, "groups": 32}),
    Convolution(8, 500, 128, 128, 4, {"strides": 2, "padding": "same", "groups": 32}),
    Convolution(8, 500, 96, 96, 3, {"padding": "same", "groups": 16}),
]
TOLERANCES = {"float32": 1e-5, "float64": 1e-13}

Run = Callable[[], dict[str, Array]]


def dy_of(case: Convolution) -> Array:
    y, _ = fastrnn.conv1d_forward(*case.arrays(), **case.options)
    return np.random.default_rng(1).uniform(0.5, 1.5, y.shape).astype(DTYPE)


def prepare_fastrnn(case: Convolution, backward: bool) -> tuple[Callable[[], Any], Run]:
    """What is timed, and the same with its results by name."""
    arrays, dy = case.arrays(), dy_of(case)

    def run() -> Any:
        y, cache = fastrnn.conv1d_forward(*arrays, num_threads=THREADS, **case.options)
        return (y, *fastrnn.conv1d_backward(dy, cache)) if backward else (y,)

    return run, lambda: dict(zip(("y", "dx", "dw", "db"), run(), strict=False))


def prepare_torch(case: Convolution, backward: bool) -> tuple[Callable[[], Any], Run]:
    """The same for PyTorch."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(THREADS)
    options = case.options
    stride, rate = options.get("strides", 1), options.get("dilation_rate", 1)
    span = (case.taps - 1) * rate
    missing = max((-(-case.steps // stride) - 1) * stride + span + 1 - case.steps, 0)
    left, right = {"valid": (0, 0), "same": (missing // 2, missing - missing // 2), "causal": (span, 0)}[
        options.get("padding", "valid")
    ]
    x, w, b = case.arrays()
    given = (x.transpose(0, 2, 1), w.T, b, dy_of(case).transpose(0, 2, 1))  # (B, C, T), (F, C, K), (F,), (B, F, T')
    x, w, b, dy = (torch.tensor(np.ascontiguousarray(array)) for array in given)
    leaves = [tensor.requires_grad_() for tensor in (x, w, b)]

    def forward() -> Any:
        padded = x if left == right else functional.pad(x, (left, right))
        return functional.conv1d(padded, w, b, stride, left if left == right else 0, rate, case.groups)

    def run() -> Any:
        if backward:
            y = forward()
            return (y, *torch.autograd.grad(y, leaves, dy))
        with torch.no_grad():
            return (forward(),)

    def results() -> dict[str, Array]:
        y, *gradients = (tensor.detach().numpy() for tensor in run())
        named = {"y": y.transpose(0, 2, 1)}
        if backward:
            dx, dw, db = gradients
            named.update(dx=dx.transpose(0, 2, 1), dw=dw.T, db=db)
        return named

    return run, results


PEERS = {"fastrnn": prepare_fastrnn, **({"torch": prepare_torch} if find_spec("torch") else {})}


def check(results: dict[str, Array], case: Convolution) -> None:
    """Every result against the reference in float64."""
    x, w, b = (array.astype(np.float64) for array in case.arrays())
    y, cache = reference.conv1d_forward(x, w, b, **case.options)
    expected = {"y": y, **reference.conv1d_backward(dy_of(case).astype(np.float64), cache)._asdict()}
    for name, value in results.items():
        error = np.abs(value - expected[name]).max() / np.abs(expected[name]).max()
        assert value.shape == expected[name].shape and error <= TOLERANCES[DTYPE], f"{name}: {error:.1e}"


@pytest.mark.parametrize("implementation", PEERS)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward+backward"])
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.benchmark(min_rounds=5, max_time=0.5)
def test_convolution(benchmark: Any, case: Convolution, backward: bool, implementation: str) -> None:
    run, results = PEERS[implementation](case, backward)
    check(results(), case)
    benchmark.group = f"{case} {'forward+backward' if backward else 'forward'}"
    note_environment(benchmark)
    benchmark(run)
    if implementation != "fastrnn" and benchmark.enabled:
        note_ratio(benchmark, implementation, run, prepare_fastrnn(case, backward)[0])
