"""fastrnn beside the libraries that people would use instead, on the machine it runs on.

`cases` says what is computed, `peers` by whom, `measure` how it is timed, `probe` what the machine can do at most,
`report` how it is shown; ``fastrnn bench`` and ``benches/`` both use them.  Every result is checked against the
reference in float64 before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from .. import _engine
from . import report
from .cases import (
    CELLS,
    DTYPES,
    MODES,
    QUICK_SHAPES,
    QUICK_STEP_SHAPES,
    SEQUENCE_SHAPES,
    STEP_SHAPES,
    Case,
    Shape,
    fault,
    make_cases,
)
from .measure import Row, checked_run, limited_threads, measure_case, time_in_turns
from .peers import FASTRNN, PEERS, STEP_FUNCTION, Implementation, Prepared, installed_peers
from .probe import Machine

__all__ = [
    "CELLS",
    "FASTRNN",
    "MODES",
    "PEERS",
    "Case",
    "Implementation",
    "Machine",
    "Prepared",
    "Row",
    "Shape",
    "add_arguments",
    "checked_run",
    "fault",
    "installed_peers",
    "limited_threads",
    "make_cases",
    "measure_case",
    "run",
    "time_in_turns",
]

SECONDS, QUICK_SECONDS = 2.0, 0.2  # for timing one row


class Options(NamedTuple):
    """The command line, checked."""

    cases: list[Case]
    peers: list[Implementation]
    threads: int
    seconds: float
    dtype: str
    instruction_set: str

    @property
    def implementations(self) -> list[Implementation]:
        """All that are timed, in the order of the table."""
        return [FASTRNN, STEP_FUNCTION, *self.peers]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fastrnn bench``; they are checked by `run`.

    Examples
    --------
    >>> import argparse
    >>> from fastrnn import benchmark
    >>> parser = argparse.ArgumentParser()
    >>> benchmark.add_arguments(parser)
    >>> parser.parse_args(["--cells", "lstm", "gru", "--quick"]).cells
    ['lstm', 'gru']
    """
    parser.add_argument("--quick", action="store_true", help="fewer shapes and shorter runs")
    parser.add_argument("--cells", nargs="+", metavar="CELL", help=f"from {', '.join(CELLS)} (default: all)")
    parser.add_argument("--modes", nargs="+", metavar="MODE", help=f"from {', '.join(MODES)} (default: all)")
    parser.add_argument(
        "--shapes", nargs="+", metavar="SIZES", help="B,T,I,H of sequences and I,H of single steps, as 32,50,64,128"
    )
    parser.add_argument("--dtype", default="float32", help=f"one of {', '.join(DTYPES)} (default: %(default)s)")
    parser.add_argument("--threads", default="1", metavar="N", help="threads of everyone (default: %(default)s)")
    parser.add_argument(
        "--peers", nargs="+", metavar="PEER", help=f"from {', '.join(PEERS)} (default: those that are installed)"
    )
    parser.add_argument(
        "--isa",
        metavar="NAME",
        help=f"instruction set of fastrnn, from {', '.join(_engine.instruction_sets())} (default: the one in use)",
    )
    parser.add_argument(
        "--seconds", metavar="S", help=f"time for every row (default: {SECONDS:g}, with --quick {QUICK_SECONDS:g})"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object, times in seconds unless named _ms")
    output.add_argument("--markdown", action="store_true", help="print compact tables in Markdown, one for each mode")


def run(args: argparse.Namespace) -> int:
    """Do what ``fastrnn bench`` was asked for.

    Returns
    -------
    int
        The exit status: 0, 1 if an implementation failed or computed something else, 2 for bad options.
    """
    try:
        options = _checked(args)
    except ValueError as error:
        print(f"fastrnn bench: {error}", file=sys.stderr)
        return 2
    with _instruction_set(options.instruction_set):
        machine = Machine(options.dtype, options.threads)
        rows = _rows(options, machine)
        facts = report.environment([FASTRNN, *options.peers], machine)
    if args.json:
        print(json.dumps(report.as_json(rows, facts), ensure_ascii=False, allow_nan=False))
    elif args.markdown:
        print(report.markdown(rows, facts))
    else:
        report.show(rows, options.implementations, facts)
    failed = report.faults(rows)
    for line in failed:
        print(f"fastrnn bench: failed, not timed: {line}", file=sys.stderr)
    return 1 if failed else 0


@contextmanager
def _instruction_set(name: str) -> Iterator[None]:
    """Let fastrnn use an instruction set for a while."""
    before = _engine.instruction_set()
    _engine.use_instruction_set(name)
    try:
        yield
    finally:
        _engine.use_instruction_set(before)


def _rows(options: Options, machine: Machine) -> list[Row]:
    """Every case measured, with a progress bar on a terminal."""
    from tqdm import tqdm

    rows = []
    with limited_threads(options.threads), tqdm(options.cases, unit="row", disable=None, leave=False) as progress:
        for case in progress:
            progress.set_description(str(case))
            row = measure_case(case, options.implementations, options.threads, options.seconds)
            row.floor = machine.floor(case)
            rows.append(row)
    return rows


# ---- the command line, checked ---------------------------------------------------------------------------------------


def _checked(args: argparse.Namespace) -> Options:
    """The options as they are used; ``ValueError`` names the option, what was expected and what came."""
    (dtype,) = _names("--dtype", [args.dtype], DTYPES)
    shapes: tuple[Shape, ...]
    step_shapes: tuple[Shape, ...]
    shapes, step_shapes = (QUICK_SHAPES, QUICK_STEP_SHAPES) if args.quick else (SEQUENCE_SHAPES, STEP_SHAPES)
    if args.shapes is not None:
        given = [_shape(text) for text in args.shapes]
        shapes = tuple(Shape(*sizes) for sizes in given if len(sizes) == 4)
        step_shapes = tuple(Shape(1, 1, *sizes) for sizes in given if len(sizes) == 2)
    selected = make_cases(
        _names("--cells", args.cells, CELLS), _names("--modes", args.modes, MODES), shapes, step_shapes, dtype
    )
    if not selected:
        raise ValueError("--shapes: expected B,T,I,H for sequences or I,H for steps, got none for these --modes")
    peers = installed_peers() if args.peers is None else _peers(args.peers)
    seconds = (QUICK_SECONDS if args.quick else SECONDS) if args.seconds is None else _seconds(args.seconds)
    threads = _count("--threads", args.threads)
    isa = _engine.instruction_set() if args.isa is None else args.isa
    (isa,) = _names("--isa", [isa], _engine.instruction_sets())
    return Options(selected, peers, threads, seconds, dtype, isa)


def _names(option: str, values: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Known names without repetition, in the order given; None is all of them."""
    for value in values or ():
        if value not in known:
            raise ValueError(f"{option}: expected {', '.join(map(repr, known))}, got {value!r}")
    return list(dict.fromkeys(known if values is None else values))


def _peers(names: Sequence[str]) -> list[Implementation]:
    """The peers named, which have to be installed."""
    peers = [PEERS[name] for name in _names("--peers", names, tuple(PEERS))]
    for peer in peers:
        if not peer.installed():
            raise ValueError(f"--peers: {peer.name} needs {' and '.join(peer.packages)} installed")
    return peers


def _count(option: str, text: str) -> int:
    """An integer >= 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{option}: expected an integer >= 1, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    """A finite number of seconds, not negative."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"--seconds: expected a number >= 0, got {text!r}")
    return seconds


def _shape(text: str) -> tuple[int, ...]:
    """B,T,I,H or I,H."""
    sizes = text.split(",")
    if len(sizes) not in (2, 4):
        raise ValueError(f"--shapes: expected B,T,I,H or I,H, got {text!r}")
    return tuple(_count("--shapes", size.strip()) for size in sizes)
