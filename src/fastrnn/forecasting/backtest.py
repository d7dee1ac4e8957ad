"""Errors on the held-out end of a series: what each forecaster would have said, row by row, against what came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastrnn import _check

from .estimator import ONLY, BaseForecaster, Panel, as_panel, clone
from .forecaster import Forecaster
from .intervals import interval_pairs
from .windows import Split, origins_between, targets_after

__all__ = ["Backtest", "Coverage", "backtest"]


@dataclass(frozen=True)
class Coverage:
    """How often an interval held the truth.

    Attributes
    ----------
    nominal, actual : float
        Fractions of the values.
    width : float
        Mean distance of its ends, in units of the target.
    by_step : (horizon,) array
        The actual fraction at each step ahead.
    """

    nominal: float
    actual: float
    width: float
    by_step: np.ndarray


@dataclass(frozen=True)
class Backtest:
    """Forecasts of a test part from rolling origins, and the truth.

    Attributes
    ----------
    origins : (n,) array
        Rows after which the forecasts start.
    truth : (n, horizon) array
        What came; NaN where the series had a gap, which counts nowhere.
    forecasts : dict of str to (n, horizon) array
    fitted : dict of str to forecaster
        The forecasters that said so, as they were fitted last: clones of those given.
    series : (n,) array of str
        The series of each origin; empty strings where there is one series.
    quantiles : dict of str to (n, horizon, Q) array
        Of the forecasters that have quantiles.
    """

    origins: np.ndarray
    truth: np.ndarray
    forecasts: dict[str, np.ndarray]
    fitted: dict[str, BaseForecaster] = field(default_factory=dict)
    series: np.ndarray = field(default_factory=lambda: np.empty(0, "U1"))
    quantiles: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def counted(self) -> int:
        """Forecast values that have a true value to be held against."""
        return int(np.isfinite(self.truth).sum())

    @property
    def series_names(self) -> list[str]:
        """The names of the series, in the order of the test; none where there is one series."""
        return [str(name) for name in dict.fromkeys(self.series.tolist()) if name != ONLY]

    def mae(self, name: str) -> float:
        """Mean absolute error over all steps ahead."""
        return float(np.nanmean(np.abs(self._error(name))))

    def rmse(self, name: str) -> float:
        """Root of the mean squared error over all steps ahead."""
        return float(np.sqrt(np.nanmean(self._error(name) ** 2)))

    def mae_by_step(self, name: str) -> np.ndarray:
        """Mean absolute error of each step ahead, (horizon,); NaN where nothing is known."""
        error = np.abs(self._error(name))
        count = np.isfinite(error).sum(axis=0)
        return np.divide(np.nansum(error, axis=0), count, out=np.full(error.shape[1], np.nan), where=count > 0)

    def coverage(self, name: str) -> list[Coverage]:
        """How often each interval of a forecaster with quantiles held the truth, the widest interval first."""
        if name not in self.quantiles:
            return []
        forecaster = self.fitted[name]
        assert isinstance(forecaster, Forecaster)
        said, levels = self.quantiles[name], forecaster.quantiles_
        known = np.isfinite(self.truth)
        result = []
        for low, high in interval_pairs(levels):
            lower, upper = said[..., levels.index(low)], said[..., levels.index(high)]
            inside = (lower <= self.truth) & (self.truth <= upper)
            by_step = np.divide(
                (inside & known).sum(axis=0),
                known.sum(axis=0),
                out=np.full(known.shape[1], np.nan),
                where=known.any(axis=0),
            )
            width = float((upper - lower)[known].mean())
            result.append(Coverage(high - low, float(inside[known].mean()), width, by_step))
        return result

    def best(self, names: Any = None) -> str:
        """The name with the least mean absolute error."""
        return min(self.forecasts if names is None else names, key=self.mae)

    def only(self, rows: np.ndarray) -> Backtest:
        """The same test with some of its origins, given as a mask or as places in `origins`."""
        return Backtest(
            self.origins[rows],
            self.truth[rows],
            {name: forecast[rows] for name, forecast in self.forecasts.items()},
            self.fitted,
            self.series[rows] if self.series.size else self.series,
            {name: quantiles[rows] for name, quantiles in self.quantiles.items()},
        )

    def of_series(self, name: str) -> Backtest:
        """The test of one series.

        Parameters
        ----------
        name : str
            One of `series_names`.
        """
        if name not in self.series_names:
            raise ValueError(f"name: expected one of {', '.join(self.series_names) or 'no series'}, got {name!r}")
        return self.only(self.series == name)

    def last_origin(self) -> Backtest:
        """The test with the last origin of each series alone: the forecast of its last `horizon` rows."""
        latest = {name: i for i, name in enumerate(self.series.tolist())} if self.series.size else {ONLY: -1}
        return self.only(np.array(list(latest.values())))

    def _error(self, name: str) -> np.ndarray:
        return self.forecasts[name] - self.truth


def backtest(
    forecasters: Mapping[str, BaseForecaster],
    split: Split | Mapping[str, Split],
    y: Any,
    X: Any = None,
    *,
    time: Any = None,
    known: Any = None,
    planned: Any = None,
    stride: int = 1,
    refit: int | None = None,
) -> Backtest:
    """Fit a clone of every forecaster on the rows before the test part, then forecast from each row of the test part.

    The rows of training and validation are one to a baseline, which has nothing to watch; a forecaster with a
    ``validation`` parameter trains on the training rows alone and watches the validation rows.  A forecast from row t
    sees the true values of all rows up to t, in the test part too, as it would in use.

    Parameters
    ----------
    forecasters : mapping of str to forecaster
        All with the same horizon; they stay as they are.
    split : Split, or a mapping of them by series
        From `split_end`.
    y, X, time, known, planned
        As for ``Forecaster.fit``, the whole series.
    stride : int
        Rows from one origin to the next; the last one is always that from which the series' end is forecast.
    refit : int, optional
        Fit all forecasters anew after so many rows of the test part, each time on all rows before; by default they are
        fitted once.  The length of the validation part stays.

    Returns
    -------
    Backtest

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.forecasting import LastValue, SeasonalNaive, backtest, split_end
    >>> y = np.tile([1.0, 2.0, 4.0], 40)
    >>> result = backtest({"last": LastValue(), "season": SeasonalNaive(3)}, split_end(120, window=6, horizon=1), y)
    >>> result.mae("last"), result.mae("season")
    (2.0, 0.0)
    """
    horizons = {forecaster.horizon for forecaster in forecasters.values()}
    if len(horizons) != 1:
        raise ValueError(f"forecasters: expected one horizon, got {sorted(horizons)}")
    (horizon,) = horizons
    _check.integer("stride", stride, 1)
    panel = as_panel(y, X, time, planned, known)
    splits = {str(name): part for name, part in split.items()} if isinstance(split, Mapping) else {ONLY: split}
    if set(splits) != set(panel):
        raise ValueError(f"split: expected a mapping with the series of y, {', '.join(panel)}; see split_end")
    origins = {name: _origins(part, horizon, stride) for name, part in splits.items()}
    fitted = {name: clone(forecaster) for name, forecaster in forecasters.items()}
    parts = []
    for ahead in _stages(splits, refit):
        now = {name: _between(rows, splits[name].test - 1 + ahead, refit) for name, rows in origins.items()}
        if any(rows.size for rows in now.values()):
            before = {name: history.until(splits[name].test + ahead) for name, history in panel.items()}
            _fit_all(fitted, before, {name: part.test - part.validation for name, part in splits.items()})
            parts += [_forecast(fitted, name, panel, rows) for name, rows in now.items()]
    # one series after the other, in time
    order = [part for name in panel for part in parts if part[0] == name]
    truth = np.concatenate([_truth(panel, name, rows, horizon) for name, rows, _, _ in order])
    if not np.isfinite(truth).any():
        rows = min(part.stop - part.test for part in splits.values())
        raise ValueError(f"too few rows to test: no true value in the last {rows} rows")
    return Backtest(
        np.concatenate([rows for _, rows, _, _ in order]),
        truth,
        {name: np.concatenate([said[name] for _, _, said, _ in order]) for name in fitted},
        fitted,
        np.concatenate([np.full(rows.size, name) for name, rows, _, _ in order]),
        {name: np.concatenate([quantiles[name] for *_, quantiles in order]) for name in order[0][3]},
    )


_Part = tuple[str, np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]  # series, origins, forecasts, quantiles


def _origins(split: Split, horizon: int, stride: int) -> np.ndarray:
    """Origins in the test part, counted back from the last."""
    return origins_between(split.test, split.stop, 1, horizon)[::-1][::stride][::-1]


def _stages(splits: Mapping[str, Split], refit: int | None) -> range:
    """How many rows of the test part are known where the forecasters are fitted."""
    longest = max(part.stop - part.test for part in splits.values())
    if refit is None:
        return range(1)
    return range(0, longest, _check.integer("refit", refit, 1))


def _between(origins: np.ndarray, first: int, count: int | None) -> np.ndarray:
    """The origins from one row on, `count` rows of them."""
    return origins if count is None else origins[(origins >= first) & (origins < first + count)]


def _fit_all(fitted: Mapping[str, BaseForecaster], panel: Panel, validation: Mapping[str, int]) -> None:
    data = _arguments(panel)
    for forecaster in fitted.values():
        if "validation" in forecaster.get_params():
            forecaster.set_params(validation=min(validation.values()))
        forecaster.fit(**data)


def _arguments(panel: Panel) -> dict[str, Any]:
    """A panel as the arguments of `fit`."""

    def column(name: str) -> Any:
        return {series: getattr(history, name) for series, history in panel.items()}

    arguments = {name: column(name) for name in ("y", "X", "time", "known", "planned")}
    if next(iter(panel.values())).time is None:
        arguments["time"] = None
    return {name: value[ONLY] if value and ONLY in value else value for name, value in arguments.items()}


def _forecast(fitted: Mapping[str, BaseForecaster], series: str, panel: Panel, origins: np.ndarray) -> _Part:
    """What all say about one series."""
    arguments = _arguments({series: panel[series]})
    del arguments["known"]
    at = origins if series == ONLY else {series: origins}
    said, quantiles = {}, {}
    for name, forecaster in fitted.items():
        if isinstance(forecaster, Forecaster) and forecaster.quantiles is not None:
            all_of_them = forecaster.predict_quantiles_at(at, **arguments)
            quantiles[name] = all_of_them if series == ONLY else all_of_them[series]
            said[name] = quantiles[name][..., forecaster.quantiles_.index(0.5)]
        else:
            forecast = forecaster.predict_at(at, **arguments)
            said[name] = forecast if series == ONLY else forecast[series]
    return series, origins, said, quantiles


def _truth(panel: Panel, series: str, origins: np.ndarray, horizon: int) -> np.ndarray:
    """What came, NaN where it is not known."""
    y, known = panel[series].y, panel[series].known
    return np.where(targets_after(known, horizon, origins), targets_after(y, horizon, origins), np.nan)
