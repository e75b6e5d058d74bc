"""Geometry arguments in every form a user may write, to plain tuples of Python ints.

The one place that knows what ``stride``, ``dilation``, ``padding`` and ``output_padding`` may look
like, what the padding words mean and which output size follows. Everything here runs once per
functional call, so plain ints and ready tuples take a short path.
"""

from __future__ import annotations

import operator
import reprlib
import sys
from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np

__all__ = [
    "IntOrTuple",
    "Padding",
    "Pairs",
    "normalize_output_padding",
    "normalize_padding",
    "normalize_pairs",
    "normalize_tuple",
    "output_size",
    "same_pairs",
    "transposed_output_size",
]

Pairs = tuple[tuple[int, int], ...]
IntOrTuple = SupportsIndex | Sequence[SupportsIndex]
PaddingWord = Literal["same", "same_lower", "valid", "causal"]
Padding = PaddingWord | SupportsIndex | Sequence[SupportsIndex | Sequence[SupportsIndex]]

_LARGEST = sys.maxsize
_PADDING_WORDS = ("same", "same_lower", "valid", "causal")


def _described(value: Any) -> str:
    return f"{reprlib.repr(value)} ({type(value).__name__})"


def _as_index(value: Any) -> int | None:
    """The value as an int, or None where it is not an integer (a bool is not one here)."""
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _is_list(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def normalize_tuple(value: Any, rank: int, name: str, minimum: int = 0) -> tuple[int, ...]:
    """One int per spatial axis from an int or a sequence of `rank` ints.

    Parameters
    ----------
    value : int or sequence of int
        NumPy integers count as ints; booleans and floats do not.
    rank : int
        Number of spatial axes.
    name : str
        The argument's name, for the error message.
    minimum : int
        Smallest value allowed.

    Returns
    -------
    tuple of int

    Raises
    ------
    TypeError
        If `value` is not an integer or a sequence of integers.
    ValueError
        If the sequence has another length than `rank`, or an entry is out of range.

    Examples
    --------
    >>> normalize_tuple(2, 3, "stride", 1)
    (2, 2, 2)
    >>> normalize_tuple([1, 2], 2, "dilation", 1)
    (1, 2)
    """
    if type(value) is int and minimum <= value <= _LARGEST:
        return (value,) * rank
    if type(value) is tuple and len(value) == rank:
        for entry in value:
            if type(entry) is not int or not minimum <= entry <= _LARGEST:
                break
        else:
            return value
    return _normalize_tuple_slowly(value, rank, name, minimum)


def _normalize_tuple_slowly(value: Any, rank: int, name: str, minimum: int) -> tuple[int, ...]:
    wanted = f"an int or a tuple of {rank} int{'s' if rank != 1 else ''}"
    number = _as_index(value)
    if number is not None:
        numbers = [number] * rank
    elif _is_list(value):
        entries = [_as_index(entry) for entry in value]
        numbers = [entry for entry in entries if entry is not None]
        if len(numbers) != len(entries):
            raise TypeError(f"{name} must be {wanted}, got {_described(value)}")
        if len(numbers) != rank:
            raise ValueError(
                f"{name} must be {wanted}, got {_described(value)} of length {len(numbers)}"
            )
    else:
        raise TypeError(f"{name} must be {wanted}, got {_described(value)}")
    if any(entry < minimum for entry in numbers):
        raise ValueError(f"{name} must be at least {minimum}, got {reprlib.repr(value)}")
    if any(entry > _LARGEST for entry in numbers):
        raise ValueError(f"{name} must be at most {_LARGEST}, got {reprlib.repr(value)}")
    return tuple(numbers)


def normalize_pairs(value: Any, rank: int, name: str) -> Pairs:
    """A (before, after) pair per axis from an int, one int per axis, or one pair per axis.

    Raises
    ------
    TypeError
        If `value` has none of the three forms.
    ValueError
        If the length is not `rank`, a pair has not two entries, or an entry is negative.

    Examples
    --------
    >>> normalize_pairs(1, 2, "padding")
    ((1, 1), (1, 1))
    >>> normalize_pairs((0, 2), 2, "padding")
    ((0, 0), (2, 2))
    >>> normalize_pairs(((0, 1), (2, 3)), 2, "padding")
    ((0, 1), (2, 3))
    """
    if type(value) is int and 0 <= value <= _LARGEST:
        return ((value, value),) * rank
    if type(value) is tuple and len(value) == rank:
        plain = []
        for entry in value:
            pair = (entry, entry) if type(entry) is int else entry
            if type(pair) is not tuple or len(pair) != 2:
                break
            before, after = pair
            if type(before) is not int or type(after) is not int:
                break
            if not (0 <= before <= _LARGEST and 0 <= after <= _LARGEST):
                break
            plain.append(pair)
        else:
            return tuple(plain)
    return _normalize_pairs_slowly(value, rank, name)


def _normalize_pairs_slowly(value: Any, rank: int, name: str) -> Pairs:
    number = _as_index(value)
    if number is None:
        wanted = f"an int, a tuple of {rank} ints, or {rank} (before, after) pairs"
        if not _is_list(value):
            raise TypeError(f"{name} must be {wanted}, got {_described(value)}")
        if len(value) != rank:
            hint = ""
            if rank == 1 and len(value) == 2:
                before, after = value
                hint = f"; for {before} before and {after} after write (({before}, {after}),)"
            raise ValueError(
                f"{name} must be {wanted}, got {_described(value)} of length {len(value)}{hint}"
            )
        pairs = tuple(_pair(entry, name, value, wanted) for entry in value)
    else:
        pairs = ((number, number),) * rank
    for before, after in pairs:
        if before < 0 or after < 0:
            raise ValueError(f"{name} must be at least 0, got {reprlib.repr(value)}")
        if before > _LARGEST or after > _LARGEST:
            raise ValueError(f"{name} must be at most {_LARGEST}, got {reprlib.repr(value)}")
    return pairs


def _pair(entry: Any, name: str, value: Any, wanted: str) -> tuple[int, int]:
    number = _as_index(entry)
    if number is not None:
        return number, number
    if not _is_list(entry):
        raise TypeError(f"{name} must be {wanted}, got {_described(value)}")
    if len(entry) != 2:
        raise ValueError(
            f"{name} must be {wanted}, got {reprlib.repr(value)}, "
            f"whose entry {reprlib.repr(entry)} is not a pair"
        )
    before, after = _as_index(entry[0]), _as_index(entry[1])
    if before is None or after is None:
        raise TypeError(f"{name} must be {wanted}, got {_described(value)}")
    return before, after


def same_pairs(
    in_size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    lower: bool = False,
) -> Pairs:
    """Padding for which the output has ``ceil(in_size / stride)`` cells per axis.

    The odd cell goes after the data (ONNX's SAME_UPPER), or before it with `lower` (SAME_LOWER).
    """
    pairs = []
    for i, k, s, d in zip(in_size, kernel, stride, dilation, strict=True):
        total = max((-(-i // s) - 1) * s + d * (k - 1) + 1 - i, 0)
        half = total // 2
        pairs.append((total - half, half) if lower else (half, total - half))
    return tuple(pairs)


def normalize_padding(
    padding: Any,
    in_size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    *,
    transposed: bool = False,
    name: str = "padding",
) -> Pairs:
    """Any form of ``padding`` to one (before, after) pair per spatial axis.

    Parameters
    ----------
    padding : int, sequence, or {"same", "same_lower", "valid", "causal"}
        An int for all sides, one int per axis, one (before, after) pair per axis, or a word:
        "valid" pads nothing; "same" gives ``ceil(in_size / stride)`` outputs with the odd cell
        after the data, "same_lower" with the odd cell before it; "causal" pads
        ``dilation * (kernel - 1)`` before each axis, so that no output sees a later input.
    in_size, kernel, stride, dilation : sequence of int
        Already normalised; their length is the rank.
    transposed : bool
        `padding` belongs to a transposed convolution. "same" and "same_lower" are then those of
        the convolution it is the adjoint of, whose input has ``in_size * stride`` cells: the
        output has that size wherever the effective kernel is at least the stride. "causal" is
        refused: the adjoint of a causal convolution looks ahead.

    Returns
    -------
    tuple of (int, int)

    Raises
    ------
    TypeError, ValueError
        As `normalize_pairs`, and for an unknown word.

    Examples
    --------
    >>> normalize_padding("same", (5, 6), (3, 3), (2, 2), (1, 1))
    ((1, 1), (0, 1))
    >>> normalize_padding("causal", (100,), (2,), (1,), (8,))
    ((8, 0),)
    """
    rank = len(kernel)
    if not isinstance(padding, str):
        return normalize_pairs(padding, rank, name)
    if padding == "valid":
        return ((0, 0),) * rank
    if padding == "causal" and not transposed:
        return tuple((d * (k - 1), 0) for k, d in zip(kernel, dilation, strict=True))
    if padding in ("same", "same_lower"):
        if transposed:
            in_size = [i * s for i, s in zip(in_size, stride, strict=True)]
        return same_pairs(in_size, kernel, stride, dilation, padding == "same_lower")
    words = [w for w in _PADDING_WORDS if not (transposed and w == "causal")]
    raise ValueError(
        f"{name} must be an int, a tuple, per-side pairs or one of "
        f"{', '.join(map(repr, words))}{' for a transposed convolution' if transposed else ''}, "
        f"got {padding!r}"
    )


def normalize_output_padding(
    value: Any, stride: Sequence[int], dilation: Sequence[int], name: str = "output_padding"
) -> tuple[int, ...]:
    """`output_padding` per axis, each smaller than the stride or the dilation of its axis."""
    result = normalize_tuple(value, len(stride), name)
    for extra, s, d in zip(result, stride, dilation, strict=True):
        if extra and extra >= max(s, d):
            raise ValueError(
                f"{name} must be smaller than stride or dilation, got {reprlib.repr(value)} "
                f"with stride {tuple(stride)} and dilation {tuple(dilation)}"
            )
    return result


def output_size(
    in_size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Pairs,
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """Output cells per axis of a convolution; all arguments normalised.

    ``floor((i + before + after - d*(k - 1) - 1) / s) + 1``; zero is a legal size.

    Raises
    ------
    ValueError
        If that is negative: the kernel does not fit, by more than a stride.
    """
    sizes = tuple(
        [
            (i + p[0] + p[1] - d * (k - 1) - 1) // s + 1
            for i, k, s, p, d in zip(in_size, kernel, stride, padding, dilation, strict=True)
        ]
    )
    if sizes and min(sizes) < 0:
        padded = tuple(
            i + before + after for i, (before, after) in zip(in_size, padding, strict=True)
        )
        extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
        raise ValueError(
            f"the dilated kernel must fit into the padded input: kernel {tuple(kernel)} with "
            f"dilation {tuple(dilation)} covers {extent}, the padded input has {padded} "
            f"and the output size would be {sizes}"
        )
    return sizes


def transposed_output_size(
    in_size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Pairs,
    dilation: Sequence[int],
    output_padding: Sequence[int],
) -> tuple[int, ...]:
    """Output cells per axis of a transposed convolution; all arguments normalised.

    ``(i - 1)*s - before - after + d*(k - 1) + 1 + output_padding``; zero is a legal size, and what
    an axis without input cells gives.

    Raises
    ------
    ValueError
        If that is negative: the padding crops more than there is.
    """
    sizes = tuple(
        (i - 1) * s - p[0] - p[1] + d * (k - 1) + 1 + extra if i else 0
        for i, k, s, p, d, extra in zip(
            in_size, kernel, stride, padding, dilation, output_padding, strict=True
        )
    )
    if sizes and min(sizes) < 0:
        raise ValueError(
            f"padding {tuple(padding)} crops more than the transposed convolution of an input of "
            f"size {tuple(in_size)} with kernel {tuple(kernel)} and stride {tuple(stride)} gives: "
            f"the output size would be {sizes}"
        )
    return sizes
