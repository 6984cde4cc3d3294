"""The pool of a tail: the pixels that a tile holds for its windows, and how many it holds twice.

A tile is cut into blocks, the pixels from one window to the next. Where windows overlap, a window
goes on into the blocks right of it and below, its halo; the last blocks of a tile are then halo
only, which the neighbouring tile computes again.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Literal, NamedTuple

from .launch import ceil_div, next_power_of_2

# Pixels that every tile of a convolution has at least.
TILE_PIXELS = 64
# Of a box, where others are as few: whatever the device, its threads then hold whole 2 x 2 windows.
COLUMNS = 32


@dataclass(frozen=True)
class Pool:
    """A pool over windows of a convolution's output.

    Attributes:
        kind: What a window becomes.
        kernel: Its height and width.
        reads: The value that is pooled, as of a `Stage`.
        stride: From one window to the next, at most the kernel; empty: the kernel's.
        padding: Rows and columns beyond the output that windows reach into: top, left, bottom,
            right. They count as -inf for a maximum, and not at all for an average. What ceil mode
            adds is padding.
    """

    kind: Literal["max", "avg"]
    kernel: tuple[int, ...]
    reads: tuple[int | Any, ...] = (-1,)
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = (0, 0, 0, 0)

    @property
    def steps(self) -> tuple[int, ...]:
        """From one window to the next, down and to the right."""
        return self.stride or self.kernel

    @property
    def block(self) -> tuple[int, ...]:
        """Height and width of a block in a tile: of the steps, the next powers of two."""
        return tuple(map(next_power_of_2, self.steps))

    @property
    def halo(self) -> tuple[int, ...]:
        """Blocks below and right of its own that a window goes on into."""
        return tuple(ceil_div(k, s) - 1 for k, s in zip(self.kernel, self.steps, strict=True))

    @property
    def pixels(self) -> int:
        """Pixels of a tile that one window takes."""
        blocks = (next_power_of_2(halo + 1) for halo in self.halo)
        return prod(self.block) * prod(blocks)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Pooled height and width."""
        top, left, bottom, right = self.padding
        rows = (height + top + bottom - self.kernel[0]) // self.steps[0] + 1
        return rows, (width + left + right - self.kernel[1]) // self.steps[1] + 1

    def refusal(self, height: int, width: int) -> str | None:
        """Why no kernel pools an output of this size, or None.

        The rule: every element lies in a window, or behind the last one, and the blocks that one
        window takes fit into the smallest tile.
        """
        window, size = _by(self.kernel), _by((height, width))
        if any(s > k for s, k in zip(self.steps, self.kernel, strict=True)):
            return f"its windows leave gaps: kernel {window}, stride {_by(self.steps)}"
        if min(self.size(height, width)) < 1:
            return f"no whole window {window} fits in an output of {size}"
        if self.pixels > TILE_PIXELS:
            return f"its window {window} takes {self.pixels} pixels; a tile may have {TILE_PIXELS}"
        return None

    def tiling(
        self, images: int, rows: int, cols: int, pixels: int, *, boxes: bool = False
    ) -> "Tiling":
        """The tiles of so many pixels that hold rows x cols windows of each image; boxes: each is
        one of an image, also where windows do not overlap."""
        blocks = pixels // prod(self.block)
        down, right = self.halo
        if not down and not right and not boxes:
            return Tiling(1, 1, ceil_div(images * rows * cols, blocks))
        heights = (1 << n for n in range(blocks.bit_length()))
        return min(
            (
                Tiling(h, blocks // h, images * ceil_div(rows, h - down) * ceil_div(cols, w))
                for h in heights
                if h > down and (w := blocks // h - right) > 0
            ),
            key=lambda t: (t.tiles, boxes and abs(t.cols * self.block[1] - COLUMNS)),
        )


class Tiling(NamedTuple):
    """How a grid of blocks is cut into tiles: blocks of a tile down and to the right, and tiles.

    Where tiles are no boxes, the blocks of one are any that follow one another: 1 and 1.
    """

    rows: int
    cols: int
    tiles: int


class Window(NamedTuple):
    """The pool of a tail as an argument of a kernel, all constexprs.

    AT is its step, or -1: there is none. A block has H x W pixels in a tile; a tile that is a box
    of an image, as where windows overlap, has ROWS x COLS blocks. PARTIAL: blocks without a whole
    window are visited too, because their pixels are stored. EDGES: some pixel of a tile may lie
    beyond the output, PADDED: in a window. NOTHING changes no result: -inf or 0.
    """

    AT: Any = -1
    MAX: Any = False
    H: Any = 1
    W: Any = 1
    PARTIAL: Any = False
    EDGES: Any = False
    PADDED: Any = False
    NOTHING: Any = 0.0
    KERNEL_H: Any = 1
    KERNEL_W: Any = 1
    STRIDE_H: Any = 1
    STRIDE_W: Any = 1
    TOP: Any = 0
    LEFT: Any = 0
    BOTTOM: Any = 0
    RIGHT: Any = 0
    ROWS: Any = 1
    COLS: Any = 1


def window_of(
    pool: Pool,
    at: int,
    images: int,
    size: tuple[int, int],
    pixels: int,
    *,
    stored: bool,
    boxes: bool = False,
) -> tuple[Window, int]:
    """The argument for the pool at a step of a tail (-1: for none), and how many tiles it takes.

    Args:
        pool: Of 1x1 windows where there is none.
        at: Its step.
        images: How many are pooled.
        size: Their height and width before.
        pixels: Of a tile.
        stored: Whether what is pooled is stored too.
        boxes: Whether tiles are boxes of an image, also where windows do not overlap.
    """
    rows, cols = pool.size(*size)
    covered = all(n % step == 0 for n, step in zip(size, pool.steps, strict=True))
    partial = stored and not covered
    if partial:
        rows, cols = (ceil_div(n, step) for n, step in zip(size, pool.steps, strict=True))
    tiling = pool.tiling(images, rows, cols, pixels, boxes=boxes)
    padded, largest = any(pool.padding), pool.kind == "max"
    edges = partial or padded or any(pool.halo)
    flags = (partial, edges, padded, float("-inf") if largest else 0.0)
    steps = (*pool.kernel, *pool.steps, *pool.padding)
    window = Window(*(at, largest, *pool.block, *flags, *steps, tiling.rows, tiling.cols))
    return window, tiling.tiles


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
