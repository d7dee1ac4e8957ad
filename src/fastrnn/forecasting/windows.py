"""Windows over a table, and how its rows are split.

An *origin* t is the last row that a forecast knows: its window is the rows t - window + 1 to t, its targets are the
rows t + 1 to t + horizon.  No function here ever puts a row after t into the window of t.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, overload

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastrnn import _check

__all__ = ["Split", "origins_between", "split_end", "targets_after", "windows_until"]


def windows_until(table: np.ndarray, window: int, origins: np.ndarray) -> np.ndarray:
    """The `window` rows that end with each origin, (n, window, C), a new array.

    Examples
    --------
    >>> import numpy as np
    >>> windows_until(np.arange(5)[:, None], 3, np.array([2, 4]))[:, :, 0]
    array([[0, 1, 2],
           [2, 3, 4]])
    """
    # view (N - window + 1, C, window), the first window ends at row window - 1
    view = sliding_window_view(table, window, axis=0)
    return np.ascontiguousarray(view[np.asarray(origins) - (window - 1)].swapaxes(1, 2))


def targets_after(y: np.ndarray, horizon: int, origins: np.ndarray) -> np.ndarray:
    """The `horizon` values that follow each origin, (n, horizon) or (n, horizon, C), a new array.

    Examples
    --------
    >>> import numpy as np
    >>> targets_after(np.arange(5), 2, np.array([0, 2]))
    array([[1, 2],
           [3, 4]])
    """
    steps = np.arange(1, horizon + 1)
    return y[np.asarray(origins)[:, None] + steps]


def origins_between(start: int, stop: int, window: int, horizon: int) -> np.ndarray:
    """Origins whose targets all lie in rows start to stop - 1 and whose window is complete."""
    first = max(start - 1, window - 1)
    return np.arange(first, max(first, stop - horizon))


class Split(NamedTuple):
    """Where the parts of a series begin: rows 0 to validation - 1 are for training, then validation, then test."""

    validation: int
    test: int
    stop: int


@overload
def split_end(
    rows: int, window: int, horizon: int, season: int = 1, test: int | None = None, validation: int | None = None
) -> Split: ...
@overload
def split_end(
    rows: Mapping[str, int],
    window: int,
    horizon: int,
    season: int = 1,
    test: int | None = None,
    validation: int | None = None,
) -> dict[str, Split]: ...
def split_end(
    rows: int | Mapping[str, int],
    window: int,
    horizon: int,
    season: int = 1,
    test: int | None = None,
    validation: int | None = None,
) -> Split | dict[str, Split]:
    """Hold out the end of a series: the last rows for the test, those before them for validation.

    By default the test part is 15 % of the rows, rounded to whole seasons where that leaves at least one, and the
    validation part half as long.  For several series (a mapping from names to rows) the shortest decides, and all have
    parts of the same length.

    Raises
    ------
    ValueError
        If what is left for training does not hold 10 windows, or a part is shorter than the horizon.

    Examples
    --------
    >>> from fastrnn.forecasting import split_end
    >>> split_end(8760, window=48, horizon=1, season=168)    # 8 weeks of hours, and 4 weeks before them
    Split(validation=6744, test=7416, stop=8760)
    """
    if isinstance(rows, Mapping):
        shortest = split_end(min(rows.values()), window, horizon, season, test, validation)
        return {
            name: Split(count - (shortest.stop - shortest.validation), count - (shortest.stop - shortest.test), count)
            for name, count in rows.items()
        }
    season = _check.integer("season", season, 1)
    if test is None:
        test = max(_whole_seasons(0.15 * rows, season), horizon)
    if validation is None:
        validation = max(_whole_seasons(0.5 * test, season), horizon)
    for name, part in (("test", test), ("validation", validation)):
        _check.integer(name, part)
        if part < horizon:
            raise ValueError(f"{name}: expected at least the horizon of {horizon} rows, got {part}")
    split = Split(rows - test - validation, rows - test, rows)
    needed = window + horizon + 9
    if split.validation < needed:
        raise ValueError(
            f"too few rows: {rows} rows less {test} for the test and {validation} for validation leave "
            f"{max(split.validation, 0)} for training, expected at least window + horizon + 9 = {needed}; "
            "take a shorter window or horizon, or a longer file"
        )
    return split


def _whole_seasons(rows: float, season: int) -> int:
    seasons = round(rows / season)
    return seasons * season if seasons >= 1 else round(rows)
