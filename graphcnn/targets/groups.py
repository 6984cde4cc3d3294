"""Lowering a group: a convolution or linear layer and its tail become one launch."""

from __future__ import annotations

from math import prod

from graphcnn.ir import Node
from graphcnn.kernels import (
    Launch,
    Pool,
    Stage,
    View,
    choose_conv_tile,
    choose_depthwise_tile,
    choose_linear_tile,
    commute_pool,
    conv2d,
    conv_pressure,
    depthwise_conv2d,
    epilogue,
    images_for_tile,
    linear,
)
from graphcnn.ops import (
    Add,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    LeakyRelu,
    Linear,
    MaxPool2d,
    Mul,
)
from graphcnn.targets.chain import BINARY, UNARY, Chain
from graphcnn.targets.device import Device
from graphcnn.targets.lowering import Lowering, rows


def lower_group(lowering: Lowering, chain: Chain, device: Device, node: Node | None = None) -> None:
    """One launch for an anchor and its tail; `node` is the fused node, or the anchor alone."""
    node = node or chain.anchor
    values = (chain.anchor.name, *(link.name for link in chain.tail))
    tail: list[Stage | Pool] = []
    for before, link in zip(values, chain.tail, strict=False):
        tail += steps_of(lowering, link, before)
    # A batch norm takes two stages: positions in the tail are counted anew.
    widths = [1, *(2 if isinstance(link.op, BatchNorm) else 1 for link in chain.tail)]
    exports = tuple(sum(widths[: index + 1]) - 1 for index in chain.exports)
    outputs = tuple(lowering.view(values[index]) for index in chain.exports)
    lower = _linear if isinstance(chain.anchor.op, Linear) else _conv2d
    launch = lower(lowering, chain.anchor, tuple(tail), exports, outputs, device)
    reads = tuple(lowering.view(name) for name in node.inputs if name in lowering.locations)
    label = "+".join((chain.anchor.op.name, *(link.op.name for link in chain.tail)))
    lowering.emit(node, label, launch, reads, outputs)


def steps_of(lowering: Lowering, link: Node, before: str) -> list[Stage | Pool]:
    """The kernel's steps for one node of a tail."""
    op = link.op
    if isinstance(op, MaxPool2d | AvgPool2d):
        kind = "max" if isinstance(op, MaxPool2d) else "avg"
        return [Pool(kind, op.kernel_size)]
    if isinstance(op, BatchNorm):
        return list(_batch_norm_stages(lowering, link))
    if isinstance(op, Add | Mul):
        other = link.inputs[1] if link.inputs[0] == before else link.inputs[0]
        return [Stage(BINARY[type(op)], lowering.operand(other, link.type))]
    slope = op.negative_slope if isinstance(op, LeakyRelu) else 0.0
    return [Stage(UNARY[type(op)], None, slope)]


def _linear(
    lowering: Lowering,
    node: Node,
    tail: epilogue.Tail,
    exports: tuple[int, ...],
    outputs: tuple[View, ...],
    device: Device,
) -> Launch:
    """The launch of a linear layer with its tail."""
    image, weight, *rest = node.inputs
    x = rows(lowering.view(image))
    batch, features = x.shape[0], lowering.graph.type_of(weight).shape[0]
    return linear(
        x,
        # Its rows serve every batch size: a matrix-vector product reads each weight once, along
        # them, and the CPU's tiles of 16 features transpose them as they go.
        lowering.weight("plain", weight, shape=lowering.graph.type_of(weight).shape),
        lowering.weight("plain", rest[0], shape=(features,)) if rest else None,
        tuple(rows(view) for view in outputs),
        tail=tuple(_on_rows(step) for step in tail),
        exports=exports,
        tile=choose_linear_tile(device.kind, x.dtype, batch),
    )


def _conv2d(
    lowering: Lowering,
    node: Node,
    tail: epilogue.Tail,
    exports: tuple[int, ...],
    outputs: tuple[View, ...],
    device: Device,
) -> Launch:
    """The launch of a convolution with its tail."""
    op = node.op
    assert isinstance(op, Conv2d)
    image, weight, *rest = node.inputs
    x = lowering.view(image)
    channels, group_channels, *filter_size = lowering.graph.type_of(weight).shape
    images, _, *out_size = node.type.shape
    if group_channels == 1 and op.groups > 1:
        kernel = depthwise_conv2d
        tile = choose_depthwise_tile(channels)
    else:
        kernel = conv2d
        tile = choose_conv_tile(
            device.kind,
            x.dtype,
            channels // op.groups,
            images_for_tile(device.kind, images) * out_size[0] * out_size[1],
            group_channels,
            conv_pressure(x, outputs, tail, tuple(filter_size)),
        )
    return kernel(
        x,
        _matrix(lowering, weight, device.kind),
        lowering.weight("plain", rest[0], shape=(channels,)) if rest else None,
        outputs,
        kernel=tuple(filter_size),
        stride=op.stride,
        padding=op.padding[:2],
        dilation=op.dilation,
        groups=op.groups,
        out_size=tuple(out_size),
        tail=commute_pool(tail, exports),
        exports=exports,
        tile=tile,
    )


def _matrix(lowering: Lowering, weight: str, kind: str) -> View:
    """A weight as the matrix [output channels, reduction] of an implicit GEMM.

    Tensor cores take both operands with the reduction contiguous. The vectors of a CPU lie along
    the output channels.
    """
    channels, *inner = lowering.graph.type_of(weight).shape
    shape = (channels, prod(inner))
    if kind == "cpu":
        return lowering.weight("channel_major", weight, shape=shape, strides=(1, channels))
    return lowering.weight("reduction_major", weight, shape=shape)


def _on_rows(step: Stage | Pool) -> Stage | Pool:
    if isinstance(step, Pool) or step.operand is None:
        return step
    return Stage(step.fn, rows(step.operand), step.param)


def _batch_norm_stages(lowering: Lowering, node: Node) -> tuple[Stage, Stage]:
    assert isinstance(node.op, BatchNorm)
    _, mean, var, weight, bias = node.inputs
    result, eps = node.type, node.op.eps
    trailing = len(result.shape) - 2
    strides = (0, 1, *(0,) * trailing)

    def vector(layout: str, *sources: str) -> View:
        return lowering.weight(
            layout, *sources, shape=result.shape, strides=strides, options=(eps,), dtype="f32"
        )

    return (
        Stage(epilogue.mul, vector("batch_norm_scale", var, weight)),
        Stage(epilogue.add, vector("batch_norm_shift", mean, var, weight, bias)),
    )
