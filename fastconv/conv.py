"""`Conv`: a convolution whose weights are packed once and whose plans are kept.

A call is `_core.Engine`'s: it looks up the plan and packed weights of the shape of x, allocates the
output and runs. Everything a `Conv` holds is immutable or replaced whole, so any number of threads
may call one object; two that meet a new shape at once may both plan it, and one plan stays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv import _core
from fastconv._convolve import (
    as_bias,
    compute_array,
    make_problem,
    out_checker,
    read_array,
    reader,
    weights_unsafe,
)
from fastconv._options import Activation, LayoutName, PaddingMode, Precision
from fastconv._padding import IntOrTuple, Padding, Pairs
from fastconv._planning import make_plan
from fastconv._problem import Problem
from fastconv.plan import Plan, as_shape

__all__ = ["Conv"]

_PLANS_KEPT = 64


class _Packer:
    """Makes the engine's entries: plans one shape, and packs the weights if no pack made before
    serves that plan."""

    __slots__ = ("bias", "flip", "packs", "problem", "weight")

    def __init__(
        self, problem: Problem, weight: np.ndarray, bias: np.ndarray | None, flip: bool
    ) -> None:
        self.problem, self.weight, self.bias, self.flip = problem, weight, bias, flip
        self.packs: list[Any] = []

    def __call__(
        self, shape: tuple[int, ...], x_last: bool, out_last: bool, has_residual: bool
    ) -> Any:
        plan, result = make_plan(self.problem, shape, x_last, out_last, has_residual)
        if plan is None:
            return _core.Entry(None, None, None, result)
        packed = next((pack for pack in tuple(self.packs) if plan.accepts(pack)), None)
        if packed is None:
            weight = compute_array(self.weight, self.problem.code)
            packed = plan.pack(weight, flip=self.flip)
            self.packs.append(packed)
        return _core.Entry(plan, packed, self.bias, result, (self.problem, shape, has_residual))


class Conv:
    """A convolution with fixed weights, packed once: the fast way to run one many times.

    Parameters
    ----------
    weight : array_like, shape (C_out, C_in/groups, *kernel)
        One, two or three spatial axes; with `transposed` (C_in, C_out/groups, *kernel). float32,
        float64, float16 or bfloat16. Copied: later changes of the array have no effect.
    bias : array_like, shape (C_out,), optional
    stride, padding, dilation, groups, padding_mode, flip_kernel, activation, layout, precision, \
algorithm
        As `conv2d`. "NCHW" and "NHWC" stand for channels first and last with any number of
        spatial axes.
    transposed : bool
        Make it a transposed convolution, as `conv_transpose2d`.
    output_padding : int or tuple of int
        As `conv_transpose2d`; only with `transposed`.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`: for everything that does not depend on x, here and not at the first call.

    Notes
    -----
    Weights are packed at the first call for each algorithm a shape asks for, usually one. Plans of
    the last 64 shapes are kept. Calls from many Python threads are safe and run in parallel. A
    `Conv` can be pickled; the copy packs its weights anew.

    Examples
    --------
    >>> import numpy as np, fastconv as fc
    >>> conv = fc.Conv(np.ones((8, 3, 3, 3), np.float32), padding=1, activation="relu")
    >>> conv(np.ones((1, 3, 32, 32), np.float32)).shape
    (1, 8, 32, 32)
    >>> conv
    Conv(3 -> 8, kernel=(3, 3), padding=((1, 1), (1, 1)), activation='relu', dtype=float32)
    """

    __slots__ = ("__weakref__", "_bias", "_call", "_flip", "_problem", "_weight")

    _bias: np.ndarray | None
    _call: Callable[..., np.ndarray]
    _flip: bool
    _problem: Problem
    _weight: np.ndarray

    def __init__(
        self,
        weight: Any,
        bias: Any = None,
        stride: IntOrTuple = 1,
        padding: Padding = 0,
        dilation: IntOrTuple = 1,
        groups: int = 1,
        *,
        transposed: bool = False,
        output_padding: IntOrTuple = 0,
        padding_mode: PaddingMode = "zeros",
        flip_kernel: bool = False,
        activation: Activation | None = None,
        layout: LayoutName = "NCHW",
        precision: Precision = "highest",
        algorithm: str = "auto",
    ) -> None:
        array, code = read_array(weight, "weight")
        if not 3 <= array.ndim <= 5:
            raise ValueError(
                f"weight must have 3, 4 or 5 dimensions (one to three spatial axes), "
                f"got shape {array.shape}"
            )
        problem = make_problem(
            code, array.shape, array.ndim - 2, stride=stride, padding=padding, dilation=dilation,
            groups=groups, transposed=bool(transposed), output_padding=output_padding,
            padding_mode=padding_mode, activation=activation, precision=precision,
            algorithm=algorithm, layout=layout, has_bias=bias is not None,
        )  # fmt: skip
        array = np.array(array, order="C")
        array.flags.writeable = False
        biases = as_bias(bias, code, problem.out_ch)
        if biases is not None:
            biases.flags.writeable = False
        if weights_unsafe(compute_array(array, code), problem.kernel):
            problem = problem._replace(weights_unsafe=True)
        self._set_up(problem, array, biases, bool(flip_kernel))

    def _set_up(
        self, problem: Problem, weight: np.ndarray, bias: np.ndarray | None, flip: bool
    ) -> None:
        self._problem, self._weight, self._bias, self._flip = problem, weight, bias, flip
        self._call = _core.Engine(
            problem.dtype,
            problem.rank,
            problem.channels_last,
            lru_cache(maxsize=_PLANS_KEPT)(_Packer(problem, weight, bias, flip)),
            reader(problem.code, "weight"),
            out_checker(problem),
        )

    def __call__(self, x: Any, residual: Any = None, out: np.ndarray | None = None) -> np.ndarray:
        """Convolve x.

        Parameters
        ----------
        x : array_like, shape (N, C_in, *spatial) or (C_in, *spatial), or as the layout says
            Of the dtype of the weights.
        residual : array_like, shape of the result, optional
            Added before the activation.
        out : ndarray, optional
            Takes the result: of its shape and dtype, sharing no memory with `x`. It may be
            `residual` itself.

        Returns
        -------
        ndarray
            `out` if that was given.

        Raises
        ------
        TypeError, ValueError
            As `conv2d`.
        """
        return self._call(x, residual, out)

    def plan(self, x_shape: Any, *, residual: bool = False) -> Plan:
        """What will run for an x of this shape.

        Parameters
        ----------
        x_shape : sequence of int
            With or without a batch.
        residual : bool
            Whether calls will pass one.

        Returns
        -------
        Plan
            No weights are packed and nothing runs.

        Raises
        ------
        ValueError
            If such an x does not fit.

        Examples
        --------
        >>> import numpy as np, fastconv as fc
        >>> plan = fc.Conv(np.ones((8, 3, 3, 3), np.float32)).plan((1, 3, 32, 32))
        >>> plan.out_shape, plan.flops
        ((1, 8, 30, 30), 388800.0)
        """
        return Plan(self._problem, as_shape(x_shape), bool(residual))

    def tune(self, x_shape: Any, seconds: float = 1.0) -> Plan:
        """Measure every algorithm on an x of this shape and use the fastest from now on.

        Parameters
        ----------
        x_shape : sequence of int
            With or without a batch; the choice is used for every batch.
        seconds : float
            About how long to measure.

        Returns
        -------
        Plan
            What runs now; its `tuned` says so.

        Raises
        ------
        ValueError
            If such an x does not fit, `seconds` is not above 0, or `algorithm` was not "auto".

        Notes
        -----
        The choice is kept for later processes, as `fastconv.tune.tune` describes. Another algorithm
        rounds differently: results after tuning may differ in their last bits from those before.

        Examples
        --------
        >>> import numpy as np, fastconv as fc
        >>> conv = fc.Conv(np.ones((8, 3, 3, 3), np.float32))
        >>> conv.tune((1, 3, 32, 32), seconds=0.1).tuned  # doctest: +SKIP
        True
        """
        from fastconv.tune import tune_conv

        tune_conv(self._problem, as_shape(x_shape), self._weight, self._flip, seconds)
        self._set_up(self._problem, self._weight, self._bias, self._flip)
        return self.plan(x_shape)

    @property
    def weight(self) -> np.ndarray:
        """The weights as given: a read-only copy."""
        return self._weight

    @property
    def bias(self) -> np.ndarray | None:
        """The bias in the type the kernels compute in: a read-only copy, or None."""
        return self._bias

    @property
    def in_channels(self) -> int:
        return self._problem.in_ch

    @property
    def out_channels(self) -> int:
        return self._problem.out_ch

    @property
    def kernel_size(self) -> tuple[int, ...]:
        return self._problem.kernel

    @property
    def stride(self) -> tuple[int, ...]:
        return self._problem.stride

    @property
    def padding(self) -> str | Pairs:
        """A word, or a (before, after) pair per spatial axis."""
        return self._problem.padding

    @property
    def dilation(self) -> tuple[int, ...]:
        return self._problem.dilation

    @property
    def groups(self) -> int:
        return self._problem.groups

    @property
    def transposed(self) -> bool:
        return self._problem.transposed

    @property
    def output_padding(self) -> tuple[int, ...]:
        return self._problem.output_padding

    @property
    def padding_mode(self) -> str:
        return self._problem.padding_mode

    @property
    def flip_kernel(self) -> bool:
        return self._flip

    @property
    def activation(self) -> str | tuple[Any, ...] | None:
        """A form `activation=` takes, with its parameters: "relu6" is ("clip", 0.0, 6.0)."""
        name, params = self._problem.activation, self._problem.activation_params
        if name == "clip":
            return ("clip", *params)
        return (name, params[0]) if name == "leaky_relu" else name

    @property
    def layout(self) -> str:
        return self._problem.layout

    @property
    def precision(self) -> str:
        return self._problem.precision

    @property
    def algorithm(self) -> str:
        """What was asked for; `plan` says what runs."""
        return self._problem.algorithm

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._problem.dtype

    def __repr__(self) -> str:
        one, none = (1,) * self._problem.rank, (0,) * self._problem.rank
        parts = [f"{self.in_channels} -> {self.out_channels}", f"kernel={self.kernel_size}"]
        defaults: dict[str, Any] = {
            "stride": one,
            "padding": tuple(zip(none, none, strict=True)),
            "dilation": one,
            "groups": 1,
            "transposed": False,
            "output_padding": none,
            "padding_mode": "zeros",
            "flip_kernel": False,
            "activation": None,
            "layout": ("NCL", "NCHW", "NCDHW")[self._problem.rank - 1],
            "precision": "highest",
            "algorithm": "auto",
        }
        for name, default in defaults.items():
            value = getattr(self, name)
            if value != default:
                parts.append(f"{name}={value!r}")
        if self._bias is not None:
            parts.append("bias=True")
        return f"Conv({', '.join(parts)}, dtype={self.dtype})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._problem, self._weight, self._bias, self._flip)


def _restored(problem: Problem, weight: np.ndarray, bias: np.ndarray | None, flip: bool) -> Conv:
    conv = Conv.__new__(Conv)
    weight.flags.writeable = False
    if bias is not None:
        bias.flags.writeable = False
    conv._set_up(Problem(*problem), weight, bias, flip)
    return conv
