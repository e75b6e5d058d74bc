"""Tuning: measure the algorithms that can run a convolution, and remember the fastest.

Without tuning a plan takes the algorithm with the least estimated time. `tune` and `Conv.tune`
measure instead, and the winners are used by every plan made later, in this process and in others:
they are kept in ``tune.json`` in the folder that FASTCONV_CACHE names, else in ``fastconv`` in the
user's cache folder. A choice counts on the CPU, instruction set and version it was measured with,
for calls that may use as many threads, whatever the batch, bias, residual and activation.

Results of another algorithm differ in their last bits, so nothing is ever tuned unasked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastconv import _core, _tuned
from fastconv._convolve import compute_array
from fastconv._observe import details_of, sizes, weight_shape
from fastconv._planning import candidates, estimated_plan, find_plan
from fastconv._problem import Problem, geometry, out_shape
from fastconv._threads import get_num_threads
from fastconv.plan import as_shape, problem_of_shapes

__all__ = ["Tuned", "clear", "export", "import_", "path", "tune", "tune_conv"]

# The naive loops win where nothing is to win, and one call of them can outlast the whole budget.
_NOT_MEASURED = ("reference",)
_HOPELESS = 3.0  # so many times slower in its first calls, an algorithm is not measured further
_GAIN = 0.97  # another algorithm must be this much faster than the estimated one to replace it
_SAMPLE_SECONDS = 1e-3
_MOST_ROUNDS = 200


class Tuned(NamedTuple):
    """What was measured for one problem.

    `algorithm` is what a `Conv` runs from now on and `call_algorithm` what a functional call runs,
    which packs its weights; `estimated` is what ran without tuning; `seconds` has the least time
    of every algorithm that was measured, packing left out, and `speedup` what `algorithm` gains
    over `estimated`.
    """

    x_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    details: str
    algorithm: str
    call_algorithm: str
    estimated: str
    seconds: dict[str, float]
    speedup: float


class _Contestant:
    """One algorithm with its weights packed, and the times it took."""

    def __init__(self, plan: Any, weight: np.ndarray, flip: bool) -> None:
        self.plan, self.weight, self.flip = plan, weight, flip
        self.packed = plan.pack(weight, flip=flip)
        self.repeats = 1
        self.runs: list[float] = []
        self.packs: list[float] = []

    def run(self, x: np.ndarray, out: np.ndarray, bias: Any, last: bool, repeats: int) -> float:
        threads = -_core.threads_here.get()
        start = time.perf_counter()
        for _ in range(repeats):
            self.plan.run(self.packed, x, out, bias, channels_last=last, threads=threads)
        return (time.perf_counter() - start) / repeats

    def pack(self) -> float:
        start = time.perf_counter()
        self.plan.pack(self.weight, flip=self.flip)
        return time.perf_counter() - start


def _checked_seconds(seconds: Any) -> float:
    try:
        number = float(seconds)
    except (TypeError, ValueError):
        raise TypeError(f"seconds must be a number, got {seconds!r}") from None
    if not 0 < number < float("inf"):
        raise ValueError(f"seconds must be above 0 and finite, got {seconds!r}")
    return number


def _contestants(
    problem: Problem, shape: tuple[int, ...], weight: np.ndarray, flip: bool
) -> dict[str, _Contestant]:
    last = problem.channels_last
    found = {}
    for name, _, _, why in candidates(problem, shape, False):
        if why is None and name not in _NOT_MEASURED:
            plan, _ = estimated_plan(problem._replace(algorithm=name), shape, last, last, False)
            found[name] = _Contestant(plan, weight, flip)
    return found


def _race(
    field: dict[str, _Contestant], problem: Problem, shape: tuple[int, ...], budget: float
) -> None:
    """Fill in the times: rounds in which everyone runs, so that a busy moment strikes all alike."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(problem.dtype)
    out = np.empty(out_shape(problem, shape), problem.dtype)
    bias = None
    if problem.has_bias:
        bias = np.zeros(problem.out_ch, compute_array(out[:0], problem.code).dtype)
    last, start = problem.channels_last, time.perf_counter()
    first = {}
    for name, one in field.items():
        first[name] = min(one.run(x, out, bias, last, 1) for _ in range(2))
    limit = _HOPELESS * min(first.values())
    for name, one in field.items():
        one.repeats = max(1, round(_SAMPLE_SECONDS / max(first[name], 1e-7)))
        one.runs.append(first[name])
        one.packs.append(one.pack())
    racing = [one for name, one in field.items() if first[name] <= limit]
    for _ in range(_MOST_ROUNDS):
        for one in racing:
            one.runs.append(one.run(x, out, bias, last, one.repeats))
            one.packs.append(one.pack())
        if time.perf_counter() - start > budget:
            break


def _winner(seconds: dict[str, float], estimated: str) -> str:
    best = min(seconds, key=lambda name: seconds[name])
    if estimated in seconds and seconds[best] > _GAIN * seconds[estimated]:
        return estimated
    return best


def _tune(
    problem: Problem, shape: tuple[int, ...], weight: np.ndarray, flip: bool, budget: float
) -> Tuned | None:
    """Measure one problem and remember it; None where the output has no elements."""
    if problem.algorithm != "auto":
        raise ValueError(
            f"algorithm must be 'auto' where algorithms are measured, got {problem.algorithm!r}"
        )
    if 0 in out_shape(problem, shape):
        return None
    last = problem.channels_last
    field = _contestants(problem, shape, compute_array(weight, problem.code), flip)
    untuned = [estimated_plan(problem, shape, last, last, False, pack)[0] for pack in (False, True)]
    estimated, per_call = (plan.algorithm for plan in untuned)
    _race(field, problem, shape, budget)
    # The least time is the algorithm's own: a neighbour only ever adds to it.
    runs = {name: min(one.runs) for name, one in field.items()}
    calls = {name: runs[name] + min(one.packs) for name, one in field.items()}
    winners = _winner(runs, estimated), _winner(calls, per_call)
    _, in_size, pads, _ = geometry(problem, shape)
    key = _tuned.key_of(problem, in_size, pads, last, last)
    _tuned.remember(_tuned.as_choice(key, winners, runs, get_num_threads()))
    find_plan.cache_clear()  # type: ignore[attr-defined]
    return Tuned(
        shape, weight_shape(problem), details_of(problem), *winners, estimated, runs,
        runs[estimated] / runs[winners[0]],
    )  # fmt: skip


def tune_conv(
    problem: Problem, shape: tuple[int, ...], weight: np.ndarray, flip: bool, seconds: float
) -> Tuned | None:
    """`Conv.tune`, given what a `Conv` holds."""
    return _tune(problem, shape, weight, flip, _checked_seconds(seconds))


def _read_problem(index: int, given: Any) -> tuple[Problem, tuple[int, ...]]:
    if not isinstance(given, Mapping):
        raise TypeError(
            f"problems[{index}] must be a mapping of explain's arguments, got {given!r}"
        )
    options = dict(given)
    try:
        shapes = options.pop("x_shape"), options.pop("w_shape")
    except KeyError as error:
        raise ValueError(f"problems[{index}] must have {error.args[0]!r}, got {given!r}") from None
    known = {
        "stride", "padding", "dilation", "groups", "transposed", "output_padding", "padding_mode",
        "layout", "precision", "dtype",
    }  # fmt: skip
    unknown = set(options) - known
    if unknown:
        raise ValueError(
            f"problems[{index}] may have x_shape, w_shape, {', '.join(sorted(known))}; "
            f"got {sorted(unknown)[0]!r}"
        )
    options["padding"] = _as_tuples(options.get("padding", 0))
    for name in ("stride", "dilation", "output_padding"):
        if name in options:
            options[name] = _as_tuples(options[name])
    try:
        return problem_of_shapes(shapes[1], **options), as_shape(shapes[0])
    except (TypeError, ValueError) as error:
        raise type(error)(f"problems[{index}]: {error}") from error


def _as_tuples(value: Any) -> Any:
    """JSON has lists where the functions take tuples."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def tune(
    problems: Iterable[Mapping[str, Any]],
    seconds: float = 1.0,
    *,
    progress: Callable[[str], Any] | None = None,
) -> list[Tuned]:
    """Measure the algorithms for some shapes, and use the fastest from now on.

    Parameters
    ----------
    problems : iterable of mapping
        Arguments of `fastconv.explain`: "x_shape", "w_shape" and any of "stride", "padding",
        "dilation", "groups", "transposed", "output_padding", "padding_mode", "layout",
        "precision", "dtype". Lists do for tuples, as JSON has them.
    seconds : float
        About how long to measure each of them.
    progress : callable, optional
        Called with a line of text before each.

    Returns
    -------
    list of Tuned
        One for each problem that has an output.

    Raises
    ------
    TypeError, ValueError
        For a problem that makes no sense, by its number in `problems`, before anything is measured.

    Warns
    -----
    RuntimeWarning
        When the file cannot be written; the choices then last as long as the process.

    Notes
    -----
    Measured with random data and as many threads as calls made here may use; tune with the setting
    you run with. `Conv` objects that have run a shape before keep their plan for it: tune first, or
    call `Conv.tune`.

    Examples
    --------
    >>> import fastconv as fc
    >>> shapes = [{"x_shape": (1, 16, 28, 28), "w_shape": (16, 16, 3, 3), "padding": 1}]
    >>> found = fc.tune.tune(shapes, seconds=0.1)  # doctest: +SKIP
    >>> found[0].algorithm  # doctest: +SKIP
    'winograd_f4'
    """
    budget = _checked_seconds(seconds)
    work = [_read_problem(index, given) for index, given in enumerate(problems)]
    for index, (problem, shape) in enumerate(work):
        try:
            out_shape(problem, shape)
        except ValueError as error:
            raise ValueError(f"problems[{index}]: {error}") from error
    found = []
    rng = np.random.default_rng(0)
    for problem, shape in work:
        weights = weight_shape(problem)
        if progress is not None:
            progress(f"{sizes(shape)} {sizes(weights)} {details_of(problem)}")
        weight = rng.standard_normal(weights).astype(problem.dtype)
        result = _tune(problem, shape, weight, False, budget)
        if result is not None:
            found.append(result)
    return found


def path() -> Path:
    """Where choices are kept; the file need not exist.

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> import fastconv as fc
    >>> fc.tune.path().name
    'tune.json'
    """
    return _tuned.file_path()


def export(path: Any) -> int:
    """Write every choice known here to a file that `import_` takes, on this machine or another.

    Parameters
    ----------
    path : str or path-like
        Replaced if it exists.

    Returns
    -------
    int
        How many choices it holds.

    Raises
    ------
    OSError
        When it cannot be written.

    Examples
    --------
    >>> import fastconv as fc
    >>> count = fc.tune.export("choices.json")  # doctest: +SKIP
    """
    choices = _tuned.all_choices()
    _tuned.write(Path(path), choices)
    return sum(map(len, choices.values()))


def import_(path: Any) -> int:
    """Use the choices of a file that `export` wrote, here and in later processes.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    int
        How many of them were measured on a machine like this one. The others are kept too, for a
        cache folder that several machines share, and not used here.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When it is damaged or none of fastconv's.

    Examples
    --------
    >>> import fastconv as fc
    >>> count = fc.tune.import_("choices.json")  # doctest: +SKIP
    """
    choices = _tuned.read(path)
    _tuned.remember(choices)
    find_plan.cache_clear()  # type: ignore[attr-defined]
    return _tuned.count_here(choices)


def clear() -> None:
    """Forget every choice, and remove the file.

    Raises
    ------
    OSError
        When the file cannot be removed.

    Examples
    --------
    >>> import fastconv as fc
    >>> fc.tune.clear()  # doctest: +SKIP
    """
    _tuned.clear()
    find_plan.cache_clear()  # type: ignore[attr-defined]
