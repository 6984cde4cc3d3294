"""Plans of a model for other batch sizes than its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from graphcnn.ir import Graph
from graphcnn.plan import Plan

# Of batch sizes that nobody prepared, so many plans are kept. Each holds a few kilobytes a launch,
# and on CUDA a graph, which takes memory of the device.
MOST_BATCHES = 16


class Plans:
    """Plans by batch size, each made when it is first asked for.

    Those of prepared sizes stay; of the others, the `MOST_BATCHES` that were used last.
    """

    def __init__(self) -> None:
        self._made: dict[int, tuple[Graph, Plan]] = {}  # the one used last comes last
        self._prepared: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        return iter(self._made)

    def keep(self, batches: Iterable[int]) -> None:
        """Let the plans of batch sizes stay, once they are made."""
        self._prepared.update(batches)

    def of(self, batch: int, make: Callable[[int], tuple[Graph, Plan]]) -> tuple[Graph, Plan]:
        """The plan of a batch size, and the graph that it is for, made if they are not there."""
        if batch not in self._made:
            self._made[batch] = make(batch)
            passing = [other for other in self._made if other not in self._prepared]
            for oldest in passing[:-MOST_BATCHES]:
                del self._made[oldest]
        self._made[batch] = self._made.pop(batch)
        return self._made[batch]

    def replace(self, change: Callable[[Graph], Graph]) -> None:
        """Change all graphs that plans are for."""
        self._made = {batch: (change(graph), plan) for batch, (graph, plan) in self._made.items()}
