"""The demo's picture filters, through fastconv.conv2d and through scipy.ndimage and scipy.signal.

Pictures are float32 (channels, rows, columns); borders are mirrored without repeating the edge
("reflect" in torch's words, "mirror" in SciPy's).
"""

from __future__ import annotations

import functools
import math

import numpy as np

import fastconv as fc
from fastconv.cli.measure import Workload, flops
from fastconv.cli.pictures import Picture, luminance

__all__ = ["GABOR_ORIENTATIONS", "GABOR_SIGMA", "picture_filters"]

BLUR_SIGMA = 3.0
SHARPEN_SIGMA = 2.0
SHARPEN_AMOUNT = 1.5
GABOR_ORIENTATIONS = 8
GABOR_RADIUS = 10
GABOR_WAVELENGTH = 8.0
GABOR_SIGMA = 4.0


def _gaussian(sigma: float) -> np.ndarray:
    """A sampled Gaussian cut at four sigma and of sum one, as scipy.ndimage samples it."""
    radius = int(4.0 * sigma + 0.5)
    places = np.arange(-radius, radius + 1)
    bell = np.exp(-0.5 * (places / sigma) ** 2)
    return (bell / bell.sum()).astype(np.float32)


@functools.cache
def gabor_bank() -> np.ndarray:
    """Even and odd Gabor filters of each orientation: float32 (2 * orientations, 1, side, side).

    The even ones have their mean removed, so that flat areas give zero.
    """
    rows, columns = np.mgrid[-GABOR_RADIUS : GABOR_RADIUS + 1, -GABOR_RADIUS : GABOR_RADIUS + 1]
    bell = np.exp(-(rows**2 + columns**2) / (2 * GABOR_SIGMA**2))
    bank = []
    for turn in range(GABOR_ORIENTATIONS):
        angle = math.pi * turn / GABOR_ORIENTATIONS
        phase = (
            2 * math.pi / GABOR_WAVELENGTH * (columns * math.cos(angle) + rows * math.sin(angle))
        )
        even = bell * np.cos(phase)
        bank += [even - bell * even.sum() / bell.sum(), bell * np.sin(phase)]
    return np.array([[kernel / np.abs(kernel).sum()] for kernel in bank], np.float32)


def _chosen(x_shape: tuple[int, ...], weight: np.ndarray, **arguments: object) -> tuple[str, str]:
    plan = fc.Conv(weight, **arguments).plan(x_shape)
    return plan.algorithm, plan.kernel


def _gaussian_passes(channels: int, sigma: float) -> tuple[dict, dict, np.ndarray, np.ndarray]:
    """Keywords and weights of the vertical and the horizontal pass over every channel."""
    bell = _gaussian(sigma)
    radius = len(bell) // 2
    shared = {"groups": channels, "padding_mode": "reflect"}
    column = np.broadcast_to(bell[:, None], (channels, 1, len(bell), 1)).copy()
    row = np.broadcast_to(bell[None, :], (channels, 1, 1, len(bell))).copy()
    return (
        {"padding": (radius, 0), **shared},
        {"padding": (0, radius), **shared},
        column,
        row,
    )


def _blur(picture: Picture) -> Workload:
    x = picture.pixels[None]
    vertical, horizontal, column, row = _gaussian_passes(x.shape[1], BLUR_SIGMA)

    def run() -> np.ndarray:
        return fc.conv2d(fc.conv2d(x, column, **vertical), row, **horizontal)[0]

    def scipy() -> np.ndarray:
        from scipy import ndimage

        return ndimage.gaussian_filter(
            picture.pixels, (0, BLUR_SIGMA, BLUR_SIGMA), mode="mirror", truncate=4.0
        )

    return Workload(
        "filter", "Gaussian blur", picture.name, x.shape, column.shape, vertical,
        2 * flops(column.shape, x.shape[2] * x.shape[3]), run, scipy,
        "ndimage.gaussian_filter",
        lambda: [
            _chosen(x.shape, column, **vertical),
            _chosen(x.shape, row, **horizontal),
        ],
    )  # fmt: skip


def _sharpen(picture: Picture) -> Workload:
    """Unsharp masking, x + a (x - blur(x)), clipped to 0..1.

    The second pass carries the weight -a, adds (1 + a) x as its residual and clips as its
    activation, so the sharpened picture is what it writes.
    """
    x = picture.pixels[None]
    vertical, horizontal, column, row = _gaussian_passes(x.shape[1], SHARPEN_SIGMA)
    minus = row * np.float32(-SHARPEN_AMOUNT)
    horizontal["activation"] = ("clip", 0.0, 1.0)

    def run() -> np.ndarray:
        boosted = x * np.float32(1 + SHARPEN_AMOUNT)
        blurred = fc.conv2d(x, column, **vertical)
        return fc.conv2d(blurred, minus, residual=boosted, **horizontal)[0]

    def scipy() -> np.ndarray:
        from scipy import ndimage

        blurred = ndimage.gaussian_filter(
            picture.pixels, (0, SHARPEN_SIGMA, SHARPEN_SIGMA), mode="mirror", truncate=4.0
        )
        sharp = picture.pixels + np.float32(SHARPEN_AMOUNT) * (picture.pixels - blurred)
        return np.clip(sharp, 0.0, 1.0)

    return Workload(
        "filter", "unsharp mask", picture.name, x.shape, column.shape, vertical,
        2 * flops(column.shape, x.shape[2] * x.shape[3]), run, scipy,
        "ndimage.gaussian_filter",
        lambda: [
            _chosen(x.shape, column, **vertical),
            _chosen(x.shape, minus, **horizontal),
        ],
    )  # fmt: skip


def _edges(picture: Picture) -> Workload:
    gray = np.ascontiguousarray(luminance(picture.pixels))
    x = gray[None, None]
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
    weight = np.stack([across, across.T])[:, None].copy()
    arguments = {"padding": 1, "padding_mode": "reflect"}

    def run() -> np.ndarray:
        columns, rows = fc.conv2d(x, weight, **arguments)[0]
        return np.hypot(columns, rows)

    def scipy() -> np.ndarray:
        from scipy import ndimage

        return np.hypot(
            ndimage.sobel(gray, axis=1, mode="mirror"), ndimage.sobel(gray, axis=0, mode="mirror")
        )

    return Workload(
        "filter", "Sobel edges", picture.name, x.shape, weight.shape, arguments,
        flops(weight.shape, gray.size), run, scipy, "ndimage.sobel",
        lambda: [_chosen(x.shape, weight, **arguments)],
    )  # fmt: skip


def _gabor(picture: Picture) -> Workload:
    gray = np.ascontiguousarray(luminance(picture.pixels))
    x = gray[None, None]
    bank = gabor_bank()
    arguments = {"padding": GABOR_RADIUS, "padding_mode": "reflect"}

    def run() -> np.ndarray:
        return fc.conv2d(x, bank, **arguments)[0]

    def scipy() -> np.ndarray:
        from scipy import signal

        padded = np.pad(gray, GABOR_RADIUS, mode="reflect")
        return np.stack([signal.correlate(padded, kernel[0], mode="valid") for kernel in bank])

    return Workload(
        "filter", "Gabor bank", picture.name, x.shape, bank.shape, arguments,
        flops(bank.shape, gray.size), run, scipy, "signal.correlate per filter",
        lambda: [_chosen(x.shape, bank, **arguments)],
    )  # fmt: skip


def picture_filters(picture: Picture) -> dict[str, Workload]:
    """The four filters, by the names the contact sheet knows them under."""
    return {
        "blur": _blur(picture),
        "sharpen": _sharpen(picture),
        "edges": _edges(picture),
        "gabor": _gabor(picture),
    }
