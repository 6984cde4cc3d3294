"""Outlining nodes into a fused node, and inlining them again (law 3)."""

from __future__ import annotations

from collections.abc import Collection

from graphcnn.ir.graph import Fused, Graph, Node, Param, Value


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


def inline(graph: Graph, names: Collection[str] | None = None) -> Graph:
    """The graph with fused nodes, all or those of some names, replaced by their bodies' nodes."""
    parts = (n.members if names is None or n.name in names else (n,) for n in graph.nodes)
    return graph.replace(nodes=tuple(inner for part in parts for inner in part))
