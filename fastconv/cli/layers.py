"""One network layer of every kind, on data made from a photograph.

The stem looks at the picture with colour Gabor filters, much as trained networks' first layers do;
the other layers take what it and the layers after it found, through weights drawn from a fixed
seed. Sizes are those of well-known networks at a 224 pixel picture, or at half of it when quick.
All arrays are float32 with a batch of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import fastconv as fc
from fastconv import _core
from fastconv.cli import scipy_layers
from fastconv.cli.measure import Workload, flops
from fastconv.cli.pictures import Picture, luminance, square

__all__ = ["LayerInputs", "layers", "prepare"]

LARGEST_OFFSET = 2.0


@dataclass(frozen=True)
class LayerInputs:
    """What the layers take; s is 224, or 112 when quick."""

    picture: np.ndarray  # (1, 3, s, s)
    stem: np.ndarray  # (1, 64, s/4, s/4): the stem's result after ReLU and 2x2 max-pooling
    wide: np.ndarray  # (1, 256, s/4, s/4): the stem's result through the 1x1 layer and ReLU
    deep: np.ndarray  # (1, 128, s/8, s/8): 128 channels of that, max-pooled once more
    samples: np.ndarray  # (1, 64, t): the picture's brightness read line by line, 64 at a time
    frames: np.ndarray  # (1, 3, 16, s/4, s/4): a camera panning over the picture


def _random(seed: int, *shape: int, taps: int | None = None) -> np.ndarray:
    """Normal weights that keep the size of what they are applied to (He's initialisation)."""
    taps = math.prod(shape[1:]) if taps is None else taps
    normal = np.random.default_rng(seed).standard_normal(shape)
    return (normal * math.sqrt(2 / taps)).astype(np.float32)


def stem_weight() -> np.ndarray:
    """64 colour Gabor filters, (64, 3, 7, 7): orientations x phases x wavelengths x colours."""
    rows, columns = np.mgrid[-3:4, -3:4]
    bell = np.exp(-(rows**2 + columns**2) / (2 * 2.0**2))
    colours = ((1, 1, 1), (1, -0.5, -0.5), (1, 1, 1), (-0.5, -0.5, 1))
    bank = []
    for index in range(64):
        angle = math.pi * (index % 8) / 8
        phase = math.pi / 2 * (index // 8 % 2)
        wavelength = 5.0 if index // 16 % 2 == 0 else 9.0
        wave = np.cos(
            2 * math.pi / wavelength * (columns * math.cos(angle) + rows * math.sin(angle)) - phase
        )
        kernel = bell * wave
        kernel -= bell * kernel.sum() / bell.sum()
        colour = np.array(colours[2 * (index // 32) + index // 4 % 2])
        kernel = colour[:, None, None] * kernel
        bank.append(kernel / np.abs(kernel).sum())
    return np.array(bank, np.float32)


def bilinear_mix(inputs: int, outputs: int) -> np.ndarray:
    """Bilinear upsampling by two and a random mix of the channels, (inputs, outputs, 4, 4)."""
    tent = np.array([0.25, 0.75, 0.75, 0.25], np.float32)
    mix = _random(6, inputs, outputs, taps=2 * inputs)
    return mix[:, :, None, None] * np.outer(tent, tent)


def _pooled(x: np.ndarray) -> np.ndarray:
    """2x2 max-pooling of even sizes."""
    batch, channels, rows, columns = x.shape
    return x.reshape(batch, channels, rows // 2, 2, columns // 2, 2).max((3, 5))


def prepare(picture: Picture, quick: bool) -> LayerInputs:
    """Make the inputs of every layer from one picture."""
    side = 112 if quick else 224
    x = square(picture.pixels, side)[None]
    stem = _pooled(fc.conv2d(x, stem_weight(), stride=2, padding=3, activation="relu"))
    # Filters of unit weight give small numbers; bring them to the size networks work at.
    stem = np.ascontiguousarray(stem / stem.std())
    wide = fc.conv2d(stem, _random(1, 256, 64, 1, 1), activation="relu")
    line = luminance(square(picture.pixels, 2 * side + 64)).reshape(-1)
    steps = len(line) // 64
    samples = line[: 64 * steps].reshape(steps, 64).T - line.mean()
    wider = square(picture.pixels, side // 4 + 16)
    views = [wider[:, t : t + side // 4, t : t + side // 4] for t in range(16)]
    return LayerInputs(
        picture=x,
        stem=stem,
        wide=np.ascontiguousarray(wide),
        deep=np.ascontiguousarray(_pooled(wide[:, :128])),
        samples=np.ascontiguousarray(samples[None]),
        frames=np.ascontiguousarray(np.stack(views, axis=1)[None]),
    )


def _layer(
    name: str,
    picture: str,
    x: np.ndarray,
    weight: np.ndarray,
    scipy: Callable[[], np.ndarray],
    scipy_call: str,
    **arguments: object,
) -> Workload:
    """A layer run through fastconv.Conv, its weights packed once."""
    conv = fc.Conv(weight, **arguments)
    plan = conv.plan(x.shape)
    spread = x if arguments.get("transposed") else conv(x)
    places = math.prod(spread.shape[2:])
    return Workload(
        "layer", name, picture, x.shape, weight.shape, arguments,
        flops(weight.shape, places), lambda: conv(x)[0], scipy, scipy_call,
        lambda: [(plan.algorithm, plan.kernel)],
    )  # fmt: skip


def _plane_layers(picture: str, inputs: LayerInputs) -> dict[str, Workload]:
    """The 2D layers whose weights are fixed: stem to transposed."""
    loops = "ndimage.correlate per pair of channels"
    stem, mix = stem_weight(), _random(2, 64, 64, 3, 3)
    expand, each = _random(1, 256, 64, 1, 1), _random(3, 256, 1, 3, 3)
    grouped, holed = _random(4, 128, 4, 3, 3), _random(5, 64, 64, 3, 3)
    enlarge = bilinear_mix(128, 64)
    at = inputs
    wide = np.ascontiguousarray(at.wide[:, :128])
    return {
        "stem": _layer(
            "stem 7x7, stride 2", picture, at.picture, stem,
            lambda: scipy_layers.by_fft(at.picture[0], stem, stride=2, padding=3),
            "signal.correlate per output channel", stride=2, padding=3,
        ),
        "square": _layer(
            "3x3", picture, at.stem, mix,
            lambda: scipy_layers.convolution(at.stem[0], mix, padding=(1, 1)), loops, padding=1,
        ),
        "pointwise": _layer(
            "1x1 (pointwise)", picture, at.stem, expand,
            lambda: scipy_layers.pointwise(at.stem[0], expand), "numpy.tensordot",
        ),
        "depthwise": _layer(
            "depthwise 3x3", picture, at.wide, each,
            lambda: scipy_layers.convolution(at.wide[0], each, padding=(1, 1), groups=256),
            "ndimage.correlate per channel",
            padding=1, groups=256,
        ),
        "grouped": _layer(
            "grouped 3x3, 32 groups", picture, wide, grouped,
            lambda: scipy_layers.convolution(wide[0], grouped, padding=(1, 1), groups=32), loops,
            padding=1, groups=32,
        ),
        "dilated": _layer(
            "dilated 3x3, dilation 2", picture, at.stem, holed,
            lambda: scipy_layers.convolution(at.stem[0], holed, padding=(2, 2), dilation=2), loops,
            padding=2, dilation=2,
        ),
        "transposed": _layer(
            "transposed 4x4, stride 2", picture, at.deep, enlarge,
            lambda: scipy_layers.transposed(at.deep[0], enlarge, stride=2, padding=1), loops,
            stride=2, padding=1, transposed=True,
        ),
    }  # fmt: skip


def _deformable(picture: str, x: np.ndarray) -> Workload:
    """Version 2: offsets and mask are themselves convolutions of the input, as in networks."""
    weight = _random(7, 64, 64, 3, 3)
    offset = fc.conv2d(x, _random(8, 18, 64, 3, 3) / 2, padding=1, activation="tanh")
    offset = offset * np.float32(LARGEST_OFFSET)
    mask = fc.conv2d(x, _random(9, 9, 64, 3, 3), padding=1, activation="sigmoid")
    # There is no Conv of this kind to ask; a plan of the same geometry is the one that runs.
    plan = _core.Plan(
        dtype="f32",
        operation="deform_conv",
        rank=2,
        batch=1,
        in_ch=64,
        out_ch=64,
        groups=1,
        in_size=x.shape[2:],
        kernel=(3, 3),
        stride=(1, 1),
        dilation=(1, 1),
        padding=((1, 1), (1, 1)),
    )

    return Workload(
        "layer", "deformable 3x3 (v2)", picture, x.shape, weight.shape,
        {"padding": 1, "mask": True}, flops(weight.shape, math.prod(x.shape[2:])),
        lambda: fc.deform_conv2d(x, offset, weight, padding=1, mask=mask)[0],
        lambda: scipy_layers.deformable(x[0], offset[0], weight, mask[0], padding=1),
        "ndimage.map_coordinates + tensordot",
        lambda: [(plan.algorithm, plan.kernel)],
    )  # fmt: skip


def layers(picture: str, inputs: LayerInputs) -> dict[str, Workload]:
    """Every kind of layer, by the names the contact sheet knows them under."""
    samples, frames = inputs.samples, inputs.frames
    causal, solid = _random(10, 64, 64, 3), _random(11, 32, 3, 3, 3, 3)
    loops = "ndimage.correlate per pair of channels"
    return {
        **_plane_layers(picture, inputs),
        "deformable": _deformable(picture, inputs.stem),
        "causal": _layer(
            "causal 1D, dilation 8", picture, samples, causal,
            lambda: scipy_layers.convolution(
                samples[0], causal, padding=(16, 0), dilation=8
            ), loops, padding="causal", dilation=8,
        ),
        "solid": _layer(
            "3D 3x3x3", picture, frames, solid,
            lambda: scipy_layers.convolution(frames[0], solid, padding=(1, 1)), loops,
            padding=1,
        ),
    }  # fmt: skip
