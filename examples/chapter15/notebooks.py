"""A notebook from each script: `# %%` starts a cell, `# %% [markdown]` one of text.

    python examples/chapter15/notebooks.py

writes them beside the scripts, without outputs, so that they stay small and the same from run to run.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECTIONS = ["baselines", "simple_rnn", "deep_rnns", "several_steps", "unstable_gradients", "short_memory"]
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def cells(script: str) -> list[dict[str, Any]]:
    """The cells of a script, in nbformat's form."""
    found = []
    _, *parts = re.split(r"^# %%(.*)\n", script, flags=re.MULTILINE)
    for i, (kind, text) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        cell: dict[str, Any] = {"id": f"cell-{i}", "metadata": {}}
        if kind.strip() == "[markdown]":
            text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
            cell |= {"cell_type": "markdown"}
        else:
            cell |= {"cell_type": "code", "execution_count": None, "outputs": []}
        found.append({**cell, "source": text.strip("\n").splitlines(keepends=True)})
    return found


def notebook(script: str) -> str:
    """The notebook of a script, as JSON."""
    facts = {"cells": cells(script), "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    for name in SECTIONS:
        script = HERE / f"{name}.py"
        script.with_suffix(".ipynb").write_text(notebook(script.read_text(encoding="utf-8")), encoding="utf-8")
        print(script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
