"""One small adapter per library: the same layer, its weights packed, behind one callable.

An adapter's constructor imports its library, so a missing one raises ImportError and is skipped by
name. ``build`` does everything a program does once (convert and pack weights, allocate what the
library lets its caller allocate) and returns a `Prepared` whose ``call`` is what gets timed.
Tensors stay in the layout the adapter is named for, in and out; conversion to NumPy is never timed.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from layers import Layer


class Unsupported(Exception):
    """The library, or this adapter's layout of it, has no such layer; the text says why."""


@dataclass
class Prepared:
    """A layer ready to run: ``call()`` does the work, ``to_numpy`` gives its result as NCHW."""

    call: Callable[[], Any]
    to_numpy: Callable[[Any], np.ndarray]


class Adapter:
    """What peers.py needs of a library. Subclasses set the class variables and write build."""

    name: ClassVar[str]
    is_fastconv: ClassVar[bool] = False
    # Largest accepted difference over the largest output. Peers are free to use F(6,3) Winograd,
    # which loses two digits; fastconv under "highest" is held ten times closer.
    tolerance: ClassVar[float] = 1e-4
    version: str

    def build(self, layer: Layer, x: np.ndarray, weight: np.ndarray, threads: int) -> Prepared:
        raise NotImplementedError


@contextmanager
def silenced():
    """Nothing written to the process's standard output or error, by C code neither."""
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    try:
        with open(os.devnull, "w") as nowhere:
            for stream, _ in kept:
                os.dup2(nowhere.fileno(), stream)
        yield
    finally:
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)


def channels_last(array: np.ndarray) -> np.ndarray:
    """Contiguous copy with axis 1 moved to the end."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


# ---------------------------------------------------------------------------------- fastconv


class Fastconv(Adapter):
    is_fastconv = True
    tolerance = 1e-5

    def __init__(self):
        self.fc = importlib.import_module("fastconv")
        self.version = self.fc.__version__

    def conv(self, layer: Layer, weight: np.ndarray, layout: str):
        return self.fc.Conv(weight, None, layer.stride, layer.padding, layer.dilation,
                            layer.groups, layout=layout)


class FastconvChannelsFirst(Fastconv):
    name = "fc.nchw"

    def build(self, layer, x, weight, threads):
        self.fc.set_num_threads(threads)
        conv = self.conv(layer, weight, ("NCL", "NCHW", "NCDHW")[layer.rank - 1])
        out = np.empty(layer.out_shape, x.dtype)
        return Prepared(lambda: conv(x, out=out), lambda y: y)


class FastconvChannelsLast(Fastconv):
    name = "fc.nhwc"

    def build(self, layer, x, weight, threads):
        self.fc.set_num_threads(threads)
        conv = self.conv(layer, weight, ("NLC", "NHWC", "NDHWC")[layer.rank - 1])
        x_last = channels_last(x)
        out = channels_last(np.empty(layer.out_shape, x.dtype))
        return Prepared(lambda: conv(x_last, out=out), lambda y: np.moveaxis(y, -1, 1))


class FastconvFunctional(Fastconv):
    """The functional form: weights packed at each call, a fresh output each time."""

    name = "fc.func"

    def build(self, layer, x, weight, threads):
        self.fc.set_num_threads(threads)
        conv = getattr(self.fc, f"conv{layer.rank}d")
        arguments = (None, layer.stride, layer.padding, layer.dilation, layer.groups)
        return Prepared(lambda: conv(x, weight, *arguments), lambda y: y)


# ------------------------------------------------------------------------------------- torch


class Torch(Adapter):
    """torch.nn.functional on contiguous tensors, under inference mode."""

    name = "torch"

    def __init__(self):
        self.torch = importlib.import_module("torch")
        self.version = self.torch.__version__

    def tensors(self, layer: Layer, x: np.ndarray, weight: np.ndarray):
        return self.torch.from_numpy(x), self.torch.from_numpy(weight)

    def prepared(self, function: Callable[[], Any]) -> Prepared:
        guarded = self.torch.inference_mode()(function)
        return Prepared(guarded, lambda y: y.contiguous().numpy())

    def build(self, layer, x, weight, threads):
        self.torch.set_num_threads(threads)
        conv = getattr(self.torch.nn.functional, f"conv{layer.rank}d")
        x_tensor, weight_tensor = self.tensors(layer, x, weight)
        arguments = (None, layer.stride, layer.padding, layer.dilation, layer.groups)
        return self.prepared(lambda: conv(x_tensor, weight_tensor, *arguments))


class TorchChannelsLast(Torch):
    """torch.nn.functional with input, weight and output in channels_last memory format."""

    name = "torchcl"

    def tensors(self, layer, x, weight):
        if layer.rank == 1:
            raise Unsupported("torch has no channels_last for 1D")
        form = self.torch.channels_last if layer.rank == 2 else self.torch.channels_last_3d
        return tuple(t.to(memory_format=form) for t in super().tensors(layer, x, weight))


class TorchPacked(Torch):
    """oneDNN's packed weights as torch.compile's freezing leaves them; channels_last in and out.

    The operators are the ones Inductor calls. 1D runs as 2D of height one, as it does inside torch.
    """

    name = "torchpk"

    def build(self, layer, x, weight, threads):
        torch = self.torch
        torch.set_num_threads(threads)
        stride, padding, dilation = layer.stride, layer.padding, layer.dilation
        if layer.rank == 1:
            x, weight = x[:, :, None], weight[:, :, None]
            stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
        rank = x.ndim - 2
        form = torch.channels_last if rank == 2 else torch.channels_last_3d
        x_tensor = torch.from_numpy(x).to(memory_format=form)
        pack = getattr(torch._C._nn, f"mkldnn_reorder_conv{rank}d_weight")
        operator = torch.ops.mkldnn._convolution_pointwise
        with torch.inference_mode():
            packed = pack(torch.from_numpy(weight).to_mkldnn(), padding, stride, dilation,
                          layer.groups, list(x.shape))
        prepared = self.prepared(lambda: operator(
            x_tensor, packed, None, padding, stride, dilation, layer.groups, "none", [], ""))
        return Prepared(prepared.call, lambda y: prepared.to_numpy(y).reshape(layer.out_shape))


# ------------------------------------------------------------- runtimes that load an ONNX model


def onnx_model(layer: Layer, weight: np.ndarray) -> bytes:
    """A serialised ONNX model of the one layer: input "x", output "y", the weight a constant."""
    onnx = importlib.import_module("onnx")
    helper, float_type = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node(
        "Conv", ["x", "weight"], ["y"], kernel_shape=layer.kernel, strides=layer.stride,
        pads=layer.padding * 2, dilations=layer.dilation, group=layer.groups,
    )
    graph = helper.make_graph(
        [node], "layer",
        [helper.make_tensor_value_info("x", float_type, layer.in_shape)],
        [helper.make_tensor_value_info("y", float_type, layer.out_shape)],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    # Versions every listed runtime reads; Conv has not changed since.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


class OnnxRuntime(Adapter):
    """ONNX Runtime's CPU provider (MLAS), input and output bound to fixed buffers."""

    name = "ort"

    def __init__(self):
        importlib.import_module("onnx")
        self.ort = importlib.import_module("onnxruntime")
        self.version = self.ort.__version__

    def build(self, layer, x, weight, threads):
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        session = self.ort.InferenceSession(
            onnx_model(layer, weight), options, providers=["CPUExecutionProvider"])
        x_value = self.ort.OrtValue.ortvalue_from_numpy(x)
        y_value = self.ort.OrtValue.ortvalue_from_numpy(np.empty(layer.out_shape, x.dtype))
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", x_value)
        binding.bind_ortvalue_output("y", y_value)
        return Prepared(lambda: session.run_with_iobinding(binding), lambda _: y_value.numpy())


class OpenVino(Adapter):
    """OpenVINO's CPU plugin held to float32, one stream, latency hint, fixed buffers."""

    name = "openvino"

    def __init__(self):
        importlib.import_module("onnx")
        self.ov = importlib.import_module("openvino")
        self.core = self.ov.Core()
        self.version = self.ov.__version__.split("-")[0]

    def build(self, layer, x, weight, threads):
        model = self.core.read_model(io.BytesIO(onnx_model(layer, weight)))
        compiled = self.core.compile_model(model, "CPU", {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        })
        request = compiled.create_infer_request()
        y = np.empty(layer.out_shape, x.dtype)
        request.set_input_tensor(self.ov.Tensor(x, shared_memory=True))
        request.set_output_tensor(self.ov.Tensor(y, shared_memory=True))
        return Prepared(lambda: request.infer(share_outputs=True), lambda _: y)


# MNN 3.6.1 crashes with 1023 taps along one axis; it has not been tried in between.
MNN_LONGEST_KERNEL = 255


class Mnn(Adapter):
    """MNN's CPU backend through its module interface; NCHW in and out.

    Weights are packed at load, which MNN does without Winograd; `MnnWinograd` has it the other way.
    Not through MNN's sessions: they reuse the input's memory, so a second run would see no input.
    """

    name = "mnn"

    def load(self, path: str, threads: int):
        expr = self.mnn.expr
        return self.mnn.nn.load_module_from_file(
            path, ["x"], ["y"], shape_mutable=False, rearrange=True, backend=expr.Backend.CPU,
            precision_mode=expr.PrecisionMode.High, thread_num=threads)

    def __init__(self):
        importlib.import_module("onnx")
        with silenced():
            self.mnn = importlib.import_module("MNN")
            # The converter's command line reports each use over the network; its core does not.
            self.converter = importlib.import_module("_tools")
        self.version = self.mnn.version()

    def build(self, layer, x, weight, threads):
        if max(layer.kernel) > MNN_LONGEST_KERNEL:
            raise Unsupported(f"MNN's process crashes on kernels longer than {MNN_LONGEST_KERNEL}")
        with tempfile.TemporaryDirectory() as folder, silenced():
            source, target = Path(folder, "layer.onnx"), Path(folder, "layer.mnn")
            source.write_bytes(onnx_model(layer, weight))
            self.converter.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", str(source),
                                       "--MNNModel", str(target), "--bizCode", "bench"])
            module = self.load(str(target), threads)
        x_var = self.mnn.expr.const(x, layer.in_shape, self.mnn.expr.NCHW)
        return Prepared(lambda: module.forward(x_var),
                        lambda y: np.array(y.read(), copy=True).reshape(layer.out_shape))


class MnnWinograd(Mnn):
    """MNN packing at the first call, with the shape known: 3×3 and 5×5 go to large Winograd tiles.

    Faster there, with errors up to 2e-3 of the largest output in spite of "high" precision.
    """

    name = "mnnwino"

    def load(self, path, threads):
        # Backend 0 is the CPU.
        settings = {"backend": 0, "numThread": threads, "precision": "high"}
        runtime = self.mnn.nn.create_runtime_manager((settings,))
        return self.mnn.nn.load_module_from_file(path, ["x"], ["y"], runtime_manager=runtime)


# -------------------------------------------------------------------------------------- ncnn


class Ncnn(Adapter):
    """ncnn held to float32 storage and arithmetic; planes in and out, packed inside."""

    name = "ncnn"

    def __init__(self):
        self.ncnn = importlib.import_module("ncnn")
        self.version = self.ncnn.__version__

    @staticmethod
    def parameters(layer: Layer) -> str:
        """The text of ncnn's .param file; its keys are numbers, width first, then +10, +20."""
        values = {0: layer.out_channels, 5: 0, 6: int(np.prod(layer.weight_shape))}
        sizes = (layer.kernel, layer.dilation, layer.stride, layer.padding)
        for key, per_axis in enumerate(sizes, start=1):
            for axis, value in enumerate(reversed(per_axis)):
                values[key + (0, 10, 20)[axis]] = value
        kind = "Convolution"
        if layer.groups > 1:
            kind += "DepthWise"
            values[7] = layer.groups
        kind += ("1D", "", "3D")[layer.rank - 1]
        keys = " ".join(f"{key}={value}" for key, value in values.items())
        return f"7767517\n2 2\nInput x 0 1 x\n{kind} conv 1 1 x y {keys}\n"

    def build(self, layer, x, weight, threads):
        if layer.rank == 3:
            raise Unsupported("ncnn's 3D convolution is its naive one")
        net = self.ncnn.Net()
        option = net.opt
        option.num_threads = threads
        for name in dir(option):
            if re.match(r"use_(fp16|bf16|int8)_", name):
                with suppress(AttributeError):
                    setattr(option, name, False)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "layer.bin")
            # A zero word before the weights says they are plain float32.
            path.write_bytes(b"\0\0\0\0" + weight.tobytes())
            if net.load_param_mem(self.parameters(layer)) or net.load_model(str(path)):
                raise Unsupported("ncnn did not load the layer")
        # A copy made by ncnn has its planes aligned as its kernels want them.
        x_mat = self.ncnn.Mat(x[0]).clone()

        def call():
            extractor = net.create_extractor()
            extractor.input("x", x_mat)
            status, y = extractor.extract("y")
            if status:
                raise RuntimeError(f"ncnn extract failed with status {status}")
            return y

        return Prepared(call, lambda y: np.array(y).reshape(layer.out_shape))


# ------------------------------------------------------------------------------------ OpenCV


class OpenCv(Adapter):
    """OpenCV's filter2D, once per output plane, where a layer is a filter of one plane."""

    name = "opencv"

    def __init__(self):
        self.cv2 = importlib.import_module("cv2")
        self.version = self.cv2.__version__

    def build(self, layer, x, weight, threads):
        same = tuple((k - 1) // 2 for k in layer.kernel) == layer.padding
        if layer.rank != 2 or layer.in_channels != 1 or not same or max(
                *layer.stride, *layer.dilation) > 1:
            raise Unsupported("filter2D does one plane at stride 1, same size")
        cv2 = self.cv2
        cv2.setNumThreads(threads)
        plane, kernels = x[0, 0], weight[:, 0]
        out = np.empty(layer.out_shape, x.dtype)

        def call():
            for kernel, y in zip(kernels, out[0], strict=True):
                cv2.filter2D(plane, -1, kernel, dst=y, borderType=cv2.BORDER_CONSTANT)
            return out

        return Prepared(call, lambda y: y)


# ------------------------------------------------------------------------------------- SciPy


class SciPy(Adapter):
    """The fastest of SciPy's ways to write a layer (scipy_baselines.py), where one ends in
    reasonable time."""

    name = "scipy"

    def __init__(self):
        self.version = importlib.import_module("scipy").__version__
        self.baselines = importlib.import_module("scipy_baselines")

    def build(self, layer, x, weight, threads):
        names = self.baselines.baseline_names(layer)
        if not names:
            raise Unsupported("SciPy's forms of this layer take too long")
        calls = [self.baselines.baseline(name, layer, x, weight) for name in names]

        def seconds(call):
            start = time.perf_counter()
            call()
            return time.perf_counter() - start

        return Prepared(min(calls, key=seconds), lambda y: y)


ADAPTERS: tuple[type[Adapter], ...] = (
    FastconvChannelsFirst, FastconvChannelsLast, FastconvFunctional,
    Torch, TorchChannelsLast, TorchPacked, OnnxRuntime, OpenVino, Ncnn, Mnn,
    MnnWinograd, OpenCv, SciPy,
)


def available(wanted: str) -> tuple[list[Adapter], dict[str, str]]:
    """Adapters whose name matches the regular expression, and the reason for each one missing."""
    adapters, missing = [], {}
    for kind in ADAPTERS:
        if not re.search(wanted, kind.name):
            continue
        try:
            adapters.append(kind())
        except ImportError as error:
            missing[kind.name] = f"{type(error).__name__}: {error}"
    return adapters, missing
