"""Weights' spectra, and the way from spectra of x to spectra of the output: one class a way.

All have the same methods. `make(spread, counts)` gives the weights as calls read them, for tasks of
so many tiles, from taps spread by their dilation: (out, in/groups, taps per axis).
`transform(weights, tiles, begin, end)` yields (first output channel, the one beyond the last, y) of
groups [begin, end), y being (channels, tiles per axis, samples per axis), of which the first along
each axis are outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from fastconv import _core
from fastconv._fft._tiling import TASK_SAMPLES

__all__ = ["WAYS"]

PlanAndWeights = dict[int, tuple[Any, Any]]  # the core's, by how many tiles a task has
Results = Iterator[tuple[int, int, np.ndarray]]


def _by_core(
    plan_of: Callable[[int], Any], weight: np.ndarray, counts: Iterable[int]
) -> PlanAndWeights:
    found: PlanAndWeights = {}
    for tiles in counts:
        plan = plan_of(tiles)
        known = (packed for _, packed in found.values() if plan.accepts(packed))
        found[tiles] = plan, next(known, None) or plan.pack(weight)
    return found


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
            """`count` real matrix products, as a convolution of one tap in so many groups."""
            return _core.Plan(
                dtype=self.code, operation="conv", rank=1, batch=1, in_ch=2 * per_in * count,
                out_ch=per_out * count, groups=count, in_size=(2 * tiles,), kernel=(1,),
                stride=(1,), dilation=(1,), padding=((0, 0),),
            )  # fmt: skip

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
    """A picture's channel by itself: rows transformed, then (tiles, rows, frequencies) convolved
    down the columns by the core, whose channels are real and imaginary parts:

        Y = Re(w) * X + Im(w) * iX     each a depthwise convolution, the second added to the first
    """

    def finite(self, y: np.ndarray) -> bool:
        return bool(np.isfinite(y[..., 0]).all())

    def make(self, spread: np.ndarray, counts: Iterable[int]) -> list[PlanAndWeights]:
        from scipy import fft

        p, (rows, length) = self.problem, self.cut.tile
        channels = 2 * (length // 2 + 1)

        def plan_of(added: bool, tiles: int) -> Any:
            return _core.Plan(
                dtype=self.code, operation="conv", rank=1, batch=tiles, in_ch=channels,
                out_ch=channels, groups=channels, in_size=(rows,), kernel=p.kernel[:1],
                stride=(1,), dilation=p.dilation[:1], padding=((0, 0),), has_residual=added,
                x_channels_last=True, out_channels_last=True,
            )  # fmt: skip

        found = []
        for taps in spread[:, 0, :: p.dilation[0]]:
            spectrum = np.conj(fft.rfft(taps, length)).T
            for added, part in enumerate((spectrum.real, spectrum.imag)):
                twice = np.repeat(part, 2, axis=0)[:, None]
                found.append(_by_core(partial(plan_of, bool(added)), twice, counts))
        return found

    def transform(self, weights: Any, tiles: np.ndarray, begin: int, end: int) -> Results:
        from scipy import fft

        (rows, length), shape = self.cut.tile, tiles.shape[1:3]
        height, count = self.cut.valid[0], math.prod(shape)
        for channel in range(begin, end):
            spectrum = fft.rfft(tiles[channel - begin]).reshape(count, rows, -1)
            total = np.empty((count, height, spectrum.shape[2]), spectrum.dtype)
            x, to = spectrum.view(self.real), total.view(self.real)
            plan, packed = weights[2 * channel][count]
            plan.run(packed, x, to, channels_last=True, threads=1)
            spectrum *= 1j
            plan, packed = weights[2 * channel + 1][count]
            plan.run(packed, x, to, None, to, channels_last=True, threads=1)
            y = fft.irfft(total, length, overwrite_x=True)
            yield channel, channel + 1, y.reshape(1, *shape, height, length)


WAYS: dict[str, type[Channels] | type[Products] | type[Columns]]
WAYS = {"channels": Channels, "products": Products, "columns": Columns}
