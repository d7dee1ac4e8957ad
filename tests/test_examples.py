"""Every script in examples/ runs as it stands, without a warning."""

from __future__ import annotations

import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fastrnn import reference

from .helpers import assert_close

EXAMPLES = Path(__file__).parent.parent / "examples"
SHORT = {  # arguments that make a script quick
    "char_rnn.py": ["--steps", "60"],
    "dates.py": ["--quick"],
    "forecast_co2.py": ["--seeds", "1", "--epochs", "2"],
    "forecast_intervals.py": ["--epochs", "1"],
    "four_kinds.py": ["--quick"],
    "recurrent_policy.py": ["--quick"],
    "to_c.py": ["--epochs", "1", "--directory", "."],
    "stream_forecast.py": ["--epochs", "1"],
    "long_sequences.py": ["--quick"],
    "short_memory.py": ["--quick"],
    "wavenet.py": ["--quick"],
}

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are part of the sources alone")


def run_example(name: str, *arguments: str, directory: Path) -> str:
    """What the script prints; it must exit with 0."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        cwd=directory,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def char_rnn(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module, with arguments for a short run."""
    spec = importlib.util.spec_from_file_location("char_rnn", EXAMPLES / "char_rnn.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["char_rnn.py", *SHORT["char_rnn.py"]])
    return module


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_runs(name: str, tmp_path: Path) -> None:
    assert run_example(name, *SHORT.get(name, []), directory=tmp_path).strip()


@pytest.mark.parametrize("name", ["dates.py", "long_sequences.py", "short_memory.py", "wavenet.py"])
def test_runs_without_matplotlib(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(sys, "argv", [name, *SHORT[name]])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert 'matplotlib, pip install "fastrnn[forecast]"\n' in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_char_rnn_shows_both_times_and_learns(char_rnn: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    char_rnn.main()
    numpy_line, fastrnn_line, ratios, difference, *rest = capsys.readouterr().out.splitlines()
    assert numpy_line.startswith("NumPy loop")
    assert fastrnn_line.startswith("fastrnn")
    assert numpy_line.rpartition("loss")[2] == fastrnn_line.rpartition("loss")[2]
    first, last = map(float, fastrnn_line.rpartition("character")[2].split("->"))
    assert last < 0.9 * first
    assert ratios.count("times as fast") == 2
    assert float(difference.rpartition(" ")[2]) < 1e-12
    assert len("\n".join(rest).strip("\n")) >= 190


def test_char_rnn_notices_other_losses(char_rnn: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    right = char_rnn.numpy_backward

    def slightly_wrong(dy: np.ndarray, cache: object) -> tuple[np.ndarray, ...]:
        *others, db = right(dy, cache)
        return (*others, db * (1 + 1e-6))

    monkeypatch.setattr(char_rnn, "numpy_backward", slightly_wrong)
    with pytest.raises(AssertionError, match="losses differ"):
        char_rnn.main()


def test_char_rnn_loop_by_hand(char_rnn: ModuleType, rng: np.random.Generator) -> None:
    """The example's own loop gives the reference's numbers, dx and dh0 too, which its program does not use."""
    shapes = ((7, 3), (5,), (3, 5), (5, 5), (5,))
    arguments = [rng.normal(size=shape) for shape in shapes]
    dy = rng.normal(size=(7, 5))
    y, cache = char_rnn.numpy_forward(*arguments)
    expected, expected_cache = reference.rnn_forward(*arguments)
    assert_close(y, expected, "float64", "y")
    gradients = reference.rnn_backward(dy, expected_cache)
    for name, actual, value in zip(gradients._fields, char_rnn.numpy_backward(dy, cache), gradients, strict=True):
        assert_close(actual, value, "float64", name)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_to_c_compares_with_the_program(tmp_path: Path) -> None:
    *_, last = run_example("to_c.py", *SHORT["to_c.py"], directory=tmp_path).splitlines()
    assert last.startswith("the C program's 80 numbers differ")
    assert {"net.c", "net.h", "main.c", "net"} <= {path.name for path in tmp_path.iterdir()}


def test_wavenet_measures_the_receptive_field_of_the_formula(tmp_path: Path) -> None:
    lines = run_example("wavenet.py", "--quick", directory=tmp_path).splitlines()
    measured, derived = ([int(word) for word in line.split() if word.isdigit()] for line in lines[3:5])
    assert measured == derived == [2, 4, 8, 16, 17, 19, 23, 31]
    assert lines[-1] == "wavenet.png" and (tmp_path / lines[-1]).stat().st_size > 20_000


@pytest.mark.slow
def test_dates_reach_their_figure(tmp_path: Path) -> None:
    """At least 98 % of the held-out dates are right in every digit."""
    lines = run_example("dates.py", directory=tmp_path).splitlines()
    *_, result, picture = lines
    assert picture == "dates.png" and (tmp_path / picture).stat().st_size > 20_000
    name, _, figure = result.rpartition(": ")
    assert name == "exact on 2000 held-out dates" and float(figure.rstrip("%")) >= 98.0


@pytest.mark.slow
def test_four_kinds_beat_their_baselines(tmp_path: Path) -> None:
    tasks = run_example("four_kinds.py", directory=tmp_path).split(" s\n")[1:]  # behind each task's seconds
    for task in tasks:
        *baselines, network = [float(line.split()[-1]) for line in task.splitlines() if line.startswith("    ")]
        assert len(baselines) == 2 and network < 0.8 * min(baselines)
    assert len(tasks) == 4


@pytest.mark.slow
def test_recurrent_policy_remembers(tmp_path: Path) -> None:
    """With its memory the policy answers nearly always right, without it by chance."""
    lines = run_example("recurrent_policy.py", directory=tmp_path).splitlines()
    without, right = (float(line.rpartition(": ")[2].rstrip("%")) for line in lines[-2:])
    assert right >= 95.0 and without < 35.0


def test_a_million_steps_train_within_a_gigabyte(tmp_path: Path) -> None:
    """The losses of three updates and the peak memory, as the example prints them in its last columns."""
    sparing, *_ = run_example("long_sequences.py", "--million", directory=tmp_path).splitlines()[2:]
    *_, megabytes, first, second, third = sparing.split()
    assert sparing.split()[0] == "memory='sqrt'" and float(megabytes) < 1000
    assert float(first) > float(second) > float(third)
