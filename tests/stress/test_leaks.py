"""Memory stays where it was after many shapes, plans, weights and refusals."""

import gc
import os
import threading

import numpy as np
import pytest

import fastconv as fc

PAGE = os.sysconf("SC_PAGE_SIZE")
pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")


def resident_bytes():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


def growth(work, rounds):
    """Bytes gained by the second half of the rounds; the first fills caches and the allocator."""
    for index in range(rounds):
        work(index)
    before = resident_bytes()
    for index in range(rounds, 2 * rounds):
        work(index)
    return resident_bytes() - before


def test_many_shapes_of_one_conv():
    conv = fc.Conv(np.ones((8, 8, 3, 3), np.float32), padding=1)

    def work(index):
        conv(np.ones((1, 8, 1 + index % 9, 1 + index % 101), np.float32))

    assert growth(work, 900) < 2 << 20


def test_many_convs():
    """Each holds 2 MB of packed weights at least; a leak of one in ten would show."""
    weight = np.ones((256, 256, 3, 3), np.float32)
    x = np.ones((1, 256, 4, 4), np.float32)
    assert growth(lambda index: fc.Conv(weight, padding=1)(x), 20) < 5 << 20


def test_many_functional_calls():
    """Weights of 150 KB are packed for each."""
    weight = np.ones((64, 64, 3, 3), np.float32)

    def work(index):
        fc.conv2d(np.ones((1, 64, 2, 1 + index % 40), np.float32), weight, padding=1)

    assert growth(work, 250) < 4 << 20


def test_refusals():
    x, weight = np.ones((1, 64, 30, 30), np.float32), np.ones((64, 64, 3, 3), np.float32)

    def work(index):
        for options in ({"groups": 5}, {"algorithm": "magic"}, {"bias": x}, {"dilation": 99}):
            with pytest.raises((TypeError, ValueError)):
                fc.conv2d(x, weight, **options)

    assert growth(work, 200) < 1 << 20


def test_threads_come_and_go():
    """The scratch of a Python thread goes when it does: half of it, kept, would show."""
    conv = fc.Conv(np.ones((64, 64, 3, 3), np.float32), padding=1)
    x = np.ones((1, 64, 56, 56), np.float32)

    def work(index):
        with fc.num_threads(1):
            thread = threading.Thread(target=conv, args=(x,))
            thread.start()
            thread.join()

    rounds = 40
    assert growth(work, rounds) < rounds * conv.plan(x.shape).workspace_bytes // 2
