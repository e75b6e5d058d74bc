"""The filters of fastconv.signal and fastconv.ndimage over dask arrays, lazily.

A chunk is filtered together with as many samples of its neighbours as the kernel reaches: its halo,
from `dask.array.map_overlap`. So values are those of the whole array, which never has to be in
memory or on one machine. Needs the extra ``fastconv[dask]``.

The functions of `fastconv.signal` have their names here. Any other filter whose result has the
shape of its input, those of `fastconv.ndimage` among them, runs through `map_filter`, which is told
how far the filter reaches.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv import signal

__all__ = [
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "fftconvolve",
    "map_filter",
    "oaconvolve",
]

Halo = Sequence[tuple[int, int]]


def _dask() -> Any:
    try:
        return importlib.import_module("dask.array")
    except ImportError as error:
        raise ImportError("fastconv.dask needs dask: pip install 'fastconv[dask]'") from error


def map_filter(
    function: Callable[..., Any], x: Any, halo: Halo, *args: Any, wrap: bool = False,
    dtype: Any = None, **kwargs: Any,
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
    wrap : bool
        Beyond each end of the array lies its other end, which no block holds: it is put there
        first.
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
    whole = x
    if wrap:
        x = da.pad(x, [depth[axis] for axis in range(x.ndim)], mode="wrap")
    out = da.map_overlap(
        function, x, *args, depth=depth, boundary="none", trim=True, align_arrays=False,
        allow_rechunk=True, dtype=dtype, meta=np.empty((0,) * x.ndim, dtype), **kwargs,
    )  # fmt: skip
    if wrap:
        out = out[tuple(slice(depth[i][0], depth[i][0] + n) for i, n in enumerate(whole.shape))]
    return out


def _kernel(x: Any, kernel: Any) -> np.ndarray:
    kernel = np.asarray(kernel)
    if kernel.ndim != x.ndim or not kernel.size:
        raise ValueError(
            f"in2 must have the {x.ndim} dimensions of in1 and not be empty, "
            f"got shape {kernel.shape}"
        )
    return kernel


def _run(
    name: str, x: Any, kernel: np.ndarray, mode: str, *, flipped: bool = False, wrap: bool = False,
    symm: bool = False, fill: Any = 0, **options: Any,
) -> Any:  # fmt: skip
    """One of signal's functions, by its "same" mode and padding or cropping for the others."""
    da = _dask()
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"mode must be 'full', 'same' or 'valid', got {mode!r}")
    n, k = x.shape, kernel.shape
    if mode == "valid" and any(a < b for a, b in zip(n, k, strict=True)):
        raise ValueError(f"in2 must be no larger than in1 for mode 'valid', got {k} and {n}")
    # Sample i of "same" is sample i + before of "full"; it sees [i - behind, i + before].
    before = [b // 2 if flipped else (b - 1) // 2 for b in k]
    behind = [b - 1 - a for a, b in zip(before, k, strict=True)]
    if mode == "full":
        pads = list(zip(before, behind, strict=True))
        if wrap or symm:
            x = da.pad(x, pads, mode="wrap" if wrap else "symmetric")
            # The outermost samples see beyond that padding.
            raise NotImplementedError("mode 'full' with boundary 'wrap' or 'symm'")
        x = da.pad(x, pads, mode="constant", constant_values=fill)
    probe = getattr(signal, name)(np.ones((1,) * x.ndim, x.dtype), np.ones_like(kernel[:1]))
    out = map_filter(
        getattr(signal, name), x, list(zip(behind, before, strict=True)), kernel, mode="same",
        wrap=wrap, dtype=probe.dtype, **options,
    )  # fmt: skip
    if mode == "valid":
        out = out[
            tuple(slice(d, d + a - b + 1) for d, a, b in zip(behind, n, k, strict=True))
        ]
    return out
