"""Child processes compute, with threads, whether or not their parent used some."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

import fastconv as fc

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
SECONDS = 60


def operands():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 32, 40, 40)).astype(np.float32)
    return x, rng.standard_normal((32, 32, 3, 3)).astype(np.float32)


def child_exit_code(work):
    """Forks, runs work() in the child; its exit code, or an assertion that it hung."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    timer = threading.Timer(SECONDS, os.kill, (child, signal.SIGKILL))
    timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    assert not os.WIFSIGNALED(status), f"killed by signal {os.WTERMSIG(status)} (9: it hung)"
    return os.WEXITSTATUS(status)


def test_fork_after_threads():
    x, weight = operands()
    conv = fc.Conv(weight, padding=1)
    with fc.num_threads(4):
        # The functional form counts packing, so it may choose another algorithm and other bits.
        packed, functional = conv(x), fc.conv2d(x, weight, padding=1)

        def work():
            again, new = conv(x), fc.conv2d(x, weight, padding=1)
            return np.array_equal(again, packed) and np.array_equal(new, functional)

        assert child_exit_code(work) == 0
        assert child_exit_code(lambda: child_exit_code(work) == 0) == 0  # a grandchild too
    assert np.array_equal(conv(x), packed), "the parent is none the worse"


def test_fork_while_another_thread_computes():
    x, weight = operands()
    conv = fc.Conv(weight, padding=1)
    wanted, stop = conv(x), threading.Event()

    def keep_busy():
        while not stop.is_set():
            conv(x)

    worker = threading.Thread(target=keep_busy)
    worker.start()
    try:
        for _ in range(3):
            assert child_exit_code(lambda: np.array_equal(conv(x), wanted)) == 0
    finally:
        stop.set()
        worker.join()


def test_fork_before_anything():
    """A child of a process that never computed may use threads of its own."""
    code = (
        "import os, numpy as np, fastconv as fc\n"
        "x, w = np.ones((2, 32, 40, 40), np.float32), np.ones((32, 32, 3, 3), np.float32)\n"
        "child = os.fork()\n"
        "y = fc.conv2d(x, w)\n"
        "assert abs(y - 288).max() < 1e-3\n"
        "if child == 0: os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=SECONDS)


def total(seed):
    x, weight = operands()
    return float(fc.conv2d(x + np.float32(seed), weight, padding=1).sum(dtype=np.float64))


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_multiprocessing_pool(method):
    wanted = [total(seed) for seed in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map_async(total, range(4)).get(SECONDS) == wanted


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux")
def test_a_child_starts_workers_of_its_own():
    code = (
        "import os, sys, numpy as np, fastconv as fc\n"
        "x, w = np.ones((2, 32, 40, 40), np.float32), np.ones((32, 32, 3, 3), np.float32)\n"
        "count = lambda: len(os.listdir('/proc/self/task'))\n"
        "fc.set_num_threads(3); y = fc.conv2d(x, w)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    before = count()\n"
        "    same = np.array_equal(fc.conv2d(x, w), y)\n"
        "    os._exit(0 if same and (before, count()) == (1, 3) else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=SECONDS)
