"""Plans of a model for other batch sizes than its own."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from graphcnn.ir import Graph
from graphcnn.plan import Plan

# Of batch sizes that nobody prepared, so many plans are kept. Each holds a few kilobytes a launch,
# and on CUDA a graph, which takes memory of the device.
MOST_BATCHES = 16


class Plans:
    """Plans by batch size, with the graphs that they are for.

    Those of prepared sizes stay; of the others, the `MOST_BATCHES` that were used last.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Graph, Plan]] = {}  # the one used last comes last

    def __iter__(self) -> Iterator[int]:
        return iter(self._known)

    def of(self, batch: int) -> tuple[Graph, Plan] | None:
        """The plan of a batch size that is used now, if it is there."""
        if batch in self._known:
            self._known[batch] = self._known.pop(batch)
        return self._known.get(batch)

    def put(self, batch: int, graph: Graph, plan: Plan, prepared: Container[int]) -> None:
        """Take the plan of a batch size that is used now; those of prepared sizes stay."""
        self.drop(batch)
        self._known[batch] = graph, plan
        passing = [other for other in self._known if other not in prepared]
        for oldest in passing[:-MOST_BATCHES]:
            del self._known[oldest]

    def drop(self, batch: int) -> None:
        """Let the plan of a batch size go, if it is there."""
        self._known.pop(batch, None)

    def replace(self, change: Callable[[Graph], Graph]) -> None:
        """Change all graphs that plans are for."""
        self._known = {batch: (change(graph), plan) for batch, (graph, plan) in self._known.items()}
