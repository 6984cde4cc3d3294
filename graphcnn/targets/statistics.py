"""Lowering reductions, and norms by statistics of the value itself."""

from __future__ import annotations

from graphcnn.ir import Node
from graphcnn.kernels import View, reduction, standardize
from graphcnn.ops import GroupNorm, LayerNorm, Reduction, Standardize
from graphcnn.targets.lowering import Lowering


def reduce(lowering: Lowering, node: Node) -> None:
    """A reduction in one launch."""
    op = node.op
    assert isinstance(op, Reduction)
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    rank, kept = len(x.shape), y
    if not op.keepdim:
        left = iter(range(len(y.shape)))
        kept = y.permuted(*(-1 if axis in op.dim else next(left) for axis in range(rank)))
    launch = reduction(x, kept, kind=op.name, axes=op.dim)
    lowering.emit(node, op.name, launch, (x,), (y,))


def norm(lowering: Lowering, node: Node) -> None:
    """A group, instance or layer norm in one launch."""
    op = node.op
    assert isinstance(op, Standardize)
    x, y = lowering.view(node.inputs[0]), lowering.view(node.name)
    rank, shape = len(x.shape), op.affine(x.shape)
    affine = []
    for name in node.inputs[1:]:
        view = lowering.view(name)
        dims = range(len(view.shape))
        behind = len(shape) - len(dims)
        affine.append(view.permuted(*(-1,) * (rank - len(shape)), *dims, *(-1,) * behind))
    views = [x, y, *affine]
    axes = range(rank - len(shape) if isinstance(op, LayerNorm) else 2, rank)
    if isinstance(op, GroupNorm):
        views = [_grouped(view, op.num_groups) for view in views]
        axes = range(2, rank + 1)
    launch = standardize(*views, axes=axes, eps=op.eps)
    lowering.emit(node, op.name, launch, (x, *affine), (y,))


def _grouped(view: View, groups: int) -> View:
    """[N, C, ...] as [N, groups, C/groups, ...]."""
    (images, channels, *sizes), (first, step, *rest) = view.shape, view.strides
    size = channels // groups
    shape, strides = (images, groups, size, *sizes), (first, size * step, step, *rest)
    return View(view.buffer, shape, strides, view.dtype)
