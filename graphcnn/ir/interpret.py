"""Running through nodes in order: the one loop behind values, error bounds and types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

from graphcnn.ir.graph import Node

T = TypeVar("T")


def interpret(
    nodes: tuple[Node, ...], source: Callable[[str], T], apply: Callable[[Node, tuple[T, ...]], T]
) -> Iterator[tuple[str, T]]:
    """What each node makes of its operands, in order; kept no longer than a later node reads it.

    Args:
        nodes: In execution order, none of them fused: `ir.inline(graph).nodes`.
        source: What stands for a name that no node defines; asked for anew by every reader, so
            that weights can be widened one at a time (all of VGG-16 in float64 is 1.1 GB).
        apply: What a node makes of what stands for its operands.
    """
    reads = Counter(name for node in nodes for name in node.inputs)
    made: dict[str, T] = {}
    for node in nodes:
        operands = (made[name] if name in made else source(name) for name in node.inputs)
        value = apply(node, tuple(operands))
        if reads[node.name]:
            made[node.name] = value
        for name in node.inputs:
            reads[name] -= 1
            if not reads[name]:
                made.pop(name, None)
        yield node.name, value
