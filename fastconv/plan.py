"""`Plan`: what will run for one shape of x, what else could, and why the rest cannot."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

from fastconv._convolve import flexible_dtype, make_problem
from fastconv._planning import candidates, make_plan, tuned_algorithm
from fastconv._problem import Problem

__all__ = ["Candidate", "Plan", "as_shape", "problem_of_shapes"]


class Candidate(NamedTuple):
    """An algorithm able to run a convolution, and what it would cost."""

    algorithm: str
    kernel: str
    estimated_seconds: float


class Plan:
    """What will run, printed as a table.

    Attributes
    ----------
    x_shape, out_shape : tuple of int
    algorithm : str
        "none" where the output has no elements.
    kernel : str
        Algorithm, dtype and instruction set: "gemm.f32.avx512".
    flops : float
        Two per multiply-accumulate of the definition, padding counted.
    estimated_seconds : float
        On one thread of an idle machine.
    costs : dict of str to float
        Where those seconds go: "core" (instructions: multiply-adds, and the loads, stores and
        copies that hit L1), "l1", "l2", "l3", "memory" (bytes that come from there), "packing" (of
        the weights, in a functional call), "calls" (starting a run, and its tasks). What costs
        nothing is left out.
    bound : str
        The largest of them; "none" where nothing runs.
    workspace_bytes : int
        Scratch per worker thread.
    packed_bytes : int
        Memory of the packed weights.
    functional : bool
        Whether it is that of a functional call, which packs its weights every time.
    tuned : bool
        Whether `Conv.tune` or `fastconv.tune` measured this choice.
    candidates : list of Candidate
        Every algorithm able to run it, fastest first.
    rejected : dict of str to str
        The other algorithms and why not.
    """

    __slots__ = (
        "_problem",
        "algorithm",
        "bound",
        "candidates",
        "costs",
        "estimated_seconds",
        "flops",
        "functional",
        "kernel",
        "out_shape",
        "packed_bytes",
        "rejected",
        "tuned",
        "workspace_bytes",
        "x_shape",
    )

    def __init__(
        self,
        problem: Problem,
        x_shape: tuple[int, ...],
        residual: bool = False,
        functional: bool = False,
    ) -> None:
        last = problem.channels_last
        core, self.out_shape = make_plan(problem, x_shape, last, last, residual, functional)
        self._problem = problem
        self.x_shape = x_shape
        self.functional = functional
        self.algorithm: str = core.algorithm if core else "none"
        self.kernel: str = core.kernel if core else "none"
        self.flops: float = core.flops if core else 0.0
        self.estimated_seconds: float = core.estimated_seconds if core else 0.0
        self.workspace_bytes: int = core.workspace_bytes if core else 0
        self.packed_bytes: int = core.packed_bytes if core else 0
        costs = core.costs() if core else {}
        self.costs: dict[str, float] = {name: cost for name, cost in costs.items() if cost > 0}
        self.bound: str = max(self.costs, key=self.costs.__getitem__, default="none")
        self.tuned: bool = core is not None and (
            tuned_algorithm(problem, x_shape, functional) == self.algorithm
        )
        rows = candidates(problem, x_shape, residual, functional)
        self.candidates = sorted(
            (Candidate(*row[:3]) for row in rows if row[3] is None),
            key=lambda candidate: candidate.estimated_seconds,
        )
        self.rejected: dict[str, str] = {row[0]: row[3] for row in rows if row[3] is not None}

    def _bounds(self) -> str:
        """The shares of the estimate, the largest first; those below one in a hundred are noise."""
        whole = sum(self.costs.values())
        shares = sorted(((cost / whole, name) for name, cost in self.costs.items()), reverse=True)
        return ", ".join(f"{name} {share:.0%}" for share, name in shares if share >= 0.01) or "none"

    def as_dict(self) -> dict[str, Any]:
        """Everything above, as JSON can hold it.

        Returns
        -------
        dict

        Examples
        --------
        >>> import fastconv as fc
        >>> facts = fc.explain((1, 3, 8, 8), (4, 3, 3, 3)).as_dict()
        >>> facts["out_shape"], facts["tuned"], facts["flops"]
        ([1, 4, 6, 6], False, 7776.0)
        """
        names = (
            "algorithm", "kernel", "tuned", "functional", "flops", "estimated_seconds", "costs",
            "bound", "workspace_bytes", "packed_bytes", "rejected",
        )  # fmt: skip
        return {
            "x_shape": list(self.x_shape),
            "out_shape": list(self.out_shape),
            **{name: getattr(self, name) for name in names},
            "candidates": [candidate._asdict() for candidate in self.candidates],
        }

    def __repr__(self) -> str:
        return (
            f"Plan({self.kernel!r}, {self.x_shape} -> {self.out_shape}, "
            f"estimated_seconds={self.estimated_seconds:.3g})"
        )

    def __str__(self) -> str:
        problem = self._problem
        facts = {
            "x": f"{self.x_shape} {problem.layout}",
            "out": str(self.out_shape),
            "kernel": self.kernel + (" (tuned)" if self.tuned else ""),
            "flops": f"{self.flops:.4g}",
            "estimate": _seconds(self.estimated_seconds),
            "bounds": self._bounds(),
            "workspace": f"{_bytes(self.workspace_bytes)} per thread",
            "weights": f"{_bytes(self.packed_bytes)} packed",
        }
        width = max(len(name) for name in (*facts, *self.rejected, *_names(self.candidates)))
        lines = [f"{name:{width}}  {value}" for name, value in facts.items()]
        if self.candidates or self.rejected:
            lines.append(f"{'algorithm':{width}}  estimate")
        for candidate in self.candidates:
            chosen = "  <- runs" if candidate.kernel == self.kernel else ""
            seconds = _seconds(candidate.estimated_seconds)
            lines.append(f"{candidate.algorithm:{width}}  {seconds}{chosen}")
        lines += [f"{name:{width}}  no: {why}" for name, why in self.rejected.items()]
        return "\n".join(lines)


def _names(candidates: list[Candidate]) -> list[str]:
    return [candidate.algorithm for candidate in candidates]


def _seconds(seconds: float) -> str:
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _bytes(count: int) -> str:
    if count < 1 << 10:
        return f"{count} B"
    return f"{count / 1024:.4g} KiB" if count < 1 << 20 else f"{count / 2**20:.4g} MiB"


def as_shape(x_shape: Any, name: str = "x_shape") -> tuple[int, ...]:
    """A shape given as any sequence of ints."""
    try:
        shape = tuple(operator.index(size) for size in x_shape)
    except TypeError:
        array = getattr(x_shape, "shape", None)
        got = f"an array; its shape, {array}, is meant" if array else repr(x_shape)
        raise TypeError(f"{name} must be a sequence of ints, got {got}") from None
    if any(size < 0 for size in shape):
        raise ValueError(f"{name} must have no negative size, got {shape}")
    return shape


def problem_of_shapes(w_shape: Any, dtype: Any = "float32", **options: Any) -> Problem:
    """A Problem from the shape of a weight and the options of `make_problem`."""
    shape = as_shape(w_shape, "w_shape")
    if not 3 <= len(shape) <= 5:
        raise ValueError(
            f"w_shape must have 3, 4 or 5 sizes (one to three spatial axes), got {shape}"
        )
    return make_problem(
        flexible_dtype(dtype), shape, len(shape) - 2, weight_name="w_shape", **options
    )
