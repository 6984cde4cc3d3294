"""Outline chains into groups: one kernel each, anchored at a convolution or linear layer.

A chain is an anchor, then pointwise ops with params, scalars or other activations (residuals) as
second operands, and pools. It follows one reader of each value; a value with other readers is
exported. Where a value's paths meet again after pointwise ops only (a diamond such as x * tanh(x)),
the chain takes the whole diamond. In front of it may be an interpolation that its kernel reads
through. What is decided here is what the graph allows; what a kernel can do is the target's to say,
of every chain as it grows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from graphcnn.analysis import dag
from graphcnn.errors import InvalidAttribute, shown
from graphcnn.ir import CompileLog, Fused, Graph, Node, OpKind, Refusal, outline
from graphcnn.ops import AdaptivePool, Arithmetic, Conv, GlobalAvgPool2d, Pooling
from graphcnn.passes.base import Pass
from graphcnn.passes.demands import Demands, Names, groups
from graphcnn.passes.heads import with_heads

Supports = Callable[[Graph], Refusal | None]


def accept_every_body(_body: Graph) -> Refusal | None:
    """A target that can run any group."""
    return None


@dataclass(frozen=True)
class Fuse(Pass):
    """Group nodes into kernels.

    A residual add that two anchors could absorb goes to one of them, by maximum-weight matching
    over the bytes saved; the later one on a tie.

    Attributes:
        supports: The target's answer to a body: None, or why not.
        must_fuse: Tuples of node names, each of which has to end in one group.
        must_not_fuse: Tuples of node names, no two of which may share a group.

    Raises:
        InvalidAttribute: for demands that are not groups of names, or `supports` that is no
            function.
        FusionRefused: when a demand cannot be met, with the reasons.
        UnknownNode: for a demanded name that is no node's.

    Given:
        graph g {
          input x: f32[1,4,8,8]
          param w: f32[2,4,3,3]
          param v: f32[2,2,1,1]
          conv: f32[1,2,8,8] = conv2d(x, w, padding=(1, 1, 1, 1))
          relu: f32[1,2,8,8] = relu(conv)
          pool: f32[1,2,4,4] = max_pool2d(relu, kernel_size=(2, 2), stride=(2, 2))
          next: f32[1,2,8,8] = conv2d(relu, v)
          return pool, next
        }
    Result:
        graph g {
          input x: f32[1,4,8,8]
          param w: f32[2,4,3,3]
          param v: f32[2,2,1,1]
          relu: f32[1,2,8,8], pool: f32[1,2,4,4] = fused(x, w) {
            conv: f32[1,2,8,8] = conv2d(x, w, padding=(1, 1, 1, 1))
            relu: f32[1,2,8,8] = relu(conv)
            pool: f32[1,2,4,4] = max_pool2d(relu, kernel_size=(2, 2), stride=(2, 2))
            return relu, pool
          }
          next: f32[1,2,8,8] = conv2d(relu, v)
          return pool, next
        }
    """

    name: ClassVar[str] = "fuse"
    supports: Supports = accept_every_body
    must_fuse: Names = ()
    must_not_fuse: Names = ()

    def __post_init__(self) -> None:
        for demand in ("must_fuse", "must_not_fuse"):
            groups(demand, getattr(self, demand))
        if not callable(self.supports):
            raise InvalidAttribute(
                "supports is a function from a group's body to a Refusal, or None",
                where="supports",
                got=shown(self.supports),
                remedy="leave it out where the target runs any group, or leave out the pass",
            )

    def run(self, graph: Graph, log: CompileLog) -> Graph:
        """The graph with chains outlined into fused nodes."""
        demands = Demands.of(self.must_fuse, self.must_not_fuse, graph, log)
        chains, tried = self._chains(graph, demands)
        fused = _contract(graph, chains) if chains else graph
        _explain_leftovers(fused, tried)
        demands.check(fused, tried)
        for rewrite in tried.rewrites:
            log.add(rewrite)
        for refusal in tried.refusals:
            # That one chain could not take a node is of no interest when another one did.
            maker = fused.producer(refusal.node)
            if maker is not None and not isinstance(maker.op, Fused):
                log.refuse(refusal)
        return fused

    def _chains(self, graph: Graph, demands: Demands) -> tuple[list[tuple[Node, ...]], CompileLog]:
        """Disjoint chains that the target agrees to run as one kernel each, and the log of it."""
        # The value of any other keeps its shape at another batch size, where its readers' grow.
        anchors = [n for n in graph.nodes if n.op.kind is OpKind.ANCHOR and n.name in graph.varying]
        meets = dag.post_dominators(graph)
        missed: set[tuple[str, str]] = set()
        while True:
            log = CompileLog()
            owners = _assign_residuals(graph, self.supports, anchors, meets, demands, missed)
            grower = _Grower(graph, self.supports, demands, meets, owners, log)
            for anchor in anchors:
                chain = grower.grow(anchor)
                if len(chain) > 1:
                    grower.groups.append(chain)
                    names = " + ".join(node.name for node in chain)
                    log.did(self.name, anchor.name, f"runs {names}")
            # An anchor that was kept from its residual leaves it to another one.
            taken = {(node.name, chain[0].name) for chain in grower.groups for node in chain}
            if owners.items() <= taken:
                return with_heads(grower.groups, graph, self.supports, _outlined, demands, log), log
            missed.update(owners.items() - taken)


@dataclass
class _Grower:
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
        return chain

    def _step(self, chain: tuple[Node, ...]) -> tuple[Node, ...]:
        """What follows a chain: one reader of its last value, or a diamond; empty at its end."""
        anchor, end = chain[0].name, chain[-1]
        readers = [node for node in self.graph.users(end.name) if _is_candidate(node, self.graph)]
        if len(readers) > 1 and (diamond := self._diamond(chain)):
            return diamond
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
            if node.op.kind > OpKind.BROADCAST or _outside(node, known, self.graph):
                return ()
            if self._refusal(node, (*chain, *region)):
                return ()
            region += (node,)
        return region

    def _refusal(self, node: Node, chain: tuple[Node, ...]) -> Refusal | None:
        """Why a node cannot follow a chain, or None."""

        def refuse(because: str, *blame: str) -> Refusal:
            return Refusal(Fuse.name, node.name, because, blame)

        anchor = chain[0]
        names = {inner.name for inner in chain}
        for group in self.groups:
            if node in group:
                return refuse(f"is in the kernel of '{group[0].name}' already", group[0].name)
        if rivals := self.demands.separated(node.name, names):
            return refuse(f"must_not_fuse keeps it from {', '.join(rivals)}", *rivals)
        if node.op.kind is OpKind.ANCHOR:
            return refuse(f"a depthwise {node.op.name} reads neighbours and anchors its own kernel")
        if outside := _outside(node, names, self.graph):
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
        fused = _outlined(self.graph, (*chain, node)).op
        assert isinstance(fused, Fused)
        return self.supports(fused.body)


def _is_candidate(node: Node, graph: Graph) -> bool:
    """Whether a node is of a kind that a chain takes, or nearly."""
    if isinstance(node.op, Conv):
        return 1 < node.op.groups == graph.type_of(node.inputs[0]).shape[1]
    pools = AdaptivePool | GlobalAvgPool2d | Pooling
    return node.op.kind <= OpKind.BROADCAST or isinstance(node.op, pools)


def _outside(node: Node, names: set[str], graph: Graph) -> tuple[str, ...]:
    """Activations that a node reads from outside a chain."""
    return tuple(name for name in node.inputs if name not in names and not graph.is_param(name))


def _assign_residuals(
    graph: Graph,
    supports: Supports,
    anchors: list[Node],
    meets: Mapping[str, str],
    demands: Demands,
    missed: set[tuple[str, str]],
) -> dict[str, str]:
    """The anchor that each residual add or mul goes to, where a chain reaches it without another
    residual on its way.

    An edge of the matching is weighted with the bytes that absorbing the node saves: reading the
    chain's value back, and writing it when nothing else reads it. Pairs (residual, anchor) that
    were `missed` have been tried in vain.
    """
    nobody = dict.fromkeys((node.name for node in graph.nodes), "")
    probe = _Grower(graph, supports, demands, meets, nobody, CompileLog())
    # Positions only break ties, demands outweigh everything.
    scale = len(anchors) ** 2 + 1
    demanded = 2 * scale * (1 + sum(node.type.nbytes for node in graph.nodes))
    savings: dict[tuple[str, str], int] = {}
    for position, anchor in enumerate(anchors):
        chain = probe.grow(anchor)
        names = {node.name for node in chain}
        for value in chain:
            for reader in graph.users(value.name):
                others = _outside(reader, {value.name}, graph)
                if (
                    not others
                    or not isinstance(reader.op, Arithmetic)
                    or reader.type != value.type
                    or demands.separated(reader.name, names)
                    or (reader.name, anchor.name) in missed
                ):
                    continue
                moved = value.type.nbytes * (2 if graph.sole_user(value.name) else 1)
                wish = demanded * demands.join(anchor.name, reader.name)
                savings[reader.name, anchor.name] = scale * moved + position + wish
    return dag.matching(savings)


def _outlined(graph: Graph, chain: tuple[Node, ...]) -> Node:
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


def _contract(graph: Graph, chains: list[tuple[Node, ...]]) -> Graph:
    """The graph with every chain as one node, where its operands are ready."""
    found = {chain[0].name: chain for chain in chains}
    units = dag.stable_order(graph, [[node.name for node in chain] for chain in chains])
    nodes = (_outlined(graph, found[u[0]]) if u[0] in found else graph[u[0]] for u in units)
    return graph.replace(nodes=tuple(nodes))


def _explain_leftovers(graph: Graph, log: CompileLog) -> None:
    """Say why each pointwise op or pool that no rule has looked at stays alone."""
    told = {refusal.node for refusal in log.refusals}
    for node in graph.nodes:
        if not _is_candidate(node, graph) or node.op.kind is OpKind.ANCHOR or node.name in told:
            continue
        value = node.inputs[0]
        maker = graph.producer(value)
        if maker is None:
            because = f"its operand '{value}' is an input of the graph"
        elif isinstance(maker.op, Fused) and value != maker.name:
            because = f"the kernel of '{maker.name}' goes on with another reader of '{value}'"
        elif maker.op.kind is OpKind.ANCHOR and value not in graph.varying:
            because = f"'{value}' depends on no input and keeps its shape at other batch sizes"
        elif isinstance(maker.op, Fused) or maker.op.kind is OpKind.ANCHOR:
            because = f"the chain was cut behind '{value}'"
        else:
            because = f"its operand '{value}' is the value of a {maker.op.name}, not of a kernel"
        log.refuse(Refusal(Fuse.name, node.name, because, (value,)))
