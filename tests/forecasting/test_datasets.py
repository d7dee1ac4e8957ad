"""The bundled series."""

import numpy as np
import pytest

from fastrnn import datasets


def test_bike_sharing():
    bikes = datasets.bike_sharing()
    assert len(bikes.time) == len(bikes.y) == 8645
    assert (np.diff(bikes.time) > np.timedelta64(0)).all()
    hours = (bikes.time[-1] - bikes.time[0]) // np.timedelta64(1, "h") + 1
    assert hours - len(bikes.time) == 115
    assert bikes.columns["weathersit"].dtype.kind == "U"
    assert all(values.dtype == np.float64 for name, values in bikes.columns.items() if name != "weathersit")
    assert "10.24432/C5W894" in bikes.source
    assert "CC BY 4.0" in bikes.source


def test_co2_weekly():
    co2 = datasets.co2_weekly()
    assert len(co2.y) == 2284
    assert np.isnan(co2.y).sum() == 59
    assert (np.diff(co2.time) == np.timedelta64(7, "D")).all()


def test_co2_monthly():
    weekly, monthly = datasets.co2_weekly(), datasets.co2_monthly()
    assert len(monthly.y) == 526
    missing = ["1958-06", "1958-10", "1964-02", "1964-03", "1964-04"]
    np.testing.assert_array_equal(monthly.time[np.isnan(monthly.y)].astype("datetime64[M]"), np.array(missing, "M8[M]"))
    january = weekly.time.astype("datetime64[M]") == np.datetime64("1990-01")
    np.testing.assert_allclose(monthly.y[monthly.time == np.datetime64("1990-01-01")], np.nanmean(weekly.y[january]))


def test_unknown_name():
    with pytest.raises(ValueError, match="expected one of 'bike_sharing', 'co2_weekly', got 'cars'"):
        datasets.path("cars")
