"""Resize-convolution: upsampling by interpolation, then an ordinary convolution.

The remedy for the checkerboards of a transposed convolution whose kernel is no multiple of its
stride: interpolation covers every output evenly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from fastconv._convolve import (
    check_out,
    compute_array,
    convolve,
    make_problem,
    read_array,
    read_as,
)
from fastconv._options import (
    Activation,
    LayoutName,
    PaddingMode,
    Precision,
    channels_last,
    one_of,
)
from fastconv._padding import IntOrTuple, Padding
from fastconv._problem import channels_of

__all__ = ["resize_conv2d"]

_MODES = ("nearest", "bilinear")


def _scales(scale: Any) -> tuple[float, float]:
    values = scale if isinstance(scale, (tuple, list)) else (scale, scale)
    if len(values) != 2:
        raise ValueError(f"scale must be a number or a pair of numbers, got {scale!r}")
    for value in values:
        if isinstance(value, (bool, np.bool_, str)) or not hasattr(value, "__float__"):
            raise TypeError(f"scale must be a number or a pair of numbers, got {scale!r}")
    vertical, horizontal = (float(value) for value in values)
    if not (0 < vertical < math.inf and 0 < horizontal < math.inf):
        raise ValueError(f"scale must be positive and finite, got {scale!r}")
    return vertical, horizontal


def _nearest(x: np.ndarray, axis: int, scale: float, size: int) -> np.ndarray:
    if scale == int(scale):
        repeated: np.ndarray = np.repeat(x, int(scale), axis)
        return repeated
    source = np.minimum(np.floor(np.arange(size) / scale).astype(np.intp), x.shape[axis] - 1)
    taken: np.ndarray = np.take(x, source, axis)
    return taken


def _linear(x: np.ndarray, axis: int, scale: float, size: int) -> np.ndarray:
    """Between the centres of cells; beyond the outer centres the outer cells."""
    at = np.maximum((np.arange(size) + 0.5) / scale - 0.5, 0)
    low = np.minimum(np.floor(at).astype(np.intp), x.shape[axis] - 1)
    share = at - low
    share[low == x.shape[axis] - 1] = 0
    high = low + (share > 0)  # a share of nothing must not bring in a neighbour's NaN
    shape = [1] * x.ndim
    shape[axis] = size
    part = share.astype(x.dtype).reshape(shape)
    lower: np.ndarray = np.take(x, low, axis)
    upper: np.ndarray = np.take(x, high, axis)
    lower *= 1 - part
    upper *= part
    lower += upper
    return lower


def _resized(x: np.ndarray, code: str, scale: Any, mode: str, last: bool) -> np.ndarray:
    axes: Sequence[int] = (-3, -2) if last else (-2, -1)
    scales = _scales(scale)
    sizes = [math.floor(x.shape[axis] * s) for axis, s in zip(axes, scales, strict=True)]
    if 0 in sizes or 0 in x.shape:
        spatial = tuple(x.shape[axis] for axis in axes)
        if 0 in sizes:
            raise ValueError(
                f"scale must leave at least one cell per axis, got {scale!r} for an x of {spatial}"
            )
        shape = list(x.shape)
        for axis, size in zip(axes, sizes, strict=True):
            shape[axis] = size
        return np.empty(shape, x.dtype)
    resize = _nearest if mode == "nearest" else _linear
    result = x if mode == "nearest" else compute_array(x, code)
    for axis, s, size in zip(axes, scales, sizes, strict=True):
        if s != 1:
            result = resize(result, axis, s, size)
    return result.astype(x.dtype, copy=False)


def resize_conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    scale: float | tuple[float, float] = 2,
    mode: Literal["nearest", "bilinear"] = "nearest",
    stride: IntOrTuple = 1,
    padding: Padding = "same",
    dilation: IntOrTuple = 1,
    groups: int = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    flip_kernel: bool = False,
    activation: Activation | None = None,
    residual: Any = None,
    layout: LayoutName = "NCHW",
    precision: Precision = "highest",
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Resize images, then convolve them: upsampling without checkerboards.

    Parameters
    ----------
    x : array_like, shape (N, C_in, H, W) or (C_in, H, W)
        With ``layout="NHWC"``: (N, H, W, C_in) or (H, W, C_in).
    weight : array_like, shape (C_out, C_in/groups, kH, kW)
        Of the dtype of `x`.
    bias : array_like, shape (C_out,), optional
    scale : float or tuple of 2 floats
        Of the height and the width; sizes are rounded down.
    mode : {"nearest", "bilinear"}
        As `torch.nn.functional.interpolate` with ``scale_factor`` and, for "bilinear",
        ``align_corners=False``.
    stride, padding, dilation, groups, padding_mode, flip_kernel, activation, residual, layout, \
precision, algorithm, out
        As `conv2d`, for the convolution of the resized images; the padding is "same" by default.

    Returns
    -------
    ndarray, shape (N, C_out, H_out, W_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `conv2d`; also for a `scale` that is not positive.

    See Also
    --------
    bilinear_kernel : interpolation as a transposed convolution.
    arithmetic.overlap_map : shows the checkerboard of a transposed convolution.

    Notes
    -----
    A. Odena, V. Dumoulin and C. Olah, "Deconvolution and checkerboard artifacts" (2016).

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> fc.resize_conv2d(np.array([[[1.0, 2.0]]]), np.ones((1, 1, 1, 1)))[0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]])
    >>> fc.resize_conv2d(np.array([[[1.0, 2.0]]]), np.ones((1, 1, 1, 1)), mode="bilinear")[0, 0]
    array([1.  , 1.25, 1.75, 2.  ])
    """
    array, code = read_array(x, "x")
    taps = read_as(weight, "weight", code, "x")
    last = channels_last(layout, 2)
    one_of(mode, _MODES, "mode")
    problem = make_problem(
        code, taps.shape, 2, stride=stride, padding=padding, dilation=dilation, groups=groups,
        padding_mode=padding_mode, activation=activation, precision=precision,
        algorithm=algorithm, layout=layout, has_bias=bias is not None,
    )  # fmt: skip
    channels_of(array.shape, 2, last)
    if out is not None:
        check_out(out, array.dtype, None, array, residual)
    resized = _resized(array, code, scale, mode, last)
    return convolve(problem, resized, taps, bias, residual=residual, out=out, flip=flip_kernel)
