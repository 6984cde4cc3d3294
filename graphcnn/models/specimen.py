"""A network of no use but one: its small layers together need every kernel."""

from __future__ import annotations

from graphcnn.frontend import Tensor
from graphcnn.frontend import functional as gx
from graphcnn.frontend.movement import roll
from graphcnn.frontend.norms import group_norm
from graphcnn.frontend.resampling import adaptive_avg_pool2d, interpolate
from graphcnn.frontend.spatial import max_pool2d
from graphcnn.ir.graph import Graph
from graphcnn.models.layers import conv, image, linear, network, transposed_conv


def specimen(dtype: str = "float32") -> Graph:
    """image[1, 64, 32, 32] to an output for each family of kernels, with seeded He weights."""
    x = image(1, 32, dtype, channels=64)
    h = gx.relu(conv(x, "conv", 64, 3, padding=1), name="relu")
    outputs = [*_convolutions(h), *_elsewhere(x, h)]
    flat = gx.flatten(gx.global_avg_pool2d(h, name="mean"), name="flatten")
    scores = linear(flat, "scores", 10)
    outputs += [gx.softmax(scores, name="probabilities"), gx.sum(h, (2, 3), name="sum")]
    return network("specimen", outputs, 0)


def _convolutions(h: Tensor) -> list[Tensor]:
    wide = conv(h, "pooled", 64, 3, padding=1)
    apart = conv(h, "depthwise", 64, 3, padding=1, groups=64)
    both = conv(conv(h, "head", 64, 3, 2, 1, groups=64), "pointwise", 64, 1)
    # What is cheap enough to be made anew is in the kernel behind it on every device.
    scaled = conv(conv(h, "scale", 64, 1, groups=64), "mix", 64, 1)
    return [
        max_pool2d(gx.relu(wide), 2, name="pool"),
        conv(h, "strided", 24, 5, 2, 2),
        transposed_conv(h, "up", 16, 4, 2, 1),
        apart,
        gx.relu6(both, name="separable"),
        gx.relu6(scaled, name="scaled"),
    ]


def _elsewhere(x: Tensor, h: Tensor) -> list[Tensor]:
    return [
        max_pool2d(h, 3, 2, 1, name="overlapping"),
        adaptive_avg_pool2d(h, 5, name="adaptive"),
        interpolate(h, scale_factor=2, mode="bilinear", name="larger"),
        gx.local_response_norm(h, 5, name="lrn"),
        group_norm(h, 4, name="norm"),
        roll(h, 3, 2, name="rolled"),
        gx.tanh(x * x - 0.5, name="pointwise_chain"),
        gx.random_normal(h, seed=7, name="noise"),
    ]
