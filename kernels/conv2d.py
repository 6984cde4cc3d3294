"""2-D convolution as an implicit matrix product, with a composable tail."""

from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl

from .epilogue import Epilogue, Tail, epilogue
from .finish import finish, finish_gated, load_bias, store_tile, tile_pixels
from .geometry import Geometry, Sizes
from .launch import (
    BATCH,
    Launch,
    View,
    ceil_div,
    constants,
    grid_refusal,
    masked_reach,
    offset_refusal,
    require,
)
from .parts import first_part, share
from .reach import image_reach
from .rows import as_rows
from .tf32 import Precision, add_product, product_meta
from .tile import ConvTile

# Taps whose validity fits the bits of one int32.
MASK_TAPS = tl.constexpr(32)
# Panels hold zeros up to a multiple of so many channels.
LANES = tl.constexpr(16)


@triton.jit
def taps_inside(ih, iw, live, H, W, geometry):
    """For pixels whose first taps are at (ih, iw), a bit for each tap: whether it is in H x W."""
    inside = tl.zeros(live.shape, dtype=tl.int32)
    for i in tl.static_range(geometry.R):
        row = ih + i * geometry.DILATION_H
        row_inside = live & (row >= 0) & (row < H)
        for j in tl.static_range(geometry.S):
            column = iw + j * geometry.DILATION_W
            column_inside = (column >= 0) & (column < W)
            inside |= (row_inside & column_inside).to(tl.int32) << (i * geometry.S + j)
    return inside


@triton.jit(do_not_specialize=BATCH)
def conv2d_kernel(
    x,
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
    HALF: tl.constexpr = 0,
):
    """Compute BLOCK_CH output channels of one group at BLOCK_PIX output pixels.

    acc[BLOCK_CH, BLOCK_PIX] += W[BLOCK_CH, BLOCK_RED] @ X[BLOCK_PIX, BLOCK_RED]^T in float32, over
    the R * S taps of all C channels of the group. The weight is the first operand, so pixels lie on
    the accumulator's columns (see `finish` for their order). Where BLOCK_RED divides C, a step is
    BLOCK_RED channels of one tap, taps innermost: neighbouring taps read mostly the same input,
    which then still is in L1. Otherwise the reduction index (r * S + s) * C + c is cut into blocks.
    Which taps of a pixel lie inside the image is one bit mask, computed once, up to 32 taps.
    Programs with the same pixels follow one another, so their input is in L2. The channels are
    those of two convolutions in turns where HALF, the channels of each, is not 0. A weight of four
    dimensions is in panels of pairs. With PARTS of the reduction, a program adds up the steps of
    one and writes the sums, [PARTS * N * OH * OW, K].
    """
    C: tl.constexpr = geometry.C
    K: tl.constexpr = geometry.K
    S: tl.constexpr = geometry.S
    PANEL: tl.constexpr = geometry.PANEL
    PARTS: tl.constexpr = geometry.PARTS
    PAIR: tl.constexpr = 2 if len(w.strides) == 4 else 1
    TAPS: tl.constexpr = geometry.R * S
    CHANNEL_TILES: tl.constexpr = (K + BLOCK_CH - 1) // BLOCK_CH
    LIVE: tl.constexpr = (K + LANES - 1) // LANES * LANES if PANEL > 0 else K
    REPEATS: tl.constexpr = geometry.UP_H * geometry.UP_W > 1
    H = sizes.H * geometry.UP_H
    W = sizes.W * geometry.UP_W
    pid = tl.program_id(0)
    group = tl.program_id(1)
    tile = pid // CHANNEL_TILES
    channel = (pid % CHANNEL_TILES) * BLOCK_CH + tl.arange(0, BLOCK_CH)
    channel_live = channel < K
    n, oh, ow, live = tile_pixels(tile, N, sizes.OH, sizes.OW, tail.pool, BLOCK_PIX)
    ih = oh * geometry.STRIDE_H - geometry.PAD_TOP
    iw = ow * geometry.STRIDE_W - geometry.PAD_LEFT
    if REPEATS:
        x_pixel = n * x.strides[0] + group * C * x.strides[1]
    else:
        x_pixel = n * x.strides[0] + ih * x.strides[2] + iw * x.strides[3]
        x_pixel += group * C * x.strides[1]
    if PANEL > 0:
        panel = (group * K + (pid % CHANNEL_TILES) * BLOCK_CH) // PANEL
        panel += tl.arange(0, BLOCK_CH // PANEL)
        w_panel = (panel * w.strides[0])[:, None] + (tl.arange(0, PANEL) * PAIR)[None, :]
        w_channel = tl.reshape(w_panel, (BLOCK_CH,))
        W_RED: tl.constexpr = PANEL
    else:
        w_channel = (group * K + channel) * w.strides[0]
        W_RED = w.strides[1]
    if TAPS <= MASK_TAPS:
        inside = taps_inside(ih, iw, live, H, W, geometry)
    begin = 0
    end = TAPS * C
    if PARTS > 1:
        begin, end = share(tl.program_id(2), TAPS * C, BLOCK_RED, PARTS)
    acc = tl.zeros((BLOCK_CH, BLOCK_PIX), dtype=tl.float32)
    block = tl.arange(0, BLOCK_RED)
    if C % BLOCK_RED == 0:
        x_block = x.ptr + (x_pixel[:, None] + (block * x.strides[1])[None, :])
        w_red = block * W_RED
        if PAIR > 1:
            w_pair = tl.arange(0, BLOCK_RED // PAIR) * (PAIR * PANEL)
            w_red = tl.reshape(w_pair[:, None] + tl.arange(0, PAIR)[None, :], (BLOCK_RED,))
        w_block = w.ptr + (w_channel[:, None] + w_red[None, :])
        for step in range(begin // BLOCK_RED, end // BLOCK_RED):
            tap = step % TAPS
            c = step // TAPS * BLOCK_RED
            r = tap // S * geometry.DILATION_H
            s = tap % S * geometry.DILATION_W
            if TAPS <= MASK_TAPS:
                valid = ((inside >> tap) & 1) != 0
            else:
                valid = live & (ih + r >= 0) & (ih + r < H) & (iw + s >= 0) & (iw + s < W)
            if REPEATS:
                x_row = (ih + r) // geometry.UP_H * x.strides[2]
                x_column = (iw + s) // geometry.UP_W * x.strides[3]
                x_tap = (x_pixel + x_row + x_column)[:, None]
                x_step = x.ptr + (x_tap + ((c + block) * x.strides[1])[None, :])
            else:
                x_step = x_block + (r * x.strides[2] + s * x.strides[3] + c * x.strides[1])
            pixels = tl.load(
                x_step,
                mask=valid[:, None],
                other=0.0,
                cache_modifier=".ca",
            )  # [BLOCK_PIX, BLOCK_RED]
            w_step = w_block + (tap * C + c) * W_RED
            if LIVE % BLOCK_CH == 0:
                filters = tl.load(w_step)  # [BLOCK_CH, BLOCK_RED]
            else:
                filters = tl.load(w_step, mask=(channel < LIVE)[:, None], other=0.0)
            acc = add_product(acc, filters, pixels, PRECISION)
    else:
        for start in range(begin, end, BLOCK_RED):
            k = start + block
            tap = tl.minimum(k // C, TAPS - 1)
            r = tap // S * geometry.DILATION_H
            s = tap % S * geometry.DILATION_W
            k_live = k < TAPS * C
            if TAPS <= MASK_TAPS:
                valid = ((inside[:, None] >> tap[None, :]) & 1) != 0
            else:
                row = ih[:, None] + r[None, :]
                column = iw[:, None] + s[None, :]
                valid = live[:, None] & (row >= 0) & (row < H) & (column >= 0) & (column < W)
            if REPEATS:
                x_row = (ih[:, None] + r[None, :]) // geometry.UP_H * x.strides[2]
                x_column = (iw[:, None] + s[None, :]) // geometry.UP_W * x.strides[3]
                x_step = x_row + x_column + ((k % C) * x.strides[1])[None, :]
            else:
                x_step = (r * x.strides[2] + s * x.strides[3] + (k % C) * x.strides[1])[None, :]
            pixels = tl.load(
                x.ptr + (x_pixel[:, None] + x_step),
                mask=valid & k_live[None, :],
                other=0.0,
            )  # [BLOCK_PIX, BLOCK_RED]
            filters = tl.load(
                w.ptr + (w_channel[:, None] + (k * W_RED)[None, :]),
                mask=channel_live[:, None] & k_live[None, :],
                other=0.0,
            )  # [BLOCK_CH, BLOCK_RED]
            acc = add_product(acc, filters, pixels, PRECISION)
    channel += group * K
    bias_tile = load_bias(bias, channel, channel_live)
    value = tl.trans(acc)
    if PARTS > 1:
        number = tile * BLOCK_PIX + tl.arange(0, BLOCK_PIX)
        number += tl.program_id(2) * (N * sizes.OH * sizes.OW)
        store_tile(tail.outputs[0], value, (n, oh, ow, channel, live, channel_live, number))
    elif HALF > 0:
        half = (pid % CHANNEL_TILES) * (BLOCK_CH // 2)
        finish_gated(value, bias_tile, tile, N, sizes.OH, sizes.OW, half, tail, HALF)
    else:
        finish(value, bias_tile, tile, N, sizes.OH, sizes.OW, channel, channel_live, tail)


def conv_arguments(
    x: View,
    w: View,
    bias: View | None,
    filters: int,
    end: Epilogue,
    geometry: Geometry,
    out_size: tuple[int, ...],
) -> tuple[Any, ...]:
    """The arguments that kernels of convolutions share.

    Raises:
        ValueError: for a bias of another shape.
        Refused: for what 32-bit offsets cannot address.
    """
    if bias is not None and bias.shape != (filters,):
        raise ValueError(f"bias {bias.shape}, wanted {(filters,)}")
    require(offset_refusal(x, w))
    return (
        x.argument,
        w.argument,
        bias and bias.argument,
        x.shape[0],
        Sizes(x.shape[2], x.shape[3], *out_size),
        constants(geometry),
        end.argument,
    )


def conv2d(
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
    repeats: tuple[int, int] = (1, 1),
    filters: int = 0,
    precision: Precision = "tf32x3",
    rounded: bool = False,
) -> Launch:
    """Launch a convolution of x [N, C, H, W] with its tail.

    `w` is packed to [K, R * S * C / groups] with reduction index (r * S + s) * C / groups + c, or
    to panels [K / P, R * S * C / groups, P] of P filters, with zeros behind the last; their number
    `filters` is given then. Panels [K / P, R * S * C / groups / 2, P, 2] are of pairs, for tiles
    whose reduction block is even and divides the channels. `bias` is [K]. `padding` is (top, left),
    below 0 where the first rows and columns are not read; the bottom and right follow from
    `out_size`, the size before any pool. `exports` (default: the last value) names the stored
    values, one output each. `repeats` is how often each pixel of x stands in the map that is
    convolved, (down, across). `precision` and `rounded` are those of `product_meta`. With a tile of
    parts the output is [parts * N, K, H, W], channels last, in float32: what a part of the
    reduction adds up to, without bias and tail.

    Raises:
        ValueError: for shapes that disagree.
        Refused: for a tail that no kernel takes, and what 32-bit offsets or the grid cannot hold.
    """
    images, channels = x.shape[:2]
    out_channels = filters or w.shape[0]
    if channels % groups or out_channels % groups:
        raise ValueError(f"{groups} groups do not divide {channels} and {out_channels} channels")
    reduction = kernel[0] * kernel[1] * channels // groups
    panel = w.shape[2] if len(w.shape) > 2 else 0
    packed: tuple[int, ...] = (out_channels, reduction)
    if panel:
        packed = (ceil_div(out_channels, panel), reduction, panel)
    if len(w.shape) == 4:
        packed = (packed[0], reduction // 2, panel, 2)
    if w.shape != packed:
        raise ValueError(f"packed weight {w.shape}, wanted {packed}")
    depth = channels // groups
    if len(w.shape) == 4 and (tile.reduction % 2 or depth % tile.reduction):
        raise ValueError(f"blocks of {tile.reduction} of {depth} channels, in pairs")
    if tile.parts > 1:
        outputs = [first_part(outputs, images, tile.parts)]
    plain = (kernel, stride, padding, repeats) == ((1, 1), (1, 1), (0, 0), (1, 1))
    if plain and out_size == x.shape[2:]:
        x, outputs, tail = as_rows(x, outputs, tail)
        images, out_size = x.shape[0], x.shape[2:]
    end = epilogue((images, out_channels, *out_size), tail, exports, outputs, tile.pixels, groups)
    group_channels = out_channels // groups
    filter_steps = (*stride, *padding, *dilation, *repeats, panel, tile.parts)
    geometry = Geometry(depth, group_channels, *kernel, *filter_steps)
    args = conv_arguments(x, w, bias, out_channels, end, geometry, out_size)
    steps = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    reach = masked_reach(x, image_reach(x, out_size, depth, tile, repeats=repeats, **steps))
    if not panel:
        masked_reach(w, -group_channels % tile.channels * w.strides[0])
    grid = (end.tiles * ceil_div(group_channels, tile.channels), groups, tile.parts)
    require(grid_refusal(grid))
    meta = product_meta(x.dtype, precision, rounded) | {
        "BLOCK_CH": tile.channels,
        "BLOCK_PIX": tile.pixels,
        "BLOCK_RED": tile.reduction,
        "num_warps": tile.num_warps,
        "num_stages": tile.num_stages,
    }
    meta |= {"HALF": end.half} if end.half else {}
    return Launch(conv2d_kernel, grid, args, meta, reach)
