"""The normalisers of geometry arguments: every accepted form, and the message of every bad one."""

import numpy as np
import pytest

from fastconv import _padding

ONE = (1, 1)


def pads(padding, in_size=(8, 8), kernel=(3, 3), stride=ONE, dilation=ONE, **keywords):
    return _padding.normalize_padding(padding, in_size, kernel, stride, dilation, **keywords)


@pytest.mark.parametrize(
    "value",
    [2, np.int64(2), np.uint8(2), np.array(2), (2, 2), [2, 2], np.array([2, 2]), (np.int32(2), 2)],
)
def test_tuple_forms(value):
    result = _padding.normalize_tuple(value, 2, "stride", 1)
    assert result == (2, 2)
    assert type(result) is tuple
    assert all(type(entry) is int for entry in result)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (True, TypeError, r"stride must be an int or a tuple of 2 ints, got True \(bool\)"),
        (np.True_, TypeError, r"stride must be an int or a tuple of 2 ints, got .*True"),
        (1.0, TypeError, r"got 1\.0 \(float\)"),
        (np.float32(1), TypeError, r"got .*\(float32\)"),
        ("2", TypeError, r"got '2' \(str\)"),
        (None, TypeError, r"got None \(NoneType\)"),
        ((1, 2.0), TypeError, r"got \(1, 2\.0\)"),
        ((1, True), TypeError, r"got \(1, True\)"),
        ({1, 2}, TypeError, r"\(set\)"),
        ((1,), ValueError, r"got \(1,\) \(tuple\) of length 1"),
        ((1, 2, 3), ValueError, r"of length 3"),
        ((), ValueError, r"of length 0"),
        (0, ValueError, r"stride must be at least 1, got 0"),
        ((1, -1), ValueError, r"stride must be at least 1, got \(1, -1\)"),
        (2**63, ValueError, r"stride must be at most"),
    ],
)
def test_tuple_refusals(value, error, message):
    with pytest.raises(error, match=r"^stride must be") as caught:
        _padding.normalize_tuple(value, 2, "stride", 1)
    assert caught.match(message)


@pytest.mark.parametrize(
    ("padding", "wanted"),
    [
        (1, ((1, 1), (1, 1))),
        (np.int16(1), ((1, 1), (1, 1))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, np.int64(2)], ((1, 1), (2, 2))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3))),
        (np.array([[0, 1], [2, 3]]), ((0, 1), (2, 3))),
        ((4, (2, 3)), ((4, 4), (2, 3))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((1, 1), (1, 1))),
        ("same_lower", ((1, 1), (1, 1))),
        ("causal", ((2, 0), (2, 0))),
    ],
)
def test_padding_forms(padding, wanted):
    result = pads(padding)
    assert result == wanted
    assert all(type(entry) is int for pair in result for entry in pair)


def test_same_puts_the_odd_cell_after_and_same_lower_before():
    assert pads("same", kernel=(4, 2)) == ((1, 2), (0, 1))
    assert pads("same_lower", kernel=(4, 2)) == ((2, 1), (1, 0))


@pytest.mark.parametrize("word", ["same", "same_lower"])
def test_same_gives_the_ceiling_of_size_over_stride(word):
    for i in range(1, 14):
        for k in range(1, 6):
            for s in range(1, 5):
                for d in range(1, 4):
                    pair = pads(word, (i,), (k,), (s,), (d,))
                    out = _padding.output_size((i,), (k,), (s,), pair, (d,))
                    assert out == (-(-i // s),)
                    assert sum(pair[0]) == max((out[0] - 1) * s + d * (k - 1) + 1 - i, 0)


def test_same_of_a_transposed_convolution_multiplies_the_size():
    for i in range(1, 9):
        for k in range(1, 6):
            for s in range(1, k + 1):
                pair = pads("same", (i,), (k,), (s,), (1,), transposed=True)
                out = _padding.transposed_output_size((i,), (k,), (s,), pair, (1,), (0,))
                assert out == (i * s,)


@pytest.mark.parametrize(
    ("padding", "error", "message"),
    [
        ("SAME", ValueError, r"'same', 'same_lower', 'valid', 'causal', got 'SAME'"),
        ("reflect", ValueError, r"got 'reflect'"),
        (True, TypeError, r"got True \(bool\)"),
        (0.5, TypeError, r"an int, a tuple of 2 ints, or 2 \(before, after\) pairs, got 0\.5"),
        (None, TypeError, r"got None"),
        ((1, 0.5), TypeError, r"got \(1, 0\.5\)"),
        (((1, 2), (1, True)), TypeError, r"True"),
        ((1, 2, 3), ValueError, r"of length 3"),
        (((1, 2, 3), 1), ValueError, r"entry \(1, 2, 3\) is not a pair"),
        (-1, ValueError, r"at least 0, got -1"),
        (((0, -2), (0, 0)), ValueError, r"at least 0"),
        (2**64, ValueError, r"at most"),
    ],
)
def test_padding_refusals(padding, error, message):
    with pytest.raises(error, match=r"^padding must be") as caught:
        pads(padding)
    assert caught.match(message)


def test_a_bare_pair_for_one_axis_is_refused_with_a_hint():
    with pytest.raises(ValueError, match=r"for 1 before and 2 after write \(\(1, 2\),\)"):
        pads((1, 2), (8,), (3,), (1,), (1,))


def test_causal_is_refused_for_a_transposed_convolution():
    with pytest.raises(ValueError, match=r"padding .*'valid' for a transposed.*got 'causal'"):
        pads("causal", transposed=True)


def test_output_padding_is_smaller_than_stride_or_dilation():
    assert _padding.normalize_output_padding(1, (2, 2), ONE) == (1, 1)
    assert _padding.normalize_output_padding((0, 2), (1, 1), (1, 3)) == (0, 2)
    for value in (2, (0, 2)):
        with pytest.raises(ValueError, match="output_padding must be smaller than stride or dil"):
            _padding.normalize_output_padding(value, (2, 2), ONE)
    with pytest.raises(TypeError, match="output_padding must be an int"):
        _padding.normalize_output_padding("1", (2, 2), ONE)


def test_output_may_be_empty_but_not_negative():
    assert _padding.output_size((2,), (3,), (1,), ((0, 0),), (1,)) == (0,)
    with pytest.raises(
        ValueError, match=r"kernel \(3,\) with dilation \(2,\) covers \(5,\).*\(2,\)"
    ):
        _padding.output_size((2,), (3,), (1,), ((0, 0),), (2,))
    assert _padding.transposed_output_size((0,), (3,), (2,), ((0, 0),), (1,), (0,)) == (0,)
    with pytest.raises(ValueError, match=r"padding \(\(4, 4\),\) crops more"):
        _padding.transposed_output_size((2,), (3,), (1,), ((4, 4),), (1,), (0,))
