"""What the benches share: one thread for everyone, and a row of the table that is checked before it is timed.

    pytest benches --benchmark-only -k "lstm-forward-1x100"

Names are <cell>-<mode>-<B>x<T>x<I>x<H>-<implementation>.  FASTRNN_BENCH_THREADS and FASTRNN_BENCH_DTYPE change the
threads (1) and the type (float32).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

import fastrnn
from fastrnn import benchmark as bench

THREADS = int(os.environ.get("FASTRNN_BENCH_THREADS", "1"))
DTYPE = os.environ.get("FASTRNN_BENCH_DTYPE", "float32")
RATIO_SECONDS = 0.3  # for every ratio, beside the time that pytest-benchmark takes for its own figures

Bench = Callable[[bench.Case, bench.Implementation], None]


def rows(cases: Iterable[bench.Case]) -> pytest.MarkDecorator:
    """Parametrize a bench with every case and every installed implementation that supports it."""
    pairs = [
        pytest.param(case, implementation, id=f"{case}-{implementation.name}")
        for case in cases
        for implementation in (bench.FASTRNN, *bench.installed_peers())
        if implementation.supports(case)
    ]
    return pytest.mark.parametrize(("case", "implementation"), pairs)


@pytest.fixture(scope="session", autouse=True)
def one_number_of_threads() -> Iterator[None]:
    """Nobody uses more threads than the others."""
    with bench.limited_threads(THREADS):
        yield


@pytest.fixture
def time_checked(benchmark: Any) -> Bench:
    """Check an implementation's results, time it, and note its time by fastrnn's, taken in turns."""

    def run_bench(case: bench.Case, implementation: bench.Implementation) -> None:
        run = bench.checked_run(implementation, case, THREADS)
        benchmark.group = str(case)
        note_environment(benchmark)
        benchmark(run)
        if implementation is not bench.FASTRNN and benchmark.enabled:
            note_ratio(benchmark, implementation.name, run, bench.checked_run(bench.FASTRNN, case, THREADS))

    return run_bench


def note_environment(benchmark: Any) -> None:
    """Put into the record what a time depends on beside the machine, which pytest-benchmark notes itself."""
    benchmark.extra_info["threads"] = THREADS
    benchmark.extra_info["instruction set"] = fastrnn.show_config("dict")["instruction set"]


def note_ratio(benchmark: Any, peer: str, run: Callable[[], Any], fastrnn_run: Callable[[], Any]) -> None:
    """Put the peer's time by fastrnn's into the record, both from one run in which they take turns."""
    seconds = bench.time_in_turns({peer: run, "fastrnn": fastrnn_run}, RATIO_SECONDS)
    benchmark.extra_info[f"{peer} / fastrnn"] = round(seconds[peer] / seconds["fastrnn"], 3)
