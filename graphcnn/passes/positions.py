"""Parts of values: the positions that are computed, and what these read of an operand."""

from __future__ import annotations

from dataclasses import replace
from math import gcd
from typing import NamedTuple

from graphcnn.errors import GraphCNNError
from graphcnn.ir import Graph, Node, OpKind, TensorType
from graphcnn.ir.op import Op
from graphcnn.ops import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    LocalResponseNorm,
    MaxPool,
    Normalized,
    Pad,
    Pooling,
    Slice,
    Window,
)
from graphcnn.ops.strided import END

# The positions of a value that are computed or read, at even distances along each of its spatial
# dimensions.
Positions = tuple[range, ...]


class Cut(NamedTuple):
    """What part of an operand is read along a dimension, by taps at these distances from it and
    with this padding."""

    read: range
    stride: int
    spacing: int
    before: int
    after: int


class Taps(NamedTuple):
    """Along a dimension, element p of a node reads its operand at p * stride - before + r * spacing
    for every r below `number`; outside of the operand is padding."""

    number: int = 1
    spacing: int = 1
    stride: int = 1
    before: int = 0

    def cut(self, wanted: range, size: int) -> Cut | None:
        """What these elements read of so many, and what lies at the same distances between; None
        where it is padding alone."""
        leap = self.stride * wanted.step if len(wanted) > 1 else 0
        spacing = self.spacing if self.number > 1 else 0
        step = gcd(leap, spacing) or 1
        first = wanted.start * self.stride - self.before
        last = first + (len(wanted) - 1) * leap + (self.number - 1) * spacing
        read = range(first, last + 1, step)
        before = max(0, -(first // step))
        inside = read[before : len(range(first, size, step))]
        after = len(read) - before - len(inside)
        # Where nothing is one stride, or one tap, further, any number would do.
        numbers = leap // step or 1, spacing // step or 1, before, after
        return Cut(inside, *numbers) if inside else None


class Part(NamedTuple):
    """A node that computes a part of its value: its op, and what it reads of its operand."""

    op: Op
    read: Positions

    def read_of(self, type: TensorType) -> Positions:
        """What it reads of an operand, which may have one element where others have more."""
        axes = zip(type.shape[2:], self.read, strict=True)
        return tuple(read if size > 1 else range(1) for size, read in axes)


def part_of(node: Node, wanted: Positions, graph: Graph) -> Part | None:
    """The node that computes these positions only; None where it computes all or nothing.

    A slice of maps needs no op: what it reads is its value.
    """
    operands, whole, slices = moving(node, graph), whole_of(node.type), slices_maps(node)
    if not operands or (wanted == whole and not slices):
        return None
    cuts: list[Cut] = []
    for axis, tap in enumerate(_taps(node, graph)):
        size = max(graph.type_of(name).shape[2 + axis] for name in operands)
        if wanted[axis] == whole[axis] and not slices:
            cut: Cut | None = _no_cut(node.op, axis, tap or Taps(), size)
        else:
            cut = tap and tap.cut(wanted[axis], size)
        if cut is None:
            return None
        cuts.append(cut)
    read = tuple(cut.read for cut in cuts)
    if slices:
        return Part(node.op, read)
    try:
        part = Part(_with_cuts(node.op, cuts), read)
        part.op.infer(*(_read_type(name, node, part, graph) for name in node.inputs))
    except GraphCNNError:  # such as of a pool that would pad more than its windows span
        return None
    return part


def _no_cut(op: Op, axis: int, taps: Taps, size: int) -> Cut:
    after = op.padding[axis + op.rank] if isinstance(op, Conv | Pooling | Pad) else 0
    return Cut(range(size), taps.stride, taps.spacing, taps.before, after)


def _with_cuts(op: Op, cuts: list[Cut]) -> Op:
    stride, dilation = tuple(cut.stride for cut in cuts), tuple(cut.spacing for cut in cuts)
    padding = (*(cut.before for cut in cuts), *(cut.after for cut in cuts))
    match op:
        case Conv() | MaxPool():
            return replace(op, stride=stride, padding=padding, dilation=dilation)
        case AvgPool():
            return replace(op, stride=stride, padding=padding)
        case Pad():
            return replace(op, padding=padding)
    return op


def _read_type(name: str, node: Node, part: Part, graph: Graph) -> TensorType:
    type = graph.type_of(name)
    if name not in moving(node, graph):
        return type
    return type.with_shape((*type.shape[:2], *map(len, part.read_of(type))))


def _taps(node: Node, graph: Graph) -> tuple[Taps | None, ...]:
    """By spatial dimension; None where a node computes all of its value or nothing."""
    op, shape = node.op, node.type.shape
    found: list[Taps | None] = [Taps()] * len(shape[2:])
    match op:
        case Conv():
            return _of_window(op.window(graph.type_of(node.inputs[1]).shape))
        case MaxPool(ceil_mode=False) | AvgPool(ceil_mode=False):
            return _of_window(op.window)
        case Pad(mode="constant"):
            return tuple(Taps(before=before) for before, _ in op.sides[2:])
        case Slice(dim) if dim >= 2:
            kept = range(graph.type_of(node.inputs[0]).shape[dim])[op.start : op.stop : op.step]
            found[dim - 2] = Taps(stride=op.step, before=-kept.start)
        case Concat(dim) | Normalized(dim) if dim >= 2:
            found[dim - 2] = None
        case Slice() | Concat() | Normalized() | LocalResponseNorm() | BatchNorm() | Dropout():
            pass
        case _ if op.kind <= OpKind.BROADCAST:
            others = set(node.inputs) - set(moving(node, graph))
            for fixed in (graph.type_of(name).shape for name in others):
                for axis, size in enumerate(fixed, len(shape) - len(fixed)):
                    if axis >= 2 and size > 1:
                        found[axis - 2] = None
        case _:
            return (None,) * len(found)
    return tuple(found)


def _of_window(window: Window) -> tuple[Taps, ...]:
    axes = zip(window.kernel, window.dilation, window.stride, window.begins, strict=True)
    return tuple(Taps(*axis) for axis in axes)


def moving(node: Node, graph: Graph) -> tuple[str, ...]:
    """The operands that have the dimensions of the value; the others are params, or broadcast."""
    all_alike = isinstance(node.op, Concat) or node.op.kind <= OpKind.BROADCAST
    read = node.inputs if all_alike else node.inputs[:1]
    rank = len(node.type.shape)
    return tuple(n for n in read if not graph.is_param(n) and len(graph.type_of(n).shape) == rank)


def whole_of(type: TensorType) -> Positions:
    """All positions of a value."""
    return tuple(range(size) for size in type.shape[2:])


def slices_maps(node: Node) -> bool:
    """Whether a node is a slice along a spatial dimension."""
    return isinstance(node.op, Slice) and node.op.dim >= 2


def hull(a: range, b: range) -> range:
    """The fewest positions at even distances that hold those of both."""
    steps = [r.step for r in (a, b) if len(r) > 1]
    step = gcd(*steps, a.start - b.start) or 1
    return range(min(a.start, b.start), max(a[-1], b[-1]) + 1, step)


def slice_of(dim: int, wanted: range, held: range) -> Slice:
    """From positions that are held to those that are wanted."""
    start = held.index(wanted.start)
    step = wanted.step // held.step if len(wanted) > 1 else 1
    stop = start + (len(wanted) - 1) * step + 1
    return Slice(dim, start, END if stop + step > len(held) else stop, step)
