"""Derivatives: Sobel, Prewitt, Laplace, gradient magnitudes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv._drop_in import NotCovered, stands_in
from fastconv.ndimage._arguments import (
    check_dtypes,
    read_axes,
    read_axis,
    read_constant,
    read_input,
    read_mode,
    read_output,
    read_sequence,
)
from fastconv.ndimage._correlate import apply_lines, apply_window, correlate1d
from fastconv.ndimage._engine import Line, call_of, line_of, run_known
from fastconv.ndimage._smooth import gaussian_filter

__all__ = [
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "generic_gradient_magnitude",
    "generic_laplace",
    "laplace",
    "prewitt",
    "sobel",
]


@lru_cache(maxsize=64)
def _difference_lines(at: int, modes: tuple[str, ...], smooth: tuple[int, ...]) -> list[Line]:
    others = [other for other in range(len(modes)) if other != at]
    lines = [line_of(at, np.array([-1, 0, 1]), modes[at])]
    return lines + [line_of(other, np.array(smooth), modes[other]) for other in others]


def _difference(
    input: Any, axis: Any, output: Any, mode: Any, cval: Any, smooth: tuple[int, ...]
) -> np.ndarray:
    """A central difference along one axis, smoothed along the others."""
    call = call_of("difference", axis, mode, cval, *smooth)
    known = run_known(call, input, output)
    if known is not None:
        return known
    x = read_input(input)
    if x.dtype.kind == "c":
        raise NotCovered("a complex array")
    at = read_axis(axis, x.ndim)
    out = read_output(output, x)
    modes = [read_mode(mode) for mode in read_sequence(mode, x.ndim, "mode")]
    apply_lines(x, _difference_lines(at, tuple(modes), smooth), out, cval, call)
    return out


@stands_in("ndimage")
def sobel(
    input: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0
) -> np.ndarray:
    """Sobel filter, as `scipy.ndimage.sobel`.

    Parameters
    ----------
    input : array_like
    axis : int
        The axis to differentiate along; the others are smoothed with 1, 2, 1.
    output, cval
        As `correlate1d`.
    mode : one value, or one per axis
        As `correlate1d`.

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    As SciPy's function, which is asked for whatever is not covered: here, complex arrays.

    Notes
    -----
    Numerically as `correlate1d`, but that passes may change places where that changes nothing but
    the last bits of a float.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.sobel(np.arange(16.0).reshape(4, 4) ** 2)[1]
    array([ 50.,  88.,  96.,  54.])
    """
    return _difference(input, axis, output, mode, cval, (1, 2, 1))


@stands_in("ndimage")
def prewitt(
    input: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0
) -> np.ndarray:
    """Prewitt filter, as `scipy.ndimage.prewitt`: `sobel` with 1, 1, 1 instead of 1, 2, 1.

    Parameters, return value, exceptions and numerical notes are those of `sobel`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.prewitt(np.arange(16.0).reshape(4, 4), axis=0)[1]
    array([24., 24., 24., 24.])
    """
    return _difference(input, axis, output, mode, cval, (1, 1, 1))


def _sum_over_axes(
    x: np.ndarray, term: Callable[[int, Any, Any], np.ndarray], out: np.ndarray,
    axes: Sequence[int], modes: Sequence[Any],
) -> None:  # fmt: skip
    """out becomes the sum of term(axis, output, mode) over the axes; x where there are none."""
    if not axes:
        out[...] = x[...]
        return
    term(axes[0], out, modes[0])
    for axis, mode in zip(axes[1:], modes[1:]):
        out += term(axis, out.dtype, mode)


@stands_in("ndimage")
def generic_laplace(
    input: Any, derivative2: Callable[..., Any], output: Any = None, mode: Any = "reflect",
    cval: Any = 0.0, extra_arguments: Any = (), extra_keywords: Any = None, *, axes: Any = None,
) -> np.ndarray:  # fmt: skip
    """Sum of second derivatives by a given function, as `scipy.ndimage.generic_laplace`.

    Parameters
    ----------
    input : array_like
    derivative2 : callable
        ``derivative2(input, axis, output, mode, cval, *extra_arguments, **extra_keywords)``
    output, cval
        As `correlate1d`.
    mode : one value, or one per axis
    extra_arguments : sequence
    extra_keywords : dict, optional
    axes : int or sequence of int, optional

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    As SciPy's function, which is asked for whatever is not covered; whatever `derivative2` raises.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> def second(input, axis, output, mode, cval):
    ...     return ndimage.correlate1d(input, [1, -2, 1], axis, output, mode, cval)
    >>> ndimage.generic_laplace(np.arange(5.0) ** 2, second)[1:-1]
    array([2., 2., 2.])
    """
    x = read_input(input)
    out = read_output(output, x, x.dtype.kind == "c")
    numbers = read_axes(axes, x.ndim)
    modes = read_sequence(mode, len(numbers), "mode")
    keywords = extra_keywords or {}

    def term(axis: int, to: Any, extension: Any) -> np.ndarray:
        return derivative2(x, axis, to, extension, cval, *extra_arguments, **keywords)

    _sum_over_axes(x, term, out, numbers, modes)
    return out


def _one_window(x: np.ndarray, axes: Sequence[int], out: np.ndarray) -> bool:
    """Whether the second differences of all axes can be taken as one dense kernel."""
    if not 2 <= len(axes) <= 3 or max(axes) - min(axes) > 2:
        return False
    kinds = (x.dtype.kind, out.dtype.kind)
    if "c" in kinds or np.may_share_memory(x, out):
        return False
    small = x.dtype.itemsize <= 2 and out.dtype.itemsize <= 4
    return kinds == ("f", "f") or (kinds[0] in "biu" and kinds[1] == "i" and small)


@lru_cache(maxsize=64)
def _laplace_weights(ndim: int, numbers: tuple[int, ...]) -> np.ndarray:
    """The sum of second differences along these axes."""
    weights = np.zeros([3 if axis in numbers else 1 for axis in range(ndim)])
    middle = tuple(n // 2 for n in weights.shape)
    for axis in numbers:
        weights[middle] -= 2
        for end in (0, 2):
            weights[(*middle[:axis], end, *middle[axis + 1 :])] = 1
    weights.flags.writeable = False  # remembered
    return weights


@stands_in("ndimage")
def laplace(
    input: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None
) -> np.ndarray:
    """Sum of second differences, as `scipy.ndimage.laplace`.

    Parameters
    ----------
    input : array_like
    output, cval
        As `correlate1d`.
    mode : one value, or one per axis
    axes : int or sequence of int, optional

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    As SciPy's function, which is asked for whatever is not covered.

    Notes
    -----
    Two or three axes run as one kernel, whose floating point sums may differ from SciPy's in the
    last bits.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.laplace(np.arange(9.0).reshape(3, 3) ** 2)[1]
    array([27., 20.,  9.])
    """
    x = read_input(input)
    out = read_output(output, x, x.dtype.kind == "c")
    numbers = read_axes(axes, x.ndim)
    modes = [read_mode(mode) for mode in read_sequence(mode, len(numbers), "mode")]
    if not _one_window(x, numbers, out):

        def term(axis: int, to: Any, extension: Any) -> np.ndarray:
            return correlate1d(x, [1, -2, 1], axis, to, extension, cval, 0)

        _sum_over_axes(x, term, out, numbers, modes)
        return out
    check_dtypes(x, out)
    weights = _laplace_weights(x.ndim, numbers)
    middle = [n // 2 for n in weights.shape]
    extensions = ["nearest"] * x.ndim
    for axis, extension in zip(numbers, modes):
        extensions[axis] = extension
    apply_window(x, weights, middle, extensions, out, read_constant(cval))
    return out


@stands_in("ndimage")
def gaussian_laplace(
    input: Any, sigma: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *,
    axes: Any = None, **kwargs: Any,
) -> np.ndarray:  # fmt: skip
    """Sum of second derivatives of Gaussians, as `scipy.ndimage.gaussian_laplace`.

    Parameters
    ----------
    input : array_like
    sigma, mode : one value, or one per axis
        As `gaussian_filter`.
    output, cval
        As `gaussian_filter`.
    axes : int or sequence of int, optional
    **kwargs
        For `gaussian_filter`.

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    As SciPy's function, which is asked for whatever is not covered.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> x = np.zeros((9, 9))
    >>> x[4, 4] = 1
    >>> ndimage.gaussian_laplace(x, sigma=1)[4, 4].round(4)
    -0.3183
    """
    x = read_input(input)
    out = read_output(output, x, x.dtype.kind == "c")
    numbers = read_axes(axes, x.ndim)
    modes = read_sequence(mode, len(numbers), "mode")
    sigmas = [0] * x.ndim
    for axis, deviation in zip(numbers, read_sequence(sigma, len(numbers), "sigma")):
        sigmas[axis] = deviation

    def term(axis: int, to: Any, extension: Any) -> np.ndarray:
        order = [2 * (other == axis) for other in range(x.ndim)]
        return gaussian_filter(x, sigmas, order, to, extension, cval, **kwargs)

    _sum_over_axes(x, term, out, numbers, modes)
    return out


def _magnitude(
    x: np.ndarray, term: Callable[[int, Any, Any], np.ndarray], out: np.ndarray,
    axes: Sequence[int], modes: Sequence[Any],
) -> None:  # fmt: skip
    """out becomes the root of the sum of squares of term(axis, output, mode)."""
    if not axes:
        out[...] = x[...]
        return
    term(axes[0], out, modes[0])
    np.multiply(out, out, out)
    for axis, mode in zip(axes[1:], modes[1:]):
        slope = term(axis, out.dtype, mode)
        np.multiply(slope, slope, slope)
        out += slope
    np.sqrt(out, out, casting="unsafe")


@stands_in("ndimage")
def generic_gradient_magnitude(
    input: Any, derivative: Callable[..., Any], output: Any = None, mode: Any = "reflect",
    cval: Any = 0.0, extra_arguments: Any = (), extra_keywords: Any = None, *, axes: Any = None,
) -> np.ndarray:  # fmt: skip
    """Length of the gradient by a given function, as `scipy.ndimage.generic_gradient_magnitude`.

    Parameters
    ----------
    input : array_like
    derivative : callable
        ``derivative(input, axis, output, mode, cval, *extra_arguments, **extra_keywords)``
    output, mode, cval, extra_arguments, extra_keywords, axes
        As `generic_laplace`.

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    As SciPy's function, which is asked for whatever is not covered; whatever `derivative` raises.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.generic_gradient_magnitude(np.eye(4) * 3, ndimage.sobel)[1].round(3)
    array([ 8.485,  8.485,  8.485,  4.243])
    """
    x = read_input(input)
    out = read_output(output, x, x.dtype.kind == "c")
    numbers = read_axes(axes, x.ndim)
    modes = read_sequence(mode, len(numbers), "mode")
    keywords = extra_keywords or {}

    def term(axis: int, to: Any, extension: Any) -> np.ndarray:
        return derivative(x, axis, to, extension, cval, *extra_arguments, **keywords)

    _magnitude(x, term, out, numbers, modes)
    return out


@stands_in("ndimage")
def gaussian_gradient_magnitude(
    input: Any, sigma: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *,
    axes: Any = None, **kwargs: Any,
) -> np.ndarray:  # fmt: skip
    """Length of the gradient by Gaussian derivatives, as \
`scipy.ndimage.gaussian_gradient_magnitude`.

    Parameters
    ----------
    input : array_like
    sigma, output, mode, cval, axes, **kwargs
        As `gaussian_laplace`.

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    As SciPy's function, which is asked for whatever is not covered.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.gaussian_gradient_magnitude(np.eye(5), sigma=1)[0].round(3)
    array([0.088, 0.155, 0.112, 0.041, 0.016])
    """
    x = read_input(input)
    out = read_output(output, x, x.dtype.kind == "c")
    numbers = read_axes(axes, x.ndim)
    modes = read_sequence(mode, len(numbers), "mode")

    def term(axis: int, to: Any, extension: Any) -> np.ndarray:
        order = [int(other == axis) for other in range(x.ndim)]
        return gaussian_filter(x, sigma, order, to, extension, cval, **kwargs)

    _magnitude(x, term, out, numbers, modes)
    return out
