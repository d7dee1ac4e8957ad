"""What a model makes of lengths, masks and resets: padding and holes do not matter, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastrnn.layers import (
    GRU,
    LSTM,
    Activation,
    BatchNormalization,
    Bidirectional,
    Dense,
    Layer,
    LayerNormalization,
    Parallel,
    Residual,
    SimpleRNN,
    TimeDistributed,
)
from fastrnn.layers.base import Shape
from fastrnn.layers.steps import Steps
from fastrnn.training import Adam, Sequential

from ..helpers import assert_close

N, T = 24, 6


def sequence_model() -> list[Layer]:
    return [
        LayerNormalization(),
        Bidirectional(LSTM(4, return_sequences=True)),
        BatchNormalization(momentum=0.5),
        Residual([GRU(5, return_sequences=True), TimeDistributed(Dense(8, "tanh"))]),
        Parallel([SimpleRNN(3, return_sequences=True), Activation("linear")]),
        TimeDistributed(BatchNormalization(momentum=0.5)),
        Dense(1),
    ]


def vector_model() -> list[Layer]:
    return [Sequential([GRU(4, return_sequences=True)]), Bidirectional(LSTM(3), "mul"), Dense(1)]


@pytest.mark.parametrize("layers", [sequence_model, vector_model])
@pytest.mark.parametrize("kinds", [("lengths",), ("mask",), ("lengths", "mask", "reset_mask")])
def test_what_does_not_count_does_not_matter(
    layers: Callable[[], list[Layer]], kinds: tuple[str, ...], rng: np.random.Generator
) -> None:
    x, y = rng.normal(size=(N, T, 2)), rng.normal(size=(N, T, 1))
    given = {
        "lengths": rng.integers(1, T + 1, N),
        "mask": rng.random((N, T)) < 0.6,
        "reset_mask": rng.random((N, T)) < 0.2,
    }
    given["mask"][:, 0] = True
    steps = {kind: given[kind] for kind in kinds}
    counted = np.ones((N, T), bool)
    if "lengths" in steps:
        counted &= np.arange(T) < steps["lengths"][:, None]
    if "mask" in steps:
        counted &= steps["mask"]
    results = []
    for junk in (0.0, 1e3):
        x[~counted] = junk
        model = Sequential(layers(), seed=0)
        model.compile(Adam(0.01), "mse", ["mae"])
        target = y if layers is sequence_model else y[:, 0]
        if layers is sequence_model:
            y[~counted] = junk
        history = model.fit(x, target, **steps, validation_split=0.25, epochs=2, batch_size=7, verbose=0).history
        results.append((model.get_weights(), history, model.evaluate(x, target, **steps), model.predict(x, **steps)))
    for a, b in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert results[0][1:3] == results[1][1:3]
    entries = counted if layers is sequence_model else np.ones(N, bool)
    np.testing.assert_array_equal(results[0][3][entries], results[1][3][entries])


def test_a_mask_of_padding_is_lengths(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(N, T, 2)), rng.normal(size=(N, T, 1))
    lengths = rng.integers(1, T + 1, N)
    mask = np.arange(T) < lengths[:, None]
    models = [Sequential(sequence_model(), seed=0) for _ in range(2)]
    for model, steps in zip(models, ({"lengths": lengths}, {"mask": mask}), strict=True):
        model.compile(Adam(0.01))
        model.fit(x, y, **steps, epochs=2, verbose=0)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(a, b)
    assert models[0].evaluate(x, y, lengths=lengths) == models[1].evaluate(x, y, mask=mask)


def test_predict_in_batches_keeps_rows_and_steps_together(rng: np.random.Generator) -> None:
    x = rng.normal(size=(N, T, 2))
    steps = {
        "lengths": rng.integers(1, T + 1, N),
        "mask": rng.random((N, T)) < 0.6,
        "reset_mask": rng.random((N, T)) < 0.2,
    }
    model = Sequential([GRU(4, return_sequences=True), TimeDistributed(Dense(1))], seed=0)
    assert_close(model.predict(x, batch_size=5, **steps), model(x, **steps).astype(np.float64), "float32_output")
    for name in steps:
        assert (model.predict(x, **steps) != model.predict(x, **{**steps, name: None})).any()


def test_metrics_see_the_steps_that_count(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(3, 4, 1)), rng.normal(size=(3, 4, 1))
    mask = np.array([[1, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 0]], bool)
    model = Sequential([GRU(2, return_sequences=True, dtype="float64"), Dense(1, dtype="float64")], seed=0)
    model.compile(metrics=["mae", "last_step_mse"])
    error = model.predict(x, mask=mask) - y
    figures = model.evaluate(x, y, mask=mask, batch_size=2, return_dict=True)
    assert figures == pytest.approx(
        {
            "loss": (error[mask] ** 2).mean(),
            "mae": np.abs(error[mask]).mean(),
            "last_step_mse": (error[[0, 1, 2], [3, 2, 0]] ** 2).mean(),
        }
    )
    model.fit(x, y, validation_data=(x, y, None, [4, 4, 4], mask), verbose=0)
    later = model.fit(x, y, validation_data=(x, y, None, None, mask, mask), epochs=1, verbose=0).history["val_loss"]
    assert later == [model.evaluate(x, y, mask=mask, reset_mask=mask, return_dict=True)["loss"]]


def test_outputs_backwards_in_time_keep_their_steps(rng: np.random.Generator) -> None:
    """The loss of a model with go_backwards compares its first output with the target at its first step."""
    x = rng.normal(size=(2, T, 1))
    mask = np.ones((2, T), bool)
    mask[0, :2] = mask[1, 4] = False
    layer = GRU(2, return_sequences=True, go_backwards=True)
    assert (layer.output_steps(x, Steps(mask=mask)).mask == mask[:, ::-1]).all()
    lengths = np.array([4, 6])
    steps = layer.output_steps(x, Steps(lengths, mask, mask))
    for marks in (steps.mask, steps.reset_mask):
        assert marks[0, :4].tolist() == mask[0, :4][::-1].tolist() and marks[1].tolist() == mask[1, ::-1].tolist()


class Smooth(Layer):
    """The mean of two steps: a layer that looks at several steps at a time, and takes lengths."""

    takes_time = True
    takes_holes = False
    input_ndim = 3

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def forward(self, x: Any, lengths: Any = None, reset_mask: Any = None, **options: Any) -> tuple[np.ndarray, Any]:
        x = self._input(x)
        if lengths is not None:
            x = np.where(np.arange(x.shape[1])[:, None] < np.asarray(lengths)[:, None, None], x, 0)
        out = x.copy()
        out[:, 1:] += x[:, :-1]
        return out / 2, lengths

    def infer(self, x: Any, **options: Any) -> np.ndarray:
        return self.forward(x, **options)[0]


@pytest.mark.parametrize("wrap", [lambda layer: layer, Residual, lambda layer: Sequential([layer])])
def test_layers_that_cannot_take_holes_get_lengths_or_refuse(wrap: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, T, 2))
    model = Sequential([wrap(Smooth()), GRU(2)], seed=0)
    lengths = np.array([6, 2, 3])
    mask = np.arange(T) < lengths[:, None]
    np.testing.assert_array_equal(model(x, mask=mask), model(x, lengths=lengths))
    np.testing.assert_array_equal(model(x, mask=mask, lengths=[5, 6, 0]), model(x, lengths=[5, 2, 0]))
    assert (model(x, mask=mask) != model(x)).any()
    holes = mask.copy()
    holes[0, 2] = False
    with pytest.raises(ValueError, match=r"mask: Smooth\(\) looks at several steps at a time"):
        model(x, mask=holes)
    np.testing.assert_array_equal(model(x, mask=holes, lengths=[2, 2, 3]), model(x, lengths=[2, 2, 3]))


def test_the_first_layer_is_not_asked_for_the_gradient_by_the_data(rng: np.random.Generator) -> None:
    asked = []

    class Spy(Dense):
        def backward(self, *arguments: Any) -> Any:
            asked.append(self.units)
            return super().backward(*arguments)

    x = rng.normal(size=(8, 3))
    models = [Sequential([kind(4, "tanh"), kind(2), kind(1)], input_size=3, seed=0) for kind in (Spy, Dense)]
    for model in models:
        model.compile("sgd")
        model.fit(x, x[:, :1], verbose=0)
    assert asked == [1, 2]
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(a, b)


def test_seeds_of_the_weights_are_branches_of_the_models_seed() -> None:
    model = Sequential([GRU(4), Dense(2)], input_size=3, seed=11)
    for i, layer in enumerate([GRU(4), Dense(2)]):
        layer.build(model.layers[i].input_size, np.random.SeedSequence(11, spawn_key=(0, i)))
        for name, array in layer.params.items():
            np.testing.assert_array_equal(model.params[f"{i}/{name}"], array)
