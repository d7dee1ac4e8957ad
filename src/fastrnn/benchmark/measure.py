"""How it is timed: results checked first, then implementations in turns within one run, medians."""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from time import perf_counter
from typing import Any

from .cases import Array, Case, fault
from .peers import FASTRNN, STEP_FUNCTION, Implementation

TURN_SECONDS = 2e-3  # a turn repeats short calls for so long: the clock and a cold cache then weigh little
MIN_ROUNDS = 5


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Let NumPy's BLAS use so many threads, if threadpoolctl is there to tell it; peers are told when they prepare."""
    if find_spec("threadpoolctl") is None:
        limits: Any = nullcontext()
    else:
        import threadpoolctl

        limits = threadpoolctl.threadpool_limits(limits=threads)
    with limits:
        yield


@dataclass
class Row:
    """A case with the median seconds of every implementation that computed it, and what was wrong with the others."""

    case: Case
    seconds: dict[str, float] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    floor: float | None = None  # seconds that the case takes at least on this machine, from `probe`

    @property
    def best_peer(self) -> str | None:
        """The fastest implementation that is not ours."""
        peers = [name for name in self.seconds if name not in (FASTRNN.name, STEP_FUNCTION.name)]
        return min(peers, key=self.seconds.__getitem__, default=None)

    @property
    def ratio(self) -> float | None:
        """Time of the best peer by time of fastrnn: above 1, fastrnn is faster."""
        if self.best_peer is None or FASTRNN.name not in self.seconds:
            return None
        return self.seconds[self.best_peer] / self.seconds[FASTRNN.name]

    @property
    def share(self) -> float | None:
        """The part of the machine's peak that fastrnn reaches: floor by time, 1 is all of it."""
        if self.floor is None or FASTRNN.name not in self.seconds:
            return None
        return self.floor / self.seconds[FASTRNN.name]


def checked_run(
    implementation: Implementation, case: Case, threads: int, expected: Mapping[str, Array] | None = None
) -> Callable[[], Any]:
    """What is to be timed, run and found right; a wrong result raises ``ArithmeticError``.

    What is compared is the result of call number `Case.checked_calls`: steps go on from the state of the call before.
    """
    prepared = implementation.prepare(case, threads)
    for _ in range(case.checked_calls):
        raw = prepared.run()
    wrong = fault(prepared.results(raw), case.expected() if expected is None else expected, case.dtype)
    if wrong is not None:
        raise ArithmeticError(f"wrong result: {wrong}")
    return prepared.run


def measure_case(case: Case, implementations: Sequence[Implementation], threads: int, seconds: float) -> Row:
    """Check every implementation of a case, then time the right ones in turns for about so many seconds."""
    row, runs = Row(case), {}
    expected = case.expected()
    for implementation in implementations:
        if not implementation.supports(case):
            continue
        try:
            runs[implementation.name] = checked_run(implementation, case, threads, expected)
        except Exception as error:  # a peer of another version may fail in any way: the others are still worth a row
            first_line = (str(error).splitlines() or [""])[0]
            wrong = isinstance(error, ArithmeticError)
            row.faults[implementation.name] = first_line if wrong else f"{type(error).__name__}: {first_line}"
    row.seconds = time_in_turns(runs, seconds)
    return row


def time_in_turns(runs: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Median seconds per call of every function, which take turns until about so many seconds are over."""
    calls = {name: calls_in_a_turn(run) for name, run in runs.items()}
    turns: dict[str, list[float]] = {name: [] for name in runs}
    order, shuffle = list(runs), random.Random(0).shuffle
    start, rounds = perf_counter(), 0
    collecting = gc.isenabled()
    gc.disable()
    try:
        while order and (rounds < MIN_ROUNDS or perf_counter() - start < seconds):
            shuffle(order)  # nobody always follows the same neighbour
            for name in order:
                turns[name].append(seconds_per_call(runs[name], calls[name]))
            rounds += 1
    finally:
        if collecting:
            gc.enable()
    return {name: statistics.median(times) for name, times in turns.items()}


def calls_in_a_turn(run: Callable[[], Any], turn: float = TURN_SECONDS) -> int:
    """How many calls fill a turn of so many seconds, at least one."""
    return max(1, round(turn / seconds_per_call(run, 1)))


def seconds_per_call(run: Callable[[], Any], calls: int) -> float:
    """Seconds per call; where calls are short, one that is not counted brings the data into the caches."""
    if calls > 1:
        run()
    start = perf_counter()
    for _ in range(calls):
        run()
    return (perf_counter() - start) / calls
