"""What a target is to the rest of the compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from graphcnn.ir import Graph, Param, Refusal
from graphcnn.plan.plan import Lowered, Plan, Step


class Executor(Protocol):
    """A plan bound to memory, ready to run. Not safe for two threads at once."""

    steps: tuple[tuple[Step, Callable[[], None]], ...]

    def load(self, inputs: Mapping[str, Any]) -> None:
        """Put the call's arrays (NumPy or torch, by input name) where the steps read them."""

    def value(self, name: str) -> Any:
        """A value of the graph, logical shape, as it is in memory now: torch or NumPy."""

    def synchronize(self) -> None:
        """Wait until the steps launched so far have finished."""

    def stopwatch(self) -> Callable[[], float]:
        """Start a clock; calling the result stops it and gives seconds of the device's time."""


class Target(Protocol):
    """Turns graphs into steps and plans into executors."""

    name: str
    device: str
    fuses: bool

    def supports(self, body: Graph) -> Refusal | None:
        """Whether one kernel can compute a group; the reason when not."""

    def unit(self, graph: Graph) -> float:
        """Unit roundoff of the arithmetic that computes this graph's values."""

    def lower(self, graph: Graph) -> Lowered:
        """Steps for every node, in order.

        Raises:
            UnsupportedOp: naming the node for which there is no lowering.
        """

    def bind(self, plan: Plan, params: Mapping[str, Param]) -> Executor:
        """Allocate memory, pack the weights and compile the kernels."""
