"""SqueezeNet 1.1, with seeded He weights.

Source: F. Iandola et al., SqueezeNet, 2016, with the smaller first filters and earlier pools of the
authors' release 1.1. The layers are called as in the paper: conv1, fire2 to fire9, conv10.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import Tensor
from graphcnn.frontend import functional as gx
from graphcnn.frontend.spatial import max_pool2d
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import classifier, conv, image


def squeezenet1_1(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """SqueezeNet 1.1: image[batch, 3, size, size] to probabilities [batch, classes]."""
    h = gx.relu(conv(image(batch, size, dtype), "conv1", 64, 3, 2), name="relu1")
    h = max_pool2d(h, 3, 2, ceil_mode=True, name="pool1")
    h = _fire(_fire(h, "fire2", 16, 64), "fire3", 16, 64)
    h = max_pool2d(h, 3, 2, ceil_mode=True, name="pool3")
    h = _fire(_fire(h, "fire4", 32, 128), "fire5", 32, 128)
    h = max_pool2d(h, 3, 2, ceil_mode=True, name="pool5")
    h = _fire(_fire(h, "fire6", 48, 192), "fire7", 48, 192)
    h = _fire(_fire(h, "fire8", 64, 256), "fire9", 64, 256)
    h = conv(gx.dropout(h, name="dropout9"), "conv10", count(classes, "classes", 1), 1)
    h = gx.global_avg_pool2d(gx.relu(h, name="relu10"), name="pool10")
    return classifier("squeezenet1_1", gx.flatten(h, name="flatten"), seed)


def _fire(h: Tensor, at: str, squeeze: int, expand: int) -> Tensor:
    """A few filters of 1x1, and on them as many of 1x1 as of 3x3, side by side."""
    h = gx.relu(conv(h, f"{at}.squeeze", squeeze, 1), name=f"{at}.relu")
    one = gx.relu(conv(h, f"{at}.expand1x1", expand, 1), name=f"{at}.relu1x1")
    three = gx.relu(conv(h, f"{at}.expand3x3", expand, 3, padding=1), name=f"{at}.relu3x3")
    return gx.concat([one, three], name=f"{at}.concat")
