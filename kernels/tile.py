"""Tile shapes: the finite lists, and the rules that pick from them."""

from enum import IntEnum
from typing import Literal, NamedTuple

from .launch import ceil_div

Device = Literal["cpu", "cuda"]


class Pressure(IntEnum):
    """How many registers a convolution's loads and tail need beside the accumulator.

    LOW: channels-last views, at most 32 taps and one output, with no full-size operand unless the
    tail pools. NORMAL: channels-last views. HIGH: some view is not channels-last, so that every
    element has an address of its own.
    """

    LOW = 0
    NORMAL = 1
    HIGH = 2


class ConvTile(NamedTuple):
    """One program's share of a convolution: `channels` x `pixels` outputs, `reduction` a step."""

    channels: int
    pixels: int
    reduction: int
    num_warps: int = 4
    num_stages: int = 3


class LinearTile(NamedTuple):
    """One program's share of a linear layer: `features` outputs of `rows` rows.

    `rows == 1` is the matrix-vector form, which keeps `reduction` partial sums of each output.
    """

    features: int
    rows: int
    reduction: int
    num_warps: int = 4
    num_stages: int = 3


# Each tile with the highest pressure it bears without spills in its loop on sm_80, sm_90 and
# sm_100, which tests/kernels/test_gpu_compile.py holds. 128 x 256 halves what a 128 x 128 tile
# needs from L2.
_CUDA_HALF = {
    ConvTile(128, 256, 64, 8, 3): Pressure.LOW,
    ConvTile(128, 128, 64, 8, 3): Pressure.NORMAL,
    ConvTile(64, 128, 64, 4, 3): Pressure.NORMAL,
    ConvTile(64, 64, 64, 4, 3): Pressure.NORMAL,
    ConvTile(32, 128, 64, 4, 3): Pressure.NORMAL,
    ConvTile(128, 128, 32, 8, 3): Pressure.NORMAL,
    ConvTile(64, 128, 32, 4, 3): Pressure.NORMAL,
    ConvTile(64, 64, 32, 4, 3): Pressure.HIGH,
    ConvTile(32, 64, 32, 4, 3): Pressure.HIGH,
    ConvTile(64, 64, 16, 4, 3): Pressure.HIGH,
}
# Float32 runs as three tf32 products, whose operands take three times the registers.
_CUDA_F32 = {
    ConvTile(128, 64, 16, 8, 3): Pressure.HIGH,
    ConvTile(64, 64, 16, 4, 3): Pressure.HIGH,
    ConvTile(32, 64, 16, 4, 3): Pressure.HIGH,
}
_CPU = {
    ConvTile(128, 64, 64): Pressure.HIGH,
    ConvTile(64, 64, 64): Pressure.HIGH,
    ConvTile(32, 64, 64): Pressure.HIGH,
    ConvTile(16, 64, 64): Pressure.HIGH,
    ConvTile(128, 64, 32): Pressure.HIGH,
    ConvTile(64, 64, 32): Pressure.HIGH,
    ConvTile(32, 64, 32): Pressure.HIGH,
    ConvTile(16, 64, 32): Pressure.HIGH,
}
_DEPTHWISE = (
    ConvTile(64, 32, 1),
    ConvTile(32, 64, 1),
    ConvTile(16, 128, 1),
)
_LINEAR_CUDA_HALF = (
    LinearTile(64, 128, 32, 8, 3),
    LinearTile(64, 64, 64, 4, 3),
    LinearTile(64, 16, 64, 4, 4),
    LinearTile(4, 1, 1024, 4, 1),
)
_LINEAR_CUDA_F32 = (
    LinearTile(64, 64, 16, 4, 3),
    LinearTile(64, 16, 16, 4, 3),
    LinearTile(4, 1, 1024, 4, 1),
)
_LINEAR_CPU = (
    LinearTile(16, 64, 64),
    LinearTile(16, 16, 64),
    LinearTile(8, 1, 64),
)

# Programs that keep a device busy: about one wave on a large GPU, four a thread on two threads.
_ENOUGH_PROGRAMS = {"cuda": 128, "cpu": 8}


def _conv_table(device: Device, dtype: str) -> dict[ConvTile, Pressure]:
    if device == "cpu":
        return _CPU
    return _CUDA_F32 if dtype == "f32" else _CUDA_HALF


def conv_tiles(
    device: Device, dtype: str, pressure: Pressure = Pressure.LOW
) -> tuple[ConvTile, ...]:
    """Every tile that `choose_conv_tile` can return under this pressure."""
    table = _conv_table(device, dtype)
    return tuple(tile for tile, bears in table.items() if bears >= pressure)


def depthwise_tiles() -> tuple[ConvTile, ...]:
    """Every tile that `choose_depthwise_tile` can return."""
    return _DEPTHWISE


def linear_tiles(device: Device, dtype: str) -> tuple[LinearTile, ...]:
    """Every tile that `choose_linear_tile` can return."""
    if device == "cpu":
        return _LINEAR_CPU
    return _LINEAR_CUDA_F32 if dtype == "f32" else _LINEAR_CUDA_HALF


def choose_conv_tile(
    device: Device,
    dtype: str,
    out_channels: int,
    pixels: int,
    reduction: int,
    pressure: Pressure,
) -> ConvTile:
    """Pick the tile of a convolution.

    `out_channels` and `reduction` count one group's output and input channels, `pixels` the
    output pixels of all images before pooling; `conv_pressure` tells the pressure. The rules, in
    order: the largest reduction block that divides the input channels (the smallest of at least
    32, if there is one, where none does: the reduction then runs flattened over the taps, whose
    scattered addresses are HIGH pressure); less than twice the channels there are; the largest
    tile whose grid still fills the device, else the tile with the most programs.
    """
    tiles = conv_tiles(device, dtype, pressure)
    block = max((t.reduction for t in tiles if reduction % t.reduction == 0), default=0)
    if not block:
        tiles = conv_tiles(device, dtype, Pressure.HIGH)
        block = min(t.reduction for t in tiles if t.reduction >= 32 or dtype == "f32")
    tiles = tuple(t for t in tiles if t.reduction == block)
    narrowest = min(t.channels for t in tiles)
    tiles = tuple(t for t in tiles if t.channels < 2 * out_channels or t.channels == narrowest)

    def programs(tile: ConvTile) -> int:
        return ceil_div(out_channels, tile.channels) * ceil_div(pixels, tile.pixels)

    filling = [t for t in tiles if programs(t) >= _ENOUGH_PROGRAMS[device]]
    if filling:
        return max(filling, key=lambda t: (t.channels * t.pixels, t.channels))
    return max(tiles, key=lambda t: (programs(t), t.channels))


def images_for_tile(device: Device, images: int) -> int:
    """The batch size that `choose_conv_tile` gets to see.

    On the CPU, tiles differ by a few percent and a kernel takes a second to compile: small batches
    share the kernels of one image, larger ones those of eight.
    """
    if device == "cpu":
        return 8 if images >= 8 else 1
    return images


def choose_depthwise_tile(out_channels: int) -> ConvTile:
    """Pick the tile of a depthwise convolution: the widest below twice the output channels."""
    return next((t for t in _DEPTHWISE if t.channels < 2 * out_channels), _DEPTHWISE[-1])


def choose_linear_tile(device: Device, dtype: str, rows: int) -> LinearTile:
    """Pick the tile of a linear layer.

    One row takes the matrix-vector form; more rows the tile with the most rows that they fill, or
    the 16-row tile.
    """
    tiles = linear_tiles(device, dtype)
    if rows == 1:
        return next(t for t in tiles if t.rows == 1)
    fitting = [t for t in tiles if t.rows > 1 and (t.rows <= rows or t.rows == 16)]
    return max(fitting, key=lambda t: t.rows)
