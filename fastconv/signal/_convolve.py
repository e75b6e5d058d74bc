"""convolve, correlate, fftconvolve, oaconvolve and what goes with them."""

from __future__ import annotations

import math
import timeit
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv import _core
from fastconv._drop_in import NotCovered, hand_to_scipy, stands_in
from fastconv.signal._numbers import as_operands, convolve_numbers, is_exact, through_parts
from fastconv.signal._planes import (
    CODES,
    Region,
    convolve_depthwise,
    convolve_region,
    fastest_plan,
    runs_by_fft,
)

__all__ = [
    "choose_conv_method",
    "convolve",
    "correlate",
    "correlation_lags",
    "fftconvolve",
    "oaconvolve",
]

_MODES = ("full", "same", "valid")
_METHODS = ("auto", "direct", "fft")
_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
# Both arguments are arrays, so NumPy need not look for another implementation of its function.
_correlate = getattr(np.correlate, "__wrapped__", np.correlate)
# NumPy's loop wins where it takes less than a call of the core: it has its own code for up to 11
# taps. Nanoseconds a sample and a tap there, a sample of more taps, a sample in the core, and what
# a call of the core takes more.
_NUMPY_TAPS, _NUMPY_LONG_NS = 11, 12.0
_NUMPY_NS, _TAP_NS, _CORE_NS = {"d": 0.3, "f": 1.2}, 0.3, {"d": 1.25, "f": 0.65}
_CALL_NS = 700.0


def region_of(
    mode: str, n: Sequence[int], k: Sequence[int], axes: Sequence[int] | None = None
) -> Region:
    """What `mode` keeps of the full convolution; `axes` names those compared for "valid"."""
    if mode == "full":
        return tuple((0, a + b - 1) for a, b in zip(n, k, strict=True))
    if mode == "same":
        return tuple(((b - 1) // 2, (b - 1) // 2 + a) for a, b in zip(n, k, strict=True))
    if mode != "valid":
        raise NotCovered(f"mode={mode!r}")
    at = range(len(n)) if axes is None else axes
    if all(n[i] >= k[i] for i in at):
        return tuple((b - 1, a) for a, b in zip(n, k, strict=True))
    if all(n[i] <= k[i] for i in at):
        return tuple((a - 1, b) for a, b in zip(n, k, strict=True))
    raise NotCovered("neither input is as large as the other in every dimension")


# Signals of one axis: little work, so little may be spent on finding out how to do it.


@lru_cache(maxsize=512)
def _line(
    dtype: np.dtype[Any], of_w: np.dtype[Any], x_shape: tuple[int, ...], w_shape: tuple[int, ...],
    mode: str, method: str,
) -> tuple[Any, int, bool] | None:  # fmt: skip
    """How to convolve two lines of one float type, as `_core.Lines` wants it; None for others."""
    if dtype is not of_w or (dtype is not _F64 and dtype is not _F32):
        return None
    if not len(x_shape) == len(w_shape) == 1 or mode not in _MODES or method not in _METHODS:
        return None
    (n,), (k,), char = x_shape, w_shape, dtype.char
    if not n or not k or (n < k and mode == "same"):
        return None
    low, high = region_of(mode, (n,), (k,))[0]
    swapped = n < k
    n, k = max(n, k), min(n, k)
    numpy_ns = _NUMPY_NS[char] + _TAP_NS * k if k <= _NUMPY_TAPS else _NUMPY_LONG_NS
    if n * (numpy_ns - _CORE_NS[char]) < _CALL_NS:
        return None, high - low, swapped
    plan = fastest_plan(CODES[dtype], (1, 1, n), (k,), ((k - 1 - low, high - n),))
    return None if plan.algorithm == "fft" else (plan, high - low, swapped)


_convolve_line = _core.Lines(_line, _correlate)


def _convolve(in1: Any, in2: Any, mode: str, method: str, *, fft: bool = False) -> np.ndarray:
    if method not in _METHODS:
        raise NotCovered(f"method={method!r}")
    x, w = as_operands(in1, in2)
    if x.dtype.kind == "b" == w.dtype.kind and (x.ndim > 1 or (mode == "same" and x.size < w.size)):
        raise NotCovered("bool arrays")  # SciPy has no sums of several axes for them
    region = region_of(mode, x.shape, w.shape)
    dtype = np.result_type(x, w)
    return convolve_numbers(x, w, region, dtype, direct=method == "direct", fft=fft)


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> np.ndarray:
    """Convolve two N-dimensional arrays, as `scipy.signal.convolve`.

    Parameters
    ----------
    in1, in2 : array_like
        Of the same number of dimensions.
    mode : {"full", "same", "valid"}
        All of the convolution; its centre, of the size of `in1`; what needs no padding.
    method : {"auto", "direct", "fft"}
        "direct" keeps to sums of products. "auto" and "fft" both take whatever is fastest: a sum,
        two passes, or an FFT (overlap-save) where it is as accurate as a sum.

    Returns
    -------
    ndarray
        Of the common dtype of the inputs.

    Notes
    -----
    Differs from SciPy in this: `method` changes neither the kind nor the accuracy of the result.
    Integers are exact (or wrap around) whatever it is, a NaN or infinity reaches only the
    outputs whose window holds it, without a warning, and samples much smaller than others
    elsewhere keep their digits. float32 is computed in float32. What is not covered (float16,
    long double, object arrays, integers whose sums may exceed 2**53, bool arrays of several axes,
    array types other than NumPy's) is computed by SciPy, shown under ``FASTCONV_VERBOSE``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.convolve(np.array([1, 2, 3]), np.array([0, 1, 5]), "same")
    array([ 1,  7, 13])
    """
    out = _convolve_line(in1, in2, mode, method)
    if out is not None:
        return out
    try:
        return _convolve(in1, in2, mode, method)
    except NotCovered as reason:
        why = str(reason)
    return hand_to_scipy("signal", "convolve", why, in1, in2, mode, method)


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> np.ndarray:
    """Cross-correlate two N-dimensional arrays, as `scipy.signal.correlate`.

    Parameters
    ----------
    in1, in2 : array_like
        Of the same number of dimensions; complex conjugates are taken of `in2`.
    mode : {"full", "same", "valid"}
    method : {"auto", "direct", "fft"}
        As `convolve`.

    Returns
    -------
    ndarray
        Of the common dtype of the inputs.

    Notes
    -----
    Differs from SciPy as `convolve` does.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.correlate(np.array([1.0, 2, 3]), np.array([0.0, 1, 0.5]))
    array([0.5, 2. , 3.5, 3. , 0. ])
    """
    if type(in2) is np.ndarray and in2.ndim == 1:
        out = _convolve_line(in1, in2[::-1], mode, method)
        if out is not None:
            return out
    try:
        x, w = as_operands(in1, in2)
        if mode not in _MODES:
            raise NotCovered(f"mode={mode!r}")
        w = w[(slice(None, None, -1),) * w.ndim]
        return _convolve(x, w.conj() if w.dtype.kind == "c" else w, mode, method)
    except NotCovered as reason:
        why = str(reason)
    return hand_to_scipy("signal", "correlate", why, in1, in2, mode, method)


def _fft_dtype(x: np.ndarray) -> np.dtype[Any]:
    return x.dtype if x.dtype.kind in "fc" else _F64


def _by_transform(in1: Any, in2: Any, mode: str, axes: Any) -> np.ndarray:
    """fftconvolve and oaconvolve: convolution along some axes, broadcast along the others."""
    x, w = as_operands(in1, in2)
    if all(1 in sizes for sizes in zip(x.shape, w.shape, strict=True)):
        raise NotCovered("a mere product")  # of which SciPy keeps the dtype
    dtype = np.result_type(_fft_dtype(x), _fft_dtype(w))
    if axes is None and (mode != "valid" or 1 not in x.shape + w.shape):
        return convolve_numbers(x, w, region_of(mode, x.shape, w.shape), dtype)
    along = _axes(axes, x.ndim)
    along = [axis for axis in along if x.shape[axis] != 1 and w.shape[axis] != 1]
    beside = [axis for axis in range(x.ndim) if axis not in along]
    if any(len({x.shape[i], w.shape[i]} - {1}) > 1 for i in beside):
        raise NotCovered("incompatible shapes")
    if not along or len(along) > 3:
        raise NotCovered(f"{len(along)} axes to transform")
    region = region_of(mode, x.shape, w.shape, along)
    region = tuple(region[i] for i in along)
    order = [*beside, *along]
    a, b = x.transpose(order), w.transpose(order)
    outer = np.broadcast_shapes(a.shape[: len(beside)], b.shape[: len(beside)])
    if mode == "same" and outer != a.shape[: len(beside)]:
        raise NotCovered("broadcasting of in1 beside mode='same'")
    if dtype.kind != "c":
        out = _broadcast(a.astype(dtype, copy=False), b.astype(dtype, copy=False), outer, region)
    else:
        out = through_parts(a, b, dtype, lambda p, q: _broadcast(p, q, outer, region))
    return np.ascontiguousarray(out.transpose(np.argsort(order)))


def _axes(axes: Any, ndim: int) -> list[int]:
    if axes is None:
        return list(range(ndim))
    try:
        found = [int(axis) for axis in np.atleast_1d(axes)]
    except (TypeError, ValueError):
        raise NotCovered(f"axes={axes!r}") from None
    if not found or not all(-ndim <= axis < ndim for axis in found):
        raise NotCovered(f"axes={axes!r}")
    found = [axis % ndim for axis in found]
    if len(set(found)) < len(found):
        raise NotCovered(f"axes={axes!r}")
    return sorted(found)


def _broadcast(a: np.ndarray, b: np.ndarray, outer: tuple[int, ...], region: Region) -> np.ndarray:
    """The last axes convolved for every index of the broadcast others, each a channel."""
    inner, ones = len(region), (1,) * len(outer)
    if b.shape[:-inner] != ones and a.shape[:-inner] == ones:
        a, b = b, a
    if b.shape[:-inner] == ones:
        return convolve_region(a, b, (*((0, n) for n in outer), *region))
    channels = math.prod(outer)
    a = np.broadcast_to(a, outer + a.shape[-inner:]).reshape(channels, *a.shape[-inner:])
    b = np.broadcast_to(b, outer + b.shape[-inner:]).reshape(channels, *b.shape[-inner:])
    if a[0].size < b[0].size:
        a, b = b, a
    out = convolve_depthwise(a, b, region)
    return out.reshape(*outer, *out.shape[1:])


@stands_in("signal")
def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> np.ndarray:
    """Convolve two N-dimensional arrays, as `scipy.signal.fftconvolve`.

    Parameters
    ----------
    in1, in2 : array_like
        Of the same number of dimensions.
    mode : {"full", "same", "valid"}
        As `convolve`.
    axes : int or sequence of int, optional
        Axes to convolve along, all by default; along the others the inputs are broadcast.

    Returns
    -------
    ndarray
        Floating: integers become float64.

    Notes
    -----
    Differs from SciPy in this: the FFT runs only where it is the fastest method and as accurate
    as a sum of products, so integers give whole numbers, and a NaN stays local.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.fftconvolve(np.ones((2, 4)), np.ones((2, 2)), "valid", axes=1)
    array([[2., 2., 2.],
           [2., 2., 2.]])
    """
    return _by_transform(in1, in2, mode, axes)


@stands_in("signal")
def oaconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> np.ndarray:
    """Convolve two N-dimensional arrays, as `scipy.signal.oaconvolve`.

    Parameters
    ----------
    in1, in2 : array_like
    mode : {"full", "same", "valid"}
    axes : int or sequence of int, optional
        As `fftconvolve`.

    Returns
    -------
    ndarray
        Floating: integers become float64.

    Notes
    -----
    The same function as `fftconvolve`: the result is cut into tiles wherever that is faster.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.oaconvolve(np.arange(6.0), np.ones(3), "same")
    array([ 1.,  3.,  6.,  9., 12.,  9.])
    """
    return _by_transform(in1, in2, mode, axes)


def _seconds(call: Any) -> float:
    """The least of a few samples of some milliseconds each, or of one call that takes long."""
    timer = timeit.Timer(call)
    once = timer.timeit(1)
    number = max(1, round(0.005 / max(once, 1e-6)))
    repeats = 3 if once < 0.5 else 0
    return min([once, *(seconds / number for seconds in timer.repeat(repeats, number))])


@stands_in("signal")
def choose_conv_method(
    in1: Any, in2: Any, mode: str = "full", measure: bool = False
) -> str | tuple[str, dict[str, float]]:
    """Which method `convolve` takes, as `scipy.signal.choose_conv_method`.

    Parameters
    ----------
    in1, in2 : array_like
    mode : {"full", "same", "valid"}
    measure : bool
        Time both methods instead of estimating.

    Returns
    -------
    method : str
        "fft" or "direct", which here covers passes of separable kernels.
    times : dict of float
        Seconds by method; only with `measure`.

    Notes
    -----
    The answer is that of fastconv's cost model, not of SciPy's.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.choose_conv_method(np.ones(1000000), np.ones(9))
    'direct'
    """
    x, w = as_operands(in1, in2)
    region = region_of(mode, x.shape, w.shape)
    if measure:
        times = {
            "fft": _seconds(lambda: _convolve(x, w, mode, "fft", fft=True)),
            "direct": _seconds(lambda: _convolve(x, w, mode, "direct")),
        }
        return min(times, key=times.__getitem__), times
    dtype = np.result_type(x, w)
    if dtype.kind in "biu":
        char, _ = is_exact(x, w)
        if dtype.kind == "b" or not char:
            return "direct"
        dtype = np.dtype(char)
    code = CODES[np.dtype(dtype.char.lower())]
    return "fft" if runs_by_fft(code, x.shape, w.shape, region) else "direct"


def correlation_lags(in1_len: int, in2_len: int, mode: str = "full") -> np.ndarray:
    """Lags of the samples of a one-dimensional correlation, as `scipy.signal.correlation_lags`.

    Parameters
    ----------
    in1_len, in2_len : int
    mode : {"full", "same", "valid"}

    Returns
    -------
    ndarray of int

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.correlation_lags(3, 2)
    array([-1,  0,  1,  2])
    """
    if mode == "full":
        return np.arange(1 - in2_len, in1_len)
    if mode == "same":
        middle = (in1_len + in2_len - 1) // 2 - in1_len // 2
        return np.arange(1 - in2_len, in1_len)[middle : middle + in1_len]
    if mode == "valid":
        longest = in1_len - in2_len
        return np.arange(longest + 1) if longest >= 0 else np.arange(longest, 1)
    raise ValueError(f"Mode {mode} is invalid")
