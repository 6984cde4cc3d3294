"""Reading nodes as steps of a kernel, and a group's body as an anchor with a tail of steps.

A group may have a head: a depthwise convolution and pointwise steps, which a 1x1 convolution, the
anchor, reads inside the same kernel.
"""

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
    Linear,
    MaxPool,
    Pooling,
    Unary,
)
from graphcnn.targets.lowering import Lowering, image_size
from graphcnn.targets.pack import scale_and_shift

RULE = "triton"


@dataclass(frozen=True, slots=True)
class Chain:
    """What one kernel computes.

    Attributes:
        anchor: The convolution or linear layer.
        links: The nodes after it.
        tail: A step for each of them. An operand in memory is a function from a `Lowering` to its
            view: where it lies is known for a whole graph only.
        exports: For each stored value, its index: 0 is the anchor's.
        head: The nodes before the anchor, whose values stay in the kernel.
        steps: A step likewise for each node of the head but the first, the depthwise convolution.
    """

    anchor: Node
    links: tuple[Node, ...] = ()
    tail: Tail = ()
    exports: tuple[int, ...] = (0,)
    head: tuple[Node, ...] = ()
    steps: Tail = ()


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
    head, anchor, links = _parts(body)
    if not isinstance(anchor.op, Anchor):
        because = f"a group starts with a convolution or linear layer, not {anchor.op}"
        return Refusal(RULE, anchor.name, because)
    for node in (*head[:1], anchor):
        for name in node.inputs[1:]:
            if not body.is_param(name):
                because = f"'{name}' is computed in the graph; it must be a param"
                return Refusal(RULE, node.name, because, (name,))
    try:
        steps = _steps(head, anchor, body) if head else ()
    except Refused as no:
        return Refusal(RULE, anchor.name, no.because, tuple(node.name for node in head))
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
    return Chain(anchor, links, tuple(tail), exports, head, steps)


def _parts(body: Graph) -> tuple[tuple[Node, ...], Node, tuple[Node, ...]]:
    """A body's head, its anchor, and the nodes after it."""
    first, *others = body.nodes
    if isinstance(first.op, Conv) and first.op.is_depthwise(body.type_of(first.inputs[0])):
        for at, node in enumerate(others, 1):
            if isinstance(node.op, Conv):
                return body.nodes[:at], node, body.nodes[at + 1 :]
    return (), first, tuple(others)


def _steps(head: tuple[Node, ...], anchor: Node, body: Graph) -> Tail:
    """The steps between a depthwise convolution and the 1x1 one that reads it.

    Raises:
        Refused: for what no kernel makes inside of a product.
    """
    first, op = head[0], anchor.op
    assert isinstance(op, Conv)
    window = op.window(body.type_of(anchor.inputs[1]).shape)
    if window.kernel != (1,) * op.rank or op.groups > 1:
        raise Refused(
            f"'{first.name}' is made inside of a product with 1x1 filters of all channels"
        )
    if window.stride != window.kernel or any(window.begins + window.ends):
        raise Refused(
            f"its pixels are not those of '{first.name}': its stride or padding skips some"
        )
    if first.type.shape[1] != body.type_of(first.inputs[0]).shape[1]:
        raise Refused(f"'{first.name}' has several filters for each channel")
    values = {first.name: 0}
    steps = []
    for node in head[1:]:
        step = step_of(node, values, body)
        if isinstance(step, Pool):
            raise Refused(f"the pool '{node.name}' lies between it and '{first.name}'")
        _check_shape(node, values, body)
        steps.append(step)
        values[node.name] = len(steps)
    if anchor.inputs[0] != head[-1].name:
        raise Refused(f"it reads '{anchor.inputs[0]}', not '{head[-1].name}'")
    after = body.nodes[len(head) + 1 :]
    read = {name for node in after for name in node.inputs}
    for name in values:
        if name in read or name in body.outputs:
            raise Refused(f"'{name}' is read elsewhere too, and would stay in the kernel")
    return tuple(steps)


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
