"""Every named layer: fastconv with packed weights in both layouts, SciPy's forms where it has any.

Also holds the list itself to the figures it was written from. Times of one layer share a group.
"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import layer_data
from layers import ANCHORS, LAYERS, exact_output, random_data, relative_error, select
from scipy_baselines import baseline, baseline_names

import fastconv as fc

timing = pytest.mark.benchmark(min_rounds=3, max_time=0.15, warmup=False, disable_gc=True)
CHANNELS_FIRST = ("NCL", "NCHW", "NCDHW")
CHANNELS_LAST = ("NLC", "NHWC", "NDHWC")


def conv(layer, weight, layout):
    return fc.Conv(weight, None, layer.stride, layer.padding, layer.dilation, layer.groups,
                   layout=layout)


CASES = [
    pytest.param(layer, runner, id=f"{layer.name}-{runner}")
    for layer in LAYERS
    for runner in ("fastconv.nchw", "fastconv.nhwc", *baseline_names(layer))
]


@timing
@pytest.mark.parametrize(("layer", "runner"), CASES)
def test_layer(layer, runner, timed):
    x, weight, exact = layer_data(layer.name)
    if runner == "fastconv.nchw":
        packed = conv(layer, weight, CHANNELS_FIRST[layer.rank - 1])
        timed(layer.name, lambda: packed(x), exact, flop=layer.flop)
    elif runner == "fastconv.nhwc":
        packed = conv(layer, weight, CHANNELS_LAST[layer.rank - 1])
        x_last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        timed(layer.name, lambda: packed(x_last), exact, flop=layer.flop,
              to_reference=lambda y: np.moveaxis(y, -1, 1))
    else:
        timed(layer.name, baseline(runner, layer, x, weight), exact, flop=layer.flop)


@pytest.mark.parametrize("layer", ANCHORS, ids=lambda layer: layer.name)
def test_mflop_is_the_published_figure(layer):
    assert round(layer.mflop) == layer.published_mflop


def test_names_are_unique_and_select_finds_them():
    names = [layer.name for layer in LAYERS]
    assert len(set(names)) == len(names)
    assert select("") == list(LAYERS)
    assert [layer.name for layer in select("^gray")] == [
        "gray.sobel.1024", "gray.gauss15.1024", "gray.conv31.512"]


def test_random_data_depends_on_seed_and_layer_alone():
    layer, other = LAYERS[0], LAYERS[-1]
    first = random_data(layer, seed=1)
    random_data(other, seed=1)
    again = random_data(layer, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], random_data(layer, seed=2)[0])
    assert first[0].min() == 0
    assert random_data(layer, values="normal")[0].min() < 0


@pytest.mark.parametrize("name", ["alexnet.conv2.g2", "depthmult2.c64", "inception.1x7"])
def test_exact_output_is_the_definition_at_single_points(name):
    """The judge judged: windows summed one by one, corners (padding) and the middle."""
    (layer,) = select(f"^{name}$")
    x, weight = random_data(layer, values="normal")
    exact = exact_output(layer, x, weight)
    padded = np.pad(x[0].astype(np.float64), [(0, 0), *((p, p) for p in layer.padding)])
    in_per_group = layer.weight_shape[1]
    out_per_group = layer.out_channels // layer.groups
    height, width = layer.out_shape[2:]
    for channel in (0, layer.out_channels // 2, layer.out_channels - 1):
        first = channel // out_per_group * in_per_group
        planes = padded[first : first + in_per_group]
        for row, column in ((0, 0), (height // 2, width // 2), (height - 1, width - 1)):
            top, left = row * layer.stride[0], column * layer.stride[1]
            window = planes[:, top : top + layer.kernel[0], left : left + layer.kernel[1]]
            assert exact[0, channel, row, column] == pytest.approx(
                float((window * weight[channel].astype(np.float64)).sum()), rel=1e-10, abs=1e-10)


def test_relative_error_sees_nan_and_wrong_shapes():
    exact = np.ones((2, 3))
    spoiled = exact.copy()
    spoiled[1, 2] = np.nan
    assert relative_error(exact, exact) == 0
    assert relative_error(spoiled, exact) == np.inf
    with pytest.raises(ValueError, match="wanted"):
        relative_error(exact[:1], exact)
