"""Code shared by the kernels that fill maps pixel by pixel: which a program computes, and the grid.

A tile is BLOCK_PIX pixels of a result [N, C, OH, OW], counted over images, rows and columns, and
BLOCK_CH channels.
"""

from typing import Any

import triton
import triton.language as tl

from .finish import split_index
from .launch import View, ceil_div, grid_refusal, next_power_of_2, require

BLOCK_ELEMENTS = 1024


@triton.jit
def map_tile(N, C, OH, OW, BLOCK_PIX: tl.constexpr, BLOCK_CH: tl.constexpr):
    """Image, row and column of a program's pixels, its channels, and which of both exist.

    Pixels that do not exist get the coordinates of pixel 0.
    """
    pixel = tl.program_id(0) * BLOCK_PIX + tl.arange(0, BLOCK_PIX)
    live = pixel < N * OH * OW
    n, oh, ow = split_index(tl.where(live, pixel, 0), OH, OW)
    c = tl.program_id(1) * BLOCK_CH + tl.arange(0, BLOCK_CH)
    return n, oh, ow, c, live, c < C


@triton.jit
def map_offset(strides, n, row, column, c):
    """Offsets [PIX, CH] of pixels and channels in a map."""
    pixel = n * strides[0] + row * strides[2] + column * strides[3]
    return pixel[:, None] + (c * strides[1])[None, :]


def map_blocks(y: View) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """The grid over the tiles of y [N, C, OH, OW], and the constants of a launch.

    Raises:
        Refused: for more tiles than the grid can hold.
    """
    images, channels, height, width = y.shape
    block_ch = min(next_power_of_2(channels), 64)
    block_pix = BLOCK_ELEMENTS // block_ch
    grid = (ceil_div(images * height * width, block_pix), ceil_div(channels, block_ch), 1)
    require(grid_refusal(grid))
    meta = {"BLOCK_PIX": block_pix, "BLOCK_CH": block_ch, "num_warps": 4, "num_stages": 1}
    return grid, meta
