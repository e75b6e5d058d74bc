"""The numerical promise of design.md section 4, and hostile data within the general bound."""

import dataclasses

import driver
import numpy as np
import pytest
import reference as truth
from cases import Case, both

# Many outputs each, so that the yardstick e (the largest error over them) is well measured.
SHAPES = {
    "64 channels 3x3": Case(64, 16, (14, 14), (3, 3), padding=both(1, 1)),
    "512 channels 3x3": Case(512, 8, (7, 8), (3, 3), padding=both(1, 1)),
    "few channels 3x3": Case(3, 32, (26, 25), (3, 3), padding=both(1, 1)),
    "1x1": Case(256, 24, (9, 11), (1, 1)),
    "stem": Case(3, 24, (31, 33), (7, 7), (2, 2), padding=both(3, 3)),
    "5x5": Case(16, 12, (12, 13), (5, 5), padding=both(2, 2)),
    "48 channels 5x5": Case(48, 12, (12, 13), (5, 5), padding=both(2, 2)),
    "depthwise": Case(48, 48, (20, 21), (3, 3), padding=both(1, 1), groups=48),
    "depthwise 7x7": Case(24, 24, (16, 17), (7, 7), padding=both(3, 3), groups=24),
    "grouped": Case(64, 64, (12, 13), (3, 3), padding=both(1, 1), groups=16),
    "dilated": Case(48, 12, (15, 16), (3, 3), dilation=(2, 2), padding=both(2, 2)),
    "1D": Case(96, 24, (120,), (3,), padding=both(1)),
    "3D": Case(16, 12, (6, 7, 8), (3, 3, 3), padding=both(1, 1, 1)),
}


def normal(rng, shape):
    return rng.standard_normal(shape)


def positive(rng, shape):
    return rng.random(shape)


def large_mean(rng, shape):
    return 100 + rng.standard_normal(shape)


def smooth(rng, shape):
    """A picture: neighbours alike, values from 0 to 1."""
    place = sum(np.indices(shape[2:]) * np.pi / 16)
    return 0.5 + 0.4 * np.cos(place + rng.random((*shape[:2], *[1] * (len(shape) - 2))))


def cancelling(rng, shape):
    """Huge and small neighbours of alternating sign along channels."""
    sign = (-1.0) ** np.arange(shape[1]).reshape(-1, *[1] * (len(shape) - 2))
    return sign * np.exp2(rng.integers(-8, 9, shape)) * (1 + 1e-3 * rng.standard_normal(shape))


DATA = [normal, positive, large_mean, smooth, cancelling]


def operands(case, data, seed=11):
    """Full float32 significands, unlike the shared values of driver.py."""
    rng = np.random.default_rng(seed)
    x = np.float64(np.float32(data(rng, case.x_shape)))
    weight = np.float64(np.float32(rng.standard_normal(case.weight_shape)))
    return driver.Arrays(x=x, weight=weight)


@pytest.fixture(scope="module")
def yardstick():
    """(operands, truth, e) of a shape and kind of data; e takes a while, so once for all rows."""
    made = {}

    def get(name, data):
        if (name, data) not in made:
            case = SHAPES[name]
            values = operands(case, data)
            y = driver.linear(case, values)
            geometry = (case.stride, case.padding, case.dilation, case.groups)
            e = truth.sequential_fma_error(values.x, values.weight, *geometry, truth=y)
            made[name, data] = values, y, e
        return made[name, data]

    return get


FLOAT32_ROWS = [row for row in driver.ROWS if driver.dtype_of(row) == "f32"]


PRECISIONS = {"high": 1e-4, "medium": 2.0**-7}  # of the largest output


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("row", FLOAT32_ROWS)
def test_lower_precisions_keep_their_bound(row, precision, yardstick):
    for name, case in SHAPES.items():
        if driver.algorithm_of(row) == "reference" and name != "1D":
            continue
        made = driver.plan(row, case, precision=precision)
        for data in DATA if made is not None else ():
            values, y, _ = yardstick(name, data)
            error = np.abs(driver.compute(row, case, values, made) - y).max()
            assert error <= PRECISIONS[precision] * np.abs(y).max(), (name, data.__name__)


@pytest.mark.parametrize("row", FLOAT32_ROWS)
def test_highest_is_within_four_e(row, yardstick):
    ran, failures = 0, []
    for name, case in SHAPES.items():
        if driver.algorithm_of(row) == "reference" and name != "1D":
            continue
        for last in (False, True):
            case = dataclasses.replace(case, channels_last=last)
            made = driver.plan(row, case, precision="highest")
            for data in DATA if made is not None else ():
                values, y, e = yardstick(name, data)
                error = np.abs(driver.compute(row, case, values, made) - y).max()
                ran += 1
                if not error <= 4 * e:
                    failures.append(f"{row} {name} {data.__name__}: {error / e:.2f} e, promised 4")
    assert not failures, "\n".join(failures)
    assert ran or driver.algorithm_of(row) in ("deform", "separable") or "f6" in row


def test_the_yardstick_is_a_sequential_float32_sum():
    """Against a loop in scalars on one output; it errs, and by no more than its own bound."""
    rng = np.random.default_rng(2)
    x, weight = np.float32(rng.standard_normal((2, 1, 6, 5, 5))), None
    x, weight = x[0], np.float32(rng.standard_normal((1, 6, 3, 3)))
    geometry = ((1, 1), both(0, 0), (1, 1))
    y = truth.conv(np.float64(x), np.float64(weight), *geometry)
    worst = 0.0
    for row in range(3):
        for column in range(3):
            total = np.float32(0)
            for c in range(6):
                for i in range(3):
                    for j in range(3):
                        product = float(x[0, c, row + i, column + j]) * float(weight[0, c, i, j])
                        total = np.float32(product + float(total))
            worst = max(worst, abs(float(total) - y[0, 0, row, column]))
    e = truth.sequential_fma_error(x, weight, *geometry)
    assert e == worst
    assert 0 < e <= 54 * 2.0**-24 * np.abs(x).max() * np.abs(weight).sum()


def test_full_precision_of_every_dtype(every_row):
    """Operands with every bit of the dtype in use; the truth in longdouble where it must be."""
    dtype = driver.dtype_of(every_row)
    rng = np.random.default_rng(4)
    failures = []
    for case in driver.sample(every_row, 1, keep=lambda case: case.activation is None):
        for data in DATA:
            values = driver.values_of(case)
            x = truth.from_storage(truth.to_storage(data(rng, case.x_shape), dtype), dtype)
            weight = rng.standard_normal(case.weight_shape).astype(driver.compute_dtype(dtype))
            values = dataclasses.replace(values, x=x, weight=np.float64(weight))
            wide = values.map(np.longdouble) if dtype == "f64" else values
            y, magnitude = driver.expected(case, wide)
            got = driver.compute(every_row, case, values)
            failures.append(driver.difference(every_row, case, got, y, magnitude))
    driver.report(failures)
