"""Local response normalisation: each element over a power of its neighbours across channels."""

import triton
import triton.language as tl

from .launch import BATCH, Launch, View, constants, offset_refusal, require
from .maps import map_blocks, map_offset, map_tile
from .movement import copy


@triton.jit
def over_power(value, total, FACTOR: tl.constexpr, BETA: tl.constexpr, K: tl.constexpr):
    """Value / (K + FACTOR * total)^BETA."""
    return value * tl.exp2(-BETA * tl.log2(K + FACTOR * total))


@triton.jit(do_not_specialize=BATCH)
def local_response_norm_kernel(
    x,
    y,
    N,
    C,
    sizes,
    formula,
    BEFORE: tl.constexpr,
    TAPS: tl.constexpr,
    BLOCK_PIX: tl.constexpr,
    BLOCK_CH: tl.constexpr,
):
    """Normalise BLOCK_PIX of N * sizes[0] * sizes[1] pixels in BLOCK_CH of C channels, in float32.

    `formula` holds the factor of the sum of squares, the power and what is added to it. A window
    has TAPS channels, BEFORE of them in front; each is read from the input, where neighbouring
    windows find it in the cache.
    """
    n, row, column, c, live, c_live = map_tile(N, C, sizes[0], sizes[1], BLOCK_PIX, BLOCK_CH)
    total = tl.zeros((BLOCK_PIX, BLOCK_CH), dtype=tl.float32)
    for tap in range(TAPS):
        near = c + (tap - BEFORE)
        mask = live[:, None] & ((near >= 0) & (near < C))[None, :]
        x_near = x.ptr + map_offset(x.strides, n, row, column, near)
        part = tl.load(x_near, mask=mask, other=0.0).to(tl.float32)
        total += part * part
    mask = live[:, None] & c_live[None, :]
    x_block = x.ptr + map_offset(x.strides, n, row, column, c)
    value = tl.load(x_block, mask=mask, other=0.0).to(tl.float32)
    value = over_power(value, total, formula[0], formula[1], formula[2])
    y_block = y.ptr + map_offset(y.strides, n, row, column, c)
    tl.store(y_block, value.to(y.ptr.dtype.element_ty), mask=mask)


@triton.jit
def normalize_channels(
    value,
    SIZE: tl.constexpr,
    ALPHA: tl.constexpr,
    BETA: tl.constexpr,
    K: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Normalise a tile [PIX, CH] whose first columns are all CHANNELS: a stage of a tail."""
    PIX: tl.constexpr = value.shape[0]
    CH: tl.constexpr = value.shape[1]
    BEFORE: tl.constexpr = SIZE // 2
    column = tl.arange(0, CH)
    squares = tl.where((column < CHANNELS)[None, :], value * value, 0.0)
    total = squares
    for tap in tl.static_range(SIZE):
        if tap != BEFORE:
            near = column + (tap - BEFORE)
            there = (near >= 0) & (near < CHANNELS)
            index = tl.broadcast_to(tl.where(there, near, 0)[None, :], (PIX, CH))
            total += tl.where(there[None, :], tl.gather(squares, index, 1), 0.0)
    return over_power(value, total, ALPHA / SIZE, BETA, K)


def local_response_norm(
    x: View, y: View, *, size: int, alpha: float, beta: float, k: float
) -> Launch:
    """Launch y = x / (k + alpha/size * sum of squares)^beta for x [N, C, H, W].

    The sum runs over `size` channels, size // 2 of them in front (PyTorch's convention).

    Raises:
        ValueError: for shapes that disagree.
        Refused: for what 32-bit offsets or the grid cannot hold.
    """
    if x.shape != y.shape or len(x.shape) != 4:
        raise ValueError(f"a normalisation of {x.shape} cannot fill {y.shape}")
    if beta == 0:  # of anything, NaN too
        return copy(x, y)
    require(offset_refusal(x, y))
    images, channels, height, width = x.shape
    before, after = min(size // 2, channels - 1), min((size - 1) // 2, channels - 1)
    grid, meta = map_blocks(y)
    formula = constants((alpha / size, beta, k))
    args = (x.argument, y.argument, images, channels, (height, width), formula)
    meta |= {"BEFORE": before, "TAPS": before + 1 + after}
    return Launch(local_response_norm_kernel, grid, args, meta)
