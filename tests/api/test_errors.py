"""Every bad input is refused with an error that names the argument, and nothing is written."""

import numpy as np
import pytest

import fastconv as fc

CONV = {1: fc.conv1d, 2: fc.conv2d, 3: fc.conv3d}
TRANSPOSED = {1: fc.conv_transpose1d, 2: fc.conv_transpose2d, 3: fc.conv_transpose3d}
HUGE = [2**40, 2**61, 2**62 - 1, 2**62, 2**63 - 1, 2**63, 2**70]


def x_of(rank=2, dtype=np.float32, channels=4):
    return np.ones((2, channels, *[6] * rank), dtype)


def weight_of(rank=2, dtype=np.float32, shape=(4, 4)):
    return np.ones((*shape, *[3] * rank), dtype)


def every_entry(x, weight, bias=None, **options):
    """The function and the object, as one call each."""
    rank = np.ndim(weight) - 2 if 1 <= np.ndim(weight) - 2 <= 3 else 2
    call_options = {n: options.pop(n) for n in ("residual", "out") if n in options}
    yield lambda: CONV[rank](x, weight, bias, **options, **call_options)
    yield lambda: fc.Conv(weight, bias, **options)(x, **call_options)


def assert_refused(error, argument, x, weight, bias=None, **options):
    for call in every_entry(x, weight, bias, **options):
        with pytest.raises(error) as caught:
            call()
        assert type(caught.value) in (TypeError, ValueError), type(caught.value)
        assert argument in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    "dtype", [np.int32, np.uint8, np.bool_, np.complex64, np.longdouble, object, "S1"]
)
def test_unsupported_dtypes(dtype):
    assert_refused(TypeError, "", x_of().astype(dtype), weight_of().astype(dtype))
    with pytest.raises(TypeError, match="x"):
        fc.conv2d(x_of().astype(dtype), weight_of())
    with pytest.raises(TypeError, match="weight"):
        fc.conv2d(x_of(), weight_of().astype(dtype))


@pytest.mark.parametrize("other", [np.float64, np.float16])
def test_mixed_dtypes(other):
    assert_refused(TypeError, "weight", x_of(), weight_of(dtype=other))
    assert_refused(TypeError, "bias", x_of(), weight_of(), np.ones(4, other))
    residual = np.ones((2, 4, 4, 4), other)
    assert_refused(TypeError, "residual", x_of(), weight_of(), residual=residual)
    assert_refused(TypeError, "out", x_of(), weight_of(), out=residual)


@pytest.mark.parametrize("bad", [None, "picture", object(), {}, 3.0])
def test_no_arrays(bad):
    with pytest.raises((TypeError, ValueError), match="x"):
        fc.conv2d(bad, weight_of())
    with pytest.raises((TypeError, ValueError), match="weight"):
        fc.conv2d(x_of(), bad)
    with pytest.raises((TypeError, ValueError), match="weight"):
        fc.Conv(bad)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_ranks(rank):
    for ndim in (0, 1, rank, rank + 3, 6):
        with pytest.raises(ValueError, match="x"):
            CONV[rank](np.ones((4,) * ndim, np.float32), weight_of(rank))
        with pytest.raises(ValueError, match="weight"):
            CONV[rank](x_of(rank), np.ones((4,) * ndim, np.float32))


def test_channels_and_groups():
    assert_refused(ValueError, "x", x_of(channels=3), weight_of())
    assert_refused(ValueError, "x", x_of(channels=4), weight_of(), layout="NHWC")
    assert_refused(ValueError, "groups", x_of(), weight_of(), groups=3)
    assert_refused(ValueError, "x", x_of(), weight_of(), groups=2)
    assert_refused(ValueError, "weight", x_of(), np.ones((0, 4, 3, 3), np.float32))
    assert_refused(ValueError, "weight", x_of(), np.ones((4, 4, 0, 3), np.float32))
    for bad in (0, -1):
        assert_refused(ValueError, "groups", x_of(), weight_of(), groups=bad)
    for bad in (1.0, "1", None, True):
        assert_refused(TypeError, "groups", x_of(), weight_of(), groups=bad)


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 1), (), (0,)])
def test_bias_shapes(shape):
    assert_refused(ValueError, "bias", x_of(), weight_of(), np.ones(shape, np.float32))


@pytest.mark.parametrize("argument", ["stride", "dilation", "padding"])
def test_geometry(argument):
    for bad in (-1, (1, -1), (1, 2, 3), ()):
        assert_refused(ValueError, argument, x_of(), weight_of(), **{argument: bad})
    for bad in (1.5, "much", None, (1, 1.0), True):
        error = ValueError if bad == "much" and argument == "padding" else TypeError
        assert_refused(error, argument, x_of(), weight_of(), **{argument: bad})
    if argument != "padding":
        assert_refused(ValueError, argument, x_of(), weight_of(), **{argument: 0})


@pytest.mark.parametrize("value", HUGE)
def test_huge_geometry(value):
    """Nothing wraps around; a huge stride of a convolution that fits is just one output."""
    assert_refused(ValueError, "", x_of(), weight_of(), dilation=value)
    assert_refused(ValueError, "", x_of(), weight_of(), dilation=value, padding=value)
    if value <= 2**40:
        assert fc.conv2d(x_of(), weight_of(), stride=value).shape == (2, 4, 1, 1)
    else:
        assert_refused(ValueError, "stride", x_of(), weight_of(), stride=value)
    for padding in (value, ((0, value), (0, 0))):
        with pytest.raises((ValueError, MemoryError)):
            fc.conv2d(x_of(), weight_of(), padding=padding, stride=1)
    for options in ({"stride": value}, {"dilation": value}):
        with pytest.raises((ValueError, MemoryError)):
            fc.conv_transpose2d(x_of(), weight_of(), **options)
    with pytest.raises(ValueError, match="output_padding"):
        fc.conv_transpose2d(x_of(), weight_of(), output_padding=value)


def test_huge_arrays_of_no_memory():
    """Broadcast views claim sizes no result could have."""
    x = np.broadcast_to(np.float32(1), (2**31, 4, 2**20, 6))
    with pytest.raises((ValueError, MemoryError)):
        fc.conv2d(x, weight_of())


def test_kernel_does_not_fit():
    assert_refused(ValueError, "kernel", x_of(), weight_of(), dilation=9)
    with pytest.raises(ValueError, match="padding"):
        fc.conv_transpose2d(x_of(), weight_of(), padding=20)


@pytest.mark.parametrize(
    ("argument", "bad"),
    [
        ("padding", "samey"),
        ("padding_mode", "wrap"),
        ("padding_mode", None),
        ("activation", "gelu"),
        ("activation", ("clip", 1.0)),
        ("activation", ("clip", 2.0, 1.0)),
        ("activation", ("clip", float("nan"), 1.0)),
        ("activation", ("leaky_relu", "steep")),
        ("activation", 3),
        ("layout", "NCWH"),
        ("layout", "NHC"),
        ("precision", "low"),
        ("precision", None),
        ("algorithm", "magic"),
        ("algorithm", "gemm.f32.avx9000"),
        ("algorithm", None),
        ("algorithm", ""),
    ],
)
def test_words(argument, bad):
    assert_refused((TypeError, ValueError), argument, x_of(), weight_of(), **{argument: bad})


def test_padding_modes_that_reach_too_far():
    assert_refused(ValueError, "padding", x_of(), weight_of(), padding=6, padding_mode="reflect")
    assert_refused(ValueError, "padding", x_of(), weight_of(), padding=7, padding_mode="circular")


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed(rank):
    x, weight = x_of(rank), weight_of(rank)
    function = TRANSPOSED[rank]
    for bad in (1, 2, -1):
        with pytest.raises(ValueError, match="output_padding"):
            function(x, weight, output_padding=bad)
    with pytest.raises(ValueError, match="padding"):
        function(x, weight, padding="causal")
    with pytest.raises(ValueError, match="groups"):
        function(x, weight, groups=3)
    with pytest.raises(ValueError, match="x"):
        function(x[:, :3], weight)
    with pytest.raises(ValueError, match="output_padding"):
        fc.Conv(weight, output_padding=1)


@pytest.mark.parametrize("shape", [(2, 4, 4, 5), (1, 4, 4, 4), (2, 4, 4), (2, 4, 4, 4, 1), (128,)])
def test_out_and_residual_shapes(shape):
    array = np.ones(shape, np.float32)
    assert_refused(ValueError, "out", x_of(), weight_of(), out=array)
    assert_refused(ValueError, "residual", x_of(), weight_of(), residual=array)


def test_unwritable_out():
    frozen = np.ones((2, 4, 4, 4), np.float32)
    frozen.flags.writeable = False
    assert_refused(ValueError, "out", x_of(), weight_of(), out=frozen)
    one = np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (2, 4, 4, 4), (0, 0, 0, 0))
    assert_refused(ValueError, "out", x_of(), weight_of(), out=one)
    assert_refused(TypeError, "out", x_of(), weight_of(), out=[[1.0]])
    assert_refused(TypeError, "out", x_of(), weight_of(), out=memoryview(bytearray(4)))


def test_overlapping_out():
    memory = np.ones(2000, np.float32)
    x = memory[: 2 * 4 * 36].reshape(2, 4, 6, 6)
    out = memory[200 : 200 + 128].reshape(2, 4, 4, 4)
    assert_refused(ValueError, "out", x, weight_of(), out=out)
    beside = memory[400 : 400 + 128].reshape(2, 4, 4, 4)
    residual = memory[401 : 401 + 128].reshape(2, 4, 4, 4)
    assert_refused(ValueError, "out", x, weight_of(), residual=residual, out=beside)
    wanted = fc.conv2d(x, weight_of(), residual=beside.copy())
    got = fc.conv2d(x, weight_of(), residual=beside, out=beside)
    assert np.array_equal(got, wanted)  # the residual itself is allowed
    weights = memory[: 4 * 4 * 9].reshape(4, 4, 3, 3)
    with pytest.raises(ValueError, match="out"):
        fc.conv2d(x_of(), weights, out=memory[:128].reshape(2, 4, 4, 4))


def test_interleaved_out_is_no_overlap():
    """Views that share a buffer but no element are fine."""
    memory = np.ones((2, 4, 6, 6, 2), np.float32)
    x, out = memory[..., 0], memory[:, :, :4, :4, 1]
    wanted = fc.conv2d(x.copy(), weight_of())
    assert np.array_equal(fc.conv2d(x, weight_of(), out=out), wanted)
    assert (memory[:, :, 4:, :, 1] == 1).all()


def test_nothing_is_written_on_refusal():
    out = np.full((2, 4, 4, 4), 7, np.float32)
    refused = [
        {"groups": 3},
        {"stride": 0},
        {"padding": 5},
        {"activation": "gelu"},
        {"algorithm": "magic"},
        {"algorithm": "depthwise"},
        {"residual": np.ones((2, 4, 4, 5), np.float32)},
        {"bias": np.ones(3, np.float32)},
    ]
    for options in refused:
        with pytest.raises((TypeError, ValueError)):
            fc.conv2d(x_of(), weight_of(), out=out, **options)
        assert (out == 7).all(), options


def test_deform_and_separable():
    x, weight = x_of(), weight_of()
    offset, mask = np.zeros((2, 18, 4, 4), np.float32), np.ones((2, 9, 4, 4), np.float32)
    assert fc.deform_conv2d(x, offset, weight, mask=mask).shape == (2, 4, 4, 4)
    for bad in (offset[:, :17], offset[:1], offset[..., :3], offset[0, 0]):
        with pytest.raises(ValueError, match="offset"):
            fc.deform_conv2d(x, bad, weight)
    for bad in (mask[:, :8], mask[..., :3]):
        with pytest.raises(ValueError, match="mask"):
            fc.deform_conv2d(x, offset, weight, mask=bad)
    with pytest.raises(TypeError, match="offset"):
        fc.deform_conv2d(x, offset.astype(np.float64), weight)
    depthwise, pointwise = np.ones((8, 1, 3, 3), np.float32), np.ones((5, 8, 1, 1), np.float32)
    assert fc.separable_conv2d(x, depthwise, pointwise).shape == (2, 5, 4, 4)
    for bad in (depthwise[:7], np.ones((8, 2, 3, 3), np.float32)):
        with pytest.raises(ValueError, match="depthwise_weight"):
            fc.separable_conv2d(x, bad, pointwise)
    for bad in (pointwise[:, :7], np.ones((5, 8, 3, 3), np.float32), pointwise[..., 0]):
        with pytest.raises(ValueError, match="pointwise_weight"):
            fc.separable_conv2d(x, depthwise, bad)
    with pytest.raises((TypeError, ValueError), match="weight"):
        fc.depthwise_conv2d(x, np.ones((7, 1, 3, 3), np.float32))
