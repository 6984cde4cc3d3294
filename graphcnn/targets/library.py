"""The library target: every node through torch's own operator. The baseline of every table."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from graphcnn import ops
from graphcnn.errors import UnsupportedOp
from graphcnn.ir import DType, Graph, Node, Op
from graphcnn.plan import Lowered, Step
from graphcnn.targets.device import Device

Call = Callable[..., torch.Tensor]


class LibraryTarget:
    """PyTorch's eager operators, in the graph's order, on the device's memory."""

    name = "library"
    supports = None

    def __init__(self, device: Device) -> None:
        self.on = device

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
    if type(node.op) not in TABLE:
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


def _padded(op: ops.MaxPool2d | ops.AvgPool2d, fill: float, pads_alike: bool) -> tuple[Call, Any]:
    """What pads a pool's input, and the padding that is left to torch's pool.

    Args:
        op: The pool.
        fill: What its padding counts as.
        pads_alike: Whether padding the input first gives the same windows and divisors.

    Raises:
        UnsupportedOp: for a padding that torch's pools do not take, where that is not so.
    """
    top, left, bottom, right = op.padding
    height, width = op.kernel_size
    if (top, left) == (bottom, right) and 2 * top <= height and 2 * left <= width:
        return lambda x: x, (top, left)
    if not pads_alike:
        raise UnsupportedOp(
            f"torch's {op.name} pads both sides alike, by at most half its window",
            got=op,
            wanted="(top, left) equal to (bottom, right) and at most kernel_size / 2; or no "
            "ceil_mode, and count_include_pad",
            remedy='use target="triton" or "numpy" for this graph',
        )
    return lambda x: F.pad(x, _sides(op.padding), value=fill), (0, 0)


def _max_pool2d(op: ops.MaxPool2d) -> Call:
    pad, left = _padded(op, -inf, not op.ceil_mode)
    options = (op.kernel_size, op.stride, left, op.dilation, op.ceil_mode)
    return lambda x: F.max_pool2d(pad(x), *options)


def _avg_pool2d(op: ops.AvgPool2d) -> Call:
    pad, left = _padded(op, 0.0, not op.ceil_mode and op.count_include_pad)
    options = (op.kernel_size, op.stride, left, op.ceil_mode, op.count_include_pad)
    return lambda x: F.avg_pool2d(pad(x), *options)


def _softmax(function: Call) -> Callable[[Any], Call]:
    """torch rounds to half precision on the way unless it is asked for float32."""

    def make(op: ops.Softmax | ops.LogSoftmax) -> Call:
        def call(x: torch.Tensor) -> torch.Tensor:
            wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
            return function(x, op.dim, dtype=wide).to(x.dtype)

        return call

    return make


def _arithmetic(function: Call) -> Callable[[Any], Call]:
    """A number beside half precision is float32, and so is the arithmetic."""

    def make(_op: ops.Add | ops.Mul) -> Call:
        def call(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            if x.dtype == y.dtype:
                return function(x, y)
            half = min(x.dtype, y.dtype, key=lambda dtype: dtype.itemsize)
            return function(x.float(), y.float()).to(half)

        return call

    return make


TABLE: dict[type[Op], Callable[[Any], Call]] = {
    ops.Add: _arithmetic(torch.add),
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
    ops.Mul: _arithmetic(torch.mul),
    ops.Pad: lambda op: lambda x: F.pad(x, _sides(op.padding), value=op.value),
    ops.Relu: lambda op: F.relu,
    ops.Reshape: lambda op: lambda x: x.reshape(op.shape),
    ops.Sigmoid: lambda op: torch.sigmoid,
    ops.Silu: lambda op: F.silu,
    ops.Softmax: _softmax(F.softmax),
    ops.Tanh: lambda op: torch.tanh,
}
