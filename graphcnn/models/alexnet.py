"""AlexNet in the form for one tower, as in torchvision, with seeded He weights.

Source: A. Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014: no
groups, no local response norm, and 64, 192, 384, 256 and 256 filters. Torchvision's adaptive
pooling to 6x6 changes nothing at size 224, and is left out. The layers are called conv1 to fc8.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import functional as gx
from graphcnn.frontend.spatial import max_pool2d
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import classifier, conv, image, linear


def alexnet(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """AlexNet: image[batch, 3, size, size] to probabilities [batch, classes]."""
    h = image(batch, size, dtype)
    h = gx.relu(conv(h, "conv1", 64, 11, 4, 2), name="relu1")
    h = max_pool2d(h, 3, 2, name="pool1")
    h = gx.relu(conv(h, "conv2", 192, 5, 1, 2), name="relu2")
    h = max_pool2d(h, 3, 2, name="pool2")
    h = gx.relu(conv(h, "conv3", 384, 3, 1, 1), name="relu3")
    h = gx.relu(conv(h, "conv4", 256, 3, 1, 1), name="relu4")
    h = gx.relu(conv(h, "conv5", 256, 3, 1, 1), name="relu5")
    h = max_pool2d(h, 3, 2, name="pool5")
    h = gx.flatten(h, name="flatten")
    for number in (6, 7):
        h = linear(gx.dropout(h, name=f"dropout{number}"), f"fc{number}", 4096)
        h = gx.relu(h, name=f"relu{number}")
    return classifier("alexnet", linear(h, "fc8", count(classes, "classes", 1)), seed)
