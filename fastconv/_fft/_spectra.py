"""Weights' spectra, and the way from spectra of x to spectra of the output: one class a way.

All have the same methods. `make(spread, counts)` gives the weights as calls read them, for tasks of
so many tiles, from taps spread by their dilation: (out, in/groups, taps per axis).
`results(plan, x, weights, task, begin, end)` yields (tiles, first output channel, the one beyond
the last, y) of a task and of groups [begin, end), y being (channels, tiles per axis, samples per
axis), of which the first along each axis are outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from fastconv import _core
from fastconv._fft._tiles import Task, cut_pair, cut_tiles
from fastconv._fft._tiling import TASK_SAMPLES, product_plan

__all__ = ["WAYS"]

PlanAndWeights = dict[int, tuple[Any, Any]]  # the core's, by how many tiles a task has
Results = Iterator[tuple[int, int, np.ndarray]]
Result = tuple[Task, int, int, np.ndarray]


def _by_core(
    plan_of: Callable[[int], Any], weight: np.ndarray, counts: Iterable[int]
) -> PlanAndWeights:
    found: PlanAndWeights = {}
    for tiles in counts:
        plan = plan_of(tiles)
        known = (packed for _, packed in found.values() if plan.accepts(packed))
        found[tiles] = plan, next(known, None) or plan.pack(weight)
    return found


def _spread_rows(rows: int, length: int, dtype: np.dtype) -> np.ndarray:
    """An empty array whose rows begin in every set of the caches, an odd number of lines apart."""
    per_line = 64 // dtype.itemsize
    lines = -(-length // per_line) | 1
    array: np.ndarray = _core.empty_aligned((rows, lines * per_line), dtype)
    return array[:, :length]


class _Way:
    """What the ways share: the plan's sizes."""

    def __init__(self, problem: Any, cut: Any, extents: tuple[int, ...]) -> None:
        self.problem, self.cut, self.extents = problem, cut, extents
        self.rank = problem.rank
        self.code = "f64" if problem.code == "f64" else "f32"
        self.real = np.dtype(np.float64 if self.code == "f64" else np.float32)
        self.per_in = problem.in_ch // problem.groups
        self.per_out = problem.out_ch // problem.groups

    def finite(self, y: np.ndarray) -> bool:
        """Whether every transform was: one sample of each tells."""
        return bool(np.isfinite(y[(..., *[0] * self.rank)]).all())

    def together(self, task: Task) -> int:
        """Tiles of a task that are transformed at once."""
        return math.prod(last - first for first, last in task)

    transform: Callable[..., Results]  # of tiles that were cut, where `results` is this one

    def results(
        self, plan: Any, x: np.ndarray, weights: Any, task: Task, begin: int, end: int
    ) -> Iterator[Result]:
        """Of a task's tiles, (which of them, first output channel, the one beyond the last, y)."""
        for low, high, y in self.transform(weights, cut_tiles(plan, x, task), begin, end):
            yield task, low, high, y

    def step(self, tiles: np.ndarray) -> int:
        """Output channels to be transformed back together."""
        count = math.prod(tiles.shape[1 : self.rank + 1])
        return max(TASK_SAMPLES // (math.prod(self.cut.tile) * count), 1)


class Channels(_Way):
    """Few channels to sum: (groups, channels, tiles, frequencies), one product after another."""

    def make(self, spread: np.ndarray, counts: Iterable[int]) -> np.ndarray:
        from scipy import fft

        spread = spread.reshape(-1, self.per_out, self.per_in, *self.extents).swapaxes(1, 2)
        spectrum: np.ndarray = fft.rfftn(spread, self.cut.tile, tuple(range(-self.rank, 0)))
        return np.conj(spectrum, out=spectrum)

    def transform(self, spectra: np.ndarray, tiles: np.ndarray, begin: int, end: int) -> Results:
        from scipy import fft

        axes = tuple(range(-self.rank, 0))
        shape, groups, per_out = tiles.shape[1 : self.rank + 1], end - begin, self.per_out
        spectrum = fft.rfftn(tiles, axes=axes)
        spectrum = spectrum.reshape(groups, self.per_in, *spectrum.shape[1:])
        step = self.step(tiles) if groups == 1 else per_out
        for low in range(0, per_out, step):
            high = min(low + step, per_out)
            total = self._sum(spectra[begin:end, :, low:high], spectrum)
            y = fft.irfftn(total, self.cut.tile, axes, overwrite_x=True)
            first, last = begin * per_out + low, (end - 1) * per_out + high
            yield first, last, y.reshape(-1, *shape, *self.cut.tile)

    def _sum(self, factor: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
        rank = self.rank
        factor = factor.reshape(*factor.shape[:3], *[1] * rank, *factor.shape[3:])
        if self.per_in == self.per_out == 1:  # nobody else wants the spectrum of x
            spectrum *= factor[:, 0]
            return spectrum
        total: np.ndarray = spectrum[:, :1] * factor[:, 0]
        for i in range(1, spectrum.shape[1]):
            total += spectrum[:, i : i + 1] * factor[:, i]
        return total


class Products(_Way):
    """Many channels: (frequencies, channels, tiles), a complex matrix product for each."""

    def make(self, spread: np.ndarray, counts: Iterable[int]) -> PlanAndWeights:
        from scipy import fft

        axes, per_in, per_out = tuple(range(self.rank)), self.per_in, self.per_out
        spectrum = fft.rfftn(np.moveaxis(spread, (0, 1), (-2, -1)), self.cut.tile, axes)
        spectrum = spectrum.reshape(-1, per_in)
        matrix = np.empty((spectrum.shape[0], 2 * per_in, 1), self.real)
        matrix[:, :per_in, 0] = spectrum.real
        np.negative(spectrum.imag, out=matrix[:, per_in:, 0])
        count = len(spectrum) // per_out

        def plan_of(tiles: int) -> Any:
            return product_plan(1 + (self.code == "f64"), count, per_in, per_out, tiles)

        return _by_core(plan_of, matrix, counts)

    def transform(self, weights: Any, tiles: np.ndarray, begin: int, end: int) -> Results:
        from scipy import fft

        axes, last = tuple(range(self.rank)), tuple(range(-self.rank, 0))
        shape, step, out_ch = tiles.shape[1 : self.rank + 1], self.step(tiles), self.problem.out_ch
        spectrum = fft.rfftn(np.moveaxis(tiles, last, axes), axes=axes)
        spectrum = self._products(weights, spectrum, math.prod(shape))
        for low in range(0, out_ch, step):
            high = min(low + step, out_ch)
            some = spectrum[(slice(None),) * self.rank + (slice(low, high),)]
            yield low, high, np.moveaxis(fft.irfftn(some, self.cut.tile, axes), axes, last)

    def _products(self, weights: Any, spectrum: np.ndarray, tiles: int) -> np.ndarray:
        """The channels' sum at every frequency: (frequencies, channels, tiles) in and out."""
        frequencies, shape = spectrum.shape[: self.rank], spectrum.shape[self.rank + 1 :]
        count = math.prod(frequencies) * self.problem.groups
        x = np.empty((count, 2, self.per_in, tiles), spectrum.dtype)
        x[:, 0] = spectrum.reshape(count, self.per_in, tiles)
        np.multiply(x[:, 0], 1j, out=x[:, 1])
        y = np.empty((count, self.per_out, tiles), spectrum.dtype)
        plan, packed = weights[tiles]
        in_pairs = (1, -1, 2 * tiles)
        x, to = x.view(self.real).reshape(in_pairs), y.view(self.real).reshape(in_pairs)
        plan.run(packed, x, to, threads=1)
        return y.reshape(*frequencies, self.problem.out_ch, *shape)


class Columns(_Way):
    """A picture's channel by itself: rows transformed, and the columns of every frequency summed
    by the core.

    Two tiles are one of complex samples, X = x + iy, as the weights are real; half a picture lies
    between them. A task goes down its strip of tiles and keeps the spectra of rows that neighbours
    share. Spectra and sums are reused from tile to tile and stay in L2.
    """

    def finite(self, y: np.ndarray) -> bool:
        return bool(np.isfinite(y[..., 0]).all())

    def together(self, task: Task) -> int:
        return 1

    def make(self, spread: np.ndarray, counts: Iterable[int]) -> list[np.ndarray]:
        from scipy import fft

        taps = spread[:, 0, :: self.problem.dilation[0]]
        spectra: np.ndarray = fft.fft(taps, self.cut.tile[1])
        return list(np.conj(spectra, out=spectra))

    def results(
        self, plan: Any, x: np.ndarray, weights: Any, task: Task, begin: int, end: int
    ) -> Iterator[Result]:
        from scipy import fft

        (first, last), across = task
        (rows, length), (height, _) = self.cut.tile, self.cut.valid
        pair = np.dtype(f"c{2 * self.real.itemsize}")
        spectra, total = _spread_rows(rows, length, pair), _spread_rows(height, length, pair)
        for channel in range(begin, end):
            image = x[channel - begin]
            for row in range(first, last):
                parts = [((at, at + 1), across) for at in (row, row + self.cut.counts[0])]
                known = rows - height if row > first else 0
                if known:
                    spectra[:known] = spectra[height:]
                fresh = spectra[known:]
                cut_pair(plan, image, parts, known, fresh)
                spectrum = fft.fft(fresh, overwrite_x=True)
                if not np.may_share_memory(spectrum, fresh):
                    fresh[...] = spectrum
                _core.sum_columns(spectra, weights[channel], total, self.problem.dilation[0])
                both = fft.ifft(total, overwrite_x=True)
                for part, y in zip(parts, (both.real, both.imag), strict=True):
                    yield part, channel, channel + 1, y[None, None, None]


WAYS: dict[str, type[Channels] | type[Products] | type[Columns]]
WAYS = {"channels": Channels, "products": Products, "columns": Columns}
