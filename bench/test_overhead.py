"""What a call costs besides its arithmetic: a small convolution, and the planning of a new shape.

A 1×4×8×8 input and a 3×3 kernel are 18,432 multiply-adds, a fraction of a microsecond. torch is
timed beside it where it is installed.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastconv as fc

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
def test_small_functional_call(small, benchmark):
    x, weight = small
    benchmark.group = "call on 1x4x8x8"
    benchmark(fc.conv2d, x, weight, None, 1, 1)


@timing
def test_small_torch_call(small, benchmark, conv_threads):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(conv_threads)
    x, weight = (torch.from_numpy(array) for array in small)
    benchmark.group = "call on 1x4x8x8"
    with torch.inference_mode():
        benchmark(torch.nn.functional.conv2d, x, weight, None, 1, 1)


@timing
@pytest.mark.parametrize("channels", [4, 64])
def test_plan_of_a_new_shape(channels, benchmark):
    """Planning alone: heights never seen before."""
    heights, w_shape = itertools.count(8), (channels, channels, 3, 3)
    benchmark.group = "plan of a new shape"
    benchmark(lambda: fc.explain((1, channels, next(heights), 56), w_shape, padding=1))
