"""Depthwise separable 2-D convolution: a depthwise one, and the 1x1 one that reads it."""

from collections.abc import Sequence

import triton
import triton.language as tl

from .conv2d import MASK_TAPS, taps_inside
from .epilogue import Head, Tail, epilogue, head_argument
from .finish import finish, load_bias, run_steps, tile_pixels
from .geometry import Geometry, Sizes
from .launch import (
    BATCH,
    Launch,
    View,
    ceil_div,
    constants,
    grid_refusal,
    offset_refusal,
    require,
)
from .tf32 import Precision, add_product, product_meta
from .tile import ConvTile


@triton.jit
def head_tile(x, head, place, sizes, geometry, ALL: tl.constexpr):
    """The head's values [BLOCK_PIX, BLOCK_RED] at a place, rounded to the type of x.

    ALL: every channel of the place exists. One that does not gets zeros.
    """
    TAPS: tl.constexpr = geometry.R * geometry.S
    COUNT: tl.constexpr = len(head.steps.steps)
    n, oh, ow, c, live, c_live = place
    ih = oh * geometry.STRIDE_H - geometry.PAD_TOP
    iw = ow * geometry.STRIDE_W - geometry.PAD_LEFT
    x_pixel = n * x.strides[0] + ih * x.strides[2] + iw * x.strides[3]
    x_block = x.ptr + (x_pixel[:, None] + (c * x.strides[1])[None, :])
    w_block = head.w.ptr + c * head.w.strides[0]
    if TAPS <= MASK_TAPS:
        taps = taps_inside(ih, iw, live, sizes.H, sizes.W, geometry)
    value = tl.zeros((live.shape[0], c.shape[0]), dtype=tl.float32)
    for tap in range(TAPS):
        r = tap // geometry.S * geometry.DILATION_H
        s = tap % geometry.S * geometry.DILATION_W
        if TAPS <= MASK_TAPS:
            inside = ((taps >> tap) & 1) != 0
        else:
            inside = live & (ih + r >= 0) & (ih + r < sizes.H)
            inside = inside & (iw + s >= 0) & (iw + s < sizes.W)
        mask = inside[:, None] if ALL else inside[:, None] & c_live[None, :]
        x_tap = x_block + (r * x.strides[2] + s * x.strides[3])
        pixels = tl.load(x_tap, mask=mask, other=0.0)  # [BLOCK_PIX, BLOCK_RED]
        weight = tl.load(w_block + tap * head.w.strides[1], mask=c_live, other=0.0)
        value += pixels.to(tl.float32) * weight.to(tl.float32)[None, :]
    value += load_bias(head.bias, c, c_live)[None, :]
    value = run_steps((value,), place, head.steps, 0, COUNT)[COUNT]
    if not ALL:
        # A step may make anything of zeros.
        value = tl.where(c_live[None, :], value, 0.0)
    return value.to(x.ptr.dtype.element_ty)


@triton.jit(do_not_specialize=BATCH)
def separable_conv2d_kernel(
    x,
    head,
    w,
    bias,
    N,
    sizes,
    geometry,
    tail,
    PRECISION: tl.constexpr,
    BLOCK_CH: tl.constexpr,
    BLOCK_PIX: tl.constexpr,
    BLOCK_RED: tl.constexpr,
):
    """Compute BLOCK_CH of K output channels at BLOCK_PIX output pixels.

    acc[BLOCK_CH, BLOCK_PIX] += W[BLOCK_CH, BLOCK_RED] @ Y[BLOCK_PIX, BLOCK_RED]^T in float32, over
    all C channels of Y, the depthwise convolution and its steps, which is rounded as if it were
    read from memory. Each program makes all channels of its pixels, so Y is made anew for every
    tile of output channels.
    """
    C: tl.constexpr = geometry.C
    K: tl.constexpr = geometry.K
    CHANNEL_TILES: tl.constexpr = (K + BLOCK_CH - 1) // BLOCK_CH
    WHOLE: tl.constexpr = C // BLOCK_RED * BLOCK_RED
    pid = tl.program_id(0)
    tile = pid // CHANNEL_TILES
    channel = (pid % CHANNEL_TILES) * BLOCK_CH + tl.arange(0, BLOCK_CH)
    channel_live = channel < K
    n, oh, ow, live = tile_pixels(tile, N, sizes.OH, sizes.OW, tail.pool, BLOCK_PIX)
    w_channel = w.ptr + (channel * w.strides[0])[:, None]
    block = tl.arange(0, BLOCK_RED)
    acc = tl.zeros((BLOCK_CH, BLOCK_PIX), dtype=tl.float32)
    for start in range(0, WHOLE, BLOCK_RED):
        c = start + block
        w_block = w_channel + (c * w.strides[1])[None, :]
        filters = tl.load(w_block, mask=channel_live[:, None], other=0.0)  # [BLOCK_CH, BLOCK_RED]
        value = head_tile(x, head, (n, oh, ow, c, live, c < C), sizes, geometry, ALL=True)
        acc = add_product(acc, filters, value, PRECISION)
    if WHOLE < C:
        c = WHOLE + block
        w_block = w_channel + (c * w.strides[1])[None, :]
        w_mask = channel_live[:, None] & (c < C)[None, :]
        filters = tl.load(w_block, mask=w_mask, other=0.0)
        value = head_tile(x, head, (n, oh, ow, c, live, c < C), sizes, geometry, ALL=False)
        acc = add_product(acc, filters, value, PRECISION)
    bias_tile = load_bias(bias, channel, channel_live)
    finish(tl.trans(acc), bias_tile, tile, N, sizes.OH, sizes.OW, channel, channel_live, tail)


def separable_conv2d(
    x: View,
    w: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    head: Head,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    out_size: tuple[int, ...],
    tail: Tail = (),
    exports: Sequence[int] | None = None,
    tile: ConvTile,
    precision: Precision = "tf32x3",
) -> Launch:
    """Launch the 1x1 convolution `w` [K, C] of what `head` makes of x [N, C, H, W].

    The head is a depthwise convolution of one filter per channel, whose window `kernel`, `stride`,
    `padding` and `dilation` describe, and steps; its products are of float32 as it is. The other
    arguments and the errors are those of `conv2d`.
    """
    images, channels = x.shape[:2]
    filters = w.shape[0]
    for name, view, wanted in (
        ("packed weight", w, (filters, channels)),
        ("packed weight of the head", head.w, (channels, kernel[0] * kernel[1])),
        ("bias", bias, (filters,)),
        ("bias of the head", head.bias, (channels,)),
    ):
        if view is not None and view.shape != wanted:
            raise ValueError(f"{name} {view.shape}, wanted {wanted}")
    end = epilogue((images, filters, *out_size), tail, exports, outputs, tile.pixels)
    begin = head_argument(head, (images, channels, *out_size))
    require(offset_refusal(x, w))
    geometry = Geometry(channels, filters, *kernel, *stride, *padding, *dilation)
    args = (
        x.argument,
        begin,
        w.argument,
        bias and bias.argument,
        images,
        Sizes(x.shape[2], x.shape[3], *out_size),
        constants(geometry),
        end.argument,
    )
    grid = (end.tiles * ceil_div(filters, tile.channels), 1, 1)
    require(grid_refusal(grid))
    meta = product_meta(x.dtype, precision, rounded=False) | {
        "BLOCK_CH": tile.channels,
        "BLOCK_PIX": tile.pixels,
        "BLOCK_RED": tile.reduction,
        "num_warps": tile.num_warps,
        "num_stages": tile.num_stages,
    }
    return Launch(separable_conv2d_kernel, grid, args, meta)
