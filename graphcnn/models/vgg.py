"""The VGG networks: columns A, B, D and E of the paper's table, with seeded He weights.

Source: K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image
Recognition, 2015. The convolutions are called as in the paper's Caffe models: conv1_1 to conv5_4.
The forms with a batch norm behind each convolution are torchvision's.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import functional as gx
from graphcnn.frontend.spatial import max_pool2d
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import classifier, conv, image, linear, norm

_CHANNELS = (64, 128, 256, 512, 512)
_FEATURES = 4096
# Convolutions in each block.
_A, _B, _D, _E = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)


def vgg11(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """VGG-11 (A): image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _vgg("vgg11", _A, False, batch, dtype, size, classes, seed)


def vgg13(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """VGG-13 (B): image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _vgg("vgg13", _B, False, batch, dtype, size, classes, seed)


def vgg16(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """VGG-16 (D): image[batch, 3, size, size] to probabilities [batch, classes].

    At size 224 it has 138,357,544 parameters and takes 15,470,264,320 MACs per image.
    """
    return _vgg("vgg16", _D, False, batch, dtype, size, classes, seed)


def vgg19(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """VGG-19 (E): image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _vgg("vgg19", _E, False, batch, dtype, size, classes, seed)


def vgg11_bn(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """VGG-11 (A) with batch norm: image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _vgg("vgg11_bn", _A, True, batch, dtype, size, classes, seed)


def vgg13_bn(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """VGG-13 (B) with batch norm: image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _vgg("vgg13_bn", _B, True, batch, dtype, size, classes, seed)


def vgg16_bn(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """VGG-16 (D) with batch norm: image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _vgg("vgg16_bn", _D, True, batch, dtype, size, classes, seed)


def vgg19_bn(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """VGG-19 (E) with batch norm: image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _vgg("vgg19_bn", _E, True, batch, dtype, size, classes, seed)


def _vgg(
    name: str,
    depths: tuple[int, ...],
    normed: bool,
    batch: int,
    dtype: str,
    size: int,
    classes: int,
    seed: int,
) -> Graph:
    h = image(batch, size, dtype)
    for block, (depth, channels) in enumerate(zip(depths, _CHANNELS, strict=True), 1):
        for layer in range(1, depth + 1):
            h = conv(h, f"conv{block}_{layer}", channels, 3, padding=1)
            h = norm(h, f"norm{block}_{layer}") if normed else h
            h = gx.relu(h, name=f"relu{block}_{layer}")
        h = max_pool2d(h, 2, name=f"pool{block}")
    h = gx.flatten(h, name="flatten")
    for number in (6, 7):
        h = gx.relu(linear(h, f"fc{number}", _FEATURES), name=f"relu{number}")
        h = gx.dropout(h, name=f"dropout{number}")
    return classifier(name, linear(h, "fc8", count(classes, "classes", 1)), seed)
