"""FASTCONV_VERBOSE and `fastconv.profile`: who hears of a call, and what is said of it."""

from __future__ import annotations

import csv
import threading

import numpy as np
import pytest
from test_environment import python

import fastconv as fc
from fastconv import _core
from fastconv._observe import VERBOSE_HEADER

X = np.ones((2, 3, 16, 16), np.float32)
WEIGHT = np.ones((8, 3, 3, 3), np.float32)

CALLS = """
import numpy as np, fastconv as fc
x, w = np.ones((2, 3, 16, 16), np.float32), np.ones((8, 3, 3, 3), np.float32)
fc.Conv(w, padding=1)(x)
fc.conv2d(x, w, stride=2)
fc.max_pool2d(x, 2)
"""


def rows_of(stderr):
    assert stderr.splitlines()[0] == VERBOSE_HEADER
    return list(csv.DictReader(stderr.splitlines()))


def test_verbose_says_one_line_per_call():
    rows = rows_of(python(CALLS, FASTCONV_VERBOSE="1")[1])
    said = [(r["operation"], r["x"], r["weight"], r["out"], r["details"]) for r in rows]
    assert said == [
        ("conv2d", "2x3x16x16", "8x3x3x3", "2x8x16x16", "f32 padding=1x1"),
        ("conv2d", "2x3x16x16", "8x3x3x3", "2x8x7x7", "f32 stride=2x2"),
        ("max_pool2d", "2x3x16x16", "2x2", "2x3x8x8", "f32"),
    ]
    assert {r["fastconv"] for r in rows} == {"fastconv"}
    for row in rows:
        assert float(row["milliseconds"]) > 0
        assert float(row["gflops"]) > 0
    known = set(fc.kernels())
    assert rows[0]["kernel"] in known
    flops = float(rows[0]["gflops"]) * float(rows[0]["milliseconds"]) * 1e6
    assert flops == pytest.approx(2 * WEIGHT.size * 2 * 256, rel=1e-2)


@pytest.mark.parametrize("value", ["", "0"])
def test_not_verbose(value):
    assert python(CALLS, FASTCONV_VERBOSE=value) == ("", "")
    assert python("import fastconv._convolve, fastconv._core as c; print(c.observed())") == (
        "False",
        "",
    )


@pytest.mark.parametrize("value", ["2", "yes", "1 "])
def test_unknown_verbose_warns(value):
    _, err = python(CALLS, FASTCONV_VERBOSE=value)
    assert err == f"fastconv: FASTCONV_VERBOSE={value} is unknown and ignored; known: 0 1"


def test_profile_adds_up_calls_of_a_layer():
    conv = fc.Conv(WEIGHT, padding=1)
    with fc.profile() as p:
        for _ in range(3):
            conv(X)
        fc.conv2d(X, WEIGHT, padding=1)
        fc.conv2d(X, WEIGHT[:4], dilation=2)
    conv(X)
    assert not _core.observed()
    assert {(row.weight_shape, row.details) for row in p.rows} == {
        ((8, 3, 3, 3), "f32 padding=1x1"),
        ((4, 3, 3, 3), "f32 dilation=2x2"),
    }
    assert sum(row.calls for row in p.rows) == 5
    assert sum(row.share for row in p.rows) == pytest.approx(1)
    longest = [row.milliseconds for row in p.rows]
    assert longest == sorted(longest, reverse=True)
    for row in p.rows:
        assert row.kernel in fc.kernels()
        assert row.gflops > 0
        assert 0 < row.peak_fraction < 3
        assert row.intensity > 0
    text = str(p)
    assert "8x3x3x3" in text
    assert "of peak" in text
    assert len(text.splitlines()) == 3 + len(p.rows)
    assert repr(p) == f"<profile of 5 calls of {len(p.rows)} layers>"


@pytest.mark.parametrize("call", [
    lambda: fc.conv_transpose2d(X, WEIGHT.swapaxes(0, 1), stride=2),
    lambda: fc.causal_conv1d(X[:, :, 0], WEIGHT[:, :, 0]),
    lambda: fc.separable_conv2d(X, WEIGHT[:3, :1], WEIGHT[:, :, :1, :1]),
    lambda: fc.deform_conv2d(X, np.zeros((2, 18, 14, 14), np.float32), WEIGHT),
    lambda: fc.conv2d(X, WEIGHT, algorithm="fft"),
    lambda: fc.Conv(WEIGHT, algorithm="fft")(X),
    lambda: fc.avg_pool2d(X, 2),
    lambda: fc.Conv(WEIGHT, padding=1)(X, residual=np.ones((2, 8, 16, 16), np.float32)),
])  # fmt: skip
def test_profile_hears_every_kind_of_call(call):
    with fc.profile() as p:
        out = call()
    assert sum(row.calls for row in p.rows) >= 1
    assert p.rows[0].out_shape[:2] == out.shape[:2]


def refuse_after_one(conv):
    conv(X)
    conv(X[:, :2])


def test_profiles_nest_and_end_apart():
    conv = fc.Conv(WEIGHT)
    with fc.profile() as outer:
        conv(X)
        with fc.profile() as inner:
            conv(X)
        failed = fc.profile()
        with pytest.raises(ValueError, match="channels"), failed:
            refuse_after_one(conv)
        conv(X)
    conv(X)
    counts = [sum(row.calls for row in p.rows) for p in (outer, inner, failed)]
    assert counts == [4, 1, 1]
    with inner:
        conv(X)
    assert inner.rows[0].calls == 2


def test_profile_hears_every_thread():
    conv, rounds = fc.Conv(WEIGHT), 50

    def work():
        for _ in range(rounds):
            conv(X)

    with fc.profile() as p:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [row.calls for row in p.rows] == [4 * rounds]


def test_profile_of_nothing():
    with fc.profile() as p:
        pass
    assert p.rows == []
    assert "all" in str(p)
    with pytest.raises(ValueError, match="no call was made"):
        p.plot("nothing.png")


def test_roofline(tmp_path):
    pytest.importorskip("matplotlib")
    with fc.profile() as p:
        fc.conv2d(X, WEIGHT)
        fc.max_pool2d(X, 2)
    p.plot(tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")


def test_observing_changes_no_bits():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 8, 20, 20)), rng.standard_normal((8, 8, 3, 3))
    conv = fc.Conv(w, padding=1)
    quiet = conv(x)
    with fc.profile():
        assert np.array_equal(conv(x), quiet)
