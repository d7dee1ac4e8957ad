"""Small real series that come with the package (README.md beside this file says whence), and one made by a formula."""

from __future__ import annotations

import csv
from importlib import resources
from typing import NamedTuple

import numpy as np

from fastrnn import _check

__all__ = ["Dataset", "bike_sharing", "co2_monthly", "co2_weekly", "path", "wave_series"]


class Dataset(NamedTuple):
    """A series with times.

    Attributes
    ----------
    time : (N,) datetime64 array
        Sorted; a step without a row in the file is not in it.
    columns : dict of str to (N,) array
        float64, NaN where a value is missing; a column of text is an array of strings.
    target : str
        The column that one would forecast.
    unit : str
        The unit of the target.
    source : str
        Whom to name.
    """

    time: np.ndarray
    columns: dict[str, np.ndarray]
    target: str
    unit: str
    source: str

    @property
    def y(self) -> np.ndarray:
        """The target, (N,)."""
        return self.columns[self.target]


BIKES_SOURCE = (
    "Bike Sharing data set, H. Fanaee-T and J. Gama (2013), UCI Machine Learning Repository, "
    "doi 10.24432/C5W894, CC BY 4.0"
)
CO2_SOURCE = "CO2 at Mauna Loa, Scripps Institution of Oceanography and CDIAC, public domain"


def path(name: str) -> str:
    """Where a bundled CSV file lies.

    Parameters
    ----------
    name : {"bike_sharing", "co2_weekly"}

    Examples
    --------
    >>> from fastrnn import datasets
    >>> with open(datasets.path("co2_weekly")) as lines:
    ...     print(lines.readline().strip())
    date,co2
    """
    files = {"bike_sharing": "bike_sharing_hourly_2011.csv", "co2_weekly": "co2_weekly.csv"}
    if name not in files:
        raise ValueError(f"name: expected one of {', '.join(map(repr, files))}, got {name!r}")
    return str(resources.files(__name__) / files[name])


def bike_sharing() -> Dataset:
    """Bikes rented in each of 8645 hours of 2011 in Washington DC, with the weather; 115 hours are missing.

    Columns: ``bikers`` (bikes rented in the hour), ``temp``, ``atemp`` (felt), ``hum``, ``windspeed`` (all four
    normalised), ``workingday``, ``holiday`` (0 or 1), ``weathersit`` (text).

    Examples
    --------
    >>> from fastrnn import datasets
    >>> bikes = datasets.bike_sharing()
    >>> bikes.time[0], bikes.y[:3]
    (np.datetime64('2011-01-01T00:00'), array([16., 40., 32.]))
    """
    return _read(path("bike_sharing"), "timestamp", "m", "bikers", "bikes", BIKES_SOURCE)


def co2_weekly() -> Dataset:
    """Weekly means of carbon dioxide at Mauna Loa from 1958 to 2001, in ppm; 59 of 2284 are missing.

    Examples
    --------
    >>> from fastrnn import datasets
    >>> datasets.co2_weekly().y[:3]
    array([316.1, 317.3, 317.6])
    """
    return _read(path("co2_weekly"), "date", "D", "co2", "ppm", CO2_SOURCE)


def co2_monthly() -> Dataset:
    """Monthly means of `co2_weekly`: 526 months from March 1958, 5 of which no week is known of.

    Examples
    --------
    >>> from fastrnn import datasets
    >>> co2 = datasets.co2_monthly()
    >>> co2.time[0], co2.y[:3].round(2)
    (np.datetime64('1958-03-01'), array([316.1 , 317.2 , 317.43]))
    """
    weekly = co2_weekly()
    known = np.isfinite(weekly.y)
    month = weekly.time.astype("datetime64[M]")
    place = (month - month[0]).astype(np.int64)
    # mean (N,): sum of a month's known weeks over their number
    count = np.bincount(place[known], minlength=place[-1] + 1)
    total = np.bincount(place[known], weights=weekly.y[known], minlength=place[-1] + 1)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    moments = (month[0] + np.arange(place[-1] + 1)).astype("datetime64[D]")
    return Dataset(moments, {"co2": mean}, "co2", "ppm", CO2_SOURCE)


def wave_series(batch: int, steps: int, seed: int = 42) -> np.ndarray:
    """Series to practise on: two sine waves of random frequency and phase each, and a little noise.

    .. code-block:: text

        y(t) = 0.5·sin((t - o1)·(10·f1 + 10)) + 0.2·sin((t - o2)·(20·f2 + 20)) + 0.1·(noise - 0.5)

    at `steps` moments t from 0 to 1; f1, f2, o1, o2, one number for each series, and noise are uniform in [0, 1).

    Parameters
    ----------
    batch : int
        Series.
    steps : int
        Steps of each.
    seed : int
        The numbers are those that NumPy's global generator draws after ``numpy.random.seed(seed)``, which is how the
        textbook makes them; that generator itself is left alone.

    Returns
    -------
    ndarray (batch, steps, 1)
        float32.

    Notes
    -----
    A. Géron, *Hands-On Machine Learning*, chapter "Processing Sequences Using RNNs and CNNs".

    Examples
    --------
    >>> from fastrnn import datasets
    >>> series = datasets.wave_series(10_000, 51)
    >>> series[0, :4, 0]
    array([ 0.4596948 ,  0.31486678,  0.12497123, -0.1039134 ], dtype=float32)
    """
    batch, steps = _check.integer("batch", batch, 1), _check.integer("steps", steps, 1)
    rng = np.random.RandomState(_check.integer("seed", seed, 0, 2**32 - 1))
    f1, f2, o1, o2 = rng.rand(4, batch, 1)
    t = np.linspace(0, 1, steps)
    y = 0.5 * np.sin((t - o1) * (10 * f1 + 10))  # y (batch, steps): t (steps,) beside o1, f1 (batch, 1)
    y += 0.2 * np.sin((t - o2) * (20 * f2 + 20))
    y += 0.1 * (rng.rand(batch, steps) - 0.5)
    return y[..., None].astype(np.float32)


def _read(file: str, time: str, unit_of_time: str, target: str, unit: str, source: str) -> Dataset:
    with open(file, newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    columns = {name: _column([row[name] for row in rows]) for name in rows[0] if name != time}
    moments = np.array([row[time] for row in rows], dtype=f"datetime64[{unit_of_time}]")
    return Dataset(moments, columns, target, unit, source)


def _column(cells: list[str]) -> np.ndarray:
    """Numbers with NaN for empty cells, or strings if one cell is no number."""
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return np.array(cells)
