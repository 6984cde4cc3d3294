"""How many activation elements a graph moves: what fusion saves, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from graphcnn.ir import Graph, Node, OpKind


@dataclass(frozen=True, slots=True)
class NodeTraffic:
    """Activation elements that one node, or one fused group, reads and writes."""

    node: str
    reads: int
    writes: int

    @property
    def total(self) -> int:
        """Elements read and written."""
        return self.reads + self.writes


@dataclass(frozen=True, slots=True)
class Traffic:
    """Activation elements that a graph moves, node by node; weights are not counted."""

    nodes: tuple[NodeTraffic, ...]

    @property
    def total(self) -> int:
        """Elements read and written by all nodes."""
        return sum(row.total for row in self.nodes)

    def __str__(self) -> str:
        rows = [f"{row.node:24} {row.reads:12,} {row.writes:12,}" for row in self.nodes]
        return "\n".join([*rows, f"{'total':24} {self.total:25,}"])


def traffic(graph: Graph) -> Traffic:
    """Activation traffic: every node reads each of its non-param operands once and writes each
    value it defines once. Flatten, reshape and dropout move nothing."""
    return Traffic(tuple(_of(node, graph) for node in graph.nodes))


def _of(node: Node, graph: Graph) -> NodeTraffic:
    if node.op.kind is OpKind.VIEW:
        return NodeTraffic(node.name, 0, 0)
    operands = (name for name in dict.fromkeys(node.inputs) if not graph.is_param(name))
    reads = sum(graph.type_of(name).size for name in operands)
    return NodeTraffic(node.name, reads, sum(value.type.size for value in node.outputs))
