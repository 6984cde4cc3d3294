"""What a layer asks of a kernel, as far as the choice of one goes."""

from math import prod
from typing import NamedTuple

from .launch import ceil_div
from .stem import Stem
from .tile import ConvTile, LinearTile, Pressure
from .window import Pool


class Pooled(NamedTuple):
    """The pool of a tail, how many images it pools, and their height and width before."""

    pool: Pool
    images: int
    size: tuple[int, int]


class Maps(NamedTuple):
    """The output of a convolution of 3 x 3 filters: images, height and width, and by how many
    outputs of a tile minimal filtering may compute it."""

    images: int
    size: tuple[int, int]
    outputs: tuple[int, ...]


class Boxes(NamedTuple):
    """The output of a convolution that tensor descriptors may serve: images, height and width, and
    whether its tiles are rows of pixels that follow one another, in place of boxes of an image."""

    images: int
    size: tuple[int, int]
    rows: bool = False


class ConvProblem(NamedTuple):
    """A convolution, as far as the choice of its kernel goes.

    Attributes:
        dtype: Of its operands.
        filters: Output channels of a group.
        channels: Input channels of a group.
        groups: How many there are.
        pixels: Output pixels of all images before pooling.
        pressure: On registers.
        pooled: The pool of its tail, if there is one.
        across: Whether its tail wants all channels in one tile.
        maps: Its output, where minimal filtering may compute it.
        taps: Of a filter.
        stride: Input pixels from one output pixel to the next, down times across.
        beside: Values of the output's full size that its tail reads, or stores beside the first.
        stem: Its filter and image, where the rows of the filter may be runs of the reduction.
        boxes: Its output, where tensor descriptors may serve it.
    """

    dtype: str
    filters: int
    channels: int
    groups: int
    pixels: int
    pressure: Pressure
    pooled: Pooled | None = None
    across: bool = False
    maps: Maps | None = None
    taps: int = 1
    stride: int = 1
    beside: int = 0
    stem: Stem | None = None
    boxes: Boxes | None = None

    @property
    def depthwise(self) -> bool:
        """Whether every group reads one channel."""
        return self.channels == 1 and self.groups > 1

    @property
    def overlaps(self) -> bool:
        """Whether the windows of its pool overlap."""
        return self.pooled is not None and any(self.pooled.pool.halo)

    @property
    def wide(self) -> bool:
        """Whether the windows of its pool have more than two columns."""
        return self.pooled is not None and self.pooled.pool.kernel[1] > 2

    @property
    def windows(self) -> int:
        """Of its pool, in all images."""
        if self.pooled is None:
            return 0
        pool, images, size = self.pooled
        return images * prod(pool.size(*size))

    def computed(self, tile: ConvTile) -> int:
        """Pixels that tiles of a kernel compute, some twice, and some beyond the images."""
        if self.pooled is None or tile.parts > 1:
            return ceil_div(self.pixels, tile.pixels) * tile.pixels
        pool, images, size = self.pooled
        return pool.tiling(images, *pool.size(*size), tile.pixels).tiles * tile.pixels

    def boxed(self, tile: ConvTile) -> int:
        """The same of tiles that are boxes of an image, where tensor descriptors may serve it."""
        if self.boxes is None or self.boxes.rows:
            return self.computed(tile)
        images, size, _ = self.boxes
        pool = self.pooled.pool if self.pooled else Pool("avg", (1, 1))
        return pool.tiling(images, *pool.size(*size), tile.pixels, boxes=True).tiles * tile.pixels

    def kept(self, tile: ConvTile) -> int:
        """The same of kernels that leave out what lies behind the last live pixel of a tile.

        The rows of blocks come first in it, so of these none is computed that no window has; of
        their columns all are.
        """
        if self.pooled is None:
            return self.pixels
        if self.overlaps:
            return self.computed(tile)
        pool = self.pooled.pool
        return self.windows * pool.steps[0] * pool.block[1]

    def programs(self, tile: ConvTile) -> int:
        """That compute it with a tile."""
        tiles = ceil_div(self.filters, tile.channels) * self.computed(tile) // tile.pixels
        return tiles * self.groups * tile.parts

    def steps(self, tile: ConvTile) -> int:
        """Of the reduction, in all parts."""
        return ceil_div(self.taps * self.channels, tile.reduction)


class LinearProblem(NamedTuple):
    """A linear layer likewise.

    Attributes:
        dtype: Of its operands.
        rows: How many there are of x.
        features: Output features.
        reduction: Input features.
    """

    dtype: str
    rows: int
    features: int
    reduction: int

    def programs(self, tile: LinearTile) -> int:
        """That compute it with a tile."""
        return ceil_div(self.rows, tile.rows) * ceil_div(self.features, tile.features) * tile.parts

    def steps(self, tile: LinearTile) -> int:
        """Of the reduction, in all parts."""
        return ceil_div(self.reduction, tile.reduction)


class SeparableProblem(NamedTuple):
    """A depthwise convolution and the 1x1 one that reads it likewise.

    Attributes:
        filters: Output channels.
        pixels: Output pixels of all images before pooling.
        window: Pixels of a window of its pool, if there is one.
    """

    filters: int
    pixels: int
    window: int = 1


Problem = ConvProblem | LinearProblem | SeparableProblem
