"""scipy.signal as the judge of cross-correlation and, with flip_kernel, of true convolution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

import fastconv as fc

CONV = {1: fc.conv1d, 2: fc.conv2d, 3: fc.conv3d}
EXAMPLES = settings(derandomize=True, deadline=None, max_examples=60)


@st.composite
def pairs(draw):
    """(x, kernel) of one channel; the kernel fits into x."""
    rank = draw(st.integers(1, 3))
    kernel = draw(st.tuples(*[st.integers(1, 5)] * rank))
    room = draw(st.tuples(*[st.integers(0, 30 if rank == 1 else 8)] * rank))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    x = rng.standard_normal([k + r for k, r in zip(kernel, room, strict=True)])
    return x.astype(dtype), rng.standard_normal(kernel).astype(dtype)


def ours(x, kernel, padding, flip):
    result = CONV[x.ndim](x[None, None], kernel[None, None], padding=padding, flip_kernel=flip)
    return result[0, 0]


def tolerance(x, kernel):
    return 16 * np.finfo(x.dtype).eps * (np.abs(kernel).sum() * np.abs(x).max() + 1)


@EXAMPLES
@given(pair=pairs(), mode=st.sampled_from(["valid", "full", "same"]), flip=st.booleans())
def test_against_scipy(pair, mode, flip):
    x, kernel = pair
    judge = signal.convolve if flip else signal.correlate
    wanted = judge(x.astype(np.float64), kernel.astype(np.float64), mode, method="direct")
    padding = {
        "valid": "valid",
        "full": tuple(k - 1 for k in kernel.shape),
        # SciPy centres its "same" on the full output; an even kernel's odd cell goes by the judge.
        "same": tuple(
            (k - 1 - (k - 1) // 2, (k - 1) // 2) if flip else (k // 2, k - 1 - k // 2)
            for k in kernel.shape
        ),
    }[mode]
    got = ours(x, kernel, padding, flip)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= tolerance(x, kernel)


@pytest.mark.parametrize("boundary", ["fill", "wrap", "symm"])
def test_boundaries_of_convolve2d(boundary):
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((9, 11)), rng.standard_normal((3, 5))
    wanted = signal.convolve2d(x, kernel, "same", boundary)
    if boundary == "symm":  # d c b a | a b c d: no mode of torch's, so padded beforehand
        got = ours(np.pad(x, ((1, 1), (2, 2)), mode="symmetric"), kernel, 0, True)
    else:
        mode = {"fill": "zeros", "wrap": "circular"}[boundary]
        got = fc.conv2d(
            x[None, None], kernel[None, None], padding=(1, 2), padding_mode=mode, flip_kernel=True
        )[0, 0]
    assert np.allclose(got, wanted, rtol=0, atol=1e-13)


def test_symmetric_kernels_do_not_care():
    rng = np.random.default_rng(0)
    x, half = rng.standard_normal((1, 2, 8, 9)), rng.standard_normal((3, 2, 3, 3))
    kernel = half + half[:, :, ::-1, ::-1]
    assert np.array_equal(fc.conv2d(x, kernel), fc.conv2d(x, kernel, flip_kernel=True))


def test_upfirdn():
    """A transposed convolution is upsample-and-filter, a strided one filter-and-downsample."""
    rng = np.random.default_rng(0)
    x, taps = rng.standard_normal(23), rng.standard_normal(7)
    up = fc.conv_transpose1d(x[None, None], taps[None, None], stride=3)[0, 0]
    assert np.allclose(up, signal.upfirdn(taps, x, up=3), rtol=0, atol=1e-13)
    down = fc.conv1d(x[None, None], taps[None, None], stride=2, padding=6, flip_kernel=True)[0, 0]
    assert np.allclose(down, signal.upfirdn(taps, x, down=2), rtol=0, atol=1e-13)
