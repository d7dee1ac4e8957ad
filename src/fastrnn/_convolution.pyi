from typing import Any

import numpy as np

class Cache:
    @property
    def x(self) -> np.ndarray: ...
    @property
    def w(self) -> np.ndarray: ...
    @property
    def y_shape(self) -> tuple[int, int, int]: ...
    @property
    def single_instance(self) -> bool: ...
    @property
    def num_threads(self) -> int: ...

def forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    outputs: int,
    stride: int = 1,
    dilation: int = 1,
    left: int = 0,
    groups: int = 1,
    activation: tuple[int, float, float] = (0, 0, 0),
    single_instance: bool = False,
    num_threads: int = 1,
) -> tuple[np.ndarray, Cache]: ...
def backward(cache: Cache, dy: np.ndarray, num_threads: int = 1, needs_dx: bool = True) -> tuple[Any, Any, Any]: ...
