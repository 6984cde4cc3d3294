"""Pooling over windows and over whole images."""

import math
from typing import Any, NamedTuple

import triton
import triton.language as tl

from .geometry import Sizes
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
from .maps import BLOCK_ELEMENTS, map_blocks, map_offset, map_tile
from .stages import maximum

# Windows that are summed in one chain: those of nearly all networks.
FEW_TAPS = 64


class PoolGeometry(NamedTuple):
    """A window as constexprs: R x S taps, their steps, and the padding on all sides."""

    R: Any
    S: Any
    STRIDE_H: Any
    STRIDE_W: Any
    PAD_TOP: Any
    PAD_LEFT: Any
    PAD_BOTTOM: Any
    PAD_RIGHT: Any
    DILATION_H: Any
    DILATION_W: Any


@triton.jit(do_not_specialize=BATCH)
def pool2d_kernel(
    x,
    y,
    N,
    C,
    sizes,
    geometry,
    POOL_MAX: tl.constexpr,
    COUNT_INCLUDE_PAD: tl.constexpr,
    BLOCK_TAPS: tl.constexpr,
    BLOCK_PIX: tl.constexpr,
    BLOCK_CH: tl.constexpr,
):
    """Pool R x S windows for BLOCK_PIX output pixels and BLOCK_CH channels, in float32.

    BLOCK_TAPS of a window at a time: a sum of large windows is two short chains, not a long one.
    Padding counts as -inf for a maximum and as 0 for an average. An average divides by the window's
    elements inside the padded input, or inside the input where COUNT_INCLUDE_PAD is false.
    """
    TAPS: tl.constexpr = geometry.R * geometry.S
    H = sizes.H
    W = sizes.W
    n, oh, ow, c, live, c_live = map_tile(N, C, sizes.OH, sizes.OW, BLOCK_PIX, BLOCK_CH)
    ih = oh * geometry.STRIDE_H - geometry.PAD_TOP
    iw = ow * geometry.STRIDE_W - geometry.PAD_LEFT
    x_block = x.ptr + map_offset(x.strides, n, ih, iw, c)
    if POOL_MAX:
        value = tl.full((BLOCK_PIX, BLOCK_CH), float("-inf"), dtype=tl.float32)
    else:
        value = tl.zeros((BLOCK_PIX, BLOCK_CH), dtype=tl.float32)
    count = tl.zeros((BLOCK_PIX,), dtype=tl.float32)
    for start in range(0, TAPS, BLOCK_TAPS):
        total = tl.zeros((BLOCK_PIX, BLOCK_CH), dtype=tl.float32)
        for tap in range(start, tl.minimum(start + BLOCK_TAPS, TAPS)):
            r = tap // geometry.S * geometry.DILATION_H
            s = tap % geometry.S * geometry.DILATION_W
            row = ih + r
            column = iw + s
            inside = live & (row >= 0) & (row < H) & (column >= 0) & (column < W)
            mask = inside[:, None] & c_live[None, :]
            step = x_block + (r * x.strides[2] + s * x.strides[3])
            if POOL_MAX:
                tapped = tl.load(step, mask=mask, other=float("-inf")).to(tl.float32)
                value = maximum(value, tapped)
            else:
                total += tl.load(step, mask=mask, other=0.0).to(tl.float32)
                if COUNT_INCLUDE_PAD:
                    counted = (row < H + geometry.PAD_BOTTOM) & (column < W + geometry.PAD_RIGHT)
                else:
                    counted = inside
                count += counted.to(tl.float32)
        if not POOL_MAX:
            value += total
    if not POOL_MAX:
        value = value / tl.where(live, count, 1.0)[:, None]
    mask = live[:, None] & c_live[None, :]
    y_block = y.ptr + map_offset(y.strides, n, oh, ow, c)
    tl.store(y_block, value.to(y.ptr.dtype.element_ty), mask=mask)


@triton.jit
def global_avg_pool2d_kernel(
    x,
    y,
    C,
    H,
    W,
    BLOCK_PIX: tl.constexpr,
    BLOCK_CH: tl.constexpr,
):
    """Average all H * W pixels of one image for BLOCK_CH channels, BLOCK_PIX at a time.

    Summed in float64: a map has millions of pixels, each read once, so memory sets the pace.
    """
    n = tl.program_id(1)
    c = tl.program_id(0) * BLOCK_CH + tl.arange(0, BLOCK_CH)
    c_live = c < C
    x_image = x.ptr + n * x.strides[0]
    sums = tl.zeros((BLOCK_PIX, BLOCK_CH), dtype=tl.float64)
    for start in range(0, H * W, BLOCK_PIX):
        pixel = start + tl.arange(0, BLOCK_PIX)
        offset = (pixel // W * x.strides[2] + pixel % W * x.strides[3])[:, None]
        offset += (c * x.strides[1])[None, :]
        mask = (pixel < H * W)[:, None] & c_live[None, :]
        sums += tl.load(x_image + offset, mask=mask, other=0.0).to(tl.float64)
    mean = (tl.sum(sums, axis=0) / (H * W)).to(tl.float32)
    mean_ptr = y.ptr + n * y.strides[0] + c * y.strides[1]
    tl.store(mean_ptr, mean.to(y.ptr.dtype.element_ty), mask=c_live)


def _pool2d(
    x: View,
    y: View,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    pool_max: bool,
    count_include_pad: bool,
) -> Launch:
    images, channels = x.shape[:2]
    if y.shape[:2] != (images, channels):
        raise ValueError(f"a pool of {x.shape} cannot fill {y.shape}")
    for size, out, k, s, before, d in zip(
        x.shape[2:], y.shape[2:], kernel, stride, padding[:2], dilation, strict=True
    ):
        if before > (k - 1) * d or (out - 1) * s - before >= size:
            raise ValueError(
                f"a window of {k} (stride {s}, padding {before}, dilation {d}) for output size "
                f"{out} lies wholly outside an input of {size}"
            )
    require(offset_refusal(x, y))
    grid, meta = map_blocks(y)
    sizes = Sizes(x.shape[2], x.shape[3], y.shape[2], y.shape[3])
    geometry = constants(PoolGeometry(*kernel, *stride, *padding, *dilation))
    args = (x.argument, y.argument, images, channels, sizes, geometry)
    taps = kernel[0] * kernel[1]
    meta |= {
        "POOL_MAX": pool_max,
        "COUNT_INCLUDE_PAD": count_include_pad,
        "BLOCK_TAPS": taps if pool_max or taps <= FEW_TAPS else math.isqrt(taps),
    }
    return Launch(pool2d_kernel, grid, args, meta)


def max_pool2d(
    x: View,
    y: View,
    *,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...] = (0, 0),
    dilation: tuple[int, ...] = (1, 1),
) -> Launch:
    """Launch a maximum over windows: x [N, C, H, W] to y [N, C, OH, OW].

    `padding` is (top, left) and counts as -inf; y's size implies bottom and right (ceil mode too).
    Raises ValueError where a window would hold padding only.
    """
    return _pool2d(x, y, kernel, stride, (*padding, 0, 0), dilation, True, False)


def avg_pool2d(
    x: View,
    y: View,
    *,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...] = (0, 0),
    count_include_pad: bool = True,
) -> Launch:
    """Launch an average over windows: x [N, C, H, W] to y [N, C, OH, OW].

    `padding` is (top, left) for the same at bottom and right, or (top, left, bottom, right). With
    `count_include_pad` the divisor counts the window's elements inside the padded input, so what a
    ceil-mode window holds beyond the padding never counts (PyTorch's rule).
    Raises ValueError where a window would hold padding only.
    """
    sides = (*padding, *padding) if len(padding) == 2 else padding
    return _pool2d(x, y, kernel, stride, sides, (1, 1), False, count_include_pad)


def global_avg_pool2d(x: View, y: View) -> Launch:
    """Launch the average of every channel: x [N, C, H, W] to y [N, C, 1, 1]."""
    images, channels, height, width = x.shape
    if y.shape != (images, channels, 1, 1):
        raise ValueError(f"a global pool of {x.shape} cannot fill {y.shape}")
    require(offset_refusal(x, y))
    block_ch = min(next_power_of_2(channels), 64)
    grid = (ceil_div(channels, block_ch), images, 1)
    require(grid_refusal(grid))
    args = (x.argument, y.argument, channels, height, width)
    meta = {
        "BLOCK_PIX": BLOCK_ELEMENTS // block_ch,
        "BLOCK_CH": block_ch,
        "num_warps": 4,
        "num_stages": 1,
    }
    return Launch(global_avg_pool2d_kernel, grid, args, meta)
