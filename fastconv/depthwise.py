"""Depthwise convolutions, one filter bank per channel, and the depthwise separable pair.

A depthwise convolution is a grouped one with as many groups as channels; the separable pair is an
operation of its own in the core, whose middle never leaves the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._convolve import convolve, make_problem, read_array, read_as
from fastconv._options import Activation, LayoutName, PaddingMode, Precision, channels_last
from fastconv._padding import IntOrTuple, Padding
from fastconv._problem import channels_of

__all__ = ["depthwise_conv1d", "depthwise_conv2d", "depthwise_conv3d", "separable_conv2d"]


def _check_depthwise(shape: tuple[int, ...], rank: int, channels: int, name: str) -> None:
    if len(shape) != rank + 2 or shape[1] != 1:
        spatial = ", ".join(("kD", "kH", "kW")[3 - rank :])
        raise ValueError(f"{name} must have shape (C*m, 1, {spatial}), got {shape}")
    if channels == 0 or shape[0] == 0 or shape[0] % channels:
        raise ValueError(
            f"{name} must have a multiple of the {channels} channels of x as its first axis, "
            f"got shape {shape}"
        )


def _depthwise(
    rank: int,
    x: Any,
    weight: Any,
    bias: Any,
    residual: Any,
    out: Any,
    flip: bool,
    layout: Any,
    **options: Any,
) -> np.ndarray:
    array, code = read_array(x, "x")
    taps = read_as(weight, "weight", code, "x")
    channels = channels_of(array.shape, rank, channels_last(layout, rank))
    _check_depthwise(taps.shape, rank, channels, "weight")
    problem = make_problem(
        code, taps.shape, rank, groups=channels, layout=layout, has_bias=bias is not None, **options
    )
    return convolve(problem, array, taps, bias, residual=residual, out=out, flip=flip)


def depthwise_conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    dilation: IntOrTuple = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    flip_kernel: bool = False,
    activation: Activation | None = None,
    residual: Any = None,
    layout: LayoutName = "NCL",
    precision: Precision = "highest",
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Convolve every channel of sequences with filters of its own.

    Parameters
    ----------
    x : array_like, shape (N, C, L) or (C, L)
        With ``layout="NLC"``: (N, L, C) or (L, C).
    weight : array_like, shape (C*m, 1, kL)
        Of the dtype of `x`.
    bias, stride, padding, dilation, padding_mode, flip_kernel, activation, residual, layout, \
precision, algorithm, out
        As `conv1d`.

    Returns
    -------
    ndarray, shape (N, C*m, L_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> x = np.array([[1.0, 2.0, 3.0], [1.0, 0.0, 1.0]])
    >>> fc.depthwise_conv1d(x, np.array([[[1.0, 1.0]], [[1.0, -1.0]]]))
    array([[ 3.,  5.],
           [ 1., -1.]])
    """
    return _depthwise(
        1, x, weight, bias, residual, out, flip_kernel, layout, stride=stride, padding=padding,
        dilation=dilation, padding_mode=padding_mode, activation=activation, precision=precision,
        algorithm=algorithm,
    )  # fmt: skip


def depthwise_conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    dilation: IntOrTuple = 1,
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
    """Convolve every channel of images with filters of its own.

    Output channel ``c*m + j`` is input channel c convolved with ``weight[c*m + j, 0]``: `conv2d`
    with ``groups=C``.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        With ``layout="NHWC"``: (N, H, W, C) or (H, W, C).
    weight : array_like, shape (C*m, 1, kH, kW)
        Of the dtype of `x`; m is the channel multiplier.
    bias : array_like, shape (C*m,), optional
    stride, padding, dilation, padding_mode, flip_kernel, activation, residual, layout, \
precision, algorithm, out
        As `conv2d`.

    Returns
    -------
    ndarray, shape (N, C*m, H_out, W_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> fc.depthwise_conv2d(np.ones((3, 8, 8)), np.ones((6, 1, 3, 3)), padding="same").shape
    (6, 8, 8)
    """
    return _depthwise(
        2, x, weight, bias, residual, out, flip_kernel, layout, stride=stride, padding=padding,
        dilation=dilation, padding_mode=padding_mode, activation=activation, precision=precision,
        algorithm=algorithm,
    )  # fmt: skip


def depthwise_conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    dilation: IntOrTuple = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    flip_kernel: bool = False,
    activation: Activation | None = None,
    residual: Any = None,
    layout: LayoutName = "NCDHW",
    precision: Precision = "highest",
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Convolve every channel of volumes with filters of its own.

    Parameters
    ----------
    x : array_like, shape (N, C, D, H, W) or (C, D, H, W)
        With ``layout="NDHWC"``: (N, D, H, W, C) or (D, H, W, C).
    weight : array_like, shape (C*m, 1, kD, kH, kW)
        Of the dtype of `x`.
    bias, stride, padding, dilation, padding_mode, flip_kernel, activation, residual, layout, \
precision, algorithm, out
        As `conv3d`.

    Returns
    -------
    ndarray, shape (N, C*m, D_out, H_out, W_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> fc.depthwise_conv3d(np.ones((2, 4, 4, 4)), np.ones((2, 1, 3, 3, 3)))[0, 0]
    array([[27., 27.],
           [27., 27.]])
    """
    return _depthwise(
        3, x, weight, bias, residual, out, flip_kernel, layout, stride=stride, padding=padding,
        dilation=dilation, padding_mode=padding_mode, activation=activation, precision=precision,
        algorithm=algorithm,
    )  # fmt: skip


def separable_conv2d(
    x: Any,
    depthwise_weight: Any,
    pointwise_weight: Any,
    bias: Any = None,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    dilation: IntOrTuple = 1,
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
    """Depthwise convolution, then a pointwise one, fused: the middle never leaves the cache.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        With ``layout="NHWC"``: (N, H, W, C) or (H, W, C).
    depthwise_weight : array_like, shape (C*m, 1, kH, kW)
        Of the dtype of `x`.
    pointwise_weight : array_like, shape (C_out, C*m, 1, 1) or (C_out, C*m)
        Of the dtype of `x`.
    bias : array_like, shape (C_out,), optional
        Added after the pointwise convolution; nothing stands between the two.
    stride, padding, dilation, padding_mode, flip_kernel
        As `conv2d`, for the depthwise convolution.
    activation, residual, layout, precision, algorithm, out
        As `conv2d`, for the result.

    Returns
    -------
    ndarray, shape (N, C_out, H_out, W_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Notes
    -----
    A. Howard et al., "MobileNets" (2017); F. Chollet, "Xception" (2017). With float16 and bfloat16
    the middle stays float32, so it is rounded once less than two calls would.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> x = np.ones((3, 7, 7), np.float32)
    >>> depthwise = np.ones((3, 1, 3, 3), np.float32)
    >>> pointwise = np.ones((128, 3), np.float32)
    >>> fc.separable_conv2d(x, depthwise, pointwise).shape
    (128, 5, 5)
    """
    array, code = read_array(x, "x")
    taps = read_as(depthwise_weight, "depthwise_weight", code, "x")
    point = read_as(pointwise_weight, "pointwise_weight", code, "x")
    channels = channels_of(array.shape, 2, channels_last(layout, 2))
    _check_depthwise(taps.shape, 2, channels, "depthwise_weight")
    middle = taps.shape[0]
    if point.ndim not in (2, 4) or point.shape[1:] not in ((middle,), (middle, 1, 1)):
        raise ValueError(
            f"pointwise_weight must have shape (C_out, {middle}, 1, 1), got {point.shape}"
        )
    if point.shape[0] == 0:
        raise ValueError(f"pointwise_weight must have no axis of size 0, got shape {point.shape}")
    problem = make_problem(
        code, taps.shape, 2, stride=stride, padding=padding, dilation=dilation, groups=channels,
        padding_mode=padding_mode, activation=activation, precision=precision,
        algorithm=algorithm, layout=layout, has_bias=bias is not None, operation="separable_conv",
        weight_name="depthwise_weight",
    )._replace(groups=1, out_ch=point.shape[0], depth_multiplier=middle // channels)  # fmt: skip
    return convolve(
        problem, array, taps, bias, residual=residual, out=out, flip=flip_kernel,
        pointwise=point.reshape(*point.shape[:2], 1, 1),
    )  # fmt: skip
