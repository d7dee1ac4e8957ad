"""Metrics against written-out formulas, over batches and under masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastrnn.layers import GRU, Dense
from fastrnn.training import (
    Accuracy,
    BinaryCrossentropy,
    LastStepMSE,
    MeanSquaredError,
    RootMeanSquaredError,
    Sequential,
)
from fastrnn.training.metrics import get_metric


def test_regression_metrics(rng: np.random.Generator) -> None:
    y_true, y_pred = rng.normal(size=(2, 4, 5, 3))
    mask = rng.random((4, 5)) < 0.5
    error = y_pred - y_true
    loss = MeanSquaredError()
    assert get_metric("mse", loss)(y_true, y_pred) == pytest.approx((error**2).mean(), rel=1e-12)
    assert get_metric("mae", loss)(y_true, y_pred, mask) == pytest.approx(np.abs(error[mask]).mean(), rel=1e-12)
    assert RootMeanSquaredError()(y_true, y_pred, mask) == pytest.approx(np.sqrt((error[mask] ** 2).mean()), rel=1e-12)


def test_last_step(rng: np.random.Generator) -> None:
    y_true, y_pred = rng.normal(size=(2, 3, 5, 2))
    squared = ((y_pred - y_true) ** 2).mean(axis=-1)
    assert LastStepMSE()(y_true, y_pred) == pytest.approx(squared[:, -1].mean(), rel=1e-12)
    mask = np.arange(5) < np.array([[2], [5], [0]])
    assert LastStepMSE()(y_true, y_pred, mask) == pytest.approx((squared[0, 1] + squared[1, 4]) / 2, rel=1e-12)
    with pytest.raises(ValueError, match="last_step_mse expects"):
        LastStepMSE()(y_true[:, 0], y_pred[:, 0])


def test_accuracy() -> None:
    assert Accuracy()([[1], [0], [1], [1]], [[0.6], [0.4], [0.4], [0.9]]) == 0.75
    assert Accuracy(threshold=0.0)([1, 0], [[0.2], [-0.2]]) == 1.0
    assert Accuracy()([2, 0], [[0, 1, 2], [0, 1, 2]]) == 0.5
    assert Accuracy()([[0, 0, 1], [1, 0, 0]], [[0, 1, 2], [0, 1, 2]]) == 0.5
    assert Accuracy()([[2, 0]], [[[0, 1, 2], [0, 1, 2]]], np.array([[True, False]])) == 1.0
    assert get_metric("accuracy", BinaryCrossentropy()).threshold == 0.0  # type: ignore[attr-defined]
    assert get_metric("accuracy", BinaryCrossentropy(from_logits=False)).threshold == 0.5  # type: ignore[attr-defined]


def worst(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    return float(np.abs(y_true - y_pred).max())


def test_evaluate_is_over_all_rows_whatever_the_batches(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(23, 6, 2)), rng.normal(size=(23, 6, 1))
    lengths = rng.integers(1, 7, 23)
    model = Sequential([GRU(3, return_sequences=True, dtype="float64"), Dense(1, dtype="float64")], seed=0)
    model.compile(loss="mae", metrics=["rmse", "mse", "last_step_mse", worst])
    figures: Any = model.evaluate(x, y, lengths=lengths, batch_size=5, return_dict=True)
    error = model.predict(x, lengths=lengths) - y
    true = np.arange(6) < lengths[:, None]
    assert figures["loss"] == pytest.approx(np.abs(error[true]).mean(), rel=1e-12)
    assert figures["rmse"] == pytest.approx(np.sqrt((error[true] ** 2).mean()), rel=1e-12)
    assert figures["last_step_mse"] == pytest.approx((error[np.arange(23), lengths - 1] ** 2).mean(), rel=1e-12)
    assert figures["worst"] == pytest.approx(np.abs(error[true]).max(), rel=1e-12)
    assert model.evaluate(x, y, lengths=lengths) == pytest.approx(list(figures.values()), rel=1e-12)


def test_the_figure_of_an_epoch_is_that_of_all_its_entries(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(23, 6, 2)), rng.normal(size=(23, 1))
    model = Sequential([GRU(3, dtype="float64"), Dense(1, dtype="float64")], seed=0)
    model.compile("sgd", metrics=["rmse"])
    assert model.optimizer is not None
    model.optimizer.learning_rate = 0.0  # the weights stay, so the batches can be put together
    history = model.fit(x, y, batch_size=5, verbose=0).history
    loss, rmse = model.evaluate(x, y)  # type: ignore[misc]
    assert history["loss"] == [pytest.approx(loss, rel=1e-12)]
    assert history["rmse"] == [pytest.approx(rmse, rel=1e-12)]


def test_bad_metrics() -> None:
    model = Sequential([Dense(1)])
    for metrics, error, match in [
        (["precision"], ValueError, "metrics: expected one of"),
        ("mae", TypeError, "metrics: expected a list"),
        ([3], TypeError, "metrics: expected a Metric"),
        (["mae", "mae"], ValueError, "metrics: expected different names"),
    ]:
        with pytest.raises(error, match=match):  # type: ignore[arg-type]
            model.compile(metrics=metrics)  # type: ignore[arg-type]
