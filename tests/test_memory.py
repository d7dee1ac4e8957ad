"""The pool of workspaces: used again, bounded, given back, and safe between threads."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import _memory

from .engine.cases import assert_same_bits, run
from .helpers import CELLS, Cell

MEGABYTE = 1 << 20
LIMIT = 256 * MEGABYTE

cells = pytest.mark.parametrize("cell", CELLS, ids=str)


@pytest.fixture(autouse=True)
def empty_pool() -> Iterator[None]:
    gc.collect()
    _memory.release()
    yield
    _memory.poison(False)


def call(cell: Cell, seed: int, batch: int = 8, steps: int = 20, hidden: int = 24) -> tuple[dict, dict]:
    """Outputs and gradients of some numbers that the seed decides."""
    rng = np.random.default_rng(seed)
    arguments = cell.arguments(rng, batch, steps, 3, hidden)
    return run(fastrnn, cell, arguments, {"dy": rng.normal(size=(batch, steps, hidden))})


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@cells
def test_memory_is_used_again(cell: Cell) -> None:
    assert _memory.held() == 0
    call(cell, 0)
    gc.collect()
    held = _memory.held()
    assert held > 0
    for seed in range(200):
        call(cell, seed)
    gc.collect()
    assert _memory.held() == held


@cells
def test_a_cache_holds_its_memory_until_it_goes(cell: Cell) -> None:
    rng = np.random.default_rng(0)
    arguments = cell.arguments(rng, 8, 20, 3, 24)
    _, cache = cell.forward(fastrnn, arguments)
    before = _memory.held()
    del cache, _
    gc.collect()
    rows = 8 * 20
    assert _memory.held() - before >= rows * (3 + 24 + cell.gates * 24) * 8  # x, h and the gates of every row


@cells
def test_release_gives_everything_back(cell: Cell) -> None:
    expected = call(cell, 1)
    gc.collect()
    held = _memory.held()
    assert _memory.release() == held
    assert _memory.held() == 0
    assert _memory.release() == 0
    for actual, value in zip(call(cell, 1), expected, strict=True):
        assert_same_bits(actual, value)


def test_the_pool_is_bounded_in_bytes() -> None:
    cell = CELLS[0]
    weights = {"w_x": np.ones((1, 64)) / 64, "w_h": np.ones((64, 64)) / 64, "b": None}
    caches = []
    for _ in range(6):  # each of about 60 MB
        caches.append(cell.forward(fastrnn, {"x": np.zeros((60, 1000, 1)), "h0": None, **weights})[1])
    assert _memory.held() < LIMIT
    del caches
    gc.collect()
    assert LIMIT // 2 < _memory.held() <= LIMIT


def test_the_pool_is_bounded_in_pieces() -> None:
    cell = CELLS[0]
    rng = np.random.default_rng(0)
    caches = [cell.forward(fastrnn, cell.arguments(rng, 1, steps, 2, 8))[1] for steps in range(1, 300)]
    whole = sum(steps * (2 + 8 + 8) * 8 for steps in range(1, 300))
    del caches
    gc.collect()
    assert 0 < _memory.held() < whole


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@cells
def test_nothing_is_lost(cell: Cell) -> None:
    """200 calls of different sizes: what a lost workspace or cache of each would add is far above the bound."""
    for seed in range(20):
        call(cell, seed, steps=20 + seed)
    gc.collect()
    before = resident()
    for seed in range(200):
        call(cell, seed, batch=16, steps=20 + seed % 50, hidden=64)
    gc.collect()
    growth = resident() - before - _memory.held()
    lost = 200 * 16 * 45 * (64 * (cell.gates + 2)) * 8
    assert growth < 32 * MEGABYTE < lost / 2


@cells
def test_errors_leave_nothing_behind(cell: Cell) -> None:
    call(cell, 0)
    gc.collect()
    held = _memory.held()
    arguments = cell.arguments(np.random.default_rng(0), 8, 20, 3, 24)
    for _ in range(50):
        y, cache = cell.forward(fastrnn, arguments)
        with pytest.raises(ValueError):
            cell.backward(fastrnn, y[1:], cache)
        with pytest.raises(ValueError):
            cell.forward(fastrnn, arguments, lengths=[21] * 8)
        del cache
    gc.collect()
    assert _memory.held() == held


@pytest.mark.parametrize("poisoned", [False, True], ids=["plain", "poisoned"])
def test_threads_at_once(poisoned: bool) -> None:
    """Eight Python threads, each with its own sizes and numbers, get what one alone gets."""
    _memory.poison(poisoned)
    jobs = [(cell, seed, 1 + seed % 5, 10 + seed % 7, 8 + seed % 19) for seed in range(80) for cell in CELLS]
    expected = [call(*job) for job in jobs]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as threads:
            results = list(threads.map(lambda job: call(*job), jobs))
    finally:
        sys.setswitchinterval(interval)
    for actual, wanted in zip(results, expected, strict=True):
        for one, other in zip(actual, wanted, strict=True):
            assert_same_bits(one, other)


@cells
def test_threads_share_a_cache(cell: Cell) -> None:
    """Backward passes only read their cache."""
    rng = np.random.default_rng(0)
    arguments = cell.arguments(rng, 8, 50, 3, 40)
    y, cache = cell.forward(fastrnn, arguments)
    upstream = [rng.normal(size=y.shape) for _ in range(16)]

    def gradients(dy: np.ndarray) -> dict[str, Any]:
        result = cell.backward(fastrnn, dy, cache)
        return {name: value for name, value in result._asdict().items() if value is not None}

    expected = list(map(gradients, upstream))
    with ThreadPoolExecutor(8) as threads:
        for actual, wanted in zip(threads.map(gradients, upstream), expected, strict=True):
            assert_same_bits(actual, wanted)
