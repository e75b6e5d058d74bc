"""The short cuts of a call: an `out` that needs no closer look, and arguments seen before."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import _core

X = np.random.default_rng(0).standard_normal((2, 4, 9, 8)).astype(np.float32)
WEIGHT = np.random.default_rng(1).standard_normal((6, 4, 3, 3)).astype(np.float32)
SHAPE = (2, 6, 9, 8)


@pytest.fixture(scope="module")
def conv():
    return fc.Conv(WEIGHT, padding=1)


def strided(shape):
    return np.empty((*shape[:-1], 2 * shape[-1]), np.float32)[..., ::2]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(
    "out",
    [
        np.empty(SHAPE, np.float32),
        np.empty(SHAPE[::-1], np.float32).T,
        strided(SHAPE),
        strided(SHAPE)[..., ::-1],
        np.empty((2, 9, 8, 6), np.float32).transpose(0, 3, 1, 2),
        np.empty(4 * int(np.prod(SHAPE)) + 1, np.uint8)[1:].view(np.float32).reshape(SHAPE),
    ],
    ids=["dense", "transposed", "strided", "reversed", "channels last", "odd address"],
)
def test_out_of_any_form(conv, out, residual):
    added = np.ones(SHAPE, np.float32) if residual else None
    wanted = conv(X, added)
    assert conv(X, added, out=out) is out
    np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-5)


def test_out_may_be_the_residual_itself(conv):
    out = np.ones(SHAPE, np.float32)
    wanted = conv(X, out.copy())
    assert conv(X, out, out=out) is out
    assert np.array_equal(out, wanted)


def memory(count):
    return np.zeros(count, np.float32)


def frozen():
    out = np.empty(SHAPE, np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (frozen(), "read-only"),
        (np.broadcast_to(memory(8), SHAPE), "read-only"),
        (np.lib.stride_tricks.as_strided(memory(8), SHAPE, (0, 0, 0, 4)), "distinct"),
        (np.empty((2, 6, 9, 7), np.float32), "shape"),
        (np.empty(SHAPE[1:], np.float32), "shape"),
        (np.empty((1, *SHAPE), np.float32), "shape"),
    ],
)
def test_out_that_cannot_take_the_result(conv, out, message):
    for _ in range(2):
        with pytest.raises(ValueError, match=f"out must .*{message}"):
            conv(X, out=out)


def test_out_overlapping_x_or_part_of_the_residual(conv):
    shared = np.zeros(X.size + int(np.prod(SHAPE)), np.float32)
    x = shared[: X.size].reshape(X.shape)
    conv(x, out=shared[X.size :].reshape(SHAPE))  # side by side
    with pytest.raises(ValueError, match="out must not overlap x"):
        conv(x, out=shared[X.size - 1 : -1].reshape(SHAPE))
    with pytest.raises(ValueError, match="residual itself or not overlap"):
        conv(X, shared[1 : 1 + int(np.prod(SHAPE))].reshape(SHAPE),
             out=shared[: int(np.prod(SHAPE))].reshape(SHAPE))  # fmt: skip


def test_out_interlaced_with_x(conv):
    """Within the same range of addresses, no element shared."""
    both = np.zeros((2, 4, 9, 8, 2), np.float32)
    both[..., 0] = X
    same = fc.Conv(WEIGHT[:4], padding=1)
    np.testing.assert_array_equal(same(both[..., 0], out=both[..., 1]), same(X))


@pytest.mark.parametrize("wrong", [True, 1.0, (True, 1), (1, 1.0), ((1, True), (1, 1)), "same "])
def test_equal_but_wrong_arguments_are_refused_after_right_ones(wrong):
    wanted = fc.conv2d(X, WEIGHT, padding=1)
    fc.conv2d(X, WEIGHT, padding=(1, 1))
    fc.conv2d(X, WEIGHT, padding=((1, 1), (1, 1)))
    with pytest.raises((TypeError, ValueError), match="padding"):
        fc.conv2d(X, WEIGHT, padding=wrong)
    with pytest.raises((TypeError, ValueError), match="stride"):
        fc.conv2d(X, WEIGHT, stride=wrong)
    assert np.array_equal(fc.conv2d(X, WEIGHT, padding=[1, np.int64(1)]), wanted)


def test_plain_arguments():
    assert _core.plain((1, "same", None, True, (1, (2, 3)), "zeros"))
    for odd in (1.0, (1, True), ((1, 1.0),), [1], np.int64(1), ("clip", 0.0, 6.0)):
        assert not _core.plain((1, odd))


def test_a_weight_that_is_not_finite_is_found_wherever_it_is():
    """Large weights are looked through by several threads."""
    for dtype, size in ((np.float32, 400_001), (np.float64, 300_013), (np.float32, 17)):
        weights = np.ones(size, dtype)
        with fc.num_threads(3):
            assert _core.within(weights, 2.0)
            for place in np.unique(np.linspace(0, size - 1, 37).astype(int)):
                for value in (np.nan, -np.inf, -3.0):
                    weights[place] = value
                    assert not _core.within(weights, 2.0), (dtype, place, value)
                weights[place] = 1
        assert _core.within(weights[::2], 2.0) is None
