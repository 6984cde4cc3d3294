"""The Triton target: one lowering table for both devices, one way to launch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from graphcnn import triton_api
from graphcnn.errors import UnsupportedOp
from graphcnn.ir import Array, DType, Fused, Graph, Node, Op, Param, Refusal
from graphcnn.kernels import (
    Launch,
    Pool,
    Stage,
    View,
    avg_pool2d,
    choose_conv_tile,
    choose_depthwise_tile,
    choose_linear_tile,
    commute_pool,
    conv2d,
    conv_pressure,
    copy,
    depthwise_conv2d,
    epilogue,
    fill,
    global_avg_pool2d,
    linear,
    max_pool2d,
    pointwise,
    softmax,
)
from graphcnn.ops import (
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    GlobalAvgPool2d,
    LeakyRelu,
    Linear,
    LogSoftmax,
    MaxPool2d,
    Mul,
    Pad,
    Softmax,
)
from graphcnn.plan import Buffer, Lowered, PackedWeight
from graphcnn.targets.chain import BINARY, RULE, UNARY, Chain, chain_of
from graphcnn.targets.device import Device
from graphcnn.targets.layout import ALIASES
from graphcnn.targets.lowering import Lowering, rows, window
from graphcnn.targets.pack import pack


class TritonTarget:
    """Kernels of `graphcnn.kernels` on a CUDA device, or compiled natively for the CPU."""

    name = "triton"
    fuses = True

    def __init__(self, device: Device) -> None:
        self.on = device

    def supports(self, body: Graph) -> Refusal | None:
        """Whether one kernel can compute a group; the reason when not."""
        chain = chain_of(body)
        if isinstance(chain, Refusal):
            return chain
        try:
            lower_group(Lowering.of(body), chain, self.on)
        except ValueError as error:
            return Refusal(RULE, chain.anchor.name, str(error))
        except UnsupportedOp as error:
            return Refusal(RULE, chain.anchor.name, error.what)
        return None

    def lower(self, graph: Graph) -> Lowered:
        """Steps for every node, in order.

        Raises:
            UnsupportedOp: naming the node that has no kernel, and why.
        """
        lowering = Lowering.of(graph)
        for node in graph.nodes:
            _check_dtype(node)
            try:
                self._lower_node(lowering, node)
            except ValueError as error:
                raise UnsupportedOp(
                    f"no kernel computes this {node.op.name}",
                    where=node.place,
                    got=str(error),
                    remedy='target="library" runs every operator through torch',
                ) from None
        return lowering.lowered()

    def _lower_node(self, lowering: Lowering, node: Node) -> None:
        if isinstance(node.op, Fused):
            chain = chain_of(node.op.body)
            if isinstance(chain, Refusal):
                raise ValueError(chain.because)
            lower_group(lowering, chain, self.on, node)
        elif isinstance(node.op, Conv2d | Linear):
            lower_group(lowering, Chain(node, (), (0,)), self.on)
        elif not lowering.is_alias(node):
            if type(node.op) not in TABLE:
                raise ValueError(f"{node.op.name} is not in the lowering table")
            TABLE[type(node.op)](lowering, node)

    def pack(self, weight: PackedWeight, params: Mapping[str, Param]) -> tuple[Array, DType]:
        """A weight's numbers in the layout its kernel reads."""
        return pack(weight, params)

    def prepare(self, launch: object, resolve: Callable[[Buffer], Any]) -> Callable[[], None]:
        """Compile a launch for the memory its buffers resolve to."""
        assert isinstance(launch, Launch)
        args = tuple(_substitute(arg, resolve) for arg in launch.args)
        prepared = triton_api.prepare(launch.kernel, args, launch.meta, self.on.driver)
        grid, stream = launch.grid, self.on.stream
        return lambda: prepared(grid, stream(), args)

    def unit(self, graph: Graph) -> float:
        """Unit roundoff of the arithmetic that computes this graph's values.

        The CPU accumulates in float32. Tensor cores truncate where they add (Fasi et al.,
        Numerical behavior of NVIDIA tensor cores, 2021), which doubles it; float32 operands are
        split in two tf32 parts of 11 bits each.
        """
        if self.on.kind == "cpu":
            return 2.0**-24
        f32 = all(value.type.dtype is DType.F32 for value in graph.inputs)
        return 2.0**-21 if f32 else 2.0**-23


def _check_dtype(node: Node) -> None:
    if node.type.dtype not in (DType.F32, DType.F16, DType.BF16):
        raise UnsupportedOp(
            "kernels compute in float32",
            where=node.place,
            got=node.type,
            wanted="f32, f16 or bf16",
            remedy='build the graph with one of these, or pass target="library"',
        )


def _substitute(arg: Any, resolve: Callable[[Buffer], Any]) -> Any:
    if isinstance(arg, Buffer):
        return resolve(arg)
    if isinstance(arg, tuple):
        return tuple(_substitute(part, resolve) for part in arg)
    return arg


def lower_group(lowering: Lowering, chain: Chain, device: Device, node: Node | None = None) -> None:
    """One launch for an anchor and its tail; `node` is the fused node, or the anchor alone."""
    node = node or chain.anchor
    values = (chain.anchor.name, *(link.name for link in chain.tail))
    tail: list[Stage | Pool] = []
    for before, link in zip(values, chain.tail, strict=False):
        tail += _steps_of(lowering, link, before)
    # A batch norm takes two stages: positions in the tail are counted anew.
    widths = [1, *(2 if isinstance(link.op, BatchNorm) else 1 for link in chain.tail)]
    exports = tuple(sum(widths[: index + 1]) - 1 for index in chain.exports)
    outputs = tuple(lowering.view(values[index]) for index in chain.exports)
    lower = _linear if isinstance(chain.anchor.op, Linear) else _conv2d
    launch = lower(lowering, chain.anchor, tuple(tail), exports, outputs, device)
    reads = tuple(lowering.view(name) for name in node.inputs if name in lowering.locations)
    label = "+".join((chain.anchor.op.name, *(link.op.name for link in chain.tail)))
    lowering.emit(node, label, launch, reads, outputs)


def _steps_of(lowering: Lowering, link: Node, before: str) -> list[Stage | Pool]:
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
    # A matrix-vector product reads each weight once, along its row.
    kind = "cuda" if batch == 1 else device.kind
    return linear(
        x,
        _matrix(lowering, weight, kind),
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
            images * out_size[0] * out_size[1],
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


def _lower_pointwise(lowering: Lowering, node: Node) -> None:
    before = node.inputs[0]
    if lowering.graph.type_of(before).shape != node.type.shape:
        before = node.inputs[-1]
    stages = _steps_of(lowering, node, before)
    x, y = lowering.operand(before, node.type), lowering.view(node.name)
    reads = tuple(lowering.view(name) for name in node.inputs if name in lowering.locations)
    reads = (x, *(view for view in reads if view.buffer != x.buffer))
    launch = pointwise(x, y, tuple(stages))
    same = x.strides == y.strides and before in lowering.locations
    lowering.emit(node, node.op.name, launch, reads, (y,), in_place=same)


def _lower_pool(lowering: Lowering, node: Node) -> None:
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    op = node.op
    if isinstance(op, MaxPool2d):
        launch = max_pool2d(
            x,
            y,
            kernel=op.kernel_size,
            stride=op.stride,
            padding=op.padding[:2],
            dilation=op.dilation,
        )
    else:
        assert isinstance(op, AvgPool2d)
        launch = avg_pool2d(
            x,
            y,
            kernel=op.kernel_size,
            stride=op.stride,
            padding=op.padding,
            count_include_pad=op.count_include_pad,
        )
    lowering.emit(node, op.name, launch, (x,), (y,))


def _lower_global_pool(lowering: Lowering, node: Node) -> None:
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    lowering.emit(node, node.op.name, global_avg_pool2d(x, y), (x,), (y,))


def _lower_softmax(lowering: Lowering, node: Node) -> None:
    assert isinstance(node.op, Softmax | LogSoftmax)
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    axis = node.op.dim % len(x.shape)
    launch = softmax(x, y, axis=axis, log=isinstance(node.op, LogSoftmax))
    lowering.emit(node, node.op.name, launch, (x,), (y,))


def _lower_concat(lowering: Lowering, node: Node) -> None:
    assert isinstance(node.op, Concat)
    y = lowering.view(node.name)
    axis = node.op.dim % len(y.shape)
    start = 0
    for name in node.inputs:
        x = lowering.view(name)
        starts = tuple(start if dim == axis else 0 for dim in range(len(y.shape)))
        part = window(y, starts, x.shape)
        lowering.emit(node, "copy", copy(x, part), (x,), (y,))
        start += x.shape[axis]


def _lower_pad(lowering: Lowering, node: Node) -> None:
    assert isinstance(node.op, Pad)
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    top, left, *_ = node.op.padding
    inside = window(y, (0, 0, top, left), x.shape)
    lowering.emit(node, "fill", fill(y, node.op.value), (), (y,))
    lowering.emit(node, "copy", copy(x, inside), (x,), (y,))


def _lower_alias(lowering: Lowering, node: Node) -> None:
    """A param under a new shape: its packed data are not the value's own memory."""
    y = lowering.view(node.name)
    x = lowering.weight("plain", node.inputs[0], shape=node.type.shape)
    lowering.emit(node, "copy", copy(x, y), (), (y,))


TABLE: dict[type[Op], Callable[[Lowering, Node], None]] = {
    **dict.fromkeys(ALIASES, _lower_alias),
    **dict.fromkeys((*UNARY, *BINARY, BatchNorm), _lower_pointwise),
    MaxPool2d: _lower_pool,
    AvgPool2d: _lower_pool,
    GlobalAvgPool2d: _lower_global_pool,
    Softmax: _lower_softmax,
    LogSoftmax: _lower_softmax,
    Concat: _lower_concat,
    Pad: _lower_pad,
}
