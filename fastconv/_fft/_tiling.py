"""What the FFT can run, how the dense output is cut into tiles, and what that costs.

Every candidate is bounded from below first, by its transforms and its sums; the whole cost is
reckoned of those alone whose bound is below the best so far, mostly one or none.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache
from operator import le
from typing import Any, NamedTuple

from fastconv import _core

__all__ = [
    "FEW_TAPS",
    "TASK_SAMPLES",
    "Geometry",
    "Tiling",
    "best_tiling",
    "dense_size",
    "extents_of",
    "kernel_name",
    "product_plan",
    "rejects",
    "seconds",
    "whole_length",
    "whole_seconds",
]

FEW_TAPS = 36  # kernels smaller than this never gain
TASK_SAMPLES = 1 << 17  # of x: input, spectrum and output of a task stay near L2
_PRODUCT_SAMPLES = 1 << 19  # of x and out: matrix products want many tiles at once
_MOST_SPECTRA_BYTES = 1 << 29
_LONGEST_TILE = 1 << 22
_OUTPUTS = (1, 2, 4, 8, 16)  # of a tile, in extents of the kernel
_MOST_KNOWN = 1024  # cuts of one problem that are remembered
_ROWS = 8  # of outputs whose columns are summed together, in extents of the kernel

# Costs in nanoseconds, with the slack of the core's own cost functions.
_SLACK = 1.6
_PLANES = 1.5  # times as long where tiles are cut along several axes
_TASK_NS = 25e3
_CALL_NS = 20e3
_LEAST_NS = 0.56  # of any transform, a sample
_COLUMN_SAMPLES = 128 << 10  # of two tiles there, half in float64: all stays near L2
_PAIR_NS = 30e3
_COLUMN_SHARE = 0.8  # of the rate of multiply-adds in sums of columns, before the slack


class Geometry(NamedTuple):
    """Sizes per spatial axis, and the padding as (before, after)."""

    in_size: tuple[int, ...]
    out_size: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]


class Tiling(NamedTuple):
    """How the dense output is cut, and what that costs."""

    way: str  # "channels", "products" or "columns": what lies between the transforms
    tile: tuple[int, ...]  # samples of x per axis
    valid: tuple[int, ...]  # and the outputs they give
    counts: tuple[int, ...]  # tiles
    group: tuple[int, ...]  # tiles of a task
    channels: int  # of a task; all of them where channels are summed by products
    run_ns: float
    pack_ns: float
    calls_ns: float  # of run_ns, what does not depend on sizes


@lru_cache(maxsize=1)
def _lengths() -> list[int]:
    """Lengths whose real transforms are fast: multiples of 4 with no prime above 5."""
    most = 2 * _LONGEST_TILE
    found = [
        4 * 2**a * 3**b * 5**c
        for a in range(22)
        for b in range(14)
        for c in range(10)
        if 4 * 2**a * 3**b * 5**c <= most
    ]
    return sorted(found)


@lru_cache(maxsize=4096)
def _fast_length(least: int) -> int:
    lengths = _lengths()
    return lengths[min(bisect_left(lengths, least), len(lengths) - 1)]


def kernel_name(problem: Any) -> str:
    return f"fft.{problem.code}.scipy"


def extents_of(problem: Any) -> tuple[int, ...]:
    """Samples that a window spans per axis."""
    return tuple([d * (k - 1) + 1 for k, d in zip(problem.kernel, problem.dilation, strict=True)])


def dense_size(problem: Any, geometry: Geometry) -> tuple[int, ...]:
    """Of the output before strides leave any out."""
    return tuple([(n - 1) * s + 1 for n, s in zip(geometry.out_size, problem.stride, strict=True)])


@lru_cache(maxsize=256)
def rejects(problem: Any) -> str | None:
    """Why no such convolution can run by FFT, or None."""
    if problem.operation != "conv":
        return "only plain convolutions"
    if math.prod(problem.kernel) == 1:
        return "only kernels of more than one tap"
    if problem.weights_unsafe:
        return "only finite weights below 1e18, which no transform makes overflow"
    extents = extents_of(problem)
    if max(extents) > _LONGEST_TILE:
        return f"only kernels that span at most {_LONGEST_TILE} samples along an axis"
    spectrum = math.prod(map(_fast_length, extents)) * (8 if problem.code == "f64" else 4)
    if problem.out_ch * (problem.in_ch // problem.groups) * spectrum > _MOST_SPECTRA_BYTES:
        return f"only weights whose spectra take at most {_MOST_SPECTRA_BYTES >> 20} MiB"
    return None


class _Facts(NamedTuple):
    """What the search needs to know of a problem."""

    way: str
    extents: tuple[int, ...]
    wide: int  # 2 for float64, else 1
    ins: int
    outs: int
    groups: int
    per_in: int
    turned: float  # ns of each output, where channels come last; one alone lies alike
    alone: bool  # a line that has no other beside it
    by_columns: bool  # whether that can be weighed too
    sum_ns: float  # least that sums over channels cost, per sample of the tiles
    read_ns: float  # and the reading of the weights' spectra, per sample of one tile
    sizes: tuple[tuple[tuple[int, int], ...], ...]  # of tiles per axis: outputs and samples
    valid: tuple[tuple[int, ...], ...]  # per axis: outputs that such tiles have room for
    known: dict[Any, Tiling]


@lru_cache(maxsize=256)
def _facts(problem: Any) -> _Facts:
    ins, outs, groups, wide = problem.in_ch, problem.out_ch, problem.groups, 1
    wide += problem.code == "f64"
    per_in, extents = ins // groups, extents_of(problem)
    products, sum_ns, read_ns = float(wide * outs * per_in), 0.25 * wide * outs * per_in, 0.0
    way = "products" if ins > 4 * groups else "channels"
    if way == "products":
        sum_ns = 0.9 * ins + products * (4.0 / 190)
        sum_ns += 3.0 * ins * (outs <= 8 * groups)
        read_ns = 4.0 * products / 27
    sizes = []
    for ratio in _OUTPUTS:
        valid = [max(ratio * k, 16) for k in extents]
        at = zip(valid, extents, strict=True)
        sizes.append(tuple([(v, _fast_length(v + k - 1)) for v, k in at]))
    turned = ins * (ins > 1) + 2.3 * outs * (outs > 1) if problem.channels_last else 0.0
    rooms = [[size - k + 1 for (_, size), k in zip(each, extents, strict=True)] for each in sizes]
    return _Facts(
        way, extents, wide, ins, outs, groups, per_in, turned,
        problem.rank == 1 and ins == 1, problem.rank == 2 and ins == outs == groups,
        sum_ns, read_ns, tuple(sizes), tuple(zip(*rooms, strict=True)), {},
    )  # fmt: skip


def _transform_ns(size: int, rank: int, wide: int, lines: int = 4) -> float:
    """Per sample and direction; lines beyond multiples of a vector leave the vectors."""
    ns = 0.3 + 0.065 * math.log2(size) + 0.7 * (rank - 1)
    if rank == 1:
        ns *= 1 + 1.5 * (lines % (4 // wide)) / lines
    if size * wide > 1 << 20:
        ns *= 1.5
    return ns * (1.6 if rank == 1 else 1.8) if wide > 1 else ns


def _tiles(facts: _Facts, dense: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Tiles whose outputs are 1 to 16 times the kernel's extent, or all of them."""
    whole = tuple([_fast_length(n + k - 1) for n, k in zip(dense, facts.extents, strict=True)])
    found = []
    for sizes in facts.sizes:
        if all(map(le, dense, [v for v, _ in sizes])):
            break
        if facts.alone:  # lines in fours, for the vectors
            tiles = -(-dense[0] // (4 * sizes[0][0])) * 4
            found.append((_fast_length(-(-dense[0] // tiles) + facts.extents[0] - 1),))
            continue
        axes = zip(sizes, dense, whole, strict=True)
        found.append(tuple([size if v < n else most for (v, size), n, most in axes]))
    if max(dense) <= _LONGEST_TILE or not found:
        found.append(whole)
    return found


def best_tiling(
    problem: Any, dense: tuple[int, ...], per_call: bool, most_seconds: float = math.inf
) -> Tiling | None:
    """The cheapest cut, packing included where it is done `per_call`, if any takes less time.

    Which it is depends on how often each tile is needed; so it is searched for once for all sizes
    that need the same tiles as often, and what every output costs is added.
    """
    facts = _facts(problem)
    each = 0.6 * facts.outs + facts.turned
    outputs = math.prod(dense)
    least = (facts.ins + facts.outs) * _LEAST_NS * outputs + _TASK_NS + _CALL_NS
    if _SLACK * (least + each * outputs) >= 1e9 * most_seconds:
        return None
    if facts.alone or facts.by_columns:  # whose tiles follow every size
        cut = _searched(facts, dense, per_call)
    else:
        cut = _remembered(facts, dense, per_call)
    if len(dense) > 1 and cut.way != "columns":
        run_ns, pack_ns, calls_ns = (_PLANES * ns for ns in (cut.run_ns, cut.pack_ns, cut.calls_ns))
        cut = cut._replace(run_ns=run_ns, pack_ns=pack_ns, calls_ns=calls_ns)
    run_ns = cut.run_ns + _SLACK * each * outputs
    if run_ns + per_call * cut.pack_ns >= 1e9 * most_seconds:
        return None
    return cut._replace(run_ns=run_ns)


def _remembered(facts: _Facts, dense: tuple[int, ...], per_call: bool) -> Tiling:
    key: Any = (per_call, max(dense) <= _LONGEST_TILE)
    for n, k, valid in zip(dense, facts.extents, facts.valid, strict=True):
        key += (_fast_length(n + k - 1), *[-(-n // v) for v in valid])
    cut = facts.known.get(key)
    if cut is None:
        cut = _searched(facts, dense, per_call)
        if len(facts.known) >= _MOST_KNOWN:
            facts.known.clear()
        facts.known[key] = cut
    return cut


def _searched(facts: _Facts, dense: tuple[int, ...], per_call: bool) -> Tiling:
    """The cheapest cut, without what every output costs."""
    _, extents, wide, ins, outs, *_ = facts
    rank, lines = len(dense), ins + outs
    pack = per_call * outs * facts.per_in
    least = []
    for tile in _tiles(facts, dense):
        size = samples = 1
        for n, b, k in zip(dense, tile, extents, strict=True):
            size *= b
            samples *= -(-n // (b - k + 1)) * b
        ns = _transform_ns(size, rank, wide)
        run = samples * (lines * ns + facts.sum_ns)
        if facts.read_ns:  # spectra are read for each task, of which none has more tiles than this
            most = _PRODUCT_SAMPLES // size // lines
            together = min(4 * most, samples // size) if most > 1 else 1
            task = max(4.5 * outs, facts.read_ns - facts.sum_ns * together) + _TASK_NS / size
            run += samples / together * task - _TASK_NS
        bound = _SLACK * (run + pack * size * (ns + 1.5) + _TASK_NS + _CALL_NS)
        least.append((bound, tile))
    least.sort()
    best = _columns(facts, dense, per_call) if facts.by_columns else None
    best_ns = math.inf if best is None else best.run_ns + per_call * best.pack_ns
    for bound, tile in least:
        if bound >= best_ns:
            break
        cut = _tiling(facts, dense, tile)
        ns = cut.run_ns + per_call * cut.pack_ns
        if ns < best_ns:
            best, best_ns = cut, ns
    assert best is not None
    return best


def whole_length(n: int, k: int, low: int, high: int) -> int:
    """Of a transform whose circular convolution of n samples by k is right at [low, high)."""
    return _fast_length(max(n + k - 1 - low, high, n, k))


def whole_seconds(length: int, wide: bool) -> float:
    """What the three transforms of one line of that length take."""
    return 3e-9 * _SLACK * length * _transform_ns(length, 1, 1 + wide, 1)


def seconds(cut: Tiling, per_call: bool) -> float:
    """What one image takes."""
    return 1e-9 * (cut.run_ns + per_call * cut.pack_ns)


def _grouped(counts: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Tiles of a task per axis, last axis first: about `most` in all, in fours for the vectors."""
    group = []
    for count in reversed(counts):
        parts = -(-count // max(min(count, most), 1))
        even = -(-count // parts)
        group.append(min(count, -(-even // 4) * 4) if even > 1 else 1)
        most //= group[-1]
    return tuple(reversed(group))


def _tiling(facts: _Facts, dense: tuple[int, ...], tile: tuple[int, ...]) -> Tiling:
    """The cut into such tiles, and what it costs."""
    way, extents, wide, ins, outs, groups, per_in, *_ = facts
    valid = tuple([b - k + 1 for b, k in zip(tile, extents, strict=True)])
    counts = tuple([-(-n // v) for n, v in zip(dense, valid, strict=True)])
    size, tiles, summed = math.prod(tile), math.prod(counts), way == "products"
    budget = (_PRODUCT_SAMPLES if summed else TASK_SAMPLES) // size
    channels = groups if summed else max(min(groups, budget // (min(tiles, 8) * per_in)), 1)
    most = budget // ((ins + outs) if summed else channels * per_in)
    group = _grouped(counts, max(most, 4 if facts.alone else 1))
    together = math.prod(group)
    tasks = math.prod([-(-n // g) for n, g in zip(counts, group, strict=True)])
    tasks *= -(-groups // channels)
    ns = _transform_ns(size, len(tile), wide, together * (ins if summed else channels * per_in))
    lines = 1.5 * ins + 3.0 * outs if summed and len(tile) == 1 else ins + outs
    run = size * tiles * lines * ns  # channels summed by products lie between the samples of a line
    if summed:
        slack = _SLACK * (_PLANES if len(tile) > 1 else 1.0)
        run += tasks * (_products_ns(facts, tile, together) / slack + 4.5 * size * outs)
        run += 0.9 * size * tiles * ins
        if outs <= 8 * groups:  # so little arithmetic that spectra are read at the speed of memory
            run += 3.0 * size * tiles * ins
    else:
        run += 0.25 * wide * size * tiles * outs * per_in
    return Tiling(
        way, tile, valid, counts, group, channels,
        _SLACK * (run + _TASK_NS * tasks + _CALL_NS),
        _SLACK * (size * outs * per_in * (ns + 1.5) + _CALL_NS),
        _SLACK * (_TASK_NS * tasks + _CALL_NS),
    )  # fmt: skip


def _products_ns(facts: _Facts, tile: tuple[int, ...], tiles: int) -> float:
    """Sums over channels at every frequency of so many tiles, as the core reckons them."""
    count = facts.groups * math.prod(tile[:-1]) * (tile[-1] // 2 + 1)
    plan = product_plan(facts.wide, count, facts.per_in, facts.outs // facts.groups, tiles)
    return 1e9 * float(plan.estimated_seconds)


def product_plan(wide: int, count: int, per_in: int, per_out: int, tiles: int) -> Any:
    """`count` real matrix products, as a convolution of one tap in so many groups."""
    return _core.Plan(
        dtype="f64" if wide > 1 else "f32", operation="conv", rank=1, batch=1,
        in_ch=2 * per_in * count, out_ch=per_out * count, groups=count, in_size=(2 * tiles,),
        kernel=(1,), stride=(1,), dilation=(1,), padding=((0, 0),),
    )  # fmt: skip


def _columns(facts: _Facts, dense: tuple[int, ...], per_call: bool) -> Tiling:
    """The cheapest cut where rows alone are transformed; `counts` are of pairs of tiles."""
    (height, width), (down, across), wide = dense, facts.extents, facts.wide
    per_tap = 4e9 * wide / (_SLACK * _COLUMN_SHARE * _core.rates_used()["fma_flops"])
    whole = _fast_length(width + across - 1)
    first = max((4 * across - 1).bit_length() - 2, 3)
    lengths = [n << i for i in (first, first + 1) for n in (4, 5, 6) if n << i < whole]
    move = 0.6 + wide  # to cut and to store a sample
    half = -(-height // 2)
    # A task is a strip of pairs: the fewer, the fewer rows are transformed twice.
    pieces = max(half // max(_ROWS * down, 64), 1)

    def pairs_of(length: int) -> int:
        most = max(_COLUMN_SAMPLES // (wide * length) - down, 2 * down, 16)
        return -(-half // most)

    def transform_ns(length: int) -> float:
        return (1.2 if wide > 1 else 0.6) + 0.12 * wide * math.log2(length / 256) + 80 / length

    def run_of(length: int) -> float:
        pairs, ns = pairs_of(length), transform_ns(length)
        rows, tasks, shared = -(-half // pairs), min(pieces, pairs), down - 1
        run = 2 * pairs * rows * (2 * ns + move + per_tap * down)
        run += 2 * shared * (tasks * (ns + move / 2) + (pairs - tasks) * 0.3 * wide)
        if (2 * rows + shared) * length * wide > 2 * _COLUMN_SAMPLES:  # beyond L2
            run *= 1.2
        run = run * length + pairs * _PAIR_NS
        return run * -(-width // (length - across + 1)) + per_call * length * down * (ns + 6.0)

    length = min([*lengths, whole], key=run_of)
    pairs, valid = pairs_of(length), length - across + 1
    rows = -(-half // pairs)
    counts = pairs, -(-width // valid)
    group = -(-pairs // min(pieces, pairs)), 1
    tasks = math.prod([-(-n // g) for n, g in zip(counts, group, strict=True)])
    pack = length * down * (transform_ns(length) + 6.0)
    run = run_of(length) - per_call * pack
    calls = _TASK_NS * tasks * facts.groups + _CALL_NS
    return Tiling(
        "columns", (rows + down - 1, length), (rows, valid), counts, group, 1,
        _SLACK * (run * facts.groups + calls), _SLACK * (pack * facts.groups + _CALL_NS),
        _SLACK * calls,
    )  # fmt: skip
