"""What a forecast must beat: the last value, the value one season ago, a straight line through the window."""

from __future__ import annotations

import numpy as np

from fastrnn import _check

from .calendar import default_season
from .estimator import BaseForecaster, History
from .inputs import InputTable
from .windows import origins_between, targets_after, windows_until

__all__ = ["LastValue", "Linear", "SeasonalNaive"]


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

    def _fit(self, history: History, known: np.ndarray) -> None:
        pass  # there is nothing to learn

    def _predict_at(self, history: History, origins: np.ndarray) -> np.ndarray:
        # forecast (n, horizon) = y[t]
        return np.repeat(history.y[origins][:, None], self.horizon, axis=1)


class SeasonalNaive(BaseForecaster):
    """It comes again: the forecast for a moment is the value one season before it (of the last season that is known).

    Parameters
    ----------
    season : int, optional
        Steps in a season; inferred from the time step by default: a week of hours 168, of days 7, a year of weeks 52,
        of months 12.  Without times, or when two seasons don't fit into the series, it is 1: the last value.
    horizon : int
        Steps ahead.

    Attributes
    ----------
    season_ : int
        The season in use.

    Examples
    --------
    >>> from fastrnn.forecasting import SeasonalNaive
    >>> SeasonalNaive(season=3, horizon=4).fit([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).predict()
    array([4., 5., 6., 4.])
    """

    def __init__(self, season: int | None = None, horizon: int = 1) -> None:
        self.season = season
        self.horizon = horizon

    def _fit(self, history: History, known: np.ndarray) -> None:
        rows = history.y.size
        if self.season is None:
            self.season_ = default_season(self.step_, rows)
            return
        self.season_ = _check.integer("season", self.season, 1)
        if self.season_ > rows:
            raise ValueError(f"season: expected at most the {rows} values of y, got {self.season_}")

    def _predict_at(self, history: History, origins: np.ndarray) -> np.ndarray:
        if origins.size and origins.min() + 1 < self.season_:
            raise ValueError(f"origins: expected at least season - 1 = {self.season_ - 1}, got {origins.min()}")
        ahead = np.arange(self.horizon)
        # forecast[:, k] = y[t + 1 + (k mod season) - season]
        return history.y[origins[:, None] + 1 + ahead % self.season_ - self.season_]


class Linear(BaseForecaster):
    """Least squares on the window: each step ahead is a weighted sum of all that the network sees.

    The inputs are every column at every row of the window and the calendar of the moment after the window (the calendar
    at the other rows is a linear combination of it).  Of many equally good solutions, as columns that depend on each
    other have them, the shortest is taken, so that no weight explodes.

    Parameters
    ----------
    window : int
        Rows in the window.
    horizon : int
        Steps ahead.

    Attributes
    ----------
    coef_ : (window * C + K, horizon) array
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

    def _fit(self, history: History, known: np.ndarray) -> None:
        rows = history.y.size
        window = _check.integer("window", self.window, 1)
        self._inputs = InputTable(history, rows, self.step_)
        origins = origins_between(0, rows, window, self.horizon)
        origins = origins[targets_after(known, self.horizon, origins).all(axis=1)]
        if origins.size < 2:
            raise ValueError(f"y: expected at least 2 windows of {window} + {self.horizon} values, got {origins.size}")
        # a (n, P), target (n, horizon): least squares of a·coef = target with both centred
        a = self._design(history, origins)
        target = targets_after(self._inputs.columns(history)[:, 0], self.horizon, origins)
        a_mean, target_mean = a.mean(axis=0), target.mean(axis=0)
        self.coef_, _, self.rank_, _ = np.linalg.lstsq(a - a_mean, target - target_mean, rcond=1e-8)
        self.intercept_ = target_mean - a_mean @ self.coef_

    def _design(self, history: History, origins: np.ndarray) -> np.ndarray:
        """Window and calendar of each origin in one row, (n, window * C + K)."""
        if origins.size and origins.min() + 1 < self.window:
            raise ValueError(f"origins: expected at least window - 1 = {self.window - 1}, got {origins.min()}")
        windows = windows_until(self._inputs.columns(history), self.window, origins)
        calendar = self._inputs.calendar(history.time, history.y.size)[origins]
        return np.hstack([windows.reshape(len(origins), -1), calendar])

    def _predict_at(self, history: History, origins: np.ndarray) -> np.ndarray:
        # forecast (n, horizon) = a (n, P) · coef (P, horizon) + intercept
        scaled = self._design(history, origins) @ self.coef_ + self.intercept_
        return self._inputs.scaler.inverse(0, scaled)
