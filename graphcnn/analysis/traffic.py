"""How many activation elements a graph moves: what fusion saves, before anything runs."""

from __future__ import annotations

from graphcnn.ir import Graph, Node, OpKind
from graphcnn.ops import Strided


def traffic(graph: Graph) -> int:
    """Activation elements that all nodes of a graph read and write; weights are not counted."""
    return sum(node_traffic(node, graph) for node in graph.nodes)


def node_traffic(node: Node, graph: Graph) -> int:
    """Activation elements that one node, or one fused group, moves.

    It reads each of its non-param operands once and writes each value it defines once. Other names
    and strided views for memory, such as flatten and slice, move nothing.
    """
    if node.op.kind is OpKind.VIEW or isinstance(node.op, Strided):
        return 0
    operands = (name for name in dict.fromkeys(node.inputs) if not graph.is_param(name))
    reads = sum(graph.type_of(name).size for name in operands)
    return reads + sum(value.type.size for value in node.outputs)


def copy_traffic(node: Node, graph: Graph) -> int:
    """What a node moves for which something runs: another name or a strided view is copied, so that
    each of its elements is read and written."""
    return node_traffic(node, graph) or 2 * node.type.size
