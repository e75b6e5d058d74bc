"""From filters of arrays of any rank to runs of the core's filter kernel.

The kernel knows images of rows: planes, height, width, and a width whose columns may be several
elements each. A pass along one axis is one over height where the axes behind are long, one over
width where they are short; two passes along neighbouring axes are one run, in which the row
between them stays in cache; a dense kernel may span three axes.

The runs of a filter depend on shapes, types and weights alone, and are remembered: preparing them
takes longer than filtering a small picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastconv import _core
from fastconv._drop_in import NotCovered, native

__all__ = [
    "MOST_REMEMBERED",
    "Arrays",
    "Line",
    "call_of",
    "correlate_lines",
    "factor_runs",
    "line_of",
    "line_runs",
    "run_known",
    "window_runs",
    "with_runs",
]

MOST_REMEMBERED = 4096  # weights of a filter whose runs are remembered
_MOST_KNOWN = 256  # calls

_EPS = 2.0**-52  # SciPy's DBL_EPSILON: what differs by less counts as equal
_LONGEST_STEP = 64  # elements behind an axis up to which its passes run along the width
_EXACT_IN_SINGLE = 2.0**24
_MOST_DOUBT = 2.0**-8  # one float32 sum in 128, then, is added again
_WRAPS_EXACTLY = 2.0**31  # sums beyond are no longer taken modulo the type


class Line(NamedTuple):
    """A correlation along one axis."""

    axis: int
    taps: bytes  # of float64
    before: int  # taps before the output's own cell
    mode: str
    divisor: float = 0.0

    @property
    def weights(self) -> np.ndarray:
        return np.frombuffer(self.taps)


def line_of(
    axis: int, weights: np.ndarray, mode: str, origin: int = 0, divisor: float = 0.0
) -> Line:
    """The pass `scipy.ndimage.correlate1d` makes with this origin."""
    before = len(weights) // 2 + origin
    if not 0 <= before < len(weights):
        raise NotCovered(f"origin {origin}")
    return Line(axis, np.asarray(weights, np.float64).tobytes(), before, mode, divisor)


def _order(weights: np.ndarray) -> str:
    """In which order SciPy adds the products of these taps."""
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


def _most_roundings(weights: np.ndarray) -> int:
    """How often at most a float32 sum is rounded, for a first look: filter.c counts exactly."""
    return 3 + (weights.size // 2 + 1 if _order(weights) in ("even", "odd") else weights.size)


def _roundings(
    source: np.dtype, target: np.dtype, stages: Sequence[np.ndarray], constant: float,
    counts: Sequence[int],
) -> list[float] | None:  # fmt: skip
    """For each stage, what one rounding may change of a float32 sum; None where so many would do so
    much that many sums would have to be added again."""
    if target.kind not in "iu" or target.char in "IQL" or constant != np.rint(constant):
        return None
    most, found = max(_bound(source), abs(constant)), []
    for weights, count in zip(stages, counts):
        total = most * float(np.abs(weights).sum())
        found.append(2.0**-24 * total)
        if not count * found[-1] < _MOST_DOUBT:
            return None
        most = _bound(target) if target.kind == "u" else min(total, _bound(target))
        most = max(most, abs(constant))
    return found


def _precision(
    source: np.dtype, target: np.dtype, stages: Sequence[np.ndarray], constant: float,
    divided: bool,
) -> tuple[bool, list[float]]:  # fmt: skip
    """Whether to compute in float32, and what a rounding then changes of each stage's sums.

    float32 stays what it is. Narrow integers are computed in float32 where no sum of whole numbers
    can be rounded, and where few come so near to a whole number that truncation could differ:
    those are added again in double. Everything else is computed in double, as SciPy computes all.
    """
    sure = [0.0] * len(stages)
    narrow = source.kind in "biu" and source.itemsize <= 2
    if target == np.float32 and (source == np.float32 or narrow):
        return True, sure
    if not narrow or (divided and target.kind == "f"):
        return False, sure
    if _sums_are_exact(source, target, stages, constant, _EXACT_IN_SINGLE):
        return True, sure
    counts = [_most_roundings(weights) for weights in stages]
    roundings = None if divided else _roundings(source, target, stages, constant, counts)
    return roundings is not None, roundings or sure


def _commute(
    source: np.dtype, target: np.dtype, lines: Sequence[Line], constant: float
) -> bool:  # fmt: skip
    """Whether two passes may change places without changing more than the last bits of a float."""
    if constant != 0 and any(line.mode == "constant" for line in lines):
        return False
    if any(line.divisor for line in lines):
        return False
    if target.kind == "f":
        return True
    stages = [line.weights for line in lines]
    return source.kind in "biu" and _sums_are_exact(
        source, target, stages, constant, _WRAPS_EXACTLY
    )


def _stage(line: Line, at: int) -> tuple:
    kernel, before = [1, 1, 1], [0, 0, 0]
    kernel[at], before[at] = len(line.weights), line.before
    return kernel, before, line.weights, _order(line.weights), line.divisor


class Arrays(NamedTuple):
    """What runs depend on of the arrays: their shape, and types in native byte order."""

    shape: tuple[int, ...]
    source: np.dtype
    target: np.dtype


def _run(
    arrays: Arrays, planes: int, size: Sequence[int], step: int, extension: Sequence[str],
    constant: float, first: tuple, second: tuple | None = None,
) -> _core.Filter:  # fmt: skip
    """One run over dense arrays seen as `planes` x depth x height x (width * step)."""
    stages = [first] if second is None else [first, second]
    weights = [stage[2] for stage in stages]
    divided = any(stage[4] for stage in stages)
    single, roundings = _precision(arrays.source, arrays.target, weights, constant, divided)
    given = [(*stage, rounding) for stage, rounding in zip(stages, roundings)]
    return _core.Filter(
        arrays.source, arrays.target, single=single, batch=planes, size=size, step=step,
        extension=extension, constant=constant, first=given[0],
        second=given[1] if second is not None else None,
    )  # fmt: skip


def _run_line(arrays: Arrays, line: Line, constant: float) -> _core.Filter:
    shape = arrays.shape
    outer, n, inner = math.prod(shape[: line.axis]), shape[line.axis], shape[line.axis + 1 :]
    extension, step = ["nearest", line.mode, line.mode], math.prod(inner)
    if step <= _LONGEST_STEP:
        return _run(arrays, 1, (1, outer, n), step, extension, constant, _stage(line, 2))
    return _run(arrays, outer, (1, n, step), 1, extension, constant, _stage(line, 1))


def _run_pair(arrays: Arrays, rows: Line, columns: Line, constant: float) -> _core.Filter:
    """A pass along an axis, then one along the axis behind it."""
    shape = arrays.shape
    outer, step = math.prod(shape[: rows.axis]), math.prod(shape[columns.axis + 1 :])
    size = (1, shape[rows.axis], shape[columns.axis])
    extension = ["nearest", rows.mode, columns.mode]
    return _run(arrays, outer, size, step, extension, constant, _stage(rows, 1), _stage(columns, 2))


def line_runs(arrays: Arrays, lines: tuple[Line, ...], constant: float) -> tuple[_core.Filter, ...]:
    """Passes in their order, neighbours that one run can take together; in between, values have the
    type of the target."""
    known = sum(len(line.taps) for line in lines) <= 8 * MOST_REMEMBERED
    prepare = _line_runs if known else _line_runs.__wrapped__
    return prepare(arrays, lines, constant, math.copysign(1, constant))


@lru_cache(maxsize=256)
def _line_runs(
    arrays: Arrays, lines: tuple[Line, ...], constant: float, sign: float
) -> tuple[_core.Filter, ...]:
    """`sign`: of the constant; the two zeros are equal."""
    runs: list[_core.Filter] = []
    at = 0
    while at < len(lines):
        pair = lines[at : at + 2]
        here = arrays if at == 0 else arrays._replace(source=arrays.target)
        low, high = sorted(pair, key=lambda line: line.axis) if len(pair) == 2 else (pair[0],) * 2
        joined = low.axis + 1 == high.axis
        joined = joined and math.prod(arrays.shape[high.axis + 1 :]) <= _LONGEST_STEP
        if joined and (pair[0] is low or _commute(here.source, here.target, pair, constant)):
            runs.append(_run_pair(here, low, high, constant))
            at += 2
        else:
            runs.append(_run_line(here, pair[0], constant))
            at += 1
    return tuple(runs)


def _plain(array: np.ndarray) -> bool:
    flags = array.flags
    return flags.c_contiguous and flags.aligned and array.dtype.isnative


def correlate_lines(
    x: np.ndarray, lines: Sequence[Line], output: np.ndarray, constant: float,
    call: Any = None,
) -> None:  # fmt: skip
    """Passes one after another."""
    with_runs(x, output, lambda arrays: line_runs(arrays, tuple(lines), constant), call)


def with_runs(
    x: np.ndarray, output: np.ndarray,
    prepare: Callable[[Arrays], tuple[_core.Filter, ...] | None], call: Any = None,
) -> bool:  # fmt: skip
    """Run what `prepare` gives for the arrays, for `run_known` as well if it is told the call;
    False if that is None."""
    if not x.size:
        return True
    source = x if _plain(x) else np.ascontiguousarray(native(x))
    target = output
    if not _plain(output) or np.may_share_memory(x, output):
        target = np.empty(output.shape, output.dtype.newbyteorder("="))
    runs = prepare(Arrays(x.shape, source.dtype, target.dtype))
    if runs is None:
        return False
    if call is not None and source is x and target is output:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[call, x.shape, x.dtype, output.dtype] = runs
    _run_all(runs, source, target)
    if target is not output:
        output[...] = target
    return True


def _run_all(runs: tuple[_core.Filter, ...], source: np.ndarray, target: np.ndarray) -> None:
    threads = -_core.threads_here.get()
    for run in runs[:-1]:
        middle = np.empty(source.shape, target.dtype)
        run.run(source, middle, threads)
        source = middle
    runs[-1].run(source, target, threads)


_known: dict[tuple, tuple[_core.Filter, ...]] = {}
_PLAIN = frozenset((int, float, str, type(None)))


def call_of(*arguments: Any) -> str | None:
    """All of a call but its arrays as a key for `run_known`, which tells 1 from True and the zeros
    apart; None where an argument is none of a few plain types."""
    return repr(arguments) if _PLAIN.issuperset(map(type, arguments)) else None


def run_known(call: Any, x: Any, output: Any) -> np.ndarray | None:
    """What a call gives whose runs `with_runs` was told of, with plain arrays of the same shape and
    types; None for others. Reading arguments takes longer than filtering a small picture."""
    if call is None or type(x) is not np.ndarray:
        return None
    if output is not None and type(output) is not np.ndarray:
        return None
    dtype = x.dtype if output is None else output.dtype
    runs = _known.get((call, x.shape, x.dtype, dtype))
    if runs is None or not _plain(x):
        return None
    if output is None:
        output = np.empty(x.shape, dtype)
    elif (
        output.shape != x.shape or not _plain(output) or not output.flags.writeable
        or np.may_share_memory(x, output)
    ):  # fmt: skip
        return None
    _run_all(runs, x, output)
    return output


def factor_runs(
    arrays: Arrays, weights: np.ndarray, factors: Sequence[np.ndarray], before: Sequence[int],
    mode: str,
) -> tuple[_core.Filter, ...] | None:  # fmt: skip
    """A dense kernel over integers as two passes in float32, zero or nothing beyond the borders,
    and what rounding leaves in doubt as the dense sum in double. None where that is no gain."""
    long = [axis for axis, taps in enumerate(weights.shape) if taps > 1]
    if len(long) != 2 or long[0] + 1 != long[1] or _whole(weights):
        return None
    a, b = long
    shape, source = arrays.shape, arrays.source
    step = math.prod(shape[b + 1 :])
    if source.kind not in "biu" or source.itemsize > 2 or step > _LONGEST_STEP:
        return None
    rest = math.prod(float(f.flat[0]) for axis, f in enumerate(factors) if axis not in long)
    rows = Line(a, (factors[a].ravel() * rest).tobytes(), before[a], mode)
    columns = Line(b, factors[b].ravel().tobytes(), before[b], mode)
    count = _most_roundings(rows.weights) + _most_roundings(columns.weights) + 2
    roundings = _roundings(source, arrays.target, [weights], 0.0, [count])
    if roundings is None:
        return None
    kernel, lead = (1, *weights.shape[a : b + 1]), (0, *before[a : b + 1])
    window = (kernel, lead, np.ascontiguousarray(weights, np.float64), "raster", 0.0, 0.0)
    run = _core.Filter(
        source, arrays.target, single=True, batch=math.prod(shape[:a]),
        size=(1, shape[a], shape[b]), step=step, extension=["nearest", mode, mode], constant=0.0,
        first=(*_stage(rows, 1), 0.0), second=(*_stage(columns, 2), roundings[0]), window=window,
    )  # fmt: skip
    return (run,)


def window_runs(
    arrays: Arrays, weights: np.ndarray, before: Sequence[int], modes: Sequence[str],
    constant: float,
) -> tuple[_core.Filter, ...]:  # fmt: skip
    """A dense kernel, as many axes as the arrays."""
    known = weights.size <= MOST_REMEMBERED
    prepare = _window_runs if known else _window_runs.__wrapped__
    taps, sign = weights.tobytes(), math.copysign(1, constant)
    return prepare(arrays, taps, weights.shape, tuple(before), tuple(modes), constant, sign)


@lru_cache(maxsize=128)
def _window_runs(
    arrays: Arrays, taps: bytes, kernel: tuple[int, ...], before: tuple[int, ...],
    modes: tuple[str, ...], constant: float, sign: float,
) -> tuple[_core.Filter, ...]:  # fmt: skip
    shape, weights = arrays.shape, np.frombuffer(taps)
    long = [axis for axis, taps in enumerate(kernel) if taps > 1] or [len(shape) - 1]
    first, last = long[0], long[-1]
    if last - first > 2:
        raise NotCovered(f"a dense kernel over {last - first + 1} axes")
    spread = [1] * (2 - last + first)
    size = (*spread, *shape[first : last + 1])
    lead = [0] * len(spread) + list(before[first : last + 1])
    extension = ["nearest"] * len(spread) + list(modes[first : last + 1])
    stage = ((*spread, *kernel[first : last + 1]), lead, weights, "raster", 0.0)
    planes, step = math.prod(shape[:first]), math.prod(shape[last + 1 :])
    if len(long) == 1 and step <= _LONGEST_STEP:  # rows of one image rather than planes of one row
        size, planes = (1, planes, shape[last]), 1
    return (_run(arrays, planes, size, step, extension, constant, stage),)
