"""MobileNetV2 at width 1, as in torchvision, with seeded weights.

Source: M. Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018.
"""

from __future__ import annotations

from graphcnn.arguments import count
from graphcnn.frontend import Tensor
from graphcnn.frontend import functional as gx
from graphcnn.frontend.arithmetic import add
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import classifier, conv, image, linear, norm

# Expansion, output channels, blocks, and the stride of the first: table 2 of the paper.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(
    batch: int = 1, dtype: str = "float32", *, size: int = 224, classes: int = 1000, seed: int = 0
) -> Graph:
    """MobileNetV2: image[batch, 3, size, size] to probabilities [batch, classes]."""
    h = _layer(image(batch, size, dtype), "first", 32, 3, stride=2)
    number = 0
    for expansion, channels, blocks, stride in _STAGES:
        for block in range(blocks):
            number += 1
            step = stride if block == 0 else 1
            h = _inverted_residual(h, f"block{number}", expansion, channels, step)
    h = _layer(h, "last", 1280, 1)
    h = gx.flatten(gx.global_avg_pool2d(h, name="avgpool"), name="flatten")
    h = gx.dropout(h, name="dropout")
    scores = linear(h, "classifier", count(classes, "classes", 1))
    return classifier("mobilenet_v2", scores, seed)


def _inverted_residual(x: Tensor, name: str, expansion: int, channels: int, stride: int) -> Tensor:
    """Expand, filter each channel, and project without an activation."""
    inner = expansion * x.shape[1]
    h = _layer(x, f"{name}.expand", inner, 1) if expansion > 1 else x
    h = _layer(h, f"{name}.depthwise", inner, 3, stride=stride, groups=inner)
    h = norm(conv(h, f"{name}.project", channels, 1, bias=False), f"{name}.project_bn")
    keeps = stride == 1 and channels == x.shape[1]
    return add(x, h, name=f"{name}.add") if keeps else h


def _layer(
    x: Tensor, name: str, channels: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> Tensor:
    h = conv(x, name, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return gx.relu6(norm(h, f"{name}_bn"), name=f"{name}_relu")
