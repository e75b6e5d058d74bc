"""`fastconv.rearrange` against its definitions, as loops or through scipy; torch if present."""

import itertools

import numpy as np
import pytest
from scipy import signal

from fastconv import rearrange as fr

LAYOUTS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
DTYPES = [np.float32, np.float64, np.float16, np.int8, np.uint64, bool, np.complex64]


def numbered(shape, dtype=np.int64):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def channels_last(x):
    return np.moveaxis(x, 1, -1)


# --- channel shuffle ------------------------------------------------------------------------


@pytest.mark.parametrize("space", [(3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_channel_shuffle(space, groups):
    x = numbered((2, 6, *space))
    order = [i * (6 // groups) + j for j in range(6 // groups) for i in range(groups)]
    wanted = x[:, order]
    first, last = LAYOUTS[len(space)]
    assert np.array_equal(fr.channel_shuffle(x, groups), wanted)
    assert np.array_equal(fr.channel_shuffle(x, groups, layout=first), wanted)
    for layout in (last, "NHWC"):
        got = fr.channel_shuffle(channels_last(x), groups, layout=layout)
        assert np.array_equal(got, channels_last(wanted))
        assert got.flags.c_contiguous


def test_shuffling_by_the_other_factor_undoes_it():
    x = numbered((1, 12, 2, 2))
    assert np.array_equal(fr.channel_shuffle(fr.channel_shuffle(x, 3), 4), x)


def test_channel_shuffle_never_returns_a_view():
    x = numbered((1, 4, 2))
    for groups in (1, 4):
        assert not np.shares_memory(fr.channel_shuffle(x, groups), x)


def test_channel_shuffle_refusals():
    x = np.zeros((1, 6, 4, 4))
    with pytest.raises(ValueError, match="groups must divide the 6 channels of x, got 4"):
        fr.channel_shuffle(x, 4)
    with pytest.raises(ValueError, match="groups must be at least 1"):
        fr.channel_shuffle(x, 0)
    with pytest.raises(TypeError, match="groups must be"):
        fr.channel_shuffle(x, 2.0)
    with pytest.raises(ValueError, match=r"layout must be one of 'NCL', .*got 'CHW'"):
        fr.channel_shuffle(x, 2, layout="CHW")
    with pytest.raises(ValueError, match=r"x must have a batch axis.*'NCDHW', got shape"):
        fr.channel_shuffle(x, 2, layout="NCDHW")
    with pytest.raises(ValueError, match=r"x must have a batch axis"):
        fr.channel_shuffle(np.zeros((6, 4)), 2)
    with pytest.raises(TypeError, match="x must be an array of numbers"):
        fr.channel_shuffle(None, 2)


# --- depth and space ------------------------------------------------------------------------


def depth_to_space_by_loops(x, factors, mode):
    batch, channels, *space = x.shape
    blocks = int(np.prod(factors))
    depth = channels // blocks
    out = np.zeros((batch, depth, *(s * f for s, f in zip(space, factors, strict=True))), x.dtype)
    for n, c in itertools.product(range(batch), range(depth)):
        for place in np.ndindex(*space):
            for number, offset in enumerate(np.ndindex(*factors)):
                source = number * depth + c if mode == "DCR" else c * blocks + number
                target = tuple(p * f + o for p, f, o in zip(place, factors, offset, strict=True))
                out[(n, c, *target)] = x[(n, source, *place)]
    return out


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("factors", [(2,), (3,), (2, 2), (3, 2), (1, 4), (2, 1, 3), (2, 2, 2)])
def test_depth_to_space_and_back(factors, mode):
    rank = len(factors)
    space = (3, 2, 4)[:rank]
    x = numbered((2, 3 * int(np.prod(factors)), *space))
    wanted = depth_to_space_by_loops(x, factors, mode)
    first, last = LAYOUTS[rank]
    got = fr.depth_to_space(x, factors, mode=mode, layout=first)
    assert np.array_equal(got, wanted)
    assert np.array_equal(fr.space_to_depth(got, factors, mode=mode, layout=first), x)
    assert np.array_equal(fr.depth_to_space(x[0], factors, mode=mode, layout=first), wanted[0])
    x_last, wanted_last = channels_last(x), channels_last(wanted)
    got = fr.depth_to_space(x_last, factors, mode=mode, layout=last)
    assert np.array_equal(got, wanted_last)
    assert np.array_equal(fr.space_to_depth(got, factors, mode=mode, layout=last), x_last)
    assert np.array_equal(
        fr.space_to_depth(wanted_last[1], factors, mode=mode, layout=last), x_last[1]
    )


def test_the_examples_of_the_onnx_operator():
    x = np.array([0, 9, 18, 27, 36, 45, 54, 63]).reshape(1, 8, 1, 1) + np.arange(6).reshape(2, 3)
    dcr = fr.depth_to_space(x, 2)
    assert dcr[0, 0, 0].tolist() == [0, 18, 1, 19, 2, 20]
    assert dcr[0, 1, 3].tolist() == [48, 66, 49, 67, 50, 68]
    crd = fr.depth_to_space(x, 2, mode="CRD")
    assert crd[0, 0, 0].tolist() == [0, 9, 1, 10, 2, 11]
    assert crd[0, 1, 3].tolist() == [57, 66, 58, 67, 59, 68]


@pytest.mark.parametrize("factors", [2, (2, 3)])
def test_pixel_shuffle_is_the_crd_mode(factors):
    x = numbered((2, 24, 3, 2))
    wanted = fr.depth_to_space(x, factors, mode="CRD")
    assert np.array_equal(fr.pixel_shuffle(x, factors), wanted)
    assert np.array_equal(fr.pixel_unshuffle(wanted, factors), x)
    assert np.array_equal(fr.pixel_shuffle(x[None], factors), wanted[None])


def test_pixel_shuffle_of_one_dimension():
    x = numbered((1, 4, 3))
    got = fr.pixel_shuffle(x, 2, layout="NCL")
    assert got.tolist() == [[[0, 3, 1, 4, 2, 5], [6, 9, 7, 10, 8, 11]]]


def test_depth_and_space_refusals():
    x = np.zeros((1, 6, 4, 5))
    with pytest.raises(ValueError, match=r"block_size must divide the channels .*4, got 2 and 6"):
        fr.depth_to_space(x, 2)
    with pytest.raises(ValueError, match="upscale_factor must divide the channels"):
        fr.pixel_shuffle(x, 2)
    with pytest.raises(ValueError, match=r"block_size must divide the spatial size \(4, 5\)"):
        fr.space_to_depth(x, 2)
    with pytest.raises(ValueError, match="downscale_factor must divide the spatial size"):
        fr.pixel_unshuffle(x, 2)
    with pytest.raises(ValueError, match="mode must be 'DCR' or 'CRD', got 'dcr'"):
        fr.depth_to_space(x, 1, mode="dcr")
    with pytest.raises(ValueError, match="block_size must be at least 1"):
        fr.depth_to_space(x, 0)
    with pytest.raises(ValueError, match="block_size must be an int or a tuple of 2 ints"):
        fr.depth_to_space(x, (1, 1, 1))
    with pytest.raises(TypeError, match="upscale_factor must be"):
        fr.pixel_shuffle(x, 2.0)
    with pytest.raises(ValueError, match=r"x must have at least 3 axes for layout 'NCHW'"):
        fr.pixel_shuffle(np.zeros((4, 4)), 2)
    with pytest.raises(ValueError, match="layout must be one of"):
        fr.pixel_shuffle(x, 1, layout=2)


# --- space and batch ------------------------------------------------------------------------


def test_the_examples_of_the_tensorflow_operator():
    x = np.arange(1, 17).reshape(1, 4, 4, 1)
    got = fr.space_to_batch(x, 2, layout="NHWC")
    assert got.shape == (4, 2, 2, 1)
    assert got[..., 0].reshape(4, 4).tolist() == [
        [1, 3, 9, 11],
        [2, 4, 10, 12],
        [5, 7, 13, 15],
        [6, 8, 14, 16],
    ]
    x = np.arange(1, 17).reshape(2, 2, 4, 1)
    got = fr.space_to_batch(x, (2, 2), ((0, 0), (2, 0)), layout="NHWC")
    assert got.shape == (8, 1, 3, 1)
    assert got.reshape(8, 3).tolist() == [
        [0, 1, 3],
        [0, 9, 11],
        [0, 2, 4],
        [0, 10, 12],
        [0, 5, 7],
        [0, 13, 15],
        [0, 6, 8],
        [0, 14, 16],
    ]


@pytest.mark.parametrize("space", [(7,), (5, 6), (3, 4, 5)])
def test_space_to_batch_takes_every_bth_cell(space):
    rank = len(space)
    block, pads = (2, 3, 2)[:rank], ((1, 0), (0, 0), (2, 1))[:rank]
    pads = tuple(
        (b, a + (-(s + b + a)) % k) for s, k, (b, a) in zip(space, block, pads, strict=True)
    )
    x = numbered((2, 3, *space)) + 1
    padded = np.pad(x, ((0, 0), (0, 0), *pads))
    wanted = np.concatenate(
        [
            padded[
                (
                    slice(None),
                    slice(None),
                    *(slice(o, None, b) for o, b in zip(at, block, strict=True)),
                )
            ]
            for at in np.ndindex(*block)
        ]
    )
    got = fr.space_to_batch(x, block, pads)
    assert np.array_equal(got, wanted)
    assert np.array_equal(fr.batch_to_space(got, block, pads), x)
    last = LAYOUTS[rank][1]
    got = fr.space_to_batch(channels_last(x), block, pads, layout=last)
    assert np.array_equal(got, channels_last(wanted))
    assert np.array_equal(fr.batch_to_space(got, block, pads, layout=last), channels_last(x))


@pytest.mark.parametrize("dilation", [2, 3])
def test_dilation_is_space_to_batch_convolution_batch_to_space(dilation):
    generator = np.random.default_rng(1)
    x = generator.standard_normal((1, 1, 11, 13))
    kernel = generator.standard_normal((3, 3))
    spread = np.zeros((2 * dilation + 1, 2 * dilation + 1))
    spread[::dilation, ::dilation] = kernel
    wanted = signal.correlate2d(x[0, 0], spread, "valid")
    pads = tuple((0, -size % dilation) for size in x.shape[2:])
    parts = fr.space_to_batch(x, dilation, pads)
    through = np.stack([signal.correlate2d(part[0], kernel, "valid") for part in parts])[:, None]
    got = fr.batch_to_space(through, dilation, pads)
    assert np.allclose(got[0, 0], wanted)


def test_space_and_batch_refusals():
    x = np.zeros((3, 2, 4, 5))
    with pytest.raises(ValueError, match=r"block_shape must divide the padded .*\(4, 5\), got 2"):
        fr.space_to_batch(x, 2)
    with pytest.raises(ValueError, match="paddings must be at least 0"):
        fr.space_to_batch(x, 2, -1)
    with pytest.raises(TypeError, match="paddings must be"):
        fr.space_to_batch(x, 2, "same")
    with pytest.raises(ValueError, match="block_shape must divide the batch of x into 4 parts"):
        fr.batch_to_space(x, 2)
    with pytest.raises(ValueError, match=r"crops must leave something of .*\(4, 5\)"):
        fr.batch_to_space(x, 1, ((2, 3), (0, 0)))
    with pytest.raises(ValueError, match="block_shape must be an int or a tuple of 2 ints"):
        fr.batch_to_space(x, (1, 1, 1))


# --- unfold and fold ------------------------------------------------------------------------

GEOMETRIES = [
    ((9,), (3,), 1, 0, 1),
    ((9,), (2,), 3, ((2, 1),), 2),
    ((5, 7), (2, 3), 1, 0, 1),
    ((6, 5), (3, 2), (1, 2), (2, 1), (2, 1)),
    ((7, 7), (3, 3), 2, "same", 1),
    ((8, 5), (3, 3), 1, "same_lower", 2),
    ((3, 4, 5), (2, 2, 2), 1, 1, (1, 2, 3)),
    ((4, 3, 3), (2, 1, 3), (2, 1, 1), ((0, 1), (2, 0), (1, 1)), 1),
]


def unfold_by_loops(x, kernel, dilation, pairs, stride):
    padded = np.pad(x, ((0, 0), (0, 0), *pairs))
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    starts = [
        range(0, n - e + 1, s) for n, e, s in zip(padded.shape[2:], extents, stride, strict=True)
    ]
    columns = []
    for start in itertools.product(*starts):
        window = tuple(slice(a, a + e, d) for a, e, d in zip(start, extents, dilation, strict=True))
        columns.append(padded[(slice(None), slice(None), *window)].reshape(len(x), -1))
    return np.stack(columns, -1)


def resolved(space, kernel, dilation, padding, stride):
    from fastconv import _padding

    rank = len(kernel)
    dilation = _padding.normalize_tuple(dilation, rank, "dilation")
    stride = _padding.normalize_tuple(stride, rank, "stride")
    return dilation, _padding.normalize_padding(padding, space, kernel, stride, dilation), stride


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_unfold_and_its_adjoint(geometry):
    space, kernel, *rest = geometry
    x = numbered((2, 3, *space)) + 1
    wanted = unfold_by_loops(x, kernel, *resolved(space, kernel, *rest))
    got = fr.unfold(x, kernel, *rest)
    assert np.array_equal(got, wanted)
    assert np.array_equal(fr.unfold(x[1], kernel, *rest), wanted[1])
    weights = np.random.default_rng(0).integers(-9, 9, got.shape)
    folded = fr.fold(weights, space, kernel, *rest)
    assert folded.shape == x.shape
    assert (folded * x).sum() == (weights * got).sum()
    assert np.array_equal(fr.fold(weights[0], space, kernel, *rest), folded[0])


def test_folding_ones_counts_the_windows():
    ones = np.ones((1, 4, 4))
    assert fr.fold(ones, 3, 2)[0, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


def test_unfold_times_kernel_is_the_worked_correlation():
    x = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
    kernel = np.array([[0, 1, 2], [2, 2, 0], [0, 1, 2]])
    got = kernel.ravel() @ fr.unfold([x], 3)
    assert got.reshape(3, 3).tolist() == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]


def test_narrow_floats_are_added_in_float32():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for dtype in (np.float16, ml_dtypes.bfloat16):
        patches = np.ones((9, 9), np.float32) * 256
        patches[4] = 1.0
        exact = fr.fold(patches, 5, 3)
        got = fr.fold(patches.astype(dtype), 5, 3)
        assert got.dtype == dtype
        assert np.array_equal(got, exact.astype(dtype))


def test_unfold_refusals():
    x = np.zeros((1, 2, 5, 5))
    with pytest.raises(ValueError, match=r"x must have 4 or 5 axes for kernel_size \(1, 1, 1\)"):
        fr.unfold(np.zeros((5, 5)), (1, 1, 1))
    with pytest.raises(ValueError, match=r"x must have 3 or 4 axes for kernel_size 2"):
        fr.unfold(np.zeros((1, 2, 3, 4, 5)), 2)
    with pytest.raises(ValueError, match="kernel must fit"):
        fr.unfold(x, 7)
    for name, value in (("dilation", 0), ("stride", 0), ("padding", -1)):
        with pytest.raises(ValueError, match=f"{name} must be at least"):
            fr.unfold(x, 2, **{name: value})
    with pytest.raises(TypeError, match="kernel_size must be"):
        fr.unfold(x, 2.0)
    with pytest.raises(TypeError, match="kernel_size must be"):
        fr.unfold(x, "same")


def test_fold_refusals():
    x = np.zeros((1, 8, 16))
    assert fr.fold(x, 5, 2).shape == (1, 2, 5, 5)
    with pytest.raises(ValueError, match=r"x must have a multiple of prod\(kernel_size\) = 9 rows"):
        fr.fold(x, 6, 3)
    with pytest.raises(ValueError, match=r"x must have 25 columns for output_size \(6, 6\)"):
        fr.fold(x, 6, 2)
    with pytest.raises(ValueError, match="x must have 2 or 3 axes"):
        fr.fold(x[None], 5, 2)
    with pytest.raises(ValueError, match="output_size must be an int or a tuple of 2 ints"):
        fr.fold(x, (5, 5, 5), (2, 2))
    with pytest.raises(TypeError, match="output_size must be"):
        fr.fold(x, 5.0, 2)


# --- all of them ----------------------------------------------------------------------------

CALLS = {
    "channel_shuffle": ((1, 4, 2, 4), lambda x: fr.channel_shuffle(x, 2)),
    "pixel_shuffle": ((1, 4, 2, 4), lambda x: fr.pixel_shuffle(x, 2)),
    "pixel_unshuffle": ((1, 4, 2, 4), lambda x: fr.pixel_unshuffle(x, 2)),
    "depth_to_space": ((1, 4, 2, 4), lambda x: fr.depth_to_space(x, 2)),
    "space_to_depth": ((1, 4, 2, 4), lambda x: fr.space_to_depth(x, 2)),
    "space_to_batch": ((1, 4, 2, 4), lambda x: fr.space_to_batch(x, 2, 1)),
    "batch_to_space": ((4, 2, 2, 4), lambda x: fr.batch_to_space(x, 2, 1)),
    "unfold": ((1, 4, 2, 4), lambda x: fr.unfold(x, 2, padding=1)),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_dtype_and_stride_moves_alike(name):
    shape, call = CALLS[name]
    wanted = call(numbered(shape))
    for dtype in DTYPES:
        got = call(numbered(shape, dtype))
        assert got.dtype == dtype
        assert np.array_equal(got, wanted.astype(dtype))
    reversed_twice = np.ascontiguousarray(numbered(shape)[::-1, ::-1, ::-1, ::-1])
    assert np.array_equal(call(reversed_twice[::-1, ::-1, ::-1, ::-1]), wanted)
    transposed = np.ascontiguousarray(numbered(shape).T).T
    assert np.array_equal(call(transposed), wanted)


@pytest.mark.parametrize("name", CALLS)
def test_bfloat16_moves_alike(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    shape, call = CALLS[name]
    got = call(numbered(shape, np.float32).astype(ml_dtypes.bfloat16))
    assert got.dtype == ml_dtypes.bfloat16
    assert np.array_equal(got.astype(int), call(numbered(shape)))


@pytest.mark.parametrize("name", CALLS)
def test_results_are_new_contiguous_arrays(name):
    shape, call = CALLS[name]
    x = numbered(shape)
    got = call(x)
    assert got.flags.c_contiguous
    assert not np.shares_memory(got, x)


@pytest.mark.parametrize("name", CALLS)
def test_empty_batches(name):
    shape, call = CALLS[name]
    got = call(np.zeros((0, *shape[1:])))
    assert got.shape == (0, *call(np.zeros(shape)).shape[1:])


def test_empty_space():
    assert fr.pixel_shuffle(np.zeros((4, 0, 3)), 2).shape == (1, 0, 6)
    assert fr.unfold(np.zeros((1, 2, 2, 3)), (3, 2)).shape == (1, 12, 0)
    assert fr.fold(np.zeros((1, 12, 0)), (2, 3), (3, 2)).shape == (1, 2, 2, 3)


# --- torch as a judge -----------------------------------------------------------------------


class TestTorch:
    @pytest.fixture(autouse=True)
    def functional(self):
        self.torch = pytest.importorskip("torch")
        self.F = self.torch.nn.functional

    def test_shuffles(self):
        x = numbered((2, 12, 4, 6), np.float32)
        tensor = self.torch.from_numpy(x)
        assert np.array_equal(fr.pixel_shuffle(x, 2), self.F.pixel_shuffle(tensor, 2).numpy())
        assert np.array_equal(fr.pixel_unshuffle(x, 2), self.F.pixel_unshuffle(tensor, 2).numpy())
        shuffled = self.torch.nn.ChannelShuffle(3)
        assert np.array_equal(fr.channel_shuffle(x, 3), shuffled(tensor).numpy())
        assert np.array_equal(fr.channel_shuffle(x[:, :, 0], 3), shuffled(tensor[:, :, 0]).numpy())

    @pytest.mark.parametrize(
        ("kernel", "dilation", "padding", "stride"),
        [(2, 1, 0, 1), ((2, 3), 2, 1, (1, 2)), (3, 1, (2, 1), 2), ((1, 4), (3, 1), (0, 3), 1)],
    )
    def test_unfold_and_fold(self, kernel, dilation, padding, stride):
        x = np.random.default_rng(0).standard_normal((2, 3, 7, 8))
        tensor = self.torch.from_numpy(x)
        for data, source in ((x, tensor), (x[0], tensor[0])):
            wanted = self.F.unfold(source, kernel, dilation, padding, stride)
            got = fr.unfold(data, kernel, dilation, padding, stride)
            assert np.array_equal(got, wanted.numpy())
            back = self.F.fold(wanted, (7, 8), kernel, dilation, padding, stride).numpy()
            assert np.allclose(fr.fold(got, (7, 8), kernel, dilation, padding, stride), back)

    def test_tensors_go_in(self):
        tensor = self.torch.arange(8.0).reshape(1, 8, 1, 1)
        assert np.array_equal(fr.pixel_shuffle(tensor, 2), self.F.pixel_shuffle(tensor, 2).numpy())
