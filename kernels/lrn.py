"""Local response normalisation: each element over a power of its neighbours across channels."""

import triton
import triton.language as tl

from .launch import (
    BATCH,
    Launch,
    View,
    ceil_div,
    constants,
    grid_refusal,
    next_power_of_2,
    offset_refusal,
    require,
)
from .movement import copy

BLOCK_ELEMENTS = 1024


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
    pixel = tl.program_id(0) * BLOCK_PIX + tl.arange(0, BLOCK_PIX)
    c = tl.program_id(1) * BLOCK_CH + tl.arange(0, BLOCK_CH)
    live = pixel < N * sizes[0] * sizes[1]
    column = pixel % sizes[1]
    row = pixel // sizes[1] % sizes[0]
    n = pixel // sizes[1] // sizes[0]
    x_pixel = x.ptr + (n * x.strides[0] + row * x.strides[2] + column * x.strides[3])[:, None]
    y_pixel = y.ptr + (n * y.strides[0] + row * y.strides[2] + column * y.strides[3])[:, None]
    total = tl.zeros((BLOCK_PIX, BLOCK_CH), dtype=tl.float32)
    for tap in range(TAPS):
        near = c + (tap - BEFORE)
        mask = live[:, None] & ((near >= 0) & (near < C))[None, :]
        part = tl.load(x_pixel + (near * x.strides[1])[None, :], mask=mask, other=0.0)
        total += part.to(tl.float32) * part.to(tl.float32)
    mask = live[:, None] & (c < C)[None, :]
    value = tl.load(x_pixel + (c * x.strides[1])[None, :], mask=mask, other=0.0).to(tl.float32)
    value *= tl.exp2(-formula[1] * tl.log2(formula[2] + formula[0] * total))
    tl.store(y_pixel + (c * y.strides[1])[None, :], value.to(y.ptr.dtype.element_ty), mask=mask)


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
    return value * tl.exp2(-BETA * tl.log2(K + (ALPHA / SIZE) * total))


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
    block_ch = min(next_power_of_2(channels), 64)
    block_pix = BLOCK_ELEMENTS // block_ch
    pixels = images * height * width
    grid = (ceil_div(pixels, block_pix), ceil_div(channels, block_ch), 1)
    require(grid_refusal(grid))
    formula = constants((alpha / size, beta, k))
    args = (x.argument, y.argument, images, channels, (height, width), formula)
    meta = {
        "BEFORE": before,
        "TAPS": before + 1 + after,
        "BLOCK_PIX": block_pix,
        "BLOCK_CH": block_ch,
        "num_warps": 4,
        "num_stages": 1,
    }
    return Launch(local_response_norm_kernel, grid, args, meta)
