"""What computes a case: a function each. To add one, write it and list it in `CONTENDERS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

import graphcnn as gx
from bench.engines.exports import OneInput, export_onnx
from bench.engines.peers import Absent
from bench.gpu.cases import Case
from bench.gpu.hardware import Hardware
from bench.gpu.results import FUSED, TORCH, UNFUSED
from graphcnn.ir import Graph, inline, rebatch
from graphcnn.ops import BatchNorm
from graphcnn.runtime.boundary import example_inputs, torch_dtype
from graphcnn.runtime.compiled import CompiledModel

FOLDED, TF32, COMPILED, TENSORRT = "torch folded", "torch tf32", "torch.compile", "TensorRT"
# Images that are computed in float64 at a time.
CHUNK = 8


class Run(NamedTuple):
    """How a contender computes a case.

    Attributes:
        call: A call as its user makes it, which returns the output.
        kernels: What a CUDA graph is captured of; returns the output too.
        ready: What is done before each of its turns, and not timed.
    """

    call: Callable[[], torch.Tensor]
    kernels: Callable[[], torch.Tensor]
    ready: Callable[[], None] = lambda: None


@dataclass
class Network:
    """A workload in one dtype, as graphs and compiled.

    Attributes:
        case: It with any batch.
        hardware: Where it runs.
    """

    case: Case
    hardware: Hardware

    def holds(self, case: Case) -> bool:
        """Whether a case is one of it."""
        return (case.workload, case.dtype) == (self.case.workload, self.case.dtype)

    @cached_property
    def graph(self) -> Graph:
        """For a batch of 1."""
        return self.case.graph(tiny=self.hardware.dry)

    @cached_property
    def models(self) -> dict[str, CompiledModel]:
        """Compiled by graphcnn."""
        device = self.hardware.device.memory
        return {
            name: gx.compile(self.graph, device=device, fuse=name == FUSED)
            for name in (UNFUSED, FUSED)
        }

    @cached_property
    def folded(self) -> Graph:
        """With its batch norms in the weights, as a careful user of torch would run it."""
        return inline(self.models[UNFUSED].graph)


@dataclass
class Work:
    """A case, and what its contenders share.

    Attributes:
        network: Its workload.
        batch: Images per call.
        stack: What ends with the replays: the turns of our models.
    """

    network: Network
    batch: int
    stack: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def graph(self) -> Graph:
        """For its batch."""
        return rebatch(self.network.graph, self.batch)

    @cached_property
    def image(self) -> torch.Tensor:
        """Seeded standard normal pixels, channels last."""
        (entry,) = self.graph.inputs
        image = torch.from_numpy(example_inputs(self.graph)[entry.name])
        image = image.to(self.network.hardware.device.memory, torch_dtype(entry.type.dtype))
        return image.contiguous(memory_format=torch.channels_last)

    @cached_property
    def expected(self) -> torch.Tensor:
        """The output in float64, by torch.

        Raises:
            ValueError: for one that is constant.
        """
        module = gx.to_torch(self.graph).double().to(self.image.device)
        output = torch.cat([module(part.double()) for part in self.image.split(CHUNK)])
        if not output.max() > output.min():
            raise ValueError("the expected output is constant and says nothing")
        return output

    @cached_property
    def eager(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """torch's operators one by one, on channels-last tensors."""
        return exported(self.graph, self.image)

    @cached_property
    def eager_folded(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The same, of the network whose batch norms are folded."""
        return exported(rebatch(self.network.folded, self.batch), self.image)


def exported(graph: Graph, image: torch.Tensor) -> Any:
    """A graph as a flat program of torch's operators."""
    module = gx.to_torch(graph).to(image.device).to(memory_format=torch.channels_last)
    return torch.export.export(module, (image,)).module(check_guards=False)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether torch may multiply float32 in tf32."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _torch(
    module: Callable[[torch.Tensor], torch.Tensor], work: Work, *, allow_tf32: bool = False
) -> Run:
    def run() -> torch.Tensor:
        with tf32(allow_tf32):
            return module(work.image)

    return Run(run, run)


def _eager(work: Work) -> Run:
    return _torch(work.eager, work)


def _folded(work: Work) -> Run | None:
    if not any(isinstance(node.op, BatchNorm) for node in work.graph.nodes):
        return None
    return _torch(work.eager_folded, work)


def _tf32(work: Work) -> Run | None:
    if work.network.case.dtype != "float32":
        return None
    return _torch(work.eager, work, allow_tf32=True)


def _compiled(work: Work) -> Run:
    torch._dynamo.reset()
    return _torch(torch.compile(work.eager_folded, **work.network.hardware.compiled), work)


def _tensorrt(work: Work) -> Run:
    """The types of the ONNX file are its types, and float32 is not multiplied in tf32."""
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # always, from 11 on
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, logger)
    image = work.image.contiguous()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        module = gx.to_torch(rebatch(work.network.folded, work.batch)).to(image.device)
        export_onnx(OneInput(module).eval(), image, path)
        if not parser.parse_from_file(str(path)):
            raise Absent(str(parser.get_error(0)))
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Absent("it builds no engine of this network")
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    output = torch.empty(work.expected.shape, dtype=image.dtype, device=image.device)

    def run() -> torch.Tensor:
        for name, tensor in (("image", image), ("result", output)):
            context.set_tensor_address(name, tensor.data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise Absent("its engine does not start")
        return output

    return Run(run, run)


def _ours(name: str) -> Callable[[Work], Run]:
    def load(work: Work) -> Run:
        model = work.network.models[name]
        (entry,) = model.graph.inputs
        model.prepare([work.batch])
        inputs = {entry.name: work.image}
        executor = work.stack.enter_context(model.loaded(inputs, poison=True))

        def kernels() -> torch.Tensor:
            executor.run()
            value: torch.Tensor = executor.value(executor.graph.outputs[0])
            return value

        # Loaded anew for each turn: a step may have put its result where the image was.
        return Run(lambda: model(work.image), kernels, partial(executor.load, inputs))

    return load


class Contender(NamedTuple):
    """How to load one.

    Attributes:
        load: What raises `Absent`, or any error, where it cannot take a case; None where it would
            be another one once more.
        slow: Whether that takes minutes.
        tolerance: The error that passes in any case, for arithmetic of other bits than the dtype's.
    """

    load: Callable[[Work], Run | None]
    slow: bool = False
    tolerance: float = 0.0


# Torch is first: what is tolerated depends on it.
CONTENDERS = {
    TORCH: Contender(_eager),
    FOLDED: Contender(_folded),
    TF32: Contender(_tf32, tolerance=2e-2),
    COMPILED: Contender(_compiled, slow=True),
    TENSORRT: Contender(_tensorrt, slow=True),
    UNFUSED: Contender(_ours(UNFUSED)),
    FUSED: Contender(_ours(FUSED)),
}
