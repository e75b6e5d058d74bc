"""A `Problem` is a convolution but for the shape of x, normalised and hashable; and its shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv._array import bfloat16
from fastconv._options import layout_name
from fastconv._padding import Pairs, normalize_padding, output_size, transposed_output_size

__all__ = ["DTYPE_NAMES", "Problem", "channels_of", "geometry", "out_shape", "whole_shape"]

DTYPE_NAMES = {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16"}
# The core's bound on every length along an axis, which keeps sizes derived from them below 2**62.
_LONGEST = 1 << 40


class Problem(NamedTuple):
    """A convolution but for the shape of x."""

    code: str
    operation: str
    rank: int
    in_ch: int
    out_ch: int
    groups: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: str | Pairs
    output_padding: tuple[int, ...]
    padding_mode: str
    activation: str | None
    activation_params: tuple[float, float]
    precision: str
    algorithm: str
    has_bias: bool
    channels_last: bool
    depth_multiplier: int = 1
    offset_groups: int = 1
    weights_unsafe: bool = False

    @property
    def transposed(self) -> bool:
        return self.operation == "conv_transpose"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type of x and of the output."""
        return bfloat16() if self.code == "bf16" else np.dtype(DTYPE_NAMES[self.code])

    @property
    def layout(self) -> str:
        return layout_name(self.rank, self.channels_last)


def channels_of(shape: tuple[int, ...], rank: int, last: bool) -> int:
    """Channels of an x of this shape; refuses a wrong number of dimensions."""
    if not rank + 1 <= len(shape) <= rank + 2:
        raise ValueError(
            f"x must have {rank + 2} dimensions, {layout_name(rank, last)}, or {rank + 1} without "
            f"a batch, got shape {shape}"
        )
    return shape[-1] if last else shape[-rank - 1]


def _split_shape(
    problem: Problem, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Batch axes and spatial sizes of a shape of x."""
    rank, last = problem.rank, problem.channels_last
    channels = channels_of(shape, rank, last)
    if channels != problem.in_ch:
        grouped = f" in {problem.groups} groups" if problem.groups > 1 else ""
        raise ValueError(
            f"x must have {problem.in_ch} channels{grouped}, as weight has, "
            f"got {channels} in shape {shape} with layout {problem.layout!r}"
        )
    rest = shape[-rank - 1 :]
    return shape[: -rank - 1], rest[:-1] if last else rest[1:]


def _check_lengths(problem: Problem, in_size: tuple[int, ...], pads: Pairs) -> None:
    if max(map(max, (in_size, problem.stride, problem.dilation, *pads))) <= _LONGEST:
        return
    lengths: dict[str, Sequence[int]] = {
        "x": in_size,
        "padding": [length for pair in pads for length in pair],
        "stride": problem.stride,
        "dilation": problem.dilation,
    }
    for name, values in lengths.items():
        if max(values) > _LONGEST:
            raise ValueError(f"{name} must be at most 2**40 along an axis, got {max(values)}")


def geometry(
    problem: Problem, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], Any, Pairs, tuple[int, ...]]:
    """(batch axes, spatial sizes of x, padding pairs, spatial sizes of the output)."""
    batch, in_size = _split_shape(problem, shape)
    kernel, stride, dilation = problem.kernel, problem.stride, problem.dilation
    transposed = problem.transposed
    pads = problem.padding
    if isinstance(pads, str):
        pads = normalize_padding(pads, in_size, kernel, stride, dilation, transposed=transposed)
    _check_lengths(problem, in_size, pads)
    if not transposed:
        return batch, in_size, pads, output_size(in_size, kernel, stride, pads, dilation)
    if 0 in in_size:
        raise ValueError(f"x must have no spatial axis of size 0 here, got shape {shape}")
    sizes = transposed_output_size(in_size, kernel, stride, pads, dilation, problem.output_padding)
    return batch, in_size, pads, sizes


def whole_shape(problem: Problem, batch: tuple[int, ...], sizes: tuple[int, ...]) -> Any:
    """The shape of an output of these spatial sizes."""
    channels = (problem.out_ch,)
    return batch + sizes + channels if problem.channels_last else batch + channels + sizes


def out_shape(problem: Problem, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the output for an x of this shape."""
    batch, _, _, sizes = geometry(problem, shape)
    result: tuple[int, ...] = whole_shape(problem, batch, sizes)
    return result
