"""Random geometry through the public functions, judged by the truth of tests/reference.py."""

import numpy as np
import pytest
import reference as truth
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fastconv as fc

CONV = {1: fc.conv1d, 2: fc.conv2d, 3: fc.conv3d}
TRANSPOSED = {1: fc.conv_transpose1d, 2: fc.conv_transpose2d, 3: fc.conv_transpose3d}
LAYOUTS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
UNIT_ROUNDOFF = {np.float32: 2.0**-24, np.float64: 2.0**-53, np.float16: 2.0**-11}
EXAMPLES = settings(derandomize=True, deadline=None, max_examples=120)


@st.composite
def geometries(draw, largest=9):
    rank = draw(st.integers(1, 3))
    size = largest if rank < 3 else 5

    def per_axis(low, high):
        return draw(st.tuples(*[st.integers(low, high)] * rank))

    return {
        "rank": rank,
        "batch": draw(st.integers(0, 3)),
        "groups": draw(st.sampled_from([1, 1, 2, 3])),
        "in_ch": draw(st.integers(1, 9)),
        "out_ch": draw(st.integers(1, 9)),
        "in_size": per_axis(1, 4 * size if rank == 1 else size),
        "kernel": per_axis(1, 4),
        "stride": per_axis(1, 3),
        "dilation": per_axis(1, 3),
        "padding": tuple(zip(per_axis(0, 4), per_axis(0, 4), strict=True)),
        "dtype": draw(st.sampled_from([np.float32, np.float64, np.float16])),
        "last": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def operands(g, transposed=False):
    rng = np.random.default_rng(g["seed"])
    groups = g["groups"]
    channels = (
        (groups * g["in_ch"], g["out_ch"]) if transposed else (groups * g["out_ch"], g["in_ch"])
    )
    x = rng.standard_normal((g["batch"], groups * g["in_ch"], *g["in_size"])).astype(g["dtype"])
    weight = rng.standard_normal((*channels, *g["kernel"])).astype(g["dtype"])
    bias = rng.standard_normal(groups * g["out_ch"]).astype(g["dtype"])
    return x, weight, bias


def assert_close(got, y, magnitude, dtype):
    """4 + sqrt-like growth is within 16 units of the sum of magnitudes for these sizes."""
    assert got.dtype == dtype
    assert got.shape == y.shape
    assert (np.abs(got - y) <= 32 * UNIT_ROUNDOFF[dtype] * magnitude).all()


@EXAMPLES
@given(g=geometries(), mode=st.sampled_from(sorted(truth.NUMPY_PAD_MODES)), flip=st.booleans())
def test_conv(g, mode, flip):
    reach = [d * (k - 1) + 1 for d, k in zip(g["dilation"], g["kernel"], strict=True)]
    padded = [i + sum(p) for i, p in zip(g["in_size"], g["padding"], strict=True)]
    assume(all(p >= r for p, r in zip(padded, reach, strict=True)))
    limit = {"reflect": -1, "circular": 0}.get(mode)
    if limit is not None:
        assume(all(max(p) <= i + limit for i, p in zip(g["in_size"], g["padding"], strict=True)))
    x, weight, bias = operands(g)
    geometry = (g["stride"], g["padding"], g["dilation"], g["groups"], mode, flip)
    shaped = bias.reshape(-1, *[1] * g["rank"])
    y = truth.conv(np.float64(x), np.float64(weight), *geometry) + np.float64(shaped)
    magnitude = truth.conv(np.abs(np.float64(x)), np.abs(np.float64(weight)), *geometry)
    got = CONV[g["rank"]](
        np.moveaxis(x, 1, -1) if g["last"] else x, weight, bias, g["stride"], g["padding"],
        g["dilation"], g["groups"], padding_mode=mode, flip_kernel=flip,
        layout=LAYOUTS[g["rank"]][g["last"]],
    )  # fmt: skip
    got = np.moveaxis(got, -1, 1) if g["last"] else got
    assert_close(got, y, magnitude + np.abs(np.float64(shaped)), g["dtype"])


@EXAMPLES
@given(g=geometries(largest=6), data=st.data())
def test_conv_transpose(g, data):
    extra = tuple(
        data.draw(st.integers(0, max(s, d) - 1))
        for s, d in zip(g["stride"], g["dilation"], strict=True)
    )
    sizes = [
        (i - 1) * s - sum(p) + d * (k - 1) + 1 + e
        for i, s, p, d, k, e in zip(
            g["in_size"], g["stride"], g["padding"], g["dilation"], g["kernel"], extra, strict=True
        )
    ]
    assume(min(sizes) >= 0)
    x, weight, bias = operands(g, transposed=True)
    geometry = (g["stride"], g["padding"], g["dilation"], extra, g["groups"])
    shaped = bias.reshape(-1, *[1] * g["rank"])
    y = truth.conv_transpose(np.float64(x), np.float64(weight), *geometry) + np.float64(shaped)
    magnitude = truth.conv_transpose(np.abs(np.float64(x)), np.abs(np.float64(weight)), *geometry)
    got = TRANSPOSED[g["rank"]](
        np.moveaxis(x, 1, -1) if g["last"] else x, weight, bias, g["stride"], g["padding"], extra,
        g["groups"], g["dilation"], layout=LAYOUTS[g["rank"]][g["last"]],
    )  # fmt: skip
    got = np.moveaxis(got, -1, 1) if g["last"] else got
    assert_close(got, y, magnitude + np.abs(np.float64(shaped)), g["dtype"])


@EXAMPLES
@given(g=geometries(largest=6), word=st.sampled_from(["same", "same_lower", "causal", "valid"]))
def test_padding_words(g, word):
    """A word is the pairs that convolutions.md gives it."""
    x, weight, _ = operands(g)
    pairs = []
    for i, k, s, d in zip(g["in_size"], g["kernel"], g["stride"], g["dilation"], strict=True):
        total = max((-(-i // s) - 1) * s + d * (k - 1) + 1 - i, 0)
        before = {"same": total // 2, "same_lower": -(-total // 2), "causal": d * (k - 1)}
        after = {"same": -(-total // 2), "same_lower": total // 2}
        pairs.append((before.get(word, 0), after.get(word, 0)))
    reach = [d * (k - 1) + 1 for d, k in zip(g["dilation"], g["kernel"], strict=True)]
    sizes = [i + sum(p) for i, p in zip(g["in_size"], pairs, strict=True)]
    assume(all(i >= r for i, r in zip(sizes, reach, strict=True)))
    arguments = (g["stride"], word, g["dilation"], g["groups"])
    got = CONV[g["rank"]](x, weight, None, *arguments)
    wanted = CONV[g["rank"]](x, weight, None, g["stride"], tuple(pairs), *arguments[2:])
    assert np.array_equal(got, wanted)
    if word.startswith("same"):
        assert got.shape[2:] == tuple(
            -(-i // s) for i, s in zip(g["in_size"], g["stride"], strict=True)
        )


@EXAMPLES
@given(g=geometries(largest=6))
def test_transposed_is_the_adjoint(g):
    """<conv(x), y> = <x, conv_transpose(y)> for the same weights."""
    g = {**g, "dtype": np.float64, "batch": 1}
    reach = [d * (k - 1) + 1 for d, k in zip(g["dilation"], g["kernel"], strict=True)]
    padded = [i + sum(p) for i, p in zip(g["in_size"], g["padding"], strict=True)]
    assume(all(p >= r for p, r in zip(padded, reach, strict=True)))
    x, weight, _ = operands(g)
    function, adjoint = CONV[g["rank"]], TRANSPOSED[g["rank"]]
    fx = function(x, weight, None, g["stride"], g["padding"], g["dilation"], g["groups"])
    y = np.random.default_rng(1).standard_normal(fx.shape)
    extra = tuple(
        (p - r) % s for p, r, s in zip(padded, reach, g["stride"], strict=True)
    )  # the cells no window reaches
    back = adjoint(y, weight, None, g["stride"], g["padding"], extra, g["groups"], g["dilation"])
    assert back.shape == x.shape
    assert np.isclose((fx * y).sum(), (x * back).sum(), rtol=1e-10, atol=1e-9)


def test_every_algorithm_agrees():
    """One layer through each algorithm by name, or refused with a sentence about it."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 8, 11, 13)).astype(np.float32)
    weight = rng.standard_normal((8, 8, 3, 3)).astype(np.float32)
    y = truth.conv(np.float64(x), np.float64(weight), (1, 1), ((1, 1), (1, 1)), (1, 1))
    plan = fc.Conv(weight, padding=1).plan(x.shape)
    for name in plan.rejected:
        with pytest.raises(ValueError, match=f"'{name}' cannot run this"):
            fc.conv2d(x, weight, padding=1, algorithm=name)
    ran = [candidate.algorithm for candidate in plan.candidates]
    for name in ran:
        got = fc.conv2d(x, weight, padding=1, algorithm=name)
        assert np.abs(got - y).max() < 1e-4
    assert {"reference", "gemm"} <= set(ran)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unbatched_and_empty(rank):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, *[6] * rank))
    weight = rng.standard_normal((4, 3, *[3] * rank))
    whole = CONV[rank](x, weight)
    assert np.array_equal(CONV[rank](x[1], weight), whole[1])
    assert CONV[rank](x[:0], weight).shape == (0, 4, *[4] * rank)
    assert CONV[rank](x[..., :2], weight).shape == (2, 4, *[4] * (rank - 1), 0)
