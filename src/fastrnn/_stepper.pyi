from typing import Any

import numpy as np

class Stepper:
    def __init__(
        self,
        cell: int,
        batch: int,
        w_x: np.ndarray,
        w_h: np.ndarray,
        b: np.ndarray | None,
        activation: int,
        recurrent: int,
    ) -> None: ...
    def reset(self) -> None: ...
    def step(self, x: Any, out: np.ndarray | None = None) -> np.ndarray: ...
    @property
    def state(self) -> tuple[np.ndarray, ...]: ...
