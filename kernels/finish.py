"""Device code shared by the kernels that end in a tail: which pixels a tile holds, how it ends.

Column order. A tile of BLOCK_PIX output pixels holds BLOCK_PIX / (POOL_H * POOL_W) pool windows;
pixel j of the tile is j = (dy * windows + p) * POOL_W + dx for element (dy, dx) of window p. So
pooling is a reshape and two reductions, and in the accumulator layouts of the tensor cores both
reduced axes lie inside one thread.
"""

import triton
import triton.language as tl


@triton.jit
def split_index(index, H, W):
    """Image, row and column of a flattened [N, H, W] index."""
    rows = index // W
    return rows // H, rows % H, index % W


@triton.jit
def pool_grid(OH, OW, POOL_H: tl.constexpr, POOL_W: tl.constexpr, PARTIAL_WINDOWS: tl.constexpr):
    """Rows and columns of pool windows; partial ones are counted if their pixels are stored."""
    if PARTIAL_WINDOWS:
        rows = tl.cdiv(OH, POOL_H)
        cols = tl.cdiv(OW, POOL_W)
    else:
        rows = OH // POOL_H
        cols = OW // POOL_W
    return rows, cols


@triton.jit
def tile_pixels(
    tile,
    N,
    OH,
    OW,
    POOL_H: tl.constexpr,
    POOL_W: tl.constexpr,
    PARTIAL_WINDOWS: tl.constexpr,
    BLOCK_PIX: tl.constexpr,
):
    """Image, row, column and liveness of a tile's output pixels, each [BLOCK_PIX].

    Dead pixels get the coordinates of pixel 0: the address of a masked load stays valid.
    """
    BLOCK_WIN: tl.constexpr = BLOCK_PIX // (POOL_H * POOL_W)
    rows, cols = pool_grid(OH, OW, POOL_H, POOL_W, PARTIAL_WINDOWS)
    j = tl.arange(0, BLOCK_PIX)
    window = tile * BLOCK_WIN + (j // POOL_W) % BLOCK_WIN
    n, row, col = split_index(window, rows, cols)
    oh = row * POOL_H + j // (POOL_W * BLOCK_WIN)
    ow = col * POOL_W + j % POOL_W
    live = window < N * rows * cols
    if PARTIAL_WINDOWS:
        live = live & (oh < OH) & (ow < OW)
    return tl.where(live, n, 0), tl.where(live, oh, 0), tl.where(live, ow, 0), live


@triton.jit
def tile_offset(strides, place):
    """Offsets [PIX, CH] in one view of the pixels (n, h, w) and channels c of a place."""
    n, c, h, w, _, _ = place
    return (n * strides[0] + h * strides[2] + w * strides[3])[:, None] + (c * strides[1])[None, :]


@triton.jit
def store_tile(ptr, strides, value, place):
    """Store value [PIX, CH] at a place, in the output's type; returns it as whoever loads it would.

    What follows in the chain reads this, so a kernel and the nodes it stands for round (and
    overflow) alike wherever a value leaves the kernel.
    """
    _, _, _, _, pixel_live, channel_live = place
    mask = pixel_live[:, None] & channel_live[None, :]
    # The address comes first: the other way round, tiles near the limit of registers spill.
    ptr += tile_offset(strides, place)
    stored = value.to(ptr.dtype.element_ty)
    tl.store(ptr, stored, mask=mask)
    return stored.to(tl.float32)


@triton.jit
def load_operand(ptr, strides, place, PER_CHANNEL: tl.constexpr):
    """Load a stage's operand in float32: [1, CH] where only the channel matters, else [PIX, CH]."""
    _, c, _, _, pixel_live, channel_live = place
    if PER_CHANNEL:
        operand = tl.load(ptr + c * strides[1], mask=channel_live, other=0.0)[None, :]
    else:
        mask = pixel_live[:, None] & channel_live[None, :]
        operand = tl.load(ptr + tile_offset(strides, place), mask=mask, other=0.0)
    return operand.to(tl.float32)


@triton.jit
def run_stages(
    value,
    place,
    outputs,
    output_strides,
    operands,
    operand_strides,
    STAGES,
    PARAMS: tl.constexpr,
    SLOTS: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    STORES: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    VALUE: tl.constexpr,
):
    """Apply stages FIRST to LAST to value [PIX, CH], which is value VALUE of the chain.

    `place` is (n, c, h, w, pixel_live, channel_live). STORES[i] is the output that takes value i,
    SLOTS[s] the operand of stage s; -1 is none.
    """
    if STORES[VALUE] >= 0:
        y_ptr = outputs[STORES[VALUE]]
        value = store_tile(y_ptr, output_strides[STORES[VALUE]], value, place)
    for i in tl.static_range(FIRST, LAST):
        if SLOTS[i] >= 0:
            ptr = operands[SLOTS[i]]
            operand = load_operand(ptr, operand_strides[SLOTS[i]], place, PER_CHANNEL[SLOTS[i]])
            value = STAGES[i](value, operand)
        else:
            value = STAGES[i](value, PARAMS[i])
        if STORES[VALUE + 1 + i - FIRST] >= 0:
            y_ptr = outputs[STORES[VALUE + 1 + i - FIRST]]
            value = store_tile(y_ptr, output_strides[STORES[VALUE + 1 + i - FIRST]], value, place)
    return value


@triton.jit
def larger(a, b):
    """The larger of two values; NaN if either is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def pool_tile(value, POOL_H: tl.constexpr, POOL_W: tl.constexpr, POOL_MAX: tl.constexpr):
    """Pool value [PIX, CH], pixels in the column order above, to [PIX / (POOL_H * POOL_W), CH]."""
    PIX: tl.constexpr = value.shape[0]
    CH: tl.constexpr = value.shape[1]
    windows = tl.reshape(value, (POOL_H, PIX // (POOL_H * POOL_W), POOL_W, CH))
    if POOL_MAX:
        pooled = tl.reduce(tl.reduce(windows, 2, larger), 0, larger)
    else:
        pooled = tl.sum(tl.sum(windows, axis=2), axis=0) * (1.0 / (POOL_H * POOL_W))
    return pooled


@triton.jit
def finish(
    value,
    bias,
    tile,
    N,
    OH,
    OW,
    channel,
    channel_live,
    outputs,
    output_strides,
    operands,
    operand_strides,
    STAGES,
    PARAMS: tl.constexpr,
    SLOTS: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    STORES: tl.constexpr,
    POOL_AT: tl.constexpr,
    POOL_MAX: tl.constexpr,
    POOL_H: tl.constexpr,
    POOL_W: tl.constexpr,
    PARTIAL_WINDOWS: tl.constexpr,
):
    """Add bias [CH] to value [PIX, CH], run the tail, store every export.

    POOL_AT stages come before the pool; -1 means no pool. The bias waits until after the pool
    where nothing lies between: both pools commute with it, and a fraction of the tile is left.
    """
    STAGES_COUNT: tl.constexpr = len(PARAMS)
    BLOCK_PIX: tl.constexpr = value.shape[0]
    BLOCK_WIN: tl.constexpr = BLOCK_PIX // (POOL_H * POOL_W)
    BEFORE: tl.constexpr = POOL_AT if POOL_AT >= 0 else STAGES_COUNT
    BIAS_LAST: tl.constexpr = POOL_AT == 0 and STORES[0] < 0
    if not BIAS_LAST:
        n, oh, ow, live = tile_pixels(tile, N, OH, OW, POOL_H, POOL_W, PARTIAL_WINDOWS, BLOCK_PIX)
        value = run_stages(
            value + bias[None, :],
            (n, channel, oh, ow, live, channel_live),
            outputs,
            output_strides,
            operands,
            operand_strides,
            STAGES,
            PARAMS,
            SLOTS,
            PER_CHANNEL,
            STORES,
            0,
            BEFORE,
            0,
        )
    if POOL_AT >= 0:
        pooled = pool_tile(value, POOL_H, POOL_W, POOL_MAX)
        if BIAS_LAST:
            pooled += bias[None, :]
        rows, cols = pool_grid(OH, OW, POOL_H, POOL_W, PARTIAL_WINDOWS)
        window = tile * BLOCK_WIN + tl.arange(0, BLOCK_WIN)
        n, row, col = split_index(window, rows, cols)
        live = window < N * rows * cols
        if PARTIAL_WINDOWS:
            live = live & (row < OH // POOL_H) & (col < OW // POOL_W)
        run_stages(
            pooled,
            (n, channel, row, col, live, channel_live),
            outputs,
            output_strides,
            operands,
            operand_strides,
            STAGES,
            PARAMS,
            SLOTS,
            PER_CHANNEL,
            STORES,
            BEFORE,
            STAGES_COUNT,
            BEFORE + 1,
        )
