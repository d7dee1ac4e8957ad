"""Time steps, seasons, calendar inputs."""

import numpy as np
import pytest

from fastrnn.forecasting.calendar import (
    DAY,
    HOUR,
    WEEK,
    TimeStep,
    calendar_inputs,
    calendar_periods,
    default_season,
    even_times,
    infer_time_step,
    written_time,
)


def moments(*texts):
    return np.array(texts, dtype="datetime64[us]")


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (np.arange(0, 90, 15).astype("datetime64[m]"), "15 minutes"),
        (np.arange(5).astype("datetime64[h]"), "1 hour"),
        (np.arange(5).astype("datetime64[D]"), "1 day"),
        (np.arange(0, 50, 7).astype("datetime64[D]"), "1 week"),
        (np.arange(14).astype("datetime64[M]"), "1 month"),
        (np.arange(0, 30, 3).astype("datetime64[M]"), "3 months"),
        (np.arange(5).astype("datetime64[Y]"), "1 year"),
        (np.arange(0, 2000, 250).astype("datetime64[ms]"), "0.25 seconds"),
        (moments("2011-01-31", "2011-02-28", "2011-03-31", "2011-04-30"), "1 month"),
    ],
)
def test_time_step_is_the_commonest_distance(time, words):
    assert str(infer_time_step(time)) == words


def test_time_step_survives_gaps():
    hours = np.arange(100).astype("datetime64[h]")
    assert infer_time_step(np.delete(hours, [3, 4, 50, 77])) == TimeStep(HOUR)


def test_month_ends_stay_month_ends():
    time = moments("2011-02-28", "2011-03-31", "2011-04-30")
    step = infer_time_step(time)
    np.testing.assert_array_equal(even_times(time, step, after=2), moments(*map(str, time), "2011-05-31", "2011-06-30"))


def test_even_times_fill_gaps_and_go_on():
    time = np.array([0, 1, 4]).astype("datetime64[h]").astype("datetime64[us]")
    np.testing.assert_array_equal(even_times(time, TimeStep(HOUR), 2), np.arange(7).astype("datetime64[h]"))


@pytest.mark.parametrize(
    ("step", "rows", "season"),
    [
        (TimeStep(HOUR), 8760, 168),
        (TimeStep(HOUR), 200, 24),
        (TimeStep(HOUR), 40, 1),
        (TimeStep(DAY), 100, 7),
        (TimeStep(WEEK), 500, 52),
        (TimeStep(1, "M"), 60, 12),
        (TimeStep(3, "M"), 60, 4),
        (TimeStep(12, "M"), 60, 1),
        (None, 1000, 1),
    ],
)
def test_default_season(step, rows, season):
    assert default_season(step, rows) == season


def test_calendar_is_that_of_the_next_moment():
    sunday_last_hour = moments("2011-01-02T23:00")  # the next moment is Monday, 00:00: phase 0 of week and day
    np.testing.assert_allclose(
        calendar_inputs(sunday_last_hour, TimeStep(HOUR), ["week", "day"]), [[0, 1, 0, 1]], atol=1e-12
    )
    noon = calendar_inputs(moments("2011-01-05T11:00"), TimeStep(HOUR), ["day"])
    np.testing.assert_allclose(noon, [[0, -1]], atol=1e-12)


def test_calendar_periods_need_two_turns_and_more_than_two_steps():
    assert calendar_periods(TimeStep(HOUR), 24 * 7 * 2) == ["week", "day"]
    assert calendar_periods(TimeStep(DAY), 10 * 366) == ["year", "week"]
    assert calendar_periods(TimeStep(1, "M"), 20) == []


def test_written_time_has_no_needless_digits():
    assert written_time(moments("2011-01-01", "2011-01-02")) == ["2011-01-01", "2011-01-02"]
    assert written_time(moments("2011-01-01T05:00")) == ["2011-01-01T05:00"]
    assert written_time(np.arange(2)) == ["0", "1"]


def test_times_must_be_times():
    with pytest.raises(TypeError, match="time: expected an array of datetime64"):
        infer_time_step(np.arange(3))
    with pytest.raises(ValueError, match="got 1 NaT of 2"):
        infer_time_step(moments("2011-01-01", "NaT"))
