"""What only a kernel that splits its operands can get wrong: parts that underflow, and its blocks.

Rows exist where the CPU has AMX, and in a build with FASTCONV_EMULATE_AMX=1 on any with AVX-512.
"""

import dataclasses

import driver
import numpy as np
import pytest
import reference as truth
from cases import Case, both

ROWS = [row for row in driver.ROWS if driver.algorithm_of(row).endswith("_split")]
CASES = (
    Case(70, 20, (9, 11), (3, 3), padding=both(1, 1)),
    Case(70, 17, (6, 13), (1, 1)),
    Case(330, 9, (5, 7), (1, 1), channels_last=True),
    Case(66, 35, (14, 18), (3, 3), padding=both(1, 1), channels_last=True),
    Case(34, 18, (11, 13), (5, 5), padding=both(2, 2)),
)
# Exponents of x and of the weights: parts or products that a tile would flush or overflow.
SCALES = (
    (0, 0), (-64, 0), (-65, 0), (-90, 0), (0, -90), (-45, -45), (-100, 60), (30, 30), (60, 40),
    (0, 70), (120, -20), (-20, 120), (110, -100), (-100, 110),
)  # fmt: skip

pytestmark = pytest.mark.skipif(not ROWS, reason="neither AMX nor a build that emulates it")


def operands(case, x_exponent=0, weight_exponent=0):
    rng = np.random.default_rng(7)
    x = np.float32(rng.standard_normal(case.x_shape)) * np.float64(2) ** x_exponent
    weight = np.float32(rng.standard_normal(case.weight_shape)) * np.float64(2) ** weight_exponent
    return driver.Arrays(x=x, weight=weight)


def cases_of(row):
    cases = [case for case in CASES if driver.runs(row, case)]
    assert len(cases) >= 3
    return cases


def sequential_error(case, values, y):
    geometry = (case.stride, case.padding, case.dilation, case.groups)
    return truth.sequential_fma_error(values.x, values.weight, *geometry, truth=y)


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("row", ROWS)
def test_error_at_every_magnitude(row, scale):
    for case in cases_of(row):
        values = operands(case, *scale)
        y = driver.linear(case, values)
        error = np.abs(driver.compute(row, case, values) - y).max()
        assert error <= 4 * sequential_error(case, values, y), (row, case)


@pytest.mark.parametrize("row", ROWS)
def test_error_where_magnitudes_differ(row):
    """Tiny images beside large ones, tiny channels beside large ones, and zeros."""
    for case in cases_of(row):
        case = dataclasses.replace(case, batch=4)
        values = operands(case)
        values.x[1] *= 2.0**-80
        values.x[2, ::2] *= 2.0**-100
        values.x[3] = 0
        y = driver.linear(case, values)
        got = driver.compute(row, case, values)
        assert not got[3].any()
        for n in range(3):
            image = dataclasses.replace(case, batch=1)
            alone = dataclasses.replace(values, x=values.x[n : n + 1])
            e = sequential_error(image, alone, y[n : n + 1])
            assert np.abs(got[n] - y[n]).max() <= 4 * e, (row, case, n)


@pytest.mark.parametrize(("precision", "apart"), [("highest", 1e-4), ("high", 1e-2), ("medium", 1)])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("row", ROWS)
def test_a_bad_value_stays_in_its_window_and_block(row, value, precision, apart):
    """The block that holds the value is summed by vectors; the others keep their bits."""
    case = Case(70, 33, (40, 40), (3, 3), padding=both(1, 1))
    made = driver.plan(row, case, precision=precision)
    arrays = driver.stored(row, case, operands(case))
    clean = driver.run(row, case, made, arrays)
    window = np.zeros(case.out_shape, bool)
    window[..., 19:22, 29:32] = True
    for channel in (0, 31, 32, 69):
        spoiled = dataclasses.replace(arrays, x=arrays.x.copy())
        spoiled.x[0, channel, 20, 30] = value
        got = driver.run(row, case, made, spoiled)
        assert np.array_equal(~np.isfinite(got), window)
        assert np.array_equal(clean[..., :8, :], got[..., :8, :])
        assert np.array_equal(clean[..., 34:, :], got[..., 34:, :])
        assert np.abs(clean - got)[~window].max() < apart


@pytest.mark.parametrize("row", ROWS)
def test_weights_that_do_not_split(row):
    """One group's weights hold NaN, another's are tiny, another's are zero: each is right.

    Winograd refuses weights that hold NaN.
    """
    case = Case(40, 24, (6, 7), (3, 3), padding=both(1, 1), groups=4)
    values = driver.values_of(case)
    weight = values.weight.copy()
    if not driver.is_transform(row):
        weight[3, 2, 1, 1] = np.nan
    weight[6:12] *= 2.0**-90
    weight[12:18] = 0
    values = dataclasses.replace(values, weight=weight)
    y, magnitude = driver.expected(case, values)
    got = driver.compute(row, case, values)
    driver.report([driver.difference(row, case, got, y, magnitude)])
    unsafe = not np.isfinite(weight).all()
    once = driver.plan(row, case, pack_per_call=True, weights_unsafe=unsafe)
    assert np.array_equal(driver.compute(row, case, values, once), got, equal_nan=True)


@pytest.mark.parametrize("row", ROWS)
def test_precision_is_fewer_products(row):
    """Packed weights shrink with the precision, and do not serve another one.

    Winograd's are of two parts under "medium" as well.
    """
    plans = [driver.plan(row, CASES[0], precision=p) for p in ("highest", "high", "medium")]
    sizes = [made.packed_bytes for made in plans]
    assert sizes[0] > sizes[1]
    assert sizes[1] == sizes[2] if driver.is_transform(row) else sizes[1] > sizes[2]
    arrays = driver.stored(row, CASES[0], operands(CASES[0]))
    assert not plans[1].accepts(plans[0].pack(arrays.weight))
