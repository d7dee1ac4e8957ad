"""The four kinds of recurrent network, each on a small task, beside what can be had without a network.

sequence to sequence   a sine wave of unknown frequency, freed from noise while it comes in
sequence to vector     bicycles rented in the next hour, from the last 48 hours
vector to sequence     a damped swing, drawn from its frequency, damping and phase
encoder-decoder        the next ten values of a noisy sum of two waves, one after the other, from the last 50

python examples/four_kinds.py [--seed 0] [--quick]
"""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np

from fastrnn import datasets
from fastrnn.layers import GRU, Dense, RepeatVector
from fastrnn.training import Adam, EncoderDecoder, Sequential, schedules

BATCH = 64


def adam(rows: int, epochs: int) -> Adam:
    """Adam with a learning rate that ends at 0."""
    return Adam(schedules.CosineDecay(0.01, epochs * -(-rows // BATCH)), global_clipnorm=1.0)


def rmse(made: np.ndarray, true: np.ndarray) -> float:
    """Root mean squared error."""
    return float(np.sqrt(np.mean(np.square(made - true))))


def least_squares(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """What the best linear function of x (N, I) for y (N, K) makes of new ones."""
    with_one = [np.hstack([part, np.ones((len(part), 1))]) for part in (x, new)]
    return with_one[1] @ np.linalg.lstsq(with_one[0], y, rcond=None)[0]


# ---- the four tasks: each gives the errors of its baselines and of its network ---------------------------------------


def sequence_to_sequence(rng: np.random.Generator, epochs: int, seed: int) -> dict[str, float]:
    """(B, T, 1) to (B, T, 1): at each step the clean value, from the noisy ones up to it."""
    t = np.arange(60)
    clean = np.sin(rng.uniform(0.1, 0.6, (1500, 1)) * t + rng.uniform(0, 6.3, (1500, 1)))[..., None]
    noisy = clean + rng.normal(scale=0.5, size=clean.shape)
    model = Sequential([GRU(32, return_sequences=True), Dense(1)], seed=seed)
    model.compile(adam(1200, epochs), "mse")
    model.fit(noisy[:1200], clean[:1200], epochs=epochs, batch_size=BATCH, verbose=0)

    padded = np.pad(noisy[..., 0], ((0, 0), (15, 0)))
    window = np.lib.stride_tricks.sliding_window_view(padded, 16, axis=1)  # the last 16 values of each step
    linear = least_squares(window[:1200].reshape(-1, 16), clean[:1200].reshape(-1, 1), window[1200:].reshape(-1, 16))
    return {
        "noise as it is": rmse(noisy[1200:], clean[1200:]),
        "least squares of 16 values": rmse(linear, clean[1200:].reshape(-1, 1)),
        "network": rmse(model.predict(noisy[1200:]), clean[1200:]),
    }


def sequence_to_vector(rng: np.random.Generator, epochs: int, seed: int) -> dict[str, float]:
    """(B, T, I) to (B, 1): the rentals, and sine and cosine of the hour; trained on the first three quarters."""
    data = datasets.bike_sharing()
    hour = 2 * np.pi * (data.time.astype("datetime64[h]").astype(int) % 24) / 24
    count, train = len(data.y) - 48, 6400
    scale = data.y[:train].std()
    columns = np.stack([data.y[:-1] / scale, np.sin(hour[1:]), np.cos(hour[1:])], axis=1)  # the hour that follows
    x = np.stack([columns[i : i + 48] for i in range(count)])
    y = data.y[48:, None]
    model = Sequential([GRU(24), Dense(1)], seed=seed)
    model.compile(adam(train, epochs), "mse")
    model.fit(x[:train], y[:train] / scale, epochs=epochs, batch_size=BATCH, verbose=0)
    linear = least_squares(x[:train].reshape(train, -1), y[:train], x[train:].reshape(count - train, -1))
    return {
        "the last hour again": rmse(data.y[train + 47 : -1, None], y[train:]),
        "least squares": rmse(linear, y[train:]),
        "network": rmse(model.predict(x[train:]) * scale, y[train:]),
    }


def vector_to_sequence(rng: np.random.Generator, epochs: int, seed: int) -> dict[str, float]:
    """(B, 3) to (B, T, 1)."""
    frequency, damping, phase = rng.uniform([[0.2], [0.0], [0.0]], [[0.6], [0.1], [3.0]], (3, 2000))[..., None]
    t = np.arange(30)
    y = (np.exp(-damping * t) * np.sin(frequency * t + phase))[..., None]
    x = np.hstack([10 * frequency - 4, 20 * damping - 1, phase - 1.5])
    model = Sequential([RepeatVector(30), GRU(48, return_sequences=True), Dense(1)], seed=seed)
    model.compile(adam(1600, epochs), "mse")
    model.fit(x[:1600], y[:1600], epochs=epochs, batch_size=BATCH, verbose=0)
    return {
        "mean swing": rmse(y[:1600].mean(axis=0), y[1600:]),
        "least squares": rmse(least_squares(x[:1600], y[:1600, :, 0], x[1600:]), y[1600:, :, 0]),
        "network": rmse(model.predict(x[1600:]), y[1600:]),
    }


def encoder_decoder(rng: np.random.Generator, epochs: int, seed: int) -> dict[str, float]:
    """(B, S, 1) to (B, T, 1): each step from the network's own forecast of the step before.

    In training the decoder reads true values at first and its own ones more and more, as it has to later on.
    """
    train, steps = 4000, 10
    f1, f2, o1, o2 = rng.random((4, 5000, 1))
    t = np.linspace(0, 1, 50 + steps)
    waves = 0.5 * np.sin((t - o1) * (10 * f1 + 10)) + 0.2 * np.sin((t - o2) * (20 * f2 + 20))
    series = (waves + 0.1 * (rng.random(waves.shape) - 0.5))[..., None]
    x, y, last = series[:, :50], series[:, 50:], series[:, 49]
    updates = epochs * -(-train // BATCH)
    model = EncoderDecoder(
        GRU(32), GRU(32, return_sequences=True), Dense(1),
        teacher_forcing=schedules.CosineDecay(1.0, 2 * updates // 3), seed=seed,
    )  # fmt: skip
    model.compile(adam(train, epochs), "mse")
    model.fit(x[:train], y[:train], first=last[:train], epochs=epochs, batch_size=BATCH, verbose=0)
    return {
        "last value": rmse(last[train:, None], y[train:]),
        "least squares": rmse(least_squares(x[:train, :, 0], y[:train, :, 0], x[train:, :, 0]), y[train:, :, 0]),
        "network": rmse(model.predict(x[train:], steps, first=last[train:]), y[train:]),
    }


TASKS = {
    "sequence to sequence": (sequence_to_sequence, 20, "noise"),
    "sequence to vector": (sequence_to_vector, 10, "bicycles"),
    "vector to sequence": (vector_to_sequence, 60, "swing"),
    "encoder-decoder": (encoder_decoder, 15, "waves"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="seed of data and weights (default: 0)")
    parser.add_argument("--quick", action="store_true", help="one epoch each, to see how it goes and not how well")
    args = parser.parse_args()
    print("root mean squared errors on held-out data\n")
    for kind, (task, epochs, unit) in TASKS.items():
        start = perf_counter()
        errors = task(np.random.default_rng(args.seed), 1 if args.quick else epochs, args.seed)
        print(f"{kind} ({unit}), {perf_counter() - start:.1f} s")
        for name, error in errors.items():
            print(f"    {name:<28}{error:10.4g}")


if __name__ == "__main__":
    main()
