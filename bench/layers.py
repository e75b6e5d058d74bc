"""The named layers that tests, benchmarks and tuning share: one list, one source of random data.

Shapes are batch 1, channels first: input (1, C_in, *spatial), weight (C_out, C_in/groups, *kernel).
Padding is per axis and equal on both sides, as the networks have it. A layer's MFLOP is twice its
multiply-accumulates, taps that fall on padding included: the direct algorithm's arithmetic, so an
algorithm that multiplies less can pass the machine's peak. Nothing here imports fastconv or a peer.
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layer:
    """One convolution layer: geometry only, no data.

    ``published_mflop`` is the rounded figure written beside the layer's name in the project's
    table of anchors; `mflop` is computed, and the tests hold one to the other. None for a layer
    that the table does not have.
    """

    name: str
    in_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    published_mflop: int | None

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.in_shape) - 2

    @property
    def in_channels(self) -> int:
        return self.in_shape[1]

    @property
    def out_channels(self) -> int:
        return self.weight_shape[0]

    @property
    def spatial(self) -> tuple[int, ...]:
        return self.in_shape[2:]

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.weight_shape[2:]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Output shape (1, C_out, *spatial)."""
        spatial = tuple(
            (size + 2 * pad - dil * (k - 1) - 1) // step + 1
            for size, pad, dil, k, step in zip(
                self.spatial, self.padding, self.dilation, self.kernel, self.stride, strict=True
            )
        )
        return (self.in_shape[0], self.out_channels, *spatial)

    @property
    def flop(self) -> int:
        """Arithmetic of the direct algorithm, a multiply-accumulate counted as two."""
        return 2 * math.prod(self.weight_shape[1:]) * math.prod(self.out_shape)

    @property
    def mflop(self) -> float:
        return self.flop / 1e6

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.in_channels and self.groups > 1

    def describe(self) -> str:
        """Shape in words, for example ``3→64 @ 224×224, k 7×7, s 2×2``."""
        def by(sizes: tuple[int, ...]) -> str:
            return "×".join(map(str, sizes))

        text = f"{self.in_channels}→{self.out_channels} @ {by(self.spatial)}, k {by(self.kernel)}"
        text += f", s {by(self.stride)}" if max(self.stride) > 1 else ""
        text += f", d {by(self.dilation)}" if max(self.dilation) > 1 else ""
        return text + (f", g {self.groups}" if self.groups > 1 else "")


def _layer(name, in_channels, out_channels, spatial, kernel, published_mflop=None, *,
           stride=1, padding=None, dilation=1, groups=1) -> Layer:
    """Build a layer; padding None means d(k−1)/2, which keeps the size at stride 1 for odd k."""
    rank = len(spatial)
    if padding is None:
        padding = tuple(dilation * (k - 1) // 2 for k in kernel)
    return Layer(
        name=name,
        in_shape=(1, in_channels, *spatial),
        weight_shape=(out_channels, in_channels // groups, *kernel),
        stride=(stride,) * rank,
        padding=padding,
        dilation=(dilation,) * rank,
        groups=groups,
        published_mflop=published_mflop,
    )


ANCHORS: tuple[Layer, ...] = (
    _layer("vgg.conv1_1", 3, 64, (224, 224), (3, 3), 173),
    _layer("vgg.conv1_2", 64, 64, (224, 224), (3, 3), 3699),
    _layer("vgg.conv3_2", 256, 256, (56, 56), (3, 3), 3699),
    _layer("vgg.conv5_1", 512, 512, (14, 14), (3, 3), 925),
    _layer("resnet.stem7x7", 3, 64, (224, 224), (7, 7), 236, stride=2),
    _layer("resnet.3x3.c64", 64, 64, (56, 56), (3, 3), 231),
    _layer("resnet.3x3.c128", 128, 128, (28, 28), (3, 3), 231),
    _layer("resnet.3x3.c256", 256, 256, (14, 14), (3, 3), 231),
    _layer("resnet.3x3.c512", 512, 512, (7, 7), (3, 3), 231),
    _layer("resnet.3x3s2.c128", 128, 128, (56, 56), (3, 3), 231, stride=2),
    _layer("resnet.3x3s2.c256", 256, 256, (28, 28), (3, 3), 231, stride=2),
    _layer("resnet.1x1.256-64", 256, 64, (56, 56), (1, 1), 103),
    _layer("resnet.1x1.64-256", 64, 256, (56, 56), (1, 1), 103),
    _layer("resnet.1x1.1024-256", 1024, 256, (14, 14), (1, 1), 103),
    _layer("resnet.1x1.512-2048", 512, 2048, (7, 7), (1, 1), 103),
    _layer("resnet.1x1s2.512-1024", 512, 1024, (28, 28), (1, 1), 206, stride=2),
    _layer("mobilenet.1x1.32-64", 32, 64, (112, 112), (1, 1), 51),
    _layer("mobilenet.1x1.512-512", 512, 512, (14, 14), (1, 1), 103),
    _layer("mobilenet.dw.c32", 32, 32, (112, 112), (3, 3), 7, groups=32),
    _layer("mobilenet.dw.c128s2", 128, 128, (56, 56), (3, 3), 2, stride=2, groups=128),
    _layer("mobilenet.dw.c512", 512, 512, (14, 14), (3, 3), 2, groups=512),
    _layer("efficientnet.dw5.c240", 240, 240, (28, 28), (5, 5), 9, groups=240),
    _layer("convnext.dw7.c96", 96, 96, (56, 56), (7, 7), 30, groups=96),
    _layer("depthmult2.c64", 64, 128, (56, 56), (3, 3), 7, groups=64),
    _layer("alexnet.conv1", 3, 96, (227, 227), (11, 11), 211, stride=4, padding=(0, 0)),
    _layer("alexnet.conv2.g2", 96, 256, (27, 27), (5, 5), 448, groups=2),
    _layer("resnext.g32.c128", 128, 128, (56, 56), (3, 3), 29, groups=32),
    _layer("resnext.g32.c512", 512, 512, (14, 14), (3, 3), 29, groups=32),
    _layer("shufflenet.1x1.g3.240", 240, 240, (28, 28), (1, 1), 30, groups=3),
    _layer("deeplab.d2.c256", 256, 256, (28, 28), (3, 3), 925, dilation=2),
    _layer("deeplab.aspp.d12", 512, 256, (28, 28), (3, 3), 1850, dilation=12),
    _layer("inception.1x7", 128, 192, (17, 17), (1, 7), 99),
    _layer("inception.5x5", 48, 64, (28, 28), (5, 5), 120),
    _layer("gray.sobel.1024", 1, 2, (1024, 1024), (3, 3), 38),
    _layer("gray.gauss15.1024", 1, 1, (1024, 1024), (15, 15), 472),
    _layer("odd.c17-c19.h61", 17, 19, (61, 53), (3, 3), 19),
    _layer("unet.cat.128-64", 128, 64, (128, 128), (3, 3), 2416),
    # WaveNet's own training form: no padding, the output shorter by the receptive field.
    _layer("wavenet.k2.d64", 64, 128, (16000,), (2,), 522, padding=(0,), dilation=64),
    _layer("speech.k9.c256", 256, 256, (1000,), (9,), 1180),
    _layer("dw1d.k31.c512", 512, 512, (1000,), (31,), 32, groups=512),
    _layer("c3d.conv3", 64, 128, (16, 28, 28), (3, 3, 3), 5549),
    _layer("unet3d.32", 32, 32, (32, 32, 32), (3, 3, 3), 1812),
)

# What the anchors leave out: patch stems, expansions of few channels, one channel in or out, eight
# channels a group, kernels of 31, filters of a thousand taps, mixed ranks and strides.
FURTHER: tuple[Layer, ...] = (
    _layer("convnext.stem4x4", 3, 96, (224, 224), (4, 4), stride=4, padding=(0, 0)),
    _layer("efficientnet.1x1.24-144", 24, 144, (112, 112), (1, 1)),
    _layer("resnet.1x1.64-64", 64, 64, (56, 56), (1, 1)),
    _layer("mobilenetv3.dw5s2.c72", 72, 72, (56, 56), (5, 5), stride=2, groups=72),
    _layer("replknet.dw31.c128", 128, 128, (56, 56), (31, 31), groups=128),
    _layer("regnet.g16.c128", 128, 128, (28, 28), (3, 3), groups=16),
    _layer("srcnn.9x9.1-64", 1, 64, (128, 128), (9, 9)),
    _layer("srcnn.5x5.32-1", 32, 1, (128, 128), (5, 5)),
    _layer("asr.3x3s2.c32", 32, 32, (500, 40), (3, 3), stride=2),
    _layer("tcn.k3.d8.c64", 64, 64, (4000,), (3,), dilation=8),
    _layer("fir.k1023", 1, 1, (100_000,), (1023,)),
    _layer("gray.conv31.512", 1, 1, (512, 512), (31, 31)),
    _layer("r2plus1d.1x3x3", 64, 64, (8, 28, 28), (1, 3, 3)),
)

LAYERS: tuple[Layer, ...] = ANCHORS + FURTHER

BY_NAME: dict[str, Layer] = {layer.name: layer for layer in LAYERS}


def select(pattern: str) -> list[Layer]:
    """Layers whose name holds a match of the regular expression, in list order."""
    return [layer for layer in LAYERS if re.search(pattern, layer.name)]


def random_data(layer: Layer, seed: int = 0, dtype=np.float32, values: str = "relu"):
    """Input and weight for a layer, the same for the same seed whatever else was drawn before.

    Weights are normal with He's deviation √(2 / fan-in) (He et al. 2015), so outputs have about
    the size of inputs. ``values="relu"`` rectifies a normal input, as inside a network: half of it
    is zero, which costs the hardware no less time but makes outputs correlated and not centred;
    ``values="normal"`` leaves it signed.

    Returns
    -------
    x : ndarray, shape ``layer.in_shape``
    weight : ndarray, shape ``layer.weight_shape``
    """
    if values not in ("relu", "normal"):
        raise ValueError(f"values: got {values!r}, wanted 'relu' or 'normal'")
    rng = np.random.default_rng([seed, zlib.crc32(layer.name.encode())])
    x = rng.standard_normal(layer.in_shape)
    if values == "relu":
        np.maximum(x, 0, out=x)
    deviation = math.sqrt(2 / math.prod(layer.weight_shape[1:]))
    weight = deviation * rng.standard_normal(layer.weight_shape)
    return x.astype(dtype), weight.astype(dtype)


def exact_output(layer: Layer, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The layer's output in float64, one matrix product per kernel tap: the judge of every runner.

    Needs NumPy alone, so that fastconv and its peers are held to the same independent truth.
    """
    padded = np.pad(x[0].astype(np.float64), [(0, 0), *((p, p) for p in layer.padding)])
    groups, out_spatial = layer.groups, layer.out_shape[2:]
    grouped_weight = weight.astype(np.float64).reshape(
        groups, layer.out_channels // groups, layer.in_channels // groups, *layer.kernel
    )
    total = np.zeros((groups, layer.out_channels // groups, math.prod(out_spatial)))
    for tap in np.ndindex(*layer.kernel):
        window = tuple(
            slice(t * dil, t * dil + (size - 1) * step + 1, step)
            for t, dil, size, step in zip(
                tap, layer.dilation, out_spatial, layer.stride, strict=True
            )
        )
        pixels = padded[(slice(None), *window)].reshape(groups, layer.in_channels // groups, -1)
        tap_weight = grouped_weight[(..., *tap)]
        # With one channel a group the product is an outer one, which broadcasting does faster.
        total += tap_weight * pixels if pixels.shape[1] == 1 else tap_weight @ pixels
    return total.reshape(layer.out_shape)


def relative_error(result: np.ndarray, exact: np.ndarray) -> float:
    """Largest difference over the largest exact value; not a number counts as infinite."""
    if result.shape != exact.shape:
        raise ValueError(f"result: got shape {result.shape}, wanted {exact.shape}")
    difference = np.abs(np.asarray(result, dtype=np.float64) - exact).max(initial=0.0)
    scale = np.abs(exact).max(initial=0.0)
    error = float(difference / scale) if scale > 0 else float(difference)
    return error if math.isfinite(error) else math.inf
