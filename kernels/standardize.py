"""Rows of elements over their own mean and deviation: group, instance and layer norm."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import triton
import triton.language as tl

from .launch import BATCH, Launch, Strided, Strides, View, constants
from .rows import element_offset, row_offset, rows_of


class Affine(NamedTuple):
    """Weight or bias as an argument: which of rows and their elements it tells apart."""

    ptr: Any
    strides: Strides
    BY_ROW: Any
    BY_ELEMENT: Any


@triton.jit
def load_affine(vector, row, element, live, inside, sizes, elements):
    """Weight or bias of a block in float32, that broadcasts to it."""
    by_row = vector.ptr + row_offset(row, sizes, vector.strides)[:, None]
    by_element = element_offset(element, elements, vector.strides)[None, :]
    if vector.BY_ROW and vector.BY_ELEMENT:
        mask = live[:, None] & inside[None, :]
        loaded = tl.load(by_row + by_element, mask=mask, other=0.0)
    elif vector.BY_ROW:
        loaded = tl.load(by_row, mask=live[:, None], other=0.0)
    else:
        loaded = tl.load(vector.ptr + by_element, mask=inside[None, :], other=0.0)
    return loaded.to(tl.float32)


@triton.jit(do_not_specialize=BATCH)
def standardize_kernel(
    x,
    y,
    weight,
    bias,
    N,
    sizes,
    elements,
    length,
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
    block = tl.arange(0, BLOCK_COL)
    means = tl.zeros((BLOCK_ROW, BLOCK_COL), dtype=tl.float32)
    squares = tl.zeros((BLOCK_ROW, BLOCK_COL), dtype=tl.float32)
    for start in range(0, length, BLOCK_COL):
        element = start + block
        mask = live[:, None] & (element < length)[None, :]
        place = x_row + element_offset(element, elements, x.strides)[None, :]
        value = tl.load(place, mask=mask, other=0.0).to(tl.float32)
        step = tl.where(mask, value - means, 0.0)
        means += step * (1.0 / (start // BLOCK_COL + 1))
        squares += step * (value - means)
    counts = ((length - block + BLOCK_COL - 1) // BLOCK_COL).to(tl.float32)[None, :]
    mean = (tl.sum(means * counts, axis=1) / length)[:, None]
    apart = means - mean
    variance = tl.sum(squares + counts * apart * apart, axis=1) / length
    # The approximate root: EPS keeps its argument from the numbers that it flushes.
    scale = tl.rsqrt(variance + EPS)[:, None]
    for start in range(0, length, BLOCK_COL):
        element = start + block
        inside = element < length
        mask = live[:, None] & inside[None, :]
        place = x_row + element_offset(element, elements, x.strides)[None, :]
        value = (tl.load(place, mask=mask, other=0.0).to(tl.float32) - mean) * scale
        if weight is not None:
            value *= load_affine(weight, row, element, live, inside, sizes, elements)
        if bias is not None:
            value += load_affine(bias, row, element, live, inside, sizes, elements)
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
    x_rows, y_rows, *vectors = rows.views
    weight, bias = (*map(_affine, vectors), None, None)[:2]
    args = (x_rows, y_rows, weight, bias, first, tuple(sizes), rows.elements, rows.length)
    return Launch(standardize_kernel, rows.grid, args, rows.meta | {"EPS": eps, "num_warps": 8})


def _affine(vector: Strided) -> Affine:
    told_apart = (any(vector.strides[:3]), any(vector.strides[3:]))
    return Affine(*vector, *constants(told_apart))
