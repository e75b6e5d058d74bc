"""torch, where it is installed, as one more judge: its arguments mean the same here."""

import itertools

import numpy as np
import pytest

import fastconv as fc

torch = pytest.importorskip("torch")
F = torch.nn.functional


def tensors(*shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


CASES = list(itertools.product((1, 2, 3), (1, 2), (0, 1), (1, 2), (1, 2)))


@pytest.mark.parametrize(("rank", "stride", "padding", "dilation", "groups"), CASES)
def test_conv(rank, stride, padding, dilation, groups):
    size = (9, 8, 7)[:rank]
    x, weight, bias = tensors((2, 4, *size), (6, 4 // groups, 3, 2, 3)[: rank + 2], (6,))
    arguments = (x, weight, bias, stride, padding, dilation, groups)
    wanted = getattr(F, f"conv{rank}d")(*arguments)
    got = getattr(fc, f"conv{rank}d")(*arguments)
    np.testing.assert_allclose(got, wanted.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("rank", "stride", "padding", "dilation", "groups"), CASES)
def test_conv_transpose(rank, stride, padding, dilation, groups):
    size = (5, 4, 3)[:rank]
    x, weight, bias = tensors((2, 4, *size), (4, 6 // groups, 3, 2, 3)[: rank + 2], (6,))
    arguments = (x, weight, bias, stride, padding, stride - 1, groups, dilation)
    wanted = getattr(F, f"conv_transpose{rank}d")(*arguments)
    got = getattr(fc, f"conv_transpose{rank}d")(*arguments)
    np.testing.assert_allclose(got, wanted.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding_modes(mode):
    x, weight = tensors((1, 3, 7, 8), (4, 3, 3, 3))
    layer = torch.nn.Conv2d(3, 4, 3, padding=2, padding_mode=mode, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
        wanted = layer(x)
    got = fc.conv2d(x, weight, padding=2, padding_mode=mode)
    np.testing.assert_allclose(got, wanted.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("relu", F.relu),
        ("relu6", F.relu6),
        ("leaky_relu", F.leaky_relu),
        (("leaky_relu", 0.3), lambda y: F.leaky_relu(y, 0.3)),
        ("sigmoid", torch.sigmoid),
        ("tanh", torch.tanh),
        ("silu", F.silu),
        ("hardswish", F.hardswish),
        (("clip", -0.5, 0.25), lambda y: F.hardtanh(y, -0.5, 0.25)),
    ],
)
def test_activations(activation, function):
    x, weight = tensors((2, 3, 6, 7), (4, 3, 3, 3))
    got = fc.conv2d(x, weight, activation=activation)
    np.testing.assert_allclose(got, function(F.conv2d(x, weight)).numpy(), rtol=0, atol=1e-12)


def test_channels_last_and_bfloat16():
    x, weight = tensors((2, 5, 6, 7), (4, 5, 3, 3), dtype=torch.float32)
    wanted = F.conv2d(x.double(), weight.double()).numpy()
    got = fc.conv2d(x.to(memory_format=torch.channels_last), weight)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)
    pytest.importorskip("ml_dtypes")
    narrow = fc.conv2d(x.bfloat16(), weight.bfloat16())
    assert narrow.dtype.name == "bfloat16"
    wanted = F.conv2d(x.bfloat16().double(), weight.bfloat16().double()).numpy()
    np.testing.assert_allclose(np.float64(narrow), wanted, rtol=2**-8, atol=1e-4)
