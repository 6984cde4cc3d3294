"""The VGG networks: columns A, B, D and E of the paper's table, with seeded He weights.

Source: K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image
Recognition, 2015. The convolutions are called as in the paper's Caffe models: conv1_1 to conv5_4.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import Tensor, graph, input, param
from graphcnn.frontend import functional as gx
from graphcnn.frontend.spatial import conv2d, max_pool2d
from graphcnn.ir.graph import Graph
from graphcnn.ir.he_weights import with_he_weights

_CHANNELS = (64, 128, 256, 512, 512)
_FEATURES = 4096


def vgg11(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """VGG-11 (A): image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _vgg("vgg11", (1, 1, 2, 2, 2), batch, dtype, size, classes, seed)


def vgg13(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """VGG-13 (B): image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _vgg("vgg13", (2, 2, 2, 2, 2), batch, dtype, size, classes, seed)


def vgg16(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """VGG-16 (D): image[batch, 3, size, size] to probabilities [batch, classes].

    At size 224 it has 138,357,544 parameters and takes 15,470,264,320 MACs per image.
    """
    return _vgg("vgg16", (2, 2, 3, 3, 3), batch, dtype, size, classes, seed)


def vgg19(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """VGG-19 (E): image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _vgg("vgg19", (2, 2, 4, 4, 4), batch, dtype, size, classes, seed)


def _vgg(
    name: str, depths: tuple[int, ...], batch: int, dtype: str, size: int, classes: int, seed: int
) -> Graph:
    size = count(size, "size", 1)
    h = input("image", (count(batch, "batch", 1), 3, size, size), dtype)
    for block, (depth, channels) in enumerate(zip(depths, _CHANNELS, strict=True), 1):
        for layer in range(1, depth + 1):
            conv = f"conv{block}_{layer}"
            weight = param(f"{conv}.weight", (channels, h.shape[1], 3, 3), dtype)
            bias = param(f"{conv}.bias", (channels,), dtype)
            h = conv2d(h, weight, bias, padding=1, name=conv)
            h = gx.relu(h, name=f"relu{block}_{layer}")
        h = max_pool2d(h, 2, name=f"pool{block}")
    h = gx.flatten(h, name="flatten")
    for number in (6, 7):
        h = gx.relu(_linear(h, f"fc{number}", _FEATURES), name=f"relu{number}")
        h = gx.dropout(h, name=f"dropout{number}")
    h = _linear(h, "fc8", count(classes, "classes", 1))
    return with_he_weights(graph(name, gx.softmax(h, name="softmax")), seed)


def _linear(input: Tensor, name: str, features: int) -> Tensor:
    weight = param(f"{name}.weight", (features, input.shape[1]), input.dtype)
    bias = param(f"{name}.bias", (features,), input.dtype)
    return gx.linear(input, weight, bias, name=name)
