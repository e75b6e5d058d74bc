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
KERNELS = ((3, 3), (1, 3), (3, 1), (5, 5), (1, 5), (5, 1))
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
def operands(dtype, in_ch, kernel, data):
    """x, weight, the truth and the largest error of the sequential sum."""
    rng = np.random.default_rng([in_ch, *kernel, DATA.index(data)])
    narrow, wide = (np.float32, np.float64) if dtype == "f32" else (np.float64, np.longdouble)
    padding = [k // 2 for k in kernel]
    x = data(rng, (in_ch, *SIZE)).astype(narrow)
    weight = rng.standard_normal((OUT_CH, in_ch, *kernel)) / np.sqrt(in_ch * np.prod(kernel))
    weight = weight.astype(narrow)
    padded = np.pad(x, [(0, 0), *[(p, p) for p in padding]]).astype(wide)
    sequential = np.zeros((OUT_CH, *SIZE), narrow)
    truth = np.zeros((OUT_CH, *SIZE), wide)
    for c in range(in_ch):
        for i, j in np.ndindex(kernel):
            window = padded[c, i : i + SIZE[0], j : j + SIZE[1]]
            product = weight[:, c, i, j].astype(wide)[:, None, None] * window
            sequential = (sequential + product).astype(narrow)  # the product is not rounded
            truth += product
    return x, weight, truth, np.abs(sequential - truth).max()


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="no type wider than float64")
@pytest.mark.parametrize("data", DATA, ids=lambda data: data.__name__)
@pytest.mark.parametrize("row", ROWS)
def test_error_within_four_sequential_sums(row, data):
    dtype = driver.dtype_of(row)
    tried = 0
    for kernel in KERNELS:
        for in_ch in CHANNELS:
            padding = both(*(k // 2 for k in kernel))
            case = Case(in_ch, OUT_CH, SIZE, kernel, padding=padding)
            plan = driver.plan(row, case, precision="highest")
            if plan is None:
                continue
            x, weight, truth, yardstick = operands(dtype, in_ch, kernel, data)
            out = np.empty((1, *truth.shape), x.dtype)
            plan.run(plan.pack(weight), x[None], out)
            error = np.abs(out[0] - truth).max()
            assert error <= 4 * yardstick, (kernel, in_ch, float(error / yardstick))
            tried += 1
    assert tried >= 10
