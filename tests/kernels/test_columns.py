"""Complex columns (`_core.sum_columns`) against their definition, and within their bounds."""

from itertools import product

import numpy as np
import pytest
from guard import Guarded

from fastconv import _core

PAIRS = (np.complex64, np.complex128)


def random_pairs(rng, dtype, *shape):
    parts = rng.standard_normal((2, *shape))
    return (parts[0] + 1j * parts[1]).astype(dtype)


def truth(x, weights, rows, dilation):
    x, weights = x.astype(np.complex128), weights.astype(np.complex128)
    return sum(w * x[t * dilation : t * dilation + rows] for t, w in enumerate(weights))


@pytest.mark.parametrize("dtype", PAIRS)
@pytest.mark.parametrize("side", ["before", "after"])
def test_sizes_around_the_tile_and_guard_pages(dtype, side):
    rng = np.random.default_rng(3)
    heights, lengths = (1, 7, 8, 11, 12, 13, 25), (1, 3, 4, 5, 8, 17)
    for rows, length, taps, dilation in product(heights, lengths, (1, 2, 4, 5, 9), (1, 2, 5)):
        x = Guarded(random_pairs(rng, dtype, rows + (taps - 1) * dilation, length), side)
        weights = Guarded(random_pairs(rng, dtype, taps, length), side)
        out = Guarded(np.full((rows, length), np.nan, dtype), side)
        _core.sum_columns(x.array, weights.array, out.array, dilation)
        assert all(guard.intact for guard in (x, weights, out))
        want = truth(x.array, weights.array, rows, dilation)
        # Each product of two terms, each of a multiply-add, against the sum of their magnitudes.
        scale = truth(abs(x.array), abs(weights.array), rows, dilation).real
        error = abs(out.array - want) / scale
        assert error.max() <= (taps + 2) * np.finfo(dtype).eps, (rows, length, taps, dilation)


@pytest.mark.parametrize("dtype", PAIRS)
def test_rows_far_apart_and_repeated_calls(dtype):
    rng = np.random.default_rng(4)
    x, out = random_pairs(rng, dtype, 60, 50), np.full((40, 70), 7, dtype)
    weights = random_pairs(rng, dtype, 11, 33)
    dense = np.empty((40, 33), dtype)
    _core.sum_columns(np.ascontiguousarray(x[5:55, 6:39]), weights, dense)
    for _ in range(2):
        _core.sum_columns(x[5:55, 6:39], weights, out[:, 20:53])
        assert np.array_equal(out[:, 20:53], dense)
    assert (np.delete(out, np.s_[20:53], axis=1) == 7).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_window(value):
    x, weights = np.ones((30, 9), np.complex128), np.ones((4, 9), np.complex128)
    x[17, 5] = value
    out = np.empty((27, 9), np.complex128)
    _core.sum_columns(x, weights, out)
    spoilt = ~np.isfinite(out)
    assert spoilt[14:18, 5].all()
    assert spoilt.sum() == 4


def test_what_does_not_fit_is_refused():
    x, weights, out = (np.zeros(shape, np.complex64) for shape in ((12, 4), (3, 4), (10, 4)))
    _core.sum_columns(x, weights, out)
    for change, words in (
        ({"x": x[:11]}, "x: 11 rows, wanted 12"),
        ({"x": x.astype(np.complex128)}, "x: 2 axes of complex128"),
        ({"x": np.zeros((12, 4))}, "x: 2 axes of float64"),
        ({"weights": weights[:, :3]}, "weights: rows of 3, wanted 4"),
        ({"weights": weights[:0], "x": x[:9]}, "0 taps"),
        ({"weights": np.zeros((3, 8), np.complex64)[:, :4]}, "one behind the other"),
        ({"out": np.zeros((4, 10), np.complex64).T}, "out: rows of 4"),
        ({"dilation": 0, "x": x[:10]}, "dilation 0"),
        ({"out": out[0]}, "out: 1 axes"),
    ):
        with pytest.raises(ValueError, match=words):
            _core.sum_columns(**{"x": x, "weights": weights, "out": out, **change})


@pytest.mark.parametrize("dtype", PAIRS)
@pytest.mark.parametrize("side", ["before", "after"])
def test_rows_joined_around_a_vector_within_guard_pages(dtype, side):
    rng = np.random.default_rng(5)
    real = np.empty(0, dtype).real.dtype
    for height, width in product((1, 5), (1, 3, 4, 7, 8, 9, 16, 33)):
        x = Guarded(rng.standard_normal((height, width)).astype(real), side)
        borders = (np.arange(width), np.r_[[-1] * 3, :width], np.arange(width)[::-1])
        for columns in (*borders, np.concatenate([[-1, width - 1], *borders, [-1]])):
            first, second = rng.integers(-1, height, (2, 6))
            out = Guarded(np.full((6, len(columns)), np.nan, dtype), side)
            _core.join_rows(x.array, first, second, np.ascontiguousarray(columns), 0.5, out.array)
            assert x.intact
            assert out.intact
            padded = np.pad(x.array, ((0, 1), (0, 1)), constant_values=0.5)  # -1: the last
            parts = [padded[rows][:, columns] for rows in (first, second)]
            want = np.stack(parts, axis=-1).view(dtype)[..., 0]
            assert np.array_equal(out.array, want), (height, width, columns)


@pytest.mark.parametrize("dtype", PAIRS)
@pytest.mark.parametrize("side", ["before", "after"])
def test_parts_taken_around_a_vector_within_guard_pages(dtype, side):
    rng = np.random.default_rng(6)
    for rows, length in product((1, 3), (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 40)):
        x = Guarded(random_pairs(rng, dtype, rows, length), side)
        for part in (x.array.real, x.array.imag):
            out = Guarded(np.full((rows, length), np.nan, part.dtype), side)
            _core.take_part(part, out.array)
            assert x.intact
            assert out.intact
            assert np.array_equal(out.array, part)


def test_rows_that_cannot_be_joined_are_refused():
    x, out = np.zeros((6, 4), np.float32), np.zeros((3, 4), np.complex64)
    rows, columns = np.arange(3), np.arange(4)
    good = {"x": x, "first": rows, "second": rows, "columns": columns, "fill": 0.0, "out": out}
    _core.join_rows(**good)
    for change, words in (
        ({"first": rows + 4}, "first: 6, wanted less than 6"),
        ({"second": rows[:2]}, "second: int64 of shape"),
        ({"columns": columns + 1}, "columns: 4, wanted less than 4"),
        ({"columns": np.arange(8)[::2]}, "columns: int64 of shape"),
        ({"first": rows.astype(np.int32)}, "first: int32"),
        ({"x": x.astype(np.float64)}, "float64, complex64"),
        ({"x": np.zeros((6, 8), np.float32)[:, ::2]}, "elements 1 and 1 apart"),
        ({"out": out[0]}, "2 and 1 axes"),
    ):
        with pytest.raises(ValueError, match=words):
            _core.join_rows(**{**good, **change})
    for part, to, words in (
        (out.real, np.zeros((3, 5), np.float32), "wanted"),
        (x, x.copy(), "elements 2 and 1 apart"),
        (out.real, np.zeros((3, 4)), "float32, float64"),
    ):
        with pytest.raises(ValueError, match=words):
            _core.take_part(part, to)
