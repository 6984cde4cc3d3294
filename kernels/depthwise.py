"""Depthwise 2-D convolution: every output channel reads one input channel."""

from collections.abc import Sequence

import triton
import triton.language as tl

from .conv2d import conv_arguments
from .epilogue import Tail, epilogue
from .finish import finish, load_bias, tile_pixels
from .geometry import Geometry
from .launch import BATCH, Launch, View, ceil_div, grid_refusal, require
from .tile import ConvTile


@triton.jit(do_not_specialize=BATCH)
def depthwise_conv2d_kernel(
    x, w, bias, N, sizes, geometry, tail, BLOCK_CH: tl.constexpr, BLOCK_PIX: tl.constexpr
):
    """Compute BLOCK_CH of K output channels at BLOCK_PIX output pixels, in float32.

    No matrix product: per tap, x[BLOCK_PIX, BLOCK_CH] times a vector of weights. Channels run over
    lanes. Output channel k reads input channel k // (K / C).
    """
    K: tl.constexpr = geometry.K
    MULTIPLIER: tl.constexpr = K // geometry.C
    CHANNEL_TILES: tl.constexpr = (K + BLOCK_CH - 1) // BLOCK_CH
    pid = tl.program_id(0)
    tile = pid // CHANNEL_TILES
    channel = (pid % CHANNEL_TILES) * BLOCK_CH + tl.arange(0, BLOCK_CH)
    channel_live = channel < K
    n, oh, ow, live = tile_pixels(tile, N, sizes.OH, sizes.OW, tail.pool, BLOCK_PIX)
    ih = oh * geometry.STRIDE_H - geometry.PAD_TOP
    iw = ow * geometry.STRIDE_W - geometry.PAD_LEFT
    x_pixel = n * x.strides[0] + ih * x.strides[2] + iw * x.strides[3]
    x_block = x.ptr + (x_pixel[:, None] + (channel // MULTIPLIER * x.strides[1])[None, :])
    w_block = w.ptr + channel * w.strides[0]
    acc = tl.zeros((BLOCK_PIX, BLOCK_CH), dtype=tl.float32)
    for tap in range(geometry.R * geometry.S):
        r = tap // geometry.S * geometry.DILATION_H
        s = tap % geometry.S * geometry.DILATION_W
        inside = live & (ih + r >= 0) & (ih + r < sizes.H) & (iw + s >= 0) & (iw + s < sizes.W)
        pixels = tl.load(
            x_block + (r * x.strides[2] + s * x.strides[3]),
            mask=inside[:, None] & channel_live[None, :],
            other=0.0,
        )  # [BLOCK_PIX, BLOCK_CH]
        weight = tl.load(w_block + tap * w.strides[1], mask=channel_live, other=0.0)
        acc += pixels.to(tl.float32) * weight.to(tl.float32)[None, :]
    bias_tile = load_bias(bias, channel, channel_live)
    finish(acc, bias_tile, tile, N, sizes.OH, sizes.OW, channel, channel_live, tail)


def depthwise_conv2d(
    x: View,
    w: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    out_size: tuple[int, ...],
    tail: Tail = (),
    exports: Sequence[int] | None = None,
    tile: ConvTile,
) -> Launch:
    """Launch a depthwise convolution: groups == C, w [C * multiplier, R * S].

    The other arguments and the errors are those of `conv2d`; the tile's reduction is not used.
    """
    images, channels = x.shape[:2]
    out_channels = w.shape[0]
    if groups != channels or out_channels % channels:
        raise ValueError(f"{groups} groups over {channels} and {out_channels} channels")
    if w.shape[1] != kernel[0] * kernel[1]:
        raise ValueError(f"packed weight {w.shape} does not hold {kernel} taps")
    end = epilogue((images, out_channels, *out_size), tail, exports, outputs, tile.pixels, groups)
    geometry = Geometry(channels, out_channels, *kernel, *stride, *padding, *dilation)
    args = conv_arguments(x, w, bias, w.shape[0], end, geometry, out_size)
    grid = (end.tiles * ceil_div(out_channels, tile.channels), 1, 1)
    require(grid_refusal(grid))
    meta = {
        "BLOCK_CH": tile.channels,
        "BLOCK_PIX": tile.pixels,
        "num_warps": tile.num_warps,
        "num_stages": 1,
    }
    return Launch(depthwise_conv2d_kernel, grid, args, meta)
