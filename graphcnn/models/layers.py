"""Layers that bring their own parameters.

Parameters are called as in torch's modules: NODE.weight, NODE.bias and, of a batch norm,
NODE.running_mean and NODE.running_var. They are created in the order of torch's `state_dict`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphcnn.arguments import count
from graphcnn.frontend import Tensor, graph, input, param
from graphcnn.frontend import functional as gx
from graphcnn.frontend.norms import batch_norm
from graphcnn.frontend.spatial import Sides, conv1d, conv2d, conv_transpose2d
from graphcnn.ir.graph import Graph
from graphcnn.ir.he_weights import with_he_weights


def image(batch: int, size: int, dtype: str, channels: int = 3) -> Tensor:
    """The input: square images in three colours, [batch, 3, size, size], or of other channels."""
    size = count(size, "size", 1)
    return input("image", (count(batch, "batch", 1), channels, size, size), dtype)


def conv(
    input: Tensor,
    name: str,
    channels: int,
    kernel: int,
    stride: int = 1,
    padding: Sides = 0,
    *,
    groups: int = 1,
    bias: bool = True,
) -> Tensor:
    """A convolution with square filters, as many as `channels`."""
    depth = input.shape[1] // groups
    weight = param(f"{name}.weight", (channels, depth, kernel, kernel), input.dtype)
    shift = param(f"{name}.bias", (channels,), input.dtype) if bias else None
    return conv2d(input, weight, shift, stride, padding, groups=groups, name=name)


def causal_conv(input: Tensor, name: str, channels: int, kernel: int, dilation: int = 1) -> Tensor:
    """A convolution of a sequence whose last tap reads the present, the others the past."""
    weight = param(f"{name}.weight", (channels, input.shape[1], kernel), input.dtype)
    shift = param(f"{name}.bias", (channels,), input.dtype)
    past = (kernel - 1) * dilation
    return conv1d(input, weight, shift, padding=(past, 0), dilation=dilation, name=name)


def transposed_conv(
    input: Tensor,
    name: str,
    channels: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
) -> Tensor:
    """A transposed convolution with square filters, as many as `channels`."""
    weight = param(f"{name}.weight", (input.shape[1], channels, kernel, kernel), input.dtype)
    shift = param(f"{name}.bias", (channels,), input.dtype)
    return conv_transpose2d(input, weight, shift, stride, padding, output_padding, name=name)


def norm(input: Tensor, name: str, variance: float | None = None) -> Tensor:
    """A batch norm; its running variance is seeded around 1, or `variance` in every channel."""
    channels = input.shape[1:2]
    weight, bias, mean = (
        param(f"{name}.{role}", channels, input.dtype)
        for role in ("weight", "bias", "running_mean")
    )
    if variance is None:
        var = param(f"{name}.running_var", channels, input.dtype)
        return batch_norm(input, mean, var, weight, bias, name=name)
    return batch_norm(input, mean, np.full(channels, variance, np.float32), weight, bias, name=name)


def linear(input: Tensor, name: str, features: int) -> Tensor:
    """A linear layer of [N, I] with bias: [N, features]."""
    weight = param(f"{name}.weight", (features, input.shape[1]), input.dtype)
    bias = param(f"{name}.bias", (features,), input.dtype)
    return gx.linear(input, weight, bias, name=name)


def classifier(name: str, scores: Tensor, seed: int) -> Graph:
    """The network from the image to the softmax of the scores [N, classes, ...]."""
    return network(name, gx.softmax(scores, name="softmax"), seed)


def network(name: str, outputs: Tensor | Sequence[Tensor], seed: int) -> Graph:
    """The network that computes the outputs, with He weights."""
    return with_he_weights(graph(name, outputs), seed)
