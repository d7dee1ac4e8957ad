"""Recurrent networks for NumPy at the speed of the machine.

The functions of `fastrnn.functional` (``rnn_forward``, ``lstm_forward``, ``gru_forward``, ... and their backwards) are
the drop-in for a NumPy loop; `fastrnn.layers` and `fastrnn.training` build and train models; `check_gradients` holds
both against finite differences; `fastrnn.forecasting` forecasts time series; `fastrnn.reference` is the same arithmetic
in plain NumPy, to be read.  What the first three have is here, too, as in ``fastrnn.LSTM``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

try:
    from ._config import show_config
except ValueError as error:  # FASTRNN_ISA names an instruction set that there is not
    # the command line says so in one line; as `python -m fastrnn` it has no name yet
    if not (sys.argv[0].endswith(("fastrnn", "fastrnn.exe")) or (sys.argv[0] == "-m" and "fastrnn" in sys.orig_argv)):
        raise
    print(f"fastrnn: {error}", file=sys.stderr)
    raise SystemExit(2) from None
from ._packing import release_workspaces
from ._threads import get_num_threads, set_num_threads
from ._version import __version__
from .functional import *  # noqa: F403
from .functional import __all__ as _functional_names

if TYPE_CHECKING:
    from . import (  # noqa: F401
        datasets,
        forecasting,
        functional,
        interop,
        layers,
        reference,
        storage,
        streaming,
        training,
    )
    from .gradients import check_gradients  # noqa: F401
    from .layers import *  # noqa: F403
    from .storage import load  # noqa: F401
    from .streaming import stream  # noqa: F401
    from .training import *  # noqa: F403

# What the functions do not need is imported when it is first asked for: `import fastrnn` stays as light as NumPy's.
_MODULES = (
    "datasets", "forecasting", "functional", "interop", "layers", "reference", "storage", "streaming", "training",
)  # fmt: skip
_PUBLIC_FROM = ("layers", "training", "storage", "streaming", "gradients")

__all__ = ["__version__", "get_num_threads", "release_workspaces", "set_num_threads", "show_config", *_functional_names]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if not name.startswith("_"):
        for module in map(import_module, (f"{__name__}.{part}" for part in _PUBLIC_FROM)):
            if name in module.__all__:
                value = globals()[name] = getattr(module, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
