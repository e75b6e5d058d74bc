"""Conv objects: packed once, one result for every way to call them, safe from many threads."""

import gc
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastconv as fc
from fastconv._convolve import weights_unsafe


def layer(dtype=np.float32, **options):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 4, 3, 3)).astype(dtype)
    return fc.Conv(weight, rng.standard_normal(8).astype(dtype), padding=1, **options)


def pictures(*shape, dtype=np.float32, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize(
    "options", [{}, {"layout": "NHWC"}, {"flip_kernel": True}, {"activation": "silu"}]
)
def test_object_and_function_give_the_same_bits(dtype, options):
    conv = layer(dtype, **options)
    shape = (2, 9, 10, 4) if options.get("layout") else (2, 4, 9, 10)
    x = pictures(*shape, dtype=dtype)
    # A functional call counts its packing, so it may choose another algorithm than the object.
    algorithm = conv.plan(x.shape).algorithm
    wanted = fc.conv2d(x, conv.weight, conv.bias, padding=1, algorithm=algorithm, **options)
    for _ in range(3):
        assert np.array_equal(conv(x), wanted)
    assert np.array_equal(conv(x[1]), wanted[1])
    out = np.empty_like(wanted)
    assert conv(x, out=out) is out
    assert np.array_equal(out, wanted)
    strided = np.empty((*x.shape, 2), dtype)[..., 1]
    strided[...] = x
    assert np.array_equal(conv(strided), wanted)


def test_residual_and_out_in_one():
    conv, x = layer(activation="relu"), pictures(1, 4, 6, 6)
    residual = pictures(1, 8, 6, 6, seed=2)
    plain = fc.conv2d(x, conv.weight, conv.bias, padding=1)
    wanted = np.maximum(plain + residual, 0)
    np.testing.assert_allclose(conv(x, residual), wanted, rtol=1e-5, atol=1e-5)
    held = residual.copy()
    conv(x, held, held)
    np.testing.assert_allclose(held, wanted, rtol=1e-5, atol=1e-5)


def test_shapes_come_and_go():
    """More shapes than plans are kept, each as right the second time."""
    conv = layer()
    shapes = [(n, 4, h, w) for n in (1, 2) for h in range(1, 12) for w in range(1, 9)]
    first = [conv(pictures(*shape)) for shape in shapes]
    for shape, wanted in zip(shapes, first, strict=True):
        assert np.array_equal(conv(pictures(*shape)), wanted)
        assert wanted.shape == (shape[0], 8, *shape[2:])


def test_weights_are_copied():
    weight, bias = np.ones((2, 1, 3, 3), np.float32), np.ones(2, np.float32)
    conv = fc.Conv(weight, bias)
    x = np.ones((1, 1, 3, 3), np.float32)
    weight[:], bias[:] = np.nan, np.nan
    assert conv(x).ravel().tolist() == [10, 10]
    for array in (conv.weight, conv.bias):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


def test_plan():
    conv = layer()
    plan = conv.plan((2, 4, 20, 21))
    assert plan.out_shape == (2, 8, 20, 21)
    assert plan.flops == 2 * 2 * 8 * 20 * 21 * 4 * 9
    assert plan.kernel.startswith(plan.algorithm + ".f32.")
    assert plan.estimated_seconds > 0
    assert plan.workspace_bytes >= 0
    able = {candidate.algorithm: candidate.estimated_seconds for candidate in plan.candidates}
    assert plan.algorithm in able
    assert able[plan.algorithm] == min(able.values())
    assert set(able) | set(plan.rejected) == set(fc.algorithms())
    assert not set(able) & set(plan.rejected)
    assert all(isinstance(why, str) and why for why in plan.rejected.values())
    assert plan.algorithm in str(plan)


def test_the_plan_depends_on_neither_batch_nor_threads():
    conv = layer()
    kernels = {conv.plan((n, 4, 30, 31)).kernel for n in (1, 2, 64)}
    with fc.num_threads(1):
        kernels |= {conv.plan((1, 4, 30, 31)).kernel}
    assert len(kernels) == 1


@pytest.mark.parametrize("algorithm", fc.algorithms())
def test_named_algorithms_are_obeyed(algorithm):
    conv = layer(algorithm=algorithm)
    shape = (1, 4, 9, 9)
    if algorithm in layer().plan(shape).rejected:
        with pytest.raises(ValueError, match=algorithm):
            conv.plan(shape)
        with pytest.raises(ValueError, match=algorithm):
            conv(pictures(*shape))
    else:
        assert conv.plan(shape).algorithm == algorithm
        wanted = layer()(pictures(*shape))
        np.testing.assert_allclose(conv(pictures(*shape)), wanted, rtol=1e-4, atol=1e-4)


def test_pickle():
    conv, x = layer(activation=("clip", 0.0, 2.0)), pictures(1, 4, 9, 9)
    copy = pickle.loads(pickle.dumps(conv))
    assert np.array_equal(copy(x), conv(x))
    assert repr(copy) == repr(conv)


def test_many_threads_one_conv():
    """Every thread, on shapes that come up in any order, gets the bits of a call alone."""
    xs = [pictures(1, 4, 5 + i % 13, 8 + i % 7, seed=i) for i in range(91)]
    alone = layer()
    wanted = [alone(x) for x in xs]
    conv = layer()
    order = np.random.default_rng(0).integers(len(xs), size=600)
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda i: (i, conv(xs[i])), order)
        assert all(np.array_equal(got, wanted[i]) for i, got in results)


def test_the_gil_is_released():
    """While one thread convolves, another runs Python instead of waiting for the call to end."""
    x, weight = pictures(1, 64, 160, 160), pictures(64, 64, 3, 3)
    conv = fc.Conv(weight, padding=1)
    conv(x[..., :8])
    spent, seen = [], []
    done = threading.Event()

    def work():
        with fc.num_threads(1):
            start = time.perf_counter()
            for _ in range(3):
                conv(x)
            spent.append((start, time.perf_counter()))
        done.set()

    interval = sys.getswitchinterval()
    worker = threading.Thread(target=work)
    try:
        sys.setswitchinterval(1e-4)
        worker.start()
        while not done.is_set():
            seen.append(time.perf_counter())
            time.sleep(1e-4)
    finally:
        sys.setswitchinterval(interval)
        worker.join()
    start, stop = spent[0]
    inside = [t for t in seen if start < t < stop]
    gaps = np.diff([start, *inside, stop])
    # With the lock held for each of three calls, no gap could be shorter than a call.
    assert len(inside) > 6, (len(inside), stop - start)
    assert np.median(gaps) < (stop - start) / 6


def test_number_of_threads():
    before = fc.get_num_threads()
    try:
        fc.set_num_threads(3)
        assert fc.get_num_threads() == 3
        with fc.num_threads(1):
            assert fc.get_num_threads() == 1
        assert fc.get_num_threads() == 3
    finally:
        fc.set_num_threads(None)
    assert fc.get_num_threads() == before
    for bad in (0, -1, 1.5, "2", True):
        with pytest.raises((TypeError, ValueError), match="n must be"):
            fc.set_num_threads(bad)


def test_no_reference_is_kept():
    conv, x = layer(), pictures(2, 4, 9, 9)
    out, residual = np.empty((2, 8, 9, 9), np.float32), np.ones((2, 8, 9, 9), np.float32)
    conv(x, residual, out)
    gc.collect()
    before = [sys.getrefcount(array) for array in (x, out, residual)]
    for _ in range(50):
        conv(x, residual, out)
        fc.conv2d(x, conv.weight, padding=1, residual=residual, out=out)
        with pytest.raises(ValueError, match="residual"):
            conv(x, residual[:1], out)
    assert [sys.getrefcount(array) for array in (x, out, residual)] == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 1, 3), (4, 2, 2), (3, 3, 5)])
def test_every_weight_is_looked_at_before_a_transform(dtype, shape):
    good = np.linspace(-1e17, 1e17, np.prod(shape)).astype(dtype).reshape(shape)
    views = [lambda a: a, lambda a: a[::-1], lambda a: np.asfortranarray(a),
             lambda a: np.repeat(a, 2, axis=1)[:, ::2]]  # fmt: skip
    for view in views:
        assert not weights_unsafe(view(good), shape[2:])
        for at in range(good.size):
            for bad in (np.nan, np.inf, -np.inf, 2e18, -2e18):
                spoilt = good.copy()
                spoilt.flat[at] = bad
                assert weights_unsafe(view(spoilt), shape[2:])
