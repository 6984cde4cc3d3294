"""Reading nodes as steps of a kernel, and a group's body as an anchor with a tail of steps.

A group may have a head: a depthwise convolution and pointwise steps, which a 1x1 convolution, the
anchor, reads inside the same kernel, an interpolation that repeats the pixels that it reads, or a
flatten of maps that a linear layer reads in the order in which they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from graphcnn.ir import Graph, Node, OpKind, Refusal
from graphcnn.kernels import (
    Half,
    Pool,
    Refused,
    Stage,
    Tail,
    View,
    map_operands,
    normalize_channels,
    stages,
    tail_refusal,
)
from graphcnn.ops import (
    Anchor,
    Arithmetic,
    AvgPool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Flatten,
    GlobalAvgPool2d,
    Interpolate,
    Linear,
    LocalResponseNorm,
    MaxPool,
    Pooling,
    Prelu,
    Unary,
)
from graphcnn.targets.lowering import Lowering, image_size
from graphcnn.targets.pack import along_channels, scale_and_shift

RULE = "triton"
# A convolution of repeated pixels looks so many channels up at once.
REPEATED_CHANNELS = 32
# The operators that become a `Pool`.
POOLS = (Pooling, GlobalAvgPool2d)


@dataclass(frozen=True, slots=True)
class Chain:
    """What one kernel computes.

    Attributes:
        anchor: The convolution or linear layer.
        links: The nodes after it.
        tail: A step for each of them. An operand in memory is a function from a `Lowering` to its
            view: where it lies is known for a whole graph only.
        exports: For each stored value, its index: 0 is the anchor's.
        gate: A convolution of the same input, whose channels are the product's second half; the
            anchor's are the first, and the tail begins with both halves.
        head: The nodes before the anchor, whose values stay in the kernel.
        steps: A step likewise for each node of the head but the first.
    """

    anchor: Node
    links: tuple[Node, ...] = ()
    tail: Tail = ()
    exports: tuple[int, ...] = (0,)
    gate: Node | None = None
    head: tuple[Node, ...] = ()
    steps: Tail = ()

    @property
    def separable(self) -> bool:
        """Whether the head is a depthwise convolution, and the anchor the 1x1 one behind it."""
        return bool(self.head) and isinstance(self.head[0].op, Conv)


def placed(
    tail: Tail, lowering: Lowering, form: Callable[[View], View] = lambda view: view
) -> Tail:
    """The steps with views, in some form, for operands in memory."""
    return map_operands(tail, lambda operand: form(operand(lowering)))


def chain_of(body: Graph) -> Chain | Refusal:
    """What a body is to a kernel, or why none computes it. Types decide, not places in memory."""
    head, anchor, links = _parts(body)
    if not isinstance(anchor.op, Anchor):
        because = f"a group starts with a convolution or linear layer, not {anchor.op}"
        return Refusal(RULE, anchor.name, because)
    pair = isinstance(anchor.op, Conv) and not head
    gate = next((link for link in links if pair and type(link.op) is type(anchor.op)), None)
    if gate and (unlike := _gate_refusal(anchor, gate, body)):
        return Refusal(RULE, gate.name, unlike, gate.inputs)
    for node in (*head[:1], anchor, *((gate,) if gate else ())):
        for name in node.inputs[1:]:
            if not body.is_param(name):
                because = f"'{name}' is computed in the graph; it must be a param"
                return Refusal(RULE, node.name, because, (name,))
    try:
        inside = _steps(head, anchor, body) if head else ()
    except Refused as no:
        return Refusal(RULE, anchor.name, no.because, tuple(node.name for node in head))
    values = {anchor.name: 1, gate.name: 2} if gate else {anchor.name: 0}
    tail: list[Stage | Pool | Half] = [Half(0), Half(1)] if gate else []
    steps = [anchor, gate] if gate else []
    for link in links:
        if link is gate:
            continue
        try:
            tail.append(step_of(link, values, body))
            _check_shape(link, values, body)
            if isinstance(anchor.op, ConvTranspose) and isinstance(tail[-1], Pool):
                raise Refused(f"the kernels of {anchor.op.name} compute a pixel in so many each")
        except Refused as no:
            return Refusal(RULE, link.name, no.because, link.inputs)
        steps.append(link)
        values[link.name] = len(tail)
    size = None if isinstance(anchor.op, Linear) else image_size(anchor.type.shape)
    exports = tuple(values[name] for name in body.outputs)
    groups = getattr(anchor.op, "groups", 1)
    if refused := tail_refusal(tuple(tail), size, exports, anchor.type.shape[1], groups):
        link = steps[refused.step or 0]
        return Refusal(RULE, link.name, refused.because, link.inputs)
    return Chain(anchor, tuple(links), tuple(tail), exports, gate, head, inside)


def _gate_refusal(anchor: Node, gate: Node, body: Graph) -> str | None:
    """Why a kernel does not compute a second convolution beside the first, or None."""
    assert isinstance(anchor.op, Conv)
    if anchor.op.groups > 1:
        return "the kernels of grouped convolutions compute no gate beside them"
    if gate.op != anchor.op or gate.inputs[0] != anchor.inputs[0]:
        return f"it is another convolution than '{anchor.name}', or of another input"
    if body.types_of(gate.inputs) != body.types_of(anchor.inputs):
        return f"its filters, or its bias, are not like those of '{anchor.name}'"
    if {anchor.name, gate.name} & {*body.outputs}:
        return "a kernel does not store what it computes a gate of"
    return None


def _parts(body: Graph) -> tuple[tuple[Node, ...], Node, tuple[Node, ...]]:
    """A body's head, its anchor, and the nodes after it."""
    first, *others = body.nodes
    if isinstance(first.op, Flatten | Interpolate) and others:
        return (first,), others[0], tuple(others[1:])
    if isinstance(first.op, Conv) and first.op.is_depthwise(body.type_of(first.inputs[0])):
        for at, node in enumerate(others, 1):
            if isinstance(node.op, Conv):
                return body.nodes[:at], node, body.nodes[at + 1 :]
    return (), first, tuple(others)


def _steps(head: tuple[Node, ...], anchor: Node, body: Graph) -> Tail:
    """The steps between the first node of a head and the anchor that reads it.

    Raises:
        Refused: for what no kernel makes inside of a product.
    """
    first = head[0]
    if isinstance(first.op, Interpolate):
        _check_repeats(first, anchor, body)
    elif isinstance(first.op, Flatten):
        _check_rows(first.op, anchor)
    else:
        _check_separable(first, anchor, body)
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


def _check_separable(first: Node, anchor: Node, body: Graph) -> None:
    """Raise Refused unless a 1x1 convolution reads each pixel of a depthwise one once."""
    op = anchor.op
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


def _check_rows(op: Flatten, anchor: Node) -> None:
    """Raise Refused unless a linear layer reads whole maps as rows."""
    if not isinstance(anchor.op, Linear):
        raise Refused("only a linear layer's kernel reads maps as rows")
    if op.start_dim != 1:
        raise Refused(f"its rows are no whole maps: dimension {op.start_dim} and up are joined")


def _check_repeats(first: Node, anchor: Node, body: Graph) -> None:
    """Raise Refused unless a convolution can find the pixels that an interpolation repeats."""
    x = body.type_of(first.inputs[0])
    assert isinstance(first.op, Interpolate)
    if not isinstance(anchor.op, Conv):
        raise Refused("only a convolution's kernel repeats the pixels of its input")
    if first.op.repeats(x) is None:
        raise Refused(
            f"'{first.name}' does not repeat each pixel equally often, from {x} to {first.type}"
        )
    if rest := (channels := x.shape[1] // anchor.op.groups) % REPEATED_CHANNELS:
        raise Refused(
            f"its filters read {channels} channels, {rest} beyond a multiple of "
            f"{REPEATED_CHANNELS}: each element of '{first.name}' would be looked up alone"
        )


def _check_shape(link: Node, values: Mapping[str, int], body: Graph) -> None:
    """Raise Refused unless a link takes values of the kernel's tile to another such value."""
    read = [body.type_of(name) for name in link.inputs if name in values]
    if not isinstance(link.op, POOLS) and (grown := set(read) - {link.type}):
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
        return _pool(node, tuple(read), graph)
    if isinstance(op, GlobalAvgPool2d):
        return Pool("avg", image_size(graph.type_of(node.inputs[0]).shape), tuple(read))
    if isinstance(op, LocalResponseNorm):
        return _across(op, tuple(read), graph.type_of(node.name).shape[1])
    if op.kind is OpKind.REDUCTION:
        raise Refused("it reduces whole dimensions, and a kernel's program holds a tile")
    if op.kind > OpKind.BROADCAST or not hasattr(stages, op.name):
        raise Refused(f"{op.name} is not a step that a kernel's tail can take")
    if isinstance(op, BatchNorm):
        return _batch_norm(node, values, graph)
    if isinstance(op, Prelu):
        return _prelu(node, values, graph)
    reads = tuple(
        values[name] if name in values else partial(Lowering.operand, name=name, result=node.type)
        for name in node.inputs
    )
    # A computed operand may be infinite: -inf + inf is NaN, which a maximum before it would lose.
    finite = all(map(graph.is_param, node.inputs[1:]))
    rises = isinstance(op, Unary | Arithmetic) and op.monotone and finite
    params = op.params if isinstance(op, Unary) else ()
    return Stage(getattr(stages, op.name), reads, params, rises)


def _prelu(node: Node, values: Mapping[str, int], graph: Graph) -> Stage:
    """A slope for each channel, or one for all."""
    value, slope = node.inputs
    _check_known(slope, graph)
    packing = along_channels(graph.param_by_name[slope], node.type)
    return Stage(stages.prelu, (values[value], partial(Lowering.weight, packing=packing)))


def _pool(node: Node, reads: tuple[int, ...], graph: Graph) -> Pool:
    """A pool, what ceil mode adds as padding."""
    op = node.op
    assert isinstance(op, MaxPool | AvgPool)
    window = op.window.lifted(2)
    if any(d != 1 for d in window.dilation):
        raise Refused(f"its windows are dilated by {window.dilation}")
    if isinstance(op, AvgPool) and op.count_include_pad and any(op.padding):
        raise Refused(f"its averages count the padding {op.padding}")
    before, after = (image_size(graph.type_of(name).shape) for name in (node.inputs[0], node.name))
    reach = zip(after, window.stride, window.kernel, window.begins, before, strict=True)
    ends = (max(0, (out - 1) * s + k - begin - size) for out, s, k, begin, size in reach)
    kind: Literal["max", "avg"] = "max" if isinstance(op, MaxPool) else "avg"
    return Pool(kind, window.kernel, reads, window.stride, (*window.begins, *ends))


def _across(op: LocalResponseNorm, reads: tuple[int, ...], channels: int) -> Stage:
    """A normalisation across channels; each window lies inside them."""
    if op.beta == 0:
        raise Refused("its power is 0, which makes even NaN a factor of 1")
    if op.size > channels:
        raise Refused(f"its windows of {op.size} are longer than the {channels} channels")
    params = (op.size, op.alpha, op.beta, op.k, channels)
    return Stage(normalize_channels, reads, params, across=True)


def _batch_norm(node: Node, values: Mapping[str, int], graph: Graph) -> Stage:
    """A scale and a shift for each channel, which are known beforehand."""
    value, *statistics = node.inputs
    for name in statistics:
        _check_known(name, graph)
    vectors = (partial(Lowering.weight, packing=vector) for vector in scale_and_shift(node))
    return Stage(stages.batch_norm, (values[value], *vectors))


def _check_known(name: str, graph: Graph) -> None:
    if not graph.is_param(name):
        raise Refused(f"'{name}' is computed in the graph; it must be a param")
