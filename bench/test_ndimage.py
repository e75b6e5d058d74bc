"""Image filters: fastconv.ndimage, SciPy, OpenCV and scikit-image, one group for each case."""

from __future__ import annotations

from functools import lru_cache

import pytest
from image_filters import PEERS, all_cases, check, picture, runners

pytestmark = pytest.mark.benchmark(min_rounds=3, max_time=0.15, warmup=False, disable_gc=True)

# Direct sums of SciPy's that take longer are timed by `python bench/image_filters.py` only.
MOST_PRODUCTS = 3e8


def products(case) -> float:
    count = 1.0
    for size in case.shape:
        count *= size * (case.argument or 3)
    return count


CASES = [case for case in all_cases() if products(case) <= MOST_PRODUCTS]


@lru_cache(maxsize=1)
def prepared(case):
    calls = runners(case, picture(case))
    return calls, calls["scipy"]()


@pytest.mark.parametrize("runner", ["fastconv", *PEERS])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_image_filter(benchmark, case, runner):
    calls, exact = prepared(case)
    if runner not in calls:
        pytest.skip(f"{runner} has no such filter here, or is not installed")
    check(case, runner, calls[runner](), exact)
    benchmark.group = case.name
    benchmark(calls[runner])
