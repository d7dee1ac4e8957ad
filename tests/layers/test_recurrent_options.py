"""Every option of the recurrent layers: what it computes, its gradients, its parameters, in files, at inference."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
import fastrnn.reference
from fastrnn import _engine, storage
from fastrnn.layers import GRU, LSTM, Dense, IndRNN, MinGRU, SimpleRNN
from fastrnn.layers.initializers import Constant

from ..helpers import assert_close

B, T, I, H = 3, 6, 2, 5  # noqa: E741

# The layers of the registry that are trained (a reservoir is not, tests/layers/test_echo_state.py), by their function.
FUNCTIONS: dict[Any, str] = {
    getattr(fastrnn.layers, spec["layer"]): spec["function"]
    for spec in _engine.CELLS.values()
    if spec["layer"] != "EchoState"
}
TAKEN = {cls: set(inspect.signature(cls).parameters) for cls in FUNCTIONS}

# Each option that a layer has, in a setting where it matters; all of them are also tried together.  Every layer is
# tested with the settings that it takes.
SETTINGS: list[dict[str, Any]] = [
    {},
    {"use_bias": False},
    {"dropout": 0.4},
    {"zoneout": 0.3},
    {"clip": 0.4},
    {"learn_initial_state": True},
    {"activation": "softsign"},
    {"activation": ("leaky_relu", 0.3)},
    {"activation": ("scaled_tanh", 0.9, 1.2)},
    {"dropout": 0.3, "zoneout": 0.3},
    {"recurrent_dropout": 0.4},
    {"dropout": 0.2, "recurrent_dropout": 0.3, "zoneout": 0.1},
    {"layer_norm": True},
    {"layer_norm": True, "ln_epsilon": 0.1, "recurrent_dropout": 0.3},
    {"recurrent_activation": "hard_sigmoid"},
    {"recurrent_activation": ("hard_sigmoid", 0.2, 0.5), "activation": "silu"},
    {"reset_after": False},
    {"reset_after": False, "recurrent_dropout": 0.4},
    {"output_activation": "softplus"},
    {"peephole": True},
    {"projection": 3},
    {"projection": 7, "recurrent_dropout": 0.3, "zoneout": 0.3},
    {"zoneout_cell": 0.3},
    {"zoneout": 0.2, "zoneout_cell": 0.5},
    {"cell_clip": 0.3},
    {"coupled": True},
    {"coupled": True, "peephole": True, "layer_norm": True},
    {
        "peephole": True, "projection": 4, "layer_norm": True, "ln_epsilon": 0.1, "dropout": 0.2,
        "recurrent_dropout": 0.2, "zoneout": 0.1, "zoneout_cell": 0.1, "clip": 2.0, "cell_clip": 1.5,
        "learn_initial_state": True, "output_activation": "elu",
    },
]  # fmt: skip
# What the other tests of this directory are about.
ELSEWHERE = {
    "units", "dtype", "seed", "return_sequences", "return_state", "return_all_states", "return_gates", "go_backwards",
    "stateful", "zero_output_for_mask", "memory", "unit_forget_bias", "kernel_initializer", "recurrent_initializer",
    "bias_initializer", "peephole_initializer",
}  # fmt: skip
CASES = [
    pytest.param(cls, options, id=f"{cls.__name__}-{options}")
    for cls in FUNCTIONS
    for options in SETTINGS
    if options.keys() <= TAKEN[cls]
]
cases = pytest.mark.parametrize(("cls", "options"), CASES)


def built(cls: Any, rng: np.random.Generator, **options: Any) -> Any:
    """A layer with parameters that are all different from zero and one."""
    layer = cls(H, **({"activation": "tanh"} if cls is IndRNN else {}) | options)
    layer.build(I)
    for name, array in layer.params.items():
        layer.params[name] = rng.normal(scale=0.6, size=array.shape) + ("gain" in name)
    return layer


def reference_options(layer: Any, rng: np.random.Generator | None) -> dict[str, Any]:
    """The keywords of the reference that say the same as the layer's options; `rng` draws the masks of training."""
    options: dict[str, Any] = {"activation": layer.activation}
    for name in ("recurrent_activation", "output_activation", "clip", "cell_clip", "coupled", "reset_after"):
        value = getattr(layer, name, None)
        if value not in (None, False) or (name == "reset_after" and isinstance(layer, GRU)):
            options[name] = value
    known = {"w_x", "w_h", "b", "h0", "c0"}
    options |= {name: array for name, array in layer.params.items() if name not in known}
    if layer.layer_norm:
        options["ln_epsilon"] = layer.ln_epsilon
    for name, rate, width in (
        ("dropout_mask", layer.dropout, I),
        ("recurrent_dropout_mask", layer.recurrent_dropout, layer.output_size),
    ):
        if rate and rng is not None:
            options[name] = (rng.random((B, width), dtype=np.float32) >= rate) / (1 - rate)
    for name, rate, width in (
        ("zoneout_mask", layer.zoneout, layer.output_size),
        ("zoneout_cell_mask", getattr(layer, "zoneout_cell", 0.0), H),
    ):
        if rate:
            drawn = rng is not None
            options[name] = (
                rng.integers(0, 65536, (B, T, width), dtype=np.uint16) < round(rate * 65536) if drawn else rate
            )
    return options


@cases
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_the_reference(
    cls: Any, options: dict[str, Any], training: bool, dtype: str, rng: np.random.Generator
) -> None:
    layer = built(cls, rng, return_sequences=True, dtype=dtype, **options)
    x, lengths = rng.normal(size=(B, T, I)).astype(dtype), [6, 0, 4]
    resets = rng.random((B, T)) < 0.2
    time = {"lengths": lengths, "reset_mask": resets}
    out, cache = layer.forward(x, training=training, rng=np.random.default_rng(3), **time)
    dout = rng.normal(size=out.shape).astype(dtype)
    dfinal = tuple(rng.normal(size=state.shape).astype(dtype) for state in cache.state)
    dx, grads, dstates = layer.backward(dout, cache, dfinal)

    names = list(layer.state_sizes)
    wide = {name: array.astype(np.float64) for name, array in layer.params.items()}
    states = [np.tile(wide[f"{n}0"], (B, 1)) if f"{n}0" in wide else None for n in names]
    keywords = reference_options(layer, np.random.default_rng(3) if training else None)
    keywords |= {name: wide[name] for name in keywords if name in wide}
    forward = getattr(fastrnn.reference, f"{FUNCTIONS[cls]}_forward")
    backward = getattr(fastrnn.reference, f"{FUNCTIONS[cls]}_backward")
    arguments = (x.astype(np.float64), *states, wide["w_x"], wide.get("w_h"), wide.get("b"))
    y, steps = forward(*arguments, **keywords, **time)
    finals = {f"d{n}_n": d.astype(np.float64) for n, d in zip(names, dfinal, strict=True)}
    expected = backward(dout.astype(np.float64), steps, **finals)

    exact = dtype == "float64"
    output, gradient = ("float64", "float64") if exact else ("float32_output", "float32_gradient")
    assert out.dtype == dx.dtype == np.dtype(dtype)
    assert_close(out, y, output)
    for name, state in zip(names, cache.state, strict=True):
        assert_close(state, getattr(steps, f"{name}_n"), output, name)
    assert_close(dx, expected.dx, gradient, "dx")
    for name, d in zip(names, dstates, strict=True):
        assert_close(d, getattr(expected, f"d{name}0"), gradient, f"d{name}0")
    assert set(grads) == set(layer.params)
    for name, d in grads.items():
        wanted = getattr(expected, f"d{name}")
        assert_close(d, wanted.sum(axis=0) if name in ("h0", "c0") else wanted, gradient, f"d{name}")


@cases
@pytest.mark.parametrize("return_sequences", [False, True])
def test_gradients(cls: Any, options: dict[str, Any], return_sequences: bool, rng: np.random.Generator) -> None:
    """Of all outputs of ragged rows, and of the last ones of rows with holes and resets."""
    layer = built(cls, rng, return_sequences=return_sequences, **options)
    holes = {"mask": rng.random((B, T)) < 0.7, "reset_mask": rng.random((B, T)) < 0.2}
    time = {"lengths": [6, 0, 4]} if return_sequences else holes
    result = fastrnn.check_gradients(layer, rng.normal(size=(B, T, I)), samples=8, verbose=False, **time)
    assert result.max_error < 1e-7, result


@cases
def test_options_survive_files_and_json(cls: Any, options: dict[str, Any], tmp_path: Path) -> None:
    layer = cls(H, **options)
    again = cls.from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config() and repr(again) == repr(layer)
    layer.build(I)
    storage.save(layer, tmp_path / "layer")
    loaded = storage.load(tmp_path / "layer")
    assert repr(loaded) == repr(layer)
    for name, array in layer.params.items():
        np.testing.assert_array_equal(loaded.params[name], array)


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (SimpleRNN(H, layer_norm=True), {"ln_gain": (H,), "ln_bias": (H,)}),
        (GRU(H, layer_norm=True), {"ln_x_gain": (3 * H,), "ln_h_gain": (3 * H,)}),
        (
            LSTM(H, layer_norm=True),
            {"ln_x_gain": (4 * H,), "ln_h_gain": (4 * H,), "ln_c_gain": (H,), "ln_c_bias": (H,)},
        ),
    ],
)
def test_names_and_first_values_of_layer_norm(layer: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    layer.build(I)
    names = set(layer.params) - {"w_x", "w_h", "b"}
    assert {name: layer.params[name].shape for name in names} == shapes
    for name in names:
        assert (layer.params[name] == (1 if "gain" in name else 0)).all()


def test_names_and_first_values_of_the_lstms_options() -> None:
    layer = LSTM(H, peephole=True, projection=3, learn_initial_state=True, seed=0)
    plain = LSTM(H, seed=0)
    layer.build(I)
    plain.build(I)
    shapes = {name: array.shape for name, array in layer.params.items()}
    assert shapes == {
        "w_x": (I, 4 * H), "w_h": (3, 4 * H), "b": (4 * H,), "peephole": (3, H), "w_proj": (H, 3),
        "h0": (3,), "c0": (H,),
    }  # fmt: skip
    np.testing.assert_array_equal(layer.params["w_x"], plain.params["w_x"])
    limit = np.sqrt(6 / (2 * H))  # Glorot over a row of H
    assert 0 < np.abs(layer.params["peephole"]).max() <= limit
    assert not layer.params["h0"].any() and not layer.params["c0"].any()
    ones = LSTM(H, peephole=True, peephole_initializer=Constant(1.0))
    ones.build(I)
    assert (ones.params["peephole"] == 1).all()
    assert layer.output_shape((None, None, I)) == (None, 3)


def test_shapes_of_the_other_cells() -> None:
    before, independent, minimal = GRU(H, reset_after=False), IndRNN(H, seed=0), MinGRU(H)
    for layer in (before, independent, minimal):
        layer.build(I)
    assert before.params["b"].shape == (3 * H,)
    assert {n: a.shape for n, a in independent.params.items()} == {"w_x": (I, H), "w_h": (H,), "b": (H,)}
    assert independent.params["w_h"].min() >= 0 and independent.params["w_h"].max() < 1
    assert independent.activation == "relu" and minimal.activation == "linear"
    assert {n: a.shape for n, a in minimal.params.items()} == {"w_x": (I, 2 * H), "b": (2 * H,)}


# ---- noise -----------------------------------------------------------------------------------------------------------


NOISY: list[Any] = [
    (SimpleRNN, {"dropout": 0.5}), (LSTM, {"recurrent_dropout": 0.5}), (GRU, {"zoneout": 0.5}),
    (LSTM, {"zoneout_cell": 0.5}), (IndRNN, {"recurrent_dropout": 0.5}), (MinGRU, {"dropout": 0.5, "zoneout": 0.2}),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "options"), NOISY)
def test_noise_is_drawn_in_training_alone(cls: Any, options: Any, rng: np.random.Generator) -> None:
    layer = built(cls, rng, return_sequences=True, seed=5, **options)
    x = rng.normal(size=(B, T, I))
    out = layer(x)
    np.testing.assert_array_equal(layer.forward(x)[0], out)
    np.testing.assert_array_equal(layer.infer(x), out)
    drawn = [layer.forward(x, training=True, rng=np.random.default_rng(seed))[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any() and (drawn[0] != out).any()
    # without a generator the layer's seed starts one
    own = layer.forward(x, training=True)[0]
    np.testing.assert_array_equal(layer(x, training=True), own)
    np.testing.assert_array_equal(layer.forward(x, training=True, rng=np.random.default_rng(5))[0], own)


@pytest.mark.parametrize("cls", [SimpleRNN, LSTM, GRU])
def test_dropout_without_training_is_the_plain_layer(cls: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    plain, dropping = cls(H, seed=0), cls(H, seed=0, dropout=0.5, recurrent_dropout=0.5)
    np.testing.assert_array_equal(dropping(x), plain(x))


def test_one_dropout_mask_a_sequence() -> None:
    """A cell that only copies its input shows the mask: the same at all steps, another in each row."""
    layer = SimpleRNN(200, activation="linear", dropout=0.25, return_sequences=True, dtype="float64")
    layer.build(200)
    layer.params.update({"w_x": np.eye(200), "w_h": np.zeros((200, 200))})
    out, _ = layer.forward(np.ones((20, T, 200)), training=True, rng=np.random.default_rng(0))
    assert set(np.unique(out)) == {0, 1 / 0.75}
    assert (out == out[:, :1]).all() and (out[0] != out[1]).any()
    assert abs((out == 0).mean() - 0.25) < 0.02


def test_zoneout_holds_as_often_as_it_says(rng: np.random.Generator) -> None:
    layer = SimpleRNN(300, zoneout=0.2, return_sequences=True)
    x = rng.normal(size=(4, 50, 8))
    out, _ = layer.forward(x, training=True, rng=np.random.default_rng(0))
    held = out[:, 1:] == out[:, :-1]
    assert abs(held.mean() - 0.2) < 0.01
    assert held.any(axis=2).all()  # drawn for each unit at each step


def test_zoneout_at_inference_is_the_mean(rng: np.random.Generator) -> None:
    """With a linear cell that sees no past, the mean over many drawn masks is what inference says."""
    layer = SimpleRNN(H, activation="linear", zoneout=0.3, return_sequences=True, dtype="float64")
    layer.build(I)
    layer.params["w_h"] = np.zeros((H, H))
    x = rng.normal(size=(1, 4, I))
    many, _ = layer.forward(np.repeat(x, 20000, axis=0), training=True, rng=np.random.default_rng(0))
    np.testing.assert_allclose(many.mean(axis=0), layer(x)[0], atol=0.05)


def test_training_draws_from_the_models_generator(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(40, T, I)), rng.normal(size=(40, 1))

    def losses(seed: int) -> list[float]:
        model = fastrnn.Sequential([LSTM(H, dropout=0.3, recurrent_dropout=0.3, zoneout=0.1), Dense(1)], seed=seed)
        model.compile("adam", "mse")
        return model.fit(x, y, epochs=2, verbose=0).history["loss"]

    assert losses(0) == losses(0) != losses(1)


# ---- what has no meaning ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: GRU(H, reset_after=False, layer_norm=True), ValueError, "layer_norm: expected False with reset_after"),
        (lambda: MinGRU(H, recurrent_dropout=0.1), TypeError, r"MinGRU\(\) got an unexpected keyword.*recurrent_drop"),
        (lambda: MinGRU(H, layer_norm=True), TypeError, "unexpected keyword argument 'layer_norm'"),
        (lambda: MinGRU(H, recurrent_initializer="zeros"), TypeError, "unexpected keyword.*'recurrent_initializer'"),
        (lambda: IndRNN(H, layer_norm=True), TypeError, "unexpected keyword argument 'layer_norm'"),
        (lambda: GRU(H, peephole=True), TypeError, "unexpected keyword argument 'peephole'"),
        (lambda: SimpleRNN(H, recurrent_activation="tanh"), TypeError, "unexpected keyword.*'recurrent_activation'"),
        (lambda: LSTM(H, dropout=1.0), ValueError, "dropout: expected a number >= 0 and < 1, got 1"),
        (lambda: LSTM(H, recurrent_dropout=-0.1), ValueError, "recurrent_dropout: expected a number >= 0 and < 1"),
        (lambda: LSTM(H, zoneout="much"), TypeError, "zoneout: expected a number"),
        (lambda: LSTM(H, zoneout_cell=2), ValueError, "zoneout_cell: expected a number >= 0 and < 1"),
        (lambda: LSTM(H, clip=0.0), ValueError, "clip: expected a number > 0, got 0"),
        (lambda: LSTM(H, cell_clip=-1), ValueError, "cell_clip: expected a number > 0"),
        (lambda: LSTM(H, projection=0), ValueError, "projection: expected an integer >= 1"),
        (lambda: LSTM(H, ln_epsilon=0.0), ValueError, "ln_epsilon: expected a number > 0"),
        (lambda: LSTM(H, layer_norm=1), TypeError, "layer_norm: expected True or False"),
        (lambda: LSTM(H, activation=("tanh", 2.0)), ValueError, "activation"),
        (lambda: LSTM(H, activation=("leaky_relu", np.inf)), ValueError, "activation"),
        (lambda: LSTM(H, output_activation="swish"), ValueError, "output_activation: expected one of"),
        (lambda: LSTM(H, peephole_initializer="magic"), ValueError, "peephole_initializer: expected one of"),
    ],
)
def test_bad_options(build: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        build()


def test_layers_and_the_registry_agree() -> None:
    for spec in _engine.CELLS.values():
        layer = getattr(fastrnn.layers, spec["layer"])(3)
        assert layer.activation == spec["activation"]
        assert layer.cell.forward is getattr(fastrnn.functional, f"{spec['function']}_forward")
        assert hasattr(layer, "recurrent_activation") == spec["gated"]


def test_signatures_name_what_a_layer_takes() -> None:
    names, five = TAKEN, (SimpleRNN, LSTM, GRU, IndRNN, MinGRU)
    common = set.intersection(*(names[cls] for cls in five))
    assert {"units", "activation", "dropout", "zoneout", "clip", "stateful", "learn_initial_state", "seed"} <= common
    assert not {"options", "unknown"} & set.union(*names.values())
    untested = set.union(*names.values()) - ELSEWHERE - set().union(*SETTINGS)
    assert not untested, f"give {untested} a line in SETTINGS above"
    product = {"recurrent_initializer", "recurrent_dropout"}
    norm = {"layer_norm", "ln_epsilon"}
    assert names[SimpleRNN] - common == product | norm
    assert names[GRU] - common == product | norm | {"recurrent_activation", "reset_after"}
    assert names[IndRNN] - common == product
    assert names[MinGRU] - common == {"recurrent_activation"}
    assert names[LSTM] - names[GRU] == {
        "output_activation", "unit_forget_bias", "peephole", "peephole_initializer", "projection", "coupled",
        "zoneout_cell", "cell_clip",
    }  # fmt: skip
