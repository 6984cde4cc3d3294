"""The library target: every node through torch's own operator. The baseline of every table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from graphcnn import ops
from graphcnn.errors import UnsupportedOp
from graphcnn.ir import DType, Fused, Graph, Node, Op, Refusal
from graphcnn.plan import Lowered, Step
from graphcnn.targets.device import Device

Call = Callable[..., torch.Tensor]


class LibraryTarget:
    """PyTorch's eager operators, in the graph's order, on the device's memory."""

    name = "library"
    fuses = False

    def __init__(self, device: Device) -> None:
        self.on = device

    def supports(self, body: Graph) -> Refusal:
        """No group: each operator is a call of its own."""
        return Refusal("library", body.nodes[0].name, "torch runs one operator at a time")

    def unit(self, graph: Graph) -> float:
        """Unit roundoff of torch's arithmetic: float32, or float64 if the graph is float64.

        On CUDA, torch may multiply float32 matrices and images in tf32, as its own settings say.
        """
        dtypes = {value.type.dtype for value in graph.inputs}
        if dtypes == {DType.F64}:
            return DType.F64.unit_roundoff
        tf32 = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
        if dtypes == {DType.F32} and self.on.kind == "cuda" and tf32:
            return 2.0**-11
        return DType.F32.unit_roundoff

    def lower(self, graph: Graph) -> Lowered:
        """One call per node.

        Raises:
            UnsupportedOp: for a fused node, or an op or padding that torch does not have.
        """
        steps = tuple(
            Step(node.name, node.op.name, node.inputs, (node.name,), _call(node))
            for node in graph.nodes
        )
        return Lowered(steps, {}, {}, ())

    def enter(self, array: Any, dtype: DType) -> torch.Tensor:
        """An array as a tensor on the device, without a copy where it is there already."""
        tensor = array
        if not isinstance(array, torch.Tensor):
            # torch warns of memory that it must not write to.
            tensor = torch.from_numpy(np.require(array, requirements=("C", "W")))
        wanted: torch.Tensor = tensor.to(self.on.memory, getattr(torch, dtype.long_name))
        return wanted


def _call(node: Node) -> Callable[..., tuple[torch.Tensor]]:
    if isinstance(node.op, Fused) or type(node.op) not in TABLE:
        raise UnsupportedOp(
            f"torch has no single operator for {node.op.name}",
            where=node.place,
            got=node.op.name,
            wanted=", ".join(op.name for op in TABLE),
            remedy="compile the unfused graph for this target",
        )
    try:
        call = TABLE[type(node.op)](node.op)
    except UnsupportedOp as error:
        raise error.at(node.place) from None

    def run(*operands: torch.Tensor) -> tuple[torch.Tensor]:
        device = operands[0].device.type
        if not torch.is_autocast_enabled(device):
            return (call(*operands),)
        with torch.autocast(device, enabled=False):  # the graph's dtypes, not the caller's
            return (call(*operands),)

    return run


def _sides(padding: tuple[int, ...]) -> tuple[int, int, int, int]:
    top, left, bottom, right = padding
    return (left, right, top, bottom)


def _conv2d(op: ops.Conv2d) -> Call:
    top, left, bottom, right = op.padding
    even = (top, left) == (bottom, right)

    def call(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        if not even:
            x = F.pad(x, _sides(op.padding))
        padding = (top, left) if even else (0, 0)
        return F.conv2d(x, w, b, op.stride, padding, op.dilation, op.groups)

    return call


def _pool_padding(op: ops.MaxPool2d | ops.AvgPool2d) -> tuple[int, int]:
    """What torch takes as a pool's padding.

    Raises:
        UnsupportedOp: for a padding that torch's pools do not take.
    """
    top, left, bottom, right = op.padding
    if (
        (top, left) != (bottom, right)
        or 2 * top > op.kernel_size[0]
        or 2 * left > op.kernel_size[1]
    ):
        raise UnsupportedOp(
            f"torch's {op.name} pads both sides alike, by at most half its window",
            got=f"padding={op.padding}, kernel_size={op.kernel_size}",
            wanted="(top, left) equal to (bottom, right) and at most kernel_size / 2",
            remedy='use target="triton" or "numpy" for this graph',
        )
    return top, left


def _max_pool2d(op: ops.MaxPool2d) -> Call:
    options = (_pool_padding(op), op.dilation, op.ceil_mode)
    return lambda x: F.max_pool2d(x, op.kernel_size, op.stride, *options)


def _avg_pool2d(op: ops.AvgPool2d) -> Call:
    options = (_pool_padding(op), op.ceil_mode, op.count_include_pad)
    return lambda x: F.avg_pool2d(x, op.kernel_size, op.stride, *options)


def _softmax(function: Call) -> Callable[[Any], Call]:
    """torch rounds to half precision on the way unless it is asked for float32."""

    def make(op: ops.Softmax | ops.LogSoftmax) -> Call:
        def call(x: torch.Tensor) -> torch.Tensor:
            wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
            return function(x, op.dim, dtype=wide).to(x.dtype)

        return call

    return make


TABLE: dict[type[Op], Callable[[Any], Call]] = {
    ops.Add: lambda op: torch.add,
    ops.AvgPool2d: _avg_pool2d,
    ops.BatchNorm: lambda op: lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b, eps=op.eps),
    ops.Concat: lambda op: lambda *parts: torch.cat(parts, op.dim),
    ops.Conv2d: _conv2d,
    ops.Dropout: lambda op: lambda x: x,
    ops.Flatten: lambda op: lambda x: torch.flatten(x, op.start_dim),
    ops.GlobalAvgPool2d: lambda op: lambda x: x.mean((2, 3), keepdim=True),
    ops.LeakyRelu: lambda op: lambda x: F.leaky_relu(x, op.negative_slope),
    ops.Linear: lambda op: F.linear,
    ops.LogSoftmax: _softmax(F.log_softmax),
    ops.MaxPool2d: _max_pool2d,
    ops.Mul: lambda op: torch.mul,
    ops.Pad: lambda op: lambda x: F.pad(x, _sides(op.padding), value=op.value),
    ops.Relu: lambda op: F.relu,
    ops.Reshape: lambda op: lambda x: x.reshape(op.shape),
    ops.Sigmoid: lambda op: torch.sigmoid,
    ops.Silu: lambda op: F.silu,
    ops.Softmax: _softmax(F.softmax),
    ops.Tanh: lambda op: torch.tanh,
}
