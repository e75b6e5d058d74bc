"""No kernel touches a byte that is not its own, and every kernel reads and writes any strides."""

import dataclasses
import functools
import os
import pickle
import signal
import traceback
import warnings

import driver
import numpy as np
import pytest
from guard import Guarded

PATTERN = 0xA5


def in_child(work):
    """Runs work(tell) in a forked child; None, or the last thing told and how the child ended."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
        child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            try:
                work(lambda words: pipe.write(pickle.dumps(words)))
                status = 0
            except BaseException:
                pipe.write(pickle.dumps(traceback.format_exc()))
                status = 1
        os._exit(status)
    os.close(writing)
    told = None
    with os.fdopen(reading, "rb") as pipe:
        while True:
            try:
                told = pickle.load(pipe)
            except EOFError:
                break
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"{told}: {signal.Signals(os.WTERMSIG(status)).name}"
    return None if status == 0 else told


def run_guarded(row, case, side):
    guards = []

    def guarded(array):
        guards.append(Guarded(array, side))
        return guards[-1].array

    made = driver.plan(row, case)
    before = driver.stored(row, case, driver.values_of(case))
    arrays = before.map(guarded)
    out = guarded(driver.new_out(row, case))
    driver.run(row, case, made, arrays, out)
    assert all(guard.intact for guard in guards), f"{row} {case!r} wrote beside an array"
    for field in dataclasses.fields(before):
        old, new = getattr(before, field.name), getattr(arrays, field.name)
        assert old is None or (old == new).all(), f"{row} {case!r} wrote to {field.name}"
    got = driver.as_values(row, case, out)
    assert (wrong := driver.difference(row, case, got, *driver.expected_of(case))) is None, wrong


@pytest.mark.parametrize("side", ["after", "before"])
def test_guard_pages(every_row, side):
    cases = driver.sample(every_row, 8)
    if driver.algorithm_of(every_row) == "depthwise":  # which reads beside most rows of x
        cases += driver.sample(every_row, 1000, ["depthwise"])
    assert cases
    for case in cases:
        driver.expected_of(case)  # here, so that every child finds it

    def work(tell):
        for case in cases:
            tell(f"{every_row} {case!r}, forbidden page {side} every array")
            run_guarded(every_row, case, side)

    assert (failure := in_child(work)) is None, failure


def test_a_read_past_the_end_is_noticed():
    def work(tell):
        tell("reading")
        array = Guarded(np.ones(5, np.float32), "after").array
        np.lib.stride_tricks.as_strided(array, (6,)).sum()

    assert in_child(work) == "reading: SIGSEGV"


def test_a_write_beside_is_noticed():
    guarded = Guarded(np.ones(5, np.float32), "after")
    np.lib.stride_tricks.as_strided(guarded.array[::-1], (6,))[5] = 0
    assert not guarded.intact


def buffer_like(array, shape):
    big = np.empty(shape, array.dtype)
    big.view(np.uint8).fill(PATTERN)
    return big


def dense(array):
    big = buffer_like(array, array.shape)
    return big, big


def backwards(array):
    big = buffer_like(array, array.shape)
    return big, np.flip(big)


def gaps(array):
    big = buffer_like(array, [2 * n + 1 for n in array.shape])
    return big, big[(slice(1, None, 2),) * array.ndim]


def window(array):
    big = buffer_like(array, [n + 3 for n in array.shape])
    return big, big[tuple(slice(1, n + 1) for n in array.shape)]


def axes_reversed(array):
    big = buffer_like(array, array.shape[::-1])
    return big, big.T


def other_layout(array):
    """Channels-first memory for channels-last arrays, and the reverse: both are tried."""
    big = buffer_like(array, (array.shape[0], *array.shape[2:], array.shape[1]))
    return big, np.moveaxis(big, -1, 1)


def long_rows_backwards(array):
    big = buffer_like(array, (*array.shape[:-1], 3 * array.shape[-1]))
    return big, big[..., ::-3]


STRIDES = [backwards, gaps, window, axes_reversed, other_layout, long_rows_backwards]


def placed(kind):
    def place(array):
        _, view = kind(array)
        view[...] = array
        return view

    return place


@pytest.mark.parametrize("kind", STRIDES, ids=lambda kind: kind.__name__)
def test_strides(every_row, kind):
    """Every operand strided, then out strided: the bytes between the elements of out stay."""
    failures = []
    cases = driver.sample(every_row, 2)
    if kind is window:  # between whose pixels lie 512 channels again
        wide = driver.sample(every_row, 1000, ["depthwise"])
        cases += [case for case in wide if case.in_ch == 509]
    for case in cases:
        made = driver.plan(every_row, case)
        arrays = driver.stored(every_row, case, driver.values_of(case))
        strided = arrays.map(placed(kind), (*arrays.TENSORS, "weight", "pointwise"))
        for operands, out_kind in ((strided, dense), (arrays, kind), (strided, kind)):
            big, out = out_kind(driver.new_out(every_row, case))
            driver.run(every_row, case, made, operands, out)
            got = driver.as_values(every_row, case, out.copy())
            failures.append(driver.difference(every_row, case, got, *driver.expected_of(case)))
            out[...] = buffer_like(out, out.shape)
            untouched = (big.reshape(-1).view(np.uint8) == PATTERN).all()
            failures.append(None if untouched else f"{every_row} {case!r} wrote between outputs")
    driver.report(failures)


def test_broadcast_operands(every_row):
    """A stride of zero along each axis of x, the weights and the residual in turn."""
    failures = []
    for case in driver.sample(every_row, 1):
        made = driver.plan(every_row, case)
        for name in ("x", "weight", "residual"):
            array = getattr(driver.values_of(case), name)
            for axis in range(array.ndim if array is not None else 0):
                values, *expected = broadcast(case, name, axis)
                arrays = driver.stored(every_row, case, values)
                operand = without_stride(getattr(arrays, name), memory_axis(case, name, axis))
                out = driver.run(
                    every_row, case, made, dataclasses.replace(arrays, **{name: operand})
                )
                got = driver.as_values(every_row, case, out)
                failures.append(driver.difference(every_row, case, got, *expected))
    driver.report(failures)


@functools.cache
def broadcast(case, name, axis):
    """(values of which one operand is constant along an axis, their truth)."""
    values = driver.values_of(case)
    values = dataclasses.replace(values, **{name: without_stride(getattr(values, name), axis)})
    return values, *driver.expected(case, values)


def without_stride(array, axis):
    result = np.broadcast_to(np.take(array, [0], axis), array.shape)
    assert result.shape[axis] == 1 or result.strides[axis] == 0
    return result


def memory_axis(case, name, axis):
    """The axis as the case's layout has it."""
    if axis == 0 or name == "weight" or not case.channels_last:
        return axis
    return case.rank + 1 if axis == 1 else axis - 1


def test_overlapping_windows_of_x(every_row):
    """x as overlapping windows of one short signal, as sliding_window_view makes them."""
    failures = []
    for case in driver.sample(every_row, 1):
        signal_values, values, *expected = overlapping_case(case)
        arrays = driver.stored(every_row, case, values)
        stored = driver.truth.to_storage(signal_values, driver.dtype_of(every_row))
        x = overlapping(stored, case.x_shape)
        arrays.x = np.moveaxis(x, 1, -1) if case.channels_last else x
        out = driver.run(every_row, case, driver.plan(every_row, case), arrays)
        got = driver.as_values(every_row, case, out)
        failures.append(driver.difference(every_row, case, got, *expected))
    driver.report(failures)


@functools.cache
def overlapping_case(case):
    size = sum(n - 1 for n in case.x_shape) + 1
    signal_values = driver.rounded(np.random.default_rng(3).standard_normal(size))
    x = overlapping(signal_values, case.x_shape)
    values = dataclasses.replace(driver.values_of(case), x=x)
    return signal_values, values, *driver.expected(case, values)


def overlapping(signal_values, shape):
    strides = (signal_values.itemsize,) * len(shape)
    return np.lib.stride_tricks.as_strided(signal_values, shape, strides, writeable=False)
