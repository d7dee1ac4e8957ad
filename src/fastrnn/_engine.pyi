from typing import Any

import numpy as np

from ._kernels import ACTIVATIONS as ACTIVATIONS
from ._kernels import CELLS as CELLS
from ._kernels import instruction_set as instruction_set
from ._kernels import instruction_sets as instruction_sets
from ._kernels import use_instruction_set as use_instruction_set

class Cache:
    is_step: bool
    @property
    def h_n(self) -> np.ndarray: ...
    @property
    def c_n(self) -> Any: ...
    @property
    def c(self) -> np.ndarray | None: ...
    @property
    def cell_name(self) -> str: ...
    @property
    def dtype(self) -> np.dtype: ...
    @property
    def batch(self) -> int: ...
    @property
    def time(self) -> int: ...
    @property
    def units(self) -> int: ...
    @property
    def single_instance(self) -> bool: ...
    @property
    def has_bias(self) -> bool: ...

def forward(
    cell: int,
    x: np.ndarray,
    h0: np.ndarray | None,
    c0: np.ndarray | None,
    w_x: np.ndarray,
    w_h: np.ndarray,
    b: np.ndarray | None,
    activation: int,
    recurrent: int,
    lengths: np.ndarray | None = None,
    reset_mask: np.ndarray | None = None,
    reverse: bool = False,
    single_instance: bool = False,
    keep: bool = True,
) -> tuple[np.ndarray, Cache]: ...
def backward(
    cache: Cache, dy: np.ndarray | None, dh_n: np.ndarray | None = None, dc_n: np.ndarray | None = None
) -> tuple[Any, Any, Any, Any, Any, Any]: ...
def activate(activation: int, x: np.ndarray, out: np.ndarray) -> None: ...
