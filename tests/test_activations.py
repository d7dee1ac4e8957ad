"""The kernels' activations: units in the last place, derivatives, special values, memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest

import fastrnn
from fastrnn import _engine
from fastrnn.functional import activations

Array = np.ndarray
Function = Callable[..., Array]

MOST_ULP = {  # as the docstrings promise
    ("tanh", "float32"): 2.0,
    ("tanh", "float64"): 2.5,
    ("sigmoid", "float32"): 2.0,
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


# ---- all kinds -------------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """An activation in mpmath's arithmetic, and how many units in the last place we may be off."""

    value: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    most_ulp: tuple[float, float] = (0, 0)  # of the value, float32 and float64
    most_slope_ulp: float = 0  # of the derivative; units of 1 where it is a sum that cancels


def logistic(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


SELU_ALPHA, SELU_BETA = mpmath.mpf("1.6732632423543772848"), mpmath.mpf("1.0507009873554804934")
KINDS = {
    "linear": Kind(lambda x: x, lambda x: 1),
    "tanh": Kind(mpmath.tanh, lambda x: mpmath.sech(x) ** 2, (2, 2.5), 4),
    "sigmoid": Kind(logistic, lambda x: logistic(x) * logistic(-x), (2, 2.5), 4),
    "relu": Kind(lambda x: max(x, 0), lambda x: int(x > 0)),
    "hard_sigmoid": Kind(lambda x: min(max(x / 6 + 0.5, 0), 1), lambda x: mpmath.mpf(abs(x) < 3) / 6, (2, 2), 1),
    "hard_tanh": Kind(lambda x: min(max(x, -1), 1), lambda x: int(abs(x) < 1)),
    "softsign": Kind(lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2, (1.5, 1.5), 4),
    "softplus": Kind(lambda x: mpmath.log1p(mpmath.exp(x)), logistic, (2.5, 2.5), 4),
    "elu": Kind(lambda x: x if x > 0 else mpmath.expm1(x), lambda x: 1 if x > 0 else mpmath.exp(x), (2, 2), 2),
    "selu": Kind(
        lambda x: SELU_BETA * (x if x > 0 else SELU_ALPHA * mpmath.expm1(x)),
        lambda x: SELU_BETA * (1 if x > 0 else SELU_ALPHA * mpmath.exp(x)),
        (2, 2),
        2,
    ),
    "leaky_relu": Kind(lambda x: x if x > 0 else x / 5, lambda x: 1 if x > 0 else mpmath.mpf(1) / 5, (1.5, 1.5), 1),
    "thresholded_relu": Kind(lambda x: x if x > 1 else 0, lambda x: int(x > 1)),
    "gelu": Kind(lambda x: x * mpmath.ncdf(x), lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x), (4, 5), 4.5),
    "silu": Kind(
        lambda x: x * logistic(x), lambda x: logistic(x) * (1 + x * logistic(-x)), (4, 4), 4.5
    ),
    "exponential": Kind(mpmath.exp, mpmath.exp, (1, 1), 1),
    "affine": Kind(lambda x: x, lambda x: 1),
    "scaled_tanh": Kind(mpmath.tanh, lambda x: mpmath.sech(x) ** 2, (2, 2.5), 4),
}  # fmt: skip
kinds = pytest.mark.parametrize("name", KINDS)
SUMS = ("sigmoid", "gelu", "silu")  # their derivatives cancel for large x, or around -1


def value_of(name: str, x: Array) -> Array:
    """phi(x) by the kernel, with the default constants."""
    return activations._activate(name, x, None)


def slope_of(name: str, x: Array) -> Array:
    """phi'(x) by a step backward of the simple cell with weights that change nothing."""
    one, zero = np.ones((1, 1), x.dtype), np.zeros((1, 1), x.dtype)
    y, cache = fastrnn.rnn_forward(x[:, None, None], None, one, zero, None, activation=name)
    return fastrnn.rnn_backward(np.ones_like(y), cache).dx[:, 0, 0]


@functools.cache
def exact_points(name: str, dtype: str) -> tuple[Array, list[Any], list[Any]]:
    """Arguments; the values and the derivatives there."""
    limits, random = np.finfo(dtype), np.random.default_rng(7)
    sizes = [float(limits.smallest_subnormal), float(limits.tiny), float(limits.eps), 1e-3, 3.0, 5.0, 13.0, 15.0, 38.0]
    near = numbers_around([*THRESHOLDS[:-3], *sizes], dtype)
    x = np.concatenate([near, (random.normal(size=300) * 5).astype(dtype), -random.uniform(0, 110, 200).astype(dtype)])
    with mpmath.workprec(200):
        points = [mpmath.mpf(value) for value in x.tolist()]
        return x, [KINDS[name].value(value) for value in points], [KINDS[name].slope(value) for value in points]


def unit_in_last_place(exact: Any, dtype: str) -> Any:
    limits = np.finfo(dtype)
    exponent = int(mpmath.floor(mpmath.log(abs(exact), 2))) if exact else -(10**6)
    return mpmath.ldexp(1, max(exponent, limits.minexp) - limits.nmant)


@kinds
@dtypes
def test_every_kind_against_mpmath(name: str, dtype: str) -> None:
    x, exact, _ = exact_points(name, dtype)
    largest, most = float(np.finfo(dtype).max), KINDS[name].most_ulp[dtype == "float64"]
    with mpmath.workprec(200):
        for value, y, right in zip(x.tolist(), value_of(name, x).tolist(), exact, strict=True):
            if abs(right) > largest:
                assert y == np.inf, value
            else:
                scale = max(abs(right), abs(value) / 6, 0.5) if name == "hard_sigmoid" else right  # of a sum's terms
                assert abs(y - right) <= most * unit_in_last_place(scale, dtype), (value, y)


@kinds
@dtypes
def test_every_derivative_against_mpmath(name: str, dtype: str) -> None:
    x, _, exact = exact_points(name, dtype)
    largest, most = float(np.finfo(dtype).max), KINDS[name].most_slope_ulp
    with mpmath.workprec(200):
        for value, slope, right in zip(x.tolist(), slope_of(name, x).tolist(), exact, strict=True):
            if name == "hard_sigmoid" and 0 < abs(abs(value) - 3) < 1e-5:
                continue  # rounding decides there
            if abs(right) > largest:
                assert slope == np.inf, value
            else:
                cancels = name in ("tanh", "scaled_tanh") or (name in SUMS and value > -2)
                scale = max(abs(right), 1) if cancels else right
                assert abs(slope - right) <= most * unit_in_last_place(scale, dtype), (value, slope)


@kinds
@dtypes
def test_limits_and_signs(name: str, dtype: str) -> None:
    at_infinity = {
        "linear": (np.inf, -np.inf), "affine": (np.inf, -np.inf), "leaky_relu": (np.inf, -np.inf),
        "tanh": (1, -1), "scaled_tanh": (1, -1), "hard_tanh": (1, -1), "softsign": (1, -1),
        "sigmoid": (1, 0), "hard_sigmoid": (1, 0), "elu": (np.inf, -1),
        "selu": (np.inf, -np.dtype(dtype).type(SELU_ALPHA * SELU_BETA)),
    }.get(name, (np.inf, 0))  # fmt: skip
    y = value_of(name, np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0], dtype))
    assert np.isnan(y[:2]).all()
    np.testing.assert_array_equal(y[2:4], np.array(at_infinity, dtype))
    if KINDS[name].value(mpmath.mpf(0)) == 0 and name not in ("relu", "thresholded_relu", "affine"):
        np.testing.assert_array_equal(np.signbit(y[4:]), [False, True])


@dtypes
@pytest.mark.parametrize(
    ("name", "kinks", "slopes"),
    [
        ("relu", [0.0, -0.0], [0, 0]),
        ("hard_sigmoid", [-3.0, 3.0], [0, 0]),
        ("hard_tanh", [-1.0, 1.0], [0, 0]),
        ("leaky_relu", [0.0, -0.0], [0.2, 0.2]),
        ("elu", [0.0, -0.0], [1, 1]),
        ("selu", [0.0, -0.0], [SELU_ALPHA * SELU_BETA, SELU_ALPHA * SELU_BETA]),
        ("thresholded_relu", [1.0], [0]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_kinks_have_the_left_derivative_and_bounds_none(
    name: str, kinks: list[float], slopes: list[Any], dtype: str
) -> None:
    np.testing.assert_array_equal(slope_of(name, np.array(kinks, dtype)), np.array(slopes, float).astype(dtype))


@kinds
@dtypes
def test_every_kind_has_the_same_bits_in_every_place(name: str, dtype: str, rng: np.random.Generator) -> None:
    x = (rng.normal(size=67) * 5).astype(dtype)
    expected = np.concatenate([value_of(name, x[i : i + 1]) for i in range(x.size)])
    np.testing.assert_array_equal(value_of(name, x), expected)
    np.testing.assert_array_equal(value_of(name, x[5:]), expected[5:])


@dtypes
def test_constants_are_numbers_that_float32_holds(dtype: str) -> None:
    """In both types: a larger one would be an infinity in float32."""
    largest = float(np.finfo(np.float32).max)
    x = np.array([[-2.0], [2.0]], dtype)
    weights = np.ones((1, 1), dtype), np.zeros((1, 1), dtype), None
    y, _ = fastrnn.rnn_forward(x, None, *weights, activation=("thresholded_relu", largest))
    assert not y.any()
    limits = r"expected a number >= -3.40282e\+38 and <= 3.40282e\+38"
    with pytest.raises(ValueError, match=rf"^activation\[1\]: {limits}, got 1e\+40$"):
        fastrnn.rnn_forward(x, None, *weights, activation=("thresholded_relu", 1e40))
    with pytest.raises(ValueError, match=rf"^activation\[2\]: {limits}, got -1e\+39$"):
        fastrnn.Dense(1, activation=("affine", 1, -1e39))
    with pytest.raises(ValueError, match=r"^activation\[1\]: expected a finite number, got nan$"):
        fastrnn.Dense(1, activation=("elu", np.nan))
