"""What is measured: networks, batches, dtypes, image sides and threads."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import graphcnn as gx
from graphcnn.ir import Graph

THREADS = len(os.sched_getaffinity(0))
# Largest difference from the expected output that passes, over the output's range. MNN's softmax
# is 1e-4 off in float32; a layer in bfloat16 is 2e-3 off, and a network has dozens.
TOLERANCE = {"float32": 1e-3, "bfloat16": 1e-1}


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        network: A name of `gx.models`.
        batch: Images per call.
        dtype: What values are stored in.
        size: Height and width of the image; None for the network's own.
        threads: What every engine may use.
    """

    network: str
    batch: int = 1
    dtype: str = "float32"
    size: int | None = None
    threads: int = THREADS

    def graph(self) -> Graph:
        """The network, with the weights that all engines get."""
        options = {} if self.size is None else {"size": self.size}
        return gx.models.build(self.network, self.batch, self.dtype, **options)

    def __str__(self) -> str:
        size = f" {self.size}x{self.size}" if self.size else ""
        threads = f" {self.threads} threads" if self.threads != THREADS else ""
        return f"{self.network} b{self.batch} {self.dtype}{size}{threads}"


# The U-Net is padded, of 256x256 pixels.
NETWORKS = (
    "vgg16",
    "resnet18",
    "resnet50",
    "alexnet",
    "squeezenet1_1",
    "mobilenet_v2",
    "densenet121",
    "unet_bn",
    "lenet",
)
SIDE_BY_SIDE = (
    *map(Case, NETWORKS),
    *(Case(network, batch=8) for network in ("vgg16", "resnet50", "mobilenet_v2", "lenet")),
    *(Case(network, dtype="bfloat16") for network in ("vgg16", "resnet50")),
)
_BASE = Case("resnet18")
# What a figure is drawn over, and its cases; those that are side by side as well are shared.
SCALING: dict[str, tuple[Case, ...]] = {
    "batch": tuple(replace(_BASE, batch=batch) for batch in (1, 4, 16, 64)),
    "size": (
        *(replace(_BASE, size=size) for size in (32, 112)),
        _BASE,
        *(replace(_BASE, size=size) for size in (320, 448)),
    ),
    "depth": tuple(replace(_BASE, network=f"resnet{depth}") for depth in (18, 34, 50, 101, 152)),
    "threads": tuple(replace(_BASE, threads=threads) for threads in range(1, THREADS + 1)),
}
