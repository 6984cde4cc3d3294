"""Elementwise chains, strided copies and fills."""

from collections.abc import Sequence
from typing import NamedTuple

import triton
import triton.language as tl

from .epilogue import Stage
from .launch import (
    BATCH,
    Launch,
    Strides,
    View,
    ceil_div,
    grid_refusal,
    next_power_of_2,
    offset_refusal,
    require,
)

BLOCK_ELEMENTS = 1024


@triton.jit
def block_coordinates(N, sizes, BLOCK_ROW: tl.constexpr, BLOCK_COL: tl.constexpr):
    """Coordinates (i, j, k) of a block's rows, its columns, and which of both exist.

    The iteration space has N * sizes[0] * sizes[1] rows of sizes[2] columns.
    """
    column_blocks = tl.cdiv(sizes[2], BLOCK_COL)
    row = tl.program_id(0) // column_blocks * BLOCK_ROW + tl.arange(0, BLOCK_ROW)
    column = tl.program_id(0) % column_blocks * BLOCK_COL + tl.arange(0, BLOCK_COL)
    k = row % sizes[1]
    rest = row // sizes[1]
    row_live = row < N * sizes[0] * sizes[1]
    return rest // sizes[0], rest % sizes[0], k, column, row_live, column < sizes[2]


@triton.jit
def block_offset(strides, i, j, k, column):
    """Offsets [BLOCK_ROW, BLOCK_COL] of a block in one view."""
    row_offset = i * strides[0] + j * strides[1] + k * strides[2]
    return row_offset[:, None] + (column * strides[3])[None, :]


@triton.jit(do_not_specialize=BATCH)
def pointwise_kernel(
    x_ptr,
    y_ptr,
    operands,
    N,
    sizes,
    x_strides,
    y_strides,
    operand_strides,
    STAGES,
    PARAMS: tl.constexpr,
    SLOTS: tl.constexpr,
    BLOCK_ROW: tl.constexpr,
    BLOCK_COL: tl.constexpr,
):
    """Apply a chain of stages to BLOCK_ROW x BLOCK_COL elements, in float32.

    Columns run along y's fastest dimension, rows over the other three. Without stages the values
    are converted straight to y's type.
    """
    i, j, k, column, row_live, column_live = block_coordinates(N, sizes, BLOCK_ROW, BLOCK_COL)
    mask = row_live[:, None] & column_live[None, :]
    value = tl.load(x_ptr + block_offset(x_strides, i, j, k, column), mask=mask)
    if len(PARAMS) > 0:
        value = value.to(tl.float32)
    for stage in tl.static_range(len(PARAMS)):
        if SLOTS[stage] >= 0:
            offset = block_offset(operand_strides[SLOTS[stage]], i, j, k, column)
            operand = tl.load(operands[SLOTS[stage]] + offset, mask=mask)
            value = STAGES[stage](value, operand.to(tl.float32))
        else:
            value = STAGES[stage](value, PARAMS[stage])
    y = y_ptr + block_offset(y_strides, i, j, k, column)
    tl.store(y, value.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=BATCH)
def fill_kernel(
    y_ptr,
    N,
    sizes,
    y_strides,
    VALUE: tl.constexpr,
    BLOCK_ROW: tl.constexpr,
    BLOCK_COL: tl.constexpr,
):
    """Store VALUE to BLOCK_ROW x BLOCK_COL elements."""
    i, j, k, column, row_live, column_live = block_coordinates(N, sizes, BLOCK_ROW, BLOCK_COL)
    value = tl.full((BLOCK_ROW, BLOCK_COL), VALUE, dtype=y_ptr.dtype.element_ty)
    y = y_ptr + block_offset(y_strides, i, j, k, column)
    tl.store(y, value, mask=row_live[:, None] & column_live[None, :])


class _Space(NamedTuple):
    """An iteration space of four dimensions, the last the fastest of the first view.

    The batch is in the first, or in the last where all dimensions are merged.
    """

    sizes: tuple[int, ...]
    strides: tuple[Strides, ...]
    grid: tuple[int, int, int]
    meta: dict[str, int]


def _iteration_space(shape: tuple[int, ...], strides: Sequence[Strides]) -> _Space:
    """Order dimensions by the first view's strides, merging those that every view runs through.

    A batch of one sample is treated as any other, so that it takes the same kernel.
    """
    if len(shape) > 4:
        raise ValueError(f"at most four dimensions, got {shape}")
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

    Raises ValueError for shapes that do not broadcast and for what 32-bit offsets cannot hold.
    """
    operands = [s.operand.expand(y.shape) for s in stages if s.operand is not None]
    x = x.expand(y.shape)
    require(offset_refusal(y, x, *operands))
    space = _iteration_space(y.shape, [y.strides, x.strides, *(v.strides for v in operands)])
    slots, used = [], 0
    for stage in stages:
        slots.append(-1 if stage.operand is None else used)
        used += stage.operand is not None
    args = (
        x.buffer,
        y.buffer,
        tuple(v.buffer for v in operands),
        space.sizes[0],
        space.sizes[1:],
        space.strides[1],
        space.strides[0],
        space.strides[2:],
    )
    meta = space.meta | {
        "STAGES": tuple(s.fn for s in stages),
        "PARAMS": tuple(float(s.param) for s in stages),
        "SLOTS": tuple(slots),
    }
    return Launch(pointwise_kernel, space.grid, args, meta)


def copy(x: View, y: View) -> Launch:
    """Launch y = x, converting layout and dtype; concatenation and padding copy into a slice of y.

    Raises ValueError as `pointwise` does.
    """
    return pointwise(x, y, ())


def fill(y: View, value: float) -> Launch:
    """Launch y = value."""
    require(offset_refusal(y))
    space = _iteration_space(y.shape, [y.strides])
    args = (y.buffer, space.sizes[0], space.sizes[1:], space.strides[0])
    return Launch(fill_kernel, space.grid, args, space.meta | {"VALUE": value})
