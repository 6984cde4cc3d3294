"""Device code shared by the kernels that end in a tail: which pixels a tile holds, how it ends.

Column order. A tile of BLOCK_PIX output pixels holds BLOCK_PIX / (H * W) blocks of the tail's pool
(see `window`); pixel j of the tile is j = (dy * blocks + p) * W + dx for element (dy, dx) of block
p. So pooling is a reshape and two reductions, and in the accumulator layouts of the tensor cores
both reduced axes lie inside one thread. Where windows overlap, the partial results of neighbouring
blocks are gathered after each reduction: of half the tile, and then of a quarter.

A place is where a tile [ROW, COL] lies: three coordinates of its rows (image, row and column of a
pixel), one of its columns (the channel), which rows and columns exist, and, where the pixels of all
images are counted as they follow one another, the number of each. A view with one stride for these
takes no coordinates, and so no division.
"""

import triton
import triton.language as tl

from . import epilogue
from .stages import maximum

TURN = tl.constexpr(epilogue.TURN)


@triton.jit
def split_index(index, H, W):
    """Image, row and column of a flattened [N, H, W] index."""
    rows = index // W
    return rows // H, rows % H, index % W


@triton.jit
def pool_size(OH, OW, pool):
    """Rows and columns of windows."""
    rows = (OH + (pool.TOP + pool.BOTTOM - pool.KERNEL_H)) // pool.STRIDE_H + 1
    cols = (OW + (pool.LEFT + pool.RIGHT - pool.KERNEL_W)) // pool.STRIDE_W + 1
    return rows, cols


@triton.jit
def visited_blocks(OH, OW, pool):
    """Rows and columns of blocks that tiles have for their own."""
    rows, cols = pool_size(OH, OW, pool)
    if pool.PARTIAL:
        rows = tl.cdiv(OH, pool.STRIDE_H)
        cols = tl.cdiv(OW, pool.STRIDE_W)
    return rows, cols


@triton.jit
def first_block(tile, OH, OW, pool):
    """Image, row and column of the first block of a tile that is a box of ROWS x COLS blocks.

    Where windows overlap, the last rows and columns of a tile's blocks are halo: its own windows
    reach into them, and the next tile holds them again.
    """
    OWN_ROWS: tl.constexpr = pool.ROWS - (pool.KERNEL_H - 1) // pool.STRIDE_H
    OWN_COLS: tl.constexpr = pool.COLS - (pool.KERNEL_W - 1) // pool.STRIDE_W
    rows, cols = visited_blocks(OH, OW, pool)
    n, down, right = split_index(tile, tl.cdiv(rows, OWN_ROWS), tl.cdiv(cols, OWN_COLS))
    return n, down * OWN_ROWS, right * OWN_COLS


@triton.jit
def tile_blocks(tile, N, OH, OW, pool, block, BLOCKS: tl.constexpr):
    """Image, row and column of blocks of a tile; which exist, and which begin a window to store."""
    HALO_ROWS: tl.constexpr = (pool.KERNEL_H - 1) // pool.STRIDE_H
    HALO_COLS: tl.constexpr = (pool.KERNEL_W - 1) // pool.STRIDE_W
    rows, cols = pool_size(OH, OW, pool)
    visited_rows, visited_cols = visited_blocks(OH, OW, pool)
    if pool.ROWS * pool.COLS > 1:
        n, row, col = first_block(tile, OH, OW, pool)
        i = block // pool.COLS
        j = block % pool.COLS
        n = n + block * 0
        row += i
        col += j
        live = (row < visited_rows + HALO_ROWS) & (col < visited_cols + HALO_COLS)
        begins = (row < rows) & (col < cols)
        if HALO_ROWS + HALO_COLS > 0:
            begins = begins & (i < pool.ROWS - HALO_ROWS) & (j < pool.COLS - HALO_COLS)
    else:
        index = tile * BLOCKS + block
        n, row, col = split_index(index, visited_rows, visited_cols)
        live = index < N * visited_rows * visited_cols
        begins = live
        if pool.PARTIAL:
            begins = live & (row < rows) & (col < cols)
    return n, row, col, live, begins


@triton.jit
def tile_pixels(tile, N, OH, OW, pool, BLOCK_PIX: tl.constexpr):
    """Image, row, column and liveness of a tile's output pixels, each [BLOCK_PIX].

    Dead pixels get the coordinates of pixel 0: the address of a masked load stays valid.
    """
    BLOCKS: tl.constexpr = BLOCK_PIX // (pool.H * pool.W)
    j = tl.arange(0, BLOCK_PIX)
    n, row, col, live, _ = tile_blocks(tile, N, OH, OW, pool, (j // pool.W) % BLOCKS, BLOCKS)
    dy = j // (pool.W * BLOCKS)
    dx = j % pool.W
    oh = row * pool.STRIDE_H - pool.TOP + dy
    ow = col * pool.STRIDE_W - pool.LEFT + dx
    if pool.H > pool.STRIDE_H:
        live = live & (dy < pool.STRIDE_H)
    if pool.W > pool.STRIDE_W:
        live = live & (dx < pool.STRIDE_W)
    if pool.EDGES:
        live = live & (oh >= 0) & (ow >= 0) & (oh < OH) & (ow < OW)
    return tl.where(live, n, 0), tl.where(live, oh, 0), tl.where(live, ow, 0), live


@triton.jit
def tile_offset(strides, place):
    """Offsets [ROW, COL] in one view of the elements at a place."""
    if len(strides) == 2:
        row_offset = place[6] * strides[0]
    else:
        row_offset = place[0] * strides[0] + place[1] * strides[1] + place[2] * strides[2]
    return row_offset[:, None] + (place[3] * strides[-1])[None, :]


@triton.jit
def store_tile(y, value, place):
    """Store value [ROW, COL] at a place, in the output's type; returns it as a load would.

    What follows in the tail reads this, so a kernel and the nodes it stands for round (and
    overflow) alike wherever a value leaves the kernel.
    """
    mask = place[4][:, None] & place[5][None, :]
    # The address comes first: the other way round, tiles near the limit of registers spill.
    ptr = y.ptr + tile_offset(y.strides, place)
    stored = value.to(ptr.dtype.element_ty)
    tl.store(ptr, stored, mask=mask)
    return stored.to(tl.float32)


@triton.jit
def load_operand(operand, place):
    """Load a stage's operand in float32: [1, COL] where only the column matters, or [ROW, COL]."""
    if operand.PER_CHANNEL:
        vector = operand.ptr + place[3] * operand.strides[-1]
        loaded = tl.load(vector, mask=place[5], other=0.0)[None, :]
    else:
        mask = place[4][:, None] & place[5][None, :]
        loaded = tl.load(operand.ptr + tile_offset(operand.strides, place), mask=mask, other=0.0)
    return loaded.to(tl.float32)


@triton.jit
def read_value(values, operands, place, READ: tl.constexpr):
    """What a stage reads: a value so far, or an operand in memory."""
    return values[READ] if READ >= 0 else load_operand(operands[-1 - READ], place)


@triton.jit
def run_steps(values, place, tail, FIRST: tl.constexpr, LAST: tl.constexpr):
    """The values [ROW, COL] so far, with those that steps FIRST to LAST make at a place."""
    # A tuple that holds a function must not be bound to a name of its own.
    for s in tl.static_range(FIRST, LAST):
        reads = values[:0]
        for r in tl.static_range(len(tail.steps[s].READS)):
            reads = reads + (read_value(values, tail.operands, place, tail.steps[s].READS[r]),)
        value = tail.steps[s].fn(*reads, *tail.steps[s].PARAMS)
        if tail.steps[s].STORE >= 0:
            value = store_tile(tail.outputs[tail.steps[s].STORE], value, place)
        values = values + (value,)
    return values


@triton.jit
def fold_blocks(
    value, AXIS: tl.constexpr, STEP: tl.constexpr, KERNEL: tl.constexpr, STRIDE: tl.constexpr, pool
):
    """Reduce a spatial axis of blocks to the part of a window that begins STEP blocks before."""
    SIZE: tl.constexpr = value.shape[AXIS]
    # Elements of the window from this block on; the next block holds those beyond the stride.
    REST: tl.constexpr = KERNEL - STEP * STRIDE
    COUNT: tl.constexpr = REST if REST < STRIDE else STRIDE
    if COUNT < SIZE:
        element = tl.arange(0, SIZE)
        if AXIS == 2:
            taken = (element < COUNT)[None, None, :, None]
        else:
            taken = (element < COUNT)[:, None, None]
        value = tl.where(taken, value, pool.NOTHING)
    return tl.reduce(value, AXIS, maximum) if pool.MAX else tl.sum(value, axis=AXIS)


@triton.jit
def of_later_blocks(value, STEPS: tl.constexpr):
    """For every block of value [ROWS, BLOCKS, CH] the value of the one so many STEPS behind it."""
    ROWS: tl.constexpr = value.shape[0]
    BLOCKS: tl.constexpr = value.shape[1]
    CH: tl.constexpr = value.shape[2]
    # In the last blocks of a row, which are halo, the result means nothing.
    source = tl.minimum(tl.arange(0, ROWS * BLOCKS) + STEPS, ROWS * BLOCKS - 1)
    index = tl.broadcast_to(source[:, None], (ROWS * BLOCKS, CH))
    moved = tl.gather(tl.reshape(value, (ROWS * BLOCKS, CH)), index, 0)
    return tl.reshape(moved, (ROWS, BLOCKS, CH))


@triton.jit
def pool_tile(value, pool):
    """Pool value [PIX, CH], pixels in the column order above, to [PIX / (H * W), CH].

    An average is a sum here.
    """
    PIX: tl.constexpr = value.shape[0]
    CH: tl.constexpr = value.shape[1]
    BLOCKS: tl.constexpr = PIX // (pool.H * pool.W)
    blocks = tl.reshape(value, (pool.H, BLOCKS, pool.W, CH))
    rows = fold_blocks(blocks, 2, 0, pool.KERNEL_W, pool.STRIDE_W, pool)
    for step in tl.static_range(1, (pool.KERNEL_W - 1) // pool.STRIDE_W + 1):
        part = fold_blocks(blocks, 2, step, pool.KERNEL_W, pool.STRIDE_W, pool)
        part = of_later_blocks(part, step)
        rows = maximum(rows, part) if pool.MAX else rows + part
    pooled = fold_blocks(rows, 0, 0, pool.KERNEL_H, pool.STRIDE_H, pool)
    for step in tl.static_range(1, (pool.KERNEL_H - 1) // pool.STRIDE_H + 1):
        part = fold_blocks(rows, 0, step, pool.KERNEL_H, pool.STRIDE_H, pool)[None, :, :]
        part = tl.reshape(of_later_blocks(part, step * pool.COLS), (BLOCKS, CH))
        pooled = maximum(pooled, part) if pool.MAX else pooled + part
    return pooled


@triton.jit
def inside(start, TAPS: tl.constexpr, SIZE):
    """How many of TAPS elements from a start on lie in an output of so many."""
    return tl.minimum(start + TAPS, SIZE) - tl.maximum(start, 0)


@triton.jit
def halves(value):
    """Both halves [ROW, CH / 2] of value [ROW, CH], whose columns alternate in turns of TURN."""
    ROW: tl.constexpr = value.shape[0]
    TURNS: tl.constexpr = value.shape[1] // (2 * TURN)
    turns = tl.reshape(value, (ROW, TURNS, 2, TURN))
    first, second = tl.split(tl.permute(turns, (0, 1, 3, 2)))
    return tl.reshape(first, (ROW, TURNS * TURN)), tl.reshape(second, (ROW, TURNS * TURN))


@triton.jit
def finish_gated(value, bias, tile, N, OH, OW, first_channel, tail, HALF: tl.constexpr):
    """Add bias [CH] to value [PIX, CH], take it apart in its halves of HALF channels, run the rest
    of the tail on these, store every export.

    Turns that a tile holds whole lie side by side in a half, so its channels count up from one.
    """
    n, oh, ow, live = tile_pixels(tile, N, OH, OW, tail.pool, value.shape[0])
    value += bias[None, :]
    first, second = halves(value)
    column = first_channel + tl.arange(0, value.shape[1] // 2)
    pixel = tile * value.shape[0] + tl.arange(0, value.shape[0])
    place = (n, oh, ow, column, live, column < HALF, pixel)
    run_steps((value, first, second), place, tail, 2, len(tail.steps))


@triton.jit
def finish(value, bias, tile, N, OH, OW, channel, channel_live, tail):
    """Add bias [CH] to value [PIX, CH], run the tail, store every export.

    The bias waits until after the pool where nothing lies between: both pools commute with it, and
    a fraction of the tile is left.
    """
    COUNT: tl.constexpr = len(tail.steps)
    AT: tl.constexpr = tail.pool.AT
    BIAS_LAST: tl.constexpr = AT == 0 and tail.STORE < 0
    BLOCK_PIX: tl.constexpr = value.shape[0]
    BLOCKS: tl.constexpr = BLOCK_PIX // (tail.pool.H * tail.pool.W)
    number = tile * BLOCKS + tl.arange(0, BLOCKS)
    values = (value,)
    if not BIAS_LAST:
        n, oh, ow, live = tile_pixels(tile, N, OH, OW, tail.pool, BLOCK_PIX)
        place = (n, oh, ow, channel, live, channel_live, number)
        value += bias[None, :]
        if tail.STORE >= 0:
            value = store_tile(tail.outputs[tail.STORE], value, place)
        values = run_steps((value,), place, tail, 0, AT if AT >= 0 else COUNT)
    if AT >= 0:
        before = values[tail.steps[AT].READS[0]]
        if tail.pool.PADDED:
            _, _, _, live = tile_pixels(tile, N, OH, OW, tail.pool, BLOCK_PIX)
            before = tl.where(live[:, None], before, tail.pool.NOTHING)
        pooled = pool_tile(before, tail.pool)
        n, row, col, _, live = tile_blocks(tile, N, OH, OW, tail.pool, tl.arange(0, BLOCKS), BLOCKS)
        if not tail.pool.MAX:
            if tail.pool.PADDED:
                rows = inside(row * tail.pool.STRIDE_H - tail.pool.TOP, tail.pool.KERNEL_H, OH)
                cols = inside(col * tail.pool.STRIDE_W - tail.pool.LEFT, tail.pool.KERNEL_W, OW)
                pooled = pooled / tl.where(live, rows * cols, 1).to(tl.float32)[:, None]
            else:
                pooled = pooled * (1.0 / (tail.pool.KERNEL_H * tail.pool.KERNEL_W))
        if BIAS_LAST:
            pooled += bias[None, :]
        place = (n, row, col, channel, live, channel_live, number)
        if tail.steps[AT].STORE >= 0:
            pooled = store_tile(tail.outputs[tail.steps[AT].STORE], pooled, place)
        run_steps(values + (pooled,), place, tail, AT + 1, COUNT)


@triton.jit
def load_bias(bias, channel, channel_live):
    """The bias of some channels in float32; zeros where there is none."""
    if bias is None:
        vector = tl.zeros(channel.shape, dtype=tl.float32)
    else:
        loaded = tl.load(bias.ptr + channel * bias.strides[0], mask=channel_live, other=0.0)
        vector = loaded.to(tl.float32)
    return vector
