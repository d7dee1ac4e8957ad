"""`fastrnn bench`: results checked, times taken in turns, and how they are shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest

from fastrnn import benchmark, cli
from fastrnn.benchmark import FASTRNN, PEERS, Case, Implementation, Prepared, Row, Shape, measure, report
from fastrnn.benchmark.measure import MIN_ROUNDS, TURN_SECONDS, measure_case
from fastrnn.benchmark.peers import Reference, reorder_gates

SEQUENCE, STEP = Shape(3, 5, 2, 4), Shape(1, 1, 2, 4)
FAST = ["--shapes", "2,3,1,4", "1,4", "--seconds", "0"]
CASE = Case("lstm", "forward+backward", SEQUENCE)

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
@pytest.mark.parametrize("implementation", [FASTRNN, *PEERS.values()], ids=lambda implementation: implementation.name)
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


def test_a_broken_peer_leaves_the_others_alone() -> None:
    row = measure_case(CASE, [FASTRNN, Broken()], threads=1, seconds=0)
    assert row.faults == {"broken": "OSError: no such library"}
    assert set(row.seconds) == {"fastrnn"}
    assert row.best_peer is None and row.ratio is None


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


# ---- the table -------------------------------------------------------------------------------------------------------

IMPLEMENTATIONS = [FASTRNN, *PEERS.values()]
ROWS = [
    Row(CASE, {"fastrnn": 2e-3, "reference": 9e-3, "torch": 3e-3}, {"jax": "RuntimeError: no"}),
    Row(Case("rnn", "step", STEP), {"fastrnn": 4e-6, "onnxruntime": 2e-6}),
    Row(Case("gru", "forward", SEQUENCE), {"reference": 1.5}, {"fastrnn": "wrong result: y is off"}),
]
FACTS = {
    "machine": "Linux x86_64",
    "cpu": "a processor",
    "cpus": 2,
    "instruction_set": "avx2",
    "threads": 1,
    "threads_limited": True,
    "dtype": "float32",
    "python": "3.11.0",
    "versions": {"fastrnn": "0.1", "NumPy": "2.0"},
}
ENTRIES = [
    ["lstm", "forward+backward", "3,5,2,4", "2.00 ms", "9.00 ms", "3.00 ms", "-", "failed", "PyTorch", "1.50"],
    ["rnn", "step", "1,1,2,4", "4.00 µs", "-", "-", "2.00 µs", "-", "ONNX Runtime", "0.50"],
    ["gru", "forward", "3,5,2,4", "failed", "1.50 s", "-", "-", "-", "NumPy", "-"],
]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(2.34e-7, "0.23 µs"), (9.999e-6, "10.0 µs"), (9.99e-5, "99.9 µs"), (1.234e-4, "123 µs"), (1.0e-3, "1.00 ms"),
     (0.0567, "56.7 ms"), (0.99, "990 ms"), (12.3, "12.3 s")],
)  # fmt: skip
def test_duration(seconds: float, shown: str) -> None:
    assert report.duration(seconds) == shown


def test_entries() -> None:
    assert [report.entries(row, IMPLEMENTATIONS) for row in ROWS] == ENTRIES


def test_faults_are_told() -> None:
    assert report.faults(ROWS) == [
        "JAX, lstm-forward+backward-3x5x2x4: RuntimeError: no",
        "fastrnn, gru-forward-3x5x2x4: wrong result: y is off",
    ]


def test_markdown() -> None:
    lines = report.markdown(ROWS, IMPLEMENTATIONS, FACTS).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {11}
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert cells[0] == report.columns(IMPLEMENTATIONS)
    assert cells[1] == ["---"] * 3 + ["---:"] * 5 + ["---", "---:"]
    assert cells[2:] == ENTRIES
    assert lines[0] == "a processor (2 CPUs usable, Linux x86_64), instruction set avx2, 1 thread, float32"
    assert lines[1] == "fastrnn 0.1, NumPy 2.0, Python 3.11.0"


def test_threads_that_were_not_limited_are_told() -> None:
    line = report.header({**FACTS, "threads": 2, "threads_limited": False})[0]
    assert "2 threads (not for NumPy's BLAS: that needs threadpoolctl)" in line


def test_plain_table_without_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    report.show(ROWS, IMPLEMENTATIONS, FACTS)
    lines = capsys.readouterr().out.splitlines()
    table = lines[lines.index("") + 1 :]
    assert "ratio: best peer / fastrnn" in table[-1]
    titles, ruler, *rows = table[:5]
    assert set(ruler) == {"-"}
    assert [row.split("  ")[0].strip() for row in rows] == ["lstm", "rnn", "gru"]
    assert titles.index("PyTorch") + len("PyTorch") == rows[0].index("3.00 ms") + len("3.00 ms")  # right-aligned
    assert titles.index("best peer") == rows[1].index("ONNX Runtime")


def test_rich_table(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    report.show(ROWS, IMPLEMENTATIONS, FACTS)
    shown = capsys.readouterr().out
    for entry in {entry for line in ENTRIES for entry in line}:
        assert entry in shown
    assert "\x1b" not in shown  # no colours into a file


# ---- the command -----------------------------------------------------------------------------------------------------


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--json", "--peers", "reference", *FAST]) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert result["environment"]["threads"] == 1
    assert set(result["environment"]["versions"]) == {"fastrnn", "NumPy"}
    rows = result["rows"]
    keys = ("cell", "mode", "batch", "time", "inputs", "hidden", "dtype")
    assert [tuple(row[key] for key in keys) for row in rows] == [
        (cell, mode, *((1, 1, 1, 4) if mode == "step" else (2, 3, 1, 4)), "float32")
        for cell in benchmark.CELLS
        for mode in benchmark.MODES
    ]
    for row in rows:
        assert set(row["seconds"]) == {"fastrnn", "reference"}
        assert min(row["seconds"].values()) > 0
        assert row["best_peer"] == "reference"
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
    installed = ["fastrnn", *(name for name, peer in PEERS.items() if peer.installed())]
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
    assert all((names, seconds) == (["fastrnn", "reference"], 7.0) for _, names, seconds in measured)
