"""Time steps, seasons and the calendar as inputs.

The calendar is the one thing about the future that is known today, so the calendar inputs of row t are those of the
moment *after* it, t + 1: the moment that is being forecast.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "TimeStep",
    "as_times",
    "calendar_inputs",
    "calendar_periods",
    "default_season",
    "even_times",
    "infer_time_step",
    "written_time",
]

SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000  # in microseconds
WEEK, YEAR = 7 * DAY, int(365.2425 * DAY)
MONDAY = 4 * DAY  # 1970-01-05, the first Monday of the epoch

# What repeats, longest first; a season is a whole number of steps in one of these.
PERIODS = {"year": YEAR, "week": WEEK, "day": DAY, "hour": HOUR, "minute": MINUTE}


def as_times(name: str, value: Any) -> np.ndarray:
    """A vector of moments as ``datetime64[us]``; not-a-time raises."""
    array = np.asarray(value)
    if array.dtype.kind != "M":
        raise TypeError(f"{name}: expected an array of datetime64, got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name}: expected 1-D, got {array.ndim}-D with shape {array.shape}")
    array = array.astype("datetime64[us]")
    if np.isnat(array).any():
        raise ValueError(f"{name}: expected moments, got {int(np.isnat(array).sum())} NaT of {array.size}")
    return array


class TimeStep(NamedTuple):
    """The distance between two rows: a whole number of microseconds (``unit="us"``) or of calendar months (``"M"``).

    Months are a unit of their own because they differ in length.
    """

    amount: int
    unit: str = "us"

    @property
    def microseconds(self) -> int:
        """The (mean) length of one step."""
        return self.amount if self.unit == "us" else self.amount * YEAR // 12

    def steps_since(self, start: np.datetime64, time: np.ndarray) -> np.ndarray:
        """The nearest whole number of steps from `start` to each of `time`."""
        if self.unit == "M":
            months = time.astype("datetime64[M]") - start.astype("datetime64[M]")
            return months.astype(np.int64) // self.amount
        return (2 * (time - start).astype(np.int64) + self.amount) // (2 * self.amount)

    def moments(self, start: np.datetime64 | np.ndarray, index: np.ndarray | int) -> np.ndarray:
        """The moments `index` steps after `start`; the two broadcast.

        A day of the month that a month lacks becomes that month's last day.
        """
        index = np.asarray(index, np.int64)
        if self.unit == "us":
            return start + (index * self.amount).astype("timedelta64[us]")
        first = start.astype("datetime64[M]")
        into_month = (start - first.astype("datetime64[us]")).astype("timedelta64[us]").astype(np.int64)
        months = first + (index * self.amount).astype("timedelta64[M]")
        last_day = (months + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")
        # latest: the same time of day on the month's last day
        latest = last_day.astype("datetime64[us]").astype(np.int64) + into_month % DAY
        moments = np.minimum(months.astype("datetime64[us]").astype(np.int64) + into_month, latest)
        return moments.astype("datetime64[us]")

    def __str__(self) -> str:
        if self.unit == "M":
            return _counted(self.amount // 12, "year") if self.amount % 12 == 0 else _counted(self.amount, "month")
        for word, length in (("week", WEEK), ("day", DAY), ("hour", HOUR), ("minute", MINUTE), ("second", SECOND)):
            if self.amount % length == 0:
                return _counted(self.amount // length, word)
        return f"{self.amount / SECOND:g} seconds"


def even_times(time: np.ndarray, step: TimeStep, after: int = 0) -> np.ndarray:
    """Every step from the first of the sorted moments `time` to the last, and `after` steps more.

    Calendar months are counted from the moment with the latest day of the month, so that month ends stay month ends.
    """
    anchor = time[0]
    if step.unit == "M":
        anchor = time[np.argmax(time - time.astype("datetime64[M]").astype("datetime64[us]"))]
    first, last = step.steps_since(anchor, time[[0, -1]])
    return step.moments(anchor, np.arange(first, last + 1 + after))


def written_time(moments: np.ndarray) -> list[str]:
    """Moments as ISO 8601 with no more digits than they need; row numbers as they are."""
    if moments.dtype.kind != "M":
        return [str(row) for row in moments]
    for unit in ("D", "m", "s"):
        if (moments == moments.astype(f"datetime64[{unit}]")).all():
            return [str(text) for text in np.datetime_as_string(moments, unit=unit)]
    return [str(text) for text in np.datetime_as_string(moments)]


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")


def infer_time_step(time: np.ndarray) -> TimeStep:
    """The commonest distance between neighbours of `time`, which must be sorted and without repeats.

    Where the commonest distance is a month or more and every moment has the same day of the month (or every one is a
    month's last day), the step is counted in calendar months.

    Parameters
    ----------
    time : (N,) array of datetime64, N >= 2

    Examples
    --------
    >>> import numpy as np
    >>> hours = np.datetime64("2011-01-01T00", "us") + np.arange(5) * np.timedelta64(1, "h")
    >>> str(infer_time_step(hours[[0, 1, 2, 4]]))
    '1 hour'
    >>> str(infer_time_step(np.array(["2011-01-31", "2011-02-28", "2011-03-31"], "datetime64[us]")))
    '1 month'
    """
    time = as_times("time", time)
    if time.size < 2:
        raise ValueError(f"time: expected at least 2 moments, got {time.size}")
    commonest = _mode(np.diff(time).astype(np.int64))
    if commonest >= 28 * DAY:
        days = time.astype("datetime64[D]")
        months = time.astype("datetime64[M]")
        month_ends = ((days + np.timedelta64(1, "D")).astype("datetime64[M]") > months).all()
        day_of_month = (days - months.astype("datetime64[D]")).astype(np.int64)
        steps = np.diff(months).astype(np.int64)
        if (month_ends or np.ptp(day_of_month) == 0) and (steps > 0).all():
            return TimeStep(_mode(steps), "M")
    return TimeStep(commonest)


def _mode(values: np.ndarray) -> int:
    unique, count = np.unique(values, return_counts=True)
    return int(unique[np.argmax(count)])


def default_season(step: TimeStep | None, rows: int) -> int:
    """How many steps a season has: the longest of year, week, day, ... that fits.

    A season is looked for in the order in which people feel it: the week for steps of less than a day and for days,
    the year for longer steps, then the day, hour and minute.  It must be a whole number of steps (weeks and days in a
    year are rounded), at least 2, and fit at least twice into `rows`.  Without such a season, or without times, the
    answer is 1: the seasonal naive forecast is then the last value.

    Examples
    --------
    >>> default_season(TimeStep(3_600_000_000), rows=8760), default_season(TimeStep(1, "M"), rows=500)
    (168, 12)
    """
    if step is None:
        return 1
    if step.unit == "M":
        candidates = [12 // step.amount] if 12 % step.amount == 0 else []
    elif step.amount > DAY:
        candidates = [round(YEAR / step.amount)]
    else:
        candidates = [length // step.amount for length in (WEEK, DAY, HOUR, MINUTE) if length % step.amount == 0]
    return next((season for season in candidates if season >= 2 and 2 * season <= rows), 1)


def calendar_periods(step: TimeStep, rows: int) -> list[str]:
    """The periods worth telling the network: longer than two steps, and seen at least twice in `rows` steps."""
    length = step.microseconds
    return [name for name, period in PERIODS.items() if period > 2 * length and 2 * period <= rows * length]


def calendar_inputs(time: np.ndarray, step: TimeStep, periods: list[str]) -> np.ndarray:
    """Sine and cosine of where the moment after each of `time` stands in the year, week, day, ...

    Parameters
    ----------
    time : (N,) array of datetime64
    step : TimeStep
        Distance from a row to the moment that its inputs describe.
    periods : list of str
        Any of ``"year"``, ``"week"`` (starts on Monday), ``"day"``, ``"hour"``, ``"minute"``.

    Returns
    -------
    (N, 2 * len(periods)) float64 array

    Examples
    --------
    >>> import numpy as np
    >>> calendar_inputs(np.array(["2011-01-01T05:00"], "datetime64[us]"), TimeStep(3_600_000_000), ["day"]).round(6)
    array([[1., 0.]])
    """
    time = as_times("time", time)
    microseconds = step.moments(time, 1).astype(np.int64)
    columns = []
    for name in periods:
        origin = MONDAY if name == "week" else 0
        # phase (N,) in radians
        phase = 2 * np.pi * ((microseconds - origin) % PERIODS[name]) / PERIODS[name]
        columns += [np.sin(phase), np.cos(phase)]
    return np.stack(columns, axis=1) if columns else np.empty((time.size, 0))
