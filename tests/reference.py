"""The truth the tests measure by: every convolution from its definition, in NumPy float64.

Written from convolutions.md and not from the C reference, so that the two can disagree. Arrays are
(N, C, *spatial) and of any rank; geometry is one entry per spatial axis, padding one (before,
after) pair. Works in the dtype of its input: float64, or longdouble to judge float64. The loops
run over taps; each tap is one product of arrays.
"""

from __future__ import annotations

import itertools

import numpy as np

NUMPY_PAD_MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


def padded(x, padding, mode="zeros"):
    return np.pad(x, [(0, 0), (0, 0), *padding], mode=NUMPY_PAD_MODES[mode])


def windows(x, kernel, stride, dilation):
    """For every tap, the cells of x (already padded) it meets: (N, C, *out) views."""
    out = [
        max((i - d * (k - 1) - 1) // s + 1, 0)
        for i, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)
    ]
    for tap in itertools.product(*map(range, kernel)):
        cells = [
            slice(t * d, t * d + (o - 1) * s + 1 if o else t * d, s)
            for t, d, o, s in zip(tap, dilation, out, stride, strict=True)
        ]
        yield tap, x[(slice(None), slice(None), *cells)]


def mix_channels(cells, weight, groups):
    """(N, C_in, *out) times (C_out, C_in/groups) per group: (N, C_out, *out)."""
    n, in_ch, *size = cells.shape
    grouped = cells.reshape(n, groups, in_ch // groups, int(np.prod(size, dtype=int)))
    matrix = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1])
    return np.einsum("ngcp,goc->ngop", grouped, matrix).reshape(n, weight.shape[0], *size)


def flipped(weight):
    return np.flip(weight, axis=tuple(range(2, weight.ndim)))


def conv(x, weight, stride, padding, dilation, groups=1, mode="zeros", flip=False):
    if flip:
        weight = flipped(weight)
    x = padded(x, padding, mode)
    total = 0
    for tap, cells in windows(x, weight.shape[2:], stride, dilation):
        total = total + mix_channels(cells, weight[(slice(None), slice(None), *tap)], groups)
    return total


def conv_transpose(x, weight, stride, padding, dilation, output_padding, groups=1, flip=False):
    """Every input cell spreads its value, times the weight, over the outputs its taps reach."""
    if flip:
        weight = flipped(weight)
    n, in_ch, *in_size = x.shape
    group_out = weight.shape[1]
    kernel = weight.shape[2:]
    full = [
        (i - 1) * s + d * (k - 1) + 1 + extra
        for i, s, d, k, extra in zip(in_size, stride, dilation, kernel, output_padding, strict=True)
    ]
    out = np.zeros((n, groups * group_out, *full), x.dtype)
    for tap in itertools.product(*map(range, kernel)):
        matrix = weight[(slice(None), slice(None), *tap)]
        matrix = matrix.reshape(groups, in_ch // groups, group_out).transpose(0, 2, 1)
        spread = mix_channels(x, matrix.reshape(groups * group_out, in_ch // groups), groups)
        cells = [
            slice(t * d, t * d + (i - 1) * s + 1, s)
            for t, d, i, s in zip(tap, dilation, in_size, stride, strict=True)
        ]
        out[(slice(None), slice(None), *cells)] += spread
    crop = [slice(p[0], f - p[1]) for p, f in zip(padding, full, strict=True)]
    return out[(slice(None), slice(None), *crop)]


def separable(x, depthwise, pointwise, stride, padding, dilation):
    middle = conv(x, depthwise, stride, padding, dilation, groups=x.shape[1])
    one = (1,) * len(stride)
    return conv(middle, pointwise, one, ((0, 0),) * len(stride), one)


def bilinear(x, rows, columns):
    """x (N, C, H, W) at places (N, *out): (N, C, *out), zero outside, NaN at a NaN place."""
    image = np.arange(x.shape[0]).reshape(-1, *[1] * (rows.ndim - 1))
    total = 0
    for corner in itertools.product((0, 1), (0, 1)):
        row, column = np.floor(rows) + corner[0], np.floor(columns) + corner[1]
        with np.errstate(invalid="ignore"):
            share = (1 - np.abs(rows - row)) * (1 - np.abs(columns - column))
        inside = (row >= 0) & (row < x.shape[2]) & (column >= 0) & (column < x.shape[3])
        inside &= share > 0
        at = np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)
        values = np.moveaxis(x[image, :, at[0], at[1]], -1, 1)
        total = total + np.where(inside[:, None], share[:, None] * values, 0)
    return np.where(np.isnan(rows + columns)[:, None], np.nan, total)


def deform_conv2d(x, offset, weight, mask, stride, padding, dilation, groups=1):
    kernel = weight.shape[2:]
    out = offset.shape[2:]
    taps = kernel[0] * kernel[1]
    offset_groups = offset.shape[1] // (2 * taps)
    grid = np.meshgrid(*(np.arange(o) * s for o, s in zip(out, stride, strict=True)), indexing="ij")
    total = 0
    for index, tap in enumerate(itertools.product(*map(range, kernel))):
        parts = []
        for g, channels in enumerate(np.split(x, offset_groups, axis=1)):
            at = g * taps + index
            rows = grid[0] + tap[0] * dilation[0] - padding[0][0] + offset[:, 2 * at]
            columns = grid[1] + tap[1] * dilation[1] - padding[1][0] + offset[:, 2 * at + 1]
            sampled = bilinear(channels, rows, columns)
            parts.append(sampled if mask is None else sampled * mask[:, at : at + 1])
        cells = np.concatenate(parts, axis=1)
        total = total + mix_channels(cells, weight[:, :, tap[0], tap[1]], groups)
    return total


def activate(y, name, params=(0.0, 0.0)):
    with np.errstate(over="ignore"):
        if name == "relu":
            return np.maximum(y, 0)
        if name == "leaky_relu":
            return np.where(y < 0, params[0] * y, y)
        if name == "clip":
            return np.clip(y, *params)
        if name == "sigmoid":
            return 1 / (1 + np.exp(-y))
        if name == "tanh":
            return np.tanh(y)
        if name == "silu":
            return y / (1 + np.exp(-y))
        if name == "hardswish":
            return y * np.clip(y / 6 + 0.5, 0, 1)
    assert name is None, name
    return y


def sequential_fma_error(x, weight, stride, padding, dilation, groups=1, truth=None):
    """Largest error e of a plain float32 direct convolution: the yardstick of design.md section 4.

    One float32 accumulator per output, channels outside, taps inside, one fused multiply-add each.
    The product of two float32 is exact in float64, so the fused result is the float64 sum rounded
    once more (the double rounding changes an ulp in 2**29).
    """
    x, weight = np.float32(x), np.float32(weight)
    if truth is None:
        truth = conv(np.float64(x), np.float64(weight), stride, padding, dilation, groups)
    taps = list(windows(padded(x, padding), weight.shape[2:], stride, dilation))
    group_in, group_out = weight.shape[1], weight.shape[0] // groups
    sums = np.zeros(truth.shape, np.float32)
    for channel in range(group_in):
        source = np.repeat(np.arange(groups) * group_in + channel, group_out)
        for tap, cells in taps:
            factor = weight[(slice(None), channel, *tap)].astype(np.float64)
            product = cells[:, source] * factor.reshape(-1, *[1] * len(stride))
            product += sums
            sums = product.astype(np.float32)
    return np.abs(sums - truth).max()


def to_storage(values, dtype):
    """Values as the kernels store them: float32, float64, or the bits of a narrow type."""
    if dtype == "f16":
        return np.float16(values).view(np.uint16)
    if dtype == "bf16":
        bits = np.float32(values).view(np.uint32)
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)
        return np.where(np.isnan(values), 0x7FC0, rounded >> 16).astype(np.uint16)
    return np.asarray(values, np.float64 if dtype == "f64" else np.float32)


def from_storage(stored, dtype):
    """What is stored, as float64."""
    if dtype == "f16":
        return stored.view(np.float16).astype(np.float64)
    if dtype == "bf16":
        return (stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return np.float64(stored)
