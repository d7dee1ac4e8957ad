from typing import Any

import numpy as np

from ._cache import Cache
from ._kernels import ACTIVATIONS as ACTIVATIONS
from ._kernels import CELLS as CELLS
from ._kernels import instruction_set as instruction_set
from ._kernels import instruction_sets as instruction_sets
from ._kernels import use_instruction_set as use_instruction_set

Activation = tuple[int, float, float]

def fits(
    cell: int, single_rank: int, x: object, h0: object, c0: object, w_x: object, w_h: object, b: object
) -> bool: ...
def forward(
    cell: int,
    x: Any,
    h0: Any,
    c0: Any,
    w_x: Any,
    w_h: Any,
    b: Any,
    activation: Activation,
    recurrent: Activation,
    lengths: Any = None,
    reset_mask: Any = None,
    reverse: bool = False,
    single_instance: bool = False,
    keep: bool = True,
    num_threads: int = 1,
    options: Any = None,
    budget: int | None = None,
    wants_y: bool = True,
) -> tuple[Any, Cache]: ...
def backward(
    cache: Cache,
    dy: np.ndarray | None,
    dh_n: np.ndarray | None = None,
    dc_n: np.ndarray | None = None,
    num_threads: int = 1,
    dc: np.ndarray | None = None,
    needs_dx: bool = True,
    dgates: np.ndarray | None = None,
) -> tuple[Any, Any, Any, Any, Any, Any, dict[str, np.ndarray]]: ...
def activate(activation: Activation, x: np.ndarray, out: np.ndarray) -> None: ...
def activate_back(activation: Activation, kept: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> None: ...
def gather_rows(a: np.ndarray, places: np.ndarray) -> np.ndarray: ...
def scatter_rows(a: np.ndarray, places: np.ndarray, rows: int) -> np.ndarray: ...
