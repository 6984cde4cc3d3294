"""What a graph is: its nodes, types, parameters and multiply-accumulates."""

from __future__ import annotations

from dataclasses import dataclass

from graphcnn.ir import Graph, inline, node_cost, verify
from graphcnn.report.result import Result
from graphcnn.report.tables import Table


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node: its op with attributes, its type, the params it reads and its MACs."""

    name: str
    op: str
    type: str
    params: int
    macs: int


@dataclass(frozen=True)
class Inspection(Result):
    """A network's nodes and totals; `macs` count one multiply-accumulate per weight use."""

    network: str
    inputs: tuple[str, ...]
    rows: tuple[NodeFacts, ...]
    params: int
    macs: int
    fingerprint: str

    def tables(self) -> tuple[Table, ...]:
        """Every node, and the totals."""
        rows = (
            (row.name, row.op, row.type, f"{row.params:,}", f"{row.macs:,}") for row in self.rows
        )
        total = ("total", "", "", f"{self.params:,}", f"{self.macs:,}")
        title = f"{self.network}({', '.join(self.inputs)}), fingerprint {self.fingerprint}"
        columns = ("node", "operator", "output", "parameters", "MACs")
        return (Table(title, columns, (*rows, total), words=3),)


def inspect(graph: Graph) -> Inspection:
    """The facts of a graph; fused groups are taken apart.

    Raises:
        InvalidGraph: or another error of the graph, for what is not a valid one.
    """
    verify(graph)
    flat = inline(graph)
    rows = tuple(
        NodeFacts(
            node.name,
            str(node.op),
            str(node.type),
            sum(flat.type_of(name).size for name in node.inputs if flat.is_param(name)),
            node_cost(node, flat).macs,
        )
        for node in flat.nodes
    )
    return Inspection(
        graph.name,
        tuple(map(str, graph.inputs)),
        rows,
        sum(param.type.size for param in graph.params),
        sum(row.macs for row in rows),
        graph.fingerprint,
    )
