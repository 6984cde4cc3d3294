"""The library target: every node through torch's own operator. The baseline of every table."""

from __future__ import annotations

import torch

from graphcnn import ops
from graphcnn.ir import DType, Graph, Node
from graphcnn.plan import Arithmetic, Call, Lowered, Step
from graphcnn.targets.device import Device
from graphcnn.targets.torch_ops import Torch, function_of


class LibraryTarget:
    """PyTorch's eager operators, in the graph's order, on the device's memory."""

    name = "library"
    supports = None

    def __init__(self, device: Device) -> None:
        self.on = device

    def lower(self, graph: Graph) -> Lowered:
        """One call per node.

        Raises:
            UnsupportedOp: for a fused node, or an op or padding that torch does not have.
        """
        return Lowered(tuple(map(self.step, graph.nodes)), {}, {}, ())

    def step(self, node: Node) -> Step:
        """One call.

        Raises:
            UnsupportedOp: as `lower`.
        """
        work, arithmetic = Call(_function(node)), self._arithmetic(node)
        return Step(node.name, node.op.name, work, node.inputs, (node.name,), arithmetic)

    def _arithmetic(self, node: Node) -> Arithmetic:
        """Float32, or float64 for float64.

        On CUDA, torch may multiply float32 matrices and images in tf32, as its own settings say
        when a graph is compiled.
        """
        dtype = node.type.dtype
        if dtype is DType.F32 and self.on.memory.type == "cuda":
            images = (
                isinstance(node.op, ops.Conv | ops.ConvTranspose)
                and torch.backends.cudnn.allow_tf32
            )
            products = isinstance(node.op, ops.Linear | ops.Matmul)
            matrices = products and torch.backends.cuda.matmul.allow_tf32
            if images or matrices:
                return Arithmetic(2.0**-11)
        return Arithmetic((DType.F64 if dtype is DType.F64 else DType.F32).unit_roundoff)


def _function(node: Node) -> Torch:
    call = function_of(node)

    def run(*operands: torch.Tensor) -> torch.Tensor:
        device = operands[0].device.type
        if not torch.is_autocast_enabled(device):
            return call(*operands)
        with torch.autocast(device, enabled=False):  # the graph's dtypes, not the caller's
            return call(*operands)

    return run
