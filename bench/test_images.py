"""Pictures and signals: one plane, one channel, fastconv beside the SciPy call it replaces.

Every runner of a group computes the same numbers, zero outside, output the size of the input.
SciPy's "same" takes the middle of the full result, so an even kernel's extra padding comes first.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
import pytest
from scipy import signal
from scipy_baselines import turned

import fastconv as fc

pytestmark = pytest.mark.benchmark(min_rounds=3, max_time=0.15, warmup=False, disable_gc=True)

PICTURE = (1024, 1024)
# Beyond this one direct SciPy call takes longer than half a second.
MAX_DIRECT_KERNEL = 15
MAX_NUMPY_KERNEL = 512


def random(name: str, shape, dtype):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.random(shape).astype(dtype)


def gaussian(size: int, sigma: float) -> np.ndarray:
    offset = np.arange(size) - (size - 1) / 2
    weight = np.exp(-(offset**2) / (2 * sigma**2))
    return weight / weight.sum()


def kernels(kind: str, dtype) -> tuple[np.ndarray, ...]:
    """Kernels of a picture case as correlation weights, one for each output plane."""
    if kind == "gaussian15":
        column = gaussian(15, 2.5)
        found = (np.outer(column, column),)
    elif kind == "sobel":
        column = np.outer([1.0, 2.0, 1.0], [-1.0, 0.0, 1.0])
        found = (column, column.T)
    else:
        size = int(kind)
        found = (np.random.default_rng(size).standard_normal((size, size)),)
    return tuple(np.ascontiguousarray(kernel, dtype) for kernel in found)


@lru_cache(maxsize=1)
def picture_data(kind: str, dtype: str):
    """Picture, correlation kernels and float64 result of a case."""
    picture, planes = random("picture", PICTURE, dtype), kernels(kind, dtype)
    exact = np.stack([
        signal.fftconvolve(picture.astype(float), turned(kernel.astype(float), 2), mode="same")
        for kernel in planes
    ])
    return picture, planes, exact


def picture_runners(kind: str) -> list[str]:
    names = ["fastconv.correlate", "fastconv.convolve", "scipy.fftconvolve"]
    if kind in ("gaussian15", "sobel") or int(kind) <= MAX_DIRECT_KERNEL:
        names += ["scipy.correlate2d", "scipy.convolve2d"]
    return [*names, "scipy.two_passes"] if kind == "gaussian15" else names


PICTURE_CASES = [
    pytest.param(kind, dtype, runner, id=f"{kind}-{dtype}-{runner}")
    for dtype in ("float32", "float64")
    for kind in ("3", "5", "7", "15", "31", "gaussian15", "sobel")
    for runner in picture_runners(kind)
]


def fastconv_same(weight: np.ndarray, *, convolve: bool):
    """A packed fastconv convolution that does what SciPy's mode="same" does."""
    sizes = weight.shape[2:]
    padding = tuple((k // 2, (k - 1) // 2) for k in sizes)
    if convolve:
        weight = np.ascontiguousarray(turned(weight, len(sizes)))
    return fc.Conv(weight, padding=padding, flip_kernel=convolve)


@pytest.mark.parametrize(("kind", "dtype", "runner"), PICTURE_CASES)
def test_picture(kind, dtype, runner, timed):
    picture, planes, exact = picture_data(kind, dtype)
    if runner.startswith("fastconv."):
        conv = fastconv_same(np.stack(planes)[:, None], convolve=runner == "fastconv.convolve")
        x = picture[None, None]

        def call():
            return conv(x)[0]
    elif runner == "scipy.two_passes":
        line = gaussian(15, 2.5).astype(dtype)

        def call():
            columns = signal.convolve2d(picture, line[:, None], mode="same")
            return signal.convolve2d(columns, line[None], mode="same")[None]
    else:
        function = getattr(signal, runner.removeprefix("scipy."))
        used = planes if "correlate" in runner else [
            np.ascontiguousarray(turned(kernel, 2)) for kernel in planes]

        def call():
            return np.stack([function(picture, kernel, mode="same") for kernel in used])

    flop = 2 * picture.size * sum(kernel.size for kernel in planes)
    timed(f"picture {kind} {dtype}", call, exact, flop=flop, dtype=dtype)


def signal_runners(size: int) -> list[str]:
    names = ["fastconv.correlate", "fastconv.convolve", "scipy.correlate", "scipy.convolve",
             "scipy.fftconvolve", "scipy.oaconvolve"]
    return [*names, "numpy.convolve"] if size <= MAX_NUMPY_KERNEL else names


SIGNAL_CASES = [
    pytest.param(samples, size, runner, id=f"{samples}-by-{size}-{runner}")
    for samples, size in ((1664, 65), (10**6, 9), (10**6, 64), (10**6, 512), (10**6, 4096))
    for runner in signal_runners(size)
]


@pytest.mark.parametrize(("samples", "size", "runner"), SIGNAL_CASES)
def test_signal(samples, size, runner, timed):
    line = random("signal", samples, np.float64)
    kernel = np.random.default_rng(size).standard_normal(size)
    backwards = kernel[::-1].copy()
    # A correlation reads "same" from the other end, which an even kernel shows.
    exact = signal.oaconvolve(line, backwards, mode="same")
    if runner.startswith("fastconv."):
        conv = fastconv_same(kernel[None, None], convolve=runner == "fastconv.convolve")
        x = line[None, None]

        def call():
            return conv(x)[0, 0]
    else:
        library, name = runner.split(".")
        function = getattr(np if library == "numpy" else signal, name)
        used = kernel if name == "correlate" else backwards

        def call():
            return function(line, used, mode="same")

    timed(f"signal {samples} by {size}", call, exact, flop=2 * samples * size, dtype="float64")
