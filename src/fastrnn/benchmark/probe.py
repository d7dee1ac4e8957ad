"""What the machine can do at most: multiply-adds on registers, weights read from the cache that holds them.

The time that a case takes at least, its floor, follows from its number of operations and the bytes of its weights::

    sequences   operations / flops
    steps       max(operations / flops, bytes of w_x and w_h / bandwidth)

Activations, whatever else is read and written, and the call from Python are not counted.  Both figures are the best of
several short runs; those of one thread times the threads overrate a machine whose threads share a core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .._kernels import multiply_add_probe, read_probe
from .cases import Array, Case
from .measure import calls_in_a_turn, seconds_per_call

ROUNDS = 20_000  # of multiply-adds in a call: some ten microseconds, beside which the call does not count
TURNS = 25
CHUNK = 512  # bytes: the probe reads whole chunks
LEAST_READ = 32 * CHUNK  # bytes: in the first cache everywhere; shorter reads end before the clock has seen them
LINE = 64  # bytes


def shortest(run: Callable[[], Any]) -> float:
    """Seconds per call in the best of several turns."""
    calls = calls_in_a_turn(run)
    return min(seconds_per_call(run, calls) for _ in range(TURNS))


def multiply_adds(dtype: str) -> float:
    """Floating-point operations per second of one thread; a multiply-add is two."""
    operations = multiply_add_probe(dtype, ROUNDS)
    return operations / shortest(lambda: multiply_add_probe(dtype, ROUNDS))


def reading(size: int, dtype: str) -> float:
    """Bytes per second that one thread reads of an array of about so many bytes, again and again."""
    values = _aligned(max(LEAST_READ, -(-size // CHUNK) * CHUNK), dtype)
    call = shortest(lambda: read_probe(values[:0]))
    return values.nbytes / max(shortest(lambda: read_probe(values[:])) - call, 1e-9)


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
            self.bandwidths[size] = reading(size, self.dtype)
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
