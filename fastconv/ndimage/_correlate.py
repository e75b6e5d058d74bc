"""Correlations with given weights: along one axis, or with a kernel of all axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv import _core, _fft
from fastconv._convolve import make_problem
from fastconv._drop_in import NotCovered, stands_in
from fastconv._padding import Pairs
from fastconv.ndimage._arguments import (
    check_dtypes,
    read_axes,
    read_axis,
    read_constant,
    read_index,
    read_input,
    read_mode,
    read_output,
    read_sequence,
)
from fastconv.ndimage._engine import (
    MOST_REMEMBERED,
    Arrays,
    Line,
    call_of,
    correlate_lines,
    factor_runs,
    line_of,
    line_runs,
    run_known,
    window_runs,
    with_runs,
)

__all__ = ["apply_lines", "apply_window", "convolve", "convolve1d", "correlate", "correlate1d"]

_TINY = 2.0**-52  # SciPy leaves out weights below
_PASSES_FROM = 20  # weights from which passes can be faster than one dense sum
_LARGE_KERNEL = 625  # weights from which transforms are faster than sums
_BAND_SAMPLES = 1 << 16
_MOST_KEPT_BYTES = 1 << 20  # of the spectra of one kernel
_FFT_MODES = {
    "reflect": "symmetric", "mirror": "reflect", "nearest": "replicate", "constant": "zeros",
    "wrap": "circular",
}  # fmt: skip


def by_parts(
    compute: Callable[[np.ndarray, np.ndarray, np.ndarray, Any], None],
    x: np.ndarray,
    weights: np.ndarray,
    output: np.ndarray,
    cval: Any,
) -> None:
    """A complex correlation from real ones: compute(x, weights, output, cval) for each part."""
    if x.dtype.kind != "c":
        if np.iscomplexobj(cval):
            raise NotCovered("a complex cval for a real array")
        compute(x, weights.real, output.real, cval)
        compute(x, weights.imag, output.imag, cval)
        return
    real, imag = np.real(cval), np.imag(cval)
    if weights.dtype.kind != "c":
        compute(x.real, weights, output.real, real)
        compute(x.imag, weights, output.imag, imag)
        return
    parts = [
        (x.real, weights.real, real), (x.imag, weights.imag, imag),
        (x.real, weights.imag, real), (x.imag, weights.real, imag),
    ]  # fmt: skip
    products = []
    for part, factor, constant in parts:
        product = np.empty(x.shape, part.dtype)
        compute(part, factor, product, constant)
        products.append(product)
    output.real, output.imag = products[0] - products[1], products[2] + products[3]


def apply_lines(
    x: np.ndarray, lines: Sequence[Line], output: np.ndarray, cval: Any, call: Any = None
) -> None:
    """Passes along axes over a real array; nothing is written when it is `NotCovered`."""
    check_dtypes(x, output)
    correlate_lines(x, lines, output, read_constant(cval), call)


def correlate_line(
    x: np.ndarray, weights: np.ndarray, axis: int, output: np.ndarray, mode: str, cval: Any,
    origin: int,
) -> None:  # fmt: skip
    """One pass, of any numbers."""
    if x.dtype.kind == "c" or weights.dtype.kind == "c":

        def compute(part: np.ndarray, taps: np.ndarray, out: np.ndarray, constant: Any) -> None:
            apply_lines(part, [line_of(axis, taps, mode, origin)], out, constant)

        by_parts(compute, x, weights, output, cval)
    else:
        apply_lines(x, [line_of(axis, weights, mode, origin)], output, cval)


def _read_weights(weights: Any) -> np.ndarray:
    array = np.asarray(weights)
    if array.dtype.kind not in "biufc" or not array.size:
        raise NotCovered(f"weights of dtype {array.dtype} and shape {array.shape}")
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64, copy=False)


def _along_axis(
    input: Any, weights: Any, axis: Any, output: Any, mode: Any, cval: Any, origin: Any,
    convolution: bool,
) -> np.ndarray:  # fmt: skip
    x, taps = read_input(input), _read_weights(weights)
    if taps.ndim != 1:
        raise NotCovered(f"weights of shape {taps.shape}")
    shift = read_index(origin, "origin")
    if convolution:
        taps, shift = taps[::-1], -shift - (taps.size % 2 == 0)
    elif taps.dtype.kind == "c":
        taps = taps.conj()
    out = read_output(output, x, x.dtype.kind == "c" or taps.dtype.kind == "c")
    at, name = read_axis(axis, x.ndim), read_mode(mode)
    correlate_line(x, taps, at, out, name, cval, shift)
    return out


@stands_in("ndimage")
def correlate1d(
    input: Any, weights: Any, axis: int = -1, output: Any = None, mode: str = "reflect",
    cval: Any = 0.0, origin: int = 0,
) -> np.ndarray:  # fmt: skip
    """Correlate along one axis, as `scipy.ndimage.correlate1d`.

    Parameters
    ----------
    input : array_like
    weights : array_like, shape (k,)
    axis : int
    output : array or dtype, optional
        The array to write, which may overlap `input`, or the dtype of a new one.
    mode : {"reflect", "mirror", "nearest", "constant", "wrap"} or their grid- names
        How `input` goes on beyond its edges.
    cval : scalar
        What lies beyond them in mode "constant".
    origin : int
        How far the window is shifted to the left.

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    As SciPy's function, which is asked for whatever is not covered.

    Notes
    -----
    float64 and integers: SciPy's values to the last bit (denormal numbers count as zero). float32
    in float32, where SciPy computes in double: each output is off by at most
    ``(k + 1) * 2**-24 * sum(|weights| * |window|)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.correlate1d([2, 8, 0, 4, 1, 9, 9, 0], weights=[1, 3])
    array([ 8, 26,  8, 12,  7, 28, 36,  9])
    """
    return _along_axis(input, weights, axis, output, mode, cval, origin, False)


@stands_in("ndimage")
def convolve1d(
    input: Any, weights: Any, axis: int = -1, output: Any = None, mode: str = "reflect",
    cval: Any = 0.0, origin: int = 0,
) -> np.ndarray:  # fmt: skip
    """Convolve along one axis, as `scipy.ndimage.convolve1d`: `correlate1d`, weights reversed.

    Parameters, return value, exceptions and numerical notes are those of `correlate1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.convolve1d([2, 8, 0, 4, 1, 9, 9, 0], weights=[1, 3])
    array([14, 24,  4, 13, 12, 36, 27,  0])
    """
    return _along_axis(input, weights, axis, output, mode, cval, origin, True)


def _factors(weights: np.ndarray) -> list[np.ndarray] | None:
    """One factor per axis if the kernel is their outer product to within a rounding or two."""
    if not np.isfinite(weights).all():
        return None
    factors, rest = [], weights
    for _ in range(weights.ndim - 1):
        flat = rest.reshape(rest.shape[0], -1)
        pivot = np.unravel_index(np.abs(flat).argmax(), flat.shape)
        if flat[pivot] == 0:
            return None
        factors.append(flat[:, pivot[1]] / flat[pivot])
        rest = flat[pivot[0]].reshape(rest.shape[1:])
    factors.append(rest)
    product = factors[0]
    for factor in factors[1:]:
        product = np.multiply.outer(product, factor)
    close = np.abs(product - weights) <= 4 * weights.ndim * _TINY * np.abs(weights)
    return factors if close.all() else None


def _pass_runs(
    arrays: Arrays, weights: np.ndarray, before: Sequence[int], mode: str, constant: float
) -> tuple[_core.Filter, ...] | None:
    """A product of one factor per axis as a pass for each; None where that is not to be done.

    Only where it is faster and as accurate, and where a constant beyond the borders is zero.
    """
    if weights.size < _PASSES_FROM or (mode == "constant" and constant != 0):
        return None
    known = weights.size <= MOST_REMEMBERED
    prepare = _prepare_passes if known else _prepare_passes.__wrapped__
    return prepare(arrays, weights.tobytes(), weights.shape, tuple(before), mode)


@lru_cache(maxsize=128)
def _prepare_passes(
    arrays: Arrays, taps: bytes, shape: tuple[int, ...], before: tuple[int, ...], mode: str
) -> tuple[_core.Filter, ...] | None:
    sizes = [length for length in shape if length > 1]
    weights = np.frombuffer(taps).reshape(shape)
    if len(sizes) < 2 or weights.size < 2 * sum(sizes):
        return None
    same_float = arrays.source.kind == "f" and arrays.source == arrays.target
    if not same_float and arrays.target.kind not in "iu":
        return None
    if (np.abs(weights) <= _TINY).any():
        return None
    factors = _factors(weights)
    if factors is None:
        return None
    if not same_float:
        return factor_runs(arrays, weights, factors, before, mode)
    lines = [
        Line(axis, factor.tobytes(), lead, mode)
        for axis, (factor, lead) in enumerate(zip(factors, before))
        if factor.size > 1 or factor[0] != 1
    ]
    return line_runs(arrays, tuple(lines), 0.0)


def _even(x: np.ndarray) -> bool:
    """Whether every block of 16 cells a side holds a value within 2**-10 of the largest.

    A transform's rounding is relative to the largest values near by. Windows of large kernels hold
    whole blocks, so that no output is then small beside it but by cancellation.
    """
    band = max(_BAND_SAMPLES * len(x) // x.size // 16, 1) * 16  # rows, so that passes hit the cache
    for step in (8, 1):  # two samples a block and axis say so nearly always
        least = math.inf
        for part in (x[i : i + band] for i in range(0, len(x), band)):
            most = np.abs(part[(slice(None, None, step),) * x.ndim])
            for axis, n in enumerate(most.shape):
                most = np.maximum.reduceat(most, np.arange(0, n, 16 // step), axis=axis)
            least = min(least, float(most.min()))
        if math.isfinite(least) and _all_within(x, 1024 * least):
            return True
    return False


def _all_within(x: np.ndarray, limit: float) -> bool:
    inside = _core.within(x, limit) if x.dtype.isnative else None
    return bool((np.abs(x) <= limit).all()) if inside is None else inside


@lru_cache(maxsize=64)
def _transform_plan(
    code: str, size: tuple[int, ...], kernel: tuple[int, ...], pads: Pairs, mode: str
) -> _fft.Plan:
    """The plan of one picture extended as SciPy's `mode` says."""
    problem = make_problem(code, (1, 1, *kernel), len(kernel), padding=pads, algorithm="fft")
    problem = problem._replace(padding_mode=_FFT_MODES[mode])
    plan = _fft.cheapest_plan(problem, _fft.Geometry(size, size, pads), None, True)
    assert plan is not None
    return plan


@lru_cache(maxsize=8)
def _kept_spectra(plan_key: Any, taps: bytes) -> Any:
    """The spectra of weights, of the type that the plan of that key computes in."""
    plan = _transform_plan(*plan_key)
    return plan.pack(np.frombuffer(taps, plan.real).reshape(1, 1, *plan_key[2])).weights


def _by_transform(
    x: np.ndarray, weights: np.ndarray, before: Sequence[int], mode: str, output: np.ndarray,
    constant: float,
) -> bool:  # fmt: skip
    """Correlate by FFT where the kernel is so large that this is faster; whether it was."""
    same_float = x.dtype.kind == "f" and x.dtype.newbyteorder("=") == output.dtype
    if weights.size < _LARGE_KERNEL or not same_float or x.size < 4 * weights.size:
        return False
    long = [axis for axis, taps in enumerate(weights.shape) if taps > 1]
    rank = x.ndim - long[0]
    if rank > 3 or min(weights.shape[long[0] :]) < 16 or not np.isfinite(weights).all():
        return False
    if not _even(x):
        return False
    if np.may_share_memory(x, output):
        x = x.copy()
    kernel = weights.reshape(weights.shape[long[0] :]).astype(output.dtype)
    pads = tuple([(lead, taps - 1 - lead) for lead, taps in zip(before, weights.shape)])[long[0] :]
    code = "f64" if output.dtype.itemsize == 8 else "f32"
    key = code, x.shape[long[0] :], kernel.shape, pads, mode
    plan = copy(_transform_plan(*key))
    plan.fill = constant if mode == "constant" else 0.0
    if plan.packed_bytes <= _MOST_KEPT_BYTES:
        packed = _kept_spectra(key, kernel.tobytes())
    else:
        packed = plan.pack(kernel[None, None]).weights
    workers = _core.threads_here.get() or _core.get_num_threads()
    try:
        for at in np.ndindex(x.shape[: long[0]]):
            plan.run_image(packed, x[at][None], output[at][None], workers=workers)
    except _fft.NotFinite:
        return False
    return True


def _apply_window(
    x: np.ndarray, weights: np.ndarray, before: Sequence[int], mode: str, output: np.ndarray,
    cval: Any, call: Any = None,
) -> None:  # fmt: skip
    check_dtypes(x, output)
    constant = read_constant(cval)

    def passes(arrays: Arrays) -> tuple[_core.Filter, ...] | None:
        return _pass_runs(arrays, weights, before, mode, constant)

    if with_runs(x, output, passes, call):
        return
    if not _by_transform(x, weights, before, mode, output, constant):
        call = call if weights.size < _LARGE_KERNEL else None  # beyond, x decides
        apply_window(x, weights, before, [mode] * x.ndim, output, constant, call)


def apply_window(
    x: np.ndarray, weights: np.ndarray, before: Sequence[int], modes: Sequence[str],
    output: np.ndarray, constant: float, call: Any = None,
) -> None:  # fmt: skip
    """A dense kernel of as many axes as x, by sums."""

    def sums(arrays: Arrays) -> tuple[_core.Filter, ...]:
        return window_runs(arrays, weights, before, modes, constant)

    with_runs(x, output, sums, call)


def _over_axes(
    input: Any, weights: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any,
    convolution: bool,
) -> np.ndarray:  # fmt: skip
    call = None
    if type(weights) is np.ndarray and weights.size <= MOST_REMEMBERED and weights.dtype == float:
        call = call_of(mode, cval, origin, axes)
        call = call and (call, weights.tobytes(), weights.shape, convolution)
        known = run_known(call, input, output)
        if known is not None:
            return known
    x, taps = read_input(input), _read_weights(weights)
    if taps.dtype.kind == "c" and not convolution:
        taps = taps.conj()
    numbers = read_axes(axes, x.ndim)
    if taps.ndim != len(numbers):
        raise NotCovered(f"weights of {taps.ndim} axes for {len(numbers)}")
    given = read_sequence(origin, len(numbers), "origin")
    if len(numbers) < x.ndim:
        # SciPy expands the weights in the order of the array's axes, the origins in that of `axes`.
        taps = np.expand_dims(taps, tuple(a for a in range(x.ndim) if a not in numbers))
        by_axis = dict(zip(numbers, given))
        given = [by_axis.get(axis, 0) for axis in range(x.ndim)]
    shifts = [read_index(shift, "origin") for shift in given]
    if convolution:
        taps = taps[(slice(None, None, -1),) * taps.ndim]
        shifts = [-s - (n % 2 == 0) for s, n in zip(shifts, taps.shape)]
    before = [n // 2 + s for n, s in zip(taps.shape, shifts)]
    if any(not 0 <= lead < n for lead, n in zip(before, taps.shape)):
        raise NotCovered(f"origin {origin!r}")
    name = read_mode(mode)
    out = read_output(output, x, x.dtype.kind == "c" or taps.dtype.kind == "c")

    def compute(part: np.ndarray, factor: np.ndarray, to: np.ndarray, constant: Any) -> None:
        _apply_window(part, factor, before, name, to, constant)

    if out.dtype.kind == "c":
        by_parts(compute, x, taps, out, cval)
    else:
        _apply_window(x, taps, before, name, out, cval, call)
    return out


@stands_in("ndimage")
def correlate(
    input: Any, weights: Any, output: Any = None, mode: str = "reflect", cval: Any = 0.0,
    origin: Any = 0, *, axes: Any = None,
) -> np.ndarray:  # fmt: skip
    """Correlate with a kernel of as many axes as the array, as `scipy.ndimage.correlate`.

    Parameters
    ----------
    input : array_like
    weights : array_like
        As many axes as `input`, or as `axes` names.
    output, mode, cval
        As `correlate1d`.
    origin : int or sequence of int
        Per axis, how far the window is shifted to the left.
    axes : int or sequence of int, optional
        The axes of `input` the kernel covers; all by default.

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    As SciPy's function, which is asked for whatever is not covered: here, kernels that are longer
    than 1 along axes more than two apart.

    Notes
    -----
    float64 and integers: SciPy's values to the last bit. float32 is computed in float32 with an
    error of at most ``(k + 1) * 2**-24 * sum(|weights| * |window|)`` for k weights. Larger floating
    point kernels that are products of one factor per axis run as passes, with the same bound for
    their precision (float64: ``2**-53``). From 625 weights on, at least 16 along each axis, floats
    run by FFT if every part of the picture holds values not far below the largest; the
    error is then relative to the largest sum near by.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.correlate(np.arange(9).reshape(3, 3), [[0, 1], [1, 2]], origin=-1)
    array([[13, 17, 18],
           [25, 29, 30],
           [28, 32, 33]])
    """
    return _over_axes(input, weights, output, mode, cval, origin, axes, False)


@stands_in("ndimage")
def convolve(
    input: Any, weights: Any, output: Any = None, mode: str = "reflect", cval: Any = 0.0,
    origin: Any = 0, *, axes: Any = None,
) -> np.ndarray:  # fmt: skip
    """Convolve with a kernel of as many axes as the array, as `scipy.ndimage.convolve`.

    Parameters, return value, exceptions and numerical notes are those of `correlate`; the kernel
    is reversed along every axis.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.convolve(np.eye(3), np.arange(9).reshape(3, 3), mode="constant")
    array([[ 4.,  4.,  2.],
           [10., 12.,  8.],
           [ 6., 12., 12.]])
    """
    return _over_axes(input, weights, output, mode, cval, origin, axes, True)
