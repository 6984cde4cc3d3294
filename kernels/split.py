"""A layer whose reduction is cut into parts, each summed by programs of its own (split-K).

Few outputs with many products each leave most of a device idle, where one program sums all of an
output. Here a first kernel writes the sum of each part, and a second one adds these in order, so
that the result is the same in every run, and ends in the layer's tail.
"""

from collections.abc import Sequence
from typing import Any

import triton
import triton.language as tl

from .conv2d import conv2d
from .devices import DeviceTraits
from .epilogue import Tail, across, epilogue
from .finish import finish, finish_gated, load_bias, tile_pixels
from .launch import (
    BATCH,
    Launch,
    View,
    ceil_div,
    grid_refusal,
    next_power_of_2,
    offset_refusal,
    require,
)
from .linear import as_images, matvec
from .parts import partial_sums
from .problem import ConvProblem, LinearProblem
from .tf32 import Precision
from .tile import ConvTile, LinearTile
from .window import TILE_PIXELS, Pool

# In how many parts a reduction may be summed, and the steps that each has at least.
PARTS = (2, 3, 4, 6, 8, 12, 16)
LEAST_STEPS = 4
# Of each part a program reads so many: 16 bytes for each thread of four warps.
SUMS = 512
# Pixels of a program's tile, where there are as many and no pool wants more.
PIXELS = 16


def parts_of(
    problem: ConvProblem | LinearProblem, tile: Any, device: DeviceTraits
) -> tuple[int, ...]:
    """In how many parts a device may sum a reduction with a tile: in one, and, where so many
    programs leave it idle, in as many as fill it twice at most."""
    programs, steps = problem.programs(tile), problem.steps(tile)
    if programs >= device.programs:
        return (1,)
    most = device.most_parts(problem.dtype)
    most = min(most, steps // LEAST_STEPS, 2 * device.programs // programs)
    return (1, *(parts for parts in PARTS if parts <= most))


@triton.jit(do_not_specialize=BATCH)
def sum_parts_kernel(
    sums,
    bias,
    N,
    sizes,
    tail,
    K: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK_CH: tl.constexpr,
    BLOCK_PIX: tl.constexpr,
    HALF: tl.constexpr = 0,
):
    """Add PARTS sums of BLOCK_CH of K channels at BLOCK_PIX pixels, and finish.

    The sums are [PARTS * N * OH * OW, K]; sizes is (OH, OW). HALF is as of `conv2d_kernel`.
    """
    CHANNEL_TILES: tl.constexpr = (K + BLOCK_CH - 1) // BLOCK_CH
    OH = sizes[0]
    OW = sizes[1]
    pid = tl.program_id(0)
    tile = pid // CHANNEL_TILES
    channel = (pid % CHANNEL_TILES) * BLOCK_CH + tl.arange(0, BLOCK_CH)
    channel_live = channel < K
    n, oh, ow, live = tile_pixels(tile, N, OH, OW, tail.pool, BLOCK_PIX)
    if tail.pool.AT >= 0:
        pixel = (n * OH + oh) * OW + ow
    else:
        pixel = tile * BLOCK_PIX + tl.arange(0, BLOCK_PIX)
    block = sums.ptr + ((pixel * sums.strides[0])[:, None] + (channel * sums.strides[1])[None, :])
    mask = live[:, None] & channel_live[None, :]
    value = tl.load(block, mask=mask, other=0.0)
    for part in tl.static_range(1, PARTS):
        step = part * (N * OH * OW * sums.strides[0])
        value += tl.load(block + step, mask=mask, other=0.0)
    bias_tile = load_bias(bias, channel, channel_live)
    if HALF > 0:
        half = (pid % CHANNEL_TILES) * (BLOCK_CH // 2)
        finish_gated(value, bias_tile, tile, N, OH, OW, half, tail, HALF)
    else:
        finish(value, bias_tile, tile, N, OH, OW, channel, channel_live, tail)


def sum_parts(
    sums: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    parts: int,
    tail: Tail = (),
    exports: Sequence[int] | None = None,
    groups: int = 1,
) -> Launch:
    """Launch the sum of parts [parts * N, K, H, W] with its tail, as `conv2d` would end in it.

    Raises:
        ValueError: for shapes that disagree.
        Refused: for a tail that no kernel takes, and what 32-bit offsets or the grid cannot hold.
    """
    images, channels, *size = sums.shape
    if images % parts or (rows := sums.permuted(0, 2, 3, 1).rows()) is None:
        raise ValueError(f"{parts} parts in {sums.shape}, with strides {sums.strides}")
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"bias {bias.shape}, wanted {(channels,)}")
    images //= parts
    pools = [step for step in tail if isinstance(step, Pool)]
    pixels = min(PIXELS, next_power_of_2(images * size[0] * size[1]))
    for pool in pools:
        pixels = TILE_PIXELS if any(pool.halo) else max(pixels, pool.pixels)
    block = next_power_of_2(channels)
    if not across(tail):
        block = min(block, SUMS // pixels)
    end = epilogue((images, channels, *size), tail, exports, outputs, pixels, groups)
    require(offset_refusal(sums))
    grid = (end.tiles * ceil_div(channels, block), 1, 1)
    require(grid_refusal(grid))
    args = (rows.argument, bias and bias.argument, images, tuple(size), end.argument)
    meta = {
        "K": channels,
        "PARTS": parts,
        "BLOCK_CH": block,
        "BLOCK_PIX": pixels,
        "num_warps": 4,
        "num_stages": 1,
    } | ({"HALF": end.half} if end.half else {})
    return Launch(sum_parts_kernel, grid, args, meta)


def conv2d_in_parts(
    x: View,
    w: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    scratch: View,
    out_size: tuple[int, ...],
    groups: int,
    tail: Tail = (),
    exports: Sequence[int] | None = None,
    tile: ConvTile,
    filters: int = 0,
    **window: Any,
) -> tuple[Launch, Launch]:
    """Launch a convolution in the parts of its tile: the sums of each, and their sum.

    `scratch` takes parts * N * K * H * W numbers of float32. The other arguments and the errors are
    those of `conv2d`.
    """
    shape = (x.shape[0], filters or w.shape[0], *out_size)
    sums = partial_sums(scratch, tile.parts, shape)
    window |= {"out_size": out_size, "groups": groups, "filters": filters}
    first = conv2d(x, w, None, [sums], tile=tile, **window)
    second = sum_parts(
        sums, bias, outputs, parts=tile.parts, tail=tail, exports=exports, groups=groups
    )
    return first, second


def linear_in_parts(
    x: View,
    w: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    scratch: View,
    tail: Tail = (),
    exports: Sequence[int] | None = None,
    tile: LinearTile,
    features: int = 0,
    precision: Precision = "tf32x3",
    rounded: bool = False,
) -> tuple[Launch, Launch]:
    """Launch a linear layer likewise, as `linear` does: `scratch` takes parts * rows * features
    numbers."""
    image, outputs, tail = as_images(x, w, outputs, tail)
    if tile.rows > 1:
        return conv2d_in_parts(
            image,
            w,
            bias,
            outputs,
            scratch=scratch,
            kernel=(1, 1),
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            groups=1,
            out_size=image.shape[2:],
            tail=tail,
            exports=exports,
            tile=ConvTile(*tile),
            filters=features,
            precision=precision,
            rounded=rounded,
        )
    sums = partial_sums(scratch, tile.parts, (1, w.shape[0], 1, 1))
    first = matvec(image, w, None, [sums], tile=tile)
    return first, sum_parts(sums, bias, outputs, parts=tile.parts, tail=tail, exports=exports)
