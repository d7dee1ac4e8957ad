"""Packed weights are taken again only while every byte of them is what it was."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import fastrnn
from fastrnn import _engine, _packing

from ..helpers import CELLS, Cell, spec_of
from .cases import cells, random_arguments
from .mixes import mix_of

Array = np.ndarray


def infer(cell: Cell, arguments: dict[str, Array]) -> Array:
    return cell.forward(fastrnn, arguments, keep_cache=False)[0]


def fresh(cell: Cell, arguments: dict[str, Array]) -> Array:
    """The same by a training call, which packs anew."""
    return cell.forward(fastrnn, arguments)[0]


@pytest.fixture
def arguments(rng: np.random.Generator, cell: Cell) -> dict[str, Array]:
    fastrnn.release_workspaces()
    return random_arguments(cell, rng, 4, 5, 6, 19, "float32")


@cells
def test_unchanged_weights_are_found(cell: Cell, arguments: dict[str, Array]) -> None:
    expected = fresh(cell, arguments)
    hits, misses, *_ = _packing.statistics()
    for _ in range(3):
        assert np.array_equal(infer(cell, arguments), expected)
    # w_x, and w_h where it is a matrix; in two parts where the candidate's product waits for the others
    parts = 1 + (cell.recurrent == "matrix") + (spec_of(cell)["second"] > 0)
    assert _packing.statistics()[:2] == (hits + 2 * parts, misses + parts)


def test_parts_of_one_matrix_and_projections_are_told_apart(rng: np.random.Generator) -> None:
    """All that is packed of an LSTM with a projection, again and again, in turns with another call on its arrays."""
    lstm = next(cell for cell in CELLS if cell.name == "lstm")
    arguments, options = mix_of(lstm, "rows", rng, 4, 5, 6, 20, "float32")
    expected = lstm.forward(fastrnn, arguments, **options)[0]
    fastrnn.release_workspaces()
    hits, misses, *_ = _packing.statistics()
    for _ in range(3):
        y, _ = lstm.forward(fastrnn, arguments, keep_cache=False, **options)
        assert np.array_equal(y, expected)
    assert _packing.statistics()[:2] == (hits + 6, misses + 3)
    options["w_proj"][3, 4] += 1
    y, _ = lstm.forward(fastrnn, arguments, keep_cache=False, **options)
    assert np.array_equal(y, lstm.forward(fastrnn, arguments, **options)[0])
    assert not np.array_equal(y, expected)


@pytest.mark.parametrize(
    ("cell", "name"),
    [(cell, name) for cell in CELLS for name in ("w_x", "w_h") if name == "w_x" or cell.recurrent is not None],
    ids=str,
)
@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_change_in_place_is_seen(cell: Cell, arguments: dict[str, Array], name: str, place: int) -> None:
    before = infer(cell, arguments)
    arguments[name].reshape(-1)[place] += 0.5
    after = infer(cell, arguments)
    assert np.array_equal(after, fresh(cell, arguments))
    assert not np.array_equal(after, before)
    arguments[name].reshape(-1)[place] -= 0.5
    assert np.array_equal(infer(cell, arguments), fresh(cell, arguments))


@cells
def test_another_instruction_set_has_panels_of_its_own(cell: Cell, arguments: dict[str, Array]) -> None:
    before = _engine.instruction_set()
    try:
        for name in (*_engine.instruction_sets(), *_engine.instruction_sets()):
            _engine.use_instruction_set(name)
            assert np.array_equal(infer(cell, arguments), fresh(cell, arguments))
    finally:
        _engine.use_instruction_set(before)


@cells
def test_what_is_kept_is_bounded_and_released(cell: Cell, arguments: dict[str, Array]) -> None:
    for scale in range(1, 60):
        changed = {**arguments, "w_x": arguments["w_x"] * scale}
        assert np.array_equal(infer(cell, changed), fresh(cell, changed))
    entries, size = _packing.statistics()[2:]
    assert 0 < entries <= 32
    assert 0 < size <= 64 << 20
    fastrnn.release_workspaces()
    assert _packing.statistics()[2:] == (0, 0)


@cells
def test_from_many_threads_while_weights_change(cell: Cell, arguments: dict[str, Array]) -> None:
    """Each thread has weights of its own and changes them between calls; all share the list."""
    wrong: list[int] = []

    def call(number: int) -> None:
        own = {name: None if value is None else value.copy() for name, value in arguments.items()}
        for _ in range(30):
            own["w_x"] *= 0.99
            if not np.array_equal(infer(cell, own), fresh(cell, own)):
                wrong.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
