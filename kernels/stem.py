"""2-D convolution of few channels, whose filters' rows lie in one piece in memory.

A pixel of three channels fills no block of a reduction, and taps that are cut into blocks all the
same have scattered addresses. So the image is written once more with its padding around it, each
pixel in `LANES` numbers: under a row of a filter lie then S * LANES numbers that follow one
another, a run of the reduction, which is copied 16 bytes at a time and never masked by where a
pixel lies.

A run ends where the filter's row does: weights of 0 would make NaN of an infinite pixel behind it.
In half precision 16 bytes are two pixels, and an odd row ends between them. Where the stride is
even, runs begin at even columns, and the image is there twice: the second plane has zeros in its
odd columns, and the last pixels of runs come from there. At odd strides pixels are copied one by
one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import triton
import triton.language as tl

from .epilogue import Tail, epilogue
from .finish import finish, load_bias, split_index, tile_pixels
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
from .prices import Prices
from .tile import ConvTile, Pressure

# Numbers that a pixel takes, and of which the length of a run is a multiple.
LANES = 4
RUN = 16
# Columns of a padded image are a multiple of so many, so that every row starts at 32 bytes.
COLUMNS = 4
PIXEL_LANES = tl.constexpr(LANES)
PAD_PIXELS = 256


def run_length(taps: int) -> int:
    """Numbers of a run, for so many taps in a row of a filter."""
    return ceil_div(taps * LANES, RUN) * RUN


class Stem(NamedTuple):
    """A convolution of few channels, as far as the choice of its kernel goes.

    Attributes:
        kernel: Rows of its filter, and taps in each.
        nbytes: Of its padded image.
        pressure: On the registers of the kernel that reads it.
    """

    kernel: tuple[int, int]
    nbytes: int
    pressure: Pressure

    @property
    def run(self) -> int:
        """Numbers of a run."""
        return run_length(self.kernel[1])


def runs_pay(stem: Stem, outputs: int, channels: int, prices: Prices) -> bool:
    """Whether runs save more than the padded image takes to make: a launch, and its bytes, which
    are written and read.

    Args:
        stem: The convolution.
        outputs: Numbers that it computes.
        channels: Of its image.
        prices: Of the device.
    """
    rows, taps = stem.kernel
    scattered = prices.scattered * outputs * rows * taps * channels
    made = prices.launch + prices.balance * 2 * stem.nbytes
    return outputs * rows * stem.run + made < scattered


def padded_shape(
    x: View,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    out_size: tuple[int, ...],
) -> tuple[int, ...]:
    """The shape [N, rows, planes, columns, LANES] of the padded image of x [N, C, H, W]."""
    halves = x.dtype != "f32"
    planes = 2 if halves and stride[1] % 2 == 0 and kernel[1] % 2 and kernel[1] > 1 else 1
    reached = [(out - 1) * step for out, step in zip(out_size, stride, strict=True)]
    ends = [before + size for before, size in zip(padding, x.shape[2:], strict=True)]
    rows = max(ends[0], reached[0] + kernel[0])
    columns = max(ends[1], reached[1] + kernel[1] + planes - 1)
    return x.shape[0], rows, planes, ceil_div(columns, COLUMNS) * COLUMNS, LANES


class Frame(NamedTuple):
    """Rows and columns of an image, and of its padded one, and those before the first pixel."""

    H: int
    W: int
    ROWS: int
    COLUMNS: int
    TOP: int
    LEFT: int


@triton.jit(do_not_specialize=BATCH)
def padded_kernel(
    x,
    y,
    N,
    frame,
    C: tl.constexpr,
    PLANES: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK_PIX: tl.constexpr,
):
    """Write BLOCK_PIX pixels of padded images: the C numbers of a pixel, and zeros elsewhere."""
    index = tl.program_id(0) * BLOCK_PIX + tl.arange(0, BLOCK_PIX)
    n, row, column = split_index(index, frame.ROWS, frame.COLUMNS)
    channel = tl.arange(0, LANES)
    h = row - frame.TOP
    w = column - frame.LEFT
    live = n < N
    inside = live & (h >= 0) & (h < frame.H) & (w >= 0) & (w < frame.W)
    x_pixel = n * x.strides[0] + h * x.strides[2] + w * x.strides[3]
    x_ptr = x.ptr + x_pixel[:, None] + (channel * x.strides[1])[None, :]
    mask = inside[:, None] & (channel < C)[None, :]
    value = tl.load(x_ptr, mask=mask, other=0.0)
    y_pixel = n * y.strides[0] + row * y.strides[1] + column * LANES
    y_ptr = y.ptr + y_pixel[:, None] + channel[None, :]
    tl.store(y_ptr, value, mask=live[:, None])
    if PLANES > 1:
        even = tl.where((column % 2 == 0)[:, None], value, 0.0)
        tl.store(y_ptr + y.strides[2], even.to(value.dtype), mask=live[:, None])


def padded(x: View, y: View, padding: tuple[int, ...]) -> Launch:
    """Launch y = the padded image of x [N, C, H, W], of the shape that `padded_shape` says.

    Raises:
        ValueError: for shapes that disagree.
        Refused: for what 32-bit offsets or the grid cannot hold.
    """
    images, rows, planes, columns, _ = y.shape
    channels, height, width = x.shape[1:]
    frame = Frame(height, width, rows, columns, *padding)
    fits = padding[0] + height <= rows and padding[1] + width <= columns
    if images != x.shape[0] or channels > LANES or not fits or min(padding) < 0:
        raise ValueError(f"an image {x.shape}, padded by {padding}, cannot fill {y.shape}")
    require(offset_refusal(x, y))
    grid = (ceil_div(images * rows * columns, PAD_PIXELS), 1, 1)
    require(grid_refusal(grid))
    meta = {"C": channels, "PLANES": planes, "LANES": LANES, "BLOCK_PIX": PAD_PIXELS}
    meta |= {"num_warps": 4, "num_stages": 1}
    return Launch(padded_kernel, grid, (x.argument, y.argument, images, frame), meta)


class Runs(NamedTuple):
    """A filter as constexprs: K of R rows of S taps, their steps, and the numbers of a run.

    A run reads TAKEN of its numbers, those from LAST on in the second plane where there are two.
    """

    K: Any
    R: Any
    STRIDE_H: Any
    STRIDE_W: Any
    RUN: Any
    TAKEN: Any
    LAST: Any
    PLANES: Any


class OutSize(NamedTuple):
    """Height and width of the output before any pool."""

    OH: int
    OW: int


@triton.jit(do_not_specialize=BATCH)
def stem_kernel(
    x,
    w,
    bias,
    N,
    sizes,
    runs,
    tail,
    PRECISION: tl.constexpr,
    BLOCK_CH: tl.constexpr,
    BLOCK_PIX: tl.constexpr,
    BLOCK_RED: tl.constexpr,
):
    """Compute BLOCK_CH output channels at BLOCK_PIX output pixels.

    acc[BLOCK_CH, BLOCK_PIX] += W[BLOCK_CH, BLOCK_RED] @ X[BLOCK_PIX, BLOCK_RED]^T in float32, over
    the runs of all rows of a filter, one behind the other. What a pixel reads does not depend on
    where it lies; one that does not exist reads what the first one does.
    """
    K: tl.constexpr = runs.K
    REDUCTION: tl.constexpr = runs.R * runs.RUN
    CHANNEL_TILES: tl.constexpr = (K + BLOCK_CH - 1) // BLOCK_CH
    PIXEL: tl.constexpr = runs.STRIDE_W * PIXEL_LANES
    pid = tl.program_id(0)
    tile = pid // CHANNEL_TILES
    channel = (pid % CHANNEL_TILES) * BLOCK_CH + tl.arange(0, BLOCK_CH)
    channel_live = channel < K
    n, oh, ow, _ = tile_pixels(tile, N, sizes.OH, sizes.OW, tail.pool, BLOCK_PIX)
    x_pixel = n * x.strides[0] + oh * (runs.STRIDE_H * x.strides[1]) + ow * PIXEL
    w_channel = channel * REDUCTION
    acc = tl.zeros((BLOCK_CH, BLOCK_PIX), dtype=tl.float32)
    block = tl.arange(0, BLOCK_RED)
    for start in range(0, REDUCTION, BLOCK_RED):
        k = start + block
        at = k % runs.RUN
        x_step = k // runs.RUN * x.strides[1] + at
        if runs.PLANES > 1:
            x_step += at // runs.LAST * x.strides[2]
        x_ptr = x.ptr + (x_pixel[:, None] + x_step[None, :])
        w_ptr = w.ptr + (w_channel[:, None] + k[None, :])
        if runs.TAKEN < runs.RUN or REDUCTION % BLOCK_RED > 0:
            taken = (at < runs.TAKEN) & (k < REDUCTION)
            pixels = tl.load(x_ptr, mask=taken[None, :], other=0.0)
        else:
            pixels = tl.load(x_ptr)  # [BLOCK_PIX, BLOCK_RED]
        if REDUCTION % BLOCK_RED > 0 or K % BLOCK_CH > 0:
            mask = channel_live[:, None] & (k < REDUCTION)[None, :]
            filters = tl.load(w_ptr, mask=mask, other=0.0)
        else:
            filters = tl.load(w_ptr)  # [BLOCK_CH, BLOCK_RED]
        acc = tl.dot(filters, tl.trans(pixels), acc, input_precision=PRECISION)
    bias_tile = load_bias(bias, channel, channel_live)
    value = tl.trans(acc)
    finish(value, bias_tile, tile, N, sizes.OH, sizes.OW, channel, channel_live, tail)


def stem_conv2d(
    x: View,
    w: View,
    bias: View | None,
    outputs: Sequence[View],
    *,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    out_size: tuple[int, ...],
    tail: Tail = (),
    exports: Sequence[int] | None = None,
    tile: ConvTile,
) -> Launch:
    """Launch a convolution with its tail over a padded image x, which `padded` has written.

    `w` is packed to [K, R * run_length(S)]: of each row of a filter the taps, each in LANES
    numbers, and zeros behind. The other arguments are those of `conv2d`.

    Raises:
        ValueError: for shapes that disagree.
        Refused: for a tail that no kernel takes, and what 32-bit offsets or the grid cannot hold.
    """
    images, rows, planes, columns, _ = x.shape
    filters, reduction = w.shape
    run = run_length(kernel[1])
    if reduction != kernel[0] * run or w.strides != (reduction, 1):
        raise ValueError(f"packed weight {w.shape}, wanted {(filters, kernel[0] * run)}")
    if bias is not None and bias.shape != (filters,):
        raise ValueError(f"bias {bias.shape}, wanted {(filters,)}")
    needed = [
        (out - 1) * step + taps
        for out, step, taps in zip(
            out_size, stride, (kernel[0], kernel[1] + planes - 1), strict=True
        )
    ]
    if needed[0] > rows or needed[1] > columns:
        raise ValueError(f"a padded image {x.shape} does not hold the taps of {out_size} pixels")
    end = epilogue((images, filters, *out_size), tail, exports, outputs, tile.pixels)
    require(offset_refusal(x, w))
    taken = (kernel[1] + planes - 1) * LANES
    last = (kernel[1] - 1) * LANES
    runs = Runs(filters, kernel[0], stride[0], stride[1], run, taken, last, planes)
    grid = (end.tiles * ceil_div(filters, tile.channels), 1, 1)
    require(grid_refusal(grid))
    # A pipelined loop addresses the steps behind its last one, too.
    ahead = (tile.num_stages - 1) * tile.reduction
    past = ceil_div(-reduction % tile.reduction + ahead, run) * x.strides[1] + run
    masked_reach(w, -filters % tile.channels * reduction + tile.reduction + ahead)
    args = (
        x.argument,
        w.argument,
        bias and bias.argument,
        images,
        OutSize(*out_size),
        constants(runs),
        end.argument,
    )
    meta = {
        "PRECISION": "tf32x3" if x.dtype == "f32" else "ieee",
        "BLOCK_CH": tile.channels,
        "BLOCK_PIX": tile.pixels,
        "BLOCK_RED": tile.reduction,
        "num_warps": tile.num_warps,
        "num_stages": tile.num_stages,
    }
    return Launch(stem_kernel, grid, args, meta, masked_reach(x, past))
