"""Several series at once: one network, each series scaled by itself."""

import numpy as np
import pytest

from fastrnn.forecasting import (
    Forecaster,
    HoltWinters,
    LastValue,
    Linear,
    SeasonalNaive,
    Split,
    backtest,
    split_end,
)
from fastrnn.forecasting.networks import STRATEGIES


@pytest.fixture(scope="module")
def panel():
    """Three series of one kind, of different size and length."""
    t = np.arange(400)
    wave = np.sin(2 * np.pi * t / 12) + 0.05 * np.random.default_rng(0).normal(size=400)
    return {"small": wave, "large": 1000 + 300 * wave[:350], "shifted": 5 + wave[30:]}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_network_learns_series_of_any_size(panel, strategy):
    splits = split_end({name: len(y) for name, y in panel.items()}, 12, 3)
    network = Forecaster(units=8, window=12, horizon=3, strategy=strategy, epochs=12, learning_rate=0.01)
    result = backtest({"last": LastValue(3), "network": network}, splits, panel)
    assert result.series_names == ["small", "large", "shifted"]
    for name in panel:
        part = result.of_series(name)
        assert part.mae("network") < 0.4 * part.mae("last")
    # over all values, each counts once
    sizes = [result.of_series(name).counted for name in panel]
    errors = [result.of_series(name).mae("network") for name in panel]
    assert result.mae("network") == pytest.approx(np.average(errors, weights=sizes))


@pytest.mark.parametrize(
    "forecaster",
    [
        LastValue(2),
        SeasonalNaive(12, 2),
        SeasonalNaive(12, 2, growth=True),
        Linear(6, 2),
        Forecaster(units=3, window=6, horizon=2, epochs=1),
    ],
    ids=repr,
)
def test_forecasts_of_a_series_know_nothing_of_the_others(panel, forecaster):
    forecaster.fit(panel)
    said = forecaster.predict()
    assert set(said) == set(panel)
    changed = panel | {"large": panel["large"] * 3}
    again = forecaster.predict(changed)
    np.testing.assert_array_equal(again["small"], said["small"])
    assert (again["large"] != said["large"]).all()
    # one of them alone, by its name
    np.testing.assert_array_equal(forecaster.predict({"small": panel["small"]})["small"], said["small"])
    at = forecaster.predict_at({"small": [100, 399]}, panel)
    assert set(at) == {"small"}
    np.testing.assert_allclose(at["small"][1], said["small"], rtol=1e-6)


def test_holt_winters_smooths_each_series_by_itself(panel):
    pytest.importorskip("statsmodels")
    together = HoltWinters(12, 3).fit(panel).predict()
    for name, y in panel.items():
        np.testing.assert_allclose(together[name], HoltWinters(12, 3).fit(y).predict())


def test_a_copy_in_another_unit_changes_nothing(panel):
    """The scaling is each series' own: metres or millimetres, the network learns the same."""
    options = {"units": 4, "window": 12, "epochs": 3, "differences": False}
    first = Forecaster(**options).fit({"a": panel["small"], "b": panel["small"][:300]})
    second = Forecaster(**options).fit({"a": panel["small"] * 1024, "b": panel["small"][:300]})
    np.testing.assert_allclose(second.predict()["a"], 1024 * first.predict()["a"], rtol=1e-6)
    np.testing.assert_allclose(second.predict()["b"], first.predict()["b"], rtol=1e-6)


def test_windows_do_not_reach_from_one_series_into_the_next(rng):
    """Linear would find that b begins where a ends; it must not see it."""
    ramp = np.arange(40.0)
    model = Linear(window=2).fit({"a": ramp, "b": ramp + 1000})
    np.testing.assert_allclose(model.predict()["a"], [40.0])
    np.testing.assert_allclose(model.predict()["b"], [1040.0])


def test_saved_scaling_is_that_of_each_series(panel, tmp_path):
    network = Forecaster(units=3, window=6, epochs=1, quantiles=(0.1, 0.5, 0.9)).fit(panel)
    network.save(tmp_path / "panel.safetensors")
    loaded = Forecaster.load(tmp_path / "panel.safetensors")
    for name, said in network.predict_quantiles().items():
        np.testing.assert_array_equal(loaded.predict_quantiles(panel)[name], said)


def test_the_shortest_series_decides_how_much_is_held_out():
    splits = split_end({"a": 100, "b": 300}, window=5, horizon=2)
    assert splits["a"] == split_end(100, window=5, horizon=2)
    test, validation = 100 - splits["a"].test, splits["a"].test - splits["a"].validation
    assert splits["b"] == Split(300 - test - validation, 300 - test, 300)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": {}}, "y: expected at least one series, got an empty mapping"),
        ({"y": {"a": [1.0, np.nan]}}, r"y\['a'\]: expected finite numbers, got 1 NaN"),
        ({"y": {"a": [1.0, 2.0]}, "X": [[1.0], [2.0]]}, "X: expected a mapping with the series of y, a; got list"),
        ({"y": {"a": [1.0, 2.0]}, "X": {"b": [[1.0], [2.0]]}}, "X: expected a mapping .* got those of b"),
        (
            {"y": {"a": [1.0], "b": [1.0]}, "X": {"a": [[1.0]], "b": [[1.0, 2.0]]}},
            r"X\['b'\]: expected 1 columns as in fit, got 2",
        ),
        ({"y": {"a": [1.0, 2.0]}, "time": {"a": np.zeros(2, "datetime64[s]")}}, r"time\['a'\]: expected moments"),
    ],
)
def test_bad_panels(arguments, message):
    with pytest.raises(ValueError, match=message):
        LastValue().fit(**arguments)


def test_misfits_in_use(panel):
    network = Forecaster(units=2, window=4, epochs=1).fit(panel)
    with pytest.raises(ValueError, match="y: expected series of fit, small, large, shifted; got 'other'"):
        network.predict({"other": panel["small"]})
    with pytest.raises(ValueError, match="origins: expected a mapping with series of y"):
        network.predict_at([5], panel)
    with pytest.raises(ValueError, match="split: expected a mapping with the series of y"):
        backtest({"last": LastValue()}, Split(10, 20, 30), panel)
    with pytest.raises(ValueError, match=r"y\['flat'\]: is constant over the 90 rows"):
        Forecaster(window=4).fit({"a": panel["small"], "flat": np.ones(100)})
    result = backtest({"last": LastValue()}, split_end({"a": 100}, 4, 1), {"a": panel["small"][:100]})
    with pytest.raises(ValueError, match="name: expected one of a, got 'b'"):
        result.of_series("b")
