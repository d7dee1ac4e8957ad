"""Files: what comes back, what a damaged or foreign file says, that the old file survives a failure."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastrnn import storage
from fastrnn.layers import (
    GRU,
    LSTM,
    BatchNormalization,
    Bidirectional,
    Dense,
    Dropout,
    RepeatVector,
    Residual,
    TimeDistributed,
)
from fastrnn.layers.initializers import Constant
from fastrnn.training import Adam, Huber, Sequential, schedules


def trained_model(
    rng: np.random.Generator, metrics: Any = ("mae", "rmse")
) -> tuple[Sequential, np.ndarray, np.ndarray]:
    x, y = rng.normal(size=(30, 5, 2)), rng.normal(size=(30, 4, 1))
    model = Sequential(
        [
            LSTM(4, return_sequences=True, kernel_initializer=Constant(0.1)),
            Dropout(0.1),
            GRU(3, dtype="float64", go_backwards=True),
            RepeatVector(4),
            TimeDistributed(Dense(1, "tanh")),
        ],
        seed=0,
    )
    rate = schedules.LinearWarmup(schedules.CosineDecay(0.01, 10), 2)
    model.compile(Adam(rate, beta_1=0.8, global_clipnorm=1.0), Huber(0.5), metrics)
    model.fit(x, y, epochs=2, verbose=0)
    return model, x, y


def test_a_model_comes_back(tmp_path: Path, rng: np.random.Generator) -> None:
    model, x, y = trained_model(rng)
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = storage.load(str(path))
    assert repr(loaded) == repr(model) and loaded.get_config() == model.get_config()
    assert {n: (a.dtype, a.tobytes()) for n, a in loaded.params.items()} == {
        n: (a.dtype, a.tobytes()) for n, a in model.params.items()
    }
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    assert loaded.evaluate(x, y, return_dict=True) == model.evaluate(x, y, return_dict=True)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()  # type: ignore[union-attr]
    assert loaded.optimizer.iterations == 0
    loaded.fit(x, y, epochs=3, verbose=0)  # the warm-up starts at a rate of 0
    assert (loaded.predict(x) != model.predict(x)).any()
    assert os.listdir(tmp_path) == ["model.safetensors"]


@pytest.mark.parametrize("layer", [LSTM(3, dtype="float64"), Dense(2, "relu"), TimeDistributed(Dense(2))])
def test_a_layer_comes_back(layer: Any, tmp_path: Path) -> None:
    layer.build(2)
    storage.save(layer, tmp_path / "layer")
    x = np.linspace(-1, 1, 20).reshape(2, 5, 2)
    np.testing.assert_array_equal(storage.load(tmp_path / "layer")(x), layer(x))


def test_a_model_with_a_metric_of_ones_own_comes_back_uncompiled(tmp_path: Path, rng: np.random.Generator) -> None:
    model, x, y = trained_model(rng, metrics=[lambda y_true, y_pred: 0.0])
    model.save(tmp_path / "model")
    loaded = storage.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    with pytest.raises(ValueError, match="call compile"):
        loaded.evaluate(x, y)


def test_the_file_is_plain_safetensors_with_json(tmp_path: Path, rng: np.random.Generator) -> None:
    from safetensors import safe_open

    model, _, _ = trained_model(rng)
    path = tmp_path / "model"
    model.save(path)
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
        assert set(file.keys()) == set(model.params)
    assert metadata["format"] == "fastrnn" and metadata["format_version"] == "1"
    assert json.loads(metadata["config"])["model"]["class"] == "Sequential"
    assert b"pickle" not in path.read_bytes()


def test_write_and_read(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array([1, 2], np.int64)}
    storage.write(tmp_path / "file", arrays, {"scale": [1.5, None]})
    loaded, config = storage.read(tmp_path / "file")
    assert config == {"scale": [1.5, None]}
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype


def test_a_failure_keeps_the_old_file(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, _ = trained_model(rng)
    path = tmp_path / "model"
    model.save(path)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    for function in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, fail)
            model.set_weights([weight * 0 for weight in model.get_weights()])
            with pytest.raises(OSError, match="disk full"):
                model.save(path)
        assert path.read_bytes() == before and os.listdir(tmp_path) == ["model"]
    model.save(path)
    assert not storage.load(path).predict(x).any()


def test_every_damaged_byte_is_found(tmp_path: Path) -> None:
    layer = Dense(1, seed=0)
    layer.build(1)
    path = tmp_path / "layer"
    storage.save(layer, path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(ValueError, match="layer: "):
            storage.load(path)


@pytest.mark.parametrize("keep", [0, 5, 8, 100, -1])
def test_a_cut_file(keep: int, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "model"
    trained_model(rng)[0].save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model: damaged, or not a safetensors file .*write it again with model.save"):
        storage.load(path)


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    with pytest.raises(FileNotFoundError, match=r"nowhere: no such file; model.save\(path\) writes one"):
        storage.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="got a directory"):
        storage.load(tmp_path)
    save_file({"w": np.ones(3)}, tmp_path / "foreign")
    with pytest.raises(ValueError, match="a safetensors file of another program"):
        storage.load(tmp_path / "foreign")
    (tmp_path / "text").write_text("hello, this is no model at all")
    with pytest.raises(ValueError, match="damaged, or not a safetensors file"):
        storage.load(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        storage.write(tmp_path / "no folder" / "file", {}, {})


def test_a_later_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(storage, "FORMAT_VERSION", 2)
        storage.write(tmp_path / "file", {}, {})
    with pytest.raises(ValueError, match=r"format 2 of fastrnn .* is later than this fastrnn .*upgrade fastrnn"):
        storage.read(tmp_path / "file")


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({}, "model"),
        ({"model": {"class": "Nothing", "config": {}}, "input_size": 1, "training": None}, "unknown class 'Nothing'"),
        ({"model": {"class": "Dense", "config": {"unit": 1}}, "input_size": 1, "training": None}, "unexpected keyword"),
        ({"model": {"class": "Dense", "config": {"units": 2}}, "input_size": 1, "training": None}, "w: expected shape"),
        ({"model": {"class": "LSTM", "config": {"units": 1}}, "input_size": 1, "training": None}, "parameters w_x"),
    ],
)
def test_a_configuration_that_does_not_fit(config: dict[str, Any], match: str, tmp_path: Path) -> None:
    storage.write(tmp_path / "file", {"w": np.ones((1, 1)), "b": np.ones(1)}, config)
    with pytest.raises(ValueError, match=f"file: cannot rebuild the model from this file: .*{match}"):
        storage.load(tmp_path / "file")


def test_what_is_not_learned_is_saved_too(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.normal(3.0, 2.0, size=(30, 5, 2))
    layers = [BatchNormalization(momentum=0.5), Residual([Bidirectional(GRU(1, return_sequences=True))]), Dense(1)]
    model = Sequential(layers, seed=0)
    model.compile("adam")
    model.fit(x, x[..., :1], epochs=2, verbose=0)
    model.save(tmp_path / "model")
    arrays, config = storage.read(tmp_path / "model")
    assert set(arrays) == {*model.params, "0/moving_mean", "0/moving_variance"}
    loaded = storage.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.buffers["0/moving_mean"], model.buffers["0/moving_mean"])
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    loaded.fit(x, x[..., :1], verbose=0)
    assert (loaded.buffers["0/moving_mean"] != model.buffers["0/moving_mean"]).any()
    del arrays["0/moving_mean"]
    storage.write(tmp_path / "less", arrays, config)
    with pytest.raises(ValueError, match=r"expected the parameters .*0/moving_mean, 0/moving_variance, got"):
        storage.load(tmp_path / "less")


def test_a_file_as_the_first_version_wrote_it(tmp_path: Path) -> None:
    layers = [
        {"class": "TimeDistributed", "config": {"layer": {"class": "Dense", "config": {"units": 1}}}},
        {"class": "Dropout", "config": {"rate": 0.5, "seed": None}},
    ]
    model = {"class": "Sequential", "config": {"layers": layers, "input_size": 2, "seed": 0}}
    arrays = {"0/w": np.array([[1.0], [2.0]], np.float32), "0/b": np.array([3.0], np.float32)}
    storage.write(tmp_path / "file", arrays, {"model": model, "input_size": 2, "training": None})
    np.testing.assert_array_equal(storage.load(tmp_path / "file")([[[1, 1], [0, 1]]]), [[[6], [5]]])


def test_an_unbuilt_model_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Sequential has no parameters yet"):
        Sequential([Dense(1)]).save(tmp_path / "model")
    assert not os.listdir(tmp_path)
