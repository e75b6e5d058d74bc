"""fastconv.signal beside scipy.signal and NumPy: lines of 10^3 to 10^7 samples, and pictures.

Every runner of a group is called as users call it, with arrays in and an array out, and gives the
same numbers. `python bench/test_signal.py [--quick] [--clock cpu]` prints the ratios as a table
instead; on a busy machine take the thread's own time, ``--clock cpu``.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from functools import lru_cache

import numpy as np
import pytest
from scipy import signal as theirs

import fastconv as fc
from fastconv import signal as ours

pytestmark = pytest.mark.benchmark(min_rounds=3, max_time=0.1, warmup=False, disable_gc=True)

LINES = [
    (samples, size)
    for samples in (1000, 10_000, 100_000, 1_000_000, 10_000_000)
    for size in (3, 9, 33, 65, 513, 4097, 100_001)
    if size < samples and samples * size <= 10**11
]
SHORT = [(1664, 65), (2000, 5), (4000, 17)]
PICTURES = [
    (side, size, kind)
    for side in (512, 1024)
    for size in (3, 5, 7, 15, 31)
    for kind in ("any", "gaussian")
]
DTYPES = ("float32", "float64")
MOST_DIRECT_PRODUCTS = 1.2e9
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}
_CLOCK = time.thread_time if "cpu" in sys.argv else time.perf_counter
FFT_FORMS = ("scipy.fftconvolve", "scipy.oaconvolve")


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


def line_runners(samples: int, size: int):
    found = {
        "fastconv.convolve": lambda x, w: ours.convolve(x, w, "same"),
        "scipy.fftconvolve": lambda x, w: theirs.fftconvolve(x, w, "same"),
        "scipy.oaconvolve": lambda x, w: theirs.oaconvolve(x, w, "same"),
    }
    if samples * size <= MOST_DIRECT_PRODUCTS:
        found["scipy.direct"] = lambda x, w: theirs.convolve(x, w, "same", "direct")
        found["numpy.convolve"] = lambda x, w: np.convolve(x, w, "same")
    return found


def picture_runners(side: int, size: int):
    found = {
        "fastconv.convolve2d": lambda x, w: ours.convolve2d(x, w, "same"),
        "scipy.fftconvolve": lambda x, w: theirs.fftconvolve(x, w, "same"),
        "scipy.oaconvolve": lambda x, w: theirs.oaconvolve(x, w, "same"),
    }
    if side**2 * size**2 <= MOST_DIRECT_PRODUCTS:
        found["scipy.direct"] = lambda x, w: theirs.convolve2d(x, w, "same")
    return found


CASES = {
    **{
        f"line {n} by {k} {dtype}": (line_data, (n, k, dtype), line_runners, (n, k), 2.0 * n * k)
        for n, k in [*SHORT, *LINES]
        for dtype in DTYPES
    },
    **{
        f"picture {n} by {k} {kind} {dtype}": (
            picture_data, (n, k, kind, dtype), picture_runners, (n, k), 2.0 * n * n * k * k,
        )
        for n, k, kind in PICTURES
        for dtype in DTYPES
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "runner"),
    [
        pytest.param(case, runner, id=f"{case}-{runner}".replace(" ", "_"))
        for case, (_, _, runners, sizes, _) in CASES.items()
        for runner in runners(*sizes)
    ],
)
def test_signal(case, runner, timed):
    data, arguments, runners, sizes, flop = CASES[case]
    x, w, exact = data(*arguments)
    call = runners(*sizes)[runner]
    timed(case, lambda: call(x, w), exact, flop=flop, dtype=arguments[-1])


def measure(case: str, budget: float) -> dict[str, float]:
    """Seconds of each runner, the median of interleaved rounds; results checked."""
    data, arguments, runners, sizes, _ = CASES[case]
    x, w, exact = data(*arguments)
    calls = runners(*sizes)
    numbers = {}
    for name, call in calls.items():
        begin = _CLOCK()
        result = call(x, w)
        call(x, w)
        numbers[name] = max(int(budget / 5 / max(_CLOCK() - begin, 1e-7)), 1)
        error = np.abs(result - exact).max() / np.abs(exact).max()
        assert error <= TOLERANCE[arguments[-1]], f"{case} {name}: relative error {error:.1e}"
    seconds = {name: [] for name in calls}
    for _ in range(5 if max(numbers.values()) > 1 else 2):
        for name, call in calls.items():
            begin = _CLOCK()
            for _ in range(numbers[name]):
                call(x, w)
            seconds[name].append((_CLOCK() - begin) / numbers[name])
    return {name: statistics.median(values) for name, values in seconds.items()}


def main(arguments: list[str]) -> None:
    fc.set_num_threads(1)
    budget = 0.02 if "--quick" in arguments else 0.1
    ratios: dict[tuple[str, str], list[float]] = {}
    for case in CASES:
        if "--quick" in arguments and "10000000" in case:
            continue
        seconds = measure(case, budget)
        own = next(value for name, value in seconds.items() if name.startswith("fastconv"))
        against = {name: seconds[name] / own for name in ("scipy.direct", "numpy.convolve")
                   if name in seconds}  # fmt: skip
        against["better FFT form"] = min(seconds[name] for name in FFT_FORMS) / own
        text = "  ".join(f"{name} {ratio:.2f}" for name, ratio in against.items())
        print(f"{case:38} {own * 1e6:10.1f} us   {text}", flush=True)
        for name, ratio in against.items():
            ratios.setdefault((case.split()[0], name), []).append(ratio)
    for (kind, name), values in ratios.items():
        mean = math.exp(statistics.fmean(map(math.log, values)))
        print(f"{kind}: {mean:.2f} times as fast as {name} (geometric mean of {len(values)}), "
              f"least {min(values):.2f}")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
