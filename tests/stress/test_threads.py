"""Threads: how many, shared by whom, and what a caller may do meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastconv as fc

SECONDS = 120
on_linux = os.path.isdir("/proc/self/task")
linux = pytest.mark.skipif(not on_linux, reason="needs Linux")
two_cores = pytest.mark.skipif(
    not on_linux or len(os.sched_getaffinity(0)) < 2, reason="needs two cores, and Linux"
)
OPERANDS = (
    "import os, numpy as np, fastconv as fc;"
    "x, w = np.ones((4, 64, 60, 60), np.float32), np.ones((64, 64, 3, 3), np.float32);"
    "tasks = lambda: len(os.listdir('/proc/self/task'));"
)


def python(code, **variables):
    """What a fresh interpreter prints, with no variable that sets threads but these."""
    names = ("FASTCONV_NUM_THREADS", "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **variables},
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def long_call():
    """A call of a tenth of a second on one thread, or more."""
    conv = fc.Conv(np.ones((64, 64, 3, 3)), padding=1, algorithm="direct")

    def seconds(x, out):
        start = time.perf_counter()
        conv(x, out=out)
        return time.perf_counter() - start

    batch, fastest = 1, 0.0
    with fc.num_threads(1):
        while fastest < 0.1:
            batch *= 2
            x = np.ones((batch, 64, 40, 40))
            out = conv(x)
            fastest = min(seconds(x, out) for _ in range(3))

    def call():
        with fc.num_threads(1):
            return conv(x, out=out)

    return call


# How many


@linux
def test_affinity_is_followed_when_it_changes():
    core = min(os.sched_getaffinity(0))
    code = (
        "import os, fastconv as fc; all = os.sched_getaffinity(0); print(fc.get_num_threads());"
        f"os.sched_setaffinity(0, {{{core}}}); print(fc.get_num_threads());"
        "os.sched_setaffinity(0, all); print(fc.get_num_threads())"
    )
    first, narrow, last = map(int, python(code))
    assert narrow == 1
    assert first == last >= 1


def test_openmp_variable_may_ask_for_more_than_the_cores():
    code = "import fastconv as fc; print(fc.get_num_threads())"
    assert python(code, OMP_NUM_THREADS="5") == ["5"]


def test_threadpoolctl_sees_and_limits():
    pytest.importorskip("threadpoolctl")
    code = OPERANDS + (
        "import threadpoolctl as t;"
        "print(any(pool['user_api'] == 'openmp' for pool in t.threadpool_info()));"
        "\nwith t.threadpool_limits(1):"
        "\n    print(fc.get_num_threads()); fc.conv2d(x, w); print(tasks())"
        "\nprint(fc.get_num_threads()); fc.conv2d(x, w); print(tasks())"
    )
    sees, limited, before, free, after = python(code, OMP_NUM_THREADS="3", OPENBLAS_NUM_THREADS="1")
    assert (sees, limited, free) == ("True", "1", "3")
    assert int(after) == int(before) + 2, "no worker was started under the limit, two after it"


@linux
def test_small_work_starts_no_thread():
    code = OPERANDS + (
        "before = tasks(); fc.conv2d(x[:1, :4, :8, :8], w[:4, :4]); print(tasks() - before)"
    )
    assert python(code, FASTCONV_NUM_THREADS="4") == ["0"]


# Shared


@linux
def test_callers_from_many_threads_share_the_workers():
    code = OPERANDS + (
        "from concurrent.futures import ThreadPoolExecutor;"
        "c = fc.Conv(w, padding=1); wanted = c(x); before = tasks()\n"
        "with ThreadPoolExecutor(6) as pool:\n"
        "    same = list(pool.map(lambda _: bool((c(x) == wanted).all()), range(60)))\n"
        "    print(all(same), tasks() - before)"
    )
    assert python(code, FASTCONV_NUM_THREADS="4") == ["True", "6"], "the pool's own six"


def test_different_numbers_of_threads_at_once():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 32, 40, 40)).astype(np.float32)
    conv = fc.Conv(rng.standard_normal((32, 32, 3, 3)).astype(np.float32), padding=1)
    wanted = conv(x)

    def work(index):
        with fc.num_threads(1 + index % 5):
            return all(np.array_equal(conv(x), wanted) for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(32), timeout=SECONDS))


def test_one_conv_and_the_functional_form_meet_new_shapes_from_all_sides():
    """Caches of plans, of packed weights and of arguments under load; each result is checked."""
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal((8, 8, k, k)).astype(np.float32) for k in (1, 3, 5)]
    convs = [fc.Conv(weight, padding="same", activation="relu") for weight in weights]
    image = rng.standard_normal((1, 8, 40, 80)).astype(np.float32)
    begin = threading.Barrier(8)

    def work(seed):
        order = np.random.default_rng(seed).permutation(90)
        begin.wait(SECONDS)
        for index in order:
            x = image[..., : 5 + index % 30, : 6 + index]
            kind = index % 3
            packed = convs[kind](x)
            functional = fc.conv2d(x, weights[kind], padding="same", activation="relu")
            alone = fc.Conv(weights[kind], padding="same", activation="relu")(x)
            if not np.array_equal(packed, alone):
                return f"Conv differs for {x.shape}"
            if not np.allclose(functional, alone, rtol=1e-4, atol=1e-4):
                return f"conv2d differs for {x.shape}"
        return None

    with ThreadPoolExecutor(8) as pool:
        assert [why for why in pool.map(work, range(8), timeout=SECONDS) if why] == []


# Meanwhile


def test_other_python_threads_run_during_a_call(long_call):
    counts, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counts[0] += 1
            time.sleep(0)

    other = threading.Thread(target=count)
    other.start()
    try:
        long_call()
        before = counts[0]
        long_call()
        during = counts[0] - before
    finally:
        stop.set()
        other.join()
    # Without the interpreter lock's release the other thread gets a turn at the ends at most.
    assert during > 20


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_interrupt_during_a_call_is_raised_after_it(long_call):
    finished = []

    def interrupted():
        while True:
            long_call()
            finished.append(time.perf_counter())

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(finished) <= 1


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("algorithm", ["auto", "fft"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_denormals_count_as_zeros(dtype, algorithm, threads):
    """In callers and workers, which spares them their cost; the caller keeps its mode."""
    rng = np.random.default_rng(2)
    size = 9 if algorithm == "fft" else 3
    conv = fc.Conv(
        rng.standard_normal((16, 16, size, size)).astype(dtype), padding="same", algorithm=algorithm
    )
    denormal = np.full((1, 16, 96, 96), 1e-40 if dtype == "float32" else 1e-310, dtype)
    with fc.num_threads(threads):
        assert not conv(denormal).any()
    assert denormal.flat[0] * denormal.dtype.type(1) != 0, "flushed for the caller"


# One worker, and its mask.
MASKS = (
    OPERANDS + "import time; fc.set_num_threads(2); conv = fc.Conv(w, padding=1);"
    "threads = lambda: {int(thread) for thread in os.listdir('/proc/self/task')};"
    "before = threads(); run = lambda: [conv(x) for _ in range(3)]; run();"
    "everything = os.sched_getaffinity(0); worker, = threads() - before;"
    "mask = lambda: os.sched_getaffinity(worker);"
)


@two_cores
def test_a_sleeping_worker_leaves_its_callers_core():
    code = (
        MASKS + f"end = time.monotonic() + {SECONDS} / 2\n"
        "while mask() == everything and time.monotonic() < end: time.sleep(.01)\n"
        "print(len(everything - mask()), mask() < everything)"
    )
    assert python(code) == ["1", "True"]


@two_cores
def test_a_mask_that_somebody_set_stays():
    code = (
        MASKS + f"end = time.monotonic() + {SECONDS} / 2\n"
        "while mask() == everything and time.monotonic() < end: time.sleep(.01)\n"
        "theirs = everything - mask(); os.sched_setaffinity(worker, theirs)\n"
        "run(); time.sleep(.1); run(); time.sleep(.1); print(mask() == theirs)"
    )
    assert python(code) == ["True"]
