"""Reservoirs: how their weights are made, that they stay, and what a read-out makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import storage
from fastrnn.layers import Dense, EchoState
from fastrnn.layers.echo_state import spectral_radius

from ..helpers import assert_close


@pytest.mark.parametrize("units", [1, 5, 100])
@pytest.mark.parametrize("radius", [0.0, 0.5, 1.2])
def test_the_spectral_radius_is_exact(units: int, radius: float) -> None:
    layer = EchoState(units, spectral_radius=radius, dtype="float64", seed=0)
    layer.build(3)
    assert np.abs(np.linalg.eigvals(layer.buffers["w_h"])).max() == pytest.approx(radius, rel=1e-12, abs=1e-300)


def test_a_spectral_radius_without_eigenvalues(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    normal = rng.normal(size=(60, 60))
    rotation = np.kron(np.eye(5), [[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]]) * 0.7
    nilpotent = np.triu(np.ones((20, 20)), 1)
    expected = [spectral_radius(matrix) for matrix in (normal, 1e-3 * normal, rotation)]
    monkeypatch.setattr(fastrnn.layers.echo_state, "_EIGENVALUES_UP_TO", 0)
    found = [spectral_radius(matrix) for matrix in (normal, 1e-3 * normal, rotation)]
    np.testing.assert_allclose(found, expected, rtol=3e-6)
    assert spectral_radius(nilpotent) == 0


@pytest.mark.parametrize("density", [0.01, 0.1, 0.5, 1.0])
def test_every_unit_sees_as_many_others(density: float) -> None:
    layer = EchoState(50, density=density, seed=0)
    layer.build(1)
    assert set((layer.buffers["w_h"] != 0).sum(axis=0)) == {max(1, round(50 * density))}


def test_scalings() -> None:
    layer = EchoState(500, density=0.01, input_scaling=0.5, bias_scaling=0.25, seed=0)
    layer.build(2)
    for name, limit in (("w_x", 0.5), ("b", 0.25)):
        assert 0.99 * limit < np.abs(layer.buffers[name]).max() <= limit
    assert not EchoState(3, seed=0).build(1)
    plain = EchoState(3, seed=0)
    plain.build(1)
    assert not plain.buffers["b"].any()


def test_weights_are_no_parameters_and_stay(tmp_path: Path, rng: np.random.Generator) -> None:
    layer = EchoState(20, leak=0.3)
    layer.build(2)
    assert len(layer.params) == 0 and set(layer.buffers) == {"w_x", "w_h", "b"} and layer.count_params() == 0
    storage.save(layer, tmp_path / "layer")
    loaded = storage.load(tmp_path / "layer")
    for name, array in layer.buffers.items():
        np.testing.assert_array_equal(loaded.buffers[name], array)
    same, other = EchoState(20, seed=1), EchoState(20, seed=1)
    same.build(2)
    other.build(2)
    np.testing.assert_array_equal(same.buffers["w_h"], other.buffers["w_h"])


@pytest.mark.parametrize("leak", [1.0, 0.3])
def test_it_is_the_leaky_cell(leak: float, rng: np.random.Generator) -> None:
    layer = EchoState(7, leak=leak, bias_scaling=0.5, return_sequences=True, dtype="float64", seed=0)
    x = rng.normal(size=(2, 9, 3))
    out = layer(x)
    w_x, w_h, b = (layer.buffers[name] for name in ("w_x", "w_h", "b"))
    h = np.zeros((2, 7))
    for t in range(9):
        h = (1 - leak) * h + leak * np.tanh(x[:, t] @ w_x + h @ w_h + b)
        assert_close(out[:, t], h, "float64")


def test_gradients_go_through_it(rng: np.random.Generator) -> None:
    layer = EchoState(6, leak=0.4, return_sequences=True, seed=0)
    mask = rng.random((3, 5)) < 0.6
    result = fastrnn.check_gradients(layer, rng.normal(size=(3, 5, 2)), mask=mask, verbose=False)
    assert set(result.errors) == {"x", "h0"}
    assert result.max_error < 1e-7, result


def test_a_readout_remembers(rng: np.random.Generator) -> None:
    """The short-term memory task (Jaeger, 2002): the input of five steps ago, out of the state."""
    x = rng.uniform(-0.5, 0.5, size=(2, 600, 1))
    y = np.roll(x, 5, axis=1)
    model = fastrnn.Sequential([EchoState(80, return_sequences=True, seed=0), Dense(1)])
    fastrnn.fit_readout(model, x[:1], y[:1], washout=50, alpha=1e-8)
    error = np.abs(model(x[1:]) - y[1:])[:, 50:].mean()
    assert error < 0.02 < np.abs(y).mean() / 5


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"density": 0.0}, "density: expected a number > 0 and <= 1, got 0"),
        ({"leak": 1.5}, "leak: expected a number > 0 and <= 1, got 1.5"),
        ({"spectral_radius": -1.0}, "spectral_radius: expected a number >= 0"),
        ({"input_scaling": float("nan")}, "input_scaling: expected a finite number"),
    ],
)
def test_bad_options(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        EchoState(4, **options)


@pytest.mark.parametrize("name", ["dropout", "layer_norm", "use_bias", "learn_initial_state", "nonsense"])
def test_options_it_does_not_have(name: str) -> None:
    with pytest.raises(TypeError, match=rf"EchoState\(\) got an unexpected keyword argument '{name}'"):
        EchoState(4, **{name: 0.5})  # type: ignore[arg-type]
