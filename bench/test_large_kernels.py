"""Kernels of many taps: the FFT, the core's fastest kernel, what "auto" takes, and SciPy's FFTs.

GFLOP/s are of the direct algorithm's arithmetic, which the FFT does not do.
"""

from __future__ import annotations

from functools import lru_cache

import pytest
from layers import _layer, random_data
from scipy_baselines import baseline

import fastconv as fc

pytestmark = pytest.mark.benchmark(min_rounds=3, max_time=0.15, warmup=False, disable_gc=True)

# The figure after the kernel is the direct arithmetic in MFLOP.
LAYERS = {
    layer.name: layer
    for layer in (
        _layer("plane.k15", 1, 1, (1024, 1024), (15, 15), 472),
        _layer("plane.k31", 1, 1, (1024, 1024), (31, 31), 2015),
        _layer("plane.k63", 1, 1, (1024, 1024), (63, 63), 8324),
        _layer("replknet.dw31.c64", 64, 64, (128, 128), (31, 31), 2015, groups=64),
        _layer("rgb.k31.c8", 3, 8, (256, 256), (31, 31), 3023),
        _layer("c16.k15", 16, 16, (128, 128), (15, 15), 1887),
        _layer("volume.k9", 1, 1, (64, 64, 64), (9, 9, 9), 382),
        _layer("line.k300", 1, 1, (1000000,), (300,), 600, padding=(0,)),
        _layer("line.k10000", 1, 1, (1000000,), (10000,), 19800, padding=(0,)),
    )
}
RUNNERS = ("fastconv.auto", "fastconv.fft", "fastconv.core", "scipy.fftconvolve",
           "scipy.oaconvolve")


@lru_cache(maxsize=1)
def data(name: str):
    """Input, weight and float64 result; direct sums would take minutes."""
    x, weight = random_data(LAYERS[name], values="normal")
    exact = baseline("scipy.oaconvolve", LAYERS[name], x.astype(float), weight.astype(float))()
    return x, weight, exact


def packed(layer, weight, algorithm):
    return fc.Conv(weight, None, layer.stride, layer.padding, layer.dilation, layer.groups,
                   algorithm=algorithm)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("name", LAYERS)
def test_large_kernel(name, runner, timed):
    layer, (x, weight, exact) = LAYERS[name], data(name)
    if runner.startswith("scipy."):
        call = baseline(runner, layer, x, weight)
    else:
        algorithm = runner.removeprefix("fastconv.")
        if algorithm == "core":
            able = packed(layer, weight, "auto").plan(x.shape).candidates
            algorithm = next(c.algorithm for c in able if c.algorithm != "fft")
        conv = packed(layer, weight, algorithm)

        def call():
            return conv(x)

    timed(f"large {name}", call, exact, flop=layer.flop)
