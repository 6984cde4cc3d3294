"""The ResNets in torchvision's form, with seeded He weights.

Source: K. He et al., Deep Residual Learning for Image Recognition, 2016, table 1; the stride of a
bottleneck is that of its 3x3 convolution (torchvision's "v1.5"). Parameters have the names of
torchvision's `state_dict`.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import Tensor
from graphcnn.frontend import functional as gx
from graphcnn.frontend.arithmetic import add
from graphcnn.frontend.spatial import max_pool2d
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import classifier, conv, image, linear, norm

_CHANNELS = (64, 128, 256, 512)


def resnet18(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """ResNet-18: image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _resnet("resnet18", (2, 2, 2, 2), False, batch, dtype, size, classes, seed)


def resnet34(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """ResNet-34: image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _resnet("resnet34", (3, 4, 6, 3), False, batch, dtype, size, classes, seed)


def resnet50(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """ResNet-50: image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _resnet("resnet50", (3, 4, 6, 3), True, batch, dtype, size, classes, seed)


def resnet101(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """ResNet-101: image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _resnet("resnet101", (3, 4, 23, 3), True, batch, dtype, size, classes, seed)


def resnet152(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """ResNet-152: image[batch, 3, size, size] to probabilities [batch, classes]."""
    return _resnet("resnet152", (3, 8, 36, 3), True, batch, dtype, size, classes, seed)


def _resnet(
    name: str,
    depths: tuple[int, ...],
    bottleneck: bool,
    batch: int,
    dtype: str,
    size: int,
    classes: int,
    seed: int,
) -> Graph:
    h = _conv_norm(image(batch, size, dtype), "conv1", "bn1", 64, 7, 2)
    h = max_pool2d(gx.relu(h, name="relu"), 3, 2, 1, name="maxpool")
    for stage, (depth, channels) in enumerate(zip(depths, _CHANNELS, strict=True), 1):
        for block in range(depth):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            branch = _bottleneck if bottleneck else _basic
            # Were each branch as large as its shortcut, their sums would double with every block.
            y = branch(h, at, channels, stride, variance=sum(depths))
            if y.shape != h.shape:
                down = f"{at}.downsample"
                h = _conv_norm(h, f"{down}.0", f"{down}.1", y.shape[1], 1, stride)
            h = gx.relu(add(y, h, name=f"{at}.add"), name=f"{at}.relu")
    h = gx.flatten(gx.global_avg_pool2d(h, name="avgpool"), name="flatten")
    return classifier(name, linear(h, "fc", count(classes, "classes", 1)), seed)


def _basic(h: Tensor, at: str, channels: int, stride: int, variance: float) -> Tensor:
    """Two 3x3 convolutions."""
    h = gx.relu(_conv_norm(h, f"{at}.conv1", f"{at}.bn1", channels, 3, stride), name=f"{at}.relu1")
    return _conv_norm(h, f"{at}.conv2", f"{at}.bn2", channels, 3, variance=variance)


def _bottleneck(h: Tensor, at: str, channels: int, stride: int, variance: float) -> Tensor:
    """A 3x3 convolution between two of 1x1, of which the last has four times as many filters."""
    h = gx.relu(_conv_norm(h, f"{at}.conv1", f"{at}.bn1", channels, 1), name=f"{at}.relu1")
    h = gx.relu(_conv_norm(h, f"{at}.conv2", f"{at}.bn2", channels, 3, stride), name=f"{at}.relu2")
    return _conv_norm(h, f"{at}.conv3", f"{at}.bn3", 4 * channels, 1, variance=variance)


def _conv_norm(
    h: Tensor,
    name: str,
    norm_name: str,
    channels: int,
    kernel: int,
    stride: int = 1,
    variance: float | None = None,
) -> Tensor:
    """A convolution without bias that keeps the size but for its stride, and its batch norm."""
    h = conv(h, name, channels, kernel, stride, kernel // 2, bias=False)
    return norm(h, norm_name, variance)
