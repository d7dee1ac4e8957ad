"""What `fastrnn forecast` says and writes: words, table, JSON, CSV files."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .backtest import Backtest
from .calendar import even_times, written_time
from .reading import Series
from .windows import Split

__all__ = [
    "Outcome",
    "as_json",
    "error_table",
    "reading_lines",
    "season_words",
    "verdict",
    "write_forecast",
    "write_test",
]

NETWORK = "network"


@dataclass
class Outcome:
    """One run of `fastrnn forecast`.

    Attributes
    ----------
    series : Series
    split : Split
    backtest : Backtest
        Of ``"last_value"``, ``"seasonal_naive"``, ``"linear"`` and ``"network"``.
    labels : dict of str to str
        The same names in words.
    future : dict of str to (horizon,) array
        Forecasts of what follows the series.
    unit : str
        Of the target.
    seconds : float
        From reading to the last forecast.
    files : dict of str to str
        Written so far.
    """

    series: Series
    split: Split
    backtest: Backtest
    labels: dict[str, str]
    future: dict[str, np.ndarray]
    unit: str
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return self.backtest.truth.shape[1]

    @property
    def best_baseline(self) -> str:
        """The baseline with the least mean absolute error."""
        return self.backtest.best(name for name in self.labels if name != NETWORK)

    @property
    def moments(self) -> np.ndarray:
        """The moments of all rows and of the `horizon` steps after them; row numbers if there are no times."""
        if self.series.time is None or self.series.step is None:
            return np.arange(len(self.series) + self.horizon)
        return even_times(self.series.time, self.series.step, self.horizon)


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


def reading_lines(series: Series, split: Split) -> Iterator[str]:
    """What was read, what was missing, how it is split."""
    rows, columns = series.values.shape
    others = "no other column" if columns == 1 else f"{columns - 1} other column" + ("s" if columns > 2 else "")
    moments = np.arange(rows) if series.time is None else series.time
    texts = written_time(moments)
    yield f"read {series.source}"
    when = "without times" if series.step is None else f"in steps of {series.step}, {texts[0]} to {texts[-1]}"
    yield f"{rows} rows {when}; target {series.target!r} and {others}"
    yield from series.notes
    yield (
        f"training on {split.validation} {step_word(series, split.validation)}, "
        f"validation on the {split.test - split.validation} from {texts[split.validation]}, "
        f"test on the last {split.stop - split.test} from {texts[split.test]}"
    )


def error_table(outcome: Outcome) -> Any:
    """The errors as a rich table, the best in bold."""
    from rich.markup import escape
    from rich.table import Table

    unit = escape(outcome.unit)  # names of columns come from the file, and may hold brackets
    test, horizon = outcome.backtest, outcome.horizon
    ahead = f"{'next' if horizon == 1 else f'next {horizon}'} {step_word(outcome.series, horizon)}"
    table = Table(
        title=f"{escape(outcome.series.target)}: {ahead}, {test.counted} forecasts of the last "
        f"{outcome.split.stop - outcome.split.test} {step_word(outcome.series, 2)}",
        title_justify="left",
        caption="MAE: mean absolute error, RMSE: root mean squared error",
        caption_justify="left",
    )
    table.add_column("forecast", no_wrap=True)
    table.add_column(f"MAE\n{unit}", justify="right")
    table.add_column(f"RMSE\n{unit}", justify="right")
    table.add_column("against the\nbest baseline", justify="right")
    best, reference = test.best(), test.mae(outcome.best_baseline)
    for name, label in outcome.labels.items():
        change = test.mae(name) / reference - 1 if reference > 0 else float("nan")
        table.add_row(
            label,
            f"{test.mae(name):#.4g}",
            f"{test.rmse(name):#.4g}",
            "" if name == outcome.best_baseline or not np.isfinite(change) else f"{change:+.0%}",
            style="bold" if name == best else None,
        )
    return table


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
    moments = written_time(outcome.moments)
    figures = {
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
        "forecast": [float(value) for value in outcome.future[NETWORK]],
        "notes": list(outcome.series.notes),
        "seconds": round(outcome.seconds, 2),
        "files": outcome.files,
    }
    return json.dumps(figures, allow_nan=False)


def write_forecast(outcome: Outcome, path: str) -> None:
    """One line for each step after the end of the series: time, and what each forecaster says."""
    moments = written_time(outcome.moments)[-outcome.horizon :]
    rows = zip(moments, *(outcome.future[name] for name in outcome.labels), strict=True)
    _write_csv(path, [_time_name(outcome), *outcome.labels], rows)


def write_test(outcome: Outcome, path: str) -> None:
    """One line for each forecast of the test part; the truth is empty where the series had a gap."""
    test, horizon = outcome.backtest, outcome.horizon
    moments = written_time(outcome.moments)
    forecasts = [test.forecasts[name] for name in outcome.labels]

    def rows() -> Iterator[list[Any]]:
        for row, origin in enumerate(test.origins):
            for ahead in range(horizon):
                truth = test.truth[row, ahead] if np.isfinite(test.truth[row, ahead]) else ""
                said = [forecast[row, ahead] for forecast in forecasts]
                yield [moments[origin], ahead + 1, moments[origin + 1 + ahead], truth, *said]

    time = _time_name(outcome)
    _write_csv(path, [f"last_known_{time}", "steps_ahead", time, "truth", *outcome.labels], rows())


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
