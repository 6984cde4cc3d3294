"""2-D convolution with 3 x 3 filters by minimal filtering, with a composable tail.

m x m outputs of a channel take (m + 2)^2 products where the sum as it is written takes 9 m^2: 4 a
pixel for m = 2, and 2.25 for m = 4 (see `toom_cook`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import triton
import triton.language as tl

from .epilogue import Half, Tail, across, epilogue
from .finish import load_bias, run_steps, split_index, store_tile
from .launch import (
    BATCH,
    Launch,
    Refused,
    View,
    ceil_div,
    constants,
    grid_refusal,
    masked_reach,
    offset_refusal,
    require,
)
from .stages import maximum
from .toom_cook import GAP as TILE_GAP
from .toom_cook import TAPS, TRANSFORMS, Tables, WinogradTile
from .window import Pool

GAP = tl.constexpr(TILE_GAP)


@triton.jit
def weighted_sum(values, ROW):
    """The sum of ROW[k] * values[k], as a tuple of one; factors of 0, 1 and -1 cost nothing."""
    total = values[:0]
    for k in tl.static_range(len(ROW)):
        if ROW[k] != 0.0:
            if len(total) == 0:
                total = (values[k] if ROW[k] == 1.0 else values[k] * ROW[k],)
            elif ROW[k] == 1.0:
                total = (total[0] + values[k],)
            elif ROW[k] == -1.0:
                total = (total[0] - values[k],)
            else:
                total = (total[0] + values[k] * ROW[k],)
    return total


@triton.jit
def multiplied(values, TABLE):
    """The matrix TABLE times a vector of values."""
    result = values[:0]
    for i in tl.static_range(len(TABLE)):
        result = result + weighted_sum(values, TABLE[i])
    return result


@triton.jit
def transformed(values, FIRST, SECOND):
    """T X T^T with T = SECOND FIRST, for values X, row by row."""
    SIZE: tl.constexpr = len(FIRST)
    COUNT: tl.constexpr = len(SECOND)
    columns = values[:0]
    for j in tl.static_range(SIZE):
        columns = columns + multiplied(multiplied(values[j::SIZE], FIRST), SECOND)
    result = values[:0]
    for i in tl.static_range(COUNT):
        result = result + multiplied(multiplied(columns[i::COUNT], FIRST), SECOND)
    return result


@triton.jit
def transform_input(x, v, place, c, c_live, sizes, tables, ALL: tl.constexpr):
    """Write B^T d B of tiles and channels c to v: [point, tile, channel]."""
    SIZE: tl.constexpr = len(tables.INPUT)
    n, top, left, live, v_row, V_POINT = place
    x_tile = n * x.strides[0] + top * x.strides[2] + left * x.strides[3]
    x_block = x.ptr + (x_tile[:, None] + (c * x.strides[1])[None, :])
    values = tables.INPUT[:0]
    for i in tl.static_range(SIZE):
        row_inside = live & (top + i >= 0) & (top + i < sizes.H)
        for j in tl.static_range(SIZE):
            inside = row_inside & (left + j >= 0) & (left + j < sizes.W)
            mask = inside[:, None] if ALL else inside[:, None] & c_live[None, :]
            x_step = x_block + (i * x.strides[2] + j * x.strides[3])
            values = values + (tl.load(x_step, mask=mask, other=0.0).to(tl.float32),)
    values = transformed(values, tables.INPUT, tables.PAIRS)
    for p in tl.static_range(SIZE * SIZE):
        tl.store(v + (p * V_POINT) + (v_row[:, None] + c[None, :]), values[p])


@triton.jit
def pooled_tile(values, pool, OUTPUTS: tl.constexpr, i, j):
    """The pool of window (i, j) of a tile's values, row by row, as a tuple of one."""
    total = values[:0]
    for a in tl.static_range(pool.KERNEL_H):
        for b in tl.static_range(pool.KERNEL_W):
            at = values[(i * pool.KERNEL_H + a) * OUTPUTS + j * pool.KERNEL_W + b]
            if len(total) == 0:
                total = (at,)
            elif pool.MAX:
                total = (maximum(total[0], at),)
            else:
                total = (total[0] + at,)
    if not pool.MAX:
        total = (total[0] * (1.0 / (pool.KERNEL_H * pool.KERNEL_W)),)
    return total


@triton.jit
def finish_tiles(values, bias, place, sizes, channel, channel_live, tail, OUTPUTS: tl.constexpr):
    """Add bias [CH] to a tile's values, each [TILE, CH], run the tail, store every export.

    As `finish`, but that each pixel of a tile is a value of its own.
    """
    COUNT: tl.constexpr = len(tail.steps)
    AT: tl.constexpr = tail.pool.AT
    BIAS_LAST: tl.constexpr = AT == 0 and tail.STORE < 0
    n, row, col, live = place
    made = ((values[0],),)
    before = values[:0]
    for p in tl.static_range(OUTPUTS * OUTPUTS):
        value = values[p]
        if not BIAS_LAST:
            oh = row * OUTPUTS + p // OUTPUTS
            ow = col * OUTPUTS + p % OUTPUTS
            inside = live & (oh < sizes.OH) & (ow < sizes.OW)
            pixel = (n, oh, ow, channel, inside, channel_live)
            value += bias[None, :]
            if tail.STORE >= 0:
                value = store_tile(tail.outputs[tail.STORE], value, pixel)
            made = (run_steps((value,), pixel, tail, 0, AT if AT >= 0 else COUNT),)
            if AT >= 0:
                value = made[0][tail.steps[AT].READS[0]]
        before = before + (value,)
    if AT >= 0:
        ROWS: tl.constexpr = OUTPUTS // tail.pool.KERNEL_H
        COLS: tl.constexpr = OUTPUTS // tail.pool.KERNEL_W
        for w in tl.static_range(ROWS * COLS):
            value = pooled_tile(before, tail.pool, OUTPUTS, w // COLS, w % COLS)[0]
            if BIAS_LAST:
                value += bias[None, :]
            oh = row * ROWS + w // COLS
            ow = col * COLS + w % COLS
            inside = live & (oh < sizes.OH // tail.pool.KERNEL_H)
            inside = inside & (ow < sizes.OW // tail.pool.KERNEL_W)
            pixel = (n, oh, ow, channel, inside, channel_live)
            if tail.steps[AT].STORE >= 0:
                value = store_tile(tail.outputs[tail.steps[AT].STORE], value, pixel)
            run_steps(made[0] + (value,), pixel, tail, AT + 1, COUNT)


@triton.jit(do_not_specialize=BATCH)
def winograd_kernel(
    x,
    w,
    bias,
    scratch,
    N,
    sizes,
    geometry,
    tail,
    PRECISION: tl.constexpr,
    BLOCK_CH: tl.constexpr,
    BLOCK_TILES: tl.constexpr,
    BLOCK_RED: tl.constexpr,
):
    """Compute a part of the output channels for blocks of BLOCK_TILES tiles.

    Each program works in memory of its own: the transformed input of a block, of all channels, and
    the products of BLOCK_CH output channels with it, at each of the points; the next block and the
    next channels take their place. What is transformed is read again for every BLOCK_CH channels of
    the program's part.
    """
    SIZE: tl.constexpr = len(geometry.TABLES.INPUT)
    OUTPUTS: tl.constexpr = len(geometry.TABLES.OUTPUT)
    POINTS: tl.constexpr = SIZE * SIZE
    PANELS: tl.constexpr = (geometry.K + BLOCK_CH - 1) // BLOCK_CH
    PADDED: tl.constexpr = (geometry.C + BLOCK_RED - 1) // BLOCK_RED * BLOCK_RED
    V_ROW: tl.constexpr = PADDED + GAP
    V_POINT: tl.constexpr = BLOCK_TILES * V_ROW
    M_POINT: tl.constexpr = BLOCK_TILES * BLOCK_CH
    worker = tl.program_id(0)
    part = tl.program_id(1)
    v = scratch.ptr + (part * tl.num_programs(0) + worker) * (POINTS * (V_POINT + M_POINT))
    m = v + POINTS * V_POINT
    down = tl.cdiv(sizes.OH, OUTPUTS)
    right = tl.cdiv(sizes.OW, OUTPUTS)
    index = tl.arange(0, BLOCK_TILES)
    block = tl.arange(0, BLOCK_RED)
    for at in range(worker, tl.cdiv(N * down * right, BLOCK_TILES), tl.num_programs(0)):
        tile = at * BLOCK_TILES + index
        live = tile < N * down * right
        n, row, col = split_index(tl.where(live, tile, 0), down, right)
        top = row * OUTPUTS - geometry.PAD_TOP
        left = col * OUTPUTS - geometry.PAD_LEFT
        place = (n, top, left, live, index * V_ROW, V_POINT)
        for start in range(0, PADDED, BLOCK_RED):
            c = start + block
            ALL: tl.constexpr = geometry.C == PADDED
            transform_input(x, v, place, c, c < geometry.C, sizes, geometry.TABLES, ALL)
        tl.debug_barrier()
        for panel in range(part, PANELS, tl.num_programs(1)):
            channel = panel * BLOCK_CH + tl.arange(0, BLOCK_CH)
            for p in range(POINTS):
                w_point = w.ptr + (panel * w.strides[0] + p * w.strides[1])
                w_block = w_point + (tl.arange(0, BLOCK_CH) * w.strides[2])[:, None]
                v_block = v + p * V_POINT + (index * V_ROW)[:, None]
                acc = tl.zeros((BLOCK_CH, BLOCK_TILES), dtype=tl.float32)
                for start in range(0, PADDED, BLOCK_RED):
                    c = start + block
                    filters = tl.load(w_block + (c * w.strides[3])[None, :])
                    inputs = tl.load(v_block + c[None, :])
                    acc = tl.dot(filters, tl.trans(inputs), acc, input_precision=PRECISION)
                m_block = m + p * M_POINT + (index * BLOCK_CH)[:, None]
                tl.store(m_block + tl.arange(0, BLOCK_CH)[None, :], tl.trans(acc))
            tl.debug_barrier()
            products = geometry.TABLES.INPUT[:0]
            for p in tl.static_range(POINTS):
                m_block = m + p * M_POINT + (index * BLOCK_CH)[:, None]
                products = products + (tl.load(m_block + tl.arange(0, BLOCK_CH)[None, :]),)
            values = transformed(products, geometry.TABLES.PAIRS, geometry.TABLES.OUTPUT)
            if geometry.K % BLOCK_CH == 0:
                channel_live = tl.full((BLOCK_CH,), True, tl.int1)
            else:
                channel_live = channel < geometry.K
            bias_tile = load_bias(bias, channel, channel_live)
            finish_tiles(
                values, bias_tile, (n, row, col, live), sizes, channel, channel_live, tail, OUTPUTS
            )
            tl.debug_barrier()


class Filter(NamedTuple):
    """What a kernel knows of a convolution beforehand: channels, filters, padding, matrices."""

    C: int
    K: int
    PAD_TOP: int
    PAD_LEFT: int
    TABLES: Tables


class MapSizes(NamedTuple):
    """Height and width of the input, and of the output before any pool."""

    H: int
    W: int
    OH: int
    OW: int


def tile_refusal(tail: Tail, outputs: int) -> str | None:
    """Why tiles of so many outputs do not end in a tail that others may end in, or None."""
    if any(isinstance(step, Half) for step in tail) or across(tail):
        return "its tail brings channels together"
    pool = next((step for step in tail if isinstance(step, Pool)), None)
    if pool is not None:
        whole = pool.steps == pool.kernel and not any(pool.padding)
        if not whole or any(outputs % n for n in pool.kernel):
            return f"windows of its pool lie across tiles of {outputs}x{outputs} outputs"
    return None


def winograd_conv2d(
    x: View,
    w: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    scratch: View,
    padding: tuple[int, ...],
    out_size: tuple[int, ...],
    tail: Tail = (),
    exports: Sequence[int] | None = None,
    tile: WinogradTile,
) -> Launch:
    """Launch a convolution of x [N, C, H, W] with 3 x 3 filters and its tail.

    `w` [K / tile.channels, points, tile.channels, C] is G g G^T of each filter, with zeros up to
    whole blocks of channels, of both kinds. It is float32 whatever the images are: numbers of fewer
    bits would not survive the transforms. `scratch` has `tile.scratch(C)` elements. The other
    arguments are those of `conv2d`.

    Raises:
        ValueError: for shapes that disagree.
        Refused: for a tail that no kernel takes, and what 32-bit offsets or the grid cannot hold.
    """
    transform = TRANSFORMS[tile.outputs]
    images, channels = x.shape[:2]
    filters = outputs[0].shape[1]
    wanted = (
        ceil_div(filters, tile.channels),
        transform.size**2,
        tile.channels,
        ceil_div(channels, tile.reduction) * tile.reduction,
    )
    if w.shape != wanted:
        raise ValueError(f"packed weight {w.shape}, wanted {wanted}")
    if bias is not None and bias.shape != (filters,):
        raise ValueError(f"bias {bias.shape}, wanted {(filters,)}")
    if {w.dtype, scratch.dtype} != {"f32"}:
        raise ValueError(f"weight {w.dtype} and scratch {scratch.dtype}, wanted f32")
    if scratch.size < tile.scratch(channels):
        raise ValueError(f"scratch of {scratch.size} elements, wanted {tile.scratch(channels)}")
    if refused := tile_refusal(tail, tile.outputs):
        raise Refused(refused)
    pixels = tile.tiles * tile.outputs**2
    end = epilogue((images, filters, *out_size), tail, exports, outputs, pixels)
    require(offset_refusal(x, w, scratch))
    height, width = x.strides[2:]
    past = [
        max(0, ceil_div(n, tile.outputs) * tile.outputs + TAPS - 1 - before - size)
        for n, before, size in zip(out_size, padding, x.shape[2:], strict=True)
    ]
    ends = [rows * height + columns * width for rows, columns in (padding, past)]
    reach = masked_reach(x, max(ends))
    grid = (tile.workers, tile.parts, 1)
    require(grid_refusal(grid))
    args = (
        x.argument,
        w.argument,
        bias and bias.argument,
        scratch.argument,
        images,
        MapSizes(x.shape[2], x.shape[3], out_size[0], out_size[1]),
        constants(Filter(channels, filters, padding[0], padding[1], transform.tables)),
        end.argument,
    )
    meta = {
        "PRECISION": "tf32x3",
        "BLOCK_CH": tile.channels,
        "BLOCK_TILES": tile.tiles,
        "BLOCK_RED": tile.reduction,
        "num_warps": tile.num_warps,
        "num_stages": tile.num_stages,
    }
    return Launch(winograd_kernel, grid, args, meta, reach)
