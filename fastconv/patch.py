"""Put fastconv's functions in SciPy's places for a while.

``with fastconv.patch.scipy():`` lets code that calls SciPy run on fastconv unchanged.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from fastconv import _drop_in

__all__ = ["scipy"]

_FAMILIES = ("signal", "ndimage")
_inside: ContextVar[bool] = ContextVar("fastconv_patch", default=False)
_lock = threading.Lock()
_blocks = 0  # open ones, of all threads
_replaced: list[tuple[ModuleType, str, Any]] = []


@contextmanager
def scipy() -> Iterator[None]:
    """Let SciPy's names call fastconv inside a ``with`` block.

    Every function of `fastconv.signal` and `fastconv.ndimage` stands in for SciPy's function of
    that name, wherever a module of ``scipy.signal`` or ``scipy.ndimage`` holds it. So it is also
    called by other SciPy functions that build on it, such as ``scipy.signal.resample_poly``.

    Notes
    -----
    Only the thread (more precisely, the context of `contextvars`) that entered a block is affected:
    calls from others reach SciPy's functions as before. Blocks may be nested, entered from several
    threads, and left in any order; the last one to end restores SciPy's modules. What a function
    that fastconv hands over to SciPy calls in its turn is SciPy's.

    A name imported earlier into one's own module (``from scipy.signal import convolve``) is that
    module's, and keeps SciPy's function; one imported inside a block calls fastconv inside blocks
    and SciPy outside.

    Examples
    --------
    >>> import numpy as np, scipy.signal, fastconv
    >>> with fastconv.patch.scipy():
    ...     scipy.signal.convolve(np.array([1, 2, 3]), np.array([1, 1]))
    array([1, 3, 5, 3])
    """
    _enter()
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)
        _leave()


def _enter() -> None:
    global _blocks
    with _lock:
        if not _blocks:
            for family in _FAMILIES:
                _install(family)
        _blocks += 1


def _leave() -> None:
    global _blocks
    with _lock:
        _blocks -= 1
        if _blocks:
            return
        while _replaced:
            module, name, value = _replaced.pop()
            setattr(module, name, value)
        _drop_in.originals.clear()


def _install(family: str) -> None:
    """Replace the functions of one module of SciPy everywhere it keeps them."""
    try:
        ours = importlib.import_module(f"fastconv.{family}")
    except ModuleNotFoundError as error:
        if error.name != f"fastconv.{family}":
            raise
        return
    public = importlib.import_module(f"scipy.{family}")
    within = [
        module
        for name, module in list(sys.modules.items())
        if (name == f"scipy.{family}" or name.startswith(f"scipy.{family}._"))
        and isinstance(module, ModuleType)
    ]
    for name in ours.__all__:
        theirs = getattr(public, name, None)
        if theirs is None:
            continue
        _drop_in.originals[family, name] = theirs
        chooser = _chooser(getattr(ours, name), theirs)
        for module in within:
            if vars(module).get(name) is theirs:
                _replaced.append((module, name, theirs))
                setattr(module, name, chooser)


def _chooser(ours: Callable[..., Any], theirs: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(theirs)
    def function(*args: Any, **kwargs: Any) -> Any:
        if not _inside.get():
            return theirs(*args, **kwargs)
        token = _inside.set(False)
        try:
            return ours(*args, **kwargs)
        finally:
            _inside.reset(token)

    return function
