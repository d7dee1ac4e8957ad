"""The backtest: who sees what, and what counts."""

import numpy as np
import pytest

from fastrnn.forecasting import Forecaster, LastValue, SeasonalNaive, Split, backtest


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
