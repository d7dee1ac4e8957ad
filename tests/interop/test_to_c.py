"""Models as C: compiled by every compiler there is, without a warning, and run, with the numbers of the model."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import _engine
from fastrnn.interop import CSizes, to_c
from fastrnn.layers import (
    GRU,
    LSTM,
    Activation,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    EchoState,
    Embedding,
    Flatten,
    GaussianNoise,
    IndRNN,
    Layer,
    LayerNormalization,
    MaxPooling1D,
    MinGRU,
    RepeatVector,
    SimpleRNN,
    TimeDistributed,
)
from fastrnn.training import Sequential

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wdouble-promotion", "-Wshadow"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]
COMPILERS = {  # how each turns the files into a program, and what runs it
    "gcc": (["gcc", "-O2"], []),
    "gcc-sanitized": (["gcc", *SANITIZE], []),
    "clang": (["clang", "-O2"], []),
    "aarch64": (["aarch64-linux-gnu-gcc", "-O2", "-static"], ["qemu-aarch64"]),
}
HARNESS = """\
#include <stdio.h>
#include "net.h"

int main(void)
{
    static net_state states[2];
    NUMBER x[INPUTS];
    REAL y[OUTPUTS];
    fprintf(stderr, "%zu\\n", sizeof(net_state));
    net_init(&states[0]);
    net_init(&states[1]);
    for (int round = 0; round < 2; round++) {
        for (int t = 0; t < STEPS; t++) {
            if (fread(x, sizeof(NUMBER), INPUTS, stdin) != INPUTS) return 1;
            net_step(&states[round % 2], x, y);
            fwrite(y, sizeof(REAL), OUTPUTS, stdout);
        }
        if (round == 0) net_reset(&states[0]);
    }
    return 0;
}
"""
STEPS = 12


def needs(compiler: str) -> pytest.MarkDecorator:
    """A test that is left out where the compiler, or what runs its programs, is not there."""
    command, run = COMPILERS[compiler]
    return pytest.mark.skipif(not all(map(shutil.which, [command[0], *run])), reason=f"no {compiler}")


compilers = pytest.mark.parametrize("compiler", [pytest.param(name, marks=needs(name)) for name in COMPILERS])


def randomised(model: Layer, rng: np.random.Generator) -> Layer:
    """The model with all arrays drawn, so that none is zeros or ones; variances and reservoirs stay sane."""
    for arrays in (model.params, model.buffers):
        for name, array in list(arrays.items()):
            if name.endswith("moving_variance"):
                arrays[name] = rng.uniform(0.5, 2.0, array.shape)
            elif not (array.ndim == 2 and arrays is model.buffers):
                arrays[name] = rng.normal(size=array.shape) / math.sqrt(array.shape[0] if array.ndim > 1 else 4)
    return model


def build(program: Path, compiler: str, outputs: int, inputs: int, dtype: str, number: str, steps: int = STEPS) -> None:
    """Compile net.c and the harness, each by itself."""
    sizes = {"INPUTS": inputs, "OUTPUTS": outputs, "STEPS": steps, "NUMBER": number}
    sizes["REAL"] = "float" if dtype == "float32" else "double"
    defines = [f"-D{name}={value}" for name, value in sizes.items()]
    (program.parent / "main.c").write_text(HARNESS)
    files = [str(program.parent / name) for name in ("net.c", "main.c")]
    command = [*COMPILERS[compiler][0], *WARNINGS, *defines, *files, "-o", str(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run_in_c(
    model: Layer, x: np.ndarray, outputs: int, compiler: str, directory: Path, dtype: str
) -> tuple[np.ndarray, CSizes]:
    """y (2, T, O) for x (2, T, I): one row after the other, the second in another state."""
    sizes = to_c(model, directory / "net.c", dtype=dtype, header=directory / "net.h")
    integers = x.dtype.kind == "i"
    number = "int" if integers else "float" if dtype == "float32" else "double"
    x = x.astype("int32" if integers else dtype)
    build(directory / "program", compiler, outputs, 1 if integers else x.shape[-1], dtype, number)
    command = [*COMPILERS[compiler][1], str(directory / "program")]
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(command, input=x.tobytes(), capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stderr) == sizes.state
    return np.frombuffer(done.stdout, dtype).reshape(2, STEPS, outputs), sizes


def close(actual: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    """To 1e-6 of the size of the numbers, 1e-14 in double."""
    assert np.isfinite(expected).all() and np.ptp(expected) > 1e-3
    error = np.abs(actual - expected).max() / max(1.0, np.abs(expected).max())
    assert error <= (1e-6 if dtype == "float32" else 1e-14), error


def sequence(kind: Any, *sizes: int, **options: Any) -> Layer:
    return kind(*sizes, return_sequences=True, **options)


MODELS: dict[str, Any] = {
    "rnn": lambda: sequence(SimpleRNN, 7),
    "rnn-layer-norm": lambda: sequence(SimpleRNN, 7, layer_norm=True, zoneout=0.2, learn_initial_state=True),
    "lstm": lambda: sequence(LSTM, 7),
    "lstm-no-bias": lambda: sequence(LSTM, 7, use_bias=False, learn_initial_state=True),
    "lstm-peephole-projection": lambda: sequence(LSTM, 7, peephole=True, projection=4, output_activation="softsign"),
    "lstm-coupled-clip": lambda: sequence(LSTM, 7, coupled=True, clip=0.7, cell_clip=0.5, peephole=True),
    "lstm-zoneout": lambda: sequence(LSTM, 7, zoneout=0.2, zoneout_cell=0.3, projection=3),
    "lstm-layer-norm": lambda: sequence(
        LSTM, 7, layer_norm=True, peephole=True, projection=4, zoneout=0.1, zoneout_cell=0.3, learn_initial_state=True
    ),
    "lstm-layer-norm-no-bias": lambda: sequence(LSTM, 7, layer_norm=True, use_bias=False, coupled=True),
    "gru": lambda: sequence(GRU, 7),
    "gru-options": lambda: sequence(GRU, 7, clip=0.8, zoneout=0.2, recurrent_activation="hard_sigmoid", use_bias=False),
    "gru-layer-norm": lambda: sequence(GRU, 7, layer_norm=True, ln_epsilon=0.01, learn_initial_state=True),
    "gru-reset-before": lambda: sequence(GRU, 7, reset_after=False, zoneout=0.2, clip=1.5),
    "gru-reset-before-no-bias": lambda: sequence(GRU, 7, reset_after=False, use_bias=False),
    "indrnn": lambda: sequence(IndRNN, 7, activation="tanh", zoneout=0.1),
    "mingru": lambda: sequence(MinGRU, 7, activation="tanh", clip=1.1),
    "echo": lambda: sequence(EchoState, 20, bias_scaling=0.3),
    "echo-leak": lambda: sequence(EchoState, 20, leak=0.3, bias_scaling=0.3),
    "dense": lambda: TimeDistributed(Dense(4, "tanh")),
    "convolution": lambda: Conv1D(6, 3, padding="causal", dilation_rate=2, activation="gelu"),
    "convolution-groups": lambda: Conv1D(6, 2, padding="causal", dilation_rate=3, groups=3, use_bias=False),
    "convolution-of-one": lambda: Conv1D(6, 1, groups=3, activation="relu"),
    "normalization": lambda: Sequential([LayerNormalization(), BatchNormalization(), Activation("sigmoid")]),
    "normalization-plain": lambda: Sequential(
        [LayerNormalization(center=False, scale=False), BatchNormalization(center=False, scale=False)]
    ),
    "stack": lambda: Sequential(
        [
            Dropout(0.3),
            Conv1D(5, 3, padding="causal", activation="relu"),
            Sequential([sequence(GRU, 6, dropout=0.2), GaussianNoise(0.1), BatchNormalization()]),
            sequence(LSTM, 5, recurrent_dropout=0.2),
            TimeDistributed(Sequential([Dense(4, "relu"), Dense(2)])),
        ]
    ),
}


# Every model with all warnings and checks at run time, and with one of the other compilers in turn; the stack with all.
IN_TURN = [
    pytest.param(name, compiler, marks=needs(compiler))
    for i, name in enumerate(MODELS)
    for k, compiler in enumerate(COMPILERS)
    if compiler == "gcc-sanitized" or k == (0, 2, 3)[i % 3] or name == "stack"
]


@pytest.mark.parametrize(("name", "compiler"), IN_TURN)
def test_c_has_the_numbers_of_the_model(name: str, compiler: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = MODELS[name]()
    x = rng.normal(size=(2, STEPS, 6)).astype("float32")
    model.build(6, seed=0)
    randomised(model, rng)
    expected = model(x)
    y, sizes = run_in_c(model, x, expected.shape[-1], compiler, tmp_path, "float32")
    close(y, expected, "float32")
    arrays = {**model.params, **model.buffers}
    assert sizes.parameters >= 4 * sum(a.size for a in arrays.values()) - 4 * 2 * 6 * 2  # normalization may fold some


@compilers
def test_double(compiler: str, tmp_path: Path, rng: np.random.Generator) -> None:
    layers = [
        sequence(LSTM, 7, peephole=True, dtype="float64"),
        Conv1D(5, 4, padding="causal", dtype="float64"),
        sequence(GRU, 5, layer_norm=True, dtype="float64"),
        Dense(3, dtype="float64"),
    ]
    model = randomised(Sequential(layers, input_size=3, seed=0), rng)
    x = rng.normal(size=(2, STEPS, 3))
    y, _ = run_in_c(model, x, 3, compiler, tmp_path, "float64")
    close(y, model(x), "float64")


@compilers
def test_class_numbers(compiler: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = Sequential([Embedding(11, 4, seed=1), sequence(GRU, 5), Dense(3)], seed=0)
    x = rng.integers(11, size=(2, STEPS))
    expected = model(x)
    y, _ = run_in_c(model, x, 3, compiler, tmp_path, "float32")
    close(y, expected, "float32")
    outside = x.copy()
    outside[:, 3], outside[:, 7] = -1, 11
    y, _ = run_in_c(model, outside, 3, compiler, tmp_path, "float32")
    vectors = np.where(((outside >= 0) & (outside < 11))[..., None], model.layers[0].params["w"][x], 0)
    close(y, Sequential(model.layers[1:])(vectors), "float32")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_every_activation(tmp_path: Path, rng: np.random.Generator) -> None:
    """All in one network, some with constants of their own, so that kinds occur twice."""
    constants = {"hard_sigmoid": (0.2, 0.4), "elu": (0.7,), "selu": (1.2, 0.9), "leaky_relu": (0.1,),
                 "thresholded_relu": (0.3,), "affine": (-0.5, 0.2), "scaled_tanh": (1.7, -0.6)}  # fmt: skip
    given = [*_engine.ACTIVATIONS, *((kind, *values) for kind, values in constants.items())]
    model = randomised(Sequential([sequence(MinGRU, 6, activation=phi) for phi in given], input_size=6, seed=0), rng)
    x = rng.normal(size=(2, STEPS, 6)).astype("float32")
    # each by itself, so that errors do not add up
    for i, layer in enumerate(model.layers):
        directory = tmp_path / str(i)
        directory.mkdir()
        y, _ = run_in_c(layer, x, 6, "gcc", directory, "float32")
        close(y, layer(x), "float32")
    to_c(model, tmp_path / "net.c", header=tmp_path / "net.h")
    build(tmp_path / "program", "gcc", 6, 6, "float32", "float")


def test_last_output_alone(tmp_path: Path, rng: np.random.Generator) -> None:
    """A model of the last output gives, step by step, what it would give if the sequence ended there."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    model = Sequential([sequence(LSTM, 6), GRU(5), Dense(2)], input_size=3, seed=0)
    x = rng.normal(size=(2, STEPS, 3)).astype("float32")
    y, _ = run_in_c(model, x, 2, "gcc", tmp_path, "float32")
    close(y, np.stack([model(x[:, : t + 1]) for t in range(STEPS)], axis=1), "float32")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os"])
@pytest.mark.parametrize("name", MODELS)
def test_stack_use_is_no_more_than_stated(name: str, level: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    model.build(6)
    sizes = to_c(model, tmp_path / "net.c")
    subprocess.run(["gcc", "-std=c99", level, "-fstack-usage", "-c", "net.c"], cwd=tmp_path, check=True)
    used = {}
    for line in (tmp_path / "net.su").read_text().splitlines():
        place, size, _ = line.split("\t")
        used[place.rpartition(":")[2]] = int(size)
    layers = [size for name, size in used.items() if re.match(r"net_layer\d", name)]
    helpers = [size for name, size in used.items() if not re.match(r"net_(layer|step|init|reset)", name)]
    assert used["net_step"] + max(layers, default=0) + max(helpers, default=0) + 3 * 8 <= sizes.stack


def test_two_networks_in_one_program(tmp_path: Path) -> None:
    """Nothing of one is in the way of the other; both files are C++ too."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    for prefix in ("left", "Right_2"):
        model = Sequential([sequence(LSTM, 4, layer_norm=True), Dense(1)], input_size=2, seed=0)
        to_c(model, tmp_path / f"{prefix}.c", prefix=prefix)
    (tmp_path / "all.c").write_text(
        '#include "left.c"\n#include "Right_2.c"\n'
        "int main(void) { left_state a; Right_2_state b; float x[2] = {0}, y[1];"
        " left_init(&a); Right_2_init(&b); left_step(&a, x, y); Right_2_step(&b, x, y); return 0; }\n"
    )
    for compiler in (["gcc", "-std=c99"], ["g++", "-x", "c++"]):
        command = [*compiler, "-Wall", "-Wextra", "-Werror", "all.c", "-o", "all", "-lm"]
        subprocess.run(command, cwd=tmp_path, check=True)
        subprocess.run(["./all"], cwd=tmp_path, check=True)


def test_no_variables_no_allocation_nothing_but_libm(tmp_path: Path) -> None:
    if shutil.which("gcc") is None or shutil.which("nm") is None:
        pytest.skip("no gcc or nm")
    model = Sequential([Conv1D(4, 3, padding="causal"), sequence(LSTM, 4, layer_norm=True), Dense(1)], input_size=2)
    to_c(model, tmp_path / "net.c")
    subprocess.run(["gcc", "-std=c99", "-O1", "-ffreestanding", "-c", "net.c"], cwd=tmp_path, check=True)
    listed = subprocess.run(["nm", "net.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    symbols = [line.split()[-2:] for line in listed.splitlines()]
    assert {name for kind, name in symbols if kind in "TDBC"} == {"net_init", "net_step", "net_reset"}
    assert not [name for kind, name in symbols if kind in "dDbBC"]
    assert {name for kind, name in symbols if kind == "U"} <= {"expf", "fabsf", "tanhf", "sqrtf", "memset", "memcpy"}


def test_the_comment_at_the_top(tmp_path: Path) -> None:
    model = Sequential([Dropout(0.5), sequence(GRU, 5), Dense(2)], input_size=3, seed=0)
    sizes = to_c(model, tmp_path / "net.c")
    top = (tmp_path / "net.c").read_text().partition("*/")[0]
    assert sizes.parameters == 4 * model.count_params() and sizes.state == 4 * 5
    assert f"{sizes.parameters:,} bytes" in top and f"{sizes.state:,} bytes" in top and f"{sizes.stack:,} bytes" in top
    assert f"fastrnn {fastrnn.__version__}" in top and "GRU(5, return_sequences=True)" in top and "Dropout" not in top
    assert "int main(void)" in top


def test_the_same_model_gives_the_same_file(tmp_path: Path) -> None:
    model = Sequential([sequence(GRU, 5), Dense(2)], input_size=3, seed=0)
    for name in ("a.c", "b.c"):
        to_c(model, tmp_path / name)
    assert (tmp_path / "a.c").read_bytes() == (tmp_path / "b.c").read_bytes()


def test_numbers_read_back_exactly(tmp_path: Path, rng: np.random.Generator) -> None:
    layer = Dense(16, use_bias=False)
    layer.build(64)
    bits = rng.integers(0, 1 << 31, 1024, dtype=np.uint32)
    values = (bits | rng.integers(0, 2, 1024, dtype=np.uint32) << 31).view("float32")
    values = np.where(np.isfinite(values), values, np.float32(1e-45))
    layer.params["w"] = values.reshape(64, 16)
    to_c(layer, tmp_path / "net.c")
    table = re.search(r"net_layer0_w\[1024\] = \{.*?\n(.*?)\}", (tmp_path / "net.c").read_text(), re.DOTALL)
    assert table is not None
    read = np.array([float(text.strip().rstrip("f")) for text in table[1].split(",")], "float32")
    assert np.array_equal(read.view("uint32"), layer.params["w"].ravel().view("uint32"))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Bidirectional(GRU(3))], r"layers\[0\]: Bidirectional cannot be written in C"),
        ([sequence(GRU, 3, go_backwards=True)], r"layers\[0\]: GRU with go_backwards=True needs the last step first"),
        ([Dense(2), Conv1D(3, 2, padding="same")], r"layers\[1\]: Conv1D with padding='same'.*causal"),
        ([Conv1D(3, 2, padding="causal", strides=2)], r"layers\[0\]: Conv1D: expected strides=1.*got 2"),
        ([Conv1D(3, 2)], r"layers\[0\]: Conv1D with padding='valid'"),
        ([MaxPooling1D(2)], r"layers\[0\]: MaxPooling1D cannot"),
        ([GRU(3), RepeatVector(3)], r"layers\[1\]: RepeatVector cannot"),
        ([Sequential([Flatten()])], r"layers\[0\].layers\[0\]: Flatten cannot"),
        ([Dropout(0.1)], "expected a layer that does something"),
        ([Embedding(3, 2, mask_zero=True)], r"layers\[0\]: Embedding with mask_zero=True"),
    ],
)
def test_what_cannot_be_written(layers: list[Layer], message: str, tmp_path: Path) -> None:
    model = Sequential(layers)
    model(np.ones((1, 4), int) if isinstance(layers[0], Embedding) else np.ones((1, 4, 2), "float32"))
    with pytest.raises(ValueError, match=message):
        to_c(model, tmp_path / "net.c")
    assert not (tmp_path / "net.c").exists()


def test_bad_arguments(tmp_path: Path) -> None:
    path = tmp_path / "net.c"
    with pytest.raises(TypeError, match="model: expected a model or a layer, got int"):
        to_c(3, path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="GRU has no parameters yet"):
        to_c(GRU(3), path)
    layer = Dense(2)
    layer.build(2)
    for prefix in ("", "2a", "a b", "ä", "_a", None):
        with pytest.raises(ValueError, match="prefix: expected letters"):
            to_c(layer, path, prefix=prefix)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dtype: expected one of"):
        to_c(layer, path, dtype="float16")
    with pytest.raises(TypeError, match=r"path: expected the path of a file to write, .* got None"):
        to_c(layer, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"header: expected the path of a file to write, .* got 3"):
        to_c(layer, path, header=3)  # type: ignore[arg-type]
    layer.params["b"][0] = np.nan
    with pytest.raises(ValueError, match="layer0_b: expected finite numbers"):
        to_c(layer, path)
    assert not path.exists()
