"""How many threads a call may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

from . import _check

__all__ = ["get_num_threads", "set_num_threads"]

MOST = 256  # csrc/team.c


def _cgroup_quota() -> float:
    """CPUs' worth of time that the control group grants this process; infinite without a limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        folder = Path("/sys/fs/cgroup/cpu")
        v1_quota = int((folder / "cpu.cfs_quota_us").read_text())
        return math.inf if v1_quota <= 0 else v1_quota / int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return math.inf


def usable_cpus() -> int:
    """CPUs that this process may use: its affinity, and the quota of its control group rounded up."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, math.ceil(min(_cgroup_quota(), MOST)), MOST))


_number = usable_cpus()


def set_num_threads(number: int | None) -> None:
    """Set how many threads a call uses at most, unless its ``num_threads`` says otherwise.

    Parameters
    ----------
    number : int or None
        At least 1; None is the default, the CPUs that this process may use (by affinity and control group).

    Notes
    -----
    A call uses no more threads than its work pays for, and the result has the same bits for any number of them.

    Examples
    --------
    >>> import fastrnn
    >>> fastrnn.set_num_threads(1)
    >>> fastrnn.get_num_threads()
    1
    >>> fastrnn.set_num_threads(None)
    """
    global _number
    _number = usable_cpus() if number is None else _check.integer("number", number, 1, MOST)


def get_num_threads() -> int:
    """How many threads a call uses at most.

    Returns
    -------
    int
        What `set_num_threads` was told, or its default.

    Examples
    --------
    >>> import fastrnn
    >>> fastrnn.get_num_threads() >= 1
    True
    """
    return _number


def threads_for(num_threads: int | None) -> int:
    """The number for a call, from its ``num_threads``."""
    return _number if num_threads is None else _check.integer("num_threads", num_threads, 1, MOST)
