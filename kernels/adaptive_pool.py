"""Pooling to a given size, whose windows follow from the input's."""

import triton
import triton.language as tl

from .geometry import Sizes
from .launch import BATCH, MAX_OFFSET, Launch, Refused, View, ceil_div, offset_refusal, require
from .maps import map_blocks, map_offset, map_tile
from .stages import maximum


@triton.jit(do_not_specialize=BATCH)
def adaptive_pool2d_kernel(
    x,
    y,
    N,
    C,
    sizes,
    largest,
    POOL_MAX: tl.constexpr,
    BLOCK_PIX: tl.constexpr,
    BLOCK_CH: tl.constexpr,
):
    """Pool windows for BLOCK_PIX output pixels and BLOCK_CH channels.

    `largest` holds the most rows and columns that a window has. A sum is taken row by row, in
    float32: of large windows that is two short chains, not a long one.
    """
    n, oh, ow, c, live, c_live = map_tile(N, C, sizes.OH, sizes.OW, BLOCK_PIX, BLOCK_CH)
    top = oh * sizes.H // sizes.OH
    left = ow * sizes.W // sizes.OW
    rows = tl.cdiv((oh + 1) * sizes.H, sizes.OH) - top
    columns = tl.cdiv((ow + 1) * sizes.W, sizes.OW) - left
    x_block = x.ptr + map_offset(x.strides, n, top, left, c)
    EMPTY: tl.constexpr = float("-inf") if POOL_MAX else 0.0
    value = tl.full((BLOCK_PIX, BLOCK_CH), EMPTY, dtype=tl.float32)
    for r in range(largest[0]):
        line = tl.full((BLOCK_PIX, BLOCK_CH), EMPTY, dtype=tl.float32)
        for s in range(largest[1]):
            inside = live & (r < rows) & (s < columns)
            mask = inside[:, None] & c_live[None, :]
            step = x_block + (r * x.strides[2] + s * x.strides[3])
            tapped = tl.load(step, mask=mask, other=EMPTY).to(tl.float32)
            line = maximum(line, tapped) if POOL_MAX else line + tapped
        value = maximum(value, line) if POOL_MAX else value + line
    if not POOL_MAX:
        value = value / (rows * columns).to(tl.float32)[:, None]
    mask = live[:, None] & c_live[None, :]
    y_block = y.ptr + map_offset(y.strides, n, oh, ow, c)
    tl.store(y_block, value.to(y.ptr.dtype.element_ty), mask=mask)


def adaptive_pool2d(x: View, y: View, *, pool_max: bool) -> Launch:
    """Launch an average, or a maximum, over windows: x [N, C, H, W] to y [N, C, OH, OW].

    Window p of OH starts at row p*H/OH, rounded down, and ends before (p + 1)*H/OH, rounded up.

    Raises:
        ValueError: for shapes that disagree.
        Refused: for what 32-bit offsets, products of sizes or the grid cannot hold.
    """
    images, channels = x.shape[:2]
    if y.shape[:2] != (images, channels):
        raise ValueError(f"a pool of {x.shape} cannot fill {y.shape}")
    require(offset_refusal(x, y))
    windows = []
    for size, out in zip(x.shape[2:], y.shape[2:], strict=True):
        if size * out > MAX_OFFSET:
            raise Refused(f"kernels find windows by {size} * {out}, and hold at most {MAX_OFFSET}")
        windows.append(max(ceil_div((p + 1) * size, out) - p * size // out for p in range(out)))
    grid, meta = map_blocks(y)
    sizes = Sizes(*x.shape[2:], *y.shape[2:])
    args = (x.argument, y.argument, images, channels, sizes, tuple(windows))
    return Launch(adaptive_pool2d_kernel, grid, args, meta | {"POOL_MAX": pool_max})
