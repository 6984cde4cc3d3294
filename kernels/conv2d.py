"""2-D convolution as an implicit matrix product, with a composable tail."""

from collections.abc import Sequence

import triton
import triton.language as tl

from .epilogue import Pool, Stage, Tail, epilogue
from .finish import finish, tile_pixels
from .launch import (
    BATCH,
    Launch,
    View,
    ceil_div,
    grid_refusal,
    offset_refusal,
    reach_refusal,
    require,
)
from .tile import ConvTile, Pressure

# Taps whose validity fits the bits of one int32.
MASK_TAPS = tl.constexpr(32)


@triton.jit(do_not_specialize=BATCH)
def conv2d_kernel(
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
    C: tl.constexpr,
    K: tl.constexpr,
    R: tl.constexpr,
    S: tl.constexpr,
    STRIDE_H: tl.constexpr,
    STRIDE_W: tl.constexpr,
    PAD_TOP: tl.constexpr,
    PAD_LEFT: tl.constexpr,
    DILATION_H: tl.constexpr,
    DILATION_W: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_CH: tl.constexpr,
    BLOCK_PIX: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Compute BLOCK_CH output channels of one group at BLOCK_PIX output pixels.

    acc[BLOCK_CH, BLOCK_PIX] += W[BLOCK_CH, BLOCK_K] @ X[BLOCK_PIX, BLOCK_K]^T in float32, over the
    R * S taps of all C channels of the group. The weight is the first operand, so pixels lie on
    the accumulator's columns (see `finish` for their order). Where BLOCK_K divides C, a step is
    BLOCK_K channels of one tap, taps innermost: neighbouring taps read mostly the same input, which
    then still is in L1. Otherwise the reduction index (r * S + s) * C + c is cut into blocks.
    Which taps of a pixel lie inside the image is one bit mask, computed once, up to 32 taps.
    Programs with the same pixels follow one another, so their input is in L2.
    """
    TAPS: tl.constexpr = R * S
    CHANNEL_TILES: tl.constexpr = (K + BLOCK_CH - 1) // BLOCK_CH
    pid = tl.program_id(0)
    group = tl.program_id(1)
    tile = pid // CHANNEL_TILES
    channel = (pid % CHANNEL_TILES) * BLOCK_CH + tl.arange(0, BLOCK_CH)
    channel_live = channel < K
    n, oh, ow, live = tile_pixels(tile, N, OH, OW, POOL_H, POOL_W, PARTIAL_WINDOWS, BLOCK_PIX)
    ih = oh * STRIDE_H - PAD_TOP
    iw = ow * STRIDE_W - PAD_LEFT
    x_pixel = n * x_strides[0] + ih * x_strides[2] + iw * x_strides[3] + group * C * x_strides[1]
    w_channel = (group * K + channel) * w_strides[0]
    if TAPS <= MASK_TAPS:
        inside = tl.zeros((BLOCK_PIX,), dtype=tl.int32)
        for i in tl.static_range(R):
            row_inside = live & (ih + i * DILATION_H >= 0) & (ih + i * DILATION_H < H)
            for j in tl.static_range(S):
                column_inside = (iw + j * DILATION_W >= 0) & (iw + j * DILATION_W < W)
                inside |= (row_inside & column_inside).to(tl.int32) << (i * S + j)
    acc = tl.zeros((BLOCK_CH, BLOCK_PIX), dtype=tl.float32)
    block = tl.arange(0, BLOCK_K)
    if C % BLOCK_K == 0:
        x_block = x_ptr + (x_pixel[:, None] + (block * x_strides[1])[None, :])
        w_block = w_ptr + (w_channel[:, None] + (block * w_strides[1])[None, :])
        for step in range(TAPS * (C // BLOCK_K)):
            tap = step % TAPS
            c = step // TAPS * BLOCK_K
            r = tap // S * DILATION_H
            s = tap % S * DILATION_W
            if TAPS <= MASK_TAPS:
                valid = ((inside >> tap) & 1) != 0
            else:
                valid = live & (ih + r >= 0) & (ih + r < H) & (iw + s >= 0) & (iw + s < W)
            x = tl.load(
                x_block + (r * x_strides[2] + s * x_strides[3] + c * x_strides[1]),
                mask=valid[:, None],
                other=0.0,
                cache_modifier=".ca",
            )  # [BLOCK_PIX, BLOCK_K]
            w_step = w_block + (tap * C + c) * w_strides[1]
            if K % BLOCK_CH == 0:
                w = tl.load(w_step)  # [BLOCK_CH, BLOCK_K]
            else:
                w = tl.load(w_step, mask=channel_live[:, None], other=0.0)
            acc = tl.dot(w, tl.trans(x), acc, input_precision=PRECISION)
    else:
        for start in range(0, TAPS * C, BLOCK_K):
            k = start + block
            tap = tl.minimum(k // C, TAPS - 1)
            r = tap // S * DILATION_H
            s = tap % S * DILATION_W
            k_live = k < TAPS * C
            if TAPS <= MASK_TAPS:
                valid = ((inside[:, None] >> tap[None, :]) & 1) != 0
            else:
                row = ih[:, None] + r[None, :]
                column = iw[:, None] + s[None, :]
                valid = live[:, None] & (row >= 0) & (row < H) & (column >= 0) & (column < W)
            x_step = r * x_strides[2] + s * x_strides[3] + (k % C) * x_strides[1]
            x = tl.load(
                x_ptr + (x_pixel[:, None] + x_step[None, :]),
                mask=valid & k_live[None, :],
                other=0.0,
            )  # [BLOCK_PIX, BLOCK_K]
            w = tl.load(
                w_ptr + (w_channel[:, None] + (k * w_strides[1])[None, :]),
                mask=channel_live[:, None] & k_live[None, :],
                other=0.0,
            )  # [BLOCK_CH, BLOCK_K]
            acc = tl.dot(w, tl.trans(x), acc, input_precision=PRECISION)
    channel += group * K
    if bias_ptr is None:
        bias = tl.zeros((BLOCK_CH,), dtype=tl.float32)
    else:
        bias = tl.load(bias_ptr + channel * stride_bias, mask=channel_live, other=0.0)
    finish(
        tl.trans(acc),
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


def conv_pressure(
    x: View, outputs: Sequence[View], tail: Tail, kernel: tuple[int, int]
) -> Pressure:
    """Register pressure of a convolution with these views (see `Pressure`)."""
    operands = [s.operand for s in tail if isinstance(s, Stage) and s.operand is not None]
    full_size = [v for v in operands if v.shape[2:] != (1, 1) and any(v.strides[2:])]
    if any(v.shape[1] > 1 and v.strides[1] != 1 for v in (x, *outputs, *full_size)):
        return Pressure.HIGH
    pooled = any(isinstance(step, Pool) for step in tail)
    light = (
        len(outputs) == 1 and (pooled or not full_size) and kernel[0] * kernel[1] <= MASK_TAPS.value
    )
    return Pressure.LOW if light else Pressure.NORMAL


def conv2d(
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
    """Launch a convolution of x [N, C, H, W] with its tail.

    `w` is packed to [K, R * S * C / groups] with reduction index (r * S + s) * C / groups + c;
    `bias` is [K]. `padding` is (top, left); the bottom and right follow from `out_size`, the size
    before any pool. `exports` (default: the last value) names the stored values, one output each.
    Raises ValueError for shapes that disagree and for what 32-bit offsets or the grid cannot hold.
    """
    images, channels, height, width = x.shape
    out_channels = w.shape[0]
    if channels % groups or out_channels % groups:
        raise ValueError(f"{groups} groups do not divide {channels} and {out_channels} channels")
    reduction = kernel[0] * kernel[1] * channels // groups
    if w.shape != (out_channels, reduction):
        raise ValueError(f"packed weight {w.shape}, wanted {(out_channels, reduction)}")
    if bias is not None and bias.shape != (out_channels,):
        raise ValueError(f"bias {bias.shape}, wanted {(out_channels,)}")
    end = epilogue(
        (images, out_channels, *out_size),
        tail,
        (len(tail),) if exports is None else exports,
        outputs,
    )
    require(offset_refusal(x, w))
    group_channels = out_channels // groups
    past = [
        max(0, (out - 1) * step + (taps - 1) * spread - before - (size - 1))
        for out, step, taps, spread, before, size in zip(
            out_size, stride, kernel, dilation, padding, x.shape[2:], strict=True
        )
    ]
    for rows, columns in (padding, past):
        require(reach_refusal(x, rows * x.strides[2] + columns * x.strides[3]))
    require(reach_refusal(w, -group_channels % tile.channels * w.strides[0]))
    windows = tile.pixels // (end.window[0] * end.window[1])
    grid = (
        ceil_div(end.windows(images, *out_size), windows) * ceil_div(group_channels, tile.channels),
        groups,
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
        "C": channels // groups,
        "K": group_channels,
        "R": kernel[0],
        "S": kernel[1],
        "STRIDE_H": stride[0],
        "STRIDE_W": stride[1],
        "PAD_TOP": padding[0],
        "PAD_LEFT": padding[1],
        "DILATION_H": dilation[0],
        "DILATION_W": dilation[1],
        "PRECISION": "tf32x3" if x.dtype == "f32" else "ieee",
        "BLOCK_CH": tile.channels,
        "BLOCK_PIX": tile.pixels,
        "BLOCK_K": tile.reduction,
        "num_warps": tile.num_warps,
        "num_stages": tile.num_stages,
    }
    return Launch(conv2d_kernel, grid, args, meta)
