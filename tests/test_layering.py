"""Who may import whom: cli -> forecasting -> training -> layers -> functional -> _engine -> _kernels, never back."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastrnn

PACKAGE = Path(fastrnn.__file__).parent
SOURCES = sorted(path.relative_to(PACKAGE) for pattern in ("*.py", "*.pyx") for path in PACKAGE.rglob(pattern))

# Each unit with the units that it may import; a unit is a module or a package directly under fastrnn.
ANYONE = {"_version", "_check", "_changes"}
STAGES = {
    "_session", "_writer", "_choosing", "_attention_stage", "_layer_stages", "_recurrent_stage", "_stage",
}  # fmt: skip
ENGINE = STAGES | {
    "_engine", "_forward", "_backward", "_checkpoints", "_step", "_weights", "_convolution", "_normalization",
    "_packing", "_share", "_cache", "_kernels", "_schedule", "_memory", "_changes", "_updates",
}  # fmt: skip
TRAINING = {"functional", "layers", "training", "storage", "interop", "streaming", "_engine", "_config", "_threads"}
MAY_IMPORT = {
    "_version": set(),
    "_check": set(),
    "_memory": set(),
    "_kernels": set(),
    "_schedule": {"_kernels", "_memory"},
    "_cache": {"_kernels", "_schedule", "_memory"},
    "_packing": {"_kernels", "_memory"},
    "_share": {"_cache", "_schedule"},
    "_step": {"_cache", "_kernels"},
    "_weights": {"_step", "_packing", "_cache", "_kernels", "_schedule", "_memory"},
    "_checkpoints": {"_cache", "_memory", "_schedule"},
    "_forward": {"_checkpoints", "_step", "_weights", "_share", "_cache", "_kernels", "_schedule", "_memory"},
    "_backward": {
        "_forward",
        "_checkpoints",
        "_step",
        "_weights",
        "_share",
        "_cache",
        "_kernels",
        "_schedule",
        "_memory",
    },
    "_engine": {"_forward", "_backward", "_kernels", "_schedule"},
    "_convolution": {"_share", "_cache", "_kernels", "_schedule", "_memory"},
    "_normalization": {"_cache", "_kernels", "_schedule", "_memory"},
    "_changes": set(),
    "_updates": {"_kernels", "_schedule"},
    "_stage": {"_kernels", "_memory"},
    "_recurrent_stage": {"_stage", "_step", "_weights", "_cache", "_kernels", "_schedule", "_memory"},
    "_layer_stages": {
        "_stage",
        "_convolution",
        "_normalization",
        "_packing",
        "_cache",
        "_kernels",
        "_schedule",
        "_memory",
    },
    "_attention_stage": {"_stage", "_convolution", "_kernels", "_schedule", "_memory"},
    "_choosing": {"_schedule"},
    "_session": {"_stage", "_layer_stages", "_writer", "_choosing", "_schedule"},
    "_writer": {"_stage", "_layer_stages", "_choosing", "_schedule", "_memory"},
    "_threads": set(),
    "_config": {"_engine", "_threads"},
    "functional": {"_engine", "_convolution", "_normalization", "_cache", "_threads"},
    "layers": {"functional", "_engine"},
    "gradients": {"functional", "layers"},
    "training": TRAINING | {"_writer", "_updates"},
    "storage": TRAINING,
    "interop": TRAINING,
    "streaming": TRAINING | STAGES,
    "datasets": set(),
    "reference": set(),
    "forecasting": TRAINING | {"datasets"},
    "benchmark": TRAINING | {"reference", "datasets", "forecasting", "_kernels", "_session", "_recurrent_stage"},
    "cli": TRAINING | {"datasets", "forecasting", "benchmark", "reference", "_threads"},
    "__main__": {"cli"},
    # What the user sees: everything lazily, at import no more than the functions.
    "__init__": {"_config", "_packing", "_threads", "functional"},
}
RUN_TIME_DEPENDENCIES = {"numpy", "safetensors", "tqdm"}
EXTRAS = {  # what needs more than the run-time dependencies, and may say so
    "forecasting": {"pandas", "matplotlib", "rich", "sklearn", "statsmodels"},
    "training": {"IPython", "matplotlib"},
    "cli": {"rich"},
    "datasets": {"pandas"},
    "interop": {"torch", "keras", "onnx", "onnxruntime", "tensorflow"},
    "benchmark": {"torch", "onnx", "onnxruntime", "jax", "openvino", "keras", "threadpoolctl", "rich"},
}

sources = pytest.mark.parametrize("source", SOURCES, ids=str)


def unit_of(source: Path) -> str:
    """The module or package directly under fastrnn that a source file belongs to."""
    return source.parts[0] if len(source.parts) > 1 else source.stem


def imported_by_python(source: Path, text: str) -> Iterator[tuple[str, bool]]:
    """Absolute names of what a Python file imports, wherever it does; and whether that is at module level."""
    package = ("fastrnn", *source.parent.parts)
    lazy = set()
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if body or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            lazy.update(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node not in lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*start, *([node.module] if node.module else [])])
            # `from . import x` and `from fastrnn import x` import the module x
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "fastrnn" else [module]
            yield from ((name, node not in lazy) for name in names)


def imported_by_cython(text: str) -> Iterator[tuple[str, bool]]:
    """The same of a Cython file, whose imports all count as module level; C headers are no modules."""
    for dots, module, names in re.findall(r"^\s*from\s+(\.*)([\w.]*)\s+c?import\s+(.+)$", text, re.MULTILINE):
        prefix = "fastrnn." if dots else ""
        if module:
            yield prefix + module, True
        else:
            yield from ((prefix + name.strip(), True) for name in names.split(","))
    for module in re.findall(r"^\s*c?import\s+([\w.]+)", text, re.MULTILINE):
        yield module, True


def imports_of(source: Path) -> list[tuple[str, bool]]:
    text = (PACKAGE / source).read_text(encoding="utf-8")
    return list(imported_by_cython(text) if source.suffix == ".pyx" else imported_by_python(source, text))


def own_imports(source: Path) -> set[str]:
    """The units of fastrnn that a file imports, beside its own."""
    names = [name.split(".") for name, _ in imports_of(source)]
    units = {parts[1] if len(parts) > 1 else "__init__" for parts in names if parts[0] == "fastrnn"}
    return units - {unit_of(source)}


@sources
def test_every_unit_has_its_place(source: Path) -> None:
    assert unit_of(source) in MAY_IMPORT, f"say in MAY_IMPORT what {unit_of(source)} may import"


@sources
def test_nothing_imports_upwards(source: Path) -> None:
    unit = unit_of(source)
    if unit == "__init__":
        tops = [name.split(".")[1] for name, at_once in imports_of(source) if at_once and name.startswith("fastrnn.")]
        assert set(tops) <= MAY_IMPORT[unit] | ANYONE
    else:
        forbidden = own_imports(source) - MAY_IMPORT[unit] - ANYONE
        assert not forbidden, f"{source} imports {', '.join(sorted(forbidden))}"


def test_the_rule_itself_has_no_way_back() -> None:
    """Along the chain of the design nobody may reach what stands above, by however many steps."""
    chain = ["cli", "forecasting", "training", "layers", "functional", "_engine", "_kernels"]
    for i, unit in enumerate(chain):
        reached, ahead = set(), {unit}
        while ahead:
            reached |= ahead
            ahead = set().union(*(MAY_IMPORT[name] for name in ahead)) - reached
        assert not reached & set(chain[:i])
    users_of_reference = {unit for unit, allowed in MAY_IMPORT.items() if "reference" in allowed}
    assert users_of_reference == {"benchmark", "cli"}


@sources
def test_others_code_comes_in_where_it_may(source: Path) -> None:
    unit = unit_of(source)
    allowed = {"numpy"} if unit == "reference" else RUN_TIME_DEPENDENCIES | EXTRAS.get(unit, set())
    for name, at_once in imports_of(source):
        top = name.split(".")[0]
        if top in ("fastrnn", "", "cython", "cpython", "libc") or top in sys.stdlib_module_names:
            continue
        assert top in allowed, f"{source} imports {name}"
        if at_once:
            assert top == "numpy", f"{source} imports {name} before it is needed"


def test_imports_are_found(tmp_path: Path) -> None:
    """The yardstick: every form of an import counts, in functions too."""
    text = """
import fastrnn.cli
from fastrnn import layers
from fastrnn.training import Sequential
from . import x
from .y import z
from .. import functional, _check
from ..storage import load
def f():
    from fastrnn.datasets import bikes
    import scipy.linalg
"""
    found = dict(imported_by_python(Path("forecasting/windows.py"), text))
    assert found == {
        "fastrnn.cli": True,
        "fastrnn.layers": True,
        "fastrnn.training": True,
        "fastrnn.forecasting": True,
        "fastrnn.forecasting.y": True,
        "fastrnn.functional": True,
        "fastrnn._check": True,
        "fastrnn.storage": True,
        "fastrnn.datasets": False,
        "scipy.linalg": False,
    }
    text = "from ._kernels cimport *\ncimport numpy as cnp\n    from . import _memory\nimport os\nfrom x.y cimport z\n"
    assert dict(imported_by_cython(text)) == dict.fromkeys(
        ["fastrnn._kernels", "fastrnn._memory", "x.y", "numpy", "os"], True
    )


def test_import_is_light() -> None:
    """`import fastrnn` brings NumPy and nothing heavy; the functions run a forward pass with no more than that."""
    program = """
import sys
import fastrnn
import numpy as np
fastrnn.lstm_forward(np.ones((3, 2)), None, None, np.ones((2, 16)), np.ones((4, 16)), None)
heavy = "scipy pandas matplotlib rich tqdm safetensors sklearn torch onnxruntime jax IPython".split()
print(*(name for name in heavy if name in sys.modules))
print(*(name for name in sys.modules if name.startswith("fastrnn.")))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy, own = result.stdout.split("\n")[:2]
    assert not heavy
    units = {name.split(".")[1] for name in own.split()}
    assert units <= {"_check", "_version", "_config", "_threads", "functional"} | ENGINE


def test_what_is_lazy_is_there() -> None:
    program = """
import fastrnn
modules = "datasets forecasting functional interop layers reference storage training".split()
for name in ["LSTM", "Dense", "Sequential", "Adam", "load", *modules]:
    getattr(fastrnn, name)
    assert name in dir(fastrnn) or name not in modules, name
try:
    fastrnn.nonsense
except AttributeError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "module 'fastrnn' has no attribute 'nonsense'\n"
