"""Filters read and write nothing beyond their arrays."""

import numpy as np
import pytest
from guard import Guarded

from fastconv import ndimage as ours


@pytest.mark.parametrize("side", ["after", "before"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
@pytest.mark.parametrize("columns", [16, 37, 64, 144])  # multiples of 16: read in place
def test_filters_stay_inside(dtype, side, columns):
    x = np.random.default_rng(columns).integers(0, 99, (21, columns)).astype(dtype)
    taps = np.hanning(7)[1:-1] / 3
    calls = [
        ("sobel", ()), ("laplace", ()), ("gaussian_filter", (1.0,)), ("uniform_filter", (3,)),
        ("uniform_filter", (25,)), ("uniform_filter1d", (13, 0)), ("uniform_filter1d", (13, 1)),
        ("correlate", (np.outer(taps, taps),)), ("correlate", (np.outer(taps**2, taps),)),
    ]  # fmt: skip
    for name, args in calls:
        wanted = getattr(ours, name)(x, *args)
        source, target = Guarded(x, side), Guarded(np.zeros_like(x), side)
        getattr(ours, name)(source.array, *args, output=target.array)
        np.testing.assert_array_equal(target.array, wanted)
        assert source.intact
        assert target.intact
