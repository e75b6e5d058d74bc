"""fft: large kernels by overlap-save, a plan beside the C core's with the same methods.

The dense output is cut into tiles of V samples per axis; a tile is the first V samples of the
circular correlation of B = V + K - 1 samples of x with the kernel, K long with its dilation. The
transforms are `scipy.fft`'s, real, in the type computed in, many tiles and channels to a call.
What lies between them is one of (`_spectra.py`):

    few channels to sum    (channels, tiles, frequencies) times the weights' spectra
    more                   (frequencies, channels, tiles): one small complex matrix product for each
                           frequency, as a real one [Wr Wi] [X; iX] that the core runs
    a picture's channels   rows alone are transformed, two tiles as one of complex samples; the
    by themselves          columns of every frequency are summed by the core (csrc/columns.h)

Bound: transforms, 1.5 ns a sample and direction in float32, of rows alone (SciPy's pocketfft has
vectors of 16 bytes); with many channels the reading of the weights' spectra. Bias, residual and
activation are the core's, as a convolution with one tap of 1.

Rounding is relative to the largest values of a tile: at most 2.5 times the largest error of
sequential float32 sums for 3x3, 0.3 for 31x31, but small outputs beside large ones lose the digits
that a sum of small products would keep.

A transform spreads a NaN, an infinity and an overflow over its whole tile, so one sample of each
transform tells whether there was any; the core then computes that image. Tasks are cut by shapes
alone and each runs on one thread, so bits depend on neither threads nor batch.
(T. Stockham, "High-speed convolution and correlation", 1966.)

    _tiling.py    what can run, how the output is cut, what that costs
    _plan.py      a plan: made, described, its weights' spectra, run
    _spectra.py   weights' spectra, and from spectra of x to spectra of the output
    _tiles.py     tiles cut from padded x; results trimmed, finished and stored
"""

from fastconv._fft._plan import NotFinite, Plan, cheapest_plan, convolve_line
from fastconv._fft._tiling import (
    FEW_TAPS,
    Geometry,
    kernel_name,
    rejects,
    whole_length,
    whole_seconds,
)

__all__ = [
    "BOUND",
    "FEW_TAPS",
    "Geometry",
    "NotFinite",
    "Plan",
    "cheapest_plan",
    "convolve_line",
    "kernel_name",
    "rejects",
    "whole_length",
    "whole_seconds",
]

BOUND = (
    "scipy.fft's transforms, 1.5 to 4 ns a sample and direction in float32",
    "0.57 (31x31, one plane), 0.32 (16 channels summed): sums of columns, matrix products, cutting "
    "and storing tiles",
)
