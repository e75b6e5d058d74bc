"""Image filters: fastconv.ndimage beside SciPy, OpenCV and scikit-image, on the same pictures.

The cases of test_ndimage.py, and of `python bench/drop_ins.py`, which prints a table of them.
Runners write into arrays made beforehand, and are checked against SciPy's result first. OpenCV
rounds 8-bit results to nearest; SciPy truncates after each pass, so there a difference of 3 passes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

PEERS = ("scipy.direct", "opencv", "skimage")
MODE = "reflect"
TOLERANCE = {"float32": 2e-5, "float64": 1e-11, "uint8": 3.0, "int16": 0.0}


class Case(NamedTuple):
    """A filter on a picture or volume; `argument` is a kernel size, a sigma or nothing."""

    filter: str
    shape: tuple[int, ...]
    dtype: str
    argument: float = 0

    @property
    def name(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"{self.filter}{self.argument or ''}-{size}-{self.dtype}"

    @property
    def products(self) -> float:
        """Of the direct form; of the filters that SciPy runs as passes, a few for each cell."""
        dense = self.filter in ("correlate", "separable")
        taps = self.argument ** len(self.shape) if dense else 8 * (self.argument or 1)
        return float(np.prod(self.shape)) * taps

    @property
    def seconds(self) -> float:
        """What SciPy takes, at what it was measured to take for a product."""
        return 0.6e-9 * self.products

    def prepare(self, direct: bool) -> tuple[dict[str, Callable], Callable[[str, Any], None]]:
        """The calls, and what checks a result; without SciPy's if need be: of dense kernels."""
        direct = direct or self.filter not in ("correlate", "separable")
        x = picture(self)
        calls = runners(self, x)
        if direct:
            exact = calls["scipy.direct"]().copy()
        else:
            exact = by_passes(self, x) if self.filter == "separable" else by_transform(self, x)
            del calls["scipy.direct"]
        return calls, lambda name, result: check(self, name, result, exact, direct)


def all_cases() -> list[Case]:
    found = []
    for dtype in ("float32", "float64", "uint8"):
        for size in (512, 1024, 2048, 4096):
            shape = (size, size)
            # Beyond, SciPy takes half a minute; 8-bit sums of 63 x 63 weights leave 16 bits.
            dense = [k for k in (3, 5, 7, 15, 31, 63) if k * size <= 4096 * 31]
            found += [Case("correlate", shape, dtype, k)
                      for k in dense if k < 63 or dtype != "uint8"]  # fmt: skip
            found += [Case("separable", shape, dtype, k)
                      for k in (5, 15, 31, 63) if k * size <= 4096 * 15]  # fmt: skip
            found += [Case("gaussian", shape, dtype, sigma) for sigma in (1, 2, 4, 8)]
            found.append(Case("sobel", shape, dtype))
        found += [Case("uniform", (1024, 1024), dtype, k) for k in (3, 9, 25)]
        found.append(Case("laplace", (1024, 1024), dtype))
        volume = (128, 128, 128)
        found += [Case("correlate", volume, dtype, k) for k in (3, 5)]
        found += [Case("gaussian", volume, dtype, 2), Case("sobel", volume, dtype)]
        found += [Case("uniform", volume, dtype, 5)]
    return found


def picture(case: Case) -> np.ndarray:
    rng = np.random.default_rng(7)
    if case.dtype == "uint8":
        return rng.integers(0, 256, case.shape, dtype=np.uint8)
    return rng.random(case.shape).astype(case.dtype)


def line(case: Case) -> np.ndarray:
    """One factor of a separable kernel."""
    taps = np.hanning(int(case.argument) + 2)[1:-1]
    return taps / taps.sum()


def kernel(case: Case) -> np.ndarray:
    size, rank = int(case.argument), len(case.shape)
    rng = np.random.default_rng(size)
    if case.dtype == "uint8":  # whole numbers, so that every library gives the same
        return rng.integers(-2, 3, (size,) * rank).astype(float)
    return rng.standard_normal((size,) * rank) / size ** (rank / 2)


def result_of(case: Case) -> np.ndarray:
    """An array for the results of a call; wider than 8 bits where those would not fit."""
    wide = case.dtype == "uint8" and case.filter in ("correlate", "sobel", "laplace")
    return np.zeros(case.shape, np.int16 if wide else case.dtype)


def ndimage_call(module, case: Case, x: np.ndarray) -> Callable:
    """The call of scipy.ndimage's interface."""
    out = result_of(case)
    match case.filter:
        case "correlate":
            weights = kernel(case)
            return lambda: module.correlate(x, weights, output=out, mode=MODE)
        case "separable":
            taps = line(case)
            weights = np.multiply.outer(taps, taps)
            return lambda: module.correlate(x, weights, output=out, mode=MODE)
        case "gaussian":
            return lambda: module.gaussian_filter(x, case.argument, output=out, mode=MODE)
        case "sobel":
            return lambda: module.sobel(x, output=out, mode=MODE)
        case "uniform":
            return lambda: module.uniform_filter(x, int(case.argument), output=out, mode=MODE)
        case "laplace":
            return lambda: module.laplace(x, output=out, mode=MODE)
    raise ValueError(case.filter)


def opencv_call(case: Case, x: np.ndarray) -> Callable | None:
    import cv2

    cv2.setNumThreads(1)
    border, out = cv2.BORDER_REFLECT, result_of(case)
    wide = cv2.CV_16S if case.dtype == "uint8" else -1
    if len(case.shape) > 2:
        return None
    match case.filter:
        case "correlate":
            weights = kernel(case)
            return lambda: cv2.filter2D(x, wide, weights, dst=out, borderType=border)
        case "separable":
            taps = line(case)
            return lambda: cv2.sepFilter2D(x, -1, taps, taps, dst=out, borderType=border)
        case "gaussian":
            sigma = float(case.argument)
            size = 2 * int(4 * sigma + 0.5) + 1
            return lambda: cv2.GaussianBlur(x, (size, size), sigma, dst=out, borderType=border)
        case "sobel":
            return lambda: cv2.Sobel(x, wide, 1, 0, dst=out, ksize=3, borderType=border)
        case "uniform":
            size = int(case.argument)
            return lambda: cv2.blur(x, (size, size), dst=out, borderType=border)
        case "laplace":
            return lambda: cv2.Laplacian(x, wide, dst=out, ksize=1, borderType=border)
    return None


def skimage_call(case: Case, x: np.ndarray) -> Callable | None:
    from skimage import filters

    if case.filter == "gaussian" and case.dtype != "uint8":
        out = result_of(case)
        return lambda: filters.gaussian(
            x, case.argument, mode=MODE, preserve_range=True, out=out
        )
    return None


def runners(case: Case, x: np.ndarray) -> dict[str, Callable]:
    import scipy.ndimage

    from fastconv import ndimage

    found: dict[str, Callable | None] = {
        "fastconv": ndimage_call(ndimage, case, x),
        "scipy.direct": ndimage_call(scipy.ndimage, case, x),
    }
    for name, make in (("opencv", opencv_call), ("skimage", skimage_call)):
        with contextlib.suppress(ImportError):
            found[name] = make(case, x)
    return {name: call for name, call in found.items() if call is not None}


def by_transform(case: Case, x: np.ndarray) -> np.ndarray:
    """A dense correlation's result, in double, where SciPy's own takes too long."""
    from scipy import signal

    if case.filter != "correlate":
        raise ValueError(f"{case.name}: SciPy's result is wanted")
    weights = kernel(case)
    padded = np.pad(x.astype(float), int(case.argument) // 2, mode="symmetric")
    exact = signal.fftconvolve(padded, weights[::-1, ::-1], "valid")
    out = result_of(case)
    return (np.rint(exact) if out.dtype.kind in "iu" else exact).astype(out.dtype)


def by_passes(case: Case, x: np.ndarray) -> np.ndarray:
    """The same of a separable kernel, two passes in double."""
    from scipy import ndimage

    exact = x.astype(float)
    for axis in range(x.ndim):
        exact = ndimage.correlate1d(exact, line(case), axis, mode=MODE)
    return exact.astype(result_of(case).dtype)


def check(case: Case, name: str, result: np.ndarray, exact: np.ndarray, direct: bool) -> None:
    error = float(np.abs(result.astype(float) - exact.astype(float)).max())
    tolerance = TOLERANCE[exact.dtype.name]
    if exact.dtype.kind == "f":
        tolerance *= float(np.abs(exact).max())
    elif name == "fastconv":  # cut, in passes' sums that rounded otherwise, to a neighbour
        tolerance = 0.0 if direct or case.filter == "correlate" else 1.0
    if error > tolerance:
        raise AssertionError(f"{case.name}: {name} is off by {error:.2g}")
