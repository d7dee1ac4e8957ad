"""What every forecaster is: scikit-learn's parameters, one form of data, forecasts from any row of a series."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple, Self

import numpy as np

from fastrnn import _check

from .calendar import TimeStep, as_times, infer_time_step
from .scaling import LARGEST

__all__ = ["BaseForecaster", "History", "clone"]


class History(NamedTuple):
    """A checked series: target y (N,), other columns X (N, C - 1), time (N,) or None, all float64 and finite."""

    y: np.ndarray
    X: np.ndarray
    time: np.ndarray | None

    @property
    def columns(self) -> np.ndarray:
        """Target and other columns side by side, (N, C)."""
        return np.column_stack([self.y, self.X])

    @classmethod
    def check(cls, y: Any, X: Any = None, time: Any = None) -> History:
        """The three as arrays that fit each other, or an error that names the one that does not."""
        y = _usable("y", _check.as_float_array("y", y, np.float64, ndim=1))
        rows = y.size
        if rows == 0:
            raise ValueError("y: expected at least 1 value, got 0")
        X = np.empty((rows, 0)) if X is None else _check.as_float_array("X", X, np.float64, ndim=2)
        if len(X) != rows:
            raise ValueError(f"X: expected shape (N, C) with N = {rows} as in y, got {X.shape}")
        if time is not None:
            time = as_times("time", time)
            _check.require_shape("time", time, (rows,), "(N,)")
            if (np.diff(time) <= np.timedelta64(0, "us")).any():
                raise ValueError("time: expected moments in rising order, each once; sort the rows")
        return cls(y, _usable("X", X), time)


def _usable(name: str, array: np.ndarray) -> np.ndarray:
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise ValueError(
            f"{name}: expected finite numbers, got {bad} NaN or infinite of {array.size}; fill them with "
            "fastrnn.forecasting.fill_gaps and say which y are real with known="
        )
    largest = np.abs(array).max(initial=0.0)
    if largest > LARGEST:
        raise ValueError(
            f"{name}: its numbers are too large to be scaled, up to {largest:g}, expected at most {LARGEST:g}; "
            "give them in a larger unit"
        )
    return array


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

    def fit(self, y: Any, X: Any = None, *, time: Any = None, known: Any = None) -> Self:
        """Learn from a series.

        Parameters
        ----------
        y : (N,) array
            The target at even steps of time, without NaN.
        X : (N, C) array, optional
            Other columns; row t is known at the same time as y[t], not before.
        time : (N,) datetime64 array, optional
            The moments of the rows; calendar inputs are made of them.
        known : (N,) bool array, optional
            False where y was filled in: never used as a target.

        Returns
        -------
        self
        """
        _check.integer("horizon", self.horizon, 1)
        history = History.check(y, X, time)
        if known is None:
            known = np.ones(history.y.size, dtype=np.bool_)
        known = _check.as_bool_mask("known", known, history.y.shape, "(N,)")
        if not known.any():
            raise ValueError(f"known: expected at least one real target, got {known.size} times False")
        self.n_features_in_ = history.X.shape[1]
        self.step_: TimeStep | None = None if history.time is None else infer_time_step(history.time)
        self._fit(history, known)
        self.data_ = history
        return self

    def predict(self, y: Any = None, X: Any = None, *, time: Any = None) -> np.ndarray:
        """The `horizon` values that follow a series, by default the series of `fit`.

        Parameters
        ----------
        y, X, time
            As for `fit`; the last row is the last that is known.

        Returns
        -------
        (horizon,) float64 array
        """
        self._require_fitted()
        history = self.data_ if y is None else self._check_history(y, X, time)
        return self._predict_at(history, np.array([history.y.size - 1]))[0]

    def predict_at(self, origins: Any, y: Any, X: Any = None, *, time: Any = None) -> np.ndarray:
        """A forecast from each of many rows of a series: from row t with rows up to t alone.

        Parameters
        ----------
        origins : (n,) ints
            Rows after which the forecasts start.
        y, X, time
            As for `fit`.

        Returns
        -------
        (n, horizon) float64 array
        """
        self._require_fitted()
        history = self._check_history(y, X, time)
        origins = np.asarray(origins)
        rows = history.y.size
        origins = _check.as_int_vector("origins", origins, origins.size, 0, rows - 1, "(n,)")
        return self._predict_at(history, origins)

    def _require_fitted(self) -> None:
        if not hasattr(self, "data_"):
            raise ValueError(f"this {type(self).__name__} is not fitted yet; call fit first")

    def _check_history(self, y: Any, X: Any, time: Any) -> History:
        history = History.check(y, X, time)
        if history.X.shape[1] != self.n_features_in_:
            raise ValueError(f"X: expected {self.n_features_in_} columns as in fit, got {history.X.shape[1]}")
        if (history.time is None) != (self.step_ is None):
            given = "no times" if self.step_ is None else "times"
            raise ValueError(f"time: expected {given} as in fit")
        return history

    def _fit(self, history: History, known: np.ndarray) -> None:
        raise NotImplementedError

    def _predict_at(self, history: History, origins: np.ndarray) -> np.ndarray:
        raise NotImplementedError


def clone(forecaster: BaseForecaster) -> BaseForecaster:
    """An unfitted forecaster with the same parameters."""
    return type(forecaster)(**forecaster.get_params())
