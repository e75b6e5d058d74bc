"""fastconv.signal against SciPy: values, dtypes and errors over shapes, types and options."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from scipy import signal as theirs

from fastconv import _drop_in, signal

MODES = ("full", "same", "valid")
DTYPES = "?bHilfdFD"


def values(char, shape, seed=0):
    rng, dtype = np.random.default_rng([seed, *shape]), np.dtype(char)
    if dtype.kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) > 0.5
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -(2**17)), min(info.max, 2**17), shape, dtype)


def outcome(function, args, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args, **options)
        except Exception as error:
            return error


def check(name, *args, exact=True, **options):
    """Both give the same array, or the same error."""
    reference = dict(options)
    arrays = [a for a in args if isinstance(a, np.ndarray)]
    if exact and reference.get("method") in ("auto", "fft") and (
        all(a.dtype.kind in "iu" for a in arrays)
    ):
        reference["method"] = "direct"  # SciPy's FFT does not wrap integers around
    wanted = outcome(getattr(theirs, name), args, reference)
    found = outcome(getattr(signal, name), args, options)
    label = f"{name}{[(a.shape, a.dtype.char) for a in arrays]} {options}"
    if isinstance(wanted, Exception) or isinstance(found, Exception):
        assert (type(found), str(found)) == (type(wanted), str(wanted)), label
        return
    if not isinstance(wanted, tuple):
        wanted, found = (wanted,), (found,)
    assert len(found) == len(wanted), label
    for a, b in zip(found, wanted, strict=True):
        assert type(a) is type(b), label
        assert (a.dtype, a.shape) == (b.dtype, b.shape), label
        if b.dtype.kind in "biuO":
            assert (a == b).all(), label
            continue
        eps = max(np.finfo(x.dtype).eps for x in [b, *arrays] if x.dtype.kind in "fc")
        scale = max(np.abs(b[np.isfinite(b)]).max(initial=0), 1)
        np.testing.assert_allclose(a, b, rtol=0, atol=300 * eps * scale, err_msg=label)


SHAPES = [
    ((9,), (4,)), ((4,), (9,)), ((50,), (7,)), ((400,), (31,)), ((1,), (1,)), ((6, 7), (3, 2)),
    ((3, 2), (6, 7)), ((3, 7), (6, 2)), ((1, 9), (1, 3)), ((9, 1), (3, 1)), ((8, 5), (1, 3)),
    ((8, 5), (3, 1)), ((5, 6, 7), (2, 3, 4)), ((4, 5, 4, 5), (2, 3, 2, 2)),
    ((2, 3, 4, 5, 6), (2, 2, 2, 2, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("n", "k"), SHAPES, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_convolutions(n, k, mode):
    for a, b in itertools.product(DTYPES, DTYPES):
        x, w = values(a, n), values(b, k)
        both_bool = a + b == "??"
        for method in ("auto", "direct") if both_bool else ("auto", "direct", "fft"):
            check("convolve", x, w, mode=mode, method=method)
            check("correlate", x, w, mode=mode, method=method)
        check("fftconvolve", x, w, mode=mode)
        check("oaconvolve", x, w, mode=mode)


@pytest.mark.parametrize(
    ("n", "k"),
    [((300, 310), (40, 41)), ((3000,), (900,)), ((60000,), (800,)), ((40, 50), (45, 3))], ids=str,
)  # fmt: skip
@pytest.mark.parametrize("mode", ["full", "same"])
def test_large_kernels(n, k, mode):
    for a, b in ("ff", "dd", "bb", "fd", "FD", "Hb"):
        x, w = values(a, n), values(b, k)
        check("convolve", x, w, mode=mode)
        check("fftconvolve", x, w, mode=mode)


@pytest.mark.parametrize("boundary", ["fill", "wrap", "symm", "circular", "bogus"])
@pytest.mark.parametrize("mode", MODES)
def test_pictures(boundary, mode):
    for n, k in (((6, 7), (3, 2)), ((3, 2), (6, 7)), ((8, 5), (1, 4)), ((12, 9), (5, 5))):
        for a, b in itertools.product(DTYPES, DTYPES):
            x, w = values(a, n), values(b, k)
            for fill in (0, 3):
                check("convolve2d", x, w, mode=mode, boundary=boundary, fillvalue=fill)
                check("correlate2d", x, w, mode=mode, boundary=boundary, fillvalue=fill)


def test_rank_one_pictures():
    """Kernels that run as two passes, and one that only nearly is an outer product."""
    x = values("d", (200, 210))
    column, row = values("d", (15,)), values("d", (17,), 1)
    w = np.outer(column, row)
    nearly = w.copy()
    nearly[3, 4] += 1e-9
    whole = np.outer(np.arange(1, 16), np.arange(2, 36, 2))
    for char in "fd":
        check("convolve2d", x.astype(char), w.astype(char), mode="same")
        check("convolve", x.astype(char), nearly.astype(char))
    check("convolve2d", (9 * x).astype(np.int16), whole, boundary="symm")


@pytest.mark.parametrize("mode", MODES)
def test_axes(mode):
    cases = [
        ((4, 9), (4, 3), 1), ((4, 9), (1, 3), 1), ((1, 9), (4, 3), 1), ((9, 4), (3, 4), 0),
        ((3, 4, 5, 9), (3, 1, 5, 3), (3,)), ((3, 8, 5, 9), (3, 2, 5, 3), (1, 3)),
        ((4, 9), (3, 3), 1), ((4, 9), (4, 3), 5), ((4, 3), (4, 9), -1), ((1, 9), (5, 3), None),
        ((4, 9), (4, 3), []), ((4, 9), (4, 3), (1, 1)), ((4, 5), (1, 1), None),
        ((3, 5000), (3, 400), 1), ((3, 5000), (1, 400), -1),
    ]  # fmt: skip
    for n, k, axes in cases:
        for a, b in ("ff", "dd", "Dd", "FF", "ii"):
            for name in ("fftconvolve", "oaconvolve"):
                check(name, values(a, n), values(b, k), mode=mode, axes=axes)


@pytest.mark.parametrize("up", [1, 2, 3, 5])
@pytest.mark.parametrize("down", [1, 2, 3, 4])
def test_upfirdn(up, down):
    for n, k in itertools.product((1, 5, 40, 20000), (1, 2, 7, 31)):
        for a, b in ("ff", "dd", "Dd", "DD", "ii", "bf"):
            check("upfirdn", values(a, (k,)), values(b, (n,)), up, down)
        check("upfirdn", values("d", (k,)), values("d", (3, n, 2)), up, down, axis=1)
    check("upfirdn", values("d", (5,)), values("d", (9,)), up, down, mode="symmetric")
    check("upfirdn", values("d", (5,)), values("d", (9,)), up, down, cval=2.0)
    check("upfirdn", values("d", (5, 1)), values("d", (9,)), up, down)
    check("upfirdn", values("d", (5,)), values("d", (9,)), 0, down)


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize("lead", [1, 2.5, [2], [1.0, 0.5], [0.0]], ids=str)
def test_lfilter(k, lead):
    for a, b in ("ff", "dd", "Dd", "DD", "ii", "fd"):
        taps = values(a, (k,))
        check("lfilter", taps, lead, values(b, (20,)))
        check("lfilter", taps, lead, values(b, (4, 20, 3)), axis=1)
        check("lfilter", taps, lead, values(b, (4, 20)), axis=0, zi=values(b, (k - 1, 20)))
        check("lfilter", taps, lead, values(b, (4, 20)), axis=0, zi=values(b, (1, 20)))
    check("lfilter", values("d", (k,)), lead, values("d", (20,)), axis=3)


def test_sepfir2d():
    for char in "fdFDi":
        for n, k, m in itertools.product(((6, 7), (16, 17)), (1, 2, 3, 9), (3, 5, 7)):
            check("sepfir2d", values(char, n), values(char, (k,)), values(char, (m,)))


def test_correlation_lags():
    for n, k in itertools.product(range(1, 9), range(1, 9)):
        for mode in (*MODES, "bogus"):
            check("correlation_lags", n, k, mode=mode)


NAMES = ("convolve", "correlate", "fftconvolve", "oaconvolve", "convolve2d", "correlate2d")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_handed_over(name):
    """Anything else gives what SciPy gives, errors included."""
    others = [
        [], [1.0, 2], 3, np.zeros((0, 3)), np.array([1, 2.5], object), np.ma.array([1.0, 2]),
        [[1.0]], None, "ab", np.ones(3, np.float16), np.ones((3, 3), np.longdouble),
        np.full(9, 2**40), np.ones((2, 2), bool),
    ]  # fmt: skip
    for a, b in itertools.product(others, ([1.0, 2.0], 5, [[1.0, 2.0]], np.full(4, 2**30))):
        check(name, a, b)
        check(name, a, b, mode="bogus")
        if name in NAMES[:2]:
            check(name, a, b, method="bogus")


@pytest.mark.parametrize(("n", "k"), [(40, 5), (4000, 33), (30000, 1200)])
def test_memory(n, k):
    """Read-only, strided, reversed, misaligned and foreign arrays."""
    x, w = values("d", (n, 6)), values("d", (k,))
    line = x[:, 2]
    odd = np.zeros(n * 8 + 1, np.uint8)[1:].view(np.float64)
    odd[:] = line
    packed = np.zeros(n, np.dtype([("a", "i1"), ("b", "f8")]))
    packed["b"] = line
    locked = line.copy()
    locked.flags.writeable = False
    wanted = theirs.convolve(line.copy(), w)
    for same in (line, line[::-1][::-1], odd, packed["b"], locked, line.astype(">f8")):
        for found in (signal.convolve(same, w), signal.convolve(w, same)):
            assert found.dtype == np.float64
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14 * k)
    np.testing.assert_allclose(
        signal.convolve(x[::-1, ::-2], np.ones((3, 2))[:, ::-1], "same"),
        theirs.convolve(x[::-1, ::-2].copy(), np.ones((3, 2)), "same"), rtol=1e-12, atol=1e-14,
    )  # fmt: skip


def test_choose_conv_method():
    assert signal.choose_conv_method(np.ones(10**6), np.ones(9)) == "direct"
    assert signal.choose_conv_method(np.ones(10**6), np.ones(4000)) == "fft"
    assert signal.choose_conv_method(np.full(10**6, 2**40), np.full(4000, 2**40)) == "direct"
    assert signal.choose_conv_method(np.ones(10**6, bool), np.ones(4000, bool)) == "direct"
    method, times = signal.choose_conv_method(np.ones(2000), np.ones(900), measure=True)
    assert sorted(times) == ["direct", "fft"]
    assert times[method] == min(times.values())


def test_verbose_shows_what_scipy_computes(monkeypatch, capfd):
    monkeypatch.setenv("FASTCONV_VERBOSE", "1")
    _drop_in.verbose.cache_clear()
    try:
        signal.convolve(np.ones(4), np.ones(2))
        signal.convolve(np.ones(4, np.longdouble), np.ones(2))
    finally:
        monkeypatch.undo()
        _drop_in.verbose.cache_clear()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("fastconv,signal.convolve,4,,,")
    assert "longdouble" in lines[0] or "float128" in lines[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_short_lines_of_any_stride(dtype):
    """What a call finds for two lines is kept for the next one of the same shapes."""
    rng, tolerance = np.random.default_rng(5), 2e-5 if dtype is np.float32 else 1e-12
    for n, k in [(5, 3), (3, 5), (1000, 33), (33, 1000), (1500, 5), (1500, 12)]:
        x, w = (rng.standard_normal(2 * size).astype(dtype) for size in (n, k))
        odd = np.zeros(n * x.itemsize + 1, np.uint8)[1:].view(dtype)  # no address a core reads
        odd[:] = x[:n]
        for mode in ("full", "same", "valid"):
            for a, b in [(x[:n], w[:k]), (x[::2], w[::-2]), (odd, w[:k]), (x[:n], w[:k])]:
                for ours, reference in [(signal.convolve, theirs.convolve),
                                        (signal.correlate, theirs.correlate)]:  # fmt: skip
                    wanted = reference(a.astype(float), b.astype(float), mode)
                    got = ours(a, b, mode)
                    assert got.dtype == dtype
                    np.testing.assert_allclose(got, wanted, atol=tolerance)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_a_line_by_three_transforms_of_it_all(mode):
    rng = np.random.default_rng(6)
    x, w = rng.standard_normal(10_000), rng.standard_normal(4097)
    np.testing.assert_allclose(
        signal.convolve(x, w, mode), theirs.convolve(x, w, mode, "direct"), atol=1e-10
    )
    x[5000] = np.nan
    wanted = theirs.convolve(x, w, mode, "direct")
    np.testing.assert_array_equal(np.isnan(signal.convolve(x, w, mode)), np.isnan(wanted))
