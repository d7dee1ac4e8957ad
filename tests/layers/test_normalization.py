"""Layer and batch normalization: their figures, gradients, moving averages, and what does not count."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from fastrnn.layers import BatchNormalization, Dense, LayerNormalization, TimeDistributed
from fastrnn.training import SGD, Sequential

from ..helpers import assert_close
from .test_gradients import B, I, T, check_gradients, randomised

LENGTHS = [T, 2, 0]
HOLES = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]], bool)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("shape", [(B, I + 2), (B, T, I + 2), (2, 2, 2, I + 2)])
def test_gradients_of_layer_normalization(
    center: bool, scale: bool, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    layer = randomised(LayerNormalization(center=center, scale=scale, epsilon=0.01, dtype="float64"), rng, I + 2)
    check_gradients(layer, rng.normal(size=shape), rng)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((7, I), {}),
        ((B, T, I), {}),
        ((B, T, I), {"lengths": LENGTHS}),
        ((B, T, I), {"mask": HOLES}),
        ((B, T, I), {"mask": HOLES, "lengths": [3, 3, 3]}),
        ((B, T, 2, I), {"mask": HOLES}),
    ],
)
def test_gradients_of_batch_normalization(
    center: bool,
    scale: bool,
    training: bool,
    shape: tuple[int, ...],
    options: dict[str, Any],
    rng: np.random.Generator,
) -> None:
    layer = randomised(BatchNormalization(center=center, scale=scale, epsilon=0.01, dtype="float64"), rng)
    layer.buffers["moving_mean"], layer.buffers["moving_variance"] = rng.normal(size=I), rng.uniform(0.5, 2, size=I)
    check_gradients(layer, rng.normal(size=shape), rng, training=training, **options)


def test_parameters_follow_center_and_scale() -> None:
    for cls in (LayerNormalization, BatchNormalization):
        for center in (False, True):
            for scale in (False, True):
                layer = cls(center=center, scale=scale)
                layer.build(3)
                assert list(layer.params) == ["gamma"] * scale + ["beta"] * center


def test_layer_normalization_by_hand(rng: np.random.Generator) -> None:
    x = rng.normal(3.0, 2.0, size=(4, 5, 6))
    layer = randomised(LayerNormalization(epsilon=0.1, dtype="float64"), rng, 6)
    normal = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 0.1)
    assert_close(layer(x), normal * layer.params["gamma"] + layer.params["beta"], "float64")
    assert layer(x.astype(np.float32)).dtype == np.float64 and LayerNormalization()(x).dtype == np.float32


def test_a_row_is_normalized_the_same_in_any_batch(rng: np.random.Generator) -> None:
    x = rng.normal(size=(9, 5, 7)).astype(np.float32)
    layer = LayerNormalization()
    np.testing.assert_array_equal(layer(x)[3:4], layer(x[3:4]))


def test_moving_averages(rng: np.random.Generator) -> None:
    layer = BatchNormalization(momentum=0.9, dtype="float64")
    x = rng.normal(5.0, 3.0, size=(8, 6, 2))
    _, cache = layer.forward(x, training=True)
    assert not layer.buffers["moving_mean"].any() and (layer.buffers["moving_variance"] == 1).all()
    layer.commit(cache)
    assert_close(layer.buffers["moving_mean"], 0.1 * x.mean(axis=(0, 1)), "float64")
    assert_close(layer.buffers["moving_variance"], 0.9 + 0.1 * x.var(axis=(0, 1)), "float64")
    before = {name: array.copy() for name, array in layer.buffers.items()}
    layer.commit(layer.forward(x)[1])  # an inference changes nothing
    for name, array in before.items():
        np.testing.assert_array_equal(layer.buffers[name], array)
    expected = (x - before["moving_mean"]) / np.sqrt(before["moving_variance"] + 1e-3)
    assert_close(layer(x), expected, "float64")


@pytest.mark.parametrize("junk", [7.0, np.nan, np.inf])
def test_what_does_not_count_is_not_seen(junk: float, rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    x[~HOLES] = junk
    layer = BatchNormalization(momentum=0.0, dtype="float64")
    out, cache = layer.forward(x, mask=HOLES, training=True)
    alone, expected = BatchNormalization(momentum=0.0, dtype="float64").forward(x[HOLES], training=True)
    np.testing.assert_array_equal(out[HOLES], alone)
    assert not out[~HOLES].any()
    layer.commit(cache)
    np.testing.assert_array_equal(layer.buffers["moving_mean"], expected.statistics["moving_mean"])
    dout = rng.normal(size=out.shape)
    dout[~HOLES] = junk
    dx, grads, _ = layer.backward(dout, cache)
    assert np.isfinite(dx).all() and not dx[~HOLES].any() and all(np.isfinite(g).all() for g in grads.values())
    wrapped = TimeDistributed(BatchNormalization(momentum=0.0, dtype="float64"))
    np.testing.assert_array_equal(wrapped.forward(x, mask=HOLES, training=True)[0], out)


def test_nothing_counts_at_all() -> None:
    layer = BatchNormalization()
    x = np.full((2, 3, 1), 5.0)
    out, cache = layer.forward(x, lengths=[0, 0], training=True)
    layer.commit(cache)
    assert not out.any() and layer.buffers["moving_mean"] == 0 and layer.buffers["moving_variance"] == 1
    dx, grads, _ = layer.backward(np.ones_like(out), cache)
    assert not dx.any() and not grads["gamma"].any()


def test_many_float32_rows_cost_no_digits() -> None:
    x = np.full((400_000, 1), 0.1, np.float32)
    x[::2] += 1000
    _, cache = BatchNormalization(momentum=0.0).forward(x, training=True)
    expected = x.astype(np.float64)
    np.testing.assert_allclose(cache.statistics["moving_mean"], expected.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(cache.statistics["moving_variance"], expected.var(axis=0), rtol=1e-6)


def test_fit_moves_the_averages_and_never_the_optimizer(rng: np.random.Generator) -> None:
    x = rng.normal(4.0, 2.0, size=(64, 5, 2))
    model = Sequential([BatchNormalization(momentum=0.5), TimeDistributed(BatchNormalization(momentum=0.5)), Dense(1)])
    model.compile(SGD(0.0))
    assert list(model.params) == []
    model.fit(x, x[..., :1], batch_size=64, epochs=20, verbose=0)
    assert list(model.params) == ["0/gamma", "0/beta", "1/gamma", "1/beta", "2/w", "2/b"]
    assert list(model.buffers) == [f"{i}/moving_{name}" for i in (0, 1) for name in ("mean", "variance")]
    np.testing.assert_allclose(model.buffers["0/moving_mean"], x.mean(axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(model.buffers["0/moving_variance"], x.var(axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(model.buffers["1/moving_variance"], 1.0, rtol=1e-2)
    assert model.count_params() == 4 + 4 + 3


def test_early_stopping_restores_the_averages_too(rng: np.random.Generator) -> None:
    model = Sequential([BatchNormalization(momentum=0.0), Dense(1)], input_size=2, seed=0)
    weights = model.get_weights()
    assert len(weights) == 6
    model.compile()
    before = model.predict(np.ones((1, 2)))
    model.fit(rng.normal(3, 2, size=(8, 2)), np.ones((8, 1)), verbose=0)
    assert (model.predict(np.ones((1, 2))) != before).any()
    model.set_weights(weights)
    np.testing.assert_array_equal(model.predict(np.ones((1, 2))), before)


def test_inference_in_many_threads(rng: np.random.Generator) -> None:
    layer = BatchNormalization()
    inputs = [rng.normal(size=(b, 3)) for b in (1, 2, 5) * 5]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(layer, inputs))
    for x, out in zip(inputs, results, strict=True):
        np.testing.assert_array_equal(out, layer(x))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: LayerNormalization(1), ValueError, "axis: expected an integer <= -1, got 1"),
        (lambda: LayerNormalization(epsilon=0), ValueError, "epsilon: expected a number > 0"),
        (lambda: BatchNormalization(momentum=1.5), ValueError, "momentum: expected a number >= 0 and <= 1"),
        (lambda: BatchNormalization(scale=1), TypeError, "scale: expected True or False"),
        (lambda: BatchNormalization()(np.ones((2, 3)), lengths=[1, 1]), ValueError, "lengths: expected x to be 3-D"),
        (
            lambda: BatchNormalization()(np.ones((2, 3, 1)), mask=np.ones((2, 2), bool)),
            ValueError,
            r"mask: expected shape \(B, T\) = \(2, 3\), got \(2, 2\)",
        ),
        (
            lambda: LayerNormalization().backward(np.ones((2, 2)), LayerNormalization().forward(np.ones((2, 3)))[1]),
            ValueError,
            r"dout: expected shape \(2, 3\), got \(2, 2\)",
        ),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
