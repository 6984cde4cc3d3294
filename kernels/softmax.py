"""Softmax and log-softmax along any axis."""

import math

import triton
import triton.language as tl
from triton.language.extra import libdevice

from .launch import (
    BATCH,
    Launch,
    Refused,
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
    x,
    y,
    N,
    sizes,
    length,
    LOG: tl.constexpr,
    BLOCK_ROW: tl.constexpr,
    BLOCK_COL: tl.constexpr,
):
    """Normalise BLOCK_ROW rows of `length` elements, BLOCK_COL at a time, in float32.

    There are N * sizes[0] * sizes[1] rows; strides are those of their three dimensions, and of the
    elements of a row.
    The first pass keeps each row's running maximum and the sum of exponentials relative to it
    (Milakov and Gimelshein 2018), the second writes.
    """
    row = tl.program_id(0) * BLOCK_ROW + tl.arange(0, BLOCK_ROW)
    live = row < N * sizes[0] * sizes[1]
    k = row % sizes[1]
    j = row // sizes[1] % sizes[0]
    i = row // sizes[1] // sizes[0]
    x_row = x.ptr + (i * x.strides[0] + j * x.strides[1] + k * x.strides[2])[:, None]
    y_row = y.ptr + (i * y.strides[0] + j * y.strides[1] + k * y.strides[2])[:, None]
    block = tl.arange(0, BLOCK_COL)
    largest = tl.full((BLOCK_ROW,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((BLOCK_ROW,), dtype=tl.float32)
    for start in range(0, length, BLOCK_COL):
        column = start + block
        mask = live[:, None] & (column < length)[None, :]
        part = tl.load(x_row + (column * x.strides[3])[None, :], mask=mask, other=float("-inf"))
        part = part.to(tl.float32)
        new_largest = tl.maximum(largest, tl.max(part, axis=1))
        base = tl.where(new_largest == float("-inf"), 0.0, new_largest)
        total = total * libdevice.exp(largest - base) + tl.sum(
            libdevice.exp(part - base[:, None]), axis=1
        )
        largest = new_largest
    for start in range(0, length, BLOCK_COL):
        column = start + block
        mask = live[:, None] & (column < length)[None, :]
        part = tl.load(x_row + (column * x.strides[3])[None, :], mask=mask, other=float("-inf"))
        shifted = part.to(tl.float32) - largest[:, None]
        result = (
            shifted - tl.log(total)[:, None] if LOG else libdevice.exp(shifted) / total[:, None]
        )
        tl.store(
            y_row + (column * y.strides[3])[None, :], result.to(y.ptr.dtype.element_ty), mask=mask
        )


def softmax(x: View, y: View, *, axis: int, log: bool = False) -> Launch:
    """Launch softmax (or its logarithm) of x along `axis`, for up to four dimensions.

    Raises:
        ValueError: for shapes that disagree.
        Refused: for more dimensions, and for what 32-bit offsets or the grid cannot hold.
    """
    rank = len(x.shape)
    if x.shape != y.shape or not -rank <= axis < rank:
        raise ValueError(f"softmax over axis {axis} of {x.shape} cannot fill {y.shape}")
    if rank > 4:
        raise Refused(f"kernels run over at most four dimensions, not over {x.shape}")
    require(offset_refusal(x, y))
    axis %= rank
    rows = sorted((d for d in range(rank) if d != axis), key=lambda d: -x.strides[d])
    order = (*rows, *(-1,) * (3 - len(rows)), axis)
    x, y = x.permuted(*order), y.permuted(*order)
    length = x.shape[3]
    block_col = min(next_power_of_2(length), BLOCK_ELEMENTS)
    block_row = BLOCK_ELEMENTS // block_col
    grid = (ceil_div(math.prod(x.shape[:3]), block_row), 1, 1)
    require(grid_refusal(grid))
    args = (x.argument, y.argument, x.shape[0], x.shape[1:3], length)
    meta = {
        "LOG": log,
        "BLOCK_ROW": block_row,
        "BLOCK_COL": block_col,
        # Where a program has several rows: of rows of two, a thread of four warps would have so
        # many that registers spill on 10.0.
        "num_warps": 8 if block_row > 1 else 4,
        "num_stages": 1,
    }
    return Launch(softmax_kernel, grid, args, meta)
