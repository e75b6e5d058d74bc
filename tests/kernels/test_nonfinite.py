"""NaN and infinity stay where the definition puts them, whichever kernel runs."""

import dataclasses
import functools

import driver
import numpy as np
import pytest
from cases import ACTIVATIONS

BAD = [float("nan"), float("inf"), float("-inf")]


def plain(case):
    return case.activation is None


def spoiled(case, name, value, places=1, seed=0):
    """The case's values with `value` at random places of one operand."""
    values = driver.values_of(case)
    array = getattr(values, name).copy()
    at = np.random.default_rng(seed).integers(array.size, size=places)
    array.flat[at] = value
    return dataclasses.replace(values, **{name: array})


@functools.cache
def spoiled_truth(case, *arguments):
    values = spoiled(case, *arguments)
    return values, *driver.expected(case, values)


def spoiled_failure(row, case, *arguments):
    values, *expected = spoiled_truth(case, *arguments)
    return driver.difference(row, case, driver.compute(row, case, values), *expected)


def failure(row, case, values):
    return driver.difference(
        row, case, driver.compute(row, case, values), *driver.expected(case, values)
    )


@pytest.mark.parametrize("value", BAD)
def test_x(every_row, value):
    """One bad value of x spoils exactly the outputs whose window holds it."""
    driver.report(
        spoiled_failure(every_row, case, "x", value, places, seed)
        for case in driver.sample(every_row, 2, keep=plain)
        for places, seed in ((1, 0), (2, 1))
    )


@pytest.mark.parametrize("value", BAD)
def test_zero_weights_do_not_hide_it(every_row, value):
    """0 * NaN and 0 * infinity are NaN."""
    for case in driver.sample(every_row, 1, keep=plain):
        values = spoiled(case, "x", value)
        weight = np.where(np.random.default_rng(1).random(values.weight.shape) < 0.5, 0, 1.0)
        values = dataclasses.replace(values, weight=weight)
        driver.report([failure(every_row, case, values)])


@pytest.mark.parametrize("value", BAD)
def test_weights(every_row, value):
    """A bad weight spoils its output channel, 0 * NaN on a padding zero included.

    Not transposed: the definition multiplies no padding there, the stride phases may.
    """
    tried = 0
    for case in driver.sample(every_row, 1, keep=lambda c: plain(c) and not c.transposed):
        if driver.plan(every_row, case, weights_unsafe=True) is None:
            continue
        tried += 1
        driver.report([spoiled_failure(every_row, case, "weight", value)])
    assert tried or driver.is_transform(every_row)


def test_bias_and_residual(every_row):
    driver.report(
        spoiled_failure(every_row, case, name, value)
        for value in BAD
        for name in ("bias", "residual")
        for case in driver.sample(
            every_row, 1, keep=lambda c, name=name: plain(c) and getattr(c, name)
        )
    )


@pytest.mark.parametrize("name", ["offset", "mask"])
def test_deformation(name):
    """A bad offset or mask spoils the pixel it belongs to."""
    rows = [row for row in driver.ROWS if driver.algorithm_of(row) in ("deform", "reference")]
    driver.report(
        spoiled_failure(row, case, name, value, 2)
        for row in rows
        for value in BAD
        for case in driver.sample(row, 3, ["deform"], keep=lambda c: plain(c) and c.mask)
    )


def test_activations_keep_nan(every_row):
    def this(case):
        return case.activation is None and case.batch == 1

    changed = [
        dataclasses.replace(case, activation=activation, activation_params=params)
        for case in driver.sample(every_row, 1, keep=this)[:2]
        for activation, params in ACTIVATIONS
    ]
    driver.report(
        spoiled_failure(every_row, case, "x", float("nan"))
        for case in changed
        if driver.plan(every_row, case) is not None
    )


def test_activations_of_infinity(every_row):
    """Infinite sums give the limits: 0 or 1, -1 or 1, and so on."""
    limits = {
        "relu": (0, np.inf), "clip": (-1.5, 0.5), "sigmoid": (0, 1), "tanh": (-1, 1),
        "silu": (np.nan, np.inf), "hardswish": (np.nan, np.inf), "leaky_relu": (-np.inf, np.inf),
    }  # fmt: skip
    params = {"clip": (-1.5, 0.5), "leaky_relu": (0.1, 0.0)}
    base = driver.sample(every_row, 1, keep=lambda c: plain(c) and c.bias and c.batch == 1)[0]
    for activation, wanted in limits.items():
        case = dataclasses.replace(
            base, activation=activation, activation_params=params.get(activation, (0.0, 0.0))
        )
        for value, limit in zip((-np.inf, np.inf), wanted, strict=True):
            values = driver.values_of(case)
            values = dataclasses.replace(values, bias=np.full(case.out_ch, value))
            got = driver.compute(every_row, case, values)
            if np.isnan(limit):  # -inf * 0: NaN by the formula, 0 by the limit; both are in use
                assert (np.isnan(got) | (got == 0)).all(), (every_row, case, got)
            else:
                np.testing.assert_allclose(got, limit, atol=1e-30, err_msg=f"{every_row} {case!r}")


def test_other_images_keep_their_bits(every_row):
    """A NaN in one image of a batch changes no bit of the others."""
    for case in driver.sample(every_row, 2, keep=plain):
        case = dataclasses.replace(case, batch=3)
        made = driver.plan(every_row, case)
        values = driver.values_of(case)
        clean = driver.run(every_row, case, made, driver.stored(every_row, case, values))
        x = values.x.copy()
        x[1].flat[x[1].size // 2] = np.nan
        values = dataclasses.replace(values, x=x)
        bad = driver.run(every_row, case, made, driver.stored(every_row, case, values))
        assert np.array_equal(clean[::2].view(np.uint8), bad[::2].view(np.uint8)), (every_row, case)


def test_huge_values(every_row):
    """One huge finite value: no overflow that the definition has not, and no NaN."""
    dtype = driver.dtype_of(every_row)
    huge = {"f16": 1e3, "f64": 1e305}.get(dtype, 1e37)
    for case in driver.sample(every_row, 2, keep=plain):
        values = spoiled(case, "x", driver.rounded(huge) if dtype != "f64" else huge)
        weight = np.clip(values.weight, -3, 3)
        values = dataclasses.replace(values, weight=weight)
        driver.report([failure(every_row, case, values)])
