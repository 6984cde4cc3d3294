"""Tile shapes: the finite lists, and the rules that pick from them."""

from typing import Literal, NamedTuple

from .launch import ceil_div

Device = Literal["cpu", "cuda"]


class ConvTile(NamedTuple):
    """One program's share of a convolution: `channels` x `pixels` outputs, `reduction` a step."""

    channels: int
    pixels: int
    reduction: int
    num_warps: int = 4
    num_stages: int = 3


class LinearTile(NamedTuple):
    """One program's share of a linear layer: `features` outputs of `rows` rows.

    `rows == 1` is the matrix-vector form, which holds `reduction` products of each output.
    """

    features: int
    rows: int
    reduction: int
    num_warps: int = 4
    num_stages: int = 3


# Half precision on cuda, largest first; each compiles without spills for sm_80, 90 and 100.
_CUDA_HALF = (
    ConvTile(128, 256, 64, 8, 3),
    ConvTile(128, 128, 64, 8, 3),
    ConvTile(64, 128, 64, 4, 3),
    ConvTile(64, 64, 64, 4, 3),
    ConvTile(32, 128, 64, 4, 3),
    ConvTile(128, 128, 32, 8, 3),
    ConvTile(64, 128, 32, 4, 3),
    ConvTile(64, 64, 32, 4, 3),
    ConvTile(32, 128, 32, 4, 3),
    ConvTile(64, 64, 16, 4, 3),
)
# Float32 runs as three tf32 products, which needs three times the registers for operands.
_CUDA_F32 = (
    ConvTile(64, 128, 16, 8, 3),
    ConvTile(64, 64, 16, 4, 3),
    ConvTile(32, 64, 16, 4, 3),
)
_CPU = (
    ConvTile(128, 64, 64),
    ConvTile(64, 64, 64),
    ConvTile(32, 64, 64),
    ConvTile(16, 64, 64),
    ConvTile(128, 64, 32),
    ConvTile(64, 64, 32),
    ConvTile(32, 64, 32),
    ConvTile(16, 64, 32),
)
_LINEAR_CUDA_HALF = (
    LinearTile(128, 128, 64, 8, 3),
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
    LinearTile(64, 64, 64),
    LinearTile(64, 16, 64),
    LinearTile(8, 1, 64),
)

_DEPTHWISE = (
    ConvTile(64, 32, 1),
    ConvTile(32, 64, 1),
    ConvTile(16, 64, 1),
)

# Programs that keep a device busy: about one wave on a large GPU, four a thread on two threads.
_ENOUGH_PROGRAMS = {"cuda": 128, "cpu": 8}


def conv_tiles(device: Device, dtype: str) -> tuple[ConvTile, ...]:
    """Every tile that `choose_conv_tile` can return."""
    if device == "cpu":
        return _CPU
    return _CUDA_F32 if dtype == "f32" else _CUDA_HALF


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
    pooled: bool,
) -> ConvTile:
    """Pick the tile of a convolution.

    `out_channels` and `reduction` count one group's output and input channels, `pixels` the
    output pixels of all images before pooling. The rules, in order: the largest reduction block
    that divides the input channels (the middle one where none does: the reduction is then
    flattened over the taps); no more channels than the convolution has, rounded up; the largest
    tile whose grid still fills the device, else the tile with the most programs.
    """
    tiles = conv_tiles(device, dtype)
    blocks = sorted({t.reduction for t in tiles}, reverse=True)
    flattened = 32 if 32 in blocks else blocks[-1]
    block = next((b for b in blocks if reduction % b == 0), flattened)
    fitting = [t for t in tiles if t.reduction == block]
    narrowest = min(t.channels for t in fitting)
    fitting = [t for t in fitting if t.channels < 2 * max(out_channels, narrowest / 2 + 1)]

    def programs(tile: ConvTile) -> int:
        return ceil_div(out_channels, tile.channels) * ceil_div(pixels, tile.pixels)

    filling = [t for t in fitting if programs(t) >= _ENOUGH_PROGRAMS[device]]
    if filling:
        return max(filling, key=lambda t: (t.channels * t.pixels, t.channels))
    return max(fitting, key=lambda t: (programs(t), t.channels))


def depthwise_tiles() -> tuple[ConvTile, ...]:
    """Every tile that `choose_depthwise_tile` can return."""
    return _DEPTHWISE


def choose_depthwise_tile(out_channels: int) -> ConvTile:
    """Pick the tile of a depthwise convolution: the widest that the channels at least half fill."""
    return next((t for t in _DEPTHWISE if t.channels < 2 * out_channels), _DEPTHWISE[-1])


def choose_linear_tile(device: Device, dtype: str, features: int, rows: int) -> LinearTile:
    """Pick the tile of a linear layer: the widest that at most half fills, by rows.

    One row takes the matrix-vector form, up to 32 the 16-row tile, more the larger ones.
    """
    tiles = linear_tiles(device, dtype)
    if rows == 1:
        return next(t for t in tiles if t.rows == 1)
    fitting = [t for t in tiles if 1 < t.rows and (t.rows <= rows or t.rows == 16)]
    return max(fitting, key=lambda t: t.rows)
