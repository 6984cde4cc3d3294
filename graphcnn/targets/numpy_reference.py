"""The reference as a target: float64 NumPy, one call per node."""

from __future__ import annotations

from collections.abc import Callable

import torch

from graphcnn.ir import Array, DType, Graph, Node
from graphcnn.plan import Arithmetic, Call, Lowered, Step
from graphcnn.targets.device import Device


class NumpyTarget:
    """What a graph means, run step by step; always on the CPU."""

    name = "numpy"
    precision = ""
    supports = None
    time = None

    def __init__(self, device: Device) -> None:
        self.on = device

    def at(self, device: Device) -> NumpyTarget:
        """The same target: NumPy has no other device."""
        return self

    def lower(self, graph: Graph) -> Lowered:
        """One call of the op's reference per node."""
        return Lowered(tuple(map(_step, graph.nodes)), {}, {}, ())

    def following(self, graph: Graph) -> NumpyTarget:
        """The target for other batch sizes of a graph: the same."""
        return self


def _step(node: Node) -> Step:
    work, arithmetic = Call(_function(node)), Arithmetic(DType.F64.unit_roundoff)
    return Step(node.name, node.op.name, work, node.inputs, (node.name,), arithmetic)


def _function(node: Node) -> Callable[..., Array]:
    return lambda *operands: node.op.reference(*map(_float64, operands))


def _float64(operand: Array | torch.Tensor) -> Array:
    """What another call returned as it is, inputs and params widened."""
    return operand.double().numpy() if isinstance(operand, torch.Tensor) else operand
