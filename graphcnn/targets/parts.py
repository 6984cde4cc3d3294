"""Concats without a kernel: what they put side by side is written there in the first place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphcnn.ir import Graph, Node, OpKind, Refusal, TensorType
from graphcnn.kernels.launch import MAX_OFFSET
from graphcnn.ops import Concat
from graphcnn.plan import Buffer, Location
from graphcnn.targets.layout import channels_last, contiguous, reads_rows, within

RULE = "in place"
# What kernels load and store at once where addresses are multiples of it.
VECTOR_BYTES = 16


def part(whole: Location, starts: tuple[int, ...], type: TensorType) -> Location:
    """The place of a rectangular part of a value, from the element at `starts` on."""
    skipped = sum(start * stride for start, stride in zip(starts, whole.strides, strict=True))
    buffer = Buffer(whole.buffer.name, whole.buffer.offset + skipped)
    return Location(buffer, type, whole.strides)


def parts(concat: Node, graph: Graph, whole: Location) -> Iterator[tuple[str, Location]]:
    """Every operand of a concat, and its place in the result."""
    assert isinstance(concat.op, Concat)
    starts = [0] * len(concat.type.shape)
    for name in concat.inputs:
        type = graph.type_of(name)
        yield name, part(whole, tuple(starts), type)
        starts[concat.op.dim] += type.shape[concat.op.dim]


def share(
    graph: Graph, own: Mapping[str, Location]
) -> tuple[dict[str, Location], tuple[Refusal, ...]]:
    """Move the operands of concats to their places in the results, where nothing speaks against.

    From the last concat to the first, so that a concat of concats holds the parts of both; a value
    that several read goes to the last, which is the largest where features grow. In the place of a
    crop goes the value it is cut from: the concat then lies in the middle of larger maps.

    Args:
        graph: What is lowered.
        own: A location for every value, as if it stayed alone.

    Returns:
        The locations, and for every operand that has to be copied the reason.
    """
    shared = dict(own)
    refusals = []
    for node in reversed(graph.nodes):
        if isinstance(node.op, Concat):
            shared[node.name] = _framed(node, graph, own, shared)
            for name, place in parts(node, graph, shared[node.name]):
                source, starts = _source(name, graph, own)
                around = part(place, tuple(-start for start in starts), graph.type_of(source))
                because = _refusal(source, around, node, graph, own, shared)
                if source != name and shared[node.name] != _frame(name, node, graph, own):
                    because = because or f"'{node.name}' does not lie in the middle of '{source}'"
                if because:
                    copied = f"'{name}' is copied: {because}"
                    refusals.append(Refusal(RULE, node.name, copied, (name,)))
                else:
                    shared[source] = around
    for node in graph.nodes:  # views go where their operands have gone
        if own[node.name] == within(node, own):
            shared[node.name] = within(node, shared) or own[node.name]
    return shared, tuple(reversed(refusals))


def _source(name: str, graph: Graph, own: Mapping[str, Location]) -> tuple[str, tuple[int, ...]]:
    """The value that a crop is cut from, and where; any other value is cut from itself."""
    alone = own.get(name)
    if alone is None or own[alone.buffer.name].strides != alone.strides:
        return name, (0,) * len(graph.type_of(name).shape)
    rest, starts = alone.buffer.offset, [0] * len(alone.strides)
    for dim in _order(own[alone.buffer.name]):  # one of size 1 has no part, whatever its stride
        starts[dim], rest = divmod(rest, alone.strides[dim])
    return alone.buffer.name, tuple(starts)


def _frame(name: str, concat: Node, graph: Graph, own: Mapping[str, Location]) -> Location | None:
    """Where a concat lies if the source of an operand, a crop, is written around it; None where
    it cannot, because the crop takes a part of what is put side by side."""
    assert isinstance(concat.op, Concat)
    alone, shape, dim = own[concat.name], concat.type.shape, concat.op.dim
    source, starts = _source(name, graph, own)
    sizes = [*graph.type_of(source).shape]
    if sizes[dim] != graph.type_of(name).shape[dim]:
        return None
    sizes[dim] = shape[dim]
    last = len(shape) > 2 and alone.strides == channels_last(shape)
    strides = channels_last(tuple(sizes)) if last else contiguous(tuple(sizes))
    return part(Location(alone.buffer, concat.type, strides), starts, concat.type)


def _framed(
    concat: Node, graph: Graph, own: Mapping[str, Location], shared: Mapping[str, Location]
) -> Location:
    """The place of a concat: its own, or around its first crop whose source can be written there
    in less memory than a copy moves, unless others need it without gaps."""
    assert isinstance(concat.op, Concat)
    alone, dim = shared[concat.name], concat.op.dim
    viewed = any(at.buffer.name == concat.name for name, at in own.items() if name != concat.name)
    if alone != own[concat.name] or concat.name in graph.outputs or viewed:
        return alone
    for name in concat.inputs:
        source, starts = _source(name, graph, own)
        if source != name and (frame := _frame(name, concat, graph, own)):
            place = dict(parts(concat, graph, frame))[name]
            around = part(place, tuple(-start for start in starts), graph.type_of(source))
            # Memory for the frame, against that of both and what a copy would read and write.
            source_size = graph.type_of(source).size
            framed = source_size // graph.type_of(name).shape[dim] * concat.type.shape[dim]
            copied = source_size + alone.type.size + 2 * graph.type_of(name).size
            if framed > min(copied, MAX_OFFSET):
                continue
            if _refusal(source, around, concat, graph, own, shared) is None:
                return frame
    return alone


def _refusal(
    name: str,
    place: Location,
    concat: Node,
    graph: Graph,
    own: Mapping[str, Location],
    shared: Mapping[str, Location],
) -> str | None:
    """Why a value cannot be written at its place in a concat, or None."""
    if graph.is_param(name):
        return "it is a param"
    if graph.producer(name) is None:
        return "it is an input of the graph"
    if name in graph.outputs:
        return "the caller reads it as well"
    alone = own[name]
    if alone.buffer.name != name:
        return f"it is another name for the memory of '{alone.buffer.name}'"
    for node in graph.nodes:
        if own[node.name].buffer.name == name != node.name:
            if node.op.kind is OpKind.VIEW:
                return f"'{node.name}' is another name for its memory, which then has no gaps"
            if node.name in graph.outputs:
                return f"the caller reads '{node.name}', a part of it"
        if reads_rows(node) and own[node.inputs[0]].buffer.name == name:
            return f"'{node.name}' reads it as rows, which then have no gaps"
    if shared[name] != alone:
        return f"it is a part of '{shared[name].buffer.name}' already"
    if len(alone.strides) > 4:
        return f"kernels run over {len(alone.strides)} dimensions where they have no gaps alone"
    found = _readers(name, concat, graph, own)
    readers = f"{' and '.join(found)} read{'s' * (len(found) == 1)}"
    if found and _order(alone) != _order(place):
        return f"{readers} it in another order than '{place.buffer.name}' lies in"
    if found and _unit(alone) >= VECTOR_BYTES > _unit(place):
        return (
            f"{readers} it {VECTOR_BYTES} bytes at a time, and in '{place.buffer.name}' its "
            f"rows start at multiples of {_unit(place)} only"
        )
    return None


def _readers(name: str, concat: Node, graph: Graph, own: Mapping[str, Location]) -> tuple[str, ...]:
    """The nodes besides a concat that read a value's memory, also through strided views of it."""
    found: list[str] = []
    for user in graph.users(name):
        if user is concat:
            continue
        viewed = own[user.name].buffer.name == own[name].buffer.name
        found += _readers(user.name, concat, graph, own) if viewed else (user.name,)
    return tuple(dict.fromkeys(found))


def _order(location: Location) -> list[int]:
    """Dimensions from the slowest to the fastest; those of size 1 are none."""
    shape, strides = location.type.shape, location.strides
    return sorted((d for d in range(len(shape)) if shape[d] > 1), key=lambda d: -strides[d])


def _unit(location: Location) -> int:
    """The largest power of two, in bytes, that divides the place of every row of a value."""
    sizes = zip(location.type.shape, location.strides, strict=True)
    steps = [stride for size, stride in sizes if size > 1]
    bits = location.buffer.offset if 1 in steps or not steps else 1
    for step in steps:
        bits |= step if step > 1 else 0
    return (bits & -bits or VECTOR_BYTES) * location.type.dtype.itemsize
