"""The filters of `fastconv.ndimage` over dask arrays: the same names, arguments and values, lazily.

Each function is that of `fastconv.ndimage` applied chunk by chunk, with the halo its arguments say
it needs. What differs: `input` is a dask array, and `output`, if given, a dtype. Wrong arguments
are refused when the function is called, not when its result is computed.

>>> import dask.array, fastconv.dask.ndimage
>>> x = dask.array.eye(6, chunks=3)
>>> fastconv.dask.ndimage.uniform_filter(x, 3, mode="wrap").compute()[0].round(2)
array([0.33, 0.22, 0.11, 0.  , 0.11, 0.22])
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastconv import ndimage as filters
from fastconv.dask import map_filter

__all__ = [
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "laplace",
    "prewitt",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
]

Given = Mapping[str, Any]
Reach = dict[int, tuple[int, int]]  # by axis, cells before and after an output that it depends on

_WRAPPING = ("wrap", "grid-wrap")
_ONE_SIDED = ("nearest", "constant", "grid-constant")  # beyond an end lies nothing from inside


def _lazily(name: str, reach_of: Callable[[Given, int], Reach]) -> Callable[..., Any]:
    """fastconv.ndimage's function of this name over dask arrays; its reach from its arguments."""
    function = getattr(filters, name)
    signature = inspect.signature(function)

    @functools.wraps(function)
    def lazy(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        x, rest, options = bound.args[0], bound.args[1:], bound.kwargs
        if not hasattr(x, "map_overlap"):
            raise TypeError(f"input must be a dask array, got {type(x).__name__}")
        output = bound.arguments["output"]
        if isinstance(output, np.ndarray) or hasattr(output, "map_overlap"):
            raise TypeError("output must be a dtype: a dask array is not written to")
        like = function(np.zeros((1,) * x.ndim, x.dtype), *rest, **options)  # or SciPy's error
        given = {**bound.arguments, **bound.arguments.get("kwargs", {})}
        x, halo, wrap = _halo(x, reach_of(given, x.ndim), _modes(given, x.ndim))
        return map_filter(function, x, halo, *rest, wrap=wrap, dtype=like.dtype, **options)

    lazy.__module__ = __name__
    lazy.__doc__ = f"`fastconv.ndimage.{name}` of a dask array; `output` may be a dtype."
    return lazy


def _halo(
    x: Any, reach: Reach, modes: Mapping[int, str]
) -> tuple[Any, list[tuple[int, int]], list[bool]]:
    """The array, the samples its chunks need before and after, and where they come from the other
    end; an axis as short as the reach becomes one chunk, which needs none."""
    halo, wrap = [(0, 0)] * x.ndim, [False] * x.ndim
    for axis, (before, after) in reach.items():
        most, mode = max(before, after), modes[axis]
        if mode == "mixed" or most >= x.shape[axis]:
            x = x.rechunk({axis: -1})
        if len(x.chunks[axis]) == 1 or not most:
            continue
        wrap[axis] = mode in _WRAPPING
        # A mirror image at one end is of samples on the other side of the output.
        one_sided = wrap[axis] or mode in _ONE_SIDED
        halo[axis] = (before, after) if one_sided else (most, most)
    return x, halo, wrap


def _axes(given: Given, ndim: int) -> list[int]:
    axes = given.get("axes")
    if axes is None:
        return list(range(ndim))
    return [int(axis) % ndim for axis in np.atleast_1d(axes)]


def _each(value: Any, axes: Sequence[int]) -> list[Any]:
    return list(value) if np.iterable(value) and not isinstance(value, str) else [value] * len(axes)


def _modes(given: Given, ndim: int) -> dict[int, str]:
    """The mode of every axis; "mixed" for all where each derivative has one for all axes."""
    modes = _each(given["mode"], _axes(given, ndim))
    if "kwargs" in given and len(set(modes)) > 1:
        modes = ["mixed"]
    if len(set(modes)) == 1:
        return dict.fromkeys(range(ndim), modes[0])
    return dict(zip(_axes(given, ndim), modes, strict=True))


def _window(taps: int, origin: int, convolution: bool = False) -> tuple[int, int]:
    before = taps // 2 + (-origin - (taps % 2 == 0) if convolution else origin)
    return before, taps - 1 - before


def _line(given: Given, ndim: int, convolution: bool = False) -> Reach:
    taps = np.size(given["weights"]) if "weights" in given else int(given["size"])
    return {given["axis"] % ndim: _window(taps, given["origin"], convolution)}


def _kernel(given: Given, ndim: int, convolution: bool = False) -> Reach:
    axes = _axes(given, ndim)
    origins = dict(zip(axes, _each(given["origin"], axes), strict=True))
    shape = np.shape(given["weights"])
    return {
        axis: _window(taps, origins[axis], convolution)
        for axis, taps in zip(sorted(axes), shape, strict=True)
    }


def _box(given: Given, ndim: int) -> Reach:
    axes = _axes(given, ndim)
    sizes, origins = _each(given["size"], axes), _each(given["origin"], axes)
    return {a: _window(max(int(n), 1), o) for a, n, o in zip(axes, sizes, origins, strict=True)}


def _radius(sigma: float, radius: Any, truncate: float) -> tuple[int, int]:
    reach = int(truncate * float(sigma) + 0.5) if radius is None else int(radius)
    return reach, reach


def _gaussian(given: Given, ndim: int) -> Reach:
    axes = _axes(given, ndim)
    sigmas, radii = _each(given["sigma"], axes), _each(given.get("radius"), axes)
    truncate = given.get("truncate", 4.0)
    return {a: _radius(s, r, truncate) for a, s, r in zip(axes, sigmas, radii, strict=True)}


def _gaussian_line(given: Given, ndim: int) -> Reach:
    radius = _radius(given["sigma"], given["radius"], given["truncate"])
    return {given["axis"] % ndim: radius}


def _gradient(given: Given, ndim: int) -> Reach:
    """Every derivative is smoothed along all axes, whichever are asked for."""
    return _gaussian({**given, "axes": None}, ndim)


def _neighbours(given: Given, ndim: int) -> Reach:
    return dict.fromkeys(_axes(given, ndim), (1, 1))


convolve = _lazily("convolve", functools.partial(_kernel, convolution=True))
convolve1d = _lazily("convolve1d", functools.partial(_line, convolution=True))
correlate = _lazily("correlate", _kernel)
correlate1d = _lazily("correlate1d", _line)
gaussian_filter = _lazily("gaussian_filter", _gaussian)
gaussian_filter1d = _lazily("gaussian_filter1d", _gaussian_line)
gaussian_gradient_magnitude = _lazily("gaussian_gradient_magnitude", _gradient)
gaussian_laplace = _lazily("gaussian_laplace", _gaussian)
laplace = _lazily("laplace", _neighbours)
prewitt = _lazily("prewitt", _neighbours)
sobel = _lazily("sobel", _neighbours)
uniform_filter = _lazily("uniform_filter", _box)
uniform_filter1d = _lazily("uniform_filter1d", _line)
