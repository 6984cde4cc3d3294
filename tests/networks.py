"""Networks that several tests compile, written with the front end, narrow and small by default."""

from __future__ import annotations

import graphcnn as gx
from graphcnn.frontend import Tensor, graph, input, param
from graphcnn.ir import Graph, with_he_weights


def unet_block(size: int = 16, channels: int = 4, dtype: str = "float32", seed: int = 0) -> Graph:
    """One level of a U-Net down and its bottom: both skips are read by a pool or a convolution,
    and by a concat."""
    image = input("image", (1, 3, size, size), dtype)
    a = gx.relu(conv(image, "a1", channels, 3), name="a1.relu")
    skip = gx.relu(conv(a, "a2", channels, 3), name="a2.relu")
    b = gx.max_pool2d(skip, 2, name="down")
    b = gx.relu(conv(b, "b1", 2 * channels, 3), name="b1.relu")
    inner = gx.relu(conv(b, "b2", 2 * channels, 3), name="b2.relu")
    c = gx.max_pool2d(inner, 2, name="bottom")
    c = gx.relu(conv(c, "c1", 2 * channels, 3), name="c1.relu")
    halves = gx.concat([b, inner], name="cat")
    d = gx.relu(conv(halves, "d1", channels, 3), name="d1.relu")
    full = gx.concat([skip, a], name="cat2")
    e = conv(full, "e1", 2, 1)
    return with_he_weights(graph("unet_block", [e, d, c]), seed)


def preactivation(size: int = 16, width: int = 4, dtype: str = "float32", seed: int = 0) -> Graph:
    """Two blocks of a pre-activation ResNet (He et al., 2016): batch norm and ReLU stand in front
    of each convolution, so that every sum has two readers."""
    h = conv(input("image", (1, 3, size, size), dtype), "stem", width, 3)
    for block in ("first", "second"):
        y = gx.relu(norm(h, f"{block}.norm1"), name=f"{block}.relu1")
        y = conv(y, f"{block}.conv1", width, 3)
        y = gx.relu(norm(y, f"{block}.norm2"), name=f"{block}.relu2")
        y = conv(y, f"{block}.conv2", width, 3)
        h = gx.add(h, y, name=f"{block}.add")
    return with_he_weights(graph("preactivation", gx.relu(h, name="last")), seed)


def conv(x: Tensor, name: str, channels: int, kernel: int, stride: int = 1) -> Tensor:
    """A convolution with "same" padding, weights and bias."""
    weight = param(f"{name}.weight", (channels, x.shape[1], kernel, kernel), x.dtype)
    bias = param(f"{name}.bias", (channels,), x.dtype)
    return gx.conv2d(x, weight, bias, stride, kernel // 2, name=name)


def norm(x: Tensor, name: str) -> Tensor:
    """A batch norm."""
    roles = ("running_mean", "running_var", "weight", "bias")
    vectors = [param(f"{name}.{role}", (x.shape[1],), x.dtype) for role in roles]
    return gx.batch_norm(x, *vectors, name=name)
