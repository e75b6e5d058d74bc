"""The worked figures of the convolution catalogue that need a convolution to show."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import arithmetic

PICTURE = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
KERNEL = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]
DTYPES = [np.float32, np.float64, np.float16]


def image(values, dtype=np.float64):
    return np.array(values, dtype)[None, None]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dumoulin_and_visin(dtype):
    got = fc.conv2d(image(PICTURE, dtype), image(KERNEL, dtype))
    assert got[0, 0].tolist() == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]


def test_many_channels_are_a_sum(rng):
    x, weight = rng.standard_normal((1, 3, 6, 7)), rng.standard_normal((2, 3, 3, 3))
    for filters in range(2):
        parts = [
            fc.conv2d(x[:, c : c + 1], weight[filters : filters + 1, c : c + 1]) for c in range(3)
        ]
        assert np.allclose(fc.conv2d(x, weight)[:, filters], sum(parts)[:, 0], rtol=0, atol=1e-13)


def reached(layers, size=65):
    """How many inputs the middle output of a stack of 1D convolutions sees, by impulses."""
    seen = 0
    for place in range(size):
        x = np.zeros((1, 1, size))
        x[..., place] = 1
        for k, s, d in layers:
            x = fc.conv1d(x, np.ones((1, 1, k)), stride=s, dilation=d, padding="same")
        seen += x[0, 0, x.shape[-1] // 2] != 0
    return seen


@pytest.mark.parametrize(
    ("layers", "field"),
    [
        ([(3, 1, 1)] * 3, 7),
        ([(3, 1, 1)], 3),
        ([(3, 1, 1), (3, 1, 2)], 7),
        ([(3, 1, 1), (3, 1, 2), (3, 1, 4)], 15),
        ([(3, 2, 1), (3, 1, 1)], 7),
    ],
)
def test_receptive_field(layers, field):
    assert reached(layers) == field


def test_pointwise_is_a_matrix_product(rng):
    x, weight = rng.standard_normal((2, 5, 4, 6)), rng.standard_normal((3, 5, 1, 1))
    wanted = np.einsum("oc,nchw->nohw", weight[..., 0, 0], x)
    assert np.allclose(fc.conv2d(x, weight), wanted, rtol=0, atol=1e-13)


def test_transposed_sizes(rng):
    x, weight = rng.standard_normal((1, 2, 7, 7)), rng.standard_normal((2, 2, 3, 3))
    twice = fc.conv_transpose2d(x, weight, stride=2)
    assert twice.shape[2:] == (15, 15)
    assert fc.conv_transpose2d(twice, weight, stride=2).shape[2:] == (31, 31)


def test_transposed_two_by_two():
    x, weight = image([[1, 2], [3, 4]]), image(KERNEL)
    at_one, at_two = fc.conv_transpose2d(x, weight), fc.conv_transpose2d(x, weight, stride=2)
    assert at_one[0, 0].tolist() == [
        [0, 1, 4, 4], [2, 9, 14, 8], [6, 15, 12, 4], [0, 3, 10, 8],
    ]  # fmt: skip
    assert at_two.shape[2:] == (5, 5)
    wanted = np.zeros((5, 5))
    for row in range(2):
        for column in range(2):
            wanted[2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += x[
                0, 0, row, column
            ] * np.array(KERNEL)
    assert np.array_equal(at_two[0, 0], wanted)


def test_convolution_as_a_matrix(rng):
    """C vec(x) = vec(y) with C of 4 x 16 for a 3x3 kernel on 4x4; its transpose goes back."""
    weight = rng.standard_normal((1, 1, 3, 3))
    matrix = fc.conv_matrix(weight, (4, 4))
    assert matrix.shape == (4, 16)
    assert matrix.nnz == 36
    x, y = rng.standard_normal((1, 1, 4, 4)), rng.standard_normal((1, 1, 2, 2))
    assert np.allclose(matrix @ x.ravel(), fc.conv2d(x, weight).ravel(), rtol=0, atol=1e-13)
    back = fc.conv_transpose2d(y, weight)
    assert np.allclose(matrix.T @ y.ravel(), back.ravel(), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("k", "s"), [(2, 2), (4, 2), (6, 3)])
def test_sub_pixel_form(rng, k, s):
    """A transposed convolution of stride s is s*s ordinary ones and depth-to-space."""
    taps = k // s
    x, weight = rng.standard_normal((2, 3, 5, 6)), rng.standard_normal((3, 4, k, k))
    # phase (a, b) of output channel o reads taps a + s*i, b + s*j in reverse
    phases = weight.reshape(3, 4, taps, s, taps, s)[:, :, ::-1, :, ::-1]
    filters = phases.transpose(1, 3, 5, 0, 2, 4).reshape(4 * s * s, 3, taps, taps)
    small = fc.conv2d(x, np.ascontiguousarray(filters), padding=taps - 1)
    got = fc.pixel_shuffle(small, s)
    assert np.allclose(got, fc.conv_transpose2d(x, weight, stride=s), rtol=0, atol=1e-12)


def test_checkerboard():
    """A constant picture shows the overlap map; it is even where the stride divides the kernel."""
    for k, s in ((3, 2), (4, 2), (2, 2), (5, 3)):
        x, weight = np.ones((1, 1, 9)), np.ones((1, 1, k))
        middle = fc.conv_transpose1d(x, weight, stride=s)[0, 0, k : k + 2 * s]
        assert (np.ptp(middle) == 0) == (k % s == 0)


@pytest.mark.parametrize("d", [2, 3])
def test_dilated_is_space_to_batch(rng, d):
    x, weight = rng.standard_normal((2, 3, 4 * d, 3 * d)), rng.standard_normal((4, 3, 3, 3))
    apart = fc.space_to_batch(x, d)
    back = fc.batch_to_space(fc.conv2d(apart, weight, padding=1), d)
    assert np.allclose(back, fc.conv2d(x, weight, padding=d, dilation=d), rtol=0, atol=1e-12)


def test_dilated_is_a_kernel_with_holes(rng):
    x, weight = rng.standard_normal((1, 2, 11, 12)), rng.standard_normal((3, 2, 3, 3))
    holes = np.zeros((3, 2, 7, 5))
    holes[..., ::3, ::2] = weight
    got = fc.conv2d(x, weight, dilation=(3, 2))
    assert np.allclose(got, fc.conv2d(x, holes), rtol=0, atol=1e-13)


def test_transposed_is_an_input_with_holes(rng):
    x, weight = rng.standard_normal((1, 2, 5, 4)), rng.standard_normal((2, 3, 3, 3))
    holes = np.zeros((1, 2, 9, 7))
    holes[..., ::2, ::2] = x
    swapped = np.ascontiguousarray(weight.swapaxes(0, 1))
    wanted = fc.conv2d(holes, swapped, padding=2, flip_kernel=True)
    assert np.allclose(fc.conv_transpose2d(x, weight, stride=2), wanted, rtol=0, atol=1e-13)


def test_causal_output_sees_no_later_input(rng):
    x, weight = rng.standard_normal((1, 2, 40)), rng.standard_normal((3, 2, 2))
    whole = fc.conv1d(x, weight, padding="causal", dilation=8)
    for t in (0, 7, 8, 25):
        changed = x.copy()
        changed[..., t + 1 :] = 9
        got = fc.conv1d(changed, weight, padding="causal", dilation=8)
        assert np.array_equal(got[..., : t + 1], whole[..., : t + 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_causal_chunks_equal_the_whole(rng, dtype):
    """Chunks that carry the last d*(k-1) samples give the bits of the whole."""
    if not hasattr(fc, "causal_conv1d"):
        pytest.skip("no causal_conv1d in this build")
    x = rng.standard_normal((2, 4, 50)).astype(dtype)
    weight = rng.standard_normal((5, 4, 3)).astype(dtype)
    whole = fc.causal_conv1d(x, weight, dilation=4)
    state, parts = np.zeros((2, 4, 8), dtype), []
    for chunk in np.split(x, [1, 2, 9, 30], axis=-1):
        part, state = fc.causal_conv1d(chunk, weight, dilation=4, state=state)
        parts.append(part)
    assert np.array_equal(np.concatenate(parts, axis=-1), whole)


def test_grouped_is_apart(rng):
    x, weight = rng.standard_normal((2, 12, 6, 7)), rng.standard_normal((8, 3, 3, 3))
    parts = [
        fc.conv2d(x[:, 3 * g : 3 * g + 3], weight[2 * g : 2 * g + 2], padding=1) for g in range(4)
    ]
    got = fc.conv2d(x, weight, padding=1, groups=4)
    assert np.allclose(got, np.concatenate(parts, axis=1), rtol=0, atol=1e-13)


def test_depthwise_separable_figures(rng):
    """7x7x3 to 5x5x128 with 3x3: 86,400 multiplications, or 675 + 9,600 apart; one result."""
    x = rng.standard_normal((1, 3, 7, 7))
    depthwise, pointwise = rng.standard_normal((3, 1, 3, 3)), rng.standard_normal((128, 3, 1, 1))
    merged = pointwise * depthwise[:, 0]
    assert arithmetic.multiplications((7, 7), (3, 3), 3, 128) == 86_400
    assert arithmetic.multiplications((7, 7), (3, 3), 3, 3, groups=3) == 675
    middle = fc.conv2d(x, depthwise, groups=3)
    assert arithmetic.multiplications((5, 5), (1, 1), 3, 128) == 9_600
    whole = fc.conv2d(x, merged)
    assert whole.shape == (1, 128, 5, 5)
    assert np.allclose(fc.conv2d(middle, pointwise), whole, rtol=0, atol=1e-12)
    assert np.allclose(fc.separable_conv2d(x, depthwise, pointwise), whole, rtol=0, atol=1e-12)


def test_spatially_separable(rng):
    """A rank-one kernel is a column, then a row."""
    sobel = np.outer([1, 2, 1], [-1, 0, 1]).astype(float)
    x = rng.standard_normal((1, 1, 5, 5))
    column, row = (
        np.array([1.0, 2, 1]).reshape(1, 1, 3, 1),
        np.array([-1.0, 0, 1]).reshape(1, 1, 1, 3),
    )
    apart = fc.conv2d(fc.conv2d(x, column), row)
    assert np.allclose(apart, fc.conv2d(x, sobel[None, None]), rtol=0, atol=1e-13)


def test_flattened(rng):
    """Across channels, then vertical, then horizontal: a filter of rank one."""
    lateral, vertical, horizontal = (
        rng.standard_normal(4),
        rng.standard_normal(3),
        rng.standard_normal(5),
    )
    x = rng.standard_normal((1, 4, 9, 10))
    whole = np.einsum("c,v,h->cvh", lateral, vertical, horizontal)[None]
    got = fc.conv2d(x, lateral.reshape(1, 4, 1, 1))
    got = fc.conv2d(got, vertical.reshape(1, 1, 3, 1))
    got = fc.conv2d(got, horizontal.reshape(1, 1, 1, 5))
    assert np.allclose(got, fc.conv2d(x, whole), rtol=0, atol=1e-12)


def test_deformable_without_offsets_is_ordinary(rng):
    x, weight = rng.standard_normal((2, 4, 6, 7)), rng.standard_normal((3, 4, 3, 3))
    offset = np.zeros((2, 18, 6, 7))
    wanted = fc.conv2d(x, weight, padding=1)
    assert np.allclose(fc.deform_conv2d(x, offset, weight, padding=1), wanted, rtol=0, atol=1e-13)
    half = np.full((2, 9, 6, 7), 0.5)
    got = fc.deform_conv2d(x, offset, weight, padding=1, mask=half)
    assert np.allclose(got, wanted / 2, rtol=0, atol=1e-13)


def test_deformable_by_whole_cells_is_a_shift(rng):
    x, weight = rng.standard_normal((1, 2, 8, 9)), rng.standard_normal((3, 2, 3, 3))
    offset = np.zeros((1, 18, 6, 7))
    offset[:, 0::2], offset[:, 1::2] = 1, -2  # one down, two left
    moved = np.zeros_like(x)
    moved[:, :, :-1, 2:] = x[:, :, 1:, :-2]
    got = fc.deform_conv2d(x, offset, weight)
    assert np.allclose(got, fc.conv2d(moved, weight), rtol=0, atol=1e-13)


def test_folded_batch_norm(rng):
    x, weight, bias = (
        rng.standard_normal((2, 3, 6, 6)),
        rng.standard_normal((4, 3, 3, 3)),
        rng.random(4),
    )
    gamma, beta, mean, variance = rng.random((4, 4)) + 0.1
    y = fc.conv2d(x, weight, bias)
    shape = (1, -1, 1, 1)
    scale = gamma / np.sqrt(variance + 1e-5)
    wanted = (y - mean.reshape(shape)) * scale.reshape(shape) + beta.reshape(shape)
    folded = fc.fold_batch_norm(weight, bias, mean, variance, gamma, beta, 1e-5)
    assert np.allclose(fc.conv2d(x, *folded), wanted, rtol=0, atol=1e-12)
