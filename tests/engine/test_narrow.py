"""Steps with weights stored in fewer bits: the errors that csrc/narrow.h states, for every cell, option and set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastrnn import _engine, datasets
from fastrnn._recurrent_stage import RecurrentStage
from fastrnn._session import Loop
from fastrnn.functional._options import Options
from fastrnn.layers import LSTM, Dense
from fastrnn.training import Adam, Sequential

from ..helpers import Cell, spec_of
from .cases import Array, cells, instruction_sets, random_arguments

FORMATS = ["float16", "bfloat16", "int8"]
formats = pytest.mark.parametrize("weights", FORMATS)
TANH, SIGMOID, LINEAR = (_engine.ACTIVATIONS[name]["default"] for name in ("tanh", "sigmoid", "linear"))


def rounded(w: Array, weights: str, gates: int = 1) -> Array:
    """The weights as they are stored, by other means: NumPy's halves, bits, whole numbers."""
    if weights == "float16":
        return w.astype(np.float16).astype(np.float32)
    if weights == "bfloat16":
        bits = w.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    scale = np.abs(w).max(axis=0) / np.float32(127)
    return (np.rint(w / np.where(scale > 0, scale, 1)) * scale).astype(np.float32)


def stored_error(w: Array, weights: str) -> Array:
    """The most that a stored weight may be off by."""
    w = w.astype(np.float64)
    if weights == "bfloat16":
        return np.abs(w) * 2.0**-8
    if weights == "float16":
        return np.maximum(np.abs(w) * 2.0**-11, np.abs(w).max() * 2.0**-39)
    return np.broadcast_to(np.abs(w).max(axis=0) / 127 * 0.50001, w.shape)


def stage(
    cell: str, batch: int, arrays: list[Array | None], activation: Any = TANH, options: Any = None, weights: Any = None
) -> Loop:
    index = _engine.CELLS[cell]["index"]
    return Loop(RecurrentStage(index, batch, *arrays, activation, SIGMOID, options, stored=weights))


def outputs(one: Loop, x: Array) -> Array:
    """The outputs (T, B, H) for x (T, B, I)."""
    return np.stack([one.step(x_t) for x_t in x])


def options_of(cell: Cell, w_h: Array | None, hidden: int) -> Options | None:
    if cell.recurrent == "vector":
        return Options(unit=w_h)
    return Options(unit=np.full(hidden, cell.options["leak"], np.float32)) if "leak" in cell.options else None


@instruction_sets
@formats
@cells
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize(("inputs", "hidden"), [(1, 1), (3, 7), (5, 33), (40, 24)])
def test_a_step_is_one_with_the_rounded_weights(
    cell: Cell, inputs: int, hidden: int, batch: int, weights: str, instruction_set: str, rng: np.random.Generator
) -> None:
    """With 16 bits to the bit; with 8 to rounding, because the scales come in behind the sums."""
    arguments = random_arguments(cell, rng, batch, 1, inputs, hidden, "float32")
    w_x, w_h, b = (arguments[name] for name in ("w_x", "w_h", "b"))
    for w in (w_x, w_h):
        if w is not None:
            w[np.abs(w) < 1e-3] = 0  # NumPy's halves have fewer digits below 6e-5, these have not
    name, options = _name(cell), options_of(cell, w_h, hidden)
    x = rng.normal(size=(4, batch, inputs)).astype(np.float32)
    narrow = stage(name, batch, [w_x, w_h, b], options=options, weights=weights)
    w_h = rounded(w_h, weights) if cell.recurrent == "matrix" else w_h
    plain = stage(name, batch, [rounded(w_x, weights), w_h, b], options=options)
    actual, expected = outputs(narrow, x), outputs(plain, x)
    if weights == "int8":
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))
    else:
        np.testing.assert_array_equal(actual, expected)


def _name(cell: Cell) -> str:
    return next(name for name, spec in _engine.CELLS.items() if spec is spec_of(cell))


@formats
@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_every_matrix_is_narrow(projected: bool, norm: bool, weights: str, rng: np.random.Generator) -> None:
    """Projections too, and products that layer norm keeps apart."""
    inputs, hidden, outer = 6, 19, 5 if projected else 19
    w_x, w_h = (rng.normal(size=(n, 4 * hidden)).astype("float32") for n in (inputs, outer))
    w_proj = rng.normal(size=(hidden, outer)).astype("float32") if projected else None
    gains = dict.fromkeys(("ln_x_gain", "ln_h_gain"), 4 * hidden) | {"ln_c_gain": hidden, "ln_c_bias": hidden}
    norms = {name: rng.normal(size=size).astype("float32") for name, size in gains.items()} if norm else None

    def of(w_x: Array, w_h: Array, w_proj: Array | None, weights: str | None) -> Array:
        options = Options(w_proj=w_proj, norm=norms) if projected or norm else None
        return outputs(stage("lstm", 2, [w_x, w_h, None], options=options, weights=weights), x)

    x = rng.normal(size=(3, 2, inputs)).astype("float32")
    actual = of(w_x, w_h, w_proj, weights)
    near = [None if w is None else rounded(w, weights) for w in (w_x, w_h, w_proj)]
    np.testing.assert_allclose(actual, of(*near, None), rtol=0, atol=2e-5)
    for i in range(2 + projected):  # each of them counts
        others = [w if j == i else near[j] for j, w in enumerate((w_x, w_h, w_proj))]
        assert np.abs(actual - of(*others, None)).max() > 5e-5


@instruction_sets
@formats
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_dot_product_is_off_by_no_more_than_stated(
    scale: float, weights: str, instruction_set: str, rng: np.random.Generator
) -> None:
    """A linear cell from state zero gives the products themselves, whatever the size of the weights."""
    inputs, hidden = 129, 40
    w_x = (scale * rng.normal(size=(inputs, hidden)) * 10 ** rng.uniform(-6, 0, (inputs, hidden))).astype("float32")
    x, w_h = rng.normal(size=(3, inputs)).astype("float32"), np.zeros((hidden, hidden), "float32")
    y = stage("rnn", 3, [w_x, w_h, None], LINEAR, weights=weights).step(x).astype("float64")
    exact = x.astype("float64") @ w_x.astype("float64")
    sizes = np.abs(x.astype("float64"))
    allowed = sizes @ stored_error(w_x, weights) + 2.0**-24 * (inputs + 2) * (sizes @ np.abs(w_x.astype("float64")))
    assert (np.abs(y - exact) <= allowed).all()
    assert np.abs(y - exact).max() > allowed.max() / 1000  # the bound means something


@formats
def test_rows_and_batches_have_the_same_bits(weights: str, rng: np.random.Generator) -> None:
    arrays = [rng.normal(size=(n, 4 * 21)).astype("float32") for n in (5, 21)]
    x = rng.normal(size=(3, 7, 5)).astype("float32")
    together = outputs(stage("lstm", 7, [*arrays, None], weights=weights), x)
    for row in range(7):
        alone = outputs(stage("lstm", 1, [*arrays, None], weights=weights), x[:, row : row + 1])
        np.testing.assert_array_equal(together[:, row : row + 1], alone)


def test_output_of_a_trained_model() -> None:
    """Bicycles of the next hour: fewer bits change the forecast by far less than it is wrong by."""
    series = datasets.bike_sharing().y.astype("float32")
    series = (series - series.mean()) / series.std()
    windows = np.lib.stride_tricks.sliding_window_view(series[:2000], 25)
    x, y = windows[:, :24, None], windows[:, 24:]
    model = Sequential([LSTM(16), Dense(1)], seed=0)
    model.compile(Adam(0.01), "mse")
    model.fit(x[:1600], y[:1600], epochs=2, verbose=0)
    layer, head = model.layers
    error = np.sqrt(np.mean((model.predict(x[1600:]) - y[1600:]) ** 2))
    changes = {}
    for weights in FORMATS:
        bound = stage("lstm", len(x) - 1600, [layer.params[name] for name in ("w_x", "w_h", "b")], weights=weights)
        h = outputs(bound, np.ascontiguousarray(x[1600:].swapaxes(0, 1)))[-1]
        changes[weights] = np.abs(head(h) - model.predict(x[1600:])).max()
    assert error < 0.7 * series.std()
    assert changes["float16"] < 0.002 and changes["bfloat16"] < 0.02 and changes["int8"] < 0.05
    assert 0 < changes["float16"] < changes["bfloat16"]


def test_what_does_not_fit() -> None:
    w_x, w_h = np.ones((2, 12), "float32"), np.ones((3, 12), "float32")
    with pytest.raises(ValueError, match="weights: expected one of None, 'float16', 'bfloat16', 'int8', got 'int4'"):
        stage("lstm", 1, [w_x, w_h, None], weights="int4")
    with pytest.raises(ValueError, match="weights: expected float32 weights to store in int8, got float64"):
        stage("lstm", 1, [w_x.astype("float64"), w_h.astype("float64"), None], weights="int8")
    w_h[1, 1] = np.inf
    with pytest.raises(ValueError, match="weights: expected finite weights to store in float16"):
        stage("lstm", 1, [w_x, w_h, None], weights="float16")
