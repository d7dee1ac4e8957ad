"""A forecaster around a cell that the user has written: fitted, saved, loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import fastrnn
from fastrnn.forecasting import Forecaster


class Mixture(fastrnn.MemoryCell):
    """h = (1 - a)·h_prev + a·tanh(x·w) with a learned a for each unit."""

    def __init__(self, units: int) -> None:
        self.units = units

    @property
    def state_sizes(self) -> dict[str, int]:
        return {"h": self.units}

    @property
    def output_size(self) -> int:
        return self.units

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"w": rng.normal(size=(input_size, self.units)), "a": np.full(self.units, 0.5)}

    def step_forward(self, params: Any, x_t: Any, states: Any) -> tuple[Any, Any, Any]:
        n = np.tanh(x_t @ params["w"])
        h = (1 - params["a"]) * states["h"] + params["a"] * n
        return h, {"h": h}, (x_t, states["h"], n)

    def step_backward(self, params: Any, dy_t: Any, dstates: Any, cache: Any) -> tuple[Any, Any, Any]:
        x_t, h_prev, n = cache
        dh = dy_t + dstates["h"]
        da = dh * params["a"] * (1 - n * n)
        dparams = {"w": x_t.T @ da, "a": (dh * (n - h_prev)).sum(axis=0)}
        return da @ params["w"].T, {"h": dh * (1 - params["a"])}, dparams


def test_fit_forecast_save_load(tmp_path: Path) -> None:
    y = np.sin(np.arange(300) / 5.0)
    forecaster = Forecaster(cell=Mixture, units=8, window=20, horizon=2, epochs=3, seed=0).fit(y)
    expected = forecaster.predict(y)
    assert np.isfinite(expected).all()
    forecaster.save(tmp_path / "own.fastrnn")
    np.testing.assert_array_equal(Forecaster.load(tmp_path / "own.fastrnn").predict(y), expected)
