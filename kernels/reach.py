"""How far the masked lanes of a convolution address beyond its image."""

from collections.abc import Iterator

from .launch import View
from .tile import ConvTile


def image_reach(
    x: View,
    out_size: tuple[int, ...],
    depth: int,
    tile: ConvTile,
    *,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    repeats: tuple[int, ...],
) -> int:
    """Elements past an end of x [N, C, H, W] that masked lanes address: of taps before its first
    pixel, of those behind its last one, and of the steps that a pipelined loop would load behind
    its own last step.

    The arguments are those of `conv2d`, and the `depth` of a group's channels.
    """

    def past(taps: tuple[int, ...]) -> Iterator[int]:
        """Rows and columns from the last pixel to a tap of the last output."""
        sizes = zip(out_size, stride, padding, taps, dilation, repeats, x.shape[2:], strict=True)
        for out, step, before, tap, spread, up, size in sizes:
            yield ((out - 1) * step - before + tap * spread) // up - (size - 1)

    def elements(rows: int, columns: int) -> int:
        return rows * x.strides[2] + columns * x.strides[3]

    last = past((kernel[0] - 1, kernel[1] - 1))
    ends = [elements(*padding), elements(*(max(0, away) for away in last))]
    if depth % tile.reduction == 0:
        for ahead in range(tile.num_stages - 1):
            blocks, tap = divmod(ahead, kernel[0] * kernel[1])
            channels = (blocks + 1) * tile.reduction * x.strides[1]
            ends.append(elements(*past(divmod(tap, kernel[1]))) + channels)
    return max(ends)
