"""What this build is, what it found, and what it would do: nothing here computes a convolution."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from fastconv import __version__, _calibration, _core, _env, _fft
from fastconv._convolve import flexible_dtype
from fastconv._options import Activation, LayoutName, PaddingMode, Precision, algorithm_names
from fastconv._padding import IntOrTuple, Padding
from fastconv._threads import get_num_threads
from fastconv.plan import Plan, as_shape, problem_of_shapes

__all__ = ["algorithms", "explain", "kernels", "peaks", "show_config", "show_runtime"]

def algorithms() -> list[str]:
    """Names of the algorithms of this build, as ``algorithm=`` takes them.

    Returns
    -------
    list of str
        `explain` and `Conv.plan` tell which of them can run a given convolution.

    Examples
    --------
    >>> import fastconv as fc
    >>> "gemm" in fc.algorithms()
    True
    """
    return list(algorithm_names())


def kernels() -> dict[str, bool]:
    """Every kernel of this build, and whether this CPU and FASTCONV_ISA allow it.

    Returns
    -------
    dict of str to bool
        Names are ``algorithm.dtype.isa``.

    Examples
    --------
    >>> import fastconv as fc
    >>> fc.kernels()["reference.f32.scalar"]
    True
    """
    return dict(_core.kernels())


def peaks(dtype: Any = "float32") -> dict[str, float]:
    """Measure what one core of this machine can do at most: the bounds kernels are held to.

    Parameters
    ----------
    dtype : dtype_like
        float32, float64, float16 or bfloat16; the last two are computed in float32.

    Returns
    -------
    dict of str to float
        "fma_flops": arithmetic per second, a fused multiply-add counted as two, with the widest
        vectors that FASTCONV_ISA allows; "tile_flops", where there are AMX tiles: the same for
        their bfloat16 products, with random operands; "l1_bytes", "l2_bytes", "l3_bytes",
        "memory_bytes": bytes read per second from each level. The best of several draws, in a
        fraction of a second.

    Raises
    ------
    TypeError
        When there is no such dtype.
    MemoryError
        When there is no memory to read from.

    Examples
    --------
    >>> import fastconv as fc
    >>> fc.peaks()["fma_flops"] > 1e9
    True
    """
    return _core.measure_rates(flexible_dtype(dtype))


def explain(
    x_shape: Any,
    w_shape: Any,
    stride: IntOrTuple = 1,
    padding: Padding = 0,
    dilation: IntOrTuple = 1,
    groups: int = 1,
    *,
    transposed: bool = False,
    output_padding: IntOrTuple = 0,
    padding_mode: PaddingMode = "zeros",
    activation: Activation | None = None,
    layout: LayoutName = "NCHW",
    precision: Precision = "highest",
    algorithm: str = "auto",
    dtype: Any = "float32",
    bias: bool = False,
    residual: bool = False,
    functional: bool = False,
) -> Plan:
    """What would run for an input and weights of these shapes, and why.

    Parameters
    ----------
    x_shape : sequence of int
        (N, C_in, *spatial) or (C_in, *spatial), or as `layout` says.
    w_shape : sequence of int
        (C_out, C_in/groups, *kernel); with `transposed` (C_in, C_out/groups, *kernel).
    stride, padding, dilation, groups, transposed, output_padding, padding_mode, activation, \
layout, precision, algorithm
        As `Conv`.
    dtype : dtype_like
        float32, float64, float16 or bfloat16; "bfloat16" works without `ml_dtypes`.
    bias, residual : bool
        Whether there is one.
    functional : bool
        Explain a functional call, which packs its weights every time, and not a `Conv`.

    Returns
    -------
    Plan
        Prints as a table.

    Raises
    ------
    TypeError, ValueError
        As `Conv`.

    Examples
    --------
    >>> import fastconv as fc
    >>> plan = fc.explain((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    >>> plan.flops
    231211008.0
    """
    problem = problem_of_shapes(
        w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups,
        transposed=bool(transposed), output_padding=output_padding, padding_mode=padding_mode,
        activation=activation, precision=precision, algorithm=algorithm, layout=layout,
        dtype=dtype, has_bias=bool(bias),
    )  # fmt: skip
    return Plan(problem, as_shape(x_shape), bool(residual), bool(functional))


def _isas(names: Any) -> list[str]:
    return list(dict.fromkeys(name.rsplit(".", 1)[1] for name in names))


def _print(title: str, facts: dict[str, Any], indent: str = "") -> None:
    print(f"{indent}{title}")
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        if isinstance(value, dict):
            _print(f"{name}:", value, indent + "  ")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            print(f"{indent}  {name:{width}}  {text}")


def show_config() -> dict[str, Any]:
    """Print how fastconv was built.

    Returns
    -------
    dict
        What was printed: "version", "compiler", "openmp", "isas" (widest first), "dtypes",
        "algorithms", and the versions of "python" and "numpy" it runs with.

    Examples
    --------
    >>> import fastconv as fc
    >>> config = fc.show_config()  # doctest: +ELLIPSIS
    fastconv 0...
    """
    names = list(kernels())
    facts: dict[str, Any] = {
        "version": __version__,
        "compiler": _core.compiler(),
        "openmp": _core.cpu()["openmp"],
        "isas": _isas(names),
        "dtypes": ["float32", "float64", "float16", "bfloat16"],
        "algorithms": algorithms(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    _print(f"fastconv {__version__}", {k: v for k, v in facts.items() if k != "version"})
    return facts


def _kernel_table(allowed: dict[str, bool]) -> dict[str, dict[str, list[str]]]:
    """algorithm: {dtype: instruction sets it may run on here}."""
    table: dict[str, dict[str, list[str]]] = {}
    for name, available in allowed.items():
        algorithm, dtype, isa = name.split(".")
        row = table.setdefault(algorithm, {}).setdefault(dtype, [])
        if available:
            row.append(isa)
    return table


def show_runtime() -> dict[str, Any]:
    """Print what fastconv found on this machine and in its environment.

    Returns
    -------
    dict
        What was printed: "cpu", "isa" (the widest used), "isa_found", caches, cores, "threads"
        (what a call made here may use), "rates" (of one core, which plans are compared by) and
        "rates_from" (the file they were measured into, or why they are the defaults),
        "environment" (the variables that are set), "kernels":
        for each algorithm and dtype the instruction sets allowed, widest first, and "bounds": for
        each algorithm what its speed cannot pass, and how much of that it was measured to reach.

    Examples
    --------
    >>> import fastconv as fc
    >>> runtime = fc.show_runtime()  # doctest: +ELLIPSIS
    fastconv 0...
    """
    cpu = _core.cpu()
    _calibration.settle()
    facts: dict[str, Any] = {
        "cpu": cpu["brand"],
        "isa": cpu["isa"],
        "isa_found": cpu["isa_found"],
        "amx_permitted": cpu["amx_permitted"],
        "l1d_bytes": cpu["l1d_bytes"],
        "l2_bytes": cpu["l2_bytes"],
        "l3_bytes": cpu["l3_bytes"],
        "logical_cores": cpu["logical_cores"],
        "cgroup_cores": cpu["cgroup_cores"],
        "threads": get_num_threads(),
        "rates": {name: float(f"{rate:.3g}") for name, rate in _core.rates_used().items()},
        "rates_from": _calibration.source,
        "environment": _env.found(),
        "kernels": _kernel_table(kernels()),
        "bounds": {
            name: {"bound": bound, "reached": reached}
            for name, (bound, reached) in {**_core.bounds(), "fft": _fft.BOUND}.items()
        },
    }
    _print(f"fastconv {__version__} on this machine", facts)
    return facts
