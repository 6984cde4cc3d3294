"""Where each value of a graph lives: channels last inside, the caller's layout at the border."""

from __future__ import annotations

from collections.abc import Mapping

from graphcnn.ir import Graph, Node, OpKind, Value
from graphcnn.ops import Flatten, Linear, Strided
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
    layer sees a matrix. A linear layer whose kernel flattens reads maps in either order. Kernels
    read and write both through strides. So a slice, or another strided view, lies in its operand's
    memory, unless it has to be row-major, or in a row, and is not there.
    """
    row_major = {value.name for value in graph.inputs} | set(graph.outputs)
    flattened = {node.inputs[0] for node in graph.nodes if reads_rows(node)}
    for node in graph.nodes:
        first = node.members[0].op
        if first.kind is OpKind.VIEW or isinstance(first, Linear):
            read = node.inputs[1:] if reads_rows(node) else node.inputs
            row_major |= {*read, *(value.name for value in node.outputs)}
    for node in reversed(graph.nodes):
        if node.name in row_major and _keeps_order(node, graph):
            row_major.add(node.inputs[0])
    locations: dict[str, Location] = {}
    for value in graph.inputs:
        locations[value.name] = _own(value, row_major=True)
    for node in graph.nodes:
        for value in node.outputs:
            placed = within(node, locations)
            wanted = value.name in row_major
            asked, lies = wanted or value.name in flattened, is_row_major if wanted else row_order
            if placed is None or (asked and not lies(value.type.shape, placed.strides)):
                placed = _own(value, row_major=wanted)
            locations[value.name] = placed
    return locations


def within(node: Node, locations: Mapping[str, Location]) -> Location | None:
    """Where a view's value lies in its operand's memory; None where it does not."""
    source = locations.get(node.inputs[0]) if node.inputs else None
    if source is None:
        return None
    if isinstance(node.op, Strided):
        skipped, strides = node.op.place(source.type.shape, source.strides)
        buffer = Buffer(source.buffer.name, source.buffer.offset + skipped)
        return Location(buffer, node.type, strides)
    if node.op.kind is OpKind.VIEW:
        return Location(source.buffer, node.type, contiguous(node.type.shape))
    return None


def _keeps_order(node: Node, graph: Graph) -> bool:
    """Whether it is a strided view that is row-major where its operand is, as an unsqueeze."""
    if not isinstance(node.op, Strided):
        return False
    shape = graph.type_of(node.inputs[0]).shape
    _, strides = node.op.place(shape, contiguous(shape))
    return is_row_major(node.type.shape, strides)


def is_row_major(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether elements follow one another in row-major order."""
    steps = zip(shape, strides, contiguous(shape), strict=True)
    return all(size == 1 or stride == wanted for size, stride, wanted in steps)


def reads_rows(node: Node) -> bool:
    """Whether it is a kernel that flattens the maps that it reads first, as they lie."""
    first, *others = node.members
    return bool(others) and isinstance(first.op, Flatten)


def row_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...] | None:
    """The dimensions of maps [N, C, sizes] in an order in which each image's elements follow one
    another, row-major or with the channels last; None where they follow in neither."""
    rank = len(shape)
    for order in (tuple(range(rank)), (0, *range(2, rank), 1)):
        inner = order[1:]
        if is_row_major(tuple(shape[i] for i in inner), tuple(strides[i] for i in inner)):
            return order
    return None


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
