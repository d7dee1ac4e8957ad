"""Whole sequences: forward, and forward with all gradients."""

from __future__ import annotations

import pytest

from fastrnn import benchmark as bench

from .conftest import DTYPE, Bench, rows


@rows(bench.make_cases(modes=["forward", "forward+backward"], dtype=DTYPE))
@pytest.mark.benchmark(min_rounds=5, max_time=0.5)
def test_sequence(case: bench.Case, implementation: bench.Implementation, time_checked: Bench) -> None:
    time_checked(case, implementation)
