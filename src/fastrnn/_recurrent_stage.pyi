from typing import Any

import numpy as np

from ._stage import Stage

class RecurrentStage(Stage):
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
        initial: tuple[np.ndarray, ...] | None = None,
        stored: str | None = None,
    ) -> None: ...
