"""Softmax and log-softmax along any axis."""

import triton
import triton.language as tl
from triton.language.extra import libdevice

from .launch import (
    BATCH,
    Launch,
    View,
    ceil_div,
    grid_refusal,
    next_power_of_2,
    offset_refusal,
    require,
)

BLOCK_ELEMENTS = 1024


@triton.jit(do_not_specialize=BATCH)
def softmax_kernel(
    x_ptr,
    y_ptr,
    N,
    sizes,
    length,
    x_strides,
    y_strides,
    stride_x,
    stride_y,
    LOG: tl.constexpr,
    BLOCK_ROW: tl.constexpr,
    BLOCK_COL: tl.constexpr,
):
    """Normalise BLOCK_ROW rows of `length` elements, BLOCK_COL at a time, in float32.

    There are N * sizes[0] * sizes[1] rows.
    The first pass keeps each row's running maximum and the sum of exponentials relative to it
    (Milakov and Gimelshein 2018), the second writes.
    """
    row = tl.program_id(0) * BLOCK_ROW + tl.arange(0, BLOCK_ROW)
    live = row < N * sizes[0] * sizes[1]
    k = row % sizes[1]
    j = row // sizes[1] % sizes[0]
    i = row // sizes[1] // sizes[0]
    x_row = x_ptr + (i * x_strides[0] + j * x_strides[1] + k * x_strides[2])[:, None]
    y_row = y_ptr + (i * y_strides[0] + j * y_strides[1] + k * y_strides[2])[:, None]
    block = tl.arange(0, BLOCK_COL)
    largest = tl.full((BLOCK_ROW,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((BLOCK_ROW,), dtype=tl.float32)
    for start in range(0, length, BLOCK_COL):
        column = start + block
        mask = live[:, None] & (column < length)[None, :]
        x = tl.load(x_row + (column * stride_x)[None, :], mask=mask, other=float("-inf"))
        x = x.to(tl.float32)
        new_largest = tl.maximum(largest, tl.max(x, axis=1))
        base = tl.where(new_largest == float("-inf"), 0.0, new_largest)
        total = total * libdevice.exp(largest - base) + tl.sum(
            libdevice.exp(x - base[:, None]), axis=1
        )
        largest = new_largest
    for start in range(0, length, BLOCK_COL):
        column = start + block
        mask = live[:, None] & (column < length)[None, :]
        x = tl.load(x_row + (column * stride_x)[None, :], mask=mask, other=float("-inf"))
        shifted = x.to(tl.float32) - largest[:, None]
        y = shifted - tl.log(total)[:, None] if LOG else libdevice.exp(shifted) / total[:, None]
        tl.store(y_row + (column * stride_y)[None, :], y.to(y_ptr.dtype.element_ty), mask=mask)


def softmax(x: View, y: View, *, axis: int, log: bool = False) -> Launch:
    """Launch softmax (or its logarithm) of x along `axis`, for up to four dimensions.

    Raises ValueError for shapes that disagree and for what 32-bit offsets or the grid cannot hold.
    """
    rank = len(x.shape)
    if x.shape != y.shape or not 1 <= rank <= 4 or not -rank <= axis < rank:
        raise ValueError(f"softmax over axis {axis} of {x.shape} cannot fill {y.shape}")
    require(offset_refusal(x, y))
    axis %= rank
    rows = sorted((d for d in range(rank) if d != axis), key=lambda d: -x.strides[d])
    missing = 3 - len(rows)
    sizes = tuple(x.shape[d] for d in rows) + (1,) * missing
    x_strides = tuple(x.strides[d] for d in rows) + (0,) * missing
    y_strides = tuple(y.strides[d] for d in rows) + (0,) * missing
    block_col = min(next_power_of_2(x.shape[axis]), BLOCK_ELEMENTS)
    block_row = BLOCK_ELEMENTS // block_col
    grid = (ceil_div(sizes[0] * sizes[1] * sizes[2], block_row), 1, 1)
    require(grid_refusal(grid))
    args = (
        x.buffer,
        y.buffer,
        sizes[0],
        sizes[1:],
        x.shape[axis],
        x_strides,
        y_strides,
        x.strides[axis],
        y.strides[axis],
    )
    meta = {
        "LOG": log,
        "BLOCK_ROW": block_row,
        "BLOCK_COL": block_col,
        "num_warps": 4,
        "num_stages": 1,
    }
    return Launch(softmax_kernel, grid, args, meta)
