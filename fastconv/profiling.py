"""`profile`: where the time of a block goes, layer by layer, beside what the machine can do."""

from __future__ import annotations

import io
import threading
from typing import Any, NamedTuple

from fastconv import _core
from fastconv._observe import Call, listen, sizes
from fastconv._threads import get_num_threads

__all__ = ["ProfileRow", "profile"]



class ProfileRow(NamedTuple):
    """All calls of one layer on one shape.

    `gflops` counts the multiplications and additions of the definition, whatever algorithm ran, so
    Winograd's and the FFT's may exceed the peak. `peak_fraction` is of the measured multiply-adds
    of `threads` cores, `intensity` the definition's operations for each byte of x, weight and out.
    """

    operation: str
    x_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    details: str
    kernel: str
    threads: int
    calls: int
    milliseconds: float
    gflops: float
    share: float
    peak_fraction: float
    intensity: float


class _Total:
    """What was added up for one layer."""

    __slots__ = ("calls", "seconds", "threads")

    def __init__(self) -> None:
        self.calls, self.seconds, self.threads = 0, 0.0, 1


class profile:
    """Measure every convolution and pooling that runs inside a ``with`` block.

    Notes
    -----
    Calls of all Python threads count, as `cProfile` cannot and a server needs; blocks may nest, and
    each sees every call made while it is open. A functional call's time includes the packing of its
    weights; the checking of arguments and planning are in none. A block may be entered again and
    adds to what it has.

    The peaks are measured, once in a process for each dtype (a fraction of a second), when `rows`,
    ``print`` or `plot` first ask for them.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> conv = fc.Conv(np.ones((8, 3, 3, 3), np.float32), padding=1)
    >>> with fc.profile() as p:
    ...     for _ in range(3):
    ...         y = conv(np.ones((1, 3, 32, 32), np.float32))
    >>> [(row.operation, row.calls, row.out_shape) for row in p.rows]
    [('conv2d', 3, (1, 8, 32, 32))]
    >>> print(p)  # doctest: +ELLIPSIS
    operation  x...
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[Call, _Total] = {}
        self._open = 0

    def __enter__(self) -> profile:
        with self._lock:
            self._open += 1
        listen(self._add, True)
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._open -= 1
            still = self._open > 0
        listen(self._add, still)

    def _add(self, call: Call, seconds: float) -> None:
        threads = get_num_threads()
        with self._lock:
            total = self._totals.setdefault(call, _Total())
            total.calls += 1
            total.seconds += seconds
            total.threads = max(total.threads, threads)

    @property
    def rows(self) -> list[ProfileRow]:
        """One `ProfileRow` per layer, shape and kernel, the one that took longest first."""
        with self._lock:
            found = [(call, t.calls, t.seconds, t.threads) for call, t in self._totals.items()]
        whole = sum(seconds for _, _, seconds, _ in found) or 1.0
        rows = []
        for call, calls, seconds, threads in sorted(found, key=lambda entry: -entry[2]):
            rate = call.flops * calls / max(seconds, 1e-9)
            peak = peaks_of(call.dtype)["fma_flops"] * threads
            rows.append(
                ProfileRow(
                    call.operation, call.x_shape, call.weight_shape, call.out_shape, call.details,
                    call.kernel, threads, calls, seconds * 1e3, rate / 1e9, seconds / whole,
                    rate / peak, call.flops / max(call.bytes, 1),
                )
            )  # fmt: skip
        return rows

    def __repr__(self) -> str:
        with self._lock:
            calls = sum(total.calls for total in self._totals.values())
            return f"<profile of {calls} calls of {len(self._totals)} layers>"

    def __str__(self) -> str:
        from fastconv.cli.table import Column, Section, milliseconds, print_table

        titles = ("operation", "x", "weight", "details", "kernel")
        numbers = ("calls", "ms", "GFLOP/s", "share", "of peak")
        columns = [Column(t) for t in titles] + [Column(t, right=True) for t in numbers]
        rows = self.rows
        cells = [
            [row.operation, sizes(row.x_shape), sizes(row.weight_shape), row.details, row.kernel,
             str(row.calls), milliseconds(row.milliseconds), f"{row.gflops:.1f}",
             f"{row.share:.1%}", f"{row.peak_fraction:.1%}"]
            for row in rows
        ]  # fmt: skip
        spent = sum(row.milliseconds for row in rows)
        calls = str(sum(row.calls for row in rows))
        rate = sum(row.gflops * row.milliseconds for row in rows) / spent if spent else 0.0
        cells.append(["all", "", "", "", "", calls, milliseconds(spent), f"{rate:.1f}", "", ""])
        text = io.StringIO()
        print_table(columns, [Section(None, cells)], text)
        return text.getvalue().rstrip("\n")

    def plot(self, path: Any) -> None:
        """Draw the layers under the machine's measured limits: a roofline.

        Parameters
        ----------
        path : str or path-like
            Where the picture goes; its ending gives the format.

        Raises
        ------
        ImportError
            Without matplotlib: ``pip install fastconv[demo]``.
        ValueError
            When nothing was measured, or the ending is none matplotlib knows.

        Notes
        -----
        Across: operations of the definition for each byte of x, weight and out, moved once. Up:
        GFLOP/s. The slopes are what the caches and memory of one core give, and the flat line its
        multiply-adds, times the threads that calls were allowed. Areas of points show time.

        Examples
        --------
        >>> import numpy as np, fastconv as fc
        >>> with fc.profile() as p:
        ...     y = fc.conv1d(np.ones((1, 4, 99)), np.ones((8, 4, 3)))
        >>> p.plot("roofline.png")  # doctest: +SKIP
        """
        from fastconv._roofline import draw

        rows = self.rows
        if not rows:
            raise ValueError("nothing was measured: no call was made inside the block")
        wide = all(row.details.startswith("f64") for row in rows)
        draw(rows, peaks_of("f64" if wide else "f32"), path)


_peaks: dict[str, dict[str, float]] = {}
_peaks_lock = threading.Lock()


def peaks_of(code: str) -> dict[str, float]:
    """`fastconv.peaks` of the type a dtype is computed in, measured once in the process."""
    wanted = "f64" if code == "f64" else "f32"
    with _peaks_lock:
        if wanted not in _peaks:
            _peaks[wanted] = _core.measure_rates(wanted)
        return _peaks[wanted]
