"""The algorithm beside the core's kernels: their promises, kept by `algorithm="fft"`."""

import dataclasses
import itertools
import subprocess
import sys

import driver
import numpy as np
import pytest
import reference as truth
from cases import Case, both
from test_accuracy import DATA, operands

import fastconv as fc

SHAPES = [
    Case(1, 1, (500,), (40,), padding=((3, 39),), bias=True, activation="relu"),
    Case(1, 3, (37,), (37,), residual=True),
    Case(1, 1, (30000,), (300,), stride=(7,), flip=True),
    Case(6, 6, (900,), (33,), groups=6, dilation=(3,), padding=both(40), padding_mode="reflect"),
    Case(12, 8, (700,), (50,), groups=2, padding=both(20), bias=True, activation="silu"),
    Case(1, 1, (190, 170), (31, 29), padding=both(15, 14)),
    Case(4, 8, (60, 70), (11, 12), groups=4, padding=both(5, 6), padding_mode="circular"),
    Case(3, 2, (50, 80), (13, 9), stride=(2, 3), flip=True, bias=True, residual=True),
    Case(20, 40, (40, 37), (9, 7), padding=both(4, 3), batch=3, activation="tanh"),
    Case(12, 20, (41, 37), (7, 7), groups=2, dilation=(2, 1), padding=both(9, 3), residual=True),
    Case(9, 5, (33, 30), (1, 15), padding=((0, 0), (14, 0)), padding_mode="replicate"),
    Case(2, 3, (17, 19, 23), (5, 4, 6), padding=both(2, 2, 2), stride=(1, 2, 1), bias=True),
    Case(8, 6, (12, 13, 14), (5, 5, 5), padding=both(2, 2, 2)),
    Case(1, 3, (310, 290), (21, 19), padding=both(10, 9)),  # an output channel at a time
    Case(  # rows alone are transformed
        3, 3, (70, 66), (17, 15), groups=3, stride=(2, 1), dilation=(2, 1), padding=both(9, 7),
        padding_mode="reflect", bias=True, activation="relu", residual=True,
    ),
]
SHAPES += [dataclasses.replace(case, channels_last=True) for case in SHAPES]
ACTIVATED = [case for case in SHAPES if case.activation]
PLAIN = [case for case in SHAPES if not case.activation]
TYPES = {"f32": np.float32, "f64": np.float64, "f16": np.float16}


def conv(case, values, dtype="f32", **changes):
    return fc.Conv(
        values.weight.astype(TYPES[dtype]),
        None if values.bias is None else values.bias.astype(TYPES[dtype]),
        case.stride, case.padding, case.dilation, case.groups, padding_mode=case.padding_mode,
        flip_kernel=case.flip, activation=case.activation,
        layout="NHWC" if case.channels_last else "NCHW", **{"algorithm": "fft", **changes},
    )  # fmt: skip


def inputs(case, values, dtype="f32"):
    """x and residual as a call takes them."""
    return [
        None if array is None else driver.layout(case, array.astype(TYPES[dtype]))
        for array in (values.x, values.residual)
    ]


def failure(case, values, dtype="f32"):
    row = f"fft.{dtype}.scipy"
    rounded = values.map(lambda a: np.float64(a.astype(TYPES[dtype])))
    got = np.float64(conv(case, rounded, dtype)(*inputs(case, rounded, dtype)))
    got = np.moveaxis(got, -1, 1) if case.channels_last else got
    return driver.difference(row, case, got, *driver.expected(case, rounded))


@pytest.mark.parametrize("dtype", TYPES)
def test_results(dtype):
    driver.report(failure(case, driver.values_of(case), dtype) for case in SHAPES)


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    case = SHAPES[7]
    values = driver.values_of(case)
    narrow = values.map(lambda a: a.astype(ml_dtypes.bfloat16))
    got = fc.Conv(narrow.weight, narrow.bias, case.stride, flip_kernel=case.flip, algorithm="fft")(
        narrow.x, narrow.residual
    )
    assert got.dtype == ml_dtypes.bfloat16
    y, magnitude = driver.expected(case, narrow.map(np.float64))
    assert driver.difference("fft.bf16.scipy", case, np.float64(got), y, magnitude) is None


def test_one_convolution_of_large_kernels_is_the_functional_call():
    case = SHAPES[5]
    values = driver.values_of(case)
    x, _ = inputs(case, values)
    weight = np.float32(values.weight)
    got = fc.conv2d(x, weight, padding=case.padding, algorithm="fft")
    wanted = fc.conv2d(x, weight, padding=case.padding, algorithm="gemm")
    np.testing.assert_allclose(got, wanted, atol=2e-5 * np.abs(wanted).max())


ACCURACY = [
    Case(1, 1, (2000,), (50,)),
    Case(1, 1, (9000,), (2000,)),
    Case(1, 1, (64, 61), (3, 3)),
    Case(1, 1, (64, 61), (7, 7)),
    Case(1, 1, (80, 77), (15, 15)),
    Case(1, 1, (100, 90), (31, 31)),
    Case(24, 4, (30, 31), (11, 11)),
    Case(8, 2, (12, 13, 14), (5, 5, 5)),
]


@pytest.mark.parametrize("case", ACCURACY, ids=repr)
def test_highest_is_within_four_e(case):
    for data in DATA:
        values = operands(case, data)
        y = driver.linear(case, values)
        geometry = (case.stride, case.padding, case.dilation, case.groups)
        e = truth.sequential_fma_error(values.x, values.weight, *geometry, truth=y)
        error = np.abs(conv(case, values)(np.float32(values.x)) - y).max()
        assert error <= 4 * e, f"{data.__name__}: {error / e:.2f} e, promised 4"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_bad_value_spoils_its_windows_and_no_other_image(value):
    for case in PLAIN:
        case = dataclasses.replace(case, batch=2)
        values = driver.values_of(case)
        x = values.x.copy()
        x[1].flat[[x[1].size // 2, 5]] = value
        bad = dataclasses.replace(values, x=x)
        assert failure(case, bad) is None
        run = conv(case, values)
        clean, spoiled = (run(*inputs(case, v)) for v in (values, bad))
        assert np.array_equal(clean[0], spoiled[0]), case
        assert not np.isfinite(spoiled[1]).all(), case


def test_unread_values_do_not_count():
    """A stride above the kernel leaves samples that no window holds."""
    x = np.zeros((1, 1, 40), np.float32)
    x[0, 0, 5::10] = np.nan
    y = fc.Conv(np.ones((1, 1, 4), np.float32), stride=10, algorithm="fft")(x)
    assert np.array_equal(y, np.zeros((1, 1, 4)))


def test_huge_values():
    for case in PLAIN[:6]:
        values = driver.values_of(case)
        x = values.x.copy()
        x.flat[3] = 1e37
        weight = np.clip(values.weight, -3, 3)
        assert failure(case, dataclasses.replace(values, x=x, weight=weight)) is None


def test_a_residual_that_is_the_output_survives_a_bad_image():
    case = dataclasses.replace(SHAPES[1], batch=2)
    values = driver.values_of(case)
    values.x[1].flat[7] = np.inf
    run = conv(case, values)
    x, residual = inputs(case, values)
    wanted = run(x, residual)
    assert np.array_equal(run(x, residual, out=residual), wanted, equal_nan=True)


def test_bits_depend_on_neither_threads_nor_batch():
    large = [
        Case(1, 1, (400_000,), (500,), bias=True, activation="relu"),
        Case(1, 1, (700, 600), (31, 31)),
        Case(40, 40, (90, 80), (21, 21), groups=40, residual=True),
        Case(24, 32, (70, 80), (11, 11)),
    ]
    for case in large:
        values = driver.values_of(case)
        run = conv(case, values)
        x, residual = inputs(case, values)
        with fc.num_threads(1):
            once = run(x, residual)
        for threads in (2, 3, 5):
            with fc.num_threads(threads):
                assert np.array_equal(run(x, residual), once), (case, threads)
        several = [None if a is None else np.concatenate([a[::-1], a]) for a in (x, residual)]
        assert np.array_equal(run(*several)[1:], once), case


def test_packed_weights_serve_other_sizes():
    case = SHAPES[8]
    values = driver.values_of(case)
    one = conv(case, values)
    for size in itertools.product((40, 90, 23), (37, 38)):
        x = np.random.default_rng(1).standard_normal((1, 20, *size)).astype(np.float32)
        assert np.array_equal(one(x), conv(case, values)(x))


def test_plans_choose_it_where_it_wins_and_say_why_not():
    plan = fc.explain((1, 1, 1024, 1024), (1, 1, 63, 63), padding=31)
    assert (plan.algorithm, plan.kernel) == ("fft", "fft.f32.scipy")
    assert plan.candidates[0].algorithm == "fft"
    assert plan.packed_bytes > 0
    assert plan.estimated_seconds == plan.candidates[0].estimated_seconds
    batch = fc.explain((4, 1, 1024, 1024), (1, 1, 63, 63), padding=31)
    assert (batch.algorithm, batch.flops) == ("fft", 4 * plan.flops)
    small = fc.explain((1, 1, 1024, 1024), (1, 1, 3, 3))
    assert small.algorithm != "fft"
    assert "fft" in {candidate.algorithm for candidate in small.candidates}
    transposed = fc.explain((1, 1, 64, 64), (1, 1, 31, 31), transposed=True)
    assert "plain" in transposed.rejected["fft"]
    with pytest.raises(ValueError, match="'fft' cannot run this: only plain"):
        fc.explain((1, 1, 64, 64), (1, 1, 31, 31), transposed=True, algorithm="fft")
    conv = fc.Conv(np.full((1, 1, 63, 63), np.inf, np.float32))
    assert "finite" in conv.plan((1, 1, 512, 512)).rejected["fft"]


def test_scipy_is_loaded_by_the_first_run_alone():
    code = """
import sys, numpy as np, fastconv as fc
conv = fc.Conv(np.ones((1, 1, 63, 63), np.float32))
assert conv.plan((1, 1, 512, 512)).algorithm == "fft"
assert not any(name.startswith("scipy") for name in sys.modules)
conv(np.ones((1, 1, 512, 512), np.float32))
assert "scipy.fft" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
