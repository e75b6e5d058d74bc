"""Real convolutions of one signal, picture or volume by one kernel, cut to a region of the result.

`convolve_region` takes float32 or float64 arrays of any number of axes. Axes in front along which
the kernel has one sample are a batch; up to three axes then go to the core as they are; of more,
the first is summed here, one slice of the kernel after another. The method is the cheapest of

    direct         the core's kernels
    separable      two passes, where a kernel of two axes is an outer product to within rounding
    fft            `fastconv._fft`: overlap-save

A sum of products rounds relative to the products it adds, a transform relative to the largest
sample around. So the FFT runs only where the samples' dynamic range lets it keep the accuracy of a
direct sum (`_range`), float32 in float64 if that is what it takes; outputs whose window holds
nothing but zeros are set to zero after it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv import _core, _fft
from fastconv._convolve import make_problem, weights_unsafe
from fastconv._planning import make_plan
from fastconv._problem import Problem

__all__ = [
    "CODES",
    "Region",
    "convolve_depthwise",
    "convolve_region",
    "fastest_plan",
    "plan_of",
    "runs_by_fft",
]

Region = tuple[tuple[int, int], ...]  # [low, high) of the full convolution, per axis

CODES = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
# Ratio of largest to typical samples up to which an FFT rounds like a direct sum.
_FFT_RANGE = {"f32": 300.0, "f64": 1e5}
_FFT_RANGE_WIDENED = 1e9
_SAMPLED, _SAMPLED_TAPS = 32, 1024  # of a block, and of the kernel, to find what is typical
_RANK_ONE_TAPS = 9
# What a line by FFT takes over the estimate, measured with AVX-512 on one core, and the look at x.
_LONE_LINE, _LOOK_SECONDS = 1.5, 1e-4
_RANK_ONE_ERROR = 4.0  # units of roundoff of the largest tap


@lru_cache(maxsize=512)
def _problem(code: str, kernel: tuple[int, ...], padding: Any, channels: int) -> Problem:
    return make_problem(
        code, (channels, 1, *kernel), len(kernel), padding=padding, groups=channels,
    )  # fmt: skip


@lru_cache(maxsize=512)
def plan_of(
    code: str, shape: tuple[int, ...], kernel: tuple[int, ...], padding: Any,
    algorithm: str, unsafe: bool,
) -> Any:  # fmt: skip
    """The plan for x of shape (batch, channels, axes), each channel with a kernel of its own."""
    problem = _problem(code, kernel, padding, shape[1])
    problem = problem._replace(algorithm=algorithm, weights_unsafe=unsafe)
    plan, _ = make_plan(problem, shape, False, False, False, pack_per_call=True)
    if plan.algorithm.startswith("winograd"):  # whose rounding is relative to a whole tile
        problem = problem._replace(algorithm="gemm")
        plan, _ = make_plan(problem, shape, False, False, False, pack_per_call=True)
    return plan


def convolve_region(
    x: np.ndarray, w: np.ndarray, region: Region, *, direct: bool = False, fft: bool = False,
    exact: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """The samples `region` of the full convolution of x and w.

    Parameters
    ----------
    x, w : ndarray
        Both float32 or both float64, of the same number of axes, none of size 0.
    region : tuple of (int, int)
    direct : bool
        Leave the FFT out.
    fft : bool
        Take the FFT wherever it is accurate enough, even if it is not the fastest.
    exact : float
        Where not 0, the samples are whole numbers, the largest of `x` is `exact`, and so are
        those of the result.
    """
    lead = 0
    while lead < w.ndim - 1 and w.shape[lead] == 1:
        lead += 1
    if lead:
        x = x[tuple(slice(low, high) for low, high in region[:lead])]
    if w.ndim - lead > 3:
        return _sum_slices(x, w, lead, region, direct=direct, fft=fft, exact=exact)
    batch = x.shape[:lead]
    x, w, region = x.reshape(-1, *x.shape[lead:]), w.reshape(w.shape[lead:]), region[lead:]
    if w.size > x.size and len(x) == 1:
        x, w = w[None], x[0]
        exact = exact and float(np.abs(x).max())
    padding, cut = [], [slice(None)]
    for n, k, (low, high) in zip(x.shape[1:], w.shape, region, strict=True):
        before, after = k - 1 - low, high - n
        cut.append(slice(max(-before, 0), n + min(after, 0)))
        padding.append((max(before, 0), max(after, 0)))
    x = _readable(x[tuple(cut)])
    how = "direct" if direct else "fft" if fft else "auto"
    out = _planes(x[:, None], w[None, None], tuple(padding), how, exact)
    return out.reshape(*batch, *out.shape[2:])


def _sum_slices(
    x: np.ndarray, w: np.ndarray, axis: int, region: Region, **options: Any
) -> np.ndarray:
    """More than three axes: `axis` becomes part of the batch, once for each slice of the kernel."""
    (low, high), n = region[axis], x.shape[axis]
    around = tuple(
        (0, size) if i < axis else pair for i, (size, pair) in enumerate(zip(x.shape, region))
    )
    out = np.zeros(
        [*x.shape[:axis], *(stop - start for start, stop in region[axis:])], x.dtype
    )
    before = (slice(None),) * axis
    for tap in range(w.shape[axis]):
        first, last = max(low - tap, 0), min(high - tap, n)
        if first >= last:
            continue
        part = (*around[:axis], (0, last - first), *around[axis + 1 :])
        out[(*before, slice(first + tap - low, last + tap - low))] += convolve_region(
            x[(*before, slice(first, last))], w[(*before, slice(tap, tap + 1))], part, **options
        )
    return out


def convolve_depthwise(
    x: np.ndarray, w: np.ndarray, region: Region, *, direct: bool = False
) -> np.ndarray:
    """Each of the channels that come first in both with a kernel of its own; at most three axes."""
    padding, cut = [], [slice(None)]
    for n, k, (low, high) in zip(x.shape[1:], w.shape[1:], region, strict=True):
        before, after = k - 1 - low, high - n
        cut.append(slice(max(-before, 0), n + min(after, 0)))
        padding.append((max(before, 0), max(after, 0)))
    x = _readable(x[tuple(cut)])
    return _planes(x[None], w[:, None], tuple(padding), "direct" if direct else "auto", 0.0)[0]


def _readable(x: np.ndarray) -> np.ndarray:
    """x, copied where its elements lie at distances the core does not read."""
    item = x.itemsize
    return x if all(step % item == 0 for step in x.strides) else np.ascontiguousarray(x)


def _planes(
    x: np.ndarray, w: np.ndarray, padding: tuple[tuple[int, int], ...], how: str, exact: float
) -> np.ndarray:
    """(batch, channels, axes) by (channels, 1, axes)."""
    code = CODES[x.dtype]
    unsafe = weights_unsafe(w, w.shape[2:])
    key = (x.shape, w.shape[2:], padding)
    if unsafe or how == "fft":
        plan = plan_of(code, *key, "auto" if unsafe else "fft", unsafe)
    else:
        plan = fastest_plan(code, *key)
    if how != "fft" and w.ndim == 4 and len(w) == 1 and w.size >= _RANK_ONE_TAPS:
        passes = _passes(plan, x, w, padding, exact)
        if passes is not None:
            return passes
    if plan.algorithm == "fft":
        by_fft = None if how == "direct" else _by_fft(plan, code, x, w, padding, exact)
        if by_fft is not None:
            return by_fft
        plan = plan_of(code, *key, "auto", True)
    return _run(plan, x, w, padding)


def _run(plan: Any, x: np.ndarray, w: np.ndarray, padding: Any) -> np.ndarray:
    sizes = (
        n + before + after - k + 1
        for n, k, (before, after) in zip(x.shape[2:], w.shape[2:], padding, strict=True)
    )
    out = np.empty((*x.shape[:2], *sizes), x.dtype)
    weights = plan.pack(np.ascontiguousarray(w), flip=True)
    plan.run(weights, x, out, threads=-_core.threads_here.get())
    return out


# Kernels that are outer products


def _passes(
    plan: Any, x: np.ndarray, w: np.ndarray, padding: Any, exact: float
) -> np.ndarray | None:
    """Rows, then columns, if the kernel is an outer product and that is estimated to be faster."""
    (height, width), (down, across) = w.shape[2:], padding
    if height == 1 or width == 1:
        return None
    code, none = CODES[x.dtype], ((0, 0), across)
    rows = plan_of(code, x.shape, (1, width), none, "auto", True)
    between = (*x.shape[:3], x.shape[3] + across[0] + across[1] - width + 1)
    columns = plan_of(code, between, (height, 1), (down, (0, 0)), "auto", True)
    if rows.estimated_seconds + columns.estimated_seconds >= plan.estimated_seconds:
        return None
    factors = _factors(w[0, 0], exact > 0)
    if factors is None:
        return None
    column, row = factors
    middle = _run(rows, x, row[None, None, None, :], none)
    return _run(columns, middle, column[None, None, :, None], (down, (0, 0)))


def _factors(w: np.ndarray, exact: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """(column, row) with w their outer product: whole numbers if `exact`, else to rounding."""
    i, j = np.unravel_index(np.argmax(np.abs(w)), w.shape)
    pivot = w[i, j]
    if not np.isfinite(pivot) or pivot == 0:
        return None
    if exact:
        row = w[i] / float(np.gcd.reduce(w[i].astype(np.int64)))
        column = w[:, j] / row[j]
        same = (np.floor(column) == column).all() and (np.outer(column, row) == w).all()
    else:
        row, column = w[i] / pivot, w[:, j]
        off = np.abs(np.outer(column, row) - w).max()
        same = off <= _RANK_ONE_ERROR * np.finfo(w.dtype).eps * abs(pivot)
    return (column, row) if same else None


# The FFT and what it may run on


def _by_fft(
    plan: Any, code: str, x: np.ndarray, w: np.ndarray, padding: Any, exact: float
) -> np.ndarray | None:
    """None where the FFT would lose digits that a direct sum keeps."""
    if exact:
        size = math.prod(plan.cut.tile)
        error = 8 * math.log2(size) * np.finfo(x.dtype).eps * exact * math.sqrt(size)
        if not error * float(np.linalg.norm(w.astype(np.float64))) < 0.25:
            return None
        return np.rint(_run(plan, x, w, padding))
    ratio, silent = _range(x, w)
    if not ratio <= _FFT_RANGE[code]:
        if code == "f64" or not ratio <= _FFT_RANGE_WIDENED:
            return None
        wide = plan_of("f64", x.shape, w.shape[2:], padding, "fft", False)
        out = _run(wide, x.astype(np.float64), w.astype(np.float64), padding).astype(x.dtype)
    else:
        out = _whole_line(plan, x, w, padding)
        if out is None:
            out = _run(plan, x, w, padding)
    if silent:
        out[~_touched(x != 0, w.shape[2:], padding)] = 0
    return out


def _whole_seconds(code: str, n: int, k: int, before: int, after: int) -> float:
    """What a line takes by three transforms of it all."""
    length = _fft.whole_length(n, k, k - 1 - before, n + after)
    return _fft.whole_seconds(length, code == "f64")


def _whole_line(plan: Any, x: np.ndarray, w: np.ndarray, padding: Any) -> np.ndarray | None:
    """A line by three transforms of it all; None where tiles are faster, or a sum overflows."""
    if x.ndim > 3 or x.size > x.shape[2]:
        return None
    n, k, ((before, after),) = x.size, w.size, padding
    if _whole_seconds(CODES[x.dtype], n, k, before, after) >= plan.estimated_seconds:
        return None
    try:
        y = _fft.convolve_line(x.reshape(n), w.reshape(k), k - 1 - before, n + after)
    except _fft.NotFinite:
        return None
    return y.reshape(1, 1, -1)


def _range(x: np.ndarray, w: np.ndarray) -> tuple[float, bool]:
    """Largest over typical samples of x, in the quietest block that any window spans, times that of
    w; and whether some block of x is zero throughout. NaN where a sample is not finite."""
    largest = max(float(np.maximum.reduce(x, None)), -float(np.minimum.reduce(x, None)))
    quietest, silent = _quietest(x, w.shape[2:])
    taps = w[w != 0]
    if largest == 0 or not taps.size:
        return 1.0, silent
    if not math.isfinite(largest):
        return math.nan, silent
    taps = np.abs(taps)
    some = taps[:: max(len(taps) // _SAMPLED_TAPS, 1)]
    typical = math.exp(float(np.add.reduce(np.log(some, dtype=np.float64))) / len(some))
    return largest / quietest * (float(np.maximum.reduce(taps)) / typical), silent


def _quietest(x: np.ndarray, kernel: tuple[int, ...]) -> tuple[float, bool]:
    """The least typical (geometric mean) sample of blocks half the kernel's size; any all zero."""
    blocks = x
    for axis, (n, k) in enumerate(zip(x.shape[2:], kernel, strict=True)):
        size = min(max(k // 2, 1), n)
        at = 2 + 2 * axis
        count = n // size
        whole = blocks[(slice(None),) * at + (slice(0, count * size),)]
        blocks = whole.reshape(*whole.shape[:at], count, size, *whole.shape[at + 1 :])
    rank = len(kernel)
    inside = tuple(range(3, 3 + 2 * rank, 2))
    each = max(int(_SAMPLED ** (1 / rank)), 2)
    steps = [slice(None)] * 2
    for axis in inside:
        steps += [slice(None), slice(None, None, max(blocks.shape[axis] // each, 1))]
    sampled = np.abs(blocks[tuple(steps)])
    if np.minimum.reduce(sampled, None) > 0:
        levels = np.add.reduce(np.log(sampled, dtype=np.float64), inside)
        count = math.prod(sampled.shape[axis] for axis in inside)
        return math.exp(float(levels.min()) / count), False
    with np.errstate(divide="ignore", invalid="ignore"):
        some = sampled != 0
        counts = some.sum(axis=inside)
        levels = np.log(sampled, where=some, out=np.zeros(sampled.shape, np.float64))
        means = levels.sum(axis=inside) / counts
    heard = counts > 0
    # Blocks with nothing sampled but zeros may hold a few other samples; they count as zero only
    # in that outputs near them are looked at.
    least = float(means[heard].min()) if heard.any() else 0.0
    return math.exp(least), bool((~heard).any())


def _touched(some: np.ndarray, kernel: tuple[int, ...], padding: Any) -> np.ndarray:
    """Which windows hold a True."""
    for axis, (k, (before, after)) in enumerate(zip(kernel, padding, strict=True), start=2):
        n = some.shape[axis]
        counts = np.zeros([*some.shape[:axis], n + 1, *some.shape[axis + 1 :]], np.intp)
        np.cumsum(some, axis=axis, out=counts[(slice(None),) * axis + (slice(1, None),)])
        low = np.arange(-before, n + after - k + 1)
        some = counts.take(np.clip(low + k, 0, n), axis) > counts.take(np.clip(low, 0, n), axis)
    return some


def fastest_plan(
    code: str, shape: tuple[int, ...], kernel: tuple[int, ...], padding: tuple[tuple[int, int], ...]
) -> Any:
    """The cost model's choice; of a line, the FFT only where it wins by more than the model leaves
    out: the look at the samples' range, and transforms that have no other line beside them."""
    plan = plan_of(code, shape, kernel, padding, "auto", False)
    if plan.algorithm != "fft" or len(kernel) > 1 or math.prod(shape[:2]) > 1:
        return plan
    direct = plan_of(code, shape, kernel, padding, "auto", True)
    whole = _whole_seconds(code, shape[2], kernel[0], *padding[0])
    fft_seconds = _LONE_LINE * min(plan.estimated_seconds, whole) + _LOOK_SECONDS
    return direct if direct.estimated_seconds < fft_seconds else plan


def runs_by_fft(
    code: str, shape: tuple[int, ...], kernel: tuple[int, ...], region: Region
) -> bool:
    """Whether the cost model takes the FFT for such sizes."""
    if len(shape) > 3:
        return False
    if math.prod(kernel) > math.prod(shape):
        shape, kernel = kernel, shape
    padding, sizes = [], []
    for n, k, (low, high) in zip(shape, kernel, region, strict=True):
        before, after = k - 1 - low, high - n
        padding.append((max(before, 0), max(after, 0)))
        sizes.append(n + min(before, 0) + min(after, 0))
    plan = fastest_plan(code, (1, 1, *sizes), kernel, tuple(padding))
    return bool(plan.algorithm == "fft")
