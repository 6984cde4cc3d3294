"""Growing the chains that become groups: what follows what in one kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

from graphcnn.analysis import dag
from graphcnn.ir import CompileLog, Fused, Graph, Node, OpKind, Refusal, Unprofitable, outline
from graphcnn.ops import (
    AdaptivePool,
    Arithmetic,
    Conv,
    GlobalAvgPool2d,
    LocalResponseNorm,
    Pooling,
)
from graphcnn.passes.demands import Demands
from graphcnn.passes.gates import gate

RULE = "fuse"
Supports = Callable[[Graph], Refusal | None]


@dataclass
class Grower:
    """Grows chains over one graph.

    Attributes:
        meets: Immediate post-dominators: where the paths from a node meet again.
        owners: Residual add or mul, to the anchor whose chain may take it; those that are not
            listed may be taken by any.
        groups: Chains that are settled.
    """

    graph: Graph
    supports: Supports
    demands: Demands
    meets: Mapping[str, str]
    owners: Mapping[str, str]
    log: CompileLog
    groups: list[tuple[Node, ...]] = field(default_factory=list)

    def grow(self, anchor: Node) -> tuple[Node, ...]:
        """The longest chain, in graph order."""
        chain: tuple[Node, ...] = (anchor,)
        while step := self._step(chain):
            chain += step
        names = {node.name for node in chain}
        return tuple(node for node in self.graph.nodes if node.name in names)

    def _step(self, chain: tuple[Node, ...]) -> tuple[Node, ...]:
        """What follows a chain: one reader of its last value, a diamond, or a gate and what both
        meet in; empty at its end."""
        anchor, end = chain[0].name, chain[-1]
        if any(chain[0] in group for group in self.groups):
            return ()
        readers = [
            node
            for node in self.graph.users(end.name)
            if is_candidate(node, self.graph) or _takes_head(node, chain, self.graph)
        ]
        if len(readers) > 1 and (diamond := self._diamond(chain)):
            return diamond
        for reader in readers:
            if region := self._gate(reader, chain):
                return region
        readers.sort(
            key=lambda node: (
                not self.demands.join(anchor, node.name),
                self.owners.get(node.name) != anchor,
            )
        )
        for reader in readers:
            refusal = self._refusal(reader, chain)
            if refusal is None:
                return (reader,)
            self.log.refuse(refusal)
        return ()

    def _diamond(self, chain: tuple[Node, ...]) -> tuple[Node, ...]:
        """The nodes up to where the paths from the chain's end meet again, if all are pointwise
        and read nothing from outside but params."""
        end = chain[-1]
        if end.name not in self.meets:
            return ()
        region: tuple[Node, ...] = ()
        for name in dag.between(self.graph, end.name, self.meets[end.name]):
            node = self.graph[name]
            known = {inner.name for inner in (*chain, *region)}
            if node.op.kind > OpKind.BROADCAST or read_outside(node, known, self.graph):
                return ()
            if self._refusal(node, (*chain, *region)):
                return ()
            region += (node,)
        return region

    def _gate(self, reader: Node, chain: tuple[Node, ...]) -> tuple[Node, ...]:
        """A convolution beside the chain's, what follows it, and the reader in which both meet."""
        region = gate(reader, chain, self.graph)
        others = [[inner.name for inner in group] for group in self.groups]
        names = {node.name for node in chain}
        for node in region:
            if node.name in names.union(*others) or self.demands.separated(node.name, names):
                return ()
            names.add(node.name)
        if not region or dag.obstacles(self.graph, [*names], others):
            return ()
        fused = outlined(self.graph, (*chain, *region)).op
        assert isinstance(fused, Fused)
        return () if self.supports(fused.body) else region

    def _refusal(self, node: Node, chain: tuple[Node, ...]) -> Refusal | None:
        """Why a node cannot follow a chain, or None."""

        def refuse(because: str, *blame: str) -> Refusal:
            return Refusal(RULE, node.name, because, blame)

        anchor = chain[0]
        names = {inner.name for inner in chain}
        for group in self.groups:
            if node in group:
                return refuse(f"is in the kernel of '{group[0].name}' already", group[0].name)
        if rivals := self.demands.separated(node.name, names):
            return refuse(f"must_not_fuse keeps it from {', '.join(rivals)}", *rivals)
        if _is_depthwise(node, self.graph):
            return refuse(f"a depthwise {node.op.name} reads neighbours and anchors its own kernel")
        if outside := read_outside(node, names, self.graph):
            if not isinstance(node.op, Arithmetic):
                return refuse(f"'{outside[0]}' is computed by the graph, not a param", *outside)
            owner = self.owners.get(node.name, anchor.name)
            if owner != anchor.name:
                return refuse(f"the kernel of '{owner}' takes it and saves no less", owner)
            others = [[inner.name for inner in group] for group in self.groups]
            grown = [*(inner.name for inner in chain), node.name]
            if obstacles := dag.obstacles(self.graph, grown, others):
                because = f"'{outside[0]}' needs the kernel of '{anchor.name}', which would need it"
                return refuse(because, *obstacles)
        fused = outlined(self.graph, (*chain, node)).op
        assert isinstance(fused, Fused)
        refusal = self.supports(fused.body)
        if isinstance(refusal, Unprofitable) and self.demands.join(anchor.name, refusal.node):
            return None
        return refusal


def is_candidate(node: Node, graph: Graph) -> bool:
    """Whether a node is of a kind that a chain takes, or nearly."""
    reducing = AdaptivePool | GlobalAvgPool2d | LocalResponseNorm | Pooling
    known = node.op.kind <= OpKind.BROADCAST or isinstance(node.op, reducing)
    return known or _is_depthwise(node, graph)


def _is_depthwise(node: Node, graph: Graph) -> bool:
    return isinstance(node.op, Conv) and node.op.is_depthwise(graph.type_of(node.inputs[0]))


def _takes_head(node: Node, chain: tuple[Node, ...], graph: Graph) -> bool:
    """Whether a node is a convolution by one tap, and the chain a depthwise one without another."""
    alone = all(inner.op.kind is not OpKind.ANCHOR for inner in chain[1:])
    if not (alone and isinstance(node.op, Conv) and _is_depthwise(chain[0], graph)):
        return False
    return prod(graph.type_of(node.inputs[1]).shape[2:]) == 1


def read_outside(node: Node, names: set[str], graph: Graph) -> tuple[str, ...]:
    """Activations that a node reads from outside a chain."""
    return tuple(name for name in node.inputs if name not in names and not graph.is_param(name))


def outlined(graph: Graph, chain: tuple[Node, ...]) -> Node:
    """The fused node of a chain; it exports what is read outside, and the chain's last value."""
    inside = {node.name for node in chain}
    exports = tuple(
        node.name
        for node in chain
        if node is chain[-1]
        or node.name in graph.outputs
        or any(user.name not in inside for user in graph.users(node.name))
    )
    return outline(chain, exports, graph)
