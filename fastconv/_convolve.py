"""The engine under every convolution function: arguments in, results out.

`make_problem` turns arguments into a `Problem` (_problem.py), `find_plan` gives the plan for one
shape of x from a bounded cache shared by all functional calls (_planning.py), and `convolve` is
such a call. `Conv` keeps its own cache, of plans together with packed weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from time import perf_counter
from typing import Any

import numpy as np

from fastconv import _core
from fastconv._array import as_array, dtype_code
from fastconv._observe import tell
from fastconv._options import (
    algorithm_name,
    channels_last,
    normalize_activation,
    one_of,
)
from fastconv._padding import (
    Pairs,
    normalize_output_padding,
    normalize_padding,
    normalize_pairs,
    normalize_tuple,
)
from fastconv._planning import find_plan
from fastconv._problem import DTYPE_NAMES, Problem

__all__ = [
    "as_bias",
    "check_out",
    "compute_array",
    "convolve",
    "find_problem",
    "flexible_dtype",
    "make_problem",
    "out_checker",
    "read_array",
    "read_as",
    "reader",
    "weights_unsafe",
]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
_KINDS = {"conv_transpose": "transposed", "deform_conv": "deformable"}
_PRECISIONS = ("highest", "high", "medium")
_COMPUTE: dict[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "f16": np.dtype(np.float32),
    "bf16": np.dtype(np.float32),
}
_DTYPES = {name: code for code, name in DTYPE_NAMES.items()}
# Transforms of such weights could overflow or spread a NaN, so those algorithms step aside.
_LARGEST_SAFE_WEIGHT = 1e18
_OVERLAP_WORK: Any = 100_000


# Arguments


def flexible_dtype(dtype: Any, name: str = "dtype") -> str:
    """The kernels' name of a dtype given in any form, bfloat16 by name without ml_dtypes."""
    text = dtype if isinstance(dtype, str) and dtype in _DTYPES else None
    if text is None:
        try:
            found = np.dtype(dtype)
        except TypeError:
            raise TypeError(f"{name} must be one of {', '.join(_DTYPES)}, got {dtype!r}") from None
        text = found.name if found.isnative else str(found)
    if text not in _DTYPES:
        raise TypeError(f"{name} must be one of {', '.join(_DTYPES)}, got {dtype!r}")
    return _DTYPES[text]


def read_array(value: Any, name: str) -> tuple[np.ndarray, str]:
    """Any array-like as an ndarray the kernels can read, and the name of its element type."""
    array = as_array(value, name)
    try:
        return array, dtype_code(array, name)
    except TypeError:
        if array.dtype.kind not in "biu":
            raise
    raise TypeError(
        f"{name} must have dtype float32, float64, float16 or bfloat16, got {array.dtype}: "
        f"convert it, for example with {name}.astype(numpy.float32)"
    )


def read_as(value: Any, name: str, code: str, owner: str) -> np.ndarray:
    """`read_array`, refusing any element type but that of the argument `owner`."""
    array, found = read_array(value, name)
    if found != code:
        raise TypeError(
            f"{name} must have the dtype of {owner}, {DTYPE_NAMES[code]}, got {array.dtype}: "
            f"convert one of them with astype"
        )
    return array


class reader:
    """`read_as` with the element type and its owner fixed: what `_core.Engine` calls."""

    __slots__ = ("code", "owner")

    def __init__(self, code: str, owner: str) -> None:
        self.code, self.owner = code, owner

    def __call__(self, value: Any, name: str) -> np.ndarray:
        return read_as(value, name, self.code, self.owner)


def compute_array(array: np.ndarray, code: str) -> np.ndarray:
    """The array in the type the kernels compute in; itself where it has it and can be read."""
    array = np.asarray(array, _COMPUTE[code])
    flags = array.flags
    if flags.aligned and flags.c_contiguous:
        return array
    if not flags.aligned or any(step % array.itemsize for step in array.strides):
        return np.array(array)
    return array


def as_bias(bias: Any, code: str, out_ch: int) -> np.ndarray | None:
    """A dense copy of the bias in the compute type; sequences of Python numbers are taken too."""
    if bias is None:
        return None
    if isinstance(bias, (list, tuple)):
        array = as_array(bias, "bias")
        if array.dtype.kind not in "biuf":
            raise TypeError(f"bias must hold real numbers, got dtype {array.dtype}")
    else:
        array, found = read_array(bias, "bias")
        if found != code and not (code in ("f16", "bf16") and found == "f32"):
            raise TypeError(
                f"bias must have the dtype of weight, {DTYPE_NAMES[code]}, got {array.dtype}: "
                f"convert it with astype"
            )
    if array.shape != (out_ch,):
        raise ValueError(f"bias must have shape ({out_ch},), got {array.shape}")
    return np.array(array, _COMPUTE[code], order="C")


def weights_unsafe(weight: np.ndarray, kernel: Sequence[int]) -> bool:
    """Whether some weight is not finite or so large that a transform could overflow."""
    if max(kernel) == 1:  # no algorithm transforms a single tap
        return False
    inside = _core.within(weight, _LARGEST_SAFE_WEIGHT)
    if inside is None:
        inside = _core.within(np.array(weight, order="C"), _LARGEST_SAFE_WEIGHT)
    return not inside


def _check_weight_shape(shape: tuple[int, ...], rank: int, transposed: bool, name: str) -> None:
    if len(shape) != rank + 2:
        axes = "(C_in, C_out/groups" if transposed else "(C_out, C_in/groups"
        spatial = ", ".join(("kD", "kH", "kW")[3 - rank :])
        raise ValueError(
            f"{name} must have {rank + 2} dimensions, {axes}, {spatial}), got shape {shape}"
        )
    if 0 in shape:
        raise ValueError(f"{name} must have no axis of size 0, got shape {shape}")


def _channels(
    shape: tuple[int, ...], groups: Any, transposed: bool, name: str
) -> tuple[int, int, int]:
    """(in_ch, out_ch, groups) of a weight of this shape."""
    if type(groups) is not int and (isinstance(groups, bool) or not hasattr(groups, "__index__")):
        raise TypeError(f"groups must be an int, got {groups!r} ({type(groups).__name__})")
    (count,) = normalize_tuple(groups, 1, "groups", 1)
    if shape[0] % count:
        kind = "input" if transposed else "output"
        raise ValueError(
            f"groups must divide the {shape[0]} {kind} channels of {name}, got {count}"
        )
    if transposed:
        return shape[0], shape[1] * count, count
    return shape[1] * count, shape[0], count


def make_problem(
    code: str,
    weight_shape: tuple[int, ...],
    rank: int,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
    transposed: bool = False,
    output_padding: Any = 0,
    padding_mode: Any = "zeros",
    activation: Any = None,
    precision: Any = "highest",
    algorithm: Any = "auto",
    layout: Any = "NCHW",
    has_bias: bool = False,
    operation: str = "conv",
    weight_name: str = "weight",
) -> Problem:
    """Normalise what does not depend on x.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what came and what was wanted.
    """
    _check_weight_shape(weight_shape, rank, transposed, weight_name)
    in_ch, out_ch, count = _channels(weight_shape, groups, transposed, weight_name)
    strides = normalize_tuple(stride, rank, "stride", 1)
    dilations = normalize_tuple(dilation, rank, "dilation", 1)
    extra = (0,) * rank
    if transposed:
        operation = "conv_transpose"
        extra = normalize_output_padding(output_padding, strides, dilations)
    elif output_padding != 0 and any(normalize_tuple(output_padding, rank, "output_padding")):
        raise ValueError(
            f"output_padding must be 0 unless the convolution is transposed, got {output_padding!r}"
        )
    if isinstance(padding, str):
        # A word's pairs depend on x; an unknown word is refused here.
        normalize_padding(padding, extra, extra, strides, dilations, transposed=transposed)
        pads: str | Pairs = padding
    else:
        pads = normalize_pairs(padding, rank, "padding")
    if padding_mode != "zeros":
        one_of(padding_mode, _PADDING_MODES, "padding_mode")
        if operation not in ("conv", "separable_conv"):
            raise ValueError(
                f"padding_mode must be 'zeros' for a {_KINDS[operation]} convolution, "
                f"got {padding_mode!r}"
            )
    name, params = normalize_activation(activation)
    return Problem(
        code,
        operation,
        rank,
        in_ch,
        out_ch,
        count,
        weight_shape[2:],
        strides,
        dilations,
        pads,
        extra,
        padding_mode,
        name,
        params,
        precision if precision == "highest" else one_of(precision, _PRECISIONS, "precision"),
        algorithm_name(algorithm),
        has_bias,
        channels_last(layout, rank),
    )


_find_problem = lru_cache(maxsize=512, typed=True)(make_problem)


def find_problem(code: str, shape: tuple[int, ...], rank: int, *options: Any) -> Problem:
    """`make_problem` with every option by position, remembered where equal ones mean the same."""
    if _core.plain(options):
        return _find_problem(code, shape, rank, *options)
    return make_problem(code, shape, rank, *options)


# Outputs


def _overlaps(a: np.ndarray, b: np.ndarray) -> bool:
    if not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=_OVERLAP_WORK)
    except RuntimeError:  # TooHardError, whose place differs between NumPy 1 and 2
        return True


def _same_elements(a: np.ndarray, b: np.ndarray) -> bool:
    return (
        a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        and a.shape == b.shape
        and a.strides == b.strides
    )


def check_out(
    out: Any,
    dtype: np.dtype[Any],
    shape: tuple[int, ...] | None,
    x: np.ndarray,
    residual: Any = None,
    **others: np.ndarray | None,
) -> None:
    """Refuse an `out` that cannot take the result.

    It may be `residual` itself: every kernel reads an element of the residual before it writes the
    same element of the output.
    """
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out must be an ndarray, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"out must have dtype {dtype}, got {out.dtype}")
    if shape is not None and out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
    if out.size and any(
        step == 0 and size > 1 for step, size in zip(out.strides, out.shape, strict=True)
    ):
        raise ValueError(
            f"out must have its elements at distinct addresses, got strides {out.strides} "
            f"for shape {out.shape}"
        )
    for name, array in (("x", x), *others.items()):
        if array is not None and _overlaps(out, array):
            raise ValueError(f"out must not overlap {name}, got an array sharing memory with it")
    if (
        isinstance(residual, np.ndarray)
        and not _same_elements(out, residual)
        and _overlaps(out, residual)
    ):
        raise ValueError(
            "out must be residual itself or not overlap it, got an array sharing part of its memory"
        )


class out_checker:
    """`check_out` with what does not change fixed: what `_core.Engine` calls."""

    __slots__ = ("channels_last", "dtype", "rank")

    def __init__(self, problem: Problem) -> None:
        self.dtype, self.rank = problem.dtype, problem.rank
        self.channels_last = problem.channels_last

    def __call__(
        self, out: Any, x: np.ndarray, residual: Any, shape: tuple[int, ...] | None
    ) -> bool | None:
        if residual is not None and not isinstance(residual, np.ndarray):
            residual = as_array(residual, "residual")
        check_out(out, self.dtype, shape, x, residual)
        if not self.rank + 1 <= out.ndim <= self.rank + 2:
            return self.channels_last
        dense: bool | None = _core.dense_channels(out, self.rank, self.channels_last)
        return dense


# The functional call


def _dense(array: np.ndarray, problem: Problem) -> tuple[np.ndarray, bool]:
    """The array, copied if its elements lie at odd addresses; whether its channels are dense."""
    if not problem.rank + 1 <= array.ndim <= problem.rank + 2:
        return array, False  # refused where shapes are checked
    hint = _core.dense_channels(array, problem.rank, problem.channels_last)
    if hint is None:
        array = np.array(array)
        hint = _core.dense_channels(array, problem.rank, problem.channels_last)
    return array, bool(hint)


def convolve(
    problem: Problem,
    x: np.ndarray,
    weight: np.ndarray,
    bias: Any = None,
    *,
    residual: Any = None,
    out: Any = None,
    flip: bool = False,
    pointwise: np.ndarray | None = None,
    offset: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """One convolution, weights packed for this call; x, weight, offset and mask already read."""
    packable = compute_array(weight, problem.code)
    if offset is not None:
        offset, _ = _dense(offset, problem)
    if mask is not None:
        mask, _ = _dense(mask, problem)
    if weights_unsafe(packable, problem.kernel):
        problem = problem._replace(weights_unsafe=True)
    bias = as_bias(bias, problem.code, problem.out_ch)
    if residual is not None:
        residual = read_as(residual, "residual", problem.code, "x")
    x, x_hint = _dense(x, problem)
    out_hint: bool | None = problem.channels_last
    if out is not None:
        check_out(
            out, x.dtype, None, x, residual, weight=weight, pointwise_weight=pointwise,
            offset=offset, mask=mask,
        )  # fmt: skip
        if problem.rank + 1 <= out.ndim <= problem.rank + 2:
            out_hint = _core.dense_channels(out, problem.rank, problem.channels_last)
    if offset is not None and problem.in_ch > 1 and not x_hint:
        # Samples lie anywhere: dense channels serve them by vectors, which outweighs one pass.
        channel = x.ndim - 1 if problem.channels_last else x.ndim - 1 - problem.rank
        dense = np.ascontiguousarray(np.moveaxis(x, channel, -1))
        x, x_hint = np.moveaxis(dense, -1, channel), True
    plan, shape = find_plan(problem, x.shape, x_hint, bool(out_hint), residual is not None)
    if residual is not None:
        if residual.shape != shape:
            raise ValueError(
                f"residual must have the shape of the output, {shape}, got {residual.shape}"
            )
        residual, _ = _dense(residual, problem)
    if out is not None and out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    result = _core.empty_aligned(shape, x.dtype) if out is None or out_hint is None else out
    if plan is not None:
        if pointwise is not None:
            pointwise = compute_array(pointwise, problem.code)
        start = perf_counter() if _core.observed() else None
        packed = plan.pack(packable, pointwise, flip=flip)
        plan.run(
            packed, x, result, bias, residual, offset, mask,
            channels_last=problem.channels_last, threads=-_core.threads_here.get(),
        )  # fmt: skip
        if start is not None:
            tell((problem, x.shape, residual is not None), plan, perf_counter() - start)
    if out is not None and result is not out:
        out[...] = result
    return result if out is None else out
