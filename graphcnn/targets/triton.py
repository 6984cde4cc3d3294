"""The Triton target: one lowering table for both devices, one way to launch."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace
from functools import partial

from graphcnn.ir import Chosen, Fused, Graph, Node, Refusal, inline
from graphcnn.kernels import (
    Choice,
    Precision,
    Refused,
    View,
    avg_pool2d,
    copy,
    global_avg_pool2d,
    local_response_norm,
    max_pool2d,
    pad,
    pointwise,
    random_normal,
    random_uniform,
    roll,
    softmax,
    stages,
)
from graphcnn.ops import (
    AdaptivePool,
    Amax,
    Amin,
    Anchor,
    AvgPool,
    Concat,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Interpolate,
    LocalResponseNorm,
    LogSoftmax,
    MaxPool,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Pooling,
    RandomNormal,
    RandomUniform,
    Reshape,
    Roll,
    Softmax,
    Standardize,
    Strided,
    Sum,
)
from graphcnn.plan import Buffer, Lowered
from graphcnn.targets.capability import check_capability
from graphcnn.targets.chain import RULE, Chain, chain_of, placed, step_of
from graphcnn.targets.device import Device
from graphcnn.targets.group_time import group_time
from graphcnn.targets.groups import lower_group
from graphcnn.targets.library import LibraryTarget
from graphcnn.targets.lowering import Lowering, as_image, view_of
from graphcnn.targets.maps import adaptive_pool, pixels, resize
from graphcnn.targets.pack import plain
from graphcnn.targets.parts import parts
from graphcnn.targets.policy import MODEL, Following, Policy
from graphcnn.targets.price import unprofitable
from graphcnn.targets.statistics import norm, reduce
from graphcnn.targets.tf32 import rounding


class TritonTarget:
    """Kernels of `graphcnn.kernels` on a CUDA device, or compiled natively for the CPU; what none
    of them computes is a call of the library between them.

    `policy` picks the kernel and the tile of every convolution and linear layer, and tells which
    nodes are calls of the library although there are kernels.
    """

    name = "triton"

    def __init__(self, device: Device, policy: Policy = MODEL) -> None:
        self.on, self.policy = device, policy

    @property
    def precision(self) -> Precision:
        """How it multiplies float32."""
        return self.on.precision

    def at(self, device: Device) -> TritonTarget:
        """The same target on another device."""
        return TritonTarget(device, self.policy)

    def supports(self, body: Graph) -> Refusal | None:
        """Why no kernel computes a group, or why it had better not, or None."""
        chain = chain_of(body)
        if isinstance(chain, Refusal):
            return chain
        return unprofitable(chain, body, self.on.traits, self.policy)

    @property
    def time(self) -> Callable[[Graph], float] | None:
        """Microseconds that the kernel of a group is predicted to take; None without a model."""
        traits = self.on.traits
        return None if traits.predicted is None else partial(group_time, device=traits)

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
            lowering = Lowering.of(graph, self.on, self.policy, called)
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

    def following(self, graph: Graph) -> TritonTarget:
        """The target for other batch sizes of a graph: with the kernels that this one takes for it.

        Sizes share kernels anyway where the device says which.
        """
        if self.on.traits.batches:
            return self
        picked: dict[str, list[Choice]] = {}
        for taken in self.lower(graph).choices:
            if isinstance(taken.chosen, Choice):
                picked.setdefault(taken.node, []).append(taken.chosen)
        return TritonTarget(self.on, Following(self.policy, picked))

    def alone(self, graph: Graph, node: Node) -> Lowered:
        """The steps of one node, with its values where they lie in its graph.

        Raises:
            Refused: where no kernel computes it, or can take them as they lie.
        """
        if not _has_kernel(node):
            raise Refused("no kernel computes it")
        lowering = Lowering.of(graph, self.on, self.policy)
        self._lower_node(lowering, node, {})
        return lowering.lowered(())

    def _lower_node(self, lowering: Lowering, node: Node, called: Container[str]) -> None:
        if node.name in called:
            step = LibraryTarget(self.on).step(node)
            lowering.steps.append(replace(step, label=f"library {step.label}"))
        elif call := self.policy.call(node):
            step = LibraryTarget(self.on).step(node, call.way)
            lowering.steps.append(replace(step, label=f"library {step.label}"))
            both = ("kernels", call.way)
            lowering.choices.append(Chosen(node.name, "call", call.way, both, call.because))
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
    steps, _, tf32 = rounding((stage,), (1,), node, lowering.tf32)
    x, y = lowering.operand(before, node.type), lowering.view(node.name)
    views = dict.fromkeys(lowering.view(n) for n in node.inputs if n in lowering.locations)
    # The memory of x counts once where all read it alike, which is when y may overwrite it.
    reads = (x, *(view for view in views if view != lowering.view(before)))
    same = (x.strides, x.buffer.offset) == (y.strides, y.buffer.offset)
    same = same and before in lowering.locations
    launch = pointwise(x, y, steps)
    lowering.emit(node, node.op.name, launch, reads, (y,), in_place=same, tf32=tf32)


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


def _random(lowering: Lowering, node: Node) -> None:
    draw = random_normal if isinstance(node.op, RandomNormal) else random_uniform
    y = lowering.view(node.name)
    # Not read, but kept until then: verification looks at every operand of a node.
    reads = tuple(lowering.view(name) for name in node.inputs if name in lowering.locations)
    lowering.emit(node, node.op.name, draw(y, **vars(node.op)), reads, (y,))


def _concat(lowering: Lowering, node: Node) -> None:
    """Copies of what is not there already."""
    for name, place in parts(node, lowering.graph, lowering.locations[node.name]):
        if lowering.locations.get(name) != place:
            x, y = lowering.view(name), view_of(place)
            lowering.emit(node, "copy", copy(x, y), (x,), (y,))


def _pad(lowering: Lowering, node: Node) -> None:
    assert isinstance(node.op, Pad)
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    begins = tuple(before for before, _ in node.op.sides)
    launch = pad(x, y, begins=begins, mode=node.op.mode, value=node.op.value)
    lowering.emit(node, node.op.name, launch, (x,), (y,))


def _roll(lowering: Lowering, node: Node) -> None:
    assert isinstance(node.op, Roll)
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    shifts = dict(zip(node.op.dims, node.op.shifts, strict=True))
    lowering.emit(node, node.op.name, roll(x, y, shifts=shifts), (x,), (y,))


def _view(lowering: Lowering, node: Node) -> None:
    """A param under a new shape: its packed data are not the value's own memory."""
    y = lowering.view(node.name)
    x = lowering.weight(plain(lowering.param(node.inputs[0]), node.type.shape))
    lowering.emit(node, "copy", copy(x, y), (), (y,))


def _strided(lowering: Lowering, node: Node) -> None:
    """A strided view of a param, or one that has to be row-major."""
    assert isinstance(node.op, Strided)
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    skipped, strides = node.op.place(x.shape, x.strides)
    part = View(Buffer(x.buffer.name, x.buffer.offset + skipped), y.shape, strides, x.dtype)
    lowering.emit(node, "copy", copy(part, y), (x,), (y,))


# How an op, or a family of them, becomes steps; any other is a stage of a pointwise kernel.
TABLE: dict[type, Callable[[Lowering, Node], None]] = {
    AdaptivePool: adaptive_pool,
    Pooling: _pool,
    GlobalAvgPool2d: _global_pool,
    Interpolate: resize,
    LocalResponseNorm: _local_response_norm,
    Amax: reduce,
    Amin: reduce,
    Sum: reduce,
    Standardize: norm,
    Softmax: _softmax,
    LogSoftmax: _softmax,
    RandomNormal: _random,
    RandomUniform: _random,
    Concat: _concat,
    Pad: _pad,
    Roll: _roll,
    PixelShuffle: pixels,
    PixelUnshuffle: pixels,
    Dropout: _view,
    Flatten: _view,
    Reshape: _view,
    Strided: _strided,
}
