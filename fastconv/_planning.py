"""The choice of what runs: what tuning found, else what promises to be fastest.

The core compares its own kernels (csrc/dispatch.c); here their winner is compared with the FFT.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from math import prod
from typing import Any

from fastconv import _calibration, _core, _fft, _tuned
from fastconv._padding import Pairs
from fastconv._problem import Problem, geometry, whole_shape

__all__ = ["candidates", "estimated_plan", "find_plan", "make_plan", "tuned_algorithm"]

_MOST_WORKSPACE = 1 << 28


def _core_maker(
    problem: Problem,
    in_size: tuple[int, ...],
    pads: Pairs,
    x_channels_last: bool,
    out_channels_last: bool,
    has_residual: bool,
    pack_per_call: bool,
) -> Callable[[int], Any]:
    """What makes the core's plan for a batch of so many images."""
    return lambda batch: _core.Plan(
        dtype=problem.code,
        operation=problem.operation,
        rank=problem.rank,
        batch=batch,
        in_ch=problem.in_ch,
        out_ch=problem.out_ch,
        groups=problem.groups,
        in_size=in_size,
        kernel=problem.kernel,
        stride=problem.stride,
        dilation=problem.dilation,
        padding=pads,
        output_padding=problem.output_padding,
        padding_mode=problem.padding_mode,
        activation=problem.activation,
        activation_params=problem.activation_params,
        precision=problem.precision,
        has_bias=problem.has_bias,
        has_residual=has_residual,
        x_channels_last=x_channels_last,
        out_channels_last=out_channels_last,
        pack_per_call=pack_per_call,
        weights_unsafe=problem.weights_unsafe,
        depth_multiplier=problem.depth_multiplier,
        offset_groups=problem.offset_groups,
        algorithm="auto" if problem.algorithm == "fft" else problem.algorithm,
    )


def make_plan(
    problem: Problem,
    shape: tuple[int, ...],
    x_channels_last: bool,
    out_channels_last: bool,
    has_residual: bool,
    pack_per_call: bool = False,
) -> tuple[Any, tuple[int, ...]]:
    """The plan and the output's shape; no plan where the output has no elements.

    What tuning found is used, else what promises to be fastest.
    """
    rest = (shape, x_channels_last, out_channels_last, has_residual, pack_per_call)
    if problem.algorithm == "auto" and _tuned.any_here():
        _, in_size, pads, _ = geometry(problem, shape)
        name = _tuned.choice(
            problem, in_size, pads, x_channels_last, out_channels_last, pack_per_call
        )
        if name is not None:
            try:
                return estimated_plan(problem._replace(algorithm=name), *rest)
            except ValueError as error:  # a file that was changed by hand
                warnings.warn(
                    f"{_tuned.file_path()}: one of its choices is ignored: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
    return estimated_plan(problem, *rest)


def estimated_plan(
    problem: Problem,
    shape: tuple[int, ...],
    x_channels_last: bool,
    out_channels_last: bool,
    has_residual: bool,
    pack_per_call: bool = False,
) -> tuple[Any, tuple[int, ...]]:
    """`make_plan` by estimates alone.

    The core compares its kernels; their winner is compared with the FFT here.
    """
    if _calibration.source is None:
        _calibration.settle()
    batch, in_size, pads, sizes = geometry(problem, shape)
    result = whole_shape(problem, batch, sizes)
    if 0 in result:
        return None, result
    core = _core_maker(
        problem, in_size, pads, x_channels_last, out_channels_last, has_residual, pack_per_call
    )
    images = batch[0] if batch else 1
    asked = problem.algorithm == "fft"
    if asked or (problem.algorithm == "auto" and prod(problem.kernel) >= _fft.FEW_TAPS):
        one = core(1)
        fft = _plan_fft(problem, _fft.Geometry(in_size, sizes, pads), one, pack_per_call)
        if fft is not None:
            return fft.for_batch(images), result
        if images == 1:
            return one, result
    return core(images), result


def tuned_algorithm(problem: Problem, shape: tuple[int, ...], pack_per_call: bool) -> str | None:
    """What tuning chose for arrays that lie as the layout says, or None."""
    if problem.algorithm != "auto" or not _tuned.any_here():
        return None
    _, in_size, pads, _ = geometry(problem, shape)
    last = problem.channels_last
    return _tuned.choice(problem, in_size, pads, last, last, pack_per_call)


def _plan_fft(
    problem: Problem, geometry: _fft.Geometry, core: Any, pack_per_call: bool
) -> _fft.Plan | None:
    """The plan by FFT if it was asked for or promises to be faster than `core`.

    Both are of one image: the choice does not depend on the batch.
    """
    why = _fft.rejects(problem)
    if problem.algorithm == "fft":
        if why is not None:
            raise ValueError(f"algorithm: 'fft' cannot run this: {why}")
        return _fft.cheapest_plan(problem, geometry, core, pack_per_call)
    if why is not None:
        return None
    fft = _fft.cheapest_plan(problem, geometry, core, pack_per_call, core.estimated_seconds)
    return None if fft is None or _too_large(fft) else fft


def _too_large(fft: _fft.Plan) -> str | None:
    """Why an FFT is not run unasked for the memory it takes, or None; the core's kernels stay below
    ten MiB."""
    if fft.workspace_bytes <= _MOST_WORKSPACE:
        return None
    took, most = fft.workspace_bytes >> 20, _MOST_WORKSPACE >> 20
    return f"only scratch of at most {most} MiB per thread unless asked for, and this takes {took}"


def candidates(
    problem: Problem, shape: tuple[int, ...], has_residual: bool, pack_per_call: bool = False
) -> list[tuple[str, str, float, str | None]]:
    """(algorithm, kernel, estimated seconds, why rejected or None) of every algorithm."""
    if _calibration.source is None:
        _calibration.settle()
    batch, in_size, pads, sizes = geometry(problem, shape)
    if 0 in whole_shape(problem, batch, sizes):
        return []
    last = problem.channels_last
    core = _core_maker(problem, in_size, pads, last, last, has_residual, pack_per_call)
    images = batch[0] if batch else 1
    rows: list[tuple[str, str, float, str | None]] = core(images).candidates()
    why, seconds = _fft.rejects(problem), 0.0
    if why is None:
        size = _fft.Geometry(in_size, sizes, pads)
        fft = _fft.cheapest_plan(problem, size, core(1), pack_per_call)
        assert fft is not None
        seconds = fft.for_batch(images).estimated_seconds
        why = _too_large(fft) if problem.algorithm != "fft" else None
    return [*rows, ("fft", _fft.kernel_name(problem), seconds, why)]


# Plans of functional calls; they hold geometry only, a few hundred bytes each.
find_plan: Callable[[Problem, tuple[int, ...], bool, bool, bool], tuple[Any, tuple[int, ...]]]
find_plan = lru_cache(maxsize=512)(partial(make_plan, pack_per_call=True))
