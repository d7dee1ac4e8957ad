"""What the scripts of this directory share: the series, how a network is trained and judged, the table.

Each script is a section of the chapter "Processing Sequences Using RNNs and CNNs" of A. Géron's *Hands-On Machine
Learning*.  It names its networks and calls `run`, which trains each of them from several seeds and prints the
validation errors beside the published ones.

Every error is a mean squared error over the 2000 validation series, at the last time step of the input: of the one
value that follows it, or of the ten.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

import fastrnn
from fastrnn import datasets
from fastrnn.layers import Layer
from fastrnn.training import Adam, Sequential
from fastrnn.training.callbacks import wants_progress

FIRST_SEED = 42  # the chapter's
BATCH, EPOCHS = 32, 20
SERIES, TRAIN, VALIDATION = 10_000, 7_000, 2_000  # the last 1000 are the test set, which the chapter never looks at
STEPS, AHEAD = 50, 10


# ---- the series ------------------------------------------------------------------------------------------------------


class Task(NamedTuple):
    """Inputs x (N, 50, 1), and targets y: (N, 1), (N, 10) or, for every time step, (N, T', 10)."""

    x: np.ndarray
    y: np.ndarray

    @property
    def train(self) -> Task:
        """The first 7000 series."""
        return Task(self.x[:TRAIN], self.y[:TRAIN])

    @property
    def validation(self) -> Task:
        """The 2000 series behind them."""
        return Task(self.x[TRAIN : TRAIN + VALIDATION], self.y[TRAIN : TRAIN + VALIDATION])


@cache
def one_step() -> Task:
    """50 values, and the one that follows."""
    series = datasets.wave_series(SERIES, STEPS + 1)
    return Task(series[:, :STEPS], series[:, STEPS])


@cache
def ten_steps() -> Task:
    """50 values, and the ten that follow."""
    series = datasets.wave_series(SERIES, STEPS + AHEAD)
    return Task(series[:, :STEPS], series[:, STEPS:, 0])


@cache
def ten_steps_everywhere() -> Task:
    """50 values, and for each of them the ten that follow it: more errors to learn from."""
    series = datasets.wave_series(SERIES, STEPS + AHEAD)
    windows = np.lib.stride_tricks.sliding_window_view(series[:, 1:, 0], AHEAD, axis=1)  # (N, 50, 10)
    return Task(series[:, :STEPS], np.ascontiguousarray(windows))


# ---- what is compared ------------------------------------------------------------------------------------------------


def last_forecast(model: Sequential, x: np.ndarray) -> np.ndarray:
    """What the model says at the last time step, (N, K)."""
    y = model.predict(x)
    return y[:, -1] if y.ndim == 3 else y


@dataclass(frozen=True)
class Network:
    """A network of a table.

    Attributes
    ----------
    name : str
    layers : callable
        Makes its layers.
    task : callable
        Gives what it is trained on.
    published : str
        The chapter's validation error.
    spread : tuple of float, optional
        Lowest and highest error that is published of repeated trainings.
    keras : tuple of float, optional
        Lowest, median and highest error of eight or more trainings by Keras 3.15 (`keras_runs.py`).
    learning_rate : float
        Of Adam.
    chapter_layers : callable, optional
        Makes the chapter's own layers, where `layers` starts from other weights.
    forecast : callable
        From the trained model and x to a forecast (N, K).
    """

    name: str
    layers: Callable[[], list[Layer]]
    task: Callable[[], Task]
    published: str
    spread: tuple[float, float] | None = None
    keras: tuple[float, float, float] | None = None
    learning_rate: float = 1e-3
    chapter_layers: Callable[[], list[Layer]] | None = None
    forecast: Callable[[Sequential, np.ndarray], np.ndarray] = last_forecast

    def model(self, seed: int) -> Sequential:
        """The network before its training, which keeps an average of the weights."""
        return self._compiled(self.layers(), seed)

    def trained(self, seed: int, epochs: int = EPOCHS) -> Sequential:
        """The network after its training, with the averaged weights."""
        return self._fitted(self.model(seed), epochs)

    def as_in_the_chapter(self, model: Sequential, seed: int, epochs: int = EPOCHS) -> Sequential:
        """The same with the chapter's first weights and the last weights of the training, not averaged."""
        if self.chapter_layers is not None:
            model = self._fitted(self._compiled(self.chapter_layers(), seed), epochs)
        assert model.optimizer is not None
        model.optimizer.exchange_averages(model.params)
        return model

    def _compiled(self, layers: list[Layer], seed: int) -> Sequential:
        model = Sequential(layers, input_size=(STEPS, 1), seed=seed)
        model.compile(Adam(self.learning_rate, use_ema=True), loss="mse")
        return model

    def _fitted(self, model: Sequential, epochs: int) -> Sequential:
        data = self.task().train
        model.fit(data.x, data.y, epochs=epochs, batch_size=BATCH, verbose=0)
        return model


@dataclass(frozen=True)
class Baseline:
    """A forecast without a network: from the task to a forecast (N, K) for its validation series."""

    name: str
    forecast: Callable[[Task], np.ndarray]
    published: str
    spread: None = None
    keras: None = None


def last_value(task: Task) -> np.ndarray:
    """It stays as it is."""
    x, y = task.validation
    return np.repeat(x[:, -1], y.shape[1], axis=1)


def least_squares(task: Task) -> np.ndarray:
    """The best weighted sum of the 50 values and a constant, from the normal equations and not by gradient descent."""

    def design(x: np.ndarray) -> np.ndarray:
        return np.hstack([x[:, :, 0], np.ones((len(x), 1))])  # (N, 51), float64

    weights = np.linalg.lstsq(design(task.train.x), task.train.y, rcond=None)[0]
    return design(task.validation.x) @ weights


BASELINES = {
    one_step: [Baseline("last value", last_value, "0.0202"), Baseline("least squares", least_squares, "0.00293")],
    ten_steps: [Baseline("last value", last_value, "0.2570"), Baseline("least squares", least_squares, "0.01549")],
}


@dataclass(frozen=True)
class Section:
    """A section of the chapter, which is a table.

    Attributes
    ----------
    name : str
        Its script, without ``.py``.
    title : str
    task : callable
        `one_step` or `ten_steps`: what the forecasts are judged by.
    networks : list of Network
    """

    name: str
    title: str
    task: Callable[[], Task]
    networks: list[Network]

    @property
    def rows(self) -> list[Baseline | Network]:
        """The two baselines come first in every table: a network that does not beat them is not worth its cost."""
        return [*BASELINES[self.task], *self.networks]


# ---- measuring -------------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """One training: where, by whom (fastrnn or torch), its seconds, the error, and that by the chapter's own recipe.

    Of a baseline and of PyTorch both errors are the same.
    """

    section: str
    row: int
    seed: int
    by: str
    seconds: float
    error: float
    chapter_error: float


class Job(NamedTuple):
    """A run before it is made."""

    section: str
    row: int
    seed: int
    by: str
    epochs: int


def mean_squared_error(forecast: np.ndarray, y: np.ndarray) -> float:
    """Summed in float64."""
    return float(np.mean(np.square(forecast - y, dtype=np.float64)))


def perform(job: Job, section: Section | None = None) -> Run:
    """Train and judge, on one thread."""
    section = importlib.import_module(job.section).SECTION if section is None else section
    fastrnn.set_num_threads(1)
    task, row = section.task(), section.rows[job.row]
    start = perf_counter()
    if isinstance(row, Baseline):
        forecast = row.forecast(task)
        seconds = perf_counter() - start
    elif job.by == "torch":
        import peers

        forecast, seconds = peers.trained_forecast(row, job.seed, job.epochs, task.validation.x)
    else:
        row.task()  # the series are made before the clock runs
        start = perf_counter()
        model = row.trained(job.seed, job.epochs)
        seconds = perf_counter() - start
        forecast = row.forecast(model, task.validation.x)
        plain = row.forecast(row.as_in_the_chapter(model, job.seed, job.epochs), task.validation.x)
        errors = [mean_squared_error(values, task.validation.y) for values in (forecast, plain)]
        return Run(*job[:4], seconds, *errors)
    error = mean_squared_error(forecast, task.validation.y)
    return Run(*job[:4], seconds, error, error)


def planned(sections: Iterable[Section], seeds: int, epochs: int, with_torch: bool) -> list[Job]:
    """Every run that the tables need: a baseline once, a network from each seed, its peer from the first."""
    jobs = []
    for section in sections:
        for i, row in enumerate(section.rows):
            trials = seeds if isinstance(row, Network) else 1
            jobs += [Job(section.name, i, FIRST_SEED + k, "fastrnn", epochs) for k in range(trials)]
            if with_torch and isinstance(row, Network):
                jobs.append(Job(section.name, i, FIRST_SEED, "torch", epochs))
    return jobs


def performed(jobs: Sequence[Job], sections: Sequence[Section], workers: int) -> Iterator[Run]:
    """The runs as they are done, by so many processes of one thread each; 0: by this one."""
    if workers == 0:
        by_name = {section.name: section for section in sections}
        yield from (perform(job, by_name[job.section]) for job in jobs)
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the processes that start now
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        try:
            yield from (done.result() for done in as_completed([pool.submit(perform, job) for job in jobs]))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


# ---- showing ---------------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """A row of a table with its results."""

    row: Baseline | Network
    epochs: int
    errors: list[float] = field(default_factory=list)
    chapter_errors: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    torch: Run | None = None

    @property
    def digits(self) -> int:
        """Decimals of the published figure."""
        return len(self.row.published.partition(".")[2])

    @property
    def verdict(self) -> str:
        """Where our median lies: "better" than what is published, "inside" it, "worse"; "" of a shorter training."""
        if isinstance(self.row, Network) and self.epochs < EPOCHS:
            return ""
        low, high = self.row.spread or (float(self.row.published),) * 2
        ours = round(median(self.errors), self.digits)
        if ours == low == high:
            return "the same"
        return "worse" if ours > high else "better" if ours < low else "inside"

    def cells(self, with_torch: bool) -> list[str]:
        """What the table shows."""
        trained = isinstance(self.row, Network)
        cells = [
            self.row.name,
            self.row.published,
            "{} to {}".format(*self.row.spread) if self.row.spread else "",
            "{1:.4f} ({0:.4f} to {2:.4f})".format(*self.row.keras) if self.row.keras else "",
            self._shown(self.chapter_errors) if trained else "",
            self._shown(self.errors),
            self.verdict if trained or self.verdict == "the same" else "another",
            f"{median(self.seconds):.1f} s" if trained else "",
        ]
        if with_torch:
            cells += [f"{self.torch.error:.{self.digits}f}", f"{self.torch.seconds:.1f} s"] if self.torch else ["", ""]
        return cells

    def _shown(self, errors: Sequence[float]) -> str:
        """Median and range."""
        middle, low, high = (f"{value:.{self.digits}f}" for value in (median(errors), min(errors), max(errors)))
        return f"{middle} ({low} to {high})" if len(errors) > 1 else middle

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        facts: dict[str, Any] = {
            "name": self.row.name,
            "published": float(self.row.published),
            "published_range": self.row.spread,
            "keras": self.row.keras,
            "median": median(self.errors),
            "errors": self.errors,
            "median_as_in_the_chapter": median(self.chapter_errors),
            "errors_as_in_the_chapter": self.chapter_errors,
            "verdict": self.verdict,
            "seconds": self.seconds,
        }
        if self.torch is not None:
            facts["torch"] = {"error": self.torch.error, "seconds": self.torch.seconds}
        return facts


HEADINGS = ["", "published", "its range", "Keras, measured", "last weights", "averaged weights", "", "training"]
TORCH_HEADINGS = ["PyTorch", "training"]


def gathered(sections: Sequence[Section], runs: Iterable[Run], epochs: int) -> dict[str, list[Line]]:
    """The lines of each section's table."""
    tables = {section.name: [Line(row, epochs) for row in section.rows] for section in sections}
    for run in sorted(runs):
        line = tables[run.section][run.row]
        if run.by == "torch":
            line.torch = run
        else:
            line.errors.append(run.error)
            line.chapter_errors.append(run.chapter_error)
            line.seconds.append(run.seconds)
    return tables


def markdown(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that reads well as it is, and is Markdown."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for cells in (headings, rule, *rows):
        padded = [cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]
        lines.append(f"| {' | '.join(padded)} |")
    return "\n".join([title, "", *lines, ""])


def fitting(headings: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """The columns that fit side by side into so many characters: those that tell least give way first."""
    widths = [max(map(len, column)) + 2 for column in zip(headings, *rows, strict=True)]
    kept = list(range(len(headings)))
    for heading in ("Keras, measured", "its range", "last weights"):
        if sum(widths[i] for i in kept) > room and heading in headings:
            kept.remove(list(headings).index(heading))
    return kept


def show(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], plain: bool = False) -> None:
    """Print a table, with rich if it is installed."""
    if plain or find_spec("rich") is None:
        print(markdown(title, headings, rows), flush=True)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console() if sys.stdout.isatty() else Console(width=1000)
    kept = fitting(headings, rows, console.width - 2)
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for i in kept:
        table.add_column(headings[i], justify="right" if i else "left", no_wrap=i > 0)
    for cells in rows:
        table.add_row(*(cells[i] for i in kept), style="bold red" if "worse" in cells else None)
    console.print(table)
    if len(kept) < len(headings):
        left_out = [heading for i, heading in enumerate(headings) if i not in kept]
        console.print(f"no room for: {'; '.join(left_out)} (a wider terminal, or --plain, shows them)", style="dim")


def machine() -> dict[str, Any]:
    """What the times depend on."""
    versions = {"fastrnn": fastrnn.__version__, "numpy": np.__version__, "python": platform.python_version()}
    if "torch" in sys.modules:
        versions["torch"] = str(sys.modules["torch"].__version__)
    return {"machine": f"{platform.system()} {platform.machine()}", "cpus": os.cpu_count(), **versions}


# ---- the command -----------------------------------------------------------------------------------------------------


def positive(text: str) -> int:
    """A count."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, got {text!r}")
    return value


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every script has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seeds", type=positive, default=5, metavar="N", help="trainings of each network")
    parser.add_argument("--quick", action="store_true", help="one training of one epoch, to see how it goes")
    parser.add_argument("--peers", action="store_true", help="train each network by PyTorch, too, if it is installed")
    parser.add_argument(
        "--jobs", type=positive, metavar="N", default=fastrnn.get_num_threads(), help="trainings at a time"
    )
    parser.add_argument("--plain", action="store_true", help="tables in Markdown")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def run(*sections: Section, arguments: argparse.Namespace | None = None) -> dict[str, list[Line]]:
    """Train, judge and print the tables of sections, as the command line says; in a notebook from one seed."""
    if arguments is None:
        in_notebook = "ipykernel" in sys.modules
        arguments = make_parser(sections[0].title).parse_args(["--seeds", "1"] if in_notebook else None)
        if in_notebook:
            arguments.jobs = 0
    seeds, epochs = (1, 1) if arguments.quick else (arguments.seeds, EPOCHS)
    with_torch = arguments.peers and find_spec("torch") is not None
    if arguments.peers and not with_torch:
        print("PyTorch is not installed: its columns are left out", file=sys.stderr)
    jobs = planned(sections, seeds, epochs, with_torch)
    start = perf_counter()
    silent = arguments.json or not wants_progress("auto")
    watched = tqdm(performed(jobs, sections, arguments.jobs), total=len(jobs), unit="training", disable=silent)
    tables = gathered(sections, watched, epochs)
    seconds = perf_counter() - start
    if arguments.json:
        facts = [
            {"name": s.name, "title": s.title, "rows": [line.as_dict() for line in tables[s.name]]} for s in sections
        ]
        options = {"seeds": seeds, "epochs": epochs, "jobs": arguments.jobs}
        print(json.dumps({**options, "seconds": seconds, **machine(), "sections": facts}))
        return tables
    headings = HEADINGS + (TORCH_HEADINGS if with_torch else [])
    for section in sections:
        rows = [line.cells(with_torch) for line in tables[section.name]]
        show(section.title, headings, rows, arguments.plain)
    often = "once" if seeds == 1 else f"from {seeds} seeds (median)"
    length = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    print(f"each network trained {often} for {length} on one thread; all in {seconds:.0f} s")
    if epochs < EPOCHS:
        print("so few updates that their average still lags behind the last weights: see docs/chapter.md for 20 epochs")
    return tables
