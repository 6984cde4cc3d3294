"""The library target: every node through torch's own operator. The baseline of every table."""

from __future__ import annotations

import torch

from graphcnn import ops
from graphcnn.ir import Chosen, DType, Graph, Node
from graphcnn.plan import Arithmetic, Call, Lowered, Step
from graphcnn.targets.device import Device
from graphcnn.targets.policy import MODEL, Policy
from graphcnn.targets.torch_ops import Torch
from graphcnn.targets.ways import TORCH, function, ways_of


class LibraryTarget:
    """PyTorch's eager operators, in the graph's order, on the device's memory.

    `policy` tells which nodes take another of its ways.
    """

    name = "library"
    precision = ""
    supports = None
    time = None

    def __init__(self, device: Device, policy: Policy = MODEL) -> None:
        self.on, self.policy = device, policy

    def at(self, device: Device) -> LibraryTarget:
        """The same target on another device."""
        return LibraryTarget(device, self.policy)

    def lower(self, graph: Graph) -> Lowered:
        """One call per node.

        Raises:
            UnsupportedOp: for an op or padding that torch does not have, and for a group
                with several outputs.
        """
        steps, taken = [], []
        device = self.on.memory.type
        for node in graph.nodes:
            call = self.policy.call(node)
            steps.append(self.step(node, call.way if call else TORCH))
            if call:
                ways = ways_of(node, device)
                taken.append(Chosen(node.name, "call", call.way, ways, call.because))
        return Lowered(tuple(steps), {}, {}, (), choices=tuple(taken))

    def following(self, graph: Graph) -> LibraryTarget:
        """The target for other batch sizes of a graph: the same."""
        return self

    def alone(self, graph: Graph, node: Node) -> Lowered:
        """The call of one node of a graph.

        Raises:
            UnsupportedOp: as `lower`.
        """
        return self.lower(graph.replace(nodes=(node,), outputs=(node.name,)))

    def step(self, node: Node, way: str = TORCH) -> Step:
        """One call, in one of the ways that torch has; those of a group follow one another.

        Raises:
            UnsupportedOp: as `lower`.
        """
        label = "+".join(member.op.name for member in node.members)
        work, arithmetic = Call(_function(node, way)), self._arithmetic(node)
        return Step(node.name, label, work, node.inputs, (node.name,), arithmetic)

    def _arithmetic(self, node: Node) -> Arithmetic:
        """Float32, or float64 for float64.

        On CUDA, torch may multiply float32 matrices and images in tf32, as its own settings say
        when a graph is compiled.
        """
        dtype = node.type.dtype
        if dtype is DType.F32 and self.on.memory.type == "cuda":
            members = [member.op for member in node.members]
            images = (
                any(isinstance(op, ops.Conv | ops.ConvTranspose) for op in members)
                and torch.backends.cudnn.allow_tf32
            )
            products = any(isinstance(op, ops.Linear | ops.Matmul) for op in members)
            matrices = products and torch.backends.cuda.matmul.allow_tf32
            if images or matrices:
                return Arithmetic(2.0**-11)
        return Arithmetic((DType.F64 if dtype is DType.F64 else DType.F32).unit_roundoff)


def _function(node: Node, way: str) -> Torch:
    call = function(node, way)

    def run(*operands: torch.Tensor) -> torch.Tensor:
        device = operands[0].device.type
        if not torch.is_autocast_enabled(device):
            return call(*operands)
        with torch.autocast(device, enabled=False):  # the graph's dtypes, not the caller's
            return call(*operands)

    return run
