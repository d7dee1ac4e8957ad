"""Conv1D, pooling, upsampling, WaveNet: outputs, gradients, rows of different lengths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import reference
from fastrnn.layers import (
    GRU,
    AveragePooling1D,
    Conv1D,
    Dense,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Layer,
    MaxPooling1D,
    UpSampling1D,
    WaveNet,
    wavenet_stack,
)
from fastrnn.training import Sequential

from ..helpers import assert_close
from .test_gradients import check_gradients, randomised

B, T, C = 3, 9, 4
LENGTHS = [T, 5, 0]

# Layers as (name, how to make one); all in float64.
CONVOLUTIONS: dict[str, Callable[[], Layer]] = {
    "valid": lambda: Conv1D(5, 3, dtype="float64"),
    "same": lambda: Conv1D(5, 3, padding="same", activation="tanh", dtype="float64"),
    "causal dilated": lambda: Conv1D(5, 2, padding="causal", dilation_rate=3, activation="relu", dtype="float64"),
    "strided valid": lambda: Conv1D(5, 3, strides=2, dtype="float64"),
    "strided same": lambda: Conv1D(5, 4, strides=3, padding="same", dtype="float64"),
    "strided causal": lambda: Conv1D(5, 2, strides=2, padding="causal", dtype="float64"),
    "groups": lambda: Conv1D(6, 2, groups=2, activation="sigmoid", dtype="float64"),
    "no bias": lambda: Conv1D(5, 1, use_bias=False, dtype="float64"),
}
POOLING: dict[str, Callable[[], Layer]] = {
    "max": lambda: MaxPooling1D(2),
    "max overlapping": lambda: MaxPooling1D(3, strides=2, padding="same"),
    "max apart": lambda: MaxPooling1D(2, strides=3),
    "average": lambda: AveragePooling1D(2),
    "average same": lambda: AveragePooling1D(4, strides=3, padding="same"),
    "global max": GlobalMaxPooling1D,
    "global average": GlobalAveragePooling1D,
}
WAVENETS: dict[str, Callable[[], Layer]] = {
    "skips": lambda: WaveNet(3, dilations=(1, 2), dtype="float64"),
    "head": lambda: WaveNet(
        3, kernel_size=3, dilations=(1, 2), stacks=2, skip_channels=5, outputs=2, head_channels=4, dtype="float64"
    ),
    "no bias": lambda: WaveNet(2, dilations=(2,), outputs=3, use_bias=False, dtype="float64"),
}
LOOKING_ACROSS_STEPS = {**CONVOLUTIONS, **POOLING, **WAVENETS}

looking_across_steps = pytest.mark.parametrize("make", LOOKING_ACROSS_STEPS.values(), ids=list(LOOKING_ACROSS_STEPS))


def ready(layer: Layer, rng: np.random.Generator) -> Layer:
    return randomised(layer, rng, C)


# ---- gradients -------------------------------------------------------------------------------------------------------


@looking_across_steps
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_gradients(make: Callable[[], Layer], ragged: bool, rng: np.random.Generator) -> None:
    check_gradients(ready(make(), rng), rng.normal(size=(B, T, C)), rng, **({"lengths": LENGTHS} if ragged else {}))


@pytest.mark.parametrize("size", [1, 3])
def test_gradients_of_upsampling(size: int, rng: np.random.Generator) -> None:
    check_gradients(UpSampling1D(size), rng.normal(size=(B, T, C)), rng)


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_gradients_of_models(ragged: bool, rng: np.random.Generator) -> None:
    """The textbook's convolution before a recurrent network, and a stack that is pooled."""
    options: dict[str, Any] = {"lengths": LENGTHS} if ragged else {}
    for layers in (
        [Conv1D(3, 4, strides=2, dtype="float64"), GRU(4, dtype="float64"), Dense(2, dtype="float64")],
        [
            *wavenet_stack(3, dilations=(1, 2), activation="tanh", dtype="float64"),
            UpSampling1D(2),
            MaxPooling1D(3),
            GlobalAveragePooling1D(),
        ],
    ):
        model = Sequential(layers, seed=0)
        check_gradients(ready(model, rng), rng.normal(size=(B, T, C)), rng, training=True, **options)


# ---- rows of different lengths ---------------------------------------------------------------------------------------


@looking_across_steps
def test_what_lies_past_the_end_does_not_matter(make: Callable[[], Layer], rng: np.random.Generator) -> None:
    """Neither in x nor in dout, not even a NaN; and there the output and dx are 0."""
    layer = ready(make(), rng)
    x = rng.normal(size=(B, T, C))
    out, cache = layer.forward(x, lengths=LENGTHS)
    dout = rng.normal(size=out.shape)
    dx, grads, _ = layer.backward(dout, cache)
    spoilt, spoilt_dout = x.copy(), dout.copy()
    for row, length in enumerate(LENGTHS):
        spoilt[row, length:] = np.nan
        assert not dx[row, length:].any()
        out_length = layer.pass_on(LENGTHS, None)[0]
        if out_length is not None:
            assert not out[row, out_length[row] :].any()
            spoilt_dout[row, out_length[row] :] = np.nan
    again, cache = layer.forward(spoilt, lengths=LENGTHS)
    np.testing.assert_array_equal(again, out)
    dx_again, grads_again, _ = layer.backward(spoilt_dout, cache)
    np.testing.assert_array_equal(dx_again, dx)
    for name, value in grads.items():
        np.testing.assert_array_equal(grads_again[name], value, name)


@pytest.mark.parametrize(
    "name", sorted(LOOKING_ACROSS_STEPS.keys() - {"strided same", "max overlapping", "average same"})
)
def test_a_row_in_a_ragged_batch_is_the_row_alone(name: str, rng: np.random.Generator) -> None:
    """But for strides with "same" padding, where the padding of a row depends on its own length."""
    layer = ready(LOOKING_ACROSS_STEPS[name](), rng)
    x, lengths = rng.normal(size=(B, T, C)), [T, 5, 7]
    out = layer(x, lengths=lengths)
    out_lengths = layer.pass_on(lengths, None)[0]
    for row, length in enumerate(lengths):
        alone = layer(x[row : row + 1, :length])[0]
        mine = out[row] if out_lengths is None else out[row, : out_lengths[row]]
        assert alone.shape == mine.shape
        assert_close(mine, alone, "float64")


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Conv1D(1, 3), [7, 3, 0, 0, 1]),
        (Conv1D(1, 3, dilation_rate=2), [5, 1, 0, 0, 0]),
        (Conv1D(1, 3, strides=2), [4, 2, 0, 0, 1]),
        (Conv1D(1, 3, padding="same"), [9, 5, 0, 2, 3]),
        (Conv1D(1, 3, padding="causal", dilation_rate=4), [9, 5, 0, 2, 3]),
        (Conv1D(1, 3, padding="causal", strides=2), [5, 3, 0, 1, 2]),
        (Conv1D(1, 3, padding="same", strides=4), [3, 2, 0, 1, 1]),
        (MaxPooling1D(2), [4, 2, 0, 1, 1]),
        (AveragePooling1D(2, padding="same"), [5, 3, 0, 1, 2]),
        (UpSampling1D(3), [27, 15, 0, 6, 9]),
        (WaveNet(2), [9, 5, 0, 2, 3]),
    ],
    ids=repr,
)
def test_lengths_that_are_passed_on(layer: Layer, expected: list[int]) -> None:
    lengths, reset_mask = layer.pass_on([9, 5, 0, 2, 3], None)
    assert list(lengths) == expected and reset_mask is None
    assert layer.output_shape((None, 9, 4))[1] == expected[0]
    assert layer.pass_on(None, None) == (None, None)


def test_global_pooling_ends_time() -> None:
    assert GlobalMaxPooling1D().pass_on([1, 2], None) == (None, None)


def test_upsampling_passes_resets_on() -> None:
    _, mask = UpSampling1D(2).pass_on(None, [[True, False], [False, True]])
    np.testing.assert_array_equal(mask, [[True, False, False, False], [False, False, True, False]])


@looking_across_steps
def test_resets_are_refused(make: Callable[[], Layer]) -> None:
    with pytest.raises(ValueError, match=r"reset_mask: \w+ looks across steps and cannot be reset, expected None"):
        make().forward(np.ones((B, T, C)), reset_mask=np.zeros((B, T), bool))


@pytest.mark.parametrize("lengths", [[T + 1, 1, 1], [1, 2], [1.5, 1, 1]], ids=str)
def test_bad_lengths(lengths: list[float]) -> None:
    for layer in (Conv1D(2, 2), MaxPooling1D(), GlobalMaxPooling1D(), WaveNet(2, dilations=(1,))):
        with pytest.raises(ValueError, match="lengths: expected"):
            layer.forward(np.ones((B, T, C)), lengths=lengths)


def test_training_on_ragged_rows(rng: np.random.Generator) -> None:
    """Steps past a row's end have no weight in the loss: NaN targets there do no harm."""
    model = Sequential([Conv1D(4, 3, strides=2, activation="tanh"), Dense(1)], seed=0)
    model.compile("adam", "mse")
    x, y = rng.normal(size=(6, T, C)), rng.normal(size=(6, 4, 1))
    lengths = np.array([9, 8, 7, 6, 5, 3])
    y[np.arange(4) >= model.layers[0].pass_on(lengths, None)[0][:, None]] = np.nan
    history = model.fit(x, y, lengths=lengths, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


# ---- Conv1D ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_conv1d_is_the_reference(dtype: str, rng: np.random.Generator) -> None:
    layer = Conv1D(5, 3, strides=2, padding="same", activation="tanh", dtype=dtype, seed=0)
    x = rng.normal(size=(B, T, C)).astype(dtype)
    out = layer(x)
    w, b = (array.astype(np.float64) for array in layer.params.values())
    expected, _ = reference.conv1d_forward(x.astype(np.float64), w, b, strides=2, padding="same", activation="tanh")
    assert out.dtype == np.dtype(dtype)
    assert out.shape == layer.output_shape((B, T, C)) and layer.output_shape((None, None, C)) == (None, None, 5)
    assert_close(out, expected, "float64" if dtype == "float64" else "float32_output")


def test_a_layer_is_written_out_for_messages_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doing so takes longer than a small convolution."""
    layer = Conv1D(3, 2, padding="causal", seed=0)
    model = Sequential([layer])
    model(np.ones((2, 5, 1)))
    monkeypatch.setattr(Conv1D, "__repr__", lambda self: pytest.fail("written out"))
    model(np.ones((2, 5, 1)), mask=np.ones((2, 5), bool))
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"mask: Conv1D\(3, 2, padding='causal'.*\) looks at several steps at a time"):
        model(np.ones((1, 3, 1)), mask=np.array([[True, False, True]]))


def test_fans_of_the_kernel() -> None:
    """As Keras counts them, kernel_size·channels/groups and kernel_size·filters."""
    layer = Conv1D(64, 5, groups=2, seed=0)
    layer.build(32)
    limit = np.sqrt(6 / (5 * 16 + 5 * 64))
    w = layer.params["w"]
    assert w.shape == (5, 16, 64) and 0.95 * limit < np.abs(w).max() <= limit
    assert not layer.params["b"].any()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0, 3), {}, "filters: expected an integer >= 1, got 0"),
        ((4, 0), {}, "kernel_size: expected an integer >= 1, got 0"),
        ((4, 3), {"strides": 0}, "strides: expected an integer >= 1, got 0"),
        ((4, 3), {"padding": "full"}, "padding: expected one of 'valid', 'same', 'causal', got 'full'"),
        ((4, 3), {"dilation_rate": 0}, "dilation_rate: expected an integer >= 1, got 0"),
        ((4, 3), {"groups": 3}, "groups: expected a divisor of filters = 4, got 3"),
        ((4, 3), {"activation": "softmax"}, "activation: expected one of"),
        ((4, 3), {"dtype": "int32"}, "dtype: expected one of 'float32', 'float64', got 'int32'"),
    ],
)
def test_bad_options(arguments: tuple[int, int], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message):
        Conv1D(*arguments, **options)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="input_size: expected a multiple of groups = 2, got 3"):
        Conv1D(4, 2, groups=2)(np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match="x: expected at least the 9 steps of a window, got 5"):
        Conv1D(4, 9)(np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match="x: expected at least the 9 steps of a window, got 5"):
        MaxPooling1D(9)(np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match="x: expected 3-D, got 2-D"):
        Conv1D(4, 2)(np.ones((5, 3)))
    with pytest.raises(ValueError, match="padding: expected one of 'valid', 'same', got 'causal'"):
        MaxPooling1D(padding="causal")
    layer = Conv1D(4, 2)
    _, cache = layer.forward(np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match="dout: expected shape"):
        layer.backward(np.ones((2, 5, 4)), cache)
    with pytest.raises(ValueError, match="dilations: expected at least one"):
        WaveNet(2, dilations=())
    with pytest.raises(ValueError, match="head_channels: expected None without outputs, got 3"):
        WaveNet(2, head_channels=3)


# ---- pooling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool_size", [1, 2, 3, 5])
@pytest.mark.parametrize("strides", [None, 1, 2, 4])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_pooling_window_by_window(pool_size: int, strides: int | None, padding: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 11, 3))
    stride = strides or pool_size
    outputs = -(-11 // stride) if padding == "same" else (11 - pool_size) // stride + 1
    missing = max((outputs - 1) * stride + pool_size - 11, 0) if padding == "same" else 0
    starts = [o * stride - missing // 2 for o in range(outputs)]
    windows = [x[:, max(start, 0) : start + pool_size] for start in starts]
    for cls, function in ((MaxPooling1D, np.max), (AveragePooling1D, np.mean)):
        layer = cls(pool_size, strides, padding)
        expected = np.stack([function(window, axis=1) for window in windows], axis=1)
        assert layer.output_shape((2, 11, 3)) == expected.shape
        assert_close(layer(x), expected, "float64")


def test_pooling_keeps_the_type_of_the_input() -> None:
    for layer in (*[make() for make in POOLING.values()], UpSampling1D()):
        for dtype in (np.float32, np.float64):
            out, cache = layer.forward(np.ones((2, T, 3), dtype))
            assert out.dtype == dtype
            assert layer.backward(np.ones_like(out), cache)[0].dtype == dtype


# ---- WaveNet ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
@pytest.mark.parametrize("stacks", [1, 2])
def test_receptive_field(kernel_size: int, stacks: int, rng: np.random.Generator) -> None:
    """A change of one step is seen by just as many outputs, none of them before it."""
    layer = WaveNet(4, kernel_size=kernel_size, dilations=(1, 2, 4), stacks=stacks, dtype="float64", seed=0)
    x = rng.normal(size=(1, 60, 2))
    changed = x.copy()
    changed[0, 10] += 1
    steps = np.flatnonzero((layer(x) != layer(changed)).any(axis=(0, 2)))
    assert steps[0] == 10 and steps[-1] == 10 + layer.receptive_field - 1


def test_wavenet_by_its_equations(rng: np.random.Generator) -> None:
    layer = ready(WaveNet(3, dilations=(1, 2), skip_channels=5, outputs=2, dtype="float64"), rng)
    p, x = layer.params, rng.normal(size=(B, T, C))

    def causal(x: np.ndarray, name: str, rate: int = 1) -> np.ndarray:
        w, b = p[f"{name}/w"], p[f"{name}/b"]
        return reference.conv1d_forward(x, w, b, padding="causal", dilation_rate=rate)[0]

    h, skips = causal(x, "first"), 0
    for i, rate in enumerate((1, 2)):
        a = causal(h, f"{i}/gates", rate)
        z = np.tanh(a[..., :3]) / (1 + np.exp(-a[..., 3:]))
        skips = skips + causal(z, f"{i}/skip")
        if i == 0:
            h = h + causal(z, f"{i}/residual")
    expected = causal(np.maximum(causal(np.maximum(skips, 0), "head/0"), 0), "head/1")
    assert_close(layer(x), expected, "float64")


def test_parameters_of_wavenet() -> None:
    layer = WaveNet(3, dilations=(1, 2), outputs=2, seed=0)
    layer.build(4)
    names = ["first", "0/gates", "0/skip", "0/residual", "1/gates", "1/skip", "head/0", "head/1"]
    assert list(layer.params) == [f"{name}/{part}" for name in names for part in "wb"]
    assert layer.params["0/gates/w"].shape == (2, 3, 6)
    layer.params["0/gates/w"] = np.zeros((2, 3, 6))
    assert not layer.params["0/gates/w"].any()
    layer, again, other = (WaveNet(3, dilations=(1, 2), outputs=2, seed=seed) for seed in (0, 0, 1))
    for each in (layer, again, other):
        each.build(4)
    for name in ("first/w", "0/gates/w", "head/1/w"):
        np.testing.assert_array_equal(layer.params[name], again.params[name])
        assert (layer.params[name] != other.params[name]).all()
    assert (layer.params["0/skip/w"] != layer.params["1/skip/w"]).all()


def test_wavenet_stack_is_the_textbooks() -> None:
    layers = wavenet_stack()
    assert [layer.dilation_rate for layer in layers] == [1, 2, 4, 8, 1, 2, 4, 8]
    assert {(layer.filters, layer.kernel_size, layer.padding, layer.activation) for layer in layers} == {
        (20, 2, "causal", "relu")
    }


# ---- as part of the house --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [*LOOKING_ACROSS_STEPS.values(), UpSampling1D], ids=[*LOOKING_ACROSS_STEPS, "up"])
def test_configuration_and_file(make: Callable[[], Layer], tmp_path: Path, rng: np.random.Generator) -> None:
    layer = ready(make(), rng)
    assert repr(type(layer).from_config(layer.get_config())) == repr(layer)
    model = Sequential([layer], input_size=C)
    x = rng.normal(size=(B, T, C))
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(fastrnn.load(tmp_path / "model.safetensors")(x), model(x))


def test_a_causal_stack_learns_an_echo(rng: np.random.Generator) -> None:
    """y_t = x_{t-5}: within reach of the dilations, and learnt."""
    x = rng.normal(size=(256, 24, 1)).astype(np.float32)
    y = np.concatenate([np.zeros((256, 5, 1), np.float32), x[:, :-5]], axis=1)
    model = Sequential([WaveNet(8, dilations=(1, 2, 4), seed=0), Dense(1)], seed=0)
    model.compile(fastrnn.Adam(0.01), "mse")
    before = model.evaluate(x, y)
    model.fit(x, y, epochs=15, verbose=0)
    assert model.evaluate(x, y) < 0.1 * before
