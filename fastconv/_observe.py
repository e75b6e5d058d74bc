"""Who hears of every call: the lines of FASTCONV_VERBOSE, and the open `profile` blocks.

`_core.Engine` (the calls of `Conv`) and the functional calls tell this file what ran and how long;
they look at one flag, so that nothing is spent while nobody listens.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

from fastconv import _core, _env

__all__ = [
    "VERBOSE_HEADER",
    "Call",
    "Listener",
    "Pooled",
    "details_of",
    "listen",
    "sizes",
    "tell",
    "weight_shape",
]

VERBOSE_HEADER = "fastconv,operation,x,weight,out,details,kernel,milliseconds,gflops"


class Pooled(NamedTuple):
    """What `tell` is given for a pooling, in the place of a Problem: whole as it is."""

    operation: str
    dtype: str
    kernel: tuple[int, ...]
    out_shape: tuple[int, ...]
    itemsize: int


class Call(NamedTuple):
    """What ran once: hashable, the same for every call of a layer on one shape.

    `bytes` are those of x, weight, out and residual, each moved once.
    """

    operation: str
    dtype: str
    x_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    details: str
    kernel: str
    flops: float
    bytes: int


Listener = Callable[[Call, float], None]
_lock = threading.Lock()
_listeners: tuple[Listener, ...] = ()


def sizes(shape: tuple[int, ...]) -> str:
    """``(1, 64, 56, 56)`` as ``1x64x56x56``."""
    return "x".join(map(str, shape))


def weight_shape(problem: Any) -> tuple[int, ...]:
    """The shape of the weight of a Problem as its caller gave it."""
    if problem.operation == "separable_conv":
        return (problem.in_ch * problem.depth_multiplier, 1, *problem.kernel)
    first, second = problem.out_ch, problem.in_ch
    if problem.transposed:
        first, second = second, first
    return (first, second // problem.groups, *problem.kernel)


def _padding_text(padding: Any) -> str:
    if isinstance(padding, str):
        return padding
    if all(before == after for before, after in padding):
        return sizes(tuple(before for before, _ in padding))
    return "x".join(f"{before}:{after}" for before, after in padding)


def details_of(problem: Any) -> str:
    """What else decides how a Problem is computed: words without commas, defaults left out."""
    one, none = (1,) * problem.rank, (0,) * problem.rank
    words = [problem.code]
    if problem.stride != one:
        words.append(f"stride={sizes(problem.stride)}")
    if problem.padding != tuple(zip(none, none, strict=True)):
        words.append(f"padding={_padding_text(problem.padding)}")
    if problem.dilation != one:
        words.append(f"dilation={sizes(problem.dilation)}")
    if any(problem.output_padding):
        words.append(f"output_padding={sizes(problem.output_padding)}")
    if problem.padding_mode != "zeros":
        words.append(problem.padding_mode)
    defaults = {"groups": 1, "depth_multiplier": 1, "offset_groups": 1, "precision": "highest"}
    for name, default in defaults.items():
        if getattr(problem, name) != default:
            words.append(f"{name}={getattr(problem, name)}")
    if problem.channels_last:
        words.append(problem.layout)
    return " ".join(words)


@lru_cache(maxsize=1024)
def _call(what: Any, x_shape: tuple[int, ...], residual: bool, kernel: str, flops: float) -> Call:
    if isinstance(what, Pooled):
        moved = (prod(x_shape) + prod(what.out_shape)) * what.itemsize
        return Call(
            what.operation, what.dtype, x_shape, what.kernel, what.out_shape, what.dtype, kernel,
            flops, moved,
        )  # fmt: skip
    from fastconv._problem import out_shape

    weight, out = weight_shape(what), out_shape(what, x_shape)
    count = prod(x_shape) + prod(out) * (1 + residual) + prod(weight)
    if what.operation == "separable_conv":
        count += what.out_ch * weight[0]
    return Call(
        f"{what.operation}{what.rank}d", what.code, x_shape, weight, out, details_of(what), kernel,
        flops, count * what.dtype.itemsize,
    )  # fmt: skip


def tell(what: Any, plan: Any, seconds: float) -> None:
    """Hand one call to every listener; `what` is (Problem or Pooled, shape of x, residual)."""
    call = _call(*what, plan.kernel, plan.flops)
    for listener in _listeners:
        listener(call, seconds)


def listen(listener: Listener, wanted: bool) -> None:
    """Add a listener, or take it away."""
    global _listeners
    with _lock:
        others = tuple(known for known in _listeners if known != listener)
        _listeners = (*others, listener) if wanted else others
        _core.observe(tell, bool(_listeners))


class _Lines:
    """One CSV line per call on stderr, after a header."""

    def __init__(self) -> None:
        self._begin = VERBOSE_HEADER + "\n"

    def __call__(self, call: Call, seconds: float) -> None:
        shapes = (sizes(shape) for shape in (call.x_shape, call.weight_shape, call.out_shape))
        line = ",".join(
            ("fastconv", call.operation, *shapes, call.details, call.kernel,
             f"{seconds * 1e3:.6g}", f"{call.flops / max(seconds, 1e-9) / 1e9:.4g}")
        )  # fmt: skip
        begin, self._begin = self._begin, ""
        # One write, so that threads do not mix lines; a stderr that is gone says nothing.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"{begin}{line}\n")


if _env.verbose():
    listen(_Lines(), True)
