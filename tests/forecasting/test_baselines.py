"""Baselines against what they say by definition."""

import sys

import numpy as np
import pytest

from fastrnn.forecasting import HoltWinters, LastValue, Linear, SeasonalNaive


def test_last_value(rng):
    y = rng.normal(size=50)
    said = LastValue(horizon=3).fit(y).predict_at([4, 20], y)
    np.testing.assert_array_equal(said, [[y[4]] * 3, [y[20]] * 3])


def test_seasonal_naive_beyond_one_season(rng):
    y = rng.normal(size=30)
    said = SeasonalNaive(season=4, horizon=6).fit(y).predict_at([9], y)
    np.testing.assert_array_equal(said[0], y[[6, 7, 8, 9, 6, 7]])


def test_seasonal_naive_with_growth(rng):
    y = rng.normal(size=30)
    said = SeasonalNaive(season=4, horizon=6, growth=True).fit(y).predict_at([9, 20], y)
    growth = y[6:10].mean() - y[2:6].mean()
    np.testing.assert_allclose(said[0], y[[6, 7, 8, 9, 6, 7]] + growth * np.array([1, 1, 1, 1, 2, 2]))
    with pytest.raises(ValueError, match=r"origins: expected at least 2 \* season - 1 = 7, got 6"):
        SeasonalNaive(season=4, growth=True).fit(y).predict_at([6], y)
    with pytest.raises(ValueError, match="season: expected at most half of the 30 values of y, got 16"):
        SeasonalNaive(season=16, growth=True).fit(y)


def test_holt_winters_is_that_of_statsmodels(rng):
    """At the end of fit's series, and smoothed on with the same constants from a later row.

    But for whole seasons ahead: statsmodels leaves the last value's part in its season out, as the equations do not.
    """
    holtwinters = pytest.importorskip("statsmodels.tsa.holtwinters")
    t = np.arange(200)
    level = np.cumsum(0.1 + 0.3 * rng.normal(size=200))
    y = level + (3 + 0.02 * t) * np.sin(2 * np.pi * t / 12) + 0.2 * rng.normal(size=200)
    model = HoltWinters(season=12, horizon=30).fit(y[:150])
    options = {"trend": "add", "seasonal": "add", "seasonal_periods": 12}
    peer = holtwinters.ExponentialSmoothing(y[:150], **options, initialization_method="estimated").fit()
    others = np.delete(np.arange(30), [11, 23])
    np.testing.assert_allclose(model.predict()[others], peer.forecast(30)[others], rtol=1e-9)
    p = peer.params
    season = p["smoothing_seasonal"] * (y[149] - peer.level[-2] - peer.trend[-2])
    season += (1 - p["smoothing_seasonal"]) * peer.season[-13]
    expected = peer.level[-1] + np.array([12, 24]) * peer.trend[-1] + season
    np.testing.assert_allclose(model.predict()[[11, 23]], expected, rtol=1e-9)
    assert min(p["smoothing_level"], p["smoothing_seasonal"]) > 0.01  # the constants matter
    start = {"initial_level": p["initial_level"], "initial_trend": p["initial_trend"]}
    later = holtwinters.ExponentialSmoothing(
        y[:181], **options, initialization_method="known", **start, initial_seasonal=p["initial_seasons"]
    ).fit(
        smoothing_level=p["smoothing_level"],
        smoothing_trend=p["smoothing_trend"],
        smoothing_seasonal=p["smoothing_seasonal"],
        optimized=False,
    )
    np.testing.assert_allclose(model.predict_at([100, 180], y)[1, others], later.forecast(30)[others], rtol=1e-9)


def test_holt_winters_without_statsmodels_or_season(monkeypatch):
    with pytest.raises(ValueError, match="season: expected an integer >= 2"):
        HoltWinters().fit(np.arange(20.0))
    with pytest.raises(ValueError, match="season: expected at most half of the 20 values"):
        HoltWinters(11).fit(np.arange(20.0))
    monkeypatch.setitem(sys.modules, "statsmodels.tsa.holtwinters", None)
    with pytest.raises(ImportError, match=r'needs statsmodels: pip install "fastrnn\[holt-winters\]"'):
        HoltWinters(4).fit(np.arange(20.0))


def test_season_comes_from_the_time_step():
    time = np.arange(400).astype("datetime64[h]")
    assert SeasonalNaive().fit(np.arange(400.0), time=time).season_ == 168
    assert SeasonalNaive().fit(np.arange(400.0)).season_ == 1


def test_season_longer_than_the_series():
    with pytest.raises(ValueError, match="season: expected at most the 5 values"):
        SeasonalNaive(season=6).fit(np.arange(5.0))


def test_linear_finds_a_linear_rule(rng):
    other = rng.normal(size=300)
    y = np.zeros(300)
    for t in range(2, 300):
        y[t] = 0.5 * y[t - 1] - 0.3 * y[t - 2] + 2.0 * other[t - 1] + 7.0
    model = Linear(window=3, horizon=1).fit(y[:200], other[:200, None])
    origins = np.arange(200, 299)
    np.testing.assert_allclose(model.predict_at(origins, y, other[:, None])[:, 0], y[origins + 1], rtol=1e-9)


def test_linear_is_safe_with_columns_that_depend_on_each_other(rng):
    y = rng.normal(size=200)
    X = np.column_stack([y, 2 * y, np.ones(200), y + 1e-14 * rng.normal(size=200)])
    model = Linear(window=4).fit(y, X)
    alone = Linear(window=4).fit(y)
    assert model.rank_ == alone.rank_ == 4
    assert np.abs(model.coef_).max() <= np.abs(alone.coef_).max() + 1e-9
    np.testing.assert_allclose(model.predict(), alone.predict(), rtol=1e-7)


def test_linear_leaves_filled_targets_out(rng):
    y = 3.0 + np.sin(np.arange(200))
    known = np.ones(200, dtype=bool)
    known[150:] = False
    spoilt = np.where(known, y, 1000.0)
    model = Linear(window=3).fit(spoilt, known=known)
    np.testing.assert_allclose(model.predict_at([100], y)[0, 0], y[101], rtol=1e-6)


def test_baselines_do_not_look_ahead(rng):
    y = rng.normal(size=120)
    later = y.copy()
    later[81:] += 50
    for model in (LastValue(horizon=2), SeasonalNaive(7, horizon=2), Linear(window=5, horizon=2)):
        model.fit(y[:60])
        np.testing.assert_array_equal(model.predict_at([80], y), model.predict_at([80], later))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": [1.0, np.nan, 2.0]}, "y: expected finite numbers, got 1 NaN or infinite of 3, the first in row 1; "),
        (
            {"y": [1.0, 2.0], "X": [[1.0, 2.0], [3.0, np.inf]]},
            "X: expected .* of 4, the first in row 1, column 1; fill",
        ),
        ({"y": [[1.0], [2.0]]}, "y: expected 1-D"),
        ({"y": [1.0, 2.0], "X": [[1.0]]}, "X: expected shape"),
        ({"y": [1.0, 2.0], "time": np.zeros(3, "datetime64[s]")}, "time: expected shape"),
        ({"y": [1.0, 2.0], "known": [True]}, "known: expected shape"),
    ],
)
def test_bad_series(arguments, message):
    with pytest.raises(ValueError, match=message):
        LastValue().fit(**arguments)


def test_use_before_fit_and_misfits():
    with pytest.raises(ValueError, match="not fitted yet"):
        LastValue().predict()
    with pytest.raises(ValueError, match="horizon: expected an integer >= 1"):
        LastValue(horizon=0).fit([1.0])
    model = Linear(window=2).fit(np.arange(20.0))
    with pytest.raises(ValueError, match="X: expected 0 columns as in fit, got 1"):
        model.predict([1.0, 2.0], [[1.0], [2.0]])
    with pytest.raises(ValueError, match=r"origins: expected at least window - 1 = 1, got 0"):
        model.predict_at([0], np.arange(5.0))
    with pytest.raises(ValueError, match="origins: expected integers from 0 to 4"):
        model.predict_at([5], np.arange(5.0))


def test_a_series_needs_values_and_times_in_order():
    with pytest.raises(ValueError, match="y: expected at least 1 value"):
        LastValue().fit([])
    with pytest.raises(ValueError, match="y: expected at least 1 value"):
        LastValue().fit([1.0]).predict([])
    for time in ([2, 1, 0], [0, 1, 1]):
        with pytest.raises(ValueError, match="time: expected moments in rising order"):
            LastValue().fit([1.0, 2.0, 3.0], time=np.array(time, "datetime64[h]"))
