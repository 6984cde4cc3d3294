"""The U-Nets, with seeded He weights.

Sources: O. Ronneberger, P. Fischer and T. Brox, U-Net: Convolutional Networks for Biomedical Image
Segmentation, 2015, figure 1; and the two forms of A. Milesi's Pytorch-UNet, whose convolutions keep
the size and have a batch norm behind their bias, as in its first releases.
"""

from __future__ import annotations

from collections.abc import Callable

from graphcnn.arguments import count
from graphcnn.frontend import Tensor
from graphcnn.frontend import functional as gx
from graphcnn.frontend.movement import narrow
from graphcnn.frontend.resampling import interpolate
from graphcnn.frontend.spatial import max_pool2d
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import classifier, conv, image, norm, transposed_conv

_LEVELS = 4  # that have skips; below them is the bottom


def unet(
    batch: int = 1,
    dtype: str = "float32",
    *,
    size: int = 572,
    classes: int = 2,
    width: int = 64,
    seed: int = 0,
) -> Graph:
    """The paper's: image[batch, 1, size, size] to [batch, classes, size - 184, size - 184].

    Nothing is padded, so skips are cropped. The size is 16 times a number from 11 on, and 12; each
    pixel gets the probabilities of its classes. The first level has `width` channels.
    """
    widths = _widths(width)
    h, skips = _down(image(batch, size, dtype, channels=1), widths, _plain)
    h = gx.dropout(h, name="dropout")
    for level, channels in _upwards(widths):
        h = transposed_conv(h, f"up{level}.up", channels, 2, 2)
        skip = _cropped(skips.pop(), h.shape[2], f"up{level}.crop")
        h = _plain(gx.concat([skip, h], name=f"up{level}.concat"), f"up{level}", channels)
    return classifier("unet", conv(h, "scores", count(classes, "classes", 1), 1), seed)


def unet_bn(
    batch: int = 1,
    dtype: str = "float32",
    *,
    size: int = 256,
    classes: int = 2,
    width: int = 64,
    seed: int = 0,
) -> Graph:
    """Padded, with batch norm: image[batch, 3, size, size] to [batch, classes, size, size].

    The size is a multiple of 16; each pixel gets the probabilities of its classes. The first level
    has `width` channels.
    """
    widths = _widths(width)
    h, skips = _down(image(batch, size, dtype), widths, _normed)
    for level, channels in _upwards(widths):
        h = transposed_conv(h, f"up{level}.up", channels, 2, 2)
        h = gx.concat([skips.pop(), h], name=f"up{level}.concat")
        h = _normed(h, f"up{level}", channels)
    return classifier("unet_bn", conv(h, "scores", count(classes, "classes", 1), 1), seed)


def unet_bilinear(
    batch: int = 1,
    dtype: str = "float32",
    *,
    size: int = 256,
    classes: int = 2,
    width: int = 64,
    seed: int = 0,
) -> Graph:
    """As `unet_bn`, but what goes up is interpolated, and so has half as many channels."""
    widths = _widths(width)
    h, skips = _down(image(batch, size, dtype), (*widths[:-1], widths[-2]), _normed)
    for level, channels in _upwards(widths):
        h = interpolate(h, None, 2, "bilinear", align_corners=True, name=f"up{level}.up")
        h = gx.concat([skips.pop(), h], name=f"up{level}.concat")
        h = _normed(h, f"up{level}", channels, max(channels // 2, width))
    return classifier("unet_bilinear", conv(h, "scores", count(classes, "classes", 1), 1), seed)


def _down(
    h: Tensor, widths: tuple[int, ...], double: Callable[[Tensor, str, int], Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """The contracting path: its end, and what each level hands across."""
    skips = []
    for level, channels in enumerate(widths[:-1], 1):
        skips.append(double(h, f"down{level}", channels))
        h = max_pool2d(skips[-1], 2, name=f"pool{level}")
    return double(h, "bottom", widths[-1]), skips


def _widths(width: int) -> tuple[int, ...]:
    """The channels of the levels and of the bottom."""
    return tuple(count(width, "width", 1) << level for level in range(_LEVELS + 1))


def _upwards(widths: tuple[int, ...]) -> list[tuple[int, int]]:
    """The levels of the expanding path, with their channels."""
    return list(enumerate(widths[:-1], 1))[::-1]


def _plain(h: Tensor, at: str, channels: int) -> Tensor:
    """Two 3x3 convolutions without padding."""
    for number in (1, 2):
        h = gx.relu(conv(h, f"{at}.conv{number}", channels, 3), name=f"{at}.relu{number}")
    return h


def _normed(h: Tensor, at: str, channels: int, last: int | None = None) -> Tensor:
    """Two 3x3 convolutions that keep the size, the second with `last` filters if that is given."""
    for number, filters in enumerate((channels, last or channels), 1):
        h = norm(conv(h, f"{at}.conv{number}", filters, 3, padding=1), f"{at}.norm{number}")
        h = gx.relu(h, name=f"{at}.relu{number}")
    return h


def _cropped(h: Tensor, size: int, name: str) -> Tensor:
    """The middle of square maps."""
    margin = (h.shape[2] - size) // 2
    h = narrow(h, 2, margin, size, name=f"{name}_rows")
    return narrow(h, 3, margin, size, name=f"{name}_columns")
