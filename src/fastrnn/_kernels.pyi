from typing import TypedDict

import numpy as np

class CellSpec(TypedDict):
    index: int
    gates: int
    slots: int
    cell_state: bool
    additive: bool
    gated: bool

CELLS: dict[str, CellSpec]
ACTIVATIONS: dict[str, int]

def instruction_sets() -> list[str]: ...
def use_instruction_set(name: str | None = None) -> None: ...
def instruction_set() -> str: ...
def multiply_add_probe(dtype: str, rounds: int) -> int: ...
def read_probe(values: np.ndarray) -> None: ...
def add_gram(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None: ...
