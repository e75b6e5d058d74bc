"""Kernels and convolutions as linear algebra: factors, matrices, fixed and folded weights.

`separate` finds rank-one factors, `conv_matrix` writes a convolution as a sparse matrix,
`bilinear_kernel` gives the transposed convolution that interpolates, `fold_batch_norm` merges a
normalisation into the weights before it. Computed in float64; SciPy is imported by `conv_matrix`
alone.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastconv._array import as_array
from fastconv._padding import (
    IntOrTuple,
    Padding,
    Pairs,
    normalize_output_padding,
    normalize_padding,
    normalize_tuple,
    output_size,
    transposed_output_size,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Separation", "bilinear_kernel", "conv_matrix", "fold_batch_norm", "separate"]

_POWER_ITERATIONS = 200


def _real(value: Any, name: str) -> np.ndarray:
    array = as_array(value, name)
    # bfloat16 and its kin have kind "V" but convert to float64 like any number.
    if array.dtype.kind not in "biufV":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype}")
    return array


def _number(value: Any, name: str) -> float:
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(value)
    raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")


def _float_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float64 for integers, float32 for floats narrower than that, else the dtype itself."""
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    return dtype if dtype.itemsize >= 4 else np.dtype(np.float32)


class Separation(NamedTuple):
    """A kernel as a sum of outer products of one vector per axis.

    Attributes
    ----------
    factors : tuple of ndarray
        One array of shape (rank, k) per axis; for a 2-D kernel the columns, then the rows.
    relative_error : float
        Frobenius norm of what the sum leaves out, over that of the kernel.
    rank_one : bool
        Whether one term alone reproduces the kernel within the tolerance.
    """

    factors: tuple[np.ndarray, ...]
    relative_error: float
    rank_one: bool

    @property
    def column(self) -> np.ndarray:
        """First vector along the first axis."""
        return np.asarray(self.factors[0][0])

    @property
    def row(self) -> np.ndarray:
        """First vector along the last axis."""
        return np.asarray(self.factors[-1][0])

    def kernel(self) -> np.ndarray:
        """The sum of the outer products."""
        return _sum_of_products(self.factors)


def _sum_of_products(factors: tuple[np.ndarray, ...]) -> np.ndarray:
    total = 0
    for vectors in zip(*factors, strict=True):
        product = vectors[0]
        for vector in vectors[1:]:
            product = np.multiply.outer(product, vector)
        total = total + product
    return np.asarray(total)


def separate(kernel: Any, rank: int = 1, *, tolerance: float | None = None) -> Separation:
    """Factors of a spatially separable kernel, or its best low-rank approximation.

    Parameters
    ----------
    kernel : array_like, shape (k_1, k_2, ...)
        A single kernel of at least two axes, real and finite.
    rank : int
        Number of outer products; for a 2-D kernel at most the smaller of its sizes.
    tolerance : float, optional
        Largest relative error at which the kernel counts as rank one. By default
        ``4 * eps * max(kernel.shape)`` for the precision of the kernel's dtype.

    Returns
    -------
    Separation
        Factors (of the kernel's dtype if that is float32 or float64), the relative error of their
        sum, and whether the rank is one.

    Raises
    ------
    TypeError, ValueError
        If `kernel` is not real and finite with two axes or more, or `rank` or `tolerance` is out
        of range.

    Notes
    -----
    Two axes: the singular value decomposition, whose first terms are the best approximation of
    their rank (C. Eckart and G. Young, 1936). More axes: one term after another, each the higher
    order singular vectors refined by alternating least squares (L. De Lathauwer, B. De Moor and
    J. Vandewalle, "On the best rank-1 and rank-(R1, ..., RN) approximation", 2000); exact for a
    kernel of rank one, otherwise a good but not always the best approximation.

    The terms come with the largest first. Of each vector but the last, the entry of largest
    magnitude is positive; all vectors of a term have the same norm.

    Examples
    --------
    >>> sobel = separate([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    >>> sobel.rank_one
    True
    >>> np.round(sobel.column / sobel.column[0], 6)
    array([1., 2., 1.])
    >>> laplacian = separate([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    >>> laplacian.rank_one, round(laplacian.relative_error, 3)
    (False, 0.101)
    """
    source = _real(kernel, "kernel")
    if source.ndim < 2 or source.size == 0:
        raise ValueError(
            f"kernel must have at least two axes and no empty one, got shape {source.shape}"
        )
    full = source.astype(np.float64)
    if not np.isfinite(full).all():
        raise ValueError("kernel must be finite, got NaN or infinity")
    (count,) = normalize_tuple(rank, 1, "rank", 1)
    if source.ndim == 2 and count > min(source.shape):
        raise ValueError(
            f"rank must be at most {min(source.shape)} for a kernel of shape {source.shape}, "
            f"got {rank!r}"
        )
    limit = _tolerance(tolerance, source)
    norm = float(np.linalg.norm(full))
    terms = _svd_terms(full, count) if source.ndim == 2 else _deflation_terms(full, count)
    first = _sum_of_products(tuple(factor[:1] for factor in terms))
    rank_one = norm == 0 or float(np.linalg.norm(full - first)) <= limit * norm
    dtype = _float_type(source.dtype)
    factors = tuple(factor.astype(dtype) for factor in terms)
    kept = _sum_of_products(tuple(factor.astype(np.float64) for factor in factors))
    error = float(np.linalg.norm(full - kept)) / norm if norm else 0.0
    return Separation(factors, error, rank_one)


def _tolerance(tolerance: Any, kernel: np.ndarray) -> float:
    if tolerance is not None:
        limit = _number(tolerance, "tolerance")
        if not 0 <= limit < np.inf:
            raise ValueError(f"tolerance must be at least 0 and finite, got {tolerance!r}")
        return limit
    if kernel.dtype.kind in "biu":
        eps = np.finfo(np.float64).eps
    elif kernel.dtype.kind == "f":
        eps = np.finfo(kernel.dtype).eps
    elif kernel.dtype.name == "bfloat16":
        eps = np.float64(2.0**-7)
    else:
        raise TypeError(f"tolerance must be given for a kernel of dtype {kernel.dtype}")
    return float(4 * eps * max(kernel.shape))


def _balanced(vectors: list[np.ndarray], scale: float) -> list[np.ndarray]:
    """Unit vectors with `scale` and the signs shared out as `separate` promises."""
    share = abs(scale) ** (1 / len(vectors))
    sign = 1.0 if scale >= 0 else -1.0
    balanced = []
    for vector in vectors[:-1]:
        # Of entries equal but for rounding the first decides, so that the sign is stable.
        magnitude = np.abs(vector)
        peak = int(np.argmax(magnitude >= magnitude.max() * (1 - 1e-9)))
        flip = -1.0 if vector[peak] < 0 else 1.0
        sign *= flip
        balanced.append(vector * (flip * share))
    return [*balanced, vectors[-1] * (sign * share)]


def _svd_terms(kernel: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    left, singular, right = np.linalg.svd(kernel, full_matrices=False)
    terms = [_balanced([left[:, i], right[i]], float(singular[i])) for i in range(count)]
    return tuple(np.stack(vectors) for vectors in zip(*terms, strict=True))


def _deflation_terms(kernel: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    terms, rest = [], kernel
    for _ in range(count):
        vectors, scale = _best_rank_one(rest)
        terms.append(_balanced(vectors, scale))
        rest = rest - _sum_of_products(tuple(vector[None] for vector in terms[-1]))
    return tuple(np.stack(vectors) for vectors in zip(*terms, strict=True))


def _best_rank_one(tensor: np.ndarray) -> tuple[list[np.ndarray], float]:
    """Unit vectors and scale of a rank-one approximation of a tensor of three axes or more."""
    vectors = []
    for axis, size in enumerate(tensor.shape):
        unfolded = np.moveaxis(tensor, axis, 0).reshape(size, -1)
        vectors.append(np.linalg.svd(unfolded, full_matrices=False)[0][:, 0])
    scale = 0.0
    for _ in range(_POWER_ITERATIONS):
        before = scale
        for axis in range(tensor.ndim):
            contracted = tensor
            for other in reversed(range(tensor.ndim)):
                if other != axis:
                    contracted = np.tensordot(contracted, vectors[other], (other, 0))
            scale = float(np.linalg.norm(contracted))
            if scale == 0:
                return vectors, 0.0
            vectors[axis] = contracted / scale
        if abs(scale - before) <= np.finfo(np.float64).eps * scale:
            break
    return vectors, scale


def bilinear_kernel(
    channels: int, factor: IntOrTuple, *, dtype: npt.DTypeLike = np.float32
) -> np.ndarray:
    """Weights with which a transposed convolution interpolates linearly.

    Parameters
    ----------
    channels : int
    factor : int or tuple of int
        Upsampling factor f. An int means two dimensions; a tuple has one entry per dimension.
    dtype : dtype
        float32 by default.

    Returns
    -------
    ndarray, shape (channels, 1, *(2*f - f % 2))
        To be used with ``stride=f``, ``padding=f // 2`` and ``groups=channels``: the output is
        then exactly f times as large. Away from the border it is the linear interpolation of the
        input at pixel centres; at the border the input is continued by zeros.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or range.

    Notes
    -----
    J. Long, E. Shelhamer and T. Darrell, "Fully convolutional networks for semantic
    segmentation", 2015.

    Examples
    --------
    >>> bilinear_kernel(1, 2)[0, 0] * 16
    array([[1., 3., 3., 1.],
           [3., 9., 9., 3.],
           [3., 9., 9., 3.],
           [1., 3., 3., 1.]], dtype=float32)
    """
    (count,) = normalize_tuple(channels, 1, "channels", 1)
    rank = 2 if np.ndim(factor) == 0 else len(factor)  # type: ignore[arg-type]
    kernel = np.ones((), np.float64)
    for f in normalize_tuple(factor, rank, "factor", 1):
        size = 2 * f - f % 2
        triangle = 1 - np.abs(np.arange(size) - (size - 1) / 2) / f
        kernel = np.multiply.outer(kernel, triangle)
    return np.repeat(kernel.astype(dtype)[None, None], count, axis=0)


def _axis_links(
    count: int, in_size: int, kernel: int, stride: int, before: int, dilation: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Along one axis, all (window, cell, tap) triples whose cell lies inside the input."""
    cells = np.arange(count)[:, None] * stride - before + np.arange(kernel)[None, :] * dilation
    window, tap = np.nonzero((cells >= 0) & (cells < in_size))
    return window, cells[window, tap], tap


def _links(
    count: tuple[int, ...],
    in_size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Pairs,
    dilation: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`_axis_links` of all axes together, each index flattened in C order."""
    total = [np.zeros(1, np.int64)] * 3
    for axis, extents in enumerate(zip(count, in_size, kernel, strict=True)):
        n, i, k = extents
        links = _axis_links(n, i, k, stride[axis], padding[axis][0], dilation[axis])
        total = [
            (outer[:, None] * extent + inner[None, :]).ravel()
            for outer, extent, inner in zip(total, extents, links, strict=True)
        ]
    return total[0], total[1], total[2]


def _weight_rank(weight: np.ndarray, in_size: Any) -> int:
    if np.ndim(in_size) == 0:
        return weight.ndim if weight.ndim <= 2 else weight.ndim - 2
    return len(in_size)


def conv_matrix(
    weight: Any,
    in_size: IntOrTuple,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    dilation: IntOrTuple = 1,
    groups: int = 1,
    *,
    transposed: bool = False,
    output_padding: IntOrTuple = 0,
) -> csr_array:
    """The sparse matrix C of a convolution: ``C @ x.ravel() == y.ravel()``.

    ``C.T`` is the transposed convolution with the same weight and geometry, from outputs back to
    inputs.

    Parameters
    ----------
    weight : array_like, shape (C_out, C_in/groups, *kernel) or (*kernel)
        Transposed: (C_in, C_out/groups, *kernel). Without channel axes, one channel to one.
    in_size : int or tuple of int
        Spatial size of the input; an int for every axis alike.
    stride, padding, dilation, groups
        As in ``fastconv.conv2d``; padded with zeros.
    transposed : bool
        Give the matrix of the transposed convolution of an input of `in_size`.
    output_padding : int or tuple of int
        As in ``fastconv.conv_transpose2d``.

    Returns
    -------
    scipy.sparse.csr_array, shape (C_out * prod(out_size), C_in * prod(in_size))
        Of the weight's dtype (float16 and bfloat16 become float32). Every tap is stored, also
        where its weight is zero.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or range.

    Examples
    --------
    >>> C = conv_matrix(np.arange(1, 10).reshape(3, 3), 4)
    >>> C.shape
    (4, 16)
    >>> C.toarray()[0].reshape(4, 4)
    array([[1, 2, 3, 0],
           [4, 5, 6, 0],
           [7, 8, 9, 0],
           [0, 0, 0, 0]])
    """
    from scipy.sparse import coo_array

    array = _real(weight, "weight")
    rank = _weight_rank(array, in_size)
    if rank < 1 or array.ndim not in (rank, rank + 2):
        raise ValueError(
            f"weight must have {rank} axes, or {rank + 2} with channels, for in_size {in_size!r}, "
            f"got shape {array.shape}"
        )
    if array.ndim == rank:
        array = array[None, None]
    if 0 in array.shape:
        raise ValueError(f"weight must have no empty axis, got shape {array.shape}")
    (group_count,) = normalize_tuple(groups, 1, "groups", 1)
    leading, per_group, *kernel_list = array.shape
    if leading % group_count:
        raise ValueError(
            f"groups must divide the first axis of weight, of size {leading}, got {groups!r}"
        )
    kernel = tuple(kernel_list)
    sizes = normalize_tuple(in_size, rank, "in_size")
    strides = normalize_tuple(stride, rank, "stride", 1)
    dilations = normalize_tuple(dilation, rank, "dilation", 1)
    pads = normalize_padding(padding, sizes, kernel, strides, dilations, transposed=transposed)
    extra = normalize_output_padding(output_padding, strides, dilations)
    # Built as the ordinary convolution from `wide` to `narrow`, whose first weight axis is the
    # channels of `narrow`; the transposed one is its transpose.
    if transposed:
        wide = transposed_output_size(sizes, kernel, strides, pads, dilations, extra)
        narrow = sizes
    else:
        if any(extra):
            raise ValueError(
                f"output_padding must be 0 unless transposed=True, got {output_padding!r}"
            )
        wide, narrow = sizes, output_size(sizes, kernel, strides, pads, dilations)
    window, cell, tap = _links(narrow, wide, kernel, strides, pads, dilations)

    narrow_channel = np.arange(leading)[:, None, None]
    group = narrow_channel // (leading // group_count)
    wide_channel = group * per_group + np.arange(per_group)[None, :, None]
    shape = (leading, per_group, len(window))
    rows = np.broadcast_to(narrow_channel * prod(narrow) + window, shape)
    columns = np.broadcast_to(wide_channel * prod(wide) + cell, shape)
    taps = array.reshape(leading, per_group, -1)
    if taps.dtype.itemsize < 4 and taps.dtype.kind not in "biu":
        taps = taps.astype(np.float32)
    matrix = coo_array(
        (taps[:, :, tap].ravel(), (rows.ravel(), columns.ravel())),
        shape=(leading * prod(narrow), per_group * group_count * prod(wide)),
    )
    return (matrix.T if transposed else matrix).tocsr()


def fold_batch_norm(
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    gamma: Any = None,
    beta: Any = None,
    eps: float = 1e-5,
    *,
    transposed: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution that includes the batch normalisation after it.

    Parameters
    ----------
    weight : array_like, shape (C_out, C_in/groups, *kernel)
        Transposed: (C_in, C_out/groups, *kernel), with the groups known from the length of
        `mean`.
    bias : array_like, shape (C_out,), or None
    mean, var : array_like, shape (C_out,)
        Running mean and variance of the normalisation.
    gamma, beta : array_like, shape (C_out,), optional
        Its scale and shift; one and zero if not given.
    eps : float
        What the normalisation adds to the variance.
    transposed : bool
        `weight` belongs to a transposed convolution.

    Returns
    -------
    weight, bias : ndarray
        Computed in float64, of the weight's dtype (float64 for integers).

    Raises
    ------
    TypeError, ValueError
        If a shape does not agree, or ``var + eps`` is not positive.

    Notes
    -----
    ``w' = w * gamma / sqrt(var + eps)`` and ``b' = (b - mean) * gamma / sqrt(var + eps) + beta``.

    Examples
    --------
    >>> w, b = fold_batch_norm(np.ones((1, 1, 1)), [3.0], [1.0], [4.0], [6.0], [0.5], eps=0)
    >>> w.item(), b.item()
    (3.0, 6.5)
    """
    source = _real(weight, "weight")
    if source.ndim < 2:
        raise ValueError(f"weight must have channel axes, got shape {source.shape}")
    means = _real(mean, "mean")
    if means.ndim != 1:
        raise ValueError(f"mean must have one axis, got shape {means.shape}")
    channels = len(means)
    if transposed:
        per_group = source.shape[1]
        groups = channels // per_group if per_group and channels % per_group == 0 else 0
        if not groups or source.shape[0] % groups:
            raise ValueError(
                f"mean must have one entry per output channel: a multiple of {per_group} for a "
                f"transposed weight of shape {source.shape}, got {channels}"
            )
    elif channels != source.shape[0]:
        raise ValueError(
            f"mean must have {source.shape[0]} entries, one per output channel of weight of shape "
            f"{source.shape}, got {channels}"
        )
    given = {"bias": (bias, 0.0), "var": (var, None), "gamma": (gamma, 1.0), "beta": (beta, 0.0)}
    vectors = {
        name: _per_channel(value, default, channels, name)
        for name, (value, default) in given.items()
    }
    spread = vectors["var"] + _number(eps, "eps")
    if (spread <= 0).any():
        raise ValueError(f"var must be above -eps everywhere, got {vectors['var'].min()}")
    scale = vectors["gamma"] / np.sqrt(spread)
    full = source.astype(np.float64)
    if transposed:
        split = full.reshape(groups, source.shape[0] // groups, per_group, -1)
        folded = (split * scale.reshape(groups, 1, per_group, 1)).reshape(source.shape)
    else:
        folded = full * scale.reshape(-1, *[1] * (source.ndim - 1))
    shift = (vectors["bias"] - means.astype(np.float64)) * scale + vectors["beta"]
    dtype = np.dtype(np.float64) if source.dtype.kind in "biu" else source.dtype
    return folded.astype(dtype), shift.astype(dtype)


def _per_channel(value: Any, default: float | None, channels: int, name: str) -> np.ndarray:
    if value is None and default is not None:
        return np.full(channels, default)
    array = _real(value, name)
    if array.shape != (channels,):
        raise ValueError(
            f"{name} must have shape ({channels},), one entry per output channel, "
            f"got shape {array.shape}"
        )
    return array.astype(np.float64)
