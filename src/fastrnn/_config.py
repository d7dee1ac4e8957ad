"""What this installation of fastrnn runs on."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from . import _check, _engine, _threads
from ._version import __version__


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show which kernels, which BLAS and how many threads fastrnn uses.

    Parameters
    ----------
    mode : {"stdout", "dict"}
        Print the facts, or return them.

    Returns
    -------
    dict or None
        The facts for ``mode="dict"``: version, instruction sets (in use, on this machine), threads, BLAS, platform.

    Notes
    -----
    The instruction set is chosen at import, the fastest that the machine has; the environment variable ``FASTRNN_ISA``
    overrides the choice. `fastrnn.set_num_threads` sets the number of threads.

    Examples
    --------
    >>> import fastrnn
    >>> fastrnn.show_config("dict")["cells"]
    'rnn, lstm, gru, indrnn, mingru, leaky'
    """
    _check.choice("mode", mode, ("stdout", "dict"))
    facts = {
        "fastrnn": __version__,
        "instruction set": _engine.instruction_set(),
        "instruction sets available": ", ".join(_engine.instruction_sets()),
        "threads": _threads.get_num_threads(),
        "BLAS": "none: the recurrent layers use fastrnn's own products (Dense uses NumPy's)",
        "CPUs usable": _threads.usable_cpus(),
        "cells": ", ".join(dict.fromkeys(spec["function"] for spec in _engine.CELLS.values())),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }
    if mode == "dict":
        return facts
    width = max(map(len, facts))
    print("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()))
    return None
