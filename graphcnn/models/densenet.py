"""DenseNet-121 in torchvision's form, with seeded He weights.

Source: G. Huang et al., Densely Connected Convolutional Networks, 2017: DenseNet-BC with growth
rate 32. Torchvision's features.denseblock1.denselayer2 is block1.layer2 here.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import Tensor
from graphcnn.frontend import functional as gx
from graphcnn.frontend.spatial import avg_pool2d, max_pool2d
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import classifier, conv, image, linear, norm

_GROWTH = 32
_LAYERS = (6, 12, 24, 16)


def densenet121(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """DenseNet-121: image[batch, 3, size, size] to probabilities [batch, classes]."""
    h = conv(image(batch, size, dtype), "conv0", 2 * _GROWTH, 7, 2, 3, bias=False)
    h = gx.relu(norm(h, "norm0"), name="relu0")
    h = max_pool2d(h, 3, 2, 1, name="pool0")
    for block, layers in enumerate(_LAYERS, 1):
        if block > 1:
            h = _transition(h, f"transition{block - 1}")
        for layer in range(1, layers + 1):
            h = _dense(h, f"block{block}.layer{layer}")
    h = gx.relu(norm(h, "norm5"), name="relu5")
    h = gx.flatten(gx.global_avg_pool2d(h, name="pool5"), name="flatten")
    scores = linear(h, "classifier", count(classes, "classes", 1))
    return classifier("densenet121", scores, seed)


def _dense(h: Tensor, at: str) -> Tensor:
    """The features, and beside them as many new ones as the growth rate."""
    y = gx.relu(norm(h, f"{at}.norm1"), name=f"{at}.relu1")
    y = conv(y, f"{at}.conv1", 4 * _GROWTH, 1, bias=False)
    y = gx.relu(norm(y, f"{at}.norm2"), name=f"{at}.relu2")
    y = conv(y, f"{at}.conv2", _GROWTH, 3, padding=1, bias=False)
    return gx.concat([h, y], name=f"{at}.concat")


def _transition(h: Tensor, at: str) -> Tensor:
    """Half as many features, at half the size."""
    h = gx.relu(norm(h, f"{at}.norm"), name=f"{at}.relu")
    h = conv(h, f"{at}.conv", h.shape[1] // 2, 1, bias=False)
    return avg_pool2d(h, 2, name=f"{at}.pool")
