"""From filters of arrays of any rank to runs of the core's filter kernel.

The kernel knows images of rows: planes, height, width, and a width whose columns may be several
elements each. A pass along one axis is one over height where the axes behind are long, one over
width where they are short; two passes along neighbouring axes are one run, in which the row
between them stays in cache; a dense kernel may span three axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fastconv import _core
from fastconv._drop_in import NotCovered, native

__all__ = ["Line", "correlate_factors", "correlate_lines", "correlate_window", "line_of"]

_EPS = 2.0**-52  # SciPy's DBL_EPSILON: what differs by less counts as equal
_LONGEST_STEP = 64  # elements behind an axis up to which its passes run along the width
_EXACT_IN_SINGLE = 2.0**24
_MOST_DOUBT = 2.0**-8  # one float32 sum in 128, then, is added again
_WRAPS_EXACTLY = 2.0**31  # sums beyond are no longer taken modulo the type


class Line(NamedTuple):
    """A correlation along one axis."""

    axis: int
    weights: np.ndarray
    before: int  # taps before the output's own cell
    mode: str
    divisor: float = 0.0


def line_of(
    axis: int, weights: np.ndarray, mode: str, origin: int = 0, divisor: float = 0.0
) -> Line:
    """The pass `scipy.ndimage.correlate1d` makes with this origin."""
    before = len(weights) // 2 + origin
    if not 0 <= before < len(weights):
        raise NotCovered(f"origin {origin}")
    return Line(axis, np.ascontiguousarray(weights, np.float64), before, mode, divisor)


def _order(weights: np.ndarray) -> str:
    """In which order SciPy adds the products of these taps."""
    return _order_of(weights.tobytes())


@lru_cache(maxsize=256)
def _order_of(taps: bytes) -> str:
    weights = np.frombuffer(taps)
    if len(weights) % 2 == 0:
        return "line"
    if (np.abs(weights - weights[::-1]) <= _EPS).all():
        return "even"
    half = len(weights) // 2
    if (np.abs(weights[:half] + weights[: -half - 1 : -1]) <= _EPS).all():
        return "odd"
    return "line"


def _bound(dtype: np.dtype) -> float:
    """The largest magnitude of a type, infinite for floating point."""
    if dtype.kind == "b":
        return 1.0
    return float(2 ** (8 * dtype.itemsize - (dtype.kind == "i"))) if dtype.kind in "iu" else np.inf


def _whole(weights: np.ndarray) -> bool:
    return bool((weights == np.rint(weights)).all())


def _sums_are_exact(
    source: np.dtype, target: np.dtype, stages: Sequence[np.ndarray], constant: float, limit: float
) -> bool:
    """Whether every sum, and every value between stages, is a whole number below the limit."""
    most = _bound(source)
    if constant != round(constant) if math.isfinite(constant) else True:
        return False
    for weights in stages:
        most = max(most, abs(constant)) * float(np.abs(weights).sum())
        if not most < limit or not _whole(weights):
            return False
        if target.kind == "u":
            most = _bound(target)  # a negative value wraps around
        elif target.kind == "i":
            most = min(most, _bound(target))
    return True


def _roundings(taps: int, order: str) -> int:
    """How often at most a float32 sum of whole numbers is rounded, and its weights once: for each
    tap, or for each pair of equal ones, which are added first and exactly; two more for safety."""
    return 3 + (taps // 2 + 1 if order in ("even", "odd") else taps)


def _doubts(
    source: np.dtype, target: np.dtype, stages: Sequence[np.ndarray], constant: float,
    roundings: Sequence[int],
) -> list[float] | None:  # fmt: skip
    """For each stage, by how much a float32 sum may differ from the double one, after so many
    roundings; None if so much that many sums would have to be added again."""
    if target.kind not in "iu" or target.char in "IQL" or constant != np.rint(constant):
        return None
    most, doubts = max(_bound(source), abs(constant)), []
    for weights, count in zip(stages, roundings):
        total = most * float(np.abs(weights).sum())
        doubts.append(count * 2.0**-24 * total)
        if not doubts[-1] < _MOST_DOUBT:
            return None
        most = _bound(target) if target.kind == "u" else min(total, _bound(target))
        most = max(most, abs(constant))
    return doubts


def _precision(
    x: np.ndarray, out: np.ndarray, stages: Sequence[np.ndarray], constant: float, divided: bool,
    roundings: Sequence[int],
) -> tuple[bool, list[float]]:  # fmt: skip
    """Whether to compute in float32, and what doubt that leaves about each stage's sums.

    float32 stays what it is. Narrow integers are computed in float32 where no sum of whole numbers
    can be rounded, and where few come so near to a whole number that truncation could differ:
    those are added again in double. Everything else is computed in double, as SciPy computes all.
    """
    source, target, sure = x.dtype, out.dtype, [0.0] * len(stages)
    narrow = source.kind in "biu" and source.itemsize <= 2
    if target == np.float32 and (source == np.float32 or narrow):
        return True, sure
    if not narrow or (divided and target.kind == "f"):
        return False, sure
    if _sums_are_exact(source, target, stages, constant, _EXACT_IN_SINGLE):
        return True, sure
    doubts = None if divided else _doubts(source, target, stages, constant, roundings)
    return doubts is not None, doubts or sure


def _commute(x: np.ndarray, out: np.ndarray, lines: Sequence[Line], constant: float) -> bool:
    """Whether two passes may change places without changing more than the last bits of a float."""
    if constant != 0 and any(line.mode == "constant" for line in lines):
        return False
    if any(line.divisor for line in lines):
        return False
    if out.dtype.kind == "f":
        return True
    stages = [line.weights for line in lines]
    return x.dtype.kind in "biu" and _sums_are_exact(
        x.dtype, out.dtype, stages, constant, _WRAPS_EXACTLY
    )


def _stage(line: Line, at: int) -> tuple:
    kernel, before = [1, 1, 1], [0, 0, 0]
    kernel[at], before[at] = len(line.weights), line.before
    return kernel, before, line.weights, _order(line.weights), line.divisor


def _run(
    x: np.ndarray, out: np.ndarray, planes: int, size: tuple[int, int, int], step: int,
    extension: Sequence[str], constant: float, first: tuple, second: tuple | None = None,
) -> None:  # fmt: skip
    """One run over dense arrays seen as `planes` x depth x height x (width * step)."""
    stages = [first] if second is None else [first, second]
    weights = [stage[2] for stage in stages]
    divided, counts = any(s[4] for s in stages), [_roundings(s[2].size, s[3]) for s in stages]
    single, doubts = _precision(x, out, weights, constant, divided, counts)
    given = [(*stage, doubt) for stage, doubt in zip(stages, doubts)]
    row = size[2] * step
    strides = (size[0] * size[1] * row, size[1] * row, row)
    _core.run_filter(
        x, out, single=single, batch=planes, size=size, step=step, x_strides=strides,
        out_strides=strides, extension=extension, constant=constant, first=given[0],
        second=given[1] if second is not None else None, threads=-_core.threads_here.get(),
    )  # fmt: skip


def _run_line(x: np.ndarray, out: np.ndarray, line: Line, constant: float) -> None:
    outer, n = math.prod(x.shape[: line.axis]), x.shape[line.axis]
    inner = math.prod(x.shape[line.axis + 1 :])
    extension = ["nearest", line.mode, line.mode]
    if inner <= _LONGEST_STEP:
        _run(x, out, 1, (1, outer, n), inner, extension, constant, _stage(line, 2))
    else:
        _run(x, out, outer, (1, n, inner), 1, extension, constant, _stage(line, 1))


def _run_pair(x: np.ndarray, out: np.ndarray, rows: Line, columns: Line, constant: float) -> None:
    """A pass along an axis, then one along the axis behind it."""
    outer, step = math.prod(x.shape[: rows.axis]), math.prod(x.shape[columns.axis + 1 :])
    size = (1, x.shape[rows.axis], x.shape[columns.axis])
    extension = ["nearest", rows.mode, columns.mode]
    _run(
        x, out, outer, size, step, extension, constant, _stage(rows, 1), _stage(columns, 2)
    )  # fmt: skip


def _groups(
    x: np.ndarray, out: np.ndarray, lines: Sequence[Line], constant: float
) -> list[tuple[Line, ...]]:
    """Passes in their order, neighbours that one run can take together."""
    groups: list[tuple[Line, ...]] = []
    at = 0
    while at < len(lines):
        pair = tuple(lines[at : at + 2])
        if len(pair) == 2:
            low, high = sorted(pair, key=lambda line: line.axis)
            joined = low.axis + 1 == high.axis
            joined = joined and math.prod(x.shape[high.axis + 1 :]) <= _LONGEST_STEP
            if joined and (pair[0] is low or _commute(x, out, pair, constant)):
                groups.append((low, high))
                at += 2
                continue
        groups.append(pair[:1])
        at += 1
    return groups


def _plain(array: np.ndarray) -> bool:
    return array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative


def _dense(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(native(x))


def _target(x: np.ndarray, output: np.ndarray) -> np.ndarray:
    """The output itself if the kernel can write to it, else an array to copy from."""
    if _plain(output) and not np.may_share_memory(x, output):
        return output
    return np.empty(output.shape, output.dtype.newbyteorder("="))


def correlate_lines(
    x: np.ndarray, lines: Sequence[Line], output: np.ndarray, constant: float
) -> None:
    """Passes one after another; in between, values have the type of the output."""
    if not x.size:
        return
    target = _target(x, output)
    groups = _groups(x, target, lines, constant)
    source = _dense(x)
    for number, group in enumerate(groups):
        to = target if number == len(groups) - 1 else np.empty(x.shape, target.dtype)
        if len(group) == 2:
            _run_pair(source, to, group[0], group[1], constant)
        else:
            _run_line(source, to, group[0], constant)
        source = to
    if target is not output:
        output[...] = target


def correlate_factors(
    x: np.ndarray,
    weights: np.ndarray,
    factors: Sequence[np.ndarray],
    before: Sequence[int],
    mode: str,
    output: np.ndarray,
) -> bool:
    """A dense kernel over integers as two passes in float32, zero or nothing beyond the borders,
    and what rounding leaves in doubt as the dense sum in double. False where that is no gain."""
    long = [axis for axis, taps in enumerate(weights.shape) if taps > 1]
    if len(long) != 2 or long[0] + 1 != long[1] or not x.size or _whole(weights):
        return False
    a, b = long
    step = math.prod(x.shape[b + 1 :])
    if x.dtype.kind not in "biu" or x.dtype.itemsize > 2 or step > _LONGEST_STEP:
        return False
    rows = Line(a, np.ascontiguousarray(factors[a].ravel() * _rest(factors, long)), before[a], mode)
    columns = Line(b, np.ascontiguousarray(factors[b].ravel()), before[b], mode)
    # Two passes', and of the second the pairs', whose cells are no whole numbers, and the factors'.
    count = sum(_roundings(line.weights.size, _order(line.weights)) for line in (rows, columns)) + 2
    doubts = _doubts(x.dtype, output.dtype, [weights], 0.0, [count])
    if doubts is None:
        return False
    target, source = _target(x, output), _dense(x)
    size = (1, x.shape[a], x.shape[b])
    row = size[2] * step
    strides = (size[1] * row, size[1] * row, row)
    kernel, lead = (1, *weights.shape[a : b + 1]), (0, *before[a : b + 1])
    window = (kernel, lead, np.ascontiguousarray(weights, np.float64), "raster", 0.0, 0.0)
    _core.run_filter(
        source, target, single=True, batch=math.prod(x.shape[:a]), size=size, step=step,
        x_strides=strides, out_strides=strides, extension=["nearest", mode, mode], constant=0.0,
        first=(*_stage(rows, 1), 0.0), second=(*_stage(columns, 2), doubts[0]), window=window,
        threads=-_core.threads_here.get(),
    )  # fmt: skip
    if target is not output:
        output[...] = target
    return True


def _rest(factors: Sequence[np.ndarray], long: Sequence[int]) -> float:
    """The product of the factors of one tap."""
    return math.prod(float(f[0]) for axis, f in enumerate(factors) if axis not in long)


def correlate_window(
    x: np.ndarray,
    weights: np.ndarray,
    before: Sequence[int],
    modes: Sequence[str],
    output: np.ndarray,
    constant: float,
) -> None:
    """A dense kernel, as many axes as x."""
    long = [axis for axis, taps in enumerate(weights.shape) if taps > 1] or [x.ndim - 1]
    first, last = long[0], long[-1]
    if last - first > 2:
        raise NotCovered(f"a dense kernel over {last - first + 1} axes")
    if not x.size:
        return
    spread = [1] * (2 - last + first)
    size = (*spread, *x.shape[first : last + 1])
    kernel = (*spread, *weights.shape[first : last + 1])
    lead = [0] * len(spread) + list(before[first : last + 1])
    extension = ["nearest"] * len(spread) + list(modes[first : last + 1])
    stage = (kernel, lead, np.ascontiguousarray(weights, np.float64), "raster", 0.0)
    planes, step = math.prod(x.shape[:first]), math.prod(x.shape[last + 1 :])
    if len(long) == 1 and step <= _LONGEST_STEP:  # rows of one image rather than planes of one row
        size, planes = (1, planes, x.shape[last]), 1
    target = _target(x, output)
    _run(_dense(x), target, planes, size, step, extension, constant, stage)
    if target is not output:
        output[...] = target
