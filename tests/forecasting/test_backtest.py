"""The backtest: who sees what, and what counts."""

import sys

import numpy as np
import pytest

from fastrnn.forecasting import Forecaster, LastValue, Linear, SeasonalNaive, Split, backtest
from fastrnn.forecasting.plots import draw_errors_by_step


def test_errors_are_those_of_the_test_part_and_gaps_do_not_count(rng):
    y = rng.normal(size=100)
    known = np.ones(100, dtype=bool)
    known[90] = False
    split = Split(70, 80, 100)
    result = backtest({"last": LastValue(horizon=2)}, split, y, known=known)
    np.testing.assert_array_equal(result.origins, np.arange(79, 98))
    errors = [abs(y[t + k] - y[t]) for t in range(79, 98) for k in (1, 2) if t + k != 90]
    assert result.counted == len(errors) == 36
    np.testing.assert_allclose(result.mae("last"), np.mean(errors))
    np.testing.assert_allclose(result.rmse("last"), np.sqrt(np.mean(np.square(errors))))
    by_step = result.mae_by_step("last")
    np.testing.assert_allclose(by_step[0], np.mean([abs(y[t + 1] - y[t]) for t in range(79, 98) if t != 89]))


def test_fitting_never_sees_the_test_part(rng):
    y = np.sin(np.arange(160) / 3) + 0.1 * rng.normal(size=160)
    changed = y.copy()
    changed[131:] = 5.0
    split = Split(110, 130, 160)
    forecasts = []
    for series in (y, changed):
        network = Forecaster(units=4, window=8, epochs=2, seed=1)
        result = backtest({"network": network}, split, series)
        forecasts.append(result.forecasts["network"])
        assert result.fitted["network"].validation == 20
        assert network.validation == 0.1
    # origins 129 and 130 know nothing of the rows that differ
    np.testing.assert_array_equal(forecasts[0][:2], forecasts[1][:2])
    assert (forecasts[0][2:] != forecasts[1][2:]).any()


def test_one_horizon_for_all():
    with pytest.raises(ValueError, match=r"expected one horizon, got \[1, 2\]"):
        backtest({"a": LastValue(), "b": SeasonalNaive(2, horizon=2)}, Split(5, 6, 9), np.arange(9.0))


def test_nothing_to_count():
    known = np.ones(20, dtype=bool)
    known[15:] = False
    with pytest.raises(ValueError, match="no true value"):
        backtest({"last": LastValue()}, Split(10, 15, 20), np.arange(20.0), known=known)


def test_the_forecasters_given_stay_as_they_are(rng):
    given = {"network": Forecaster(units=3, window=6, epochs=1), "last": LastValue()}
    before = {name: dict(vars(forecaster)) for name, forecaster in given.items()}
    result = backtest(given, Split(60, 70, 80), rng.normal(size=80))
    assert {name: vars(forecaster) for name, forecaster in given.items()} == before
    assert result.fitted.keys() == given.keys()
    assert result.fitted["network"].model_ is not None


def test_stride_counts_back_from_the_last_origin(rng):
    y, split = rng.normal(size=60), Split(30, 40, 60)
    every = backtest({"last": LastValue(3)}, split, y)
    np.testing.assert_array_equal(every.origins, np.arange(39, 57))
    some = backtest({"last": LastValue(3)}, split, y, stride=5)
    np.testing.assert_array_equal(some.origins, [41, 46, 51, 56])
    np.testing.assert_array_equal(some.forecasts["last"], every.forecasts["last"][[2, 7, 12, 17]])
    last = every.last_origin()
    np.testing.assert_array_equal(last.truth, [y[57:60]])
    np.testing.assert_allclose(last.mae("last"), np.abs(y[57:60] - y[56]).mean())


def test_refits_see_all_rows_before_and_none_after(rng):
    """Least squares from the origins of each stage is that of a fit on the rows before the stage."""
    y, split = rng.normal(size=90).cumsum(), Split(50, 60, 90)
    result = backtest({"linear": Linear(4, 2)}, split, y, refit=12)
    for stage in (60, 72, 84):
        origins = np.arange(stage - 1, min(stage + 11, 88))
        rows = np.isin(result.origins, origins)
        expected = Linear(4, 2).fit(y[:stage]).predict_at(origins, y)
        np.testing.assert_allclose(result.forecasts["linear"][rows], expected)
    np.testing.assert_array_equal(result.origins, np.arange(59, 88))
    once = backtest({"linear": Linear(4, 2)}, split, y)
    np.testing.assert_array_equal(once.forecasts["linear"][:12], result.forecasts["linear"][:12])
    assert (once.forecasts["linear"][12:] != result.forecasts["linear"][12:]).all()


def test_refits_keep_the_length_of_the_validation_part(rng):
    network = Forecaster(units=2, window=4, epochs=1)
    result = backtest({"network": network}, Split(40, 50, 60), rng.normal(size=60), refit=5)
    assert result.fitted["network"].validation == 10
    assert result.fitted["network"].data_[""].y.size == 55


@pytest.mark.parametrize(("option", "value"), [("stride", 0), ("refit", 0)])
def test_bad_options(option, value):
    with pytest.raises(ValueError, match=f"{option}: expected an integer >= 1, got 0"):
        backtest({"last": LastValue()}, Split(10, 15, 20), np.arange(20.0), **{option: value})


def test_a_picture_without_matplotlib(tmp_path, rng, monkeypatch):
    result = backtest({"network": LastValue(horizon=2)}, Split(10, 20, 30), rng.normal(size=30))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'^drawing needs matplotlib: pip install "fastrnn\[forecast\]"$'):
        draw_errors_by_step(result, str(tmp_path / "errors.png"))
    assert not list(tmp_path.iterdir())
