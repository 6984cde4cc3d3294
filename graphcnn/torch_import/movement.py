"""From ATen's views, movements and indices to ours.

Rows as in `pointwise`; those of `SHAPED` are functions of the first argument and the result's
shape alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from graphcnn.frontend import arithmetic, functional, indexing, movement, spatial
from graphcnn.frontend.expr import Tensor
from graphcnn.torch_import.pointwise import Conversion
from graphcnn.torch_import.refusal import Refused


class Size(int):
    """A size that follows the batch's."""


Shape = tuple[int, ...]


def reshaped(x: Tensor, shape: Shape) -> Tensor:
    """The elements under another shape, of which the batch stays free where it can."""
    free = [axis for axis, size in enumerate(shape) if isinstance(size, Size)]
    if len(free) == 1:
        shape = (*shape[: free[0]], -1, *shape[free[0] + 1 :])
    if shape == x.shape:
        return x
    return functional.reshape(x, tuple(map(int, shape)))


def _expanded(x: Tensor, shape: Shape) -> Tensor:
    if tuple(map(int, shape)) == x.shape:
        return x
    more = len(shape) - len(x.shape)
    sizes = [
        -1 if axis >= more and size == x.shape[axis - more] else int(size)
        for axis, size in enumerate(shape)
    ]
    return movement.expand(x, tuple(sizes))


def _repeated(x: Tensor, repeats: Sequence[int]) -> Tensor:
    for _ in range(len(repeats) - len(x.shape)):
        x = movement.unsqueeze(x, 0)
    for axis, times in enumerate(repeats):
        if times > 1:
            x = functional.concat([x] * times, axis)
    return x


def _concat(tensors: Sequence[Any], dim: int) -> Tensor:
    # An empty list of one dimension is nothing, whatever the others are.
    kept = [t for t in tensors if not isinstance(t, torch.Tensor) or t.numel()]
    return functional.concat(kept, dim)


def _rows_of(x: Tensor) -> Tensor:
    return x if len(x.shape) > 1 else functional.reshape(x, (1, -1))


def _slice(x: Tensor, dim: int, start: int | None, end: int | None, step: int) -> Tensor:
    size, axis = x.shape[dim], dim % len(x.shape)
    first, last, _ = slice(start, end, 1).indices(size)
    if first == 0 and last == size and step == 1:
        return x
    if last <= first:
        raise Refused("an empty slice", "at least one element")
    if last == size:
        return movement.slice(x, axis, first, step=step)
    return movement.slice(x, axis, first, last, step)


def _select(x: Tensor, dim: int, index: int) -> Tensor:
    axis = dim % len(x.shape)
    keys: list[Any] = [slice(None)] * len(x.shape)
    keys[axis] = int(index)
    return x[tuple(keys)]


def _narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    return _slice(x, dim, start, start + length if start >= 0 else None, 1)


def _unbind(x: Tensor, dim: int) -> tuple[Tensor, ...]:
    return tuple(_select(x, dim, index) for index in range(x.shape[dim]))


def _with_slice(
    x: Tensor, source: Tensor, dim: int, start: int | None, end: int | None, step: int
) -> Tensor:
    """x with a slice of it exchanged."""
    axis, size = dim % len(x.shape), x.shape[dim]
    first, last, _ = slice(start, end, 1).indices(size)
    if step != 1:
        raise Refused(f"writes every {step}th element", "writes to a slice of step 1")
    source = _expanded(source, (*x.shape[:axis], max(0, last - first), *x.shape[axis + 1 :]))
    before = [movement.slice(x, axis, 0, first)] if first else []
    after = [movement.slice(x, axis, last)] if last < size else []
    return functional.concat([*before, source, *after], axis) if before or after else source


def _with_row(x: Tensor, source: Tensor, dim: int, index: int) -> Tensor:
    axis = dim % len(x.shape)
    at = index % x.shape[axis]
    return _with_slice(x, movement.unsqueeze(source, axis), axis, at, at + 1, 1)


def _filled(x: Tensor, value: Any) -> Tensor:
    """A number in place of every element; NaN times 0 would be NaN."""
    return arithmetic.where(arithmetic.eq(x, x), value, value)


def _rows(x: Tensor, dim: int, index: Any) -> Tensor:
    """Elements at places that are known, along one dimension."""
    if not isinstance(index, torch.Tensor):
        raise Refused("places that are computed", "gx.gather, or places known beforehand")
    if index.dtype is torch.bool:
        index = index.nonzero().flatten()
    if index.dim() > 1 or index.numel() == 0:
        raise Refused(f"places of shape {tuple(index.shape)}", "places in one dimension")
    axis, size = dim % len(x.shape), x.shape[dim]
    places = [int(place) % size for place in index.reshape(-1)]
    if len(places) > 4096:
        raise Refused(f"{len(places)} places", "at most 4096 places")
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][1]:
            runs[-1][1] = place + 1
        else:
            runs.append([place, place + 1])
    parts = [_slice(x, axis, first, last, 1) for first, last in runs]
    return functional.concat(parts, axis) if len(parts) > 1 else parts[0]


def _indexed(x: Tensor, indices: Sequence[Any]) -> Tensor:
    used = [axis for axis, index in enumerate(indices) if index is not None]
    if len(used) != 1:
        raise Refused("places in several dimensions at once", "places in one dimension")
    index = indices[used[0]]
    if isinstance(index, torch.Tensor) and index.dim() == 0:
        return _select(x, used[0], int(index))
    return _rows(x, used[0], index)


def _flipped(x: Tensor, dims: Sequence[int]) -> Tensor:
    for dim in dims:
        x = _rows(x, dim, torch.arange(x.shape[dim] - 1, -1, -1))
    return x


def _padded(x: Tensor, padding: Sequence[int], mode: str, value: float | None) -> Tensor:
    """torch names the last dimension's sides first, and a negative side crops."""
    rank = len(x.shape)
    sides = [(0, 0)] * rank
    for number in range(len(padding) // 2):
        sides[rank - 1 - number] = (padding[2 * number], padding[2 * number + 1])
    for axis, (before, after) in enumerate(sides):
        if before < 0 or after < 0:
            x = _slice(x, axis, max(0, -before), x.shape[axis] + min(0, after), 1)
    grown = [(max(0, before), max(0, after)) for before, after in sides]
    if not any(map(any, grown)):
        return x
    return _grown(x, grown, mode, 0.0 if value is None else float(value))


def _grown(x: Tensor, sides: list[tuple[int, int]], mode: Any, value: float) -> Tensor:
    """Padding of the last one or two dimensions, and of others by concats of a constant."""
    rank = len(x.shape)
    inner = 1 if rank < 4 and not any(sides[-2]) else 2
    inner = min(inner, rank)
    if any(map(any, sides[: rank - inner])):
        raise Refused("pads more than the last two dimensions", "pad of height and width")
    shape = x.shape
    lead = shape[: rank - inner]
    shaped = x
    if len(lead) != 2:
        samples = 1
        for size in lead:
            samples *= size
        shaped = functional.reshape(x, (samples, 1, *shape[rank - inner :]))
    begins, ends = zip(*sides[rank - inner :], strict=True)
    padded = spatial.pad(shaped, (*begins, *ends), mode, value)
    return padded if len(lead) == 2 else functional.reshape(padded, (*lead, *padded.shape[2:]))


def _cells(x: Tensor, groups: int) -> Tensor:
    """A channel shuffle."""
    _, c, *rest = x.shape
    cells = functional.reshape(x, (-1, groups, c // groups, *rest))
    order = (0, 2, 1, *range(3, len(cells.shape)))
    return functional.reshape(movement.permute(cells, order), (-1, c, *rest))


def _mode(name: str) -> Conversion:
    return lambda x, padding: _padded(x, padding, name, None)


def _embedding(table: Any, index: Any, *_: Any) -> Tensor:
    return indexing.embedding(index, table)


def _moved(x: Tensor, source: Sequence[int], destination: Sequence[int]) -> Tensor:
    rank = len(x.shape)
    goes = {d % rank: s % rank for s, d in zip(source, destination, strict=True)}
    rest = iter(axis for axis in range(rank) if axis not in goes.values())
    return movement.permute(x, [goes[axis] if axis in goes else next(rest) for axis in range(rank)])


def _flattened(x: Tensor, shape: Shape) -> Tensor:
    rank = len(shape)
    whole = 0 < rank <= len(x.shape) and tuple(map(int, shape[:-1])) == x.shape[: rank - 1]
    return functional.flatten(x, rank - 1) if whole and rank > 1 else reshaped(x, shape)


ROWS: dict[str, Conversion] = {
    "cat.default": _concat,
    "concat.default": _concat,
    "stack.default": movement.stack,
    "slice.Tensor": _slice,
    "select.int": _select,
    "narrow.default": _narrow,
    "split.Tensor": movement.split,
    "split.sizes": movement.split,
    "split_with_sizes.default": movement.split,
    "chunk.default": movement.chunk,
    "unbind.int": _unbind,
    "vstack.default": lambda tensors: _concat([*map(_rows_of, tensors)], 0),
    "hstack.default": lambda tensors: _concat(tensors, 0 if len(tensors[0].shape) == 1 else 1),
    "slice_scatter.default": _with_slice,
    "select_scatter.default": _with_row,
    "fill.Scalar": _filled,
    "fill.Tensor": _filled,
    "copy.default": lambda x, source, non_blocking: _expanded(source, x.shape),
    "index_select.default": _rows,
    "index.Tensor": _indexed,
    "flip.default": _flipped,
    "permute.default": movement.permute,
    "transpose.int": movement.transpose,
    "swapaxes.default": movement.transpose,
    "t.default": lambda x: movement.permute(x, list(range(len(x.shape)))[::-1]),
    "numpy_T.default": lambda x: movement.permute(x, list(range(len(x.shape)))[::-1]),
    "movedim.intlist": _moved,
    "movedim.int": lambda x, source, destination: _moved(x, [source], [destination]),
    "repeat.default": _repeated,
    "tile.default": lambda x, dims: _repeated(x, [1] * (len(x.shape) - len(dims)) + [*dims]),
    "roll.default": lambda x, shifts, dims: movement.roll(x, list(shifts), list(dims) or None),
    "pad.default": _padded,
    "constant_pad_nd.default": lambda x, sides, value: _padded(x, sides, "constant", value),
    **{f"reflection_pad{rank}d.default": _mode("reflect") for rank in (1, 2)},
    **{f"replication_pad{rank}d.default": _mode("replicate") for rank in (1, 2)},
    "pixel_shuffle.default": movement.pixel_shuffle,
    "pixel_unshuffle.default": movement.pixel_unshuffle,
    "channel_shuffle.default": _cells,
    "native_channel_shuffle.default": _cells,
    "embedding.default": _embedding,
    "gather.default": lambda x, dim, index, sparse_grad: functional.gather(x, dim, index),
}
_VIEWS = (
    *("view.default", "reshape.default", "_unsafe_view.default", "unflatten.int"),
    *("squeeze.default", "squeeze.dim", "squeeze.dims", "unsqueeze.default", "view_as.default"),
    *("reshape_as.default", "ravel.default", "atleast_1d.default", "atleast_2d.default"),
)
SHAPED: dict[str, Conversion] = {
    **dict.fromkeys(_VIEWS, reshaped),
    "flatten.using_ints": _flattened,
    "expand.default": _expanded,
    "expand_as.default": _expanded,
    "broadcast_to.default": _expanded,
}
# Operators that read only the shape of their first argument.
MADE = frozenset(
    ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full")
)
# Operators whose result of truth values has the numbers of its operands.
KEEPS = frozenset(name.partition(".")[0] for name in (*ROWS, *SHAPED))
