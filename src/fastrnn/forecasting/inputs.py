"""From a series to the table of inputs that both the network and the linear baseline look at."""

from __future__ import annotations

from typing import Any

import numpy as np

from .calendar import TimeStep, calendar_inputs, calendar_periods
from .estimator import History
from .scaling import ColumnScaler
from .windows import targets_after

__all__ = ["InputTable"]


class InputTable:
    """Scaled columns, the target first, calendar inputs of the moment after each row, and planned values of the next.

    Every series has a table of its own, so that a small shop and a large one look alike to the network.

    Parameters
    ----------
    history : History
        The rows to learn from.
    rows : slice
        The training part: the scaling is fitted on these rows alone.
    step : TimeStep or None
        Without it there are no calendar inputs.
    """

    def __init__(self, history: History, rows: slice, step: TimeStep | None) -> None:
        self.scaler = ColumnScaler().fit(history.columns[rows])
        self.plan = ColumnScaler().fit(history.planned[rows])
        self.step = step
        self.periods = [] if step is None else calendar_periods(step, rows.stop)

    def columns(self, history: History) -> np.ndarray:
        """Scaled target and other columns (N, C)."""
        return self.scaler.transform(history.columns)

    def calendar(self, time: np.ndarray | None, rows: int) -> np.ndarray:
        """Calendar inputs (N, K); K = 0 without times."""
        if time is None or self.step is None:
            return np.empty((rows, 0))
        return calendar_inputs(time, self.step, self.periods)

    def planned(self, history: History, rows: np.ndarray, ahead: int) -> np.ndarray:
        """Scaled planned values of the `ahead` steps after each of `rows`, (n, ahead * P).

        Steps beyond the plan, which no forecast looks at, have the values of its last row.
        """
        scaled = self.plan.transform(history.planned)
        beyond = np.clip(np.asarray(rows).max(initial=0) + ahead + 1 - len(scaled), 0, None)
        scaled = np.pad(scaled, ((0, int(beyond)), (0, 0)), mode="edge")
        return targets_after(scaled, ahead, rows).reshape(len(rows), -1)

    def table(self, history: History, ahead: int = 1) -> np.ndarray:
        """Columns, calendar and planned values side by side, (N, C + K + ahead * P)."""
        rows = history.y.size
        parts = [self.columns(history), self.calendar(history.time, rows)]
        if history.planned.shape[1]:
            parts.append(self.planned(history, np.arange(rows), ahead))
        return np.hstack(parts)

    def to_plain(self) -> dict[str, Any]:
        """The scaling and the calendar as JSON takes them."""
        return {
            "scaler": self.scaler.to_plain(),
            "plan": self.plan.to_plain(),
            "step": None if self.step is None else list(self.step),
            "periods": self.periods,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> InputTable:
        """The inverse of `to_plain`."""
        table = cls.__new__(cls)
        table.scaler, table.plan = (ColumnScaler.from_plain(plain[name]) for name in ("scaler", "plan"))
        table.step = None if plain["step"] is None else TimeStep(*plain["step"])
        table.periods = list(plain["periods"])
        return table
