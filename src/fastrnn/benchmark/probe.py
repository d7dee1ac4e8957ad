"""What the machine can do at most: multiply-adds on registers, weights read from the cache that holds them.

The time that a case takes at least, its floor, follows from its number of operations and the bytes of its weights::

    sequences   operations / flops
    steps       max(operations / flops, bytes of w_x and w_h / bandwidth)

Activations, whatever else is read and written, and the call from Python are not counted.  Both figures are the best of
several short runs; those of one thread times the threads overrate a machine whose threads share a core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from .._kernels import multiply_add_probe, read_probe
from .cases import Array, Case
from .measure import calls_in_a_turn, seconds_per_call

ROUNDS = 20_000  # of multiply-adds in a call: some ten microseconds, beside which the call does not count
TURNS, TURN_SECONDS = 100, 2e-4  # short: some of them are undisturbed on a busy machine too
CHUNK = 512  # bytes: the probe reads whole chunks
LEAST_READ = 32 * CHUNK  # bytes: in the first cache everywhere; shorter reads end before the clock has seen them
LINE = 64  # bytes


def shortest(runs: Sequence[Callable[[], Any]]) -> list[float]:
    """Seconds per call of every function in the best of its turns, which they take one after the other."""
    calls = [calls_in_a_turn(run, TURN_SECONDS) for run in runs]
    turns = [[seconds_per_call(*pair) for pair in zip(runs, calls, strict=True)] for _ in range(TURNS)]
    return [min(times) for times in zip(*turns, strict=True)]


def multiply_adds(dtype: str) -> float:
    """Floating-point operations per second of one thread; a multiply-add is two."""
    operations = multiply_add_probe(dtype, ROUNDS)
    (seconds,) = shortest([partial(multiply_add_probe, dtype, ROUNDS)])
    return operations / seconds


def reading(size: int, dtype: str) -> float:
    """Bytes per second that one thread reads of an array of about so many bytes, again and again."""
    values = _aligned(max(LEAST_READ, -(-size // CHUNK) * CHUNK), dtype)
    everything, call = shortest([partial(read_probe, values), partial(read_probe, values[:0])])
    return values.nbytes / (everything - call) if everything > call else np.inf


def _aligned(size: int, dtype: str) -> Array:
    """A vector of ones of so many bytes that begins with a cache line."""
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    values: Array = memory[start : start + size].view(dtype)
    values.fill(1)
    return values


@dataclass
class Machine:
    """The peak of so many threads in one type; every figure is measured when it is first asked for."""

    dtype: str
    threads: int
    bandwidths: dict[int, float] = field(default_factory=dict)  # of one thread, bytes per second by bytes of weights

    @cached_property
    def flops(self) -> float:
        """Floating-point operations per second of one thread."""
        return multiply_adds(self.dtype)

    def bandwidth(self, size: int) -> float:
        """Bytes per second at which one thread reads weights of so many bytes."""
        if size not in self.bandwidths:
            adding = self.flops / 2 * np.dtype(self.dtype).itemsize  # the probe adds up what it reads
            self.bandwidths[size] = min(reading(size, self.dtype), adding)
        return self.bandwidths[size]

    def floor(self, case: Case) -> float:
        """Seconds that a case takes at least; steps run on one thread whatever the number of threads."""
        if case.mode == "step":
            return max(case.operations / self.flops, case.weight_bytes / self.bandwidth(case.weight_bytes))
        return case.operations / (self.flops * self.threads)

    def facts(self) -> dict[str, Any]:
        """The figures measured, as they are reported: of all threads GFLOP/s, of one thread GB/s."""
        return {
            "gflops": self.flops * self.threads / 1e9,
            "reads": [
                {"bytes": size, "gigabytes_per_second": rate / 1e9} for size, rate in sorted(self.bandwidths.items())
            ],
        }
