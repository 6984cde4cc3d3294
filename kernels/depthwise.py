"""Depthwise 2-D convolution: every output channel reads one input channel."""

from collections.abc import Sequence

import triton
import triton.language as tl

from .epilogue import Tail, epilogue
from .finish import finish, tile_pixels
from .launch import BATCH, Launch, View, ceil_div, grid_refusal, offset_refusal, require
from .tile import ConvTile


@triton.jit(do_not_specialize=BATCH)
def depthwise_conv2d_kernel(
    x_ptr,
    w_ptr,
    bias_ptr,
    outputs,
    operands,
    N,
    H,
    W,
    OH,
    OW,
    x_strides,
    w_strides,
    stride_bias,
    output_strides,
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
    K: tl.constexpr,
    MULTIPLIER: tl.constexpr,
    R: tl.constexpr,
    S: tl.constexpr,
    STRIDE_H: tl.constexpr,
    STRIDE_W: tl.constexpr,
    PAD_TOP: tl.constexpr,
    PAD_LEFT: tl.constexpr,
    DILATION_H: tl.constexpr,
    DILATION_W: tl.constexpr,
    BLOCK_CH: tl.constexpr,
    BLOCK_PIX: tl.constexpr,
):
    """Compute BLOCK_CH of K output channels at BLOCK_PIX output pixels, in float32.

    No matrix product: per tap, x[BLOCK_PIX, BLOCK_CH] times a vector of weights. Channels run over
    lanes. Output channel k reads input channel k // MULTIPLIER.
    """
    CHANNEL_TILES: tl.constexpr = (K + BLOCK_CH - 1) // BLOCK_CH
    pid = tl.program_id(0)
    tile = pid // CHANNEL_TILES
    channel = (pid % CHANNEL_TILES) * BLOCK_CH + tl.arange(0, BLOCK_CH)
    channel_live = channel < K
    n, oh, ow, live = tile_pixels(tile, N, OH, OW, POOL_H, POOL_W, PARTIAL_WINDOWS, BLOCK_PIX)
    ih = oh * STRIDE_H - PAD_TOP
    iw = ow * STRIDE_W - PAD_LEFT
    x_pixel = n * x_strides[0] + ih * x_strides[2] + iw * x_strides[3]
    x_block = x_ptr + (x_pixel[:, None] + (channel // MULTIPLIER * x_strides[1])[None, :])
    w_block = w_ptr + channel * w_strides[0]
    acc = tl.zeros((BLOCK_PIX, BLOCK_CH), dtype=tl.float32)
    for tap in range(R * S):
        r = tap // S * DILATION_H
        s = tap % S * DILATION_W
        inside = live & (ih + r >= 0) & (ih + r < H) & (iw + s >= 0) & (iw + s < W)
        x = tl.load(
            x_block + (r * x_strides[2] + s * x_strides[3]),
            mask=inside[:, None] & channel_live[None, :],
            other=0.0,
        )  # [BLOCK_PIX, BLOCK_CH]
        w = tl.load(w_block + tap * w_strides[1], mask=channel_live, other=0.0)
        acc += x.to(tl.float32) * w.to(tl.float32)[None, :]
    if bias_ptr is None:
        bias = tl.zeros((BLOCK_CH,), dtype=tl.float32)
    else:
        bias = tl.load(bias_ptr + channel * stride_bias, mask=channel_live, other=0.0)
    finish(
        acc,
        bias.to(tl.float32),
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
        PARAMS,
        SLOTS,
        PER_CHANNEL,
        STORES,
        POOL_AT,
        POOL_MAX,
        POOL_H,
        POOL_W,
        PARTIAL_WINDOWS,
    )


def depthwise_conv2d(
    x: View,
    w: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    out_size: tuple[int, int],
    tail: Tail = (),
    exports: Sequence[int] | None = None,
    tile: ConvTile,
) -> Launch:
    """Launch a depthwise convolution: groups == C, w [C * multiplier, R * S].

    The other arguments and the errors are those of `conv2d`; the tile's reduction is not used.
    """
    images, channels, height, width = x.shape
    out_channels = w.shape[0]
    if groups != channels or out_channels % channels:
        raise ValueError(f"{groups} groups over {channels} and {out_channels} channels")
    if w.shape[1] != kernel[0] * kernel[1]:
        raise ValueError(f"packed weight {w.shape} does not hold {kernel} taps")
    if bias is not None and bias.shape != (out_channels,):
        raise ValueError(f"bias {bias.shape}, wanted {(out_channels,)}")
    end = epilogue(
        (images, out_channels, *out_size),
        tail,
        (len(tail),) if exports is None else exports,
        outputs,
    )
    require(offset_refusal(x, w))
    windows = tile.pixels // (end.window[0] * end.window[1])
    grid = (
        ceil_div(end.windows(images, *out_size), windows) * ceil_div(out_channels, tile.channels),
        1,
        1,
    )
    require(grid_refusal(grid))
    args = (
        x.buffer,
        w.buffer,
        None if bias is None else bias.buffer,
        end.outputs,
        end.operands,
        images,
        height,
        width,
        *out_size,
        x.strides,
        w.strides,
        1 if bias is None else bias.strides[0],
        end.output_strides,
        end.operand_strides,
    )
    meta = end.meta | {
        "K": out_channels,
        "MULTIPLIER": out_channels // channels,
        "R": kernel[0],
        "S": kernel[1],
        "STRIDE_H": stride[0],
        "STRIDE_W": stride[1],
        "PAD_TOP": padding[0],
        "PAD_LEFT": padding[1],
        "DILATION_H": dilation[0],
        "DILATION_W": dilation[1],
        "BLOCK_CH": tile.channels,
        "BLOCK_PIX": tile.pixels,
        "num_warps": tile.num_warps,
        "num_stages": 1,
    }
    return Launch(depthwise_conv2d_kernel, grid, args, meta)
