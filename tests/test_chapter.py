"""The chapter's tables: the series, the exact baselines, every network, the peers, the command, the notebooks."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fastrnn import datasets
from fastrnn.training import Adam, Sequential

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "examples" / "chapter15"
SECTIONS = {  # with their numbers of networks
    "baselines": 1,
    "simple_rnn": 1,
    "deep_rnns": 2,
    "several_steps": 4,
    "unstable_gradients": 2,
    "short_memory": 4,
}
NETWORKS = [(name, i) for name, count in SECTIONS.items() for i in range(count)]

pytestmark = pytest.mark.skipif(not SCRIPTS.is_dir(), reason="the examples are part of the sources alone")
each_network = pytest.mark.parametrize(("section", "number"), NETWORKS)


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    """Imports a script by its name, as the scripts import one another."""
    before = set(sys.modules)
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module
    sys.path.remove(str(SCRIPTS))
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and Path(str(sys.modules[name].__file__)).parent == SCRIPTS:
            del sys.modules[name]


@pytest.fixture(scope="module")
def chapter(scripts: Any) -> ModuleType:
    return scripts("chapter")


# ---- the series ------------------------------------------------------------------------------------------------------


def test_first_values_of_the_series() -> None:
    series = datasets.wave_series(10_000, 51)
    assert series.shape == (10_000, 51, 1) and series.dtype == np.float32
    np.testing.assert_allclose(series[0, :4, 0], [0.4596948, 0.31486678, 0.12497123, -0.1039134], rtol=0, atol=1e-8)


def test_series_leave_the_global_generator_alone() -> None:
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    first = datasets.wave_series(3, 5, seed=7)
    np.testing.assert_equal(np.random.get_state(legacy=False), state)  # noqa: NPY002
    np.testing.assert_array_equal(datasets.wave_series(3, 5, seed=7), first)
    assert not np.array_equal(datasets.wave_series(3, 5, seed=8), first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 5), "batch: expected an integer >= 1"), ((5, 0), "steps: expected"), ((5, 5, -1), "seed: expected")],
)
def test_series_refuse_bad_sizes(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.wave_series(*arguments)


def test_tasks(chapter: ModuleType) -> None:
    one, ten, everywhere = chapter.one_step(), chapter.ten_steps(), chapter.ten_steps_everywhere()
    assert [task.y.shape for task in (one, ten, everywhere)] == [(10_000, 1), (10_000, 10), (10_000, 50, 10)]
    assert len(ten.train.x) == len(ten.train.y) == 7000 and len(ten.validation.x) == len(ten.validation.y) == 2000
    assert np.shares_memory(ten.validation.x[0], ten.x[7000])
    np.testing.assert_array_equal(everywhere.x, ten.x)
    np.testing.assert_array_equal(everywhere.y[:, -1], ten.y)
    np.testing.assert_array_equal(everywhere.y[:, 3, :5], ten.x[:, 4:9, 0])


# ---- the rows of the tables ------------------------------------------------------------------------------------------


def test_baselines_are_exact(chapter: ModuleType) -> None:
    found = {}
    for task, baselines in chapter.BASELINES.items():
        for baseline in baselines:
            error = chapter.mean_squared_error(baseline.forecast(task()), task().validation.y)
            digits = len(baseline.published.partition(".")[2])
            assert f"{error:.{digits}f}" == baseline.published
            found[task.__name__, baseline.name] = baseline.published
    assert found == {
        ("one_step", "last value"): "0.0202",
        ("one_step", "least squares"): "0.00293",
        ("ten_steps", "last value"): "0.2570",
        ("ten_steps", "least squares"): "0.01549",
    }


def test_every_table_has_least_squares_and_all_networks(scripts: Any) -> None:
    for name, count in SECTIONS.items():
        section = scripts(name).SECTION
        assert section.name == name and len(section.networks) == count
        assert [row.name for row in section.rows][:2] == ["last value", "least squares"]


@each_network
def test_network_improves(scripts: Any, chapter: ModuleType, section: str, number: int) -> None:
    """A short training on few series takes the error down, and where the forecast is judged is right."""
    table = scripts(section).SECTION
    network, (x, y) = table.networks[number], table.task().validation
    x, y = x[:300], y[:300]
    model, data = network.model(seed=0), network.task().train
    before = chapter.mean_squared_error(network.forecast(model, x), y)
    model.fit(data.x[:640], data.y[:640], epochs=3, batch_size=32, verbose=0)
    model.optimizer.exchange_averages(model.params)  # the last weights: the average of 60 updates lags behind them
    forecast = network.forecast(model, x)
    assert forecast.shape == y.shape
    assert chapter.mean_squared_error(forecast, y) < 0.7 * before


@pytest.mark.parametrize(("section", "number"), [("several_steps", 0), ("simple_rnn", 0)])
def test_both_recipes_come_from_one_seed(scripts: Any, section: str, number: int) -> None:
    """The chapter's is plain Adam, from the chapter's first weights: what a model without averages trains to."""
    network = scripts(section).SECTION.networks[number]
    layers = network.chapter_layers or network.layers
    plain = Sequential(layers(), input_size=(50, 1), seed=4)
    plain.compile(Adam(network.learning_rate), loss="mse")
    data = network.task().train
    plain.fit(data.x, data.y, epochs=1, batch_size=32, verbose=0)
    averaged = network.trained(4, epochs=1)
    kept = averaged.get_weights()
    chapters = network.as_in_the_chapter(averaged, 4, epochs=1)
    for ours, theirs, other in zip(chapters.get_weights(), plain.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert not np.array_equal(ours, other)


def test_iterated_forecast_feeds_on_itself(scripts: Any) -> None:
    class NextIsDouble:
        def predict(self, x: np.ndarray) -> np.ndarray:
            return 2 * x[:, -1]

    made = scripts("several_steps").iterated(NextIsDouble(), np.full((2, 3, 1), 1.0))
    np.testing.assert_array_equal(made, np.tile(2.0 ** np.arange(1, 11), (2, 1)))


@each_network
def test_peer_is_the_same_network(scripts: Any, section: str, number: int) -> None:
    pytest.importorskip("torch")
    table = scripts(section).SECTION
    network, x = table.networks[number], table.task().x[:20]
    model = network.model(seed=0)
    peer = scripts("peers").Peer(model)
    np.testing.assert_allclose(peer.predict(x), model.predict(x), atol=2e-4)
    assert sum(p.numel() for p in peer.module.parameters() if p.requires_grad) == model.count_params()


def test_peer_learns(scripts: Any, chapter: ModuleType) -> None:
    pytest.importorskip("torch")
    network, (x, y) = scripts("simple_rnn").SECTION.networks[0], chapter.one_step().train
    peer = scripts("peers").Peer(network.model(seed=0))
    before = chapter.mean_squared_error(peer.predict(x[:300]), y[:300])
    peer.fit(x[:640], y[:640], learning_rate=5e-3, epochs=3, seed=0)
    assert chapter.mean_squared_error(peer.predict(x[:300]), y[:300]) < 0.7 * before


# ---- the table and the command ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "epochs", "verdict"),
    [
        ([0.0081, 0.0085, 0.1], 20, "inside"),
        ([0.00854], 20, "inside"),  # to the published digits
        ([0.00856], 20, "worse"),
        ([0.0080], 20, "better"),
        ([0.0080], 1, ""),
    ],
)
def test_verdict(chapter: ModuleType, errors: list[float], epochs: int, verdict: str) -> None:
    network = chapter.Network("name", list, chapter.ten_steps, published="0.0085", spread=(0.0081, 0.0085))
    line = chapter.Line(network, epochs, errors, [1.0] * len(errors), [1.0] * len(errors))
    assert line.verdict == verdict
    assert verdict in line.cells(with_torch=False)


def test_markdown_table(chapter: ModuleType) -> None:
    lines = chapter.markdown("Title", ["", "a"], [["row", "1.5"], ["x", "22"]]).splitlines()
    assert lines == ["Title", "", "|     |   a |", "| --- | --: |", "| row | 1.5 |", "| x   |  22 |"]


def command(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.chapter15", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_command_in_json() -> None:
    facts = json.loads(command("--only", "simple_rnn", "baselines", "--quick", "--json"))
    assert [section["name"] for section in facts["sections"]] == ["baselines", "simple_rnn"]  # the chapter's order
    assert facts["seeds"] == facts["epochs"] == 1
    last_value, linear, network = facts["sections"][1]["rows"]
    assert last_value["median"] == pytest.approx(0.020211, abs=1e-6)
    assert linear["median"] == pytest.approx(0.0029311, abs=1e-7)
    assert network["published"] == 0.0109 and len(network["errors"]) == 1 and network["seconds"][0] > 0


def test_command_in_words() -> None:
    text = command("--only", "simple_rnn", "--quick", "--plain", "--jobs", "1")
    assert text.startswith("A simple RNN, one step ahead\n\n| ")
    assert "least squares" in text and "SimpleRNN(1), Adam 5e-3" in text


def test_notebooks_are_those_of_the_scripts(scripts: Any) -> None:
    make = scripts("notebooks").notebook
    assert list(SECTIONS) == scripts("notebooks").SECTIONS
    for name in SECTIONS:
        script = (SCRIPTS / f"{name}.py").read_text(encoding="utf-8")
        made = make(script)
        hint = "run python examples/chapter15/notebooks.py"
        assert made == (SCRIPTS / f"{name}.ipynb").read_text(encoding="utf-8"), hint
        cells = json.loads(made)["cells"]
        assert cells[0]["cell_type"] == "markdown" and cells[0]["source"][0].startswith("# ")
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        compile(code, name, "exec")
        assert "SECTION = Section(" in code
