"""fastconv.restoration against scikit-image, where that is installed."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import restoration, signal


def blurred(dtype, shape, psf_shape):
    rng = np.random.default_rng(3)
    psf = rng.random(psf_shape) + 0.1
    psf /= psf.sum()
    image = signal.convolve(rng.random(shape), psf, "same")
    return image.astype(dtype), psf.astype(dtype if np.dtype(dtype).kind == "f" else np.float64)


CASES = [((40, 50), (5, 5)), ((41, 30), (4, 7)), ((12, 15, 14), (3, 3, 5)), ((64, 64), (17, 17))]


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("skimage.restoration", reason="scikit-image is not installed")


@pytest.mark.parametrize(("shape", "psf"), CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_wiener(theirs, shape, psf, dtype):
    image, psf = blurred(dtype, shape, psf)
    tolerance = 1e-11 if dtype == "float64" else 2e-4
    for options in ({}, {"is_real": False}, {"clip": False}, {"reg": np.ones((1,) * image.ndim)}):
        wanted = theirs.wiener(image, psf, 0.1, **options)
        found = restoration.wiener(image, psf, 0.1, **options)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)


def test_wiener_of_a_transfer_function(theirs):
    image, _ = blurred("float64", (16, 17), (3, 3))
    transfer = np.ones((16, 9)) + 0.5
    wanted = theirs.wiener(image, transfer, 0.2)
    np.testing.assert_allclose(restoration.wiener(image, transfer, 0.2), wanted, atol=1e-12)


@pytest.mark.parametrize(("shape", "psf"), CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_richardson_lucy(theirs, shape, psf, dtype):
    image, psf = blurred(dtype, shape, psf)
    tolerance = 1e-10 if dtype == "float64" else 2e-3
    for options in ({"num_iter": 5}, {"num_iter": 8, "clip": False, "filter_epsilon": 1e-3}):
        wanted = theirs.richardson_lucy(image, psf, **options)
        found = restoration.richardson_lucy(image, psf, **options)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


def test_richardson_lucy_keeps_its_arguments():
    image, psf = blurred("float64", (20, 20), (3, 3))
    copies = image.copy(), psf.copy()
    restoration.richardson_lucy(image, psf, 3)
    restoration.wiener(image, psf, 1.0)
    assert (image == copies[0]).all()
    assert (psf == copies[1]).all()


def test_complex_pictures_are_refused():
    with pytest.raises(ValueError, match="image must be real"):
        restoration.wiener(np.ones((4, 4), complex), np.ones((2, 2)), 1.0)
