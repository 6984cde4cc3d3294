"""The engines, a class each: how one reads a network from a folder of `exports`, and calls it.

To add one, write its class and list it in `ENGINES`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Call = Callable[[], Any]


class Absent(Exception):
    """An engine is not here, or cannot take a network; the message says why."""


class Engine(ABC):
    """One engine in a process of its own.

    Args:
        folder: What `exports` wrote.
        dtype: What values are to be stored in.
        threads: What it may use.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    own: ClassVar[bool] = False

    def __init__(self, folder: Path, dtype: str, threads: int) -> None:
        self.folder, self.dtype, self.threads = folder, dtype, threads

    @abstractmethod
    def start(self) -> None:
        """Import what takes memory without any network.

        Raises:
            ImportError: where the package is not installed.
        """

    @abstractmethod
    def load(self, image: Array) -> Call:
        """What computes the output of an image, float32 [N, C, H, W].

        Raises:
            Absent: when the engine cannot take the network.
        """

    def read(self, result: Any) -> Array:
        """What a call returned, as an array."""
        return np.asarray(result)

    def form(self, name: str) -> Path:
        """A file of the folder."""
        reason = self.folder / f"{name}.absent"
        if reason.exists():
            raise Absent(reason.read_text())
        return self.folder / name

    def only_float32(self, because: str) -> None:
        """Refuse other dtypes."""
        if self.dtype != "float32":
            raise Absent(because)


class Torch(Engine):
    """torch's operators, one by one."""

    name, package = "torch eager", "torch"

    def start(self) -> None:
        """Import torch and what reads its files, and give it its threads."""
        import torch
        import torch._dynamo
        import torch._export.serde.serialize

        torch.set_num_threads(self.threads)
        torch.set_grad_enabled(False)

    def load(self, image: Array) -> Call:
        """Called without gradients."""
        import torch

        module = self.module(torch.export.load(self.form("torch.pt2")).module(check_guards=False))
        given = self.given(torch.from_numpy(image).to(getattr(torch, self.dtype)))

        def call() -> Any:
            with torch.inference_mode():
                return module(given)

        return call

    def module(self, module: Any) -> Any:
        """What is called."""
        return module

    def given(self, image: Any) -> Any:
        """What it is called with."""
        return image

    def read(self, result: Any) -> Array:
        """As float32: NumPy has no bfloat16."""
        array: Array = result.float().numpy()
        return array


class TorchChannelsLast(Torch):
    """The same, on images whose channels lie next to each other."""

    name = "torch channels_last"

    def module(self, module: Any) -> Any:
        """Its filters likewise."""
        import torch

        return module.to(memory_format=torch.channels_last)

    def given(self, image: Any) -> Any:
        """The image likewise."""
        import torch

        return image.contiguous(memory_format=torch.channels_last)


class Inductor(Torch):
    """`torch.compile`, its weights frozen."""

    name = "torch.compile"

    def start(self) -> None:
        """Import the compiler as well."""
        super().start()
        import torch._inductor.compile_fx
        import torch._inductor.config

        torch._inductor.config.freezing = True

    def load(self, image: Array) -> Call:
        """Called under `no_grad`, which freezing asks for."""
        import torch

        module = self.module(torch.export.load(self.form("torch.pt2")).module(check_guards=False))
        given = torch.from_numpy(image).to(getattr(torch, self.dtype))
        return lambda: module(given)

    def module(self, module: Any) -> Any:
        """Compiled at the first call."""
        import torch

        return torch.compile(module)


class OnnxRuntime(Engine):
    """ONNX Runtime's CPU provider with all its optimisations."""

    name, package = "ONNX Runtime", "onnxruntime"

    def start(self) -> None:
        """Import it."""
        import onnxruntime  # noqa: F401

    def load(self, image: Array) -> Call:
        """A session."""
        import onnxruntime

        self.only_float32("its CPU provider has no bfloat16 convolution")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = onnxruntime.InferenceSession(
            self.form("model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        return lambda: session.run(None, {"image": image})[0]


class OpenVino(Engine):
    """OpenVINO's CPU plugin, for latency."""

    name, package = "OpenVINO", "openvino"

    def start(self) -> None:
        """Import it, with its plugin."""
        import openvino

        self.core = openvino.Core()
        self.core.get_property("CPU", "FULL_DEVICE_NAME")

    def load(self, image: Array) -> Call:
        """A request that reads the image where it is."""
        settings = {
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[self.dtype],
            "PERFORMANCE_HINT": "LATENCY",
        }
        request = self.core.compile_model(
            self.form("model.onnx"), "CPU", settings
        ).create_infer_request()

        def call() -> Any:
            request.infer({0: image}, share_inputs=True, share_outputs=True)
            return request.get_output_tensor(0).data

        return call


class Ncnn(Engine):
    """ncnn, one image after the other: it has no batches. Without float16 and Vulkan."""

    name, package = "ncnn", "ncnn"

    def start(self) -> None:
        """Import it."""
        import ncnn  # noqa: F401

    def load(self, image: Array) -> Call:
        """An extractor per image."""
        import ncnn

        param = self.form("model.ncnn.param")
        net = self.net = ncnn.Net()
        options = net.opt
        options.num_threads = self.threads
        options.use_vulkan_compute = False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_packed = options.use_bf16_storage = self.dtype == "bfloat16"
        if net.load_param(str(param)) or net.load_model(str(param.with_suffix(".bin"))):
            raise Absent("it does not know a layer of the network")
        (entry,), (result,) = net.input_names(), net.output_names()
        images = [ncnn.Mat(each).clone() for each in image]  # a Mat does not keep an array

        def one(each: Any) -> Array:
            # The memory of a result is gone with its extractor.
            with net.create_extractor() as extractor:
                extractor.input(entry, each)
                return np.array(extractor.extract(result)[1])

        return lambda: [one(each) for each in images]

    def read(self, result: Any) -> Array:
        """The images, stacked."""
        return np.stack(result)


class Mnn(Engine):
    """MNN's CPU backend in its highest precision."""

    name, package = "MNN", "MNN"

    def start(self) -> None:
        """Import it."""
        import MNN  # noqa: F401

    def load(self, image: Array) -> Call:
        """A module whose result is read, which is what makes it compute."""
        import MNN

        self.only_float32("its kernels for x86 have no bfloat16")
        settings = {"backend": "CPU", "precision": "high", "numThread": self.threads}
        runtime = MNN.nn.create_runtime_manager((settings,))
        path = str(self.form("model.mnn"))
        net = MNN.nn.load_module_from_file(path, ["image"], ["result"], runtime_manager=runtime)
        given = MNN.expr.const(image, list(image.shape), MNN.expr.NCHW)
        self.held = runtime, given
        return lambda: net.forward(given).read()


class Unfused(Engine):
    """graphcnn, a kernel per node."""

    name, package, own = "graphcnn unfused", "graphcnn", True
    fuse: ClassVar[bool] = False

    def start(self) -> None:
        """Import the compiler and what it runs on."""
        import torch
        import triton  # noqa: F401

        import graphcnn.compiler
        import graphcnn.files
        import graphcnn.targets.triton  # noqa: F401

        torch.set_num_threads(self.threads)

    def load(self, image: Array) -> Call:
        """The network, compiled; arrays in, arrays out."""
        import graphcnn as gx

        graph = gx.load(self.form("graph.gcn"))
        model = gx.compile(graph, device="cpu", fuse=self.fuse)
        return lambda: model(image)


class Fused(Unfused):
    """graphcnn."""

    name = "graphcnn fused"
    fuse = True


PEERS = (Torch, TorchChannelsLast, Inductor, OnnxRuntime, OpenVino, Ncnn, Mnn)
ENGINES: tuple[type[Engine], ...] = (*PEERS, Unfused, Fused)
