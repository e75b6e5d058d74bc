"""What lies around transforms: tiles cut from padded x; results trimmed, finished and stored."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv import _core

__all__ = ["cut_pair", "cut_tiles", "store"]

Task = tuple[tuple[int, int], ...]  # ranges of tiles per axis


def cut_tiles(plan: Any, x: np.ndarray, task: Task) -> np.ndarray:
    """(channels, tiles per axis, samples per axis) of x, channels first, as overlapping views."""
    cut, geometry = plan.cut, plan.geometry
    first = _first_of(plan, task)
    sizes = [
        (last - 1 - start) * v + b
        for (start, last), v, b in zip(task, cut.valid, cut.tile, strict=True)
    ]
    if x.dtype == plan.real and all(
        low >= 0 and low + size <= n
        for low, size, n in zip(first, sizes, geometry.in_size, strict=True)
    ):
        region = x[(slice(None), *(slice(i, i + n) for i, n in zip(first, sizes, strict=True)))]
    else:
        region = np.empty((len(x), *sizes), plan.real)
        _extend(plan, x, region, first, 1)
    counts = [last - start for start, last in task]
    steps = region.strides[1:]
    jumps = [step * v for step, v in zip(steps, cut.valid, strict=True)]
    return np.lib.stride_tricks.as_strided(
        region, (len(x), *counts, *cut.tile), (region.strides[0], *jumps, *steps), writeable=False
    )


def cut_pair(plan: Any, x: np.ndarray, parts: list[Task], known: int, to: np.ndarray) -> None:
    """Two tiles of a plane, one below the other, as real and imaginary parts, without their first
    `known` rows, into `to`: (rows, columns)."""
    (low, left), (high, _) = (_first_of(plan, task) for task in parts)
    rows, columns = to.shape
    first, second = (_places(plan, x, 0, at + known, rows) for at in (low, high))
    if x.dtype != plan.real or x.strides[1] != x.itemsize or not x.flags.aligned:
        needed = np.concatenate([first, second])
        needed = needed[needed >= 0]
        begin = int(needed.min(initial=len(x)))
        x = np.require(x[begin : int(needed.max(initial=0)) + 1], plan.real, ["C", "ALIGNED"])
        first, second = (np.where(at < 0, at, at - begin) for at in (first, second))
    _core.join_rows(x, first, second, _places(plan, x, 1, left, columns), plan.fill, to)


def _places(plan: Any, x: np.ndarray, axis: int, start: int, size: int) -> np.ndarray:
    """Where in x lie `size` positions of padded x from `start` on; -1: a constant."""
    mode, n = plan.problem.padding_mode, x.shape[axis]
    at = np.arange(start, start + size)
    if mode == "zeros":
        return np.where(at < n, np.maximum(at, -1), -1)
    last = n + plan.geometry.padding[axis][1]
    return np.where(at < last, _source(mode, n, start, start + size), -1)


def _first_of(plan: Any, task: Task) -> list[int]:
    """Where in x a task's first tile begins."""
    return [
        start * v - before
        for (start, _), v, (before, _) in zip(
            task, plan.cut.valid, plan.geometry.padding, strict=True
        )
    ]


def _extend(plan: Any, x: np.ndarray, region: np.ndarray, first: list[int], axis: int) -> None:
    """Fill the region with what padded x has from `first` on, along this axis and those after it.

    Every sample of x is copied once; borders come from the region wherever it holds what they
    repeat, whole rows at a time but for the last axis.
    """
    if axis == x.ndim:
        region[...] = x
        return
    mode, start = plan.problem.padding_mode, first[axis - 1]
    n, size = x.shape[axis], region.shape[axis]
    after = plan.geometry.padding[axis - 1][1]
    low = min(max(-start, 0), size)  # [low, high): x's own
    high = max(min(n - start, size), low)
    stop = size if mode == "zeros" else max(min(n + after - start, size), high)

    def part(array: np.ndarray, begin: int, end: int) -> np.ndarray:
        return array[(slice(None),) * axis + (slice(begin, end),)]

    _extend(plan, part(x, start + low, start + high), part(region, low, high), first, axis + 1)
    for begin, end in ((0, low), (high, stop)):
        border = part(region, begin, end)
        if mode == "zeros":
            border[...] = plan.fill
        elif end > begin:
            at = _source(mode, n, start + begin, start + end)
            if low <= at.min() - start and at.max() - start < high:
                border[...] = region.take(at - start, axis)
            else:
                _extend(plan, x.take(at, axis), border, first, axis + 1)
    part(region, stop, size)[...] = plan.fill


def _source(mode: str, n: int, first: int, last: int) -> np.ndarray:
    """Where the padded axis of n samples reads x, for positions [first, last)."""
    at = np.arange(first, last)
    if mode in ("reflect", "symmetric"):  # the edge once, or twice
        once = mode == "reflect"
        at %= max(2 * (n - once), 1)
        return np.minimum(at, 2 * (n - once) - 1 + once - at)
    return at % n if mode == "circular" else np.clip(at, 0, n - 1)


def store(
    plan: Any, y: np.ndarray, task: Task, out: np.ndarray, bias: np.ndarray | None,
    residual: np.ndarray | None,
) -> None:  # fmt: skip
    """What is valid of the tiles y (channels, tiles, samples), every stride-th, after bias,
    residual and activation, into the same channels of out."""
    p, cut, rank = plan.problem, plan.cut, plan.problem.rank
    y = y[(..., *(slice(0, v) for v in cut.valid))]
    counts = y.shape[1 : rank + 1]
    if math.prod(counts) > 1:  # tiles side by side
        y = y.transpose([0, *(axis for i in range(rank) for axis in (1 + i, 1 + rank + i))])
    y = y.reshape(len(y), *(c * v for c, v in zip(counts, cut.valid, strict=True)))
    taken, to = [slice(None)], [slice(None)]
    for (first, _), v, step, size, n in zip(
        task, cut.valid, p.stride, y.shape[1:], plan.geometry.out_size, strict=True
    ):
        start = -(-first * v // step)
        stop = min(-(-(first * v + size) // step), n)
        if stop <= start:
            return
        offset = start * step - first * v
        taken.append(slice(offset, offset + (stop - start - 1) * step + 1, step))
        to.append(slice(start, stop))
    y, out = y[tuple(taken)], out[tuple(to)]
    residual = None if residual is None else residual[tuple(to)]
    if bias is None and residual is None and p.activation is None:
        if y.ndim == 3 and y.strides[2] == 2 * y.itemsize and out.dtype == y.dtype and (
            out.strides[2] == out.itemsize and out.flags.aligned
        ):
            for part, to in zip(y, out, strict=True):
                _core.take_part(part, to)
        else:
            out[...] = y
        return
    finisher, ones = _finisher(
        "f64" if plan.real.itemsize == 8 else "f32", y.shape, p.activation, p.activation_params,
        bias is not None, residual is not None,
    )  # fmt: skip
    result = out if out.dtype == plan.real else np.empty(out.shape, plan.real)
    if residual is not None:
        residual = residual.astype(plan.real, copy=False)
    finisher.run(ones, y, result, bias, residual, threads=1)
    if result is not out:
        out[...] = result


@lru_cache(maxsize=64)
def _finisher(
    code: str, shape: tuple[int, ...], activation: str | None, params: tuple[float, float],
    has_bias: bool, has_residual: bool,
) -> tuple[Any, Any]:  # fmt: skip
    """The core's epilogue: each channel convolved with a single 1."""
    rank, channels = len(shape) - 1, shape[0]
    one, none = (1,) * rank, ((0, 0),) * rank
    plan = _core.Plan(
        dtype=code, operation="conv", rank=rank, batch=1, in_ch=channels, out_ch=channels,
        groups=channels, in_size=shape[1:], kernel=one, stride=one, dilation=one, padding=none,
        activation=activation, activation_params=params, has_bias=has_bias,
        has_residual=has_residual,
    )  # fmt: skip
    ones = np.ones((channels, 1, *one), np.float64 if code == "f64" else np.float32)
    return plan, plan.pack(ones)
