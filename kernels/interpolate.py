"""Maps of another size: the nearest element, or means of the elements around a place."""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from .geometry import Sizes
from .launch import BATCH, Launch, View, constants, offset_refusal, require
from .maps import map_blocks, map_offset, map_tile


class Places(NamedTuple):
    """The places of outputs in a dimension of the input: that of output p is
    (p + OFFSET) * STEP, at most the last element. LINEAR: it is less OFFSET, but at least 0, and
    the result lies between the two elements around it, or, where nothing moves, between an element
    and itself; otherwise the place is rounded down."""

    STEP: Any
    OFFSET: Any
    LINEAR: Any


@triton.jit
def elements_around(index, size, places):
    """The element before a place, the one behind it, and how far it is from there to here."""
    place = (index.to(tl.float32) + places.OFFSET) * places.STEP
    if places.LINEAR:
        place = tl.maximum(place - places.OFFSET, 0.0)
    low = tl.minimum(place.to(tl.int32), size - 1)
    weight = tl.minimum(place - low.to(tl.float32), 1.0)
    STAYS: tl.constexpr = places.STEP == 1.0 and places.OFFSET == 0.0
    high = low if STAYS else tl.minimum(low + 1, size - 1)
    return low, high, weight


@triton.jit
def mean_of_two(first, second, weight):
    """From the first to the second, `weight` of the way."""
    return (1.0 - weight)[:, None] * first + weight[:, None] * second


@triton.jit
def row_value(x_row, column, mask, step, columns):
    """The values of BLOCK_PIX places in a row of the input, all channels of a tile."""
    left, right, across = column
    value = tl.load(x_row + (left * step)[:, None], mask=mask, other=0.0).to(tl.float32)
    if columns.LINEAR:
        other = tl.load(x_row + (right * step)[:, None], mask=mask, other=0.0).to(tl.float32)
        value = mean_of_two(value, other, across)
    return value


@triton.jit(do_not_specialize=BATCH)
def interpolate_kernel(
    x,
    y,
    N,
    C,
    sizes,
    rows,
    columns,
    BLOCK_PIX: tl.constexpr,
    BLOCK_CH: tl.constexpr,
):
    """Compute BLOCK_PIX output pixels of BLOCK_CH channels, in float32."""
    n, oh, ow, c, live, c_live = map_tile(N, C, sizes.OH, sizes.OW, BLOCK_PIX, BLOCK_CH)
    mask = live[:, None] & c_live[None, :]
    top, bottom, down = elements_around(oh, sizes.H, rows)
    column = elements_around(ow, sizes.W, columns)
    x_image = x.ptr + ((n * x.strides[0])[:, None] + (c * x.strides[1])[None, :])
    x_row = x_image + (top * x.strides[2])[:, None]
    value = row_value(x_row, column, mask, x.strides[3], columns)
    if rows.LINEAR:
        x_row = x_image + (bottom * x.strides[2])[:, None]
        value = mean_of_two(value, row_value(x_row, column, mask, x.strides[3], columns), down)
    y_block = y.ptr + map_offset(y.strides, n, oh, ow, c)
    tl.store(y_block, value.to(y.ptr.dtype.element_ty), mask=mask)


def interpolate(x: View, y: View, *, rows: Places, columns: Places) -> Launch:
    """Launch y = x at other places: x [N, C, H, W] to y [N, C, OH, OW].

    Raises:
        ValueError: for shapes that disagree.
        Refused: for what 32-bit offsets or the grid cannot hold.
    """
    images, channels, height, width = y.shape
    if x.shape[:2] != (images, channels):
        raise ValueError(f"an interpolation of {x.shape} cannot fill {y.shape}")
    require(offset_refusal(x, y))
    grid, meta = map_blocks(y)
    sizes = Sizes(x.shape[2], x.shape[3], height, width)
    args = (x.argument, y.argument, images, channels, sizes, constants(rows), constants(columns))
    return Launch(interpolate_kernel, grid, args, meta)
