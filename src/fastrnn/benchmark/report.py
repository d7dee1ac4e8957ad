"""How it is shown: tables for terminals, in Markdown, or everything as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any

from .. import _engine
from .cases import MODES, Case
from .measure import Row
from .peers import FASTRNN, PEERS, STEP_FUNCTION, Implementation
from .probe import Machine

TITLES = {peer.name: peer.title for peer in (FASTRNN, STEP_FUNCTION, *PEERS.values())}
CAPTIONS = {
    "forward": "forward: a whole sequence, inference",
    "forward+backward": "forward+backward: a whole sequence, and the gradients of x, initial states and weights",
    "step": "step: one of many in a loop, called from Python",
}
CLOSE = 0.05  # ratios so near to 1 are no difference
NOTES = [
    "Median times of one call, implementations in turns.",
    "ratio: time of the best peer / time of fastrnn, above 1 fastrnn is faster.",
    "of peak: time at the machine's measured peak / time of fastrnn.",
]
STEP_NOTE = f"fastrnn steps with its weights packed once; {STEP_FUNCTION.title} is <cell>_step_forward."


def environment(implementations: Iterable[Implementation], machine: Machine) -> dict[str, Any]:
    """What the numbers depend on."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cpus": usable,
        "instruction_set": _engine.instruction_set(),
        "threads": machine.threads,
        "threads_limited": find_spec("threadpoolctl") is not None,
        "dtype": machine.dtype,
        "peak": machine.facts(),
        "python": platform.python_version(),
        "versions": {implementation.title: implementation.version() for implementation in implementations},
    }


def _cpu_model() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")


def header(facts: dict[str, Any]) -> list[str]:
    """The environment in lines of text."""
    versions = ", ".join(f"{title} {version}" for title, version in facts["versions"].items())
    threads = "1 thread" if facts["threads"] == 1 else f"{facts['threads']} threads"
    if not facts["threads_limited"]:
        threads += " (not for NumPy's BLAS: that needs threadpoolctl)"
    return [
        f"{facts['cpu']} ({facts['cpus']} CPUs usable, {facts['machine']})",
        f"instruction set {facts['instruction_set']}, {threads}, {facts['dtype']}; {_peak(facts['peak'])}",
        f"{versions}, Python {facts['python']}",
    ]


def _peak(peak: dict[str, Any]) -> str:
    """The peak of the machine; of the bandwidths those of the smallest and of the largest weights."""
    reads = [f"{read['gigabytes_per_second']:.0f} GB/s of {_kilobytes(read['bytes'])}" for read in peak["reads"]]
    shown = ", ".join(dict.fromkeys(reads[:1] + reads[-1:]))
    return f"peak {peak['gflops']:.0f} GFLOP/s" + (f", reading {shown}" if shown else "")


def _kilobytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def duration(seconds: float) -> str:
    """Seconds with three digits and a unit that suits them."""
    factor, unit = (1e6, "µs") if seconds < 1e-3 else (1e3, "ms") if seconds < 1 else (1, "s")
    value = seconds * factor
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


def percent(share: float | None) -> str:
    """A share with two digits."""
    return "-" if share is None else f"{100 * share:.{0 if share >= 0.0995 else 1}f} %"


def by_mode(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each mode: they make a table."""
    groups: dict[str, list[Row]] = {mode: [] for mode in MODES}
    for row in rows:
        groups[row.case.mode].append(row)
    return {mode: group for mode, group in groups.items() if group}


def taking_part(rows: Sequence[Row], implementations: Iterable[Implementation]) -> list[Implementation]:
    """Those that have computed one of the rows, or have failed to: the others need no column."""
    return [
        implementation
        for implementation in implementations
        if any(implementation.name in row.seconds or implementation.name in row.faults for row in rows)
    ]


def sizes_title(mode: str) -> str:
    """What `sizes` shows."""
    return "B,I,H" if mode == "step" else "B,T,I,H"


def sizes(case: Case) -> str:
    """The shape of a case; a step has no T."""
    batch, _, inputs, hidden = case.shape
    return f"{batch},{inputs},{hidden}" if case.mode == "step" else str(case.shape)


def columns(mode: str, implementations: Iterable[Implementation]) -> list[str]:
    """The titles of a table's columns."""
    titles = [implementation.title for implementation in implementations]
    return ["cell", sizes_title(mode), *titles, "ratio", "of peak"]


def entries(row: Row, implementations: Iterable[Implementation]) -> list[str]:
    """A row of a table as text; what cannot be computed is "-", what failed is "failed"."""
    times = [_time(row, implementation.name) for implementation in implementations]
    return [row.case.cell, sizes(row.case), *times, _ratio(row), percent(row.share)]


def _time(row: Row, name: str) -> str:
    return duration(row.seconds[name]) if name in row.seconds else "failed" if name in row.faults else "-"


def _ratio(row: Row) -> str:
    return "-" if row.ratio is None else f"{row.ratio:.2f}"


def summary(rows: Iterable[Row]) -> str | None:
    """In how many rows fastrnn is ahead of every peer, and where the ratio is smallest; None without peers."""
    compared = [(row.ratio, row) for row in rows if row.ratio is not None]
    if not compared:
        return None
    ahead = sum(ratio > 1 for ratio, _ in compared)
    ratio, row = min(compared, key=lambda pair: pair[0])
    return (
        f"fastrnn is ahead of every peer in {ahead} of {len(compared)} rows; smallest ratio {ratio:.2f}: "
        f"{row.case.cell} {row.case.mode} {sizes(row.case)} against {TITLES[row.best_peer or '']}"
    )


def closing(rows: Sequence[Row]) -> list[str]:
    """What stands under the tables: the summary, and how to read them."""
    line = summary(rows)
    steps = [STEP_NOTE] if taking_part(rows, [STEP_FUNCTION]) else []
    return [*([line, ""] if line else []), *NOTES, *steps]


def faults(rows: Iterable[Row]) -> list[str]:
    """One line for everything that failed."""
    return [f"{TITLES[name]}, {row.case}: {text}" for row in rows for name, text in row.faults.items()]


def markdown(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    """Tables to paste into documents, with the best peer alone."""
    lines = ["  \n".join(header(facts))]  # two spaces: lines stay lines
    for mode, group in by_mode(rows).items():
        lines += ["", f"**{CAPTIONS[mode]}**", ""]
        lines.append(_markdown_line(["cell", sizes_title(mode), FASTRNN.title, "best peer", "ratio", "of peak"]))
        lines.append(_markdown_line(["---", "---", "---:", "---", "---:", "---:"]))
        lines += [_markdown_line(_compact(row)) for row in group]
    line = summary(rows)
    return "\n".join([*lines, "", *([line, ""] if line else []), " ".join(NOTES)])


def _compact(row: Row) -> list[str]:
    """A row with the best peer alone."""
    best = "-" if row.best_peer is None else f"{TITLES[row.best_peer]} {_time(row, row.best_peer)}"
    return [row.case.cell, sizes(row.case), _time(row, FASTRNN.name), best, _ratio(row), percent(row.share)]


def _markdown_line(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def as_json(rows: Iterable[Row], facts: dict[str, Any]) -> dict[str, Any]:
    """The environment and every row, times in seconds but for ``floor_ms``."""
    return {
        "environment": facts,
        "rows": [
            {
                "cell": row.case.cell,
                "mode": row.case.mode,
                **row.case.shape._asdict(),
                "dtype": row.case.dtype,
                "seconds": row.seconds,
                "best_peer": row.best_peer,
                "ratio": row.ratio,
                "floor_ms": None if row.floor is None else row.floor * 1e3,
                "share_of_peak": row.share,
                "faults": row.faults,
            }
            for row in rows
        ],
    }


def text(rows: Sequence[Row], implementations: Sequence[Implementation], facts: dict[str, Any]) -> str:
    """The tables in plain text."""
    lines = header(facts)
    for mode, group in by_mode(rows).items():
        shown = taking_part(group, implementations)
        titles = zip(*(_two_lines(title) for title in columns(mode, shown)), strict=True)
        table = [*titles, *(entries(row, shown) for row in group)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        above, below, *body = (_aligned(line, widths) for line in table)
        lines += ["", CAPTIONS[mode], "", *([above] if above else []), below, "-" * len(below), *body]
    return "\n".join([*lines, "", *closing(rows)])


def _two_lines(title: str) -> tuple[str, str]:
    """A column's title as it stands above a narrow column: the last word below the others."""
    above, _, below = title.rpartition(" ")
    return above, below


def _aligned(texts: Iterable[str], widths: Iterable[int]) -> str:
    """A line of a table: cell and sizes to the left, numbers to the right."""
    cells = zip(texts, widths, strict=True)
    return "  ".join(t.ljust(width) if i < 2 else t.rjust(width) for i, (t, width) in enumerate(cells)).rstrip()


def show(rows: Sequence[Row], implementations: Sequence[Implementation], facts: dict[str, Any]) -> None:
    """Print the tables, with rich if it is there."""
    if find_spec("rich") is None:
        print(text(rows, implementations, facts))
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # what goes into a file is not wrapped
    console.print(*header(facts), sep="\n", markup=False)
    for mode, group in by_mode(rows).items():
        console.print("", f"[bold]{CAPTIONS[mode]}[/]", "", sep="\n")
        console.print(_rich_table(mode, group, taking_part(group, implementations)))
    console.print("", *closing(rows), sep="\n", markup=False)


def _rich_table(mode: str, rows: Sequence[Row], implementations: Sequence[Implementation]) -> Any:
    """A table in which ratios have colours and the best peer's time is bold."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for i, title in enumerate(columns(mode, implementations)):
        table.add_column("\n".join(filter(None, _two_lines(title))), justify="left" if i < 2 else "right", no_wrap=True)
    names = [implementation.name for implementation in implementations]
    for row, following in zip_longest(rows, rows[1:]):
        cell, shape, *times, ratio, peak = entries(row, implementations)
        times = [f"[bold]{t}[/]" if name == row.best_peer else t for name, t in zip(names, times, strict=True)]
        ends = following is not None and following.case.cell != row.case.cell
        table.add_row(cell, shape, *times, f"[{_colour(row.ratio)}]{ratio}[/]", peak, end_section=ends)
    return table


def _colour(ratio: float | None) -> str:
    if ratio is None:
        return "default"
    return "red" if ratio < 1 - CLOSE else "green" if ratio > 1 + CLOSE else "yellow"
