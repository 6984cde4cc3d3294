"""What a graph is: its nodes, types, receptive fields, parameters and multiply-accumulates."""

from __future__ import annotations

import re
from dataclasses import dataclass

from graphcnn.analysis import ReceptiveField, receptive_fields
from graphcnn.ir import Graph, inline, node_cost, verify
from graphcnn.report.result import Result
from graphcnn.report.tables import Table


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node: its op with attributes, its type, its receptive field over each input that it
    depends on (see `analysis.receptive_fields`), the params it reads and its MACs."""

    name: str
    op: str
    type: str
    receptive_field: dict[str, ReceptiveField]
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
            (
                row.name,
                _short(row.op),
                row.type,
                self._seen(row),
                f"{row.params:,}",
                f"{row.macs:,}",
            )
            for row in self.rows
        )
        total = ("total", "", "", "", f"{self.params:,}", f"{self.macs:,}")
        title = f"{self.network}({', '.join(self.inputs)}), fingerprint {self.fingerprint}"
        columns = ("node", "operator", "output", "receptive field", "parameters", "MACs")
        several = "The receptive field has a line per input, in the order of the title."
        notes = (several,) if len(self.inputs) > 1 else ()
        return (Table(title, columns, (*rows, total), words=3, notes=notes),)

    def _seen(self, row: NodeFacts) -> str:
        """The sizes of a node's fields, a line per input."""
        names = (value.partition(":")[0] for value in self.inputs)
        return "\n".join(_sizes(row.receptive_field.get(name)) for name in names)


def _short(op: str) -> str:
    """One number where an attribute of windows has the same for all dimensions or sides."""
    return re.sub(r"\b(kernel_size|stride|padding|dilation)=\((\d+),(?: \2,?)*\)", r"\1=\2", op)


def _sizes(field: ReceptiveField | None) -> str:
    """A field as "5x5", "all" for the whole input, "-" for nothing of it."""
    if field is None:
        return "-"
    sizes = ["all" if axis is None else str(axis.size) for axis in field]
    return "x".join(sizes) if set(sizes) - {"all"} else "all"


def inspect(graph: Graph) -> Inspection:
    """The facts of a graph; fused groups are taken apart.

    Raises:
        InvalidGraph: or another error of the graph, for what is not a valid one.
    """
    verify(graph)
    flat = inline(graph)
    fields = receptive_fields(flat)
    rows = tuple(
        NodeFacts(
            node.name,
            str(node.op),
            str(node.type),
            fields[node.name],
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
