"""How many activation elements a graph moves: what fusion saves, before anything runs."""

from __future__ import annotations

from graphcnn.ir import Graph, Node, OpKind, TensorType
from graphcnn.ops import Strided


def traffic(graph: Graph) -> int:
    """Activation elements that all nodes of a graph read and write; weights are not counted."""
    return sum(node_traffic(node, graph) for node in graph.nodes)


def node_traffic(node: Node, graph: Graph) -> int:
    """Activation elements that one node, or one fused group, moves.

    It reads each of its non-param operands once and writes each value it defines once. Other names
    and strided views for memory, such as flatten and slice, move nothing.
    """
    return sum(type.size for type in _moved(node, graph))


def node_bytes(node: Node, graph: Graph) -> int:
    """The same in bytes."""
    return sum(type.nbytes for type in _moved(node, graph))


def _moved(node: Node, graph: Graph) -> list[TensorType]:
    if node.op.kind is OpKind.VIEW or isinstance(node.op, Strided):
        return []
    operands = (name for name in dict.fromkeys(node.inputs) if not graph.is_param(name))
    return [*map(graph.type_of, operands), *(value.type for value in node.outputs)]


def copy_traffic(node: Node, graph: Graph) -> int:
    """What a node moves for which something runs: another name or a strided view is copied, so that
    each of its elements is read and written."""
    return node_traffic(node, graph) or 2 * node.type.size
