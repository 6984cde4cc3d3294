"""Rows of elements over their own mean and deviation: group, instance and layer norm."""

from collections.abc import Sequence

import triton
import triton.language as tl

from .launch import BATCH, Launch, View
from .rows import element_offset, row_offset, rows_of
from .stages import rsqrt


@triton.jit
def load_affine(vector, row, element, sizes, elements, mask):
    """Weight or bias of a block of elements, in float32."""
    place = row_offset(row, sizes, vector.strides)[:, None]
    place += element_offset(element, elements, vector.strides)[None, :]
    return tl.load(vector.ptr + place, mask=mask, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=BATCH)
def standardize_kernel(
    x,
    y,
    weight,
    bias,
    N,
    sizes,
    elements,
    EPS: tl.constexpr,
    BLOCK_ROW: tl.constexpr,
    BLOCK_COL: tl.constexpr,
):
    """Standardize BLOCK_ROW of N * sizes[0] * sizes[1] rows, BLOCK_COL elements at a time.

    The first pass keeps, in float32, the mean and the sum of squared distances from it of each
    column of the block (B. P. Welford, Note on a Method for Calculating Corrected Sums of Squares
    and Products, Technometrics 4, 1962), and joins them; the second one writes.
    """
    row = tl.program_id(0) * BLOCK_ROW + tl.arange(0, BLOCK_ROW)
    live = row < N * sizes[0] * sizes[1]
    x_row = x.ptr + row_offset(row, sizes, x.strides)[:, None]
    y_row = y.ptr + row_offset(row, sizes, y.strides)[:, None]
    length = elements[0] * elements[1] * elements[2]
    block = tl.arange(0, BLOCK_COL)
    means = tl.zeros((BLOCK_ROW, BLOCK_COL), dtype=tl.float32)
    squares = tl.zeros((BLOCK_ROW, BLOCK_COL), dtype=tl.float32)
    for start in range(0, length, BLOCK_COL):
        element = start + block
        mask = live[:, None] & (element < length)[None, :]
        place = x_row + element_offset(element, elements, x.strides)[None, :]
        value = tl.load(place, mask=mask, other=0.0).to(tl.float32)
        step = tl.where(mask, value - means, 0.0)
        means += step / (start // BLOCK_COL + 1)
        squares += step * (value - means)
    counts = ((length - block + BLOCK_COL - 1) // BLOCK_COL).to(tl.float32)[None, :]
    mean = (tl.sum(means * counts, axis=1) / length)[:, None]
    apart = means - mean
    variance = tl.sum(squares + counts * apart * apart, axis=1) / length
    scale = rsqrt(variance + EPS)[:, None]
    for start in range(0, length, BLOCK_COL):
        element = start + block
        mask = live[:, None] & (element < length)[None, :]
        place = x_row + element_offset(element, elements, x.strides)[None, :]
        value = (tl.load(place, mask=mask, other=0.0).to(tl.float32) - mean) * scale
        if weight is not None:
            value *= load_affine(weight, row, element, sizes, elements, mask)
        if bias is not None:
            value += load_affine(bias, row, element, sizes, elements, mask)
        place = y_row + element_offset(element, elements, y.strides)[None, :]
        tl.store(place, value.to(y.ptr.dtype.element_ty), mask=mask)


def standardize(x: View, y: View, *affine: View, axes: Sequence[int], eps: float) -> Launch:
    """Launch y = (x - m) / sqrt(v + eps) [* weight [+ bias]], with mean and variance along `axes`.

    Weight and bias broadcast to x.

    Raises:
        ValueError: for shapes that disagree.
        Refused: for more than three dimensions of either kind that memory does not join, and for
            what 32-bit offsets or the grid cannot hold.
    """
    if x.shape != y.shape:
        raise ValueError(f"standardizing {x.shape} cannot fill {y.shape}")
    rows = rows_of((x, y, *(view.expand(x.shape) for view in affine)), axes)
    first, *sizes = rows.sizes
    views = (*rows.views, None, None)[:4]
    args = (*views, first, tuple(sizes), rows.elements)
    return Launch(standardize_kernel, rows.grid, args, rows.meta | {"EPS": eps})
