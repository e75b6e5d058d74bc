"""Deformable convolution, versions 1 and 2: every tap sampled where an offset moves it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._convolve import convolve, make_problem, read_as
from fastconv._convolve import read_array as _read_array
from fastconv._options import Activation, LayoutName, Precision, channels_last
from fastconv._padding import IntOrTuple, Padding
from fastconv._problem import Problem, channels_of, out_shape

__all__ = ["deform_conv2d"]


def _weight_groups(shape: tuple[int, ...], channels: int) -> int:
    if len(shape) != 4:
        raise ValueError(
            f"weight must have 4 dimensions, (C_out, C_in/groups, kH, kW), got shape {shape}"
        )
    if shape[1] == 0 or channels == 0 or channels % shape[1]:
        raise ValueError(
            f"weight must have a divisor of the {channels} channels of x as its second axis, "
            f"got shape {shape}"
        )
    return channels // shape[1]


def _offset_groups(problem: Problem, count: int, per_group: int, name: str) -> int:
    """Offset groups from an array's channels."""
    if count == 0 or count % per_group or problem.in_ch % (count // per_group):
        raise ValueError(
            f"{name} must have {per_group} channels for each of its groups, whose number divides "
            f"the {problem.in_ch} channels of x, got {count}"
        )
    return count // per_group


def _check_shape(array: np.ndarray, problem: Problem, like: tuple[int, ...], name: str) -> None:
    """The array must have the result's batch and size, whatever its channels."""
    at = -1 if problem.channels_last else -3
    wanted = list(like)
    if array.ndim == len(like):
        wanted[at] = array.shape[at]
    if array.shape != tuple(wanted):
        raise ValueError(
            f"{name} must have the batch and the size of the result, whose shape is {like}, "
            f"got shape {array.shape}"
        )


def deform_conv2d(
    x: Any,
    offset: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    dilation: IntOrTuple = 1,
    mask: Any = None,
    *,
    activation: Activation | None = None,
    residual: Any = None,
    layout: LayoutName = "NCHW",
    precision: Precision = "highest",
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Deformable convolution, in torchvision's order of arguments.

    Tap (i, j) of output pixel (y, x) reads the input at ``(y*stride - padding + i*dilation + dy,
    x*stride - padding + j*dilation + dx)``, bilinearly between the four cells around and zero
    outside, and is multiplied by its mask.

    Parameters
    ----------
    x : array_like, shape (N, C_in, H, W) or (C_in, H, W)
        float32, float64, float16 or bfloat16. With ``layout="NHWC"``: (N, H, W, C_in).
    offset : array_like, shape (N, 2*G*kH*kW, H_out, W_out)
        Pairs (dy, dx) for each of G offset groups and each tap. G divides C_in; channels of x are
        split among the groups in order. Of the dtype and layout of `x`.
    weight : array_like, shape (C_out, C_in/groups, kH, kW)
        Of the dtype of `x`. `groups` follows from its second axis.
    bias : array_like, shape (C_out,), optional
    stride, padding, dilation
        As `conv2d`.
    mask : array_like, shape (N, G*kH*kW, H_out, W_out), optional
        Version 2: a factor for each tap. Of the dtype and layout of `x`.
    activation, residual, layout, precision, algorithm, out
        As `conv2d`. `out` may not overlap `offset` or `mask` either.

    Returns
    -------
    ndarray, shape (N, C_out, H_out, W_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Notes
    -----
    J. Dai et al., "Deformable Convolutional Networks" (2017); X. Zhu et al., "Deformable ConvNets
    v2" (2019). A cell whose bilinear weight is zero is not read.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> x = np.arange(9.0).reshape(1, 3, 3)
    >>> offset = np.full((2, 3, 3), 0.5)
    >>> fc.deform_conv2d(x, offset, np.ones((1, 1, 1, 1)))[0]
    array([[2.  , 3.  , 1.75],
           [5.  , 6.  , 3.25],
           [3.25, 3.75, 2.  ]])
    """
    array, code = _read_array(x, "x")
    moves = read_as(offset, "offset", code, "x")
    taps = read_as(weight, "weight", code, "x")
    factors = None if mask is None else read_as(mask, "mask", code, "x")
    last = channels_last(layout, 2)
    groups = _weight_groups(taps.shape, channels_of(array.shape, 2, last))
    problem = make_problem(
        code, taps.shape, 2, stride=stride, padding=padding, dilation=dilation, groups=groups,
        activation=activation, precision=precision, algorithm=algorithm, layout=layout,
        has_bias=bias is not None, operation="deform_conv",
    )  # fmt: skip
    result = out_shape(problem, array.shape)
    volume = problem.kernel[0] * problem.kernel[1]
    channel = -1 if last else -3
    _check_shape(moves, problem, result, "offset")
    split = _offset_groups(problem, moves.shape[channel], 2 * volume, "offset")
    if factors is not None:
        _check_shape(factors, problem, result, "mask")
        if factors.shape[channel] != split * volume:
            raise ValueError(
                f"mask must have {split * volume} channels, half of offset's, "
                f"got {factors.shape[channel]}"
            )
    return convolve(
        problem._replace(offset_groups=split), array, taps, bias, residual=residual, out=out,
        offset=moves, mask=factors,
    )  # fmt: skip
