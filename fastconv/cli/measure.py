"""A convolution done by fastconv and by SciPy: timed, counted and compared.

A Workload says what to run; `measure` runs it and gives a Measurement, the row of the demo's table.
GFLOP/s counts the multiplications and additions of the definition, whatever algorithm ran, so that
a faster algorithm shows as a higher rate.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Measurement", "Workload", "flops", "measure"]


@dataclass(frozen=True)
class Workload:
    """One convolution, in fastconv and in SciPy.

    Parameters
    ----------
    group, name, picture : str
        "filter" or "layer", what is computed, and the name of the picture it is computed on.
    input_shape, weight_shape : tuple of int
        As given to fastconv; for a filter of several passes, those of the first.
    arguments : mapping
        The keywords beside the arrays that say which convolution it is.
    flops : int
        Twice the multiplications of the definition.
    run, scipy : callable
        Compute the result, with fastconv and with SciPy; both return the same shape.
    scipy_call : str
        What `scipy` calls, for the reader to judge the comparison by.
    chosen : callable
        Returns the (algorithm, kernel) names of each pass.
    """

    group: str
    name: str
    picture: str
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    arguments: Mapping[str, object]
    flops: int
    run: Callable[[], np.ndarray]
    scipy: Callable[[], np.ndarray]
    scipy_call: str
    chosen: Callable[[], list[tuple[str, str]]]


@dataclass(frozen=True)
class Measurement:
    """What came out; the fields are the members of a row of ``fastconv demo --json``.

    `relative_difference` is the largest difference over the largest output of SciPy.
    """

    group: str
    name: str
    picture: str
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    arguments: Mapping[str, object]
    algorithm: str
    kernel: str
    milliseconds: float
    gflops: float
    scipy_call: str
    scipy_milliseconds: float
    speedup: float
    max_abs_difference: float
    relative_difference: float

    def as_dict(self) -> dict[str, object]:
        """As JSON can hold it, which has no infinity: such a difference is None."""
        return {
            name: None if value == math.inf else value
            for name, value in dataclasses.asdict(self).items()
        }


def flops(weight_shape: tuple[int, ...], pixels: int) -> int:
    """Twice the multiplications of a layer.

    `pixels` is the number of spatial places the whole weight is applied at: those of the output,
    or of the input of a transposed convolution, times the batch.
    """
    return 2 * math.prod(weight_shape) * pixels


def _timed(call: Callable[[], np.ndarray], least: int, most: int, budget: float) -> float:
    """The median seconds of `least` to `most` calls that together take about `budget` seconds."""
    taken: list[float] = []
    while len(taken) < least or (len(taken) < most and sum(taken) < budget):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def measure(workload: Workload, budget: float) -> tuple[Measurement, np.ndarray]:
    """Run the workload and return its row and fastconv's result.

    fastconv is called once untimed, then 5 to 50 times within about `budget` seconds. SciPy's
    first call is the timed one when it is slow (over half the budget), else it is repeated too.
    """
    result = np.asarray(workload.run())
    fastest = _timed(workload.run, least=5, most=50, budget=budget)

    begin = time.perf_counter()
    expected = workload.scipy()
    scipy_seconds = time.perf_counter() - begin
    if scipy_seconds < budget / 2:
        scipy_seconds = _timed(workload.scipy, least=3, most=10, budget=budget)

    if result.shape != expected.shape:
        raise RuntimeError(
            f"{workload.name}: fastconv returned shape {result.shape}, SciPy {expected.shape}"
        )
    # A NaN on one side must show as a difference, so it is not left to max() to hide it.
    difference = float(np.abs(result.astype(np.float64) - expected).max())
    largest = float(np.abs(expected).max())
    if math.isnan(difference):
        difference = math.inf
    chosen = workload.chosen()
    measurement = Measurement(
        group=workload.group,
        name=workload.name,
        picture=workload.picture,
        input_shape=workload.input_shape,
        weight_shape=workload.weight_shape,
        output_shape=result.shape,
        arguments=dict(workload.arguments),
        algorithm=" + ".join(dict.fromkeys(algorithm for algorithm, _ in chosen)),
        kernel=" + ".join(dict.fromkeys(kernel for _, kernel in chosen)),
        milliseconds=fastest * 1e3,
        gflops=workload.flops / fastest / 1e9,
        scipy_call=workload.scipy_call,
        scipy_milliseconds=scipy_seconds * 1e3,
        speedup=scipy_seconds / fastest,
        max_abs_difference=difference,
        relative_difference=difference / largest if largest > 0 else difference,
    )
    return measurement, result
