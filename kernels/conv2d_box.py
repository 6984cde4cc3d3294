"""Convolution by tensor descriptors: the copy engine of sm_90 and newer moves whole blocks.

A tile of output pixels is a box of one image, and what a tap reads for it is a box of the input;
beyond the image a descriptor reads 0, so that padding and boxes that reach out of it cost no mask.
Every step takes one box of pixels and one block of the filters [K, R * S * C], through descriptors
that are made once, on the host: no thread computes an address. At a stride the image is seen as
[N, H / SH, SH, W / SW, SW * C], five dimensions, the most of a descriptor: the pixels that a tap
reads are neighbours in a plane of these. Of a 1x1 convolution of stride 1 the pixels, where they
follow one another, are a matrix [N * H * W, C], whose blocks waste nothing at the edges of images.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import triton
import triton.language as tl

from .conv2d import conv_arguments
from .epilogue import Tail, epilogue
from .finish import finish, first_block, load_bias
from .geometry import Geometry
from .launch import BATCH, Block, Launch, View, ceil_div, grid_refusal, require
from .tile import ConvTile
from .window import Pool

# Channels of a block, 128 bytes: what the engine writes as tensor cores read it.
BLOCK = 64
# Bytes that divide the address of a descriptor's memory, and its strides.
UNIT = 16


def pixel_rows(
    x: View,
    tail: Tail,
    *,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    out_size: tuple[int, ...],
) -> View | None:
    """The pixels [N * H * W, C] of x [N, C, H, W] where a convolution is their product with the
    filters; None where it is not, they do not follow one another, or a pool wants windows."""
    alike = (kernel, stride, padding) == ((1, 1), (1, 1), (0, 0)) and x.shape[2:] == out_size
    if not alike or any(isinstance(step, Pool) for step in tail):
        return None
    return x.permuted(0, 2, 3, 1).rows()


def planes(x: View, stride: tuple[int, ...]) -> View:
    """x [N, C, H, W] as [N, H, W, C], or, at a stride, as [N, H / SH, SH, W / SW, SW * C]."""
    images, channels, height, width = x.shape
    n, c, h, w = x.strides
    down, right = stride
    if stride == (1, 1):
        return x.permuted(0, 2, 3, 1)
    shape = (images, height // down, down, width // right, (right - 1) * w + channels)
    return View(x.buffer, shape, (n, down * h, h, right * w, c), x.dtype)


def described(view: View, block: tuple[int, ...]) -> Block:
    """A view as an argument that is read in blocks; a dimension of one has the step it would have
    in memory of its own, as any step of a descriptor is to be a multiple of the one within."""
    strides = [1]
    for dim in range(len(view.shape) - 2, -1, -1):
        within = strides[0] * view.shape[dim + 1]
        strides.insert(0, view.strides[dim] if view.shape[dim] > 1 else within)
    return Block(view.buffer, view.shape, tuple(strides), block)


def box_refusal(x: View, tail: Tail, stride: tuple[int, ...], offset: int = 0) -> str | None:
    """Why no descriptors serve a convolution of x [N, C, H, W] with a tail, or None.

    Args:
        x: The image.
        tail: What follows.
        stride: Of the convolution, down and to the right.
        offset: Elements from where memory is known to be aligned to the first of x.
    """
    _, channels, *size = x.shape
    if x.dtype == "f32":
        return "descriptors serve half precision; f32 is taken apart in registers"
    if len(size) != 2:
        return f"a box of an image has 2 dimensions, and {x.shape} has {len(size)}"
    if channels % BLOCK:
        return f"a block has {BLOCK} channels, which do not divide {channels}"
    if x.strides[1] != 1:
        return f"channels of a block are neighbours; {x.shape} has strides {x.strides}"
    if any(n % step for n, step in zip(size, stride, strict=True)):
        by, of = "x".join(map(str, stride)), "x".join(map(str, size))
        return f"a stride of {by} reads planes of an image, and does not divide its size {of}"
    steps = [x.strides[dim] for dim in (0, 2, 3) if x.shape[dim] > 1]
    if any(step <= 0 or step * 2 % UNIT for step in steps) or offset * 2 % UNIT:
        return (
            f"a descriptor has steps of {UNIT} bytes; {x.shape} of 2 bytes each has strides "
            f"{x.strides}, from element {offset} on"
        )
    view = planes(x, stride)
    steps = [step for step, n in zip(view.strides, view.shape, strict=True) if n > 1]
    if any(outer % inner for outer, inner in pairwise(steps)):
        return f"each step of a descriptor is a multiple of the next one, and they are {steps}"
    pool = next((step for step in tail if isinstance(step, Pool)), None)
    if pool and pool.block != pool.steps:
        return f"a box holds windows at steps of powers of 2, and the pool's are {pool.steps}"
    return None


@triton.jit
def load_box(x, n, row, col, r, s, c, geometry, PIXEL: tl.constexpr, BLOCK_PIX: tl.constexpr):
    """What tap (r, s) reads of channels from c on for a box of output pixels from (row, col) on:
    [BLOCK_PIX, channels]. PIXEL is the distance of pixels, where there is a stride."""
    # A plane is counted from the first whole step before the padding, so that none is below 0.
    LIFT_H: tl.constexpr = (geometry.PAD_TOP + geometry.STRIDE_H - 1) // geometry.STRIDE_H
    LIFT_W: tl.constexpr = (geometry.PAD_LEFT + geometry.STRIDE_W - 1) // geometry.STRIDE_W
    down = r * geometry.DILATION_H + (LIFT_H * geometry.STRIDE_H - geometry.PAD_TOP)
    right = s * geometry.DILATION_W + (LIFT_W * geometry.STRIDE_W - geometry.PAD_LEFT)
    row += down // geometry.STRIDE_H - LIFT_H
    col += right // geometry.STRIDE_W - LIFT_W
    if len(x.block_shape) == 4:
        box = x.load([n, row, col, c])
    else:
        c += right % geometry.STRIDE_W * PIXEL
        box = x.load([n, row, down % geometry.STRIDE_H, col, c])
    return tl.reshape(box, (BLOCK_PIX, x.block_shape[-1]))


@triton.jit
def next_step(r, s, c, geometry, BLOCK_RED: tl.constexpr):
    """What follows a step of tap (r, s) and channels from c on, taps innermost: counted up, which
    takes a fifth of a step's instructions less than dividing its number does."""
    s += 1
    r = tl.where(s == geometry.S, r + 1, r)
    s = tl.where(s == geometry.S, 0, s)
    c = tl.where(r == geometry.R, c + BLOCK_RED, c)
    r = tl.where(r == geometry.R, 0, r)
    return r, s, c


@triton.jit(do_not_specialize=BATCH)
def conv2d_box_kernel(
    x,
    w,
    bias,
    N,
    sizes,
    geometry,
    tail,
    BLOCK_CH: tl.constexpr,
    BLOCK_PIX: tl.constexpr,
    BLOCK_RED: tl.constexpr,
    PIXEL: tl.constexpr = 0,
):
    """Compute BLOCK_CH output channels at BLOCK_PIX output pixels.

    acc[BLOCK_CH, BLOCK_PIX] += W[BLOCK_CH, BLOCK_RED] @ X[BLOCK_PIX, BLOCK_RED]^T in float32. The
    box of pixels is the second operand: as the first one it would pass through registers.
    """
    C: tl.constexpr = geometry.C
    K: tl.constexpr = geometry.K
    STEPS: tl.constexpr = geometry.R * geometry.S * (C // BLOCK_RED)
    CHANNEL_TILES: tl.constexpr = (K + BLOCK_CH - 1) // BLOCK_CH
    MATRIX: tl.constexpr = len(x.block_shape) == 2
    pid = tl.program_id(0)
    tile = pid // CHANNEL_TILES
    first = (pid % CHANNEL_TILES) * BLOCK_CH
    if not MATRIX:
        n, row, col = first_block(tile, sizes.OH, sizes.OW, tail.pool)
        row = row * tail.pool.STRIDE_H - tail.pool.TOP
        col = col * tail.pool.STRIDE_W - tail.pool.LEFT
    acc = tl.zeros((BLOCK_CH, BLOCK_PIX), dtype=tl.float32)
    r = 0
    s = 0
    c = 0
    for _ in range(STEPS):
        if MATRIX:
            pixels = x.load([tile * BLOCK_PIX, c])  # [BLOCK_PIX, BLOCK_RED]
        else:
            pixels = load_box(x, n, row, col, r, s, c, geometry, PIXEL, BLOCK_PIX)
        filters = w.load([first, (r * geometry.S + s) * C + c])  # [BLOCK_CH, BLOCK_RED]
        acc = tl.dot(filters, tl.trans(pixels), acc)
        r, s, c = next_step(r, s, c, geometry, BLOCK_RED)
    channel = first + tl.arange(0, BLOCK_CH)
    channel_live = channel < K
    bias_tile = load_bias(bias, channel, channel_live)
    value = tl.trans(acc)
    if tail.pool.H > 1:
        # Rows of a box lie behind one another; those of a block are apart in the order of `finish`.
        rows = tl.reshape(
            value, (tail.pool.ROWS, tail.pool.H, tail.pool.COLS * tail.pool.W, BLOCK_CH)
        )
        value = tl.reshape(tl.permute(rows, (1, 0, 2, 3)), (BLOCK_PIX, BLOCK_CH))
    finish(value, bias_tile, tile, N, sizes.OH, sizes.OW, channel, channel_live, tail)


def conv2d_box(
    x: View,
    w: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    out_size: tuple[int, ...],
    tail: Tail = (),
    exports: Sequence[int] | None = None,
    tile: ConvTile,
) -> Launch:
    """Launch a convolution of x [N, C, H, W] with its tail, read through descriptors.

    `w` is [K, R * S * C], contiguous, with reduction index (r * S + s) * C + c. The other arguments
    are those of `conv2d`.

    Raises:
        ValueError: for shapes that disagree.
        Refused: where `box_refusal` speaks, for a tail that no kernel takes, and what 32-bit
            offsets or the grid cannot hold.
    """
    images, channels = x.shape[:2]
    filters, reduction = w.shape[0], kernel[0] * kernel[1] * channels
    if w.shape != (filters, reduction) or w.strides != (reduction, 1):
        raise ValueError(f"packed weight {w.shape}, wanted {(filters, reduction)}")
    if tile.reduction != BLOCK:
        raise ValueError(f"blocks of {tile.reduction} channels, wanted {BLOCK}")
    require(box_refusal(x, tail, stride))
    steps: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding}
    rows = pixel_rows(x, tail, **steps, out_size=out_size)
    shape = (images, filters, *out_size)
    end = epilogue(shape, tail, exports, outputs, tile.pixels, boxes=rows is None)
    geometry = Geometry(channels, filters, *kernel, *stride, *padding, *dilation)
    _, _, *args = conv_arguments(x, w, bias, filters, end, geometry, out_size)
    grid = (end.tiles * ceil_div(filters, tile.channels), 1, 1)
    require(grid_refusal(grid))
    meta = {
        "BLOCK_CH": tile.channels,
        "BLOCK_PIX": tile.pixels,
        "BLOCK_RED": BLOCK,
        "num_warps": tile.num_warps,
        "num_stages": tile.num_stages,
    }
    if rows:
        pixels = described(rows, (tile.pixels, BLOCK))
    else:
        pool = end.argument.pool
        height, width = ((a * b).value for a, b in ((pool.ROWS, pool.H), (pool.COLS, pool.W)))
        plain = stride == (1, 1)
        box = (1, height, width, BLOCK) if plain else (1, height, 1, width, BLOCK)
        pixels = described(planes(x, stride), box)
        meta |= {} if plain else {"PIXEL": x.strides[3]}
    return Launch(
        conv2d_box_kernel, grid, (pixels, described(w, (tile.channels, BLOCK)), *args), meta
    )
