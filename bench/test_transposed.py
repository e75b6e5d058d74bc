"""Transposed convolutions, packed, in both layouts; SciPy's upsampling where it ends in time.

GFLOP/s count a product of each input sample with each tap. SciPy has `upfirdn` for one axis, and
otherwise a convolution of the picture spread with zeros.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pytest
from scipy import signal

import fastconv as fc

pytestmark = pytest.mark.benchmark(min_rounds=3, max_time=0.15, warmup=False, disable_gc=True)
MAX_PLANE_PAIRS = 640


class Shape(NamedTuple):
    in_ch: int
    out_ch: int
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: int
    padding: int


SHAPES = {
    "gan.64-64.k4s2": Shape(64, 64, (56, 56), (4, 4), 2, 1),
    "decoder.256-128.k3s2": Shape(256, 128, (28, 28), (3, 3), 2, 1),
    "unet.128-64.k2s2": Shape(128, 64, (112, 112), (2, 2), 2, 0),
    "rgb.32-3.k4s2": Shape(32, 3, (112, 112), (4, 4), 2, 1),
    "vocoder.512-256.k16s8": Shape(512, 256, (500,), (16,), 8, 4),
    "line.16-16.k8s4": Shape(16, 16, (8000,), (8,), 4, 2),
    "volume.64-32.k2s2": Shape(64, 32, (16, 16, 16), (2, 2, 2), 2, 0),
}
CASES = [
    pytest.param(name, runner, id=f"{name}-{runner}")
    for name, shape in SHAPES.items()
    for runner in ("fastconv.nchw", "fastconv.nhwc", "scipy")
    if runner != "scipy" or shape.in_ch * shape.out_ch <= MAX_PLANE_PAIRS
]


def cropped(shape: Shape, full: np.ndarray) -> np.ndarray:
    inner = slice(shape.padding, -shape.padding or None)
    return full[(..., *[inner] * len(shape.spatial))]


@lru_cache(maxsize=1)
def data(name: str):
    """Input, weight and the float64 result, scattered tap by tap."""
    shape, rng = SHAPES[name], np.random.default_rng(zlib.crc32(name.encode()))
    x = rng.standard_normal((1, shape.in_ch, *shape.spatial)).astype(np.float32)
    weight = rng.standard_normal((shape.in_ch, shape.out_ch, *shape.kernel)).astype(np.float32)
    sizes = [(n - 1) * shape.stride + k for n, k in zip(shape.spatial, shape.kernel, strict=True)]
    full = np.zeros((1, shape.out_ch, *sizes))
    flat = x[0].reshape(shape.in_ch, -1).astype(float)
    for tap in np.ndindex(*shape.kernel):
        place = tuple(
            slice(t, t + (n - 1) * shape.stride + 1, shape.stride)
            for t, n in zip(tap, shape.spatial, strict=True)
        )
        product = weight[(..., *tap)].T.astype(float) @ flat
        full[(0, slice(None), *place)] += product.reshape(shape.out_ch, *shape.spatial)
    return x, weight, cropped(shape, full)


def by_scipy(shape: Shape, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    sizes = [(n - 1) * shape.stride + 1 for n in shape.spatial]
    spread = np.zeros((shape.in_ch, *sizes), x.dtype)
    spread[(slice(None), *[slice(None, None, shape.stride)] * len(sizes))] = x[0]
    planes = []
    for o in range(shape.out_ch):
        if len(sizes) == 1:
            terms = (signal.upfirdn(weight[i, o], x[0, i], shape.stride)
                     for i in range(shape.in_ch))
        else:
            terms = (signal.fftconvolve(spread[i], weight[i, o]) for i in range(shape.in_ch))
        planes.append(sum(terms))
    return cropped(shape, np.stack(planes)[None])


@pytest.mark.parametrize(("name", "runner"), CASES)
def test_transposed(name, runner, timed):
    shape, (x, weight, exact) = SHAPES[name], data(name)
    last = runner.endswith("nhwc")
    if runner == "scipy":
        def call():
            return by_scipy(shape, x, weight)
    else:
        conv = fc.Conv(weight, stride=shape.stride, padding=shape.padding, transposed=True,
                       layout="NHWC" if last else "NCHW")
        given = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x

        def call():
            return conv(given)

    flop = 2 * shape.in_ch * shape.out_ch * math.prod(shape.kernel) * math.prod(shape.spatial)
    timed(f"transposed {name}", call, exact, flop=flop,
          to_reference=lambda y: np.moveaxis(y, -1, 1) if last else y)
