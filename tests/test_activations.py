"""tanh and sigmoid of the kernels: units in the last place, special values, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import mpmath
import numpy as np
import pytest

import fastrnn
from fastrnn import _engine

Array = np.ndarray
Function = Callable[..., Array]

MOST_ULP = {  # as the docstrings promise
    ("tanh", "float32"): 2.0,
    ("tanh", "float64"): 2.5,
    ("sigmoid", "float32"): 2.5,
    ("sigmoid", "float64"): 2.5,
}
FUNCTIONS = {"tanh": fastrnn.tanh, "sigmoid": fastrnn.sigmoid}
THRESHOLDS = [
    0.0,
    0.3465735902799727,
    0.34657362,
    0.5,
    0.6931471805599453,
    1.0,
    9.0,
    10.0,
    17.0,
    22.0,
    88.0,
    88.7,
    103.0,
]
THRESHOLDS += [103.97, 104.0, 104.1, 708.0, 709.8, 745.1, 746.0, 747.0, 1e4, 1e10, 1e30]

functions = pytest.mark.parametrize("name", FUNCTIONS)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(params=_engine.instruction_sets(), autouse=True)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test runs with the kernels of every instruction set."""
    before = _engine.instruction_set()
    _engine.use_instruction_set(request.param)
    yield request.param
    _engine.use_instruction_set(before)


def wider(name: str, x: Array) -> Array:
    """The function in the next wider type of NumPy: float64 for float32, long double for float64."""
    x = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
    if name == "tanh":
        return np.tanh(x)
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def ulp_errors(result: Array, exact: Array) -> Array:
    """|result - exact| in units in the last place of `exact`, which is of a wider type."""
    limits = np.finfo(result.dtype)
    _, exponent = np.frexp(exact)  # exact = m·2^exponent with 0.5 <= m < 1
    smallest = limits.minexp - limits.nmant  # exponent of the smallest subnormal number
    unit = np.ldexp(exact.dtype.type(1), np.maximum(exponent - 1 - limits.nmant, smallest))
    return np.abs(result.astype(exact.dtype) - exact) / unit


def largest_error(name: str, x: Array) -> float:
    """The largest error in units in the last place; NaN where it belongs and nowhere else."""
    with np.errstate(all="ignore"):  # signalling NaNs, exp(-750)
        result, exact = FUNCTIONS[name](x), wider(name, x)
        assert result.dtype == x.dtype
        np.testing.assert_array_equal(np.isnan(result), np.isnan(x))
        return float(np.nanmax(ulp_errors(result, exact), initial=0))


def bit_patterns(start: int, stop: int, stride: int) -> Iterator[Array]:
    """float32 numbers by their bits, in pieces that stay in the cache."""
    piece = 1 << 16
    for first in range(start, stop, piece * stride):
        last = min(first + piece * stride, stop)
        yield np.arange(first, last, stride, dtype=np.uint64).astype(np.uint32).view(np.float32)


def numbers_around(values: list[float], dtype: str) -> Array:
    """The values, their neighbours, and the negatives of all."""
    values = np.array(values, dtype)
    near = [values]
    for direction in (-np.inf, np.inf):
        step = values
        for _ in range(3):
            step = np.nextafter(step, np.array(direction, dtype))
            near.append(step)
    near = np.concatenate(near)
    return np.concatenate([near, -near])


@functions
def test_float32_over_all_numbers_in_strides(name: str) -> None:
    assert max(largest_error(name, x) for x in bit_patterns(0, 1 << 32, 251)) <= MOST_ULP[name, "float32"]


@pytest.mark.slow
@functions
def test_float32_over_all_numbers(name: str) -> None:
    assert max(largest_error(name, x) for x in bit_patterns(0, 1 << 32, 1)) <= MOST_ULP[name, "float32"]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="long double is no wider than double here")
@functions
@pytest.mark.parametrize("limit", [1e-3, 0.4, 1.0, 25.0, 750.0], ids="|x|<{:g}".format)
def test_float64_over_dense_numbers(name: str, limit: float, rng: np.random.Generator) -> None:
    assert largest_error(name, rng.uniform(-limit, limit, 1_000_000)) <= MOST_ULP[name, "float64"]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="long double is no wider than double here")
@functions
def test_float64_over_all_exponents(name: str, rng: np.random.Generator) -> None:
    x = rng.integers(0, 2**64, 1_000_000, dtype=np.uint64, endpoint=False).view(np.float64)
    assert np.isnan(x).any() and (np.abs(x) < 1e-300).any() and (np.abs(x) > 1e300).any()
    assert largest_error(name, x) <= MOST_ULP[name, "float64"]


@functions
@dtypes
def test_against_mpmath(name: str, dtype: str, rng: np.random.Generator) -> None:
    """By arithmetic that shares nothing with ours or with the C library's."""
    limits = np.finfo(dtype)
    sizes = [float(limits.smallest_subnormal), float(limits.tiny), float(limits.eps), float(limits.max) / 2]
    x = np.concatenate([numbers_around([*THRESHOLDS, *sizes], dtype), (rng.normal(size=2000) * 8).astype(dtype)])
    result = FUNCTIONS[name](x)
    with mpmath.workprec(200):
        for value, y in zip(x.tolist(), result.tolist(), strict=True):
            exact = mpmath.tanh(value) if name == "tanh" else 1 / (1 + mpmath.exp(-mpmath.mpf(value)))
            exponent = int(mpmath.floor(mpmath.log(abs(exact), 2))) if exact else -(10**6)
            unit = mpmath.ldexp(1, max(exponent, limits.minexp) - limits.nmant)
            assert abs(y - exact) <= MOST_ULP[name, dtype] * unit, (value, y)


@dtypes
def test_special_values(dtype: str) -> None:
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38], dtype)
    tanh, sigmoid = fastrnn.tanh(x), fastrnn.sigmoid(x)
    np.testing.assert_array_equal(tanh, np.array([np.nan, np.nan, 1, -1, 0, 0, 1, -1], dtype))
    np.testing.assert_array_equal(sigmoid, np.array([np.nan, np.nan, 1, 0, 0.5, 0.5, 1, 0], dtype))
    np.testing.assert_array_equal(np.signbit(tanh[2:]), np.signbit(x[2:]))
    tiny = np.finfo(dtype).smallest_subnormal * np.arange(1, 100, dtype=dtype)
    np.testing.assert_array_equal(fastrnn.tanh(tiny), tiny)
    np.testing.assert_array_equal(fastrnn.tanh(-tiny), -tiny)
    np.testing.assert_array_equal(fastrnn.sigmoid(tiny), 0.5)


@functions
@dtypes
def test_bounds_and_symmetry(name: str, dtype: str, rng: np.random.Generator) -> None:
    x = np.sort((rng.normal(size=100_000) * 10).astype(dtype))
    y = FUNCTIONS[name](x)
    assert y.min() >= (-1 if name == "tanh" else 0) and y.max() <= 1
    if name == "tanh":
        np.testing.assert_array_equal(fastrnn.tanh(-x), -y)


@functions
@dtypes
@pytest.mark.parametrize("size", [*range(20), 31, 32, 33, 1000], ids="n={}".format)
def test_every_place_has_the_same_bits(name: str, dtype: str, size: int, rng: np.random.Generator) -> None:
    """An element's result does not depend on where it stands, and nothing is written beside the array."""
    x = (rng.normal(size=size) * 3).astype(dtype)
    expected = np.array([FUNCTIONS[name](value.reshape(1))[0] for value in x], dtype)
    around = np.full(size + 16, 7, dtype)
    out = around[8 : 8 + size]
    assert FUNCTIONS[name](x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    assert (around[:8] == 7).all() and (around[8 + size :] == 7).all()


@functions
@dtypes
def test_out_may_overlap_the_input(name: str, dtype: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=200).astype(dtype)
    function = FUNCTIONS[name]
    expected = function(x)
    same = x.copy()
    assert function(same, out=same) is same
    np.testing.assert_array_equal(same, expected)
    for shift in (1, 3, 8, 50):
        later, earlier = x.copy(), x.copy()
        function(later[:-shift], out=later[shift:])
        np.testing.assert_array_equal(later[shift:], expected[:-shift])
        np.testing.assert_array_equal(later[:shift], x[:shift])
        function(earlier[shift:], out=earlier[:-shift])
        np.testing.assert_array_equal(earlier[:-shift], expected[shift:])
    reversed_ = x.copy()
    function(reversed_[::-1], out=reversed_)
    np.testing.assert_array_equal(reversed_, expected[::-1])


@functions
def test_any_array_is_taken(name: str, rng: np.random.Generator) -> None:
    function = FUNCTIONS[name]
    x = rng.normal(size=(3, 4, 5))
    x.flags.writeable = False
    expected = function(x)
    assert expected.shape == x.shape and expected.flags.writeable
    np.testing.assert_array_equal(function(x[:, ::-2].T), expected[:, ::-2].T)
    np.testing.assert_array_equal(function(np.asfortranarray(x)), expected)
    np.testing.assert_array_equal(function(x.astype(">f8")), expected)
    np.testing.assert_array_equal(function(x.tolist()), expected)
    assert function(x.astype(">f4")).dtype == np.float32
    assert function([0, 1]).dtype == np.float64
    assert function(np.float16(1)).dtype == np.float64
    assert function(np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert np.shape(function(0.5)) == ()


@functions
@pytest.mark.parametrize("x", [1j, "1", None, [[1], [1, 2]], np.array([1.0], object)], ids=repr)
def test_what_is_not_real_raises(name: str, x: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^x: expected an array of"):
        FUNCTIONS[name](x)


def read_only() -> Array:
    out = np.empty((2, 6))
    out.flags.writeable = False
    return out


@functions
@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.empty((2, 5)), ValueError),
        (np.empty(12), ValueError),
        (np.empty((2, 6), np.float32), ValueError),
        (np.empty((2, 6), ">f8"), ValueError),
        (np.empty((2, 12))[:, ::2], ValueError),
        (np.empty((6, 2)).T, ValueError),
        (read_only(), ValueError),
        ([[0.0] * 6] * 2, TypeError),
    ],
    ids=["shape", "rank", "type", "byte order", "strided", "Fortran", "read-only", "list"],
)
def test_unfit_out_raises(name: str, out: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^out: expected"):
        FUNCTIONS[name](np.ones((2, 6)), out=out)
