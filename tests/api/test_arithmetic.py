"""`fastconv.arithmetic`: the worked figures of the literature, and laws that hold for all sizes."""

import numpy as np
import pytest

from fastconv import arithmetic as fa

# --- output sizes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "keywords", "wanted"),
    [
        (((5, 5), (3, 3)), {}, (3, 3)),  # Dumoulin & Visin, figure 1.1
        (((4, 4), (3, 3)), {}, (2, 2)),
        (((5, 5), 4, 1, 2), {}, (6, 6)),
        (((5, 5), 3, 1, 1), {}, (5, 5)),
        (((5, 5), 3, 2, 1), {}, (3, 3)),
        (((6, 6), 3, 2, 1), {}, (3, 3)),
        (((7, 7), 3, 1, 0, 2), {}, (3, 3)),
        (((227, 227), 11, 4), {}, (55, 55)),  # AlexNet's stem
        (((224, 224), 7, 2, 3), {}, (112, 112)),
        (((16, 112, 112), 3, 1, 1), {}, (16, 112, 112)),  # C3D
        ((10, 3, 3, "same"), {}, (4,)),
        ((10, 3, 3, "same_lower"), {}, (4,)),
        ((10, 3, 1, "causal", 4), {}, (10,)),
        ((10, 3, 2, "valid"), {}, (4,)),
        (((9, 9), 3, 1, ((0, 1), (2, 3))), {}, (8, 12)),
        ((0, 1), {}, (0,)),
        ((7, 3, 2), {"transposed": True}, (15,)),
        ((15, 3, 2), {"transposed": True}, (31,)),
        (((2, 2), 3, 1), {"transposed": True}, (4, 4)),
        (((2, 2), 3, 2), {"transposed": True}, (5, 5)),
        (((5, 5), 3, 2, 1), {"transposed": True, "output_padding": 1}, (10, 10)),
        (((5, 5), 4, 2, "same"), {"transposed": True}, (10, 10)),
    ],
)
def test_output_shape(arguments, keywords, wanted):
    assert fa.output_shape(*arguments, **keywords) == wanted


def test_output_shape_counts_the_places_where_the_kernel_fits():
    for i in range(1, 10):
        for k in range(1, 4):
            for s in range(1, 4):
                for d in range(1, 4):
                    for before, after in ((0, 0), (1, 0), (0, 2), (2, 2)):
                        starts = range(0, i + before + after - d * (k - 1), s)
                        if i + before + after >= d * (k - 1) + 1:
                            got = fa.output_shape(i, k, s, ((before, after),), d)
                            assert got == (len(starts),)


def test_transposed_output_shape_inverts_output_shape():
    for i in range(3, 20):
        for k in range(1, 4):
            for s in range(1, 5):
                (o,) = fa.output_shape(i, k, s)
                left_over = (i - k) % s
                back = fa.output_shape(o, k, s, transposed=True, output_padding=left_over)
                assert back == (i,)


def test_same_padding():
    assert fa.same_padding(5, 3) == ((1, 1),)
    assert fa.same_padding(6, 3, 2) == ((0, 1),)
    assert fa.same_padding(6, 3, 2, lower=True) == ((1, 0),)
    assert fa.same_padding((5, 6), 3, 2) == ((1, 1), (0, 1))
    assert fa.same_padding(224, 7, 2) == ((2, 3),)
    assert fa.same_padding(10, 3, dilation=4) == ((4, 4),)
    assert fa.same_padding(10, 1, 3) == ((0, 0),)


@pytest.mark.parametrize(
    ("kernel", "dilation", "wanted"),
    [(3, 1, 3), (3, 2, 5), (3, 4, 9), (1, 7, 1), ((3, 5), 2, (5, 9)), (3, (1, 2), (3, 5))],
)
def test_effective_kernel(kernel, dilation, wanted):
    assert fa.effective_kernel(kernel, dilation) == wanted


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        (("5", 3), {}, TypeError, "in_size must be"),
        ((5.0, 3), {}, TypeError, "in_size must be"),
        ((-1, 3), {}, ValueError, "in_size must be at least 0"),
        ((5, 0), {}, ValueError, "kernel must be at least 1"),
        (((5, 5), (3, 3, 3)), {}, ValueError, "kernel must be .* 2 ints"),
        ((5, 3, 0), {}, ValueError, "stride must be at least 1"),
        ((5, 3, True), {}, TypeError, "stride must be"),
        ((5, 3, 1, -1), {}, ValueError, "padding must be at least 0"),
        ((5, 3, 1, "full"), {}, ValueError, "padding must be .*'causal', got 'full'"),
        ((5, 3, 1, 0, 0), {}, ValueError, "dilation must be at least 1"),
        ((2, 5), {}, ValueError, "kernel must fit"),
        ((5, 3), {"output_padding": 1}, ValueError, "output_padding must be 0 unless"),
        ((5, 3, 2), {"transposed": True, "output_padding": 2}, ValueError, "output_padding must"),
        ((1, 1, 1, 3), {"transposed": True}, ValueError, "padding .* crops more"),
    ],
)
def test_output_shape_refusals(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        fa.output_shape(*arguments, **keywords)


# --- receptive field ------------------------------------------------------------------------


def test_three_layers_of_three_see_seven():
    assert fa.receptive_field([3, 3, 3]) == (7, 1, 0)
    assert [fa.receptive_field([3] * n).size for n in range(4)] == [1, 3, 5, 7]


def test_dilations_one_two_four_see_fifteen():
    layers = [fa.Layer(3, dilation=d) for d in (1, 2, 4)]
    assert [fa.receptive_field(layers[:n]).size for n in (1, 2, 3)] == [3, 7, 15]


def test_wavenet_block_sees_1024():
    layers = [{"kernel": 2, "dilation": 2**n, "padding": "causal"} for n in range(10)]
    field = fa.receptive_field(layers)
    assert field == (1024, 1, -1023)
    assert field.window(5000) == (5000 - 1023, 5000)


def test_mixed_ranks_of_description():
    field = fa.receptive_field([((7, 1), (2, 1), (3, 0)), 3])
    assert field == ((11, 3), (2, 1), (-3, 0))
    assert field.window((1, 0)) == ((-1, 0), (9, 2))


def test_same_padding_with_stride_needs_the_size():
    with pytest.raises(ValueError, match=r"in_size must be given: layers\[1\]"):
        fa.receptive_field([3, (3, 2, "same")])
    assert fa.receptive_field([(3, 2, "same")], in_size=6).offset == 0
    assert fa.receptive_field([(3, 2, "same")], in_size=5).offset == -1
    assert fa.receptive_field([(3, 1, "same"), (3, 2, "same")], in_size=5).offset == -2


def test_receptive_field_is_what_an_impulse_response_shows():
    generator = np.random.default_rng(3)
    for _ in range(60):
        layers = [
            (
                int(generator.integers(1, 5)),
                int(generator.integers(1, 4)),
                int(generator.integers(0, 3)),
                int(generator.integers(1, 4)),
            )
            for _ in range(int(generator.integers(1, 4)))
        ]
        position = int(generator.integers(0, 4))
        low = high = position
        for kernel, stride, padding, dilation in reversed(layers):
            low = low * stride - padding
            high = high * stride - padding + dilation * (kernel - 1)
        field = fa.receptive_field(layers)
        assert field.window(position) == (low, high)
        assert field.size == high - low + 1


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (3, TypeError, "layers must be a list"),
        ("33", TypeError, "layers must be a list"),
        ([3, "3"], TypeError, r"layers\[1\] must be"),
        ([True], TypeError, r"layers\[0\] must be"),
        ([(3, 1, 0, 1, 1)], TypeError, r"layers\[0\] must be"),
        ([{"kernel": 3, "strides": 2}], TypeError, r"layers\[0\] must be"),
        ([3, (3, 0)], ValueError, r"layers\[1\]\.stride must be at least 1"),
        ([(3, 1, "full")], ValueError, r"layers\[0\]\.padding must be"),
        ([(0,)], ValueError, r"layers\[0\]\.kernel must be at least 1"),
        ([((3, 3),), ((3, 3, 3),)], ValueError, r"layers must all have the same rank.*\[2, 3\]"),
    ],
)
def test_receptive_field_refusals(layers, error, message):
    with pytest.raises(error, match=message):
        fa.receptive_field(layers)


# --- parameters and multiplications ---------------------------------------------------------


def test_parameters_of_three_to_sixty_four_channels():
    assert fa.parameter_count(3, 64, (3, 3), bias=True) == 1792
    assert fa.parameter_count(3, None, (3, 3), bias=True, kind="depthwise") == 30
    assert fa.parameter_count(3, 64, (1, 1), bias=True) == 256
    assert fa.parameter_count(3, 64, (3, 3), bias=True, kind="depthwise_separable") == 286


def test_groups_divide_parameters_and_multiplications():
    for g in (1, 2, 4, 32):
        assert fa.parameter_count(64, 128, (3, 3), groups=g) * g == 64 * 128 * 9
        assert fa.multiplications((14, 14), 3, 64, 128, 1, 1, groups=g) * g == 196 * 9 * 64 * 128
    assert fa.parameter_count(96, 256, (5, 5), groups=2, bias=True) == 307_456  # AlexNet


def test_dilation_costs_nothing():
    plain = fa.multiplications((32, 32), 3, 8, 8, 1, "same")
    assert fa.multiplications((32, 32), 3, 8, 8, 1, "same", 4) == plain


def test_depthwise_separable_seven_by_seven():
    standard = fa.multiplications((7, 7), (3, 3), 3, 128)
    depthwise = fa.multiplications((7, 7), (3, 3), 3, kind="depthwise")
    pointwise = fa.multiplications((5, 5), (1, 1), 3, 128)
    separable = fa.multiplications((7, 7), (3, 3), 3, 128, kind="depthwise_separable")
    assert standard == 86_400
    assert (depthwise, pointwise) == (675, 9_600)
    assert separable == depthwise + pointwise == 10_275
    assert round(100 * separable / standard) == 12
    assert separable / standard == pytest.approx(1 / 128 + 1 / 9)


def test_spatially_separable_five_by_five():
    assert fa.multiplications((5, 5), (3, 3)) == 81
    column = fa.multiplications((5, 5), (3, 1))
    row = fa.multiplications((3, 5), (1, 3))
    assert (column, row) == (45, 27)
    assert fa.multiplications((5, 5), (3, 3), kind="spatially_separable") == 72
    assert fa.parameter_count(1, 1, (3, 3), kind="spatially_separable") == 6


@pytest.mark.parametrize("m", [3, 5, 7])
def test_spatially_separable_ratio_tends_to_two_over_m(m):
    size = (20_000, 20_000)
    separable = fa.multiplications(size, (m, m), kind="spatially_separable")
    assert separable / fa.multiplications(size, (m, m)) == pytest.approx(2 / m, rel=1e-3)


def test_spatially_separable_passes_have_the_geometry_of_their_axis():
    # Rows: 9 -> 5 with stride 2, 5 * 8 cells of 3 taps; columns: 8 -> 8, 5 * 8 cells of 5 taps.
    got = fa.multiplications((9, 8), (3, 5), 1, 1, (2, 1), (1, 2), kind="spatially_separable")
    assert got == 5 * 8 * 3 + 5 * 8 * 5


def test_flattened():
    assert fa.parameter_count(64, 128, (3, 3), kind="flattened") == 128 * (64 + 3 + 3)
    got = fa.multiplications((5, 5), (3, 3), 4, 6, kind="flattened")
    assert got == 6 * (25 * 4 + 15 * 3 + 9 * 3)


def test_multiplier_groups_and_biases_of_a_separable_layer():
    keywords = {"kind": "depthwise_separable", "multiplier": 2, "groups": 2}
    assert fa.parameter_count(4, 6, (3, 3), bias=True, **keywords) == 8 * 9 + 8 + 8 // 2 * 6 + 6
    assert fa.multiplications((3, 3), (3, 3), 4, 6, **keywords) == 8 * 9 + 8 // 2 * 6
    assert fa.parameter_count(4, 8, 3, kind="depthwise", multiplier=2) == 24


def test_transposed_costs_what_its_adjoint_costs():
    forward = fa.multiplications((31, 31), 3, 8, 4, 2)
    back = fa.multiplications((15, 15), 3, 4, 8, 2, transposed=True)
    assert forward == back == 15 * 15 * 9 * 8 * 4


def test_batch_multiplies():
    assert fa.multiplications((7, 7), (3, 3), 3, 128, batch=5) == 5 * 86_400
    assert fa.multiplications((7, 7), (3, 3), 3, 128, batch=0) == 0


def test_resnet_stem_has_its_published_cost():
    assert fa.parameter_count(3, 64, (7, 7)) == 9_408
    assert fa.multiplications((224, 224), 7, 3, 64, 2, 3) == 118_013_952


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((3, 64, 3), {"kind": "dense"}, ValueError, "kind must be one of .*got 'dense'"),
        ((3, None, 3), {}, ValueError, "out_channels must be given"),
        ((0, 4, 3), {}, ValueError, "in_channels must be at least 1"),
        ((3, 2.5, 3), {}, TypeError, "out_channels must be"),
        ((4, 6, 3), {"groups": 4}, ValueError, "groups must divide the 4 input and 6 output"),
        ((4, 8, 0), {}, ValueError, "kernel must be at least 1"),
        ((4, 8, 3), {"bias": 1}, TypeError, "bias must be True or False, got 1"),
        ((4, 8, 3), {"multiplier": 2}, ValueError, "multiplier must be 1"),
        ((4, 9, 3), {"kind": "depthwise"}, ValueError, r"out_channels must be .* = 4"),
        ((4, 4, 3), {"kind": "depthwise", "groups": 2}, ValueError, "groups must be in_channels"),
    ],
)
def test_parameter_count_refusals(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        fa.parameter_count(*arguments, **keywords)


def test_multiplications_refusals():
    with pytest.raises(ValueError, match="kind must be 'standard' or 'depthwise' with transposed"):
        fa.multiplications(5, 3, kind="flattened", transposed=True)
    with pytest.raises(ValueError, match="batch must be at least 0"):
        fa.multiplications(5, 3, batch=-1)


# --- overlap --------------------------------------------------------------------------------


def test_overlap_of_three_and_two_alternates():
    assert fa.overlap_map(3, 2, 4).tolist() == [1, 1, 2, 1, 2, 1, 2, 1, 1]
    assert fa.overlap_map(4, 2, 4).tolist() == [1, 1, 2, 2, 2, 2, 2, 2, 1, 1]
    assert fa.overlap_map(2, 3, 3).tolist() == [1, 1, 0, 1, 1, 0, 1, 1]


def test_overlap_in_two_dimensions_is_the_product():
    along = fa.overlap_map(3, 2, 5)
    assert np.array_equal(fa.overlap_map((3, 3), 2, 5), np.outer(along, along))
    assert fa.overlap_map((3, 4, 5), (2, 2, 1), (2, 3, 4)).shape == (5, 8, 8)


def test_overlap_counts_pairs_with_padding_and_dilation():
    for k, s, n, p, d, extra in [(3, 2, 4, 1, 1, 1), (3, 3, 5, 2, 2, 0), (2, 1, 6, 0, 3, 2)]:
        got = fa.overlap_map(k, s, n, padding=p, dilation=d, output_padding=extra)
        wanted = np.zeros((n - 1) * s - 2 * p + d * (k - 1) + 1 + extra, int)
        for i in range(n):
            for m in range(k):
                at = i * s + m * d - p
                if 0 <= at < len(wanted):
                    wanted[at] += 1
        assert got.dtype == np.int64
        assert got.tolist() == wanted.tolist()


def test_even_overlap_says_what_the_map_shows():
    for k in range(1, 8):
        for s in range(1, 6):
            assert fa.even_overlap(k, s) == (k % s == 0)
            for d in range(1, 5):
                inner = fa.overlap_map(k, s, 40, dilation=d)[d * k : -d * k]
                assert fa.even_overlap(k, s, d) == (inner.min() == inner.max())
    assert not fa.even_overlap((4, 3), 2)


def test_overlap_refusals():
    with pytest.raises(ValueError, match="kernel must be at least 1"):
        fa.overlap_map(0, 1, 3)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        fa.even_overlap(3, 0)
    with pytest.raises(TypeError, match="in_size must be"):
        fa.overlap_map(3, 2, 4.0)
