"""Running one case on one kernel row, and judging the result by the truth of tests/reference.py.

Inputs hold values that bfloat16 and float16 store exactly, so all dtypes share one truth. Every
array here is dense and in the storage type (float16 and bfloat16 as uint16); tests that want other
memory replace single arrays.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import zlib

import numpy as np
import reference as truth
from cases import FAMILIES, Case

from fastconv import _core

ROWS = [name for name, available in _core.kernels() if available]
TRANSFORMS = ("winograd", "fft")  # their rounding spreads over a tile, not over a window
UNIT_ROUNDOFF = {"f32": 2.0**-24, "f64": 2.0**-53, "f16": 2.0**-24, "bf16": 2.0**-24}
STORAGE_ROUNDOFF = {"f32": 0.0, "f64": 0.0, "f16": 2.0**-11, "bf16": 2.0**-8}
STORAGE_TINY = {"f32": 0.0, "f64": 0.0, "f16": 2.0**-25, "bf16": 0.0}
LARGEST_ON_REFERENCE = 300_000  # multiply-accumulates; the naive loops take 20 ns each


def algorithm_of(row):
    return row.split(".")[0]


def dtype_of(row):
    return row.split(".")[1]


def is_transform(row):
    return row.startswith(TRANSFORMS)


def compute_dtype(dtype):
    return np.float64 if dtype == "f64" else np.float32


@dataclasses.dataclass
class Arrays:
    """The operands of one call, each (N, C, *spatial) or (N, *spatial, C) as the case says."""

    x: np.ndarray
    weight: np.ndarray
    pointwise: np.ndarray | None = None
    bias: np.ndarray | None = None
    residual: np.ndarray | None = None
    offset: np.ndarray | None = None
    mask: np.ndarray | None = None

    TENSORS = ("x", "residual", "offset", "mask")
    PARAMETERS = ("weight", "pointwise", "bias")

    def map(self, change, names=TENSORS + PARAMETERS):
        """A copy in which `change` was applied to the named arrays that are there."""
        changed = {n: change(getattr(self, n)) for n in names if getattr(self, n) is not None}
        return dataclasses.replace(self, **changed)


def rounded(values):
    """Values with 8 significant bits, none below float16's reach."""
    values = truth.from_storage(truth.to_storage(values, "bf16"), "bf16")
    return np.where(np.abs(values) < 2.0**-14, 0, values)


@functools.cache
def values_of(case: Case) -> Arrays:
    """The case's operands in float64, channels first; the same on every run."""
    rng = np.random.default_rng(zlib.crc32(repr(case).encode()))
    normal = rng.standard_normal
    return Arrays(
        x=rounded(normal(case.x_shape)),
        weight=np.float64(np.float32(normal(case.weight_shape))),
        pointwise=np.float64(np.float32(normal(case.pointwise_shape))) if case.separable else None,
        bias=np.float64(np.float32(normal(case.out_ch))) if case.bias else None,
        residual=rounded(normal(case.out_shape)) if case.residual else None,
        offset=rounded(3 * normal(case.offset_shape)) if case.deform else None,
        mask=rounded(rng.random(case.mask_shape)) if case.mask else None,
    )


def linear(case: Case, v: Arrays):
    """The convolution itself: what is summed before bias, residual and activation."""
    geometry = (case.stride, case.padding, case.dilation)
    if case.separable:
        return truth.separable(v.x, v.weight, v.pointwise, *geometry)
    if case.deform:
        return truth.deform_conv2d(v.x, v.offset, v.weight, v.mask, *geometry, case.groups)
    if case.transposed:
        return truth.conv_transpose(
            v.x, v.weight, *geometry, case.output_padding, case.groups, case.flip
        )
    return truth.conv(v.x, v.weight, *geometry, case.groups, case.padding_mode, case.flip)


def with_addends(case: Case, y, v: Arrays):
    if v.bias is not None:
        y = y + v.bias.reshape(-1, *[1] * case.rank)
    return y if v.residual is None else y + v.residual


def expected(case: Case, v: Arrays):
    """(result before storage, sum of the magnitudes of everything added up), float64."""
    with np.errstate(invalid="ignore"):
        y = with_addends(case, linear(case, v), v)
        y = truth.activate(y, case.activation, case.activation_params)
        magnitudes = v.map(np.abs, ("x", "weight", "pointwise", "bias", "residual", "mask"))
        return y, with_addends(case, linear(case, magnitudes), magnitudes)


@functools.cache
def expected_of(case: Case):
    return expected(case, values_of(case))


def tolerance(row, case: Case, y, magnitude):
    """How far a kernel may be from `y`: c * u * sum |x| |w|, then the storage's rounding."""
    dtype = dtype_of(row)
    if is_transform(row):
        finite = magnitude[np.isfinite(magnitude)]
        magnitude = 4 * finite.max(initial=0)
    c = 6 + np.sqrt(case.reduction)
    error = c * UNIT_ROUNDOFF[dtype] * magnitude
    if case.activation is not None:
        error = 1.5 * error + 8 * UNIT_ROUNDOFF[dtype] * (1 + np.abs(y))
    return error + STORAGE_ROUNDOFF[dtype] * (np.abs(y) + error) + STORAGE_TINY[dtype]


def layout(case: Case, array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if case.channels_last else array


def stored(row, case: Case, v: Arrays) -> Arrays:
    dtype = dtype_of(row)
    arrays = v.map(lambda a: layout(case, truth.to_storage(a, dtype)), Arrays.TENSORS)
    return arrays.map(lambda a: a.astype(compute_dtype(dtype)), Arrays.PARAMETERS)


def plan(row, case: Case, **changes):
    """The case's plan on this row, or None when the row says that it cannot run it.

    A row that does not promise "highest" is asked for "high": its results are tried all the same.
    """
    arguments = {**case.plan_arguments, "dtype": dtype_of(row), "algorithm": row, **changes}
    for precision in ("highest", "high") if "precision" not in changes else (changes["precision"],):
        try:
            made = _core.Plan(**{**arguments, "precision": precision})
        except ValueError as error:
            if f"'{row}' cannot run this" not in str(error):
                raise
            continue
        assert made.kernel == row or case.transposed, f"{row} was asked, {made.kernel} would run"
        assert made.out_size == case.out_size, (made.out_size, case.out_size)
        return made
    return None


@functools.cache
def runs(row, case: Case):
    """Whether the row accepts the case."""
    return plan(row, case) is not None


def takes(row, case: Case):
    """Whether this row is asked to run the case at all: the naive loops get small ones only."""
    return algorithm_of(row) != "reference" or case.multiplications <= LARGEST_ON_REFERENCE


def new_out(row, case: Case):
    """Every byte set, so that an output that was not written shows: NaN in every type."""
    shape = case.out_shape
    if case.channels_last:
        shape = (shape[0], *shape[2:], shape[1])
    out = np.empty(shape, truth.to_storage(0.0, dtype_of(row)).dtype)
    out.view(np.uint8).fill(0xFF)
    return out


def run(row, case: Case, made, arrays: Arrays, out=None, threads=1, weights=None):
    """Runs and returns out as stored."""
    if weights is None:
        weights = made.pack(arrays.weight, arrays.pointwise, flip=case.flip, threads=threads)
    if out is None:
        out = new_out(row, case)
    made.run(
        weights, arrays.x, out, arrays.bias, arrays.residual, arrays.offset, arrays.mask,
        channels_last=case.channels_last, threads=threads,
    )  # fmt: skip
    return out


def compute(row, case: Case, v: Arrays, made=None):
    """The row's result for these values, float64 and channels first; None when not applicable."""
    unsafe = not all(np.isfinite(a).all() for a in (v.weight, v.pointwise) if a is not None)
    made = made or plan(row, case, weights_unsafe=unsafe)
    if made is None:
        return None
    return as_values(row, case, run(row, case, made, stored(row, case, v)))


def as_values(row, case: Case, out):
    got = truth.from_storage(out, dtype_of(row))
    return np.moveaxis(got, -1, 1) if case.channels_last else got


def difference(row, case: Case, got, y, magnitude):
    """None when `got` is right, else a sentence saying where it is most wrong."""
    with np.errstate(invalid="ignore"):
        right = (got == y) | (np.isnan(got) & np.isnan(y))
        excess = np.abs(got - y) / np.maximum(tolerance(row, case, y, magnitude), 1e-300)
    excess = np.where(np.isfinite(y) & np.isfinite(got), excess, np.inf)
    excess = np.where(right, 0, excess)
    if excess.size == 0 or excess.max() <= 1:
        return None
    at = np.unravel_index(np.argmax(excess), excess.shape)
    place = tuple(map(int, at))
    return (
        f"{row} {case!r}: {int((excess > 1).sum())} of {y.size} outputs wrong, worst at {place}: "
        f"got {got[at]!r}, wanted {y[at]!r}, {excess[at]:.3g} times the tolerance"
    )


def sample(row, count, families=FAMILIES, keep=lambda case: True):
    """Up to `count` cases of each family that the row runs, evenly spread."""
    chosen = []
    for family in families:
        cases = [case for case in FAMILIES[family] if keep(case) and takes(row, case)]
        step = max(len(cases) // (3 * count), 1)
        spread = cases[::step] + cases[1::step]
        able = (case for case in spread if runs(row, case))
        able = list(itertools.islice(able, 3 * count))
        chosen += able[:: max(len(able) // count, 1)][:count]
    return chosen


def report(failures):
    """Fails with the first few sentences."""
    failures = list(failures)
    assert failures, "nothing was tried"
    failures = [failure for failure in failures if failure]
    assert not failures, f"{len(failures)} failures:\n" + "\n".join(failures[:5])
