"""What is measured, and in which order: what tells the most comes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

import graphcnn as gx
from graphcnn.ir import Graph

DTYPES = ("float16", "float32")
BATCHES = (32, 1, 8, 128)
# VGG-16's layers that a 2x2 pool follows: channels, and height and width.
POOLED = {
    "conv1_2": (64, 224),
    "conv2_2": (128, 112),
    "conv3_3": (256, 56),
    "conv4_3": (512, 28),
    "conv5_3": (512, 14),
}
NETWORKS = ("vgg16", "resnet50", "mobilenet_v2", "unet", "resnet18", "alexnet")
WORKLOADS = ("vgg16", *POOLED, *NETWORKS[1:])
# The same structures in a size that a CPU computes at once.
TINY_BATCHES = (2, 1)
TINY = {
    "vgg16": {"size": 32, "classes": 10},
    "resnet50": {"size": 32, "classes": 10},
    "mobilenet_v2": {"size": 32, "classes": 10},
    "unet": {"size": 188, "width": 2},
    "resnet18": {"size": 32, "classes": 10},
    "alexnet": {"size": 67, "classes": 10},
}
TINY_CHANNELS, TINY_SIDE = 8, 14


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        workload: A network of `gx.models`, or a layer of `POOLED`.
        dtype: What values are stored in.
        batch: Images per call.
    """

    workload: str
    dtype: str
    batch: int

    def graph(self, *, tiny: bool = False) -> Graph:
        """It for a batch of 1, with the weights that all contenders get."""
        if self.workload in POOLED:
            channels, side = POOLED[self.workload]
            sizes = (TINY_CHANNELS, TINY_SIDE) if tiny else (channels, side)
            return pooled_layer(self.workload, self.dtype, *sizes)
        options = TINY[self.workload] if tiny else {}
        return gx.models.build(self.workload, 1, self.dtype, **options)

    def __str__(self) -> str:
        return f"{self.workload} {self.dtype} b{self.batch}"


def pooled_layer(name: str, dtype: str, channels: int, side: int) -> Graph:
    """A 3x3 convolution that keeps channels and size, with bias, relu and a 2x2 max pool."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((channels, channels, 3, 3), np.float32)
    weight *= (2 / (9 * channels)) ** 0.5  # He's, so that a relu keeps the variance
    bias = rng.standard_normal(channels, np.float32)
    if dtype == "float16":
        weight, bias = weight.astype(np.float16), bias.astype(np.float16)
    x = gx.input("image", (1, channels, side, side), dtype)
    h = gx.relu(gx.conv2d(x, weight, bias=bias, padding=1, name="conv"), name="relu")
    return gx.graph(name, gx.max_pool2d(h, 2, name="pool"))


def plan(
    workloads: Sequence[str], dtypes: Sequence[str], batches: Sequence[int]
) -> Iterator[tuple[Case, bool]]:
    """Cases in order, each with whether contenders take part that need minutes to be built.

    First all cases, with these at the first batch size; then the others once more, with all.
    """
    for first in (True, False):
        for dtype, workload, batch in product(dtypes, workloads, batches):
            if first or batch != batches[0]:
                yield Case(workload, dtype, batch), not first or batch == batches[0]
