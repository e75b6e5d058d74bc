"""The words of the convolution functions: activations, padding modes, precisions, algorithms.

Each function here takes what a user wrote and gives the form `_core.Plan` takes, or raises an
error that names the argument and lists what is allowed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from fastconv import _core
from fastconv._layout import LAYOUTS, LayoutName, find_layout

__all__ = [
    "Activation",
    "LayoutName",
    "PaddingMode",
    "Precision",
    "algorithm_name",
    "algorithm_names",
    "channels_last",
    "layout_name",
    "normalize_activation",
    "one_of",
]

ActivationName = Literal["relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardswish"]
Activation = (
    ActivationName | tuple[Literal["clip"], float, float] | tuple[Literal["leaky_relu"], float]
)
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Precision = Literal["highest", "high", "medium"]

_NO_PARAMS = (0.0, 0.0)
_ACTIVATIONS: dict[Any, tuple[str | None, tuple[float, float]]] = {
    None: (None, _NO_PARAMS),
    "relu": ("relu", _NO_PARAMS),
    "relu6": ("clip", (0.0, 6.0)),
    "leaky_relu": ("leaky_relu", (0.01, 0.0)),
    "sigmoid": ("sigmoid", _NO_PARAMS),
    "tanh": ("tanh", _NO_PARAMS),
    "silu": ("silu", _NO_PARAMS),
    "hardswish": ("hardswish", _NO_PARAMS),
}
# name of the parametrised form: number of parameters
_PARAMETRISED = {"clip": 2, "leaky_relu": 1}


def one_of(value: Any, allowed: Any, name: str) -> Any:
    """The value itself, if it is one of the allowed words."""
    if isinstance(value, str) and value in allowed:
        return value
    raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def normalize_activation(activation: Any) -> tuple[str | None, tuple[float, float]]:
    """The kernels' name of an activation and its two parameters.

    Examples
    --------
    >>> normalize_activation("relu6")
    ('clip', (0.0, 6.0))
    >>> normalize_activation(("leaky_relu", 0.2))
    ('leaky_relu', (0.2, 0.0))
    """
    if activation is None or isinstance(activation, str):
        found = _ACTIVATIONS.get(activation)
        if found is not None:
            return found
    elif isinstance(activation, (tuple, list)) and activation:
        word, *params = activation
        if isinstance(word, str) and _PARAMETRISED.get(word) == len(params):
            return word, _activation_params(activation, word, params)
    raise ValueError(
        f"activation must be {', '.join(map(repr, _ACTIVATIONS))}, ('clip', low, high) or "
        f"('leaky_relu', slope), got {activation!r}"
    )


def _activation_params(activation: Any, word: str, params: list[Any]) -> tuple[float, float]:
    try:
        numbers = [float(param) for param in params]
    except (TypeError, ValueError):
        raise TypeError(
            f"activation {word!r} takes {_PARAMETRISED[word]} numbers, got {activation!r}"
        ) from None
    if any(number != number for number in numbers):
        raise ValueError(f"activation must not have NaN as a parameter, got {activation!r}")
    if word == "clip" and numbers[0] > numbers[1]:
        raise ValueError(f"activation 'clip' must have low <= high, got {activation!r}")
    return numbers[0], numbers[1] if len(numbers) > 1 else 0.0


@lru_cache(maxsize=1)
def algorithm_names() -> tuple[str, ...]:
    """The core's algorithms and the one beside it."""
    return (*_core.algorithms(), "fft")


@lru_cache(maxsize=1)
def _known_names() -> frozenset[str]:
    return frozenset(("auto", *algorithm_names(), *(name for name, _ in _core.kernels())))


def algorithm_name(algorithm: Any) -> str:
    """The name itself, if it is "auto", an algorithm, or one kernel ("gemm.f32.avx2")."""
    if algorithm == "auto":
        return "auto"
    if isinstance(algorithm, str) and algorithm in _known_names():
        return algorithm
    names = ", ".join(map(repr, algorithm_names()))
    raise ValueError(f"algorithm must be 'auto' or one of {names}, got {algorithm!r}")


_CHANNELS_LAST = {
    (rank, name): not layout.channels_first
    for rank in (1, 2, 3)
    for name, layout in LAYOUTS.items()
    if layout.rank in (2, rank)
}


def channels_last(layout: Any, rank: int) -> bool:
    """Whether channels stand last in a layout of `rank` spatial axes.

    "NCHW" and "NHWC" are taken for any rank, beside the names of the rank itself.
    """
    try:
        return _CHANNELS_LAST[rank, layout]
    except (KeyError, TypeError):
        pass
    find_layout(layout)
    names = [layout_name(rank, False), layout_name(rank, True)]
    raise ValueError(
        f"layout must be one of {', '.join(map(repr, names))} for {rank} spatial "
        f"{'axis' if rank == 1 else 'axes'}, got {layout!r}"
    )


def layout_name(rank: int, last: bool) -> str:
    """The layout's own name: "NLC" for rank 1 with channels last."""
    return next(name for name, layout in LAYOUTS.items() if layout == (rank, not last))
