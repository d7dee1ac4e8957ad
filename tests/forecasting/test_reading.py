"""CSV files as people have them: unsorted, with gaps, text, repeats."""

import numpy as np
import pytest

pytest.importorskip("pandas")

from fastrnn.forecasting import fill_gaps, read_csv, read_panel


@pytest.fixture
def csv(tmp_path):
    def write(text):
        path = tmp_path / "series.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def hours(count, skip=()):
    return [f"2011-01-0{1 + hour // 24}T{hour % 24:02}:00,{hour}" for hour in range(count) if hour not in skip]


def test_gaps_are_found_reported_and_filled_from_the_past(csv):
    series = read_csv(csv("time,y\n" + "\n".join(hours(96, skip=[10, *range(60, 66)]))), target="y")
    assert len(series) == 96
    assert series.season == 24
    missing = [10, *range(60, 66)]
    np.testing.assert_array_equal(np.flatnonzero(~series.known[:, 0]), missing)
    assert series.y[10] == 9  # a short gap: the last value
    np.testing.assert_array_equal(series.y[60:66], np.arange(36, 42))  # a long one: the value a season before
    kept = np.setdiff1d(np.arange(96), missing)
    np.testing.assert_array_equal(series.y[kept], kept)
    assert any(
        "7 of 96 steps are missing in 2 gaps, the longest from 2011-01-03T12:00 (6 steps)" in n for n in series.notes
    )


def test_filling_never_looks_ahead():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 2))
    known = rng.random((200, 2)) > 0.4
    known[0] = True
    filled = fill_gaps(values, known, season=7)
    for cut in (50, 123):
        changed = values.copy()
        changed[cut:] += 100
        np.testing.assert_array_equal(fill_gaps(changed, known, season=7)[:cut], filled[:cut])
    np.testing.assert_array_equal(filled[known], values[known])


def test_filling_does_not_write_to_its_input():
    values = np.array([[1.0], [np.nan]])
    fill_gaps(values, np.isfinite(values), 1)
    assert np.isnan(values[1, 0])


def test_rows_are_sorted_and_the_last_of_a_repeat_counts(csv):
    series = read_csv(csv("date,y\n2011-01-03,3\n2011-01-01,1\n2011-01-02,9\n2011-01-02,2\n2011-01-04,5\n"))
    np.testing.assert_array_equal(series.y, [1, 2, 3, 5])
    assert "rows were sorted by time" in series.notes
    assert any(note.startswith("1 rows fall on a step that has another row") for note in series.notes)


def test_rows_off_the_grid_go_to_the_nearest_step(csv):
    series = read_csv(
        csv(
            "time,y\n2011-01-01T00:00,1\n2011-01-01T01:00,2\n2011-01-01T02:04,4\n2011-01-01T03:00,5\n"
            "2011-01-01T04:00,5\n"
        )
    )
    np.testing.assert_array_equal(series.y, [1, 2, 4, 5, 5])
    assert any("1 rows were moved" in note for note in series.notes)


def test_text_becomes_indicators_or_is_left_out(csv):
    names = "abcdefghijklmn"
    rows = [f"2011-01-{day + 1:02},{day},{'sun' if day % 2 else 'rain'},{names[day]}" for day in range(14)]
    series = read_csv(csv("day,y,weather,id\n" + "\n".join(rows)), target="y", time="day")
    assert series.columns == ("y", "weather=rain", "weather=sun")
    np.testing.assert_array_equal(series.values[:, 2], np.arange(14) % 2)
    assert any("'id' is text with 14 different values: left out" in note for note in series.notes)


def test_without_times(csv):
    series = read_csv(csv("a,b\n1,2\n2,4\n3,\n5,8\n"), target="b")
    assert series.time is None
    assert series.step is None
    assert series.season == 1
    assert series.columns == ("b", "a")
    np.testing.assert_array_equal(series.y, [2, 4, 4, 8])
    np.testing.assert_array_equal(series.known[:, 0], [True, True, False, True])


def test_times_with_an_offset_become_utc(csv):
    series = read_csv(csv("time,y\n2011-01-01T01:00+01:00,1\n2011-01-01T02:00+01:00,2\n2011-01-01T03:00+01:00,3\n"))
    assert series.time[0] == np.datetime64("2011-01-01T00:00")
    assert "times were converted to UTC" in series.notes


@pytest.mark.parametrize(
    "days",
    [
        ["2011-01-31", "2011-02-01", "2011-02-02"],
        ["1/31/2011", "2/1/2011", "2/2/2011"],
        ["31.01.2011", "01.02.2011", "02.02.2011"],
    ],
)
def test_dates_in_many_notations(csv, days):
    series = read_csv(csv("date,y\n" + "".join(f"{day},{row}\n" for row, day in enumerate(days))))
    np.testing.assert_array_equal(series.time, np.array(["2011-01-31", "2011-02-01", "2011-02-02"], "datetime64[us]"))


def test_infinite_values_are_missing(csv):
    series = read_csv(csv("y\n1\ninf\n3\n"))
    np.testing.assert_array_equal(series.y, [1, 1, 3])


@pytest.mark.parametrize("first", ["", "timestamp", "Date"])
def test_row_numbers_and_times_are_no_target(csv, first):
    series = read_csv(csv(f"{first},y\n20110101,1\n20110102,4\n20110103,9\n"))
    assert series.target == "y"


def test_row_numbers_are_no_input(csv):
    series = read_csv(csv(",y,z\n0,1,5\n1,4,6\n2,9,8\n"))
    assert series.columns == ("y", "z")
    assert "no name above Unnamed: 0, so taken for row numbers: left out" in series.notes
    assert read_csv(csv(",y\n3,1\n1,4\n"), target="Unnamed: 0").columns == ("Unnamed: 0", "y")


@pytest.mark.parametrize(
    ("cells", "values"),
    [(["True", "", "False"], [1, 1, 0]), ([f"1{'0' * 30}", "", f"2{'0' * 30}"], [1e30, 1e30, 2e30])],
)
def test_numbers_that_pandas_keeps_as_objects(csv, cells, values):
    series = read_csv(csv("y,z\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells))), target="y")
    np.testing.assert_allclose(series.X[:, 0], values)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is empty"),
        ("a,b\n", {}, "has a header but no rows"),
        ("a\n1\n2\n", {"target": "b"}, "target: no column 'b'; the columns are a"),
        ("a\n1\n2\n", {"time": "b"}, "time: no column 'b'; the columns are a"),
        ("t,a\n1,1\n2,2\n", {"time": "t"}, "column 't' holds plain numbers"),
        ("time,a\n2011-01-01,1\nyesterday,2\n", {}, "column 'time', line 3: 'yesterday', expected a time"),
        ("time,a\n2011-01-01,1\n,2\n", {}, "column 'time', line 3: no time"),
        ("time,a\n2011-01-01,1\n2011-01-01,2\n", {}, "times are all the same"),
        ("time,a\n2011-01-01T00:00:00,1\n2011-01-01T00:00:01,2\n2015-01-01,2\n", {}, "times are too uneven"),
        ("a,b\n1,1\n2,x\n3,3\n", {"target": "a"}, "column 'b', line 3: 'x', expected a number"),
        ("a,b\nu,1\nv,2\n", {"target": "a"}, "column 'a', line 2: 'u', expected a number"),
        ("a\n7\n7\n7\n", {}, "is 7 in every row"),
        ("a,b\n1,\n2,\n", {"target": "b"}, "holds no number at all"),
        ("a\nu\nv\n", {}, "no column of numbers"),
        ("a,b\n1,1\n2,-1e300\n", {}, "column 'b': its numbers are too large to be scaled, up to 1e+300"),
        ("a,b\n1,2\n3,4,5,6\n", {}, "is not a readable CSV"),
        ("a,b\n1,2,3\n4,5,6\n", {}, "more cells than the header has names"),
        ("time,a\n2011-01-01,1\n2011-01-02,2\n", {"season": 0}, "season: expected an integer >= 1, got 0"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(csv, text, options, message):
    with pytest.raises(ValueError) as error:
        read_csv(csv(text), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_csv(tmp_path / "absent.csv")
    with pytest.raises(ValueError, match="is a directory"):
        read_csv(tmp_path)
    (tmp_path / "latin.csv").write_bytes("größe\n1\n".encode("latin-1"))
    with pytest.raises(ValueError, match="not text in UTF-8"):
        read_csv(tmp_path / "latin.csv")


@pytest.mark.parametrize(
    ("text", "options", "line"),
    [
        ("a,b\n1,1\n\n\n2,x\n3,3\n", {"target": "a"}, "line 5: 'x'"),
        ("\n\na,b\n1,1\n2,x\n3,3\n", {"target": "a"}, "line 5: 'x'"),
        ("a,b\r\n1,1\r\n\r\n2,x\r\n3,3\r\n", {"target": "a"}, "line 4: 'x'"),
        ('a,"b\nc"\n1,1\n2,x\n3,3\n', {"target": "a"}, "line 4: 'x'"),
        ('a,note,b\n1,"one\n\ntwo",1\n2,y,x\n3,y,3\n', {"target": "a"}, "line 5: 'x'"),
        ("a,b\n,\n   \n2,x\n3,3\n4,4\n", {"target": "a"}, "line 4: 'x'"),
        ("time,a\n2011-01-01,1\n\nyesterday,2\n", {}, "line 4: 'yesterday'"),
    ],
)
def test_the_line_is_that_of_the_file(tmp_path, text, options, line):
    """Blank lines count, and so do line ends inside a cell."""
    path = tmp_path / "series.csv"
    path.write_bytes(text.encode())
    with pytest.raises(ValueError, match=line):
        read_csv(path, **options)


def test_the_row_is_told_where_lines_cannot_be_counted(tmp_path):
    import gzip

    path = tmp_path / "series.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,1\n2,x\n3,3\n"))
    with pytest.raises(ValueError, match="column 'b', row 2: 'x'"):
        read_csv(path, target="a")


SHOPS = """day,shop,sold,price,rain
2024-01-01,b,30,1,0
2024-01-01,a,3,2,
2024-01-03,a,5,2,1
2024-01-02,b,20,1,1
2024-01-04,a,7,3,0
2024-01-05,a,,4,
2024-01-06,a,,5,
2024-01-03,b,25,1,0
2024-01-02,a,4,,1
"""


def test_several_series_in_one_file(csv):
    panel = read_panel(csv(SHOPS), "shop", target="sold")
    assert list(panel) == ["b", "a"]
    np.testing.assert_array_equal(panel["b"].y, [30, 20, 25])
    np.testing.assert_array_equal(panel["a"].y, [3, 4, 5, 7, 7, 7])
    np.testing.assert_array_equal(panel["a"].known[:, 0], [True] * 4 + [False] * 2)
    assert panel["a"].columns == panel["b"].columns == ("sold", "price", "rain")
    assert {str(series.step) for series in panel.values()} == {"1 day"}
    assert "a: rows were sorted by time" in panel["a"].notes


def test_planned_columns_reach_beyond_the_series(csv):
    panel = read_panel(csv(SHOPS), "shop", target="sold", planned=["price"])
    a, b = panel["a"], panel["b"]
    assert len(a) == 4
    assert (a.columns, a.planned_columns) == (("sold", "rain"), ("price",))
    np.testing.assert_array_equal(a.planned, [[2], [2], [2], [3], [4], [5]])  # the missing one from the past
    assert a.X.shape == (4, 1)
    assert "a: 2 rows at the end have no more than planned values: taken for the future" in a.notes
    assert len(b) == len(b.planned) == 3
    alone = read_csv(csv("y,z,plan\n1,1,0\n,2,1\n3,3,0\n,,1\n"), target="y", planned=["plan"])
    np.testing.assert_array_equal(alone.y, [1, 1, 3])
    np.testing.assert_array_equal(alone.planned.ravel(), [0, 1, 0, 1])


def test_the_plan_is_no_target(csv):
    assert read_csv(csv("plan,y\n1,2\n2,4\n3,7\n"), planned=["plan"]).target == "y"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("day,shop,y\n2024-01-01,a,1\n2024-01-02,a,2\n", {"series": "store"}, "series: no column 'store'"),
        ("day,shop,y\n2024-01-01,a,1\n\n2024-01-02,,2\n", {"series": "shop"}, "column 'shop', line 4: empty"),
        (
            "day,shop,y\n2024-01-01,a,1\n2024-01-02,a,2\n2024-01-01,b,1\n2024-01-08,b,2\n",
            {"series": "shop"},
            "expected one time step in all, got 1 day in 'a' and 1 week in 'b'",
        ),
        ("shop,y\na,1\na,2\nb,7\nb,7\n", {"series": "shop"}, "series 'b': column 'y': is 7 in every row"),
        ("shop,y\na,1\na,2\n", {"series": "shop", "planned": ["price"]}, "planned: no column 'price'"),
    ],
)
def test_what_is_wrong_with_several_series(csv, text, options, message):
    with pytest.raises(ValueError) as error:
        read_panel(csv(text), **options)
    assert message in str(error.value)
