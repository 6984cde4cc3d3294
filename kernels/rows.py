"""Rows of elements: what kernels that reduce whole dimensions run over, and where elements lie.

A row is an index of the dimensions that stay, its elements are the indices of those that are
reduced; of both there are up to three after neighbours in memory are merged. To a convolution that
reads one pixel for each it writes, pixels are rows.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import triton

from .epilogue import Tail, map_operands, operands
from .launch import (
    Refused,
    Strided,
    View,
    ceil_div,
    constants,
    grid_refusal,
    next_power_of_2,
    offset_refusal,
    require,
)
from .window import Pool

BLOCK_ELEMENTS = 1024
# Rows that a program takes at most where their first elements are neighbours in memory.
MOST_ROWS = 64


@triton.jit
def row_offset(row, sizes, strides):
    """Offsets in a view of the first elements of rows; `sizes` are those of the row dimensions but
    the first."""
    rest = row // sizes[1]
    return (
        rest // sizes[0] * strides[0] + rest % sizes[0] * strides[1] + row % sizes[1] * strides[2]
    )


@triton.jit
def element_offset(element, sizes, strides):
    """Offsets in a view of elements from the first one of their row; the sizes are constexprs, for
    a division of every element by another number takes longer than all else."""
    if sizes[0] == 1 and sizes[1] == 1:
        offset = element * strides[5]
    else:
        rest = element // sizes[2]
        offset = rest // sizes[1] * strides[3] + rest % sizes[1] * strides[4]
        offset += element % sizes[2] * strides[5]
    return offset


class Rows(NamedTuple):
    """Rows and their elements.

    Attributes:
        sizes: Of the three row dimensions.
        elements: Of the three dimensions of a row, as constexprs.
        length: Elements of a row.
        views: The views, with strides in the order of these six.
        grid: Programs.
        meta: The block, for a launch.
    """

    sizes: tuple[int, ...]
    elements: tuple[Any, ...]
    length: int
    views: tuple[Strided, ...]
    grid: tuple[int, int, int]
    meta: dict[str, Any]


def rows_of(views: Sequence[View], axes: Sequence[int]) -> Rows:
    """Views of one shape as rows along `axes`, in the order in which the first one lies in memory.

    A block takes neighbours in memory: elements of a row, or, where a row's are apart, rows.

    Raises:
        Refused: where more than three dimensions are left of either kind, and for what 32-bit
            offsets or the grid cannot hold.
    """
    require(offset_refusal(*views))
    stay = [d for d in range(len(views[0].shape)) if d not in axes]
    sizes, outer = _merged(views, stay)
    elements, inner = _merged(views, axes)
    strides = zip(*outer, *inner, strict=True)
    placed = tuple(Strided(v.buffer, s) for v, s in zip(views, strides, strict=True))
    length = math.prod(elements)
    apart = outer[2][0] == 1 and sizes[2] > 1
    block_row = min(next_power_of_2(sizes[2]), MOST_ROWS) if apart else 1
    block_col = min(next_power_of_2(length), BLOCK_ELEMENTS // block_row)
    block_row = BLOCK_ELEMENTS // block_col
    grid = (ceil_div(math.prod(sizes), block_row), 1, 1)
    require(grid_refusal(grid))
    meta = {"BLOCK_ROW": block_row, "BLOCK_COL": block_col, "num_warps": 4, "num_stages": 1}
    return Rows(sizes, constants(elements), length, placed, grid, meta)


def _merged(
    views: Sequence[View], dims: Sequence[int]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Three sizes, and of each the strides in every view; the last is the fastest of the first."""
    shape = views[0].shape
    sizes: list[int] = []
    steps: list[tuple[int, ...]] = []
    for d in sorted((d for d in dims if shape[d] > 1), key=lambda d: -views[0].strides[d]):
        step = tuple(view.strides[d] for view in views)
        if steps and all(a == b * shape[d] for a, b in zip(steps[-1], step, strict=True)):
            sizes[-1] *= shape[d]
            steps[-1] = step
        else:
            sizes.append(shape[d])
            steps.append(step)
    if len(sizes) > 3:
        raise Refused(f"kernels run over at most three dimensions of {shape}, not over {dims}")
    missing = 3 - len(sizes)
    return (*(1,) * missing, *sizes), [(0,) * len(views)] * missing + steps


def images_of_rows(views: Sequence[View]) -> list[View] | None:
    """Views [..., C] as images [rows, C, 1, 1] of one pixel, whose number takes no division; None
    where the rows of one do not follow one another."""
    rows = [view.rows() for view in views]
    images = [view.permuted(0, 1, -1, -1) for view in rows if view]
    return images if len(images) == len(views) else None


def as_rows(x: View, outputs: Sequence[View], tail: Tail) -> tuple[View, Sequence[View], Tail]:
    """The views of a convolution whose output pixels are its input's, as images of one pixel; as
    they are where the pixels of one do not follow one another, or a pool brings them together."""
    shape = (x.shape[0], outputs[0].shape[1], *x.shape[2:])
    if any(isinstance(step, Pool) for step in tail):
        return x, outputs, tail
    views = [x, *outputs, *(view.expand(shape) for view in operands(tail))]
    images = images_of_rows([view.permuted(0, 2, 3, 1) for view in views])
    if images is None:
        return x, outputs, tail
    rest = iter(images[1 + len(outputs) :])
    return images[0], images[1 : 1 + len(outputs)], map_operands(tail, lambda _: next(rest))
