"""Quantiles and prediction intervals: calibration by hand, coverage on noise, order."""

import numpy as np
import pytest

from fastrnn.forecasting import Forecaster, backtest, split_end
from fastrnn.forecasting.intervals import conformal_margins, interval_pairs, interval_quantiles, widened

LEVELS = (0.05, 0.5, 0.95)


@pytest.fixture(scope="module")
def noisy():
    """A sine with noise that is larger where the sine is high."""
    t = np.arange(1500)
    wave = np.sin(2 * np.pi * t / 24)
    return wave + (0.1 + 0.2 * (wave > 0)) * np.random.default_rng(7).normal(size=t.size)


def test_the_levels_of_an_interval():
    assert interval_quantiles(0.8) == (0.1, 0.5, 0.9)
    assert interval_pairs((0.05, 0.1, 0.5, 0.9, 0.95)) == [(0.05, 0.95), (0.1, 0.9)]
    assert interval_pairs((0.5,)) == []


def test_margins_by_hand():
    """Ten truths outside [0, 1] by 0, 1, ..., 9: nine tenths of eleven are below the tenth score."""
    truth = 1.0 + np.arange(10.0)[:, None]
    said = np.broadcast_to([0.0, 0.5, 1.0], (10, 1, 3))
    assert conformal_margins(said, truth, (0.05, 0.5, 0.95))[(0.05, 0.95)] == [9.0]
    assert conformal_margins(said, truth, (0.25, 0.5, 0.75))[(0.25, 0.75)] == [5.0]  # ceil(11 / 2) = 6th score


def test_an_interval_that_is_too_wide_is_narrowed_and_never_past_the_median():
    said = np.array([[[-4.0, 0.0, 4.0]]])
    np.testing.assert_array_equal(widened(said, LEVELS, {(0.05, 0.95): np.array([-1.0])}), [[[-3.0, 0.0, 3.0]]])
    np.testing.assert_array_equal(widened(said, LEVELS, {(0.05, 0.95): np.array([-9.0])}), [[[0.0, 0.0, 0.0]]])
    np.testing.assert_array_equal(said, [[[-4.0, 0.0, 4.0]]])


@pytest.mark.parametrize("strategy", ["direct", "seq2seq", "encoder_decoder"])
def test_coverage_is_near_the_nominal(noisy, strategy):
    network = Forecaster(
        units=8, window=24, horizon=2, strategy=strategy, quantiles=LEVELS, epochs=20, learning_rate=0.01
    )
    split = split_end(len(noisy), 24, 2, test=500, validation=300)
    result = backtest({"network": network}, split, noisy)
    (coverage,) = result.coverage("network")
    assert coverage.nominal == pytest.approx(0.9)
    assert 0.85 < coverage.actual < 0.96
    inside = (result.quantiles["network"][..., 0] <= result.truth) & (
        result.truth <= result.quantiles["network"][..., 2]
    )
    assert coverage.actual == inside.mean()
    np.testing.assert_allclose(coverage.by_step, inside.mean(axis=0))
    # the network has seen when the noise is larger
    width = result.quantiles["network"][:, 0, 2] - result.quantiles["network"][:, 0, 0]
    high = np.sin(2 * np.pi * (result.origins + 1) / 24) > 0
    assert width[high].mean() > 1.3 * width[~high].mean()
    assert coverage.width == pytest.approx(
        (result.quantiles["network"][..., 2] - result.quantiles["network"][..., 0]).mean()
    )


def test_calibration_mends_a_network_that_is_too_sure(noisy):
    """The same network with and without: one epoch of training leaves intervals that are too narrow."""
    options = {"units": 4, "window": 12, "quantiles": LEVELS, "epochs": 1, "validation": 300}
    plain = Forecaster(calibrate=False, **options).fit(noisy[:1000])
    mended = Forecaster(**options).fit(noisy[:1000])
    assert plain.margins_ == {}
    origins, truth = np.arange(1000, 1499), noisy[1001:1500]

    def covers(network):
        lower, _, upper = np.moveaxis(network.predict_quantiles_at(origins, noisy)[:, 0], -1, 0)
        return ((lower <= truth) & (truth <= upper)).mean()

    assert abs(covers(mended) - 0.9) < 0.05
    assert abs(covers(mended) - 0.9) < abs(covers(plain) - 0.9)
    # the median is the median
    np.testing.assert_allclose(mended.predict_at(origins, noisy), plain.predict_at(origins, noisy))


def test_quantiles_never_cross(rng):
    y = rng.normal(size=200)
    levels = (0.9, 0.5, 0.1, 0.25, 0.75)
    network = Forecaster(units=3, window=5, horizon=4, quantiles=levels, epochs=1).fit(y)
    assert network.quantiles_ == (0.1, 0.25, 0.5, 0.75, 0.9)
    assert set(network.margins_) == {(0.1, 0.9), (0.25, 0.75)}
    quantiles = network.predict_quantiles_at(np.arange(50, 150), y)
    assert quantiles.shape == (100, 4, 5)
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    np.testing.assert_array_equal(network.predict_at(np.arange(50, 150), y), quantiles[..., 2])


def test_quantiles_of_counts_are_counts(rng):
    y = rng.poisson(2.0, size=300).astype(float)
    network = Forecaster(units=3, window=5, quantiles=LEVELS, epochs=2).fit(y)
    assert network.transform_ == "sqrt"
    assert (network.predict_quantiles_at(np.arange(50, 250), y) >= 0).all()


def test_without_quantiles_there_is_the_forecast_alone(rng):
    y = rng.normal(size=100)
    network = Forecaster(units=2, window=4, horizon=2, epochs=1).fit(y)
    np.testing.assert_array_equal(network.predict_quantiles()[:, 0], network.predict())
    result = backtest({"network": Forecaster(units=2, window=4, horizon=2, epochs=1)}, split_end(100, 4, 2), y)
    assert result.coverage("network") == []


def test_without_validation_there_is_no_calibration(rng):
    network = Forecaster(units=2, window=4, quantiles=LEVELS, epochs=1, validation=0).fit(rng.normal(size=100))
    assert network.margins_ == {}
    assert network.predict_quantiles().shape == (1, 3)
