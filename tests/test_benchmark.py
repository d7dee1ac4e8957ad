"""`fastrnn bench`: results checked, times taken in turns, and how they are shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest

from fastrnn import _engine, benchmark, cli
from fastrnn.benchmark import (
    FASTRNN,
    PEERS,
    Case,
    Implementation,
    Machine,
    Prepared,
    Row,
    Shape,
    measure,
    probe,
    report,
)
from fastrnn.benchmark.measure import MIN_ROUNDS, TURN_SECONDS, measure_case
from fastrnn.benchmark.peers import STEP_FUNCTION, Reference, reorder_gates

SEQUENCE, STEP = Shape(3, 5, 2, 4), Shape(1, 1, 2, 4)
FAST = ["--shapes", "2,3,1,4", "1,4", "--seconds", "0"]
CASE = Case("lstm", "forward+backward", SEQUENCE)

ALL = [FASTRNN, STEP_FUNCTION, *PEERS.values()]

Change = Callable[[dict[str, np.ndarray]], None]


def small_cases(dtype: str) -> list[Case]:
    return benchmark.make_cases(shapes=[SEQUENCE], step_shapes=[STEP], dtype=dtype)


class Wrong(Reference):
    """The reference with its results changed."""

    name, title = "wrong", "Wrong"

    def __init__(self, change: Change) -> None:
        self.change = change

    def prepare(self, case: Case, threads: int) -> Prepared:
        prepared = super().prepare(case, threads)

        def results(raw: Any) -> dict[str, np.ndarray]:
            changed = {name: np.array(array) for name, array in prepared.results(raw).items()}
            self.change(changed)
            return changed

        return Prepared(prepared.run, results)


class Broken(Reference):
    """A peer whose library does not work."""

    name, title = "broken", "Broken"

    def prepare(self, case: Case, threads: int) -> Prepared:
        raise OSError("no such library\nand more lines")


def nudge(name: str) -> Change:
    """Change one element of one result by 1 % of the largest."""

    def change(results: dict[str, np.ndarray]) -> None:
        results[name].flat[-1] += 0.01 * np.abs(results[name]).max()

    return change


# ---- the numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("implementation", ALL, ids=lambda implementation: implementation.name)
def test_every_implementation_computes_the_same(implementation: Implementation, dtype: str) -> None:
    if not implementation.installed():
        pytest.skip(f"{implementation.name} is not installed")
    supported = [case for case in small_cases(dtype) if implementation.supports(case)]
    if implementation.dtypes == ("float32", "float64") and implementation.modes == benchmark.MODES:
        assert len(supported) == 3 * len(benchmark.CELLS)
    for case in supported:
        benchmark.checked_run(implementation, case, threads=1)


def test_results_that_are_compared() -> None:
    """Nothing is left out: states and every gradient."""
    modes = {mode: set(Case("lstm", mode, STEP if mode == "step" else SEQUENCE).expected()) for mode in benchmark.MODES}
    assert modes == {
        "forward": {"y", "h_n", "c_n"},
        "forward+backward": {"y", "dx", "dh0", "dc0", "dw_x", "dw_h", "db"},
        "step": {"h", "c"},
    }


def test_a_case_always_has_the_same_numbers() -> None:
    first, second = CASE.arguments(), CASE.arguments()
    assert list(first) == ["x", "h0", "c0", "w_x", "w_h", "b"]
    assert all(np.array_equal(first[name], second[name]) and first[name].dtype == np.float32 for name in first)
    assert all(array.all() for array in first.values())  # zeros would hide mistakes


@pytest.mark.parametrize("name", ["y", "dx", "dh0", "dc0", "dw_x", "dw_h", "db"])
def test_a_wrong_result_is_caught(name: str) -> None:
    row = measure_case(CASE, [FASTRNN, Wrong(nudge(name)), Reference()], threads=1, seconds=0)
    assert list(row.faults) == ["wrong"]
    assert row.faults["wrong"].startswith(f"wrong result: {name} is off by 1.0e-02")
    assert set(row.seconds) == {"fastrnn", "reference"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda results: results["dx"].fill(np.nan), "dx is off by nan"),
        (lambda results: results.pop("dh0"), "no dh0"),
        (lambda results: results.update(y=results["y"].astype(np.float64)), "y is float64, expected float32"),
        (lambda results: results.update(db=results["db"][None]), r"db has shape \(1, 16\), expected \(16,\)"),
    ],
)
def test_other_faults_are_caught(change: Change, message: str) -> None:
    with pytest.raises(ArithmeticError, match=message):
        benchmark.checked_run(Wrong(change), CASE, threads=1)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("mode", benchmark.MODES)
def test_gates_in_another_order_are_caught(cell: str, mode: str) -> None:
    """As a peer with its own order would compute them if nobody reordered its weights."""

    class OtherOrder(Case):
        def arguments(self) -> dict[str, np.ndarray]:
            order = (1, 0, 2, 3)[: 4 if cell == "lstm" else 3]
            return {
                name: reorder_gates(array, order) if name[0] in "wb" else array
                for name, array in super().arguments().items()
            }

    shape = STEP if mode == "step" else SEQUENCE
    with pytest.raises(ArithmeticError, match="off by"):
        benchmark.checked_run(Reference(), OtherOrder(cell, mode, shape), 1, Case(cell, mode, shape).expected())


@pytest.mark.parametrize("name", ["x", "w_x", "w_h", "b"])
@pytest.mark.parametrize("cell", benchmark.CELLS)
def test_the_check_of_steps_needs_every_argument(cell: str, name: str) -> None:
    """w_h too, though the first state is zero."""

    class Without(Case):
        def arguments(self) -> dict[str, np.ndarray]:
            arguments = super().arguments()
            return {**arguments, name: np.zeros_like(arguments[name])}

    with pytest.raises(ArithmeticError, match="h is off by"):
        benchmark.checked_run(FASTRNN, Without(cell, "step", STEP), 1, Case(cell, "step", STEP).expected())


@pytest.mark.parametrize("implementation", ALL, ids=lambda implementation: implementation.name)
def test_steps_go_on_from_the_state_before(implementation: Implementation) -> None:
    """In what is timed too: the call after the checked ones gives the state after one step more."""
    if not implementation.installed():
        pytest.skip(f"{implementation.name} is not installed")

    class Longer(Case):
        checked_calls = 5

    for cell in benchmark.CELLS:
        case, longer = Case(cell, "step", STEP), Longer(cell, "step", STEP)
        prepared = implementation.prepare(case, 1)
        raws = [prepared.run() for _ in range(5)]
        assert benchmark.fault(prepared.results(raws[-1]), longer.expected(), case.dtype) is None
        assert benchmark.fault(prepared.results(raws[-1]), case.expected(), case.dtype) is not None


CPU_TIMES = """
import sys, time
from fastrnn import benchmark

name, *modes = sys.argv[1:]
implementation = {"fastrnn": benchmark.FASTRNN, **benchmark.PEERS}[name]
for mode in modes:
    with benchmark.limited_threads(1):
        run = benchmark.checked_run(implementation, benchmark.Case("lstm", mode, benchmark.Shape(32, 10, 64, 128)), 1)
        before, start = time.process_time(), time.perf_counter()
        while time.perf_counter() < start + 0.3:
            run()
        print((time.process_time() - before) / (time.perf_counter() - start))
"""


@pytest.mark.parametrize("name", ["fastrnn", *PEERS])
def test_nobody_uses_more_threads(name: str) -> None:
    """A second takes no more than about a second of CPU time, where libraries would take every CPU if not told.

    On a busy machine two threads may take no more either: then this shows less, but does not fail.
    """
    implementation = {"fastrnn": FASTRNN, **PEERS}[name]
    if not implementation.installed():
        pytest.skip(f"{name} is not installed")
    if name == "reference":
        pytest.importorskip("threadpoolctl")  # without it the table says that NumPy's BLAS has not been limited
    every = ("forward", "forward+backward")
    modes = [mode for mode in every if implementation.supports(Case("lstm", mode, SEQUENCE))]
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", CPU_TIMES, name, *modes]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    used = list(map(float, done.stdout.split()))
    assert len(used) == len(modes) > 0
    assert all(0 < threads < 1.5 for threads in used)  # two busy threads: 2


def test_a_broken_peer_leaves_the_others_alone() -> None:
    row = measure_case(CASE, [FASTRNN, Broken()], threads=1, seconds=0)
    assert row.faults == {"broken": "OSError: no such library"}
    assert set(row.seconds) == {"fastrnn"}
    assert row.best_peer is None and row.ratio is None


def test_our_step_function_is_no_peer() -> None:
    row = Row(Case("rnn", "step", STEP), {"fastrnn": 1e-6, "fastrnn_function": 3e-6, "torch": 9e-6})
    assert (row.best_peer, row.ratio) == ("torch", pytest.approx(9))
    assert [case.mode for case in small_cases("float32") if STEP_FUNCTION.supports(case)] == ["step"] * 3


# ---- the clock -------------------------------------------------------------------------------------------------------


class Clock:
    """Time that passes only in the functions that are timed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.calls = 0.0, dict.fromkeys("abc", 0)
        monkeypatch.setattr(measure, "perf_counter", lambda: self.now)

    def takes(self, name: str, seconds: Callable[[int], float]) -> Callable[[], None]:
        def run() -> None:
            self.now += seconds(self.calls[name])
            self.calls[name] += 1

        return run


def test_medians_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    spikes = count()
    runs = {
        "a": clock.takes("a", lambda _: 0.01),
        "b": clock.takes("b", lambda _: 0.5 if next(spikes) == 3 else 0.02),  # an interruption, in one turn
    }
    seconds = benchmark.time_in_turns(runs, seconds=2.0)
    assert seconds == pytest.approx({"a": 0.01, "b": 0.02})
    assert clock.calls["a"] == clock.calls["b"]
    assert clock.now == pytest.approx(2.0, abs=0.1)


def test_short_calls_are_repeated_and_long_ones_are_not_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    runs = {"a": clock.takes("a", lambda _: TURN_SECONDS / 50), "b": clock.takes("b", lambda _: 3.0)}
    seconds = benchmark.time_in_turns(runs, seconds=0.0)
    assert seconds == pytest.approx({"a": TURN_SECONDS / 50, "b": 3.0})
    assert clock.calls["b"] == 1 + MIN_ROUNDS
    assert clock.calls["a"] == 1 + MIN_ROUNDS * 51


def test_nothing_to_time() -> None:
    assert benchmark.time_in_turns({}, seconds=1.0) == {}


# ---- the peak of the machine -----------------------------------------------------------------------------------------


def test_operations_and_bytes() -> None:
    """Counted by hand: an LSTM has 4 gates, of which each unit takes 2 products of 2 and 4 numbers."""
    multiply_adds = 3 * 5 * (4 * 4) * (2 + 4)
    assert Case("lstm", "forward", SEQUENCE).operations == 2 * multiply_adds
    assert Case("lstm", "forward+backward", SEQUENCE).operations == 3 * 2 * multiply_adds
    assert Case("gru", "step", Shape(1, 1, 2, 4), "float64").operations == 2 * (3 * 4) * (2 + 4)
    assert Case("gru", "step", Shape(1, 1, 2, 4), "float64").weight_bytes == 8 * (3 * 4) * (2 + 4)
    assert Case("rnn", "step", Shape(1, 1, 2, 4)).weight_bytes == 4 * 4 * (2 + 4)


def known_machine(threads: int, flops: float, rate: float, size: int) -> Machine:
    machine = Machine("float32", threads, {size: rate})
    machine.flops = flops  # as if it had been measured
    return machine


def test_floor() -> None:
    step = Case("lstm", "step", Shape(1, 1, 2, 4))  # 192 operations, 384 bytes
    assert known_machine(1, 1e3, 1e9, 384).floor(step) == pytest.approx(0.192)
    assert known_machine(1, 1e9, 1e3, 384).floor(step) == pytest.approx(0.384)
    assert known_machine(2, 1e3, 1e9, 384).floor(step) == pytest.approx(0.192)  # one thread
    forward = Case("lstm", "forward", SEQUENCE)  # 2880 operations
    assert known_machine(1, 1e3, 1.0, 384).floor(forward) == pytest.approx(2.88)
    assert known_machine(2, 1e3, 1.0, 384).floor(forward) == pytest.approx(1.44)


def test_probes_take_the_best_of_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 5 GFLOP/s that reads 2 GB/s, takes a microsecond for a call and is often disturbed."""
    now, calls = 0.0, count()

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds * (1 if next(calls) % 1000 < 200 else 3)

    def multiply_add(dtype: str, rounds: int) -> int:
        pass_time(rounds * 10 / 5e9)
        return rounds * 10

    monkeypatch.setattr(measure, "perf_counter", lambda: now)
    monkeypatch.setattr(probe, "multiply_add_probe", multiply_add)
    monkeypatch.setattr(probe, "read_probe", lambda values: pass_time(1e-6 + values.nbytes / 2e9))
    machine = Machine("float32", 2)
    assert machine.bandwidth(1_000_000) == pytest.approx(2e9)
    assert machine.bandwidth(1) == pytest.approx(2e9)  # too small to be timed: a little more is read
    assert machine.facts() == {
        "gflops": pytest.approx(10),
        "reads": [
            {"bytes": 1, "gigabytes_per_second": pytest.approx(2)},
            {"bytes": 1_000_000, "gigabytes_per_second": pytest.approx(2)},
        ],
    }


def test_reading_is_no_faster_than_adding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the clock has not seen the reading at all."""
    monkeypatch.setattr(probe, "shortest", lambda runs: [1e-6] * len(runs))
    machine = Machine("float32", 1)
    machine.flops = 6.0
    assert machine.bandwidth(100) == 3 * 4  # three additions of four bytes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_probes(dtype: str) -> None:
    machine = Machine(dtype, 1)
    assert 1e7 < machine.flops < 1e13
    assert 1e7 < machine.bandwidth(100_000) < 1e13


def test_share_of_peak() -> None:
    row = Row(CASE, {"fastrnn": 2e-3, "torch": 1e-3}, floor=1e-3)
    assert row.share == pytest.approx(0.5)
    assert Row(CASE, {"fastrnn": 2e-3}).share is None
    assert Row(CASE, {"torch": 2e-3}, floor=1e-3).share is None


# ---- the table -------------------------------------------------------------------------------------------------------

ROWS = [
    Row(CASE, {"fastrnn": 2e-3, "reference": 9e-3, "torch": 3e-3}, {"jax": "RuntimeError: no"}, floor=1e-3),
    Row(Case("rnn", "step", STEP), {"fastrnn": 4e-6, "fastrnn_function": 5e-6, "onnxruntime": 2e-6}, floor=1e-7),
    Row(Case("gru", "forward", SEQUENCE), {"reference": 1.5}, {"fastrnn": "wrong result: y is off"}, floor=1e-3),
    Row(Case("lstm", "step", STEP), {"fastrnn": 4e-6, "reference": 1e-5}),
]
FACTS = {
    "machine": "Linux x86_64",
    "cpu": "a processor",
    "cpus": 2,
    "instruction_set": "avx2",
    "threads": 1,
    "threads_limited": True,
    "dtype": "float32",
    "peak": {
        "gflops": 123.4,
        "reads": [
            {"bytes": 1680, "gigabytes_per_second": 200.4},
            {"bytes": 26_624, "gigabytes_per_second": 150.0},
            {"bytes": 8_388_608, "gigabytes_per_second": 25.0},
        ],
    },
    "python": "3.11.0",
    "versions": {"fastrnn": "0.1", "NumPy": "2.0"},
}
HEADER = [
    "a processor (2 CPUs usable, Linux x86_64)",
    "instruction set avx2, 1 thread, float32; peak 123 GFLOP/s, reading 200 GB/s of 1.7 kB, 25 GB/s of 8.4 MB",
    "fastrnn 0.1, NumPy 2.0, Python 3.11.0",
]
TABLES = {
    "forward": [
        ["cell", "B,T,I,H", "fastrnn", "NumPy", "ratio", "of peak"],
        ["gru", "3,5,2,4", "failed", "1.50 s", "-", "-"],
    ],
    "forward+backward": [
        ["cell", "B,T,I,H", "fastrnn", "NumPy", "PyTorch", "JAX", "ratio", "of peak"],
        ["lstm", "3,5,2,4", "2.00 ms", "9.00 ms", "3.00 ms", "failed", "1.50", "50 %"],
    ],
    "step": [
        ["cell", "B,I,H", "fastrnn", "fastrnn function", "NumPy", "ONNX Runtime", "ratio", "of peak"],
        ["rnn", "1,2,4", "4.00 µs", "5.00 µs", "-", "2.00 µs", "0.50", "2.5 %"],
        ["lstm", "1,2,4", "4.00 µs", "-", "10.0 µs", "-", "2.50", "-"],
    ],
}
COMPACT = [
    ["cell", "B,T,I,H", "fastrnn", "best peer", "ratio", "of peak"],
    ["gru", "3,5,2,4", "failed", "NumPy 1.50 s", "-", "-"],
    ["cell", "B,T,I,H", "fastrnn", "best peer", "ratio", "of peak"],
    ["lstm", "3,5,2,4", "2.00 ms", "PyTorch 3.00 ms", "1.50", "50 %"],
    ["cell", "B,I,H", "fastrnn", "best peer", "ratio", "of peak"],
    ["rnn", "1,2,4", "4.00 µs", "ONNX Runtime 2.00 µs", "0.50", "2.5 %"],
    ["lstm", "1,2,4", "4.00 µs", "NumPy 10.0 µs", "2.50", "-"],
]
SUMMARY = "fastrnn is ahead of every peer in 2 of 3 rows; smallest ratio 0.50: rnn step 1,2,4 against ONNX Runtime"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(2.34e-7, "0.23 µs"), (9.999e-6, "10.0 µs"), (9.99e-5, "99.9 µs"), (1.234e-4, "123 µs"), (1.0e-3, "1.00 ms"),
     (0.0567, "56.7 ms"), (0.99, "990 ms"), (12.3, "12.3 s")],
)  # fmt: skip
def test_duration(seconds: float, shown: str) -> None:
    assert report.duration(seconds) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(None, "-"), (0.0123, "1.2 %"), (0.0994, "9.9 %"), (0.0996, "10 %"), (0.876, "88 %"), (1.2, "120 %")],
)
def test_percent(share: float | None, shown: str) -> None:
    assert report.percent(share) == shown


def test_tables() -> None:
    """One for each mode, without columns for those who do not take part."""
    tables = {}
    for mode, rows in report.by_mode(ROWS).items():
        shown = report.taking_part(rows, ALL)
        tables[mode] = [report.columns(mode, shown), *(report.entries(row, shown) for row in rows)]
    assert tables == TABLES
    assert list(tables) == list(benchmark.MODES)


def test_summary() -> None:
    assert report.summary(ROWS) == SUMMARY
    assert report.summary([ROWS[2], Row(CASE, {"fastrnn": 1.0})]) is None
    assert report.summary([Row(CASE, {"fastrnn": 1.0, "torch": 1.0})]).startswith(  # type: ignore[union-attr]
        "fastrnn is ahead of every peer in 0 of 1 rows; smallest ratio 1.00"
    )


def test_faults_are_told() -> None:
    assert report.faults(ROWS) == [
        "JAX, lstm-forward+backward-3x5x2x4: RuntimeError: no",
        "fastrnn, gru-forward-3x5x2x4: wrong result: y is off",
    ]


def test_markdown() -> None:
    lines = report.markdown(ROWS, FACTS).splitlines()
    assert [line.rstrip() for line in lines[:3]] == HEADER
    assert all(line.endswith("  ") for line in lines[:2])  # line breaks in Markdown
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    ruler = ["---", "---", "---:", "---", "---:", "---:"]
    assert table.count(ruler) == 3 and table[1] == ruler
    assert [line for line in table if line != ruler] == COMPACT
    assert [line for line in lines if line.startswith("**")] == [f"**{report.CAPTIONS[m]}**" for m in benchmark.MODES]
    assert SUMMARY in lines


def test_threads_that_were_not_limited_are_told() -> None:
    line = report.header({**FACTS, "threads": 2, "threads_limited": False})[1]
    assert "2 threads (not for NumPy's BLAS: that needs threadpoolctl)" in line


def test_peak_without_steps() -> None:
    line = report.header({**FACTS, "peak": {"gflops": 9.6, "reads": []}})[1]
    assert line.endswith("float32; peak 10 GFLOP/s")


def test_plain_tables_without_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    report.show(ROWS, ALL, FACTS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == HEADER
    start = lines.index(report.CAPTIONS["step"]) + 2
    above, below, ruler, rnn, lstm = lines[start : start + 5]
    assert set(ruler) == {"-"} and len(ruler) == len(below)
    assert above.split() == ["fastrnn", "ONNX", "of"]
    assert below.split() == ["cell", "B,I,H", "fastrnn", "function", "NumPy", "Runtime", "ratio", "peak"]
    assert [len(line) for line in (above, rnn, lstm)] == [len(below)] * 3  # right-aligned
    assert rnn.index("5.00 µs") + len("5.00 µs") == below.index("function") + len("function")
    assert rnn.split("  ")[0] == "rnn" and below.index("B,I,H") == rnn.index("1,2,4")
    assert lines[start + 6 :] == [SUMMARY, "", *report.NOTES, report.STEP_NOTE]


def test_rich_tables(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    report.show(ROWS, ALL, FACTS)
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    for _, *rows in TABLES.values():
        for row in rows:
            assert " ".join(row).split() in lines
    assert SUMMARY in shown
    assert "\x1b" not in shown  # no colours into a file


def test_rich_tables_fit_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ninety columns, where every implementation takes part and numbers are as long as they get."""
    pytest.importorskip("rich")
    from rich.console import Console

    seconds = {implementation.name: 9.99e-4 for implementation in ALL}
    for mode, shape in [("forward", Shape(32, 100, 512, 512)), ("step", Shape(1, 1, 512, 512))]:
        rows = [Row(Case("lstm", mode, shape), seconds, floor=1e-4)] * 2
        table = report._rich_table(mode, rows, [i for i in ALL if mode in i.modes])
        assert Console().measure(table).minimum <= 90


# ---- the command -----------------------------------------------------------------------------------------------------


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--json", "--peers", "reference", *FAST]) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert result["environment"]["threads"] == 1
    assert set(result["environment"]["versions"]) == {"fastrnn", "NumPy"}
    peak = result["environment"]["peak"]
    assert [read["bytes"] for read in peak["reads"]] == [4 * gates * 4 * (1 + 4) for gates in (1, 3, 4)]
    rows = result["rows"]
    operations = 2 * 2 * 3 * (1 + 4) * 4 * 4
    (floor,) = (row["floor_ms"] for row in rows if (row["cell"], row["mode"]) == ("lstm", "forward"))
    assert floor == pytest.approx(1e3 * operations / (peak["gflops"] * 1e9))
    keys = ("cell", "mode", "batch", "time", "inputs", "hidden", "dtype")
    assert [tuple(row[key] for key in keys) for row in rows] == [
        (cell, mode, *((1, 1, 1, 4) if mode == "step" else (2, 3, 1, 4)), "float32")
        for cell in benchmark.CELLS
        for mode in benchmark.MODES
    ]
    for row in rows:
        functions = {"fastrnn_function"} if row["mode"] == "step" else set()
        assert set(row["seconds"]) == {"fastrnn", "reference"} | functions
        assert min(row["seconds"].values()) > 0
        assert row["best_peer"] == "reference"
        assert row["share_of_peak"] == pytest.approx(row["floor_ms"] / 1e3 / row["seconds"]["fastrnn"])
        assert row["ratio"] == pytest.approx(row["seconds"]["reference"] / row["seconds"]["fastrnn"])
        assert row["faults"] == {}


def test_a_fault_is_told_and_is_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = Wrong(nudge("y"))
    monkeypatch.setitem(PEERS, "wrong", wrong)
    monkeypatch.setitem(report.TITLES, "wrong", wrong.title)
    command = ["bench", "--json", "--cells", "gru", "--modes", "forward", "--peers", "wrong", "reference", *FAST]
    assert cli.main(command) == 1
    shown = capsys.readouterr()
    (row,) = json.loads(shown.out)["rows"]
    assert set(row["seconds"]) == {"fastrnn", "reference"}
    assert row["faults"]["wrong"].startswith("wrong result: y is off")
    assert "failed, not timed: Wrong, gru-forward-2x3x1x4: wrong result: y is off" in shown.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cells", "lstm", "lsmt"], "--cells: expected 'rnn', 'lstm', 'gru', got 'lsmt'"),
        (["--modes", "backward"], "--modes: expected 'forward', 'forward+backward', 'step', got 'backward'"),
        (["--shapes", "1,2,3"], "--shapes: expected B,T,I,H or I,H, got '1,2,3'"),
        (["--shapes", "1,2,x,4"], "--shapes: expected an integer >= 1, got 'x'"),
        (["--shapes", "1,0,3,4"], "--shapes: expected an integer >= 1, got '0'"),
        (["--shapes", "1,20", "--modes", "forward"], "--shapes: expected B,T,I,H for sequences or I,H for steps"),
        (["--dtype", "float16"], "--dtype: expected 'float32', 'float64', got 'float16'"),
        (["--threads", "0"], "--threads: expected an integer >= 1, got '0'"),
        (["--threads", "two"], "--threads: expected an integer >= 1, got 'two'"),
        (["--peers", "keras"], "--peers: expected 'reference', 'torch', 'onnxruntime', 'jax', got 'keras'"),
        (["--isa", "mmx"], "--isa: expected 'baseline'"),
        (["--seconds", "-1"], "--seconds: expected a number >= 0, got '-1'"),
        (["--seconds", "nan"], "--seconds: expected a number >= 0, got 'nan'"),
        (["--json", "--markdown"], "not allowed with argument --json"),
        (["--slow"], "unrecognized arguments: --slow"),
    ],
)
def test_bad_options(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", *options]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.startswith("fastrnn") and shown.err.count("\n") == 1


def test_a_peer_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("fastrnn.benchmark.peers.find_spec", lambda package: None)
    assert cli.main(["bench", "--peers", "onnxruntime"]) == 2
    assert capsys.readouterr().err == "fastrnn bench: --peers: onnxruntime needs onnxruntime and onnx installed\n"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Case, list[str], float]]:
    """What a command would measure: case, implementations, seconds."""
    asked = []

    def note(case: Case, implementations: list[Implementation], threads: int, seconds: float) -> Row:
        asked.append((case, [implementation.name for implementation in implementations], seconds))
        return Row(case)

    monkeypatch.setattr(benchmark, "measure_case", note)
    return asked


def test_all_cases_by_default(measured: list[tuple[Case, list[str], float]]) -> None:
    assert cli.main(["bench"]) == 0
    assert len(measured) == 3 * (2 * 6 + 4)
    assert {case.dtype for case, _, _ in measured} == {"float32"}
    installed = ["fastrnn", "fastrnn_function", *(name for name, peer in PEERS.items() if peer.installed())]
    assert all(names == installed for _, names, _ in measured)


def test_quick_is_a_part_of_all(measured: list[tuple[Case, list[str], float]]) -> None:
    assert cli.main(["bench", "--quick"]) == 0
    cases = [case for case, _, _ in measured]
    assert {(case.cell, case.mode) for case in cases} == {
        (cell, mode) for cell in benchmark.CELLS for mode in benchmark.MODES
    }
    assert set(cases) < set(benchmark.make_cases())
    assert len(cases) * max(seconds for _, _, seconds in measured) < 10


def test_selection(measured: list[tuple[Case, list[str], float]]) -> None:
    command = ["--cells", "gru", "--modes", "step", "--dtype", "float64", "--peers", "reference", "--seconds", "7"]
    assert cli.main(["bench", *command]) == 0
    assert {(case.cell, case.mode, case.dtype) for case, _, _ in measured} == {("gru", "step", "float64")}
    assert all(
        (names, seconds) == (["fastrnn", "fastrnn_function", "reference"], 7.0) for _, names, seconds in measured
    )


@pytest.mark.parametrize("name", _engine.instruction_sets())
def test_instruction_set(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In use while the bench runs, and not after it."""
    before, used = _engine.instruction_set(), []

    def note(case: Case, *others: Any) -> Row:
        used.append(_engine.instruction_set())
        return Row(case)

    monkeypatch.setattr(benchmark, "measure_case", note)
    assert cli.main(["bench", "--quick", "--json", "--isa", name]) == 0
    assert set(used) == {name}
    assert json.loads(capsys.readouterr().out)["environment"]["instruction_set"] == name
    assert _engine.instruction_set() == before
