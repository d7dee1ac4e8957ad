"""Bikes in the next 24 hours, how sure the forecast is, and what it helps to know the calendar of working days.

The bundled hours of Washington's bike sharing. Whether tomorrow is a working day or a holiday is known today: planned
values, which a decoder reads hour by hour. Each network says the quantiles 0.05, 0.5 and 0.95; the interval between
the outer two, adjusted to the validation part, should hold nine true values of ten.

    python forecast_intervals.py [--epochs N] [--out DIR]

prints errors, and coverage by hours ahead, and writes forecast_intervals.png.
"""

from __future__ import annotations

import argparse
import os
import time
from importlib.util import find_spec

import numpy as np

from fastrnn import datasets
from fastrnn.forecasting import Backtest, Forecaster, Linear, SeasonalNaive, backtest, read_csv, split_end

HORIZON, STRIDE = 24, 3
LABELS = {
    "week": "same hour last week",
    "linear": "least squares on 48 hours",
    "direct": "GRU, all hours at once",
    "decoder": "GRU encoder-decoder",
}


def forecasters(epochs: int) -> dict[str, SeasonalNaive | Linear | Forecaster]:
    """Two baselines, two networks."""
    common = {"horizon": HORIZON, "window": 48, "quantiles": (0.05, 0.5, 0.95), "batch_size": 64}
    return {
        "week": SeasonalNaive(168, HORIZON),
        "linear": Linear(48, HORIZON),
        "direct": Forecaster("gru", 32, epochs=epochs, verbose="auto", **common),
        "decoder": Forecaster("gru", 32, strategy="encoder_decoder", epochs=epochs, verbose="auto", **common),
    }


def draw(result: Backtest, moments: np.ndarray, path: str) -> None:
    """Four days of forecasts, each made at the end of the one before, and the coverage by hours ahead."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import DateFormatter, DayLocator
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    days, cover = figure.subplots(1, 2, width_ratios=[2.2, 1])
    chosen = np.arange(len(result.origins))[:: -HORIZON // STRIDE][:4][::-1]
    hours = moments[(result.origins[chosen][:, None] + 1 + np.arange(HORIZON)).ravel()]
    lower, median, upper = np.moveaxis(result.quantiles["decoder"][chosen], -1, 0).reshape(3, -1)
    days.fill_between(hours, lower, upper, color="#d1495b", alpha=0.18, lw=0, label="90 % interval")
    days.plot(hours, result.truth[chosen].ravel(), color="#2b2d33", lw=1.6, label="truth")
    days.plot(hours, median, color="#d1495b", lw=1.6, label=LABELS["decoder"])
    days.xaxis.set_major_locator(DayLocator())
    days.xaxis.set_major_formatter(DateFormatter("%d %b %Y"))
    days.set_title("24 hours at a time", loc="left", fontweight="bold")
    days.set_ylabel("bikes")
    cover.axhline(90, color="#2b2d33", lw=1, ls="--", label="nominal")
    for name, color in (("direct", "#7d9bbd"), ("decoder", "#d1495b")):
        by_step = 100 * result.coverage(name)[0].by_step
        cover.plot(np.arange(1, HORIZON + 1), by_step, color=color, lw=1.8, marker="o", ms=3, label=LABELS[name])
    cover.set_ylim(70, 100)
    cover.set_xlabel("hours ahead")
    cover.set_title("True values inside, %", loc="left", fontweight="bold")
    for axes in (days, cover):
        axes.legend(frameon=False, fontsize=9, loc="lower left" if axes is cover else "upper left")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8, help="passes over the training part (default: 8)")
    parser.add_argument("--out", default=".", help="directory of the picture (default: this one)")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    started = time.perf_counter()

    bikes = read_csv(datasets.path("bike_sharing"), "bikers", planned=["workingday", "holiday"])
    split = split_end(len(bikes), 48, HORIZON, bikes.season)
    data = {"time": bikes.time, "known": bikes.known[:, 0], "stride": STRIDE}
    told = backtest(forecasters(arguments.epochs), split, bikes.y, bikes.X, planned=bikes.planned, **data)
    networks = {name: each for name, each in forecasters(arguments.epochs).items() if isinstance(each, Forecaster)}
    blind = backtest(networks, split, bikes.y, bikes.X, **data)

    print(f"bikes in the next {HORIZON} hours, {len(told.origins)} forecasts of the last eight weeks")
    print("MAE, the mean absolute error, and the mean width of the intervals are in bikes an hour\n")
    print(f"{'':<28} {'MAE':>8} {'without plan':>14} {'90 % interval held':>20} {'mean width':>12}")
    for name, label in LABELS.items():
        line = f"{label:<28} {told.mae(name):8.2f}"
        if name in networks:
            (coverage,) = told.coverage(name)
            line += f" {blind.mae(name):14.2f} {coverage.actual:20.1%} {coverage.width:12.0f}"
        print(line)
    if find_spec("matplotlib") is None:
        print('\nno picture: that needs matplotlib, pip install "fastrnn[forecast]"')
    else:
        path = os.path.join(arguments.out, "forecast_intervals.png")
        draw(told, np.asarray(bikes.time), path)
        print(f"\n{path}")
    print(f"{time.perf_counter() - started:.1f} seconds")


if __name__ == "__main__":
    main()
