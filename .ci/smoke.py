"""Run a few convolutions of the installed package and compare them with SciPy's."""

import sys

import numpy as np
from scipy.signal import correlate

import fastconv as fc


def truth(x, weight):
    """Valid cross-correlation of one sample, in float64."""
    out = [
        sum(
            correlate(plane, taps, mode="valid")
            for plane, taps in zip(x.astype(np.float64), kernel.astype(np.float64), strict=True)
        )
        for kernel in weight
    ]
    return np.stack(out)


def main():
    rng = np.random.default_rng(7)
    for rank, function in ((1, fc.conv1d), (2, fc.conv2d), (3, fc.conv3d)):
        for dtype, bound in ((np.float32, 1e-4), (np.float64, 1e-12), (np.float16, 5e-2)):
            x = rng.standard_normal((5, *(9,) * rank)).astype(dtype)
            weight = rng.standard_normal((4, 5, *(3,) * rank)).astype(dtype)
            wanted = truth(x, weight)
            for got in (function(x[None], weight)[0], fc.Conv(weight)(x[None])[0]):
                error = np.abs(got.astype(np.float64) - wanted).max()
                if got.dtype != dtype or not error < bound:
                    sys.exit(f"conv{rank}d {np.dtype(dtype)}: error {error}, dtype {got.dtype}")
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"smoke test passed: fastconv {fc.__version__}, Python {version}, NumPy {np.__version__}")


if __name__ == "__main__":
    main()
