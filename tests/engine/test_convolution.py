"""The fast convolution against the reference, and the promises: the same bits, and nothing written to."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn import reference

from ..helpers import assert_close, central_difference
from .cases import assert_same_bits, dtypes, in_double, instruction_sets

Array = np.ndarray

# batch, steps, channels, filters, taps
SHAPES = [
    (None, 7, 1, 1, 1),
    (1, 12, 1, 20, 4),
    (3, 20, 5, 7, 3),
    (2, 33, 17, 33, 2),
    (2, 40, 16, 64, 5),
    (2, 25, 3, 67, 4),
    (1, 300, 40, 130, 3),  # several panels, several chunks
    (70, 19, 6, 9, 2),  # rounds of several rows
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"padding": "same"},
    {"padding": "causal", "dilation_rate": 2},
    {"padding": "causal", "dilation_rate": 50},  # of T <= 40 steps most taps see nothing
    {"strides": 2, "padding": "same"},
    {"strides": 7, "padding": "causal"},  # more than the window
    {"strides": 3, "dilation_rate": 2, "padding": "same"},
    {"padding": (45, 3)},  # windows that see nothing at all
]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
every_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


def conv1d_arguments(
    rng: np.random.Generator, shape: tuple[Any, ...], dtype: str = "float64", groups: int = 1
) -> dict[str, Array]:
    """x, w and b by name; weights of the size 1/sqrt(terms of a sum)."""
    batch, steps, channels, filters, taps = shape
    rows = () if batch is None else (batch,)
    arguments = {
        "x": rng.normal(size=(*rows, steps, channels * groups)),
        "w": rng.normal(size=(taps, channels, filters * groups)) / np.sqrt(taps * channels),
        "b": rng.normal(size=filters * groups) / 4,
    }
    return {name: value.astype(dtype) for name, value in arguments.items()}


def some_gradient(shape: tuple[int, ...], dtype: Any = np.float64) -> Array:
    """A gradient by y whose sums, as db is one, do not cancel."""
    return np.random.default_rng(1).uniform(0.5, 1.5, shape).astype(dtype)


def run(module: ModuleType, arguments: dict[str, Any], dy: Array | None = None, **options: Any) -> dict[str, Array]:
    """y and the gradients by name; dy is `some_gradient` if there is none."""
    y, cache = module.conv1d_forward(*arguments.values(), **options)
    if dy is None:
        dy = some_gradient(y.shape, y.dtype)
    gradients = module.conv1d_backward(dy, cache)._asdict()
    return {"y": y, **{name: value for name, value in gradients.items() if value is not None}}


def assert_right(arguments: dict[str, Any], **options: Any) -> None:
    """The same as the float64 reference, and no input written to."""
    before = {name: value.copy() for name, value in arguments.items()}
    for value in arguments.values():
        value.flags.writeable = False
    results = run(fastrnn, arguments, **options)
    for name, value in before.items():
        np.testing.assert_array_equal(arguments[name], value, f"{name} was written to")
    dtype = arguments["x"].dtype
    dy = some_gradient(results["y"].shape, dtype).astype(np.float64)
    expected = run(reference, in_double(arguments), dy, **options)
    assert results.keys() == expected.keys()
    for name, value in expected.items():
        single = "float32_output" if name == "y" else "float32_gradient"
        assert results[name].dtype == dtype
        assert_close(results[name], value, single if dtype == np.float32 else "float64", name)


@pytest.fixture
def poisoned_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """New arrays full of NaN: an output that nobody writes is found out."""
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float, **order: np.full(shape, np.nan, dtype, **order))
    monkeypatch.setattr(np, "empty_like", lambda array, **options: np.full_like(array, np.nan, **options))


# ---- against the reference -------------------------------------------------------------------------------------------


@instruction_sets
@dtypes
@shapes
@every_option
def test_shapes(
    shape: tuple[Any, ...], options: dict[str, Any], dtype: str, instruction_set: str, rng: np.random.Generator
) -> None:
    assert_right(conv1d_arguments(rng, shape, dtype), **options)


@instruction_sets
@dtypes
@pytest.mark.parametrize("groups", [2, 3, 8], ids="groups={}".format)
@pytest.mark.parametrize("shape", [(2, 12, 1, 1, 3), (1, 9, 3, 5, 2), (2, 30, 5, 16, 4)], ids=str)
@pytest.mark.parametrize("options", [OPTIONS[i] for i in (0, 2, 4, 6)], ids=str)
def test_groups(
    shape: tuple[Any, ...], options: dict[str, Any], groups: int, dtype: str, instruction_set: str,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    assert_right(conv1d_arguments(rng, shape, dtype, groups), groups=groups, **options)


# Channels of a group, filters of a group, groups: parts of a vector and whole ones, few lanes and many, with a rest.
MANY_GROUPS = [
    (1, 1, 2), (1, 1, 3), (1, 1, 8), (1, 1, 20), (1, 1, 67), (1, 1, 128), (2, 2, 3), (2, 2, 33), (4, 4, 2), (4, 4, 19),
    (8, 8, 2), (8, 8, 9), (16, 16, 3), (3, 8, 2), (5, 16, 2), (16, 4, 2), (1, 4, 5), (32, 32, 2),
]  # fmt: skip


@instruction_sets
@dtypes
@pytest.mark.parametrize("sizes", MANY_GROUPS, ids=lambda sizes: "x".join(map(str, sizes)))
@pytest.mark.parametrize("taps", [1, 2, 9], ids="K={}".format)
@pytest.mark.usefixtures("poisoned_outputs")
def test_many_groups(
    sizes: tuple[int, int, int], taps: int, dtype: str, instruction_set: str, rng: np.random.Generator
) -> None:
    channels, filters, groups = sizes
    arguments = conv1d_arguments(rng, (2, 53, channels, filters, taps), dtype, groups)
    for options in OPTIONS:
        if taps == 9 and options == OPTIONS[-1]:
            continue
        assert_right(arguments, groups=groups, activation="tanh", **options)


@pytest.mark.parametrize("sizes", [(1, 1, 5), (2, 2, 3), (4, 4, 2)], ids=str)
@pytest.mark.parametrize("options", OPTIONS[:-1], ids=str)
def test_gradients_of_many_groups(
    sizes: tuple[int, int, int], options: dict[str, Any], rng: np.random.Generator
) -> None:
    """Against central finite differences of the fast function itself."""
    channels, filters, groups = sizes
    arguments = conv1d_arguments(rng, (2, 19, channels, filters, 3), groups=groups)
    y, cache = fastrnn.conv1d_forward(*arguments.values(), groups=groups, activation="tanh", **options)
    dy = some_gradient(y.shape)
    gradients = fastrnn.conv1d_backward(dy, cache)
    for name, value in arguments.items():

        def loss(shifted: Array, name: str = name) -> float:
            given = {**arguments, name: shifted}.values()
            y, _ = fastrnn.conv1d_forward(*given, groups=groups, activation="tanh", **options)
            return float(np.sum(dy * y))

        assert_close(getattr(gradients, f"d{name}"), central_difference(loss, value), "finite_difference", f"d{name}")


@instruction_sets
@dtypes
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu", "linear", None])
@pytest.mark.parametrize("filters", [1, 13, 32], ids="F={}".format)
def test_activations(
    activation: str | None, filters: int, dtype: str, instruction_set: str, rng: np.random.Generator
) -> None:
    arguments = conv1d_arguments(rng, (3, 21, 4, filters, 3), dtype)
    assert_right(arguments, activation=activation, padding="same", strides=2)
    assert_right(arguments, activation=activation, groups=1, dilation_rate=3)


@instruction_sets
@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything(instruction_set: str, data: st.DataObject) -> None:
    batch, steps, taps = (data.draw(st.integers(1, high)) for high in (4, 40, 6))
    groups = data.draw(st.integers(1, 3))
    channels, filters = (data.draw(st.integers(1, 20)) for _ in range(2))
    if data.draw(st.booleans()):
        groups, channels = data.draw(st.integers(2, 40)), data.draw(st.sampled_from([1, 2, 4, 8]))
        filters = channels
    stride, rate = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    least = max((taps - 1) * rate + 1 - steps, 0)
    padding = data.draw(st.one_of(st.sampled_from(["same", "causal"]), st.tuples(*[st.integers(least, least + 9)] * 2)))
    arguments = conv1d_arguments(np.random.default_rng(0), (batch, steps, channels, filters, taps), groups=groups)
    threads = data.draw(st.integers(1, 3))
    activation = data.draw(st.sampled_from(["linear", "tanh"]))
    options = {"strides": stride, "dilation_rate": rate, "padding": padding, "groups": groups, "activation": activation}
    assert_right(arguments, num_threads=threads, **options)


def test_without_bias(rng: np.random.Generator) -> None:
    arguments = conv1d_arguments(rng, (2, 9, 3, 5, 2))
    results = run(fastrnn, {**arguments, "b": None})
    expected = run(fastrnn, {**arguments, "b": np.zeros(5)})
    del expected["db"]
    assert_same_bits(results, expected)


@dtypes
def test_an_empty_batch(dtype: str, rng: np.random.Generator) -> None:
    results = run(fastrnn, conv1d_arguments(rng, (0, 9, 3, 5, 2), dtype), activation="tanh", strides=2)
    assert results["y"].shape == (0, 4, 5) and results["dx"].shape == (0, 9, 3)
    assert not results["dw"].any() and not results["db"].any()
    assert {value.dtype for value in results.values()} == {np.dtype(dtype)}


def test_float_types(rng: np.random.Generator) -> None:
    """float32 if every float is, integers follow; otherwise float64."""
    x, w, b = conv1d_arguments(rng, (2, 9, 3, 5, 2), "float32").values()
    assert fastrnn.conv1d_forward(x, w, b)[0].dtype == np.float32
    assert fastrnn.conv1d_forward(np.ones((9, 3), int), w, b)[0].dtype == np.float32
    assert fastrnn.conv1d_forward(x, w, b.astype(np.float64))[0].dtype == np.float64
    assert fastrnn.conv1d_forward(np.ones((9, 3), int), w.astype(int), None)[0].dtype == np.float64


# ---- the same bits ---------------------------------------------------------------------------------------------------


@instruction_sets
@dtypes
@every_option
@pytest.mark.parametrize("filters", [7, 48], ids="F={}".format)
def test_a_row_alone_or_in_a_batch(
    options: dict[str, Any], filters: int, dtype: str, instruction_set: str, rng: np.random.Generator
) -> None:
    arguments = conv1d_arguments(rng, (9, 60, 5, filters, 3), dtype)
    y, _ = fastrnn.conv1d_forward(*arguments.values(), **options)
    dy = rng.normal(size=y.shape).astype(dtype)
    every = run(fastrnn, arguments, dy, activation="sigmoid", **options)
    for row in (0, 4, 8):
        alone = run(fastrnn, {**arguments, "x": arguments["x"][row]}, dy[row], activation="sigmoid", **options)
        for name in ("y", "dx"):
            assert np.array_equal(alone[name].view(np.uint8), every[name][row].copy().view(np.uint8)), name


@instruction_sets
@dtypes
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("sizes", [(1, 3), (1, 35), (2, 20), (4, 7), (8, 5)], ids=str)
def test_a_row_of_many_groups_alone_or_in_a_batch(
    options: dict[str, Any], sizes: tuple[int, int], dtype: str, instruction_set: str, rng: np.random.Generator
) -> None:
    size, groups = sizes
    arguments = conv1d_arguments(rng, (5, 60, size, size, 3), dtype, groups)
    y, _ = fastrnn.conv1d_forward(*arguments.values(), groups=groups, **options)
    dy = rng.normal(size=y.shape).astype(dtype)
    every = run(fastrnn, arguments, dy, activation="sigmoid", groups=groups, **options)
    for row in (0, 4):
        alone = {**arguments, "x": arguments["x"][row]}
        results = run(fastrnn, alone, dy[row], activation="sigmoid", groups=groups, **options)
        assert_same_bits(
            {name: results[name] for name in ("y", "dx")}, {name: every[name][row] for name in ("y", "dx")}
        )


@instruction_sets
@pytest.mark.parametrize("size", [1, 4, 8, 16])
@pytest.mark.parametrize("options", [{"padding": "same"}, {"strides": 2}], ids=str)
def test_many_groups_on_any_number_of_threads(
    size: int, options: dict[str, Any], instruction_set: str, rng: np.random.Generator
) -> None:
    groups = 48 // size
    arguments = conv1d_arguments(rng, (3, 18_000 // size, size, size, 9), "float32", groups)
    one = run(fastrnn, arguments, groups=groups, num_threads=1, **options)
    for threads in (2, 3):
        assert_same_bits(run(fastrnn, arguments, groups=groups, num_threads=threads, **options), one)


@instruction_sets
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(
    "shape", [(1, 3000, 60, 64, 3), (40, 100, 20, 67, 4), (3, 700, 64, 130, 2)], ids=lambda s: "x".join(map(str, s))
)
@pytest.mark.parametrize("options", [{}, {"dilation_rate": 4, "padding": "causal"}, {"strides": 3}], ids=str)
def test_any_number_of_threads(
    shape: tuple[Any, ...], groups: int, options: dict[str, Any], instruction_set: str, rng: np.random.Generator
) -> None:
    arguments = conv1d_arguments(rng, shape, "float32", groups)
    one = run(fastrnn, arguments, groups=groups, activation="tanh", num_threads=1, **options)
    for threads in (2, 3, 7):
        several = run(fastrnn, arguments, groups=groups, activation="tanh", num_threads=threads, **options)
        for name, value in one.items():
            assert np.array_equal(several[name].view(np.uint8), value.view(np.uint8)), name


def test_from_run_to_run(rng: np.random.Generator) -> None:
    arguments = conv1d_arguments(rng, (16, 120, 30, 40, 3), "float32")
    first = run(fastrnn, arguments)
    for _ in range(5):
        assert_same_bits(run(fastrnn, arguments), first)


@dtypes
def test_any_layout_of_memory(dtype: str, rng: np.random.Generator) -> None:
    arguments = conv1d_arguments(rng, (4, 20, 6, 10, 3), dtype)
    dy = rng.normal(size=(4, 18, 10)).astype(dtype)
    expected = run(fastrnn, arguments, dy)
    layouts = {
        "Fortran": np.asfortranarray,
        "backwards": lambda a: a[::-1].copy()[::-1],
        "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
        "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
    }
    for name, layout in layouts.items():
        given = {key: layout(value) for key, value in arguments.items()}
        results = run(fastrnn, given, layout(dy))
        for key, value in expected.items():
            np.testing.assert_array_equal(results[key], value, f"{name} {key}")
    as_lists = {key: value.tolist() for key, value in arguments.items()}
    assert run(fastrnn, as_lists, dy)["y"].dtype == np.float64


@instruction_sets
@dtypes
@pytest.mark.parametrize("options", [{}, {"padding": "causal"}, {"padding": "causal", "dilation_rate": 5}], ids=str)
@pytest.mark.parametrize("sizes", [(7, 19, 1), (1, 1, 3), (1, 1, 21), (2, 2, 3), (4, 4, 5)], ids=str)
def test_steps_that_have_been_do_not_change(
    sizes: tuple[int, int, int], options: dict[str, Any], dtype: str, instruction_set: str, rng: np.random.Generator
) -> None:
    """What a stream gives: an output has the same bits whatever comes behind its window, and however much before it."""
    channels, filters, groups = sizes
    x, w, b = conv1d_arguments(rng, (2, 90, channels, filters, 3), dtype, groups).values()
    options = {**options, "groups": groups}
    y, _ = fastrnn.conv1d_forward(x, w, b, **options)
    span = 2 * options.get("dilation_rate", 1) + 1
    for steps in (span, 30, 61):
        part, _ = fastrnn.conv1d_forward(x[:, :steps], w, b, **options)
        np.testing.assert_array_equal(part, y[:, : part.shape[1]])
        windows = {**options, "padding": "valid"}
        last, _ = fastrnn.conv1d_forward(x[:, steps - span : steps], w, b, **windows)
        np.testing.assert_array_equal(last[:, 0], part[:, -1])


# ---- bad input, interrupts -------------------------------------------------------------------------------------------

X, KERNEL = np.ones((2, 9, 4)), np.ones((3, 4, 6))
BAD = [
    ((X[0, 0], KERNEL, None), {}, ValueError, "x: expected 2-D (T, C) or 3-D (B, T, C), got 1-D with shape (4,)"),
    ((X[:, :0], KERNEL, None), {}, ValueError, "x: expected at least one time step and one channel"),
    ((X, KERNEL[0], None), {}, ValueError, "w: expected 3-D (K, C/groups, F), at least one of each, got shape (4, 6)"),
    ((X, KERNEL[:0], None), {}, ValueError, "w: expected 3-D (K, C/groups, F)"),
    ((X, KERNEL[:, :3], None), {}, ValueError, "w: expected shape (K, C/groups, F) = (3, 4, 6), got (3, 3, 6)"),
    ((X, KERNEL, np.ones(5)), {}, ValueError, "b: expected shape (F,) = (6,), got (5,)"),
    ((X.astype(complex), KERNEL, None), {}, TypeError, "x: expected an array of real numbers, got dtype complex128"),
    ((X, KERNEL.astype(str), None), {}, TypeError, "w: expected an array of real numbers"),
    ((X, None, None), {}, TypeError, "w: expected an array of real numbers"),
    ((X, KERNEL, None), {"groups": 4}, ValueError, "groups: expected a divisor of C = 4 and F = 6, got 4"),
    ((X, KERNEL, None), {"groups": 0}, ValueError, "groups: expected an integer >= 1, got 0"),
    ((X, KERNEL, None), {"strides": 0}, ValueError, "strides: expected an integer >= 1, got 0"),
    ((X, KERNEL, None), {"strides": 1.5}, TypeError, "strides: expected an integer, got 1.5"),
    ((X, KERNEL, None), {"dilation_rate": -1}, ValueError, "dilation_rate: expected an integer >= 1, got -1"),
    ((X, KERNEL, None), {"dilation_rate": 5}, ValueError, "x: expected at least the 11 steps of a window, got 9"),
    ((X, KERNEL, None), {"padding": "full"}, ValueError, "padding: expected one of 'valid', 'same', 'causal'"),
    ((X, KERNEL, None), {"padding": 1}, TypeError, "padding: expected one of 'valid', 'same', 'causal' or a tuple"),
    ((X, KERNEL, None), {"padding": (1, -1)}, ValueError, "padding: expected an integer >= 0, got -1"),
    ((X, KERNEL, None), {"activation": "softmax"}, ValueError, "activation: expected one of"),
    ((X, KERNEL, None), {"num_threads": 0}, ValueError, "num_threads: expected an integer >= 1, got 0"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "message"), BAD, ids=[case[3] for case in BAD])
def test_bad_input(arguments: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        fastrnn.conv1d_forward(*arguments, **options)
    assert str(raised.value).startswith(message)


def test_bad_gradients() -> None:
    y, cache = fastrnn.conv1d_forward(X, KERNEL, None)
    with pytest.raises(ValueError, match=r"dy: expected shape \(B, T', F\) = \(2, 7, 6\), got \(2, 9, 6\)"):
        fastrnn.conv1d_backward(np.ones((2, 9, 6)), cache)
    with pytest.raises(TypeError, match="dy: expected an array of real numbers"):
        fastrnn.conv1d_backward(None, cache)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cache: expected the cache that conv1d_forward returned, got tuple"):
        fastrnn.conv1d_backward(y, ())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="made by a forward function"):
        fastrnn.functional.Conv1DCache()


@pytest.mark.slow  # its share of a call's time means something on a quiet machine alone
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("what", "taps"), [("forward", 129), ("backward", 65)])
def test_ctrl_c_ends_a_long_call(what: str, taps: int, threads: int) -> None:
    """The call is over soon after the signal, not at its own end: in less than half the time it takes to the end."""
    program = textwrap.dedent(
        f"""
        import os, signal, threading, time
        import numpy as np
        import fastrnn

        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored from birth under a shell's "pytest &"
        x, w = np.ones((1, 50_000, 128), "f4"), np.ones(({taps}, 128, 128), "f4") / 128 / {taps}
        forward = lambda: fastrnn.conv1d_forward(x, w, None, num_threads={threads})
        y, cache = forward()
        call = forward if "{what}" == "forward" else lambda: fastrnn.conv1d_backward(y, cache)
        start = time.perf_counter()
        call()
        whole = time.perf_counter() - start

        def interrupt():
            time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        start = time.perf_counter()
        try:
            call()
        except KeyboardInterrupt:
            print("interrupted", time.perf_counter() - start < whole / 2)
        call()
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "interrupted True\n"


# ---- beside PyTorch --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("rate", [1, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", [(0, 0), (4, 0), (2, 2)], ids=str)
def test_torch_agrees(stride: int, rate: int, groups: int, padding: tuple[int, int], rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    arguments = conv1d_arguments(rng, (3, 23, 4, 6, 3), groups=groups)
    options: dict[str, Any] = {"strides": stride, "dilation_rate": rate, "groups": groups, "padding": padding}
    results = run(fastrnn, arguments, **options)
    x, w, b = (torch.tensor(value, requires_grad=True) for value in arguments.values())
    x_padded = torch.nn.functional.pad(x.transpose(1, 2), padding)
    y = torch.nn.functional.conv1d(x_padded, w.permute(2, 1, 0), b, stride, 0, rate, groups).transpose(1, 2)
    (y * torch.tensor(some_gradient(results["y"].shape))).sum().backward()
    expected = {"y": y.detach(), "dx": x.grad, "dw": w.grad, "db": b.grad}
    for name, value in expected.items():
        assert_close(results[name], value.numpy(), "torch", name)
