"""Errors on the held-out end of a series: what each forecaster would have said, row by row, against what came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .estimator import BaseForecaster, clone
from .windows import Split, origins_between, targets_after

__all__ = ["Backtest", "backtest"]


@dataclass(frozen=True)
class Backtest:
    """Forecasts of a test part and the truth.

    Attributes
    ----------
    origins : (n,) array
        Rows after which the forecasts start.
    truth : (n, horizon) array
        What came; NaN where the series had a gap, which counts nowhere.
    forecasts : dict of str to (n, horizon) array
    fitted : dict of str to forecaster
        The forecasters that said so: clones of those given, fitted on the rows before the test part.
    """

    origins: np.ndarray
    truth: np.ndarray
    forecasts: dict[str, np.ndarray]
    fitted: dict[str, BaseForecaster] = field(default_factory=dict)

    @property
    def counted(self) -> int:
        """Forecast values that have a true value to be held against."""
        return int(np.isfinite(self.truth).sum())

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

    def best(self, names: Any = None) -> str:
        """The name with the least mean absolute error."""
        return min(self.forecasts if names is None else names, key=self.mae)

    def _error(self, name: str) -> np.ndarray:
        return self.forecasts[name] - self.truth


def backtest(
    forecasters: Mapping[str, BaseForecaster],
    split: Split,
    y: Any,
    X: Any = None,
    *,
    time: Any = None,
    known: Any = None,
) -> Backtest:
    """Fit a clone of every forecaster on the rows before the test part, then forecast from each row of the test part.

    The rows of training and validation are one to a baseline, which has nothing to watch; a forecaster with a
    ``validation`` parameter trains on the training rows alone and watches the validation rows.  A forecast from row t
    sees the true values of all rows up to t, in the test part too, as it would in use.

    Parameters
    ----------
    forecasters : mapping of str to forecaster
        All with the same horizon; they stay as they are.
    split : Split
        From `split_end`.
    y, X, time, known
        As for ``Forecaster.fit``, the whole series.

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
    y = np.asarray(y, np.float64)
    known = np.ones(y.shape, np.bool_) if known is None else np.asarray(known)
    before = slice(0, split.test)
    origins = origins_between(split.test, split.stop, 1, horizon)
    forecasts = {}
    fitted = {name: clone(forecaster) for name, forecaster in forecasters.items()}
    for name, forecaster in fitted.items():
        if "validation" in forecaster.get_params():
            forecaster.set_params(validation=split.test - split.validation)
        forecaster.fit(y[before], _part(X, before), time=_part(time, before), known=known[before])
        forecasts[name] = forecaster.predict_at(origins, y, X, time=time)
    truth = np.where(targets_after(known, horizon, origins), targets_after(y, horizon, origins), np.nan)
    if not np.isfinite(truth).any():
        raise ValueError(f"too few rows to test: no true value in the last {split.stop - split.test} rows")
    return Backtest(origins, truth, forecasts, fitted)


def _part(array: Any, rows: slice) -> Any:
    return None if array is None else np.asarray(array)[rows]
