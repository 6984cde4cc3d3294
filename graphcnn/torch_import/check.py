"""Is the imported graph the module? Each value against torch's own, on the example.

Every operator is judged on the operands that torch's computed, so the first that deviates is named
and not one that reads it. The bounds are derived as those of `verify`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from graphcnn.errors import ImportDeviates
from graphcnn.ir import Array, DType, Graph, Node, bounded, weights
from graphcnn.plan import Arithmetic
from graphcnn.progress import doing
from graphcnn.report.deviation import deviation

# torch's library may take Winograd's algorithm, which rounds more than a sum of products.
_WINOGRAD = 8.0


def check(graph: Graph, values: Mapping[str, Array]) -> None:
    """Compare a graph with torch's values.

    Args:
        graph: What was imported.
        values: What torch computed, by the names of the graph's values: inputs, and what
            conversions end in.

    Raises:
        ImportDeviates: naming the first node that is further off than rounding takes it.
    """
    known: dict[str, Array] = dict(values)
    pending: list[Node] = []
    for number, node in enumerate(graph.nodes, 1):
        doing(f"comparing node {number} of {len(graph.nodes)} with torch's: {node.name}")
        pending.append(node)
        if node.name not in values:
            continue
        operands = {n: known[n] for one in pending for n in one.inputs if n in known}
        operands |= {
            n: weights(graph.param_by_name[n])
            for one in pending
            for n in one.inputs
            if graph.is_param(n)
        }
        _judge(tuple(pending), operands, values[node.name], node)
        if len(pending) > 1:  # torch has no values of those in between
            exact, _, _ = bounded(tuple(pending), operands, 0.0)
            known |= {name: array for name, array in exact.items() if name not in known}
        pending = []


def _judge(
    nodes: tuple[Node, ...], operands: Mapping[str, Array], array: Array, node: Node
) -> None:
    dtype = node.type.dtype
    if array.shape != node.type.shape:
        raise _deviates(node, f"{node.type} where torch has {array.shape}")
    arithmetic = Arithmetic(max(DType.F32.unit_roundoff, dtype.unit_roundoff), _WINOGRAD)
    if dtype is DType.F64:
        arithmetic = Arithmetic(dtype.unit_roundoff, _WINOGRAD)
    worst = deviation(nodes, operands, {node.name: array}, {node.name: dtype}, arithmetic)
    if worst.problem is not None:
        raise _deviates(
            node, f"{worst.problem}: off by {worst.error:.2g}, of {worst.bound:.2g} allowed"
        )


def as_array(value: torch.Tensor) -> Array:
    """A tensor in float64."""
    array: Array = value.detach().to(torch.float64).cpu().numpy()
    return np.asarray(array)


def _deviates(node: Node, got: str) -> ImportDeviates:
    return ImportDeviates(
        "the imported graph is not the module",
        where=node.place,
        got=got,
        wanted="torch's values on the example, within the rounding of both",
        remedy="report the module's line; until then write it with other operators",
    )
