"""What the modules that stand in for SciPy's share: when SciPy computes instead, and visibly.

A call that fastconv does not cover, wrong arguments included, goes to the SciPy function of the
same name, which computes it or raises its own error. ``FASTCONV_VERBOSE`` shows each such call as
one line of comma-separated values on stderr:

    fastconv,<function>,<shape of the first array>,scipy,<milliseconds>,<why>
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["NotCovered", "hand_to_scipy", "native", "stands_in", "verbose"]

_OFF = ("", "0", "false", "no", "off")


class NotCovered(Exception):
    """Raised in a function that stands in for SciPy's before it wrote anything: SciPy's turn."""


@functools.cache
def verbose() -> bool:
    """Whether ``FASTCONV_VERBOSE`` is set; read once."""
    return os.environ.get("FASTCONV_VERBOSE", "").strip().lower() not in _OFF


def hand_to_scipy(module: str, name: str, why: str, *args: Any, **kwargs: Any) -> Any:
    """What ``scipy.<module>.<name>`` returns or raises for these arguments.

    Parameters
    ----------
    module, name : str
        "signal" and "convolve", say.
    why : str
        What fastconv lacks, for the verbose line.

    Returns
    -------
    object
        As that function.
    """
    function = original(module, name)
    if not verbose():
        return function(*args, **kwargs)
    begin = time.perf_counter()
    try:
        return function(*args, **kwargs)
    finally:
        milliseconds = (time.perf_counter() - begin) * 1e3
        shape = "x".join(map(str, np.shape(args[0]))) if args else ""
        why = why.replace(",", ";").replace("\n", " ")
        print(
            f"fastconv,{module}.{name},{shape},scipy,{milliseconds:.3f},{why}",
            file=sys.stderr, flush=True,
        )  # fmt: skip


# What stood under a name before `fastconv.patch` put ours there.
originals: dict[tuple[str, str], Callable[..., Any]] = {}


def original(module: str, name: str) -> Callable[..., Any]:
    """SciPy's own function, also while ours stands in its place."""
    found = originals.get((module, name))
    return found or getattr(importlib.import_module(f"scipy.{module}"), name)


def stands_in(module: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function so that SciPy's of the same name runs where it raises `NotCovered`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def covered(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except NotCovered as reason:
                why = str(reason)
            return hand_to_scipy(module, function.__name__, why, *args, **kwargs)

        return covered

    return decorate


def native(array: np.ndarray) -> np.ndarray:
    """The array in native byte order and aligned, itself where it is both."""
    if array.dtype.isnative and array.flags.aligned:
        return array
    return np.require(array, array.dtype.newbyteorder("="), "A")
