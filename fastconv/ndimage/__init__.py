"""scipy.ndimage's correlations and smoothing filters: its names, arguments, results, errors.

``from fastconv import ndimage`` in place of ``from scipy import ndimage``. Modules by what they
hold: `_correlate` (given weights), `_smooth` (Gaussians and boxes), `_derivatives`; `_arguments`
reads what users write, `_engine` cuts arrays for the core. What is not covered goes to SciPy, and
``FASTCONV_VERBOSE=1`` shows that.
"""

from fastconv.ndimage._correlate import convolve, convolve1d, correlate, correlate1d
from fastconv.ndimage._derivatives import (
    gaussian_gradient_magnitude,
    gaussian_laplace,
    generic_gradient_magnitude,
    generic_laplace,
    laplace,
    prewitt,
    sobel,
)
from fastconv.ndimage._smooth import (
    gaussian_filter,
    gaussian_filter1d,
    uniform_filter,
    uniform_filter1d,
)

__all__ = [
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "generic_gradient_magnitude",
    "generic_laplace",
    "laplace",
    "prewitt",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
]
