"""Elementwise chains, and the iteration space of what runs over all elements."""

import math
from collections.abc import Container, Sequence
from typing import Any, NamedTuple

import triton
import triton.language as tl

from .epilogue import Tail, operands, tail_argument
from .finish import run_steps, tile_offset
from .launch import (
    BATCH,
    Launch,
    Refused,
    Strided,
    Strides,
    View,
    ceil_div,
    grid_refusal,
    next_power_of_2,
    offset_refusal,
    require,
)
from .window import Window

BLOCK_ELEMENTS = 1024
_WORDS = {4: "four", 6: "six"}


@triton.jit
def block_place(N, sizes, BLOCK_ROW: tl.constexpr, BLOCK_COL: tl.constexpr):
    """The place of a block: coordinates of its rows and columns, and which of both exist.

    The iteration space has N * sizes[0] * sizes[1] rows of sizes[2] columns.
    """
    column_blocks = tl.cdiv(sizes[2], BLOCK_COL)
    row = tl.program_id(0) // column_blocks * BLOCK_ROW + tl.arange(0, BLOCK_ROW)
    column = tl.program_id(0) % column_blocks * BLOCK_COL + tl.arange(0, BLOCK_COL)
    k = row % sizes[1]
    rest = row // sizes[1]
    row_live = row < N * sizes[0] * sizes[1]
    return rest // sizes[0], rest % sizes[0], k, column, row_live, column < sizes[2]


@triton.jit(do_not_specialize=BATCH)
def pointwise_kernel(x, N, sizes, tail, BLOCK_ROW: tl.constexpr, BLOCK_COL: tl.constexpr):
    """Apply the steps of a tail to BLOCK_ROW x BLOCK_COL elements of x, in float32.

    Columns run along the output's fastest dimension, rows over the other three.
    """
    place = block_place(N, sizes, BLOCK_ROW, BLOCK_COL)
    mask = place[4][:, None] & place[5][None, :]
    value = tl.load(x.ptr + tile_offset(x.strides, place), mask=mask)
    run_steps((value.to(tl.float32),), place, tail, 0, len(tail.steps))


class Space(NamedTuple):
    """An iteration space, the last dimension the fastest of the first view.

    The batch is in the first, or in the last where all dimensions are merged. `dims` names the
    first of the views' dimensions that each stands for, or -1 where it stands for none.
    """

    sizes: tuple[int, ...]
    strides: tuple[Strides, ...]
    dims: tuple[int, ...]
    grid: tuple[int, int, int]
    meta: dict[str, Any]


def iteration_space(
    shape: tuple[int, ...],
    strides: Sequence[Strides],
    *,
    most: int = 4,
    apart: Container[int] = (),
) -> Space:
    """Order dimensions by the first view's strides, merging those that every view runs through.

    A batch of one sample is treated as any other, so that it takes the same kernel.

    Args:
        shape: Of all views.
        strides: Of each.
        most: Dimensions that the kernel has; there are four at least.
        apart: Dimensions that stay by themselves.

    Raises:
        Refused: where more are left, and for what the grid cannot hold.
    """
    counted = (d for d in range(len(shape)) if shape[d] > 1 or d == 0)
    order = sorted(counted, key=lambda d: -strides[0][d])
    sizes: list[int] = []
    steps: list[tuple[int, ...]] = []
    dims: list[int] = []
    for d in order:
        step = tuple(s[d] for s in strides)
        follows = steps and all(a == b * shape[d] for a, b in zip(steps[-1], step, strict=True))
        if follows and d not in apart and dims[-1] not in apart:
            sizes[-1] *= shape[d]
            steps[-1] = step
        else:
            sizes.append(shape[d])
            steps.append(step)
            dims.append(d)
    if len(sizes) > most:
        raise Refused(f"kernels run over at most {_WORDS[most]} dimensions, not over {shape}")
    merged = len(sizes) == 1
    missing, first = max(0, 4 - len(sizes)), 0 if merged else 1
    full = (*sizes[:first], *(1,) * missing, *sizes[first:])
    padded = [*steps[:first], *[(0,) * len(strides)] * missing, *steps[first:]]
    named = (*dims[:first], *(-1,) * missing, *dims[first:])
    block_col = BLOCK_ELEMENTS if merged else min(next_power_of_2(full[-1]), BLOCK_ELEMENTS)
    block_row = BLOCK_ELEMENTS // block_col
    rows = math.prod(full[:-1])
    grid = (ceil_div(rows, block_row) * ceil_div(full[-1], block_col), 1, 1)
    require(grid_refusal(grid))
    meta = {"BLOCK_ROW": block_row, "BLOCK_COL": block_col, "num_warps": 4, "num_stages": 1}
    return Space(full, tuple(zip(*padded, strict=True)), named, grid, meta)


def pointwise(x: View, y: View, stages: Tail) -> Launch:
    """Launch y = stages(x), elementwise over up to four dimensions; x and operands broadcast to y.

    Raises:
        ValueError: for shapes that do not broadcast.
        Refused: for more dimensions, and for what 32-bit offsets or the grid cannot hold.
    """
    views = [y, *(view.expand(y.shape) for view in (x, *operands(stages)))]
    require(offset_refusal(*views))
    space = iteration_space(y.shape, [view.strides for view in views])
    y_view, x_view, *placed = (
        Strided(view.buffer, strides) for view, strides in zip(views, space.strides, strict=True)
    )
    tail = tail_argument(stages, (len(stages),), (y_view,), placed, Window())
    args = (x_view, space.sizes[0], space.sizes[1:], tail)
    return Launch(pointwise_kernel, space.grid, args, space.meta)
