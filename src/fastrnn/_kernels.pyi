from typing import TypedDict

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
