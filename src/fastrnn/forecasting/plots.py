"""The picture of a forecast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .backtest import Backtest
from .estimator import ONLY
from .report import NETWORK, Outcome, step_word

__all__ = ["draw", "draw_errors_by_step"]

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
    figure = _figure((13, 4.8), dpi=150)
    series, errors = figure.subplots(1, 2, width_ratios=[2.7, 1])
    _draw_series(series, outcome)
    (_draw_error_by_step if outcome.horizon > 1 else _draw_errors)(errors, outcome)
    for axes in (series, errors):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png")


def _figure(inches: tuple[float, float], dpi: int) -> Any:
    """An empty figure that needs no screen."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('drawing needs matplotlib: pip install "fastrnn[forecast]"') from None

    figure = Figure(figsize=inches, dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_series(axes: Any, outcome: Outcome) -> None:
    name = next(iter(outcome.panel))
    test, horizon, moments = outcome.backtest, outcome.horizon, outcome.moments()
    if name != ONLY:
        test = test.of_series(name)
    chosen = _apart(test.origins, horizon)
    # rows (n * horizon,) of the series that the chosen forecasts are about
    rows = (test.origins[chosen][:, None] + 1 + np.arange(horizon)).ravel()
    if outcome.ends:
        (low, _), *_, (high, _) = _interval(outcome)
        network = test.quantiles[NETWORK]
        ends = [network[chosen][..., i].ravel() for i in (low, high)]
        nominal = outcome.backtest.coverage(NETWORK)[0].nominal
        axes.fill_between(moments[rows], *ends, color=FORECAST, alpha=0.15, lw=0, label=f"{nominal:.0%} interval")
    baseline = outcome.best_baseline
    lines = {
        "truth": (test.truth, {"color": TRUTH, "lw": 1.6, "zorder": 2.1}),
        outcome.labels[NETWORK]: (test.forecasts[NETWORK], {"color": FORECAST, "lw": 1.6, "zorder": 2.2}),
        outcome.labels[baseline]: (test.forecasts[baseline], {"color": BASELINE, "lw": 1.3}),
    }
    for label, (values, style) in lines.items():
        axes.plot(moments[rows], values[chosen].ravel(), label=label, **style)
    _draw_future(axes, outcome, name)
    axes.set_ylabel(outcome.unit)
    unit = step_word(outcome.series, horizon)
    title = f"{horizon} {unit} ahead" if horizon == 1 else f"{horizon} {unit} at a time"
    where = "" if name == ONLY else f" of {name}"
    axes.set_title(f"The end of the test part{where}, forecast {title}", loc="left", fontweight="bold")
    axes.margins(x=0.01)
    low_end, high_end = axes.get_ylim()
    axes.set_ylim(low_end, high_end + 0.16 * (high_end - low_end))  # room for the legend
    axes.grid(axis="y", color="#e6e8ec", lw=0.8)
    axes.set_axisbelow(True)
    axes.legend(ncols=3 if outcome.ends else 4, loc="upper left", frameon=False, fontsize=9)
    if moments.dtype.kind == "M":
        _label_times(axes)


def _apart(origins: np.ndarray, horizon: int) -> np.ndarray:
    """Places of origins whose forecasts don't overlap, the last of them ending with the series."""
    chosen: list[int] = []
    for place in range(len(origins) - 1, -1, -1):
        if not chosen or origins[chosen[-1]] - origins[place] >= horizon:
            chosen.append(place)
        if len(chosen) >= max(1, PANEL // horizon):
            break
    return np.array(chosen[::-1])


def _interval(outcome: Outcome) -> list[tuple[int, float]]:
    """Places in the quantiles, and levels, of the widest interval's ends."""
    levels = [level for _, level in outcome.ends]
    last = len(levels)  # the median is one more
    return [(0, levels[0]), (last, levels[-1])]


def _draw_future(axes: Any, outcome: Outcome, name: str) -> None:
    """What comes after the end of the series."""
    moments, horizon = outcome.moments(), outcome.horizon
    ahead = moments[-horizon:]
    axes.axvspan(moments[-horizon - 1], ahead[-1], color=FORECAST, alpha=0.07, lw=0)
    said = outcome.future[NETWORK][name]
    axes.plot(ahead, said, color=FORECAST, lw=1.6, ls=":", marker="o", ms=3, label="what comes next")
    if outcome.ends and horizon > 1:
        quantiles = outcome.quantiles[name]
        axes.fill_between(ahead, quantiles[:, 0], quantiles[:, -1], color=FORECAST, alpha=0.15, lw=0)


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
    colors = {name: _color(name, outcome) for name in outcome.labels}
    unit = step_word(outcome.series, 2)
    _plot_errors_by_step(axes, outcome.backtest, outcome.labels, colors, f"{unit} ahead", outcome.unit)


def _plot_errors_by_step(
    axes: Any, test: Backtest, labels: Mapping[str, str], colors: Mapping[str, str], ahead: str, unit: str
) -> None:
    horizon = test.truth.shape[1]
    markers = iter(("s", "^", "v", "D", "P", "X", "<", ">"))
    for name, label in labels.items():
        marker = "o" if name == NETWORK else next(markers, "o")
        style = {"color": colors[name], "lw": 2.2 if name == NETWORK else 1.6, "marker": marker, "ms": 4}
        errors = test.mae_by_step(name)
        axes.plot(np.arange(1, horizon + 1), errors, label=label, markevery=max(1, horizon // 12), **style)
    axes.set_ylim(0.0, (1.1 + 0.07 * len(labels)) * axes.get_ylim()[1])  # room for the legend
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel(ahead)
    axes.set_ylabel(unit)
    axes.set_title("Mean absolute error", loc="left", fontweight="bold")
    axes.grid(axis="y", color="#e6e8ec", lw=0.8)
    axes.legend(loc="upper left", frameon=False, fontsize=9)


def draw_errors_by_step(
    test: Backtest, path: str, labels: Mapping[str, str] | None = None, *, step: str = "steps", unit: str = ""
) -> None:
    """Write a PNG: the mean absolute error by steps ahead, one line for each forecaster of a backtest.

    Parameters
    ----------
    test : Backtest
    path : str
    labels : mapping of str to str, optional
        Names in words; all names of the backtest by default.
    step, unit : str
        What a step is called, and the unit of the error.
    """
    labels = {name: name for name in test.forecasts} if labels is None else labels
    figure = _figure((7.5, 4.8), dpi=130)
    axes = figure.subplots()
    shades = ("#7d9bbd", "#c9ced6", "#8fb18a", "#d9b26f", "#9b8bb4", "#6d7480")
    others = [name for name in labels if name != NETWORK]
    colors = {name: shades[i % len(shades)] for i, name in enumerate(others)} | {NETWORK: FORECAST}
    _plot_errors_by_step(axes, test, labels, colors, f"{step} ahead", unit)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png")
