"""Slicing, splitting, stacking and reordering of symbolic tensors, under PyTorch's names.

Dimensions may be negative. `x[...]` is in `index`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphcnn import ops
from graphcnn.arguments import sequence
from graphcnn.errors import InvalidAttribute, RankError, ShapeError, shown
from graphcnn.frontend.expr import Call, Tensor, apply, on_the_users_line, symbolic
from graphcnn.frontend.functional import unary
from graphcnn.frontend.short_forms import integer, integers, per_axis
from graphcnn.ops.strided import END

pixel_shuffle = unary(ops.PixelShuffle)
pixel_unshuffle = unary(ops.PixelUnshuffle)


@on_the_users_line
def slice(
    input: Tensor,
    dim: int,
    start: int = 0,
    stop: int = END,
    step: int = 1,
    *,
    name: str | None = None,
) -> Tensor:
    """Every `step`-th element along `dim` from `start` up to and without `stop`; as brackets do.

    Raises:
        RankError, ShapeError, InvalidAttribute: with the user's line.
    """
    ends = (integer(end) for end in (start, stop, step))
    return apply(ops.Slice(_axis(input, dim), *ends), name, input)


@on_the_users_line
def narrow(input: Tensor, dim: int, start: int, length: int, *, name: str | None = None) -> Tensor:
    """`length` elements along `dim` from `start` on.

    Raises:
        RankError, ShapeError, InvalidAttribute: with the user's line.
    """
    axis, start, length = _axis(input, dim), integer(start), _count(length, "length")
    size = input.shape[axis]
    if type(start) is int and -size <= start < 0:
        start += size
    if type(start) is not int or not 0 <= start <= size - length:
        raise ShapeError(
            f"start ({shown(start)}) + length ({shown(length)}) exceeds dimension size ({size})",
            got=f"{input.type}, dim={axis}",
            wanted=f"start from {-size} on, and start + length of at most {size}",
            remedy="a slice in brackets stops at the end by itself",
        )
    return apply(ops.Slice(axis, start, start + length), name, input)


@on_the_users_line
def split(
    input: Tensor,
    split_size_or_sections: int | Sequence[int],
    dim: int = 0,
    *,
    name: str | None = None,
) -> tuple[Tensor, ...]:
    """Parts of so many elements along `dim`, the last one perhaps of fewer, or of given sizes.

    With a `name`, the parts are called name.0, name.1, and so on.

    Raises:
        RankError, ShapeError, InvalidAttribute: with the user's line.
    """
    axis, given = _axis(input, dim), integers(split_size_or_sections)
    size = input.shape[axis]
    if isinstance(given, tuple):
        sections = [_count(one, "split_size_or_sections") for one in given]
        if sum(sections) != size:
            raise ShapeError(
                f"split expects split_sizes to sum exactly to {size} (input tensor's size at "
                f"dimension {axis})",
                got=f"{shown(given)}, which sum to {shown(sum(sections))}",
                wanted=str(size),
                remedy="give one size for each part, all elements in some part",
            )
    else:
        part = _count(given, "split_size_or_sections")
        sections = [min(part, size - start) for start in range(0, size, part)]
    return _parts(input, axis, sections, name)


@on_the_users_line
def chunk(
    input: Tensor, chunks: int, dim: int = 0, *, name: str | None = None
) -> tuple[Tensor, ...]:
    """At most `chunks` parts along `dim`, alike but for the last one, which may be smaller.

    With a `name`, the parts are called name.0, name.1, and so on.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    axis = _axis(input, dim)
    size = input.shape[axis]
    part = -(-size // _count(chunks, "chunks"))
    return _parts(input, axis, [min(part, size - at) for at in range(0, size, part)], name)


def _parts(input: Tensor, axis: int, sizes: Sequence[int], name: str | None) -> tuple[Tensor, ...]:
    """Neighbouring slices of these sizes, which fill the dimension."""
    parts, start = [], 0
    for number, size in enumerate(sizes):
        called = None if name is None else f"{name}.{number}"
        parts.append(apply(ops.Slice(axis, start, start + size), called, input))
        start += size
    return tuple(parts)


@on_the_users_line
def permute(
    input: Tensor, dims: Sequence[int] | int, *others: int, name: str | None = None
) -> Tensor:
    """Dimensions in another order, a tuple or arguments, as in `x.permute(0, 2, 3, 1)`.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    order = per_axis((dims, *others) if others else dims, 1)
    if isinstance(order, tuple):
        order = tuple(_axis(input, dim) for dim in order)
    return apply(ops.Permute(order), name, input)


@on_the_users_line
def transpose(input: Tensor, dim0: int, dim1: int, *, name: str | None = None) -> Tensor:
    """Two dimensions exchanged.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    order = list(range(len(symbolic(input).shape)))
    first, second = _axis(input, dim0), _axis(input, dim1)
    order[first], order[second] = second, first
    return apply(ops.Permute(tuple(order)), name, input)


@on_the_users_line
def squeeze(
    input: Tensor, dim: int | Sequence[int] | None = None, *, name: str | None = None
) -> Tensor:
    """Without dimensions of size 1: some of these, or all, the batch's included.

    As in PyTorch, a dimension of another size stays.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    shape = symbolic(input).shape
    if dim is None:
        dims = list(range(len(shape)))
    else:
        dims = [_axis(input, one) for one in (dim if isinstance(dim, list | tuple) else (dim,))]
    gone = tuple(sorted({axis for axis in dims if shape[axis] == 1}))
    # Nothing to leave out: the value under another name.
    op = ops.Squeeze(gone) if gone else ops.Permute(tuple(range(len(shape))))
    return apply(op, name, input)


@on_the_users_line
def unsqueeze(input: Tensor, dim: int, *, name: str | None = None) -> Tensor:
    """With one more dimension, of size 1, that is number `dim` of the result's.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return apply(ops.Unsqueeze(_axis(input, dim, more=1)), name, input)


@on_the_users_line
def expand(
    input: Tensor, sizes: Sequence[int] | int, *others: int, name: str | None = None
) -> Tensor:
    """Dimensions of size 1, and new ones in front, repeated to sizes, of which -1 keeps one.

    The sizes are a tuple, or arguments, as in `x.expand(-1, 3, -1, -1)`.

    Raises:
        RankError, ShapeError, InvalidAttribute: with the user's line.
    """
    return apply(ops.Expand(per_axis((sizes, *others) if others else sizes, 1)), name, input)


@on_the_users_line
def stack(tensors: Sequence[Tensor], dim: int = 0, *, name: str | None = None) -> Tensor:
    """Tensors of one shape side by side along a new dimension `dim`.

    Raises:
        RankError, ShapeError, InvalidGraph, DTypeMismatch: with the user's line.
    """
    given = sequence(tensors, "tensors", Tensor, "what the functions of graphcnn return")
    for position, tensor in enumerate(given):
        if tensor.shape != given[0].shape:
            raise ShapeError(
                "stack expects each tensor to be equal size",
                got=f"{given[0].shape} at entry 0 and {tensor.shape} at entry {position}",
                wanted="one shape",
                remedy="concat puts tensors of different sizes side by side",
            )
    axis = _axis(given[0], dim, more=1) if given else 0
    planes = [apply(ops.Unsqueeze(axis), None, tensor) for tensor in given]
    return Call(ops.Concat(axis), planes, [f"input{i}" for i in range(len(planes))], name)


@on_the_users_line
def roll(
    input: Tensor,
    shifts: int | Sequence[int],
    dims: int | Sequence[int] | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """Elements moved along dimensions; what leaves at one end enters at the other.

    Without `dims`, all elements in row-major order.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    moved = per_axis(shifts, 1)
    if dims is None:
        flat = apply(ops.Flatten(0), None, input)
        shape = (-1, *input.shape[1:])
        return apply(ops.Reshape(shape), name, apply(ops.Roll(moved, (0,)), None, flat))
    along = per_axis(dims, 1)
    if isinstance(along, tuple):
        along = tuple(_axis(input, dim) for dim in along)
    if isinstance(along, tuple) and isinstance(moved, tuple) and len(along) != len(moved):
        raise InvalidAttribute(
            "shifts and dimensions must align",
            got=f"shifts: {len(moved)}, dims: {len(along)}",
            wanted="one shift per dimension",
            remedy="for example roll(x, (1, 2), (2, 3))",
        )
    return apply(ops.Roll(moved, along), name, input)


def _axis(input: Tensor, dim: Any, *, more: int = 0) -> int:
    """A dimension counted from the front, of a value that has `more` of them than the input."""
    rank, axis = len(symbolic(input).shape) + more, integer(dim)
    if type(axis) is not int:
        raise InvalidAttribute(
            "a dimension is an integer",
            got=shown(dim),
            wanted=f"an integer from {-rank} to {rank - 1}",
            remedy="for example dim=1",
        )
    if not -rank <= axis < rank:
        span = f"[{-rank}, {rank - 1}]" if rank else "[], as a scalar has none"
        raise RankError(
            f"dimension out of range (expected to be in range of {span}, but got {shown(axis)})",
            got=str(input.type),
            wanted=f"a dimension in {span}",
            remedy="count dimensions from 0, or from -1 backwards",
        )
    return axis % rank


def _count(value: Any, argument: str) -> int:
    """How many elements, or parts; at least one."""
    number = integer(value)
    if type(number) is not int or number < 1:
        raise InvalidAttribute(
            f"{argument} is a number of at least 1",
            got=f"{argument}={shown(value)}",
            wanted="an integer of at least 1",
            remedy=f"for example {argument}=2",
        )
    return number
