"""The functions as a program uses them: steps, empty batches, any kind of array, types, caches, options."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastrnn

from .engine.cases import assert_same_bits, gradients_of, in_type, outputs_of, run
from .engine.cases import upstream_of as upstream_of_outputs
from .engine.mixes import calls
from .helpers import CELLS, Cell, assert_close, some_resets

Array = np.ndarray
BATCH, STEPS, INPUTS, HIDDEN = 4, 6, 3, 5
WEIGHTS = ("w_x", "w_h", "b")

cells = pytest.mark.parametrize("cell", CELLS, ids=str)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
batches = pytest.mark.parametrize("batch", [None, 1, BATCH], ids="B={}".format)


def arguments_of(cell: Cell, rng: np.random.Generator, batch: int | None = BATCH, dtype: str = "float64") -> dict:
    return in_type(cell.arguments(rng, batch, STEPS, INPUTS, HIDDEN), dtype)


def upstream_of(cell: Cell, rng: np.random.Generator, batch: int | None = BATCH, dtype: str = "float64") -> dict:
    rows = () if batch is None else (batch,)
    final = {f"d{state}_n": rng.normal(size=(*rows, HIDDEN)).astype(dtype) for state in cell.states}
    return {"dy": rng.normal(size=(*rows, STEPS, HIDDEN)).astype(dtype), **final}


# ---- steps -----------------------------------------------------------------------------------------------------------


@dtypes
@batches
@cells
def test_steps_have_the_bits_of_the_sequence(
    cell: Cell, batch: int | None, dtype: str, rng: np.random.Generator
) -> None:
    arguments, upstream = arguments_of(cell, rng, batch, dtype), upstream_of(cell, rng, batch, dtype)
    outputs, gradients = run(fastrnn, cell, arguments, upstream)
    weights = {name: arguments[name] for name in WEIGHTS}
    learned = [name for name, value in weights.items() if value is not None]
    states = {f"{state}_prev": arguments[f"{state}0"] for state in cell.states}
    caches = []
    for t in range(STEPS):
        *new, cache = cell.step_forward(fastrnn, {"x_t": arguments["x"][..., t, :], **states, **weights})
        np.testing.assert_array_equal(new[0], outputs["y"][..., t, :])
        states = dict(zip(states, new, strict=True))
        caches.append(cache)
    for state, value in zip(cell.states, states.values(), strict=True):
        np.testing.assert_array_equal(value, outputs[f"{state}_n"])

    dstates = [upstream[f"d{state}_n"] for state in cell.states]
    totals = {f"d{name}": np.zeros_like(weights[name]) for name in learned}
    dx = np.empty_like(arguments["x"])
    for t in reversed(range(STEPS)):
        dstates[0] = dstates[0] + upstream["dy"][..., t, :]
        step = cell.step_backward(fastrnn, *dstates, caches[t])
        dx[..., t, :] = step.dx
        dstates = [getattr(step, f"d{state}_prev") for state in cell.states]
        for name in totals:
            totals[name] += getattr(step, name)
    kind = "float64" if dtype == "float64" else "float32_gradient"
    expected = {"dx": dx, **{f"d{s}0": d for s, d in zip(cell.states, dstates, strict=True)}, **totals}
    for name, value in expected.items():
        assert_close(gradients[name], value, kind, name)


@cells
def test_steps_without_states_bias_or_rows(cell: Cell, rng: np.random.Generator) -> None:
    arguments = arguments_of(cell, rng)
    weights = {"w_x": arguments["w_x"], "w_h": arguments["w_h"], "b": None}
    x_t = arguments["x"][:, 0]
    nothing = {f"{state}_prev": None for state in cell.states}
    zeros = {f"{state}_prev": np.zeros((BATCH, HIDDEN)) for state in cell.states}
    *without, cache = cell.step_forward(fastrnn, {"x_t": x_t, **nothing, **weights})
    *expected, _ = cell.step_forward(fastrnn, {"x_t": x_t, **zeros, **weights})
    np.testing.assert_array_equal(without, expected)
    assert cell.step_backward(fastrnn, *without, cache).db is None

    *states, cache = cell.step_forward(fastrnn, {"x_t": x_t[:0], **nothing, **weights})
    assert all(state.shape == (0, HIDDEN) for state in states)
    gradients = cell.step_backward(fastrnn, *states, cache)
    assert gradients.dx.shape == (0, INPUTS) and not gradients.dw_x.any()


# ---- edges -----------------------------------------------------------------------------------------------------------


@cells
@pytest.mark.parametrize("reverse", [False, True])
def test_empty_batch(cell: Cell, reverse: bool, rng: np.random.Generator) -> None:
    arguments, upstream = arguments_of(cell, rng, 0), upstream_of(cell, rng, 0)
    masks = {"lengths": [], "reset_mask": np.zeros((0, STEPS), dtype=bool)}
    for options in ({}, masks):
        outputs, gradients = run(fastrnn, cell, arguments, upstream, reverse=reverse, **options)
        for name, value in outputs.items():
            assert value.shape == ((0, STEPS, HIDDEN) if name in ("y", "c") else (0, HIDDEN)), name
        for name, value in arguments.items():
            if value is not None:
                assert gradients[f"d{name}"].shape == value.shape and not gradients[f"d{name}"].any(), name


@cells
@pytest.mark.parametrize("reverse", [False, True])
def test_rows_of_length_zero_hand_their_state_through(cell: Cell, reverse: bool, rng: np.random.Generator) -> None:
    arguments, upstream = arguments_of(cell, rng), upstream_of(cell, rng)
    arguments["x"][:] = np.nan
    upstream["dy"][:] = np.nan
    resets = np.ones((BATCH, STEPS), dtype=bool)
    for options in ({}, {"reset_mask": resets}):
        outputs, gradients = run(fastrnn, cell, arguments, upstream, lengths=[0] * BATCH, reverse=reverse, **options)
        assert not outputs["y"].any()
        assert "c" not in cell.states or not outputs["c"].any()
        for state in cell.states:
            np.testing.assert_array_equal(outputs[f"{state}_n"], arguments[f"{state}0"])
            np.testing.assert_array_equal(gradients[f"d{state}0"], upstream[f"d{state}_n"])
        for name in gradients.keys() - {f"d{state}0" for state in cell.states}:
            assert not gradients[name].any(), name


@cells
def test_one_instance_takes_its_length_in_any_form(cell: Cell, rng: np.random.Generator) -> None:
    arguments, upstream = arguments_of(cell, rng, None), upstream_of(cell, rng, None)
    resets = some_resets(None, STEPS)
    expected = run(fastrnn, cell, arguments, upstream, lengths=[4], reset_mask=resets)
    for length in (4, np.int8(4), np.array(4), np.array([4.0]), (4,)):
        actual = run(fastrnn, cell, arguments, upstream, lengths=length, reset_mask=resets.tolist())
        for one, other in zip(actual, expected, strict=True):
            assert_same_bits(one, other)


# ---- any kind of array -----------------------------------------------------------------------------------------------


def misaligned(array: Array) -> Array:
    buffer = np.zeros(array.nbytes + 1, np.uint8)
    result = buffer[1:].view(array.dtype).reshape(array.shape)
    result[...] = array
    assert array.nbytes == array.size or not result.flags.aligned  # a byte is always aligned
    return result


def every_other(array: Array) -> Array:
    wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan, array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def read_only(array: Array) -> Array:
    result = array.copy()
    result.flags.writeable = False
    return result


LAYOUTS: dict[str, Callable[[Array], Any]] = {
    "contiguous": np.array,
    "Fortran": np.asfortranarray,
    "every other": every_other,
    "negative strides": lambda array: array[(slice(None, None, -1),) * array.ndim],
    "transposed": lambda array: np.ascontiguousarray(array.T).T,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "read-only": read_only,
    "misaligned": misaligned,
    "broadcast": lambda array: np.broadcast_to(array[:1], array.shape),
    "list": np.ndarray.tolist,
    "matrix": lambda array: np.matrix(array) if array.ndim == 2 else array,
    "float64": lambda array: array.astype(np.float64),
    "integers": lambda array: np.rint(3 * np.nan_to_num(array)).astype(np.int16),
}


def plain(value: Any) -> Array:
    """The same numbers in a contiguous native array of their own."""
    array = np.array(value)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def layouts_of(name: str, value: Any) -> list[str]:
    """The layouts in which an argument keeps its meaning."""
    if not np.ndim(value) or name in ("activation", "recurrent_activation", "output_activation", "lengths"):
        return []
    if np.asarray(value).dtype == bool:
        return [layout for layout in LAYOUTS if layout not in ("float64", "integers")]
    return [layout for layout in LAYOUTS if layout != "integers" or name in ("x", "h0", "c0", *WEIGHTS, "dy", "dc")]


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(call=calls(batch=st.sampled_from([None, 1, 2, BATCH]), hidden=st.integers(1, 9)), data=st.data())
def test_memory_layout_does_not_matter(call: tuple[Any, ...], data: st.DataObject) -> None:
    """Of any argument, option or gradient from outside."""
    cell, arguments, options = call
    outputs = outputs_of(cell, *cell.forward(fastrnn, arguments, **options))
    upstream = upstream_of_outputs(outputs, np.random.default_rng(0))
    given_ = {**arguments, **options, **upstream}
    laid_out = {
        name: LAYOUTS[data.draw(st.sampled_from(layouts), name)](np.asarray(value)) if layouts else value
        for name, value in given_.items()
        for layouts in [layouts_of(name, value)]
    }
    before = {name: plain(value) if layouts_of(name, given_[name]) else value for name, value in laid_out.items()}

    def results(values: dict[str, Any]) -> tuple[dict[str, Array], dict[str, Array]]:
        own, outside, others = ({name: values[name] for name in names} for names in (arguments, upstream, options))
        return run(fastrnn, cell, own, outside, **others)

    for actual, expected in zip(results(laid_out), results(before), strict=True):
        assert_same_bits(actual, expected)
    for name, value in before.items():
        if value is not given_[name]:
            np.testing.assert_array_equal(plain(laid_out[name]), value, f"{name} was written to")


@cells
def test_float32_only_if_every_float_is(cell: Cell, rng: np.random.Generator) -> None:
    single = arguments_of(cell, rng, dtype="float32")
    y, cache = cell.forward(fastrnn, single)
    gradients = cell.backward(fastrnn, np.ones(y.shape), cache)  # the cache's type decides
    everything = [*outputs_of(cell, y, cache).values(), *gradients_of(cell, gradients).values()]
    assert {array.dtype for array in everything} == {np.dtype(np.float32)}
    for name in [name for name, value in single.items() if value is not None]:
        for other in (np.float64, np.float16, np.longdouble):
            mixed = {**single, name: single[name].astype(other)}
            double = in_type(mixed, np.float64)
            y, cache = cell.forward(fastrnn, mixed)
            expected, expected_cache = cell.forward(fastrnn, double)
            assert y.dtype == np.float64
            assert_same_bits(outputs_of(cell, y, cache), outputs_of(cell, expected, expected_cache))
    integers = {n: None if value is None else np.ones_like(value, dtype=int) for n, value in single.items()}
    assert cell.forward(fastrnn, {**single, "x": integers["x"]})[0].dtype == np.float32
    assert cell.forward(fastrnn, integers)[0].dtype == np.float64


@cells
@pytest.mark.parametrize("steps", [False, True], ids=["sequence", "step"])
def test_results_are_fresh_and_the_users_own(cell: Cell, steps: bool, rng: np.random.Generator) -> None:
    arguments = arguments_of(cell, rng)
    if steps:
        names = {"x": "x_t", "h0": "h_prev", "c0": "c_prev"}
        taken = {names.get(name, name): value for name, value in arguments.items()}
        taken["x_t"] = taken["x_t"][:, 0]
        *results, cache = cell.step_forward(fastrnn, taken)
        gradients = cell.step_backward(fastrnn, *results, cache)
    else:
        y, cache = cell.forward(fastrnn, arguments)
        results, gradients = [y], cell.backward(fastrnn, y, cache)
    for array in (*results, *(g for g in gradients if np.ndim(g))):
        assert array.flags.writeable and array.flags.c_contiguous


# ---- caches ----------------------------------------------------------------------------------------------------------


def caches_of_everything(rng: np.random.Generator) -> dict[str, Any]:
    caches = {}
    for cell in CELLS:
        arguments = arguments_of(cell, rng)
        caches[f"{cell.name}_forward"] = cell.forward(fastrnn, arguments)[-1]
        names = {"x": "x_t", "h0": "h_prev", "c0": "c_prev"}
        step = {names.get(name, name): value for name, value in arguments.items()}
        caches[f"{cell.name}_step_forward"] = cell.step_forward(fastrnn, {**step, "x_t": step["x_t"][:, 0]})[-1]
    return caches


@cells
@pytest.mark.parametrize("kind", ["", "step_"], ids=["sequence", "step"])
def test_a_backward_function_refuses_foreign_caches(cell: Cell, kind: str, rng: np.random.Generator) -> None:
    backward = getattr(fastrnn, f"{cell.name}_{kind}backward")
    upstream = [np.ones((BATCH, HIDDEN))] * len(cell.states) if kind else [np.ones((BATCH, STEPS, HIDDEN))]
    own = f"{cell.name}_{kind}forward"
    for name, cache in caches_of_everything(rng).items():
        if name == own:
            backward(*upstream, cache)
            continue
        with pytest.raises(ValueError, match=f"^cache: expected one of {own}, got one of {name}$"):
            backward(*upstream, cache)
    reference_cache = cell.forward(fastrnn.reference, arguments_of(cell, rng))[1]
    for wrong in (None, object(), upstream[0], reference_cache):
        with pytest.raises(TypeError, match=f"^cache: expected the cache that {own} returned, got "):
            backward(*upstream, wrong)


def test_a_cache_is_neither_made_nor_copied_nor_written_to(rng: np.random.Generator) -> None:
    _, cache = CELLS[0].forward(fastrnn, arguments_of(CELLS[0], rng))
    with pytest.raises(TypeError, match="made by a forward function"):
        type(cache)()
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            make(cache)
    with pytest.raises(AttributeError):
        cache.h_n = None


@cells
def test_all_cell_states(cell: Cell, rng: np.random.Generator) -> None:
    arguments = arguments_of(cell, rng)
    _, cache = cell.forward(fastrnn, arguments, lengths=[3, STEPS, 0, 1])
    if "c" not in cell.states:
        assert cache.c is None and cache.c_n is None
        return
    assert cache.c is cache.c
    for row, length in enumerate([3, STEPS, 0, 1]):
        last = arguments["c0"][row] if length == 0 else cache.c[row, length - 1]
        np.testing.assert_array_equal(cache.c_n[row], last)
        assert not cache.c[row, length:].any()


# ---- options ---------------------------------------------------------------------------------------------------------


@cells
def test_unknown_keywords_raise(cell: Cell, rng: np.random.Generator) -> None:
    arguments = arguments_of(cell, rng)
    with pytest.raises(TypeError, match=rf"{cell.name}_forward\(\) got an unexpected keyword argument 'length'"):
        cell.forward(fastrnn, arguments, length=[1])
    step = {"x_t": arguments["x"][:, 0], **dict.fromkeys(range(len(cell.states)))}
    step |= {name: arguments[name] for name in WEIGHTS}
    for option in ("lengths", "reverse", "reset_mask", "nonsense"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
            cell.step_forward(fastrnn, step, **{option: None})
    y, cache = cell.forward(fastrnn, arguments)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        cell.backward(fastrnn, y, cache, dhn=None)


@cells
@pytest.mark.parametrize("threads", [None, 1, 2, np.int64(64)])
def test_number_of_threads_changes_no_bit(cell: Cell, threads: Any, rng: np.random.Generator) -> None:
    arguments = arguments_of(cell, rng)
    y, _ = cell.forward(fastrnn, arguments, num_threads=threads)
    np.testing.assert_array_equal(y, cell.forward(fastrnn, arguments)[0])
