import numpy as np

def adam(
    param: np.ndarray,
    gradient: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None: ...
def average(mean: np.ndarray, values: np.ndarray, share: np.ndarray) -> None: ...
