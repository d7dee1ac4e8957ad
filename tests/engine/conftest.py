"""Every engine test runs in poisoned workspaces, and may choose the instruction set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastrnn import _engine, _memory


@pytest.fixture(autouse=True)
def poisoned_workspaces() -> Iterator[None]:
    """Workspaces full of NaN: whoever reads what nobody wrote is found out."""
    _memory.poison(True)
    yield
    _memory.poison(False)


@pytest.fixture
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run with the kernels of one instruction set."""
    before = _engine.instruction_set()
    _engine.use_instruction_set(request.param)
    yield request.param
    _engine.use_instruction_set(before)
