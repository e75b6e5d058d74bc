"""What a SciPy user writes for a layer or a picture: the baselines timed beside fastconv.

Convolution and correlation are the same work with the kernel turned round, so each function here
takes a deep-learning weight (a correlation) and turns it for SciPy's convolutions: every
baseline of a layer gives the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from layers import Layer
from scipy import signal

# scipy.signal's direct forms do about 1 GFLOP/s; beyond these bounds one run of a layer takes a
# good part of a second, or thousands of calls spend it on overhead.
MAX_DIRECT_FLOP = 5e8
MAX_PLANE_PAIRS = 640


def turned(kernel: np.ndarray, rank: int) -> np.ndarray:
    """The kernel flipped along its last ``rank`` axes."""
    return np.flip(kernel, axis=tuple(range(-rank, 0)))


def dilated(weight: np.ndarray, dilation: tuple[int, ...]) -> np.ndarray:
    """The weight with dilation − 1 zeros between taps: SciPy has no dilation."""
    kernel = weight.shape[2:]
    spread = [(k - 1) * dil + 1 for k, dil in zip(kernel, dilation, strict=True)]
    result = np.zeros((*weight.shape[:2], *spread), weight.dtype)
    result[(..., *(slice(None, None, dil) for dil in dilation))] = weight
    return result


def direct_flop(layer: Layer) -> int:
    """Arithmetic of SciPy's direct forms: stride 1 everywhere and dilation filled with zeros."""
    spread = [(k - 1) * dil + 1 for k, dil in zip(layer.kernel, layer.dilation, strict=True)]
    dense = [
        size + 2 * pad - width + 1
        for size, pad, width in zip(layer.spatial, layer.padding, spread, strict=True)
    ]
    return 2 * layer.out_channels * layer.weight_shape[1] * math.prod(spread) * math.prod(dense)


def baseline_names(layer: Layer) -> list[str]:
    """SciPy's ways to compute a layer that end in reasonable time; may be empty."""
    plane_pairs = layer.out_channels * layer.weight_shape[1]
    if direct_flop(layer) > MAX_DIRECT_FLOP or plane_pairs > MAX_PLANE_PAIRS:
        return []
    suffix = "2d" if layer.rank == 2 else ""
    return [f"scipy.correlate{suffix}", f"scipy.convolve{suffix}", "scipy.fftconvolve"]


def baseline(name: str, layer: Layer, x: np.ndarray, weight: np.ndarray) -> Callable:
    """The call that computes a layer by the SciPy function of one of `baseline_names`."""
    function = getattr(signal, name.removeprefix("scipy."))
    spread = dilated(weight, layer.dilation)
    kernels = spread if "correlate" in name else np.ascontiguousarray(turned(spread, layer.rank))
    # The one-dimensional forms would otherwise choose the FFT themselves.
    method = {"method": "direct"} if name in ("scipy.correlate", "scipy.convolve") else {}
    return lambda: by_planes(
        layer, x, kernels, lambda plane, kernel: function(plane, kernel, mode="valid", **method))


def by_planes(layer: Layer, x: np.ndarray, kernels: np.ndarray, function: Callable) -> np.ndarray:
    """A layer as a sum of single-plane SciPy calls over padded input, strides taken afterwards."""
    padded = np.pad(x[0], [(0, 0), *((p, p) for p in layer.padding)])
    out = np.zeros(layer.out_shape, x.dtype)
    in_per_group = layer.weight_shape[1]
    out_per_group = layer.out_channels // layer.groups
    taken = tuple(slice(None, None, step) for step in layer.stride)
    for channel in range(layer.out_channels):
        first = channel // out_per_group * in_per_group
        for k in range(in_per_group):
            out[0, channel] += function(padded[first + k], kernels[channel, k])[taken]
    return out
