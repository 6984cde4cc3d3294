"""Outline chains into groups: one kernel each, anchored at a convolution or linear layer.

A chain is an anchor, then pointwise ops with params, scalars or other activations (residuals) as
second operands, and pools. A depthwise convolution with pointwise ops may be the head of a chain
that a 1x1 convolution anchors, an interpolation that of one behind which any convolution reads its
pixels, and a flatten that of a linear layer: the values of a head stay in the kernel. A chain
follows one reader of each value; a value with other readers is exported. Where a value's paths meet
again after pointwise ops only (a diamond such as x * tanh(x)), the chain takes the diamond; where
it meets another convolution of its input (a gate), that as well. The graph decides here what is
allowed; what a kernel can do, the target says of each chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphcnn.analysis import dag
from graphcnn.errors import InvalidAttribute, article, shown
from graphcnn.ir import CompileLog, Fused, Graph, OpKind, Refusal
from graphcnn.passes.base import Pass
from graphcnn.passes.chains import (
    RULE,
    Chain,
    Grower,
    Supports,
    Time,
    is_candidate,
    joined,
    outlined,
)
from graphcnn.passes.demands import Demands, Names, groups
from graphcnn.passes.grouping import Candidate, best_groups
from graphcnn.passes.heads import with_heads
from graphcnn.passes.worth import Worths


def accept_every_body(_body: Graph) -> Refusal | None:
    """A target that can run any group."""
    return None


@dataclass(frozen=True)
class Fuse(Pass):
    """Group nodes into kernels.

    Groups are chosen, not grabbed: of all partitions into chains that kernels can run, it is one
    that is predicted to take the least time, or, where nothing is predicted, one that moves the
    fewest bytes. A residual add that two anchors could absorb goes to the later one on a tie.

    Attributes:
        supports: The target's answer to a body: None, or why not.
        must_fuse: Tuples of node names, each of which has to end in one group.
        must_not_fuse: Tuples of node names, no two of which may share a group.
        time: Microseconds that the target predicts for a body; None where it predicts none.

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

    name: ClassVar[str] = RULE
    supports: Supports = accept_every_body
    must_fuse: Names = ()
    must_not_fuse: Names = ()
    time: Time | None = None

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
        for event in tried.events:
            if not isinstance(event, Refusal):
                log.add(event)
        starts = {chain[0].name for chain in chains}
        inside = {node.name for chain in chains for node in chain}
        for refusal in tried.refusals:
            # That one chain could not take a node is of no interest when another one did, or that
            # the graph gives an anchor a kernel of its own.
            told = starts if refusal.rule != self.name else set()
            if refusal.node not in inside - told:
                log.refuse(refusal)
        return fused

    def _chains(self, graph: Graph, demands: Demands) -> tuple[list[Chain], CompileLog]:
        """Disjoint chains that the target agrees to run as one kernel each, and the log of it."""
        # The value of any other keeps its shape at another batch size, where its readers' grow.
        anchors = [n for n in graph.nodes if n.op.kind is OpKind.ANCHOR and n.name in graph.varying]
        meets, log = dag.post_dominators(graph), CompileLog()
        grower = Grower(graph, self.supports, demands, meets, self.time)
        worths = Worths(graph, demands, self.time)
        candidates = [
            Candidate(steps, worths.of(joined(steps), position))
            for position, anchor in enumerate(anchors)
            for steps in grower.chains(anchor)
        ]
        chosen = {group.names[0]: group for group in best_groups(graph, candidates)}
        groups = {
            name: tuple(node for node in graph.nodes if node.name in group.names)
            for name, group in chosen.items()
        }
        inside = {node.name for group in groups.values() for node in group[1:]}
        for anchor in (anchor for anchor in anchors if anchor.name not in inside):
            others = [group for name, group in groups.items() if name != anchor.name]
            steps = chosen[anchor.name].steps if anchor.name in chosen else ((anchor,),)
            for refusal in grower.refusals(steps, others):
                log.refuse(refusal)
            if anchor.name in groups:
                names = " + ".join(node.name for node in groups[anchor.name])
                log.did(self.name, anchor.name, f"runs {names}")
        if candidates:
            log.add(worths.told(candidates, [*chosen.values()]))
        return with_heads([*groups.values()], graph, self.supports, demands, log), log


def _contract(graph: Graph, chains: list[Chain]) -> Graph:
    """The graph with every chain as one node, where its operands are ready."""
    found = {chain[0].name: chain for chain in chains}
    units = dag.stable_order(graph, [[node.name for node in chain] for chain in chains])
    nodes = (outlined(graph, found[u[0]]) if u[0] in found else graph[u[0]] for u in units)
    return graph.replace(nodes=tuple(nodes))


def _explain_leftovers(graph: Graph, log: CompileLog) -> None:
    """Say why each pointwise op or pool that no rule has looked at stays alone."""
    told = {refusal.node for refusal in log.refusals}
    for node in graph.nodes:
        if not is_candidate(node, graph) or node.op.kind is OpKind.ANCHOR or node.name in told:
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
            because = (
                f"its operand '{value}' is that of {article(maker.op.name)}, and groups start at "
                "convolutions and linear layers"
            )
        log.refuse(Refusal(Fuse.name, node.name, because, (value,)))
