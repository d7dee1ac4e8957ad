"""Dates written out to ISO dates, letter by letter: "March 9, 1987" becomes "1987-03-09".

An encoder reads the letters into vectors, a decoder writes the digits one after the other, and attention lets each
digit look at the letters that it depends on.  The recipe below was chosen on the validation dates; the test dates are
looked at once, at the end.

    python examples/dates.py [--epochs 3] [--dates 14000] [--seed 0] [--quick]
"""

from __future__ import annotations

import argparse
from datetime import date
from time import perf_counter

import numpy as np

from fastrnn.layers import GRU, Dense, Embedding
from fastrnn.training import Adam, Callback, EncoderDecoder, schedules

MONTHS = [date(2000, month, 1).strftime("%B") for month in range(1, 13)]
LETTERS = sorted(set("".join(MONTHS) + "0123456789, "))
DIGITS = ["", *"0123456789-"]  # token 0 starts and stops
FIRST_DAY, LAST_DAY = date(1000, 1, 1).toordinal(), date(9999, 12, 31).toordinal()
BATCH = 64


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


def write(model: EncoderDecoder, data: dict[str, np.ndarray]) -> list[str]:
    """The dates that the model writes by itself."""
    made = model.generate(data["x"], data["y"].shape[1], lengths=data["lengths"])
    return ["".join(DIGITS[token] for token in row[:n]) for row, n in zip(made.tokens, made.lengths, strict=True)]


def exact(written: list[str], days: list[date]) -> float:
    """The fraction of dates that are right in every digit."""
    return float(np.mean([text == day.isoformat() for text, day in zip(written, days, strict=True)]))


class Progress(Callback):
    """A line for each epoch."""

    def __init__(self, days: list[date], data: dict[str, np.ndarray]) -> None:
        self.days, self.data, self.start = days, data, perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        right = exact(write(self.model, self.data), self.days)
        print(
            f"epoch {epoch + 1:2d}  {perf_counter() - self.start:5.1f} s  loss {logs['loss']:.4f}  validation: "
            f"loss {logs['val_loss']:.4f}, {logs['val_accuracy']:.2%} of digits, {right:.2%} of dates",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3, help="epochs of training (default: 3)")
    parser.add_argument("--dates", type=int, default=14000, help="dates in all (default: 14000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of dates and weights (default: 0)")
    parser.add_argument("--quick", action="store_true", help="a short run that shows how it goes, not how well")
    args = parser.parse_args()
    epochs, count = (3, 4200) if args.quick else (args.epochs, args.dates)

    train, validation, test = split(count, args.seed)
    print(f"{len(train)} dates to train on, {len(validation)} to validate, {len(test)} to test; all are different")
    judged = encoded(validation)
    model = build(epochs * -(-len(train) // BATCH), args.seed)
    start = perf_counter()
    model.fit(
        **encoded(train), epochs=epochs, batch_size=BATCH, validation_data=judged, verbose=0,
        callbacks=[Progress(validation, judged)],
    )  # fmt: skip
    print(f"trained in {perf_counter() - start:.1f} s: {model.count_params():,} parameters\n")

    written = write(model, encoded(test))
    for day, text in list(zip(test, written, strict=True))[:6]:
        print(f"{written_out(day):>18}  ->  {text:<10}  {'' if text == day.isoformat() else 'not ' + day.isoformat()}")
    print(f"\nexact on {len(test)} held-out dates: {exact(written, test):.2%}")


if __name__ == "__main__":
    main()
