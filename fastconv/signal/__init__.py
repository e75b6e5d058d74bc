"""scipy.signal's convolutions and FIR filters on fastconv's kernels.

The names, signatures, defaults, results and dtypes are SciPy's; each docstring says what differs.
A call that is not covered, wrong arguments included, is handed to SciPy, which is imported for that
alone, and shown under ``FASTCONV_VERBOSE``.
"""

from fastconv.signal._convolve import (
    choose_conv_method,
    convolve,
    correlate,
    correlation_lags,
    fftconvolve,
    oaconvolve,
)
from fastconv.signal._filters import lfilter, upfirdn
from fastconv.signal._pictures import convolve2d, correlate2d, sepfir2d

__all__ = [
    "choose_conv_method",
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "correlation_lags",
    "fftconvolve",
    "lfilter",
    "oaconvolve",
    "sepfir2d",
    "upfirdn",
]
