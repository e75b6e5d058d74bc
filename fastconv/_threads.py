"""How many threads a convolution may use: one setting for the process, one per context.

The policy itself (environment, affinity, container quota, small work runs serially) is in
csrc/threads.c; this file only hands it the user's wishes.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import SupportsIndex

from fastconv import _core

__all__ = ["get_num_threads", "num_threads", "set_num_threads"]

_MOST = 4096  # FASTCONV_NUM_THREADS ends there too


def _checked(n: SupportsIndex) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"n must be an int, got {n!r} ({type(n).__name__})")
    number = operator.index(n)
    if not 1 <= number <= _MOST:
        raise ValueError(f"n must be between 1 and {_MOST}, got {number}")
    return number


def set_num_threads(n: SupportsIndex | None) -> None:
    """Set how many threads one call may use, in the whole process.

    Parameters
    ----------
    n : int or None
        At least 1. None goes back to the default: FASTCONV_NUM_THREADS, OMP_NUM_THREADS, or the
        cores of the affinity mask and the container's quota.

    Raises
    ------
    TypeError
        If `n` is no integer.
    ValueError
        If `n` is below 1.

    Examples
    --------
    >>> import fastconv as fc
    >>> fc.set_num_threads(1)
    >>> fc.get_num_threads()
    1
    >>> fc.set_num_threads(None)
    """
    _core.set_num_threads(0 if n is None else _checked(n))


def get_num_threads() -> int:
    """How many threads a call made here may use; small work uses fewer.

    Returns
    -------
    int
        The number of the innermost `num_threads` block, else that of `set_num_threads`, else the
        default.
    """
    return _core.threads_here.get() or _core.get_num_threads()


@contextmanager
def num_threads(n: SupportsIndex) -> Iterator[None]:
    """Set how many threads calls inside a ``with`` block may use.

    The number belongs to the context (`contextvars`) that enters the block: other Python threads
    and asyncio tasks keep their own, and leaving restores exactly what was before.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    TypeError
        If `n` is no integer.
    ValueError
        If `n` is below 1.

    Examples
    --------
    >>> import fastconv as fc
    >>> with fc.num_threads(1):
    ...     fc.get_num_threads()
    1
    """
    token = _core.threads_here.set(_checked(n))
    try:
        yield
    finally:
        _core.threads_here.reset(token)
