"""Every operator as a function of torch's: a row of the table makes one from an op.

Where torch computes in half precision what it should round once, or lacks a form, a row composes.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from graphcnn import ops
from graphcnn.errors import IndexOutOfRange, UnsupportedOp
from graphcnn.ir import DType, Node

Torch = Callable[..., torch.Tensor]


def _sides(padding: tuple[int, ...]) -> tuple[int, ...]:
    """A padding in torch's order: both sides of the last dimension first."""
    rank = len(padding) // 2
    pairs = zip(padding[:rank], padding[rank:], strict=True)
    return tuple(side for pair in reversed([*pairs]) for side in pair)


def _unary(op: ops.Unary) -> Torch:
    """torch's function of the op's name."""
    function = getattr(torch, op.name, None) or getattr(F, op.name)
    return lambda x: function(x, **vars(op))


def _wide(x: torch.Tensor) -> torch.dtype:
    """The dtype to compute in: float32 for half precision."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def _unary_in_float32(op: ops.Unary) -> Torch:
    """Where torch composes its function, it would round to half precision on the way."""
    function = _unary(op)

    def call(x: torch.Tensor) -> torch.Tensor:
        wide = _wide(x)
        return function(x.to(wide)).to(x.dtype)

    return call


def _conv(op: ops.Conv) -> Torch:
    function = getattr(F, op.name)
    begins, ends = op.padding[: op.rank], op.padding[op.rank :]

    def call(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        if begins != ends:
            x = F.pad(x, _sides(op.padding))
        padding = begins if begins == ends else 0
        result: torch.Tensor = function(x, w, b, op.stride, padding, op.dilation, op.groups)
        return result

    return call


def _conv_transpose(op: ops.ConvTranspose) -> Torch:
    function: Torch = getattr(F, op.name)
    options = (op.stride, op.padding, op.output_padding, op.groups, op.dilation)

    def call(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        # On a CPU torch adds up the taps in half precision.
        wide = _wide(x) if x.device.type == "cpu" else x.dtype
        y = function(x.to(wide), w.to(wide), None if b is None else b.to(wide), *options)
        return y.to(x.dtype)

    return call


def _padded(op: ops.Pooling, fill: float, pads_alike: bool) -> tuple[Torch, Any]:
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


def _max_pool(op: ops.MaxPool) -> Torch:
    function = getattr(F, op.name)
    pad, left = _padded(op, -inf, not op.ceil_mode)
    options = (op.kernel_size, op.stride, left, op.dilation, op.ceil_mode)
    return lambda x: function(pad(x), *options)


def _avg_pool(op: ops.AvgPool) -> Torch:
    function = getattr(F, op.name)
    pad, left = _padded(op, 0.0, not op.ceil_mode and op.count_include_pad)
    options = (op.kernel_size, op.stride, left, op.ceil_mode, op.count_include_pad)
    return lambda x: function(pad(x), *options)


def _adaptive_pool(op: ops.AdaptivePool) -> Torch:
    function = getattr(F, op.name)
    return lambda x: function(x, op.output_size)


def _interpolate(op: ops.Interpolate) -> Torch:
    options: dict[str, Any] = {
        "size": op.size or None,
        "scale_factor": op.scale_factor or None,
        "mode": op.mode,
        "align_corners": op.align_corners if op.linear else None,
        "recompute_scale_factor": op.recompute_scale_factor or None,
    }

    def call(x: torch.Tensor) -> torch.Tensor:
        # On a CPU torch takes the means of a line in half precision.
        wide = _wide(x) if x.device.type == "cpu" else x.dtype
        return F.interpolate(x.to(wide), **options).to(x.dtype)

    return call


def _softmax(function: Torch) -> Callable[[Any], Torch]:
    """torch rounds to half precision on the way unless it is asked for float32."""

    def make(op: ops.Softmax | ops.LogSoftmax) -> Torch:
        def call(x: torch.Tensor) -> torch.Tensor:
            wide = _wide(x)
            return function(x, op.dim, dtype=wide).to(x.dtype)

        return call

    return make


def _argmax(op: ops.Argmax) -> Torch:
    return lambda x: torch.argmax(x, op.dim, op.keepdim)


def _indices(op: ops.Indexed, numbers: torch.Tensor, count: int) -> torch.Tensor:
    """Indices as torch takes them, checked: it would end a CUDA device's work for a wrong one."""
    op.check_indices(int(numbers.min()), int(numbers.max()), count)
    return numbers.long()


def _embedding(op: ops.Embedding) -> Torch:
    return lambda x, weight: F.embedding(_indices(op, x, len(weight)), weight)


def _one_hot(op: ops.OneHot) -> Torch:
    dtype: torch.dtype = getattr(torch, DType(op.dtype).long_name)
    return lambda x: F.one_hot(_indices(op, x, op.num_classes), op.num_classes).to(dtype)


def _gather(op: ops.Gather) -> Torch:
    return lambda x, index: torch.gather(x, op.dim, _indices(op, index, x.shape[op.dim]))


def _var(op: ops.Var) -> Torch:
    return lambda x: torch.var(x, op.dim, correction=op.correction, keepdim=op.keepdim)


def _local_response_norm(op: ops.LocalResponseNorm) -> Torch:
    """In float32 for half precision, whose squares torch would round."""

    def call(x: torch.Tensor) -> torch.Tensor:
        size = min(op.size, 2 * x.shape[1] - 1)  # torch pads for what reaches beyond all channels
        alpha = op.alpha / op.size * size
        return F.local_response_norm(x.to(_wide(x)), size, alpha, op.beta, op.k).to(x.dtype)

    return call


def _pad(op: ops.Pad) -> Torch:
    value = op.value if op.mode == "constant" else None
    return lambda x: F.pad(x, _sides(op.padding), op.mode, value)


def _random(op: ops.Random) -> Torch:
    """By the reference: torch has no generator of these numbers on every device."""
    return lambda x: torch.from_numpy(op.reference(np.broadcast_to(0.0, x.shape))).to(x)


def _slice(op: ops.Slice) -> Torch:
    kept = (slice(None),) * op.dim + (slice(op.start, op.stop, op.step),)
    return lambda x: x[kept]


def _arithmetic(op: ops.Arithmetic) -> Torch:
    """torch's function of the op's name, in float32 where a number beside half precision is."""
    function: Torch = getattr(torch, op.name)

    def call(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.dtype == y.dtype:
            return function(x, y).to(x.dtype)  # also of truth values
        half = min(x.dtype, y.dtype, key=lambda dtype: dtype.itemsize)
        return function(x.float(), y.float()).to(half)

    return call


def _power(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """In float32 for half precision, as a number beside it may be."""
    dtype = min(x.dtype, y.dtype, key=lambda dtype: dtype.itemsize)
    return torch.pow(x.to(_wide(x)), y.to(_wide(y))).to(dtype)


def _where(condition: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    dtypes = (condition.dtype, x.dtype, y.dtype)
    return torch.where(condition != 0, x, y).to(min(dtypes, key=lambda dtype: dtype.itemsize))


def _group_norm(op: ops.GroupNorm) -> Torch:
    return lambda x, w=None, b=None: torch.group_norm(x, op.num_groups, w, b, op.eps)


def _instance_norm(op: ops.InstanceNorm) -> Torch:
    """In float32 for half precision, to which torch would round scale and shift."""

    def call(x: torch.Tensor, *affine: torch.Tensor) -> torch.Tensor:
        wide = _wide(x)
        weight, bias = (*(vector.to(wide) for vector in affine), None, None)[:2]
        y = torch.instance_norm(x.to(wide), weight, bias, None, None, True, 0.0, op.eps, True)
        return y.to(x.dtype)

    return call


def _layer_norm(op: ops.LayerNorm) -> Torch:
    return lambda x, w=None, b=None: F.layer_norm(x, op.normalized_shape, w, b, op.eps)


TABLE: dict[type, Callable[[Any], Torch]] = {
    ops.AdaptivePool: _adaptive_pool,
    ops.Unary: _unary,
    ops.activation.Softsign: _unary_in_float32,
    ops.elementary.Pow: _unary_in_float32,
    ops.elementary.Rsqrt: _unary_in_float32,
    ops.Argmax: _argmax,
    ops.Arithmetic: _arithmetic,
    ops.AvgPool: _avg_pool,
    ops.BatchNorm: lambda op: lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b, eps=op.eps),
    ops.Concat: lambda op: lambda *parts: torch.cat(parts, op.dim),
    ops.Conv: _conv,
    ops.ConvTranspose: _conv_transpose,
    ops.Dropout: lambda op: lambda x: x,
    ops.Embedding: _embedding,
    ops.Expand: lambda op: lambda x: x.expand(op.shape),
    ops.Flatten: lambda op: lambda x: torch.flatten(x, op.start_dim),
    ops.Gather: _gather,
    ops.GlobalAvgPool2d: lambda op: lambda x: x.mean((2, 3), keepdim=True),
    ops.GroupNorm: _group_norm,
    ops.InstanceNorm: _instance_norm,
    ops.Interpolate: _interpolate,
    ops.LayerNorm: _layer_norm,
    ops.Linear: lambda op: F.linear,
    ops.LocalResponseNorm: _local_response_norm,
    ops.LogSoftmax: _softmax(F.log_softmax),
    ops.Matmul: lambda op: torch.matmul,
    ops.MaxPool: _max_pool,
    ops.OneHot: _one_hot,
    ops.Pad: _pad,
    ops.Permute: lambda op: lambda x: x.permute(op.dims),
    ops.PixelShuffle: lambda op: lambda x: F.pixel_shuffle(x, op.upscale_factor),
    ops.PixelUnshuffle: lambda op: lambda x: F.pixel_unshuffle(x, op.downscale_factor),
    ops.Power: lambda op: _power,
    ops.Prelu: lambda op: F.prelu,
    ops.Random: _random,
    ops.Reduction: lambda op: lambda x: getattr(torch, op.name)(x, op.dim, op.keepdim),
    ops.Reshape: lambda op: lambda x: x.reshape(op.shape),
    ops.Roll: lambda op: lambda x: torch.roll(x, op.shifts, op.dims),
    ops.Slice: _slice,
    ops.Softmax: _softmax(F.softmax),
    ops.Squeeze: lambda op: lambda x: x.squeeze(op.dim),
    ops.Unsqueeze: lambda op: lambda x: x.unsqueeze(op.dim),
    ops.Var: _var,
    ops.Where: lambda op: _where,
}


def function_of(node: Node) -> Torch:
    """The function of a node's operands.

    Raises:
        UnsupportedOp: for a fused node, or an op or padding that torch does not have.
    """
    make = node.op.row(TABLE)
    if make is None:
        raise UnsupportedOp(
            f"torch has no single operator for {node.op.name}",
            where=node.place,
            got=node.op.name,
            remedy="compile the unfused graph for this target",
        )
    try:
        call = make(node.op)
    except UnsupportedOp as error:
        raise error.at(node.place) from None

    def run(*operands: torch.Tensor) -> torch.Tensor:
        try:
            return call(*operands)
        except IndexOutOfRange as error:
            raise error.at(node.place) from None

    return run
