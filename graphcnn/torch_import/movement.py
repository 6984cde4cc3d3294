"""From ATen's views and movements to ours.

Rows as in `pointwise`; those of `SHAPED` are functions of the first argument and the result's
shape alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from graphcnn.frontend import arithmetic, functional, movement
from graphcnn.frontend.expr import Tensor
from graphcnn.torch_import.pointwise import Conversion


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


def expanded(x: Tensor, shape: Shape) -> Tensor:
    """x repeated along dimensions of size 1, and new ones in front."""
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
    return x if len(x.shape) > 1 else functional.reshape(x, (1, x.type.size))


def _transposed(x: Tensor, first: int, second: int) -> Tensor:
    return movement.transpose(x, first, second) if x.shape else x


def _rolled(x: Tensor, shifts: Sequence[int], dims: Sequence[int]) -> Tensor:
    return movement.roll(x, list(shifts), list(dims) or None) if x.shape else x


def _filled(x: Tensor, value: Any) -> Tensor:
    """A number in place of every element; NaN times 0 would be NaN."""
    return arithmetic.where(arithmetic.eq(x, x), value, value)


def _cells(x: Tensor, groups: int) -> Tensor:
    """A channel shuffle."""
    _, c, *rest = x.shape
    cells = functional.reshape(x, (-1, groups, c // groups, *rest))
    order = (0, 2, 1, *range(3, len(cells.shape)))
    return functional.reshape(movement.permute(cells, order), (-1, c, *rest))


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
    "split.Tensor": movement.split,
    "split.sizes": movement.split,
    "split_with_sizes.default": movement.split,
    "chunk.default": movement.chunk,
    "vstack.default": lambda tensors: _concat([*map(_rows_of, tensors)], 0),
    "hstack.default": lambda tensors: _concat(tensors, 0 if len(tensors[0].shape) == 1 else 1),
    "fill.Scalar": _filled,
    "fill.Tensor": _filled,
    "copy.default": lambda x, source, non_blocking: expanded(source, x.shape),
    "permute.default": movement.permute,
    **dict.fromkeys(("transpose.int", "swapaxes.default"), _transposed),
    "t.default": lambda x: movement.permute(x, list(range(len(x.shape)))[::-1]),
    "numpy_T.default": lambda x: movement.permute(x, list(range(len(x.shape)))[::-1]),
    "movedim.intlist": _moved,
    "movedim.int": lambda x, source, destination: _moved(x, [source], [destination]),
    "repeat.default": _repeated,
    "tile.default": lambda x, dims: _repeated(x, [1] * (len(x.shape) - len(dims)) + [*dims]),
    "roll.default": _rolled,
    "pixel_shuffle.default": movement.pixel_shuffle,
    "pixel_unshuffle.default": movement.pixel_unshuffle,
    "channel_shuffle.default": _cells,
    "native_channel_shuffle.default": _cells,
    "atleast_2d.Sequence": lambda tensors: tuple(map(_rows_of, tensors)),
}
_VIEWS = (
    *("view.default", "reshape.default", "_unsafe_view.default", "unflatten.int"),
    *("squeeze.default", "squeeze.dim", "squeeze.dims", "unsqueeze.default", "view_as.default"),
    *("reshape_as.default", "ravel.default", "atleast_1d.default", "atleast_2d.default"),
)
SHAPED: dict[str, Conversion] = {
    **dict.fromkeys(_VIEWS, reshaped),
    "flatten.using_ints": _flattened,
    "expand.default": expanded,
    "expand_as.default": expanded,
    "broadcast_to.default": expanded,
}
# Operators that read only the shape of their first argument.
MADE = frozenset(
    ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full")
)
