"""A character-level RNN written as a plain NumPy loop, the same with two fastrnn calls swapped in, and an LSTM.

`numpy_forward` and `numpy_backward` are the loops through time that one writes by hand; `fastrnn.rnn_forward` and
`fastrnn.rnn_backward` take the same arrays and give the same numbers.  The rest of the program, from the one-hot
characters to Adagrad, does not know which of the two it runs on.

Then the same task in fastrnn's own terms: a model of layers is trained, saved, loaded again, and a session writes text
with it, in a closed loop that runs in compiled code.

    python examples/char_rnn.py [--steps 1500] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from time import perf_counter

import numpy as np

import fastrnn

TEXT = """\
the river runs from the hills to the sea, and the sea sends the rain back to the hills.
the rain falls on the hills, the hills feed the river, and the river feeds the fields.
in the fields the grain stands high; in the grain the small birds hide and sing.
the birds sing in the morning, the wind sings in the evening, and the river sings all day.
when the wind turns, the birds turn with the wind; when the river turns, the boats turn with the river.
the boats bring salt from the sea and take grain from the fields, and so the year goes round.
"""
UNITS = 100
WINDOW = 25  # characters per training step, as far back as gradients reach
COMPARED = 1500  # steps in which the losses have to agree: in the end, training magnifies the last bit of every sum
CHARACTERS = sorted(set(TEXT))
CODES = np.array([CHARACTERS.index(character) for character in TEXT])


# ---- the loop by hand ------------------------------------------------------------------------------------------------


def numpy_forward(x, h0, w_x, w_h, b):
    """h_t = tanh(x_t·w_x + h_{t-1}·w_h + b) for x (T, I); gives all h_t (T, H) and what `numpy_backward` needs."""
    y, h = np.empty((len(x), len(h0))), h0
    for t in range(len(x)):
        h = np.tanh(x[t] @ w_x + h @ w_h + b)
        y[t] = h
    return y, (x, h0, w_x, w_h, y)


def numpy_backward(dy, cache):
    """dx, dh0, dw_x, dw_h, db of a loss whose gradient by the h_t is dy (T, H), from the last step to the first."""
    x, h0, w_x, w_h, y = cache
    dx, dw_x, dw_h, db = np.empty_like(x), np.zeros_like(w_x), np.zeros_like(w_h), np.zeros(len(h0))
    dh = np.zeros_like(h0)
    for t in reversed(range(len(x))):
        da = (dy[t] + dh) * (1 - y[t] ** 2)  # through tanh
        dw_x += np.outer(x[t], da)
        dw_h += np.outer(y[t - 1] if t else h0, da)
        db += da
        dx[t] = da @ w_x.T
        dh = da @ w_h.T
    return dx, dh, dw_x, dw_h, db


# ---- the program, for either pair of functions -----------------------------------------------------------------------


def initial_parameters(rng):
    """w_x, w_h, b of the network and w_y, b_y of its output layer."""
    size = len(CHARACTERS)
    return {
        "w_x": rng.normal(scale=0.01, size=(size, UNITS)),
        "w_h": rng.normal(scale=0.01, size=(UNITS, UNITS)),
        "b": np.zeros(UNITS),
        "w_y": rng.normal(scale=0.01, size=(UNITS, size)),
        "b_y": np.zeros(size),
    }


def loss_and_gradients(p, codes, h0, forward, backward):
    """Mean cross-entropy of every next character, the gradients of all parameters, and the last state."""
    x, targets = np.eye(len(CHARACTERS))[codes[:-1]], codes[1:]
    rows = np.arange(len(targets))
    y, cache = forward(x, h0, p["w_x"], p["w_h"], p["b"])
    logits = y @ p["w_y"] + p["b_y"]
    logits -= logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = -np.log(probabilities[rows, targets]).mean()

    dlogits = probabilities
    dlogits[rows, targets] -= 1
    dlogits /= len(targets)
    _, _, dw_x, dw_h, db = backward(dlogits @ p["w_y"].T, cache)
    gradients = {"w_x": dw_x, "w_h": dw_h, "b": db, "w_y": y.T @ dlogits, "b_y": dlogits.sum(axis=0)}
    return loss, gradients, y[-1]


def clip(gradients, most):
    """Scale all gradients so that their common norm is at most `most`: exploding ones would make training chaotic."""
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
    return {name: gradient * min(1, most / norm) for name, gradient in gradients.items()}


def train(forward, backward, steps, seed, learning_rate=0.02):
    """Go through the text again and again with Adagrad; gives the parameters and the loss of every step."""
    p = initial_parameters(np.random.default_rng(seed))
    squares = {name: np.full_like(value, 1e-4) for name, value in p.items()}
    losses, start, h = [], 0, np.zeros(UNITS)
    for _ in range(steps):
        if start + WINDOW + 1 > len(CODES):
            start, h = 0, np.zeros(UNITS)
        loss, gradients, h = loss_and_gradients(p, CODES[start : start + WINDOW + 1], h, forward, backward)
        for name, gradient in clip(gradients, 0.5).items():
            squares[name] += gradient**2
            p[name] -= learning_rate * gradient / np.sqrt(squares[name])
        losses.append(loss)
        start += WINDOW
    return p, np.array(losses)


def sample(p, length, rng):
    """Text written by the network itself: every character is drawn, then read as the next input."""
    code, h, codes = CODES[0], np.zeros(len(p["w_h"])), []
    for _ in range(length):
        x = np.eye(len(CHARACTERS))[code]
        h, _ = fastrnn.rnn_step_forward(x, h, p["w_x"], p["w_h"], p["b"])
        weights = np.exp(h @ p["w_y"] + p["b_y"])
        code = rng.choice(len(CHARACTERS), p=weights / weights.sum())
        codes.append(code)
    return "".join(CHARACTERS[code] for code in codes)


# ---- in fastrnn's own terms ------------------------------------------------------------------------------------------


def train_model(epochs, seed):
    """An LSTM that tells the next character of every window of the text."""
    places = np.arange(len(CODES) - 2 * WINDOW)[:, None] + np.arange(2 * WINDOW + 1)
    model = fastrnn.Sequential(
        [
            fastrnn.Embedding(len(CHARACTERS), 16),
            fastrnn.LSTM(UNITS, return_sequences=True),
            fastrnn.Dense(len(CHARACTERS)),
        ],
        seed=seed,
    )
    model.compile(fastrnn.Adam(5e-3, global_clipnorm=1.0), "sparse_categorical_crossentropy")
    history = model.fit(CODES[places[:, :-1]], CODES[places[:, 1:]], epochs=epochs, verbose=0)
    return model, history.history["loss"]


def write(model, beginning, length, temperature, seed):
    """The beginning, read at a stretch, and what the model makes of it, one character after the other."""
    session = fastrnn.stream(model)
    codes = [CHARACTERS.index(character) for character in beginning]
    session.run(codes[:-1])
    made = session.generate(length, codes[-1], sampler="softmax", temperature=temperature, seed=seed)
    return beginning + "".join(CHARACTERS[code] for code in made.tokens)


def model_and_session(epochs, seed):
    """Train, save, load, write."""
    start = perf_counter()
    model, losses = train_model(epochs, seed)
    print(f"LSTM model  {perf_counter() - start:5.2f} s, {epochs} epochs; loss per character {losses[-1]:.4f}")
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "characters.safetensors")
        model.save(path)
        loaded = fastrnn.load(path)
    for temperature in (0.3, 1.0):
        print(f"\nat temperature {temperature}:\n{write(loaded, 'the river ', 200, temperature, seed)}")
    start = perf_counter()
    write(loaded, "the river ", 20_000, 1.0, seed)
    print(f"\n{(perf_counter() - start) / 20_000 * 1e6:.2f} us a character")


def timed(function, seconds):
    """The function, adding up in seconds[0] how long its calls take."""

    def call(*args):
        start = perf_counter()
        result = function(*args)
        seconds[0] += perf_counter() - start
        return result

    return call


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, help="training steps (default: 1500)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the sample (default: 0)")
    args = parser.parse_args()

    losses, whole, recurrent = {}, {}, {}
    pairs = {"NumPy loop": (numpy_forward, numpy_backward), "fastrnn": (fastrnn.rnn_forward, fastrnn.rnn_backward)}
    for name, (forward, backward) in pairs.items():
        start, inside = perf_counter(), [0.0]
        p, losses[name] = train(timed(forward, inside), timed(backward, inside), args.steps, args.seed)
        whole[name], recurrent[name] = perf_counter() - start, inside[0]
        first, last = losses[name][0], losses[name][-20:].mean()
        print(
            f"{name:<10}  {whole[name]:6.2f} s, {recurrent[name]:6.2f} s of it forward and backward through time;"
            f" loss per character {first:.4f} -> {last:.4f}"
        )

    difference = np.abs(losses["fastrnn"] / losses["NumPy loop"] - 1)[:COMPARED].max()
    assert difference < 1e-12, f"the losses differ by {difference:.1e}"
    faster = {"the program": whole, "forward and backward": recurrent}
    print(", ".join(f"{what}: {s['NumPy loop'] / s['fastrnn']:.1f} times as fast" for what, s in faster.items()))
    print(f"largest relative difference of the losses: {difference:.1e}\n")
    print(sample(p, 200, np.random.default_rng(args.seed)), "\n")
    model_and_session(max(1, args.steps // 150), args.seed)


if __name__ == "__main__":
    main()
