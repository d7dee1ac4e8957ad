from collections.abc import Sequence
from threading import Event

import numpy as np

from ._layer_stages import PythonStage
from ._stage import Stage

class Writer:
    def __init__(
        self,
        stage: Stage,
        python_stages: Sequence[PythonStage] = (),
        first_class: int = 0,
        future: np.ndarray | None = None,
        cancelled: Event | None = None,
    ) -> None: ...
    def values(self, first: np.ndarray, steps: int) -> np.ndarray: ...
    def logits(self, first: np.ndarray, steps: int) -> np.ndarray: ...
    def tokens(
        self, first: np.ndarray, steps: int, stop: int, temperature: float, kept: int, seed: int, first_row: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
    def search(
        self, first: np.ndarray, steps: int, stop: int, beams: int, length_penalty: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
