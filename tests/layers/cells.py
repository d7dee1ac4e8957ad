"""Memory cells of one's own, as tests use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastrnn.layers import MemoryCell

Array = np.ndarray


class Elman(MemoryCell):
    """The simple recurrent network: ``h = tanh(x·w_x + h_prev·w_h + b)``, y = h."""

    def __init__(self, units: int) -> None:
        self.units = units

    @property
    def state_sizes(self) -> Mapping[str, int]:
        return {"h": self.units}

    @property
    def output_size(self) -> int:
        return self.units

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, Array]:
        scale = 0.5
        return {
            "w_x": scale * rng.normal(size=(input_size, self.units)),
            "w_h": scale * rng.normal(size=(self.units, self.units)),
            "b": scale * rng.normal(size=self.units),
        }

    def step_forward(self, params: Any, x_t: Array, states: Any) -> tuple[Array, dict[str, Array], Any]:
        h = np.tanh(x_t @ params["w_x"] + states["h"] @ params["w_h"] + params["b"])
        return h, {"h": h}, (x_t, states["h"], h)

    def step_backward(self, params: Any, dy_t: Array, dstates: Any, cache: Any) -> Any:
        x_t, h_prev, h = cache
        da = (dy_t + dstates["h"]) * (1 - h * h)
        grads = {"w_x": x_t.T @ da, "w_h": h_prev.T @ da, "b": da.sum(axis=0)}
        return da @ params["w_x"].T, {"h": da @ params["w_h"].T}, grads


class Mealy(MemoryCell):
    """Two states of different size, and an output of a third: ``y = g(h_prev, x)`` sees the state before the step.

    ``u = tanh(x·w + v_prev·p)``, ``v = decay·v_prev + sin(u·q)``, ``y = u * (x·r) + v_prev.sum()``.
    """

    def __init__(self, u: int = 3, v: int = 2, decay: float = 0.8) -> None:
        self.u = u
        self.v = v
        self.decay = decay

    @property
    def state_sizes(self) -> Mapping[str, int]:
        return {"u": self.u, "v": self.v}

    @property
    def output_size(self) -> int:
        return self.u

    def initial_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, Array]:
        shapes = {"w": (input_size, self.u), "p": (self.v, self.u), "q": (self.u, self.v), "r": (input_size, self.u)}
        return {name: 0.6 * rng.normal(size=shape) for name, shape in shapes.items()}

    def step_forward(self, params: Any, x_t: Array, states: Any) -> tuple[Array, dict[str, Array], Any]:
        u_prev, v_prev = states["u"], states["v"]
        u = np.tanh(x_t @ params["w"] + v_prev @ params["p"])
        a = (u + 0.3 * u_prev) @ params["q"]
        v = self.decay * v_prev + np.sin(a)
        gate = x_t @ params["r"]
        y = u_prev * gate + v_prev.sum(axis=1, keepdims=True)
        return y, {"u": u, "v": v}, (x_t, u_prev, v_prev, u, a, gate)

    def step_backward(self, params: Any, dy_t: Array, dstates: Any, cache: Any) -> Any:
        x_t, u_prev, v_prev, u, a, gate = cache
        dgate, du_prev = dy_t * u_prev, dy_t * gate
        dv_prev = np.repeat(dy_t.sum(axis=1, keepdims=True), self.v, axis=1) + self.decay * dstates["v"]
        da = dstates["v"] * np.cos(a)
        dmix = da @ params["q"].T
        dz = (dstates["u"] + dmix) * (1 - u * u)
        grads = {
            "w": x_t.T @ dz,
            "p": v_prev.T @ dz,
            "q": (u + 0.3 * u_prev).T @ da,
            "r": x_t.T @ dgate,
        }
        dx = dz @ params["w"].T + dgate @ params["r"].T
        return dx, {"u": du_prev + 0.3 * dmix, "v": dv_prev + dz @ params["p"].T}, grads
