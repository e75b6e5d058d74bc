"""Any array in: NumPy, DLPack (torch CPU tensors without a copy), buffers, sequences.

`as_array` gives an ndarray in native byte order that shares memory with its source wherever that
is possible; `dtype_code` gives the name under which the kernels know its element type. ml_dtypes
is imported only when a bfloat16 array has to be made.
"""

from __future__ import annotations

import reprlib
import sys
from typing import Any

import numpy as np

__all__ = ["as_array", "bfloat16", "dtype_code"]

_ndarray = np.ndarray
_FLOAT32 = np.dtype(np.float32)
_CODES: dict[np.dtype[Any], str] = {
    _FLOAT32: "f32",
    np.dtype(np.float64): "f64",
    np.dtype(np.float16): "f16",
}

# DLDeviceType in dlpack.h; those in _HOST_DEVICES are memory the CPU reads directly.
_HOST_DEVICES = (1, 3, 11, 13)
_DEVICES = {
    2: "CUDA",
    4: "OpenCL",
    7: "Vulkan",
    8: "Metal",
    9: "VPI",
    10: "ROCm",
    12: "external memory",
    14: "oneAPI",
    15: "WebGPU",
    16: "Hexagon",
    17: "MAIA",
}


def as_array(x: Any, name: str = "x") -> np.ndarray:
    """The data of any array-like as an ndarray, without a copy wherever that is possible.

    Parameters
    ----------
    x : array_like
        An ndarray, an object with ``__dlpack__`` (a torch CPU tensor, also one that requires a
        gradient or holds bfloat16), the buffer protocol, ``__array_interface__``, ``__array__``,
        or a nested sequence of numbers (copied).
    name : str
        The argument's name, for the error message.

    Returns
    -------
    ndarray
        In native byte order (foreign byte orders are swapped into a copy), of any dtype but
        object, string and the like. Read-only if the source is.

    Raises
    ------
    TypeError
        If `x` is not an array of numbers.
    ValueError
        If `x` lies on another device than the CPU, or is a ragged sequence.

    Examples
    --------
    >>> as_array([[1.0, 2.0], [3.0, 4.0]], "x").shape
    (2, 2)
    """
    # The identity test is a third of the price of the look-up, and true of most arrays.
    if type(x) is _ndarray and (x.dtype is _FLOAT32 or x.dtype in _CODES):
        return x
    return _as_array_slowly(x, name)


def _as_array_slowly(x: Any, name: str) -> np.ndarray:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be an array without a mask, got a MaskedArray: "
            "fill it first, for example with x.filled(0)"
        )
    if isinstance(x, np.ndarray):
        array = np.asarray(x)
    elif hasattr(x, "__dlpack__"):
        array = _from_dlpack(x, name)
    else:
        try:
            array = np.asarray(x)
        except ValueError as error:
            raise ValueError(
                f"{name} must be an array or a regular nested sequence of numbers, "
                f"got {_described(x)}: {error}"
            ) from None
        except (TypeError, RuntimeError) as error:
            raise TypeError(f"{name} must be an array, got {_described(x)}: {error}") from None
    # Tested by type, not kind: the dtypes of ml_dtypes have kind "V" as well.
    if array.dtype.kind in "OSUMm" or issubclass(array.dtype.type, np.void):
        raise TypeError(
            f"{name} must be an array of numbers, got {_described(x)} with dtype {array.dtype}"
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def _described(x: Any) -> str:
    return f"{reprlib.repr(x)} ({type(x).__name__})"


def _from_dlpack(x: Any, name: str) -> np.ndarray:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return _from_torch(x, name, torch)
    device_type = int(x.__dlpack_device__()[0])
    if device_type not in _HOST_DEVICES:
        raise ValueError(
            f"{name} must be in CPU memory, got {type(x).__name__} on device "
            f"{_DEVICES.get(device_type, f'of DLPack type {device_type}')}"
        )
    try:
        return np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        # NumPy's DLPack import knows no bfloat16 and refuses read-only exporters before 2.1; the
        # exporter's own conversion, where it has one, covers both.
        if hasattr(x, "__array__") or hasattr(x, "__array_interface__"):
            return np.asarray(x)
        raise TypeError(
            f"{name} must be an array NumPy can read through DLPack, got {type(x).__name__}: "
            f"{error}"
        ) from None


def _from_torch(x: Any, name: str, torch: Any) -> np.ndarray:
    if x.device.type != "cpu":
        raise ValueError(
            f"{name} must be in CPU memory, got a torch tensor on device {str(x.device)!r}: "
            "call .cpu() on it"
        )
    if x.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got a torch tensor of layout {x.layout}")
    if x.is_quantized:
        raise TypeError(
            f"{name} must be a plain tensor, got a quantised torch tensor of dtype {x.dtype}: "
            "pass x.dequantize() or x.int_repr()"
        )
    tensor = x.detach().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return np.from_dlpack(tensor.view(torch.int16)).view(bfloat16())
    try:
        return np.from_dlpack(tensor)
    except (BufferError, RuntimeError, TypeError) as error:
        raise TypeError(
            f"{name} must have a dtype NumPy knows, got a torch tensor of dtype {x.dtype}: {error}"
        ) from None


def bfloat16() -> np.dtype[Any]:
    """NumPy's bfloat16 dtype, which lives in ml_dtypes.

    Raises
    ------
    ImportError
        If ml_dtypes is not installed.
    """
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError(
            "bfloat16 arrays need the package ml_dtypes: python -m pip install ml_dtypes"
        ) from None
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def dtype_code(array: np.ndarray, name: str = "x") -> str:
    """The kernels' name of an array's element type: "f32", "f64", "f16" or "bf16".

    Parameters
    ----------
    array : ndarray
    name : str
        The argument's name, for the error message.

    Returns
    -------
    str

    Raises
    ------
    TypeError
        If the dtype is none of those four in native byte order.

    Examples
    --------
    >>> dtype_code(np.zeros(3, np.float32))
    'f32'
    """
    code = _CODES.get(array.dtype)
    if code is not None:
        return code
    dtype = array.dtype
    if dtype.name == "bfloat16" and dtype.itemsize == 2 and dtype.isnative:
        _CODES[dtype] = "bf16"
        return "bf16"
    order = "" if dtype.isnative else " in foreign byte order"
    raise TypeError(
        f"{name} must have dtype float32, float64, float16 or bfloat16, got {dtype}{order}"
    )
