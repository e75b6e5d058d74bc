"""Arguments as SciPy takes them, made plain; whatever is unusual or wrong is left to SciPy.

Every reader raises `NotCovered` for what it does not know, before anything was computed.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv import _core
from fastconv._drop_in import NotCovered

__all__ = [
    "check_dtypes",
    "read_axes",
    "read_axis",
    "read_constant",
    "read_index",
    "read_input",
    "read_mode",
    "read_output",
    "read_sequence",
]

_MODES = {
    "reflect": "reflect",
    "grid-mirror": "reflect",
    "mirror": "mirror",
    "nearest": "nearest",
    "constant": "constant",
    "grid-constant": "constant",
    "wrap": "wrap",
    "grid-wrap": "wrap",
}


def read_input(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.ndim == 0:
        raise NotCovered("an array without axes")
    return array


def read_mode(mode: Any) -> str:
    """The name of a way to extend an axis, as `_core` knows it."""
    found = _MODES.get(mode) if isinstance(mode, str) else None
    if found is None:
        raise NotCovered(f"mode {mode!r}")
    return found


def read_index(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise NotCovered(f"{name} {value!r}") from None


def read_axis(axis: Any, ndim: int) -> int:
    number = read_index(axis, "axis")
    if not -ndim <= number < ndim:
        raise NotCovered(f"axis {axis!r}")
    return number % ndim


def read_axes(axes: Any, ndim: int) -> tuple[int, ...]:
    if axes is None:
        return tuple(range(ndim))
    if not np.isscalar(axes) and not isinstance(axes, Iterable):
        raise NotCovered(f"axes {axes!r}")
    numbers = tuple(read_axis(axis, ndim) for axis in ((axes,) if np.isscalar(axes) else axes))
    if len(set(numbers)) != len(numbers):
        raise NotCovered(f"axes {axes!r}")
    return numbers


def read_sequence(value: Any, count: int, name: str) -> list[Any]:
    """One value per axis, from one for all or a sequence of them."""
    single = value is None or isinstance(value, (str, int, float))
    if single or not np.iterable(value):  # which is slow to say so of a number
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise NotCovered(f"{name} {value!r} for {count} axes")
    return values


def read_constant(cval: Any) -> float:
    if not isinstance(cval, (int, float, np.integer, np.floating, np.bool_)):
        raise NotCovered(f"cval {cval!r}")
    return float(cval)


def check_dtypes(*arrays: np.ndarray) -> None:
    for array in arrays:
        if array.dtype.char not in _core.ELEMENTS:  # the letter of either byte order
            raise NotCovered(f"dtype {array.dtype}")


def read_output(output: Any, source: np.ndarray, is_complex: bool = False) -> np.ndarray:
    """The array to compute into: new, or the caller's."""
    if output is None:
        dtype = np.dtype(source.dtype.name)
        return np.empty(
            source.shape, np.promote_types(dtype, np.complex64) if is_complex else dtype
        )
    if isinstance(output, np.ndarray):
        if output.shape != source.shape or not output.flags.writeable:
            raise NotCovered("output of another shape, or read-only")
        array = output
    elif isinstance(output, (type, np.dtype, str)):
        try:
            dtype = np.dtype(output)
        except TypeError:
            raise NotCovered(f"output {output!r}") from None
        if isinstance(output, str) and not issubclass(dtype.type, np.number):
            raise NotCovered(f"output {output!r}")
        array = np.empty(source.shape, dtype)
    else:
        raise NotCovered(f"output of type {type(output).__name__}")
    if (array.dtype.kind == "c") != is_complex:
        raise NotCovered(f"output of dtype {array.dtype} for {source.dtype}")
    return array
