"""The U-Nets, with seeded He weights.

Sources: O. Ronneberger, P. Fischer and T. Brox, U-Net: Convolutional Networks for Biomedical Image
Segmentation, 2015; and the form of A. Milesi's Pytorch-UNet, whose convolutions keep the size and
have a batch norm behind their bias, as in its first releases.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import Tensor
from graphcnn.frontend import functional as gx
from graphcnn.frontend.spatial import max_pool2d
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import classifier, conv, image, norm, transposed_conv

# Of the four levels that have skips; the bottom has twice the last.
_CHANNELS = (64, 128, 256, 512)


def unet_bn(
    batch: int = 1, dtype: str = "float32", *, size: int = 256, classes: int = 2, seed: int = 0
) -> Graph:
    """Padded, with batch norm: image[batch, 3, size, size] to [batch, classes, size, size].

    The size is a multiple of 16; each pixel gets the probabilities of its classes.
    """
    h, skips = image(batch, size, dtype), []
    for level, channels in enumerate(_CHANNELS, 1):
        skips.append(_double(h, f"down{level}", channels))
        h = max_pool2d(skips[-1], 2, name=f"pool{level}")
    h = _double(h, "bottom", 2 * _CHANNELS[-1])
    for level, channels in reversed(list(enumerate(_CHANNELS, 1))):
        h = transposed_conv(h, f"up{level}.up", channels, 2, 2)
        h = _double(gx.concat([skips.pop(), h], name=f"up{level}.concat"), f"up{level}", channels)
    return classifier("unet_bn", conv(h, "scores", count(classes, "classes", 1), 1), seed)


def _double(h: Tensor, at: str, channels: int) -> Tensor:
    """Two 3x3 convolutions that keep the size, each with batch norm and ReLU."""
    for number in (1, 2):
        h = conv(h, f"{at}.conv{number}", channels, 3, padding=1)
        h = gx.relu(norm(h, f"{at}.norm{number}"), name=f"{at}.relu{number}")
    return h
