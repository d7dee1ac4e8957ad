"""What `fastrnn forecast` says and writes: words, tables, JSON, CSV files."""

from __future__ import annotations

import csv
import json
import os
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .backtest import Backtest
from .calendar import even_times, written_time
from .estimator import ONLY
from .forecaster import Forecaster
from .reading import Series
from .windows import Split

__all__ = [
    "Outcome",
    "Table",
    "as_json",
    "coverage_lines",
    "error_table",
    "reading_lines",
    "season_words",
    "series_table",
    "show",
    "step_table",
    "verdict",
    "write_forecast",
    "write_test",
]

NETWORK = "network"
MOST_SERIES = 20  # in the table of series; all are in the JSON
LABEL = 20  # characters of a table's first column that stay on one line in a narrow terminal
LONG_UNIT = 12  # characters; a longer unit stands below the table and not above its columns


@dataclass
class Outcome:
    """One run of `fastrnn forecast`.

    Attributes
    ----------
    panel : dict of str to Series
        One series has the empty string for its name.
    splits : dict of str to Split
    backtest : Backtest
        Of ``"last_value"``, ``"seasonal_naive"``, ``"linear"``, ``"network"`` and whatever else was compared.
    labels : dict of str to str
        The same names in words.
    future : dict of str to dict of str to (horizon,) array
        Forecasts of what follows each series.
    quantiles : dict of str to (horizon, Q) array
        The network's quantiles of the same; empty without intervals.
    unit : str
        Of the target.
    seconds : float
        From reading to the last forecast.
    files : dict of str to str
        Written so far.
    """

    panel: dict[str, Series]
    splits: dict[str, Split]
    backtest: Backtest
    labels: dict[str, str]
    future: dict[str, dict[str, np.ndarray]]
    quantiles: dict[str, np.ndarray]
    unit: str
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)

    @property
    def series(self) -> Series:
        """The (first) series."""
        return next(iter(self.panel.values()))

    @property
    def split(self) -> Split:
        """The split of the (first) series."""
        return next(iter(self.splits.values()))

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return self.backtest.truth.shape[1]

    @property
    def best_baseline(self) -> str:
        """The baseline with the least mean absolute error."""
        return self.backtest.best(name for name in self.labels if name != NETWORK)

    @property
    def ends(self) -> list[tuple[str, float]]:
        """The network's quantiles but for the median, as columns of a file are called, and their levels."""
        network = self.backtest.fitted[NETWORK]
        levels = network.quantiles_ if isinstance(network, Forecaster) else ()
        return [(f"{NETWORK}_{level:g}", level) for level in levels if level != 0.5]

    def moments(self, name: str | None = None) -> np.ndarray:
        """The moments of all rows and of the `horizon` steps after them; row numbers if there are no times."""
        series = self.series if name is None else self.panel[name]
        if series.time is None or series.step is None:
            return np.arange(len(series) + self.horizon)
        return even_times(series.time, series.step, self.horizon)


@dataclass(frozen=True)
class Table:
    """A table before it is drawn.

    Attributes
    ----------
    title, caption : str
    columns : sequence of str
        Headings; the first column is words, the others are numbers.
    rows : sequence of sequences of str
    bold : int or None
        The row to stand out.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    bold: int | None = None

    def widths(self) -> list[int]:
        """The characters of each column's longest line."""
        cells = ([column, *(row[i] for row in self.rows)] for i, column in enumerate(self.columns))
        return [max(len(line) for cell in column for line in cell.split("\n")) for column in cells]

    def parts(self, room: int, gap: int) -> list[Table]:
        """The table, cut between columns where those behind the first take more than `room` characters.

        A column takes `gap` beside its own.  Each part has the first column; the first part has the title, the last the
        caption.
        """
        groups: list[list[int]] = [[0]]
        taken = 0
        for i, column in enumerate(self.widths()[1:], 1):
            if len(groups[-1]) > 1 and taken + gap + column > room:
                groups.append([0])
                taken = 0
            groups[-1].append(i)
            taken += gap + column
        return [
            replace(
                self,
                title=self.title if group is groups[0] else "",
                columns=[self.columns[i] for i in group],
                rows=[[row[i] for i in group] for row in self.rows],
                caption=self.caption if group is groups[-1] else "",
            )
            for group in groups
        ]

    def plain(self) -> str:
        """The table as lines of text."""
        widths = self.widths()
        heads = [column.split("\n") for column in self.columns]
        tallest = max(map(len, heads))
        above = [*zip(*([""] * (tallest - len(head)) + head for head in heads), strict=True)]  # they end in one line
        lines = [
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in [*above, *self.rows]
        ]
        lines.insert(tallest, "-" * max(map(len, lines)))
        return "\n".join(line.rstrip() for line in [self.title, *lines, self.caption] if line)

    def rich(self) -> Any:
        """The table for a rich console, without its title, the best row in bold."""
        from rich.markup import escape  # names of columns come from the file, and may hold brackets
        from rich.table import Table as RichTable

        table = RichTable(caption=escape(self.caption) or None, caption_justify="left")
        for i, (column, width) in enumerate(zip(self.columns, self.widths(), strict=True)):
            justify: Any = "right" if i else "left"
            least = width if i else min(width, LABEL)
            table.add_column(escape(column), justify=justify, min_width=least, no_wrap=i > 0)
        for i, row in enumerate(self.rows):
            table.add_row(*map(escape, row), style="bold" if i == self.bold else None)
        return table


def show(tables: Sequence[Table]) -> None:
    """Print tables, cut to the width of the terminal (80 without one): with rich if it is installed, else plain."""
    try:
        from rich.console import Console
    except ImportError:
        width = shutil.get_terminal_size().columns
        for table in tables:
            for part in table.parts(width - table.widths()[0], gap=2):
                print(f"\n{part.plain()}")
        return
    console = Console(highlight=False)
    for table in tables:
        console.print(f"\n{table.title}", style="italic", markup=False, soft_wrap=True)  # a narrow table would break it
        label = min(table.widths()[0], LABEL)
        for part in table.parts(console.width - label - len("|  |"), gap=len("  |")):
            console.print(part.rich())


def step_word(series: Series, count: int = 1) -> str:
    """The time step as a unit to count in: hour, day, ..., or step."""
    words = str(series.step).split() if series.step is not None else []
    word = words[1] if len(words) == 2 and words[0] == "1" else "step"
    return word if count == 1 else f"{word}s"


def season_words(series: Series) -> str:
    """What the seasonal naive forecast says, for example "same hour last week"."""
    step, season = step_word(series), series.season
    known = {
        ("hour", 168): "same hour last week",
        ("hour", 24): "same hour yesterday",
        ("day", 7): "same day last week",
        ("week", 52): "same week last year",
        ("month", 12): "same month last year",
    }
    return known.get((step, season), f"value {season} {step_word(series, season)} before")


def reading_lines(panel: Mapping[str, Series], splits: Mapping[str, Split]) -> Iterator[str]:
    """What was read, what was missing, how it is split."""
    name, series = next(iter(panel.items()))
    columns = series.values.shape[1]
    others = "no other column" if columns == 1 else _count(columns - 1, "other column")
    if series.planned_columns:
        others += f", planned ahead: {', '.join(series.planned_columns)}"
    yield f"read {series.source}"
    when = "without times" if series.step is None else f"in steps of {series.step}"
    if name == ONLY:
        moments = np.arange(len(series)) if series.time is None else series.time
        texts = written_time(moments)
        between = "" if series.step is None else f", {texts[0]} to {texts[-1]}"
        yield f"{len(series)} rows {when}{between}; target {series.target!r} and {others}"
    else:
        rows = [len(each) for each in panel.values()]
        yield (
            f"{len(panel)} series of {min(rows)} to {max(rows)} rows {when}; target {series.target!r} and {others}; "
            "one network for all"
        )
    for each in panel.values():
        yield from each.notes
    yield _parts(name, series, splits[name])


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _parts(name: str, series: Series, split: Split) -> str:
    """Where training, validation and test lie."""
    test, validation = split.stop - split.test, split.test - split.validation
    if name != ONLY:
        return f"validation on the {validation} {step_word(series, 2)} before the last {test} of each, test on those"
    texts = written_time(np.arange(len(series)) if series.time is None else series.time)
    return (
        f"training on {split.validation} {step_word(series, split.validation)}, "
        f"validation on the {validation} from {texts[split.validation]}, "
        f"test on the last {test} from {texts[split.test]}"
    )


def error_table(outcome: Outcome) -> Table:
    """The errors of all forecasters, and over several steps ahead those of the last forecast alone too."""
    test, horizon, unit = outcome.backtest, outcome.horizon, outcome.unit
    ahead = f"{'next' if horizon == 1 else f'next {horizon}'} {step_word(outcome.series, horizon)}"
    origins = "" if horizon == 1 else f" from {_count(len(test.origins), 'origin')}"
    above = "" if len(unit) > LONG_UNIT else f"\n{unit}"
    columns = ["forecast", f"MAE{above}", f"RMSE{above}", "against the\nbest baseline"]
    rolling = horizon > 1 and len(test.origins) > max(1, len(test.series_names))
    if rolling:
        columns.append(f"MAE, last\n{horizon} {step_word(outcome.series, horizon)}")
    best, reference = test.best(), test.mae(outcome.best_baseline)
    rows = []
    for name, label in outcome.labels.items():
        change = test.mae(name) / reference - 1 if reference > 0 else float("nan")
        against = "" if name == outcome.best_baseline or not np.isfinite(change) else f"{change:+.0%}"
        row = [label, _short(test.mae(name), 4), _short(test.rmse(name), 4), against]
        if rolling:
            last = test.last_origin()
            row.append(_short(last.mae(name), 4) if last.counted else "")
        rows.append(row)
    return Table(
        title=f"{outcome.series.target}: {ahead}, {test.counted} forecasts{origins} of the last "
        f"{outcome.split.stop - outcome.split.test} {step_word(outcome.series, 2)}",
        columns=columns,
        rows=rows,
        caption="MAE: mean absolute error, RMSE: root mean squared error" + ("" if above else f", in {unit}"),
        bold=list(outcome.labels).index(best),
    )


def step_table(outcome: Outcome) -> Table:
    """The mean absolute error by steps ahead: all of them up to 8, else some from the first to the last."""
    horizon, test = outcome.horizon, outcome.backtest
    steps = np.unique(np.round(np.geomspace(1, horizon, min(8, horizon))).astype(int))
    rows = []
    for name, label in outcome.labels.items():
        errors = test.mae_by_step(name)[steps - 1]
        rows.append([label, *("" if np.isnan(error) else _short(error, 3) for error in errors)])
    return Table(
        title=f"mean absolute error by {step_word(outcome.series, 2)} ahead, {outcome.unit}",
        columns=["forecast", *map(str, steps)],
        rows=rows,
        bold=list(outcome.labels).index(test.best()),
    )


def series_table(outcome: Outcome) -> Table:
    """The mean absolute error of all forecasters on each series, and on all together."""
    names = outcome.backtest.series_names
    rows = []
    for series in names[:MOST_SERIES]:
        test = outcome.backtest.of_series(series)
        errors = (_short(test.mae(name), 4) if test.counted else "" for name in outcome.labels)
        rows.append([series, *errors])
    rows.append(["all", *(_short(outcome.backtest.mae(name), 4) for name in outcome.labels)])
    left = len(names) - MOST_SERIES
    return Table(
        title=f"mean absolute error by series, {outcome.unit}",
        columns=["series", *(textwrap.fill(label, 12, break_long_words=False) for label in outcome.labels.values())],
        rows=rows,
        caption=f"and {left} more series: --json has them all" if left > 0 else "",
        bold=len(rows) - 1,
    )


def _short(value: float, digits: int) -> str:
    """A number with so many digits, trailing zeros among them, and no trailing point."""
    return f"{value:#.{digits}g}".removesuffix(".")


def coverage_lines(outcome: Outcome) -> Iterator[str]:
    """How often each interval held the truth of the test part."""
    for coverage in outcome.backtest.coverage(NETWORK):
        yield (
            f"{coverage.nominal:.0%} interval: held {coverage.actual:.1%} of the true values (nominal "
            f"{coverage.nominal:.0%}), mean width {coverage.width:.4g} {outcome.unit}"
        )


def verdict(outcome: Outcome) -> str:
    """One sentence: did the network earn its keep?"""
    test, baseline = outcome.backtest, outcome.best_baseline
    mine, theirs = test.mae(NETWORK), test.mae(baseline)
    if mine < theirs:
        return f"The network's error is {1 - mine / theirs:.0%} below the best baseline's ({outcome.labels[baseline]})."
    return (
        f"The network does not beat the best baseline ({outcome.labels[baseline]}): use that one, or try more --units, "
        "a longer --window or more --epochs."
    )


def as_json(outcome: Outcome) -> str:
    """The outcome as one JSON object."""
    test = outcome.backtest
    moments = written_time(outcome.moments())
    alone = set(outcome.panel) == {ONLY}
    future = outcome.future[NETWORK]
    figures: dict[str, Any] = {
        "target": outcome.series.target,
        "unit": outcome.unit,
        "horizon": outcome.horizon,
        "test": {
            "n": test.counted,
            "rows": outcome.split.stop - outcome.split.test,
            "from": moments[outcome.split.test],
            "to": moments[outcome.split.stop - 1],
        },
        "mae": {name: test.mae(name) for name in outcome.labels},
        "rmse": {name: test.rmse(name) for name in outcome.labels},
        "forecast": _listed(future[ONLY]) if alone else {name: _listed(said) for name, said in future.items()},
        "notes": [note for series in outcome.panel.values() for note in series.notes],
        "seconds": round(outcome.seconds, 2),
        "files": outcome.files,
    }
    if outcome.horizon > 1:
        figures["mae_by_step"] = {name: _listed(test.mae_by_step(name)) for name in outcome.labels}
        last = test.last_origin()
        figures["mae_last_origin"] = {name: last.mae(name) for name in outcome.labels} if last.counted else None
    if outcome.ends:
        figures["coverage"] = [
            {"nominal": c.nominal, "actual": c.actual, "width": c.width, "by_step": _listed(c.by_step)}
            for c in test.coverage(NETWORK)
        ]
        quantiles = outcome.quantiles
        figures["quantiles"] = {
            f"{level:g}": _listed(_level(outcome, quantiles[ONLY], level))
            if alone
            else {name: _listed(_level(outcome, said, level)) for name, said in quantiles.items()}
            for _, level in outcome.ends
        }
    if not alone:
        parts = {name: test.of_series(name) for name in test.series_names}
        figures["series"] = {
            name: {"n": part.counted, "mae": {each: part.mae(each) for each in outcome.labels}}
            for name, part in parts.items()
            if part.counted
        }
    return json.dumps(figures, allow_nan=False)


def _listed(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _level(outcome: Outcome, quantiles: np.ndarray, level: float) -> np.ndarray:
    """One quantile of the network from all of them, which stand in the last axis."""
    network = outcome.backtest.fitted[NETWORK]
    assert isinstance(network, Forecaster)
    return quantiles[..., network.quantiles_.index(level)]


def write_forecast(outcome: Outcome, path: str) -> None:
    """One line for each step after the end of each series: time, what each forecaster says, ends of the intervals."""

    def rows() -> Iterator[list[Any]]:
        for series in outcome.panel:
            moments = written_time(outcome.moments(series))[-outcome.horizon :]
            said = [outcome.future[name][series] for name in outcome.labels]
            said += [_level(outcome, outcome.quantiles[series], level) for _, level in outcome.ends]
            yield from ([*_shown(series), moment, *row] for moment, *row in zip(moments, *said, strict=True))

    _write_csv(path, [*_series_column(outcome), _time_name(outcome), *outcome.labels, *dict(outcome.ends)], rows())


def write_test(outcome: Outcome, path: str) -> None:
    """One line for each forecast of the test part; the truth is empty where the series had a gap."""
    test, horizon = outcome.backtest, outcome.horizon
    moments = {series: written_time(outcome.moments(series)) for series in outcome.panel}
    forecasts = [test.forecasts[name] for name in outcome.labels]
    forecasts += [_level(outcome, test.quantiles[NETWORK], level) for _, level in outcome.ends]

    def rows() -> Iterator[list[Any]]:
        for row, (series, origin) in enumerate(zip(test.series.tolist(), test.origins.tolist(), strict=True)):
            when = moments[series]
            for ahead in range(horizon):
                truth = test.truth[row, ahead] if np.isfinite(test.truth[row, ahead]) else ""
                said = [forecast[row, ahead] for forecast in forecasts]
                yield [*_shown(series), when[origin], ahead + 1, when[origin + 1 + ahead], truth, *said]

    time = _time_name(outcome)
    columns = [f"last_known_{time}", "steps_ahead", time, "truth", *outcome.labels, *dict(outcome.ends)]
    _write_csv(path, [*_series_column(outcome), *columns], rows())


def _shown(series: str) -> list[str]:
    """The cell that names a series, if there are several."""
    return [] if series == ONLY else [series]


def _series_column(outcome: Outcome) -> list[str]:
    return [] if set(outcome.panel) == {ONLY} else ["series"]


def _time_name(outcome: Outcome) -> str:
    return "row" if outcome.series.time is None else "time"


def _write_csv(path: str, header: list[str], rows: Any) -> None:
    """A CSV file, written beside its place and moved there when it is whole."""
    draft = f"{path}.part"
    with open(draft, "w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    os.replace(draft, path)
