"""How it is shown: a table for terminals, in Markdown, or everything as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import _engine
from .measure import Row
from .peers import FASTRNN, PEERS, Implementation

TITLES = {FASTRNN.name: FASTRNN.title, **{name: peer.title for name, peer in PEERS.items()}}
CLOSE = 0.05  # ratios so near to 1 are no difference
NOTE = "Median times of one call, implementations in turns. ratio: best peer / fastrnn, above 1 fastrnn is faster."


def environment(implementations: Iterable[Implementation], threads: int, dtype: str) -> dict[str, Any]:
    """What the numbers depend on."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cpus": usable,
        "instruction_set": _engine.instruction_set(),
        "threads": threads,
        "threads_limited": find_spec("threadpoolctl") is not None,
        "dtype": dtype,
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
        f"{facts['cpu']} ({facts['cpus']} CPUs usable, {facts['machine']}), "
        f"instruction set {facts['instruction_set']}, {threads}, {facts['dtype']}",
        f"{versions}, Python {facts['python']}",
    ]


def duration(seconds: float) -> str:
    """Seconds with three digits and a unit that suits them."""
    factor, unit = (1e6, "µs") if seconds < 1e-3 else (1e3, "ms") if seconds < 1 else (1, "s")
    value = seconds * factor
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


def columns(implementations: Iterable[Implementation]) -> list[str]:
    """The titles of the table's columns."""
    titles = [implementation.title for implementation in implementations]
    return ["cell", "mode", "B,T,I,H", *titles, "best peer", "ratio"]


def entries(row: Row, implementations: Iterable[Implementation]) -> list[str]:
    """A row of the table as text; what cannot be computed is "-", what failed is "failed"."""
    names = [implementation.name for implementation in implementations]
    missing = {name: "failed" if name in row.faults else "-" for name in names}
    times = [duration(row.seconds[name]) if name in row.seconds else missing[name] for name in names]
    best = "-" if row.best_peer is None else TITLES[row.best_peer]
    ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
    return [row.case.cell, row.case.mode, str(row.case.shape), *times, best, ratio]


def faults(rows: Iterable[Row]) -> list[str]:
    """One line for everything that failed."""
    return [f"{TITLES[name]}, {row.case}: {text}" for row in rows for name, text in row.faults.items()]


def markdown(rows: Iterable[Row], implementations: Sequence[Implementation], facts: dict[str, Any]) -> str:
    """The table to paste into documents."""
    titles = columns(implementations)
    lines = [*header(facts), "", NOTE, "", _markdown_line(titles)]
    lines.append(_markdown_line(["---"] * 3 + ["---:"] * len(implementations) + ["---", "---:"]))
    lines += [_markdown_line(entries(row, implementations)) for row in rows]
    return "\n".join(lines)


def _markdown_line(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def as_json(rows: Iterable[Row], facts: dict[str, Any]) -> dict[str, Any]:
    """The environment and every row, times in seconds."""
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
                "faults": row.faults,
            }
            for row in rows
        ],
    }


def text(rows: Iterable[Row], implementations: Sequence[Implementation], facts: dict[str, Any]) -> str:
    """The table in plain text."""
    table = [columns(implementations), *(entries(row, implementations) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    times = range(3, 3 + len(implementations))
    lines = [
        "  ".join(
            entry.rjust(width) if column in times or column == len(widths) - 1 else entry.ljust(width)
            for column, (entry, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    return "\n".join([*header(facts), "", lines[0], "-" * len(lines[0]), *lines[1:], "", NOTE])


def show(rows: Sequence[Row], implementations: Sequence[Implementation], facts: dict[str, Any]) -> None:
    """Print the table, with rich if it is there."""
    if find_spec("rich") is None:
        print(text(rows, implementations, facts))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # what goes into a file is not wrapped
    table = Table(caption=NOTE, caption_justify="left")
    for title in columns(implementations):
        is_text = title in ("cell", "mode", "B,T,I,H", "best peer")
        table.add_column(title, justify="left" if is_text else "right", no_wrap=is_text)
    for previous, row in zip([None, *rows], rows, strict=False):
        if previous is not None and (previous.case.cell, previous.case.mode) != (row.case.cell, row.case.mode):
            table.add_section()
        *texts, ratio = entries(row, implementations)
        table.add_row(*texts, f"[{_colour(row.ratio)}]{ratio}")
    console.print(*header(facts), sep="\n", markup=False)
    console.print(table)


def _colour(ratio: float | None) -> str:
    if ratio is None:
        return "default"
    return "red" if ratio < 1 - CLOSE else "green" if ratio > 1 + CLOSE else "yellow"
