"""`fastconv.pooling` against its definition as float64 loops, and torch where it is installed."""

import itertools

import numpy as np
import pytest
from ml_dtypes import bfloat16

import fastconv as fc
from fastconv import pooling

DTYPES = [np.float32, np.float64, np.float16, bfloat16]
MAX = {1: pooling.max_pool1d, 2: pooling.max_pool2d, 3: pooling.max_pool3d}
MEAN = {1: pooling.avg_pool1d, 2: pooling.avg_pool2d, 3: pooling.avg_pool3d}
LAST = {1: "NLC", 2: "NHWC", 3: "NDHWC"}
# Of the mean of absolute values: half a unit in the last place of the type stored, or a few
# of those of the type summed in.
EPS = {np.float32: 5e-7, np.float64: 1e-15, np.float16: 6e-4, bfloat16: 5e-3}

# sizes, kernel, stride, padding, dilation
GEOMETRY = [
    ((1,), 1, 1, 0, 1),
    ((7,), 2, None, 0, 1),
    ((40,), 3, 2, 1, 1),
    ((100,), 5, 1, 2, 1),
    ((33,), 3, 3, 1, 4),
    ((700,), 300, 7, 150, 1),
    ((9000,), 2, 1, 1, 1),
    ((9001,), 9001, 1, 0, 1),
    ((500,), 3, 40, 1, 1),
    ((6, 6), 2, 2, 0, 1),
    ((13, 35), 3, 2, 1, 1),
    ((12, 34), (3, 2), (1, 2), (1, 0), 1),
    ((9, 70), (2, 5), (2, 1), (1, 2), (1, 3)),
    ((7, 7), 7, 1, 0, 1),
    ((30, 41), (30, 41), 1, 0, 1),
    ((5, 1), (3, 1), 1, (1, 0), 1),
    ((1, 50), (1, 4), (1, 4), 0, 1),
    ((4, 5, 37), 2, 2, 1, 1),
    ((5, 6, 7), (2, 3, 4), (1, 2, 3), (1, 1, 2), (2, 1, 1)),
    ((3, 4, 5), (3, 4, 5), 1, 0, 1),
]


def spread(value, rank):
    return value if isinstance(value, tuple) else (value,) * rank


def windows(x, kernel, stride, padding, dilation, ceil):
    """(output shape, index, cells inside x, cells in x and padding) of every window."""
    rank = x.ndim - 2
    axes = []
    for i, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True):
        room = i + 2 * p - d * (k - 1) - 1
        count = (-(-room // s) if ceil else room // s) + 1
        if ceil and (count - 1) * s >= i + p:
            count -= 1
        axis = []
        for o in range(count):
            taps = [o * s - p + t * d for t in range(k)]
            axis.append(([t for t in taps if 0 <= t < i], sum(t < i + p for t in taps)))
        axes.append(axis)
    shape = tuple(len(axis) for axis in axes)
    for index in itertools.product(*map(range, shape)):
        inside = [axes[a][index[a]][0] for a in range(rank)]
        padded = np.prod([axes[a][index[a]][1] for a in range(rank)])
        yield shape, index, x[(slice(None), slice(None), *np.ix_(*inside))], padded


def expected(x, kernel, stride, padding, dilation, ceil, reduce):
    x = x.astype(np.float64)
    rank = x.ndim - 2
    kernel = spread(kernel, rank)
    stride = kernel if stride is None else spread(stride, rank)
    out = None
    for shape, index, cells, padded in windows(
        x, kernel, stride, spread(padding, rank), spread(dilation, rank), ceil
    ):
        if out is None:
            out = np.zeros((*x.shape[:2], *shape))
        out[(..., *index)] = reduce(cells.reshape(*x.shape[:2], -1), padded)
    return out


def largest(cells, padded):
    return cells.max(-1) if cells.shape[-1] else -np.inf


def means(include=True, divisor=None):
    def mean(cells, padded):
        count = divisor or (padded if include else cells.shape[-1])
        return cells.sum(-1) / count if count else 0.0

    return mean


def sample(shape, dtype, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def layouts(x):
    """The same values as NCHW, NHWC and strided views; with the axes of the result put back."""
    rank = x.ndim - 2
    yield x, "NCHW", lambda y: y
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    yield last, LAST[rank], lambda y: np.moveaxis(y, -1, 1)
    yield np.moveaxis(last, -1, 1), "NCHW", lambda y: y
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1] + 1), x.dtype)
    wide[..., 1::2] = x
    yield wide[..., 1::2], "NCHW", lambda y: y
    yield np.ascontiguousarray(x[..., ::-1])[..., ::-1], "NCHW", lambda y: y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", GEOMETRY, ids=str)
@pytest.mark.parametrize("ceil", [False, True])
def test_maximum(dtype, geometry, ceil):
    sizes, kernel, stride, padding, dilation = geometry
    x = sample((2, 19, *sizes) if np.prod(sizes) < 2000 else (1, 3, *sizes), dtype)
    want = expected(x, kernel, stride, padding, dilation, ceil, largest)
    for view, layout, back in layouts(x):
        got = back(MAX[len(sizes)](view, kernel, stride, padding, dilation, ceil, layout=layout))
        assert got.dtype == x.dtype
        assert np.array_equal(got.astype(np.float64), want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", [g for g in GEOMETRY if g[4] == 1], ids=str)
@pytest.mark.parametrize(
    "options", [(False, True, None), (True, True, None), (True, False, None), (False, False, 5)]
)
def test_mean(dtype, geometry, options):
    sizes, kernel, stride, padding, dilation = geometry
    ceil, include, divisor = options
    x = sample((2, 19, *sizes) if np.prod(sizes) < 2000 else (1, 3, *sizes), dtype)
    want = expected(x, kernel, stride, padding, dilation, ceil, means(include, divisor))
    terms = expected(np.abs(x), kernel, stride, padding, dilation, ceil, means(include, divisor))
    bound = EPS[dtype] * terms.max()
    for view, layout, back in layouts(x):
        got = back(
            MEAN[len(sizes)](view, kernel, stride, padding, ceil, include, divisor, layout=layout)
        )
        assert got.dtype == x.dtype
        assert got.shape == want.shape
        assert np.abs(got.astype(np.float64) - want).max() <= bound


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(1,), (50,), (7, 7), (14, 15), (112, 112), (3, 4, 5)], ids=str)
def test_global_mean(dtype, sizes):
    x = (sample((2, 70, *sizes), np.float64) + 3).astype(dtype)
    want = x.astype(np.float64).mean(tuple(range(2, x.ndim)))
    for view, layout, _ in layouts(x):
        got = pooling.global_avg_pool(view, layout=layout)
        assert got.dtype == x.dtype
        assert got.shape == (2, 70)
        assert np.abs(got.astype(np.float64) - want).max() <= 4 * EPS[dtype]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_long_mean_keeps_its_digits(layout):
    x = np.full((1, 2, 1500, 1500), 0.1, np.float32)
    x = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    assert np.abs(pooling.global_avg_pool(x, layout=layout) - np.float32(0.1)).max() <= 1e-7


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("size", [5, 40, 9000])
def test_nan_and_infinity(size, channels_last):
    x = sample((1, 5, 3, size), np.float32)
    x[0, 2, 1, 3] = np.nan
    x[0, 3, 0, 0] = np.inf
    x[0, 4] = -np.inf
    layout = "NHWC" if channels_last else "NCHW"
    view = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if channels_last else x
    for kernel, stride in ((2, 1), (2, 2), ((3, size), 1)):
        largest_of = pooling.max_pool2d(view, kernel, stride, layout=layout)
        mean_of = pooling.avg_pool2d(view, kernel, stride, layout=layout)
        if channels_last:
            largest_of, mean_of = np.moveaxis(largest_of, -1, 1), np.moveaxis(mean_of, -1, 1)
        want = expected(x, kernel, stride, 0, 1, False, largest)
        assert np.array_equal(largest_of, want.astype(np.float32), equal_nan=True)
        wanted = expected(x, kernel, stride, 0, 1, False, means())
        assert np.array_equal(np.isnan(mean_of), np.isnan(wanted))
        assert np.array_equal(np.isinf(mean_of), np.isinf(wanted))


def test_bits_depend_on_neither_threads_nor_batch():
    x = sample((3, 37, 61, 67), np.float32)
    for layout in ("NCHW", "NHWC"):
        view = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
        for call in (
            lambda v, layout=layout: pooling.avg_pool2d(v, 3, 2, 1, layout=layout),
            lambda v, layout=layout: pooling.max_pool2d(v, 3, 2, 1, layout=layout),
            lambda v, layout=layout: pooling.global_avg_pool(v, layout=layout),
        ):
            whole = call(view)
            with fc.num_threads(1):
                assert np.array_equal(call(view), whole)
            with fc.num_threads(5):
                assert np.array_equal(call(view), whole)
            assert np.array_equal(call(view[1:2]), whole[1:2])


def test_out_unbatched_and_empty():
    x = sample((4, 9, 9), np.float32)
    want = pooling.max_pool2d(x[None], 3, 2)[0]
    assert np.array_equal(pooling.max_pool2d(x, 3, 2), want)
    out = np.empty((4, 4, 8), np.float32)[..., ::2]
    assert pooling.max_pool2d(x, 3, 2, out=out) is out
    assert np.array_equal(out, want)
    shifted = np.empty(4 * 4 * 4 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(4, 4, 4)
    assert pooling.max_pool2d(x, 3, 2, out=shifted) is shifted
    assert np.array_equal(shifted, want)
    raw = np.empty(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    raw[:] = x
    assert np.array_equal(pooling.max_pool2d(raw, 3, 2), want)
    assert pooling.avg_pool1d(np.zeros((0, 3, 8), np.float32), 2).shape == (0, 3, 4)
    assert pooling.avg_pool1d(np.zeros((2, 0, 8), np.float32), 2).shape == (2, 0, 4)
    constant = np.broadcast_to(np.float32(3), (1, 2, 9))
    assert np.array_equal(pooling.max_pool1d(constant, 4), [[[3, 3]] * 2])
    mean = np.empty((1, 4), np.float32)
    assert pooling.global_avg_pool(x[None], out=mean) is mean
    assert np.allclose(mean[0], x.mean((1, 2)), atol=1e-6)


X = np.zeros((1, 2, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fc.max_pool2d(X.astype(int), 2), TypeError, ["x", "int64"]),
        (lambda: fc.max_pool2d(X[0, 0], 2), ValueError, ["x", "(8, 8)", "NCHW"]),
        (lambda: fc.max_pool2d(X, 0), ValueError, ["kernel_size", "0"]),
        (lambda: fc.max_pool2d(X, 2.0), TypeError, ["kernel_size", "2.0"]),
        (lambda: fc.max_pool2d(X, (2, 2, 2)), ValueError, ["kernel_size", "length 3"]),
        (lambda: fc.max_pool2d(X, 9), ValueError, ["kernel_size", "9", "8"]),
        (lambda: fc.max_pool2d(X, 2, 0), ValueError, ["stride", "0"]),
        (lambda: fc.max_pool2d(X, 2, 2, 2), ValueError, ["padding", "2", "half"]),
        (lambda: fc.max_pool2d(X, 2, 2, -1), ValueError, ["padding", "-1"]),
        (lambda: fc.max_pool2d(X, 2, 2, 0, 0), ValueError, ["dilation", "0"]),
        (lambda: fc.max_pool2d(X, 2, 2, 0, 1, 1), TypeError, ["ceil_mode", "1"]),
        (lambda: fc.max_pool2d(X, 2, 1 << 50), ValueError, ["stride", "2**40"]),
        (lambda: fc.max_pool2d(X, 2, layout="NCL"), ValueError, ["layout", "NCL"]),
        (lambda: fc.max_pool2d(X[:, :, :0], 2), ValueError, ["x", "size 0"]),
        (lambda: fc.avg_pool2d(X, 2, divisor_override=0), ValueError, ["divisor_override", "0"]),
        (lambda: fc.avg_pool2d(X, 2, count_include_pad="no"), TypeError, ["count_include_pad"]),
        (lambda: fc.avg_pool2d(X, 2, out=X), ValueError, ["out", "(1, 2, 4, 4)"]),
        (lambda: fc.avg_pool2d(X, 1, out=X), ValueError, ["out", "overlap"]),
        (lambda: fc.avg_pool2d(X, 2, out=[]), TypeError, ["out", "list"]),
        (lambda: fc.global_avg_pool(X[0, 0]), ValueError, ["x", "(8, 8)"]),
        (lambda: fc.global_avg_pool(X, out=np.zeros(2, np.float32)), ValueError, ["out", "(1, 2)"]),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("geometry", GEOMETRY, ids=str)
@pytest.mark.parametrize("ceil", [False, True])
def test_torch_agrees(geometry, ceil):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    sizes, kernel, stride, padding, dilation = geometry
    rank = len(sizes)
    x = sample((2, 3, *sizes), np.float32)
    judge = getattr(functional, f"max_pool{rank}d")
    want = judge(torch.from_numpy(x), kernel, stride, padding, dilation, ceil).numpy()
    assert np.array_equal(MAX[rank](x, kernel, stride, padding, dilation, ceil), want)
    if dilation == 1:
        judge = getattr(functional, f"avg_pool{rank}d")
        for include in (True, False):
            want = judge(torch.from_numpy(x), kernel, stride, padding, ceil, include).numpy()
            got = MEAN[rank](x, kernel, stride, padding, ceil, include)
            assert np.allclose(got, want, atol=2e-6)
