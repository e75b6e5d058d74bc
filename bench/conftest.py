"""Fixtures and the one option of the benchmark suite; `pytest bench/` runs it."""

from __future__ import annotations

import sys
import time
from functools import lru_cache
from pathlib import Path

import pytest

# bench/ is no package: its modules find each other whatever pytest's import mode.
sys.path.insert(0, str(Path(__file__).parent))

from layers import BY_NAME, exact_output, random_data, relative_error

import fastconv as fc

# Largest accepted difference from the float64 result over its largest value, by dtype. A plain
# float32 sum of a few thousand products is off by some 1e-6, "highest" allows four times that.
# The longest FFTs in SciPy's baselines stay below these as well.
RELATIVE_TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


# A call this slow is steady enough for two more: keeps the whole suite within minutes.
SLOW_CALL_SECONDS = 0.1


def pytest_addoption(parser):
    parser.addoption("--conv-threads", type=int, default=1,
                     help="threads fastconv may use (default 1, as SciPy's baselines do)")


@pytest.fixture(scope="session", autouse=True)
def conv_threads(request):
    """fastconv's number of threads for the session."""
    # The option is unknown when bench/ is collected from a folder above it.
    threads = request.config.getoption("--conv-threads", default=1)
    before = fc.get_num_threads()
    fc.set_num_threads(threads)
    yield threads
    fc.set_num_threads(before)


@lru_cache(maxsize=1)
def layer_data(name: str):
    """Input, weight and float64 result of a layer; tests of one layer run one after another."""
    layer = BY_NAME[name]
    x, weight = random_data(layer)
    return x, weight, exact_output(layer, x, weight)


@pytest.fixture
def timed(benchmark):
    """Check a call's result, then time it in the named group."""
    def run(group, call, exact, *, flop, to_reference=lambda result: result, dtype="float32"):
        start = time.perf_counter()
        result = call()
        is_slow = time.perf_counter() - start > SLOW_CALL_SECONDS
        error = relative_error(to_reference(result), exact)
        assert error <= RELATIVE_TOLERANCE[dtype], f"{group}: relative error {error:.1e}"
        benchmark.group = group
        if is_slow:
            benchmark.pedantic(call, rounds=2)
        else:
            benchmark(call)
        benchmark.extra_info["relative_error"] = error
        if benchmark.stats is not None:
            benchmark.extra_info["gflops"] = flop / benchmark.stats.stats.median / 1e9

    return run
