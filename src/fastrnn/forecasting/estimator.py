"""What every forecaster is: scikit-learn's parameters, one form of data, forecasts from any row of a series.

The data are one series, given as arrays, or several, given as mappings from a series' name to its arrays.  Inside, both
are a *panel*: a dict of `History`, with the one name ``ONLY`` where the series has none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from fastrnn import _check

from .calendar import TimeStep, as_times, infer_time_step
from .scaling import LARGEST

__all__ = ["ONLY", "BaseForecaster", "History", "Panel", "clone", "require_past"]

ONLY = ""  # the name of a series that stands alone


class History(NamedTuple):
    """A checked series: all arrays float64 and finite, `time` and `known` apart.

    Attributes
    ----------
    y : (N,) array
        The target.
    X : (N, C - 1) array
        Other columns, known up to the present.
    time : (N,) datetime64 array or None
    planned : (N + M, P) array
        Columns whose values are known ahead; M rows of them lie after the series.
    known : (N,) bool array
        False where y was filled in.
    """

    y: np.ndarray
    X: np.ndarray
    time: np.ndarray | None
    planned: np.ndarray
    known: np.ndarray

    @property
    def columns(self) -> np.ndarray:
        """Target and other columns side by side, (N, C)."""
        return np.column_stack([self.y, self.X])

    @classmethod
    def check(
        cls, y: Any, X: Any = None, time: Any = None, planned: Any = None, known: Any = None, series: str = ONLY
    ) -> History:
        """The arrays once they fit each other, or an error that names the one that does not."""

        def name(argument: str) -> str:
            return argument if series == ONLY else f"{argument}[{series!r}]"

        y = _usable(name("y"), _check.as_float_array(name("y"), y, np.float64, ndim=1))
        rows = y.size
        if rows == 0:
            raise ValueError(f"{name('y')}: expected at least 1 value, got 0")
        X = np.empty((rows, 0)) if X is None else _check.as_float_array(name("X"), X, np.float64, ndim=2)
        if len(X) != rows:
            raise ValueError(f"{name('X')}: expected shape (N, C) with N = {rows} as in y, got {X.shape}")
        if time is not None:
            time = as_times(name("time"), time)
            _check.require_shape(name("time"), time, (rows,), "(N,)")
            if (np.diff(time) <= np.timedelta64(0, "us")).any():
                raise ValueError(f"{name('time')}: expected moments in rising order, each once; sort the rows")
        if planned is None:
            planned = np.empty((rows, 0))
        planned = _check.as_float_array(name("planned"), planned, np.float64, ndim=2)
        if len(planned) < rows:
            raise ValueError(
                f"{name('planned')}: expected shape (N + M, P) with N = {rows} as in y, got {planned.shape}"
            )
        known = np.ones(rows, np.bool_) if known is None else _check.as_bool_mask(name("known"), known, (rows,), "(N,)")
        return cls(y, _usable(name("X"), X), time, _usable(name("planned"), planned), known)

    def until(self, stop: int) -> History:
        """The first `stop` rows; what is planned after them is not forgotten."""
        time = None if self.time is None else self.time[:stop]
        return History(self.y[:stop], self.X[:stop], time, self.planned, self.known[:stop])


Panel = dict[str, History]


def as_panel(y: Any, X: Any = None, time: Any = None, planned: Any = None, known: Any = None) -> Panel:
    """One series or mappings of several as a panel."""
    arguments = {"X": X, "time": time, "planned": planned, "known": known}
    if not isinstance(y, Mapping):
        return {ONLY: History.check(y, X, time, planned, known)}
    if not y:
        raise ValueError("y: expected at least one series, got an empty mapping")
    for name, value in arguments.items():
        if value is not None and (not isinstance(value, Mapping) or set(value) != set(y)):
            shown = f"those of {', '.join(map(str, value))}" if isinstance(value, Mapping) else type(value).__name__
            raise ValueError(f"{name}: expected a mapping with the series of y, {', '.join(map(str, y))}; got {shown}")
    parts = {
        str(series): {name: None if value is None else value[series] for name, value in arguments.items()}
        for series in y
    }
    return {str(series): History.check(y[series], series=str(series), **parts[str(series)]) for series in y}


def _usable(name: str, array: np.ndarray) -> np.ndarray:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        first = ", ".join(f"{axis} {index}" for axis, index in zip(("row", "column"), bad[0].tolist(), strict=False))
        raise ValueError(
            f"{name}: expected finite numbers, got {len(bad)} NaN or infinite of {array.size}, the first in {first}; "
            "fill them with fastrnn.forecasting.fill_gaps and say which y are real with known="
        )
    largest = np.abs(array).max(initial=0.0)
    if largest > LARGEST:
        raise ValueError(
            f"{name}: its numbers are too large to be scaled, up to {largest:g}, expected at most {LARGEST:g}; "
            "give them in a larger unit"
        )
    return array


def require_past(origins: np.ndarray, rows: int, what: str) -> None:
    """Every origin has so many rows up to itself."""
    if origins.size and origins.min() + 1 < rows:
        raise ValueError(f"origins: expected at least {what} = {rows - 1}, got {origins.min()}")


class BaseForecaster:
    """Base of baselines and network; a subclass writes `_fit` and `_predict_at`.

    Constructor arguments are stored as given and checked in `fit`, as scikit-learn's `clone` wants it.
    """

    horizon: int

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name."""
        names = inspect.signature(type(self).__init__).parameters
        return {name: getattr(self, name) for name in names if name != "self"}

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments by name."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{name}: {type(self).__name__} has no such parameter; it has {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = {name: p.default for name, p in inspect.signature(type(self).__init__).parameters.items()}
        changed = (f"{name}={value!r}" for name, value in self.get_params().items() if value != defaults[name])
        return f"{type(self).__name__}({', '.join(changed)})"

    def fit(self, y: Any, X: Any = None, *, time: Any = None, known: Any = None, planned: Any = None) -> Self:
        """Learn from a series, or from several at once.

        Parameters
        ----------
        y : (N,) array, or mapping of str to such arrays
            The target at even steps of time, without NaN.  A mapping holds several series by name, each of its own
            length; all other arguments are then mappings too.
        X : (N, C) array, optional
            Other columns; row t is known at the same time as y[t], not before.
        time : (N,) datetime64 array, optional
            The moments of the rows; calendar inputs are made of them.
        known : (N,) bool array, optional
            False where y was filled in: never used as a target.
        planned : (N + M, P) array, optional
            Columns that are known ahead (prices, holidays, what a schedule says); the M rows after those of y are the
            future, and a forecast of it needs `horizon` of them.

        Returns
        -------
        self
        """
        _check.integer("horizon", self.horizon, 1)
        panel = as_panel(y, X, time, planned, known)
        first = next(iter(panel.values()))
        if not any(history.known.any() for history in panel.values()):
            raise ValueError(f"known: expected at least one real target, got {first.known.size} times False")
        self.n_features_in_ = first.X.shape[1]
        self.n_planned_ = first.planned.shape[1]
        self.step_: TimeStep | None = None if first.time is None else infer_time_step(first.time)
        for series, history in panel.items():
            self._require_alike(series, history)
        self._fit(panel)
        self.data_ = panel
        return self

    def predict(self, y: Any = None, X: Any = None, *, time: Any = None, planned: Any = None) -> Any:
        """The `horizon` values that follow a series, by default the series of `fit`.

        Parameters
        ----------
        y, X, time, planned
            As for `fit`; the last row of y is the last that is known.

        Returns
        -------
        (horizon,) float64 array, or a dict of such arrays by series
        """
        return self._at_end(self._predict_at, y, X, time, planned)

    def predict_at(self, origins: Any, y: Any, X: Any = None, *, time: Any = None, planned: Any = None) -> Any:
        """A forecast from each of many rows of a series: from row t with rows up to t alone, and what was planned.

        Parameters
        ----------
        origins : (n,) ints, or a mapping of them where y is one
            Rows after which the forecasts start.
        y, X, time, planned
            As for `fit`.

        Returns
        -------
        (n, horizon) float64 array, or a dict of such arrays by series
        """
        return self._at(self._predict_at, origins, y, X, time, planned)

    def _at_end(self, forecast: Callable[..., np.ndarray], y: Any, X: Any, time: Any, planned: Any) -> Any:
        """What a function of series, history and origins says at the end of every series."""
        if y is None:
            self._require_fitted(with_data=True)
            panel = self.data_
        else:
            panel = self._checked_panel(y, X, time, planned)
        said = {}
        for series, history in panel.items():
            self._require_plan(series, history, history.y.size - 1)
            said[series] = forecast(series, history, np.array([history.y.size - 1]))[0]
        return said[ONLY] if set(said) == {ONLY} else said

    def _at(self, forecast: Callable[..., np.ndarray], origins: Any, y: Any, X: Any, time: Any, planned: Any) -> Any:
        """What a function of series, history and origins says at given rows of every series."""
        panel = self._checked_panel(y, X, time, planned)
        alone = set(panel) == {ONLY}
        rows_of = {ONLY: origins} if alone else origins
        if not isinstance(rows_of, Mapping) or not set(map(str, rows_of)) <= set(panel):
            raise ValueError(f"origins: expected a mapping with series of y, {', '.join(panel)}")
        said = {}
        for series, rows in rows_of.items():
            history = panel[str(series)]
            rows = np.asarray(rows)
            rows = _check.as_int_vector("origins", rows, rows.size, 0, history.y.size - 1, "(n,)")
            if rows.size:
                self._require_plan(str(series), history, int(rows.max()))
            said[str(series)] = forecast(str(series), history, rows)
        return said[ONLY] if alone else said

    def _require_fitted(self, with_data: bool = False) -> None:
        if not hasattr(self, "n_features_in_"):
            raise ValueError(f"this {type(self).__name__} is not fitted yet; call fit first")
        if with_data and not hasattr(self, "data_"):
            raise ValueError(f"y: expected a series, this {type(self).__name__} was loaded from a file without one")

    def _require_plan(self, series: str, history: History, last_origin: int) -> None:
        needed = last_origin + 1 + self.horizon
        if self.n_planned_ and len(history.planned) < needed:
            name = "planned" if series == ONLY else f"planned[{series!r}]"
            raise ValueError(
                f"{name}: expected at least {needed} rows, up to the last step to forecast, got {len(history.planned)}"
            )

    def _checked_panel(self, y: Any, X: Any, time: Any, planned: Any) -> Panel:
        self._require_fitted()
        panel = as_panel(y, X, time, planned)
        for series, history in panel.items():
            self._require_alike(series, history)
        return panel

    def _require_alike(self, series: str, history: History) -> None:
        """The same columns, and times or none, as the (first) series of `fit`."""
        where = "" if series == ONLY else f"[{series!r}]"
        for name, array, expected in (
            ("X", history.X, self.n_features_in_),
            ("planned", history.planned, self.n_planned_),
        ):
            if array.shape[1] != expected:
                raise ValueError(f"{name}{where}: expected {expected} columns as in fit, got {array.shape[1]}")
        if (history.time is None) != (self.step_ is None):
            given = "no times" if self.step_ is None else "times"
            raise ValueError(f"time{where}: expected {given} as in fit")

    def _fit(self, panel: Panel) -> None:
        raise NotImplementedError

    def _predict_at(self, series: str, history: History, origins: np.ndarray) -> np.ndarray:
        raise NotImplementedError


def clone(forecaster: BaseForecaster) -> BaseForecaster:
    """An unfitted forecaster with the same parameters."""
    return type(forecaster)(**forecaster.get_params())
