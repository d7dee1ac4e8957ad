"""The simple RNN against the textbook's equations, written out literally.

A. Géron, *Hands-On Machine Learning*, "Processing Sequences Using RNNs and CNNs", equations 15-1 and 15-2.
"""

from __future__ import annotations

import numpy as np
import pytest

from fastrnn import reference

from ..helpers import assert_close

STEPS, INPUTS, NEURONS = 7, 3, 5


def relu(a: np.ndarray) -> np.ndarray:
    return np.where(a > 0, a, 0.0)


phis = pytest.mark.parametrize(("name", "phi"), [("tanh", np.tanh), ("relu", relu)], ids=["tanh", "relu"])


@pytest.fixture
def weights(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    W_x = rng.normal(size=(INPUTS, NEURONS))
    W_y = rng.normal(size=(NEURONS, NEURONS)) / 2
    return W_x, W_y, rng.normal(size=NEURONS)


@phis
def test_equation_15_1_one_instance(name, phi, weights, rng) -> None:
    """y_t = φ(W_xᵀ x_t + W_yᵀ y_{t-1} + b), with column vectors."""
    W_x, W_y, b = weights
    x = rng.normal(size=(STEPS, INPUTS))
    y_0 = rng.normal(size=NEURONS)
    y_previous, expected = y_0, []
    for x_t in x:
        y_previous = phi(W_x.T @ x_t + W_y.T @ y_previous + b)
        expected.append(y_previous)

    y, cache = reference.rnn_forward(x, y_0, W_x, W_y, b, activation=name)
    assert_close(y, np.stack(expected), "float64")
    assert_close(cache.h_n, expected[-1], "float64")


@phis
@pytest.mark.parametrize("m", [1, 4])
def test_equation_15_2_mini_batch(name, phi, m, weights, rng) -> None:
    """Y_t = φ(X_t W_x + Y_{t-1} W_y + b)."""
    W_x, W_y, b = weights
    X = rng.normal(size=(m, STEPS, INPUTS))
    Y_0 = rng.normal(size=(m, NEURONS))
    Y_previous, expected = Y_0, []
    for t in range(STEPS):
        Y_previous = phi(X[:, t] @ W_x + Y_previous @ W_y + b)
        expected.append(Y_previous)

    y, cache = reference.rnn_forward(X, Y_0, W_x, W_y, b, activation=name)
    assert_close(y, np.stack(expected, axis=1), "float64")
    assert_close(cache.h_n, expected[-1], "float64")


@phis
@pytest.mark.parametrize("m", [1, 4])
def test_equation_15_2_stacked(name, phi, m, weights, rng) -> None:
    """Y_t = φ([X_t Y_{t-1}] W + b), with W the stack of W_x on W_y; the first Y_{t-1} is zero."""
    W_x, W_y, b = weights
    X = rng.normal(size=(m, STEPS, INPUTS))
    W = np.vstack([W_x, W_y])
    Y_previous, expected = np.zeros((m, NEURONS)), []
    for t in range(STEPS):
        Y_previous = phi(np.hstack([X[:, t], Y_previous]) @ W + b)
        expected.append(Y_previous)

    y, _ = reference.rnn_forward(X, None, W_x, W_y, b, activation=name)
    assert_close(y, np.stack(expected, axis=1), "float64")
