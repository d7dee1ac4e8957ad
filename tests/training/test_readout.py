"""Ridge regression: against NumPy's least squares, in batches, and as the last layer of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn.layers import GRU, Dense, TimeDistributed
from fastrnn.training import RidgeReadout, Sequential, fit_readout, ridge_readout

from ..helpers import assert_close


def least_squares(features: np.ndarray, targets: np.ndarray, alpha: float, intercept: bool) -> tuple[Any, Any]:
    """The same by a QR-like solver on the extended problem."""
    mean_x = features.mean(axis=0) * intercept
    mean_y = targets.mean(axis=0) * intercept
    extended = np.vstack([features - mean_x, np.sqrt(alpha) * np.eye(features.shape[1])])
    wanted = np.vstack([targets - mean_y, np.zeros((features.shape[1], targets.shape[1]))])
    w = np.linalg.lstsq(extended, wanted, rcond=None)[0]
    return w, mean_y - mean_x @ w


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 10.0])
@pytest.mark.parametrize("intercept", [False, True])
def test_against_least_squares(alpha: float, intercept: bool, rng: np.random.Generator) -> None:
    features, targets = 3 + rng.normal(size=(40, 5)), rng.normal(size=(40, 2))
    expected = least_squares(features, targets, alpha, intercept)
    for found, value in zip(ridge_readout(features, targets, alpha=alpha, intercept=intercept), expected, strict=True):
        assert np.abs(found - value).max() < 1e-10
    sequences = ridge_readout(features.reshape(4, 10, 5), targets.reshape(4, 10, 2), alpha=alpha, intercept=intercept)
    assert_close(sequences[0], expected[0], "finite_difference")


def test_in_batches(rng: np.random.Generator) -> None:
    features, targets = rng.normal(5, 1, size=(50, 4)), rng.normal(size=(50, 1))
    readout = RidgeReadout(0.1)
    for rows in (slice(0, 7), slice(7, 7), slice(7, 40), slice(40, 50)):
        readout.add(features[rows], targets[rows])
    for found, value in zip(readout.solve(), ridge_readout(features, targets, alpha=0.1), strict=True):
        assert np.abs(found - value).max() < 1e-12


def test_a_far_mean_costs_no_precision(rng: np.random.Generator) -> None:
    features = 1e6 + rng.normal(size=(200, 3))
    w, b = ridge_readout(features, features @ [[1.0], [-2.0], [0.5]] + 4, alpha=0.0)
    np.testing.assert_allclose(w.ravel(), [1, -2, 0.5], rtol=1e-6)
    np.testing.assert_allclose(features @ w + b, features @ [[1.0], [-2.0], [0.5]] + 4, rtol=1e-8)


def test_features_that_say_the_same(rng: np.random.Generator) -> None:
    feature = rng.normal(size=(30, 1))
    w, _ = ridge_readout(np.hstack([feature, feature]), 2 * feature, alpha=0.0)
    np.testing.assert_allclose(w.ravel(), [1, 1], atol=1e-8)  # the shortest of all solutions


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_of_a_model(wrapped: bool, use_bias: bool, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(6, 20, 2)), rng.normal(size=(6, 20, 3))
    dense = Dense(3, use_bias=use_bias, dtype="float64")
    recurrent = GRU(8, return_sequences=True, dtype="float64")
    model = Sequential([recurrent, TimeDistributed(dense) if wrapped else dense], seed=0)
    lengths = np.array([20, 3, 0, 10, 20, 7])
    assert fit_readout(model, x, y, alpha=0.1, washout=4, lengths=lengths) is model
    counts = (np.arange(20) >= 4) & (np.arange(20) < lengths[:, None])
    w, b = ridge_readout(recurrent(x, lengths=lengths)[counts], y[counts], alpha=0.1, intercept=use_bias)
    assert_close(dense.params["w"], w, "float64")
    if use_bias:
        assert_close(dense.params["b"], b, "float64")
    np.testing.assert_array_equal(recurrent.params["w_x"], _fresh().params["0/w_x"])


def _fresh() -> Sequential:
    return Sequential([GRU(8, return_sequences=True, dtype="float64"), Dense(3)], input_size=2, seed=0)


def test_of_a_dense_layer_alone_and_of_a_model_without_time(rng: np.random.Generator) -> None:
    x = rng.normal(size=(30, 4))
    dense = Dense(1, dtype="float64")
    fit_readout(dense, x, x[:, :1], alpha=0.0)
    np.testing.assert_allclose(dense(x), x[:, :1], atol=1e-12)
    model = Sequential([Dense(5, "tanh", dtype="float64"), Dense(1, dtype="float64")], seed=0)
    fit_readout(model, x, x[:, :1], alpha=0.0)
    assert np.abs(model(x) - x[:, :1]).mean() < np.abs(x[:, :1]).mean() / 2


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: ridge_readout(np.ones((3, 2)), np.ones((4, 1))),
            "targets: expected 3 rows, as many as",
        ),
        (lambda: ridge_readout(np.ones(3), np.ones((3, 1))), "features: expected at least 2-D, got 1-D"),
        (lambda: ridge_readout(np.full((3, 1), np.nan), np.ones((3, 1))), "features: expected finite numbers"),
        (lambda: RidgeReadout(-1.0), "alpha: expected a number >= 0"),
        (lambda: RidgeReadout().solve(), "features: expected at least one row"),
        (
            lambda: fit_readout(Sequential([GRU(3)]), np.ones((2, 3, 1)), np.ones((2, 3))),
            "model: expected a model that",
        ),
        (
            lambda: fit_readout(Dense(2, "tanh"), np.ones((2, 3)), np.ones((2, 2))),
            "model: expected a model that ends in",
        ),
        (lambda: fit_readout(Dense(2), np.ones((2, 3)), np.ones((2, 1))), r"y: expected shape \(2, 2\), got \(2, 1\)"),
        (lambda: fit_readout(Dense(2), np.ones((2, 3)), np.ones((2, 2)), washout=1), "washout: expected 0"),
    ],
)
def test_bad_arguments(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


def test_batches_of_other_widths() -> None:
    readout = RidgeReadout()
    readout.add(np.ones((3, 2)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="features, targets: expected 2 and 1 columns, as before, got 1 and 2"):
        readout.add(np.ones((3, 1)), np.ones((3, 2)))


def test_public_names() -> None:
    assert fastrnn.fit_readout is fit_readout and fastrnn.ridge_readout is ridge_readout
