"""Are pixels read faster by tensor descriptors than by addresses of each thread?

The copy engine of 9.0 and newer moves whole blocks, and passes L1 by; threads that copy 16 bytes
each take instructions for it. A 1x1 convolution is a product that both compute by the same tile.
The ratio of their times says whether tuning a model may find descriptors faster on this device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from graphcnn.kernels import ConvTile, Launch, View, conv2d, conv2d_box
from graphcnn.report.tables import Table
from graphcnn.runtime.timing import Ratio, Timing
from graphcnn.tap_order import contest
from graphcnn.targets.device import Device

# Of ResNet-50's third stage.
IMAGES, SIDE, CHANNELS, FILTERS = 8, 28, 512, 128
TILE = ConvTile(64, 128, 64, 4, 3)


@dataclass(frozen=True, slots=True)
class ByDescriptor:
    """What one convolution takes in float16 by two ways to read it.

    Attributes:
        addresses: Seconds by addresses of each thread, as kernels here read.
        descriptors: Seconds by tensor descriptors.
        ratio: The second over the first in the same round.
        problem: What is wrong with either, which then is not timed, or None.
    """

    addresses: Timing | None
    descriptors: Timing | None
    ratio: Ratio | None
    problem: str | None

    def tables(self) -> tuple[Table, ...]:
        """Both ways."""
        title = f"a 1x1 convolution, {CHANNELS} to {FILTERS} channels, float16, by how it is read"
        note = "Kernels read by addresses; a model takes descriptors where tuning it measured them."
        if self.problem:
            return (Table(title, notes=(f"FAIL: not timed: {self.problem}",)),)
        rows = (
            ("addresses", str(self.addresses), "-"),
            ("descriptors", str(self.descriptors), str(self.ratio)),
        )
        return (Table(title, ("read by", "time", "to addresses"), rows, notes=(note,)),)


def by_descriptor(device: Device, *, images: int = IMAGES, side: int = SIDE) -> ByDescriptor:
    """Check and time both ways on a device."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(images, side, side, CHANNELS, generator=generator).half()
    w = (torch.randn(FILTERS, CHANNELS, generator=generator) / CHANNELS**0.5).half()
    wanted, size = x.double() @ w.double().T, x.double().abs() @ w.double().abs().T
    # A running sum in float32 loses a unit of the magnitudes so far at each product, and storing it
    # half a unit of float16.
    running = (CHANNELS + 2) * device.traits.unit * size
    allowed = running + 2.0**-11 * (wanted.abs() + running) + 2.0**-24
    taken = contest({"x": x, "w": w}, wanted, allowed, launches, device)
    if isinstance(taken, str):
        return ByDescriptor(None, None, None, taken)
    plain, boxes = taken["addresses"], taken["descriptors"]
    return ByDescriptor(Timing.of(plain), Timing.of(boxes), Ratio.between(boxes, plain), None)


def launches(x: torch.Tensor, w: torch.Tensor, y: torch.Tensor) -> Mapping[str, Launch]:
    """The convolution of x [N, H, W, C] by w [K, C] into y [N, H, W, K], by both ways."""

    def view(image: torch.Tensor) -> View:
        n, h, width, c = image.shape
        return View(image, (n, c, h, width), (h * width * c, 1, width * c, c), "f16")

    filters = View(w, tuple(w.shape), (w.shape[1], 1), "f16")
    arguments = view(x), filters, None, [view(y)]
    options: dict[str, Any] = {
        "kernel": (1, 1),
        "stride": (1, 1),
        "padding": (0, 0),
        "dilation": (1, 1),
        "out_size": (x.shape[1], x.shape[2]),
        "tile": TILE,
    }
    return {
        "addresses": conv2d(*arguments, groups=1, **options),
        "descriptors": conv2d_box(*arguments, **options),
    }
