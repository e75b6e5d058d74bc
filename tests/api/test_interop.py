"""Arrays of other libraries: DLPack, buffers, torch, bfloat16, read-only memory."""

import array

import numpy as np
import pytest

import fastconv as fc

WEIGHT = np.random.default_rng(0).standard_normal((3, 2, 3, 3)).astype(np.float32)
X = np.random.default_rng(1).standard_normal((1, 2, 7, 8)).astype(np.float32)
WANTED = fc.conv2d(X, WEIGHT)
PACKED = fc.Conv(WEIGHT)(X)  # may run another algorithm, which rounds differently


class Exporter:
    """An object with DLPack and nothing else, that counts its exports."""

    def __init__(self, values):
        self.values, self.exports = values, 0

    def __dlpack__(self, **keywords):
        self.exports += 1
        return self.values.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


class OnDevice(Exporter):
    def __dlpack_device__(self):
        return (2, 0)


def test_dlpack():
    x, weight = Exporter(X.copy()), Exporter(WEIGHT.copy())
    assert np.array_equal(fc.conv2d(x, weight), WANTED)
    assert np.array_equal(fc.Conv(weight)(x), PACKED)
    assert (x.exports, weight.exports) == (2, 2)


def test_other_devices_are_refused():
    with pytest.raises(ValueError, match=r"x must be in CPU memory.*CUDA"):
        fc.conv2d(OnDevice(X), WEIGHT)


def test_buffers():
    assert np.array_equal(fc.conv2d(memoryview(X), memoryview(WEIGHT)), WANTED)
    signal = array.array("d", [1, 2, 4, 7])
    assert fc.conv1d(np.asarray(signal)[None], np.ones((1, 1, 2))).tolist() == [[3, 6, 11]]


def test_nested_lists():
    with pytest.raises(TypeError, match="x"):
        fc.conv1d([[1, 2, 3]], np.ones((1, 1, 2)))  # integers
    assert fc.conv1d([[1.0, 2.0, 3.0]], np.ones((1, 1, 2))).tolist() == [[3, 5]]


def test_read_only_inputs():
    frozen = [a.copy() for a in (X, WEIGHT, np.ones(3, np.float32), np.ones_like(WANTED))]
    for a in frozen:
        a.flags.writeable = False
    x, weight, bias, residual = frozen
    ones, whole = np.ones(3, np.float32), np.ones_like(WANTED)
    wanted = fc.conv2d(X, WEIGHT, ones, residual=whole)
    assert np.array_equal(fc.conv2d(x, weight, bias, residual=residual), wanted)
    assert np.array_equal(fc.Conv(weight, bias)(x, residual), fc.Conv(WEIGHT, ones)(X, whole))


def test_foreign_byte_order_and_odd_addresses():
    swapped = X.astype(X.dtype.newbyteorder())
    assert np.array_equal(fc.conv2d(swapped, WEIGHT), WANTED)
    raw = np.zeros(X.nbytes + 1, np.uint8)
    odd = raw[1:].view(np.float32).reshape(X.shape)
    odd[...] = X
    assert not odd.flags.aligned
    assert np.array_equal(fc.conv2d(odd, WEIGHT), WANTED)
    assert np.array_equal(fc.Conv(WEIGHT)(odd), PACKED)
    record = np.zeros(X.shape, [("tag", "u1"), ("value", "<f4")])
    record["value"] = X
    assert np.array_equal(fc.Conv(WEIGHT)(record["value"]), PACKED)
    out = np.zeros(WANTED.shape, [("tag", "u1"), ("value", "<f4")])
    fc.conv2d(X, WEIGHT, out=out["value"])
    assert np.array_equal(out["value"], WANTED)
    assert not out["tag"].any()


def test_subclasses_and_masks():
    class Picture(np.ndarray):
        pass

    assert np.array_equal(fc.conv2d(X.view(Picture), WEIGHT), WANTED)
    with pytest.raises(TypeError, match="mask"):
        fc.conv2d(np.ma.masked_less(X, 0), WEIGHT)


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    narrow = [a.astype(ml_dtypes.bfloat16) for a in (X, WEIGHT)]
    got = fc.conv2d(*narrow)
    assert got.dtype == ml_dtypes.bfloat16
    wide = fc.conv2d(*(a.astype(np.float32) for a in narrow))
    # Summed in float32, rounded once: at most a tie away from the rounded float32 result.
    np.testing.assert_allclose(np.float64(got), wide, rtol=2**-8)
    assert np.array_equal(fc.Conv(narrow[1])(narrow[0]), got)
    bias = np.ones(3, np.float32)
    assert fc.conv2d(*narrow, bias).dtype == ml_dtypes.bfloat16


def test_float16_rounds_once():
    """4096 ones: a sum in float16 would stop at 2048."""
    x, weight = np.ones((1, 4095, 1), np.float16), np.ones((1, 4095, 1), np.float16)
    assert fc.conv1d(x, weight).item() == 4096  # 4095 rounded to float16's 11 bits
    assert fc.conv1d(x[:, :2049], weight[:, :2049]).item() == 2048  # ties to even
    assert fc.conv1d(x[:, :2051], weight[:, :2051]).item() == 2052


def test_torch_without_a_copy():
    torch = pytest.importorskip("torch")
    x, weight = torch.from_numpy(X.copy()), torch.from_numpy(WEIGHT.copy())
    assert np.array_equal(fc.conv2d(x, weight), WANTED)
    assert np.array_equal(fc.conv2d(x.requires_grad_(), weight), WANTED)
    out = torch.zeros(WANTED.shape)
    fc.conv2d(X, WEIGHT, out=out.numpy())
    assert np.array_equal(out.numpy(), WANTED)
    with pytest.raises(ValueError, match="CPU"):
        fc.conv2d(torch.empty(X.shape, device="meta"), weight)
