"""Concats without a kernel: what they put side by side is written there in the first place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphcnn.ir import Graph, Node, OpKind, Refusal, TensorType
from graphcnn.ops import Concat
from graphcnn.plan import Buffer, Location
from graphcnn.targets.layout import within

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
    that several read goes to the last, which is the largest where features grow.

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
            for name, place in parts(node, graph, shared[node.name]):
                if because := _refusal(name, place, node, graph, own, shared):
                    copied = f"'{name}' is copied: {because}"
                    refusals.append(Refusal(RULE, node.name, copied, (name,)))
                else:
                    shared[name] = place
    for node in graph.nodes:  # views go where their operands have gone
        if own[node.name] == within(node, own):
            shared[node.name] = within(node, shared) or own[node.name]
    return shared, tuple(reversed(refusals))


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
    if shared[name] != alone:
        return f"it is a part of '{shared[name].buffer.name}' already"
    if len(alone.strides) > 4:
        return f"kernels run over {len(alone.strides)} dimensions where they have no gaps alone"
    readers = ", ".join(user.name for user in graph.users(name) if user is not concat)
    if readers and _order(alone) != _order(place):
        return f"{readers} read it in another order than '{place.buffer.name}' lies in"
    if readers and _unit(alone) >= VECTOR_BYTES > _unit(place):
        return (
            f"{readers} read it {VECTOR_BYTES} bytes at a time, and in '{place.buffer.name}' its "
            f"rows start at multiples of {_unit(place)} only"
        )
    return None


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
