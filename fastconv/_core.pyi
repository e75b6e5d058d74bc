from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np
from typing_extensions import disjoint_base

DTYPES: dict[str, int]
OPERATIONS: dict[str, int]
PADDING_MODES: dict[str, int]
ACTIVATIONS: dict[str | None, int]
PRECISIONS: dict[str, int]
ELEMENTS: dict[str, int]
EXTENSIONS: dict[str, int]
ORDERS: dict[str, int]
threads_here: ContextVar[int]

@disjoint_base
class Plan:
    def __new__(
        cls,
        *,
        dtype: str,
        operation: str,
        rank: int,
        batch: int,
        in_ch: int,
        out_ch: int,
        groups: int,
        in_size: Sequence[int],
        kernel: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        padding: Sequence[tuple[int, int]],
        output_padding: Sequence[int] | None = None,
        padding_mode: str = "zeros",
        activation: str | None = None,
        activation_params: tuple[float, float] = (0.0, 0.0),
        precision: str = "highest",
        has_bias: bool = False,
        has_residual: bool = False,
        x_channels_last: bool = False,
        out_channels_last: bool = False,
        pack_per_call: bool = False,
        weights_unsafe: bool = False,
        depth_multiplier: int = 1,
        offset_groups: int = 1,
        algorithm: str = "auto",
    ) -> Plan: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def kernel(self) -> str: ...
    @property
    def flops(self) -> float: ...
    @property
    def estimated_seconds(self) -> float: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def packed_bytes(self) -> int: ...
    @property
    def out_size(self) -> tuple[int, ...]: ...
    def candidates(self) -> list[tuple[str, str, float, str | None]]: ...
    def costs(self) -> dict[str, float]: ...
    def pack(
        self,
        weight: np.ndarray,
        pointwise: np.ndarray | None = None,
        *,
        flip: bool = False,
        threads: int = 0,
    ) -> Weights: ...
    def accepts(self, weights: Any) -> bool: ...
    def run(
        self,
        weights: Weights,
        x: np.ndarray,
        out: np.ndarray,
        bias: np.ndarray | None = None,
        residual: np.ndarray | None = None,
        offset: np.ndarray | None = None,
        mask: np.ndarray | None = None,
        *,
        channels_last: bool = False,
        threads: int = 0,
    ) -> None: ...

@disjoint_base
class Pool:
    def __new__(
        cls,
        *,
        dtype: str,
        maximum: bool,
        rank: int,
        batch: int,
        channels: int,
        in_size: Sequence[int],
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        ceil_mode: bool = False,
        count_padding: bool = True,
        divisor: int = 0,
    ) -> Pool: ...
    out_size: tuple[int, ...]
    def run(
        self,
        x: np.ndarray,
        out: np.ndarray,
        *,
        channels_last: bool = False,
        threads: int = 0,
    ) -> None: ...

@disjoint_base
class Weights:
    @property
    def nbytes(self) -> int: ...

def observe(function: Callable[[Any, Any, float], None], wanted: bool) -> None: ...
def observed() -> bool: ...
@disjoint_base
class Entry:
    plan: Any
    weights: Any
    bias: np.ndarray | None
    out_shape: tuple[int, ...]
    what: Any
    def __init__(
        self,
        plan: Any,
        weights: Any,
        bias: np.ndarray | None,
        out_shape: tuple[int, ...],
        what: Any = None,
    ) -> None: ...

@disjoint_base
class Engine:
    def __init__(
        self,
        dtype: np.dtype[Any],
        rank: int,
        channels_last: bool,
        find: Callable[[tuple[int, ...], bool, bool, bool], Entry],
        read: Callable[[Any, str], np.ndarray],
        check_out: Callable[[Any, np.ndarray, Any, tuple[int, ...] | None], bool | None],
    ) -> None: ...
    def __call__(
        self, x: Any, residual: Any = None, out: np.ndarray | None = None
    ) -> np.ndarray: ...

@disjoint_base
class Filter:
    def __init__(
        self,
        source: np.dtype[Any],
        target: np.dtype[Any],
        *,
        single: bool,
        batch: int,
        size: Sequence[int],
        step: int,
        extension: Sequence[str],
        constant: float,
        first: tuple[Sequence[int], Sequence[int], np.ndarray, str, float, float],
        second: tuple[Sequence[int], Sequence[int], np.ndarray, str, float, float] | None = None,
        window: tuple[Sequence[int], Sequence[int], np.ndarray, str, float, float] | None = None,
    ) -> None: ...
    def run(self, x: np.ndarray, out: np.ndarray, threads: int) -> None: ...

def join_rows(
    x: np.ndarray, first: np.ndarray, second: np.ndarray, columns: np.ndarray, fill: float,
    out: np.ndarray,
) -> None: ...
def take_part(x: np.ndarray, out: np.ndarray) -> None: ...
def sum_columns(
    x: np.ndarray, weights: np.ndarray, out: np.ndarray, dilation: int = 1
) -> None: ...
def within(array: np.ndarray, limit: float) -> bool | None: ...
def dense_channels(array: np.ndarray, rank: int, channels_last: bool) -> bool | None: ...

@disjoint_base
class Lines:
    def __init__(
        self,
        find: Callable[..., tuple[Plan | None, int, bool] | None],
        correlate: Callable[..., np.ndarray],
    ) -> None: ...
    def __call__(
        self, x: np.ndarray, w: np.ndarray, mode: str, method: str
    ) -> np.ndarray | None: ...

def empty_aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray: ...
def algorithms() -> list[str]: ...
def bounds() -> dict[str, tuple[str, str]]: ...
def kernels() -> list[tuple[str, bool]]: ...
def cpu() -> dict[str, Any]: ...
def measure_rates(dtype: str) -> dict[str, float]: ...
def calibrate_rates() -> dict[str, float]: ...
def rates_used() -> dict[str, float]: ...
def use_rates(named: dict[str, float]) -> None: ...
@disjoint_base
class FlushedDenormals:
    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...

def plain(values: tuple[Any, ...]) -> bool: ...

def cgroup_cores(root: str = "") -> float: ...
def set_num_threads(threads: int) -> None: ...
def get_num_threads() -> int: ...
def version() -> str: ...
def compiler() -> str: ...
