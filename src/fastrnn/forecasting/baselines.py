"""What a forecast must beat: the last value, the value one season ago, a straight line, exponential smoothing."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check

from .calendar import default_season
from .estimator import BaseForecaster, History, Panel, require_past
from .inputs import InputTable
from .windows import origins_between, targets_after, windows_until

__all__ = ["HoltWinters", "LastValue", "Linear", "SeasonalNaive", "seasonal_past"]


class LastValue(BaseForecaster):
    """It stays as it is: every forecast is the last known value.

    Parameters
    ----------
    horizon : int
        Steps ahead.

    Examples
    --------
    >>> from fastrnn.forecasting import LastValue
    >>> LastValue(horizon=2).fit([1.0, 3.0, 2.0]).predict()
    array([2., 2.])
    """

    def __init__(self, horizon: int = 1) -> None:
        self.horizon = horizon

    def _fit(self, panel: Panel) -> None:
        pass  # there is nothing to learn

    def _predict_at(self, series: str, history: History, origins: np.ndarray) -> np.ndarray:
        # forecast (n, horizon) = y[t]
        return np.repeat(history.y[origins][:, None], self.horizon, axis=1)


def seasonal_past(y: np.ndarray, origins: np.ndarray, season: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """The last known value of the same place in the season for each step ahead, and how many seasons ago it was.

    Returns
    -------
    past : (n, horizon) array
        y[t + k - j·season].
    seasons : (horizon,) int array
        j, the least number of seasons that leads from t + k back to t or before.
    """
    ahead = np.arange(1, horizon + 1)
    seasons = -(-ahead // season)
    return y[origins[:, None] + ahead - seasons * season], seasons


class SeasonalNaive(BaseForecaster):
    """It comes again: the forecast for a moment is the value one season before it (of the last season that is known).

    Parameters
    ----------
    season : int, optional
        Steps in a season; inferred from the time step by default: a week of hours 168, of days 7, a year of weeks 52,
        of months 12.  Without times, or when two seasons don't fit into the series, it is 1: the last value.
    horizon : int
        Steps ahead.
    growth : bool
        Add, for each season ahead, by how much the mean of the last season exceeds that of the one before it.

    Attributes
    ----------
    season_ : int
        The season in use.

    Examples
    --------
    >>> from fastrnn.forecasting import SeasonalNaive
    >>> SeasonalNaive(season=3, horizon=4).fit([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).predict()
    array([4., 5., 6., 4.])
    >>> SeasonalNaive(season=3, horizon=4, growth=True).fit([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).predict()
    array([ 7.,  8.,  9., 10.])
    """

    def __init__(self, season: int | None = None, horizon: int = 1, growth: bool = False) -> None:
        self.season = season
        self.horizon = horizon
        self.growth = growth

    def _fit(self, panel: Panel) -> None:
        _check.boolean("growth", self.growth)
        rows = min(history.y.size for history in panel.values())
        if self.season is None:
            self.season_ = default_season(self.step_, rows)
            return
        self.season_ = _check.integer("season", self.season, 1)
        needed = 2 * self.season_ if self.growth else self.season_
        if needed > rows:
            twice = "half of " if self.growth else ""
            raise ValueError(f"season: expected at most {twice}the {rows} values of y, got {self.season_}")

    def _predict_at(self, series: str, history: History, origins: np.ndarray) -> np.ndarray:
        season = self.season_
        if not self.growth:
            require_past(origins, season, "season - 1")
            return seasonal_past(history.y, origins, season, self.horizon)[0]
        require_past(origins, 2 * season, "2 * season - 1")
        # growth (n,): mean of the last season less that of the one before
        sums = np.concatenate([[0.0], np.cumsum(history.y)])
        end = origins + 1
        growth = (sums[end] - 2 * sums[end - season] + sums[end - 2 * season]) / season
        past, seasons = seasonal_past(history.y, origins, season, self.horizon)
        return past + growth[:, None] * seasons


class Linear(BaseForecaster):
    """Least squares on the window: each step ahead is a weighted sum of all that the network sees.

    The inputs are every column at every row of the window, the calendar of the moment after the window (the calendar
    at the other rows is a linear combination of it) and the planned values of all steps ahead.  Of many equally good
    solutions, as columns that depend on each other have them, the shortest is taken, so that no weight explodes.
    Several series share the weights, each scaled by itself.

    Parameters
    ----------
    window : int
        Rows in the window.
    horizon : int
        Steps ahead.

    Attributes
    ----------
    coef_ : (window * C + K + horizon * P, horizon) array
        Weights on scaled inputs.
    intercept_ : (horizon,) array
    rank_ : int
        Independent inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.forecasting import Linear
    >>> Linear(window=2, horizon=2).fit(np.arange(20.0)).predict().round(6)
    array([20., 21.])
    """

    def __init__(self, window: int = 48, horizon: int = 1) -> None:
        self.window = window
        self.horizon = horizon

    def _fit(self, panel: Panel) -> None:
        window = _check.integer("window", self.window, 1)
        self._inputs = {name: InputTable(h, slice(0, h.y.size), self.step_) for name, h in panel.items()}
        designs, targets = [], []
        for name, history in panel.items():
            origins = origins_between(0, history.y.size, window, self.horizon)
            origins = origins[targets_after(history.known, self.horizon, origins).all(axis=1)]
            designs.append(self._design(name, history, origins))
            targets.append(targets_after(self._inputs[name].columns(history)[:, 0], self.horizon, origins))
        # a (n, P), target (n, horizon): least squares of a·coef = target with both centred
        a, target = np.vstack(designs), np.vstack(targets)
        if len(a) < 2:
            raise ValueError(f"y: expected at least 2 windows of {window} + {self.horizon} values, got {len(a)}")
        a_mean, target_mean = a.mean(axis=0), target.mean(axis=0)
        self.coef_, _, self.rank_, _ = np.linalg.lstsq(a - a_mean, target - target_mean, rcond=1e-8)
        self.intercept_ = target_mean - a_mean @ self.coef_

    def _design(self, series: str, history: History, origins: np.ndarray) -> np.ndarray:
        """Window, calendar and plan of each origin in one row, (n, window * C + K + horizon * P)."""
        require_past(origins, self.window, "window - 1")
        inputs = self._inputs[series]
        windows = windows_until(inputs.columns(history), self.window, origins)
        calendar = inputs.calendar(history.time, history.y.size)[origins]
        planned = inputs.planned(history, origins, self.horizon)
        return np.hstack([windows.reshape(len(origins), -1), calendar, planned])

    def _predict_at(self, series: str, history: History, origins: np.ndarray) -> np.ndarray:
        # forecast (n, horizon) = a (n, P) · coef (P, horizon) + intercept
        scaled = self._design(series, history, origins) @ self.coef_ + self.intercept_
        return self._inputs[series].scaler.inverse(0, scaled)


class HoltWinters(BaseForecaster):
    """Level, trend and season, each smoothed exponentially (Holt, 1957; Winters, 1960); fitted by statsmodels.

    .. code-block:: text

        level[t]  = alpha·(y[t] - season[t-m]) + (1 - alpha)·(level[t-1] + trend[t-1])
        trend[t]  = beta·(level[t] - level[t-1]) + (1 - beta)·trend[t-1]
        season[t] = gamma·(y[t] - level[t-1] - trend[t-1]) + (1 - gamma)·season[t-m]
        forecast[t+k] = level[t] + k·trend[t] + season[t + k - j·m],  j = ceil(k / m)

    Smoothing constants and initial values are chosen on the series of `fit`; a forecast from a later row smooths on
    with these constants.

    Parameters
    ----------
    season : int, optional
        Steps in a season, at least 2; inferred from the time step by default.
    horizon : int
        Steps ahead.

    Raises
    ------
    ImportError
        From `fit`, if statsmodels is not installed.

    Notes
    -----
    The equations hold for the last value too: where j·m steps are forecast, ``season[t]`` knows y[t].  statsmodels'
    own ``forecast`` leaves that one value out.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.forecasting import HoltWinters
    >>> y = np.tile([1.0, 2.0, 6.0], 20) + 0.1 * np.arange(60)
    >>> try:
    ...     forecast = HoltWinters(season=3, horizon=3).fit(y).predict()
    ... except ImportError:  # without statsmodels
    ...     forecast = np.array([7.0, 8.1, 12.2])
    >>> forecast.round(1)
    array([ 7. ,  8.1, 12.2])
    """

    def __init__(self, season: int | None = None, horizon: int = 1) -> None:
        self.season = season
        self.horizon = horizon

    def _fit(self, panel: Panel) -> None:
        rows = min(history.y.size for history in panel.values())
        season = default_season(self.step_, rows) if self.season is None else self.season
        self.season_ = _check.integer("season", season, 2)
        if 2 * self.season_ > rows:
            raise ValueError(f"season: expected at most half of the {rows} values of y, got {self.season_}")
        self.smoothing_ = {name: _Smoothing.fitted(history.y, self.season_) for name, history in panel.items()}

    def _predict_at(self, series: str, history: History, origins: np.ndarray) -> np.ndarray:
        require_past(origins, self.season_, "season - 1")
        return self.smoothing_[series].forecast(history.y, origins, self.season_, self.horizon)


class _Smoothing(NamedTuple):
    """Smoothing constants and initial values of one series."""

    alpha: float
    beta: float
    gamma: float
    level: float
    trend: float
    seasons: np.ndarray

    @classmethod
    def fitted(cls, y: np.ndarray, season: int) -> _Smoothing:
        """The least squared error one step ahead, found by statsmodels."""
        import warnings

        try:
            from statsmodels.tsa.holtwinters import ExponentialSmoothing
        except ImportError:
            raise ImportError(
                'the Holt-Winters baseline needs statsmodels: pip install "fastrnn[holt-winters]"'
            ) from None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an optimum at a bound is an optimum
            p: dict[str, Any] = (
                ExponentialSmoothing(
                    y, trend="add", seasonal="add", seasonal_periods=season, initialization_method="estimated"
                )
                .fit()
                .params
            )
        return cls(
            float(p["smoothing_level"]),
            float(p["smoothing_trend"]),
            float(p["smoothing_seasonal"]),
            float(p["initial_level"]),
            float(p["initial_trend"]),
            np.asarray(p["initial_seasons"], np.float64),
        )

    def forecast(self, y: np.ndarray, origins: np.ndarray, season: int, horizon: int) -> np.ndarray:
        """Forecasts (n, horizon) from each origin."""
        last = int(origins.max(initial=-1)) + 1
        # level, trend (N,) and season (m + N,), whose first m entries come before the series
        levels, trends = np.empty(last), np.empty(last)
        seasons = np.concatenate([self.seasons, np.empty(last)])
        level, trend = self.level, self.trend
        for t in range(last):
            before = level + trend
            level = self.alpha * (y[t] - seasons[t]) + (1 - self.alpha) * before
            seasons[season + t] = self.gamma * (y[t] - before) + (1 - self.gamma) * seasons[t]
            trend = self.beta * (level - before + trend) + (1 - self.beta) * trend
            levels[t], trends[t] = level, trend
        ahead = np.arange(1, horizon + 1)
        seasonal = seasonal_past(seasons, origins + season, season, horizon)[0]
        return levels[origins][:, None] + trends[origins][:, None] * ahead + seasonal
