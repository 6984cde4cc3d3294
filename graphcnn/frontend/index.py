"""What an index in brackets means: slices, and dimensions that go or come."""

from __future__ import annotations

from types import EllipsisType
from typing import Any

from graphcnn.errors import InvalidAttribute, RankError, shown
from graphcnn.frontend.short_forms import integer
from graphcnn.ir.op import Op
from graphcnn.ops import Slice, Squeeze, Unsqueeze
from graphcnn.ops.strided import END


def indexed(shape: tuple[int, ...], key: Any) -> list[Op]:
    """The ops that take a value of a shape to value[key], one after the other.

    Args:
        shape: Of the value.
        key: An int, a slice with a step of at least 1, an ellipsis or None, or a tuple of these.

    Raises:
        RankError: for more indices than dimensions, and an int beyond its dimension.
        InvalidAttribute: for other indices.
    """
    keys = list(key) if isinstance(key, tuple) else [key]
    ellipses = [i for i, one in enumerate(keys) if isinstance(one, EllipsisType)]
    used = sum(one is not None for one in keys) - len(ellipses)
    if used > len(shape) or len(ellipses) > 1:
        raise RankError(
            f"too many indices for tensor of dimension {len(shape)}"
            if used > len(shape)
            else "an index can only have a single ellipsis ('...')",
            got=f"x[{', '.join(map(_text, keys))}] of shape {shape}",
            wanted=f"at most {len(shape)} indices, and one ellipsis",
            remedy="None and an ellipsis take no dimension; every other index does",
        )
    at = ellipses[0] if ellipses else len(keys)
    keys[at : at + 1] = [slice(None)] * (len(shape) - used)
    slices: list[Op] = []
    gone, come = [], []
    dim = left = 0
    for one in keys:
        if one is None:
            come.append(left)
            left += 1
            continue
        op = _slice(one, dim, shape[dim])
        if op != Slice(dim):
            slices.append(op)
        if isinstance(one, slice):
            left += 1
        else:
            gone.append(dim)
        dim += 1
    return [*slices, *([Squeeze(tuple(gone))] if gone else []), *map(Unsqueeze, come)]


def _slice(key: Any, dim: int, size: int) -> Slice:
    """What a dimension's own index keeps."""
    if isinstance(key, slice):
        start, stop, step = (integer(end) for end in (key.start, key.stop, key.step))
        return Slice(
            dim,
            0 if start is None else _bounded(start),
            END if stop is None else _bounded(stop),
            1 if step is None else step,
        )
    at = integer(key)
    if type(at) is not int:
        raise InvalidAttribute(
            "only integers, slices (`:`), ellipsis (`...`) and None are valid indices",
            got=_text(key),
            wanted="x[0], x[:, 1:-1], x[..., ::2], x[:, None]",
            remedy="elements at places that are computed need another operator",
        )
    if not -size <= at < size:
        raise RankError(
            f"index {shown(at)} is out of bounds for dimension {dim} with size {size}",
            got=shown(at),
            wanted=f"{-size} to {size - 1}",
            remedy="a slice such as x[:1] stops at the end by itself",
        )
    return Slice(dim, at, END if at == -1 else at + 1)


def _bounded(end: Any) -> Any:
    """An end beyond what any size reaches, as the furthest one."""
    return max(-END, min(end, END)) if type(end) is int else end


def _text(key: Any) -> str:
    if isinstance(key, EllipsisType):
        return "..."
    if isinstance(key, slice):
        ends = [key.start, key.stop, *([] if key.step is None else [key.step])]
        return ":".join("" if end is None else shown(end) for end in ends)
    return shown(key)
