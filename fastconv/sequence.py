"""Convolutions over time: causal, streaming causal, lightweight.

A causal convolution of a stream must not depend on how the stream is cut. So every output is
computed by one kernel, chosen without looking at the length, as an output of an unpadded
convolution: of the state joined to the first samples where the window reaches back, of x itself
from there on.
"""

from __future__ import annotations

from functools import lru_cache
from time import perf_counter
from typing import Any

import numpy as np

from fastconv import _core
from fastconv._convolve import (
    as_bias,
    check_out,
    compute_array,
    convolve,
    make_problem,
    read_array,
    read_as,
)
from fastconv._observe import tell
from fastconv._options import Activation, LayoutName, Precision, channels_last, layout_name
from fastconv._padding import IntOrTuple
from fastconv._planning import find_plan
from fastconv._problem import Problem, channels_of

__all__ = ["causal_conv1d", "lightweight_conv1d"]

# Algorithms in which an output's additions have the same order wherever it stands. Transforms mix
# neighbours, so their rounding depends on the place in the tile.
_PLACE_FREE = ("direct", "gemm", "depthwise", "grouped", "reference")
_CANONICAL_LENGTH = 4096


@lru_cache(maxsize=256)
def _fixed_kernel(problem: Problem) -> Problem:
    """The problem with `algorithm` set to the kernel that will run it at every length."""
    if problem.algorithm != "auto" and problem.algorithm.split(".")[0] not in _PLACE_FREE:
        raise ValueError(
            f"algorithm must be 'auto' or one of {', '.join(map(repr, _PLACE_FREE))} for a causal "
            f"convolution, whose result must not depend on where a chunk begins, "
            f"got {problem.algorithm!r}"
        )
    length = problem.dilation[0] * (problem.kernel[0] - 1) + _CANONICAL_LENGTH
    last = problem.channels_last
    shape = (1, length, problem.in_ch) if last else (1, problem.in_ch, length)
    plan, _ = find_plan(problem, shape, last, last, False)
    if problem.algorithm != "auto":
        return problem._replace(algorithm=plan.kernel)
    able = [
        (seconds, kernel)
        for algorithm, kernel, seconds, why in plan.candidates()
        if why is None and algorithm in _PLACE_FREE
    ]
    return problem._replace(algorithm=min(able)[1])


def _along(array: np.ndarray, axis: int, begin: int, end: int) -> np.ndarray:
    """array[begin:end] along the time axis, -1 or -2."""
    return array[..., begin:end] if axis == -1 else array[..., begin:end, :]


def _regular(array: np.ndarray) -> np.ndarray:
    """The array, copied if its elements do not lie at multiples of their size."""
    size = array.itemsize
    if array.flags.aligned and not any(step % size for step in array.strides):
        return array
    return np.array(array)


class _Stream:
    """One call: a problem with its kernel fixed and its weights packed once."""

    def __init__(self, problem: Problem, weight: np.ndarray, bias: Any, flip: bool) -> None:
        self.problem = _fixed_kernel(problem)
        self.weight = compute_array(weight, problem.code)
        self.bias = as_bias(bias, problem.code, problem.out_ch)
        self.flip = flip
        self.packed: Any = None

    def run(self, x: np.ndarray, out: np.ndarray, residual: np.ndarray | None) -> None:
        """Unpadded; the layout that kernels are told is the declared one, whatever the strides."""
        if out.size == 0:
            return
        last = self.problem.channels_last
        plan, _ = find_plan(self.problem, x.shape, last, last, residual is not None)
        if self.packed is None or not plan.accepts(self.packed):
            self.packed = plan.pack(self.weight, flip=self.flip)
        start = perf_counter() if _core.observed() else None
        plan.run(
            self.packed, x, out, self.bias, residual,
            channels_last=last, threads=-_core.threads_here.get(),
        )  # fmt: skip
        if start is not None:
            tell((self.problem, x.shape, residual is not None), plan, perf_counter() - start)


def _check_shapes(problem: Problem, x: np.ndarray) -> None:
    if channels_of(x.shape, 1, problem.channels_last) != problem.in_ch:
        raise ValueError(
            f"x must have {problem.in_ch} channels, as weight has with {problem.groups} groups, "
            f"got shape {x.shape} with layout {layout_name(1, problem.channels_last)!r}"
        )


def _read_state(state: Any, code: str, x: np.ndarray, axis: int, reach: int) -> np.ndarray:
    shape = list(x.shape)
    shape[axis] = reach
    if state is None:
        return np.zeros(shape, x.dtype)
    found = read_as(state, "state", code, "x")
    if found.shape != tuple(shape):
        raise ValueError(
            f"state must have shape {tuple(shape)}, the last dilation*(kL - 1) = {reach} samples, "
            f"got {found.shape}"
        )
    return found


def causal_conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    dilation: IntOrTuple = 1,
    groups: int = 1,
    *,
    state: Any = None,
    flip_kernel: bool = False,
    activation: Activation | None = None,
    residual: Any = None,
    layout: LayoutName = "NCL",
    precision: Precision = "highest",
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> Any:
    """Convolve sequences so that no output sees a later input, whole or chunk by chunk.

    Output t is ``bias + sum over i, m of weight[:, i, m] * x[i, t - dilation*(kL - 1 - m)]``.
    Cutting a sequence into chunks of any lengths and handing the state on gives the bits of the
    whole.

    Parameters
    ----------
    x : array_like, shape (N, C_in, L) or (C_in, L)
        A sequence, or its next chunk of any length. With ``layout="NLC"``: (N, L, C_in) or
        (L, C_in).
    weight : array_like, shape (C_out, C_in/groups, kL)
        Of the dtype of `x`; the last tap belongs to the present.
    bias, dilation, groups, flip_kernel, activation, residual, layout, precision, out
        As `conv1d`.
    state : array_like, shape (N, C_in, dilation*(kL - 1)) or as `layout` and the batch say
        The samples before `x`, of its dtype; zeros at the start of a sequence.
    algorithm : str
        As `conv1d`, without the algorithms that transform tiles of outputs: their rounding depends
        on where a tile begins.

    Returns
    -------
    y : ndarray, shape (N, C_out, L), or as `layout` and the batch of `x` say
    new_state : ndarray, shape of `state`
        Only if `state` was given: what to hand to the call with the next chunk.

    Raises
    ------
    TypeError, ValueError
        As `conv1d`; also for a `state` of another dtype or shape.

    Notes
    -----
    WaveNet stacks these with dilations 1, 2, 4, ... (A. van den Oord et al., 2016). Only the state
    and as many samples of `x` are copied.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> x, w = np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[[1.0, 10.0]]])
    >>> fc.causal_conv1d(x, w)
    array([[10., 21., 32., 43.]])
    >>> y, state = fc.causal_conv1d(x[:, :3], w, state=np.zeros((1, 1)))
    >>> fc.causal_conv1d(x[:, 3:], w, state=state)
    (array([[43.]]), array([[4.]]))
    """
    array, code = read_array(x, "x")
    taps = read_as(weight, "weight", code, "x")
    problem = make_problem(
        code, taps.shape, 1, dilation=dilation, groups=groups, activation=activation,
        precision=precision, algorithm=algorithm, layout=layout, has_bias=bias is not None,
    )  # fmt: skip
    _check_shapes(problem, array)
    axis = -2 if problem.channels_last else -1
    length, reach = array.shape[axis], problem.dilation[0] * (problem.kernel[0] - 1)
    before = _read_state(state, code, array, axis, reach)
    shape = list(array.shape)
    shape[-1 if problem.channels_last else -2] = problem.out_ch
    if residual is not None:
        residual = read_as(residual, "residual", code, "x")
        if residual.shape != tuple(shape):
            raise ValueError(f"residual must have shape {tuple(shape)}, got {residual.shape}")
    if out is not None:
        check_out(out, array.dtype, tuple(shape), array, residual, weight=taps, state=before)
    result = np.empty(shape, array.dtype) if out is None or out is not _regular(out) else out
    stream = _Stream(problem, taps, bias, flip_kernel)
    added = None if residual is None else _regular(residual)
    first = min(length, reach)
    head = np.concatenate([before, _along(array, axis, 0, first)], axis)
    for source, begin, end in ((head, 0, first), (_regular(array), first, length)):
        part = None if added is None else _along(added, axis, begin, end)
        stream.run(source, _along(result, axis, begin, end), part)
    if out is not None and result is not out:
        out[...] = result
    answer = result if out is None else out
    if state is None:
        return answer
    if length < reach:
        return answer, np.ascontiguousarray(_along(head, axis, length, length + reach))
    return answer, np.array(_along(array, axis, length - reach, length), order="C")


def _softmax(taps: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64; a head whose weights are all -inf has no softmax: NaN."""
    wide = taps.astype(np.float64)
    with np.errstate(invalid="ignore"):
        powers = np.exp(wide - wide.max(-1, keepdims=True))
        normal: np.ndarray = powers / powers.sum(-1, keepdims=True)
    return normal


def lightweight_conv1d(
    x: Any,
    weight: Any,
    *,
    softmax: bool = True,
    causal: bool = False,
    layout: LayoutName = "NCL",
    precision: Precision = "highest",
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Convolve over time with kernels shared by the channels of a head and summing to one.

    Parameters
    ----------
    x : array_like, shape (N, C, L) or (C, L)
        With ``layout="NLC"``: (N, L, C) or (L, C).
    weight : array_like, shape (H, k)
        One kernel per head, of the dtype of `x`. Channel c belongs to head ``c*H // C``; H divides
        C.
    softmax : bool
        Normalise every kernel over its width first.
    causal : bool
        Pad before the sequence only, so that no output sees a later input; otherwise "same", the
        odd cell after.
    layout, precision, algorithm, out
        As `conv1d`.

    Returns
    -------
    ndarray, shape of `x`

    Raises
    ------
    TypeError, ValueError
        As `conv1d`; also if H does not divide the channels.

    Notes
    -----
    F. Wu, A. Fan, A. Baevski, Y. Dauphin and M. Auli, "Pay less attention with lightweight and
    dynamic convolutions" (2019). The softmax is computed in float64.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> x = np.array([[3.0, 6.0, 9.0], [0.0, 3.0, 0.0]])
    >>> fc.lightweight_conv1d(x, np.zeros((1, 3)))
    array([[3., 6., 5.],
           [1., 1., 1.]])
    """
    array, code = read_array(x, "x")
    taps = read_as(weight, "weight", code, "x")
    if not isinstance(softmax, (bool, np.bool_)) or not isinstance(causal, (bool, np.bool_)):
        name, value = ("causal", causal) if isinstance(softmax, bool) else ("softmax", softmax)
        raise TypeError(f"{name} must be a bool, got {value!r} ({type(value).__name__})")
    channels = channels_of(array.shape, 1, channels_last(layout, 1))
    if taps.ndim != 2 or taps.size == 0:
        raise ValueError(f"weight must have shape (H, k), got {taps.shape}")
    heads = taps.shape[0]
    if channels == 0 or channels % heads:
        raise ValueError(
            f"weight must have a number of heads that divides the {channels} channels of x, "
            f"got {heads} in shape {taps.shape}"
        )
    if softmax:
        taps = compute_array(_softmax(taps), code)
    every = np.repeat(taps, channels // heads, axis=0)[:, None, :]
    problem = make_problem(
        code, every.shape, 1, padding="causal" if causal else "same", groups=channels,
        precision=precision, algorithm=algorithm, layout=layout,
    )  # fmt: skip
    return convolve(problem, array, every, out=out)
