"""All of `fastrnn forecast` but the command line: read, compare, write."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from . import report
from .backtest import backtest
from .baselines import HoltWinters, LastValue, Linear, SeasonalNaive
from .estimator import ONLY, BaseForecaster
from .forecaster import Forecaster
from .networks import WAVENET, recurrent_layers
from .reading import Series
from .report import NETWORK, Outcome
from .windows import Split

__all__ = ["baselines", "compare", "network_words", "require_extras", "write_files"]


def require_extras() -> None:
    """Raise before any work if something that the end will need is not installed."""
    for name in ("pandas", "matplotlib"):
        try:
            __import__(name)
        except ImportError:
            raise ImportError(f'forecasting needs {name}: pip install "fastrnn[forecast]"') from None


def baselines(series: Series, window: int, horizon: int, growing: bool) -> dict[str, tuple[BaseForecaster, str]]:
    """What the network is held against, by name, each with its name in words.

    Parameters
    ----------
    series : Series
        Its season is that of the baselines.
    window, horizon : int
    growing : bool
        Whether those for a series that grows over the seasons are among them: the season before plus its growth and,
        if statsmodels is installed, Holt-Winters.
    """
    season, season_words = series.season, report.season_words(series)
    found: dict[str, tuple[BaseForecaster, str]] = {
        "last_value": (LastValue(horizon=horizon), "last value"),
        "seasonal_naive": (SeasonalNaive(season=season, horizon=horizon), season_words),
    }
    if growing and season > 1:
        grown = SeasonalNaive(season=season, horizon=horizon, growth=True)
        found["seasonal_growth"] = (grown, f"{season_words} + growth")
        if find_spec("statsmodels") is not None:
            found["holt_winters"] = (HoltWinters(season=season, horizon=horizon), "Holt-Winters (statsmodels)")
    words = f"least squares on {window} {report.step_word(series, window)}"
    found["linear"] = (Linear(window=window, horizon=horizon), words)
    return found


def network_words(network: Forecaster) -> str:
    """What kind of network it is, for example "GRU, 2 x 32 units"."""
    kind = "WaveNet" if network.cell == WAVENET else recurrent_layers()[network.cell].__name__
    front = "Conv1D + " if network.frontend == "conv" else ""
    layers = "" if network.layers == 1 else f"{network.layers} x "
    strategy = "" if network.strategy == "direct" else f", {network.strategy.replace('_', '-')}"
    return f"{front}{kind}, {layers}{network.units} units{strategy}"


def compare(
    panel: Mapping[str, Series],
    splits: Mapping[str, Split],
    network: Forecaster,
    unit: str,
    *,
    growing: bool = False,
    stride: int = 1,
    refit: int | None = None,
) -> tuple[Outcome, Forecaster]:
    """Hold a network against every baseline on the end of a series, or of several, and let all say what comes after.

    Parameters
    ----------
    panel : mapping of str to Series
        One series has the empty string for its name.
    splits : mapping of str to Split
    network : Forecaster
        Its horizon and window are those of the baselines too; it stays as it is.
    unit : str
        Of the target.
    growing : bool
        As for `baselines`.
    stride, refit
        As for `backtest`.

    Returns
    -------
    outcome : Outcome
    network : Forecaster
        A clone, fitted on the rows before the (last part of the) test.
    """
    started = clock.perf_counter()
    _require_plan(panel, network.horizon)
    series = next(iter(panel.values()))
    against = baselines(series, network.window, network.horizon, growing)
    forecasters = {name: forecaster for name, (forecaster, _) in against.items()} | {NETWORK: network}
    labels = {name: words for name, (_, words) in against.items()} | {NETWORK: network_words(network)}
    data = _arguments(panel)
    known = _column(panel, lambda series: series.known[:, 0])
    split = splits.get(ONLY, splits)
    result = backtest(forecasters, split, **data, known=known, stride=stride, refit=refit)
    future = {name: _by_series(each.predict(**data)) for name, each in result.fitted.items()}
    fitted = result.fitted[NETWORK]
    assert isinstance(fitted, Forecaster)
    quantiles = {} if fitted.quantiles is None else _by_series(fitted.predict_quantiles(**data))
    seconds = clock.perf_counter() - started
    return Outcome(dict(panel), dict(splits), result, labels, future, quantiles, unit, seconds), fitted


def _require_plan(panel: Mapping[str, Series], horizon: int) -> None:
    """Planned values reach as far as the forecast of what comes next."""
    for name, series in panel.items():
        ahead = len(series.planned) - len(series)
        if series.planned_columns and ahead < horizon:
            where = "" if name == ONLY else f" of series {name!r}"
            steps = report.step_word(series, horizon)
            raise ValueError(
                f"planned: expected values of {', '.join(series.planned_columns)} for the {horizon} {steps} after the "
                f"end{where}, got {ahead}; add rows there with {series.target!r} left empty"
            )


def _column(panel: Mapping[str, Series], column: Callable[[Series], Any]) -> Any:
    """An argument of a forecaster: an array, or a mapping of them by series."""
    columns = {name: column(series) for name, series in panel.items()}
    return columns.get(ONLY, columns)


def _arguments(panel: Mapping[str, Series]) -> dict[str, Any]:
    """The series as `predict` takes them."""
    timeless = any(series.time is None for series in panel.values())
    return {
        "y": _column(panel, lambda series: series.y),
        "X": _column(panel, lambda series: series.X),
        "time": None if timeless else _column(panel, lambda series: series.time),
        "planned": _column(panel, lambda series: series.planned),
    }


def _by_series(said: np.ndarray | dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return said if isinstance(said, dict) else {ONLY: said}


def write_files(outcome: Outcome, network: Forecaster, out: str) -> None:
    """Write picture, forecast, test forecasts and model into a directory; their paths go to ``outcome.files``."""
    from .plots import draw

    writers: dict[str, tuple[str, Callable[[str], Any]]] = {
        "picture": ("forecast.png", lambda path: draw(outcome, path)),
        "forecast": ("forecast.csv", lambda path: report.write_forecast(outcome, path)),
        "test": ("test.csv", lambda path: report.write_test(outcome, path)),
        "model": ("model.safetensors", network.save),
    }
    for name, (file, write) in writers.items():
        path = os.path.join(out, file)
        write(path)
        outcome.files[name] = path
