"""Gaussian and box filters: passes along axes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv._drop_in import NotCovered, stands_in
from fastconv.ndimage._arguments import (
    read_axes,
    read_axis,
    read_index,
    read_input,
    read_mode,
    read_output,
    read_sequence,
)
from fastconv.ndimage._correlate import apply_lines
from fastconv.ndimage._engine import Line, call_of, line_of, run_known

__all__ = ["gaussian_filter", "gaussian_filter1d", "uniform_filter", "uniform_filter1d"]

_MOST_IN_DOUBLE = 2**53
_LONGEST_BOX = 64  # beyond, SciPy's running sum, whose cost does not depend on the size, is faster


def gaussian_taps(sigma: float, order: int, radius: int) -> np.ndarray:
    """A sampled Gaussian of sum 1, or its derivative, as the weights of a correlation.

    The derivative of order n is the Gaussian times a polynomial q_n, where
    q_{n+1} = q_n' - q_n x / sigma**2.
    """
    variance = sigma * sigma
    x = np.arange(-radius, radius + 1)
    bell = np.exp(-0.5 / variance * x**2)
    bell = bell / bell.sum()
    if order:
        q = np.zeros(order + 1)
        q[0] = 1
        powers = np.arange(order + 1)
        for _ in range(order):
            slope = np.append(powers[1:] * q[1:], 0.0)
            slope[1:] += q[:-1] * (1 / -variance)
            q = slope
        bell = (x[:, None] ** powers).dot(q) * bell
    return bell[::-1]


@lru_cache(maxsize=128)
def _line_of_gaussian(axis: int, sigma: float, order: int, radius: int, mode: str) -> Line:
    return line_of(axis, gaussian_taps(sigma, order, radius), mode)


def _gaussian_line(
    sigma: Any, axis: int, order: Any, mode: Any, truncate: Any, radius: Any
) -> Line:
    try:
        deviation = float(sigma)
        reach = int(truncate * deviation + 0.5) if radius is None else radius
    except (TypeError, ValueError, OverflowError):
        raise NotCovered(f"sigma {sigma!r} with truncate {truncate!r}") from None
    reach, derivative = read_index(reach, "radius"), read_index(order, "order")
    if reach < 0 or derivative < 0 or not math.isfinite(deviation) or deviation == 0:
        raise NotCovered(f"sigma {sigma!r}, order {order!r}, radius {radius!r}")
    return _line_of_gaussian(axis, deviation, derivative, reach, read_mode(mode))


def _filter_lines(
    x: np.ndarray, lines: list[Line], output: Any, cval: Any, *, means: bool = False,
    call: Any = None,
) -> np.ndarray:  # fmt: skip
    """The passes; of complex arrays, on each part."""
    is_complex = x.dtype.kind == "c"
    out = read_output(output, x, is_complex)
    if means and _check_sums(x, lines, out, cval):
        call = None
    if not lines:
        out[...] = x[...]
    elif is_complex:
        apply_lines(x.real, lines, out.real, np.real(cval))
        apply_lines(x.imag, lines, out.imag, np.imag(cval))
    else:
        apply_lines(x, lines, out, cval, call)
    return out


@stands_in("ndimage")
def gaussian_filter1d(
    input: Any, sigma: float, axis: int = -1, order: int = 0, output: Any = None,
    mode: str = "reflect", cval: Any = 0.0, truncate: float = 4.0, *, radius: int | None = None,
) -> np.ndarray:  # fmt: skip
    """Smooth along one axis with a Gaussian, as `scipy.ndimage.gaussian_filter1d`.

    Parameters
    ----------
    input : array_like
    sigma : float
        Standard deviation.
    axis : int
    order : int
        0, or which derivative of the Gaussian.
    output, mode, cval
        As `correlate1d`.
    truncate : float
        Where the Gaussian ends, in standard deviations.
    radius : int, optional
        Where it ends, in cells; `truncate` is then not used.

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    As SciPy's function, which is asked for whatever is not covered.

    Notes
    -----
    Numerically as `correlate1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.gaussian_filter1d([1.0, 2.0, 3.0, 4.0, 5.0], 1).round(4)
    array([1.4271, 2.0678, 3.    , 3.9322, 4.5729])
    """
    x = read_input(input)
    line = _gaussian_line(sigma, read_axis(axis, x.ndim), order, mode, truncate, radius)
    return _filter_lines(x, [line], output, cval)


@stands_in("ndimage")
def gaussian_filter(
    input: Any, sigma: Any, order: Any = 0, output: Any = None, mode: Any = "reflect",
    cval: Any = 0.0, truncate: float = 4.0, *, radius: Any = None, axes: Any = None,
) -> np.ndarray:  # fmt: skip
    """Smooth with a Gaussian, as `scipy.ndimage.gaussian_filter`.

    Parameters
    ----------
    input : array_like
    sigma, order, mode, radius : one value, or one per axis
        As `gaussian_filter1d`.
    output, cval, truncate
        As `gaussian_filter1d`.
    axes : int or sequence of int, optional
        The axes to smooth along; all by default.

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    As SciPy's function, which is asked for whatever is not covered.

    Notes
    -----
    Numerically as one `correlate1d` per axis; between two of them values have the type of the
    output, as in SciPy. The last two passes run together, so that what lies between stays in cache.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.gaussian_filter(np.arange(0, 50, 2).reshape(5, 5), sigma=1)
    array([[ 4,  6,  8,  9, 11],
           [10, 12, 14, 15, 17],
           [20, 22, 24, 25, 27],
           [29, 31, 33, 34, 36],
           [35, 37, 39, 40, 42]])
    """
    call = call_of("gaussian", sigma, order, mode, cval, truncate, radius, axes)
    known = run_known(call, input, output)
    if known is not None:
        return known
    x = read_input(input)
    numbers = read_axes(axes, x.ndim)
    given = [
        read_sequence(value, len(numbers), name)
        for value, name in (
            (order, "order"), (sigma, "sigma"), (mode, "mode"), (radius, "radius")
        )
    ]  # fmt: skip
    lines = [
        _gaussian_line(s, axis, o, m, truncate, r)
        for axis, o, s, m, r in zip(numbers, *given)
        if s > 1e-15
    ]
    return _filter_lines(x, lines, output, cval, call=call)


def _check_sums(x: np.ndarray, lines: list[Line], out: np.ndarray, cval: Any) -> bool:
    """SciPy carries one sum along a line; ours of each window are its to the last bit only while
    doubles hold both. Whether the values of x had to be looked at."""
    if x.dtype.itemsize < 8 and out.dtype.itemsize < 8:  # 64 cells below 2**32
        return False
    if out.dtype.kind not in "iu" or x.dtype.kind not in "biu" or not x.size or not lines:
        return False
    most = max(abs(int(x.max())), abs(int(x.min()))) if x.dtype.itemsize == 8 else 2**32
    negative = x.dtype.kind == "i" or np.real(cval) < 0
    if len(lines) > 1 and out.dtype.kind == "u" and out.dtype.itemsize == 8 and negative:
        most = 2**64  # what is negative wraps around between two passes
    if most * max(len(line.weights) for line in lines) >= _MOST_IN_DOUBLE:
        raise NotCovered(f"means of {x.dtype} as {out.dtype} beyond 2**53")
    return True


@lru_cache(maxsize=128)
def _line_of_ones(axis: int, taps: int, mode: str, origin: int) -> Line:
    return line_of(axis, np.ones(taps), mode, origin, float(taps))


def _box_line(size: Any, axis: int, mode: Any, origin: Any) -> Line:
    taps = read_index(size, "size")
    if not 1 <= taps <= _LONGEST_BOX:
        raise NotCovered(f"a box of {taps} cells")
    return _line_of_ones(axis, taps, read_mode(mode), read_index(origin, "origin"))


@stands_in("ndimage")
def uniform_filter1d(
    input: Any, size: int, axis: int = -1, output: Any = None, mode: str = "reflect",
    cval: Any = 0.0, origin: int = 0,
) -> np.ndarray:  # fmt: skip
    """Mean along one axis, as `scipy.ndimage.uniform_filter1d`.

    Parameters
    ----------
    input : array_like
    size : int
        Cells in the window.
    axis, output, mode, cval, origin
        As `correlate1d`.

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    As SciPy's function, which is asked for whatever is not covered: here, more than 64 cells, and
    64-bit integers whose sums may exceed 2**53.

    Notes
    -----
    Every window is summed for itself. SciPy carries one sum along the whole line, which a NaN or
    an infinity spoils to its end, and whose last bits depend on what came before. Integers are
    SciPy's to the last bit. The time hardly grows with the size: neighbouring windows share sums of
    a few cells.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], size=3)
    array([4, 3, 4, 1, 4, 6, 6, 3])
    """
    x = read_input(input)
    line = _box_line(size, read_axis(axis, x.ndim), mode, origin)
    return _filter_lines(x, [line], output, cval, means=True)


@stands_in("ndimage")
def uniform_filter(
    input: Any, size: Any = 3, output: Any = None, mode: Any = "reflect", cval: Any = 0.0,
    origin: Any = 0, *, axes: Any = None,
) -> np.ndarray:  # fmt: skip
    """Mean over a box, as `scipy.ndimage.uniform_filter`.

    Parameters
    ----------
    input : array_like
    size, mode, origin : one value, or one per axis
        As `uniform_filter1d`.
    output, cval
        As `uniform_filter1d`.
    axes : int or sequence of int, optional
        The axes of the box; all by default.

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    As SciPy's function, which is asked for whatever is not covered: here, more than 64 cells along
    an axis, and 64-bit integers whose sums may exceed 2**53.

    Notes
    -----
    As one `uniform_filter1d` per axis.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.uniform_filter(np.arange(9.0).reshape(3, 3), 3)[1]
    array([3.33333333, 4.        , 4.66666667])
    """
    call = call_of("uniform", size, mode, cval, origin, axes)
    known = run_known(call, input, output)
    if known is not None:
        return known
    x = read_input(input)
    numbers = read_axes(axes, x.ndim)
    sizes = read_sequence(size, len(numbers), "size")
    origins = read_sequence(origin, len(numbers), "origin")
    modes = read_sequence(mode, len(numbers), "mode")
    lines = [
        _box_line(int(s), axis, m, o)
        for axis, s, m, o in zip(numbers, sizes, modes, origins)
        if s > 1
    ]
    return _filter_lines(x, lines, output, cval, means=True, call=call)
