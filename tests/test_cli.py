"""The command line: what it prints, what it writes, and how it says no."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys

import numpy as np
import pytest

import fastrnn
from fastrnn.cli import main

for _module in ("pandas", "matplotlib", "rich"):
    pytest.importorskip(_module)

QUICK = ["--window", "8", "--units", "4", "--epochs", "2"]


@pytest.fixture
def csv(tmp_path):
    """A short hourly series with a gap, and a function that writes another."""

    def write(text=None):
        path = tmp_path / "series.csv"
        if text is None:
            hours = np.arange(24 * 14)
            y = 10 + 5 * np.sin(2 * np.pi * hours / 24) + np.random.default_rng(0).normal(size=hours.size)
            rows = [
                f"{h.astype('datetime64[h]')}:00,{v:.3f}" for h, v in zip(hours, y, strict=True) if h not in (50, 300)
            ]
            text = "when,power\n" + "\n".join(rows) + "\n"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def fails(capsys, *argv):
    """Run a command that must fail; its one line on stderr."""
    assert main([str(argument) for argument in argv]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize("horizon", [1, 3])
def test_forecast_prints_and_writes(csv, tmp_path, capsys, horizon):
    out = tmp_path / "out"
    assert main(["forecast", csv(), "--horizon", str(horizon), "--out", str(out), *QUICK]) == 0
    said = capsys.readouterr().out
    assert "2 of 336 steps are missing in 2 gaps" in said
    assert "last value" in said
    assert "same hour yesterday" not in said  # two weeks of hours: the season is the week
    assert "same hour last week" in said
    assert "GRU, 4 units" in said
    for name in ("forecast.png", "forecast.csv", "test.csv", "model.safetensors"):
        assert str(out / name) in said
        assert (out / name).exists()
    assert (out / "forecast.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"

    forecast = (out / "forecast.csv").read_text().splitlines()
    assert forecast[0] == "time,last_value,seasonal_naive,linear,network"
    assert [line.split(",")[0] for line in forecast[1:]] == [f"1970-01-15T0{hour}:00" for hour in range(horizon)]

    test = (out / "test.csv").read_text().splitlines()
    assert test[0] == "last_known_time,steps_ahead,time,truth,last_value,seasonal_naive,linear,network"
    gap = [line for line in test if line.split(",")[2] == "1970-01-13T12:00"]
    assert len(gap) == horizon
    assert all(line.split(",")[3] == "" for line in gap)
    assert fastrnn.load(out / "model.safetensors").predict(np.zeros((1, 8, 3), np.float32)).shape == (1, horizon)


def test_json_is_one_object_and_nothing_else(csv, tmp_path, capsys):
    arguments = [
        "forecast",
        csv(),
        "--target",
        "power",
        "--json",
        "--horizon",
        "2",
        "--out",
        str(tmp_path / "out"),
        *QUICK,
    ]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert said.err == ""
    result = json.loads(said.out)
    assert result["target"] == "power"
    assert result["horizon"] == 2
    # 50 rows of test, one of them missing: it is the first hour ahead of one forecast and the second of another
    assert result["test"]["rows"] == 50
    assert result["test"]["n"] == 2 * 49 - 2
    assert set(result["mae"]) == set(result["rmse"]) == {"last_value", "seasonal_naive", "linear", "network"}
    assert all(0 < result["mae"][name] <= result["rmse"][name] for name in result["mae"])
    assert result["seconds"] > 0
    assert set(result["files"]) == {"picture", "forecast", "test", "model"}


def test_json_figures_are_those_of_the_test_file(csv, tmp_path, capsys):
    main(["forecast", csv(), "--json", "--out", str(tmp_path / "out"), *QUICK])
    result = json.loads(capsys.readouterr().out)
    rows = [line.split(",")[3:] for line in (tmp_path / "out" / "test.csv").read_text().splitlines()[1:]]
    table = np.array([row for row in rows if row[0]], float)
    assert len(table) == result["test"]["n"]
    errors = np.abs(table[:, 1:] - table[:, :1]).mean(axis=0)
    np.testing.assert_allclose(errors, list(result["mae"].values()), rtol=1e-4)


def test_same_seed_same_forecast(csv, tmp_path, capsys):
    path = csv()
    figures = []
    for seed in ("1", "1", "2"):
        main(["forecast", path, "--json", "--seed", seed, "--out", str(tmp_path / "out"), *QUICK])
        figures.append(json.loads(capsys.readouterr().out)["mae"]["network"])
    assert figures[0] == figures[1] != figures[2]


@pytest.mark.parametrize("strategy", ["direct", "recursive", "seq2seq"])
def test_without_times(csv, tmp_path, capsys, strategy):
    path = csv("y,z\n" + "".join(f"{np.sin(row / 3):.4f},{row % 5}\n" for row in range(120)))
    arguments = [
        "forecast",
        path,
        "--horizon",
        "3",
        "--strategy",
        strategy,
        "--quiet",
        "--out",
        str(tmp_path / "o"),
        *QUICK,
    ]
    assert main(arguments) == 0
    assert "value 1 step before" in capsys.readouterr().out
    assert (tmp_path / "o" / "forecast.csv").read_text().splitlines()[1].startswith("120,")


def test_bundled_series_beats_every_baseline(tmp_path, capsys):
    assert main(["forecast", "--json", "--out", str(tmp_path)]) == 0
    result = json.loads(capsys.readouterr().out)
    mae = result["mae"]
    assert result["target"] == "bikers"
    assert result["unit"] == "bikes"
    assert result["test"]["n"] == 1340
    np.testing.assert_allclose(mae["last_value"], 44.2, atol=0.2)
    np.testing.assert_allclose(mae["seasonal_naive"], 47.0, atol=0.2)
    assert mae["linear"] < 26.0
    assert mae["network"] < 20.0
    assert mae["network"] < min(mae["last_value"], mae["seasonal_naive"], mae["linear"])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", [], "is empty; it needs a header line"),
        ("a\n1\n2\n", ["--target", "b"], "target: no column 'b'; the columns are a"),
        ("a\n1\n2\n", ["--time", "b"], "time: no column 'b'; the columns are a"),
        ("time,a\n2011-01-01,1\nnever,2\n", [], "line 3: 'never', expected a time"),
        ("a,b\n1,1\n2,x\n3,3\n", [], "column 'b', line 3: 'x', expected a number"),
        ("a\n1\n2\n3\n", [], "too few rows: 3 rows"),
        ("a\n" + "7\n" * 200, [], "column 'a': is 7 in every row"),
        ("a,b\n" + "1,\n" * 200, ["--target", "b"], "column 'b': holds no number at all"),
        (
            "a\n" + "7\n" * 180 + "1\n2\n" * 10,
            ["--test", "20", "--quiet"],
            "y: is constant over the 170 rows to train on",
        ),
        ("a\n" + "1\n2\n" * 60, ["--test", "200"], "too few rows"),
        ("a\n" + "1\n2\n" * 60, ["--horizon", "9", "--test", "8"], "test: expected at least the horizon of 9 rows"),
        ("a\n" + "1\n2\n" * 100, ["--season", "190", "--quiet"], "season: expected at most the 170 values"),
    ],
)
def test_a_bad_file_is_told_in_one_line(csv, capsys, tmp_path, text, options, message):
    line = fails(capsys, "forecast", csv(text), "--out", tmp_path / "out", *options)
    assert line.startswith("fastrnn forecast: ")
    assert message in line


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "fastrnn: the following arguments are required: COMMAND; see fastrnn --help"),
        (["forecats"], "invalid choice: 'forecats'"),
        (["forecast", "absent.csv"], "fastrnn forecast: absent.csv: no such file"),
        (["forecast", "--horizon", "0"], "argument --horizon: expected a whole number >= 1, got '0'"),
        (["forecast", "--window", "2.5"], "argument --window: expected a whole number >= 1, got '2.5'"),
        (["forecast", "--epochs", "many"], "argument --epochs: expected a whole number >= 1, got 'many'"),
        (["forecast", "--seed", "-1"], "argument --seed: expected a whole number >= 0, got '-1'"),
        (["forecast", "--cell", "elman"], "argument --cell: invalid choice: 'elman'"),
        (["forecast", "--colour=red"], "unrecognized arguments: --colour=red"),
        (["forecast", "--window", "9000"], "too few rows: 8760 rows"),
    ],
)
def test_a_bad_command_is_told_in_one_line(capsys, tmp_path, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, *argv)


def test_names_of_columns_are_shown_as_they_are(csv, tmp_path, capsys):
    """Brackets are no markup of the table."""
    text = "level [m/s] [/end]\n" + "".join(f"{row % 7}\n" for row in range(120))
    assert main(["forecast", csv(text), "--out", str(tmp_path / "out"), "--quiet", *QUICK]) == 0
    assert "level [m/s] [/end]: next step" in capsys.readouterr().out


def test_out_that_is_a_file(csv, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert "taken: File exists" in fails(capsys, "forecast", csv(), "--out", tmp_path / "taken", *QUICK)


@pytest.mark.parametrize("missing", ["pandas", "matplotlib", "rich"])
def test_a_missing_extra_is_told_before_any_work(csv, tmp_path, capsys, monkeypatch, missing):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    line = fails(capsys, "forecast", csv(), "--out", tmp_path / "out")
    assert f'needs {missing}: pip install "fastrnn[forecast]"' in line
    assert not (tmp_path / "out").exists()


def test_an_interrupt_is_told_in_one_line(csv, tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastrnn.forecasting.Forecaster.fit", interrupted)
    assert main(["forecast", csv(), "--quiet", "--out", str(tmp_path / "out"), *QUICK]) == 130
    assert capsys.readouterr().err == "\nfastrnn forecast: interrupted\n"


def test_version_help_and_config(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fastrnn {fastrnn.__version__}\n"
    assert main(["forecast", "--help"]) == 0
    told = capsys.readouterr().out
    assert "examples:" in told
    assert "(default: 48)" in told
    assert main(["config"]) == 0
    assert fastrnn.__version__ in capsys.readouterr().out


def run(*argv, cwd):
    return subprocess.run(
        [sys.executable, "-m", "fastrnn", *map(str, argv)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_as_a_program(csv, tmp_path):
    done = run("forecast", csv(), "--json", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["files"]["forecast"] == "fastrnn-forecast/forecast.csv"
    assert (tmp_path / "fastrnn-forecast" / "forecast.csv").exists()


def test_as_a_program_that_fails(tmp_path):
    done = run("forecast", "absent.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "fastrnn forecast: absent.csv: no such file; give the path of a CSV file with a header line\n"
