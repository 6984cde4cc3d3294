"""The same network for another batch size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphcnn.arguments import count
from graphcnn.errors import BatchError, ShapeError
from graphcnn.ir.fused import inline
from graphcnn.ir.graph import Fused, Graph, Node, Value
from graphcnn.ir.interpret import interpret
from graphcnn.ir.types import TensorType
from graphcnn.ir.verify import check_graph


def batch_of(graph: Graph) -> int:
    """The batch size: the first dimension that all inputs share.

    Raises:
        BatchError: when they do not share one.
    """
    sizes = {value.type.shape[0] if value.type.shape else 0 for value in graph.inputs}
    if len(sizes) != 1 or 0 in sizes:
        raise BatchError(
            "the inputs do not share a first dimension, so there is no batch size to change",
            where=f"graph '{graph.name}'",
            got=", ".join(map(str, graph.inputs)),
            remedy="call the model with the shapes it was compiled for",
        )
    return sizes.pop()


def rebatch(graph: Graph, batch: int) -> Graph:
    """The graph with every input's first dimension set to `batch` and all types inferred anew.

    Raises:
        InvalidGraph, InvalidAttribute: for what is not a graph, or a batch size.
        BatchError: when an op fixes the batch size, such as `reshape` to an explicit one, or
            mixes the samples.
    """
    check_graph(graph)
    batch = count(batch, "batch", 1)
    batch_of(graph)
    flat = inline(graph)
    types = {param.name: param.type for param in graph.params} | {
        value.name: value.type.with_shape((batch, *value.type.shape[1:])) for value in graph.inputs
    }

    def apply(node: Node, operands: tuple[TensorType, ...]) -> TensorType:
        try:
            type = node.op.infer(*operands)
        except ShapeError as error:
            raise _batch_error(node, error.what) from error
        if type.shape[1:] != node.type.shape[1:]:
            raise _batch_error(node, f"{node.type} becomes {type}")
        if type == node.type and operands != flat.types_of(node.inputs):
            raise _batch_error(node, f"{type} at every batch size, by an operand for each sample")
        return type

    return _retyped(graph, types | dict(interpret(flat.nodes, types.__getitem__, apply)))


def _retyped(graph: Graph, types: Mapping[str, TensorType]) -> Graph:
    """The graph with every value's type exchanged, also inside fused bodies."""

    def all_of(values: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(Value(value.name, types[value.name]) for value in values)

    def node_of(node: Node) -> Node:
        op = Fused(_retyped(node.op.body, types)) if isinstance(node.op, Fused) else node.op
        return replace(node, op=op, outputs=all_of(node.outputs))

    return graph.replace(inputs=all_of(graph.inputs), nodes=tuple(map(node_of, graph.nodes)))


# What makes an operator follow the first dimension of its input.
_REMEDIES = {
    "expand": "use -1 for the batch in expand",
    "permute": "leave the batch in front",
    "reshape": "use -1 for the batch in reshape",
    "slice": "index every dimension but the first, as in x[:, 0]",
    "squeeze": "name the dimensions that squeeze takes, and not the first",
}


def _batch_error(node: Node, got: str) -> BatchError:
    remedy = _REMEDIES.get(node.op.name, "leave the first dimension alone")
    return BatchError(
        "the graph cannot be re-planned for another batch size",
        where=node.place,
        got=got,
        wanted="operators that follow the first dimension of their input",
        remedy=f"{remedy}, or build the graph for this batch size",
    )
