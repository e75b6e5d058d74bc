"""fastconv.ndimage beside scipy.ndimage: every argument, type and border."""

import functools
import itertools

import numpy as np
import pytest
import scipy.ndimage as theirs

from fastconv import ndimage as ours

MODES = ["reflect", "mirror", "nearest", "constant", "wrap", "grid-mirror", "grid-wrap",
         "grid-constant"]  # fmt: skip
INTEGERS = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]
REALS = [*INTEGERS, "f4", "f8"]
# Sequential float32 sums of non-negative terms are off by at most (k + 1) roundings.
SINGLE = 2.0**-24


def data(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low, high = (info.min, info.max) if dtype.itemsize <= 2 else (-(10**6), 10**6)
        return rng.integers(max(low, info.min), high, shape, endpoint=True).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if dtype.kind == "c" else values).astype(dtype)


def agree(name, x, *args, size=None, **kwargs):
    """Ours and SciPy's: the same dtype, equal values, or for float32 within its own rounding."""
    wanted = getattr(theirs, name)(x, *args, **kwargs)
    got = getattr(ours, name)(x, *args, **kwargs)
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    if got.dtype.kind in "biu":
        np.testing.assert_array_equal(got.view("u1") if got.dtype.kind == "b" else got,
                                      wanted.view("u1") if got.dtype.kind == "b" else wanted)
    elif got.dtype.char in "fF":
        scale = max(1.0, float(np.abs(x).max())) if x.size else 1.0
        assert np.abs(got - wanted).max(initial=0) <= (size or 40) * 4 * SINGLE * scale
    else:
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-13 * (np.abs(x).max() or 1))
    return got, wanted


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", REALS)
def test_lines(dtype, mode):
    """Each axis of arrays of one to four axes, shorter and longer than the kernel; to the bit."""
    kernels = [[0.3, 0.5, 0.2], [1, 2, 1], [-1, 0, 1], [1.5], [2, -1], [0.1, 0.2, 0.3, 0.15, 0.25],
               np.linspace(-1, 2, 12)]  # fmt: skip
    for shape in [(1,), (2,), (37,), (5, 70), (70, 5), (9, 3, 66), (3, 4, 5, 2)]:
        x = data(shape, dtype)
        for weights, axis in itertools.product(kernels, range(len(shape))):
            got, wanted = agree("correlate1d", x, weights, axis, mode=mode, cval=2.5)
            if dtype != "f4":
                np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("name", ["correlate1d", "convolve1d"])
def test_origins(name):
    x = data((9, 11), "f8")
    for n in range(1, 6):
        for origin in range(-(n // 2), (n - 1) // 2 + 1):
            for axis in (0, 1, -1):
                got, wanted = agree(name, x, np.arange(1.0, n + 1), axis, origin=origin)
                np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("name", ["correlate", "convolve"])
def test_windows(name, dtype, mode):
    rng = np.random.default_rng(1)
    for shape, kernel in [((40,), (5,)), ((3,), (7,)), ((33, 70), (3, 3)), ((9, 8), (4, 5)),
                          ((2, 3), (5, 6)), ((70, 9), (1, 4)), ((6, 7, 20), (3, 2, 3)),
                          ((5, 6, 7, 3), (3, 1, 3, 1)), ((5, 6, 3), (3, 3, 1))]:  # fmt: skip
        x = data(shape, dtype)
        for weights in (rng.integers(-3, 4, kernel), rng.random(kernel) / np.prod(kernel)):
            got, wanted = agree(name, x, weights, mode=mode, cval=-1.25, size=4 * weights.size)
            if dtype != "f4":
                np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(("source", "target"), list(itertools.product(REALS, REALS)))
def test_dtype_pairs(source, target):
    x = data((12, 40), source)
    agree("correlate1d", x, [0.25, 0.5, 0.3], output=np.dtype(target), size=400)
    agree("correlate", x, np.arange(-4.0, 5.0).reshape(3, 3) / 3, output=np.dtype(target), size=400)
    agree("gaussian_filter", x, 1.2, output=np.dtype(target), size=400)
    agree("sobel", x, output=np.dtype(target), size=4000)
    agree("sobel", x, 0, output=np.dtype(target), size=4000)
    if target != "u8" or source[0] not in "if":  # sums beyond 2**53 depend on their order
        agree("uniform_filter", x, 5, output=np.dtype(target), size=400)


@pytest.mark.parametrize("mode", ["reflect", "constant", "wrap"])
@pytest.mark.parametrize("dtype", [*REALS, "c8", "c16"])
def test_every_function(dtype, mode):
    for shape in [(30,), (20, 31), (7, 9, 11), (20, 21, 3), (4, 5, 3, 4)]:
        x = data(shape, dtype)
        common = {"mode": mode, "cval": 1.0}
        agree("gaussian_filter", x, 1.3, **common)
        agree("gaussian_filter", x, 0.9, order=1, **common)
        agree("gaussian_filter1d", x, 2.0, axis=0, order=2, **common)
        agree("gaussian_laplace", x, 1.1, **common)
        agree("uniform_filter", x, 4, **common)
        agree("uniform_filter1d", x, 7, axis=0, origin=2, **common)
        agree("laplace", x, **common)
        if dtype[0] == "f":  # of wrapped integers SciPy takes roots of negative squares, and warns
            agree("gaussian_gradient_magnitude", x, 1.1, **common, size=1000)
        if dtype[0] != "c":
            for axis in range(x.ndim):
                agree("sobel", x, axis, **common, size=400)
                agree("prewitt", x, axis, **common, size=400)


@pytest.mark.parametrize("parts", ["c8 f8", "f8 c16", "c16 c16"])
def test_complex(parts):
    first, second = parts.split()
    x, weights = data((12, 14), first), data((3, 3), second, 1)
    cval = 1 + 2j if first[0] == "c" else 0.5
    for name in ("correlate", "convolve"):
        agree(name, x, weights, mode="constant", cval=cval, size=200)
        agree(name + "1d", x, weights[0], mode="constant", cval=cval, size=200)


def test_modes_sigmas_axes_per_axis():
    x = data((8, 9, 10), "f8")
    agree("gaussian_filter", x, [1, 0, 2], order=[0, 0, 1], mode=["wrap", "mirror", "nearest"])
    agree("gaussian_filter", x, [1, 2], axes=(2, 0), radius=[2, 3], mode=["wrap", "constant"])
    agree("uniform_filter", x, [3, 5], axes=(0, 1), origin=[1, -2])
    agree("sobel", x, 1, mode=["wrap", "mirror", "nearest"])
    agree("laplace", x, axes=(0, 2), mode=["wrap", "constant"], cval=3.0)
    agree("gaussian_laplace", x, [1, 2], axes=(0, 2))
    agree("correlate", x, np.arange(6.0).reshape(2, 3), axes=(0, 2), origin=[-1, 1])
    agree("convolve", x, np.arange(6.0).reshape(2, 3), axes=(0, 2), origin=[0, 1])


def test_any_memory_layout():
    x = data((24, 30), "f8")
    for view in (x[::2, ::3], x[::-1], x.T, x[:, ::-1], x.astype(">f8"), np.asfortranarray(x)):
        agree("gaussian_filter", view, 1.0)
        agree("correlate", view, np.ones((3, 3)) / 9)
    read_only = x.copy()
    read_only.flags.writeable = False
    agree("sobel", read_only)


@pytest.mark.parametrize("name", ["correlate1d", "correlate", "gaussian_filter", "sobel", "laplace",
                                  "uniform_filter", "gaussian_laplace"])  # fmt: skip
def test_output_arrays(name):
    args = {"correlate1d": ([1.0, 2, 3],), "correlate": (np.arange(9.0).reshape(3, 3),),
            "gaussian_filter": (1.0,), "gaussian_laplace": (1.0,)}.get(name, ())  # fmt: skip
    x = data((20, 21), "f8")
    plain = [np.zeros((20, 21), dtype) for dtype in ("f8", ">f8", "f4", "i2")]
    for out in (*plain, np.zeros((40, 42))[::2, ::2], np.zeros((21, 20)).T):
        other = np.zeros_like(out)
        assert getattr(ours, name)(x, *args, output=out) is out
        getattr(theirs, name)(x, *args, output=other)
        np.testing.assert_allclose(out, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["correlate1d", "correlate", "gaussian_filter", "sobel"])
def test_output_is_input(name):
    args = {"correlate1d": ([1.0, 2, 3],), "correlate": (np.arange(9.0).reshape(3, 3),),
            "gaussian_filter": (1.0,)}.get(name, ())  # fmt: skip
    x = data((20, 21), "f8")
    wanted = getattr(theirs, name)(x.copy(), *args)
    getattr(ours, name)(x, *args, output=x)
    np.testing.assert_allclose(x, wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_kernels_of_rank_one(dtype):
    """Run as passes, as accurately as SciPy's direct sums."""
    x, line = data((40, 50), dtype), np.hanning(13)[1:-1]
    agree("correlate", x, np.outer(line, line[::-1] + 1), size=2000)
    agree("correlate", data((20, 21, 22), dtype), np.einsum("i,j,k", *[line[:7]] * 3), size=4000)


@pytest.mark.parametrize("mode", ["reflect", "mirror", "nearest", "constant", "wrap"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_kernels_for_transforms(dtype, mode):
    weights = data((27, 25), "f8", 3)
    x = data((90, 101), dtype)
    agree("correlate", x, weights, mode=mode, cval=1.5, size=4000, origin=(3, -2))
    agree("convolve", data((3, 60, 50), dtype), weights[None], mode=mode, cval=1.5, size=4000)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_small_values_beside_large_ones_keep_their_digits(dtype):
    x = np.ones((120, 120), dtype)
    x[:40, :40] = 1e9
    weights = np.abs(data((26, 26), "f8", 3)) + 0.1
    got, wanted = ours.correlate(x, weights), theirs.correlate(x, weights)
    np.testing.assert_allclose(got, wanted, rtol=1e-4 if dtype == "f4" else 1e-12)


@pytest.mark.parametrize("mode", ["reflect", "constant", "wrap"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "?", "u2"])
def test_integers_by_kernels_of_rank_one(dtype, mode):
    line = np.hanning(9)[1:-1]
    weights = np.outer(line, line[::-1] ** 2)
    for shape in [(40, 70), (3, 30, 40), (30, 40, 3)]:
        lengths = [1 if n == 3 else 7 for n in shape]
        kernel = (weights / weights.sum()).reshape(lengths)
        for target in ("u1", "i2", "u2", "i4"):
            agree("correlate", data(shape, dtype), kernel, mode=mode, output=np.dtype(target))
    flat = np.full((50, 60), 127 if dtype == "i1" else 255).astype(dtype)
    flat[20:30, 20:30] = 7
    agree("correlate", flat, weights / weights.sum(), mode=mode)


def test_truncation_of_sums_near_whole_numbers():
    """Weights that add up to nearly 1 on flat pictures: the double sum decides each time."""
    for value in (0, 1, 100, 254, 255):
        x = np.full((30, 40), value, "u1")
        x[10, 10:] = 200
        for sigma in (0.5, 1, 2, 3.3):
            agree("gaussian_filter", x, sigma)
        agree("correlate", x, np.full((3, 3), 1 / 9))
        agree("correlate1d", x.astype("i1"), np.full(10, 0.1), output="i2")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_not_a_number_stays_in_its_windows(dtype, value):
    x = data((60, 70), dtype)
    x[7, 9] = x[59, 69] = value
    line = np.hanning(11)[1:-1]
    kernels = [np.arange(1.0, 10).reshape(3, 3), np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
               np.outer(line, line), data((26, 26), "f8", 3)]  # fmt: skip
    for weights in kernels:
        got, wanted = ours.correlate(x, weights), theirs.correlate(x, weights)
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(wanted))
        np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    window = np.isnan(ours.uniform_filter1d(x, 5, 1))
    assert window.sum() <= 10


def test_larger_than_one_strip_and_block():
    for shape in [(100, 5000), (700, 600)]:
        for dtype in ("u1", "f4", "f8"):
            x = data(shape, dtype)
            agree("gaussian_filter", x, 2.0)
            agree("correlate", x, np.arange(35.0).reshape(5, 7) / 600, size=400)
            agree("sobel", x, size=400)


def test_bits_do_not_depend_on_threads():
    import fastconv as fc

    x = data((600, 500), "f4")
    results = []
    for threads in (1, 2, 3):
        with fc.num_threads(threads):
            results.append((ours.gaussian_filter(x, 3).tobytes(),
                            ours.correlate(x, np.ones((5, 5))).tobytes()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("size", range(1, 65))
def test_means_of_bytes_in_16_bits(rng, size):
    """Quotients by every length a mean in 16 bits has, of the largest sums and of any."""
    x = rng.integers(0, 256, (70, 90), dtype=np.uint8)
    x[30:40, 10:80] = 255
    agree("uniform_filter", x, size)
    agree("uniform_filter1d", x, size, mode="constant", cval=255)
    agree("uniform_filter1d", x > 99, size, output=np.uint8, axis=0)


def test_filters_of_bytes_at_the_edge_of_16_bits(rng):
    x = rng.integers(0, 256, (19, 45), dtype=np.uint8)
    x[3:9] = 255
    for total in (127, 128, 129):  # sums of 255 * 128 are below 2**15, of 255 * 129 above
        weights = np.array([[total - 7, 0, 3], [-4, 0, 0]])
        for output in (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64):
            agree("correlate", x, weights, output=output)
            agree("correlate", x.astype(np.int8), weights, output=output)
            agree("correlate1d", x, [1, -total + 1], output=output, mode="constant", cval=-1)
        agree("gaussian_filter1d", x, 1.5, output=np.int16)
    for output in (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.float32):
        for name in ("sobel", "prewitt", "laplace"):
            agree(name, x, output=output, mode="constant", cval=255)
            agree(name, x.astype(np.int8), output=output)
    agree("sobel", np.stack([x, x[::-1], x // 2], axis=-1), axis=0, output=np.int16)


def test_doubtful_sums_of_bytes(rng):
    """Flat parts, sums that are whole numbers but for rounding, and long kernels."""
    x = rng.integers(0, 256, (60, 83), dtype=np.uint8)
    x[20:50, 5:60] = 255
    for size in (5, 7, 15, 31, 63):
        taps = np.hanning(size + 2)[1:-1]
        taps /= taps.sum()
        agree("correlate", x, np.multiply.outer(taps, taps))
        agree("correlate1d", x, taps, axis=0)
        agree("correlate1d", x, taps[: size // 2 + 2])
    agree("correlate", x, np.full((5, 4), 1 / 20))
    agree("gaussian_filter", x, 2.0)


@pytest.mark.parametrize("mode", ["reflect", "mirror", "nearest", "constant", "wrap"])
def test_blurred_bytes(rng, mode):
    """Widths around blocks and strips, a kernel's pieces, origins, and borders between passes."""
    window = np.multiply.outer(np.array([1, 3, 4, 3, 1]) / 12, np.array([1, 2, 5, 3, 2, 1]) / 14)
    for shape in [(3, 1), (5, 9), (17, 63), (6, 64), (9, 129), (4, 257), (70, 131), (21, 3001)]:
        x = rng.integers(0, 256, shape, dtype=np.uint8)
        x[1:, shape[1] // 3 :] //= 200  # flat parts
        x[: shape[0] // 2] = np.arange(shape[1]) % 256  # a slope
        agree("correlate", x, window, mode=mode)
        agree("correlate", x, window, mode=mode, origin=(1, -2))
        agree("gaussian_filter", x, 1.3, mode=mode, cval=77)
        agree("gaussian_filter", x, (4, 5.5), mode=mode)
    stack = rng.integers(0, 256, (3, 40, 50), dtype=np.uint8)
    agree("gaussian_filter", stack, 1.0, mode=mode)
    agree("correlate", stack, window[None], mode=mode)


WHOLE_LINES = [
    [1, 2, 1], [1, 1, 1], [3, 1, 2], [1, 1, 1, 1], [1, 4, 6, 4, 1], [1, 3, 4, 3, 1],
    [1, 1, 1, 1, 1], [2, 3, 2, 5], [1, 6, 15, 20, 15, 6, 1], [1, 2, 3, 4, 3, 2, 1], [1] * 9,
]  # fmt: skip


@pytest.mark.parametrize(
    "shape", [(4, 1), (5, 9), (17, 63), (6, 64), (9, 129), (33, 257), (9, 30, 3)]
)
@pytest.mark.parametrize("mode", ["reflect", "mirror", "nearest", "constant", "wrap"])
def test_bytes_by_whole_weights_over_a_divisor(rng, mode, shape):
    """Sums that the divisor goes into, and those beside them: over the sum of the weights, over a
    power of two, of which doubles are exact, over more and less than that, and over no divisor."""
    x = rng.integers(0, 256, shape, dtype=np.uint8)
    x[shape[0] // 2 :, : shape[1] // 3] = 255
    for rows, columns in itertools.product(WHOLE_LINES, repeat=2):
        window = np.multiply.outer(rows, columns).astype(float)
        total = window.sum()
        power = 2.0 ** np.ceil(np.log2(total))
        for divisor in (total, power, total + 1, 0.9 * total, 1.37 * total):
            kernel = (window / divisor).reshape(window.shape + (1,) * (len(shape) - 2))
            agree("correlate", x, kernel, mode=mode)
    agree("correlate", x, kernel, mode=mode, origin=(1, -2, 0)[: x.ndim])


@pytest.mark.parametrize("mode", ["reflect", "constant", "wrap"])
def test_short_means_of_bytes(rng, mode):
    x = rng.integers(0, 256, (40, 131), dtype=np.uint8)
    x[10:20, 50:] = 255
    for size in itertools.product((2, 3, 4, 5, 6), repeat=2):
        agree("uniform_filter", x, size, mode=mode, cval=77)
        agree("uniform_filter", np.dstack([x, x[::-1], x // 2]), (*size, 1), mode=mode, cval=255)


def test_brightened_bytes_wrap_around(rng):
    x = rng.integers(0, 256, (40, 90), dtype=np.uint8)
    window = np.multiply.outer(np.linspace(0.3, 1.1, 5), np.linspace(0.2, 2.3, 6))
    agree("correlate", x, window)
    agree("correlate1d", x, window[0])


def test_calls_are_told_apart(rng):
    """A call is remembered by all it depends on: what differs in one thing is another call."""
    x = rng.integers(0, 256, (30, 41), dtype=np.uint8)
    taps = np.array([1.0, 3, 4, 3, 1]) / 12
    weights = np.multiply.outer(taps, taps)
    for _ in range(2):
        agree("correlate", x, weights)
        agree("convolve", x, np.triu(weights))
        agree("correlate", x, np.triu(weights))
        agree("correlate", x, weights, output=np.float32)
        agree("correlate", x.astype(float), weights, mode="constant", cval=-0.0)
        agree("correlate", x.astype(float), weights, mode="constant", cval=0.0)
        agree("correlate", x.astype(float), weights, mode="constant", cval=1.0)
        agree("correlate", x, weights, origin=1)
        agree("correlate", x.astype(">i2"), weights)
        agree("correlate", x[:, ::2], weights)
        agree("sobel", x, 0, output=np.int16)
        agree("sobel", x, 1, output=np.int16)
        agree("prewitt", x, 1, output=np.int16)
        agree("uniform_filter", x, 3)
        agree("uniform_filter", x, 3.0)
        agree("uniform_filter", x.astype(np.int64) << 40, 3)
        agree("gaussian_filter", x, 1)
        agree("gaussian_filter", x, 1, order=1, output=np.float64)
        agree("gaussian_filter", x, 1, radius=2)
        weights = weights.T[::-1] * 0.9
        x = x[::-1].copy()
    whole = x.astype(np.int16)
    for name, argument in (("correlate", weights), ("sobel", 0)):
        call = functools.partial(getattr(ours, name), whole, argument)
        wanted = call()
        wide = np.zeros((30, 82), np.int16)
        call(output=wide[:, ::2])
        np.testing.assert_array_equal(wide[:, ::2], wanted)
        assert call(output=whole) is whole
        np.testing.assert_array_equal(whole, wanted)


def test_means_beyond_doubles_are_left_to_scipy(rng):
    x = rng.integers(-(2**62), 2**62, (9, 30))
    agree("uniform_filter", x, 5)
    agree("uniform_filter", rng.integers(-99, 99, (19, 40), dtype=np.int8), 4, output=np.uint64)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("size", [2, 3, 4, 5, 11, 12, 14, 23, 25, 63, 64])
def test_boxes_of_every_kind(dtype, size):
    """Rows read in place or copied, one axis or two, channels, fewer cells than the box."""
    for shape in [(40, 64), (5, 48), (70, 37), (9, 30, 3), (200,)]:
        x = data(shape, dtype)
        agree("uniform_filter", x, size, mode="mirror")
        agree("uniform_filter1d", x, size, axis=0, mode="constant", cval=3.0, origin=-1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("size", [2, 3, 8, 25, 64])
def test_boxes_keep_values_in_their_windows(dtype, size, value):
    x = data((150, 160), dtype)
    wanted = ours.uniform_filter(x, size)
    x[70, 90] = value
    got = ours.uniform_filter(x, size)
    top, left = 70 + size // 2 - size + 1, 90 + size // 2 - size + 1
    inside = np.zeros(x.shape, bool)
    inside[top : top + size, left : left + size] = True
    np.testing.assert_array_equal(got[~inside], wanted[~inside])
    if np.isfinite(value):
        assert (np.abs(got[inside]) > 1e25).all()
    else:
        np.testing.assert_array_equal(got[inside], np.full(size * size, value, dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_means_of_a_flat_picture_are_its_value(dtype):
    for value in (0.1, 1 / 3, 3.0, 1e30):
        x = np.full((70, 96), value, dtype)
        for size in (2, 3, 7, 16, 25, 64):
            got = ours.uniform_filter(x, size)
            np.testing.assert_allclose(got, x, rtol=4 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("mode", ["reflect", "mirror", "nearest", "constant", "wrap"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_rows_read_in_place_give_the_bits_of_copied_ones(dtype, mode):
    """Rows of 64 columns are read in place, of 69 are not; what they share is equal."""
    x = data((30, 69), dtype)
    common = {"mode": mode, "cval": 2.5}
    for name, args in (("sobel", ()), ("gaussian_filter", (0.9,)), ("uniform_filter", (5,))):
        narrow = getattr(ours, name)(x[:, :64].copy(), *args, **common)
        wide = getattr(ours, name)(x, *args, **common)
        np.testing.assert_array_equal(narrow[:, 4:-4], wide[:, 4:60])
        agree(name, x[:, :64].copy(), *args, **common)


def test_bits_of_boxes_do_not_depend_on_threads():
    import fastconv as fc

    for dtype in ("u1", "f4", "f8"):
        x, results = data((610, 496), dtype), []
        for threads in (1, 2, 3):
            with fc.num_threads(threads):
                results.append([ours.uniform_filter(x, size).tobytes() for size in (3, 25, 40)])
        assert results[0] == results[1] == results[2]


def test_remembered_filters_tell_equal_arguments_apart():
    """Shapes, types, borders and both zeros, one after the other with the same weights."""
    for shape in ((20, 32), (32, 20)):
        for dtype in ("u1", "i1", "f4", "f8", "l", "q"):
            for mode in ("constant", "wrap"):
                for cval in (0.0, -0.0, 1.0):
                    x = data(shape, dtype)
                    got, wanted = agree("correlate1d", x, [1.0, 2, 1], mode=mode, cval=cval)
                    np.testing.assert_array_equal(np.signbit(got), np.signbit(wanted))
                    agree("correlate", x, np.ones((3, 3)), mode=mode, cval=cval, size=400)


def test_a_prepared_filter_takes_only_what_it_was_made_for():
    from fastconv import _core

    single, x = np.dtype("f4"), np.zeros((4, 5), "f4")
    stage = ([1, 1, 3], [0, 0, 1], np.ones(3), "line", 0.0, 0.0)
    run = _core.Filter(
        single, single, single=True, batch=1, size=(1, 4, 5), step=1, extension=["nearest"] * 3,
        constant=0.0, first=stage,
    )  # fmt: skip
    run.run(x, np.zeros((4, 5), "f4"), 1)
    for source, target in ((x[:3], x.copy()), (x, np.zeros((5, 5), "f4"))):
        with pytest.raises(ValueError, match="elements"):
            run.run(source, target, 1)
    with pytest.raises(ValueError, match="float64"):
        run.run(x.astype("f8"), x.copy(), 1)


@pytest.mark.parametrize("size", [3, 31])
def test_pictures_in_any_memory(size):
    """Strided, reversed, transposed, misaligned and foreign ones, read and written, by loops and
    by transforms."""
    x, w = data((300, 310), "f8"), data((size, size), "f8", 1)
    wanted = theirs.correlate(x, w)
    close = functools.partial(np.testing.assert_allclose, atol=1e-11 * abs(wanted).max())

    def records():
        return np.zeros(x.shape, np.dtype([("a", "i1"), ("b", "f8")]))["b"]

    def bytes_behind_one():
        return np.zeros(x.nbytes + 1, np.uint8)[1:].view("f8").reshape(x.shape)

    def doubled():
        return np.zeros((300, 620))[:, ::2]

    def reversed_rows():
        return np.zeros(x.shape)[::-1]

    def transposed():
        return np.zeros(x.shape[::-1]).T

    def swapped():
        return np.zeros(x.shape, ">f8")

    for make in (records, bytes_behind_one, doubled, reversed_rows, transposed, swapped):
        same, out = make(), make()
        same[:] = x
        close(ours.correlate(same, w), wanted)
        ours.correlate(x, w, output=out)
        close(out, wanted)
