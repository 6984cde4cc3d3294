"""Elementwise chains, strided copies and fills."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import triton
import triton.language as tl

from .epilogue import Stage, operands, tail_argument
from .finish import run_steps, store_tile, tile_offset
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

    Columns run along the output's fastest dimension, rows over the other three. Without steps the
    values are converted straight to the output's type.
    """
    place = block_place(N, sizes, BLOCK_ROW, BLOCK_COL)
    _, _, _, _, row_live, column_live = place
    mask = row_live[:, None] & column_live[None, :]
    value = tl.load(x.ptr + tile_offset(x.strides, place), mask=mask)
    if len(tail.steps) == 0:
        store_tile(tail.outputs[0], value, place)
    else:
        run_steps((value.to(tl.float32),), place, tail, 0, len(tail.steps))


@triton.jit(do_not_specialize=BATCH)
def fill_kernel(y, N, sizes, VALUE: tl.constexpr, BLOCK_ROW: tl.constexpr, BLOCK_COL: tl.constexpr):
    """Store VALUE to BLOCK_ROW x BLOCK_COL elements."""
    place = block_place(N, sizes, BLOCK_ROW, BLOCK_COL)
    value = tl.full((BLOCK_ROW, BLOCK_COL), VALUE, dtype=y.ptr.dtype.element_ty)
    store_tile(y, value, place)


class _Space(NamedTuple):
    """An iteration space of four dimensions, the last the fastest of the first view.

    The batch is in the first, or in the last where all dimensions are merged.
    """

    sizes: tuple[int, ...]
    strides: tuple[Strides, ...]
    grid: tuple[int, int, int]
    meta: dict[str, Any]


def _iteration_space(shape: tuple[int, ...], strides: Sequence[Strides]) -> _Space:
    """Order dimensions by the first view's strides, merging those that every view runs through.

    A batch of one sample is treated as any other, so that it takes the same kernel.
    """
    counted = (d for d in range(len(shape)) if shape[d] > 1 or d == 0)
    order = sorted(counted, key=lambda d: -strides[0][d])
    sizes: list[int] = []
    steps: list[tuple[int, ...]] = []
    for d in order:
        step = tuple(s[d] for s in strides)
        if steps and all(a == b * shape[d] for a, b in zip(steps[-1], step, strict=True)):
            sizes[-1] *= shape[d]
            steps[-1] = step
        else:
            sizes.append(shape[d])
            steps.append(step)
    if len(sizes) > 4:
        raise Refused(f"kernels run over at most four dimensions, not over {shape}")
    merged = len(sizes) == 1
    missing, first = 4 - len(sizes), 0 if merged else 1
    full = (*sizes[:first], *(1,) * missing, *sizes[first:])
    padded = [*steps[:first], *[(0,) * len(strides)] * missing, *steps[first:]]
    block_col = BLOCK_ELEMENTS if merged else min(next_power_of_2(full[3]), BLOCK_ELEMENTS)
    block_row = BLOCK_ELEMENTS // block_col
    rows = full[0] * full[1] * full[2]
    grid = (ceil_div(rows, block_row) * ceil_div(full[3], block_col), 1, 1)
    require(grid_refusal(grid))
    meta = {"BLOCK_ROW": block_row, "BLOCK_COL": block_col, "num_warps": 4, "num_stages": 1}
    return _Space(full, tuple(zip(*padded, strict=True)), grid, meta)


def pointwise(x: View, y: View, stages: tuple[Stage, ...]) -> Launch:
    """Launch y = stages(x), elementwise over up to four dimensions; x and operands broadcast to y.

    Raises:
        ValueError: for shapes that do not broadcast.
        Refused: for more dimensions, and for what 32-bit offsets or the grid cannot hold.
    """
    views = [y, *(view.expand(y.shape) for view in (x, *operands(stages)))]
    require(offset_refusal(*views))
    space = _iteration_space(y.shape, [view.strides for view in views])
    y_view, x_view, *placed = (
        Strided(view.buffer, strides) for view, strides in zip(views, space.strides, strict=True)
    )
    tail = tail_argument(stages, (len(stages),), (y_view,), placed, Window())
    args = (x_view, space.sizes[0], space.sizes[1:], tail)
    return Launch(pointwise_kernel, space.grid, args, space.meta)


def copy(x: View, y: View) -> Launch:
    """Launch y = x, converting layout and dtype; concatenation and padding copy into a slice of y.

    Raises as `pointwise` does.
    """
    return pointwise(x, y, ())


def fill(y: View, value: float) -> Launch:
    """Launch y = value."""
    require(offset_refusal(y))
    space = _iteration_space(y.shape, [y.strides])
    args = (Strided(y.buffer, space.strides[0]), space.sizes[0], space.sizes[1:])
    return Launch(fill_kernel, space.grid, args, space.meta | {"VALUE": value})
