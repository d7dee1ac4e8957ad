"""The picture of a forecast."""

from __future__ import annotations

from typing import Any

import numpy as np

from .report import NETWORK, Outcome, step_word

__all__ = ["draw"]

TRUTH, FORECAST, BASELINE, OTHERS = "#2b2d33", "#d1495b", "#7d9bbd", "#c9ced6"
PANEL = 168  # steps shown at most, a week of hours


def draw(outcome: Outcome, path: str) -> None:
    """Write a PNG: the end of the test part with truth, network and best baseline, and beside it the errors.

    Where the horizon is above 1, the forecasts shown follow each other without overlap, each made at the end of the one
    before, and the errors are shown for each step ahead.

    Parameters
    ----------
    outcome : Outcome
    path : str
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    series, errors = figure.subplots(1, 2, width_ratios=[2.7, 1])
    _draw_series(series, outcome)
    (_draw_error_by_step if outcome.horizon > 1 else _draw_errors)(errors, outcome)
    for axes in (series, errors):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png")


def _draw_series(axes: Any, outcome: Outcome) -> None:
    test, horizon, moments = outcome.backtest, outcome.horizon, outcome.moments
    # forecasts that don't overlap, the last of them ending with the series
    chosen = np.arange(len(test.origins) - 1, -1, -horizon)[: max(1, PANEL // horizon)][::-1]
    # rows (n * horizon,) of the series that the chosen forecasts are about
    rows = (test.origins[chosen][:, None] + 1 + np.arange(horizon)).ravel()
    baseline = outcome.best_baseline
    lines = {
        "truth": (test.truth, {"color": TRUTH, "lw": 1.6, "zorder": 2.1}),
        outcome.labels[NETWORK]: (test.forecasts[NETWORK], {"color": FORECAST, "lw": 1.6, "zorder": 2.2}),
        outcome.labels[baseline]: (test.forecasts[baseline], {"color": BASELINE, "lw": 1.3}),
    }
    for label, (values, style) in lines.items():
        axes.plot(moments[rows], values[chosen].ravel(), label=label, **style)
    ahead = moments[-horizon:]
    axes.axvspan(moments[-horizon - 1], ahead[-1], color=FORECAST, alpha=0.07, lw=0)
    axes.plot(ahead, outcome.future[NETWORK], color=FORECAST, lw=1.6, ls=":", marker="o", ms=3, label="what comes next")
    axes.set_ylabel(outcome.unit)
    unit = step_word(outcome.series, horizon)
    title = f"{horizon} {unit} ahead" if horizon == 1 else f"{horizon} {unit} at a time"
    axes.set_title(f"The end of the test part, forecast {title}", loc="left", fontweight="bold")
    axes.margins(x=0.01)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.16 * (high - low))  # room for the legend
    axes.grid(axis="y", color="#e6e8ec", lw=0.8)
    axes.set_axisbelow(True)
    axes.legend(ncols=4, loc="upper left", frameon=False, fontsize=9)
    if moments.dtype.kind == "M":
        _label_times(axes)


def _label_times(axes: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator)
    formatter.formats[2] = formatter.zero_formats[2] = "%d %b"  # days, and the first day of a month
    formatter.offset_formats[2] = "%Y"
    axes.xaxis.set_major_formatter(formatter)


def _color(name: str, outcome: Outcome) -> str:
    return {NETWORK: FORECAST, outcome.best_baseline: BASELINE}.get(name, OTHERS)


def _draw_errors(axes: Any, outcome: Outcome) -> None:
    names = list(outcome.labels)
    errors = [outcome.backtest.mae(name) for name in names]
    bars = axes.barh(range(len(names)), errors, height=0.42, color=[_color(name, outcome) for name in names])
    for place, (name, error, bar) in enumerate(zip(names, errors, bars, strict=True)):
        weight = "bold" if name == NETWORK else "normal"
        axes.text(0.01 * max(errors), place - 0.28, outcome.labels[name], va="bottom", fontsize=9, fontweight=weight)
        axes.text(bar.get_width(), place, f" {error:#.3g}", va="center", fontsize=10, fontweight=weight)
    axes.set_xlim(0, 1.18 * max(errors))
    axes.set_ylim(len(names) - 0.6, -0.75)
    axes.set_yticks([])
    axes.set_xlabel(outcome.unit)
    axes.set_title("Mean absolute error", loc="left", fontweight="bold")


def _draw_error_by_step(axes: Any, outcome: Outcome) -> None:
    steps = np.arange(1, outcome.horizon + 1)
    for name, label in outcome.labels.items():
        style = {"ls": "--"} if name == "last_value" else {"marker": "o", "ms": 3}
        error = outcome.backtest.mae_by_step(name)
        axes.plot(steps, error, color=_color(name, outcome), lw=1.8, label=label, **style)
    axes.set_ylim(0.0, 1.3 * axes.get_ylim()[1])  # room for the legend
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel(f"{step_word(outcome.series, 2)} ahead")
    axes.set_ylabel(outcome.unit)
    axes.set_title("Mean absolute error", loc="left", fontweight="bold")
    axes.grid(axis="y", color="#e6e8ec", lw=0.8)
    axes.legend(loc="upper left", frameon=False, fontsize=9)
