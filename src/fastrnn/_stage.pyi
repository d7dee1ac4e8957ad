from typing import Any

import numpy as np

class RecurrentStage:
    def __init__(
        self,
        cell: int,
        batch: int,
        w_x: np.ndarray,
        w_h: np.ndarray | None,
        b: np.ndarray | None,
        activation: tuple[int, float, float],
        recurrent: tuple[int, float, float],
        options: Any = None,
    ) -> None: ...
    def reset(self, rows: Any = None) -> None: ...
    def step(self, x: Any, out: np.ndarray | None = None) -> np.ndarray: ...
    @property
    def state(self) -> tuple[np.ndarray, ...]: ...
    @state.setter
    def state(self, arrays: Any) -> None: ...
