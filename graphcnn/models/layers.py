"""Layers of an image classifier that bring their own parameters.

Parameters are called as in torch's modules: NODE.weight, NODE.bias and, of a batch norm,
NODE.running_mean and NODE.running_var. They are created in the order of torch's `state_dict`.
"""

from __future__ import annotations

import numpy as np

from graphcnn.arguments import count
from graphcnn.frontend import Tensor, graph, input, param
from graphcnn.frontend import functional as gx
from graphcnn.frontend.spatial import conv2d
from graphcnn.ir.graph import Graph
from graphcnn.ir.he_weights import with_he_weights


def image(batch: int, size: int, dtype: str) -> Tensor:
    """The input: square images in three colours, [batch, 3, size, size]."""
    size = count(size, "size", 1)
    return input("image", (count(batch, "batch", 1), 3, size, size), dtype)


def conv(
    input: Tensor,
    name: str,
    channels: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    *,
    groups: int = 1,
    bias: bool = True,
) -> Tensor:
    """A convolution with square filters, as many as `channels`."""
    depth = input.shape[1] // groups
    weight = param(f"{name}.weight", (channels, depth, kernel, kernel), input.dtype)
    shift = param(f"{name}.bias", (channels,), input.dtype) if bias else None
    return conv2d(input, weight, shift, stride, padding, groups=groups, name=name)


def norm(input: Tensor, name: str, variance: float | None = None) -> Tensor:
    """A batch norm; its running variance is seeded around 1, or `variance` in every channel."""
    channels = input.shape[1:2]
    weight, bias, mean = (
        param(f"{name}.{role}", channels, input.dtype)
        for role in ("weight", "bias", "running_mean")
    )
    if variance is None:
        var = param(f"{name}.running_var", channels, input.dtype)
        return gx.batch_norm(input, mean, var, weight, bias, name=name)
    return gx.batch_norm(
        input, mean, np.full(channels, variance, np.float32), weight, bias, name=name
    )


def linear(input: Tensor, name: str, features: int) -> Tensor:
    """A linear layer of [N, I] with bias: [N, features]."""
    weight = param(f"{name}.weight", (features, input.shape[1]), input.dtype)
    bias = param(f"{name}.bias", (features,), input.dtype)
    return gx.linear(input, weight, bias, name=name)


def classifier(name: str, scores: Tensor, seed: int) -> Graph:
    """The network from the image to the softmax of the scores [N, classes], with He weights."""
    return with_he_weights(graph(name, gx.softmax(scores, name="softmax")), seed)
