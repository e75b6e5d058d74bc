"""fastconv.patch: SciPy's names call fastconv inside a block, in its context alone."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.signal
from scipy.signal import _signaltools

import fastconv.patch
from fastconv import signal


@pytest.fixture
def calls(monkeypatch):
    """What of fastconv.signal was called."""
    seen = []

    def watched(name):
        function = getattr(signal, name)

        def call(*args, **kwargs):
            seen.append(name)
            return function(*args, **kwargs)

        return call

    for name in signal.__all__:
        monkeypatch.setattr(signal, name, watched(name))
    return seen


def test_names_are_swapped_and_restored(calls):
    before = {name: getattr(scipy.signal, name) for name in signal.__all__}
    inside = _signaltools.convolve
    with fastconv.patch.scipy():
        for name, function in before.items():
            assert getattr(scipy.signal, name) is not function
            assert getattr(scipy.signal, name).__name__ == name
        assert scipy.signal.convolve([1, 2], [1, 1]).tolist() == [1, 3, 2]
    assert calls == ["convolve"]
    assert {name: getattr(scipy.signal, name) for name in before} == before
    assert _signaltools.convolve is inside
    scipy.signal.convolve([1, 2], [1, 1])
    assert calls == ["convolve"]


def test_blocks_nest_and_errors_leave_them(calls):
    before = scipy.signal.convolve

    def fail():
        with fastconv.patch.scipy():
            with fastconv.patch.scipy():
                scipy.signal.correlate([1.0], [2.0])
            scipy.signal.correlate([1.0], [2.0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert calls == ["correlate", "correlate"]
    assert scipy.signal.convolve is before


def test_other_scipy_functions_use_it(calls):
    x = np.sin(np.arange(400.0))
    wanted = scipy.signal.resample_poly(x, 1, 2)
    with fastconv.patch.scipy():
        np.testing.assert_allclose(scipy.signal.resample_poly(x, 1, 2), wanted, atol=1e-12)
    assert "upfirdn" in calls


def test_what_is_handed_over_reaches_scipy(calls):
    with fastconv.patch.scipy():
        wide = scipy.signal.convolve(np.ones((3, 3), np.longdouble), np.ones((2, 2)))
        with pytest.raises(ValueError, match="same dimensionality"):
            scipy.signal.convolve(np.ones(3), np.ones((2, 2)))
    assert wide.dtype == np.longdouble
    assert calls == ["convolve", "convolve"]


def test_names_imported_inside_call_scipy_outside(calls):
    with fastconv.patch.scipy():
        from scipy.signal import convolve
    assert convolve([1.0], [2.0]).tolist() == [2.0]
    assert calls == []
    with fastconv.patch.scipy():
        convolve([1.0], [2.0])
    assert calls == ["convolve"]


def test_threads(calls):
    """A thread outside a block keeps SciPy's functions; blocks end in any order."""
    before = scipy.signal.convolve
    entered, leave, seen = threading.Event(), threading.Event(), []

    def other():
        scipy.signal.convolve([1.0], [2.0])
        seen.append(list(calls))
        with fastconv.patch.scipy():
            entered.set()
            leave.wait(30)
            scipy.signal.convolve([1.0], [2.0])

    with fastconv.patch.scipy():
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(30)
        scipy.signal.correlate([1.0], [2.0])
    assert scipy.signal.convolve is not before
    scipy.signal.fftconvolve([1.0, 2], [2.0, 1])
    leave.set()
    thread.join()
    assert seen == [[]]
    assert calls == ["correlate", "convolve"]
    assert scipy.signal.convolve is before


def test_many_threads():
    before = scipy.signal.convolve

    def work():
        for _ in range(200):
            with fastconv.patch.scipy():
                assert scipy.signal.convolve([1, 2], [1, 1]).tolist() == [1, 3, 2]

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scipy.signal.convolve is before
