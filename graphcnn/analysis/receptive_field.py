"""Receptive fields: which part of an input an element of a value can depend on.

Source: A. Araujo, W. Norris, J. Sim, Computing Receptive Fields of Convolutional Neural Networks,
Distill, 2019: size, effective stride and effective padding, composed from op to op; where branches
meet, the smallest field that holds them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphcnn import ops
from graphcnn.ir import Graph, Node, OpKind, inline


@dataclass(frozen=True, slots=True)
class Field:
    """What the elements of a value see along one spatial dimension of an input.

    Element p sees positions start + p*jump to start + p*jump + size - 1, the gaps of dilated
    windows included. Positions outside of the input are padding.

    Attributes:
        size: How many positions, those of padding included.
        jump: From the field of an element to that of the next: the effective stride.
        start: The first position that element 0 sees; negative where padding stands in front.
    """

    size: int = 1
    jump: int = 1
    start: int = 0

    def at(self, index: int) -> range:
        """The positions that an element sees."""
        first = self.start + index * self.jump
        return range(first, first + self.size)

    def composed(self, inner: Field) -> Field:
        """The field of a value that sees `inner` of the value that sees this one."""
        return Field(
            self.size + (inner.size - 1) * self.jump,
            self.jump * inner.jump,
            self.start + inner.start * self.jump,
        )


# One per spatial dimension of the input; None for all of that dimension.
ReceptiveField = tuple[Field | None, ...]


def receptive_fields(graph: Graph) -> dict[str, dict[str, ReceptiveField]]:
    """The receptive field of every value over every input that it depends on.

    The dimensions from the third on are spatial: [N, C, ...]. A field is exact for convolutions,
    pools, padding, and functions of each element, and never too small: a dimension is seen whole
    (None) through what moves or reduces it, such as flatten and global pooling, through ops that
    nothing is known of, and where branches of different jumps meet. An input without spatial
    dimensions has the field ().

    Args:
        graph: A valid graph; fused groups are taken apart.

    Returns:
        Name of a value to name of an input to field, in graph order; inputs see themselves, params,
        random draws and what is computed from them alone see nothing.
    """
    flat = inline(graph)
    found: dict[str, dict[str, ReceptiveField]] = {
        source.name: {source.name: (Field(),) * len(source.type.shape[2:])}
        for source in flat.inputs
    }
    for node in flat.nodes:
        seen: dict[str, ReceptiveField] = {}
        read = () if isinstance(node.op, ops.Random) else node.inputs
        for position, operand in enumerate(read):
            inner = _within(node, position, flat)
            for source, outer in found.get(operand, {}).items():
                field = _composed(outer, inner)
                seen[source] = _union(seen.get(source, field), field)
        found[node.name] = seen
    return found


def _within(node: Node, position: int, graph: Graph) -> ReceptiveField:
    """What a node's elements see of one of its operands; () where no dimension is told apart."""
    operand, shape = graph.type_of(node.inputs[position]).shape, node.type.shape
    op = node.op
    if len(operand) != len(shape):
        return ()
    # Of a dimension of size 1 every element sees the same.
    sizes = zip(operand[2:], shape[2:], strict=True)
    fields: list[Field | None] = [Field(jump=0 if n == 1 < m else 1) for n, m in sizes]
    match op:
        case ops.Conv() if position == 0:
            return _of_window(op.window(graph.type_of(node.inputs[1]).shape))
        case ops.Pooling():
            return _of_window(op.window)
        case ops.Pad(mode="constant"):
            return tuple(Field(start=-before) for before, _ in op.sides[2:])
        case ops.Slice():
            if op.dim >= 2:
                fields[op.dim - 2] = Field(1, op.step, range(operand[op.dim])[op.start :].start)
            return tuple(fields)
        case ops.Pad():
            return tuple(None if any(pair) else Field() for pair in op.sides[2:])
        case ops.Roll():
            return tuple(None if d in op.dims else Field() for d in range(2, len(shape)))
        case ops.Linear() if position == 0:
            mixed = len(shape) - 1
        case ops.Normalized() | ops.Concat():
            mixed = op.dim
        case _ if op.kind in (OpKind.ELEMENTWISE, OpKind.BROADCAST):
            return tuple(fields)
        case _ if op.kind is OpKind.VIEW and operand == shape:
            return tuple(fields)
        case _:
            return ()
    if mixed >= 2:
        fields[mixed - 2] = None
    return tuple(fields)


def _of_window(window: ops.Window) -> ReceptiveField:
    axes = zip(window.spans, window.stride, window.begins, strict=True)
    return tuple(Field(span, stride, -before) for span, stride, before in axes)


def _composed(outer: ReceptiveField, inner: ReceptiveField) -> ReceptiveField:
    if len(outer) != len(inner):
        return (None,) * len(outer)
    pairs = zip(outer, inner, strict=True)
    return tuple(None if a is None or b is None else a.composed(b) for a, b in pairs)


def _union(first: ReceptiveField, second: ReceptiveField) -> ReceptiveField:
    """The smallest field that holds both, per dimension; none does for two jumps."""
    return tuple(
        None if a is None or b is None or a.jump != b.jump else _hull(a, b)
        for a, b in zip(first, second, strict=True)
    )


def _hull(a: Field, b: Field) -> Field:
    start = min(a.start, b.start)
    return Field(max(a.start + a.size, b.start + b.size) - start, a.jump, start)
