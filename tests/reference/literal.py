"""The equations of every cell and option, written out for one row of a batch, forward only.

Nothing here is shared with the reference, and nothing is clever: it is what the reference is checked against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray


def _sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a))


def _elu(a: float, alpha: float = 1.0) -> float:
    return a if a > 0 else alpha * (math.exp(a) - 1)


SCALAR: dict[str, Callable[..., float]] = {
    "tanh": math.tanh,
    "sigmoid": _sigmoid,
    "relu": lambda a: max(a, 0.0),
    "linear": lambda a: a,
    "hard_sigmoid": lambda a, alpha=1 / 6, beta=0.5: min(max(alpha * a + beta, 0.0), 1.0),
    "hard_tanh": lambda a: min(max(a, -1.0), 1.0),
    "softsign": lambda a: a / (1 + abs(a)),
    "softplus": lambda a: math.log(1 + math.exp(a)),
    "elu": _elu,
    "selu": lambda a, alpha=1.6732632423543772, beta=1.0507009873554805: beta * _elu(a, alpha),
    "leaky_relu": lambda a, alpha=0.2: a if a > 0 else alpha * a,
    "thresholded_relu": lambda a, alpha=1.0: a if a > alpha else 0.0,
    "gelu": lambda a: 0.5 * a * (1 + math.erf(a / math.sqrt(2))),
    "silu": lambda a: a * _sigmoid(a),
    "exponential": math.exp,
    "affine": lambda a, alpha=1.0, beta=0.0: alpha * a + beta,
    "scaled_tanh": lambda a, alpha=1.0, beta=1.0: alpha * math.tanh(beta * a),
}


def phi(spec: Any) -> Callable[[Array], Array]:
    """The activation as a function of arrays."""
    name, *constants = (spec,) if isinstance(spec, str) else spec
    return np.vectorize(lambda a: SCALAR[name](float(a), *constants), otypes=[float])


def clip(value: Array, limit: float | None) -> Array:
    return value if limit is None else np.minimum(np.maximum(value, -limit), limit)


def normalized(v: Array, epsilon: float) -> Array:
    mean = sum(v) / len(v)
    variance = sum((v - mean) ** 2) / len(v)
    return (v - mean) / math.sqrt(variance + epsilon)


def rnn(x_t: Array, h_in: Array, h: Array, w_x: Array, w_h: Array, b: Any, o: Mapping[str, Any]) -> tuple[Array]:
    a = x_t @ w_x + h_in @ w_h + b
    if "ln_gain" in o:
        a = normalized(a, o["ln_epsilon"]) * o["ln_gain"] + o["ln_bias"]
    return (phi(o["activation"])(clip(a, o["clip"])),)


def leaky(x_t: Array, h_in: Array, h: Array, w_x: Array, w_h: Array, b: Any, o: Mapping[str, Any]) -> tuple[Array]:
    (new,) = rnn(x_t, h_in, h, w_x, w_h, b, o)
    return ((1 - o["leak"]) * h + o["leak"] * new,)


def indrnn(x_t: Array, h_in: Array, h: Array, w_x: Array, w_h: Array, b: Any, o: Mapping[str, Any]) -> tuple[Array]:
    return (phi(o["activation"])(clip(x_t @ w_x + w_h * h_in + b, o["clip"])),)


def mingru(x_t: Array, h_in: Array, h: Array, w_x: Array, w_h: None, b: Any, o: Mapping[str, Any]) -> tuple[Array]:
    assert w_h is None
    a_z, a_n = np.split(clip(x_t @ w_x + b, o["clip"]), 2)
    z, n = phi(o["recurrent_activation"])(a_z), phi(o["activation"])(a_n)
    return ((1 - z) * h + z * n,)


def gru(x_t: Array, h_in: Array, h: Array, w_x: Array, w_h: Array, b: Any, o: Mapping[str, Any]) -> tuple[Array]:
    sigma, tanh = phi(o["recurrent_activation"]), phi(o["activation"])
    from_x, from_h = x_t @ w_x, h_in @ w_h
    if "ln_x_gain" in o:
        from_x = normalized(from_x, o["ln_epsilon"]) * o["ln_x_gain"]
        from_h = normalized(from_h, o["ln_epsilon"]) * o["ln_h_gain"]
    b_x, b_h = b if np.ndim(b) == 2 else (b, 0.0)
    x_z, x_r, x_n = np.split(from_x + b_x, 3)
    h_z, h_r, h_n = np.split(from_h + b_h, 3)
    z = sigma(clip(x_z + h_z, o["clip"]))
    r = sigma(clip(x_r + h_r, o["clip"]))
    if o["reset_after"]:
        n = tanh(clip(x_n + r * h_n, o["clip"]))
    else:
        n = tanh(clip(x_n + (r * h_in) @ w_h[:, 2 * len(h) :], o["clip"]))
    return (z * h + (1 - z) * n,)


def lstm(
    x_t: Array, h_in: Array, h: Array, c: Array, w_x: Array, w_h: Array, b: Any, o: Mapping[str, Any]
) -> tuple[Array, Array]:
    sigma, tanh = phi(o["recurrent_activation"]), phi(o["activation"])
    shown = tanh if o["output_activation"] is None else phi(o["output_activation"])
    from_x, from_h = x_t @ w_x, h_in @ w_h
    if "ln_x_gain" in o:
        from_x = normalized(from_x, o["ln_epsilon"]) * o["ln_x_gain"]
        from_h = normalized(from_h, o["ln_epsilon"]) * o["ln_h_gain"]
    a_i, a_f, a_g, a_o = np.split(from_x + from_h + b, 4)
    p_i, p_f, p_o = (0.0, 0.0, 0.0) if o["peephole"] is None else o["peephole"]
    i = sigma(clip(a_i + p_i * c, o["clip"]))
    f = 1 - i if o["coupled"] else sigma(clip(a_f + p_f * c, o["clip"]))
    new = clip(f * c + i * tanh(clip(a_g, o["clip"])), o["cell_clip"])
    out = sigma(clip(a_o + p_o * new, o["clip"]))
    seen = new if "ln_c_gain" not in o else normalized(new, o["ln_epsilon"]) * o["ln_c_gain"] + o["ln_c_bias"]
    y = out * shown(seen)
    return y if o["w_proj"] is None else y @ o["w_proj"], new


# A cell that is not here has no equations to be checked against: `run_row` says what to write.
STEPS = {"rnn": rnn, "leaky": leaky, "indrnn": indrnn, "mingru": mingru, "gru": gru, "lstm": lstm}


def run_row(name: str, arguments: Mapping[str, Any], o: Mapping[str, Any]) -> tuple[list[Array], list[Array]]:
    """Every state at every step, 0 past the end, and the final states, of one row: x is (T, I)."""
    assert name in STEPS, (
        f"no equations of the cell {name!r}: write `def {name}(x_t, h_in, h[, c], w_x, w_h, b, o)` in tests/reference/"
        "literal.py, one step of one row as its paper has it (h_in is h with its dropout, o the options), and put it "
        "into STEPS"
    )
    x, *states, w_x, w_h, b = arguments.values()
    b = 0.0 if b is None else b
    length = o.get("lengths", len(x))
    histories = [np.zeros((len(x), len(state))) for state in states]
    zoneout = [o["zoneout_mask"], o.get("zoneout_cell_mask")]
    for t in reversed(range(length)) if o["reverse"] else range(length):
        if "reset_mask" in o and o["reset_mask"][t]:
            states = [0 * state for state in states]
        x_t = x[t] * o.get("dropout_mask", 1.0)
        h_in = states[0] * o.get("recurrent_dropout_mask", 1.0)
        new = STEPS[name](x_t, h_in, *states, w_x, w_h, b, o)
        for k, (old, value) in enumerate(zip(states, new, strict=True)):
            held = 0.0 if zoneout[k] is None else zoneout[k] if np.ndim(zoneout[k]) == 0 else zoneout[k][t]
            states[k] = histories[k][t] = held * old + (1 - held) * value
    return histories, states
