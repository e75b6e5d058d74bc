"""fastconv.dask: lazily, chunk by chunk, what fastconv.signal gives on the whole array."""

from __future__ import annotations

import inspect
import itertools
import warnings

import numpy as np
import pytest

from fastconv import ndimage, signal

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    da = pytest.importorskip("dask.array", reason="dask is not installed")

from fastconv import dask as lazy

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def picture(rng):
    return rng.standard_normal((37, 50))


def same(found, wanted, tolerance=1e-12, scheduler="sync"):
    assert isinstance(found, da.Array)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_allclose(found.compute(scheduler=scheduler), wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("kernel", [(3, 3), (4, 1), (2, 7), (12, 15)], ids=str)
def test_convolutions(picture, rng, mode, kernel):
    w = rng.standard_normal(kernel)
    for chunks in ((10, 13), (37, 8), (4, 50)):
        x = da.from_array(picture, chunks=chunks)
        for name in ("convolve", "correlate", "fftconvolve", "oaconvolve"):
            same(getattr(lazy, name)(x, w, mode), getattr(signal, name)(picture, w, mode))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("boundary", ["fill", "wrap", "symm"])
def test_pictures(picture, rng, mode, boundary):
    x = da.from_array(picture, chunks=(10, 13))
    for kernel, fill in itertools.product(((3, 3), (4, 6)), (0, 2.5)):
        w = rng.standard_normal(kernel)
        for name in ("convolve2d", "correlate2d"):
            wanted = getattr(signal, name)(picture, w, mode, boundary, fill)
            same(getattr(lazy, name)(x, w, mode, boundary, fill), wanted)


def test_integers_and_direct_sums_are_the_same(picture, rng):
    whole = (picture * 100).astype(np.int16)
    w = rng.integers(-9, 9, (3, 5))
    same(lazy.convolve(da.from_array(whole, chunks=9), w), signal.convolve(whole, w), 0)
    line, taps = rng.standard_normal(3000), rng.standard_normal(33)
    found = lazy.convolve(da.from_array(line, chunks=700), taps, "same", "direct").compute()
    np.testing.assert_allclose(found, signal.convolve(line, taps, "same", "direct"), atol=1e-13)


def test_nothing_is_computed_before_it_is_asked_for():
    def refuse(_):
        raise AssertionError("computed")

    x = da.ones((20, 20), chunks=5).map_blocks(refuse, dtype=float, meta=np.empty((0, 0)))
    found = lazy.convolve(x, np.ones((3, 3)))
    assert found.shape == (22, 22)
    with pytest.raises(AssertionError, match="computed"):
        found.compute(scheduler="sync")


def test_any_filter(picture):
    from scipy import ndimage

    x = da.from_array(picture, chunks=(10, 25))
    halo = [(8, 8), (8, 8)]  # 4 standard deviations
    for mode in ("reflect", "mirror", "nearest", "constant"):
        wanted = ndimage.gaussian_filter(picture, 2.0, mode=mode)
        same(lazy.map_filter(ndimage.gaussian_filter, x, halo, 2.0, mode=mode), wanted)
    wanted = ndimage.gaussian_filter(picture, 2.0, mode="wrap")
    same(lazy.map_filter(ndimage.gaussian_filter, x, halo, 2.0, wrap=True), wanted)


FILTERS = [
    ("convolve", ([[0, 1.5, 2], [1, -3, 0.5]],), {"origin": (-1, 1)}),
    ("correlate", ([[0, 1.5, 2, 4], [1, -3, 0.5, 0]],), {"origin": [0, -2]}),
    ("correlate", ([1.0, 2, -1, 5],), {"axes": (-1,), "origin": 1}),
    ("convolve1d", ([1, 2, 3, 5.5],), {"axis": 0, "origin": -1}),
    ("correlate1d", ([1, 2, 3, 5.5, 6],), {"origin": 2}),
    ("gaussian_filter", (2.0,), {"truncate": 3.0}),
    ("gaussian_filter", ((0, 1.5),), {"order": (0, 1), "radius": (1, 5)}),
    ("gaussian_filter", (6,), {"axes": 1}),
    ("gaussian_filter", (11,), {}),  # reaches as far as the picture
    ("gaussian_filter1d", (1.5,), {"axis": 0, "order": 2}),
    ("gaussian_gradient_magnitude", (1.5,), {"truncate": 2.0}),
    ("gaussian_gradient_magnitude", ((1.0, 2.0),), {"axes": (1,)}),
    ("gaussian_laplace", (1.5,), {"radius": 4}),
    ("gaussian_laplace", ((2.0,),), {"axes": (0,)}),
    ("laplace", (), {}),
    ("prewitt", (), {"axis": 0}),
    ("sobel", (), {}),
    ("uniform_filter", ([4, 7],), {"origin": (1, -3)}),
    ("uniform_filter", (5,), {"axes": 0}),
    ("uniform_filter1d", (6,), {"axis": 0, "origin": 2}),
]


@pytest.mark.parametrize("mode", ["reflect", "mirror", "nearest", "constant", "wrap"])
@pytest.mark.parametrize(("name", "args", "options"), FILTERS, ids=str)
def test_image_filters(picture, name, args, options, mode):
    options = {**options, "mode": mode, "cval": 0.5}
    wanted = getattr(ndimage, name)(picture, *args, **options)
    for chunks in ((10, 13), ((1, 1, 2, 33), (3, 40, 7))):
        x = da.from_array(picture, chunks=chunks)
        same(getattr(lazy.ndimage, name)(x, *args, **options), wanted)
    bytes_ = (picture * 50).astype(np.int8)
    wanted = getattr(ndimage, name)(bytes_, *args, output=np.int16, **options)
    found = getattr(lazy.ndimage, name)(da.from_array(bytes_, chunks=11), *args,
                                        output=np.int16, **options)  # fmt: skip
    same(found, wanted, 0)


def test_a_mode_for_each_axis_and_volumes(picture, rng):
    x = da.from_array(picture, chunks=(10, 13))
    modes = ["wrap", "mirror"]
    for name in ("gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude"):
        wanted = getattr(ndimage, name)(picture, 1.5, mode=modes)
        same(getattr(lazy, name)(x, 1.5, mode=modes), wanted)
    same(lazy.sobel(x, mode=modes), ndimage.sobel(picture, mode=modes))
    volume = rng.standard_normal((9, 14, 11)).astype(np.float32)
    x = da.from_array(volume, chunks=(4, 5, 6))
    same(lazy.gaussian_filter(x, 1, mode="wrap"), ndimage.gaussian_filter(volume, 1, mode="wrap"))
    w = rng.standard_normal((3, 2, 4))
    same(lazy.ndimage.correlate(x, w), ndimage.correlate(volume, w), 1e-5)


def test_every_image_filter_is_there():
    generic = {"generic_laplace", "generic_gradient_magnitude"}  # reach as far as their function
    assert set(lazy.ndimage.__all__) == set(ndimage.__all__) - generic
    for name in lazy.ndimage.__all__:
        ours, theirs = getattr(lazy.ndimage, name), getattr(ndimage, name)
        assert inspect.signature(ours) == inspect.signature(theirs)


def test_errors_of_image_filters_come_at_once(picture):
    x = da.from_array(picture, chunks=10)
    with pytest.raises(TypeError, match="dask array"):
        lazy.sobel(picture)
    with pytest.raises(TypeError, match="dtype"):
        lazy.sobel(x, output=np.empty_like(picture))
    with pytest.raises(RuntimeError, match="mode"):
        lazy.sobel(x, mode="bogus")
    with pytest.raises(ValueError, match="origin"):
        lazy.uniform_filter(x, 3, origin=2)
    with pytest.raises(ValueError, match="axis"):
        lazy.gaussian_filter1d(x, 1, axis=2)


def test_errors(picture):
    x = da.from_array(picture, chunks=10)
    with pytest.raises(ValueError, match="2 dimensions"):
        lazy.convolve(x, np.ones(3))
    with pytest.raises(ValueError, match="'bogus'"):
        lazy.convolve(x, np.ones((3, 3)), "bogus")
    with pytest.raises(ValueError, match="no larger"):
        lazy.convolve(x, np.ones((40, 3)), "valid")


def test_a_cluster_over_stored_chunks(tmp_path, rng):
    """Two worker processes, an array in zarr's chunks on disk, read and written by the workers."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    picture, w = rng.standard_normal((300, 400)), rng.standard_normal((9, 6))
    stored = zarr.open(
        str(tmp_path / "x.zarr"), mode="w", shape=picture.shape, chunks=(100, 100), dtype="f8"
    )
    stored[:] = picture
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert len(client.scheduler_info()["workers"]) == 2
        found = lazy.convolve2d(da.from_zarr(str(tmp_path / "x.zarr")), w, "same", "symm")
        found.rechunk(100).to_zarr(str(tmp_path / "y.zarr"))
        smooth = lazy.gaussian_filter(da.from_zarr(str(tmp_path / "x.zarr")), 2, mode="wrap")
        same(smooth, ndimage.gaussian_filter(picture, 2, mode="wrap"), scheduler=client.get)
    result = zarr.open(str(tmp_path / "y.zarr"), mode="r")[:]
    np.testing.assert_allclose(result, signal.convolve2d(picture, w, "same", "symm"), atol=1e-12)
