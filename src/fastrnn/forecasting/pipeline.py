"""All of `fastrnn forecast` but the command line: read, compare, write."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Callable
from typing import Any

from . import report
from .backtest import backtest
from .baselines import LastValue, Linear, SeasonalNaive
from .estimator import BaseForecaster
from .forecaster import Forecaster
from .reading import Series
from .report import NETWORK, Outcome
from .windows import Split

__all__ = ["compare", "require_extras", "write_files"]


def require_extras() -> None:
    """Raise before any work if something that the end will need is not installed."""
    for name in ("pandas", "matplotlib", "rich"):
        try:
            __import__(name)
        except ImportError:
            raise ImportError(f'forecasting a file needs {name}: pip install "fastrnn[forecast]"') from None


def compare(series: Series, split: Split, network: Forecaster, unit: str) -> tuple[Outcome, Forecaster]:
    """Hold a network against every baseline on the end of a series, and let all say what comes after it.

    Parameters
    ----------
    series : Series
    split : Split
    network : Forecaster
        Its horizon and window are those of the baselines too; it stays as it is.
    unit : str
        Of the target.

    Returns
    -------
    outcome : Outcome
    network : Forecaster
        A clone, fitted on the rows before the test part.
    """
    started = clock.perf_counter()
    horizon, window = network.horizon, network.window
    forecasters: dict[str, BaseForecaster] = {
        "last_value": LastValue(horizon=horizon),
        "seasonal_naive": SeasonalNaive(season=series.season, horizon=horizon),
        "linear": Linear(window=window, horizon=horizon),
        NETWORK: network,
    }
    layers = "" if network.layers == 1 else f"{network.layers} x "
    labels = {
        "last_value": "last value",
        "seasonal_naive": report.season_words(series),
        "linear": f"least squares on {window} {report.step_word(series, window)}",
        NETWORK: f"{network.cell.upper()}, {layers}{network.units} units",
    }
    result = backtest(forecasters, split, series.y, series.X, time=series.time, known=series.known[:, 0])
    future = {name: each.predict(series.y, series.X, time=series.time) for name, each in result.fitted.items()}
    fitted = result.fitted[NETWORK]
    assert isinstance(fitted, Forecaster)
    return Outcome(series, split, result, labels, future, unit, clock.perf_counter() - started), fitted


def write_files(outcome: Outcome, network: Forecaster, out: str) -> None:
    """Write picture, forecast, test forecasts and model into a directory; their paths go to ``outcome.files``."""
    from .plots import draw

    writers: dict[str, tuple[str, Callable[[str], Any]]] = {
        "picture": ("forecast.png", lambda path: draw(outcome, path)),
        "forecast": ("forecast.csv", lambda path: report.write_forecast(outcome, path)),
        "test": ("test.csv", lambda path: report.write_test(outcome, path)),
        "model": ("model.safetensors", network.model_.save),
    }
    for name, (file, write) in writers.items():
        path = os.path.join(out, file)
        write(path)
        outcome.files[name] = path
