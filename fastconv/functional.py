"""Convolutions as functions, in the argument order of `torch.nn.functional`.

Every function packs its weights for the call; `Conv` packs them once. All of them take any array
`_array.as_array` reads (torch CPU tensors and other DLPack arrays without a copy, any strides) and
return an ndarray of the dtype of x: float32 and float64 are computed in their own type, float16
and bfloat16 are stored narrow and summed in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._convolve import convolve, find_problem, read_array, read_as
from fastconv._options import Activation, LayoutName, PaddingMode, Precision
from fastconv._padding import IntOrTuple, Padding

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]


def _conv(
    rank: int,
    x: Any,
    weight: Any,
    bias: Any,
    residual: Any,
    out: Any,
    flip: bool,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    transposed: bool,
    output_padding: Any,
    padding_mode: Any,
    activation: Any,
    precision: Any,
    algorithm: Any,
    layout: Any,
) -> np.ndarray:
    array, code = read_array(x, "x")
    taps = read_as(weight, "weight", code, "x")
    problem = find_problem(
        code, taps.shape, rank, stride, padding, dilation, groups, transposed, output_padding,
        padding_mode, activation, precision, algorithm, layout, bias is not None,
    )  # fmt: skip
    return convolve(problem, array, taps, bias, residual=residual, out=out, flip=flip)


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    dilation: IntOrTuple = 1,
    groups: int = 1,
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
    """Convolve sequences with a bank of filters.

    Parameters
    ----------
    x : array_like, shape (N, C_in, L) or (C_in, L)
        With ``layout="NLC"``: (N, L, C_in) or (L, C_in).
    weight : array_like, shape (C_out, C_in/groups, kL)
        Of the dtype of `x`.
    bias, stride, padding, dilation, groups, padding_mode, flip_kernel, activation, residual, \
precision, algorithm, out
        As `conv2d`, with one spatial axis.
    layout : {"NCL", "NLC"}

    Returns
    -------
    ndarray, shape (N, C_out, L_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> x = np.array([[1.0, 2.0, 4.0, 7.0]])
    >>> fc.conv1d(x, np.array([[[-1.0, 1.0]]]))
    array([[1., 2., 3.]])
    """
    return _conv(
        1, x, weight, bias, residual, out, flip_kernel, stride, padding, dilation, groups, False, 0,
        padding_mode, activation, precision, algorithm, layout,
    )  # fmt: skip


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
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
    """Convolve images with a bank of filters.

    ``out[n, o, y, x] = activation(bias[o] + residual[n, o, y, x] + sum over i, v, u of
    weight[o, i, v, u] * x[n, i, y*stride + v*dilation - padding, ...])``: the cross-correlation
    that deep learning calls convolution, or the convolution of signal processing with
    `flip_kernel`.

    Parameters
    ----------
    x : array_like, shape (N, C_in, H, W) or (C_in, H, W)
        float32, float64, float16 or bfloat16 (`ml_dtypes`), any strides. With ``layout="NHWC"``:
        (N, H, W, C_in) or (H, W, C_in).
    weight : array_like, shape (C_out, C_in/groups, kH, kW)
        Of the dtype of `x`, whatever the layout.
    bias : array_like, shape (C_out,), optional
        Of the dtype of `x`; float32 as well if that is narrower.
    stride, dilation : int or tuple of 2 ints
    padding : int, tuple, pairs or str
        An int for all sides; one int per axis; ``((top, bottom), (left, right))``; "valid" (none),
        "same" (``ceil(size / stride)`` outputs, the odd cell after the data), "same_lower" (the
        odd cell before) or "causal" (all of it before).
    groups : int
        Splits the channels: group g of the outputs sees group g of the inputs.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What the padding holds, in torch's words.
    flip_kernel : bool
        Flip `weight` along its spatial axes first, as `scipy.signal.convolve` does.
    activation : str or tuple, optional
        "relu", "relu6", "leaky_relu" (slope 0.01), "sigmoid", "tanh", "silu", "hardswish",
        ``("clip", low, high)`` or ``("leaky_relu", slope)``; applied before the result is stored.
    residual : array_like, shape of the result, optional
        Added before the activation. Of the dtype of `x`.
    layout : {"NCHW", "NHWC"}
        Of `x`, `residual` and the result.
    precision : {"highest", "high", "medium"}
        Which algorithms float32 may use: "highest" stays within 4 times the error of a plain
        float32 sum, "high" within 1e-4 of the largest output, "medium" may round operands to
        bfloat16.
    algorithm : str
        "auto" takes the one with the least estimated time; a name of `algorithms` forces it, a
        name of `kernels` that one kernel.
    out : ndarray, optional
        Takes the result: its shape and dtype, any strides, sharing no memory with `x` or `weight`.
        It may be `residual` itself, which then is added to in place.

    Returns
    -------
    ndarray, shape (N, C_out, H_out, W_out), or as `layout` and the batch of `x` say
        `out` if that was given. ``H_out = (H + top + bottom - dilation*(kH - 1) - 1)//stride + 1``.

    Raises
    ------
    TypeError
        For dtypes that are unsupported or differ, and arguments of the wrong type.
    ValueError
        For shapes that do not fit, values out of range, unknown words, an `out` that cannot take
        the result, or an algorithm that cannot run this convolution.

    See Also
    --------
    Conv : packs the weights once.
    explain : tells which algorithm would run, and why.

    Notes
    -----
    A NaN or infinity in `x` spoils exactly the outputs whose window holds it, whichever algorithm
    runs. The bits of the result depend on shapes, memory order, `precision` and the instruction
    set, not on the number of threads or the batch. Kernels of many taps may run by FFT, whose
    rounding is relative to the largest values around: small outputs beside large ones keep fewer
    digits than in a sum of products, ``algorithm="direct"``. The size formulas are those of V.
    Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning" (2016).

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> x = np.array([[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3],
    ...               [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]], np.float32)
    >>> w = np.array([[0, 1, 2], [2, 2, 0], [0, 1, 2]], np.float32)
    >>> fc.conv2d(x[None], w[None, None])[0]
    array([[12., 12., 17.],
           [10., 17., 19.],
           [ 9.,  6., 14.]], dtype=float32)
    """
    return _conv(
        2, x, weight, bias, residual, out, flip_kernel, stride, padding, dilation, groups, False, 0,
        padding_mode, activation, precision, algorithm, layout,
    )  # fmt: skip


def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    dilation: IntOrTuple = 1,
    groups: int = 1,
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
    """Convolve volumes or video with a bank of filters.

    Parameters
    ----------
    x : array_like, shape (N, C_in, D, H, W) or (C_in, D, H, W)
        With ``layout="NDHWC"``: (N, D, H, W, C_in) or (D, H, W, C_in).
    weight : array_like, shape (C_out, C_in/groups, kD, kH, kW)
        Of the dtype of `x`.
    bias, stride, padding, dilation, groups, padding_mode, flip_kernel, activation, residual, \
precision, algorithm, out
        As `conv2d`, with three spatial axes.
    layout : {"NCDHW", "NDHWC"}

    Returns
    -------
    ndarray, shape (N, C_out, D_out, H_out, W_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> fc.conv3d(np.ones((1, 3, 3, 3)), np.ones((1, 1, 3, 3, 3)), padding=1)[0, 1]
    array([[12., 18., 12.],
           [18., 27., 18.],
           [12., 18., 12.]])
    """
    return _conv(
        3, x, weight, bias, residual, out, flip_kernel, stride, padding, dilation, groups, False, 0,
        padding_mode, activation, precision, algorithm, layout,
    )  # fmt: skip


def conv_transpose1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    output_padding: IntOrTuple = 0,
    groups: int = 1,
    dilation: IntOrTuple = 1,
    *,
    flip_kernel: bool = False,
    activation: Activation | None = None,
    residual: Any = None,
    layout: LayoutName = "NCL",
    precision: Precision = "highest",
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Transposed convolution of sequences: the adjoint of `conv1d`.

    Parameters
    ----------
    x : array_like, shape (N, C_in, L) or (C_in, L)
        With ``layout="NLC"``: (N, L, C_in) or (L, C_in).
    weight : array_like, shape (C_in, C_out/groups, kL)
        Of the dtype of `x`.
    bias, stride, padding, output_padding, groups, dilation, flip_kernel, activation, residual, \
precision, algorithm, out
        As `conv_transpose2d`, with one spatial axis.
    layout : {"NCL", "NLC"}

    Returns
    -------
    ndarray, shape (N, C_out, L_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> fc.conv_transpose1d(np.array([[1.0, 2.0]]), np.array([[[1.0, 1.0, 1.0]]]), stride=2)
    array([[1., 1., 3., 2., 2.]])
    """
    return _conv(
        1, x, weight, bias, residual, out, flip_kernel, stride, padding, dilation, groups, True,
        output_padding, "zeros", activation, precision, algorithm, layout,
    )  # fmt: skip


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    output_padding: IntOrTuple = 0,
    groups: int = 1,
    dilation: IntOrTuple = 1,
    *,
    flip_kernel: bool = False,
    activation: Activation | None = None,
    residual: Any = None,
    layout: LayoutName = "NCHW",
    precision: Precision = "highest",
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Transposed convolution of images: the adjoint of `conv2d`.

    Also called deconvolution or fractionally strided convolution; it restores the size, not the
    values. Computed as one small convolution per stride phase, so no zeros are inserted and no
    column buffer is written.

    Parameters
    ----------
    x : array_like, shape (N, C_in, H, W) or (C_in, H, W)
        With ``layout="NHWC"``: (N, H, W, C_in) or (H, W, C_in).
    weight : array_like, shape (C_in, C_out/groups, kH, kW)
        Of the dtype of `x`.
    bias : array_like, shape (C_out,), optional
    stride, dilation : int or tuple of 2 ints
        Of the convolution this one is the adjoint of.
    padding : int, tuple, pairs or str
        Cropped from the result. "same" and "same_lower" give ``size * stride`` outputs, wherever
        the effective kernel is at least the stride.
    output_padding : int or tuple of 2 ints
        Cells added after the result, fewer than `stride` or `dilation`.
    groups, flip_kernel, activation, residual, layout, precision, algorithm, out
        As `conv2d`.

    Returns
    -------
    ndarray, shape (N, C_out, H_out, W_out), or as `layout` and the batch of `x` say
        ``H_out = (H - 1)*stride - top - bottom + dilation*(kH - 1) + 1 + output_padding``.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`; also for an `output_padding` that is too large.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> fc.conv_transpose2d(np.ones((1, 2, 2)), np.ones((1, 1, 3, 3)), stride=2)[0]
    array([[1., 1., 2., 1., 1.],
           [1., 1., 2., 1., 1.],
           [2., 2., 4., 2., 2.],
           [1., 1., 2., 1., 1.],
           [1., 1., 2., 1., 1.]])
    """
    return _conv(
        2, x, weight, bias, residual, out, flip_kernel, stride, padding, dilation, groups, True,
        output_padding, "zeros", activation, precision, algorithm, layout,
    )  # fmt: skip


def conv_transpose3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    output_padding: IntOrTuple = 0,
    groups: int = 1,
    dilation: IntOrTuple = 1,
    *,
    flip_kernel: bool = False,
    activation: Activation | None = None,
    residual: Any = None,
    layout: LayoutName = "NCDHW",
    precision: Precision = "highest",
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Transposed convolution of volumes: the adjoint of `conv3d`.

    Parameters
    ----------
    x : array_like, shape (N, C_in, D, H, W) or (C_in, D, H, W)
        With ``layout="NDHWC"``: (N, D, H, W, C_in) or (D, H, W, C_in).
    weight : array_like, shape (C_in, C_out/groups, kD, kH, kW)
        Of the dtype of `x`.
    bias, stride, padding, output_padding, groups, dilation, flip_kernel, activation, residual, \
precision, algorithm, out
        As `conv_transpose2d`, with three spatial axes.
    layout : {"NCDHW", "NDHWC"}

    Returns
    -------
    ndarray, shape (N, C_out, D_out, H_out, W_out), or as `layout` and the batch of `x` say

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> fc.conv_transpose3d(np.ones((1, 2, 2, 2)), np.ones((1, 4, 2, 2, 2)), stride=2).shape
    (4, 4, 4, 4)
    """
    return _conv(
        3, x, weight, bias, residual, out, flip_kernel, stride, padding, dilation, groups, True,
        output_padding, "zeros", activation, precision, algorithm, layout,
    )  # fmt: skip
