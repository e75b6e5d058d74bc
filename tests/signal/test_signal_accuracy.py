"""The kind of a result of fastconv.signal does not change with the method that computes it."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import signal

N, K = 60_000, 1500  # the cost model takes the FFT for both types


def signals(dtype):
    rng = np.random.default_rng(5)
    return rng.standard_normal(N).astype(dtype), rng.standard_normal(K).astype(dtype)


def error(x, w, mode="same"):
    """Largest error over roundoff and the sum of absolute products, against longer sums."""
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    at = np.linspace(0, N - 1, 400).astype(int)
    padded = np.concatenate([np.zeros(K), x, np.zeros(K)]).astype(wide)
    found, low = signal.convolve(x, w, mode), (K - 1) // 2
    worst = 0.0
    for i in at:
        window = padded[i + low + 1 : i + low + K + 1][::-1]
        exact, size = (window * w).sum(), np.abs(window * w).sum()
        if size == 0:
            assert found[i] == 0
        else:
            worst = max(worst, float(abs(found[i] - exact) / size))
    return worst / np.finfo(x.dtype).eps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_fft_is_what_is_tested(dtype):
    assert signal.choose_conv_method(*signals(dtype), "same") == "fft"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", ["plain", "one large sample", "a quiet half", "large first"])
def test_small_values_beside_large_ones(dtype, case):
    """scipy/scipy#22390: an FFT rounds relative to the largest sample anywhere."""
    x, w = signals(dtype)
    if case == "one large sample":
        x[100] = 1e12
    elif case == "a quiet half":
        x[N // 2 :] *= 1e-7
    elif case == "large first":
        x *= np.geomspace(1e15, 1, N).astype(dtype)
    assert error(x, w) < 8


def test_silence_stays_silent():
    x, w = signals("float64")
    x[20_000:30_000] = 0
    x[-9000:] = 0
    y = signal.convolve(x, w)
    assert (y[21_500:30_000] == 0).all()
    assert (y[-9000:] == 0).all()
    assert (y[:20_000] != 0).all()
    assert (signal.convolve(np.zeros(N), w) == 0).all()


def test_powers():
    """The example of scipy/scipy#22390."""
    x = np.array([0] * 10_000 + [10.0 ** (9 * i) for i in range(10)])
    y = signal.convolve(x, x)
    wanted = np.convolve(x[-10:], x[-10:])
    assert (y[:20_000] == 0).all()
    np.testing.assert_allclose(y[-19:], wanted, rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["auto", "fft", "direct"])
@pytest.mark.filterwarnings("error")
def test_nonfinite_stays_local(dtype, value, method):
    """scipy/scipy#15927: SciPy's results depend on the method chosen by size."""
    for n, k in ((200, 5), (20_000, 700)):
        x, w = np.ones(n, dtype), np.ones(k, dtype)
        x[50] = value
        with np.errstate(invalid="ignore"):
            bad = ~np.isfinite(signal.convolve(x, w, method=method))
        assert bad.sum() == k
        assert bad[50 : 50 + k].all()


@pytest.mark.parametrize("char", "bBhHiI")
def test_integers_are_exact(char):
    """By FFT as well, up to wrapping around."""
    rng, info = np.random.default_rng(1), np.iinfo(char)
    high = min(info.max, 2**20)
    x = rng.integers(max(info.min, -high), high, 40_000).astype(char)
    w = rng.integers(max(info.min, -high), high, 2000).astype(char)
    found = signal.convolve(x, w)
    for i in (0, 1, 1999, 2000, 20_001, 41_998):
        low, high = max(i - 1999, 0), min(i, 39_999) + 1
        exact = sum(int(x[j]) * int(w[i - j]) for j in range(low, high))
        assert found[i] == np.array(exact).astype(np.int64).astype(char)


def test_integers_beyond_floats_go_to_scipy():
    x = np.array([2**62, 3, 2**62 - 1])
    assert signal.convolve(x, np.array([2, 5])).tolist() == np.convolve(x, [2, 5]).tolist()


def test_float32_is_computed_in_float32_and_kept():
    x, w = signals("float32")
    assert signal.convolve(x, w).dtype == np.float32
    assert signal.fftconvolve(x, w).dtype == np.float32
    assert signal.lfilter(w, np.ones(1, np.float32), x).dtype == np.float32


def test_bits_do_not_depend_on_threads():
    import fastconv as fc

    x, w = signals("float32")
    with fc.num_threads(1):
        one = signal.convolve(x, w)
    with fc.num_threads(2):
        assert (signal.convolve(x, w) == one).all()
