"""The bits of a result depend on shapes, precision and instruction set, and on nothing else."""

import dataclasses

import driver
import numpy as np
import pytest
from cases import Case, both

import fastconv as fc

# Enough tasks for several threads; some leave a tail in every dimension.
LARGE = [
    Case(24, 50, (19, 30), (3, 3), padding=both(1, 1), bias=True, activation="relu"),
    Case(130, 40, (9, 23), (1, 1), residual=True),
    Case(64, 40, (17, 23), (3, 3), dilation=(2, 2), padding=both(2, 2)),
    Case(40, 40, (19, 30), (3, 3), padding=both(1, 1), groups=40, activation="silu"),
    Case(32, 32, (17, 21), (3, 3), padding=both(1, 1), groups=8),
    Case(30, 20, (9, 11), (4, 4), (2, 2), padding=both(1, 1), operation="conv_transpose"),
    Case(20, 30, (300,), (3,), padding=both(1), bias=True),
    Case(6, 10, (7, 9, 11), (3, 3, 3), padding=both(1, 1, 1)),
    Case(16, 24, (11, 13), (3, 3), padding=both(1, 1), operation="deform_conv", mask=True),
    Case(24, 33, (15, 17), (3, 3), padding=both(1, 1), operation="separable_conv"),
    Case(40, 150, (9, 11), (3, 3), padding=both(1, 1)),  # few blocks of pixels, each of many rows
    Case(20, 44, (77, 80), (1, 1), bias=True),  # out beyond L2, twice as wide as x
]
LARGE += [dataclasses.replace(case, channels_last=True) for case in LARGE]


def cases_of(row):
    if driver.algorithm_of(row) == "reference":
        return driver.sample(row, 1)
    able = [case for case in LARGE if driver.plan(row, case) is not None]
    return able + driver.sample(row, 1)


def bits(array):
    return np.ascontiguousarray(array).view(np.uint8)


@pytest.fixture
def results(every_row):
    """(case, plan, operands, result on one thread) of every case the row runs."""
    found = []
    for case in cases_of(every_row):
        made = driver.plan(every_row, case)
        arrays = driver.stored(every_row, case, driver.values_of(case))
        found.append((case, made, arrays, driver.run(every_row, case, made, arrays)))
    assert found
    return found


def test_threads_and_repeats(every_row, results):
    for case, made, arrays, once in results:
        for threads in (1, 2, 3, 5):
            again = driver.run(every_row, case, made, arrays, threads=threads)
            assert np.array_equal(bits(once), bits(again)), (every_row, case, threads)


def test_threads_with_values_that_are_not_finite(every_row):
    """Which outputs they reach is found anew, or kept, by whoever computes a block of rows."""
    for case in cases_of(every_row):
        made = driver.plan(every_row, case)
        values = driver.values_of(case).map(np.copy, ("x",))
        values.x.reshape(-1)[[0, values.x.size // 2]] = np.nan, np.inf
        arrays = driver.stored(every_row, case, values)
        once = driver.run(every_row, case, made, arrays)
        for threads in (2, 3):
            again = driver.run(every_row, case, made, arrays, threads=threads)
            assert np.array_equal(bits(once), bits(again)), (every_row, case, threads)


def test_alignment(every_row, results):
    def shifted(array, by):
        memory = np.empty(array.size + 16, array.dtype)
        place = memory[by : by + array.size].reshape(array.shape)
        place[...] = array
        return place

    for case, made, arrays, once in results:
        for by in (1, 3, 8):
            moved = arrays.map(lambda array, by=by: shifted(array, by))
            out = shifted(driver.new_out(every_row, case), 8 - by)
            again = driver.run(every_row, case, made, moved, out)
            assert np.array_equal(bits(once), bits(again)), (every_row, case, by)


def test_batch(every_row, results):
    """An image alone, and as the last of seven; weights packed for one serve the other."""
    for case, made, arrays, once in results:
        tiles = 7 if case.batch == 1 else 2
        larger = dataclasses.replace(case, batch=tiles * case.batch)
        plan = driver.plan(every_row, larger)
        assert plan is not None, (every_row, case)
        assert plan.kernel == made.kernel, (every_row, case)
        weights = made.pack(arrays.weight, arrays.pointwise, flip=case.flip)
        assert plan.accepts(weights)
        # Other images before it: a sum that leaks from one to the next would show.
        repeated = arrays.map(
            lambda a, n=tiles, b=case.batch: np.concatenate([*[a[::-1]] * (n - 1), a])[-n * b :],
            arrays.TENSORS,
        )
        repeated.x[0] = 0
        out = driver.run(every_row, larger, plan, repeated, threads=2, weights=weights)
        assert np.array_equal(bits(once), bits(out[-case.batch :])), (every_row, case)


def test_size_elsewhere_does_not_matter_to_packed_weights(every_row, results):
    """Weights packed for one size serve every size whose plan accepts them."""
    for case, made, arrays, _ in results[:4]:
        weights = made.pack(arrays.weight, arrays.pointwise, flip=case.flip)
        wider = dataclasses.replace(case, in_size=(*case.in_size[:-1], case.in_size[-1] + 5))
        plan = driver.plan(every_row, wider)
        if plan is None or not plan.accepts(weights):
            continue
        values = driver.values_of(wider)
        operands = driver.stored(every_row, wider, values)
        operands.weight, operands.bias = arrays.weight, arrays.bias
        operands.pointwise = arrays.pointwise
        fresh = driver.run(every_row, wider, plan, operands)
        shared = driver.run(every_row, wider, plan, operands, weights=weights)
        assert np.array_equal(bits(fresh), bits(shared)), (every_row, case)


def test_weights_of_another_plan_are_refused(every_row, results):
    case, made, arrays, _ = results[0]
    other = dataclasses.replace(case, in_ch=2 * case.in_ch, out_ch=2 * case.out_ch)
    if case.groups > 1:
        other = dataclasses.replace(other, groups=2 * case.groups)
    plan = driver.plan(every_row, other)
    weights = made.pack(arrays.weight, arrays.pointwise)
    assert plan is not None
    assert not plan.accepts(weights)
    with pytest.raises(ValueError, match="weights"):
        plan.run(weights, arrays.x, driver.new_out(every_row, case))


def test_denormals_and_the_float_mode(every_row):
    """Denormal inputs cost no more than their size, and the caller's float mode comes back."""
    dtype = driver.dtype_of(every_row)
    denormal = {"f16": 2.0**-24, "f64": 5e-310}.get(dtype, 1e-40)
    tiniest = {"f16": 0.0, "f64": 2.3e-308}.get(dtype, 1.2e-38)  # what flushing may take away
    for case in driver.sample(every_row, 1, keep=lambda c: not (c.activation or c.deform)):
        values = driver.values_of(case)
        values = dataclasses.replace(values, x=np.full(case.x_shape, denormal))
        arrays = driver.stored(every_row, case, values)
        for threads in (1, 2):
            made = driver.plan(every_row, case)
            out = driver.run(every_row, case, made, arrays, threads=threads)
            got = driver.as_values(every_row, case, out)
            y, magnitude = driver.expected(case, values)
            allowed = driver.tolerance(every_row, case, y, magnitude)
            weights = np.abs(values.weight).sum() * (case.out_ch if case.separable else 1)
            if case.separable:
                weights *= np.abs(values.pointwise).max() + 1
            assert (np.abs(got - y) <= allowed + tiniest * (1 + weights)).all(), (every_row, case)
            assert np.float32(1e-40) * np.float32(1) > 0, "denormals are flushed for the caller"


WINOGRAD_ROWS = [row for row in driver.ROWS if row.startswith("winograd")]


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize("row", WINOGRAD_ROWS)
def test_winograd_tiles_anywhere_and_weights_however_made(row, stride, dilation):
    """An output's bits do not depend on where among the vectors of tiles its tile is, alone or in a
    corner of a larger image, nor on when the weights are transformed."""
    taps = stride * 3  # as many in each phase
    geometry = ((taps, taps), (stride, stride), (dilation, dilation))
    rng = np.random.default_rng(5)
    reach = dilation * (taps - 1)
    x = driver.rounded(rng.standard_normal((1, 70, 32 * stride + reach, 34 * stride + reach)))
    weight = driver.rounded(rng.standard_normal((37, 70, taps, taps)))
    corners, known = {}, None
    least = 3 + 4 * dilation  # room for the whole first tile of each residue class
    for out in ((32, 34), (28, 28), (16, 32), (14, 14), (least + 1,) * 2, (least,) * 2):
        size = tuple((o - 1) * stride + reach + 1 for o in out)
        for per_call in (False, True):
            case = Case(70, 37, size, *geometry)
            made = driver.plan(row, case, pack_per_call=per_call)
            arrays = driver.stored(row, case, driver.Arrays(x[..., : size[0], : size[1]], weight))
            corners[size, per_call] = driver.run(row, case, made, arrays)[..., :4, :4]
    for place, corner in corners.items():
        known = corner if known is None else known
        assert np.array_equal(bits(corner), bits(known)), (row, place)


def place(array, by):
    """A copy whose first element lies `by` elements after a multiple of 64 bytes."""
    memory = np.empty(array.nbytes + 64 + by * array.itemsize, np.uint8)
    start = -memory.ctypes.data % 64 + by * array.itemsize
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


# Geometries between whose algorithms the choice is open: x, weight, options of `Conv`.
OPEN = {
    "3x3": ((16, 40, 38), (24, 16, 3, 3), {"padding": 1, "activation": "silu"}),
    "1x1": ((70, 21, 23), (50, 70, 1, 1), {}),
    "stride 2": ((20, 41, 40), (30, 20, 3, 3), {"stride": 2, "padding": 1}),
    "depthwise": ((40, 37, 31), (40, 1, 5, 5), {"groups": 40, "padding": 2}),
    "groups": ((32, 30, 29), (32, 8, 3, 3), {"groups": 4, "padding": 1}),
    "large, few channels": ((2, 90, 100), (3, 2, 21, 21), {"padding": "same"}),
    "large, many channels": ((24, 50, 60), (10, 24, 9, 11), {"padding": 4}),
    "1D": ((6, 3000), (5, 6, 65), {"padding": 32}),
    "3D": ((8, 12, 13, 14), (9, 8, 3, 3, 3), {"padding": 1}),
    "transposed": ((12, 17, 15), (12, 14, 4, 4), {"stride": 2, "transposed": True}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("algorithm", ["auto", "fft"])
def test_public_calls(algorithm, dtype):
    """Threads, batch, alignment and repeats of `Conv` and of the functions: the automatic choice,
    and the FFT, which is no row."""
    ran = []
    for name, (size, w_shape, options) in OPEN.items():
        rng = np.random.default_rng(len(ran))
        images = rng.standard_normal((7, *size)).astype(dtype)
        weight = rng.standard_normal(w_shape).astype(dtype)
        bias = rng.standard_normal(
            w_shape[1] if "transposed" in options else w_shape[0]
        ).astype(dtype)  # fmt: skip
        conv = fc.Conv(weight, bias, algorithm=algorithm, **options)
        if algorithm == "fft" and (max(conv.kernel_size) == 1 or conv.transposed):
            continue
        rest = {key: value for key, value in options.items() if key != "transposed"}
        kind = "conv_transpose" if "transposed" in options else "conv"
        function = getattr(fc, f"{kind}{len(size) - 1}d")

        def functional(x, w=weight, b=bias, f=function, rest=rest):
            return f(x, w, b, algorithm=algorithm, **rest)

        for call in (conv, functional):
            with fc.num_threads(1):
                once = call(images)
            for threads in (1, 2, 3):
                with fc.num_threads(threads):
                    assert np.array_equal(bits(call(images)), bits(once)), (name, threads)
                    alone = np.concatenate([call(image[None]) for image in images])
                    assert np.array_equal(bits(alone), bits(once)), (name, threads, "batch")
                    assert np.array_equal(bits(call(images[-1])), bits(once[-1])), name
                    for by in (1, 5):
                        moved = call(place(images, by))
                        assert np.array_equal(bits(moved), bits(once)), (name, threads, by)
            out = place(np.empty_like(once), 3)
            if call is conv:
                conv(place(images, 2), out=out)
                assert np.array_equal(bits(out), bits(once)), (name, "out")
        ran.append(name)
    assert len(ran) >= 4


GEMM_ROWS = [row for row in driver.ROWS if driver.algorithm_of(row) in ("gemm", "gemm_split")]
ONE_CALL_ROWS = [
    row
    for row in driver.ROWS
    if driver.algorithm_of(row).startswith(("gemm", "direct", "winograd"))
]
GROUPED_ROWS = [row for row in driver.ROWS if driver.algorithm_of(row) == "grouped"]


@pytest.mark.parametrize("row", ONE_CALL_ROWS)
def test_weights_of_one_call_are_read_where_they_lie(row):
    """Packed or read from any strides, for few pixels or many, on one thread or three, the bits are
    the same, and so are those of windows that hold what transforms cannot take."""
    tried = 0
    for case in (
        Case(70, 37, (9, 11), (3, 3), flip=True),
        Case(24, 10, (7, 6), (2, 3), groups=2),
        Case(300, 21, (7, 7), (1, 1)),
        Case(5, 9, (24, 24), (1, 1)),
        Case(350, 37, (7, 7), (1, 1), channels_last=True),
        Case(41, 50, (19, 40), (3, 3), stride=(2, 1)),
        Case(150, 85, (7, 7), (3, 3), padding=both(1, 1), bias=True, activation="relu"),
        Case(150, 85, (7, 7), (3, 3), padding=both(1, 1), batch=2, channels_last=True),
        Case(140, 50, (14, 14), (3, 3), padding=both(1, 1), groups=2),
        Case(72, 41, (3, 6, 6), (2, 3, 5), padding=((0, 0), (1, 1), (2, 2))),
        Case(80, 33, (9, 9), (4, 4), stride=(2, 2)),
        Case(70, 37, (6, 5), (3, 3), (2, 2), padding=both(1, 1), operation="conv_transpose"),
        Case(96, 40, (61,), (9,), padding=((4, 4),)),
    ):
        usual, made = driver.plan(row, case), driver.plan(row, case, pack_per_call=True)
        if made is None:
            continue
        tried += 1
        values = driver.values_of(case)
        x = values.x.copy()
        x.flat[3] = np.inf
        arrays = driver.stored(row, case, dataclasses.replace(values, x=x))
        packed = driver.run(row, case, usual, arrays)
        spread = np.empty((*arrays.weight.shape, 2), arrays.weight.dtype)[..., 0]
        spread[...] = arrays.weight
        for weight in (arrays.weight, spread, np.asfortranarray(arrays.weight)):
            for threads in (1, 3):
                moved = dataclasses.replace(arrays, weight=weight)
                again = driver.run(row, case, made, moved, threads=threads)
                assert np.array_equal(bits(packed), bits(again)), (row, case)
        assert not usual.accepts(made.pack(arrays.weight))
        larger = dataclasses.replace(case, batch=case.batch + 8)
        assert not driver.plan(row, larger, pack_per_call=True).accepts(made.pack(arrays.weight))
    assert tried >= (3 if driver.is_transform(row) else 13)


@pytest.mark.parametrize("row", GROUPED_ROWS)
def test_grouped_packs_for_one_layout_when_a_call_packs(row):
    """The bits are those of weights packed for both layouts, and a plan for the other layout
    takes no such weights."""
    cases = [
        Case(64, 64, (9, 14), (3, 3), padding=both(1, 1), groups=4, channels_last=last)
        for last in (False, True)
    ]
    plans = [driver.plan(row, case, pack_per_call=True) for case in cases]
    for case, made, other in zip(cases, plans, reversed(plans), strict=True):
        arrays = driver.stored(row, case, driver.values_of(case))
        packed = driver.run(row, case, driver.plan(row, case), arrays)
        assert np.array_equal(bits(packed), bits(driver.run(row, case, made, arrays)))
        assert not other.accepts(made.pack(arrays.weight))


@pytest.mark.parametrize("row", GEMM_ROWS)
def test_gemm_panels_begin_where_x_is_aligned(row):
    """Long planes are cut where x is aligned; the bits are those of any cut."""
    case = Case(6, 13, (40, 48), (1, 1), bias=True, residual=True)
    arrays, made = driver.stored(row, case, driver.values_of(case)), driver.plan(row, case)
    results = []
    for by in range(0, 17, 3):
        memory = np.empty(arrays.x.size + 32, arrays.x.dtype)
        x = memory[by : by + arrays.x.size].reshape(arrays.x.shape)
        x[...] = arrays.x
        for threads in (1, 2):
            moved = dataclasses.replace(arrays, x=x)
            results.append(bits(driver.run(row, case, made, moved, threads=threads)))
    for result in results[1:]:
        assert np.array_equal(results[0], result), row
