"""The filters of fastconv.signal and fastconv.ndimage over dask arrays, lazily.

A chunk is filtered together with as many samples of its neighbours as the kernel reaches: its halo,
from `dask.array.map_overlap`. So values are those of the whole array, which never has to be in
memory or on one machine. Needs the extra ``fastconv[dask]``.

The functions of `fastconv.signal` have their names here; the filters of `fastconv.ndimage` have
theirs in `fastconv.dask.ndimage`, and here but for `convolve` and `correlate`. Any other filter
whose result has the shape of its input (`generic_laplace` with a function of one's own, say) runs
through `map_filter`, which is told how far it reaches.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv import signal

__all__ = [
    "convolve",
    "convolve1d",
    "convolve2d",
    "correlate",
    "correlate1d",
    "correlate2d",
    "fftconvolve",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "laplace",
    "map_filter",
    "ndimage",
    "oaconvolve",
    "prewitt",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
]

Halo = Sequence[tuple[int, int]]


def _dask() -> Any:
    try:
        return importlib.import_module("dask.array")
    except ImportError as error:
        raise ImportError("fastconv.dask needs dask: pip install 'fastconv[dask]'") from error


def map_filter(
    function: Callable[..., Any], x: Any, halo: Halo, *args: Any,
    wrap: bool | Sequence[bool] = False, dtype: Any = None, **kwargs: Any,
) -> Any:  # fmt: skip
    """Apply a filter whose result has the shape of its input, chunk by chunk with a halo.

    Parameters
    ----------
    function : callable
        ``function(block, *args, **kwargs)`` gives an array of the shape of `block`, each sample
        of which depends on samples at most `halo` away. What lies beyond the ends of the array
        is the function's own affair, as its arguments say: zeros, a mirror image, the last sample.
    x : dask array
    halo : sequence of (int, int)
        Samples needed before and after, per axis.
    wrap : bool or sequence of bool
        For all axes or each: beyond each end of the array lies its other end, which no block holds:
        it is put there first.
    dtype : dtype, optional
        Of the result; that of `x` by default.

    Returns
    -------
    dask array
        Of the shape of `x`. Chunks shorter than the halo are joined with others.

    Examples
    --------
    >>> import dask.array, fastconv.dask, scipy.ndimage
    >>> x = dask.array.arange(8.0, chunks=4)
    >>> fastconv.dask.map_filter(scipy.ndimage.uniform_filter, x, [(1, 1)], 3).compute()
    array([0.33333333, 1.        , 2.        , 3.        , 4.        ,
           5.        , 6.        , 6.66666667])
    """
    da = _dask()
    depth = {axis: (int(before), int(after)) for axis, (before, after) in enumerate(halo)}
    dtype = x.dtype if dtype is None else np.dtype(dtype)
    around = [depth[axis] if wraps else (0, 0) for axis, wraps in enumerate(_each(wrap, x.ndim))]
    whole = x
    if any(map(any, around)):
        x = da.pad(x, around, mode="wrap")
    out = da.map_overlap(
        _filtered, x, depth=depth, boundary="none", trim=True, align_arrays=False,
        allow_rechunk=True, dtype=dtype, meta=np.empty((0,) * x.ndim, dtype),
        filtering=(function, args, kwargs),
    )  # fmt: skip
    if x is not whole:
        out = out[
            tuple(slice(at, at + n) for (at, _), n in zip(around, whole.shape, strict=True))
        ]
    return out


def _each(wrap: bool | Sequence[bool], ndim: int) -> Sequence[bool]:
    return [wrap] * ndim if isinstance(wrap, bool) else wrap


def _filtered(block: np.ndarray, filtering: Any) -> Any:
    function, args, kwargs = filtering
    return function(block, *args, **kwargs)


def _kernel(x: Any, kernel: Any) -> np.ndarray:
    kernel = np.asarray(kernel)
    if kernel.ndim != x.ndim or not kernel.size:
        raise ValueError(
            f"in2 must have the {x.ndim} dimensions of in1 and not be empty, "
            f"got shape {kernel.shape}"
        )
    return kernel


def _run(
    name: str, x: Any, kernel: Any, mode: str, *, boundary: str | None = None, fill: Any = 0,
    **options: Any,
) -> Any:  # fmt: skip
    """One of signal's functions: by its "same" mode, of an array padded or a result cropped."""
    kernel = _kernel(x, kernel)
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"mode must be 'full', 'same' or 'valid', got {mode!r}")
    n, k = x.shape, kernel.shape
    if mode == "valid" and any(a < b for a, b in zip(n, k, strict=True)):
        raise ValueError(f"in2 must be no larger than in1 for mode 'valid', got {k} and {n}")
    # Sample i of "same" sees samples i - before to i + after.
    after = [b // 2 if name == "correlate2d" else (b - 1) // 2 for b in k]
    before = [b - 1 - a for a, b in zip(after, k, strict=True)]
    if mode == "full":
        x = _dask().pad(x, [(b - 1, b - 1) for b in k], **_padding(boundary, fill))
    elif boundary is not None:
        options |= {"boundary": "fill" if boundary == "wrap" else boundary, "fillvalue": fill}
    function = getattr(signal, name)
    dtype = function(np.ones((2,) * x.ndim, x.dtype), np.ones((2,) * x.ndim, kernel.dtype)).dtype
    out = map_filter(
        function, x, list(zip(before, after, strict=True)), kernel, mode="same",
        wrap=mode == "same" and boundary == "wrap", dtype=dtype, **options,
    )  # fmt: skip
    if mode == "same":
        return out
    more = 1 if mode == "full" else -1
    return out[
        tuple(slice(d, d + a + more * (b - 1)) for d, a, b in zip(before, n, k, strict=True))
    ]


def _padding(boundary: str | None, fill: Any) -> dict[str, Any]:
    if boundary in (None, "fill"):
        return {"mode": "constant", "constant_values": fill}
    return {"mode": "wrap" if boundary == "wrap" else "symmetric"}


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """`fastconv.signal.convolve` of a dask array and a kernel held in memory.

    Parameters
    ----------
    in1 : dask array
    in2 : array_like
    mode, method
        As there; "valid" wants `in2` to be the smaller.

    Returns
    -------
    dask array

    Raises
    ------
    ValueError
        For a kernel with other dimensions or an unknown mode.

    Notes
    -----
    The values are those of `fastconv.signal` on the whole array, up to the rounding of whichever
    method is fastest for a chunk; those of integers and of ``method="direct"`` are the same.

    Examples
    --------
    >>> import dask.array, fastconv.dask
    >>> x = dask.array.arange(6, chunks=3)
    >>> fastconv.dask.convolve(x, [1, 1, 1], "same").compute()
    array([ 1,  3,  6,  9, 12,  9])
    """
    return _run("convolve", in1, in2, mode, method=method)


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """`fastconv.signal.correlate` of a dask array and a kernel held in memory.

    Parameters
    ----------
    in1, in2, mode, method
        As `convolve`.

    Returns
    -------
    dask array

    Examples
    --------
    >>> import dask.array, fastconv.dask
    >>> x = dask.array.arange(4, chunks=2)
    >>> fastconv.dask.correlate(x, [0, 1], "valid").compute()
    array([1, 2, 3])
    """
    return _run("correlate", in1, in2, mode, method=method)


def fftconvolve(in1: Any, in2: Any, mode: str = "full") -> Any:
    """`fastconv.signal.fftconvolve` of a dask array and a kernel, along all axes.

    Parameters
    ----------
    in1, in2, mode
        As `convolve`.

    Returns
    -------
    dask array

    Examples
    --------
    >>> import dask.array, fastconv.dask
    >>> fastconv.dask.fftconvolve(dask.array.ones(4, chunks=2), [1.0, 1.0]).compute()
    array([1., 2., 2., 2., 1.])
    """
    return _run("fftconvolve", in1, in2, mode)


def oaconvolve(in1: Any, in2: Any, mode: str = "full") -> Any:
    """`fastconv.signal.oaconvolve` of a dask array and a kernel, along all axes.

    Parameters
    ----------
    in1, in2, mode
        As `convolve`.

    Returns
    -------
    dask array

    Examples
    --------
    >>> import dask.array, fastconv.dask
    >>> fastconv.dask.oaconvolve(dask.array.ones(4, chunks=2), [1.0, 1.0], "valid").compute()
    array([2., 2., 2.])
    """
    return _run("oaconvolve", in1, in2, mode)


def convolve2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0
) -> Any:
    """`fastconv.signal.convolve2d` of a dask array and a kernel held in memory.

    Parameters
    ----------
    in1 : dask array of two dimensions
    in2 : array_like of two dimensions
    mode, boundary, fillvalue
        As there.

    Returns
    -------
    dask array

    Examples
    --------
    >>> import dask.array, fastconv.dask
    >>> x = dask.array.eye(4, chunks=2)
    >>> fastconv.dask.convolve2d(x, [[1.0, 1.0]], "same", boundary="wrap").compute()
    array([[1., 1., 0., 0.],
           [0., 1., 1., 0.],
           [0., 0., 1., 1.],
           [1., 0., 0., 1.]])
    """
    return _run("convolve2d", in1, in2, mode, boundary=boundary, fill=fillvalue)


def correlate2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0
) -> Any:
    """`fastconv.signal.correlate2d` of a dask array and a kernel held in memory.

    Parameters
    ----------
    in1, in2, mode, boundary, fillvalue
        As `convolve2d`.

    Returns
    -------
    dask array

    Examples
    --------
    >>> import dask.array, fastconv.dask
    >>> x = dask.array.eye(2, chunks=1)
    >>> fastconv.dask.correlate2d(x, [[1.0, 2.0]]).compute()
    array([[2., 1., 0.],
           [0., 2., 1.]])
    """
    return _run("correlate2d", in1, in2, mode, boundary=boundary, fill=fillvalue)


# At the end, because it takes `map_filter` from here.
from fastconv.dask import ndimage  # noqa: E402
from fastconv.dask.ndimage import (  # noqa: E402
    convolve1d,
    correlate1d,
    gaussian_filter,
    gaussian_filter1d,
    gaussian_gradient_magnitude,
    gaussian_laplace,
    laplace,
    prewitt,
    sobel,
    uniform_filter,
    uniform_filter1d,
)
