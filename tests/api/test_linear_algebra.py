"""`fastconv.linear_algebra`: factors, matrices and folded weights against NumPy and SciPy."""

import numpy as np
import pytest
from scipy import ndimage, signal

from fastconv import linear_algebra as la
from fastconv import rearrange

SOBEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
LAPLACIAN = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


def gaussian(size, sigma):
    place = np.arange(size) - (size - 1) / 2
    return np.exp(-(place**2) / (2 * sigma**2))


# --- separate -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "column", "row"),
    [
        (SOBEL, [1, 2, 1], [1, 0, -1]),
        (SOBEL.T, [1, 0, -1], [1, 2, 1]),
        (-SOBEL, [1, 2, 1], [-1, 0, 1]),
        (np.outer(gaussian(7, 1.5), gaussian(5, 0.8)), gaussian(7, 1.5), gaussian(5, 0.8)),
    ],
)
def test_a_separable_kernel_is_a_column_times_a_row(kernel, column, row):
    result = la.separate(kernel)
    assert result.rank_one
    assert result.relative_error < 1e-15
    assert np.allclose(np.outer(result.column, result.row), kernel, atol=1e-15)
    assert np.allclose(result.column / np.abs(result.column).max(), column / np.max(np.abs(column)))
    assert np.allclose(result.row / np.abs(result.row).max(), row / np.max(np.abs(row)))
    assert np.linalg.norm(result.column) == pytest.approx(np.linalg.norm(result.row))


def test_separated_passes_are_the_convolution():
    image = np.random.default_rng(0).standard_normal((20, 23))
    factors = la.separate(SOBEL)
    passes = signal.correlate2d(
        signal.correlate2d(image, factors.column[:, None], "valid"), factors.row[None], "valid"
    )
    assert np.allclose(passes, signal.correlate2d(image, SOBEL, "valid"))


def test_a_kernel_of_higher_rank_is_approximated_best():
    kernel = np.random.default_rng(1).standard_normal((5, 4))
    singular = np.linalg.svd(kernel, compute_uv=False)
    for rank in range(1, 5):
        result = la.separate(kernel, rank)
        wanted = np.linalg.norm(singular[rank:]) / np.linalg.norm(singular)
        assert result.relative_error == pytest.approx(wanted, abs=1e-14)
        assert [factor.shape for factor in result.factors] == [(rank, 5), (rank, 4)]
        assert not result.rank_one
        error = np.linalg.norm(result.kernel() - kernel) / np.linalg.norm(kernel)
        assert error == pytest.approx(result.relative_error, abs=1e-14)
    assert np.allclose(la.separate(kernel, 4).kernel(), kernel)


def test_the_laplacian_has_rank_two():
    assert not la.separate(LAPLACIAN).rank_one
    assert la.separate(LAPLACIAN).relative_error == pytest.approx((6**0.5 - 2) / 20**0.5)
    assert la.separate(LAPLACIAN, 2).relative_error < 1e-15


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 2, 3), (1, 5, 1)])
def test_rank_one_tensors_are_factored_exactly(shape):
    generator = np.random.default_rng(2)
    vectors = [generator.standard_normal(size) for size in shape]
    kernel = np.ones(())
    for vector in vectors:
        kernel = np.multiply.outer(kernel, vector)
    result = la.separate(kernel)
    assert result.rank_one
    assert result.relative_error < 1e-14
    for factor, vector in zip(result.factors, vectors, strict=True):
        cosine = factor[0] @ vector / np.linalg.norm(factor[0]) / np.linalg.norm(vector)
        assert abs(cosine) == pytest.approx(1)


def test_more_terms_leave_less_of_a_tensor():
    kernel = np.random.default_rng(3).standard_normal((3, 4, 3))
    errors = [la.separate(kernel, rank).relative_error for rank in (1, 2, 4, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5
    assert not la.separate(kernel).rank_one


def test_the_best_rank_one_approximation_of_an_orthogonal_tensor():
    kernel = np.zeros((3, 3, 3))
    kernel[0, 0, 0], kernel[1, 1, 1], kernel[2, 2, 2] = 3, -2, 1
    for rank, left in ((1, 5), (2, 1), (3, 0)):
        assert la.separate(kernel, rank).relative_error == pytest.approx((left / 14) ** 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, "bfloat16"])
def test_rounded_rank_one_kernels_count_as_rank_one(dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    kernel = np.outer(gaussian(9, 2), gaussian(9, 2)).astype(dtype)
    result = la.separate(kernel)
    assert result.rank_one
    assert result.factors[0].dtype == np.float32
    assert not la.separate(kernel, tolerance=0).rank_one


def test_integers_are_factored_in_float64():
    assert la.separate(SOBEL).column.dtype == np.float64


def test_a_kernel_of_zeros_is_of_rank_one():
    for shape in ((3, 3), (2, 3, 4)):
        result = la.separate(np.zeros(shape))
        assert result.rank_one
        assert result.relative_error == 0
        assert not result.kernel().any()


@pytest.mark.parametrize("power", [-150, 150])
def test_the_scale_of_a_kernel_does_not_matter(power):
    result = la.separate(SOBEL * 10.0**power)
    assert result.rank_one
    assert result.relative_error < 1e-15


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        (([1.0, 2.0],), {}, ValueError, r"kernel must have at least two axes.*\(2,\)"),
        ((np.zeros((0, 3)),), {}, ValueError, "kernel must have .*no empty one"),
        (([[1, np.nan]],), {}, ValueError, "kernel must be finite"),
        (([[1j]],), {}, TypeError, "kernel must be an array of real numbers, got dtype complex128"),
        ((SOBEL, 0), {}, ValueError, "rank must be at least 1"),
        ((SOBEL, 4), {}, ValueError, r"rank must be at most 3 for a kernel of shape \(3, 3\)"),
        ((SOBEL, 1.0), {}, TypeError, "rank must be"),
        ((SOBEL,), {"tolerance": "low"}, TypeError, "tolerance must be a number, got 'low'"),
        ((SOBEL,), {"tolerance": True}, TypeError, "tolerance must be a number"),
        ((SOBEL,), {"tolerance": -1}, ValueError, "tolerance must be at least 0"),
        ((SOBEL,), {"tolerance": np.nan}, ValueError, "tolerance must be at least 0"),
    ],
)
def test_separate_refusals(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        la.separate(*arguments, **keywords)


# --- conv_matrix ----------------------------------------------------------------------------


def test_the_worked_correlation():
    image = np.array(
        [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
    )
    matrix = la.conv_matrix([[0, 1, 2], [2, 2, 0], [0, 1, 2]], 5)
    got = (matrix @ image.ravel()).reshape(3, 3)
    assert got.tolist() == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]


def test_three_by_three_on_four_by_four_is_four_by_sixteen():
    kernel = np.arange(1, 10)
    matrix = la.conv_matrix(kernel.reshape(3, 3), (4, 4))
    assert matrix.shape == (4, 16)
    assert matrix.nnz == 36
    dense = matrix.toarray()
    for row, start in enumerate((0, 1, 4, 5)):
        wanted = np.zeros(16, int)
        wanted[[start + 4 * r + c for r in range(3) for c in range(3)]] = kernel
        assert np.array_equal(dense[row], wanted)
    transposed = la.conv_matrix(kernel.reshape(3, 3), (2, 2), transposed=True)
    assert np.array_equal(transposed.toarray(), dense.T)


def correlate_channels(x, weight, stride, pairs, dilation, groups):
    """A convolution out of scipy.signal.correlate: one plane at a time, dilated by hand."""
    rank = weight.ndim - 2
    spread = np.zeros(
        (
            *weight.shape[:2],
            *(d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)),
        )
    )
    spread[(..., *(slice(None, None, d) for d in dilation))] = weight
    padded = np.pad(x, ((0, 0), *pairs))
    out_per_group = len(weight) // groups
    planes = []
    for c_out in range(len(weight)):
        base = c_out // out_per_group * weight.shape[1]
        planes.append(
            sum(
                signal.correlate(padded[base + c], spread[c_out, c], "valid", "direct")
                for c in range(weight.shape[1])
            )
        )
    return np.stack(planes)[(slice(None), *(slice(None, None, s) for s in stride[:rank]))]


GEOMETRIES = [
    ((7,), (3,), (1,), ((0, 0),), (1,), 1),
    ((9,), (3,), (2,), ((3, 1),), (2,), 2),
    ((5, 6), (3, 2), (1, 2), ((1, 0), (0, 2)), (1, 1), 1),
    ((6, 5), (2, 3), (3, 1), ((2, 2), (1, 1)), (2, 1), 3),
    ((3, 4, 5), (2, 1, 3), (1, 2, 2), ((1, 1), (0, 0), (2, 0)), (1, 1, 1), 2),
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_matrix_is_the_convolution_and_its_transpose_the_adjoint(geometry):
    size, kernel, stride, pairs, dilation, groups = geometry
    generator = np.random.default_rng(4)
    weight = generator.standard_normal((2 * groups, 3, *kernel))
    x = generator.standard_normal((3 * groups, *size))
    matrix = la.conv_matrix(weight, size, stride, pairs, dilation, groups)
    wanted = correlate_channels(x, weight, stride, pairs, dilation, groups)
    assert matrix.shape == (wanted.size, x.size)
    assert np.allclose(matrix @ x.ravel(), wanted.ravel())

    out_size = wanted.shape[1:]
    exact = tuple(
        (o - 1) * s - sum(p) + d * (k - 1) + 1
        for o, s, p, d, k in zip(out_size, stride, pairs, dilation, kernel, strict=True)
    )
    extra = tuple(n - e for n, e in zip(size, exact, strict=True))
    back = la.conv_matrix(
        weight, out_size, stride, pairs, dilation, groups, transposed=True, output_padding=extra
    )
    assert np.array_equal(back.toarray(), matrix.T.toarray())


def test_words_of_padding_and_empty_outputs():
    assert la.conv_matrix(np.ones((3, 3)), 5, 2, "same").shape == (9, 25)
    assert la.conv_matrix(np.ones(3), 5, 1, "causal").toarray()[0].tolist() == [1, 0, 0, 0, 0]
    assert la.conv_matrix(np.ones(3), 2).shape == (0, 2)
    assert la.conv_matrix(np.ones((1, 1, 2)), 3).shape == (2, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_the_matrix_has_the_dtype_of_the_weight(dtype):
    assert la.conv_matrix(np.ones((3, 3), dtype), 4).dtype == dtype
    assert la.conv_matrix(np.ones((3, 3), np.float16), 4).dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((np.ones((3, 3, 3)), (4, 4)), {}, ValueError, r"weight must have 2 axes, or 4 with"),
        ((np.float64(1), 4), {}, ValueError, r"weight must have"),
        ((np.ones((0, 1, 3)), 4), {}, ValueError, "weight must have no empty axis"),
        ((np.ones((3, 3)) * 1j, 4), {}, TypeError, "weight must be an array of real"),
        ((np.ones((3, 1, 3)), 4, 1, 0, 1, 2), {}, ValueError, "groups must divide the first axis"),
        ((np.ones((3, 3)), -1), {}, ValueError, "in_size must be at least 0"),
        ((np.ones((3, 3)), 4.0), {}, TypeError, "in_size must be"),
        ((np.ones((3, 3)), 4, 0), {}, ValueError, "stride must be at least 1"),
        ((np.ones((3, 3)), 4, 1, "full"), {}, ValueError, "padding must be"),
        ((np.ones((3, 3)), 1), {}, ValueError, "kernel must fit"),
        ((np.ones((3, 3)), 4), {"output_padding": 0.5}, TypeError, "output_padding must be"),
        ((np.ones((3, 3)), 4, 2), {"output_padding": 1}, ValueError, "output_padding must be 0"),
    ],
)
def test_conv_matrix_refusals(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        la.conv_matrix(*arguments, **keywords)


# --- bilinear_kernel ------------------------------------------------------------------------


def upsampled(x, factor, kernel):
    matrix = la.conv_matrix(
        kernel[0, 0],
        x.shape,
        factor,
        tuple(f // 2 for f in factor),
        transposed=True,
    )
    return (matrix @ x.ravel()).reshape([n * f for n, f in zip(x.shape, factor, strict=True)])


@pytest.mark.parametrize("factor", [(2,), (3,), (2, 2), (3, 4), (5, 1), (2, 3, 2)])
def test_bilinear_weights_interpolate_at_pixel_centres(factor):
    x = np.random.default_rng(5).standard_normal((6, 5, 4)[: len(factor)])
    got = upsampled(x, factor, la.bilinear_kernel(1, factor, dtype=np.float64))
    places = np.meshgrid(
        *((np.arange(n * f) + 0.5) / f - 0.5 for n, f in zip(x.shape, factor, strict=True)),
        indexing="ij",
    )
    # Beyond the border the input is continued by zeros.
    around = np.pad(x, 1)
    wanted = ndimage.map_coordinates(around, [place + 1 for place in places], order=1)
    assert np.allclose(got, wanted)


def test_bilinear_weights_have_one_filter_per_channel():
    kernel = la.bilinear_kernel(3, 2)
    assert kernel.shape == (3, 1, 4, 4)
    assert kernel.dtype == np.float32
    assert np.array_equal(kernel[0], kernel[2])
    assert la.separate(kernel[0, 0]).rank_one
    assert la.bilinear_kernel(2, (3,)).shape == (2, 1, 5)
    assert la.bilinear_kernel(2, (2, 3, 4)).shape == (2, 1, 4, 5, 8)


def test_bilinear_refusals():
    with pytest.raises(ValueError, match="channels must be at least 1"):
        la.bilinear_kernel(0, 2)
    with pytest.raises(ValueError, match="factor must be at least 1"):
        la.bilinear_kernel(1, 0)
    for factor in (1.5, "2", (2, 1.5), None):
        with pytest.raises(TypeError, match="factor must be"):
            la.bilinear_kernel(1, factor)
    with pytest.raises(TypeError, match="channels must be"):
        la.bilinear_kernel(True, 2)


# --- fold_batch_norm ------------------------------------------------------------------------


def statistics(channels, seed=6):
    generator = np.random.default_rng(seed)
    mean, gamma, beta = generator.standard_normal((3, channels))
    return mean, generator.uniform(0.1, 2, channels), gamma, beta


def normalized(y, mean, var, gamma, beta, eps):
    shape = (-1, *[1] * (y.ndim - 1))
    scale = (gamma / np.sqrt(var + eps)).reshape(shape)
    return (y - mean.reshape(shape)) * scale + beta.reshape(shape)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(("groups", "transposed"), [(1, False), (2, False), (1, True), (2, True)])
def test_the_folded_convolution_includes_the_normalisation(groups, transposed, with_bias):
    generator = np.random.default_rng(7)
    c_in, c_out, eps = 4, 6, 1e-3
    shape = (c_in, c_out // groups) if transposed else (c_out, c_in // groups)
    weight = generator.standard_normal((*shape, 3, 3))
    bias = generator.standard_normal(c_out) if with_bias else None
    x = generator.standard_normal((c_in, 5, 5))
    stats = statistics(c_out)
    keywords = {"groups": groups, "transposed": transposed}

    def run(w, b):
        y = (la.conv_matrix(w, 5, **keywords) @ x.ravel()).reshape(c_out, -1)
        return y if b is None else y + b[:, None]

    folded = la.fold_batch_norm(weight, bias, *stats, eps, transposed=transposed)
    assert np.allclose(run(*folded), normalized(run(weight, bias), *stats, eps))


def test_gamma_and_beta_may_be_left_off():
    weight, bias = la.fold_batch_norm(np.ones((2, 1, 1)), None, [1.0, 2.0], [4.0, 1.0], eps=0.0)
    assert weight.ravel().tolist() == [0.5, 1]
    assert bias.tolist() == [-0.5, -2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, "bfloat16"])
def test_folded_weights_keep_their_dtype(dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    folded = la.fold_batch_norm(np.ones((2, 1, 1), dtype), None, *statistics(2))
    assert [array.dtype for array in folded] == [dtype, dtype]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"weight": np.ones(4)}, ValueError, "weight must have channel axes"),
        ({"weight": None}, TypeError, "weight must be an array"),
        ({"bias": np.ones(3)}, ValueError, r"bias must have shape \(4,\).*got shape \(3,\)"),
        ({"mean": np.ones(3)}, ValueError, "mean must have 4 entries.*got 3"),
        ({"mean": np.ones((4, 1))}, ValueError, "mean must have one axis"),
        ({"var": np.ones(5)}, ValueError, r"var must have shape \(4,\)"),
        ({"var": None}, TypeError, "var must be an array"),
        ({"var": -np.ones(4)}, ValueError, "var must be above -eps everywhere, got -1"),
        ({"gamma": np.ones((4, 1))}, ValueError, r"gamma must have shape \(4,\)"),
        ({"beta": 1.0}, ValueError, r"beta must have shape \(4,\)"),
        ({"eps": "0"}, TypeError, "eps must be a number, got '0'"),
        ({"transposed": True, "mean": np.ones(5)}, ValueError, "mean must have .*multiple of 2"),
        ({"transposed": True, "mean": np.ones(6)}, ValueError, "mean must have .*multiple of 2"),
    ],
)
def test_fold_batch_norm_refusals(changes, error, message):
    arguments = {"weight": np.ones((4, 2, 3)), "bias": None, "mean": np.ones(4), "var": np.ones(4)}
    with pytest.raises(error, match=message):
        la.fold_batch_norm(**{**arguments, **changes})


# --- together -------------------------------------------------------------------------------


def test_sub_pixel_convolution_is_the_transposed_one():
    # A [2, 2, I, O] kernel at stride 2 is one 1x1 convolution to 4*O channels, then depth to space.
    generator = np.random.default_rng(8)
    weight = generator.standard_normal((3, 2, 2, 2))
    x = generator.standard_normal((3, 4, 5))
    wanted = la.conv_matrix(weight, (4, 5), 2, transposed=True) @ x.ravel()
    pointwise = weight.reshape(3, 8).T @ x.reshape(3, -1)
    got = rearrange.pixel_shuffle(pointwise.reshape(8, 4, 5), 2)
    assert np.allclose(got.ravel(), wanted)


class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        self.torch = pytest.importorskip("torch")

    @pytest.mark.parametrize("groups", [1, 2])
    def test_conv_matrix(self, groups):
        torch = self.torch
        x = torch.randn(4, 7, 8, dtype=torch.float64)
        weight = torch.randn(6, 4 // groups, 3, 2, dtype=torch.float64)
        wanted = torch.conv2d(x, weight, None, (2, 1), (1, 2), (1, 3), groups)
        matrix = la.conv_matrix(weight, (7, 8), (2, 1), (1, 2), (1, 3), groups)
        assert np.allclose(matrix @ x.numpy().ravel(), wanted.numpy().ravel())

    @pytest.mark.parametrize("groups", [1, 2])
    def test_transposed_conv_matrix(self, groups):
        torch = self.torch
        x = torch.randn(4, 5, 6, dtype=torch.float64)
        weight = torch.randn(4, 6 // groups, 3, 2, dtype=torch.float64)
        wanted = torch.conv_transpose2d(x, weight, None, (2, 1), (1, 2), (1, 2), groups, (1, 3))
        matrix = la.conv_matrix(
            weight, (5, 6), (2, 1), (1, 2), (1, 3), groups, transposed=True, output_padding=(1, 2)
        )
        assert np.allclose(matrix @ x.numpy().ravel(), wanted.numpy().ravel())

    @pytest.mark.parametrize("transposed", [False, True])
    def test_fold_batch_norm(self, transposed):
        fusion = pytest.importorskip("torch.nn.utils.fusion")
        torch = self.torch
        weight = torch.randn(4, 3, 3, 3)
        channels = 3 if transposed else 4
        bias, mean, gamma, beta = torch.randn(4, channels)
        var = torch.rand(channels) + 0.1
        wanted = fusion.fuse_conv_bn_weights(
            weight, bias, mean, var, 1e-5, gamma, beta, transpose=transposed
        )
        got = la.fold_batch_norm(weight, bias, mean, var, gamma, beta, transposed=transposed)
        for ours, theirs in zip(got, wanted, strict=True):
            assert np.allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
