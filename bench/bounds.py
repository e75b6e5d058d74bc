"""How much of its bound each algorithm reaches: the figures of csrc/kernels.inc.

    python bench/bounds.py

One thread, processor time, weights packed, the best of many calls. The bound is the FMA peak of the
same run (`fastconv.peaks`) over what the algorithm divides the multiplications by; for those named
`_split`, the peak of tile products over six; for fft, the transforms alone, timed as scipy.fft runs
them. Taps on padding that are skipped count as run.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import numpy as np

import fastconv as fc
from fastconv._planning import make_plan


class Layer(NamedTuple):
    algorithm: str
    in_ch: int
    out_ch: int
    size: int
    kernel: int
    groups: int = 1
    fewer: float = 1  # times fewer multiplications than the definition

    def __str__(self) -> str:
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return f"{self.in_ch}→{self.out_ch} @ {self.size}², {self.kernel}×{self.kernel}{groups}"


LAYERS = (
    *(
        Layer(algorithm, c, c, size, 3, fewer=fewer)
        for algorithm, fewer in (("direct", 1), ("gemm", 1), ("winograd_f2", 2.25),
                                 ("winograd_f4", 4), ("gemm_split", 1),
                                 ("winograd_f2_split", 2.25), ("winograd_f4_split", 4))
        for c, size in ((64, 56), (128, 28), (256, 14), (256, 56), (512, 14))
    ),
    *(
        Layer(algorithm, c, m, size, 1)
        for algorithm in ("direct", "gemm")
        for c, m, size in ((64, 256, 56), (256, 64, 56), (1024, 256, 14))
    ),
    Layer("winograd_f4", 48, 64, 28, 5, fewer=25 / 9),
    Layer("depthwise", 32, 32, 112, 3, 32),
    Layer("depthwise", 240, 240, 28, 5, 240),
    Layer("depthwise", 96, 96, 56, 7, 96),
    Layer("depthwise", 1, 1, 1024, 15),
    Layer("grouped", 128, 128, 56, 3, 32),
    Layer("grouped", 512, 512, 14, 3, 32),
    Layer("fft", 1, 1, 1024, 31),
    Layer("fft", 8, 8, 256, 31, 8),
    Layer("fft", 16, 16, 128, 31),
)  # fmt: skip


def best_seconds(call) -> float:
    """Of one call: a fraction of a bound is not about the neighbours."""
    call()
    best = math.inf
    for _ in range(25):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def operands(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x_shape = (1, layer.in_ch, layer.size, layer.size)
    w_shape = (layer.out_ch, layer.in_ch // layer.groups, layer.kernel, layer.kernel)
    return (rng.standard_normal(x_shape, dtype=np.float32),
            rng.standard_normal(w_shape, dtype=np.float32))


def transform_seconds(conv: fc.Conv, layer: Layer, x_shape: tuple[int, ...]) -> float:
    """What scipy.fft needs for the transforms of a convolution by FFT."""
    from scipy import fft

    plan, _ = make_plan(conv.plan(x_shape)._problem, x_shape, False, False, False)
    together = math.prod(plan.cut.group) * plan.cut.channels
    tiles = np.zeros((together, *plan.cut.tile), np.float32)
    rows_alone = plan.cut.way == "columns"  # and only those of the output back
    axes, back = ((2,), plan.cut.valid[0]) if rows_alone else ((1, 2), len(tiles[0]))
    both = best_seconds(lambda: fft.irfftn(fft.rfftn(tiles, axes=axes)[:, :back], axes=axes))
    return both / together * math.prod(plan.cut.counts) * (layer.in_ch + layer.out_ch) / 2


def other_families(peak: float):
    """(algorithm, layer, fraction) of what `Conv` does not run."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    pixels = 56 * 56
    x, offset, weight = normal(1, 64, 56, 56), normal(1, 18, 56, 56), normal(64, 64, 3, 3)
    seconds = best_seconds(lambda: fc.deform_conv2d(x, offset, weight, padding=1))
    yield "deform", "64→64 @ 56², 3×3", 2 * pixels * 64 * 64 * 9 / seconds / peak
    depthwise, pointwise = normal(64, 1, 3, 3), normal(128, 64, 1, 1)
    seconds = best_seconds(lambda: fc.separable_conv2d(x, depthwise, pointwise, padding=1))
    yield "separable", "64→128 @ 56², 3×3", 2 * pixels * 64 * (9 + 128) / seconds / peak


def main() -> None:
    peaks = fc.peaks()
    peak, tiles = peaks["fma_flops"], peaks.get("tile_flops", 0) / 6
    print(f"FMA peak {peak / 1e9:.0f} GFLOP/s, tile products over six {tiles / 1e9:.0f}")
    with fc.num_threads(1):
        for layer in LAYERS:
            x, weight = operands(layer)
            try:
                conv = fc.Conv(weight, padding=layer.kernel // 2, groups=layer.groups,
                               algorithm=layer.algorithm)
                seconds = best_seconds(lambda conv=conv, x=x: conv(x))
            except ValueError:
                print(f"{layer.algorithm:17} {layer!s:32}    –")
                continue
            if layer.algorithm == "fft":
                fraction = transform_seconds(conv, layer, x.shape) / seconds
            else:
                flops = 2 * layer.size**2 * layer.out_ch * weight[0].size
                of = tiles if layer.algorithm.endswith("_split") else peak
                fraction = flops / layer.fewer / seconds / of
            print(f"{layer.algorithm:17} {layer!s:32} {fraction:.2f}")
        for algorithm, name, fraction in other_families(peak):
            print(f"{algorithm:17} {name:32} {fraction:.2f}")


if __name__ == "__main__":
    main()
