"""Device code shared by the kernels that end in a tail: which pixels a tile holds, how it ends.

Column order. A tile of BLOCK_PIX output pixels holds BLOCK_PIX / (H * W) windows of the tail's
pool; pixel j of the tile is j = (dy * windows + p) * W + dx for element (dy, dx) of window p. So
pooling is a reshape and two reductions, and in the accumulator layouts of the tensor cores both
reduced axes lie inside one thread.

A place is where a tile [ROW, COL] lies: three coordinates of its rows (image, row and column of a
pixel), one of its columns (the channel), and which rows and columns exist.
"""

import triton
import triton.language as tl

from . import epilogue

TURN = tl.constexpr(epilogue.TURN)


@triton.jit
def split_index(index, H, W):
    """Image, row and column of a flattened [N, H, W] index."""
    rows = index // W
    return rows // H, rows % H, index % W


@triton.jit
def pool_grid(OH, OW, pool):
    """Rows and columns of pool windows; partial ones are counted if their pixels are stored."""
    if pool.PARTIAL:
        rows = tl.cdiv(OH, pool.H)
        cols = tl.cdiv(OW, pool.W)
    else:
        rows = OH // pool.H
        cols = OW // pool.W
    return rows, cols


@triton.jit
def tile_pixels(tile, N, OH, OW, pool, BLOCK_PIX: tl.constexpr):
    """Image, row, column and liveness of a tile's output pixels, each [BLOCK_PIX].

    Dead pixels get the coordinates of pixel 0: the address of a masked load stays valid.
    """
    BLOCK_WIN: tl.constexpr = BLOCK_PIX // (pool.H * pool.W)
    rows, cols = pool_grid(OH, OW, pool)
    j = tl.arange(0, BLOCK_PIX)
    window = tile * BLOCK_WIN + (j // pool.W) % BLOCK_WIN
    n, row, col = split_index(window, rows, cols)
    oh = row * pool.H + j // (pool.W * BLOCK_WIN)
    ow = col * pool.W + j % pool.W
    live = window < N * rows * cols
    if pool.PARTIAL:
        live = live & (oh < OH) & (ow < OW)
    return tl.where(live, n, 0), tl.where(live, oh, 0), tl.where(live, ow, 0), live


@triton.jit
def tile_offset(strides, place):
    """Offsets [ROW, COL] in one view of the elements at a place."""
    i, j, k, column, _, _ = place
    row_offset = i * strides[0] + j * strides[1] + k * strides[2]
    return row_offset[:, None] + (column * strides[3])[None, :]


@triton.jit
def store_tile(y, value, place):
    """Store value [ROW, COL] at a place, in the output's type; returns it as a load would.

    What follows in the tail reads this, so a kernel and the nodes it stands for round (and
    overflow) alike wherever a value leaves the kernel.
    """
    _, _, _, _, row_live, column_live = place
    mask = row_live[:, None] & column_live[None, :]
    # The address comes first: the other way round, tiles near the limit of registers spill.
    ptr = y.ptr + tile_offset(y.strides, place)
    stored = value.to(ptr.dtype.element_ty)
    tl.store(ptr, stored, mask=mask)
    return stored.to(tl.float32)


@triton.jit
def load_operand(operand, place):
    """Load a stage's operand in float32: [1, COL] where only the column matters, or [ROW, COL]."""
    _, _, _, column, row_live, column_live = place
    if operand.PER_CHANNEL:
        vector = operand.ptr + column * operand.strides[3]
        loaded = tl.load(vector, mask=column_live, other=0.0)[None, :]
    else:
        mask = row_live[:, None] & column_live[None, :]
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
def larger(a, b):
    """The larger of two values; NaN if either is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def pool_tile(value, pool):
    """Pool value [PIX, CH], pixels in the column order above, to [PIX / (H * W), CH]."""
    PIX: tl.constexpr = value.shape[0]
    CH: tl.constexpr = value.shape[1]
    windows = tl.reshape(value, (pool.H, PIX // (pool.H * pool.W), pool.W, CH))
    if pool.MAX:
        pooled = tl.reduce(tl.reduce(windows, 2, larger), 0, larger)
    else:
        pooled = tl.sum(tl.sum(windows, axis=2), axis=0) * (1.0 / (pool.H * pool.W))
    return pooled


@triton.jit
def halves(value):
    """Both halves [ROW, CH / 2] of value [ROW, CH], whose columns alternate in turns of TURN."""
    ROW: tl.constexpr = value.shape[0]
    TURNS: tl.constexpr = value.shape[1] // (2 * TURN)
    turns = tl.reshape(value, (ROW, TURNS, 2, TURN))
    first, second = tl.split(tl.permute(turns, (0, 1, 3, 2)))
    return tl.reshape(first, (ROW, TURNS * TURN)), tl.reshape(second, (ROW, TURNS * TURN))


@triton.jit
def finish_gated(value, bias, tile, N, OH, OW, channel, tail, HALF: tl.constexpr):
    """Add bias [CH] to value [PIX, CH], take it apart in its halves of HALF channels, run the rest
    of the tail on these, store every export."""
    n, oh, ow, live = tile_pixels(tile, N, OH, OW, tail.pool, value.shape[0])
    value += bias[None, :]
    first, second = halves(value)
    column, _ = halves(channel[None, :])
    column = tl.reshape(column, (value.shape[1] // 2,))
    column = column // (2 * TURN) * TURN + column % TURN
    place = (n, oh, ow, column, live, column < HALF)
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
    BLOCK_WIN: tl.constexpr = BLOCK_PIX // (tail.pool.H * tail.pool.W)
    values = (value,)
    if not BIAS_LAST:
        n, oh, ow, live = tile_pixels(tile, N, OH, OW, tail.pool, BLOCK_PIX)
        place = (n, oh, ow, channel, live, channel_live)
        value += bias[None, :]
        if tail.STORE >= 0:
            value = store_tile(tail.outputs[tail.STORE], value, place)
        values = run_steps((value,), place, tail, 0, AT if AT >= 0 else COUNT)
    if AT >= 0:
        pooled = pool_tile(values[tail.steps[AT].READS[0]], tail.pool)
        if BIAS_LAST:
            pooled += bias[None, :]
        rows, cols = pool_grid(OH, OW, tail.pool)
        window = tile * BLOCK_WIN + tl.arange(0, BLOCK_WIN)
        n, row, col = split_index(window, rows, cols)
        live = window < N * rows * cols
        if tail.pool.PARTIAL:
            live = live & (row < OH // tail.pool.H) & (col < OW // tail.pool.W)
        place = (n, row, col, channel, live, channel_live)
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
