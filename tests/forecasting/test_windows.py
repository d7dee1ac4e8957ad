"""Windows, splits, scaling."""

import numpy as np
import pytest

from fastrnn.forecasting.scaling import ColumnScaler
from fastrnn.forecasting.windows import Split, origins_between, split_end, targets_after, windows_until


def test_windows_end_with_their_origin_and_targets_follow_it():
    table = np.arange(20).reshape(10, 2)
    origins = origins_between(0, 10, window=3, horizon=2)
    np.testing.assert_array_equal(origins, np.arange(2, 8))
    windows, targets = windows_until(table, 3, origins), targets_after(table[:, 0], 2, origins)
    for window, target, origin in zip(windows, targets, origins, strict=True):
        np.testing.assert_array_equal(window, table[origin - 2 : origin + 1])
        np.testing.assert_array_equal(target, table[origin + 1 : origin + 3, 0])


def test_targets_stay_in_their_part():
    origins = origins_between(4, 8, window=2, horizon=2)
    np.testing.assert_array_equal(origins + 1, [4, 5, 6])  # the first target row of each; the last target row is 7


def test_no_room_no_origins():
    assert origins_between(0, 5, window=4, horizon=2).size == 0


def test_default_split_is_in_whole_seasons():
    assert split_end(8760, 48, 1, season=168) == Split(8760 - 12 * 168, 8760 - 8 * 168, 8760)
    assert split_end(1000, 48, 1) == Split(775, 850, 1000)
    assert split_end(1000, 48, 1, test=100, validation=20) == Split(880, 900, 1000)


def test_too_few_rows():
    with pytest.raises(ValueError, match=r"too few rows: 60 rows .* = 58"):
        split_end(60, 48, 1)


def test_scaling_knows_only_what_it_was_fitted_on(rng):
    table = rng.normal(3.0, 2.0, size=(100, 3))
    table[:, 1] = 0.1  # constant
    scaler = ColumnScaler().fit(table[:50])
    scaled = scaler.transform(table)
    np.testing.assert_allclose(scaled[:50].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled[:50].std(axis=0), [1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(scaler.inverse(2, scaled[:, 2]), table[:, 2])
    assert not scaler.transform(table + np.array([0, 5, 0]))[:, 1].any()


@pytest.mark.parametrize("sizes", [{"test": 4}, {"test": -1}, {"test": 10, "validation": 0}])
def test_a_part_holds_at_least_one_horizon(sizes):
    with pytest.raises(ValueError, match=r"(test|validation): expected at least the horizon of 5 rows"):
        split_end(100, window=6, horizon=5, **sizes)
