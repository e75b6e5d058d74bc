"""Deconvolution, with scikit-image's signatures: `wiener` and `richardson_lucy`.

Both take arrays of any number of axes and compute float32 in float32. scikit-image itself is
neither needed nor loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import _core
from fastconv.signal import convolve

__all__ = ["richardson_lucy", "wiener"]

_LEAST_BLUR = 1e-12  # added to divisors


def _float_type(image: np.ndarray) -> np.dtype[Any]:
    """float32 for float32 and float16, else float64."""
    if image.dtype.kind == "c":
        raise ValueError(f"image must be real, got dtype {image.dtype}")
    return np.dtype(np.float32 if image.dtype.char in "ef" else np.float64)


def _workers() -> int:
    return abs(_core.threads_here.get()) or _core.get_num_threads()


def _transfer(response: np.ndarray, shape: tuple[int, ...], is_real: bool) -> np.ndarray:
    """Transform of an impulse response whose middle lies at the origin."""
    from scipy import fft

    padded = np.zeros(shape, response.dtype)
    padded[tuple(slice(n) for n in response.shape)] = response
    axes = tuple(range(response.ndim))
    padded = np.roll(padded, [-(n // 2) for n in response.shape], axes)
    return (fft.rfftn if is_real else fft.fftn)(padded, workers=_workers())


def _laplacian(ndim: int) -> np.ndarray:
    response = np.zeros((3,) * ndim)
    for axis in range(ndim):
        for end in (0, 2):
            response[tuple(end if i == axis else 1 for i in range(ndim))] = -1.0
    response[(1,) * ndim] = 2.0 * ndim
    return response


def wiener(
    image: Any, psf: Any, balance: float, reg: Any = None, is_real: bool = True, clip: bool = True
) -> np.ndarray:
    """Restore a picture or volume by Wiener-Hunt deconvolution, as `skimage.restoration.wiener`.

    Parameters
    ----------
    image : array_like
        Degraded picture; real, any number of axes.
    psf : array_like
        The blur: an impulse response of any size no larger than the image, or, where it has the
        shape of the transform of `image`, its transfer function.
    balance : float
        Weight of `reg`: larger values give smoother results.
    reg : array_like, optional
        Operator to keep small, the Laplacian by default: an impulse response, or a transfer
        function if complex.
    is_real : bool
        Whether transfer functions are those of `scipy.fft.rfftn`, half as large, or of `fftn`.
    clip : bool
        Limit the result to [-1, 1].

    Returns
    -------
    ndarray
        float32 where `image` is float32 or float16, else float64.

    Notes
    -----
    As scikit-image does, the real part is taken of `psf` and of the transform of `reg`. Differs
    from it in the order of roundings, and in the threads used.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import restoration, signal
    >>> picture = np.zeros((32, 32)); picture[12:20, 12:20] = 1
    >>> psf = np.ones((3, 3)) / 9
    >>> blurred = signal.convolve(picture, psf, "same")
    >>> restored = restoration.wiener(blurred, psf, 1e-4)
    >>> float(abs(restored - picture).max()) < 0.1 < float(abs(blurred - picture).max())
    True
    """
    from scipy import fft

    image, psf = np.asarray(image), np.asarray(psf)
    dtype = _float_type(image)
    reg = _laplacian(image.ndim) if reg is None else np.asarray(reg)
    if reg.dtype.kind != "c":
        reg = _transfer(reg.astype(np.promote_types(reg.dtype, np.float32)), image.shape, is_real)
    image = image.astype(dtype, copy=False)
    psf, reg = psf.real.astype(dtype, copy=False), reg.real.astype(dtype, copy=False)
    transfer = psf if psf.shape == reg.shape else _transfer(psf, image.shape, is_real)
    power = transfer.real**2 + transfer.imag**2
    inverse = np.conj(transfer) / (power + balance * reg**2)
    if is_real:
        spectrum = fft.rfftn(image, workers=_workers())
        spectrum *= inverse
        restored = fft.irfftn(spectrum, image.shape, workers=_workers(), overwrite_x=True)
    else:
        restored = fft.ifftn(inverse * fft.fftn(image, workers=_workers()), workers=_workers())
    if clip:
        restored[restored > 1] = 1
        restored[restored < -1] = -1
    return restored


def richardson_lucy(
    image: Any,
    psf: Any,
    num_iter: int = 50,
    clip: bool = True,
    filter_epsilon: float | None = None,
) -> np.ndarray:
    """Restore a picture or volume by Richardson-Lucy deconvolution, as \
`skimage.restoration.richardson_lucy`.

    Parameters
    ----------
    image : array_like
        Degraded picture, of any number of axes.
    psf : array_like
        The blur, of as many axes.
    num_iter : int
    clip : bool
        Limit the result to [-1, 1].
    filter_epsilon : float, optional
        Blurred values below it count as giving no information, rather than being divided by.

    Returns
    -------
    ndarray
        float32 where `image` is float32 or float16, else float64.

    Notes
    -----
    The convolutions are `fastconv.signal.convolve`'s: sums, passes or FFTs, of equal accuracy.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import restoration, signal
    >>> picture = np.zeros((32, 32)); picture[12:20, 12:20] = 1
    >>> psf = np.ones((3, 3)) / 9
    >>> blurred = signal.convolve(picture, psf, "same")
    >>> restored = restoration.richardson_lucy(blurred, psf, num_iter=30)
    >>> bool(abs(restored - picture).mean() < 0.5 * abs(blurred - picture).mean())
    True
    """
    image, psf = np.asarray(image), np.asarray(psf)
    dtype = _float_type(image)
    image, psf = image.astype(dtype, copy=False), psf.astype(dtype, copy=False)
    mirrored = np.ascontiguousarray(np.flip(psf))
    restored = np.full(image.shape, 0.5, dtype)
    ratio = np.empty(image.shape, dtype)
    for _ in range(num_iter):
        blurred = convolve(restored, psf, mode="same")
        blurred += _LEAST_BLUR
        np.divide(image, blurred, out=ratio)
        if filter_epsilon:
            ratio[blurred < filter_epsilon] = 0
        restored *= convolve(ratio, mirrored, mode="same")
    if clip:
        np.clip(restored, -1, 1, out=restored)
    return restored
