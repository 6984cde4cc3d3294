"""What a pass is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from graphcnn.ir import CompileLog, Graph


class Pass(ABC):
    """A step from graph to graph.

    The graph is valid before and after; it keeps its inputs, and the number, order and types of
    its outputs, whose names may change. Subclasses are frozen dataclasses whose fields are the
    pass's options. What a pass does, and what it declines to do and why, goes into the log; a
    second run changes nothing.

    Attributes:
        name: The same word in the file, the class and on the command line.
    """

    name: ClassVar[str]

    @abstractmethod
    def run(self, graph: Graph, log: CompileLog) -> Graph:
        """The rewritten graph."""
