"""convolve2d, correlate2d and sepfir2d: pictures and what lies around them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._drop_in import NotCovered, stands_in
from fastconv.signal._convolve import region_of
from fastconv.signal._numbers import as_operands, convolve_numbers, plain_array
from fastconv.signal._planes import CODES, convolve_region

__all__ = ["convolve2d", "correlate2d", "sepfir2d"]

_BOUNDARIES = {
    "fill": "fill", "pad": "fill", "wrap": "wrap", "circular": "wrap", "symm": "symm",
    "symmetric": "symm",
}  # fmt: skip


def _positions(n: int, before: int, after: int, boundary: str) -> np.ndarray:
    """Where the axis of n samples, extended at both ends, reads its samples."""
    at = np.arange(-before, n + after)
    if boundary == "wrap":
        return at % n
    at %= 2 * n
    return np.minimum(at, 2 * n - 1 - at)


def _extended(x: np.ndarray, pads: Any, boundary: str, fill: np.ndarray) -> np.ndarray:
    if boundary == "fill":
        sizes = [n + before + after for n, (before, after) in zip(x.shape, pads, strict=True)]
        out = np.full(sizes, fill, x.dtype)
        out[tuple(slice(b, b + n) for n, (b, _) in zip(x.shape, pads, strict=True))] = x
        return out
    for axis, (before, after) in enumerate(pads):
        if before or after:
            x = x.take(_positions(x.shape[axis], before, after, boundary), axis)
    return x


def _fits(fill: np.ndarray, dtype: np.dtype[Any]) -> bool:
    info = np.iinfo(dtype)
    return fill.dtype.kind in "biu" and info.min <= int(fill.item()) <= info.max


def _bordered(
    x: np.ndarray, w: np.ndarray, mode: str, boundary: Any, fillvalue: Any, centre: int
) -> np.ndarray:
    """Convolution of a picture that goes on beyond its edges; with "same" its first sample is
    (size of w + centre) // 2 of the full one."""
    if not isinstance(boundary, str) or boundary not in _BOUNDARIES:
        raise NotCovered(f"boundary={boundary!r}")
    boundary = _BOUNDARIES[boundary]
    dtype = np.result_type(x, w)
    if dtype.kind == "b":
        raise NotCovered("bool arrays")
    fill = np.asarray(fillvalue)
    if fill.size != 1 or fill.dtype.kind not in "biufc":
        raise NotCovered(f"fillvalue={fillvalue!r}")
    if boundary == "fill" and (fill.dtype.kind == "c") > (dtype.kind == "c"):
        raise NotCovered("a complex fillvalue beside real inputs")
    region = region_of(mode, x.shape, w.shape)
    if mode == "same":
        starts = [(k + centre) // 2 for k in w.shape]
        region = tuple((low, low + n) for low, n in zip(starts, x.shape, strict=True))
    if mode == "valid" or (boundary == "fill" and not fill.any()):
        return convolve_numbers(x, w, region, dtype)
    if boundary == "fill" and dtype.kind in "iu" and not _fits(fill, dtype):
        raise NotCovered(f"fillvalue={fillvalue!r} beside integers")
    k = w.shape
    pads = [
        (size - 1 - low, high - n) for n, size, (low, high) in zip(x.shape, k, region, strict=True)
    ]
    if boundary == "fill":
        x = x.astype(dtype, copy=False)
    x = _extended(x, pads, boundary, fill.reshape(()))
    inner = tuple((size - 1, n) for n, size in zip(x.shape, k, strict=True))
    return convolve_numbers(x, w, inner, dtype)


def _pictures(in1: Any, in2: Any) -> tuple[np.ndarray, np.ndarray]:
    x, w = as_operands(in1, in2)
    if x.ndim != 2:
        raise NotCovered(f"inputs of {x.ndim} dimensions")
    return x, w


@stands_in("signal")
def convolve2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0
) -> np.ndarray:
    """Convolve two pictures, as `scipy.signal.convolve2d`.

    Parameters
    ----------
    in1, in2 : array_like of two dimensions
    mode : {"full", "same", "valid"}
        As `convolve`.
    boundary : {"fill", "wrap", "symm"}
        What lies around `in1`: `fillvalue`, `in1` again, or its mirror image with the edge
        twice.
    fillvalue : scalar
        For "fill".

    Returns
    -------
    ndarray
        Of the common dtype of the inputs.

    Notes
    -----
    Differs from SciPy as `convolve` does: float32 is computed in float32, by any method that is as
    accurate as a sum of products. bool and float16 are handed to SciPy, which refuses them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.convolve2d(np.eye(3), np.ones((2, 2)), "same", boundary="wrap")
    array([[2., 1., 1.],
           [1., 2., 1.],
           [1., 1., 2.]])
    """
    x, w = _pictures(in1, in2)
    if mode == "valid" and all(n < k for n, k in zip(x.shape, w.shape, strict=True)):
        x, w = w, x
    return _bordered(x, w, mode, boundary, fillvalue, -1)


@stands_in("signal")
def correlate2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0
) -> np.ndarray:
    """Cross-correlate two pictures, as `scipy.signal.correlate2d`.

    Parameters
    ----------
    in1, in2 : array_like of two dimensions
        Complex conjugates are taken of `in2`.
    mode, boundary, fillvalue
        As `convolve2d`.

    Returns
    -------
    ndarray
        Of the common dtype of the inputs.

    Notes
    -----
    Differs from SciPy as `convolve2d` does.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.correlate2d(np.arange(9.0).reshape(3, 3), np.array([[-1.0, 1.0]]), "valid")
    array([[1., 1.],
           [1., 1.],
           [1., 1.]])
    """
    x, w = _pictures(in1, in2)
    swapped = mode == "valid" and any(n < k for n, k in zip(x.shape, w.shape, strict=True))
    if swapped and "c" in (x.dtype.kind, w.dtype.kind):
        raise NotCovered("the larger input second, one complex")  # SciPy conjugates the other
    w = w[::-1, ::-1]
    w = w.conj() if w.dtype.kind == "c" else w
    return _bordered(x, w, mode, boundary, fillvalue, 0)


@stands_in("signal")
def sepfir2d(input: Any, hrow: Any, hcol: Any) -> np.ndarray:
    """Filter a picture along rows, then columns, as `scipy.signal.sepfir2d`.

    Parameters
    ----------
    input : array_like of two dimensions
        Beyond its edges lies its mirror image, the edge twice.
    hrow, hcol : array_like of one dimension
        Of odd length.

    Returns
    -------
    ndarray
        Of the dtype of `input`.

    Notes
    -----
    Differs from SciPy in speed only. Complex and integer pictures are handed to it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.sepfir2d(np.eye(3), np.ones(3), np.ones(1))
    array([[1., 1., 0.],
           [2., 1., 2.],
           [0., 1., 1.]])
    """
    x = plain_array(input, "input")
    row, column = plain_array(hrow, "hrow"), plain_array(hcol, "hcol")
    code = CODES.get(x.dtype)
    if code is None or x.ndim != 2 or not x.size or not row.ndim == column.ndim == 1:
        raise NotCovered(f"input of dtype {x.dtype} and {x.ndim} dimensions")
    for taps, n in ((row, x.shape[1]), (column, x.shape[0])):
        if taps.size % 2 == 0 or taps.size > n:
            raise NotCovered(f"{taps.size} taps along {n} samples")
        if not np.can_cast(taps.dtype, x.dtype, "safe"):
            raise NotCovered(f"taps of dtype {taps.dtype}")
    for axis, taps in ((1, row), (0, column)):
        half = taps.size // 2
        x = x.take(_positions(x.shape[axis], half, half, "symm"), axis)
        w = np.expand_dims(taps.astype(x.dtype), 1 - axis)
        inner = tuple((k - 1, n) for n, k in zip(x.shape, w.shape, strict=True))
        x = convolve_region(x, w, inner, direct=True)
    return x
