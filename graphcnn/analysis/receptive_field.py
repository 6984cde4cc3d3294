"""Receptive fields: which part of an input an element of a value can depend on.

Source: A. Araujo, W. Norris, J. Sim, Computing Receptive Fields of Convolutional Neural Networks,
Distill, 2019: size, effective stride and effective padding, composed from op to op; where branches
meet, the smallest field that holds them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Literal

from graphcnn import ops
from graphcnn.ir import Graph, Node, Op, OpKind, inline

# Denominators of the steps of an interpolation that are told from rounded numbers.
_FINEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Field:
    """What the elements of a value see along one spatial dimension of an input.

    Element p sees the positions from start + p*jump to start + p*jump + size - 1, the gaps of
    dilated windows included. Positions outside of the input are padding. Of larger maps, such as
    those of a transposed convolution, these bounds are fractions; positions are the whole numbers
    between them.

    Attributes:
        size: How many positions, those of padding included; rounded down, at most so many.
        jump: From the field of an element to that of the next: the effective stride.
        start: The first position that element 0 sees; negative where padding stands in front.
    """

    size: int | Fraction = 1
    jump: int | Fraction = 1
    start: int | Fraction = 0

    def at(self, index: int) -> range:
        """The positions that an element sees."""
        first = self.start + index * self.jump
        return range(ceil(first), floor(first + self.size - 1) + 1)

    def composed(self, inner: Field) -> Field:
        """The field of a value that sees `inner` of the value that sees this one."""
        return Field(
            self.size + (inner.size - 1) * self.jump,
            self.jump * inner.jump,
            self.start + inner.start * self.jump,
        )


Alike = Literal["unknown"] | None
# What is seen of a dimension; None for all of it.
Axis = Field | Alike
# One per spatial dimension of the input.
ReceptiveField = tuple[Axis, ...]


def receptive_fields(graph: Graph) -> dict[str, dict[str, ReceptiveField]]:
    """The receptive field of every value over every input that it depends on.

    The dimensions from the third on are spatial: [N, C, ...]. A field is exact for convolutions,
    pools, padding, and functions of each element, and never too small. A dimension is seen whole
    (None) through what reduces or flattens it. It is "unknown" through ops that put elements
    elsewhere in no even steps, and where branches of different jumps meet. An input without spatial
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


def _within(node: Node, position: int, graph: Graph) -> ReceptiveField | Alike:
    """What a node's elements see of one of its operands; the same for all its dimensions where no
    dimension is told apart."""
    operand, shape = graph.type_of(node.inputs[position]).shape, node.type.shape
    op, rank = node.op, len(operand)
    if rank != len(shape):
        return _of_another_rank(op, rank)
    # Of a dimension of size 1 every element sees the same.
    sizes = [*zip(operand[2:], shape[2:], strict=True)]
    fields: list[Axis] = [Field(jump=0 if n == 1 < m else 1) for n, m in sizes]
    whole: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()
    match op:
        case ops.Conv() if position == 0:
            return _of_window(op.window(graph.type_of(node.inputs[1]).shape))
        case ops.ConvTranspose() if position == 0:
            return _of_transpose(op, graph.type_of(node.inputs[1]).shape[2:])
        case ops.Pooling():
            return _of_window(op.window)
        case ops.AdaptivePool():
            return tuple(_of_windows(n, m) for n, m in sizes)
        case ops.Interpolate():
            return tuple(_of_places(op, axis, n, m) for axis, (n, m) in enumerate(sizes))
        case ops.PixelShuffle(upscale_factor=r):
            return (Field(2 - Fraction(1, r), Fraction(1, r), Fraction(1, r) - 1),) * 2
        case ops.PixelUnshuffle(downscale_factor=r):
            return (Field(r, r, 0),) * 2
        case ops.Pad(mode="constant"):
            return tuple(Field(start=-before) for before, _ in op.sides[2:])
        case ops.Slice():
            if op.dim >= 2:
                fields[op.dim - 2] = Field(1, op.step, range(operand[op.dim])[op.start :].start)
        case ops.Pad():
            moved = tuple(dim for dim, pair in enumerate(op.sides) if any(pair))
        case ops.Roll():
            moved = op.dims
        case ops.Permute():
            moved = tuple(dim for dim, source in enumerate(op.dims) if dim != source)
        case ops.Concat():
            moved = (op.dim,)
        case ops.Linear() if position == 0:
            whole = (rank - 1,)
        case ops.Normalized():
            whole = (op.dim,)
        case ops.Reduction():
            whole = op.dim
        case ops.LayerNorm() if position == 0:
            whole = tuple(range(rank - len(op.normalized_shape), rank))
        case ops.Standardize() | ops.GlobalAvgPool2d():
            return None
        case ops.Expand() | ops.LocalResponseNorm():
            pass
        case _ if op.kind in (OpKind.ELEMENTWISE, OpKind.BROADCAST):
            pass
        case _ if op.kind is OpKind.VIEW:
            return tuple(fields) if operand == shape else None
        case _:
            return None if isinstance(op, ops.Anchor) else "unknown"
    for dim in range(2, rank):
        if dim in whole:
            fields[dim - 2] = None
        if dim in moved:
            fields[dim - 2] = "unknown"
    return tuple(fields)


def _of_another_rank(op: Op, rank: int) -> Alike:
    """Likewise of an operand of `rank` dimensions, where the value has more or fewer."""
    reduced = isinstance(op, ops.Reduction) and {*range(2, rank)} <= {*op.dim}
    return None if reduced or op.kind in (OpKind.VIEW, OpKind.ANCHOR) else "unknown"


def _of_window(window: ops.Window) -> ReceptiveField:
    axes = zip(window.spans, window.stride, window.begins, strict=True)
    return tuple(Field(span, stride, -before) for span, stride, before in axes)


def _of_transpose(op: ops.ConvTranspose, kernel: tuple[int, ...]) -> ReceptiveField:
    """Input i reaches the outputs from i*stride - padding on, as many as the filter spans."""
    axes = zip(kernel, op.dilation, op.stride, op.padding, strict=False)
    reaches = [(dilation * (taps - 1), stride, before) for taps, dilation, stride, before in axes]
    return tuple(
        Field(1 + Fraction(reach, stride), Fraction(1, stride), Fraction(before - reach, stride))
        for reach, stride, before in reaches
    )


def _of_windows(size: int, count: int) -> Axis:
    """Of `count` windows that cover a dimension; known where they are alike."""
    if count == 1:
        return None
    return "unknown" if size % count else Field(size // count, size // count, 0)


def _of_places(op: ops.Interpolate, axis: int, size: int, outputs: int) -> Axis:
    """Of the elements around each output's place (see `Interpolate`), those of weight 0 aside."""
    offset = Fraction(0) if op.mode == "nearest" or op.align_corners else Fraction(1, 2)
    if op.linear and size == outputs:
        return Field()
    if op.align_corners:
        step = Fraction(size - 1, outputs - 1) if outputs > 1 else Fraction(0)
    elif op.scale_factor and not op.recompute_scale_factor:
        step = 1 / Fraction(op.scale_factor[axis])
    else:
        step = Fraction(size, outputs)
    first = offset * (step - op.linear)
    finest = max(step.denominator, first.denominator)
    if finest > _FINEST:
        return "unknown"
    # Places are rounded down; those that are no binary fraction may have been rounded up before.
    down = 1 - Fraction(1, finest) if finest & (finest - 1) == 0 else Fraction(1)
    return Field(1 + down + op.linear, step, first - down)


def _composed(outer: ReceptiveField, inner: ReceptiveField | Alike) -> ReceptiveField:
    if not isinstance(inner, tuple):
        inner = (inner,) * len(outer)
    if len(outer) != len(inner):
        return (None,) * len(outer)
    return tuple(map(_through, outer, inner))


def _through(outer: Axis, inner: Axis) -> Axis:
    """What is seen of an input's dimension by what sees `inner` of a value that sees `outer`."""
    if outer is None or inner is None:
        return None
    if isinstance(outer, str) or isinstance(inner, str):
        return "unknown"
    return outer.composed(inner)


def _union(first: ReceptiveField, second: ReceptiveField) -> ReceptiveField:
    """The smallest field that holds both, per dimension; none is known for two jumps."""
    return tuple(map(_both, first, second))


def _both(a: Axis, b: Axis) -> Axis:
    if a is None or b is None:
        return None
    if isinstance(a, str) or isinstance(b, str) or a.jump != b.jump:
        return "unknown"
    start = min(a.start, b.start)
    return Field(max(a.start + a.size, b.start + b.size) - start, a.jump, start)
