"""fft: large kernels by overlap-save, a plan beside the C core's with the same methods.

The dense output is cut into tiles of V samples per axis; a tile is the first V samples of the
circular correlation of B = V + K - 1 samples of x with the kernel, K long with its dilation. The
transforms are `scipy.fft`'s, real, in the type computed in, many tiles and channels to a call:

    few channels to sum    (channels, tiles, frequencies) times the weights' spectra
    more                   (frequencies, channels, tiles): one small complex matrix product for each
                           frequency, as a real one [Wr Wi] [X; iX] that the core runs

Bound: transforms, 1.5 ns a sample and direction in float32 (pocketfft's vectors); with many
channels the reading of the weights' spectra. Bias, residual and activation are the core's, as a
convolution with one tap of 1.

Rounding is relative to the largest values of a tile: at most 2.5 times the largest error of
sequential float32 sums for 3x3, 0.3 for 31x31, but small outputs beside large ones lose the digits
that a sum of small products would keep.

A transform spreads a NaN, an infinity and an overflow over its whole tile, so one sample of each
tile tells whether there was any; the core then computes that image. Tasks are cut by shapes alone
and each runs on one thread, so bits depend on neither threads nor batch.
(T. Stockham, "High-speed convolution and correlation", 1966.)
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from copy import copy
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from fastconv import _core

__all__ = [
    "BOUND",
    "FEW_TAPS",
    "Geometry",
    "Plan",
    "TooSlow",
    "kernel_name",
    "least_seconds",
    "rejects",
]

BOUND = (
    "scipy.fft's transforms, 1.5 to 4 ns a sample and direction in float32",
    "0.76 (31x31, one plane), 0.51 (16 channels summed): cutting tiles, matrix products, storing",
)
FEW_TAPS = 36  # kernels smaller than this never gain
_TASK_SAMPLES = 1 << 17  # of x: input, spectrum and output of a task stay near L2
_PRODUCT_SAMPLES = 1 << 19  # of x and out: matrix products want many tiles at once
_MOST_SPECTRA_BYTES = 1 << 29
_LONGEST_TILE = 1 << 22

# Costs in nanoseconds, with the slack of the core's own cost functions.
_SLACK = 1.9
_TASK_NS = 25e3
_CALL_NS = 20e3


class Geometry(NamedTuple):
    """Sizes per spatial axis, and the padding as (before, after)."""

    in_size: tuple[int, ...]
    out_size: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]


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


@lru_cache(maxsize=256)
def rejects(problem: Any) -> str | None:
    """Why no such convolution can run by FFT, or None."""
    if problem.operation != "conv":
        return "only plain convolutions"
    if math.prod(problem.kernel) == 1:
        return "only kernels of more than one tap"
    if problem.weights_unsafe:
        return "only finite weights below 1e18, which no transform makes overflow"
    extents = _extents(problem)
    if max(extents) > _LONGEST_TILE:
        return f"only kernels that span at most {_LONGEST_TILE} samples along an axis"
    spectrum = math.prod(map(_fast_length, extents)) * (8 if problem.code == "f64" else 4)
    if problem.out_ch * (problem.in_ch // problem.groups) * spectrum > _MOST_SPECTRA_BYTES:
        return f"only weights whose spectra take at most {_MOST_SPECTRA_BYTES >> 20} MiB"
    return None


def least_seconds(problem: Any, geometry: Geometry) -> float:
    """A bound no tiling beats: spares most plans the search for one.

    Every sample of the dense output costs its transforms, at the price of the smallest tile, and
    where channels are summed the products at its share of the frequencies.
    """
    extents, wide = _extents(problem), problem.code == "f64"
    ins, outs = problem.in_ch, problem.out_ch
    dense = 1
    for n, s in zip(geometry.out_size, problem.stride, strict=True):
        dense *= (n - 1) * s + 1
    ns = (ins + outs) * _transform_ns(extents, 4, wide) + 0.6 * outs + _least_sum_ns(problem)
    return _SLACK * 1e-9 * (dense * ns + _TASK_NS + _CALL_NS)


def _least_sum_ns(problem: Any) -> float:
    """Of the sums over channels, per sample of the tiles: their arithmetic."""
    wide, outs = 1 + (problem.code == "f64"), problem.out_ch
    products: float = wide * outs * (problem.in_ch // problem.groups)
    if _by_products(problem):
        return 0.9 * problem.in_ch + products * (4.0 / 190)
    return 0.25 * products


@lru_cache(maxsize=256)
def _extents(problem: Any) -> tuple[int, ...]:
    return tuple(d * (k - 1) + 1 for k, d in zip(problem.kernel, problem.dilation, strict=True))


class _Tiling(NamedTuple):
    """How the dense output is cut, and what that costs."""

    tile: tuple[int, ...]  # samples transformed per axis
    valid: tuple[int, ...]  # of which are outputs
    counts: tuple[int, ...]  # tiles
    group: tuple[int, ...]  # tiles of a task
    channels: int  # of a task; all of them where channels are summed
    run_ns: float
    pack_ns: float
    calls_ns: float  # of run_ns, what does not depend on sizes


def _transform_ns(tile: tuple[int, ...], lines: int, wide: bool) -> float:
    """Per sample and direction; lines beyond multiples of four leave the vectors."""
    size = math.prod(tile)
    ns = 0.3 + 0.065 * math.log2(size) + 0.35 * (len(tile) - 1)
    if len(tile) == 1:
        ns *= 1 + 1.2 * (lines % 4) / lines
    if size * (8 if wide else 4) > 1 << 22:
        ns *= 1.5
    return ns * (1.6 if wide else 1)


def _tiling(
    problem: Any, extents: tuple[int, ...], dense: tuple[int, ...], tile: tuple[int, ...]
) -> _Tiling:
    """The cut into such tiles, and what it costs."""
    groups, wide = problem.groups, 1 + (problem.code == "f64")
    ins, outs = problem.in_ch, problem.out_ch
    per_in = ins // groups
    valid = tuple([b - k + 1 for b, k in zip(tile, extents, strict=True)])
    counts = tuple([-(-n // v) for n, v in zip(dense, valid, strict=True)])
    size, tiles = math.prod(tile), math.prod(counts)
    summed = _by_products(problem)
    budget = (_PRODUCT_SAMPLES if summed else _TASK_SAMPLES) // size
    channels = groups if summed else max(min(groups, budget // (min(tiles, 8) * per_in)), 1)
    group = _grouped(counts, max(budget // ((ins + outs) if summed else channels * per_in), 1))
    together = math.prod(group)
    tasks = math.prod([-(-n // g) for n, g in zip(counts, group, strict=True)])
    tasks *= -(-groups // channels)
    ns = _transform_ns(tile, together * (ins if summed else channels * per_in), wide > 1)
    run = size * tiles * (ins + outs) * ns + 0.6 * math.prod(dense) * outs
    if summed:
        arithmetic = 9 * outs + 8.0 * wide * outs * per_in * together / 190
        run += size / 2 * tasks * max(arithmetic, 8.0 * wide * outs * per_in / 27)
        run += 0.9 * size * tiles * ins
        if outs <= 8 * groups:  # so little arithmetic that spectra are read at the speed of memory
            run += 3.0 * size * tiles * ins
    else:
        run += 0.25 * wide * size * tiles * outs * per_in
    if problem.channels_last:
        run += math.prod(dense) * (ins + 2.3 * outs)
    return _Tiling(
        tile, valid, counts, group, channels,
        _SLACK * (run + _TASK_NS * tasks + _CALL_NS),
        _SLACK * (size * outs * per_in * (ns + 1.5) + _CALL_NS),
        _SLACK * (_TASK_NS * tasks + _CALL_NS),
    )  # fmt: skip


def _by_products(problem: Any) -> bool:
    """Whether channels are summed by matrix products, or one by one because they are few."""
    return bool(problem.in_ch > 4 * problem.groups)


def _grouped(counts: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Tiles of a task per axis, last axis first: about `most` in all, in fours for the vectors."""
    group = []
    for count in reversed(counts):
        parts = -(-count // max(min(count, most), 1))
        even = -(-count // parts)
        group.append(min(count, -(-even // 4) * 4) if even > 1 else 1)
        most //= group[-1]
    return tuple(reversed(group))


def _best_tiling(
    problem: Any, extents: tuple[int, ...], dense: tuple[int, ...], per_call: bool, most_ns: float
) -> _Tiling | None:
    """The cheapest cut, if any costs less than `most_ns`."""
    lines, wide = problem.in_ch + problem.out_ch, problem.code == "f64"
    sums, reading = _least_sum_ns(problem), 0.0
    if _by_products(problem):  # the weights' spectra are read at least once
        reading = 4.0 * (1 + wide) * problem.out_ch * (problem.in_ch // problem.groups) / 27
    least = []
    for tile in _tiles(extents, dense):
        size = samples = 1
        for n, b, k in zip(dense, tile, extents, strict=True):
            size *= b
            samples *= -(-n // (b - k + 1)) * b
        ns = samples * lines * _transform_ns(tile, 4, wide)
        least.append((_SLACK * (ns + max(samples * sums, size * reading)), tile))
    least.sort()  # by a bound of each: most are worse than one whose cost is known
    best, best_ns = None, most_ns
    for bound, tile in least:
        if bound >= best_ns:
            break
        cut = _tiling(problem, extents, dense, tile)
        ns = cut.run_ns + per_call * cut.pack_ns
        if ns < best_ns:
            best, best_ns = cut, ns
    return best


@lru_cache(maxsize=256)
def _outputs_per_tile(extent: int) -> tuple[int, ...]:
    return tuple(max(int(ratio * extent), 16) for ratio in (1, 2, 4, 8, 16, _LONGEST_TILE))


def _tiles(extents: tuple[int, ...], dense: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Tiles whose outputs are 1 to 16 times the kernel's extent, or all of them."""
    lengths = [
        [_fast_length((valid if valid < n else n) + k - 1) for valid in _outputs_per_tile(k)]
        for n, k in zip(dense, extents, strict=True)
    ]
    tiles = list(dict.fromkeys(zip(*lengths, strict=True)))
    return tiles if max(dense) <= _LONGEST_TILE else tiles[:-1] or tiles


class _Spectra(NamedTuple):
    """Weights as a plan reads them, and what the core packs if an image is not finite."""

    tile: tuple[int, ...]
    extents: tuple[int, ...]
    spectrum: np.ndarray | None
    products: dict[int, tuple[Any, Any]]  # tiles of a task: the core's plan and packed weights
    core: Callable[[], Any]
    nbytes: int


class _Failed(Exception):
    """Some tile is not finite."""


class TooSlow(Exception):
    """No cut costs less than was allowed."""


class Plan:
    """One convolution by FFT; `core` is the core's plan of one image of it.

    `TooSlow` where none takes less than `most_seconds`, packing included.
    """

    algorithm = "fft"

    def __init__(
        self,
        problem: Any,
        geometry: Geometry,
        core: Any,
        per_call: bool,
        most_seconds: float = math.inf,
    ) -> None:
        self.problem, self.geometry, self.core = problem, geometry, core
        self.kernel = kernel_name(problem)
        self.flops: float = core.flops
        self.extents = _extents(problem)
        self.dense = tuple(
            (n - 1) * s + 1 for n, s in zip(geometry.out_size, problem.stride, strict=True)
        )
        cut = _best_tiling(problem, self.extents, self.dense, per_call, 1e9 * most_seconds)
        if cut is None:
            raise TooSlow
        self.cut = cut
        self.summed = _by_products(problem)
        wide = problem.code == "f64"
        self.real = np.dtype(np.float64 if wide else np.float32)
        self.complex = np.dtype(np.complex128 if wide else np.complex64)
        self._packing_seconds = 1e-9 * per_call * cut.pack_ns
        self._calls_seconds = 1e-9 * cut.calls_ns
        self.estimated_seconds = 1e-9 * cut.run_ns + self._packing_seconds
        size, item = math.prod(cut.tile), self.real.itemsize
        per_in, per_out = problem.in_ch // problem.groups, problem.out_ch // problem.groups
        self.packed_bytes = size * item * problem.out_ch * per_in
        ways = 4 * per_in + 3 * per_out if self.summed else 2 * per_in + 3
        self.workspace_bytes = size * math.prod(cut.group) * cut.channels * ways * item

    def for_batch(self, images: int) -> Plan:
        """The same for so many images."""
        if images == 1:
            return self
        whole = copy(self)
        whole.flops = self.flops * images
        whole.estimated_seconds += 1e-9 * self.cut.run_ns * (images - 1)
        whole._calls_seconds *= images
        return whole

    def candidates(self) -> list[tuple[str, str, float, str | None]]:
        """The core's kernels for one image, as its plan gives them."""
        found: list[tuple[str, str, float, str | None]] = self.core.candidates()
        return found

    def costs(self) -> dict[str, float]:
        """Where the estimated seconds go, in the words of the core's plans."""
        packing, calls = self._packing_seconds, self._calls_seconds
        core = self.estimated_seconds - packing - calls
        return {"core": core, "packing": packing, "calls": calls}

    # Weights

    def pack(self, weight: np.ndarray, pointwise: None = None, *, flip: bool = False) -> _Spectra:
        """The weights' spectra."""
        from scipy import fft

        p, rank = self.problem, self.problem.rank
        per_in, per_out = p.in_ch // p.groups, p.out_ch // p.groups
        taps = np.flip(weight, tuple(range(2, rank + 2))) if flip else weight
        spread = np.zeros((*weight.shape[:2], *self.extents), self.real)
        spread[(..., *(slice(None, None, d) for d in p.dilation))] = taps
        keep = np.array(weight)

        @lru_cache(maxsize=1)
        def core() -> Any:
            return self.core.pack(keep, flip=flip)

        tile = self.cut.tile
        if not self.summed:
            axes = tuple(range(-rank, 0))
            spread = spread.reshape(p.groups, per_out, per_in, *self.extents).swapaxes(1, 2)
            spectrum = fft.rfftn(spread, tile, axes)
            np.conj(spectrum, out=spectrum)
            return _Spectra(tile, self.extents, spectrum, {}, core, spectrum.nbytes)
        axes = tuple(range(rank))
        spectrum = fft.rfftn(np.moveaxis(spread, (0, 1), (-2, -1)), tile, axes)
        spectrum = spectrum.reshape(-1, per_in)
        matrix = np.empty((spectrum.shape[0], 2 * per_in, 1), self.real)
        matrix[:, :per_in, 0] = spectrum.real
        np.negative(spectrum.imag, out=matrix[:, per_in:, 0])
        products: dict[int, tuple[Any, Any]] = {}
        for tiles in {math.prod(stop - start for start, stop in task) for task in self.tasks()}:
            plan = self._product(spectrum.shape[0] // per_out, per_in, per_out, tiles)
            known = (packed for _, packed in products.values() if plan.accepts(packed))
            products[tiles] = plan, next(known, None) or plan.pack(matrix)
        return _Spectra(tile, self.extents, None, products, core, matrix.nbytes)

    def _product(self, count: int, per_in: int, per_out: int, tiles: int) -> Any:
        """`count` real matrix products, as a convolution of one tap in so many groups."""
        return _core.Plan(
            dtype="f64" if self.real.itemsize == 8 else "f32", operation="conv", rank=1, batch=1,
            in_ch=2 * per_in * count, out_ch=per_out * count, groups=count, in_size=(2 * tiles,),
            kernel=(1,), stride=(1,), dilation=(1,), padding=((0, 0),),
        )  # fmt: skip

    def accepts(self, weights: Any) -> bool:
        """Whether weights packed by another plan serve this one."""
        if not isinstance(weights, _Spectra):
            return False
        if (weights.tile, weights.extents) != (self.cut.tile, self.extents):
            return False
        return not self.summed or all(
            math.prod(stop - start for start, stop in task) in weights.products
            for task in self.tasks()
        )

    # Runs

    def tasks(self) -> Iterator[tuple[tuple[int, int], ...]]:
        """Ranges of tiles per axis."""
        return product(
            *(
                [(i, min(i + g, n)) for i in range(0, n, g)]
                for n, g in zip(self.cut.counts, self.cut.group, strict=True)
            )
        )

    def run(
        self, weights: _Spectra, x: np.ndarray, out: np.ndarray, bias: np.ndarray | None = None,
        residual: np.ndarray | None = None, offset: None = None, mask: None = None, *,
        channels_last: bool = False, threads: int = 0,
    ) -> None:  # fmt: skip
        """Compute into out, one image after another."""
        workers = abs(threads) or _core.get_num_threads()
        if residual is not None and np.may_share_memory(out, residual):
            residual = residual.copy()  # an image may be begun here and computed again by the core
        one = x.ndim == self.problem.rank + 1
        for n in range(1 if one else x.shape[0]):
            image, to = (x, out) if one else (x[n], out[n])
            added = residual if residual is None or one else residual[n]
            call = _Call(self, weights, image, to, bias, added, channels_last)
            try:
                call.run(workers)
            except _Failed:
                self.core.run(
                    weights.core(), image, to, bias, added,
                    channels_last=channels_last, threads=threads,
                )  # fmt: skip


class _Call:
    """One image."""

    def __init__(
        self, plan: Plan, weights: _Spectra, x: np.ndarray, out: np.ndarray,
        bias: np.ndarray | None, residual: np.ndarray | None, channels_last: bool,
    ) -> None:  # fmt: skip
        self.plan, self.weights, self.bias = plan, weights, bias
        self.x, self.out, self.residual = (
            array if array is None or not channels_last else np.moveaxis(array, -1, 0)
            for array in (x, out, residual)
        )

    def run(self, workers: int) -> None:
        plan, p = self.plan, self.plan.problem
        step = plan.cut.channels
        work = [
            (task, begin, min(begin + step, p.groups))
            for begin in range(0, p.groups, step)
            for task in plan.tasks()
        ]
        workers = min(workers, len(work))
        with np.errstate(all="ignore"), _core.FlushedDenormals():
            if workers == 1:
                for item in work:
                    self.task(*item, threads=1)
                return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(self._guarded, work))

    def _guarded(self, item: tuple[Any, int, int]) -> None:
        with np.errstate(all="ignore"), _core.FlushedDenormals():
            self.task(*item, threads=1)

    def task(self, task: tuple[tuple[int, int], ...], begin: int, end: int, threads: int) -> None:
        """Tiles `task` of groups [begin, end)."""
        from scipy import fft

        plan, p, tile = self.plan, self.plan.problem, self.plan.cut.tile
        per_in, per_out = p.in_ch // p.groups, p.out_ch // p.groups
        tiles = self._tiles(task, begin * per_in, end * per_in)
        shape = tiles.shape[1 : p.rank + 1]
        step = max(_TASK_SAMPLES // (math.prod(tile) * math.prod(shape)), 1)
        last = tuple(range(-p.rank, 0))
        if plan.summed:
            axes = tuple(range(p.rank))
            spectrum = fft.rfftn(np.moveaxis(tiles, last, axes), axes=axes)
            spectrum = self._products(spectrum, math.prod(shape), threads)
            for low in range(0, p.out_ch, step):
                high = min(low + step, p.out_ch)
                y = fft.irfftn(spectrum[(slice(None),) * p.rank + (slice(low, high),)], tile, axes)
                self._finish(np.moveaxis(y, axes, last), task, low, high)
            return
        spectrum = fft.rfftn(tiles, axes=last)
        spectrum = spectrum.reshape(end - begin, per_in, *spectrum.shape[1:])
        step = max(step // (end - begin), 1) if end - begin == 1 else per_out
        for low in range(0, per_out, step):
            high = min(low + step, per_out)
            y = fft.irfftn(self._sums(spectrum, begin, low, high), tile, last, overwrite_x=True)
            y = y.reshape((end - begin) * (high - low), *shape, *tile)
            self._finish(y, task, begin * per_out + low, (end - 1) * per_out + high)

    def _sums(self, spectrum: np.ndarray, begin: int, low: int, high: int) -> np.ndarray:
        """(groups, channels, tiles, frequencies) in; output channels [low, high) of each out."""
        rank = self.plan.problem.rank
        spectra = self.weights.spectrum
        assert spectra is not None
        factor = spectra[begin : begin + len(spectrum), :, low:high]
        factor = factor.reshape(*factor.shape[:3], *[1] * rank, *factor.shape[3:])
        if spectra.shape[1:3] == (1, 1):  # nobody else wants the spectrum of x
            spectrum *= factor[:, 0]
            return spectrum
        total: np.ndarray = spectrum[:, :1] * factor[:, 0]
        for i in range(1, spectrum.shape[1]):
            total += spectrum[:, i : i + 1] * factor[:, i]
        return total

    def _tiles(self, task: tuple[tuple[int, int], ...], begin: int, end: int) -> np.ndarray:
        """(channels, tiles per axis, samples per axis) of padded x, as overlapping views."""
        cut = self.plan.cut
        starts = [first * v for (first, _), v in zip(task, cut.valid, strict=True)]
        stops = [
            (last - 1) * v + b for (_, last), v, b in zip(task, cut.valid, cut.tile, strict=True)
        ]
        region = self._padded(begin, end, starts, stops)
        counts = [last - first for first, last in task]
        steps = region.strides[1:]
        jumps = [step * v for step, v in zip(steps, cut.valid, strict=True)]
        return np.lib.stride_tricks.as_strided(
            region, (end - begin, *counts, *cut.tile), (region.strides[0], *jumps, *steps),
            writeable=False,
        )  # fmt: skip

    def _padded(self, begin: int, end: int, starts: list[int], stops: list[int]) -> np.ndarray:
        """Samples [starts, stops) of padded x; zeros beyond the padding."""
        geometry, mode = self.plan.geometry, self.plan.problem.padding_mode
        from_x: list[Any] = []
        to: list[slice] = []
        inside = self.x.dtype == self.plan.real
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
            return self.x[(slice(begin, end), *(slice(*pair) for pair in from_x))]
        sizes = [stop - start for start, stop in zip(starts, stops, strict=True)]
        region = np.zeros((end - begin, *sizes), self.plan.real)
        source = self.x[begin:end]
        for axis, ((first, last), n) in enumerate(zip(from_x, geometry.in_size, strict=True)):
            if first >= 0 and last <= n:
                source = source[(slice(None),) * (axis + 1) + (slice(first, last),)]
            else:
                source = source.take(_source(mode, n, first, last), axis + 1)
        region[(slice(None), *to)] = source
        return region

    def _products(self, spectrum: np.ndarray, tiles: int, threads: int) -> np.ndarray:
        """The channels' sum at every frequency: (frequencies, channels, tiles) in and out."""
        p = self.plan.problem
        per_in, per_out = p.in_ch // p.groups, p.out_ch // p.groups
        frequencies, shape = spectrum.shape[: p.rank], spectrum.shape[p.rank + 1 :]
        count = math.prod(frequencies) * p.groups
        x = np.empty((count, 2, per_in, tiles), self.plan.complex)
        x[:, 0] = spectrum.reshape(count, per_in, tiles)
        np.multiply(x[:, 0], 1j, out=x[:, 1])
        y = np.empty((count, per_out, tiles), self.plan.complex)
        plan, packed = self.weights.products[tiles]
        real = self.plan.real
        plan.run(
            packed, x.view(real).reshape(1, -1, 2 * tiles), y.view(real).reshape(1, -1, 2 * tiles),
            threads=threads,
        )  # fmt: skip
        return y.reshape(*frequencies, p.out_ch, *shape)

    def _finish(self, y: np.ndarray, task: Any, begin: int, end: int) -> None:
        """Valid samples of the tiles, every stride-th: bias, residual, activation, store."""
        plan, p, cut = self.plan, self.plan.problem, self.plan.cut
        rank = p.rank
        if not np.isfinite(y[(..., *[0] * rank)]).all():
            raise _Failed
        y = y[(..., *(slice(0, v) for v in cut.valid))]
        counts = y.shape[1 : rank + 1]
        if math.prod(counts) > 1:  # tiles side by side
            order = [0, *(axis for i in range(rank) for axis in (1 + i, 1 + rank + i))]
            y = y.transpose(order)
        y = y.reshape(end - begin, *(c * v for c, v in zip(counts, cut.valid, strict=True)))
        taken, to = [slice(None)], [slice(begin, end)]
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
        y, place = y[tuple(taken)], tuple(to)
        out = self.out[place]
        residual = None if self.residual is None else self.residual[place]
        if self.bias is None and residual is None and p.activation is None:
            out[...] = y
            return
        finisher, ones = _finisher(
            "f64" if plan.real.itemsize == 8 else "f32", y.shape, p.activation,
            p.activation_params, self.bias is not None, residual is not None,
        )  # fmt: skip
        result = out if out.dtype == plan.real else np.empty(out.shape, plan.real)
        bias = None if self.bias is None else self.bias[begin:end]
        if residual is not None:
            residual = residual.astype(plan.real, copy=False)
        finisher.run(ones, y, result, bias, residual, threads=1)
        if result is not out:
            out[...] = result


def _source(mode: str, n: int, first: int, last: int) -> np.ndarray:
    """Where the padded axis of n samples reads x, for positions [first, last)."""
    at = np.arange(first, last)
    if mode == "reflect":
        at = np.abs(at)
        return np.where(at >= n, 2 * (n - 1) - at, at)
    return at % n if mode == "circular" else np.clip(at, 0, n - 1)


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
