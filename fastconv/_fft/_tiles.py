"""What lies around transforms: tiles cut from padded x; results trimmed, finished and stored."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv import _core

__all__ = ["cut_tiles", "store"]

Task = tuple[tuple[int, int], ...]  # ranges of tiles per axis


def cut_tiles(plan: Any, x: np.ndarray, task: Task) -> np.ndarray:
    """(channels, tiles per axis, samples per axis) of x, channels first, as overlapping views."""
    cut = plan.cut
    starts = [first * v for (first, _), v in zip(task, cut.valid, strict=True)]
    stops = [(last - 1) * v + b for (_, last), v, b in zip(task, cut.valid, cut.tile, strict=True)]
    region = _padded(plan, x, starts, stops)
    counts = [last - first for first, last in task]
    steps = region.strides[1:]
    jumps = [step * v for step, v in zip(steps, cut.valid, strict=True)]
    return np.lib.stride_tricks.as_strided(
        region, (len(x), *counts, *cut.tile), (region.strides[0], *jumps, *steps), writeable=False
    )


def _padded(plan: Any, x: np.ndarray, starts: list[int], stops: list[int]) -> np.ndarray:
    """Samples [starts, stops) of padded x; zeros, or what the plan has for them, beyond."""
    geometry, mode = plan.geometry, plan.problem.padding_mode
    from_x: list[tuple[int, int]] = []
    to: list[slice] = []
    inside = x.dtype == plan.real
    for n, (before, after), start, stop in zip(
        geometry.in_size, geometry.padding, starts, stops, strict=True
    ):
        low, high = start - before, stop - before
        inside &= low >= 0 and high <= n
        first, last = max(low, 0), max(min(high, n), 0)
        if mode != "zeros":
            first, last = low, max(min(high, n + after), low)
        from_x.append((first, max(last, first)))
        to.append(slice(first - low, max(last, first) - low))
    if inside:
        return x[(slice(None), *(slice(*pair) for pair in from_x))]
    sizes = [stop - start for start, stop in zip(starts, stops, strict=True)]
    region = np.full((len(x), *sizes), plan.fill, plan.real)
    source = x
    for axis, ((first, last), n) in enumerate(zip(from_x, geometry.in_size, strict=True), 1):
        if first >= 0 and last <= n:
            source = source[(slice(None),) * axis + (slice(first, last),)]
        else:
            source = source.take(_source(mode, n, first, last), axis)
    region[(slice(None), *to)] = source
    return region


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
