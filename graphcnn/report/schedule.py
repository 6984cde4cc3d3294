"""Which steps of a plan belong to which node of a compiled graph, what they launch and move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from graphcnn.analysis import copy_traffic
from graphcnn.ir import Graph, Op
from graphcnn.plan import Arithmetic, Plan, Step


def steps_of(plan: Plan) -> dict[str, tuple[Step, ...]]:
    """A plan's steps by the node they compute; nodes that need none are left out."""
    found: dict[str, tuple[Step, ...]] = {}
    for step in plan.steps:
        found[step.node] = (*found.get(step.node, ()), step)
    return found


def moved(graph: Graph, plan: Plan) -> int:
    """Activation elements that the steps of a plan read and write; weights are not counted, and a
    concat counts as a whole where a part of it is copied."""
    steps = steps_of(plan)
    return sum(copy_traffic(node, graph) for node in graph.nodes if node.name in steps)


def kernels(steps: Iterable[Step]) -> str:
    """What the steps of one node launch: "conv2d+relu", "fill, copy", "copy x3"; "-" for none."""
    times = Counter(step.label for step in steps)
    return ", ".join(f"{name} x{n}" if n > 1 else name for name, n in times.items()) or "-"


def arithmetic(steps: Sequence[Step]) -> Arithmetic:
    """The loosest that the steps of one node compute in; exact for none, which move no number."""
    rounded_as: dict[str, Op] = {}
    tf32: frozenset[str] = frozenset()
    for step in steps:
        rounded_as |= step.arithmetic.rounded_as
        tf32 |= step.arithmetic.tf32
    units = (step.arithmetic.unit for step in steps)
    growths = (step.arithmetic.growth for step in steps)
    return Arithmetic(max(units, default=0.0), max(growths, default=1.0), rounded_as, tf32)
