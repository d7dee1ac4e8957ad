"""The reference's convolution: known values, and every gradient against central finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastrnn import reference

from ..helpers import assert_close, central_difference

OPTIONS = [
    {},
    {"padding": "same"},
    {"padding": "causal"},
    {"padding": (3, 1)},
    {"strides": 2},
    {"strides": 3, "padding": "same"},
    {"strides": 4, "padding": "causal"},  # more than the window: some steps are seen by nobody
    {"dilation_rate": 2, "padding": "causal"},
    {"dilation_rate": 4, "padding": "same"},
    {"strides": 2, "dilation_rate": 3, "padding": "causal"},
    {"groups": 2},
    {"groups": 2, "padding": "same", "strides": 2},
]


def conv1d_arguments(
    rng: np.random.Generator, batch: int | None = 2, steps: int = 9, groups: int = 1
) -> dict[str, Any]:
    rows = () if batch is None else (batch,)
    return {
        "x": rng.normal(size=(*rows, steps, 4)),
        "w": rng.normal(size=(3, 4 // groups, 6)),
        "b": rng.normal(size=6),
    }


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("batch", [None, 1, 2], ids="B={}".format)
@pytest.mark.parametrize("activation", [None, "tanh"])
def test_gradients(
    options: dict[str, Any], batch: int | None, activation: str | None, rng: np.random.Generator
) -> None:
    options = {**options, "activation": activation}
    arguments = conv1d_arguments(rng, batch, groups=options.get("groups", 1))
    y, cache = reference.conv1d_forward(*arguments.values(), **options)
    dy = rng.normal(size=y.shape)
    gradients = reference.conv1d_backward(dy, cache)
    for name, value in arguments.items():

        def loss(shifted: np.ndarray, name: str = name) -> float:
            return float(np.sum(dy * reference.conv1d_forward(*{**arguments, name: shifted}.values(), **options)[0]))

        assert_close(getattr(gradients, f"d{name}"), central_difference(loss, value), "finite_difference", f"d{name}")


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "linear"])
def test_activations(activation: str, rng: np.random.Generator) -> None:
    test_gradients({}, 2, activation, rng)


def test_without_bias(rng: np.random.Generator) -> None:
    x, w, _ = conv1d_arguments(rng).values()
    y, cache = reference.conv1d_forward(x, w, None)
    np.testing.assert_array_equal(y, reference.conv1d_forward(x, w, np.zeros(6))[0])
    assert reference.conv1d_backward(y, cache).db is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [210, 321, 432]),
        ({"padding": "same"}, [100, 210, 321, 432, 43]),
        ({"padding": "causal"}, [0, 100, 210, 321, 432]),
        ({"padding": "same", "strides": 2}, [100, 321, 43]),  # 2 steps of padding, one at each end
        ({"padding": "causal", "strides": 2}, [0, 210, 432]),
        ({"padding": "same", "strides": 3}, [210, 43]),  # one step of padding, at the end
        ({"padding": "causal", "dilation_rate": 2}, [0, 100, 200, 310, 420]),
        ({"padding": (0, 1)}, [210, 321, 432, 43]),
    ],
    ids=str,
)
def test_by_hand(options: dict[str, Any], expected: list[float]) -> None:
    """x = 0 1 2 3 4; taps 1, 10, 100."""
    w = np.array([1.0, 10.0, 100.0])[:, None, None]
    y, _ = reference.conv1d_forward(np.arange(5.0)[:, None], w, None, **options)
    np.testing.assert_array_equal(y[:, 0], expected)


def test_a_dense_convolution_of_kernel_one_is_a_product(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(2, 5, 3)), rng.normal(size=(1, 3, 4))
    assert_close(reference.conv1d_forward(x, w, None)[0], x @ w[0], "float64")


def test_what_does_not_fit() -> None:
    x, w = np.ones((5, 4)), np.ones((3, 4, 6))
    for arguments, options in [
        ((x[0], w, None), {}),
        ((x, w[0], None), {}),
        ((x, w[:, :3], None), {}),
        ((x, w, np.ones(5)), {}),
        ((x, w, None), {"groups": 3}),
        ((x, w, None), {"padding": "full"}),
        ((x, w, None), {"dilation_rate": 3}),
    ]:
        with pytest.raises(ValueError, match="expected"):
            reference.conv1d_forward(*arguments, **options)
