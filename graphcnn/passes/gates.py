"""Gated activations: two convolutions of one input whose values meet, as tanh(f) * sigmoid(g)."""

from __future__ import annotations

from graphcnn.ir import Graph, Node
from graphcnn.ops import Arithmetic, Unary


def gate(reader: Node, chain: tuple[Node, ...], graph: Graph) -> tuple[Node, ...]:
    """What a chain meets in a reader of its last value: a convolution like its own and later than
    it, of the same input, and the functions behind that.

    Returns:
        The convolution, the functions and the reader; empty where it meets anything else.
    """
    anchor, end = chain[0], chain[-1]
    others = {name for name in reader.inputs if name != end.name}
    if not isinstance(reader.op, Arithmetic) or len(others) != 1:
        return ()
    region: tuple[Node, ...] = (reader,)
    maker = graph.producer(others.pop())
    while maker and isinstance(maker.op, Unary):
        region, maker = (maker, *region), graph.producer(maker.inputs[0])
    if maker is None or maker.op != anchor.op or maker.inputs[0] != anchor.inputs[0]:
        return ()
    later = graph.nodes.index(maker) > graph.nodes.index(anchor)
    return (maker, *region) if later else ()
