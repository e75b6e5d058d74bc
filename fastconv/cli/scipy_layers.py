"""Network layers as someone would write them with SciPy: the baselines of the demo.

Arrays are laid out as in fastconv, without the batch: x (C, *spatial), weight (C_out, C_in/groups,
*kernel). SciPy has no strides, dilations or channels, so a stride is a slice of the full result, a
dilated or transposed convolution has zeros inserted, and channels are loops. Of scipy.signal's and
scipy.ndimage's loops each layer takes the one that was found faster for its shape; ndimage's is it
for small kernels, and it skips the zeros of a dilated kernel.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy import ndimage, signal

__all__ = ["by_fft", "convolution", "deformable", "pointwise", "transposed"]


def _stuffed(array: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """`array` with zeros between its elements along the last axes, `step` apart."""
    if all(step == 1 for step in steps):
        return array
    lead = array.ndim - len(steps)
    sizes = [(size - 1) * step + 1 for size, step in zip(array.shape[lead:], steps, strict=True)]
    stuffed = np.zeros((*array.shape[:lead], *sizes), array.dtype)
    stuffed[(..., *(slice(None, None, step) for step in steps))] = array
    return stuffed


def _padded(x: np.ndarray, padding: tuple[int, int], rank: int) -> np.ndarray:
    return np.pad(x, ((0, 0), *(padding,) * rank))


def by_fft(x: np.ndarray, weight: np.ndarray, *, stride: int, padding: int) -> np.ndarray:
    """One ``signal.correlate`` over all channels per output channel; it chooses the FFT itself."""
    rank = weight.ndim - 2
    padded = _padded(x, (padding, padding), rank)
    every = (slice(None, None, stride),) * rank
    return np.stack([signal.correlate(padded, w, mode="valid")[0][every] for w in weight])


def convolution(
    x: np.ndarray,
    weight: np.ndarray,
    *,
    padding: tuple[int, int],
    dilation: int = 1,
    groups: int = 1,
) -> np.ndarray:
    """One ``ndimage.correlate`` per pair of channels; `padding` is (before, after) of every axis.

    Computed in double and rounded to the type of `x` for each pair.
    """
    rank = weight.ndim - 2
    padded = _padded(x, padding, rank)
    weight = _stuffed(weight, (dilation,) * rank)
    inputs, outputs = len(x) // groups, len(weight) // groups
    # ndimage centres the kernel; these are the places where all of it is inside.
    inside = tuple(
        slice(k // 2, k // 2 + size - k + 1)
        for size, k in zip(padded.shape[1:], weight.shape[2:], strict=True)
    )
    planes = []
    for o, kernels in enumerate(weight):
        first = o // outputs * inputs
        plane = np.zeros(padded.shape[1:], x.dtype)
        for channel, kernel in zip(padded[first : first + inputs], kernels, strict=True):
            plane += ndimage.correlate(channel, kernel, mode="constant")
        planes.append(plane[inside])
    return np.stack(planes)


def pointwise(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A 1x1 layer is a matrix product."""
    return np.tensordot(weight.reshape(weight.shape[:2]), x, 1)


def transposed(x: np.ndarray, weight: np.ndarray, *, stride: int, padding: int) -> np.ndarray:
    """Transposed convolution: zeros inserted, kernel turned.

    `weight` is (C_in, C_out, *kernel), its kernel of one size along every axis.
    """
    kernel = weight.shape[2:]
    turned = np.flip(weight, tuple(range(2, weight.ndim))).swapaxes(0, 1)
    edge = kernel[0] - 1 - padding
    return convolution(_stuffed(x, (stride,) * len(kernel)), turned, padding=(edge, edge))


def deformable(
    x: np.ndarray, offset: np.ndarray, weight: np.ndarray, mask: np.ndarray, *, padding: int
) -> np.ndarray:
    """Deformable convolution v2: ``map_coordinates`` for each tap, then a matrix product."""
    rows, columns = np.mgrid[: x.shape[1], : x.shape[2]].astype(x.dtype) - padding
    result = np.zeros((len(weight), *x.shape[1:]), x.dtype)
    for tap, (i, j) in enumerate(itertools.product(*map(range, weight.shape[2:]))):
        places = np.stack([rows + i + offset[2 * tap], columns + j + offset[2 * tap + 1]])
        samples = np.stack(
            [
                # grid-constant, not constant: the latter drops samples between edge and outside.
                ndimage.map_coordinates(channel, places, order=1, mode="grid-constant")
                for channel in x
            ]
        )
        result += np.tensordot(weight[:, :, i, j], samples * mask[tap], 1)
    return result
