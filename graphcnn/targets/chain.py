"""Reading nodes as steps of a kernel, and a group's body as an anchor with a tail of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from graphcnn.ir import Graph, Node, OpKind, Refusal
from graphcnn.kernels import (
    Pool,
    Refused,
    Stage,
    Tail,
    View,
    map_operands,
    pool_refusal,
    stages,
    tail_refusal,
)
from graphcnn.ops import (
    Anchor,
    Arithmetic,
    BatchNorm,
    Conv,
    ConvTranspose,
    Interpolate,
    Linear,
    MaxPool,
    Pooling,
    Unary,
)
from graphcnn.targets.lowering import Lowering, image_size
from graphcnn.targets.pack import scale_and_shift

RULE = "triton"
# A convolution of repeated elements looks so many channels up at once.
REPEATED_CHANNELS = 32


@dataclass(frozen=True, slots=True)
class Chain:
    """What one kernel computes.

    Attributes:
        anchor: The convolution or linear layer.
        links: The nodes after it.
        tail: A step for each of them. An operand in memory is a function from a `Lowering` to its
            view: where it lies is known for a whole graph only.
        exports: For each stored value, its index: 0 is the anchor's.
        head: An interpolation that repeats the elements of its operand, which the anchor reads in
            place of its value.
    """

    anchor: Node
    links: tuple[Node, ...] = ()
    tail: Tail = ()
    exports: tuple[int, ...] = (0,)
    head: Node | None = None


def placed(
    tail: Tail, lowering: Lowering, form: Callable[[View], View] = lambda view: view
) -> Tail:
    """The steps with views, in some form, for operands in memory."""
    return map_operands(tail, lambda operand: form(operand(lowering)))


def supports(body: Graph) -> Refusal | None:
    """Why no kernel computes a group, or None."""
    chain = chain_of(body)
    return chain if isinstance(chain, Refusal) else None


def chain_of(body: Graph) -> Chain | Refusal:
    """What a body is to a kernel, or why none computes it. Types decide, not places in memory."""
    heads = body.nodes[:1] if isinstance(body.nodes[0].op, Interpolate) else ()
    if heads and (refusal := _head_refusal(body)):
        return refusal
    anchor, *links = body.nodes[len(heads) :]
    if not isinstance(anchor.op, Anchor):
        because = f"a group starts with a convolution or linear layer, not {anchor.op}"
        return Refusal(RULE, anchor.name, because)
    for name in anchor.inputs[1:]:
        if not body.is_param(name):
            because = f"'{name}' is computed in the graph; it must be a param"
            return Refusal(RULE, anchor.name, because, (name,))
    values = {anchor.name: 0}
    tail: list[Stage | Pool] = []
    for link in links:
        try:
            tail.append(step_of(link, values, body))
            _check_shape(link, values, body)
            if isinstance(anchor.op, ConvTranspose) and isinstance(link.op, Pooling):
                raise Refused(f"the kernels of {anchor.op.name} compute a pixel in so many each")
        except Refused as no:
            return Refusal(RULE, link.name, no.because, link.inputs)
        values[link.name] = len(tail)
    size = None if isinstance(anchor.op, Linear) else image_size(anchor.type.shape)
    if refused := tail_refusal(tuple(tail), size):
        link = links[refused.step or 0]
        return Refusal(RULE, link.name, refused.because, link.inputs)
    exports = tuple(values[name] for name in body.outputs)
    return Chain(anchor, tuple(links), tuple(tail), exports, *heads)


def _head_refusal(body: Graph) -> Refusal | None:
    """Why no kernel of a convolution reads through the interpolation before it, or None."""
    head, *nodes = body.nodes
    assert isinstance(head.op, Interpolate)
    x, anchor = body.type_of(head.inputs[0]), nodes[0] if nodes else head
    if not isinstance(anchor.op, Conv) or anchor.inputs[0] != head.name:
        because = "only a convolution's kernel repeats the elements of its input"
    elif head.name in body.outputs or body.users(head.name) != (anchor,):
        because = f"the kernel of '{anchor.name}' would not store it"
    elif head.op.repeats(x) is None:
        because = f"from {x} to {head.type} it does not repeat each element equally often"
    elif rest := (channels := x.shape[1] // anchor.op.groups) % REPEATED_CHANNELS:
        because = (
            f"a filter of '{anchor.name}' reads {channels} channels, {rest} beyond a multiple of "
            f"{REPEATED_CHANNELS}: each of its elements would be looked up alone"
        )
    else:
        return None
    return Refusal(RULE, head.name, because, (anchor.name,))


def _check_shape(link: Node, values: Mapping[str, int], body: Graph) -> None:
    """Raise Refused unless a link takes values of the kernel's tile to another such value."""
    read = [body.type_of(name) for name in link.inputs if name in values]
    if not isinstance(link.op, Pooling) and (grown := set(read) - {link.type}):
        raise Refused(f"its broadcast grows {grown.pop()} to {link.type}")


def step_of(node: Node, values: Mapping[str, int], graph: Graph) -> Stage | Pool:
    """A node as a step of a kernel.

    Args:
        node: The node.
        values: Indices of the kernel's values, by name; what else it reads is in memory.
        graph: Where it stands.

    Raises:
        Refused: when it is none.
    """
    op, read = node.op, [values[name] for name in node.inputs if name in values]
    if not read:
        raise Refused("it reads none of the kernel's values")
    if isinstance(op, Pooling):
        window = op.window.lifted(2)
        size = image_size(graph.type_of(node.inputs[0]).shape)
        padding = (*window.begins, *window.ends)
        if because := pool_refusal(
            window.kernel, window.stride, padding, window.dilation, ceil_mode=window.ceil, size=size
        ):
            raise Refused(because)
        return Pool("max" if isinstance(op, MaxPool) else "avg", window.kernel, tuple(read))
    if op.kind is OpKind.REDUCTION:
        raise Refused("it reduces whole dimensions, and a kernel's program holds a tile")
    if op.kind > OpKind.BROADCAST or not hasattr(stages, op.name):
        raise Refused(f"{op.name} is not a step that a kernel's tail can take")
    if isinstance(op, BatchNorm):
        return _batch_norm(node, values, graph)
    reads = tuple(
        values[name] if name in values else partial(Lowering.operand, name=name, result=node.type)
        for name in node.inputs
    )
    # A computed operand may be infinite: -inf + inf is NaN, which a maximum before it would lose.
    finite = all(map(graph.is_param, node.inputs[1:]))
    rises = isinstance(op, Unary | Arithmetic) and op.monotone and finite
    params = op.params if isinstance(op, Unary) else ()
    return Stage(getattr(stages, op.name), reads, params, rises)


def _batch_norm(node: Node, values: Mapping[str, int], graph: Graph) -> Stage:
    """A scale and a shift for each channel, which are known beforehand."""
    value, *statistics = node.inputs
    for name in statistics:
        if not graph.is_param(name):
            raise Refused(f"'{name}' is computed in the graph; it must be a param")
    vectors = (partial(Lowering.weight, packing=vector) for vector in scale_and_shift(node))
    return Stage(stages.batch_norm, (values[value], *vectors))
