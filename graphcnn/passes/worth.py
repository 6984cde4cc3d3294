"""What a group is worth beside its nodes alone: time where a target predicts it, else bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graphcnn.analysis import node_bytes
from graphcnn.errors import counted
from graphcnn.ir import Chosen, Graph
from graphcnn.passes.chains import Chain, Time, body_of, outlined
from graphcnn.passes.demands import Demands
from graphcnn.passes.grouping import Candidate, Worth


@dataclass
class Worths:
    """Values groups of one graph.

    Attributes:
        time: Microseconds that the target predicts for a body; None where it predicts none.
        prices: Of what was asked so far: nanoseconds, or bytes, by the names of the nodes.
    """

    graph: Graph
    demands: Demands
    time: Time | None
    prices: dict[tuple[str, ...], int] = field(default_factory=dict)

    def of(self, chain: Chain, position: int) -> Worth:
        """Nodes that a group joins as is demanded; then what it saves; then, on a tie, how late its
        anchor stands, for each node that comes to it."""
        saved = sum(self._price((node,)) for node in chain) - self._price(chain)
        joined = self.demands.joined({node.name for node in chain})
        return joined, saved, position * (len(chain) - 1)

    def told(self, candidates: Sequence[Candidate], chosen: Sequence[Candidate]) -> Chosen:
        """The choice, with the numbers that decided."""
        alone = sum(self._price((node,)) for node in self.graph.nodes)
        together = alone - sum(group.worth[1] for group in chosen)
        found = counted(len(candidates), "possible group")
        if self.demands.must or self.demands.must_not:
            found += ", as is demanded,"
        because = f"of {found} no other choice moves fewer than {together:,} bytes, of {alone:,}"
        if self.time is not None:
            because = (
                f"of {found} no other choice is predicted to take less than {together / 1e3:.1f} "
                f"us; a kernel for each node {alone / 1e3:.1f} us"
            )
        names = tuple(group.names for group in chosen)
        return Chosen(self.graph.name, "groups", names, (names,), because)

    def _price(self, chain: Chain) -> int:
        names = tuple(node.name for node in chain)
        if names not in self.prices:
            node = outlined(self.graph, chain) if chain[1:] else chain[0]
            price = node_bytes(node, self.graph)
            if self.time is not None and price:  # what moves nothing has no kernel
                price = round(1e3 * self.time(body_of(chain, self.graph)))
            self.prices[names] = price
        return self.prices[names]
