"""Two-dimensional convolutions as chains of one-dimensional passes: spatially separable, flattened.

A k x k filter of rank one costs k + k products per output instead of k * k. Every pass is an
ordinary or depthwise convolution of the core; the array between two passes has the dtype of x.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._convolve import check_out, convolve, make_problem, read_array, read_as
from fastconv._options import Activation, LayoutName, PaddingMode, Precision, channels_last
from fastconv._padding import IntOrTuple, Padding, normalize_padding, normalize_tuple
from fastconv._problem import channels_of

__all__ = ["flattened_conv2d", "spatially_separable_conv2d"]


def _taps(value: Any, name: str, code: str, channels: int, shared: bool) -> np.ndarray:
    """A one-dimensional filter per channel, (C, k); one for all of them may be given as (k,)."""
    taps = read_as(value, name, code, "x")
    if shared and taps.ndim == 1 and taps.size:
        return np.broadcast_to(taps, (channels, taps.size))
    if taps.ndim != 2 or taps.shape[0] != channels or taps.size == 0:
        forms = f"({channels}, k)" if not shared else f"(k,) or ({channels}, k)"
        raise ValueError(f"{name} must have shape {forms}, got {taps.shape}")
    return taps


def _column_and_row(
    x: np.ndarray,
    code: str,
    column: np.ndarray,
    row: np.ndarray,
    bias: Any,
    *,
    stride: Any,
    padding: Any,
    dilation: Any,
    padding_mode: Any,
    flip: bool,
    activation: Any,
    residual: Any,
    layout: Any,
    precision: Any,
    algorithm: Any,
    out: Any,
) -> np.ndarray:
    """The two depthwise passes, column first; each pads, strides and dilates its own axis."""
    steps = normalize_tuple(stride, 2, "stride", 1)
    gaps = normalize_tuple(dilation, 2, "dilation", 1)
    kernel = (column.shape[1], row.shape[1])
    last = channels_last(layout, 2)
    sizes = x.shape[-3:-1] if last else x.shape[-2:]
    pads = normalize_padding(padding, sizes, kernel, steps, gaps)
    shared: dict[str, Any] = {
        "groups": column.shape[0], "padding_mode": padding_mode, "layout": layout,
        "precision": precision, "algorithm": algorithm,
    }  # fmt: skip
    taps = column[:, None, :, None]
    first = make_problem(
        code, taps.shape, 2, stride=(steps[0], 1), padding=(pads[0], (0, 0)),
        dilation=(gaps[0], 1), **shared,
    )  # fmt: skip
    across = row[:, None, None, :]
    second = make_problem(
        code, across.shape, 2, stride=(1, steps[1]), padding=((0, 0), pads[1]),
        dilation=(1, gaps[1]), activation=activation, has_bias=bias is not None, **shared,
    )  # fmt: skip
    middle = convolve(first, x, taps, flip=flip)
    return convolve(second, middle, across, bias, residual=residual, out=out, flip=flip)


def _check_result(out: Any, x: np.ndarray, residual: Any, **weights: np.ndarray) -> None:
    """What the last pass cannot see: out must overlap nothing the first ones read."""
    if out is not None:
        check_out(out, x.dtype, None, x, residual, **weights)


def spatially_separable_conv2d(
    x: Any,
    column: Any,
    row: Any,
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
    """Convolve every channel with a kernel that is a column times a row, as two passes.

    Equal to `depthwise_conv2d` with the weight ``column[:, None] * row``, for kH + kW products per
    output instead of kH * kW.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W)
        With ``layout="NHWC"``: (N, H, W, C) or (H, W, C).
    column : array_like, shape (kH,) or (C, kH)
        One for all channels, or one per channel. Of the dtype of `x`.
    row : array_like, shape (kW,) or (C, kW)
    bias : array_like, shape (C,), optional
    stride, padding, dilation, padding_mode, flip_kernel, activation, residual, layout, \
precision, algorithm, out
        As `conv2d`; the first of two values belongs to the column.

    Returns
    -------
    ndarray, shape (N, C, H_out, W_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    See Also
    --------
    separate : finds the factors of a kernel, or says that it has none.

    Notes
    -----
    The array between the passes has the dtype of `x`, so float16 and bfloat16 are rounded once more
    than by the full kernel.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> x = np.tile(np.arange(5.0), (1, 5, 1))
    >>> fc.spatially_separable_conv2d(x, np.array([1.0, 2.0, 1.0]), np.array([-1.0, 0.0, 1.0]))[0]
    array([[8., 8., 8.],
           [8., 8., 8.],
           [8., 8., 8.]])
    """
    array, code = read_array(x, "x")
    channels = channels_of(array.shape, 2, channels_last(layout, 2))
    columns = _taps(column, "column", code, channels, True)
    rows = _taps(row, "row", code, channels, True)
    _check_result(out, array, residual, column=columns)
    return _column_and_row(
        array, code, columns, rows, bias, stride=stride, padding=padding, dilation=dilation,
        padding_mode=padding_mode, flip=flip_kernel, activation=activation, residual=residual,
        layout=layout, precision=precision, algorithm=algorithm, out=out,
    )  # fmt: skip


def flattened_conv2d(
    x: Any,
    lateral: Any,
    vertical: Any,
    horizontal: Any,
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
    """Convolve with filters that are products of three vectors, as three one-dimensional passes.

    Equal to `conv2d` with the weight ``lateral[o, i] * vertical[o, v] * horizontal[o, u]``: across
    channels, then down the columns, then along the rows.

    Parameters
    ----------
    x : array_like, shape (N, C_in, H, W) or (C_in, H, W)
        With ``layout="NHWC"``: (N, H, W, C_in) or (H, W, C_in).
    lateral : array_like, shape (C_out, C_in)
        Of the dtype of `x`.
    vertical : array_like, shape (C_out, kH)
    horizontal : array_like, shape (C_out, kW)
    bias : array_like, shape (C_out,), optional
        Added in the last pass; nothing stands between the passes.
    stride, padding, dilation, padding_mode, flip_kernel, activation, residual, layout, \
precision, algorithm, out
        As `conv2d`; the first of two values belongs to the vertical pass.

    Returns
    -------
    ndarray, shape (N, C_out, H_out, W_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Notes
    -----
    J. Jin, A. Dundar and E. Culurciello, "Flattened convolutional neural networks for feedforward
    acceleration" (2014). The arrays between the passes have the dtype of `x`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> x = np.ones((3, 6, 6))
    >>> fc.flattened_conv2d(x, np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)))[0, 0]
    array([27., 27., 27., 27.])
    """
    array, code = read_array(x, "x")
    last = channels_last(layout, 2)
    channels = channels_of(array.shape, 2, last)
    mixing = read_as(lateral, "lateral", code, "x")
    if mixing.ndim != 2 or mixing.shape[1] != channels or 0 in mixing.shape:
        raise ValueError(f"lateral must have shape (C_out, {channels}), got {mixing.shape}")
    columns = _taps(vertical, "vertical", code, mixing.shape[0], False)
    rows = _taps(horizontal, "horizontal", code, mixing.shape[0], False)
    _check_result(out, array, residual, lateral=mixing, vertical=columns)
    point = mixing[:, :, None, None]
    problem = make_problem(
        code, point.shape, 2, layout=layout, precision=precision, algorithm=algorithm
    )
    return _column_and_row(
        convolve(problem, array, point), code, columns, rows, bias, stride=stride, padding=padding,
        dilation=dilation, padding_mode=padding_mode, flip=flip_kernel, activation=activation,
        residual=residual, layout=layout, precision=precision, algorithm=algorithm, out=out,
    )  # fmt: skip
