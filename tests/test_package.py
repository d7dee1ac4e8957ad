"""The package as installed: what it says about itself, the choice of the instruction set, its size."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastrnn
from fastrnn import _engine

PACKAGE = Path(fastrnn.__file__).parent
MEGABYTE = 1 << 20


def run_with(instruction_set: str | None, program: str) -> subprocess.CompletedProcess[str]:
    """A program in a fresh Python in which FASTRNN_ISA is set, or not for None."""
    environment = {name: value for name, value in os.environ.items() if name != "FASTRNN_ISA"}
    if instruction_set is not None:
        environment["FASTRNN_ISA"] = instruction_set
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)


def test_show_config(capsys: pytest.CaptureFixture[str]) -> None:
    facts = fastrnn.show_config("dict")
    assert facts is not None
    assert facts["fastrnn"] == fastrnn.__version__
    assert facts["instruction set"] == _engine.instruction_set()
    assert facts["instruction sets available"].split(", ") == _engine.instruction_sets()
    assert facts["cells"].split(", ") == list(dict.fromkeys(spec["function"] for spec in _engine.CELLS.values()))
    assert facts["BLAS"]
    assert facts["NumPy"] == np.__version__
    assert facts["threads"] >= 1 and facts["CPUs usable"] >= 1
    assert fastrnn.show_config() is None
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(facts)
    for line, (name, value) in zip(lines, facts.items(), strict=True):
        assert re.fullmatch(rf"{re.escape(name)} +{re.escape(str(value))}", line)


@pytest.mark.parametrize(("mode", "error"), [("json", ValueError), (None, TypeError)])
def test_show_config_refuses_other_modes(mode: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^mode: expected one of 'stdout', 'dict'"):
        fastrnn.show_config(mode)


RUN_AN_LSTM = """
import fastrnn, numpy as np
rng = np.random.default_rng(0)
x, w_x, w_h, b = rng.normal(size=(3, 9, 5)), rng.normal(size=(5, 28)), rng.normal(size=(7, 28)) / 3, rng.normal(size=28)
y, cache = fastrnn.lstm_forward(x, None, None, w_x, w_h, b)
gradients = fastrnn.lstm_backward(y, cache)
print(fastrnn.show_config("dict")["instruction set"])
print(*np.concatenate([y.ravel(), gradients.dx.ravel(), gradients.dw_h.ravel()]).tolist())
"""


@pytest.mark.parametrize("name", _engine.instruction_sets())
def test_instruction_set_of_the_environment(name: str) -> None:
    chosen, default = run_with(name, RUN_AN_LSTM), run_with(None, RUN_AN_LSTM)
    assert chosen.returncode == default.returncode == 0, chosen.stderr + default.stderr
    assert chosen.stdout.split("\n")[0] == name
    assert default.stdout.split("\n")[0] == _engine.instruction_sets()[-1]
    results = [np.array(result.stdout.split("\n")[1].split(), float) for result in (chosen, default)]
    np.testing.assert_allclose(*results, rtol=0, atol=1e-12 * np.abs(results[1]).max())


def test_no_name_means_the_fastest() -> None:
    result = run_with("", "import fastrnn; print(fastrnn.show_config('dict')['instruction set'])")
    assert result.stdout.strip() == _engine.instruction_sets()[-1]


@pytest.mark.parametrize("name", ["sse9", "AVX2", "baseline "])
def test_unknown_instruction_set_raises_at_import(name: str) -> None:
    result = run_with(name, "import fastrnn")
    assert result.returncode != 0
    last = result.stderr.strip().split("\n")[-1]
    assert last.startswith("ValueError: FASTRNN_ISA: expected one of 'baseline'") and last.endswith(f"got {name!r}")


def test_use_instruction_set_refuses_unknown_names_and_changes_nothing() -> None:
    before = _engine.instruction_set()
    with pytest.raises(ValueError, match=r"expected one of 'baseline'.* on this machine, got 'sse9'"):
        _engine.use_instruction_set("sse9")
    assert _engine.instruction_set() == before


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", fastrnn.__version__)
    assert importlib.metadata.version("fastrnn") == fastrnn.__version__


def test_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
    compiled = {path.stem for path in PACKAGE.glob("*.pyx")}
    public = {"_engine", "_memory"} & compiled
    assert public and all((PACKAGE / f"{name}.pyi").is_file() for name in public)


def test_stays_small() -> None:
    """What gets installed: everything but sources, which stay in the tree, and what Python caches."""
    installed = [
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyx", ".pxd", ".c")
    ]
    assert any(path.suffix in (".so", ".pyd") for path in installed)
    assert sum(path.stat().st_size for path in installed) < 15 * MEGABYTE


def test_run_time_dependencies() -> None:
    required = [text for text in importlib.metadata.requires("fastrnn") or [] if "extra ==" not in text]
    assert {re.match(r"[\w-]+", text)[0] for text in required} <= {"numpy", "scipy", "safetensors", "tqdm"}
