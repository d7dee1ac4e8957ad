"""Optimizers against PyTorch where the formulas are the same, against the written-out formula where Keras' differs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastrnn.training import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, schedules
from fastrnn.training.optimizers import get_optimizer, global_norm

from ..helpers import assert_close

STEPS = 6
Arrays = dict[str, np.ndarray]


def problem(rng: np.random.Generator) -> tuple[Arrays, list[Arrays]]:
    """Parameters and a gradient for each step."""
    shapes = {"w": (3, 4), "b": (4,)}
    params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return params, [{name: rng.normal(size=shape) for name, shape in shapes.items()} for _ in range(STEPS)]


def run(optimizer: Optimizer, params: Arrays, gradients: list[Arrays]) -> Arrays:
    """The parameters after all steps."""
    params = {name: array.copy() for name, array in params.items()}
    for grads in gradients:
        optimizer.apply(params, grads)
    return params


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (SGD(0.1), "SGD", {"lr": 0.1}),
        (SGD(0.1, momentum=0.9), "SGD", {"lr": 0.1, "momentum": 0.9}),
        (SGD(0.1, momentum=0.9, nesterov=True), "SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        (Adam(0.1, epsilon=0.0), "Adam", {"lr": 0.1, "eps": 0.0}),
        (Adam(0.1, 0.8, 0.99, epsilon=0.0), "Adam", {"lr": 0.1, "betas": (0.8, 0.99), "eps": 0.0}),
        (AdamW(0.1, 0.05, epsilon=0.0), "AdamW", {"lr": 0.1, "weight_decay": 0.05, "eps": 0.0}),
        (RMSprop(0.1, 0.8, epsilon=0.0), "RMSprop", {"lr": 0.1, "alpha": 0.8, "eps": 0.0}),
        (RMSprop(0.1, 0.8, 0.0, 0.0, True), "RMSprop", {"lr": 0.1, "alpha": 0.8, "eps": 0.0, "centered": True}),
        (Adagrad(0.1, 0.3, epsilon=0.0), "Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.3, "eps": 0.0}),
    ],
    ids=lambda value: repr(value) if isinstance(value, Optimizer) else "",
)  # fmt: skip
def test_against_torch(ours: Optimizer, theirs: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    params, gradients = problem(rng)
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    optimizer = getattr(torch.optim, theirs)(tensors.values(), **options)
    for grads in gradients:
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(grads[name])
        optimizer.step()
    ours.reset()
    result = run(ours, params, gradients)
    for name, tensor in tensors.items():
        assert_close(result[name], tensor.detach().numpy(), "torch", name)


def keras_adam(p: np.ndarray, gradients: Iterator[np.ndarray], decay: float = 0.0) -> np.ndarray:
    rate, beta_1, beta_2, epsilon = 0.01, 0.7, 0.9, 0.1
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gradients, start=1):
        p = p - rate * decay * p
        m = m + (g - m) * (1 - beta_1)
        v = v + (g**2 - v) * (1 - beta_2)
        p = p - m * (rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)) / (np.sqrt(v) + epsilon)
    return p


def keras_rmsprop(p: np.ndarray, gradients: Iterator[np.ndarray]) -> np.ndarray:
    rate, rho, momentum, epsilon = 0.01, 0.8, 0.6, 0.1
    v, mean, m = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for g in gradients:
        v = rho * v + (1 - rho) * g**2
        mean = rho * mean + (1 - rho) * g
        m = momentum * m + rate * g / np.sqrt(v - mean**2 + epsilon)
        p = p - m
    return p


def keras_adagrad(p: np.ndarray, gradients: Iterator[np.ndarray]) -> np.ndarray:
    v = np.full_like(p, 0.1)
    for g in gradients:
        v = v + g**2
        p = p - 0.01 * g / np.sqrt(v + 0.2)
    return p


@pytest.mark.parametrize(
    ("optimizer", "formula"),
    [
        (Adam(0.01, 0.7, 0.9, 0.1), keras_adam),
        (AdamW(0.01, 0.3, 0.7, 0.9, 0.1), lambda p, g: keras_adam(p, g, 0.3)),
        (RMSprop(0.01, 0.8, 0.6, 0.1, centered=True), keras_rmsprop),
        (Adagrad(0.01, epsilon=0.2), keras_adagrad),
    ],
    ids=lambda value: repr(value) if isinstance(value, Optimizer) else "",
)
def test_keras_epsilon(optimizer: Optimizer, formula: Any, rng: np.random.Generator) -> None:
    params, gradients = problem(rng)
    optimizer.reset()
    result = run(optimizer, params, gradients)
    for name, start in params.items():
        assert_close(result[name], formula(start, (g[name] for g in gradients)), "float64", name)


def test_defaults_are_keras() -> None:
    assert SGD().learning_rate == 0.01
    adam = Adam()
    assert (adam.learning_rate, adam.beta_1, adam.beta_2, adam.epsilon) == (0.001, 0.9, 0.999, 1e-7)
    assert AdamW().weight_decay == 0.004
    rmsprop = RMSprop()
    assert (rmsprop.learning_rate, rmsprop.rho, rmsprop.momentum, rmsprop.epsilon) == (0.001, 0.9, 0.0, 1e-7)
    assert (Adagrad().learning_rate, Adagrad().initial_accumulator_value) == (0.001, 0.1)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw", "adagrad"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_updates_in_place_in_the_dtype_of_the_parameter(name: str, dtype: str, rng: np.random.Generator) -> None:
    params, gradients = problem(rng)
    params = {key: array.astype(dtype) for key, array in params.items()}
    before = {key: array.copy() for key, array in params.items()}
    kept = dict(params)
    untouched = {key: array.copy() for key, array in gradients[0].items()}
    optimizer = get_optimizer(name)
    optimizer.apply(params, gradients[0])
    for key in params:
        assert params[key] is kept[key] and params[key].dtype == np.dtype(dtype)
        # the first step of every one of them goes against the gradient
        assert ((params[key] - before[key]) * gradients[0][key] < 0).all()
        np.testing.assert_array_equal(gradients[0][key], untouched[key])
    assert optimizer.iterations == 1


def test_clipnorm(rng: np.random.Generator) -> None:
    grads = {"w": np.array([3.0, 4.0]), "b": np.array([0.3, 0.4])}
    clipped = SGD(clipnorm=1.0).clip(grads)
    np.testing.assert_allclose(clipped["w"], [0.6, 0.8])
    np.testing.assert_array_equal(clipped["b"], grads["b"])


def test_clipvalue() -> None:
    clipped = SGD(clipvalue=0.5).clip({"w": np.array([3.0, -4.0, 0.1])})
    np.testing.assert_array_equal(clipped["w"], [0.5, -0.5, 0.1])


def test_global_clipnorm() -> None:
    grads = {"w": np.array([3.0, 0.0]), "b": np.array([4.0])}
    assert global_norm(grads) == 5.0
    clipped = SGD(global_clipnorm=2.5).clip(grads)
    np.testing.assert_allclose(np.concatenate(list(clipped.values())), [1.5, 0.0, 2.0])
    assert SGD(global_clipnorm=5.0).clip(grads)["w"] is grads["w"]


def test_clipped_gradients_are_the_ones_applied() -> None:
    params = {"w": np.zeros(2)}
    SGD(1.0, clipnorm=1.0).apply(params, {"w": np.array([3.0, 4.0])})
    np.testing.assert_allclose(params["w"], [-0.6, -0.8])


# ---- schedules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (schedules.ConstantRate(0.3), {0: 0.3, 99: 0.3}),
        (schedules.ExponentialDecay(0.1, 10, 0.5), {0: 0.1, 5: 0.1 * 0.5**0.5, 10: 0.05, 20: 0.025}),
        (schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True), {9: 0.1, 10: 0.05, 19: 0.05, 20: 0.025}),
        (schedules.InverseTimeDecay(0.1, 10, 2.0), {0: 0.1, 5: 0.05, 10: 0.1 / 3}),
        (schedules.InverseTimeDecay(0.1, 10, 2.0, staircase=True), {9: 0.1, 10: 0.1 / 3}),
        (schedules.CosineDecay(0.1, 10, alpha=0.2), {0: 0.1, 5: 0.06, 10: 0.02, 50: 0.02}),
        (schedules.PiecewiseConstantDecay([2, 5], [1.0, 0.5, 0.1]), {0: 1, 2: 1, 3: 0.5, 5: 0.5, 6: 0.1, 99: 0.1}),
        (schedules.LinearWarmup(0.4, 4, start=0.2), {0: 0.2, 2: 0.3, 4: 0.4, 9: 0.4}),
        (schedules.LinearWarmup(schedules.ExponentialDecay(0.4, 1, 0.5), 4), {0: 0.0, 3: 0.3, 4: 0.4, 5: 0.2}),
    ],
    ids=repr,
)
def test_schedules(schedule: schedules.Schedule, expected: dict[int, float]) -> None:
    assert {step: schedule(step) for step in expected} == pytest.approx(expected, rel=1e-12)
    again = type(schedule).from_config(schedule.get_config())
    assert [again(step) for step in expected] == [schedule(step) for step in expected]


def test_a_schedule_is_asked_for_every_step() -> None:
    optimizer = SGD(schedules.PiecewiseConstantDecay([0, 1], [1.0, 10.0, 100.0]))
    params = {"w": np.zeros(1)}
    for expected in (-1.0, -11.0, -111.0):
        optimizer.apply(params, {"w": np.ones(1)})
        assert params["w"][0] == expected
    assert optimizer.current_learning_rate == 100.0


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: SGD(-0.1), ValueError, "learning_rate: expected a number >= 0"),
        (lambda: SGD("fast"), TypeError, "learning_rate: expected a number"),
        (lambda: Adam(beta_1=1.0), ValueError, "beta_1: expected a number >= 0 and < 1"),
        (lambda: Adam(clipnorm=1.0, clipvalue=1.0), ValueError, "expected at most one of them"),
        (lambda: Adam(clipnorm=0.0), ValueError, "clipnorm: expected a number > 0"),
        (lambda: get_optimizer("lion"), ValueError, "optimizer: expected one of"),
        (lambda: get_optimizer(Adam), TypeError, "optimizer: expected a Optimizer"),
        (lambda: SGD().apply({"w": np.zeros(2)}, {"b": np.zeros(2)}), ValueError, r"grads: expected the names \['w'\]"),
        (lambda: SGD().apply({"w": np.zeros(2)}, {"w": np.zeros(3)}), ValueError, "expected shape"),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [1, 1, 1]), ValueError, "boundaries: expected steps in"),
        (lambda: schedules.PiecewiseConstantDecay([2], [1.0]), ValueError, "values: expected 2"),
        (lambda: schedules.CosineDecay(0.1, 0), ValueError, "decay_steps: expected an integer >= 1"),
    ],
)  # fmt: skip
def test_bad_arguments(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


def test_an_optimizer_belongs_to_one_model() -> None:
    optimizer = Adam()
    optimizer.apply({"w": np.zeros(2)}, {"w": np.ones(2)})
    with pytest.raises(ValueError, match="w: this Adam was used for another parameter"):
        optimizer.apply({"w": np.zeros(3)}, {"w": np.ones(3)})
    optimizer.reset()
    optimizer.apply({"w": np.zeros(3)}, {"w": np.ones(3)})


@pytest.mark.parametrize("optimizer", [SGD, Adam, RMSprop], ids=lambda optimizer: optimizer.__name__)
@pytest.mark.parametrize(
    ("param", "error"),
    [
        (np.ones((3, 4)).T, ValueError),
        (np.ones((3, 4))[:, :2], ValueError),
        (np.broadcast_to(1.0, (2, 2)), ValueError),
        (np.ones(3, "float16"), TypeError),
        (np.ones(3, ">f8"), TypeError),
        (np.ones(3, int), TypeError),
        (np.ones(3, object), TypeError),
        ([1.0, 2.0], TypeError),
    ],
    ids=lambda value: "" if isinstance(value, type) else f"{getattr(value, 'dtype', 'list')}",
)
def test_what_cannot_be_updated_in_place(optimizer: Any, param: Any, error: type[Exception]) -> None:
    before = np.array(param, copy=True)
    made = optimizer()
    with pytest.raises(error, match=r"params\['w'\]: expected"):
        made.apply({"w": param}, {"w": np.ones(np.shape(param))})
    np.testing.assert_array_equal(param, before)
    assert made.iterations == 0
