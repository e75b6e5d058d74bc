"""The convolutions built on the plain ones, against their definitions in float64."""

import threading

import numpy as np
import pytest
from ml_dtypes import bfloat16

import fastconv as fc

DTYPES = [np.float32, np.float64, np.float16, bfloat16]
# Of the largest sum of absolute products: rounding of the stored type, per pass.
EPS = {np.float32: 1e-6, np.float64: 1e-14, np.float16: 2e-3, bfloat16: 2e-2}


def sample(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def correlate(x, w, stride=(1, 1), pads=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """The definition of conv2d in float64."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *pads))
    w = w.astype(np.float64)
    out_ch, in_group, kh, kw = w.shape
    rows = (x.shape[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    columns = (x.shape[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    out = np.zeros((x.shape[0], out_ch, rows, columns))
    for v in range(kh):
        for u in range(kw):
            top, left = v * dilation[0], u * dilation[1]
            cells = x[
                :,
                :,
                top : top + (rows - 1) * stride[0] + 1 : stride[0],
                left : left + (columns - 1) * stride[1] + 1 : stride[1],
            ]
            for o in range(out_ch):
                first = o // (out_ch // groups) * in_group
                taps = w[o, :, v, u][None, :, None, None]
                out[:, o] += (cells[:, first : first + in_group] * taps).sum(1)
    return out


def correlate1d(x, w, groups=1, dilation=1, before=0):
    pads = ((0, 0), (before, 0))
    x4, w4 = x[:, :, None], w[:, :, None]
    return correlate(x4, w4, pads=pads, dilation=(1, dilation), groups=groups)[:, :, 0]


def close(got, want, dtype, terms=None):
    scale = max(1e-3, np.abs(want if terms is None else terms).max())
    return np.abs(got.astype(np.float64) - want).max() <= EPS[dtype] * scale


def both_layouts(call, x, **arrays):
    """The call in NCHW, in NHWC and without a batch, all as NCHW."""
    last = {k: None if a is None else np.moveaxis(a, 1, -1) for k, a in arrays.items()}
    nhwc = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    yield call(x, layout="NCHW", **arrays)
    yield np.moveaxis(call(nhwc, layout="NHWC", **last), -1, 1)
    one = {k: None if a is None else a[0] for k, a in arrays.items()}
    yield np.concatenate([call(x[0], layout="NCHW", **one)[None], call(x, **arrays)[1:]])


# --- spatially separable, flattened ---------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kh", "kw", "options"),
    [
        (3, 3, {}),
        (3, 5, {"padding": (1, 2)}),
        (5, 1, {"padding": "same", "stride": (2, 1)}),
        (2, 4, {"padding": ((1, 0), (2, 3)), "dilation": (2, 1), "stride": (1, 3)}),
        (3, 3, {"padding": 1, "padding_mode": "reflect", "stride": 2}),
        (3, 3, {"padding": 1, "padding_mode": "circular"}),
        (3, 2, {"padding": 1, "flip_kernel": True}),
    ],
)
def test_column_and_row_are_the_full_kernel(dtype, kh, kw, options):
    x = sample((2, 5, 12, 13), dtype)
    for columns in (sample((kh,), dtype, 1), sample((5, kh), dtype, 2)):
        rows = sample((5, kw), dtype, 3)
        wide = np.broadcast_to(columns.astype(np.float64), (5, kh))
        full = wide[:, None, :, None] * rows.astype(np.float64)[:, None, None, :]
        bias = sample((5,), np.float64, 4)
        want = fc.depthwise_conv2d(
            x.astype(np.float64), full, bias, activation="relu", algorithm="reference", **options
        )
        bias = bias.astype(np.float64 if dtype is np.float64 else np.float32)
        for got in both_layouts(
            lambda x, c=columns, r=rows, b=bias, **o: fc.spatially_separable_conv2d(
                x, c, r, b, activation="relu", **options, **o
            ),
            x,
        ):
            assert got.dtype == x.dtype
            assert close(got, want, dtype, np.array(kh * kw))


@pytest.mark.parametrize("dtype", DTYPES)
def test_flattened(dtype):
    x = sample((2, 4, 9, 10), dtype)
    lateral, vertical, horizontal = (
        sample(shape, dtype, 1 + i) for i, shape in enumerate([(6, 4), (6, 3), (6, 5)])
    )
    wide = [a.astype(np.float64) for a in (lateral, vertical, horizontal)]
    full = np.einsum("oi,ov,ou->oivu", *wide)
    residual = sample((2, 6, 5, 10), dtype, 9)
    want = correlate(x, full, (2, 1), ((1, 1), (2, 2))) + residual.astype(np.float64)
    for got in both_layouts(
        lambda x, residual=None, **o: fc.flattened_conv2d(
            x, lateral, vertical, horizontal, stride=(2, 1), padding=(1, 2), residual=residual, **o
        ),
        x,
        residual=residual,
    ):
        assert close(got, want, dtype, np.array(20.0))


def test_separable_multiplications_of_the_catalogue():
    """5 x 5 by 3 x 3: 81 products as one kernel; 45 in the columns, then 27 in the rows."""
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float64)
    x = np.arange(25.0).reshape(1, 5, 5)
    want = fc.conv2d(x, sobel[None, None])
    got = fc.spatially_separable_conv2d(x, np.array([1.0, 2, 1]), np.array([-1.0, 0, 1]))
    assert np.array_equal(got, want)
    assert got.size * sobel.size == 81
    middle = fc.conv2d(x, np.ones((1, 1, 3, 1)))
    assert (middle.size * 3, got.size * 3) == (45, 27)
    factors = fc.separate(sobel)
    assert np.allclose(fc.spatially_separable_conv2d(x, factors.column, factors.row), want)


# --- causal ---------------------------------------------------------------------------------


def in_chunks(x, weight, lengths, state, axis, **options):
    parts, begin = [], 0
    for length in lengths:
        chunk = x[..., begin : begin + length] if axis == -1 else x[..., begin : begin + length, :]
        y, state = fc.causal_conv1d(chunk, weight, state=state, **options)
        parts.append(y)
        begin += length
    assert begin == x.shape[axis]
    return np.concatenate(parts, axis), state


CAUSAL = [  # C_in, C_out, groups, k, dilation
    (1, 1, 1, 1, 1),
    (1, 1, 1, 2, 1),
    (3, 5, 1, 3, 4),
    (16, 16, 16, 4, 1),
    (24, 48, 24, 3, 8),
    (32, 33, 1, 2, 16),
    (64, 64, 1, 3, 1),
    (12, 18, 3, 5, 3),
    (130, 40, 10, 7, 2),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize("shape", CAUSAL, ids=str)
def test_chunks_have_the_bits_of_the_whole(dtype, layout, shape):
    in_ch, out_ch, groups, k, dilation = shape
    length, reach = 101, dilation * (k - 1)
    x = sample((2, in_ch, length), dtype)
    weight = sample((out_ch, in_ch // groups, k), dtype, 1)
    bias = sample((out_ch,), np.float64 if dtype is np.float64 else np.float32, 2)
    want = correlate1d(x, weight, groups, dilation, reach) + bias[:, None]
    axis = -1 if layout == "NCL" else -2
    if layout == "NLC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    options = {"bias": bias, "dilation": dilation, "groups": groups, "layout": layout}
    whole = fc.causal_conv1d(x, weight, **options)
    back = whole if layout == "NCL" else np.moveaxis(whole, -1, 1)
    assert close(back, want, dtype, np.array(in_ch // groups * k + 1.0))
    start = list(x.shape)
    start[axis] = reach
    zeros = np.zeros(start, dtype)
    rng = np.random.default_rng(3)
    cuts = [[length], [1] * length, [0, 1, length - 1], [40, 3, 58]]
    cuts.append(np.diff([0, *sorted(rng.integers(0, length, 9)), length]).tolist())
    for lengths in cuts:
        chunked, state = in_chunks(x, weight, lengths, zeros, axis, **options)
        assert chunked.tobytes() == whole.tobytes()
        seen = np.concatenate([zeros, x], axis)
        tail = seen[..., length:] if axis == -1 else seen[..., length:, :]
        assert state.shape == zeros.shape
        assert np.array_equal(state, tail)


@pytest.mark.parametrize("algorithm", ["auto", "gemm", "direct", "reference"])
@pytest.mark.parametrize("activation", [None, "silu", ("clip", -0.5, 0.5)])
def test_chunks_of_views_residuals_and_algorithms(algorithm, activation):
    wide = sample((1, 20, 2 * 77))
    for x in (wide[..., ::2], wide[..., -1::-2], np.asfortranarray(wide[..., :77])):
        weight, residual = sample((7, 20, 3), seed=1), sample((1, 7, 77), seed=2)
        options = {"dilation": 2, "activation": activation, "algorithm": algorithm}
        whole = fc.causal_conv1d(x, weight, residual=residual, **options)
        out = np.full((1, 7, 77 * 2), np.nan, np.float32)[..., ::2]
        assert fc.causal_conv1d(x, weight, residual=residual, out=out, **options) is out
        assert np.array_equal(out, whole)
        state, parts = np.zeros((1, 20, 4), np.float32), []
        for begin, end in ((0, 3), (3, 4), (4, 50), (50, 77)):
            y, state = fc.causal_conv1d(
                x[..., begin:end], weight, residual=residual[..., begin:end], state=state, **options
            )
            parts.append(y)
        assert np.concatenate(parts, -1).tobytes() == whole.tobytes()
        plain = fc.conv1d(
            x, weight, padding="causal", dilation=2, activation=activation, residual=residual
        )
        assert np.allclose(whole, plain, atol=1e-5)


def test_a_stack_of_dilations_streams():
    x = sample((1, 8, 300))
    weights = [sample((8, 8, 2), seed=i) / 4 for i in range(6)]
    whole = x
    for i, weight in enumerate(weights):
        whole = fc.causal_conv1d(whole, weight, dilation=2**i, activation="tanh")
    states = [np.zeros((1, 8, 2**i), np.float32) for i in range(6)]
    parts = []
    for begin in range(0, 300, 7):
        part = x[..., begin : begin + 7]
        for i, weight in enumerate(weights):
            part, states[i] = fc.causal_conv1d(
                part, weight, dilation=2**i, activation="tanh", state=states[i]
            )
        parts.append(part)
    assert np.concatenate(parts, -1).tobytes() == whole.tobytes()
    moved = x.copy()
    moved[..., 200] += 1
    later = moved
    for i, weight in enumerate(weights):
        later = fc.causal_conv1d(later, weight, dilation=2**i, activation="tanh")
    changed = np.flatnonzero((later != whole).any((0, 1)))
    assert changed.min() == 200
    assert changed.max() <= 200 + 63


def test_causal_without_batch_empty_and_odd_addresses():
    x, weight = sample((3, 10)), sample((4, 3, 3), seed=1)
    whole = fc.causal_conv1d(x[None], weight)[0]
    assert np.array_equal(fc.causal_conv1d(x, weight), whole)
    y, state = fc.causal_conv1d(x, weight, state=np.zeros((3, 2), np.float32))
    assert np.array_equal(y, whole)
    assert np.array_equal(state, x[:, -2:])
    assert not np.shares_memory(state, x)
    y, state = fc.causal_conv1d(x[:, :0], weight, state=state)
    assert y.shape == (4, 0)
    assert np.array_equal(state, x[:, -2:])
    assert fc.causal_conv1d(np.zeros((0, 3, 5), np.float32), weight).shape == (0, 4, 5)
    raw = np.empty(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    raw[:] = x
    odd = np.empty(whole.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(whole.shape)
    assert fc.causal_conv1d(raw, weight, out=odd) is odd
    assert np.array_equal(odd, whole)


def test_threads_do_not_change_causal_bits():
    x, weight = sample((2, 48, 3000)), sample((48, 48, 3), seed=1)
    with fc.num_threads(1):
        one = fc.causal_conv1d(x, weight, dilation=4)
    with fc.num_threads(4):
        assert np.array_equal(fc.causal_conv1d(x, weight, dilation=4), one)


# --- lightweight ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize(("heads", "k"), [(1, 1), (2, 3), (3, 4), (12, 7)])
def test_lightweight(dtype, causal, softmax, heads, k):
    x, weight = sample((2, 12, 15), dtype), sample((heads, k), dtype, 1)
    taps = weight.astype(np.float64)
    if softmax:
        taps = np.exp(taps) / np.exp(taps).sum(-1, keepdims=True)
    before = k - 1 if causal else (k - 1) // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (before, k - 1 - before)))
    want = np.zeros(x.shape)
    for c in range(12):
        for t in range(15):
            want[:, c, t] = padded[:, c, t : t + k] @ taps[c * heads // 12]
    for got in both_layouts(
        lambda x, layout="NCHW": fc.lightweight_conv1d(
            x, weight, softmax=softmax, causal=causal, layout=layout
        ),
        x,
    ):
        assert got.dtype == x.dtype
        assert close(got, want, dtype, np.array(float(k)))


def test_softmax_takes_large_weights():
    x = sample((1, 2, 6))
    got = fc.lightweight_conv1d(x, np.array([[1e4, -1e4, 0.0]], np.float32), causal=True)
    np.testing.assert_allclose(got[..., 2:], x[..., :-2], atol=1e-6)


# --- shuffled groups ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", [2, 3])
def test_shufflenet_unit(dtype, groups):
    channels, middle = 12 * groups, 6 * groups
    x = sample((2, channels, 7, 8), dtype)
    squeeze = sample((middle, channels // groups, 1, 1), dtype, 1)
    spatial = sample((middle, 1, 3, 3), dtype, 2)
    expand = sample((channels, middle // groups, 1, 1), dtype, 3)

    def unit(x, layout="NCHW"):
        y = fc.conv2d(x, squeeze, groups=groups, activation="relu", layout=layout)
        y = fc.channel_shuffle(y, groups, layout=layout)
        y = fc.depthwise_conv2d(y, spatial, padding=1, layout=layout)
        return fc.conv2d(y, expand, groups=groups, residual=x, activation="relu", layout=layout)

    y = np.maximum(correlate(x, squeeze, groups=groups), 0)
    order = [i * (middle // groups) + j for j in range(middle // groups) for i in range(groups)]
    y = correlate(y[:, order], spatial, pads=((1, 1), (1, 1)), groups=middle)
    want = np.maximum(correlate(y, expand, groups=groups) + x.astype(np.float64), 0)
    last = unit(np.ascontiguousarray(np.moveaxis(x, 1, -1)), "NHWC")
    for got in (unit(x), np.moveaxis(last, -1, 1)):
        assert close(got, want, dtype, np.array(12.0 * 9 * 6))


def test_a_new_thread_may_start_with_work_that_needs_no_scratch():
    x, found = sample((1, 2, 6, 6)), []
    taps = sample((2, 1, 3, 3), seed=1)
    calls = (
        lambda: fc.depthwise_conv2d(x, taps, algorithm="reference"),
        lambda: fc.max_pool2d(x, 6),
    )
    for call in calls:
        thread = threading.Thread(target=lambda call=call: found.append(call()))
        thread.start()
        thread.join()
    assert len(found) == len(calls)


# --- resize ---------------------------------------------------------------------------------


def resized(x, scales, mode):
    x = x.astype(np.float64)
    for axis, scale in zip((2, 3), scales, strict=True):
        size = int(x.shape[axis] * scale)
        if mode == "nearest":
            x = np.stack([x.take(int(o // scale), axis) for o in range(size)], axis)
            continue
        cells = []
        for o in range(size):
            at = max((o + 0.5) / scale - 0.5, 0)
            low = int(at)
            high = min(low + 1, x.shape[axis] - 1)
            cells.append(x.take(low, axis) * (1 - at + low) + x.take(high, axis) * (at - low))
        x = np.stack(cells, axis)
    return x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("scale", [1, 2, 3, (2, 1), (1.5, 2.5), 0.5])
def test_resize(dtype, mode, scale):
    x, weight = sample((2, 3, 6, 7), dtype), sample((4, 3, 3, 3), dtype, 1)
    scales = scale if isinstance(scale, tuple) else (scale, scale)
    want = correlate(resized(x, scales, mode), weight, pads=((1, 1), (1, 1)))
    for got in both_layouts(
        lambda x, layout="NCHW": fc.resize_conv2d(x, weight, scale=scale, mode=mode, layout=layout),
        x,
    ):
        assert got.dtype == x.dtype
        assert close(got, want, dtype, np.array(27.0))


def test_resize_has_no_checkerboard_where_the_transposed_convolution_has():
    x = np.ones((1, 6, 6))
    transposed = fc.conv_transpose2d(x, np.ones((1, 1, 3, 3)), stride=2)[0, 3:-3, 3:-3]
    assert set(transposed.ravel()) == {1.0, 2.0, 4.0}
    for mode in ("nearest", "bilinear"):
        even = fc.resize_conv2d(x, np.ones((1, 1, 3, 3)), mode=mode)[0, 1:-1, 1:-1]
        assert np.ptp(even) == 0


def test_bilinear_resizing_is_the_transposed_convolution_inside():
    x = sample((2, 6, 7), np.float64)
    one = np.eye(2)[:, :, None, None]
    got = fc.resize_conv2d(x, one, scale=2, mode="bilinear")
    kernel = fc.bilinear_kernel(2, 2, dtype=np.float64)
    groups = 1 if kernel.shape[1] == 2 else 2
    want = fc.conv_transpose2d(x, kernel, stride=2, padding=1, groups=groups)
    assert np.allclose(got[:, 1:-1, 1:-1], want[:, 1:-1, 1:-1])


def test_resizing_keeps_nan_in_its_cells():
    x = np.zeros((1, 4, 4))
    x[0, 1, 1] = np.nan
    one = np.ones((1, 1, 1, 1))
    assert np.isnan(fc.resize_conv2d(x, one)).sum() == 4
    assert np.isnan(fc.resize_conv2d(x, one, scale=1, mode="bilinear")).sum() == 1
    assert np.isnan(fc.resize_conv2d(x, one, scale=3, mode="bilinear")).sum() == 25


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("scale", [2, 3, (1.5, 2.5)])
def test_torch_agrees_on_resizing(mode, scale):
    torch = pytest.importorskip("torch")
    x = sample((2, 3, 6, 7))
    align = {"align_corners": False} if mode == "bilinear" else {}
    want = torch.nn.functional.interpolate(
        torch.from_numpy(x), scale_factor=scale, mode=mode, **align
    ).numpy()
    got = fc.resize_conv2d(x, np.eye(3, dtype=np.float32)[:, :, None, None], None, scale, mode)
    assert np.allclose(got, want, atol=1e-6)


# --- arguments ------------------------------------------------------------------------------

X = np.zeros((1, 4, 8, 8), np.float32)
S = np.zeros((1, 4, 8), np.float32)
W = np.ones((4, 4, 3), np.float32)
K = np.ones(3, np.float32)
W2 = np.ones((4, 4, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fc.spatially_separable_conv2d(X[0, 0], K, K), ValueError, ["x", "(8, 8)"]),
        (lambda: fc.spatially_separable_conv2d(X, np.ones((3, 3), "f4"), K), ValueError,
         ["column", "(4, k)", "(3, 3)"]),
        (lambda: fc.spatially_separable_conv2d(X, K, K.astype("f8")), TypeError,
         ["row", "float64", "float32"]),
        (lambda: fc.spatially_separable_conv2d(X, K, K[:0]), ValueError, ["row", "(0,)"]),
        (lambda: fc.spatially_separable_conv2d(X, K, K, np.ones(3, "f4")), ValueError,
         ["bias", "(4,)"]),
        (lambda: fc.spatially_separable_conv2d(X, K, K, padding=1, out=X), ValueError,
         ["out", "x"]),
        (lambda: fc.flattened_conv2d(X, W2[:, :, 0], W2[:, 0, 0], W2[:, 0, 0]), ValueError,
         ["lateral", "(C_out, 4)"]),
        (lambda: fc.flattened_conv2d(X, W2[:, :, 0, 0], K, W2[:, 0, 0]), ValueError,
         ["vertical", "(4, k)"]),
        (lambda: fc.causal_conv1d(X, W), ValueError, ["x", "(1, 4, 8, 8)"]),
        (lambda: fc.causal_conv1d(S[:, :3], W), ValueError, ["x", "4 channels"]),
        (lambda: fc.causal_conv1d(S, W, state=np.zeros((1, 4, 3), "f4")), ValueError,
         ["state", "(1, 4, 2)", "(1, 4, 3)"]),
        (lambda: fc.causal_conv1d(S, W, state=np.zeros((1, 4, 2))), TypeError,
         ["state", "float64"]),
        (lambda: fc.causal_conv1d(S, W, algorithm="winograd_f2"), ValueError,
         ["algorithm", "winograd_f2"]),
        (lambda: fc.causal_conv1d(S, W, dilation=0), ValueError, ["dilation", "0"]),
        (lambda: fc.causal_conv1d(S, W, residual=S[..., 1:]), ValueError, ["residual"]),
        (lambda: fc.causal_conv1d(S, W, out=S), ValueError, ["out", "x"]),
        (lambda: fc.lightweight_conv1d(S, np.ones((3, 3), "f4")), ValueError,
         ["weight", "heads", "4"]),
        (lambda: fc.lightweight_conv1d(S, K), ValueError, ["weight", "(H, k)"]),
        (lambda: fc.lightweight_conv1d(S, W[0], causal="yes"), TypeError, ["causal", "yes"]),
        (lambda: fc.resize_conv2d(X, W2, scale=0), ValueError, ["scale", "0"]),
        (lambda: fc.resize_conv2d(X, W2, scale="2"), TypeError, ["scale", "'2'"]),
        (lambda: fc.resize_conv2d(X, W2, scale=(1, 2, 3)), ValueError, ["scale"]),
        (lambda: fc.resize_conv2d(X, W2, scale=0.1), ValueError, ["scale", "0.1"]),
        (lambda: fc.resize_conv2d(X, W2, mode="cubic"), ValueError, ["mode", "cubic"]),
        (lambda: fc.resize_conv2d(X[:, :3], W2), ValueError, ["x", "channels"]),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
