"""Whether a graph computes the samples of a batch apart, so that the batch may be split."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.errors import BatchError
from graphcnn.ir import Graph, Node, batch_of, inline, rebatch

# Ops that compute each element, map or channel of a sample from the same sample's; their first
# operand has a dimension before those that they reach along.
_OF_ONE_OPERAND = (
    ops.Unary,
    ops.View,
    ops.Pooling,
    ops.AdaptivePool,
    ops.GlobalAvgPool2d,
    ops.Interpolate,
    ops.Pad,
    ops.PixelShuffle,
    ops.PixelUnshuffle,
    ops.LocalResponseNorm,
    ops.OneHot,
)
# The same, with weights behind the first operand.
_OF_WEIGHTS = (ops.Anchor, ops.Prelu, ops.BatchNorm, ops.Standardize, ops.Embedding)


def check_apart(graph: Graph) -> None:
    """Check that a graph computes each sample of a batch from this sample alone, and wherever in
    the batch it stands: the batch may then be split, and the results put one behind the other.

    Raises:
        BatchError: naming the node where samples meet, where numbers are drawn by the place of a
            sample, or whose op is not known to do neither; or when the graph has no batch size, or
            one only, as `rebatch` finds.
    """
    # One sample more than it has: what fits by chance, such as rows of two samples, does not then.
    flat = inline(rebatch(graph, batch_of(graph) + 1))
    for node in flat.nodes:
        if not _keeps_apart(node, flat):
            raise _mixed(node)


def _keeps_apart(node: Node, graph: Graph) -> bool:
    """Whether a value holds the samples one behind the other along its first dimension, the same
    number of rows for each, where its operands do that depend on inputs."""
    op, shape = node.op, node.type.shape
    varying = [name in graph.varying for name in node.inputs]
    shapes = [type.shape for type in graph.types_of(node.inputs)]
    if not any(varying):
        return True
    behind = [operand for operand, varies in zip(shapes, varying, strict=True) if varies]
    match op:
        case ops.Arithmetic() | ops.Where():
            return all(len(operand) == len(shape) for operand in behind)
        case ops.Matmul():
            rows_only = varying == [True, False]
            return all(len(o) == len(shape) for o in behind) and (rows_only or len(shape) > 2)
        case ops.Concat() | ops.Slice() | ops.Normalized() | ops.Argmax() | ops.Unsqueeze():
            return op.dim != 0
        case ops.Gather():
            return op.dim != 0 and all(varying) and shapes[0][0] == shapes[1][0]
        case ops.Reduction() | ops.Squeeze():
            return 0 not in op.dim
        case ops.Roll():
            return 0 not in op.dims
        case ops.Permute():
            return op.dims[0] == 0
        case ops.Expand():
            return len(op.shape) == len(shapes[0])
        case _:
            return isinstance(op, _OF_ONE_OPERAND) or (
                isinstance(op, _OF_WEIGHTS) and not any(varying[1:])
            )


def _mixed(node: Node) -> BatchError:
    draws = isinstance(node.op, ops.Random)
    return BatchError(
        "the batch of this graph cannot be split",
        where=node.place,
        got=f"{node.op}: it draws numbers by the place of a sample in the batch"
        if draws
        else f"{node.op}: samples of the batch may meet in it",
        wanted="operators that compute each sample by itself, wherever in the batch it stands",
        remedy="draw the numbers outside, and pass them as an input"
        if draws
        else "leave the first dimension alone, or call the compiled model on whole batches",
    )
