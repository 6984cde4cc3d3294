"""Which batch sizes have kernels of their own, and whose the others take."""

from __future__ import annotations

from collections.abc import Iterable

from graphcnn.ir import Graph, batch_of, rebatch
from graphcnn.plan import Target


class Sharing:
    """Prepared batch sizes have kernels picked for them. Any other takes those of the largest one
    below it, or of the smallest, so that a call with a new size does not wait for a compiler.

    Attributes:
        prepared: Batch sizes that are, beside that of the graph.

    Args:
        target: What picks them.
        graph: Whose own batch size is prepared.
    """

    def __init__(self, target: Target, graph: Graph) -> None:
        self._target, self._graph = target, graph
        self.prepared: set[int] = set()
        self._following: dict[int, Target] = {}

    def prepare(self, sizes: Iterable[int]) -> set[int]:
        """Give batch sizes kernels of their own; those that had none before."""
        new = set(sizes) - self.prepared
        self.prepared |= new
        return new

    def target(self, graph: Graph) -> Target:
        """What lowers the graph for its batch size."""
        if graph is self._graph:
            return self._target
        batch, prepared = batch_of(graph), {batch_of(self._graph), *self.prepared}
        if batch in prepared:
            return self._target
        size = max((size for size in prepared if size <= batch), default=min(prepared))
        if size not in self._following:
            self._following[size] = self._target.following(rebatch(self._graph, size))
        return self._following[size]
