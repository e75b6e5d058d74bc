"""`Plan`: one convolution by FFT, with the methods of the core's plans."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from fastconv import _core
from fastconv._fft._spectra import WAYS
from fastconv._fft._tiles import Task, store
from fastconv._fft._tiling import (
    Geometry,
    Tiling,
    best_tiling,
    dense_size,
    extents_of,
    kernel_name,
    seconds,
    whole_length,
)

__all__ = ["NotFinite", "Plan", "cheapest_plan", "convolve_line"]


class _Packed(NamedTuple):
    """Weights as a plan reads them, and what the core packs if an image is not finite."""

    way: str
    tile: tuple[int, ...]
    extents: tuple[int, ...]
    counts: frozenset[int]  # tiles of a task that they serve
    weights: Any
    core: Callable[[], Any]


class NotFinite(Exception):
    """Some tile is not; part of the output may have been written."""


def convolve_line(x: np.ndarray, w: np.ndarray, low: int, high: int) -> np.ndarray:
    """Samples [low, high) of the convolution of two lines of one type, by three transforms."""
    from scipy import fft

    length = whole_length(len(x), len(w), low, high)
    both = np.zeros((2, length), x.dtype)
    both[0, : len(x)], both[1, : len(w)] = x, w
    with np.errstate(all="ignore"), _core.FlushedDenormals():
        spectra = fft.rfft(both)
        spectra[0] *= spectra[1]
        y: np.ndarray = fft.irfft(spectra[0], length, overwrite_x=True)
    if not math.isfinite(y[0]):
        raise NotFinite
    return y[low:high]


def cheapest_plan(
    problem: Any, geometry: Geometry, core: Any, per_call: bool, most_seconds: float = math.inf
) -> Plan | None:
    """The plan that takes least time, packing included where it is done `per_call`; None where that
    is `most_seconds` or more. `core` is the core's plan of one image of the same."""
    cut = best_tiling(problem, dense_size(problem, geometry), per_call, most_seconds)
    return None if cut is None else Plan(problem, geometry, core, per_call, cut)


class Plan:
    """One convolution by FFT; `core` is the core's plan of one image of it.

    A plan that only ever runs single images (`run_image`) needs none, and may have the padding mode
    "symmetric", or "zeros" that are in truth the constant `fill`.
    """

    algorithm = "fft"
    fill = 0.0

    def __init__(
        self, problem: Any, geometry: Geometry, core: Any, per_call: bool, cut: Tiling
    ) -> None:
        self.problem, self.geometry, self.core, self.cut = problem, geometry, core, cut
        self.kernel = kernel_name(problem)
        self.images = 1
        self.real = np.dtype(np.float64 if problem.code == "f64" else np.float32)
        self._packing_seconds = 1e-9 * per_call * cut.pack_ns
        self._calls_seconds = 1e-9 * cut.calls_ns
        self.estimated_seconds = seconds(cut, per_call)

    @property
    def flops(self) -> float:
        """Two for each product of the definition."""
        return float(self.core.flops * self.images)

    @property
    def packed_bytes(self) -> int:
        p, item = self.problem, self.real.itemsize
        ways = p.kernel[0] * 2 if self.cut.way == "columns" else self.cut.tile[0]
        return math.prod(self.cut.tile[1:]) * ways * item * p.out_ch * (p.in_ch // p.groups)

    @property
    def workspace_bytes(self) -> int:
        p, cut = self.problem, self.cut
        if cut.way == "columns":
            return 2 * (cut.tile[0] + cut.valid[0]) * cut.tile[1] * self.real.itemsize
        per_in, per_out = p.in_ch // p.groups, p.out_ch // p.groups
        ways = 4 * per_in + 3 * per_out if cut.way == "products" else 2 * per_in + 3
        return math.prod(cut.tile + cut.group) * cut.channels * ways * self.real.itemsize

    def for_batch(self, images: int) -> Plan:
        """The same for so many images."""
        if images == 1:
            return self
        whole = copy(self)
        whole.images = images
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

    def tasks(self) -> list[Task]:
        """Ranges of tiles per axis."""
        return list(
            product(
                *(
                    [(i, min(i + g, n)) for i in range(0, n, g)]
                    for n, g in zip(self.cut.counts, self.cut.group, strict=True)
                )
            )
        )

    def _counts(self) -> frozenset[int]:
        """Tiles transformed at once: all numbers that occur."""
        return frozenset(map(self._way().together, self.tasks()))

    def _way(self) -> Any:
        return WAYS[self.cut.way](self.problem, self.cut, extents_of(self.problem))

    def pack(self, weight: np.ndarray, pointwise: None = None, *, flip: bool = False) -> _Packed:
        """The weights' spectra."""
        p, extents = self.problem, extents_of(self.problem)
        taps = np.flip(weight, tuple(range(2, p.rank + 2))) if flip else weight
        spread = taps
        if extents != p.kernel or taps.dtype != self.real:
            spread = np.zeros((*weight.shape[:2], *extents), self.real)
            spread[(..., *(slice(None, None, d) for d in p.dilation))] = taps
        keep = np.array(weight)

        @lru_cache(maxsize=1)
        def core() -> Any:
            return self.core.pack(keep, flip=flip)

        counts = self._counts()
        weights = self._way().make(spread, counts)
        return _Packed(self.cut.way, self.cut.tile, extents, counts, weights, core)

    def accepts(self, weights: Any) -> bool:
        """Whether weights packed by another plan serve this one."""
        return (
            isinstance(weights, _Packed)
            and weights.way == self.cut.way
            and weights.tile == self.cut.tile
            and weights.extents == extents_of(self.problem)
            and (weights.way == "channels" or self._counts() <= weights.counts)
        )

    def run(
        self, weights: _Packed, x: np.ndarray, out: np.ndarray, bias: np.ndarray | None = None,
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
            try:
                self.run_image(weights.weights, image, to, bias, added, channels_last, workers)
            except NotFinite:
                self.core.run(
                    weights.core(), image, to, bias, added,
                    channels_last=channels_last, threads=threads,
                )  # fmt: skip

    def run_image(
        self, weights: Any, x: np.ndarray, out: np.ndarray, bias: np.ndarray | None = None,
        residual: np.ndarray | None = None, channels_last: bool = False, workers: int = 1,
    ) -> None:  # fmt: skip
        """One image, from the `weights` of what `pack` gave."""
        if channels_last:
            x, out = np.moveaxis(x, -1, 0), np.moveaxis(out, -1, 0)
            residual = None if residual is None else np.moveaxis(residual, -1, 0)
        p, step, way = self.problem, self.cut.channels, self._way()
        per_in = p.in_ch // p.groups

        def run(item: tuple[Task, int]) -> None:
            """Tiles of groups [begin, end)."""
            task, begin = item
            end = min(begin + step, p.groups)
            with np.errstate(all="ignore"), _core.FlushedDenormals():
                some = x[begin * per_in : end * per_in]
                for tiles, low, high, y in way.results(self, some, weights, task, begin, end):
                    if not way.finite(y):
                        raise NotFinite
                    place = slice(low, high)
                    store(
                        self, y, tiles, out[place], None if bias is None else bias[place],
                        None if residual is None else residual[place],
                    )  # fmt: skip

        work = [(task, begin) for begin in range(0, p.groups, step) for task in self.tasks()]
        if min(workers, len(work)) == 1:
            for item in work:
                run(item)
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(workers, len(work))) as pool:
            list(pool.map(run, work))
