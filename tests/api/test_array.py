"""`fastconv._array`: what may be given as an array, what is shared, and what is refused."""

import array as array_module
import builtins
import sys

import numpy as np
import pytest

from fastconv import _array
from fastconv._array import as_array, dtype_code


class Exporter:
    """An object that speaks DLPack and nothing else, on a device of one's choice."""

    def __init__(self, data, device=(1, 0), error=None):
        self.data, self.device, self.error = data, device, error

    def __dlpack__(self, **keywords):
        if self.error is not None:
            raise self.error
        return self.data.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.device


def shares(result, source):
    return np.shares_memory(result, source)


def test_an_ndarray_is_returned_itself():
    for dtype in (np.float32, np.float64, np.float16, np.int8, bool, np.complex64):
        x = np.zeros((2, 3), dtype)
        assert as_array(x, "x") is x
    strided = np.zeros((4, 6), np.float32)[::2, ::-1]
    assert as_array(strided, "x") is strided


def test_subclasses_and_foreign_holders_share_memory(tmp_path):
    mapped = np.memmap(tmp_path / "data", np.float32, "w+", shape=(3, 4))
    assert type(as_array(mapped, "x")) is np.ndarray
    assert shares(as_array(mapped, "x"), mapped)
    held = array_module.array("f", [1, 2, 3])
    held_array = as_array(held, "x")
    assert held_array.dtype == np.float32
    held[1] = 7
    assert held_array[1] == 7
    view = memoryview(bytearray(8)).cast("d")
    assert as_array(view, "x").dtype == np.float64

    class Interface:
        data = np.arange(4.0)
        __array_interface__ = data.__array_interface__

    assert shares(as_array(Interface(), "x"), Interface.data)


def test_read_only_stays_read_only():
    assert not as_array(memoryview(b"\0" * 4).cast("f"), "x").flags.writeable


def test_sequences_are_converted():
    assert as_array([[1.0, 2.0], [3.0, 4.0]], "x").tolist() == [[1, 2], [3, 4]]
    assert as_array([1, 2], "x").dtype.kind == "i"
    assert as_array(3.0, "x").shape == ()


def test_dlpack_is_shared():
    data = np.arange(6, dtype=np.float32).reshape(2, 3).T
    result = as_array(Exporter(data), "x")
    assert shares(result, data)
    assert result.strides == data.strides


@pytest.mark.parametrize(("device", "text"), [(2, "CUDA"), (10, "ROCm"), (8, "Metal"), (77, "77")])
def test_another_device_is_named(device, text):
    with pytest.raises(ValueError, match=f"weight must be in CPU memory, got Exporter.*{text}"):
        as_array(Exporter(np.zeros(2), (device, 0)), "weight")


def test_a_failing_dlpack_export_falls_back_on_the_array_protocol():
    class Both(Exporter):
        def __array__(self, dtype=None, copy=None):
            return self.data

    data = np.arange(3.0)
    assert shares(as_array(Both(data, error=BufferError("no")), "x"), data)
    with pytest.raises(TypeError, match=r"weight must be .*through DLPack, got Exporter: no"):
        as_array(Exporter(data, error=BufferError("no")), "weight")


@pytest.mark.parametrize("code", ["f4", "f8", "f2", "i4"])
def test_foreign_byte_order_is_swapped_into_a_copy(code):
    foreign = np.arange(6).astype(np.dtype(code).newbyteorder())
    result = as_array(foreign, "x")
    assert result.dtype == np.dtype(code)
    assert result.dtype.isnative
    assert np.array_equal(result, np.arange(6))
    assert not shares(result, foreign)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (None, TypeError, r"weight must be an array of numbers, got None \(NoneType\)"),
        ("abc", TypeError, r"got 'abc' \(str\)"),
        (b"abc", TypeError, r"got b'abc' \(bytes\)"),
        ({1: 2}, TypeError, r"\(dict\)"),
        (object(), TypeError, r"\(object\)"),
        ([[1.0], [1.0, 2.0]], ValueError, r"weight must be .*regular nested sequence"),
        (np.array([None, 1]), TypeError, r"dtype object"),
        (np.zeros(2, "M8[s]"), TypeError, r"dtype datetime64"),
        (np.zeros(2, [("a", "f4")]), TypeError, r"dtype \[\('a'"),
        (np.zeros(2, "V4"), TypeError, r"dtype \|V4"),
        (np.ma.masked_array([1.0], [True]), TypeError, r"weight must be .* without a mask"),
    ],
)
def test_refusals(bad, error, message):
    with pytest.raises(error, match=r"^weight must be") as caught:
        as_array(bad, "weight")
    assert caught.match(message)


@pytest.mark.parametrize(
    ("dtype", "code"), [(np.float32, "f32"), (np.float64, "f64"), (np.float16, "f16")]
)
def test_dtype_codes(dtype, code):
    assert dtype_code(np.zeros(1, dtype)) == code


def test_dtype_code_of_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.zeros(2, ml_dtypes.bfloat16)
    assert as_array(x, "x") is x
    assert dtype_code(x) == dtype_code(x) == "bf16"
    with pytest.raises(TypeError, match=r"weight must have dtype .*got float8_e5m2"):
        dtype_code(np.zeros(2, ml_dtypes.float8_e5m2), "weight")


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, bool, np.complex64, np.longdouble])
def test_dtype_code_refusals(dtype):
    name = np.dtype(dtype).name
    wanted = f"bias must have dtype float32, float64, float16 or bfloat16, got {name}"
    with pytest.raises(TypeError, match=wanted):
        dtype_code(np.zeros(1, dtype), "bias")


def test_dtype_code_refuses_foreign_byte_order():
    with pytest.raises(TypeError, match=r"bias must have .*in foreign byte order"):
        dtype_code(np.zeros(1, np.dtype("f4").newbyteorder()), "bias")


def test_bfloat16_without_ml_dtypes_says_what_to_install(monkeypatch):
    real_import = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "ml_dtypes":
            raise ImportError(name)
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "ml_dtypes", raising=False)
    with pytest.raises(ImportError, match="pip install ml_dtypes"):
        _array.bfloat16()


class TestTorch:
    """torch tensors; skipped without torch."""

    @pytest.fixture(autouse=True)
    def torch(self):
        self.torch = pytest.importorskip("torch")

    @pytest.mark.parametrize(
        "name", ["float32", "float64", "float16", "bfloat16", "int8", "uint8", "int64", "bool"]
    )
    def test_memory_is_shared(self, name):
        if name == "bfloat16":
            pytest.importorskip("ml_dtypes")
        tensor = self.torch.zeros(2, 3, dtype=getattr(self.torch, name))
        result = as_array(tensor, "x")
        assert result.dtype.name == name
        assert result.ctypes.data == tensor.data_ptr()
        tensor[1, 2] = 1
        assert result[1, 2] == 1

    def test_strides_are_kept(self):
        tensor = self.torch.arange(24.0).reshape(2, 3, 4)[:, :, ::2].permute(2, 0, 1)
        result = as_array(tensor, "x")
        assert result.ctypes.data == tensor.data_ptr()
        assert np.array_equal(result, np.array(tensor.tolist()))
        last = self.torch.zeros(1, 3, 4, 4).to(memory_format=self.torch.channels_last)
        assert as_array(last, "x").ctypes.data == last.data_ptr()

    def test_a_strided_bfloat16_tensor(self):
        pytest.importorskip("ml_dtypes")
        tensor = self.torch.arange(12).reshape(3, 4).to(self.torch.bfloat16).T[::2]
        result = as_array(tensor, "x")
        assert result.ctypes.data == tensor.data_ptr()
        assert result.astype(np.float32).tolist() == tensor.tolist()

    def test_parameters_are_detached_without_a_copy(self):
        weight = self.torch.nn.Conv2d(2, 3, 3).weight
        assert as_array(weight, "weight").ctypes.data == weight.data_ptr()
        assert weight.requires_grad

    def test_conjugate_views_are_resolved(self):
        tensor = self.torch.tensor([1 + 2j]).conj()
        assert as_array(tensor, "x").tolist() == [1 - 2j]

    def test_refusals(self):
        torch = self.torch
        with pytest.raises(ValueError, match=r"weight must be in CPU memory, .*device 'meta'"):
            as_array(torch.zeros(2, device="meta"), "weight")
        with pytest.raises(TypeError, match=r"weight must be a dense tensor, .*sparse_coo"):
            as_array(torch.zeros(2).to_sparse(), "weight")
        if hasattr(torch, "float8_e4m3fn"):
            with pytest.raises(TypeError, match=r"weight must have a dtype NumPy knows.*float8"):
                as_array(torch.zeros(2, dtype=torch.float8_e4m3fn), "weight")
