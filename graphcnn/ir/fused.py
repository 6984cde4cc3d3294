"""A fused group is an outlined subgraph: it means exactly what its body means (law 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Never

from graphcnn.ir.graph import Graph, Node, Param, Value
from graphcnn.ir.op import Array, Cost, Op, OpKind
from graphcnn.ir.types import TensorType


@dataclass(frozen=True)
class Fused(Op):
    """One kernel's worth of nodes.

    The body's inputs and params are what the node reads, in this order, and its outputs are the
    exported values; all keep their names, so that inlining needs no renaming. The params' data
    stay with the outer graph.

    Its meaning is its body's, and so is its rounding wherever a value is stored: an exported value
    is read on inside as it was stored, rounded to its dtype and infinite where it overflowed. Only
    a value that nobody else reads stays as wide as the kernel's arithmetic.
    """

    name: ClassVar[str] = "fused"
    kind: ClassVar[OpKind] = OpKind.OPAQUE
    body: Graph

    @property
    def exports(self) -> tuple[str, ...]:
        """Values of the body that the rest of the graph reads."""
        return self.body.outputs

    def infer(self, *inputs: TensorType) -> Never:
        """A fused node has several types, those of its exports: see `ir.verify`."""
        raise NotImplementedError("Fused has no shape rule of its own; its body has")

    def reference(self, *inputs: Array) -> Never:
        """A fused node's meaning is its body's: see `ir.evaluate`."""
        raise NotImplementedError("Fused has no reference of its own; its body has")

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Never:
        """A fused node's error bound is its body's: see `ir.evaluate`."""
        raise NotImplementedError("Fused has no error bound of its own; its body has")

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """The work of the body; traffic is only what crosses the group's border."""
        total = sum((node_cost(node, self.body) for node in self.body.nodes), Cost())
        return Cost(
            total.macs,
            total.flops,
            sum(type.size for type in inputs),
            sum(self.body.type_of(name).size for name in self.exports),
        )


def node_cost(node: Node, graph: Graph) -> Cost:
    """Cost of a node in its graph."""
    return node.op.cost(graph.types_of(node.inputs), node.type)


def outline(nodes: tuple[Node, ...], exports: tuple[str, ...], graph: Graph) -> Node:
    """A `Fused` node that stands for `nodes` (in graph order) and defines `exports`.

    The node bears the name of the last exported value.
    """
    inside = {value.name for node in nodes for value in node.outputs}
    outside = tuple(
        dict.fromkeys(name for node in nodes for name in node.inputs if name not in inside)
    )
    values = (name for name in outside if not graph.is_param(name))
    inputs = tuple(Value(name, graph.type_of(name)) for name in values)
    constants = (name for name in outside if graph.is_param(name))
    params = tuple(Param(name, graph.type_of(name)) for name in constants)
    body = Graph(exports[-1], inputs, params, nodes, exports)
    reads = tuple(source.name for source in body.sources)
    outputs = tuple(Value(name, graph.type_of(name)) for name in exports)
    return Node(exports[-1], Fused(body), reads, outputs, nodes[0].where)


def inline(graph: Graph) -> Graph:
    """The graph with every fused node replaced by its body's nodes."""
    nodes = tuple(
        inner
        for node in graph.nodes
        for inner in (node.op.body.nodes if isinstance(node.op, Fused) else (node,))
    )
    return graph.replace(nodes=nodes)
