"""What a call costs besides its arithmetic: a small convolution, and the planning of a new shape.

A 1×4×8×8 input and a 3×3 kernel are 9,216 multiply-adds, a fraction of a microsecond. torch is
timed beside it where it is installed. The promises: 5 µs for a `Conv` call, 10 µs for the
functional form, 50 µs for planning a new shape. At the end what denormal inputs cost beside
ordinary ones: at most half again.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastconv as fc
from fastconv import _convolve, _planning

timing = pytest.mark.benchmark(min_rounds=20, max_time=0.2, warmup=True, disable_gc=True)


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 4, 8, 8), dtype=np.float32)
    return x, rng.standard_normal((4, 4, 3, 3), dtype=np.float32)


@timing
def test_small_conv_object(small, benchmark):
    x, weight = small
    benchmark.group = "call on 1x4x8x8"
    benchmark(fc.Conv(weight, padding=1), x)


@timing
def test_small_conv_object_with_out(small, benchmark):
    x, weight = small
    conv = fc.Conv(weight, np.zeros(4, np.float32), padding=1, activation="relu")
    out = conv(x)
    benchmark.group = "call on 1x4x8x8"
    benchmark(lambda: conv(x, out=out))


@timing
@pytest.mark.parametrize("has_bias", [False, True], ids=["", "bias"])
def test_small_functional_call(small, has_bias, benchmark):
    x, weight = small
    bias = np.zeros(4, np.float32) if has_bias else None
    benchmark.group = "call on 1x4x8x8"
    benchmark(fc.conv2d, x, weight, bias, 1, 1)


@timing
def test_small_torch_call(small, benchmark, conv_threads):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(conv_threads)
    x, weight = (torch.from_numpy(array) for array in small)
    benchmark.group = "call on 1x4x8x8"
    with torch.inference_mode():
        benchmark(torch.nn.functional.conv2d, x, weight, None, 1, 1)


# Heights never seen before. The larger kernels are those for which the FFT is weighed as well.
@timing
@pytest.mark.parametrize(
    ("channels", "kernel"),
    [(4, (3, 3)), (64, (3, 3)), (64, (7, 7)), (4, (31, 31)), (64, (31, 31)), (32, (5, 5, 5))],
    ids=str,
)
def test_plan_of_a_new_shape(channels, kernel, benchmark):
    heights = itertools.count(8)
    w_shape = (channels, channels, *kernel)
    pads = tuple(k // 2 for k in kernel)
    problem = _convolve.make_problem("f32", w_shape, len(kernel), padding=pads)

    def plan():
        shape = (1, channels, next(heights), *[56] * (len(kernel) - 1))
        return _planning.make_plan(problem, shape, False, False, False)

    benchmark.group = "plan of a new shape"
    benchmark(plan)


@timing
@pytest.mark.parametrize("values", ["ordinary", "denormal"])
@pytest.mark.parametrize("kernel", [3, 15], ids=["3x3", "15x15"])
def test_denormal_inputs(values, kernel, benchmark):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 16, 96, 96), dtype=np.float32)
    if values == "denormal":
        x *= np.float32(1e-40)
    conv = fc.Conv(rng.standard_normal((16, 16, kernel, kernel), dtype=np.float32), padding="same")
    benchmark.group = f"values, {kernel}x{kernel}"
    benchmark(conv, x)
