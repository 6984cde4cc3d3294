"""Where each value of a graph lives: channels last inside, the caller's layout at the border."""

from __future__ import annotations

from graphcnn.ir import Graph, OpKind, Value
from graphcnn.ops import Linear
from graphcnn.plan import Buffer, Location


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides, in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


def channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of [N, C, sizes] that lie in memory as [N, sizes, C], in elements."""
    images, channels, *sizes = shape
    first, *rest, _ = contiguous((images, *sizes, channels))
    return (first, 1, *rest)


def locate(graph: Graph) -> dict[str, Location]:
    """A location for every input and every value that a node defines.

    Maps [N, C, sizes] are stored channels last, except those the caller sees and those that a
    flatten or reshape reads or a linear layer, with what is fused to it, touches: these are
    row-major, so that the caller's tensors need no conversion, a reshape is an alias and a linear
    layer sees a matrix. Kernels read and write either through strides.
    """
    row_major = {value.name for value in graph.inputs} | set(graph.outputs)
    for node in graph.nodes:
        op = node.members[0].op
        if op.kind is OpKind.VIEW or isinstance(op, Linear):
            row_major |= {*node.inputs, *(value.name for value in node.outputs)}
    locations: dict[str, Location] = {}
    for value in graph.inputs:
        locations[value.name] = _own(value, row_major=True)
    for node in graph.nodes:
        for value in node.outputs:
            if node.op.kind is OpKind.VIEW and node.inputs[0] in locations:
                source = locations[node.inputs[0]].buffer
                location = Location(source, value.type, contiguous(value.type.shape))
            else:
                location = _own(value, row_major=value.name in row_major)
            locations[value.name] = location
    return locations


def _own(value: Value, *, row_major: bool) -> Location:
    shape = value.type.shape
    maps = len(shape) in (3, 4) and not row_major
    strides = channels_last(shape) if maps else contiguous(shape)
    return Location(Buffer(value.name), value.type, strides)


def broadcast_strides(
    shape: tuple[int, ...], strides: tuple[int, ...], rank: int
) -> tuple[int, ...]:
    """Strides of an operand against a result of higher or equal rank: 0 where it repeats."""
    repeated = tuple(
        0 if size == 1 else stride for size, stride in zip(shape, strides, strict=True)
    )
    return (0,) * (rank - len(repeated)) + repeated
