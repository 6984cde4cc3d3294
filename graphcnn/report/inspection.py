"""What a graph is: its nodes, types, receptive fields, parameters and multiply-accumulates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphcnn.analysis import Field, ReceptiveField, receptive_fields
from graphcnn.ir import Graph, inline, node_cost, verify
from graphcnn.ops import BatchNorm
from graphcnn.report.result import Result
from graphcnn.report.tables import Table

if TYPE_CHECKING:
    from graphcnn.models import Published


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
    """A network's nodes and totals.

    Attributes:
        network: Its name.
        inputs: Its inputs, with types.
        rows: Its nodes.
        params: Elements of the params that are trained.
        statistics: Elements of the params that are running statistics of a batch norm.
        macs: One multiply-accumulate per weight use.
        fingerprint: Of the graph.
        published: What a source says of it.
    """

    network: str
    inputs: tuple[str, ...]
    rows: tuple[NodeFacts, ...]
    params: int
    statistics: int
    macs: int
    fingerprint: str
    published: Published | None = None

    def tables(self) -> tuple[Table, ...]:
        """Every node, the totals, and the published figures."""
        rows = (
            (
                row.name,
                _short(row.op),
                self._shape(row.type),
                self._seen(row),
                f"{row.params:,}",
                f"{row.macs:,}",
            )
            for row in self.rows
        )
        title = f"{self.network}({', '.join(self.inputs)}), fingerprint {self.fingerprint}"
        columns = ("node", "operator", "output", "receptive field", "parameters", "MACs")
        notes = []
        if len(self.inputs) > 1:
            notes.append("The receptive field has a line per input, in the order of the title.")
        if self.published:
            notes.append(f"Published, of one input: {self.published.source}.")
        return (Table(title, columns, (*rows, *self._totals()), words=2, notes=tuple(notes)),)

    def _totals(self) -> list[tuple[str, ...]]:
        totals = [("total", f"{self.params:,}", f"{self.macs:,}")]
        if self.statistics:
            totals.append(("running statistics", f"{self.statistics:,}", ""))
        if known := self.published:
            macs = f"{known.macs:,}" if known.unit == 1 else f"{known.macs // 10**6:,} M"
            totals.append(("published", f"{known.params:,}", macs))
        return [(name, "", "", "", params, macs) for name, params, macs in totals]

    def _shape(self, type: str) -> str:
        """A type as "1x64x111x111", with its dtype if that is not the one of the first input."""
        dtype, _, sizes = type.rstrip("]").partition("[")
        shape = sizes.replace(",", "x") or "scalar"
        return shape if self.inputs and f": {dtype}[" in self.inputs[0] else f"{dtype} {shape}"

    def _seen(self, row: NodeFacts) -> str:
        """The sizes of a node's fields, a line per input."""
        names = (value.partition(":")[0] for value in self.inputs)
        return "\n".join(_sizes(row.receptive_field.get(name)) for name in names)


def _short(op: str) -> str:
    """One number where an attribute of windows has the same for all dimensions or sides."""
    return re.sub(r"\b(kernel_size|stride|padding|dilation)=\((\d+),(?: \2,?)*\)", r"\1=\2", op)


def _sizes(field: ReceptiveField | None) -> str:
    """A field as "5x5", "all" for the whole input, "unknown", "-" for nothing of it."""
    if field is None:
        return "-"
    sizes = ["all" if axis is None else _size(axis) for axis in field]
    alike = {*sizes} in ({"all"}, {"unknown"})
    return sizes[0] if alike else "x".join(sizes) or "all"


def _size(axis: Field | str) -> str:
    return str(int(axis.size)) if isinstance(axis, Field) else axis


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
    normed = (node.inputs[1:3] for node in flat.nodes if isinstance(node.op, BatchNorm))
    statistics = {name for names in normed for name in names}
    sizes = {param.name: param.type.size for param in graph.params}
    return Inspection(
        graph.name,
        tuple(map(str, graph.inputs)),
        rows,
        sum(size for name, size in sizes.items() if name not in statistics),
        sum(size for name, size in sizes.items() if name in statistics),
        sum(row.macs for row in rows),
        graph.fingerprint,
    )
