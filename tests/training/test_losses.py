"""Losses: values against written-out formulas and PyTorch, gradients against finite differences, weights and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastrnn.training import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)
from fastrnn.training.losses import combined_weights, get_loss

from ..helpers import assert_close, central_difference

SHAPES = ((6, 3), (4, 5, 3))
LOSSES = (
    MeanSquaredError(),
    MeanAbsoluteError(),
    Huber(0.7),
    BinaryCrossentropy(),
    BinaryCrossentropy(from_logits=False),
    CategoricalCrossentropy(),
    SparseCategoricalCrossentropy(),
)


def example(loss: Loss, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Targets and predictions that the loss takes."""
    y_pred = rng.normal(size=shape)
    if isinstance(loss, SparseCategoricalCrossentropy):
        return rng.integers(0, shape[-1], shape[:-1]), y_pred
    if isinstance(loss, CategoricalCrossentropy):
        return rng.dirichlet(np.ones(shape[-1]), shape[:-1]), y_pred
    if isinstance(loss, BinaryCrossentropy):
        return rng.random(shape), y_pred if loss.from_logits else rng.uniform(0.1, 0.9, shape)
    return rng.normal(size=shape), y_pred


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weights", ["none", "rows", "mask"])
def test_gradient(loss: Loss, shape: tuple[int, ...], weights: str, rng: np.random.Generator) -> None:
    y_true, y_pred = example(loss, shape, rng)
    weight: Any = None
    if weights == "rows":
        weight = rng.random(shape[0])
    elif weights == "mask":
        weight = rng.random(shape[:-1]) < 0.6
    value, dy_pred = loss.value_and_gradient(y_true, y_pred, weight)
    assert value == loss(y_true, y_pred, weight)
    assert_close(dy_pred, central_difference(lambda y: loss(y_true, y, weight), y_pred), "finite_difference")


@pytest.mark.parametrize("shape", SHAPES)
def test_values_against_torch(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    cases = {
        MeanSquaredError(): lambda t, p: F.mse_loss(p, t),
        MeanAbsoluteError(): lambda t, p: F.l1_loss(p, t),
        Huber(0.7): lambda t, p: F.huber_loss(p, t, delta=0.7),
        BinaryCrossentropy(): lambda t, p: F.binary_cross_entropy_with_logits(p, t),
        BinaryCrossentropy(from_logits=False): lambda t, p: F.binary_cross_entropy(p, t),
        CategoricalCrossentropy(): lambda t, p: F.cross_entropy(p.reshape(-1, 3), t.reshape(-1, 3)),
        SparseCategoricalCrossentropy(): lambda t, p: F.cross_entropy(p.reshape(-1, 3), t.reshape(-1)),
    }
    for loss, theirs in cases.items():
        y_true, y_pred = example(loss, shape, rng)
        prediction = torch.tensor(y_pred, requires_grad=True)
        expected = theirs(torch.tensor(y_true), prediction)
        expected.backward()
        value, dy_pred = loss.value_and_gradient(y_true, y_pred)
        assert value == pytest.approx(expected.item(), rel=1e-12)
        assert_close(dy_pred, prediction.grad.numpy(), "float64", repr(loss))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_crossentropies_are_stable(dtype: str) -> None:
    far = np.array([[-1e4], [1e4], [-1e4], [1e4]], dtype)
    value, gradient = BinaryCrossentropy().value_and_gradient([[0], [1], [1], [0]], far)
    assert value == 5000.0
    np.testing.assert_array_equal(gradient.ravel() * 4, [0, 0, -1, 1])
    logits = np.array([[1e4, 0, -1e4]], dtype)
    value, gradient = SparseCategoricalCrossentropy().value_and_gradient([2], logits)
    assert value == 20000.0
    np.testing.assert_array_equal(gradient, [[1, 0, -1]])
    assert CategoricalCrossentropy()([[1, 0, 0]], logits) == 0.0
    small = BinaryCrossentropy()([[0.0]], np.array([[-30.0]], dtype))
    assert small == pytest.approx(np.exp(-30.0), rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_boolean_weight_is_the_mean_over_the_selected(loss: Loss, rng: np.random.Generator) -> None:
    y_true, y_pred = example(loss, (4, 5, 3), rng)
    chosen = rng.random((4, 5)) < 0.5
    value, gradient = loss.value_and_gradient(y_true, y_pred, chosen)
    assert value == pytest.approx(loss(y_true[chosen], y_pred[chosen]), rel=1e-12)
    assert_close(gradient[chosen], loss.value_and_gradient(y_true[chosen], y_pred[chosen])[1], "float64")
    assert not gradient[~chosen].any()


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_what_does_not_count_may_hold_anything(loss: Loss, rng: np.random.Generator) -> None:
    y_true, y_pred = example(loss, (4, 5, 3), rng)
    chosen = rng.random((4, 5)) < 0.5
    expected_value, expected = loss.value_and_gradient(y_true, y_pred, chosen)
    y_true[~chosen] = -1 if y_true.dtype.kind == "i" else np.nan
    value, gradient = loss.value_and_gradient(y_true, y_pred, chosen)
    assert value == expected_value
    np.testing.assert_array_equal(gradient, expected)


def test_numeric_weights_are_divided_by_the_number_of_entries(rng: np.random.Generator) -> None:
    y_true, y_pred = rng.normal(size=(2, 3, 5, 2))
    loss = MeanSquaredError()
    entries = ((y_true - y_pred) ** 2).mean(axis=-1)
    rows, steps = rng.random(3), rng.random((1, 5))
    assert loss(y_true, y_pred, rows) == pytest.approx((entries * rows[:, None]).mean(), rel=1e-12)
    assert loss(y_true, y_pred, steps) == pytest.approx((entries * steps).mean(), rel=1e-12)
    mask = np.arange(5) < np.array([[5], [2], [0]])
    weights = combined_weights(rows, mask)
    expected = (entries * rows[:, None])[mask].sum() / mask.sum()
    assert loss(y_true, y_pred, weights) == pytest.approx(expected, rel=1e-12)
    assert combined_weights(np.array([True, False, True]), mask).sum() == 5


def test_no_entry_selected() -> None:
    value, gradient = MeanSquaredError().value_and_gradient(np.ones((3, 1)), np.zeros((3, 1)), np.zeros(3, bool))
    assert value == 0.0 and not gradient.any()


def test_targets_may_leave_out_a_last_axis_of_one() -> None:
    assert MeanSquaredError()([1.0, 2.0], [[0.0], [0.0]]) == 2.5
    assert SparseCategoricalCrossentropy()([[1]], [[0.0, 0.0]]) == pytest.approx(np.log(2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_have_the_dtype_of_the_prediction(dtype: str, rng: np.random.Generator) -> None:
    for loss in LOSSES:
        y_true, y_pred = example(loss, (4, 5, 3), rng)
        for weight in (None, rng.random(4)):
            assert loss.value_and_gradient(y_true, y_pred.astype(dtype), weight)[1].dtype == np.dtype(dtype)


def mse(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
    return MeanSquaredError()(y_true, y_pred, sample_weight)


def classes(y_true: Any, y_pred: Any) -> float:
    return SparseCategoricalCrossentropy()(y_true, y_pred)


ONE = np.ones((3, 1))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: mse(np.ones((3, 2)), ONE), ValueError, r"y_true: expected shape .*\(3, 1\), got \(3, 2\)"),
        (lambda: mse(np.ones(3), np.ones(3)), ValueError, "y_pred: expected a non-empty"),
        (lambda: mse(np.ones((0, 1)), np.ones((0, 1))), ValueError, "y_pred: expected a non-empty"),
        (lambda: mse(ONE, ONE, np.ones(4)), ValueError, "sample_weight: expected a shape"),
        (lambda: mse(ONE, ONE, [1, np.nan, 1]), ValueError, "sample_weight: expected finite"),
        (lambda: mse(np.array([["a"]]), np.ones((1, 1))), TypeError, "y_true: expected an array of real"),
        (lambda: classes([3], np.ones((1, 3))), ValueError, "y_true: expected integers from 0 to 2"),
        (lambda: classes([0.5], np.ones((1, 3))), ValueError, "y_true: expected integers"),
        (lambda: Huber(0.0), ValueError, "delta: expected a number > 0"),
        (lambda: get_loss("rms"), ValueError, "loss: expected one of"),
        (lambda: get_loss(3), TypeError, "loss: expected a Loss or one of"),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
