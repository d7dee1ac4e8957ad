"""Every public name is documented by an example, and every example of every module runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastrnn

MODULES = [
    "fastrnn",
    *(m.name for m in pkgutil.walk_packages(fastrnn.__path__, "fastrnn.") if "__main__" not in m.name),
]
PUBLIC = ["fastrnn", *(f"fastrnn.{name}" for name in fastrnn._MODULES)]


def public_objects(module_names: list[str]) -> list[Any]:
    """Every function and class that an ``__all__`` names, once; a module that cannot be imported stands for itself."""
    found: dict[str, Any] = {}
    for module_name in module_names:
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            found[module_name] = error
            continue
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name, None)
            if inspect.ismodule(value):
                for param in public_objects([value.__name__]):
                    found.setdefault(*param.values)
            elif inspect.isroutine(value) or inspect.isclass(value):
                found.setdefault(f"{value.__module__}.{value.__qualname__}", value)
    return [pytest.param(name, value, id=name) for name, value in found.items()]


def examples_of(value: Any) -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(value, value.__name__, globs={}) if test.examples]


def family_of(value: Any) -> list[Any]:
    """A class with the classes of this package that it derives from or that derive from it: one example serves all."""
    if not inspect.isclass(value):
        return [value]
    return [value, *(base for base in value.__mro__ if base.__module__.startswith("fastrnn")), *value.__subclasses__()]


def is_a_result(value: Any) -> bool:
    """Records, caches and errors come from functions, whose examples are theirs."""
    is_record = inspect.isclass(value) and (issubclass(value, (tuple, Exception)) or is_dataclass(value))
    return is_record or getattr(value, "__name__", "").endswith("Cache")


def run_examples(tests: Iterable[doctest.DocTest]) -> None:
    runner = doctest.DocTestRunner(verbose=False)
    report: list[str] = []
    for test in tests:
        runner.run(test, out=report.append, clear_globs=True)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


@pytest.fixture(autouse=True)
def fixed_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """NumPy's own way of printing, whatever ran before, and a directory for the files that an example writes."""
    monkeypatch.chdir(tmp_path)
    with np.printoptions(edgeitems=3, threshold=1000, precision=8, linewidth=75, suppress=False, legacy=False):
        yield


@pytest.mark.parametrize("module_name", PUBLIC)
def test_module_says_what_it_is_and_what_it_has(module_name: str) -> None:
    module = importlib.import_module(module_name)
    assert isinstance(module, ModuleType) and (module.__doc__ or "").strip()
    names = list(getattr(module, "__all__", ()))
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(module, name), f"{module_name}.__all__ names {name}"


@pytest.mark.parametrize(("name", "value"), public_objects(PUBLIC))
def test_public_name_has_an_example_that_runs_as_it_stands(name: str, value: Any) -> None:
    assert not isinstance(value, Exception), f"{name} cannot be imported: {value!r}"
    doc = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
    assert doc and not doc.startswith(f"{value.__name__}("), f"{name} has no docstring"
    if not is_a_result(value):
        assert any(examples_of(relative) for relative in family_of(value)), f"{name} has no example"
    run_examples(examples_of(value))


@pytest.mark.parametrize("module_name", MODULES)
def test_every_example_of_a_module_runs(module_name: str) -> None:
    run_examples(doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module_name), module_name))


def test_names_and_examples_are_found() -> None:
    """The yardstick: what is certainly public is among what is tested, and a wrong example fails."""
    found = {param.id.rpartition(".")[2] for param in public_objects(PUBLIC)}
    assert {"lstm_forward", "gru_step_backward", "tanh", "show_config", "LSTM", "Sequential", "Adam", "load"} <= found
    assert all(examples_of(function) for function in (fastrnn.lstm_forward, fastrnn.tanh, fastrnn.show_config))
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    with pytest.raises(AssertionError, match=r"Expected:\s+3\s+Got:\s+2"):
        run_examples([wrong])
