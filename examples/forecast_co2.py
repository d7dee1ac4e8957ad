"""CO2 at Mauna Loa, 24 months ahead: a recipe is chosen on the eighties and judged on the nineties.

Monthly means from 1958 to 2001. The level rises without end and swings with the seasons, so the networks correct the
simplest honest forecast: the same month last year plus the growth of the last year (`differences=12`). Which network,
and how much of the past it reads, is decided by a backtest from rolling origins on the years 1982 to 1991. The winner
and all others are then held against the baselines on 1992 to 2001, trained anew every two years on all that was known.

    python forecast_co2.py [--seeds 3] [--epochs 100] [--out DIR]

prints the tables and writes forecast_co2.png (the error by months ahead).
"""

from __future__ import annotations

import argparse
import os
import time
from importlib.util import find_spec

import numpy as np

from fastrnn import datasets
from fastrnn.forecasting import (
    Backtest,
    Forecaster,
    HoltWinters,
    LastValue,
    Linear,
    SeasonalNaive,
    Split,
    backtest,
    fill_gaps,
)
from fastrnn.forecasting.plots import draw_errors_by_step

YEAR, HORIZON = 12, 24
DECADE, WATCHED = 10 * YEAR, 5 * YEAR  # months of the test part, and of the part before it that stops the training
BASELINES = {
    "last_value": "last value",
    "seasonal_naive": "same month last year",
    "seasonal_growth": "same month last year + growth",
    "holt_winters": "Holt-Winters (statsmodels)",
    "linear": "least squares on 36 months",
}


def candidates(epochs: int, seed: int = 0) -> dict[str, Forecaster]:
    """The networks to choose from."""
    common = {"units": 16, "horizon": HORIZON, "differences": YEAR, "epochs": epochs, "seed": seed}
    return {
        f"{cell.upper()}, {window} months": Forecaster(cell, window=window, **common)
        for cell in ("gru", "lstm")
        for window in (24, 36)
    }


def baselines() -> dict[str, LastValue | SeasonalNaive | HoltWinters | Linear]:
    """What a network has to beat; Holt-Winters if statsmodels is installed."""
    found = {
        "last_value": LastValue(HORIZON),
        "seasonal_naive": SeasonalNaive(YEAR, HORIZON),
        "seasonal_growth": SeasonalNaive(YEAR, HORIZON, growth=True),
        "holt_winters": HoltWinters(YEAR, HORIZON),
        "linear": Linear(36, HORIZON),
    }
    if find_spec("statsmodels") is None:
        del found["holt_winters"]
    return found


def rolling(forecasters: dict, y: np.ndarray, time: np.ndarray, known: np.ndarray, end: int, refit: int) -> Backtest:
    """The backtest on the ten years before row `end`, from every month."""
    split = Split(end - DECADE - WATCHED, end - DECADE, end)
    return backtest(forecasters, split, y[:end], time=time[:end], known=known[:end], refit=refit)


def choose(y: np.ndarray, time: np.ndarray, known: np.ndarray, epochs: int, seeds: int) -> str:
    """The network with the least error on the decade before the test, mean over a few seeds."""
    errors: dict[str, list[float]] = {name: [] for name in candidates(epochs)}
    for seed in range(seeds):
        result = rolling(candidates(epochs, seed), y, time, known, len(y) - DECADE, refit=5 * YEAR)
        for name in errors:
            errors[name].append(result.mae(name))
    print(f"chosen on 1982 to 1991, mean absolute error in ppm over {seeds} seeds:")
    best = min(errors, key=lambda name: float(np.mean(errors[name])))
    for name, values in errors.items():
        print(f"  {name:<30} {np.mean(values):6.3f}{'  <- the best' if name == best else ''}")
    return best


def table(result: Backtest, labels: dict[str, str], chosen: str) -> None:
    """Errors from all origins and from the last one alone."""
    last = result.last_origin()
    print(f"\n24 months ahead, mean absolute error in ppm  {len(result.origins)} origins  last 24 months")
    for name, label in labels.items():
        mark = "  <- chosen" if name == chosen else ""
        print(f"  {label:<42} {result.mae(name):10.3f} {last.mae(name):15.3f}{mark}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=".", help="directory of the picture (default: this one)")
    parser.add_argument("--seeds", type=int, default=3, help="networks trained for each candidate (default: 3)")
    parser.add_argument("--epochs", type=int, default=100, help="passes over the training years (default: 100)")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    started = time.perf_counter()

    co2 = datasets.co2_monthly()
    known = np.isfinite(co2.y)
    y = fill_gaps(co2.y[:, None], known[:, None], YEAR)[:, 0]
    chosen = choose(y, co2.time, known, arguments.epochs, arguments.seeds)
    networks = candidates(arguments.epochs)
    result = rolling(baselines() | networks, y, co2.time, known, len(y), refit=2 * YEAR)
    labels = {name: BASELINES.get(name, name) for name in result.forecasts}
    table(result, labels, chosen)

    if find_spec("matplotlib") is None:
        print('\nno picture: that needs matplotlib, pip install "fastrnn[forecast]"')
    else:
        shown = {name: label for name, label in labels.items() if name in BASELINES}
        picture = os.path.join(arguments.out, "forecast_co2.png")
        renamed = Backtest(result.origins, result.truth, result.forecasts | {"network": result.forecasts[chosen]})
        draw_errors_by_step(renamed, picture, shown | {"network": chosen}, step="months", unit="ppm")
        print(f"\n{picture}")
    print(f"{time.perf_counter() - started:.1f} seconds")


if __name__ == "__main__":
    main()
