import numpy as np

from ._layer_stages import DenseStage
from ._stage import Stage

class AttentionStage(Stage):
    def __init__(
        self,
        source: np.ndarray,
        keys: np.ndarray,
        counted: np.ndarray | None,
        beams: int,
        query_size: int,
        scale: float = 1.0,
        asked: DenseStage | None = None,
        v: np.ndarray | None = None,
    ) -> None: ...
