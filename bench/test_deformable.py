"""Deformable convolutions beside the plain GEMM of their size and SciPy's interpolation.

"gemm" is no deformable convolution: it is the speed the sums alone would have, its offsets zero.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage

import fastconv as fc

pytestmark = pytest.mark.benchmark(min_rounds=3, max_time=0.15, warmup=False, disable_gc=True)
# channels in and out, height and width; kernels are 3x3, padded by 1
SHAPES = {"dcn.c64": (64, 56), "dcn.c256": (256, 28)}
RUNNERS = ("fastconv.nchw", "fastconv.nhwc", "fastconv.gemm", "scipy.map_coordinates")


def columns(x: np.ndarray, offset: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Every channel of x (C, H, W) where each tap of each output pixel reads it: (C, 9, H, W)."""
    size = x.shape[-1]
    rows, places = np.mgrid[:size, :size]
    sampled = np.empty((len(x), 9, size, size), x.dtype)
    for tap in range(9):
        at = (rows - 1 + tap // 3 + offset[2 * tap], places - 1 + tap % 3 + offset[2 * tap + 1])
        for channel, plane in enumerate(x):
            sampled[channel, tap] = ndimage.map_coordinates(
                plane, at, order=1, mode="grid-constant")
    return sampled * mask


def by_scipy(x, offset, weight, mask):
    sampled = columns(x[0], offset[0], mask[0])
    return np.tensordot(weight.reshape(*weight.shape[:2], 9), sampled, ((1, 2), (0, 1)))[None]


@lru_cache(maxsize=1)
def data(name: str):
    """x, offset, weight and mask, and the float64 results with and without the deformation."""
    (channels, size), rng = SHAPES[name], np.random.default_rng(zlib.crc32(name.encode()))
    normal = rng.standard_normal
    x, offset = normal((1, channels, size, size)), 2 * normal((1, 18, size, size))
    weight, mask = normal((channels, channels, 3, 3)), rng.random((1, 9, size, size))
    arrays = [array.astype(np.float32) for array in (x, offset, weight, mask)]
    x, offset, weight, mask = (array.astype(float) for array in arrays)
    plain = by_scipy(x, 0 * offset, weight, 0 * mask + 1)
    return arrays, by_scipy(x, offset, weight, mask), plain


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("name", SHAPES)
def test_deformable(name, runner, timed):
    (x, offset, weight, mask), exact, plain = data(name)
    channels, size = SHAPES[name]
    last = runner == "fastconv.nhwc"
    if runner == "scipy.map_coordinates":
        def call():
            return by_scipy(x, offset, weight, mask)
    elif runner == "fastconv.gemm":
        conv, exact = fc.Conv(weight, padding=1, algorithm="gemm"), plain

        def call():
            return conv(x)
    else:
        given = [np.ascontiguousarray(np.moveaxis(a, 1, -1)) if last else a
                 for a in (x, offset, mask)]

        def call():
            return fc.deform_conv2d(given[0], given[1], weight, padding=1, mask=given[2],
                                    layout="NHWC" if last else "NCHW")

    timed(f"deformable {name}", call, exact, flop=2 * channels * channels * 9 * size * size,
          to_reference=lambda y: np.moveaxis(y, -1, 1) if last else y)
