"""fastconv.signal beside scipy.signal and NumPy: lines of 10^3 to 10^7 samples, and pictures.

Every runner of a group is called as users call it, with arrays in and an array out, and gives the
same numbers. `python bench/drop_ins.py --cases 'line|picture '` prints the ratios as a table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import signal as theirs

from fastconv import signal as ours

pytestmark = pytest.mark.benchmark(min_rounds=3, max_time=0.1, warmup=False, disable_gc=True)

LINES = [
    (samples, size)
    for samples in (1000, 10_000, 100_000, 1_000_000, 10_000_000)
    for size in (3, 9, 33, 65, 513, 4097, 100_001)
    if size < samples
]
SHORT = [(1664, 65), (2000, 5), (4000, 17)]
PICTURES = [
    (side, size, kind)
    for side in (512, 1024, 2048, 4096)
    for size in (3, 5, 7, 15, 31, 63)
    for kind in ("any", "gaussian")
    if side * size <= 4096 * 31
]
DTYPES = ("float32", "float64")
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}
# What pytest runs: seconds of SciPy's direct form, samples of any runner.
MOST_SECONDS, MOST_SAMPLES = 1.2, 2_000_000


@lru_cache(maxsize=2)
def line_data(samples: int, size: int, dtype: str):
    rng = np.random.default_rng([samples, size])
    x, w = rng.standard_normal(samples).astype(dtype), rng.standard_normal(size).astype(dtype)
    return x, w, theirs.oaconvolve(x.astype(float), w.astype(float), "same")


@lru_cache(maxsize=2)
def picture_data(side: int, size: int, kind: str, dtype: str):
    rng = np.random.default_rng([side, size])
    x, w = rng.random((side, side)), rng.standard_normal((size, size))
    if kind == "gaussian":
        row = theirs.windows.gaussian(size, size / 6)
        w = np.outer(row, row) / row.sum() ** 2
    x, w = x.astype(dtype), w.astype(dtype)
    return x, w, theirs.fftconvolve(x.astype(float), w.astype(float), "same")


LINE_RUNNERS = {
    "fastconv.convolve": lambda x, w: ours.convolve(x, w, "same"),
    "scipy.direct": lambda x, w: theirs.convolve(x, w, "same", "direct"),
    "scipy.fftconvolve": lambda x, w: theirs.fftconvolve(x, w, "same"),
    "scipy.oaconvolve": lambda x, w: theirs.oaconvolve(x, w, "same"),
    "numpy.convolve": lambda x, w: np.convolve(x, w, "same"),
}
PICTURE_RUNNERS = {
    "fastconv.convolve2d": lambda x, w: ours.convolve2d(x, w, "same"),
    "scipy.direct": lambda x, w: theirs.convolve2d(x, w, "same"),
    "scipy.fftconvolve": lambda x, w: theirs.fftconvolve(x, w, "same"),
    "scipy.oaconvolve": lambda x, w: theirs.oaconvolve(x, w, "same"),
}
DIRECT = ("scipy.direct", "numpy.convolve")


class Case(NamedTuple):
    """Two arrays and what may convolve them."""

    name: str
    data: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]
    arguments: tuple[Any, ...]
    runners: dict[str, Callable]
    samples: int
    products: float
    seconds: float  # of SciPy's direct form: what it takes for a product, as measured

    @property
    def dtype(self) -> str:
        return self.arguments[-1]

    def prepare(self, direct: bool) -> tuple[dict[str, Callable], Callable[[str, Any], None]]:
        """The calls, and what checks a result; without SciPy's direct forms if need be."""
        x, w, exact = self.data(*self.arguments)
        wanted = (name for name in self.runners if direct or name not in DIRECT)

        def check(name: str, result: np.ndarray) -> None:
            error = np.abs(result - exact).max() / np.abs(exact).max()
            if not error <= TOLERANCE[self.dtype]:
                raise AssertionError(f"{self.name} {name}: relative error {error:.1e}")

        return {name: lambda call=self.runners[name]: call(x, w) for name in wanted}, check


def all_cases() -> list[Case]:
    found = []
    for dtype in DTYPES:
        for n, k in [*SHORT, *LINES]:
            found.append(Case(f"line {n} by {k} {dtype}", line_data, (n, k, dtype), LINE_RUNNERS,
                              n, 1.0 * n * k, 0.15e-9 * n * k))  # fmt: skip
        for n, k, kind in PICTURES:
            products = 1.0 * n * n * k * k
            found.append(Case(f"picture {n} by {k} {kind} {dtype}", picture_data,
                              (n, k, kind, dtype), PICTURE_RUNNERS, n * n, products,
                              1.1e-9 * products))  # fmt: skip
    return found


CASES = {case.name: case for case in all_cases()}


@pytest.mark.parametrize(
    ("case", "runner"),
    [
        pytest.param(case, runner, id=f"{case.name}-{runner}".replace(" ", "_"))
        for case in CASES.values()
        for runner in case.runners
        if case.samples <= MOST_SAMPLES and (runner not in DIRECT or case.seconds <= MOST_SECONDS)
    ],
)
def test_signal(case, runner, timed):
    x, w, exact = case.data(*case.arguments)
    call = case.runners[runner]
    timed(case.name, lambda: call(x, w), exact, flop=2 * case.products, dtype=case.dtype)
