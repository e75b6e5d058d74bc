"""Moving samples without arithmetic: shuffles, depth/space/batch exchanges, im2col and col2im.

Every function takes any array `as_array` reads, of any numeric dtype, and returns a new ndarray
(never a view). Each is one reshape, one transpose and one copy, so its cost is that of reading and
writing the data once; `fold`, which adds overlapping patches, is the exception.

Functions that exchange depth and space take their spatial rank from `layout`, so that unbatched
input is recognised; any number of batch axes may precede.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Literal, SupportsIndex

import numpy as np

from fastconv._array import as_array
from fastconv._layout import LayoutName, find_layout
from fastconv._padding import (
    IntOrTuple,
    Padding,
    Pairs,
    normalize_padding,
    normalize_pairs,
    normalize_tuple,
    output_size,
)

__all__ = [
    "batch_to_space",
    "channel_shuffle",
    "depth_to_space",
    "fold",
    "pixel_shuffle",
    "pixel_unshuffle",
    "space_to_batch",
    "space_to_depth",
    "unfold",
]

Mode = Literal["DCR", "CRD"]


def _batched(x: Any, layout: Any) -> tuple[np.ndarray, bool]:
    """The array, and whether its channels come first; "NCHW" and "NHWC" stand for any rank."""
    array = as_array(x, "x")
    found = find_layout(layout)
    if array.ndim < 3 or (found.rank != 2 and array.ndim != found.rank + 2):
        raise ValueError(
            f"x must have a batch axis, channels and {found.rank} spatial axes for layout "
            f"{layout!r}, got shape {array.shape}"
        )
    return array, found.channels_first


def channel_shuffle(x: Any, groups: SupportsIndex, *, layout: LayoutName = "NCHW") -> np.ndarray:
    """Interleave the channels of `groups` groups, so that information crosses groups.

    Channel ``j`` of group ``i`` becomes channel ``j*groups + i`` (X. Zhang et al., "ShuffleNet",
    2017).

    Parameters
    ----------
    x : array_like, shape (N, C, *spatial) or (N, *spatial, C)
        Any spatial rank from one, any dtype.
    groups : int
        Divides C.
    layout : str
        "NCHW" and "NHWC" are taken for any rank: channels second or last.

    Returns
    -------
    ndarray
        Same shape and dtype.

    Raises
    ------
    TypeError, ValueError
        If `groups` is not a positive int dividing C, or `x` has no batch, channel and space.

    Examples
    --------
    >>> channel_shuffle(np.arange(6).reshape(1, 6, 1), 2).ravel()
    array([0, 3, 1, 4, 2, 5])
    """
    array, first = _batched(x, layout)
    axis = 1 if first else array.ndim - 1
    (count,) = normalize_tuple(groups, 1, "groups", 1)
    channels = array.shape[axis]
    if channels % count:
        raise ValueError(f"groups must divide the {channels} channels of x, got {groups!r}")
    shape = array.shape
    split = array.reshape(*shape[:axis], count, channels // count, *shape[axis + 1 :])
    return np.array(split.swapaxes(axis, axis + 1), order="C").reshape(shape)


class _Blocks:
    """An array with channels and space to be exchanged, and the axes of both forms."""

    def __init__(self, x: Any, factor: Any, layout: Any, name: str) -> None:
        self.array = as_array(x, "x")
        self.rank, self.first = find_layout(layout)
        self.factors = normalize_tuple(factor, self.rank, name, 1)
        if self.array.ndim < self.rank + 1:
            raise ValueError(
                f"x must have at least {self.rank + 1} axes for layout {layout!r}, "
                f"got shape {self.array.shape}"
            )
        core = self.array.shape[self.array.ndim - self.rank - 1 :]
        self.batch = self.array.shape[: self.array.ndim - self.rank - 1]
        self.channels = core[0] if self.first else core[-1]
        self.space = core[1:] if self.first else core[:-1]

    def joined(self, channels: int, space: Sequence[int]) -> tuple[int, ...]:
        return (*self.batch, channels, *space) if self.first else (*self.batch, *space, channels)

    def order(self, mode: Any) -> list[int]:
        """Axes of the depth form, as reshaped, in the order of the interleaved space form."""
        if mode not in ("DCR", "CRD"):
            raise ValueError(f"mode must be 'DCR' or 'CRD', got {mode!r}")
        rank, at = self.rank, len(self.batch)
        # The depth form's core is (blocks, C) or (C, blocks), before or after the space.
        depth_at = at if self.first else at + rank
        space_at = at + rank + 1 if self.first else at
        channel = depth_at + (rank if mode == "DCR" else 0)
        block_at = depth_at + (0 if mode == "DCR" else 1)
        interleaved = [axis for i in range(rank) for axis in (space_at + i, block_at + i)]
        core = [channel, *interleaved] if self.first else [*interleaved, channel]
        return [*range(at), *core]

    def depth_shape(self, channels: int, space: Sequence[int], mode: str) -> tuple[int, ...]:
        depth = (*self.factors, channels) if mode == "DCR" else (channels, *self.factors)
        core = (*depth, *space) if self.first else (*space, *depth)
        return (*self.batch, *core)


def _to_space(x: Any, factor: Any, mode: str, layout: Any, name: str) -> np.ndarray:
    blocks = _Blocks(x, factor, layout, name)
    order = blocks.order(mode)
    channels, excess = divmod(blocks.channels, prod(blocks.factors))
    if excess:
        raise ValueError(
            f"{name} must divide the channels of x into blocks of {prod(blocks.factors)}, "
            f"got {factor!r} and {blocks.channels} channels"
        )
    split = blocks.array.reshape(blocks.depth_shape(channels, blocks.space, mode))
    space = [size * f for size, f in zip(blocks.space, blocks.factors, strict=True)]
    return np.array(split.transpose(order), order="C").reshape(blocks.joined(channels, space))


def _to_depth(x: Any, factor: Any, mode: str, layout: Any, name: str) -> np.ndarray:
    blocks = _Blocks(x, factor, layout, name)
    order = blocks.order(mode)
    if any(size % f for size, f in zip(blocks.space, blocks.factors, strict=True)):
        raise ValueError(f"{name} must divide the spatial size {blocks.space} of x, got {factor!r}")
    space = [size // f for size, f in zip(blocks.space, blocks.factors, strict=True)]
    depth = blocks.depth_shape(blocks.channels, space, mode)
    interleaved = blocks.array.reshape([depth[axis] for axis in order])
    back = np.argsort(order)
    channels = blocks.channels * prod(blocks.factors)
    return np.array(interleaved.transpose(back), order="C").reshape(blocks.joined(channels, space))


def depth_to_space(
    x: Any, block_size: IntOrTuple, *, mode: Mode = "DCR", layout: LayoutName = "NCHW"
) -> np.ndarray:
    """Turn blocks of channels into blocks of space, as ONNX's and TensorFlow's operator does.

    Parameters
    ----------
    x : array_like, shape (..., C * prod(block_size), *spatial) or (..., *spatial, C * ...)
        Any number of batch axes, any dtype.
    block_size : int or tuple of int
        Per spatial axis.
    mode : {"DCR", "CRD"}
        Order in which the channels are read: block then channel ("DCR", ONNX's default and
        TensorFlow's only one), or channel then block ("CRD", torch's ``pixel_shuffle``).
    layout : str
        Its length gives the spatial rank: "NCL", "NCHW", "NCDHW", or with channels last "NLC",
        "NHWC", "NDHWC".

    Returns
    -------
    ndarray, shape (..., C, *(spatial * block_size))
        Same dtype.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or range, or the channels do not divide.

    Examples
    --------
    >>> depth_to_space(np.arange(4).reshape(1, 4, 1, 1), 2)[0, 0]
    array([[0, 1],
           [2, 3]])
    """
    return _to_space(x, block_size, mode, layout, "block_size")


def space_to_depth(
    x: Any, block_size: IntOrTuple, *, mode: Mode = "DCR", layout: LayoutName = "NCHW"
) -> np.ndarray:
    """Turn blocks of space into channels: the inverse of `depth_to_space` in the same mode.

    Parameters
    ----------
    x : array_like, shape (..., C, *spatial) or (..., *spatial, C)
    block_size : int or tuple of int
        Divides the spatial size.
    mode : {"DCR", "CRD"}
        "DCR" is ONNX's and TensorFlow's operator, "CRD" torch's ``pixel_unshuffle``.
    layout : str
        As in `depth_to_space`.

    Returns
    -------
    ndarray, shape (..., C * prod(block_size), *(spatial / block_size))

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or range, or the spatial size does not divide.

    Examples
    --------
    >>> space_to_depth(np.arange(4).reshape(1, 1, 2, 2), 2).ravel()
    array([0, 1, 2, 3])
    """
    return _to_depth(x, block_size, mode, layout, "block_size")


def pixel_shuffle(x: Any, upscale_factor: IntOrTuple, *, layout: LayoutName = "NCHW") -> np.ndarray:
    """Sub-pixel upscaling, ``torch.nn.functional.pixel_shuffle`` (W. Shi et al., 2016).

    `depth_to_space` in mode "CRD": output channel c is made of the input channels
    ``c*prod(upscale_factor)`` and following.

    Parameters
    ----------
    x : array_like, shape (..., C * prod(upscale_factor), *spatial)
    upscale_factor : int or tuple of int
    layout : str
        As in `depth_to_space`.

    Returns
    -------
    ndarray, shape (..., C, *(spatial * upscale_factor))

    Raises
    ------
    TypeError, ValueError
        As `depth_to_space`.

    Examples
    --------
    >>> pixel_shuffle(np.zeros((8, 3, 5)), 2).shape
    (2, 6, 10)
    """
    return _to_space(x, upscale_factor, "CRD", layout, "upscale_factor")


def pixel_unshuffle(
    x: Any, downscale_factor: IntOrTuple, *, layout: LayoutName = "NCHW"
) -> np.ndarray:
    """The inverse of `pixel_shuffle`, ``torch.nn.functional.pixel_unshuffle``.

    Parameters
    ----------
    x : array_like, shape (..., C, *spatial)
    downscale_factor : int or tuple of int
        Divides the spatial size.
    layout : str
        As in `depth_to_space`.

    Returns
    -------
    ndarray, shape (..., C * prod(downscale_factor), *(spatial / downscale_factor))

    Raises
    ------
    TypeError, ValueError
        As `space_to_depth`.

    Examples
    --------
    >>> pixel_unshuffle(np.zeros((2, 6, 10)), 2).shape
    (8, 3, 5)
    """
    return _to_depth(x, downscale_factor, "CRD", layout, "downscale_factor")


def space_to_batch(
    x: Any, block_shape: IntOrTuple, paddings: Any = 0, *, layout: LayoutName = "NCHW"
) -> np.ndarray:
    """Turn blocks of space into batch entries, as TensorFlow's ``space_to_batch`` does.

    A convolution of the result, followed by `batch_to_space`, is a convolution dilated by
    `block_shape`.

    Parameters
    ----------
    x : array_like, shape (N, C, *spatial) or (N, *spatial, C)
    block_shape : int or tuple of int
        Divides the padded spatial size.
    paddings : int, tuple, or (before, after) pairs
        Zeros put around the space first.
    layout : str
        "NCHW" and "NHWC" are taken for any rank: channels second or last.

    Returns
    -------
    ndarray, shape (prod(block_shape) * N, C, *(padded / block_shape))
        The place in the block varies slowest along the batch.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or range, or the padded size does not divide.

    Examples
    --------
    >>> space_to_batch(np.arange(4).reshape(1, 1, 2, 2), 2).shape
    (4, 1, 1, 1)
    """
    array, first = _batched(x, layout)
    rank, at = array.ndim - 2, 2 if first else 1
    block = normalize_tuple(block_shape, rank, "block_shape", 1)
    array = _zero_padded(array, normalize_pairs(paddings, rank, "paddings"), at)
    space = array.shape[at : at + rank]
    if any(size % b for size, b in zip(space, block, strict=True)):
        raise ValueError(
            f"block_shape must divide the padded spatial size {space}, got {block_shape!r} "
            f"with paddings {paddings!r}"
        )
    inner = [n for size, b in zip(space, block, strict=True) for n in (size // b, b)]
    split = array.reshape(*array.shape[:at], *inner, *array.shape[at + rank :])
    taken = [at + 2 * i + 1 for i in range(rank)]
    moved = np.array(np.moveaxis(split, taken, range(rank)), order="C")
    return moved.reshape(prod(block) * array.shape[0], *moved.shape[rank + 1 :])


def batch_to_space(
    x: Any, block_shape: IntOrTuple, crops: Any = 0, *, layout: LayoutName = "NCHW"
) -> np.ndarray:
    """The inverse of `space_to_batch`: TensorFlow's ``batch_to_space``.

    Parameters
    ----------
    x : array_like, shape (B, C, *spatial) or (B, *spatial, C)
        ``B = prod(block_shape) * N``.
    block_shape : int or tuple of int
    crops : int, tuple, or (before, after) pairs
        Cells cut off the space at last.
    layout : str
        "NCHW" and "NHWC" are taken for any rank: channels second or last.

    Returns
    -------
    ndarray, shape (N, C, *(spatial * block_shape - crops))

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or range, the batch does not divide, or more is cropped
        than there is.

    Examples
    --------
    >>> batch_to_space(np.arange(4).reshape(4, 1, 1, 1), 2)[0, 0]
    array([[0, 1],
           [2, 3]])
    """
    array, first = _batched(x, layout)
    rank, at = array.ndim - 2, 2 if first else 1
    block = normalize_tuple(block_shape, rank, "block_shape", 1)
    pairs = normalize_pairs(crops, rank, "crops")
    batch, excess = divmod(array.shape[0], prod(block))
    if excess:
        raise ValueError(
            f"block_shape must divide the batch of x into {prod(block)} parts, got {block_shape!r} "
            f"and a batch of {array.shape[0]}"
        )
    space = tuple(size * b for size, b in zip(array.shape[at : at + rank], block, strict=True))
    if any(before + after > size for size, (before, after) in zip(space, pairs, strict=True)):
        raise ValueError(f"crops must leave something of the spatial size {space}, got {crops!r}")
    split = array.reshape(*block, batch, *array.shape[1:])
    interleaved = np.moveaxis(split, range(rank), [at + 2 * i + 1 for i in range(rank)])
    lead, tail = array.shape[1:at], array.shape[at + rank :]
    whole = np.array(interleaved, order="C").reshape(batch, *lead, *space, *tail)
    kept = tuple(
        slice(before, size - after) for size, (before, after) in zip(space, pairs, strict=True)
    )
    return np.ascontiguousarray(whole[(slice(None),) * at + kept])


def _zero_padded(array: np.ndarray, pairs: Pairs, first_axis: int) -> np.ndarray:
    """The array with zeros around the axes from `first_axis` on; itself where there are none."""
    if not any(before or after for before, after in pairs):
        return array
    shape = list(array.shape)
    inside = [slice(None)] * array.ndim
    for axis, (before, after) in enumerate(pairs, first_axis):
        inside[axis] = slice(before, before + shape[axis])
        shape[axis] += before + after
    padded = np.zeros(shape, array.dtype)
    padded[tuple(inside)] = array
    return padded


class _Windows:
    """Geometry shared by `unfold` and `fold`: rank, sizes, and the slice each tap reads."""

    def __init__(
        self,
        space: tuple[int, ...],
        kernel: tuple[int, ...],
        dilation: Any,
        padding: Any,
        stride: Any,
    ) -> None:
        rank = len(kernel)
        self.kernel = kernel
        self.dilation = normalize_tuple(dilation, rank, "dilation", 1)
        self.stride = normalize_tuple(stride, rank, "stride", 1)
        self.pads = normalize_padding(padding, space, kernel, self.stride, self.dilation)
        self.count = output_size(space, kernel, self.stride, self.pads, self.dilation)
        self.padded = tuple(
            i + before + after for i, (before, after) in zip(space, self.pads, strict=True)
        )

    def tap(self, place: tuple[int, ...], leading: int) -> tuple[slice, ...]:
        """Where the tap at `place` of the kernel meets the padded input, window by window.

        An index for an array with `leading` axes before the spatial ones.
        """
        return (slice(None),) * leading + tuple(
            slice(m * d, m * d + s * (n - 1) + 1, s) if n else slice(0, 0)
            for m, d, s, n in zip(place, self.dilation, self.stride, self.count, strict=True)
        )


def _kernel_rank(kernel_size: Any, *others: Any) -> int:
    """Length of the first tuple given; two, as in torch, where all are ints."""
    for value in (kernel_size, *others):
        if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str):
            return len(value)
    return 2


def unfold(
    x: Any,
    kernel_size: IntOrTuple,
    dilation: IntOrTuple = 1,
    padding: Padding = 0,
    stride: IntOrTuple = 1,
) -> np.ndarray:
    """Patches as columns (im2col), ``torch.nn.functional.unfold`` for one to three dimensions.

    Parameters
    ----------
    x : array_like, shape (N, C, *spatial) or (C, *spatial)
        Any dtype.
    kernel_size : int or tuple of int
        An int means two dimensions, as in torch; a tuple has one entry per dimension.
    dilation, stride : int or tuple of int
    padding : int, tuple, per-side pairs, or word
        As in ``fastconv.conv2d``; padded with zeros.

    Returns
    -------
    ndarray, shape (N, C * prod(kernel_size), L) or (C * prod(kernel_size), L)
        L windows in C order; a column holds its window channel by channel.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, length or range, or the kernel does not fit.

    Examples
    --------
    >>> unfold(np.arange(9).reshape(1, 3, 3), 2)
    array([[0, 1, 3, 4],
           [1, 2, 4, 5],
           [3, 4, 6, 7],
           [4, 5, 7, 8]])
    """
    array = as_array(x, "x")
    rank = _kernel_rank(kernel_size)
    if array.ndim not in (rank + 1, rank + 2):
        raise ValueError(
            f"x must have {rank + 1} or {rank + 2} axes for kernel_size {kernel_size!r} "
            f"({rank} spatial), got shape {array.shape}"
        )
    at = array.ndim - rank
    kernel = normalize_tuple(kernel_size, rank, "kernel_size", 1)
    windows = _Windows(array.shape[at:], kernel, dilation, padding, stride)
    padded = _zero_padded(array, windows.pads, at)
    columns = np.empty((*array.shape[:at], *kernel, *windows.count), array.dtype)
    for place in np.ndindex(kernel):
        columns[(slice(None),) * at + place] = padded[windows.tap(place, at)]
    rows = array.shape[at - 1] * prod(kernel)
    return columns.reshape(*array.shape[: at - 1], rows, prod(windows.count))


def fold(
    x: Any,
    output_size: IntOrTuple,
    kernel_size: IntOrTuple,
    dilation: IntOrTuple = 1,
    padding: Padding = 0,
    stride: IntOrTuple = 1,
) -> np.ndarray:
    """Add patches up where they overlap (col2im), ``torch.nn.functional.fold``.

    The adjoint of `unfold`, for one to three dimensions. Floats narrower than 32 bits are added in
    float32 and rounded once.

    Parameters
    ----------
    x : array_like, shape (N, C * prod(kernel_size), L) or (C * prod(kernel_size), L)
    output_size : int or tuple of int
        Spatial size of the result; with `kernel_size` it gives the rank, two if both are ints.
    kernel_size, dilation, padding, stride
        As in `unfold`.

    Returns
    -------
    ndarray, shape (N, C, *output_size) or (C, *output_size)

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, length or range, or the rows or columns of `x` do not
        agree with the geometry.

    Examples
    --------
    >>> fold(np.ones((4, 4)), 3, 2)[0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    array = as_array(x, "x")
    rank = _kernel_rank(kernel_size, output_size)
    space = normalize_tuple(output_size, rank, "output_size")
    kernel = normalize_tuple(kernel_size, rank, "kernel_size", 1)
    windows = _Windows(space, kernel, dilation, padding, stride)
    if array.ndim not in (2, 3):
        raise ValueError(f"x must have 2 or 3 axes, got shape {array.shape}")
    rows, columns = array.shape[-2:]
    if rows % prod(kernel):
        raise ValueError(
            f"x must have a multiple of prod(kernel_size) = {prod(kernel)} rows, got shape "
            f"{array.shape}"
        )
    if columns != prod(windows.count):
        raise ValueError(
            f"x must have {prod(windows.count)} columns for output_size {space}, one for each of "
            f"{windows.count} windows, got shape {array.shape}"
        )
    lead = (*array.shape[:-2], rows // prod(kernel))
    patches = array.reshape(*lead, *kernel, *windows.count)
    narrow = array.dtype.itemsize < 4 and array.dtype.kind not in "biu"
    total = np.zeros((*lead, *windows.padded), np.float32 if narrow else array.dtype)
    for place in np.ndindex(kernel):
        total[windows.tap(place, len(lead))] += patches[(slice(None),) * len(lead) + place]
    inside = tuple(
        slice(before, before + i) for i, (before, _) in zip(space, windows.pads, strict=True)
    )
    return np.ascontiguousarray(total[(slice(None),) * len(lead) + inside]).astype(
        array.dtype, copy=False
    )
