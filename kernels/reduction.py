"""Sums, means and extrema over whole dimensions."""

import math
from collections.abc import Sequence

import triton
import triton.language as tl

from .launch import BATCH, Launch, View
from .rows import element_offset, row_offset, rows_of
from .stages import maximum, minimum

EMPTY = {"sum": 0.0, "mean": 0.0, "amax": -math.inf, "amin": math.inf}


@triton.jit(do_not_specialize=BATCH)
def reduce_kernel(
    x,
    y,
    N,
    sizes,
    elements,
    length,
    KIND: tl.constexpr,
    EMPTY: tl.constexpr,
    BLOCK_ROW: tl.constexpr,
    BLOCK_COL: tl.constexpr,
):
    """Reduce BLOCK_ROW of N * sizes[0] * sizes[1] rows, BLOCK_COL elements at a time, in float32.

    Each column of the block has a result of its own until the end, so that sums are many short
    chains and not a long one. EMPTY is the reduction of nothing.
    """
    row = tl.program_id(0) * BLOCK_ROW + tl.arange(0, BLOCK_ROW)
    live = row < N * sizes[0] * sizes[1]
    x_row = x.ptr + row_offset(row, sizes, x.strides)[:, None]
    value = tl.full((BLOCK_ROW, BLOCK_COL), EMPTY, dtype=tl.float32)
    for start in range(0, length, BLOCK_COL):
        element = start + tl.arange(0, BLOCK_COL)
        mask = live[:, None] & (element < length)[None, :]
        place = x_row + element_offset(element, elements, x.strides)[None, :]
        part = tl.load(place, mask=mask, other=EMPTY).to(tl.float32)
        if KIND == "amax":
            value = maximum(value, part)
        elif KIND == "amin":
            value = minimum(value, part)
        else:
            value += part
    if KIND == "amax":
        result = tl.reduce(value, 1, maximum)
    elif KIND == "amin":
        result = tl.reduce(value, 1, minimum)
    else:
        result = tl.sum(value, axis=1)
    if KIND == "mean":
        result /= length
    y_row = y.ptr + row_offset(row, sizes, y.strides)
    tl.store(y_row, result.to(y.ptr.dtype.element_ty), mask=live)


def reduction(x: View, y: View, *, kind: str, axes: Sequence[int]) -> Launch:
    """Launch y = "sum", "mean", "amax" or "amin" of x along `axes`, where y has size 1.

    Raises:
        ValueError: for shapes that disagree, and another kind.
        Refused: for more than three dimensions of either kind that memory does not join, and for
            what 32-bit offsets or the grid cannot hold.
    """
    if kind not in EMPTY:
        raise ValueError(f"there is no reduction {kind!r}")
    if y.shape != tuple(1 if d in axes else n for d, n in enumerate(x.shape)):
        raise ValueError(f"a reduction of {x.shape} along {tuple(axes)} cannot fill {y.shape}")
    rows = rows_of((x, y.expand(x.shape)), axes)
    first, *sizes = rows.sizes
    args = (*rows.views, first, tuple(sizes), rows.elements, rows.length)
    return Launch(reduce_kernel, rows.grid, args, rows.meta | {"KIND": kind, "EMPTY": EMPTY[kind]})
