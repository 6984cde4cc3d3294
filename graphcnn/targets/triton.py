"""The Triton target: one lowering table for both devices, one way to launch."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace

from graphcnn.ir import Fused, Graph, Node, Refusal, inline
from graphcnn.kernels import (
    Policy,
    Refused,
    Stage,
    avg_pool2d,
    by_rule,
    copy,
    fill,
    global_avg_pool2d,
    local_response_norm,
    max_pool2d,
    pointwise,
    softmax,
    stages,
)
from graphcnn.ops import (
    Anchor,
    AvgPool,
    Concat,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    LocalResponseNorm,
    LogSoftmax,
    MaxPool,
    Pad,
    Pooling,
    Reshape,
    Softmax,
)
from graphcnn.plan import Lowered
from graphcnn.targets.capability import check_capability
from graphcnn.targets.chain import RULE, Chain, chain_of, placed, step_of, supports
from graphcnn.targets.device import Device
from graphcnn.targets.groups import lower_group
from graphcnn.targets.library import LibraryTarget
from graphcnn.targets.lowering import Lowering, as_image, view_of
from graphcnn.targets.pack import plain
from graphcnn.targets.parts import part, parts


class TritonTarget:
    """Kernels of `graphcnn.kernels` on a CUDA device, or compiled natively for the CPU; what none
    of them computes is a call of the library between them.

    `policy` picks the kernel and the tile of every convolution and linear layer.
    """

    name = "triton"

    def __init__(self, device: Device, policy: Policy = by_rule) -> None:
        self.on, self.policy = device, policy

    def supports(self, body: Graph) -> Refusal | None:
        """Why no kernel computes a group, or None."""
        return supports(body)

    def lower(self, graph: Graph) -> Lowered:
        """Steps for every node, in order. Refusals tell which groups are taken apart, because no
        kernel can take them as their values lie, and which nodes are calls of the library.

        Raises:
            TooLarge: for a value beyond what kernels can address.
            UnsupportedOp: for a dtype that kernels on this device do not compute in, and for a node
                that torch does not compute either.
        """
        check_capability(graph, self.on)
        apart: list[Refusal] = []
        called = {n.name: "no kernel computes it" for n in graph.nodes if not _has_kernel(n)}
        while True:
            lowering = Lowering.of(graph, self.on, self.policy)
            lowering.check_sizes()
            for node in graph.nodes:
                try:
                    self._lower_node(lowering, node, called)
                except Refused as refused:  # start again, so that nothing half-made is left
                    if isinstance(node.op, Fused):
                        members = tuple(member.name for member in node.members)
                        apart.append(Refusal(RULE, node.name, refused.because, members))
                        graph = inline(graph, (node.name,))
                    else:
                        called[node.name] = refused.because
                    break
            else:
                calls = (_told(graph, n, called[n.name]) for n in graph.nodes if n.name in called)
                return lowering.lowered((*apart, *calls))

    def _lower_node(self, lowering: Lowering, node: Node, called: Container[str]) -> None:
        if node.name in called:
            step = LibraryTarget(self.on).step(node)
            lowering.steps.append(replace(step, label=f"library {step.label}"))
        elif isinstance(node.op, Fused):
            chain = chain_of(node.op.body)
            if isinstance(chain, Refusal):
                raise Refused(chain.because)
            lower_group(lowering, chain, node)
        elif isinstance(node.op, Anchor):
            lower_group(lowering, Chain(node), node)
        elif not lowering.is_alias(node):
            (node.op.row(TABLE) or _pointwise)(lowering, node)


def _has_kernel(node: Node) -> bool:
    known = isinstance(node.op, Fused | Anchor) or node.op.row(TABLE) is not None
    return known or hasattr(stages, node.op.name)


def _told(graph: Graph, node: Node, because: str) -> Refusal:
    """That a node is a call of the library, why, and what it costs at least."""
    moved = sum(graph.type_of(name).nbytes for name in {*node.inputs, node.name})
    return Refusal(RULE, node.name, f"{because}: a library call, which moves {moved:,} bytes")


def _pointwise(lowering: Lowering, node: Node) -> None:
    before = node.inputs[0]
    if lowering.graph.type_of(before).shape != node.type.shape:
        before = node.inputs[-1]
    (stage,) = placed((step_of(node, {before: 0}, lowering.graph),), lowering)
    assert isinstance(stage, Stage)
    x, y = lowering.operand(before, node.type), lowering.view(node.name)
    reads = tuple(lowering.view(name) for name in node.inputs if name in lowering.locations)
    reads = (x, *(view for view in reads if view.buffer != x.buffer))
    same = (x.strides, x.buffer.offset) == (y.strides, y.buffer.offset)
    same = same and before in lowering.locations
    lowering.emit(node, node.op.name, pointwise(x, y, (stage,)), reads, (y,), in_place=same)


def _pool(lowering: Lowering, node: Node) -> None:
    assert isinstance(node.op, MaxPool | AvgPool)
    x, y = (as_image(lowering.view(name)) for name in (node.inputs[0], node.name))
    window = node.op.window.lifted(2)
    if isinstance(node.op, MaxPool):
        launch = max_pool2d(
            x,
            y,
            kernel=window.kernel,
            stride=window.stride,
            padding=window.begins,
            dilation=window.dilation,
        )
    else:
        launch = avg_pool2d(
            x,
            y,
            kernel=window.kernel,
            stride=window.stride,
            padding=(*window.begins, *window.ends),
            count_include_pad=node.op.count_include_pad,
        )
    lowering.emit(node, node.op.name, launch, (x,), (y,))


def _global_pool(lowering: Lowering, node: Node) -> None:
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    lowering.emit(node, node.op.name, global_avg_pool2d(x, y), (x,), (y,))


def _local_response_norm(lowering: Lowering, node: Node) -> None:
    assert isinstance(node.op, LocalResponseNorm)
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    if len(x.shape) > 4:
        raise Refused(f"kernels run over at most four dimensions, not over {x.shape}")
    launch = local_response_norm(as_image(x), as_image(y), **vars(node.op))
    lowering.emit(node, node.op.name, launch, (x,), (y,))


def _softmax(lowering: Lowering, node: Node) -> None:
    assert isinstance(node.op, Softmax | LogSoftmax)
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    launch = softmax(x, y, axis=node.op.dim, log=isinstance(node.op, LogSoftmax))
    lowering.emit(node, node.op.name, launch, (x,), (y,))


def _concat(lowering: Lowering, node: Node) -> None:
    """Copies of what is not there already."""
    for name, place in parts(node, lowering.graph, lowering.locations[node.name]):
        if lowering.locations.get(name) != place:
            x, y = lowering.view(name), view_of(place)
            lowering.emit(node, "copy", copy(x, y), (x,), (y,))


def _pad(lowering: Lowering, node: Node) -> None:
    assert isinstance(node.op, Pad)
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    top, left, *_ = node.op.padding
    type = lowering.graph.type_of(node.inputs[0])
    inside = view_of(part(lowering.locations[node.name], (0, 0, top, left), type))
    lowering.emit(node, "fill", fill(y, node.op.value), (), (y,))
    lowering.emit(node, "copy", copy(x, inside), (x,), (y,))


def _view(lowering: Lowering, node: Node) -> None:
    """A param under a new shape: its packed data are not the value's own memory."""
    y = lowering.view(node.name)
    x = lowering.weight(plain(lowering.param(node.inputs[0]), node.type.shape))
    lowering.emit(node, "copy", copy(x, y), (), (y,))


# How an op, or a family of them, becomes steps; any other is a stage of a pointwise kernel.
TABLE: dict[type, Callable[[Lowering, Node], None]] = {
    Pooling: _pool,
    GlobalAvgPool2d: _global_pool,
    LocalResponseNorm: _local_response_norm,
    Softmax: _softmax,
    LogSoftmax: _softmax,
    Concat: _concat,
    Pad: _pad,
    Dropout: _view,
    Flatten: _view,
    Reshape: _view,
}
