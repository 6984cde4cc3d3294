"""torch's ways of computing a node: its function as it is, or what serves a convolution faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from graphcnn.ir import DType, Node, interpret
from graphcnn.ops import Conv, Linear
from graphcnn.targets.torch_ops import Torch, function_of

TORCH = "torch"


class _Once:
    """What is made of a weight, once for every tensor that comes: a refit brings another."""

    def __init__(self, make: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._make, self._of, self._made = make, torch.empty(0), torch.empty(0)

    def __call__(self, weight: torch.Tensor) -> torch.Tensor:
        if weight is not self._of:
            self._of, self._made = weight, self._make(weight)
        return self._made


def _alike(op: Conv) -> tuple[int, ...] | None:
    """The padding of a convolution of images, where both sides have the same; otherwise None."""
    begins, ends = op.padding[: op.rank], op.padding[op.rank :]
    return begins if op.rank == 2 and begins == ends else None


def _has(library: str) -> bool:
    """Whether this torch is built with one of its libraries."""
    return bool(getattr(torch.backends, library).is_available())


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _conv_channels_last(node: Node) -> Torch | None:
    op = node.op
    if not isinstance(op, Conv) or (padding := _alike(op)) is None:
        return None
    pack, options = _Once(_channels_last), (op.stride, padding, op.dilation, op.groups)
    return lambda x, w, b=None: F.conv2d(_channels_last(x), pack(w), b, *options)


def _onednn(node: Node) -> Torch | None:
    """oneDNN's kernels with a weight in the order that they want, as Inductor freezes it."""
    if node.type.dtype is not DType.F32 or not _has("mkldnn"):
        return None
    mkldnn = torch.ops.mkldnn
    plain: tuple[Any, ...] = ("none", [], "")
    match node.op:
        case Linear():
            pack = _Once(lambda w: mkldnn._reorder_linear_weight(w, node.type.size // len(w)))
            return lambda x, w, b=None: mkldnn._linear_pointwise(x, pack(w), b, *plain)
        case Conv() as op if (padding := _alike(op)) is not None:
            options = (padding, op.stride, op.dilation, op.groups)

            pack = _Once(lambda w: mkldnn._reorder_convolution_weight(w, *options, None))

            def call(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> Any:
                x = _channels_last(x)
                return mkldnn._convolution_pointwise(x, pack(w), b, *options, *plain)

            return call
    return None


def _nnpack(node: Node) -> Torch | None:
    """NNPACK's convolution, by Winograd's algorithm in tiles of 8 x 8 for filters of 3 x 3. Its
    results may be further off than those of a sum as it is written."""
    op = node.op
    if not isinstance(op, Conv) or node.type.dtype is not DType.F32:
        return None
    plain = op.stride == op.dilation == (1, 1) and op.groups == 1
    if not plain or (padding := _alike(op)) is None or not _has("nnpack"):
        return None
    return lambda x, w, b=None: torch._nnpack_spatial_convolution(x, w, b, padding, op.stride)


_ON_CPU: dict[str, Callable[[Node], Torch | None]] = {
    "oneDNN packed": _onednn,
    "NNPACK": _nnpack,
}
# What makes a function of a convolution or linear layer, by the way's name; None where it has none.
WAYS: dict[str, Callable[[Node], Torch | None]] = {
    TORCH: function_of,
    "channels last": _conv_channels_last,
    **_ON_CPU,
}


def ways_of(node: Node, device: str) -> tuple[str, ...]:
    """The ways in which a node, or one of a group's, has a function of its own on a device, such
    as "cpu" or "cuda".
    """
    there = (name for name in WAYS if device == "cpu" or name not in _ON_CPU)
    return tuple(n for n in there if n == TORCH or any(WAYS[n](m) for m in node.members))


def function(node: Node, way: str) -> Torch:
    """What computes a node, or a group with one output, of its operands.

    Raises:
        UnsupportedOp: for an op or padding that torch does not have, and for any other group.
    """
    if len(node.outputs) > 1:
        return function_of(node)
    calls = {m.name: WAYS[way](m) or function_of(m) for m in node.members}
    if node.members == (node,):
        return calls[node.name]

    def run(*operands: torch.Tensor) -> torch.Tensor:
        given = dict(zip(node.inputs, operands, strict=True))
        values = interpret(node.members, given.__getitem__, lambda n, xs: calls[n.name](*xs))
        return dict(values)[node.name]

    return run
