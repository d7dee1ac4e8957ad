import numpy as np

def choose(
    outputs: np.ndarray, first: int, temperature: float, seed: int, streams: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]: ...
