"""Image filters: fastconv.ndimage, SciPy, OpenCV and scikit-image, one group for each case."""

from __future__ import annotations

from functools import lru_cache

import pytest
from image_filters import PEERS, all_cases, check, picture, runners

pytestmark = pytest.mark.benchmark(min_rounds=3, max_time=0.15, warmup=False, disable_gc=True)

# Longer calls of SciPy's are timed by `python bench/drop_ins.py` only.
MOST_SECONDS = 0.2
CASES = [case for case in all_cases() if case.seconds <= MOST_SECONDS]


@lru_cache(maxsize=1)
def prepared(case):
    calls = runners(case, picture(case))
    return calls, calls["scipy.direct"]()


@pytest.mark.parametrize("runner", ["fastconv", *PEERS])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_image_filter(benchmark, case, runner):
    calls, exact = prepared(case)
    if runner not in calls:
        pytest.skip(f"{runner} has no such filter here, or is not installed")
    check(case, runner, calls[runner](), exact)
    benchmark.group = case.name
    benchmark(calls[runner])
