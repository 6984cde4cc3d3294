"""AlexNet as in the paper and in the form for one tower, with seeded He weights.

Sources: A. Krizhevsky, I. Sutskever and G. Hinton, ImageNet Classification with Deep Convolutional
Neural Networks, 2012; and A. Krizhevsky, One weird trick for parallelizing convolutional neural
networks, 2014. The layers are called conv1 to fc8.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import Tensor
from graphcnn.frontend import functional as gx
from graphcnn.frontend.spatial import max_pool2d
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import classifier, conv, image, linear

_FEATURES = 4096


def alexnet_2012(
    batch: int = 1, dtype: str = "float32", *, size: int = 227, classes: int = 1000, seed: int = 0
) -> Graph:
    """AlexNet of 2012: image[batch, 3, size, size] to probabilities [batch, classes].

    Its two towers are groups. The paper prints a size of 224, which its first layer does not fit.
    """
    return _of_2012("alexnet_2012", 2, batch, dtype, size, classes, seed)


def alexnet_ungrouped(
    batch: int = 1, dtype: str = "float32", *, size: int = 227, classes: int = 1000, seed: int = 0
) -> Graph:
    """AlexNet of 2012 as one tower: every filter reads all channels."""
    return _of_2012("alexnet_ungrouped", 1, batch, dtype, size, classes, seed)


def alexnet(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """AlexNet of 2014, as in torchvision: image[batch, 3, size, size] to probabilities.

    It has no groups and no local response norm. Torchvision's adaptive pooling to 6x6 changes
    nothing at size 224, and is left out.
    """
    h = image(batch, size, dtype)
    h = gx.relu(conv(h, "conv1", 64, 11, 4, 2), name="relu1")
    h = max_pool2d(h, 3, 2, name="pool1")
    h = gx.relu(conv(h, "conv2", 192, 5, 1, 2), name="relu2")
    h = max_pool2d(h, 3, 2, name="pool2")
    h = gx.relu(conv(h, "conv3", 384, 3, 1, 1), name="relu3")
    h = gx.relu(conv(h, "conv4", 256, 3, 1, 1), name="relu4")
    h = gx.relu(conv(h, "conv5", 256, 3, 1, 1), name="relu5")
    return _top("alexnet", h, classes, seed)


def _of_2012(
    name: str, towers: int, batch: int, dtype: str, size: int, classes: int, seed: int
) -> Graph:
    h = gx.relu(conv(image(batch, size, dtype), "conv1", 96, 11, 4), name="relu1")
    h = max_pool2d(_paper_norm(h, "norm1"), 3, 2, name="pool1")
    h = gx.relu(conv(h, "conv2", 256, 5, 1, 2, groups=towers), name="relu2")
    h = max_pool2d(_paper_norm(h, "norm2"), 3, 2, name="pool2")
    h = gx.relu(conv(h, "conv3", 384, 3, 1, 1), name="relu3")
    h = gx.relu(conv(h, "conv4", 384, 3, 1, 1, groups=towers), name="relu4")
    h = gx.relu(conv(h, "conv5", 256, 3, 1, 1, groups=towers), name="relu5")
    return _top(name, h, classes, seed)


def _top(name: str, h: Tensor, classes: int, seed: int) -> Graph:
    h = gx.flatten(max_pool2d(h, 3, 2, name="pool5"), name="flatten")
    for number in (6, 7):
        h = linear(gx.dropout(h, name=f"dropout{number}"), f"fc{number}", _FEATURES)
        h = gx.relu(h, name=f"relu{number}")
    return classifier(name, linear(h, "fc8", count(classes, "classes", 1)), seed)


def _paper_norm(x: Tensor, name: str) -> Tensor:
    # The paper's alpha of 1e-4 multiplies the sum of 5 squares, PyTorch's their mean.
    return gx.local_response_norm(x, size=5, alpha=5e-4, beta=0.75, k=2.0, name=name)
