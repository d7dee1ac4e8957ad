"""From a series to the table of inputs that both the network and the linear baseline look at."""

from __future__ import annotations

import numpy as np

from .calendar import TimeStep, calendar_inputs, calendar_periods
from .estimator import History
from .scaling import ColumnScaler

__all__ = ["InputTable"]


class InputTable:
    """Scaled columns, the target first, and calendar inputs of the moment after each row.

    Parameters
    ----------
    history : History
        The rows to learn from.
    rows : int
        How many of them, from the start, are the training part: the scaling is fitted on these alone.
    step : TimeStep or None
        Without it there are no calendar inputs.
    """

    def __init__(self, history: History, rows: int, step: TimeStep | None) -> None:
        self.scaler = ColumnScaler().fit(history.columns[:rows])
        self.step = step
        self.periods = [] if step is None else calendar_periods(step, rows)

    def columns(self, history: History) -> np.ndarray:
        """Scaled target and other columns (N, C)."""
        return self.scaler.transform(history.columns)

    def calendar(self, time: np.ndarray | None, rows: int) -> np.ndarray:
        """Calendar inputs (N, K); K = 0 without times."""
        if time is None or self.step is None:
            return np.empty((rows, 0))
        return calendar_inputs(time, self.step, self.periods)

    def table(self, history: History) -> np.ndarray:
        """Columns and calendar side by side, (N, C + K)."""
        return np.hstack([self.columns(history), self.calendar(history.time, history.y.size)])
