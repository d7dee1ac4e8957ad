"""An update by Adam in one pass of compiled code, beside the same formula in NumPy without temporary arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastrnn.training import Adam

from .conftest import note_environment, note_ratio


class InNumPy(Adam):
    """Adam, operation by operation."""

    def update(self, param: Any, gradient: Any, slots: Any, rate: float, scratch: Any) -> None:
        m, v = slots["m"], slots["v"]
        m *= self.beta_1
        m += np.multiply(gradient, 1.0 - self.beta_1, out=scratch)
        v *= self.beta_2
        np.square(gradient, out=scratch)
        scratch *= 1.0 - self.beta_2
        v += scratch
        np.sqrt(v, out=scratch)
        scratch += self.epsilon
        np.divide(m, scratch, out=scratch)
        scratch *= rate * np.sqrt(1.0 - self.beta_2**self.iterations) / (1.0 - self.beta_1**self.iterations)
        param -= scratch


@pytest.mark.parametrize("implementation", ["fastrnn", "numpy"])
@pytest.mark.parametrize("shape", [(20, 20), (128, 512), (512, 2048)], ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.benchmark(min_rounds=5, max_time=0.3)
def test_adam(benchmark: Any, shape: tuple[int, int], implementation: str) -> None:
    rng = np.random.default_rng(0)
    start, gradient = rng.normal(size=shape).astype("float32"), {"w": rng.normal(size=shape).astype("float32")}
    optimizers = {"fastrnn": Adam(), "numpy": InNumPy()}
    params = {name: {"w": start.copy()} for name in optimizers}
    for name, optimizer in optimizers.items():
        for _ in range(3):
            optimizer.apply(params[name], gradient)
    np.testing.assert_allclose(params["fastrnn"]["w"], params["numpy"]["w"], rtol=1e-5, atol=1e-7)

    runs = {name: (lambda name=name: optimizers[name].apply(params[name], gradient)) for name in optimizers}
    benchmark.group = "x".join(map(str, shape))
    note_environment(benchmark)
    benchmark(runs[implementation])
    if implementation == "numpy" and benchmark.enabled:
        note_ratio(benchmark, "numpy", runs["numpy"], runs["fastrnn"])
