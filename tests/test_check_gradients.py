"""check_gradients: what it checks, that it finds what is wrong, what it prints, what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn.layers import GRU, LSTM, Bidirectional, Dense, Dropout, SimpleRNN, TimeDistributed
from fastrnn.layers.base import Layer

B, T, I, H = 3, 6, 2, 4  # noqa: E741


class Broken(Layer):
    """``out = x·w``, whose backward is wrong in one way."""

    def __init__(self, way: str, dtype: Any = "float64") -> None:
        super().__init__(dtype)
        self.way = way

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"w": rng.normal(size=(input_size, 3)).astype(self.dtype), "v": np.ones(3, self.dtype)}

    def forward(self, x: Any, *, training: bool = False, rng: Any = None) -> Any:
        x = self._input(x)
        return x @ self.params["w"] * self.params["v"], x

    def backward(self, dout: Any, cache: Any, dfinal_state: Any = None) -> Any:
        dp = dout * self.params["v"]
        dx, dw, dv = dp @ self.params["w"].T, cache.T @ dp, (dout * (cache @ self.params["w"])).sum(axis=0)
        if self.way == "scaled":
            dw *= 1 + 1e-6
        if self.way == "one number":
            dx[1, 0] += 1e-3
        if self.way == "zeros":
            dv[:] = 0
        if self.way == "nan":
            dv[0] = np.nan
        if self.way == "shape":
            dv = dv[None]
        return dx, {"w": dw} if self.way == "missing" else {"w": dw, "v": dv}, None


@pytest.mark.parametrize(
    ("way", "wrong"),
    [("", set()), ("scaled", {"w"}), ("one number", {"x"}), ("zeros", {"v"}), ("nan", {"v"})],
)
def test_what_is_wrong_is_found(way: str, wrong: set[str], rng: np.random.Generator) -> None:
    result = fastrnn.check_gradients(Broken(way), rng.normal(size=(5, 2)), verbose=False)
    assert {name for name, error in result.errors.items() if not error < 1e-7} == wrong
    assert (not result.max_error < 1e-7) == bool(wrong)


def test_gradients_that_are_missing_or_misshapen_are_told(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="grads: expected the names w, v, got w"):
        fastrnn.check_gradients(Broken("missing"), rng.normal(size=(5, 2)))
    with pytest.raises(ValueError, match=r"dv: expected a gradient of shape \(3,\), got \(1, 3\)"):
        fastrnn.check_gradients(Broken("shape"), rng.normal(size=(5, 2)))


def test_everything_is_checked(rng: np.random.Generator) -> None:
    layer = LSTM(H, return_sequences=True)
    layer.build(I)
    result = fastrnn.check_gradients(layer, rng.normal(size=(B, T, I)), verbose=False)
    assert result.shapes == {
        "x": (B, T, I), "w_x": (I, 4 * H), "w_h": (H, 4 * H), "b": (4 * H,), "h0": (B, H), "c0": (B, H)
    }  # fmt: skip
    assert result.max_error == max(result.errors.values()) < 1e-7


def test_the_layer_stays_as_it_is(rng: np.random.Generator) -> None:
    """A float32 layer is checked as a float64 copy, a stateful one without its state."""
    layer = GRU(H, stateful=True, dropout=0.5, seed=0)
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    layer(x)
    before = {name: array.copy() for name, array in layer.params.items()}
    expected = GRU(H, stateful=True, dropout=0.5, seed=0)
    expected(x)
    assert fastrnn.check_gradients(layer, x, training=False, randomize=0.3, verbose=False).max_error < 1e-7
    for name, array in layer.params.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_array_equal(layer(x), expected(x))
    unbuilt = Dense(2)
    fastrnn.check_gradients(unbuilt, rng.normal(size=(3, 2)), verbose=False)
    assert not unbuilt.built


def test_large_arrays_are_sampled(rng: np.random.Generator) -> None:
    result = fastrnn.check_gradients(Dense(50), rng.normal(size=(2, 40)), samples=7, verbose=False)
    assert "7 of 2,000" in str(result) and "7 of 80" in str(result)
    assert result.max_error < 1e-7


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    result = fastrnn.check_gradients(Dense(2, seed=0), np.ones((1, 3)))
    printed = capsys.readouterr().out
    assert printed == f"{result}\n"
    lines = printed.splitlines()
    assert lines[0].split() == ["gradient", "by", "shape", "numbers", "checked", "max", "relative", "error"]
    assert [line.split()[0] for line in lines[2:5]] == ["x", "w", "b"]
    assert "3 x 2" in lines[3] and lines[-1].split() == ["all", f"{result.max_error:.1e}"]
    fastrnn.check_gradients(Dense(2, seed=0), np.ones((1, 3)), verbose=False)
    assert not capsys.readouterr().out


def test_the_same_seed_gives_the_same_result(rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    layer = GRU(H, seed=0)
    errors = [fastrnn.check_gradients(layer, x, seed=seed, verbose=False).errors for seed in (1, 1, 2)]
    assert errors[0] == errors[1] != errors[2]


def test_kinks_between_two_shifts_do_no_harm(rng: np.random.Generator) -> None:
    for seed in range(5):
        result = fastrnn.check_gradients(Dense(200, "relu", seed=seed), rng.normal(size=(40, 3)), verbose=False)
        assert result.max_error < 1e-7, result


def test_noise_of_training_is_the_same_in_every_pass(rng: np.random.Generator) -> None:
    model = fastrnn.Sequential(
        [SimpleRNN(H, return_sequences=True), Dropout(0.5), TimeDistributed(Dense(2, "tanh"))], input_size=I, seed=0
    )
    result = fastrnn.check_gradients(model, rng.normal(size=(B, T, I)), lengths=[6, 2, 4], verbose=False)
    assert set(result.errors) == {"x", *model.params} and result.max_error < 1e-7


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("lengths", [None, [4, 6, 0]])
def test_functional_cells(name: str, lengths: Any, rng: np.random.Generator) -> None:
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[name]
    states = [rng.normal(size=(B, H)) for _ in range(1 + (name == "lstm"))]
    bias = rng.normal(size=(2, gates * H) if name == "gru" else gates * H)
    weights = rng.normal(size=(I, gates * H)), rng.normal(size=(H, gates * H)), bias
    x = rng.normal(size=(B, T, I))
    result = fastrnn.check_gradients(name, x, *states, *weights, lengths=lengths, verbose=False)
    names = ["x", "h0", "c0"][: 1 + len(states)]
    assert set(result.errors) == {*names, "w_x", "w_h", "b"} and result.max_error < 1e-7, result
    result = fastrnn.check_gradients(name, x[0], *[None] * len(states), *weights[:2], None, verbose=False)
    assert set(result.errors) == {"x", "w_x", "w_h"} and result.max_error < 1e-7, result


def test_parameters_of_functional_options(rng: np.random.Generator) -> None:
    x, peephole = rng.normal(size=(B, T, I)), rng.normal(size=(3, H))
    weights = rng.normal(size=(I, 4 * H)), rng.normal(size=(H, 4 * H)), None
    mask = rng.random((B, H)) < 0.5
    result = fastrnn.check_gradients(
        "lstm", x, None, None, *weights, peephole=peephole, recurrent_dropout_mask=2.0 * mask, verbose=False
    )
    assert set(result.errors) == {"x", "w_x", "w_h", "peephole"} and result.max_error < 1e-7, result


def test_two_bidirectional_layers_with_everything(rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    """A two-layer bidirectional layer-norm LSTM with recurrent dropout, lengths and peepholes."""
    options: Any = {"layer_norm": True, "recurrent_dropout": 0.3, "peephole": True, "return_sequences": True}
    model = fastrnn.Sequential([Bidirectional(LSTM(5, **options)), Bidirectional(LSTM(4, **options))], seed=0)
    result = fastrnn.check_gradients(model, rng.normal(size=(4, 7, 3)), lengths=[7, 3, 0, 5], randomize=0.3)
    assert len(result.errors) == 1 + 2 * 2 * 8
    assert "0/forward/peephole" in capsys.readouterr().out
    assert result.max_error < 1e-7, result


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: fastrnn.check_gradients(3, np.ones((2, 2))), TypeError, "what: expected a layer, a model, a Mem"),
        (lambda: fastrnn.check_gradients("gru_cell", np.ones((2, 2))), ValueError, "what: expected one of"),
        (lambda: fastrnn.check_gradients("lstm", np.ones((2, 2))), TypeError, "expected x, h0, c0, w_x, w_h, b for 'l"),
        (lambda: fastrnn.check_gradients(Dense(2), np.ones((2, 2)), 1), TypeError, "expected keywords alone after x"),
        (lambda: fastrnn.check_gradients(Dense(2), np.ones((2, 2)), eps=0), ValueError, "eps: expected a number > 0"),
        (lambda: fastrnn.check_gradients(Dense(2), np.ones((2, 2)), samples=0), ValueError, "samples: expected"),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
