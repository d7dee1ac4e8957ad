"""Initialisers: the distributions that their names promise."""

from __future__ import annotations

import numpy as np
import pytest

from fastrnn.layers import initializers
from fastrnn.layers.initializers import Orthogonal, TruncatedNormal, VarianceScaling, get_initializer

SHAPE = (200, 300)
NORMAL = ("glorot_normal", "he_normal", "lecun_normal", "truncated_normal", "random_normal")


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / 500),
        ("glorot_normal", 2 / 500),
        ("he_uniform", 2 / 200),
        ("he_normal", 2 / 200),
        ("lecun_uniform", 1 / 200),
        ("lecun_normal", 1 / 200),
        ("random_normal", 0.05**2),
        ("random_uniform", 0.1**2 / 12),
        ("zeros", 0.0),
        ("ones", 0.0),
        ("constant", 0.0),
    ],
)
def test_variance_and_tails(name: str, variance: float) -> None:
    values = get_initializer("kernel_initializer", name)(SHAPE, "float64", np.random.default_rng(0))
    assert values.var() == pytest.approx(variance, rel=0.02)
    if variance:
        assert abs(values.mean()) < 0.02 * np.sqrt(variance)
        widest = np.abs(values).max() / np.sqrt(variance)
        if name == "random_normal":
            assert widest > 3.5
        elif name.endswith("_normal"):
            assert 2.2 < widest <= 2 / 0.8796
        else:
            assert widest == pytest.approx(np.sqrt(3), rel=1e-3)


def test_truncated_normal() -> None:
    values = TruncatedNormal(mean=1.0, stddev=0.5)(SHAPE, "float64", np.random.default_rng(0))
    assert 0 <= values.min() < 0.01 and 1.99 < values.max() <= 2
    assert values.mean() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("shape", [(5, 20), (20, 5), (7, 7), (2, 3, 4)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    values = Orthogonal(gain=3.0)(shape, "float64", np.random.default_rng(0)).reshape(-1, shape[-1])
    product = values @ values.T if len(values) <= shape[-1] else values.T @ values
    np.testing.assert_allclose(product, 9 * np.eye(len(product)), atol=1e-12)


def test_both_dtypes_start_from_the_same_point() -> None:
    single, double = (Orthogonal()((4, 16), dtype, np.random.default_rng(0)) for dtype in ("float32", "float64"))
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, double.astype(np.float32))


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
def test_fans(mode: str) -> None:
    values = VarianceScaling(1.5, mode, "untruncated_normal")(SHAPE, "float64", np.random.default_rng(0))
    fan = {"fan_in": 200, "fan_out": 300, "fan_avg": 250}[mode]
    assert values.var() == pytest.approx(1.5 / fan, rel=0.02)


def test_configurations_rebuild() -> None:
    for value in (initializers.Constant(2.0), initializers.RandomUniform(-1.0, 3.0), initializers.HeNormal()):
        again = type(value).from_config(value.get_config())
        np.testing.assert_array_equal(*(v((3, 4), "float64", np.random.default_rng(0)) for v in (value, again)))


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="stddev: expected a number >= 0"):
        initializers.RandomNormal(stddev=-1.0)
    with pytest.raises(ValueError, match="maxval"):
        initializers.RandomUniform(1.0, 0.0)
    with pytest.raises(ValueError, match="mode: expected one of"):
        VarianceScaling(mode="fan")
    with pytest.raises(ValueError, match="at least two axes"):
        Orthogonal()((3,), "float64", np.random.default_rng(0))
