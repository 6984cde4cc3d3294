"""From ATen's slices, indices and look-ups to ours.

Rows as in `pointwise`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from graphcnn.frontend import functional, indexing, movement
from graphcnn.frontend.expr import Tensor
from graphcnn.ops.strided import END
from graphcnn.torch_import.movement import Size, expanded
from graphcnn.torch_import.pointwise import Conversion
from graphcnn.torch_import.refusal import Refused


def sliced(x: Tensor, dim: int, start: int | None, end: int | None, step: int) -> Tensor:
    """x[start:end:step] along a dimension, ends as Python takes them.

    The first one, whose size may follow the batch, keeps the ends as they are given.
    """
    size, axis = x.shape[dim], dim % len(x.shape)
    first, last, _ = slice(start, end, 1).indices(size)
    if last <= first:
        raise Refused("an empty slice", "at least one element")
    if axis == 0:
        reach = size if isinstance(end, Size) else END
        stop = END if end is None or end >= reach else end
        if stop == END and not start and step == 1:
            return x
        return movement.slice(x, axis, start or 0, stop, step)
    if first == 0 and last == size and step == 1:
        return x
    if last == size:
        return movement.slice(x, axis, first, step=step)
    return movement.slice(x, axis, first, last, step)


def _select(x: Tensor, dim: int, index: int) -> Tensor:
    axis = dim % len(x.shape)
    keys: list[Any] = [slice(None)] * len(x.shape)
    keys[axis] = int(index)
    return x[tuple(keys)]


def _narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    end = type(length)(start + length)
    return sliced(x, dim, start, end if end or start >= 0 else None, 1)


def _unbind(x: Tensor, dim: int) -> tuple[Tensor, ...]:
    return tuple(_select(x, dim, index) for index in range(x.shape[dim]))


def _with_slice(
    x: Tensor, source: Tensor, dim: int, start: int | None, end: int | None, step: int
) -> Tensor:
    """x with a slice of it exchanged."""
    axis, size = dim % len(x.shape), x.shape[dim]
    written = range(*slice(start, end, step).indices(size))
    source = expanded(source, (*x.shape[:axis], len(written), *x.shape[axis + 1 :]))
    if step != 1:
        places = torch.arange(size)
        places[written.start : written.stop : step] = torch.arange(size, size + len(written))
        return _rows(functional.concat([x, source], axis), axis, places)
    first, last = written.start, written.stop
    before = [movement.slice(x, axis, 0, first)] if first else []
    after = [movement.slice(x, axis, last)] if last < size else []
    return functional.concat([*before, source, *after], axis) if before or after else source


def _with_row(x: Tensor, source: Tensor, dim: int, index: int) -> Tensor:
    axis = dim % len(x.shape)
    at = index % x.shape[axis]
    return _with_slice(x, movement.unsqueeze(source, axis), axis, at, at + 1, 1)


def _rows(x: Tensor, dim: int, index: torch.Tensor) -> Tensor:
    """Elements at places that are known, along one dimension."""
    axis, size = dim % len(x.shape), x.shape[dim]
    places = [int(place) % size for place in index]
    if not 0 < len(places) <= 4096:
        raise Refused(f"{len(places)} places", "1 to 4096 places")
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][1]:
            runs[-1][1] = place + 1
        else:
            runs.append([place, place + 1])
    parts = [sliced(x, axis, first, last, 1) for first, last in runs]
    return functional.concat(parts, axis) if len(parts) > 1 else parts[0]


def _selected(x: Tensor, dim: int, index: Any) -> Tensor:
    """An index_select, of whose places a lone number has one."""
    if not x.shape:
        return functional.reshape(_selected(functional.reshape(x, (1,)), 0, index), ())
    if not isinstance(index, torch.Tensor) and not index.shape:
        raise Refused("a lone place that is computed", "a list of one place: index[None]")
    places = index.reshape(-1) if isinstance(index, torch.Tensor) else index
    return _indexed(x, [None] * (dim % len(x.shape)) + [places])


def _indexed(x: Tensor, indices: Sequence[Any]) -> Tensor:
    """x[indices], None for a dimension that stays.

    The dimensions that have indices are looked up together. What is found there stands where these
    dimensions stood, or in front if they were apart.
    """
    used = _places(indices)
    first = next(iter(used))
    if not all(isinstance(index, torch.Tensor) for index in used.values()):
        if len(used) > 1:
            raise Refused("places in several dimensions, some of them computed", "one dimension")
        return _looked_up(x, first, used[first])
    places = torch.broadcast_tensors(*used.values())  # type: ignore[no-untyped-call]
    shape = tuple(places[0].shape)
    if len(used) == 1 and len(shape) == 1:
        return _rows(x, first, places[0])
    batch = [] if first == 0 else [0]
    rest = [axis for axis in range(len(x.shape)) if axis not in (*batch, *used)]
    free, kept = (-1,) * len(batch), tuple(x.shape[axis] for axis in rest)
    flat = torch.zeros(shape, dtype=torch.int64)
    for axis, place in zip(used, places, strict=True):
        flat = flat * x.shape[axis] + place % x.shape[axis]
    count = math.prod(x.shape[axis] for axis in used)
    table = functional.reshape(_ordered(x, [*batch, *used, *rest]), (*free, count, *kept))
    found = functional.reshape(_rows(table, len(batch), flat.flatten()), (*free, *shape, *kept))
    own = [axis + len(batch) for axis in range(len(shape))]
    others = [axis for axis in range(len(found.shape)) if axis not in own]
    at = first if [*used] == [*range(first, first + len(used))] else 0
    return _ordered(found, [*others[:at], *own, *others[at:]])


def _looked_up(x: Tensor, axis: int, index: Tensor) -> Tensor:
    """Elements at places that are computed, along one dimension: rows of a table."""
    rest = [other for other in range(len(x.shape)) if other != axis]
    table = functional.reshape(_ordered(x, [axis, *rest]), (x.shape[axis], -1))
    shape, kept = index.shape, tuple(x.shape[other] for other in rest)
    found = functional.reshape(indexing.embedding(index, table), (*shape, *kept))
    others = [len(shape) + number for number in range(len(rest))]
    return _ordered(found, [*others[:axis], *range(len(shape)), *others[axis:]])


def _ordered(x: Tensor, dims: list[int]) -> Tensor:
    return x if dims == sorted(dims) else movement.permute(x, dims)


def _places(indices: Sequence[Any]) -> dict[int, Any]:
    """The indices by dimension; a mask is for as many dimensions as it has."""
    found: dict[int, Any] = {}
    axis = 0
    for index in indices:
        mask = isinstance(index, torch.Tensor) and index.dtype is torch.bool
        for part in index.nonzero(as_tuple=True) if mask else [index]:
            if part is not None:
                found[axis] = part
            axis += 1
    return found


def _flipped(x: Tensor, dims: Sequence[int]) -> Tensor:
    for dim in dims:
        x = _rows(x, dim, torch.arange(x.shape[dim] - 1, -1, -1))
    return x


def _gathered(x: Tensor, dim: int, index: Any, *_: Any) -> Tensor:
    if not x.shape and isinstance(index, Tensor) and len(index.shape) == 1:
        x = functional.reshape(x, (1,))
    return functional.gather(x, dim, index)


def _embedding(table: Any, index: Any, *_: Any) -> Tensor:
    return indexing.embedding(index, table)


ROWS: dict[str, Conversion] = {
    "slice.Tensor": sliced,
    "select.int": _select,
    "narrow.default": _narrow,
    "unbind.int": _unbind,
    "slice_scatter.default": _with_slice,
    "select_scatter.default": _with_row,
    "index_select.default": _selected,
    "index.Tensor": _indexed,
    "flip.default": _flipped,
    "embedding.default": _embedding,
    "gather.default": _gathered,
}
