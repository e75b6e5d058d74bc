"""fastconv.dask: lazily, chunk by chunk, what fastconv.signal gives on the whole array."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from fastconv import signal

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    da = pytest.importorskip("dask.array", reason="dask is not installed")

from fastconv import dask as lazy

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def picture(rng):
    return rng.standard_normal((37, 50))


def same(found, wanted, tolerance=1e-12):
    assert isinstance(found, da.Array)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_allclose(found.compute(scheduler="sync"), wanted, rtol=0, atol=tolerance)


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
    result = zarr.open(str(tmp_path / "y.zarr"), mode="r")[:]
    np.testing.assert_allclose(result, signal.convolve2d(picture, w, "same", "symm"), atol=1e-12)
