"""The command line: what it prints, what it writes, and how it says no."""

from __future__ import annotations

import builtins
import importlib.util
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import fastrnn
from fastrnn.cli import main

for _module in ("pandas", "matplotlib"):
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
        (["forecast", "--intervals", "90"], "argument --intervals: expected a number between 0 and 1, got '90'"),
        (["forecast", "--series", "shop"], "--series: the bundled data are one series"),
        (["forecast", "--planned", "sun"], "planned: no column 'sun'; the columns are bikers, temp"),
        (["forecast", "--planned", "weathersit"], "planned: column 'weathersit' is text"),
        (["forecast", "--planned", "bikers", "--target", "bikers"], "planned: is the target"),
        (["forecast", "co2", "--target", "co2"], "--target: the bundled CO2 has one column"),
        (["forecast", "--frontend", "cnn"], "argument --frontend: invalid choice: 'cnn'"),
        (["forecast", "--quiet", "--cell", "wavenet", "--strategy", "encoder_decoder"], "expects a recurrent cell"),
        (
            ["forecast", "--quiet", "--intervals", "0.9", "--strategy", "recursive"],
            "quantiles: expected None with strategy='recursive'",
        ),
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


@pytest.mark.parametrize("missing", ["pandas", "matplotlib"])
def test_a_missing_extra_is_told_before_any_work(csv, tmp_path, capsys, monkeypatch, missing):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    line = fails(capsys, "forecast", csv(), "--out", tmp_path / "out")
    assert line == f'fastrnn forecast: forecasting needs {missing}: pip install "fastrnn[forecast]"\n'
    assert not (tmp_path / "out").exists()


def test_without_rich_the_table_is_plain(csv, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert main(["forecast", csv(), "--horizon", "2", "--quiet", "--out", str(tmp_path / "out"), *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    (above,) = [i for i, line in enumerate(lines) if line.split() == ["MAE", "RMSE", "against", "the", "MAE,", "last"]]
    head = lines[above + 1]
    assert head.split() == ["forecast", "power", "power", "best", "baseline", "2", "hours"]
    (network,) = [line for line in lines if line.startswith("GRU, 4 units") and "%" in line]
    assert len(network) <= len(head)
    assert "mean absolute error by hours ahead, power" in lines


@pytest.mark.parametrize("columns", [None, 60])
@pytest.mark.parametrize("rich", [True, False])
def test_wide_tables_are_cut_between_columns(csv, tmp_path, capsys, monkeypatch, columns, rich):
    """Every figure of the JSON stands in the tables, and no line of them is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", str(columns or ""))
    days = np.arange(120)
    sold = 0.02 + 0.01 * np.sin(2 * np.pi * days / 7) + 0.001 * np.cos(days**2)
    rows = (f"{np.datetime64('2024-01-01') + day},{value}" for day, value in zip(days, sold, strict=True))
    file = csv("day,sold_for_each_square_metre\n" + "\n".join(rows) + "\n")
    if rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    arguments = ["forecast", file, "--horizon", "8", "--layers", "2", "--out", str(tmp_path / "out"), *QUICK]
    assert main([*arguments, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert main([*arguments, "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if re.search(r"[\d.]{4,}|MAE |^-+$|[━─]{4}", line) and ":" not in line]
    assert len(rows) >= 8 and max(map(len, rows)) <= (columns or 80) and "…" not in "".join(lines)
    shown = {word for row in rows for word in row.split()}
    numbers = [*figures["mae"].values(), *figures["rmse"].values(), *figures["mae_last_origin"].values()]
    assert {f"{number:#.4g}" for number in numbers} <= shown
    by_step = [error for errors in figures["mae_by_step"].values() for error in np.array(errors)[[0, 1, 2, 3, 5, 7]]]
    assert {f"{error:#.3g}" for error in by_step} <= shown


def test_threads(csv, tmp_path, capsys, monkeypatch):
    """They hold for the command alone."""
    seen = []

    def compare(*arguments, **keywords):
        seen.append(fastrnn.get_num_threads())
        raise ValueError("that is all")

    monkeypatch.setattr("fastrnn.forecasting.pipeline.compare", compare)
    before = fastrnn.get_num_threads()
    for threads in (["--threads", "3"], []):
        assert main(["forecast", csv(), "--out", str(tmp_path), *QUICK, *threads]) == 2
        assert capsys.readouterr().err == "fastrnn forecast: that is all\n" and fastrnn.get_num_threads() == before
    assert seen == [3, before]
    for wrong in ("0", "257", "two"):
        assert f"--threads: expected a whole number from 1 to 256, got '{wrong}'" in fails(
            capsys, "forecast", csv(), "--threads", wrong
        )


def test_intervals(csv, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["forecast", csv(), "--horizon", "2", "--intervals", "0.8", "--out", str(out), *QUICK]
    assert main(arguments) == 0
    assert re.search(r"80% interval: held \d+\.\d% of the true values \(nominal 80%\)", capsys.readouterr().out)
    forecast = np.genfromtxt(out / "forecast.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    assert forecast.dtype.names[-2:] == ("network_01", "network_09")
    assert (forecast["network_01"] <= forecast["network"]).all()
    assert (forecast["network"] <= forecast["network_09"]).all()

    assert main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    (coverage,) = result["coverage"]
    assert coverage["nominal"] == pytest.approx(0.8)
    rows = np.genfromtxt(out / "test.csv", delimiter=",", skip_header=1)[:, 3:]
    rows = rows[np.isfinite(rows[:, 0])]
    inside = (rows[:, -2] <= rows[:, 0]) & (rows[:, 0] <= rows[:, -1])
    assert coverage["actual"] == pytest.approx(inside.mean())
    np.testing.assert_allclose(result["quantiles"]["0.1"], forecast["network_01"], rtol=1e-5)


@pytest.fixture
def shops(tmp_path):
    """Two shops, a price that is known for three days more."""
    rng = np.random.default_rng(0)
    rows = ["day,shop,price,sold"]
    for shop, size in (("north", 10), ("south", 1000)):
        for day, price in zip(
            np.arange("2024-01-01", "2024-06-01", dtype="datetime64[D]"), rng.random(152), strict=True
        ):
            rows.append(f"{day},{shop},{price:.3f},{size * (2 - price + 0.1 * rng.random()):.2f}")
        rows += [f"2024-06-{day:02},{shop},0.5," for day in (1, 2, 3)]
    path = tmp_path / "shops.csv"
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def test_several_series_and_a_plan(shops, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["forecast", shops, "--target", "sold", "--series", "shop", "--planned", "price", "--horizon", "3"]
    arguments += ["--window", "7", "--units", "8", "--epochs", "30", "--out", str(out)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "2 series of 152 to 152 rows in steps of 1 day; target 'sold'" in said
    assert "planned ahead: price" in said
    assert "mean absolute error by series" in said
    assert main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["series"]) == set(result["forecast"]) == {"north", "south"}
    mae = {name: part["mae"] for name, part in result["series"].items()}
    assert all(mae[shop]["network"] < 0.6 * mae[shop]["last_value"] for shop in mae)
    assert mae["south"]["network"] > 20 * mae["north"]["network"]
    sizes = [part["n"] for part in result["series"].values()]
    assert result["mae"]["network"] == pytest.approx(np.average([m["network"] for m in mae.values()], weights=sizes))
    lines = (out / "forecast.csv").read_text().splitlines()
    assert lines[0] == "series,time,last_value,seasonal_naive,linear,network"
    assert [line.split(",")[:2] for line in lines[1:]] == [
        [shop, f"2024-06-0{day}"] for shop in ("north", "south") for day in (1, 2, 3)
    ]
    assert (out / "test.csv").read_text().startswith("series,last_known_time,")
    loaded = fastrnn.forecasting.Forecaster.load(out / "model.safetensors")
    assert loaded.n_planned_ == 1


def test_a_plan_that_ends_with_the_file_is_told_before_any_training(csv, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fastrnn.forecasting.Forecaster.fit", None)
    text = "y,plan\n" + "".join(f"{row % 7},{row % 3}\n" for row in range(120))
    line = fails(capsys, "forecast", csv(text), "--planned", "plan", "--quiet", "--out", tmp_path / "out", *QUICK)
    assert "planned: expected values of plan for the 1 step after the end, got 0; add rows there with 'y' left" in line


@pytest.mark.parametrize("strategy", ["direct", "recursive", "seq2seq", "encoder_decoder"])
def test_differences_refits_and_strides(csv, tmp_path, capsys, strategy):
    arguments = ["--difference", "24", "--season", "24", "--refit", "20", "--stride", "2", "--horizon", "3"]
    arguments += ["--strategy", strategy, "--json", "--out", str(tmp_path / "out")]
    assert main(["forecast", csv(), *arguments, *QUICK]) == 0
    result = json.loads(capsys.readouterr().out)
    assert "seasonal_growth" in result["mae"]
    assert len(result["mae_by_step"]["network"]) == 3
    assert set(result["mae_last_origin"]) == set(result["mae"])


def test_co2_is_forecast_better_than_season_and_growth(tmp_path, capsys, monkeypatch):
    """The last 24 months from the row before them, and 97 origins in ten years."""
    monkeypatch.chdir(tmp_path)
    assert main(["forecast", "co2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["target"], result["unit"], result["horizon"]) == ("co2", "ppm", 24)
    last, rolling = result["mae_last_origin"], result["mae"]
    np.testing.assert_allclose(last["last_value"], 2.42, atol=0.005)
    np.testing.assert_allclose(last["seasonal_naive"], 1.88, atol=0.005)
    np.testing.assert_allclose(last["seasonal_growth"], 0.555, atol=0.0005)
    assert last["network"] < 0.555
    assert rolling["network"] < 0.8 * rolling["seasonal_growth"]
    if importlib.util.find_spec("statsmodels"):
        assert last["holt_winters"] < 0.3


def test_a_file_called_co2_is_a_file(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "co2").write_text("y\n1\n2\n3\n")
    assert "too few rows: 3 rows" in fails(capsys, "forecast", "co2")


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
    assert "{" + ",".join(fastrnn.forecasting.cells()) + "}" in told
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


@pytest.mark.parametrize("command", [["-m", "fastrnn", "config"], ["-c", "import fastrnn"]])
def test_a_wrong_instruction_set_is_told_in_one_line(tmp_path, command):
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env={**os.environ, "FASTRNN_ISA": "mmx"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "FASTRNN_ISA: expected one of 'baseline'" in done.stderr
    if "-m" in command:
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.startswith("fastrnn: FASTRNN_ISA")
    else:  # a program that imports fastrnn sees the error
        assert "Traceback" in done.stderr
