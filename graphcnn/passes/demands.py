"""What the user demands of fusion: nodes that must share a kernel, and nodes that must not."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from graphcnn.errors import FusionRefused, InvalidAttribute, UnknownNode, shown
from graphcnn.ir import CompileLog, Graph

Names = tuple[tuple[str, ...], ...]


def groups(keyword: str, value: object) -> Names:
    """The groups of node names that `must_fuse` or `must_not_fuse` lists.

    Raises:
        InvalidAttribute: for anything else.
    """
    found = value if isinstance(value, list | tuple) else (value,)
    for group in found:
        names = group if isinstance(group, list | tuple) else ()
        if len(names) < 2 or not all(isinstance(name, str) for name in names):
            raise InvalidAttribute(
                f"{keyword} is a list of groups, and a group is a tuple of two node names or more",
                where=keyword,
                got=shown(value),
                remedy=f'for example {keyword}=[("conv1", "relu1")]',
            )
    return tuple(map(tuple, found))


@dataclass(frozen=True, slots=True)
class Demands:
    """`must_fuse` and `must_not_fuse`, in the user's words, and as names of nodes in the graph."""

    must: Names
    must_not: Names
    together: tuple[frozenset[str], ...]
    apart: tuple[frozenset[str], ...]

    @classmethod
    def of(cls, must: Names, must_not: Names, graph: Graph, log: CompileLog) -> Demands:
        """Find the demanded nodes, or what became of them in earlier passes.

        Raises:
            UnknownNode: for a name that never was a node.
            FusionRefused: when nodes that must stay apart are one node already.
        """
        known = {inner.name for node in graph.nodes for inner in node.members}
        for name in (name for names in (*must, *must_not) for name in names):
            if log.survivor(name) not in known and name not in log.absorbed:
                raise UnknownNode(
                    f"graph '{graph.name}' has no node '{name}'",
                    where="must_fuse or must_not_fuse",
                    got=name,
                    wanted="a node's name; it may be one that an earlier pass merged into another",
                    remedy="print(graph) lists every node; nodes that nothing reads are removed",
                )
        for names in must_not:
            for a, b in combinations(names, 2):
                if log.survivor(a) == log.survivor(b):
                    raise FusionRefused(
                        f"'{a}' and '{b}' cannot be kept apart: an earlier pass made them one",
                        where=f"must_not_fuse: {', '.join(names)}",
                        got=f"both are '{log.survivor(a)}' now",
                        remedy="drop the demand, or compile without that pass",
                    )
        together = tuple(frozenset(map(log.survivor, names)) & known for names in must)
        apart = tuple(frozenset(map(log.survivor, names)) & known for names in must_not)
        return cls(must, must_not, together, apart)

    def join(self, a: str, b: str) -> bool:
        """Whether two nodes must share a kernel."""
        return any(a in names and b in names for names in self.together)

    def names(self, name: str) -> bool:
        """Whether a node must share a kernel with others."""
        return any(name in names for names in self.together)

    def joined(self, group: set[str]) -> int:
        """How many nodes a group joins to others that must share their kernel."""
        return sum(max(0, len(names & group) - 1) for names in self.together)

    def separated(self, name: str, group: set[str]) -> tuple[str, ...]:
        """Nodes of a group that must not share a kernel with `name`."""
        rivals = [names for names in self.apart if name in names]
        return tuple(sorted({other for names in rivals for other in names & group} - {name}))

    def check(self, graph: Graph, log: CompileLog) -> None:
        """Check the fused graph.

        Raises:
            FusionRefused: for the first demand that is not met, with the refusals that explain it.
        """
        groups = [frozenset(inner.name for inner in node.members) for node in graph.nodes]
        for names, wanted in zip(self.must, self.together, strict=True):
            if not wanted or any(wanted <= group for group in groups):
                continue
            asked = wanted | set(names)
            told = [str(r) for r in log.refusals if len({r.node, *r.blame} & asked) > 1]
            if not told:
                told = ["the nodes do not form a chain that starts at one anchor"]
                told += [str(r) for r in log.refusals if {r.node, *r.blame} & asked]
            raise FusionRefused(
                "a demanded fusion cannot be made",
                where=f"must_fuse: {', '.join(names)}",
                got="; ".join(told),
                wanted="one convolution or linear layer, perhaps behind an interpolation, a "
                "flatten or a depthwise convolution, then pointwise ops and at most one pool",
                remedy="drop the demand, or change what the reasons name",
            )
        for names, rivals in zip(self.must_not, self.apart, strict=True):
            if met := [rivals & group for group in groups if len(rivals & group) > 1]:
                raise FusionRefused(
                    "nodes that must stay apart are in one group already",
                    where=f"must_not_fuse: {', '.join(names)}",
                    got=f"a group with {', '.join(sorted(met[0]))}",
                    remedy="inline the graph first: ir.inline(graph)",
                )
