"""Does L1 serve what neighbouring taps of a convolution share?

A convolution loads the pixels of a tile once for each tap, by `cp.async.ca`, which may find in L1
what the tap before has loaded. With taps innermost a step reads mostly what the step before it
read; with channels innermost all other channels lie between. Both are the same kernel on the same
memory: an image [N, H, W, C] in blocks of channels is one [N, H, W * C / BLOCK, BLOCK] as well,
and a tap there is a tap and a block of channels here. The ratio of their times is what L1 serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional as F

from graphcnn.kernels import ConvTile, Launch, View, conv2d
from graphcnn.report.tables import Table
from graphcnn.runtime.memory import allocate
from graphcnn.runtime.timing import Ratio, Timing, interleave, timed
from graphcnn.targets.device import Device
from graphcnn.triton_api import prepare

# Few filters, so that reading pixels is most of what a step does; one row of taps, all blocks of
# which fit the bits of a mask; and an image that stays in L2.
IMAGES, SIDE, CHANNELS, FILTERS, TAPS = 8, 56, 512, 64, 3
TILE = ConvTile(64, 128, 64, 4, 3)
# In a row, so that the device is not idle while the host launches the next one.
LAUNCHES = 20
SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class TapOrder:
    """What one convolution takes in float16 with its reduction in two orders.

    Attributes:
        innermost: Seconds with taps innermost, as kernels here have them.
        outermost: Seconds with taps outermost.
        ratio: The second over the first in the same round.
        problem: What is wrong with either, which then is not timed, or None.
    """

    innermost: Timing | None
    outermost: Timing | None
    ratio: Ratio | None
    problem: str | None

    def tables(self) -> tuple[Table, ...]:
        """Both orders."""
        title = f"a 1x{TAPS} convolution, {CHANNELS} to {FILTERS} channels, float16, by its taps"
        note = "Where taps outermost take longer, L1 serves what neighbouring taps share."
        if self.problem:
            return (Table(title, notes=(f"FAIL: not timed: {self.problem}",)),)
        rows = (
            ("innermost", str(self.innermost), "-"),
            ("outermost", str(self.outermost), str(self.ratio)),
        )
        return (Table(title, ("taps", "time", "to innermost"), rows, notes=(note,)),)


def tap_order(device: Device, *, images: int = IMAGES, side: int = SIDE) -> TapOrder:
    """Check and time both orders on a device."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(images, side, side, CHANNELS, generator=generator).half()
    w = (torch.randn(FILTERS, TAPS, CHANNELS, generator=generator) / CHANNELS**0.5).half()
    wanted, allowed = _expected(x, w, device.traits.unit)
    taken = contest({"x": x, "w": w}, wanted, allowed, launches, device)
    if isinstance(taken, str):
        return TapOrder(None, None, None, f"taps {taken}")
    inner, outer = taken["innermost"], taken["outermost"]
    return TapOrder(Timing.of(inner), Timing.of(outer), Ratio.between(outer, inner), None)


def contest(
    reads: Mapping[str, torch.Tensor],
    wanted: torch.Tensor,
    allowed: torch.Tensor,
    launches: Callable[..., Mapping[str, Launch]],
    device: Device,
) -> Mapping[str, Sequence[float]] | str:
    """Check ways to compute one thing on a device, and time them by turns.

    Args:
        reads: Tensors in float16, by the names of parameters of `launches`.
        wanted: What is computed, in float64.
        allowed: How far off it may be.
        launches: Makes the launch of each way, of the tensors and of the output `y`.
        device: Where they run.

    Returns:
        Seconds of each way in the rounds, or which way is wrong, and by how much.
    """
    filled = {**reads, "y": torch.full(wanted.shape, torch.nan, dtype=torch.float16)}
    blocks = allocate([2 * tensor.numel() for tensor in filled.values()], device.memory)
    on = {
        name: block.view(torch.float16).view(tensor.shape)
        for block, (name, tensor) in zip(blocks, filled.items(), strict=True)
    }
    for name, tensor in reads.items():
        on[name].copy_(tensor)
    with device.guard():
        runs = {}
        for name, launch in launches(**on).items():
            prepared = prepare(launch.kernel, launch.described(), launch.meta, device.driver)
            runs[name] = partial(prepared, launch.grid, device.stream())
            on["y"].fill_(torch.nan)
            runs[name]()
            device.synchronize()
            excess = float(((on["y"].cpu().double() - wanted).abs() / allowed).max())
            if not excess <= 1:  # what is no number is not
                return f"{name}: {excess:.3g} of its bound off"
        takes = {name: partial(_seconds, run, device) for name, run in runs.items()}
        return interleave(takes, seconds=SECONDS)


def _expected(x: torch.Tensor, w: torch.Tensor, unit: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The output [N, H, W, K] in float64, and how far off it may be: a running sum in float32 loses
    a unit of the magnitudes so far at each product, and storing it half a unit of float16.
    """

    def convolved(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        image, filters = x.permute(0, 3, 1, 2).double(), w.permute(0, 2, 1)[:, :, None].double()
        return F.conv2d(image, filters, padding=(0, TAPS // 2)).permute(0, 2, 3, 1)

    wanted = convolved(x, w)
    running = (TAPS * CHANNELS + 2) * unit * convolved(x.abs(), w.abs())
    return wanted, running + 2.0**-11 * (wanted.abs() + running) + 2.0**-24


def launches(x: torch.Tensor, w: torch.Tensor, y: torch.Tensor) -> Mapping[str, Launch]:
    """The convolution of x [N, H, W, C] by w [K, S, C] into y [N, H, W, K], in both orders."""
    images, height, width, channels = x.shape
    filters, taps, _ = w.shape
    blocks = channels // TILE.reduction

    def launch(blocks: int) -> Launch:
        depth, columns = channels // blocks, width * blocks
        strides = (height * width * channels, 1, width * channels, depth)
        out = (height * width * filters, 1, width * filters, filters)
        return conv2d(
            View(x, (images, depth, height, columns), strides, "f16"),
            View(w, (filters, taps * channels), (taps * channels, 1), "f16"),
            None,
            [View(y, (images, filters, height, width), out, "f16")],
            kernel=(1, taps * blocks),
            stride=(1, blocks),
            padding=(0, taps // 2 * blocks),
            dilation=(1, 1),
            groups=1,
            out_size=(height, width),
            tile=TILE,
        )

    return {"innermost": launch(1), "outermost": launch(blocks)}


def _seconds(run: Callable[[], None], device: Device) -> float:
    def row() -> None:
        for _ in range(LAUNCHES):
            run()

    return timed(row, device) / LAUNCHES
