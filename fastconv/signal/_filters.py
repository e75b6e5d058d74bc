"""upfirdn and FIR lfilter: filters along one axis."""

from __future__ import annotations

import math
import operator
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv import _core
from fastconv._convolve import make_problem
from fastconv._drop_in import NotCovered, stands_in
from fastconv._planning import make_plan
from fastconv.signal._numbers import convolve_numbers, plain_array
from fastconv.signal._planes import CODES

__all__ = ["lfilter", "upfirdn"]

_FLOATS = "fdFD"
_PHASE_PRODUCTS = 20000  # of one phase: fewer are not worth a call


@lru_cache(maxsize=256)
def _plan(
    code: str, shape: tuple[int, ...], taps: int, stride: int, padding: Any, transposed: bool
) -> Any:
    problem = make_problem(
        code, (1, 1, taps), 1, stride=stride, padding=padding, transposed=transposed,
    )._replace(weights_unsafe=True)  # keeps to sums of products  # fmt: skip
    return make_plan(problem, shape, False, False, False, pack_per_call=True)


def _strided(x: np.ndarray, h: np.ndarray, out: np.ndarray, first: int, step: int) -> None:
    """out[:, m] = sum over j of h[j] x[:, first + m*step - j] for float arrays (batch, samples)."""
    n, k, length = x.shape[1], h.size, out.shape[1]
    begin, last = first - (k - 1), first + (length - 1) * step
    x = x[:, max(begin, 0) : last + 1]
    padding = ((max(-begin, 0), max(last + 1 - n, 0)),)
    shape = (x.shape[0], 1, x.shape[1])
    plan, _ = _plan(CODES[x.dtype], shape, k, step, padding, False)
    plan.run(
        plan.pack(h.reshape(1, 1, k), flip=True), x[:, None], out[:, None],
        threads=-_core.threads_here.get(),
    )  # fmt: skip


def _resample(h: np.ndarray, x: np.ndarray, up: int, down: int, length: int) -> np.ndarray:
    """Real upfirdn along the second of two axes."""
    batch, n = x.shape
    if down == 1 and up > 1:
        plan, shape = _plan(CODES[x.dtype], (batch, 1, n), h.size, up, ((0, 0),), True)
        out = np.empty(shape, x.dtype)
        plan.run(plan.pack(h.reshape(1, 1, -1)), x[:, None], out, threads=-_core.threads_here.get())
        return out[:, 0]
    out = np.zeros((batch, length), x.dtype)
    phases = up // math.gcd(up, down)
    for phase in range(min(phases, length)):
        first, tap = divmod(phase * down, up)
        taps, to = np.ascontiguousarray(h[tap::up]), out[:, phase::phases]
        # Windows that begin beyond x see nothing of it.
        step = down * phases // up
        most = (n + taps.size - 2 - first) // step + 1
        to = to[:, : max(most, 0)]
        if taps.size and to.size:
            _strided(x, taps, to, first, step)
    return out


@stands_in("signal")
def upfirdn(
    h: Any, x: Any, up: int = 1, down: int = 1, axis: int = -1, mode: str = "constant",
    cval: float = 0,
) -> np.ndarray:  # fmt: skip
    """Insert zeros, filter, and take every `down`-th sample, as `scipy.signal.upfirdn`.

    Parameters
    ----------
    h : array_like of one dimension
        The filter.
    x : array_like
    up, down : int
    axis : int
    mode, cval
        Other than 0 beyond the ends, the call is handed to SciPy.

    Returns
    -------
    ndarray
        Of the common dtype of the inputs and float32.

    Notes
    -----
    Differs from SciPy in speed only. Calls that would come apart into many small convolutions
    (`up` and `down` above 1, few samples for each phase of the filter) are handed to it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.upfirdn([1, 1, 1], [1, 2, 3], up=3)
    array([1., 1., 1., 2., 2., 2., 3., 3., 3.], dtype=float32)
    """
    filt, data = plain_array(h, "h"), plain_array(x, "x")
    if filt.ndim != 1 or not filt.size or not data.ndim or not data.size:
        raise NotCovered(f"h of shape {filt.shape} and x of shape {data.shape}")
    try:
        up, down, axis = (operator.index(value) for value in (up, down, axis))
    except TypeError:
        raise NotCovered("up, down or axis is no integer") from None
    if up < 1 or down < 1 or not -data.ndim <= axis < data.ndim:
        raise NotCovered(f"up={up}, down={down}, axis={axis}")
    if not isinstance(mode, str) or mode.lower() not in ("constant", "zero") or cval != 0:
        raise NotCovered(f"mode={mode!r}, cval={cval!r}")
    dtype = np.result_type(filt, data, np.float32)
    lines = np.moveaxis(data, axis, -1)
    n = lines.shape[-1]
    length = ((n - 1) * up + filt.size - 1) // down + 1
    rows = lines.reshape(-1, n).astype(dtype, copy=False)
    if up > 1 and down > 1 and len(rows) * length * filt.size < _PHASE_PRODUCTS * up * up:
        raise NotCovered(f"{up} phases of few samples")
    taps = filt.astype(dtype)
    if dtype.kind == "c":
        real = np.dtype(dtype.char.lower())
        out = np.zeros((len(rows), length), dtype)
        parts = np.concatenate([rows.real, rows.imag]).astype(real, copy=False)
        first, second = np.split(_resample(taps.real.copy(), parts, up, down, length), 2)
        out.real, out.imag = first, second
        if filt.dtype.kind == "c":
            first, second = np.split(_resample(taps.imag.copy(), parts, up, down, length), 2)
            out.real -= second
            out.imag += first
    else:
        out = _resample(taps, np.ascontiguousarray(rows), up, down, length)
    return np.ascontiguousarray(np.moveaxis(out.reshape(*lines.shape[:-1], length), -1, axis))


@stands_in("signal")
def lfilter(b: Any, a: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """Filter along one axis, as `scipy.signal.lfilter`; fast where `a` has one coefficient (FIR).

    Parameters
    ----------
    b, a : array_like of one dimension
        Numerator and denominator.
    x : array_like
    axis : int
    zi : array_like, optional
        State of the delays: the shape of `x` with ``len(b) - 1`` along `axis`.

    Returns
    -------
    y : ndarray
    zf : ndarray
        Only with `zi`.

    Notes
    -----
    A filter with feedback (more than one coefficient in `a`) is handed to SciPy. A FIR filter's
    result has SciPy's dtype, and is computed as `convolve` does.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> signal.lfilter([0.5, 0.5], 1, np.array([2.0, 4.0, 6.0]))
    array([1., 3., 5.])
    """
    taps, lead, data = plain_array(b, "b"), plain_array(a, "a"), plain_array(x, "x")
    taps, lead = np.atleast_1d(taps), np.atleast_1d(lead)
    if lead.shape != (1,) or taps.ndim != 1 or not taps.size or not data.ndim or not data.size:
        raise NotCovered(f"b of shape {taps.shape}, a of shape {lead.shape}")
    inputs = [taps, lead, data]
    state = None if zi is None else plain_array(zi, "zi")
    if state is not None:
        inputs.append(state)
    dtype = np.result_type(*inputs)
    try:
        axis = operator.index(axis)
    except TypeError:
        raise NotCovered(f"axis={axis!r}") from None
    if dtype.char not in _FLOATS or lead[0] == 0 or not -data.ndim <= axis < data.ndim:
        raise NotCovered(f"dtype {dtype}, a={lead}, axis={axis}")
    axis %= data.ndim
    n, k = data.shape[axis], taps.size
    wanted = (*data.shape[:axis], k - 1, *data.shape[axis + 1 :])
    if state is not None and state.shape != wanted:
        raise NotCovered(f"zi of shape {state.shape}")
    w = (taps.astype(dtype) / lead.astype(dtype)[0]).astype(dtype, copy=False)
    w = w.reshape([-1 if i == axis else 1 for i in range(data.ndim)])
    kept = n if state is None else n + k - 1
    region = tuple((0, kept if i == axis else size) for i, size in enumerate(data.shape))
    full = convolve_numbers(data.astype(dtype, copy=False), w, region, dtype)
    if state is None:
        return full
    before = (slice(None),) * axis
    full[(*before, slice(k - 1))] += state
    return full[(*before, slice(n))], full[(*before, slice(n, None))]
