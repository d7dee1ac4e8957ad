"""A CSV file as an evenly spaced series, with a record of all that was missing.

The rules, in the order in which they are applied:

1. *Time.* Rows are sorted by time. The time step is the commonest distance between neighbours; each row goes to the
   nearest step, and where several rows fall on one step the last of them in the file counts. Times with an offset from
   UTC are converted to UTC. Without a time column the order of the rows is the time.
2. *Columns.* A column that is mostly numbers must be all numbers. A column of text with at most 12 different values
   becomes one column of 0 and 1 per value; other text is left out, and so is a column of numbers without a name
   (row numbers that a table was saved with), unless it is the target.
3. *Gaps.* A missing step or value is filled **from its past alone**, so that no forecast sees what came after: up to
   three missing steps in a row repeat the last known value; a longer gap repeats the value one season before. What is
   missing before the first known value takes that value. A filled target is never counted: neither in training as a
   target, nor in a test error.
4. *Plans.* A column that is named as planned is known ahead. Where the last rows of the file have no target but planned
   values, they are the future: the series ends before them.
5. *Several series.* With a column that names the series, all this is done for each series by itself; they have the same
   columns and the same time step, but may begin and end at different times.
"""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastrnn import _check

from .calendar import TimeStep, default_season, even_times, infer_time_step, written_time
from .scaling import LARGEST

__all__ = ["Series", "fill_gaps", "make_series", "read_csv", "read_panel"]

SHORT_GAP = 3
MOST_CATEGORIES = 12
TIME_NAMES = ("timestamp", "datetime", "time", "date", "ds")


@dataclass(frozen=True)
class Series:
    """An evenly spaced series: the target and what else was read, gaps filled.

    Attributes
    ----------
    columns : tuple of str
        Names of the columns of `values`; the target is the first.
    values : (N, C) float64 array
        Gaps filled.
    known : (N, C) bool array
        True where `values` was read, False where it was filled.
    time : (N,) datetime64[us] array or None
    step : TimeStep or None
    season : int
        Steps in a season, inferred from the time step unless it was given; 1 if there is none.
    source : str
        Where it was read from.
    notes : tuple of str
        What was missing and what was done about it, one sentence each.
    planned_columns : tuple of str
        Names of the columns of `planned`.
    planned : (N + M, P) float64 array
        Columns that are known ahead, of the rows of the series and of the M steps after it.
    """

    columns: tuple[str, ...]
    values: np.ndarray
    known: np.ndarray
    time: np.ndarray | None
    step: TimeStep | None
    season: int
    source: str
    notes: tuple[str, ...]
    planned_columns: tuple[str, ...] = ()
    planned: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    def __post_init__(self) -> None:
        if not self.planned_columns:
            object.__setattr__(self, "planned", np.empty((len(self.values), 0)))

    @property
    def target(self) -> str:
        """The name of the target."""
        return self.columns[0]

    @property
    def y(self) -> np.ndarray:
        """The target (N,), gaps filled."""
        return self.values[:, 0]

    @property
    def X(self) -> np.ndarray:
        """The other columns (N, C - 1), gaps filled."""
        return self.values[:, 1:]

    def __len__(self) -> int:
        return len(self.values)


def read_csv(
    path: str | os.PathLike[str],
    target: str | None = None,
    time: str | None = None,
    season: int | None = None,
    *,
    planned: Sequence[str] = (),
) -> Series:
    """Read a series from a CSV file with a header line; the rules stand at the top of this module.

    Parameters
    ----------
    path : path
    target : str, optional
        The column to forecast; by default the first column of numbers that is neither called like a time nor
        nameless (a table's row numbers).
    time : str, optional
        The column of times; by default a column called timestamp, datetime, time, date or ds, or else the first column
        of text that reads as times.
    season : int, optional
        Steps in a season; by default inferred from the time step.
    planned : sequence of str, optional
        Columns that are known ahead.

    Returns
    -------
    Series

    Raises
    ------
    FileNotFoundError, ValueError
        With one sentence that says what is wrong and what to do.

    Examples
    --------
    >>> from fastrnn import datasets
    >>> from fastrnn.forecasting import read_csv
    >>> series = read_csv(datasets.path("co2_weekly"))
    >>> len(series), series.target, str(series.step), series.season
    (2284, 'co2', '1 week', 52)
    """
    return _read(path, target, time, season, planned, None)[ALONE]


def read_panel(
    path: str | os.PathLike[str],
    series: str,
    target: str | None = None,
    time: str | None = None,
    season: int | None = None,
    *,
    planned: Sequence[str] = (),
) -> dict[str, Series]:
    """Read several series from one CSV file, one row for each series and step of time.

    Parameters
    ----------
    path : path
    series : str
        The column that names the series of each row.
    target, time, season, planned
        As for `read_csv`.

    Returns
    -------
    dict of str to Series
        In the order of the file; all have the same columns, time step and season.

    Raises
    ------
    FileNotFoundError, ValueError
        With one sentence that says what is wrong and what to do.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastrnn.forecasting import read_panel
    >>> path = os.path.join(tempfile.mkdtemp(), "sales.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("day,shop,sold\\n2024-01-01,a,3\\n2024-01-01,b,30\\n2024-01-02,a,4\\n2024-01-02,b,20\\n")
    >>> {name: shop.y.tolist() for name, shop in read_panel(path, "shop", target="sold").items()}
    {'a': [3.0, 4.0], 'b': [30.0, 20.0]}
    """
    return _read(path, target, time, season, planned, series)


ALONE = ""  # the name of a series in a file that names none


def _read(
    path: str | os.PathLike[str],
    target: str | None,
    time: str | None,
    season: int | None,
    planned: Sequence[str],
    series: str | None,
) -> dict[str, Series]:
    """The series of a file by their names."""
    if season is not None:
        season = _check.integer("season", season, 1)
    pd = _pandas()
    path = os.fspath(path)
    frame = _read_frame(pd, path)
    frame.attrs["path"] = path
    notes: list[str] = []
    labels = _labels(frame, series)
    time_column = _find_time_column(pd, frame, time, target)
    moments = None if time_column is None else _parse_times(pd, frame[time_column], path, notes)
    columns = frame.drop(columns=[name for name in (time_column, series) if name is not None])
    names, values = _as_numbers(pd, columns, target, planned, path, notes)
    groups = {}
    for label in dict.fromkeys(labels.tolist()):
        rows = labels == label
        own = notes if series is None else []  # what is said of the file, and what of one series
        try:
            groups[label] = make_series(
                names, values[rows], None if moments is None else moments[rows], season, planned, path, own
            )
        except ValueError as error:
            raise ValueError(str(error) if series is None else f"series {label!r}: {error}") from None
    return groups if series is None else _alike(groups, season, notes)


def _labels(frame: Any, series: str | None) -> np.ndarray:
    """The series of each row."""
    if series is None:
        return np.full(len(frame), ALONE)
    if series not in frame.columns:
        raise ValueError(f"series: no column {series!r}; the columns are {_list(frame.columns)}")
    missing = frame[series].isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"column {series!r}, {_place(frame.attrs['path'], int(np.argmax(missing)))}: empty, expected the name of a "
            f"series ({int(missing.sum())} of {len(missing)} are empty)"
        )
    return frame[series].astype(str).to_numpy(dtype=object)


def _alike(groups: dict[str, Series], season: int | None, notes: list[str]) -> dict[str, Series]:
    """Series of one file with one season; notes name the series, those on the file stand with the first."""
    steps = {str(series.step): name for name, series in groups.items()}
    if len(steps) > 1:
        raise ValueError(
            "series: expected one time step in all, got "
            + " and ".join(f"{step} in {name!r}" for step, name in list(steps.items())[:2])
            + "; resample the file to even steps"
        )
    shortest = min(groups.values(), key=len)
    season = default_season(shortest.step, len(shortest)) if season is None else season
    return {
        name: replace(
            series, season=season, notes=(*(notes if i == 0 else ()), *(f"{name}: {note}" for note in series.notes))
        )
        for i, (name, series) in enumerate(groups.items())
    }


def make_series(
    names: Sequence[str],
    values: np.ndarray,
    moments: np.ndarray | None,
    season: int | None = None,
    planned: Sequence[str] = (),
    source: str = "",
    notes: list[str] | None = None,
) -> Series:
    """A series from arrays, its gaps found, filled and noted.

    Parameters
    ----------
    names : sequence of str
        Of the columns, the target's first.
    values : (N, C) float array
        NaN where nothing is known.
    moments : (N,) datetime64 array or None
    season : int, optional
    planned : sequence of str
        Which of the columns are known ahead.
    source : str
    notes : list of str, optional
        Those that there are already.

    Examples
    --------
    >>> import numpy as np
    >>> days = np.array(["2024-01-01", "2024-01-02", "2024-01-04"], "datetime64[us]")
    >>> series = make_series(["sold"], np.array([[3.0], [4.0], [5.0]]), days)
    >>> series.y.tolist(), series.known.ravel().tolist()
    ([3.0, 4.0, 4.0, 5.0], [True, True, False, True])
    """
    notes = [] if notes is None else notes
    step = None
    if moments is not None:
        moments, values, step = _on_a_grid(moments, values, notes)
    known = np.isfinite(values)
    infinite = int(np.isinf(values).sum())
    if infinite:
        notes.append(f"{infinite} infinite values were taken as missing")
    _require_moderate(tuple(names), values, known)
    ahead = np.array([name in planned for name in names])
    # the series ends with the last row that has more than a plan
    stop = int(np.flatnonzero(known[:, ~ahead].any(axis=1)).max(initial=-1)) + 1 if ahead.any() else len(values)
    _require_target(names[0], values[:stop, 0], known[:stop, 0])
    season = default_season(step, stop) if season is None else season
    notes += _describe_gaps(tuple(names), known[:stop], season, None if moments is None else moments[:stop])
    if stop < len(values):
        notes.append(f"{len(values) - stop} rows at the end have no more than planned values: taken for the future")
    values = fill_gaps(values, known, season)
    return Series(
        columns=tuple(name for name, is_ahead in zip(names, ahead, strict=True) if not is_ahead),
        values=values[:stop, ~ahead],
        known=known[:stop, ~ahead],
        time=None if moments is None else moments[:stop],
        step=step,
        season=season,
        source=source,
        notes=tuple(notes),
        planned_columns=tuple(name for name, is_ahead in zip(names, ahead, strict=True) if is_ahead),
        planned=values[:, ahead],
    )


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError:
        raise ImportError('reading a CSV needs pandas: pip install "fastrnn[forecast]"') from None
    return pd


def _read_frame(pd: Any, path: str) -> Any:
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file; give the path of a CSV file with a header line")
    if os.path.isdir(path):
        raise ValueError(f"{path}: is a directory; give the path of a CSV file with a header line")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # index_col: a cell too many is an error, not the name of its row
            frame = pd.read_csv(path, skipinitialspace=True, low_memory=False, index_col=False)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path}: is empty; it needs a header line and rows of numbers") from None
    except pd.errors.ParserError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("Error tokenizing data. C error: ")
        raise ValueError(f"{path}: is not a readable CSV ({reason}); use commas and one line per row") from None
    except pd.errors.ParserWarning:
        raise ValueError(
            f"{path}: has rows with more cells than the header has names; use commas between cells and nowhere else"
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not text in UTF-8; save it as a UTF-8 CSV") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    if len(frame) == 0:
        raise ValueError(f"{path}: has a header but no rows; it needs rows of numbers")
    return frame


def _list(names: Any) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")


def _is_text(pd: Any, column: Any) -> bool:
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))


def _place(path: str, row: int) -> str:
    """Where a row of the table (0 is the first below the header) begins in the file: its line, the first being 1.

    Blank lines are no rows, and a cell in quotes may hold line ends.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines, skipinitialspace=True)
            rows, line = -1, 1
            for cells in reader:
                rows += bool(cells) and (len(cells) > 1 or bool(cells[0].strip()))
                if rows == row + 1:
                    return f"line {line}"
                line = reader.line_num + 1
    except (UnicodeDecodeError, csv.Error):
        pass  # compressed
    return f"row {row + 1}"


def _to_times(pd: Any, column: Any) -> Any:
    """Times in UTC, NaT where there is none: ISO 8601, else the format of the first row, month or day first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns when it finds no single format; what it can't read is NaT
        ways: tuple[dict[str, Any], ...] = ({"format": "ISO8601"}, {}, {"dayfirst": True})
        parsed = (pd.to_datetime(column, errors="coerce", utc=True, **way) for way in ways)
        return min(parsed, key=lambda times: times.isna().sum())


def _find_time_column(pd: Any, frame: Any, time: str | None, target: str | None) -> str | None:
    if time is not None:
        if time not in frame.columns:
            raise ValueError(f"time: no column {time!r}; the columns are {_list(frame.columns)}")
        return time
    candidates = [name for name in frame.columns if name != target and _is_text(pd, frame[name])]
    for name in candidates:
        if name.strip().lower() in TIME_NAMES:
            return str(name)
    for name in candidates:
        sample = frame[name].dropna().head(100)
        if len(sample) and _to_times(pd, sample).notna().mean() > 0.5:
            return str(name)
    return None


def _parse_times(pd: Any, column: Any, path: str, notes: list[str]) -> np.ndarray:
    """The column as UTC moments (N,) datetime64[us]."""
    if not _is_text(pd, column):
        raise ValueError(
            f"time: column {column.name!r} holds plain numbers, expected times such as 2011-01-31T23:00; "
            "name another column or leave it out"
        )
    parsed = _to_times(pd, column)
    bad = parsed.isna().to_numpy()
    if bad.any():
        row = int(np.argmax(bad))
        shown = "no time" if pd.isna(column.iloc[row]) else repr(column.iloc[row])
        raise ValueError(
            f"column {column.name!r}, {_place(path, row)}: {shown}, expected a time such as 2011-01-31T23:00 "
            f"({int(bad.sum())} of {len(bad)} cannot be read); correct it or name another time column"
        )
    if column.astype(str).str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True).any():
        notes.append("times were converted to UTC")
    return parsed.dt.tz_localize(None).to_numpy().astype("datetime64[us]")


def _as_numbers(
    pd: Any, frame: Any, target: str | None, planned: Sequence[str], path: str, notes: list[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Every usable column as float64, the target first."""
    columns: dict[str, np.ndarray] = {}
    for name in planned:
        if name not in frame.columns or name == target:
            what = "is the target" if name == target else f"no column {name!r}; the columns are {_list(frame.columns)}"
            raise ValueError(f"planned: {what}")
        if _is_text(pd, frame[name]):
            raise ValueError(f"planned: column {name!r} is text, expected numbers; write categories as 0 and 1")
    if target is not None and target not in frame.columns:
        raise ValueError(f"target: no column {target!r}; the columns are {_list(frame.columns)}")
    for name in frame.columns:
        column = frame[name]
        if not _is_text(pd, column):
            columns[str(name)] = column.to_numpy(dtype=np.float64, na_value=np.nan)
            continue
        numbers = pd.to_numeric(column, errors="coerce")
        text = (numbers.isna() & column.notna()).to_numpy()
        if not text.any():  # numbers after all: very large ones, or true and false with some missing
            columns[str(name)] = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
            continue
        if name == target or numbers.notna().sum() > text.sum():
            row = int(np.argmax(text))
            raise ValueError(
                f"column {name!r}, {_place(path, row)}: {column.iloc[row]!r}, expected a number ({int(text.sum())} of "
                f"{len(text)} are text); correct it, or leave it empty if the value is missing"
            )
        categories = sorted(column.dropna().unique())
        if len(categories) > MOST_CATEGORIES:
            notes.append(f"column {name!r} is text with {len(categories)} different values: left out")
            continue
        notes.append(f"column {name!r} is text: one column of 0 and 1 for each of {_list(categories)}")
        for category in categories:
            indicator = (column == category).to_numpy(dtype=np.float64)
            columns[f"{name}={category}"] = np.where(column.isna().to_numpy(), np.nan, indicator)
    if target is None:
        numeric = [str(name) for name in frame.columns if str(name) in columns]
        target = next((name for name in numeric if not (_counts_rows(name) or name in planned)), None)
        if target is None:
            raise ValueError(
                f"no column of numbers to forecast; the columns are {_list(frame.columns)}; "
                "cells are separated by commas"
            )
        notes.append(f"no target named: took {target!r}, the first column of numbers")
    others = [name for name in columns if name != target]
    empty = [name for name in others if not np.isfinite(columns[name]).any()]
    if empty:
        notes.append(f"nothing in {_list(empty)}: left out")
    nameless = [name for name in others if _is_nameless(name) and name not in empty]
    if nameless:
        notes.append(f"no name above {_list(nameless)}, so taken for row numbers: left out")
    names = (target, *(name for name in others if name not in empty and name not in nameless))
    return names, np.stack([columns[name] for name in names], axis=1)


def _counts_rows(name: str) -> bool:
    """Whether a column of numbers is time or row number rather than something to forecast."""
    return name.strip().lower() in TIME_NAMES or _is_nameless(name)


def _is_nameless(name: str) -> bool:
    """Whether a column has no name in the header; pandas calls it after its place."""
    return re.fullmatch(r"Unnamed: \d+", name) is not None


def _on_a_grid(time: np.ndarray, values: np.ndarray, notes: list[str]) -> tuple[np.ndarray, np.ndarray, TimeStep]:
    """Rows sorted and moved to an even grid; steps without a row are NaN."""
    if (np.diff(time) < np.timedelta64(0, "us")).any():
        notes.append("rows were sorted by time")
    order = np.argsort(time, kind="stable")
    time, values = time[order], values[order]
    distinct = np.unique(time)
    if distinct.size < 2:
        raise ValueError("the times are all the same; a series needs a row for each step of time")
    step = infer_time_step(distinct)
    index = step.steps_since(time[0], time)
    steps = int(index[-1]) + 1
    if steps > 10 * len(distinct) + 100:
        raise ValueError(
            f"the times are too uneven: a commonest step of {step} makes {steps} steps of {len(distinct)} rows; "
            "resample the file to even steps"
        )
    last_of_step = np.append(np.diff(index) > 0, True)
    repeated = int((~last_of_step).sum())
    if repeated:
        notes.append(f"{repeated} rows fall on a step that has another row: the last in the file counts")
    grid = even_times(time, step)
    moved = int((grid[index] != time).sum())
    if moved:
        notes.append(f"{moved} rows were moved to the nearest step of {step}")
    even = np.full((steps, values.shape[1]), np.nan)
    even[index[last_of_step]] = values[last_of_step]
    return grid, even, step


def _require_moderate(names: tuple[str, ...], values: np.ndarray, known: np.ndarray) -> None:
    for column, name in enumerate(names):
        largest = np.abs(values[known[:, column], column]).max(initial=0.0)
        if largest > LARGEST:
            raise ValueError(
                f"column {name!r}: its numbers are too large to be scaled, up to {largest:g}, expected at most "
                f"{LARGEST:g}; give them in a larger unit, or leave cells empty that hold no true value"
            )


def _require_target(name: str, values: np.ndarray, known: np.ndarray) -> None:
    if not known.any():
        raise ValueError(f"column {name!r}: holds no number at all; name another target")
    if np.ptp(values[known]) == 0:
        raise ValueError(
            f"column {name!r}: is {values[known][0]:g} in every row, there is nothing to forecast; name another target"
        )


def _runs(missing: np.ndarray) -> list[tuple[int, int]]:
    """Start and stop of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def _describe_gaps(names: tuple[str, ...], known: np.ndarray, season: int, time: np.ndarray | None) -> list[str]:
    """One sentence for the steps without any value, one for the columns that miss more than those."""
    notes = []
    absent = np.asarray(~known.any(axis=1))
    if absent.any():
        runs = _runs(absent)
        longest = max(runs, key=lambda run: run[1] - run[0])
        where = "" if time is None else f", the longest from {written_time(time)[longest[0]]}"
        gaps = "1 gap" if len(runs) == 1 else f"{len(runs)} gaps"
        size = f"{longest[1] - longest[0]} step" + ("s" if longest[1] - longest[0] > 1 else "")
        notes.append(f"{int(absent.sum())} of {len(known)} steps are missing in {gaps}{where} ({size})")
    more = (~known & ~absent[:, None]).sum(axis=0)
    if more.any():
        notes.append("missing values: " + _list(f"{more[i]} of {names[i]}" for i in np.flatnonzero(more)))
    if notes:
        longer = f", in longer ones the value {season} steps before" if season > 1 else ""
        notes.append(f"filled from the past alone: the last value in gaps of up to {SHORT_GAP} steps{longer}")
    return notes


def fill_gaps(values: np.ndarray, known: np.ndarray, season: int) -> np.ndarray:
    """Fill what is not known from what was known before it; a new array.

    A run of up to three unknown values repeats the last known one; in a longer run each value is the one a `season`
    before (itself filled, if need be), or the last known one if the series is not that old.  Unknown values at the very
    beginning become the first known one.

    Parameters
    ----------
    values : (N, C) float array
    known : (N, C) bool array
    season : int

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.forecasting import fill_gaps
    >>> values = np.array([[1.0], [2.0], [np.nan], [4.0]])
    >>> fill_gaps(values, np.isfinite(values), season=1).ravel()
    array([1., 2., 2., 4.])
    """
    filled = np.array(values, dtype=np.float64)
    for column in range(filled.shape[1]):
        series = filled[:, column]
        for start, stop in _runs(~known[:, column]):
            if start == 0:
                series[:stop] = series[stop] if stop < len(series) else 0.0
            elif stop - start <= SHORT_GAP or season <= 1:
                series[start:stop] = series[start - 1]
            else:
                last = series[start - 1]
                for t in range(start, stop):
                    series[t] = series[t - season] if t >= season else last
    return filled
