"""The same network for another batch size."""

from __future__ import annotations

from dataclasses import replace

from graphcnn.arguments import count
from graphcnn.errors import BatchError, ShapeError
from graphcnn.ir.graph import Fused, Graph, Node, Value
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
    inputs = tuple(
        Value(value.name, value.type.with_shape((batch, *value.type.shape[1:])))
        for value in graph.inputs
    )
    types = {value.name: value.type for value in inputs}
    types |= {param.name: param.type for param in graph.params}
    changed = {value.name for value in inputs if value not in graph.inputs}
    nodes = tuple(_retype(node, types, changed) for node in graph.nodes)
    return graph.replace(inputs=inputs, nodes=nodes)


def _retype(node: Node, types: dict[str, TensorType], changed: set[str]) -> Node:
    """The node with its types inferred from `types`, to which its values are added.

    Its values are added to `changed` too, the names of other types than before, where they are.
    """
    if isinstance(node.op, Fused):
        body = node.op.body
        inner = {name: types[name] for name in node.inputs}
        inputs = tuple(Value(value.name, inner[value.name]) for value in body.inputs)
        nodes = tuple(_retype(inside, inner, changed) for inside in body.nodes)
        outputs = tuple(Value(name, inner[name]) for name in body.outputs)
        node = replace(node, op=Fused(body.replace(inputs=inputs, nodes=nodes)), outputs=outputs)
    else:
        try:
            type = node.op.infer(*(types[name] for name in node.inputs))
        except ShapeError as error:
            raise _batch_error(node, error.what) from error
        if type.shape[1:] != node.type.shape[1:]:
            raise _batch_error(node, f"{node.type} becomes {type}")
        if type == node.type and not changed.isdisjoint(node.inputs):
            raise _batch_error(node, f"{type} at every batch size, by an operand for each sample")
        if type != node.type:
            changed.add(node.name)
        node = replace(node, outputs=(Value(node.name, type),))
    types.update({value.name: value.type for value in node.outputs})
    return node


def _batch_error(node: Node, got: str) -> BatchError:
    return BatchError(
        "the graph cannot be re-planned for another batch size",
        where=node.place,
        got=got,
        wanted="operators that follow the first dimension of their input",
        remedy="use -1 for the batch in reshape, or build the graph for this batch size",
    )
