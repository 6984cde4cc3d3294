"""1x1 convolution by tensor descriptors: the copy engine of sm_90 and newer moves whole blocks.

Pixels [N, C, H, W] that follow one another are a matrix [N * H * W, C], the filters one [K, C], and
the convolution their product. Both are read in blocks, through descriptors that are made once, on
the host: no thread computes an address, and what lies beyond the last pixel or filter is 0.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import triton
import triton.language as tl

from .epilogue import Tail, epilogue
from .finish import finish, load_bias
from .launch import (
    BATCH,
    Block,
    Launch,
    View,
    ceil_div,
    constants,
    grid_refusal,
    offset_refusal,
    require,
)
from .tile import ConvTile
from .window import Pool

# Channels of a block, 128 bytes: what the engine writes as tensor cores read it.
BLOCK = 64
# Bytes that divide the address of a descriptor's memory, and its strides.
UNIT = 16


def pixel_step(x: View) -> int | None:
    """Elements from one pixel of x [N, C, H, W] to the next, in the order N, H, W; None where they
    do not follow one another, or channels do not."""
    follows, steps = 0, list[int]()
    for dim in (3, 2, 0):
        if x.shape[dim] > 1:
            steps.append(x.strides[dim])
            if follows and steps[-1] != follows:
                return None
            follows = x.strides[dim] * x.shape[dim]
    return (steps or [x.shape[1]])[0] if x.strides[1] == 1 else None


def box_refusal(x: View, tail: Tail, offset: int = 0) -> str | None:
    """Why no descriptors serve a 1x1 convolution of x [N, C, H, W] with a tail, or None.

    Args:
        x: The image.
        tail: What follows.
        offset: Elements from where memory is known to be aligned to the first of x.
    """
    channels, pixel = x.shape[1], pixel_step(x)
    if x.dtype == "f32":
        return "descriptors serve half precision; f32 is taken apart in registers"
    if channels % BLOCK:
        return f"a block has {BLOCK} channels, which do not divide {channels}"
    if pixel is None:
        return f"the pixels of {x.shape} with strides {x.strides} are no rows of a matrix"
    if any(elements * 2 % UNIT for elements in (pixel, offset)):
        return f"rows of {pixel} elements from element {offset} on do not start at {UNIT} bytes"
    if any(isinstance(step, Pool) for step in tail):
        return "a block is of pixels that follow one another, and a pool wants windows"
    return None


class Product(NamedTuple):
    """Channels and filters of a convolution, as constexprs."""

    C: Any
    K: Any


@triton.jit(do_not_specialize=BATCH)
def conv1x1_box_kernel(
    x,
    w,
    bias,
    N,
    size,
    product,
    tail,
    BLOCK_CH: tl.constexpr,
    BLOCK_PIX: tl.constexpr,
    BLOCK_RED: tl.constexpr,
):
    """Compute BLOCK_CH output channels at BLOCK_PIX output pixels.

    acc[BLOCK_CH, BLOCK_PIX] += W[BLOCK_CH, BLOCK_RED] @ X[BLOCK_PIX, BLOCK_RED]^T in float32. The
    block of pixels is the second operand: as the first one it would pass through registers.
    """
    K: tl.constexpr = product.K
    CHANNEL_TILES: tl.constexpr = (K + BLOCK_CH - 1) // BLOCK_CH
    pid = tl.program_id(0)
    tile = pid // CHANNEL_TILES
    first = (pid % CHANNEL_TILES) * BLOCK_CH
    acc = tl.zeros((BLOCK_CH, BLOCK_PIX), dtype=tl.float32)
    for c in range(0, product.C, BLOCK_RED):
        pixels = x.load([tile * BLOCK_PIX, c])  # [BLOCK_PIX, BLOCK_RED]
        filters = w.load([first, c])  # [BLOCK_CH, BLOCK_RED]
        acc = tl.dot(filters, tl.trans(pixels), acc)
    channel = first + tl.arange(0, BLOCK_CH)
    channel_live = channel < K
    bias_tile = load_bias(bias, channel, channel_live)
    value = tl.trans(acc)
    finish(value, bias_tile, tile, N, size[0], size[1], channel, channel_live, tail)


def conv1x1_box(
    x: View,
    w: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    tail: Tail = (),
    exports: Sequence[int] | None = None,
    tile: ConvTile,
) -> Launch:
    """Launch a 1x1 convolution, of stride 1, of x [N, C, H, W] with its tail.

    `w` is [K, C], the channels contiguous. The other arguments are those of `conv2d`.

    Raises:
        ValueError: for shapes that disagree.
        Refused: where `box_refusal` speaks, for a tail that no kernel takes, and what 32-bit
            offsets or the grid cannot hold.
    """
    images, channels, *size = x.shape
    filters = w.shape[0]
    if w.shape != (filters, channels) or w.strides != (channels, 1):
        raise ValueError(f"packed weight {w.shape}, wanted {(filters, channels)}")
    if bias is not None and bias.shape != (filters,):
        raise ValueError(f"bias {bias.shape}, wanted {(filters,)}")
    if tile.reduction != BLOCK:
        raise ValueError(f"blocks of {tile.reduction} channels, wanted {BLOCK}")
    require(box_refusal(x, tail))
    step = pixel_step(x)
    assert step is not None
    require(offset_refusal(x, w))
    end = epilogue((images, filters, *size), tail, exports, outputs, tile.pixels)
    grid = (end.tiles * ceil_div(filters, tile.channels), 1, 1)
    require(grid_refusal(grid))
    pixels = (images * size[0] * size[1], channels)
    args = (
        Block(x.buffer, pixels, (step, 1), (tile.pixels, BLOCK)),
        Block(w.buffer, w.shape, w.strides, (tile.channels, BLOCK)),
        bias and bias.argument,
        images,
        tuple(size),
        constants(Product(channels, filters)),
        end.argument,
    )
    meta = {
        "BLOCK_CH": tile.channels,
        "BLOCK_PIX": tile.pixels,
        "BLOCK_RED": BLOCK,
        "num_warps": tile.num_warps,
        "num_stages": tile.num_stages,
    }
    return Launch(conv1x1_box_kernel, grid, args, meta)
