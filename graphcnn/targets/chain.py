"""Reading a fused group's body as the chain one kernel computes: anchor, then a tail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphcnn.ir import Graph, Node, Op, Refusal
from graphcnn.kernels import epilogue
from graphcnn.ops import (
    Add,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    LeakyRelu,
    Linear,
    MaxPool2d,
    Mul,
    Relu,
    Sigmoid,
    Silu,
    Tanh,
)

RULE = "triton"
UNARY: dict[type[Op], Any] = {
    Relu: epilogue.relu,
    LeakyRelu: epilogue.leaky_relu,
    Sigmoid: epilogue.sigmoid,
    Tanh: epilogue.tanh,
    Silu: epilogue.silu,
}
BINARY: dict[type[Op], Any] = {Add: epilogue.add, Mul: epilogue.mul}


@dataclass(frozen=True, slots=True)
class Chain:
    """A body as a kernel sees it.

    Attributes:
        anchor: The convolution or linear layer.
        tail: The nodes after it, each reading the one before.
        exports: For each output of the body, its position: 0 is the anchor's value.
    """

    anchor: Node
    tail: tuple[Node, ...]
    exports: tuple[int, ...]


def chain_of(body: Graph) -> Chain | Refusal:
    """The chain a body forms, or why it is none."""
    anchor, *tail = body.nodes
    if not isinstance(anchor.op, Conv2d | Linear):
        return Refusal(RULE, anchor.name, f"a group starts with conv2d or linear, not {anchor.op}")
    previous = anchor.name
    pools = 0
    for node in tail:
        if node.inputs.count(previous) != 1:
            times = "twice" if previous in node.inputs else "not"
            return Refusal(
                RULE, node.name, f"the chain's value {previous} is read {times}", (previous,)
            )
        earlier = tuple(n for n in node.inputs if n != previous and body.producer(n))
        if earlier:
            because = f"it reads '{earlier[0]}', which the chain has left behind"
            return Refusal(RULE, node.name, because, earlier)
        if refusal := _link_refusal(node, body, previous, anchor):
            return refusal
        pools += isinstance(node.op, MaxPool2d | AvgPool2d)
        if pools > 1:
            return Refusal(RULE, node.name, "a kernel holds at most one pool", (node.name,))
        previous = node.name
    order = [node.name for node in body.nodes]
    return Chain(anchor, tuple(tail), tuple(order.index(name) for name in body.outputs))


def _link_refusal(node: Node, body: Graph, previous: str, anchor: Node) -> Refusal | None:
    """Why a node cannot follow `previous` in the tail, or None."""
    op: Op = node.op
    if isinstance(op, MaxPool2d | AvgPool2d):
        if isinstance(anchor.op, Linear):
            return Refusal(RULE, node.name, "a linear layer has no pixels to pool", (anchor.name,))
        dilation = op.dilation if isinstance(op, MaxPool2d) else (1, 1)
        because = epilogue.pool_refusal(
            op.kernel_size,
            op.stride,
            op.padding,
            dilation,
            ceil_mode=op.ceil_mode,
            size=body.type_of(previous).shape[2:],
        )
        return Refusal(RULE, node.name, because, (previous,)) if because else None
    if isinstance(op, Add | Mul):
        if node.type.shape != body.type_of(previous).shape:
            grown = f"{body.type_of(previous)} grows to {node.type}"
            return Refusal(RULE, node.name, f"the broadcast changes the shape: {grown}", ())
        return None
    if type(op) in UNARY or isinstance(op, BatchNorm):
        return None
    return Refusal(RULE, node.name, f"{op.name} is not a step that a kernel's tail can take", ())
