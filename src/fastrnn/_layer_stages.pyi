from collections.abc import Sequence
from typing import Any

import numpy as np

from ._stage import Stage

Activation = tuple[int, float, float]

class DenseStage(Stage):
    def __init__(self, batch: int, w: np.ndarray, b: np.ndarray | None, activation: Activation) -> None: ...

class ConvolutionStage(Stage):
    def __init__(
        self, batch: int, w: np.ndarray, b: np.ndarray | None, dilation: int, groups: int, activation: Activation
    ) -> None: ...

class ActivationStage(Stage):
    def __init__(self, batch: int, columns: int, dtype: Any, activation: Activation) -> None: ...

class ScaleStage(Stage):
    def __init__(
        self, batch: int, shift: np.ndarray, rate: np.ndarray, gamma: np.ndarray | None, beta: np.ndarray | None
    ) -> None: ...

class NormStage(Stage):
    def __init__(
        self,
        batch: int,
        columns: int,
        dtype: Any,
        gain: np.ndarray | None,
        add: np.ndarray | None,
        epsilon: float,
    ) -> None: ...

class EmbeddingStage(Stage):
    def __init__(self, batch: int, table: np.ndarray) -> None: ...

class MergeStage(Stage):
    def __init__(self, branches: Sequence[Stage], mode: str) -> None: ...

class WaveNetStage(Stage):
    def __init__(
        self,
        first: Stage,
        blocks: Sequence[tuple[Stage, Stage, Stage | None]],
        head: tuple[Stage, Stage] | None,
    ) -> None: ...

class PythonStage(Stage):
    def __init__(self, step: Any, batch: int, inputs: int, outputs: int, dtype: Any) -> None: ...
    def take_error(self) -> BaseException | None: ...
