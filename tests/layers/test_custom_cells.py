"""Memory cells of one's own in the layer, in models and in files; what a wrong one is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import storage
from fastrnn.layers import RNN, Dense, MemoryCell, SimpleRNN

from ..helpers import assert_close
from .cells import Elman, Mealy

B, T, I, H = 3, 5, 2, 4  # noqa: E741


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("lengths", [None, [5, 0, 2]])
def test_a_cell_of_ones_own_is_the_engines_cell(
    return_sequences: bool, go_backwards: bool, lengths: Any, rng: np.random.Generator
) -> None:
    options: Any = {"return_sequences": return_sequences, "go_backwards": go_backwards, "dtype": "float64"}
    own, engine = RNN(Elman(H), **options), SimpleRNN(H, **options)
    own.build(I)
    engine.build(I)
    engine.params.update(own.params)
    x, h0 = rng.normal(size=(B, T, I)), (rng.normal(size=(B, H)) if return_sequences else None)
    resets = rng.random((B, T)) < 0.3
    results = []
    for layer in (own, engine):
        out, cache = layer.forward(x, initial_state=(h0,), lengths=lengths, reset_mask=resets)
        dout = np.cos(np.arange(out.size)).reshape(out.shape)
        if not return_sequences and lengths is not None:
            out[1], dout[1] = 0, 0  # a row without a step: zero here, the initial state there
        dx, grads, (dh0,) = layer.backward(dout, cache, (np.ones((B, H)),))
        results.append({"out": out, "h": cache.state[0], "dx": dx, "dh0": dh0, **grads})
    for name, value in results[1].items():
        assert_close(results[0][name], value, "float64", name)


@pytest.mark.parametrize("cell", [Elman(H), Mealy(), Mealy(2, 5, 0.1)], ids=repr)
def test_gradients(cell: MemoryCell, rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    assert fastrnn.check_gradients(cell, x, verbose=False).max_error < 1e-7
    result = fastrnn.check_gradients(RNN(cell, go_backwards=True), x, lengths=[5, 0, 2], verbose=False)
    assert result.max_error < 1e-7, result


def test_the_output_may_show_the_state_before_the_step() -> None:
    layer = RNN(Mealy(), return_sequences=True, dtype="float64", seed=0)
    x = np.ones((1, 2, I))
    assert not layer(x)[:, 0].any()
    assert layer(x)[:, 1].any()
    assert layer.output_shape((None, None, I)) == (None, None, 3)
    _, cache = layer.forward(x)
    assert [state.shape for state in cache.state] == [(1, 3), (1, 2)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_is_of_the_layers_dtype(dtype: str) -> None:
    layer = RNN(Mealy(), return_sequences=True, dtype=dtype, seed=0)
    out, cache = layer.forward(np.ones((B, T, I)), lengths=[5, 0, 2])
    dx, grads, dstates = layer.backward(np.ones(out.shape), cache)
    arrays = [out, *cache.state, dx, *grads.values(), *dstates, *layer.params.values()]
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}


def test_training_saving_and_loading(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.normal(size=(64, 12, 1))
    y = x.sum(axis=1)
    model = fastrnn.Sequential([RNN(Mealy(), return_sequences=True), RNN(Elman(8)), Dense(1)], seed=0)
    model.compile(fastrnn.Adam(0.01), "mse")
    losses = model.fit(x, y, epochs=30, verbose=0, lengths=np.full(64, 12)).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    model.save(tmp_path / "model")
    loaded = storage.load(tmp_path / "model")
    assert repr(loaded) == repr(model)
    assert isinstance(loaded.layers[0].cell, Mealy)
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))


def test_one_cell_may_serve_two_layers(rng: np.random.Generator) -> None:
    cell = Elman(H)
    first, second = RNN(cell, seed=0), RNN(cell, seed=1)
    x = rng.normal(size=(B, T, I))
    assert (first(x) != second(x)).any()
    assert set(first.params) == {"w_x", "w_h", "b"}


class Wrong(Elman):
    """A cell that is wrong in one way."""

    def __init__(self, way: str) -> None:
        super().__init__(H)
        self.way = way

    def step_forward(self, params: Any, x_t: np.ndarray, states: Any) -> Any:
        y, new, cache = super().step_forward(params, x_t, states)
        if self.way == "output":
            y = y[:, :1]
        if self.way == "state":
            new = {"h": new["h"][0]}
        if self.way == "names":
            new = {"g": new["h"]}
        return y, new, cache

    def step_backward(self, params: Any, dy_t: np.ndarray, dstates: Any, cache: Any) -> Any:
        dx, dprevious, grads = super().step_backward(params, dy_t, dstates, cache)
        if self.way == "dx":
            dx = dx[0]
        if self.way == "dprevious":
            dprevious = {}
        if self.way == "dparams":
            grads = grads | {"b": grads["b"][None]}
        if self.way == "missing":
            del grads["b"]
        if self.way == "sign":
            grads["w_h"] = -grads["w_h"]
        if self.way == "forgets":
            dprevious = {"h": 0 * dprevious["h"]}
        return dx, dprevious, grads


@pytest.mark.parametrize(
    ("way", "match"),
    [
        ("output", r"y_t of Wrong: expected shape \(3, 4\), got \(3, 1\)"),
        ("state", r"new_states\['h'\] of Wrong: expected shape \(3, 4\), got \(4,\)"),
        ("names", "new_states of Wrong: expected the names h, got g"),
        ("dx", r"dx_t of Wrong: expected shape \(3, 2\), got \(2,\)"),
        ("dprevious", "dprevious_states of Wrong: expected the names h, got none"),
        ("dparams", r"dparams\['b'\] of Wrong: expected shape \(4,\), got \(1, 4\)"),
        ("missing", "dparams of Wrong: expected the names w_x, w_h, b, got w_x, w_h"),
    ],
)
def test_a_wrong_shape_is_told(way: str, match: str) -> None:
    layer = RNN(Wrong(way))
    with pytest.raises(ValueError, match=match):
        out, cache = layer.forward(np.ones((B, T, I)))
        layer.backward(out, cache)


@pytest.mark.parametrize(("way", "wrong"), [("sign", {"w_h"}), ("forgets", {"x", "w_x", "w_h", "b", "h0"})])
def test_a_wrong_gradient_is_found(way: str, wrong: set[str], rng: np.random.Generator) -> None:
    result = fastrnn.check_gradients(Wrong(way), rng.normal(size=(B, T, I)), verbose=False)
    assert {name for name, error in result.errors.items() if error > 1e-3} == wrong
    assert result.max_error > 1e-3


def test_bad_cells() -> None:
    with pytest.raises(TypeError, match="cell: expected a MemoryCell, got str"):
        RNN("lstm")  # type: ignore[arg-type]

    class Stateless(Elman):
        @property
        def state_sizes(self) -> dict[str, int]:
            return {}

    with pytest.raises(ValueError, match=r"cell: expected Stateless.state_sizes to name at least one state"):
        RNN(Stateless(2))

    class Clash(Elman):
        def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
            return super().initial_parameters(input_size, rng) | {"h0": np.zeros(2)}

    with pytest.raises(ValueError, match="h0: expected another name for this parameter"):
        RNN(Clash(2), learn_initial_state=True).build(1)


def test_an_inference_keeps_nothing_for_backward() -> None:
    layer = RNN(Elman(H), return_sequences=True)
    seen = []
    original = layer.cell.step_forward
    layer.cell.step_forward = lambda *arguments: seen.append(1) or original(*arguments)  # type: ignore
    layer(np.ones((B, T, I)), lengths=[2, 0, 3])
    assert len(seen) == 3  # steps that no row has are not run
