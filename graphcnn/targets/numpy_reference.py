"""The reference as a target: float64 NumPy, one call per node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphcnn.ir import Array, DType, Graph, Node
from graphcnn.plan import Lowered, Step
from graphcnn.targets.device import Device


class NumpyTarget:
    """What a graph means, run step by step; always on the CPU."""

    name = "numpy"
    supports = None

    def __init__(self, device: Device) -> None:
        self.on = device

    def unit(self, graph: Graph) -> float:
        """Unit roundoff of float64."""
        return DType.F64.unit_roundoff

    def lower(self, graph: Graph) -> Lowered:
        """One call of the op's reference per node."""
        steps = tuple(
            Step(node.name, node.op.name, node.inputs, (node.name,), _call(node))
            for node in graph.nodes
        )
        return Lowered(steps, {}, {}, ())

    def enter(self, array: Any, dtype: DType) -> Array:
        """An array as float64, of numbers that the dtype has."""
        if not isinstance(array, np.ndarray):
            array = array.detach().cpu().double().numpy()
        return dtype.round(array).astype(np.float64)


def _call(node: Node) -> Callable[..., tuple[Array]]:
    return lambda *operands: (node.op.reference(*operands),)
