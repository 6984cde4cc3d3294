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


def _sides(padding: tuple[int, ...]) -> tuple[int, ...]:
    """A padding in torch's order: both sides of the last dimension first."""
    rank = len(padding) // 2
    pairs = zip(padding[:rank], padding[rank:], strict=True)
    return tuple(side for pair in reversed([*pairs]) for side in pair)


def _unary(op: ops.Unary) -> Call:
    """torch's function of the op's name."""
    function = getattr(torch, op.name, None) or getattr(F, op.name)
    return lambda x: function(x, **vars(op))


def _conv(op: ops.Conv) -> Call:
    function = getattr(F, op.name)
    begins, ends = op.padding[: op.rank], op.padding[op.rank :]

    def call(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        if begins != ends:
            x = F.pad(x, _sides(op.padding))
        padding = begins if begins == ends else 0
        result: torch.Tensor = function(x, w, b, op.stride, padding, op.dilation, op.groups)
        return result

    return call


def _padded(op: ops.Pooling, fill: float, pads_alike: bool) -> tuple[Call, Any]:
    """What pads a pool's input, and the padding that is left to torch's pool.

    Args:
        op: The pool.
        fill: What its padding counts as.
        pads_alike: Whether padding the input first gives the same windows and divisors.

    Raises:
        UnsupportedOp: for a padding that torch's pools do not take, where that is not so.
    """
    begins, ends = op.window.begins, op.window.ends
    if begins == ends and all(2 * n <= k for n, k in zip(begins, op.kernel_size, strict=True)):
        return lambda x: x, begins
    if not pads_alike:
        raise UnsupportedOp(
            f"torch's {op.name} pads both sides alike, by at most half its window",
            got=op,
            wanted="padding equal on both sides and at most kernel_size / 2; or no ceil_mode, and "
            "count_include_pad",
            remedy='use target="triton" or "numpy" for this graph',
        )
    return lambda x: F.pad(x, _sides(op.padding), value=fill), 0


def _max_pool(op: ops.MaxPool) -> Call:
    function = getattr(F, op.name)
    pad, left = _padded(op, -inf, not op.ceil_mode)
    options = (op.kernel_size, op.stride, left, op.dilation, op.ceil_mode)
    return lambda x: function(pad(x), *options)


def _avg_pool(op: ops.AvgPool) -> Call:
    function = getattr(F, op.name)
    pad, left = _padded(op, 0.0, not op.ceil_mode and op.count_include_pad)
    options = (op.kernel_size, op.stride, left, op.ceil_mode, op.count_include_pad)
    return lambda x: function(pad(x), *options)


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
    **dict.fromkeys(ops.Unary.__subclasses__(), _unary),
    ops.Add: _arithmetic(torch.add),
    ops.AvgPool1d: _avg_pool,
    ops.AvgPool2d: _avg_pool,
    ops.BatchNorm: lambda op: lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b, eps=op.eps),
    ops.Concat: lambda op: lambda *parts: torch.cat(parts, op.dim),
    ops.Conv1d: _conv,
    ops.Conv2d: _conv,
    ops.Dropout: lambda op: lambda x: x,
    ops.Flatten: lambda op: lambda x: torch.flatten(x, op.start_dim),
    ops.GlobalAvgPool2d: lambda op: lambda x: x.mean((2, 3), keepdim=True),
    ops.Linear: lambda op: F.linear,
    ops.LogSoftmax: _softmax(F.log_softmax),
    ops.MaxPool1d: _max_pool,
    ops.MaxPool2d: _max_pool,
    ops.Mul: _arithmetic(torch.mul),
    ops.Pad: lambda op: lambda x: F.pad(x, _sides(op.padding), value=op.value),
    ops.Reshape: lambda op: lambda x: x.reshape(op.shape),
    ops.Softmax: _softmax(F.softmax),
}
