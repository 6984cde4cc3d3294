"""What a pass is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from graphcnn.ir import CompileLog, Graph


class Pass(ABC):
    """A step from graph to graph.

    The graph is valid before and after; it keeps its inputs, and the number, order and types of
    its outputs, whose names may change. One name has one meaning: a name that the graphs before and
    after both define is the same value in both, up to the rounding of weights that were folded. So
    a node that takes over the work of others bears the name of the last value it computes, and a
    new param a name that no graph of the compile has had (`CompileLog.names`).

    A pass does not change what is refused: the graph takes the batch sizes that it took before, and
    a target that can run it can run the result.

    Subclasses are frozen dataclasses whose fields are the pass's options. What a pass does, and
    what it declines to do and why, goes into the log; a second run changes nothing.

    Attributes:
        name: The same word in the file, the class and on the command line.
    """

    name: ClassVar[str]

    @abstractmethod
    def run(self, graph: Graph, log: CompileLog) -> Graph:
        """The rewritten graph."""
