"""A day of bikes continued by the model itself, three hundred times over: prediction intervals from sampling.

A GRU learns to tell the next hour of Washington's bike sharing from all hours before. At a midnight it goes on by
itself: what it says for one hour, plus an error, is what it reads as the next. The errors of a path are those that the
model made on some day of the past, hour by hour (a bootstrap of whole days): a rainy day goes wrong in all its hours.
Half of 300 such paths lie above the median, nine of ten within the interval.

A session reads the hours as they come and keeps the state; a second one of 300 rows starts from a copy of it.

    python stream_forecast.py [--epochs N] [--seed N] [--out DIR]

prints errors and coverage over the last eight weeks, the coming day hour by hour, and writes stream_forecast.png.
"""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from time import perf_counter

import numpy as np

import fastrnn
from fastrnn import GRU, Adam, Dense, Sequential, datasets

DAY, PATHS = 24, 300
HELD_OUT = 8 * 7  # days that are forecast
CALIBRATION = 8 * 7  # days before them, for the errors


def hourly(bikes: datasets.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every hour with its bikes and whether it is part of a working day; the few missing hours are filled up."""
    hours = np.arange(bikes.time[0], bikes.time[-1] + 1, dtype="datetime64[h]")
    known = (bikes.time - bikes.time[0]).astype("timedelta64[h]").astype(int)
    position = np.arange(len(hours))
    return (
        hours,
        np.interp(position, known, bikes.y),
        np.round(np.interp(position, known, bikes.columns["workingday"])),
    )


def calendar(hours: np.ndarray, working: np.ndarray) -> np.ndarray:
    """What is known of an hour beforehand (N, 5): its place in day and week, on circles, and working or not."""
    hour = hours.astype(int)
    turns = 2 * np.pi * np.stack([hour / DAY, hour / (7 * DAY)], axis=1)
    return np.concatenate([np.sin(turns), np.cos(turns), working[:, None]], axis=1)


def windows(inputs: np.ndarray, targets: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping windows to train on: (N, length, I) and (N, length, 1)."""
    starts = np.arange(0, len(inputs) - length, DAY)
    places = starts[:, None] + np.arange(length)
    return inputs[places], targets[places]


def paths_of_a_day(many: fastrnn.streaming.Session, state: dict, first: np.ndarray, known: np.ndarray,
                   errors: np.ndarray) -> np.ndarray:  # fmt: skip
    """Paths (PATHS, DAY) from a state and the last input before midnight on; errors (PATHS, DAY) are added."""
    many.state = {name: tuple(np.repeat(part, PATHS, axis=0) for part in parts) for name, parts in state.items()}
    path = []

    def next_input(y: np.ndarray) -> np.ndarray:
        hour = len(path)
        path.append(y[:, 0] + errors[:, hour])
        following = np.broadcast_to(known[min(hour + 1, DAY - 1)], (PATHS, known.shape[1]))
        return np.concatenate([path[-1][:, None], following], axis=1)

    many.generate(DAY, np.tile(first, (PATHS, 1)), feedback=next_input)
    return np.stack(path, axis=1)


def draw(hours: np.ndarray, truth: np.ndarray, paths: np.ndarray, days: int, file: str) -> None:
    """The last days: some paths, the median, the interval, the truth."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import DateFormatter, DayLocator
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for day in range(len(paths) - days, len(paths)):
        place = slice(len(hours) - (len(paths) - day) * DAY, len(hours) - (len(paths) - day - 1) * DAY)
        lower, median, upper = np.quantile(paths[day], [0.05, 0.5, 0.95], axis=0)
        label = "{}".format if day == len(paths) - 1 else (lambda text: None)
        axes.fill_between(hours[place], lower, upper, color="#d1495b", alpha=0.16, lw=0, label=label("90 % interval"))
        axes.plot(hours[place], paths[day, :12].T, color="#d1495b", lw=0.5, alpha=0.3)
        axes.plot(hours[place], median, color="#d1495b", lw=2, label=label("median of 300 paths"))
        axes.axvline(hours[place.start], color="#2b2d33", lw=0.6, alpha=0.3)
    shown = slice(len(hours) - days * DAY, len(hours))
    axes.plot(hours[shown], truth[shown], color="#2b2d33", lw=1.6, label="truth")
    axes.xaxis.set_major_locator(DayLocator())
    axes.xaxis.set_major_formatter(DateFormatter("%a %d %b %Y"))
    axes.set_title("Each day continued from its midnight on", loc="left", fontweight="bold")
    axes.set_ylabel("bikes an hour")
    axes.set_ylim(0)
    axes.margins(x=0.01)
    axes.legend(frameon=False, fontsize=9, loc="upper left", ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=25, help="passes over the days to learn from (default: 25)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and paths (default: 0)")
    parser.add_argument("--out", default=".", help="directory of the picture (default: this one)")
    arguments = parser.parse_args()

    hours, bikes, working = hourly(datasets.bike_sharing())
    whole = len(hours) // DAY * DAY
    hours, bikes, working = hours[:whole], bikes[:whole], working[:whole]
    root = np.sqrt(bikes)  # its errors are about as large by day as by night
    end = whole - (HELD_OUT + CALIBRATION) * DAY  # of what the model learns from
    center, spread = root[:end].mean(), root[:end].std()
    series = (root - center) / spread
    known = calendar(hours, working)
    inputs = np.concatenate([series[:-1, None], known[1:]], axis=1)  # of the hour before, and of the one to be told
    targets = series[1:, None]

    started = perf_counter()
    model = Sequential([GRU(48, return_sequences=True), Dense(1)], seed=arguments.seed)
    model.compile(Adam(3e-3, global_clipnorm=1.0), "mse")
    model.fit(*windows(inputs[: end - 1], targets[: end - 1], 7 * DAY), epochs=arguments.epochs, verbose=0)
    print(f"trained on {end // DAY} days in {perf_counter() - started:.1f} s")

    # one session reads all hours as they come; before each midnight of the held-out days its state is copied
    one, many = fastrnn.stream(model), fastrnn.stream(model, PATHS)
    told = one.run(inputs[: end - 1])
    told = one.run(inputs[end - 1 : end - 1 + CALIBRATION * DAY])
    errors = (series[end : end + CALIBRATION * DAY] - told[:, 0]).reshape(CALIBRATION, DAY)
    rng = np.random.default_rng(arguments.seed)
    started, paths = perf_counter(), []
    for midnight in range(whole - HELD_OUT * DAY, whole, DAY):
        drawn = errors[rng.integers(0, CALIBRATION, PATHS)]
        paths.append(paths_of_a_day(many, one.state, inputs[midnight - 1], known[midnight : midnight + DAY], drawn))
        one.run(inputs[midnight - 1 : midnight + DAY - 1])  # what then came
    seconds = perf_counter() - started
    paths = np.square(np.maximum(np.stack(paths) * spread + center, 0))  # (days, PATHS, DAY), bikes

    truth = bikes[-HELD_OUT * DAY :].reshape(HELD_OUT, DAY)
    last_week = bikes[-(HELD_OUT + 7) * DAY : -7 * DAY].reshape(HELD_OUT, DAY)
    lower, median, upper = np.quantile(paths, [0.05, 0.5, 0.95], axis=1)
    inside = (lower <= truth) & (truth <= upper)
    steps = HELD_OUT * PATHS * DAY
    print(f"{HELD_OUT} days, {PATHS} paths each: {seconds:.2f} s, {seconds / steps * 1e6:.2f} us a path and hour\n")
    print(f"{'bikes an hour, all 24 hours ahead':<36} {'mean error':>10}")
    print(f"{'same hour last week':<36} {np.abs(last_week - truth).mean():>10.1f}")
    print(f"{'median of the paths':<36} {np.abs(median - truth).mean():>10.1f}")
    print(f"90 % interval held {inside.mean():.1%} of the hours, {(upper - lower).mean():.0f} bikes wide on average\n")

    print(f"the last day, {hours[-DAY].astype('datetime64[D]')}")
    print(f"{'hour':>4} {'5 %':>6} {'median':>7} {'95 %':>6} {'came':>6}")
    for hour in range(0, DAY, 3):
        print(f"{hour:>4} {lower[-1, hour]:6.0f} {median[-1, hour]:7.0f} {upper[-1, hour]:6.0f} {truth[-1, hour]:6.0f}")
    if find_spec("matplotlib") is None:
        print('\nno picture: that needs matplotlib, pip install "fastrnn[forecast]"')
        return
    file = os.path.join(arguments.out, "stream_forecast.png")
    draw(hours, bikes, paths, 6, file)
    print(f"\n{file}")


if __name__ == "__main__":
    main()
