"""What a convolution costs and covers, from its geometry alone: no array is touched.

Output sizes, padding, receptive fields, parameters, multiplications and the overlap of transposed
convolutions. Formulas follow V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep
learning" (2016), and A. Araujo et al., "Computing receptive fields of convolutional neural
networks" (Distill, 2019).

Wherever a size per axis is asked for, an int stands for every axis; the rank is the length of the
first tuple found, or one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any, Literal, NamedTuple, SupportsIndex

import numpy as np
import numpy.typing as npt

from fastconv._padding import (
    IntOrTuple,
    Padding,
    Pairs,
    normalize_output_padding,
    normalize_padding,
    normalize_tuple,
    same_pairs,
    transposed_output_size,
)
from fastconv._padding import output_size as _output_size

__all__ = [
    "Layer",
    "ReceptiveField",
    "effective_kernel",
    "even_overlap",
    "multiplications",
    "output_shape",
    "overlap_map",
    "parameter_count",
    "receptive_field",
    "same_padding",
]

Kind = Literal["standard", "depthwise", "depthwise_separable", "spatially_separable", "flattened"]
_KINDS = ("standard", "depthwise", "depthwise_separable", "spatially_separable", "flattened")


def _rank(*values: Any) -> int:
    for value in values:
        if isinstance(value, np.ndarray) and value.ndim:
            return len(value)
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            return len(value)
    return 1


class _Geometry(NamedTuple):
    in_size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]

    def output(self) -> tuple[int, ...]:
        return _output_size(self.in_size, self.kernel, self.stride, self.padding, self.dilation)


def _geometry(
    in_size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, transposed: bool = False
) -> _Geometry:
    rank = _rank(in_size, kernel, stride, dilation, padding)
    sizes = normalize_tuple(in_size, rank, "in_size")
    kernels = normalize_tuple(kernel, rank, "kernel", 1)
    strides = normalize_tuple(stride, rank, "stride", 1)
    dilations = normalize_tuple(dilation, rank, "dilation", 1)
    pads = normalize_padding(padding, sizes, kernels, strides, dilations, transposed=transposed)
    return _Geometry(sizes, kernels, strides, pads, dilations)


def output_shape(
    in_size: IntOrTuple,
    kernel: IntOrTuple,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    dilation: IntOrTuple = 1,
    *,
    transposed: bool = False,
    output_padding: IntOrTuple = 0,
) -> tuple[int, ...]:
    """Spatial output size of a convolution or a transposed convolution.

    Parameters
    ----------
    in_size, kernel : int or tuple of int
        Spatial sizes only, without batch and channels.
    stride, dilation : int or tuple of int
    padding : int, tuple, per-side pairs, or {"same", "same_lower", "valid", "causal"}
        As in ``fastconv.conv2d``.
    transposed : bool
        Give the size of the transposed convolution instead.
    output_padding : int or tuple of int
        Cells added after the data of a transposed convolution; smaller than stride or dilation.

    Returns
    -------
    tuple of int
        One entry per axis, also for a single axis. Zero is a legal size.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, length or range, or the output size would be negative.

    Notes
    -----
    ``floor((i + before + after - d*(k - 1) - 1) / s) + 1``, and transposed
    ``(i - 1)*s - before - after + d*(k - 1) + 1 + output_padding``.

    Examples
    --------
    >>> output_shape((5, 5), 3)
    (3, 3)
    >>> output_shape(224, 7, stride=2, padding=3)
    (112,)
    >>> output_shape(7, 3, stride=2, transposed=True)
    (15,)
    """
    g = _geometry(in_size, kernel, stride, padding, dilation, transposed)
    if not transposed:
        if output_padding != 0:
            raise ValueError(
                f"output_padding must be 0 unless transposed=True, got {output_padding!r}"
            )
        return g.output()
    extra = normalize_output_padding(output_padding, g.stride, g.dilation)
    return transposed_output_size(g.in_size, g.kernel, g.stride, g.padding, g.dilation, extra)


def same_padding(
    in_size: IntOrTuple,
    kernel: IntOrTuple,
    stride: IntOrTuple = 1,
    dilation: IntOrTuple = 1,
    *,
    lower: bool = False,
) -> Pairs:
    """Padding that gives ``ceil(in_size / stride)`` outputs, as (before, after) pairs.

    Parameters
    ----------
    in_size, kernel, stride, dilation : int or tuple of int
    lower : bool
        Put the odd cell before the data (ONNX's SAME_LOWER) instead of after (SAME_UPPER).

    Returns
    -------
    tuple of (int, int)
        One pair per axis, ready to be a ``padding`` argument.

    Examples
    --------
    >>> same_padding(6, 3, stride=2)
    ((0, 1),)
    >>> same_padding((5, 6), (3, 4), lower=True)
    ((1, 1), (2, 1))
    """
    g = _geometry(in_size, kernel, stride, 0, dilation)
    return same_pairs(g.in_size, g.kernel, g.stride, g.dilation, lower)


def effective_kernel(kernel: IntOrTuple, dilation: IntOrTuple = 1) -> int | tuple[int, ...]:
    """Cells a dilated kernel spans: ``k + (k - 1)*(d - 1)``.

    Returns
    -------
    int or tuple of int
        An int when both arguments are ints.

    Examples
    --------
    >>> effective_kernel(3, 2)
    5
    >>> effective_kernel((3, 1), (4, 4))
    (9, 1)
    """
    rank = _rank(kernel, dilation)
    kernels = normalize_tuple(kernel, rank, "kernel", 1)
    dilations = normalize_tuple(dilation, rank, "dilation", 1)
    spans = tuple(k + (k - 1) * (d - 1) for k, d in zip(kernels, dilations, strict=True))
    return _unwrapped(spans, not _any_tuple(kernel, dilation))


def _any_tuple(*values: Any) -> bool:
    return any(
        isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) and np.ndim(value)
        for value in values
    )


def _unwrapped(values: tuple[int, ...], scalar: bool) -> int | tuple[int, ...]:
    return values[0] if scalar else values


class Layer(NamedTuple):
    """Geometry of one layer for `receptive_field`; the order is that of the layer functions."""

    kernel: IntOrTuple
    stride: IntOrTuple = 1
    padding: Padding = 0
    dilation: IntOrTuple = 1


class ReceptiveField(NamedTuple):
    """What one output of a stack of layers sees of the input.

    Output `n` depends on the inputs ``offset + n*jump`` to ``offset + n*jump + size - 1``; a
    negative index lies in the padding. Every field is an int, or a tuple with one per axis.
    """

    size: int | tuple[int, ...]
    jump: int | tuple[int, ...]
    offset: int | tuple[int, ...]

    def window(self, position: IntOrTuple) -> tuple[Any, Any]:
        """First and last input index seen by the output at `position`.

        Examples
        --------
        >>> receptive_field([(3, 2, 1), (3, 2, 1)]).window(0)
        (-3, 3)
        """
        scalar = not isinstance(self.size, tuple)
        size, jump, offset = ((v,) if isinstance(v, int) else v for v in self)
        positions = normalize_tuple(position, len(size), "position")
        first = tuple(o + n * j for o, n, j in zip(offset, positions, jump, strict=True))
        last = tuple(f + s - 1 for f, s in zip(first, size, strict=True))
        return _unwrapped(first, scalar), _unwrapped(last, scalar)


LayerLike = SupportsIndex | Sequence[Any] | Mapping[str, Any]


def _as_layer(layer: Any, index: int) -> Layer:
    try:
        if isinstance(layer, Mapping):
            return Layer(**layer)
        if isinstance(layer, Sequence) and not isinstance(layer, str):
            return Layer(*layer)
        if isinstance(layer, SupportsIndex) and not isinstance(layer, bool):
            return Layer(layer)
    except TypeError:
        pass
    raise TypeError(
        f"layers[{index}] must be a kernel size, a sequence (kernel, stride, padding, dilation) "
        f"or a mapping with those keys, got {layer!r}"
    )


def receptive_field(
    layers: Iterable[LayerLike], *, in_size: IntOrTuple | None = None
) -> ReceptiveField:
    """Receptive field of a stack of convolution or pooling layers.

    Parameters
    ----------
    layers : iterable of int, sequence or mapping
        From input to output. Each is a kernel size, ``(kernel, stride, padding, dilation)`` with
        any number of the later ones left off, or a mapping with those keys (see `Layer`).
    in_size : int or tuple of int, optional
        Input size; needed only where a layer with a stride above one pads by "same".

    Returns
    -------
    ReceptiveField
        ``size``, ``jump`` (input samples between neighbouring outputs) and ``offset`` (first
        input of output 0). Ints if every layer is written with ints, else one entry per axis.

    Raises
    ------
    TypeError, ValueError
        If a layer cannot be read, the ranks differ, or `in_size` is missing where it is needed.

    Notes
    -----
    ``R_i = R_{i-1} + d_i*(k_i - 1) * prod(s_j for j < i)`` with ``R_0 = 1``.

    Examples
    --------
    >>> receptive_field([3, 3, 3])
    ReceptiveField(size=7, jump=1, offset=0)
    >>> receptive_field([{"kernel": 3, "dilation": d} for d in (1, 2, 4)]).size
    15
    >>> receptive_field([(7, 2, 3), (3, 2, 1)])
    ReceptiveField(size=11, jump=4, offset=-5)
    """
    if not isinstance(layers, Iterable) or isinstance(layers, (str, Mapping)):
        raise TypeError(f"layers must be a list of layers, got {layers!r}")
    parsed = [_as_layer(layer, index) for index, layer in enumerate(layers)]
    scalar = not _any_tuple(in_size, *(value for layer in parsed for value in layer))
    ranks = {_rank(value) for layer in parsed for value in layer if _any_tuple(value)}
    if in_size is not None and _any_tuple(in_size):
        ranks.add(_rank(in_size))
    if len(ranks) > 1:
        raise ValueError(f"layers must all have the same rank, got ranks {sorted(ranks)}")
    rank = ranks.pop() if ranks else 1
    size, jump, offset = [1] * rank, [1] * rank, [0] * rank
    cells = None if in_size is None else normalize_tuple(in_size, rank, "in_size")
    for index, layer in enumerate(parsed):
        place = f"layers[{index}]"
        kernel = normalize_tuple(layer.kernel, rank, f"{place}.kernel", 1)
        stride = normalize_tuple(layer.stride, rank, f"{place}.stride", 1)
        dilation = normalize_tuple(layer.dilation, rank, f"{place}.dilation", 1)
        by_size = isinstance(layer.padding, str) and layer.padding.startswith("same")
        if cells is None and by_size and max(stride) > 1:
            raise ValueError(
                f"in_size must be given: {place} pads by {layer.padding!r} with stride {stride}, "
                "which depends on the input size"
            )
        assumed = cells if cells is not None else kernel
        padding = normalize_padding(
            layer.padding, assumed, kernel, stride, dilation, name=f"{place}.padding"
        )
        if cells is not None:
            cells = _output_size(cells, kernel, stride, padding, dilation)
        for axis in range(rank):
            size[axis] += dilation[axis] * (kernel[axis] - 1) * jump[axis]
            offset[axis] -= padding[axis][0] * jump[axis]
            jump[axis] *= stride[axis]
    return ReceptiveField(*(_unwrapped(tuple(v), scalar) for v in (size, jump, offset)))


class _Channels(NamedTuple):
    inputs: int
    outputs: int
    groups: int
    multiplier: int


def _channels(
    in_channels: Any, out_channels: Any, groups: Any, multiplier: Any, kind: str
) -> _Channels:
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, _KINDS))}, got {kind!r}")
    (inputs,) = normalize_tuple(in_channels, 1, "in_channels", 1)
    (group_count,) = normalize_tuple(groups, 1, "groups", 1)
    (per_channel,) = normalize_tuple(multiplier, 1, "multiplier", 1)
    if kind not in ("depthwise", "depthwise_separable") and per_channel != 1:
        raise ValueError(f"multiplier must be 1 for kind {kind!r}, got {multiplier!r}")
    if kind == "depthwise":
        outputs = inputs * per_channel
        if out_channels is not None and out_channels != outputs:
            raise ValueError(
                f"out_channels must be in_channels * multiplier = {outputs} for kind "
                f"'depthwise', got {out_channels!r}"
            )
        if group_count not in (1, inputs):
            raise ValueError(
                f"groups must be in_channels = {inputs} for kind 'depthwise', got {groups!r}"
            )
        return _Channels(inputs, outputs, inputs, per_channel)
    if out_channels is None:
        raise ValueError(f"out_channels must be given for kind {kind!r}")
    (outputs,) = normalize_tuple(out_channels, 1, "out_channels", 1)
    # In a separable layer the groups belong to the 1x1 part, which reads the widened channels.
    grouped = inputs * per_channel
    if grouped % group_count or outputs % group_count:
        raise ValueError(
            f"groups must divide the {grouped} input and {outputs} output channels, got {groups!r}"
        )
    return _Channels(inputs, outputs, group_count, per_channel)


def parameter_count(
    in_channels: SupportsIndex,
    out_channels: SupportsIndex | None,
    kernel: IntOrTuple,
    *,
    groups: SupportsIndex = 1,
    bias: bool = False,
    kind: Kind = "standard",
    multiplier: SupportsIndex = 1,
) -> int:
    """Number of parameters of a layer.

    Parameters
    ----------
    in_channels, out_channels : int
        `out_channels` may be None for kind "depthwise", where it follows.
    kernel : int or tuple of int
        One int is a kernel of one axis: write ``(3, 3)`` for an image.
    groups : int
        Groups of the channel-mixing part.
    bias : bool
        Count one bias per output channel, in both parts of a depthwise separable layer.
    kind : str
        - "standard": ``C_in/g * C_out * prod(k)``; transposed layers have as many.
        - "depthwise": ``C_in * m * prod(k)``.
        - "depthwise_separable": that, then 1x1 to `out_channels`.
        - "spatially_separable": every kernel one column per axis, ``C_in/g * C_out * sum(k)``.
        - "flattened": every filter one pass per axis, ``C_out * (C_in/g + sum(k))``
          (J. Jin, A. Dundar and E. Culurciello, 2014).
    multiplier : int
        Depthwise outputs per input channel, m.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or range, or `groups` does not divide the channels.

    Examples
    --------
    >>> parameter_count(3, 64, (3, 3), bias=True)
    1792
    >>> parameter_count(3, 64, (3, 3), bias=True, kind="depthwise_separable")
    286
    """
    c = _channels(in_channels, out_channels, groups, multiplier, kind)
    kernels = normalize_tuple(kernel, _rank(kernel), "kernel", 1)
    if not isinstance(bias, (bool, np.bool_)):
        raise TypeError(f"bias must be True or False, got {bias!r} ({type(bias).__name__})")
    biases = c.outputs if bias else 0
    if kind == "depthwise_separable":
        middle = c.inputs * c.multiplier
        depthwise = middle * prod(kernels) + (middle if bias else 0)
        return depthwise + middle // c.groups * c.outputs + biases
    if kind == "spatially_separable":
        return c.inputs // c.groups * c.outputs * sum(kernels) + biases
    if kind == "flattened":
        return c.outputs * (c.inputs // c.groups + sum(kernels)) + biases
    return c.inputs // c.groups * c.outputs * prod(kernels) + biases


def multiplications(
    in_size: IntOrTuple,
    kernel: IntOrTuple,
    in_channels: SupportsIndex = 1,
    out_channels: SupportsIndex | None = None,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    dilation: IntOrTuple = 1,
    *,
    groups: SupportsIndex = 1,
    kind: Kind = "standard",
    multiplier: SupportsIndex = 1,
    transposed: bool = False,
    batch: SupportsIndex = 1,
) -> int:
    """Multiplications of a layer computed by its definition.

    Padding counts as samples like any other, and a bias multiplies nothing.

    Parameters
    ----------
    in_size, kernel : int or tuple of int
        Spatial sizes.
    in_channels : int
    out_channels : int, optional
        One if not given (kind "depthwise": ``in_channels * multiplier``).
    stride, padding, dilation
        As in `output_shape`.
    groups, kind, multiplier
        As in `parameter_count`. The passes of "spatially_separable" run along the first axis
        first, each with the stride, padding and dilation of its axis; those of "flattened" begin
        across the channels.
    transposed : bool
        Every input sample meets every weight of its group; padding, which crops here, saves
        nothing. Only for kind "standard" and "depthwise".
    batch : int
        Number of inputs.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or range, or the output size would be negative.

    Examples
    --------
    >>> multiplications((7, 7), (3, 3), 3, 128)
    86400
    >>> multiplications((7, 7), (3, 3), 3, 128, kind="depthwise_separable")
    10275
    >>> multiplications((5, 5), (3, 3)), multiplications((5, 5), (3, 3), kind="spatially_separable")
    (81, 72)
    """
    if out_channels is None and kind != "depthwise":
        out_channels = 1
    c = _channels(in_channels, out_channels, groups, multiplier, kind)
    g = _geometry(in_size, kernel, stride, padding, dilation, transposed)
    (images,) = normalize_tuple(batch, 1, "batch")
    if transposed:
        if kind not in ("standard", "depthwise"):
            raise ValueError(
                f"kind must be 'standard' or 'depthwise' with transposed=True, got {kind!r}"
            )
        positions = prod(g.in_size)
    else:
        positions = prod(g.output())
    if kind == "depthwise_separable":
        middle = c.inputs * c.multiplier
        per_position = middle * prod(g.kernel) + middle // c.groups * c.outputs
        return images * positions * per_position
    if kind == "spatially_separable":
        return images * c.inputs // c.groups * c.outputs * _pass_by_pass(g)
    if kind == "flattened":
        lateral = prod(g.in_size) * c.inputs // c.groups
        return images * c.outputs * (lateral + _pass_by_pass(g))
    return images * positions * c.inputs // c.groups * c.outputs * prod(g.kernel)


def _pass_by_pass(g: _Geometry) -> int:
    """Multiplications of one one-dimensional pass per axis over a single channel."""
    sizes, out_size, total = list(g.in_size), g.output(), 0
    for axis, taps in enumerate(g.kernel):
        sizes[axis] = out_size[axis]
        total += prod(sizes) * taps
    return total


def overlap_map(
    kernel: IntOrTuple,
    stride: IntOrTuple,
    in_size: IntOrTuple,
    *,
    padding: Padding = 0,
    dilation: IntOrTuple = 1,
    output_padding: IntOrTuple = 0,
) -> npt.NDArray[np.int64]:
    """How many (input, tap) pairs a transposed convolution adds up at every output.

    Where neighbouring counts differ the output has a checkerboard pattern, whatever the weights
    learned (A. Odena, V. Dumoulin and C. Olah, "Deconvolution and checkerboard artifacts", 2016).
    Away from the border they agree if and only if `even_overlap`.

    Parameters
    ----------
    kernel, stride, in_size : int or tuple of int
    padding, dilation, output_padding
        As in `output_shape` with ``transposed=True``.

    Returns
    -------
    ndarray of int64
        Of the output's size, with one axis per entry (one axis for ints).

    Examples
    --------
    >>> overlap_map(3, 2, 4)
    array([1, 1, 2, 1, 2, 1, 2, 1, 1])
    >>> overlap_map(4, 2, 4)
    array([1, 1, 2, 2, 2, 2, 2, 2, 1, 1])
    >>> overlap_map((3, 3), 2, 2)
    array([[1, 1, 2, 1, 1],
           [1, 1, 2, 1, 1],
           [2, 2, 4, 2, 2],
           [1, 1, 2, 1, 1],
           [1, 1, 2, 1, 1]])
    """
    g = _geometry(in_size, kernel, stride, padding, dilation, transposed=True)
    extra = normalize_output_padding(output_padding, g.stride, g.dilation)
    out_size = transposed_output_size(g.in_size, g.kernel, g.stride, g.padding, g.dilation, extra)
    result = np.ones((), np.int64)
    for axis, length in enumerate(out_size):
        starts = np.arange(g.in_size[axis]) * g.stride[axis] - g.padding[axis][0]
        places = (starts[:, None] + np.arange(g.kernel[axis]) * g.dilation[axis]).ravel()
        inside = places[(places >= 0) & (places < length)]
        counts = np.bincount(inside, minlength=length)
        result = np.multiply.outer(result, counts.astype(np.int64))
    return result


def even_overlap(kernel: IntOrTuple, stride: IntOrTuple, dilation: IntOrTuple = 1) -> bool:
    """Whether a transposed convolution covers its output evenly, away from the border.

    Without dilation that is: every kernel size is a multiple of the stride. If not, make it one,
    or resize and then convolve.

    Examples
    --------
    >>> even_overlap(3, 2), even_overlap(4, 2)
    (False, True)
    """
    rank = _rank(kernel, stride, dilation)
    kernels = normalize_tuple(kernel, rank, "kernel", 1)
    strides = normalize_tuple(stride, rank, "stride", 1)
    dilations = normalize_tuple(dilation, rank, "dilation", 1)
    for k, s, d in zip(kernels, strides, dilations, strict=True):
        counts = np.bincount(np.arange(k) * d % s, minlength=s)
        if counts.min() != counts.max():
            return False
    return True
