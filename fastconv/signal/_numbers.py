"""Convolutions of any numeric arrays, brought down to real ones.

    bool, integers   through float32 or float64 wherever every sum stays below 2**24 or 2**53, so
                     that it is exact, then wrapped around as integer arithmetic does; else SciPy
    complex          real and imaginary parts
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv._drop_in import NotCovered, native
from fastconv.signal._planes import Region, convolve_region

__all__ = ["as_operands", "convolve_numbers", "is_exact", "plain_array", "through_parts"]

_FLOATS = "fdFD"
_PLAIN = (np.ndarray, list, tuple, int, float, complex, np.generic)
_INT_BITS = {"f": 24, "d": 53}


def plain_array(value: Any, name: str) -> np.ndarray:
    """An ndarray of bools, integers or floats that the core computes with; else SciPy's turn."""
    if type(value) is not np.ndarray:
        if not isinstance(value, _PLAIN) or isinstance(value, np.ndarray):
            raise NotCovered(f"{name} is a {type(value).__name__}")
        value = np.asarray(value)
    kind, char = value.dtype.kind, value.dtype.char
    if kind not in "biu" and char not in _FLOATS:
        raise NotCovered(f"{name} has dtype {value.dtype}")
    return native(value)


def as_operands(in1: Any, in2: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays with the same axes, at least one, and none empty; else SciPy's turn."""
    x, w = plain_array(in1, "in1"), plain_array(in2, "in2")
    if x.ndim != w.ndim or not x.ndim:
        raise NotCovered(f"inputs of {x.ndim} and {w.ndim} dimensions")
    if not x.size or not w.size:
        raise NotCovered("an empty input")
    return x, w


def _largest(x: np.ndarray) -> int:
    return max(abs(int(x.max())), abs(int(x.min())))


def is_exact(x: np.ndarray, w: np.ndarray) -> tuple[str, int]:
    """The float type, "f" or "d", that holds every sum of products of integers exactly, or ""; and
    the bound on the sums."""
    few, many = (x, w) if x.size < w.size else (w, x)
    sums = float(np.abs(few, dtype=np.float64).sum()) if few.dtype.kind != "b" else float(few.sum())
    bound = math.ceil(sums * (1 + 1e-9)) * (1 if many.dtype.kind == "b" else _largest(many))
    for char, bits in _INT_BITS.items():
        if max(bound, _largest(few) if few.dtype.kind != "b" else 1) < 1 << bits:
            return char, bound
    return "", bound


def convolve_numbers(
    x: np.ndarray, w: np.ndarray, region: Region, dtype: np.dtype[Any], *, direct: bool = False,
    fft: bool = False,
) -> np.ndarray:  # fmt: skip
    """The samples `region` of the full convolution of two arrays, as `dtype`.

    `dtype` is their common type, or a floating one that integers are wanted in.
    """
    options = {"direct": direct, "fft": fft}
    if x.dtype.kind in "biu" and w.dtype.kind in "biu":
        char, bound = is_exact(x, w)
        if not char:
            raise NotCovered(f"integers whose sums may reach {bound}")
        largest = max(float(_largest(x * 1)), 1.0)
        out = convolve_region(x.astype(char), w.astype(char), region, exact=largest, **options)
        return _as_integers(out, dtype, bound)
    if dtype.kind != "c":
        return convolve_region(
            x.astype(dtype, copy=False), w.astype(dtype, copy=False), region, **options
        )
    return through_parts(x, w, dtype, lambda a, b: convolve_region(a, b, region, **options))


def _as_integers(out: np.ndarray, dtype: np.dtype[Any], bound: int) -> np.ndarray:
    """Whole numbers as integers of the type, wrapped around where they exceed it."""
    if dtype.kind in "fc":
        return out.astype(dtype, copy=False)
    if dtype.kind == "b":
        return out != 0
    if bound > np.iinfo(dtype).max or dtype.kind == "u":
        return out.astype(np.int64).astype(dtype)
    return out.astype(dtype)


def through_parts(
    x: np.ndarray, w: np.ndarray, dtype: np.dtype[Any],
    convolve: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:  # fmt: skip
    """A complex bilinear operation from the real one on real and imaginary parts."""
    real = np.dtype(dtype.char.lower())

    def parts(array: np.ndarray) -> list[np.ndarray]:
        found = [array.real, array.imag] if array.dtype.kind == "c" else [array]
        return [part.astype(real, order="C") for part in found]

    xs, ws = parts(x), parts(w)
    by_real = [convolve(part, ws[0]) for part in xs]
    out = np.zeros(by_real[0].shape, dtype)
    if len(ws) == 1:
        out.real, out.imag = by_real
        return out
    by_imag = [convolve(part, ws[1]) for part in xs]
    if len(xs) == 1:
        out.real, out.imag = by_real[0], by_imag[0]
        return out
    out.real, out.imag = by_real[0] - by_imag[1], by_real[1] + by_imag[0]
    return out
