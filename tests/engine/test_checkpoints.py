"""Backward passes from checkpoints: the same bits from far less memory, whatever the options, and clear errors."""

from __future__ import annotations

import gc
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import _memory

from ..helpers import CELLS, Cell
from .cases import Array, cells, gradients_of, in_turn, outputs_of, run, upstream_of
from .mixes import MIXES, mix_of
from .test_same_bits import assert_same_bits

BATCH, INPUTS, HIDDEN = 12, 3, 26
NEEDED = re.compile(r"^memory: expected at least (\d+) bytes for this sequence, got 1$")


def steps_of(cell: Cell, dtype: str, chunks: int, batch: int = BATCH) -> int:
    """Steps of a sequence that the backward pass cuts into at least that many chunks (its `backward_rows`)."""
    row = cell.gates * HIDDEN * np.dtype(dtype).itemsize
    return -(-chunks * max((512 << 10) // row, 256) // batch)


def bytes_needed(cell: Cell, arguments: dict[str, Any], options: dict[str, Any]) -> int:
    """The smallest budget that is taken; that a smaller one is refused shows that not everything is kept."""
    with pytest.raises(ValueError) as caught:
        cell.forward(fastrnn, arguments, memory=1, **options)
    found = NEEDED.match(str(caught.value))
    assert found, caught.value
    return int(found[1])


def bytes_of_cache(cell: Cell, arguments: dict[str, Any], options: dict[str, Any]) -> int:
    """What goes back to the pool with a cache."""
    fastrnn.release_workspaces()
    y, cache = cell.forward(fastrnn, arguments, **options)
    gc.collect()
    before = _memory.held()
    del y, cache
    gc.collect()
    return _memory.held() - before


def call_of(
    cell: Cell, name: str, dtype: str, rng: np.random.Generator, chunks: int = 4, lengths: bool = True
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Array]]:
    """Arguments, options and gradients from outside for a long sequence, ragged unless told otherwise."""
    steps = steps_of(cell, dtype, 2 * chunks if lengths else chunks)
    arguments, options = mix_of(cell, name, rng, BATCH, steps, INPUTS, HIDDEN, dtype)
    if lengths:
        options["lengths"] = rng.integers(0, steps + 1, BATCH)
        options["lengths"][:3] = 0, steps, 1
    return arguments, options, upstream_of(outputs_of(cell, *cell.forward(fastrnn, arguments, **options)), rng)


@in_turn("name", ("plain", *MIXES), each=2)
def test_the_same_bits(cell: Cell, dtype: str, name: str, instruction_set: str, rng: np.random.Generator) -> None:
    """Outputs, states, every c_t and all gradients, on any number of threads."""
    arguments, options, upstream = call_of(cell, name, dtype, rng)
    assert bytes_needed(cell, arguments, options) > 1
    expected = run(fastrnn, cell, arguments, upstream, num_threads=1, **options)
    for threads in (1, 2, 3):
        actual = run(fastrnn, cell, arguments, upstream, memory="sqrt", num_threads=threads, **options)
        for one, other in zip(actual, expected, strict=True):
            assert_same_bits(one, other)


@cells
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
def test_without_states_bias_rows_or_gradients(cell: Cell, reverse: bool, rng: np.random.Generator) -> None:
    """One instance, no initial state, no bias, gradients by the final states alone or by y alone."""
    steps = steps_of(cell, "float64", 4, batch=1)
    arguments = cell.arguments(rng, None, steps, INPUTS, HIDDEN)
    arguments |= {"b": None, **{f"{state}0": None for state in cell.states}}
    options: dict[str, Any] = {"reverse": reverse, "reset_mask": rng.random(steps) < 0.01}
    assert bytes_needed(cell, arguments, options) > 1
    upstream = upstream_of(outputs_of(cell, *cell.forward(fastrnn, arguments, **options)), rng)
    final = {name: value for name, value in upstream.items() if name.endswith("_n")}
    for given in (upstream, {"dy": upstream["dy"]}, {"dy": None, **final}):
        expected = run(fastrnn, cell, arguments, given, **options)
        actual = run(fastrnn, cell, arguments, given, memory="sqrt", **options)
        for one, other in zip(actual, expected, strict=True):
            assert_same_bits(one, other)


@cells
def test_a_cache_serves_many_backward_passes(cell: Cell, rng: np.random.Generator) -> None:
    """One after the other, at once from several threads, and after other calls."""
    arguments, options, upstream = call_of(cell, "rows", "float32", rng)
    _, expected = run(fastrnn, cell, arguments, upstream, **options)
    _, cache = cell.forward(fastrnn, arguments, memory="sqrt", **options)
    run(fastrnn, cell, {**arguments, "x": -arguments["x"]}, upstream, memory="sqrt", **options)
    dy, others = upstream["dy"], {name: value for name, value in upstream.items() if name != "dy"}

    def backward(_: int) -> dict[str, Array]:
        return gradients_of(cell, cell.backward(fastrnn, dy, cache, **others))

    assert_same_bits(backward(0), expected)
    with ThreadPoolExecutor(3) as threads:
        for actual in threads.map(backward, range(6)):
            assert_same_bits(actual, expected)


# ---- memory ----------------------------------------------------------------------------------------------------------


@cells
@pytest.mark.parametrize("name", ["plain", *MIXES])
def test_a_fraction_of_the_memory(cell: Cell, name: str, rng: np.random.Generator) -> None:
    """Of sixteen chunks, the cache keeps states, and backward one part at a time."""
    arguments, options, _ = call_of(cell, name, "float32", rng, chunks=16, lengths=False)
    everything = bytes_of_cache(cell, arguments, options)
    few = bytes_of_cache(cell, arguments, {**options, "memory": "sqrt"})
    needed = bytes_needed(cell, arguments, options)
    assert few < needed < everything / 4
    assert few < everything / 20


@cells
def test_budgets(cell: Cell, rng: np.random.Generator) -> None:
    """The least that is enough, all that is needed, and one byte less than either."""
    arguments, options, upstream = call_of(cell, "rows", "float64", rng, lengths=False)
    needed, everything = bytes_needed(cell, arguments, options), bytes_of_cache(cell, arguments, options)
    with pytest.raises(ValueError, match=f"^memory: expected at least {needed} bytes .*, got {needed - 1}$"):
        cell.forward(fastrnn, arguments, memory=needed - 1, **options)
    for budget in (needed, np.int64(needed), everything // 2):
        assert bytes_of_cache(cell, arguments, {**options, "memory": budget}) < needed
    for budget in (2 * everything, 1 << 60):
        assert bytes_of_cache(cell, arguments, {**options, "memory": budget}) == everything
    expected = run(fastrnn, cell, arguments, upstream, **options)
    for budget in (needed, 1 << 60):
        actual = run(fastrnn, cell, arguments, upstream, memory=budget, **options)
        for one, other in zip(actual, expected, strict=True):
            assert_same_bits(one, other)


@cells
@pytest.mark.parametrize(
    ("memory", "error", "message"),
    [
        (0, ValueError, "expected an integer >= 1, got 0"),
        (-1, ValueError, "expected an integer >= 1, got -1"),
        (1e6, TypeError, "expected an integer, got 1000000.0 of type float"),
        (True, TypeError, "expected an integer, got True"),
        (False, TypeError, "expected an integer, got False"),
        ("all", ValueError, "expected 'sqrt', a number of bytes or None, got 'all'"),
        ([1], TypeError, r"expected an integer, got \[1\] of type list"),
    ],
    ids=["zero", "negative", "a float", "True", "False", "a word", "a list"],
)
def test_bad_budgets(cell: Cell, memory: Any, error: type[Exception], message: str, rng: np.random.Generator) -> None:
    with pytest.raises(error, match=f"^memory: {message}$"):
        cell.forward(fastrnn, cell.arguments(rng, 2, 3, 4, 5), memory=memory)


@cells
def test_where_there_is_nothing_to_save(cell: Cell, rng: np.random.Generator) -> None:
    """A sequence of one chunk, an empty batch, rows without a step, and an inference."""
    short = cell.arguments(rng, 2, 3, INPUTS, HIDDEN)
    y, cache = cell.forward(fastrnn, short)
    again, few = cell.forward(fastrnn, short, memory="sqrt")
    assert_same_bits({"y": again}, {"y": y})
    assert_same_bits(
        gradients_of(cell, cell.backward(fastrnn, y, few)), gradients_of(cell, cell.backward(fastrnn, y, cache))
    )
    empty = cell.arguments(rng, 0, 3, INPUTS, HIDDEN)
    y, cache = cell.forward(fastrnn, empty, memory="sqrt")
    assert not cell.backward(fastrnn, y, cache).dw_x.any()
    y, cache = cell.forward(fastrnn, short, memory="sqrt", lengths=[0, 0])
    assert not cell.backward(fastrnn, y, cache).dw_x.any()

    arguments, options, _ = call_of(cell, "held", "float64", rng)
    expected, _ = cell.forward(fastrnn, arguments, **options)
    y, cache = cell.forward(fastrnn, arguments, memory="sqrt", keep_cache=False, **options)
    assert_same_bits({"y": y}, {"y": expected})
    with pytest.raises(ValueError, match=r"^cache: .* inference"):
        cell.backward(fastrnn, y, cache)


# ---- interrupts ------------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    """What the signal's handler raises."""


@pytest.fixture
def interrupt() -> Iterator[Any]:
    """Call it to be interrupted soon."""

    def handler(number: int, frame: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, handler)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.02)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_leaves_everything_usable(threads: int, interrupt: Any, rng: np.random.Generator) -> None:
    """In the middle of either pass; the cache is as it was."""
    cell, options = CELLS[1], {"memory": "sqrt", "num_threads": threads}
    arguments = {name: v.astype(np.float32) for name, v in cell.arguments(rng, 16, 8000, 32, 128).items()}
    y, cache = cell.forward(fastrnn, arguments, **options)
    with pytest.raises(Interrupted):
        interrupt()
        cell.forward(fastrnn, arguments, **options)
    with pytest.raises(Interrupted):
        interrupt()
        cell.backward(fastrnn, y, cache)
    gc.collect()
    few = {name: value[:, :3000] if name == "x" else value for name, value in arguments.items()}
    y, cache = cell.forward(fastrnn, few, **options)
    with pytest.raises(Interrupted):
        interrupt()
        cell.backward(fastrnn, y, cache)
    expected, kept = cell.forward(fastrnn, few)
    assert_same_bits({"y": y}, {"y": expected})
    assert_same_bits(
        gradients_of(cell, cell.backward(fastrnn, y, cache)), gradients_of(cell, cell.backward(fastrnn, y, kept))
    )
