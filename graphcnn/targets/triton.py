"""The Triton target: one lowering table for both devices, one way to launch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphcnn import triton_api
from graphcnn.errors import UnsupportedOp
from graphcnn.ir import Array, DType, Fused, Graph, Node, Op, Param, Refusal
from graphcnn.kernels import (
    Launch,
    avg_pool2d,
    copy,
    fill,
    global_avg_pool2d,
    max_pool2d,
    pointwise,
    softmax,
)
from graphcnn.ops import (
    VIEWS,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    GlobalAvgPool2d,
    Linear,
    LogSoftmax,
    MaxPool2d,
    Pad,
    Softmax,
)
from graphcnn.plan import Buffer, Lowered, PackedWeight
from graphcnn.targets.chain import BINARY, RULE, UNARY, Chain, chain_of
from graphcnn.targets.device import Device
from graphcnn.targets.groups import lower_group, steps_of
from graphcnn.targets.lowering import Lowering, window
from graphcnn.targets.pack import pack


class TritonTarget:
    """Kernels of `graphcnn.kernels` on a CUDA device, or compiled natively for the CPU."""

    name = "triton"

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
            TooLarge: for a value beyond what kernels can address.
            UnsupportedOp: naming the node that has no kernel, and why.
        """
        lowering = Lowering.of(graph)
        lowering.check_sizes()
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


def _lower_pointwise(lowering: Lowering, node: Node) -> None:
    before = node.inputs[0]
    if lowering.graph.type_of(before).shape != node.type.shape:
        before = node.inputs[-1]
    stages = steps_of(lowering, node, before)
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
    **dict.fromkeys(VIEWS, _lower_alias),
    **dict.fromkeys((*UNARY, *BINARY, BatchNorm), _lower_pointwise),
    MaxPool2d: _lower_pool,
    AvgPool2d: _lower_pool,
    GlobalAvgPool2d: _lower_global_pool,
    Softmax: _lower_softmax,
    LogSoftmax: _lower_softmax,
    Concat: _lower_concat,
    Pad: _lower_pad,
}
