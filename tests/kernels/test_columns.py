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
