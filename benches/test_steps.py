"""Single steps at batch 1, called from Python: what a program pays that owns its loop."""

from __future__ import annotations

import pytest

from fastrnn import benchmark as bench

from .conftest import DTYPE, Bench, rows


@rows(bench.make_cases(modes=["step"], dtype=DTYPE))
@pytest.mark.benchmark(min_rounds=5, max_time=0.3)
def test_step(case: bench.Case, implementation: bench.Implementation, time_checked: Bench) -> None:
    time_checked(case, implementation)
