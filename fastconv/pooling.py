"""Pooling in the argument order of `torch.nn.functional`: what inference needs around convolutions.

The arithmetic is csrc/pool.c and kernels/pool; this file reads arguments and names them in errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastconv import _core
from fastconv._convolve import check_out, read_array
from fastconv._observe import Pooled, tell
from fastconv._options import LayoutName, channels_last, layout_name
from fastconv._padding import IntOrTuple, normalize_tuple

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "global_avg_pool",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]


def _split(shape: tuple[int, ...], rank: int, last: bool) -> tuple[int, int, tuple[int, ...]]:
    """(batch, channels, spatial sizes) of a shape of x."""
    if not rank + 1 <= len(shape) <= rank + 2:
        raise ValueError(
            f"x must have {rank + 2} dimensions, {layout_name(rank, last)}, or {rank + 1} without "
            f"a batch, got shape {shape}"
        )
    batch = shape[0] if len(shape) == rank + 2 else 1
    rest = shape[-rank - 1 :]
    channels, sizes = (rest[-1], rest[:-1]) if last else (rest[0], rest[1:])
    if 0 in sizes:
        raise ValueError(f"x must have no spatial axis of size 0, got shape {shape}")
    return batch, channels, sizes


def _flag(value: Any, name: str) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"{name} must be a bool, got {value!r} ({type(value).__name__})")


def _regular(array: np.ndarray) -> bool:
    size = array.itemsize
    return bool(array.flags.aligned) and not any(step % size for step in array.strides)


def _run(
    array: np.ndarray, last: bool, rank: int, out: Any, keep_batch: bool, **geometry: Any
) -> np.ndarray:
    """Pool a checked array; `geometry` as `_core.Pool` takes it."""
    batch, channels, sizes = _split(array.shape, rank, last)
    pool = _core.Pool(rank=rank, batch=batch, channels=channels, in_size=sizes, **geometry)
    shape = (*pool.out_size, channels) if last else (channels, *pool.out_size)
    if keep_batch:
        shape = (batch, *shape)
    if out is not None:
        check_out(out, array.dtype, shape, array)
    result = out if out is not None and _regular(out) else np.empty(shape, array.dtype)
    if 0 not in shape:
        source = array if _regular(array) else np.array(array)
        start = perf_counter() if _core.observed() else None
        pool.run(source, result, channels_last=last, threads=-_core.threads_here.get())
        if start is not None:
            _tell(array, shape, rank, geometry, perf_counter() - start)
    if out is None or result is out:
        return result
    out[...] = result
    return out  # type: ignore[no-any-return]


def _tell(
    array: np.ndarray, shape: tuple[int, ...], rank: int, geometry: dict[str, Any], seconds: float
) -> None:
    """Tell the observers of one pooling: a comparison or an addition per value of a window."""
    code, kernel = geometry["dtype"], geometry["kernel"]
    name = f"{'max' if geometry['maximum'] else 'avg'}_pool{rank}d"
    ran = SimpleNamespace(kernel=f"pool.{code}", flops=float(prod(shape) * prod(kernel)))
    what = Pooled(name, code, tuple(kernel), shape, array.itemsize)
    tell((what, array.shape, False), ran, seconds)


def _pool(
    rank: int,
    x: Any,
    kernel_size: IntOrTuple,
    stride: IntOrTuple | None,
    padding: IntOrTuple,
    dilation: IntOrTuple,
    ceil_mode: bool,
    layout: Any,
    out: Any,
    **options: Any,
) -> np.ndarray:
    array, code = read_array(x, "x")
    kernel = normalize_tuple(kernel_size, rank, "kernel_size", 1)
    return _run(
        array,
        channels_last(layout, rank),
        rank,
        out,
        array.ndim == rank + 2,
        dtype=code,
        kernel=kernel,
        stride=kernel if stride is None else normalize_tuple(stride, rank, "stride", 1),
        padding=normalize_tuple(padding, rank, "padding"),
        dilation=normalize_tuple(dilation, rank, "dilation", 1),
        ceil_mode=_flag(ceil_mode, "ceil_mode"),
        **options,
    )


def _max(rank: int, *arguments: Any) -> np.ndarray:
    return _pool(rank, *arguments, maximum=True)


def _mean(
    rank: int,
    x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: Any,
    count_include_pad: Any,
    divisor_override: Any,
    layout: Any,
    out: Any,
) -> np.ndarray:
    divisor = 0
    if divisor_override is not None:
        (divisor,) = normalize_tuple(divisor_override, 1, "divisor_override", 1)
    return _pool(
        rank, x, kernel_size, stride, padding, 1, ceil_mode, layout, out, maximum=False,
        count_padding=_flag(count_include_pad, "count_include_pad"), divisor=divisor,
    )  # fmt: skip


def max_pool1d(
    x: Any,
    kernel_size: IntOrTuple,
    stride: IntOrTuple | None = None,
    padding: IntOrTuple = 0,
    dilation: IntOrTuple = 1,
    ceil_mode: bool = False,
    *,
    layout: LayoutName = "NCL",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Take the largest value of every window of sequences.

    Parameters
    ----------
    x : array_like, shape (N, C, L) or (C, L)
        With ``layout="NLC"``: (N, L, C) or (L, C).
    kernel_size, stride, padding, dilation, ceil_mode, out
        As `max_pool2d`, with one spatial axis.
    layout : {"NCL", "NLC"}

    Returns
    -------
    ndarray, shape (N, C, L_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> fc.max_pool1d(np.array([[1.0, 5.0, 2.0, 4.0, 3.0]]), 2)
    array([[5., 4.]])
    """
    return _max(1, x, kernel_size, stride, padding, dilation, ceil_mode, layout, out)


def max_pool2d(
    x: Any,
    kernel_size: IntOrTuple,
    stride: IntOrTuple | None = None,
    padding: IntOrTuple = 0,
    dilation: IntOrTuple = 1,
    ceil_mode: bool = False,
    *,
    layout: LayoutName = "NCHW",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Take the largest value of every window of images.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        float32, float64, float16 or bfloat16, any strides. With ``layout="NHWC"``: (N, H, W, C) or
        (H, W, C).
    kernel_size : int or tuple of 2 ints
    stride : int or tuple of 2 ints, optional
        `kernel_size` by default.
    padding : int or tuple of 2 ints
        On both sides, at most half of what the window covers. It never is the maximum.
    dilation : int or tuple of 2 ints
    ceil_mode : bool
        Round the output size up: the last window of an axis may end after the padding, as long as
        it begins inside `x` or the padding before it.
    layout : {"NCHW", "NHWC"}
    out : ndarray, optional
        Takes the result: its shape and dtype, any strides, sharing no memory with `x`.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out), or as `layout` and the batch of `x` say
        NaN where the window holds one. ``H_out = (H + 2*padding - dilation*(k - 1) - 1)//stride
        + 1``; the quotient is rounded up with `ceil_mode`.

    Raises
    ------
    TypeError
        For a dtype that is not supported and arguments of the wrong type.
    ValueError
        For shapes that do not fit and values out of range.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> x = np.arange(16.0).reshape(1, 4, 4)
    >>> fc.max_pool2d(x, 2)[0]
    array([[ 5.,  7.],
           [13., 15.]])
    >>> fc.max_pool2d(x, 3, stride=2, padding=1)[0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    return _max(2, x, kernel_size, stride, padding, dilation, ceil_mode, layout, out)


def max_pool3d(
    x: Any,
    kernel_size: IntOrTuple,
    stride: IntOrTuple | None = None,
    padding: IntOrTuple = 0,
    dilation: IntOrTuple = 1,
    ceil_mode: bool = False,
    *,
    layout: LayoutName = "NCDHW",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Take the largest value of every window of volumes.

    Parameters
    ----------
    x : array_like, shape (N, C, D, H, W) or (C, D, H, W)
        With ``layout="NDHWC"``: (N, D, H, W, C) or (D, H, W, C).
    kernel_size, stride, padding, dilation, ceil_mode, out
        As `max_pool2d`, with three spatial axes.
    layout : {"NCDHW", "NDHWC"}

    Returns
    -------
    ndarray, shape (N, C, D_out, H_out, W_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> fc.max_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), 2)
    array([[[[7.]]]])
    """
    return _max(3, x, kernel_size, stride, padding, dilation, ceil_mode, layout, out)


def avg_pool1d(
    x: Any,
    kernel_size: IntOrTuple,
    stride: IntOrTuple | None = None,
    padding: IntOrTuple = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    layout: LayoutName = "NCL",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Take the mean of every window of sequences.

    Parameters
    ----------
    x : array_like, shape (N, C, L) or (C, L)
        With ``layout="NLC"``: (N, L, C) or (L, C).
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, out
        As `avg_pool2d`, with one spatial axis.
    layout : {"NCL", "NLC"}

    Returns
    -------
    ndarray, shape (N, C, L_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `avg_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> fc.avg_pool1d(np.array([[1.0, 5.0, 2.0, 4.0, 3.0]]), 2)
    array([[3., 3.]])
    """
    return _mean(
        1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout,
        out,
    )  # fmt: skip


def avg_pool2d(
    x: Any,
    kernel_size: IntOrTuple,
    stride: IntOrTuple | None = None,
    padding: IntOrTuple = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    layout: LayoutName = "NCHW",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Take the mean of every window of images.

    Parameters
    ----------
    x, kernel_size, stride, padding, ceil_mode, layout, out
        As `max_pool2d`.
    count_include_pad : bool
        Count the padding as zeros. What a window covers past the padding is never counted.
    divisor_override : int, optional
        Divide every sum by this instead of by the number of cells.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out), or as `layout` and the batch of `x` say
        Summed in float32 for the narrow types; long windows in blocks whose sums are double.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> x = np.ones((1, 4, 4))
    >>> fc.avg_pool2d(x, 3, stride=2, padding=1)[0]
    array([[0.44444444, 0.66666667],
           [0.66666667, 1.        ]])
    >>> fc.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)[0]
    array([[1., 1.],
           [1., 1.]])
    """
    return _mean(
        2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout,
        out,
    )  # fmt: skip


def avg_pool3d(
    x: Any,
    kernel_size: IntOrTuple,
    stride: IntOrTuple | None = None,
    padding: IntOrTuple = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    layout: LayoutName = "NCDHW",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Take the mean of every window of volumes.

    Parameters
    ----------
    x : array_like, shape (N, C, D, H, W) or (C, D, H, W)
        With ``layout="NDHWC"``: (N, D, H, W, C) or (D, H, W, C).
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, out
        As `avg_pool2d`, with three spatial axes.
    layout : {"NCDHW", "NDHWC"}

    Returns
    -------
    ndarray, shape (N, C, D_out, H_out, W_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `avg_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> fc.avg_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), 2)
    array([[[[3.5]]]])
    """
    return _mean(
        3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout,
        out,
    )  # fmt: skip


def global_avg_pool(
    x: Any, *, layout: LayoutName = "NCHW", out: np.ndarray | None = None
) -> np.ndarray:
    """Take the mean of every channel over all its spatial axes.

    Parameters
    ----------
    x : array_like, shape (N, C, *spatial)
        One to three spatial axes; the batch must be there. With ``layout="NHWC"``:
        (N, *spatial, C). float32, float64, float16 or bfloat16, any strides.
    layout : {"NCHW", "NHWC"}, or those of the rank of `x`
    out : ndarray, optional
        Takes the result, sharing no memory with `x`.

    Returns
    -------
    ndarray, shape (N, C)
        Summed in blocks whose sums are double.

    Raises
    ------
    TypeError, ValueError
        For a dtype, shape or layout that does not fit, or an `out` that cannot take the result.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> fc.global_avg_pool(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[1.5, 5.5]])
    """
    array, code = read_array(x, "x")
    rank = array.ndim - 2
    if not 1 <= rank <= 3:
        raise ValueError(
            f"x must have 3 to 5 dimensions, batch, channels and 1 to 3 spatial axes, "
            f"got shape {array.shape}"
        )
    last = channels_last(layout, rank)
    _, channels, sizes = _split(array.shape, rank, last)
    shape = (array.shape[0], channels)
    if out is not None:
        check_out(out, array.dtype, shape, array)
    ones: Sequence[int] = (1,) * rank
    pooled = _run(
        array, last, rank, None, True, dtype=code, maximum=False, kernel=sizes, stride=ones,
        padding=(0,) * rank, dilation=ones,
    )  # fmt: skip
    result = pooled.reshape(shape)
    if out is None:
        return result
    out[...] = result
    return out
