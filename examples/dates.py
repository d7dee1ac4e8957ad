"""Dates written out to ISO dates, letter by letter: "March 9, 1987" becomes "1987-03-09".

An encoder reads the letters into vectors, a decoder writes the digits one after the other, and attention lets each
digit look at the letters that it depends on.  The recipe below was chosen on the validation dates; the test dates are
looked at once, at the end.

    python examples/dates.py [--epochs 3] [--dates 14000] [--seed 0] [--out DIR] [--quick]

prints how the training goes, and draws dates.png: how many validation dates are right while it goes on, and which
letters the attention looks at for each digit of three test dates.
"""

from __future__ import annotations

import argparse
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from fastrnn.layers import GRU, Dense, Embedding
from fastrnn.training import Adam, Callback, EncoderDecoder, schedules

MONTHS = [date(2000, month, 1).strftime("%B") for month in range(1, 13)]
LETTERS = sorted(set("".join(MONTHS) + "0123456789, "))
DIGITS = ["", *"0123456789-"]  # token 0 starts and stops
FIRST_DAY, LAST_DAY = date(1000, 1, 1).toordinal(), date(9999, 12, 31).toordinal()
BATCH = 64
JUDGED, EVERY = 500, 8  # so many validation dates are written after every eighth update


def written_out(day: date) -> str:
    """The date as the encoder reads it."""
    return f"{MONTHS[day.month - 1]} {day.day}, {day.year}"


def encoded(days: list[date]) -> dict[str, np.ndarray]:
    """Sources of different lengths, padded, and targets that end in the stop token."""
    texts = [written_out(day) for day in days]
    lengths = np.array([len(text) for text in texts])
    x = np.zeros((len(texts), max(len(f"{month} 31, 9999") for month in MONTHS)), dtype=int)
    for row, text in enumerate(texts):
        x[row, : len(text)] = [LETTERS.index(letter) for letter in text]
    y = np.array([[DIGITS.index(digit) for digit in day.isoformat()] + [0] for day in days])
    return {"x": x, "y": y, "lengths": lengths}


def split(count: int, seed: int) -> tuple[list[date], list[date], list[date]]:
    """So many different days of nine thousand years: five sevenths to train on, a seventh each to validate and test."""
    numbers = np.random.default_rng(seed).choice(LAST_DAY - FIRST_DAY + 1, count, replace=False)
    days = [date.fromordinal(FIRST_DAY + int(number)) for number in numbers]
    return days[: 5 * count // 7], days[5 * count // 7 : 6 * count // 7], days[6 * count // 7 :]


def build(updates: int, seed: int, units: int = 64) -> EncoderDecoder:
    """The model, ready to be trained for so many updates."""
    model = EncoderDecoder(
        [Embedding(len(LETTERS), 16), GRU(units, return_sequences=True)],
        [Embedding(len(DIGITS), 16), GRU(units, return_sequences=True)],
        Dense(len(DIGITS)),
        attention="dot",
        start_token=0,
        stop_token=0,
        seed=seed,
    )
    model.compile(Adam(schedules.CosineDecay(0.01, updates), global_clipnorm=1.0), metrics=["accuracy"])
    return model


def write(model: EncoderDecoder, data: dict[str, np.ndarray], rows: int | None = None) -> list[str]:
    """The dates that the model writes by itself, all or those of the first rows."""
    made = model.generate(data["x"][:rows], data["y"].shape[1], lengths=data["lengths"][:rows])
    return ["".join(DIGITS[token] for token in row[:n]) for row, n in zip(made.tokens, made.lengths, strict=True)]


def exact(written: list[str], days: list[date]) -> float:
    """The fraction of dates that are right in every digit."""
    return float(np.mean([text == day.isoformat() for text, day in zip(written, days, strict=True)]))


class Progress(Callback):
    """A line for each epoch, and the fraction of right dates every few updates."""

    def __init__(self, days: list[date], data: dict[str, np.ndarray]) -> None:
        self.days, self.data, self.start = days, data, perf_counter()
        self.updates = 0
        self.seen, self.right = [0], [0.0]  # dates trained on so far, and the fraction that is right then

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.updates += 1
        if self.updates % EVERY == 0:
            self.seen.append(self.updates * BATCH)
            self.right.append(exact(write(self.model, self.data, JUDGED), self.days[:JUDGED]))

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        right = exact(write(self.model, self.data), self.days)
        print(
            f"epoch {epoch + 1:2d}  {perf_counter() - self.start:5.1f} s  loss {logs['loss']:.4f}  validation: "
            f"loss {logs['val_loss']:.4f}, {logs['val_accuracy']:.2%} of digits, {right:.2%} of dates",
            flush=True,
        )


def draw(model: EncoderDecoder, days: list[date], progress: Progress, file: Path) -> None:
    """The rise of the right dates, and for each day the weights with which each digit looks at the letters."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    data = encoded(days)
    made = model.generate(data["x"], data["y"].shape[1], lengths=data["lengths"])
    weights = model.forward(data["x"], made.tokens, data["lengths"])[1].weights  # (N, digits, letters)

    figure = Figure(figsize=(9.5, 7), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels: Any = figure.subplots(2, 2)
    draw_progress(panels[0, 0], progress)
    for axes, day, looks, tokens in zip(panels.flat[1:], days, weights, made.tokens, strict=True):
        letters = written_out(day)
        image = axes.imshow(looks[:, : len(letters)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(letters)), letters.replace(" ", "␣"), family="monospace")
        axes.set_yticks(range(len(tokens)), [DIGITS[token] or "end" for token in tokens], family="monospace")
        axes.tick_params(length=0)
        axes.set_xlabel("read")
        axes.set_ylabel("written")
    figure.colorbar(image, ax=panels[:, 1], label="attention weight", shrink=0.6)
    figure.savefig(file)


def draw_progress(axes: Any, progress: Progress) -> None:
    """The fraction of right dates by the number of dates that the model has been trained on."""
    axes.plot(progress.seen, 100 * np.array(progress.right), color="#d1495b", lw=1.8)
    axes.set_xlabel("dates trained on")
    axes.set_ylabel("validation dates right in every digit, %")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(0)
    axes.set_ylim(0, 103)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3, help="epochs of training (default: 3)")
    parser.add_argument("--dates", type=int, default=14000, help="dates in all (default: 14000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of dates and weights (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("."), help="directory of the picture (default: this one)")
    parser.add_argument("--quick", action="store_true", help="a short run that shows how it goes, not how well")
    args = parser.parse_args()
    epochs, count = (3, 4200) if args.quick else (args.epochs, args.dates)

    train, validation, test = split(count, args.seed)
    print(f"{len(train)} dates to train on, {len(validation)} to validate, {len(test)} to test; all are different")
    judged = encoded(validation)
    model = build(epochs * -(-len(train) // BATCH), args.seed)
    start, progress = perf_counter(), Progress(validation, judged)
    model.fit(
        **encoded(train), epochs=epochs, batch_size=BATCH, validation_data=judged, verbose=0, callbacks=[progress]
    )
    print(f"trained in {perf_counter() - start:.1f} s: {model.count_params():,} parameters\n")

    written = write(model, encoded(test))
    for day, text in list(zip(test, written, strict=True))[:6]:
        print(f"{written_out(day):>18}  ->  {text:<10}  {'' if text == day.isoformat() else 'not ' + day.isoformat()}")
    print(f"\nexact on {len(test)} held-out dates: {exact(written, test):.2%}")
    if find_spec("matplotlib") is None:
        print('no picture: that needs matplotlib, pip install "fastrnn[forecast]"')
        return
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "dates.png"
    draw(model, test[:3], progress, file)
    print(file)


if __name__ == "__main__":
    main()
