"""The promise of precision="highest" for Winograd: at most 4 times the error of a sequential sum.

The yardstick is a direct convolution that adds one fused product after another in the type
itself; both are judged against sums in a wider type.
"""

import functools

import driver
import numpy as np
import pytest
from cases import Case, both

SIZE = (11, 14)
OUT_CH = 8
CHANNELS = (1, 3, 8, 16, 32, 33, 64, 128)
GEOMETRIES = (  # kernel, stride, dilation
    *((kernel, 1, 1) for kernel in ((3, 3), (1, 3), (3, 1), (5, 5), (1, 5), (5, 1))),
    ((2, 2), 1, 1),
    ((1, 2), 1, 3),
    ((3, 3), 1, 2),
    ((3, 3), 2, 1),
    ((4, 4), 2, 1),
    ((1, 9), 1, 1),
    ((7, 7), 2, 1),
    ((11, 11), 4, 1),
)
ROWS = [
    row
    for row in driver.ROWS
    if row.startswith("winograd") and driver.dtype_of(row) in ("f32", "f64")
]


def relu(rng, shape):
    return np.maximum(rng.standard_normal(shape), 0)


def large_mean(rng, shape):
    return 3 + 0.1 * rng.standard_normal(shape)


def signs(rng, shape):
    return np.sign(rng.standard_normal(shape))


def checkerboard(rng, shape):
    """Neighbours of opposite sign, which the transform along one axis adds to nothing."""
    return (-1.0) ** np.indices(shape[1:]).sum(0) * (1 + 0.01 * rng.standard_normal(shape))


def normal(rng, shape):
    return rng.standard_normal(shape)


DATA = (normal, relu, large_mean, signs, checkerboard)


@functools.cache
def operands(dtype, in_ch, geometry, data):
    """x, weight, the truth and the largest error of the sequential sum."""
    kernel, stride, dilation = geometry
    rng = np.random.default_rng([in_ch, *kernel, DATA.index(data)])
    narrow, wide = (np.float32, np.float64) if dtype == "f32" else (np.float64, np.longdouble)
    x = data(rng, (in_ch, *(size * stride for size in SIZE))).astype(narrow)
    weight = rng.standard_normal((OUT_CH, in_ch, *kernel)) / np.sqrt(in_ch * np.prod(kernel))
    weight = weight.astype(narrow)
    padded = np.pad(x, [(0, 0), *[(p, p) for p in padding_of(geometry)]]).astype(wide)
    sizes = case_of(in_ch, geometry).out_size
    sequential = np.zeros((OUT_CH, *sizes), narrow)
    truth = np.zeros((OUT_CH, *sizes), wide)
    for c in range(in_ch):
        for taps in np.ndindex(kernel):
            window = padded[c]
            for axis, tap in enumerate(taps):
                read = tap * dilation + stride * np.arange(sizes[axis])
                window = window.take(read, axis)
            product = weight[(slice(None), c, *taps)].astype(wide)[:, None, None] * window
            sequential = (sequential + product).astype(narrow)  # the product is not rounded
            truth += product
    return x, weight, truth, np.abs(sequential - truth).max()


def padding_of(geometry):
    kernel, _, dilation = geometry
    return [k // 2 * dilation for k in kernel]


def case_of(in_ch, geometry):
    kernel, stride, dilation = geometry
    size = tuple(size * stride for size in SIZE)
    padding = both(*padding_of(geometry))
    return Case(in_ch, OUT_CH, size, kernel, (stride,) * 2, (dilation,) * 2, padding)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="no type wider than float64")
@pytest.mark.parametrize("data", DATA, ids=lambda data: data.__name__)
@pytest.mark.parametrize("row", ROWS)
def test_error_within_four_sequential_sums(row, data):
    dtype = driver.dtype_of(row)
    tried = 0
    for geometry in GEOMETRIES:
        for in_ch in CHANNELS:
            if in_ch * np.prod(geometry[0]) > 1200:  # long sums are far from the bound
                continue
            plan = driver.plan(row, case_of(in_ch, geometry), precision="highest")
            if plan is None:
                continue
            x, weight, truth, yardstick = operands(dtype, in_ch, geometry, data)
            out = np.empty((1, *truth.shape), x.dtype)
            plan.run(plan.pack(weight), x[None], out)
            error = np.abs(out[0] - truth).max()
            assert error <= 4 * yardstick, (geometry, in_ch, float(error / yardstick))
            tried += 1
    assert tried >= 10
