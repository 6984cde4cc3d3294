"""Growing the chains that become groups: what follows what in one kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import prod

from graphcnn.analysis import dag
from graphcnn.ir import Fused, Graph, Node, OpKind, Refusal, Unprofitable, outline
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
# Of a second convolution, which starts a group of its own where it does not come along.
GATE = "gate"
# Of one anchor. WaveNet's have 30 at most; they would double with each gate that a target takes.
MOST_CHAINS = 64
Supports = Callable[[Graph], Refusal | None]
Time = Callable[[Graph], float]

Chain = tuple[Node, ...]
Steps = tuple[Chain, ...]


@dataclass
class Grower:
    """Grows chains over one graph.

    Attributes:
        meets: Immediate post-dominators: where the paths from a node meet again.
        time: Microseconds that the target predicts for a body, where it predicts any.
        asked: What the target said so far, by the names of a chain.
    """

    graph: Graph
    supports: Supports
    demands: Demands
    meets: Mapping[str, str]
    time: Time | None = None
    asked: dict[tuple[str, ...], Refusal | None] = field(default_factory=dict)

    def chains(self, anchor: Node) -> Iterator[Steps]:
        """Every chain of two nodes or more, in the steps by which it grows; from `MOST_CHAINS` on
        those alone that take the first way at each step."""
        growing: list[Steps] = [((anchor,),)]
        found = 0
        while growing:
            steps = growing.pop()
            if steps[1:]:
                yield steps
                found += 1
            ways = islice(self._steps(joined(steps)), 1 if found > MOST_CHAINS else None)
            growing += [(*steps, way) for way in reversed([*ways])]

    def refusals(self, steps: Steps, others: Sequence[Chain]) -> Iterator[Refusal]:
        """Why a chain does not go on where it ends, or where that is demanded, and why gates on its
        way stay apart.

        Args:
            steps: The chain.
            others: The other groups.
        """
        for at in range(1, len(steps) + 1):
            chain = joined(steps[:at])
            for reader in self._readers(chain):
                wanted = at == len(steps) or self.demands.join(chain[0].name, reader.name)
                region = self._gate(reader, chain, others)
                if isinstance(region, Refusal):
                    yield region
                elif wanted and (refusal := self._refusal(reader, chain, others)):
                    yield refusal
                elif wanted and not any(reader in group for group in others):
                    yield self._slower(reader, chain)

    def _steps(self, chain: Chain) -> Iterator[Chain]:
        """What can follow a chain: a diamond, a gate and what both meet in, or one reader of its
        last value."""
        readers = self._readers(chain)
        if len(readers) > 1 and (diamond := self._diamond(chain)):
            yield diamond
        for reader in readers:
            region = self._gate(reader, chain)
            if region and not isinstance(region, Refusal):
                yield region
        for reader in readers:
            if self._refusal(reader, chain) is None:
                yield (reader,)

    def _readers(self, chain: Chain) -> list[Node]:
        return [
            node
            for node in self.graph.users(chain[-1].name)
            if is_candidate(node, self.graph) or _takes_head(node, chain, self.graph)
        ]

    def _diamond(self, chain: Chain) -> Chain:
        """The nodes up to where the paths from the chain's end meet again, if all are pointwise
        and read nothing from outside but params."""
        end = chain[-1]
        if end.name not in self.meets:
            return ()
        region: Chain = ()
        for name in dag.between(self.graph, end.name, self.meets[end.name]):
            node = self.graph[name]
            known = {inner.name for inner in (*chain, *region)}
            if node.op.kind > OpKind.BROADCAST or read_outside(node, known, self.graph):
                return ()
            if self._refusal(node, (*chain, *region)):
                return ()
            region += (node,)
        return region

    def _gate(self, reader: Node, chain: Chain, others: Sequence[Chain] = ()) -> Chain | Refusal:
        """A convolution beside the chain's, what follows it, and the reader in which both meet;
        empty where it meets none, and a refusal of the convolution where that cannot come along."""
        region = gate(reader, chain, self.graph)
        if not region:
            return ()
        anchor, other = chain[0].name, region[0].name
        names = {node.name for node in chain}
        for node in region:
            it = "it" if node.name == other else f"'{node.name}'"
            if rivals := self.demands.separated(node.name, names):
                because = f"must_not_fuse keeps {it} from {', '.join(rivals)}"
                return Refusal(GATE, other, because, rivals)
            names.add(node.name)
        if obstacles := dag.obstacles(self.graph, [*names], _names(others)):
            because = f"it needs the kernel of '{anchor}', which would need it"
            return Refusal(GATE, other, because, obstacles)
        return self._unsupported((*chain, *region)) or region

    def _refusal(self, node: Node, chain: Chain, others: Sequence[Chain] = ()) -> Refusal | None:
        """Why a node cannot follow a chain, or None."""

        def refuse(because: str, *blame: str) -> Refusal:
            return Refusal(RULE, node.name, because, blame)

        anchor, names = chain[0].name, {inner.name for inner in chain}
        if rivals := self.demands.separated(node.name, names):
            return refuse(f"must_not_fuse keeps it from {', '.join(rivals)}", *rivals)
        if _is_depthwise(node, self.graph):
            return refuse(f"a depthwise {node.op.name} reads neighbours and anchors its own kernel")
        if outside := read_outside(node, names, self.graph):
            if not isinstance(node.op, Arithmetic):
                return refuse(f"'{outside[0]}' is computed by the graph, not a param", *outside)
            if obstacles := dag.obstacles(self.graph, [*names, node.name], _names(others)):
                because = f"'{outside[0]}' needs the kernel of '{anchor}', which would need it"
                return refuse(because, *obstacles)
        return self._unsupported((*chain, node))

    def _slower(self, node: Node, chain: Chain) -> Refusal:
        """That a group is better off without a node, where nothing else keeps them apart."""
        because = "no group with it moves fewer bytes"
        if self.time is not None:
            bodies = (body_of(part, self.graph) for part in ((*chain, node), chain, (node,)))
            both, without, alone = map(self.time, bodies)
            because = (
                f"in the kernel of '{chain[0].name}' both are predicted to take {both:.1f} us, and "
                f"{without:.1f} and {alone:.1f} us apart"
            )
        return Refusal(RULE, node.name, because, (chain[0].name,))

    def _unsupported(self, chain: Chain) -> Refusal | None:
        """Why the target does not run a chain as a kernel, or None; a demand overrides a price."""
        names = tuple(node.name for node in chain)
        if names not in self.asked:
            self.asked[names] = self.supports(body_of(chain, self.graph))
        refusal = self.asked[names]
        if isinstance(refusal, Unprofitable) and self.demands.join(chain[0].name, refusal.node):
            return None
        return refusal


def joined(steps: Steps) -> Chain:
    """The nodes of a chain's steps."""
    return tuple(node for step in steps for node in step)


def _names(groups: Sequence[Chain]) -> list[list[str]]:
    return [[node.name for node in group] for group in groups]


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


def body_of(chain: Chain, graph: Graph) -> Graph:
    """The body of the fused node of a chain."""
    op = outlined(graph, chain).op
    assert isinstance(op, Fused)
    return op.body
