"""What the choice of kernels depends on: lists of tiles, and prices, of each device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .forms import BOX, BOX_SMALL, STEM
from .prices import Prices
from .tf32 import Precision
from .tile import ConvTile, LinearTile, Pressure
from .toom_cook import WinogradTile

# Each tile with the highest pressure it bears without spills in its loop on sm_80, sm_90 and
# sm_100 (those of Hopper: on sm_90), which tests/kernels/test_gpu_compile.py holds. 128 x 256
# halves what a 128 x 128 tile needs from L2.
_CUDA_HALF = {
    ConvTile(128, 256, 64, 8, 3): Pressure.LOW,
    ConvTile(128, 128, 64, 8, 3): Pressure.NORMAL,
    ConvTile(64, 128, 64, 4, 3): Pressure.NORMAL,
    ConvTile(64, 64, 64, 4, 3): Pressure.NORMAL,
    ConvTile(32, 128, 64, 4, 3): Pressure.NORMAL,
    ConvTile(128, 128, 32, 8, 3): Pressure.NORMAL,
    ConvTile(64, 128, 32, 4, 3): Pressure.NORMAL,
    ConvTile(128, 64, 32, 8, 3): Pressure.HIGH,
    ConvTile(64, 64, 32, 4, 3): Pressure.HIGH,
    ConvTile(32, 64, 32, 4, 3): Pressure.HIGH,
    ConvTile(64, 64, 16, 4, 3): Pressure.HIGH,
}
_HOPPER_HALF = {
    ConvTile(128, 256, 64, 8, 3): Pressure.LOW,
    ConvTile(128, 128, 64, 8, 3): Pressure.NORMAL,
    ConvTile(64, 128, 64, 4, 3): Pressure.NORMAL,
    ConvTile(128, 64, 64, 4, 4): Pressure.NORMAL,
    ConvTile(64, 64, 64, 4, 3): Pressure.NORMAL,
    ConvTile(64, 32, 64, 4, 5): Pressure.NORMAL,
    ConvTile(128, 128, 32, 8, 3): Pressure.NORMAL,
    ConvTile(64, 128, 32, 4, 3): Pressure.NORMAL,
    ConvTile(128, 64, 32, 8, 3): Pressure.HIGH,
    ConvTile(64, 64, 32, 4, 3): Pressure.HIGH,
    ConvTile(64, 64, 16, 4, 3): Pressure.HIGH,
}
# Float32 runs as three tf32 products, whose operands take three times the registers.
_CUDA_F32 = {
    ConvTile(128, 64, 16, 8, 3): Pressure.HIGH,
    ConvTile(64, 64, 16, 4, 3): Pressure.HIGH,
    ConvTile(32, 64, 16, 4, 3): Pressure.HIGH,
}
_HOPPER_F32 = {
    ConvTile(128, 64, 32, 4, 3): Pressure.NORMAL,
    ConvTile(64, 128, 32, 4, 3): Pressure.NORMAL,
    ConvTile(64, 64, 32, 4, 3): Pressure.NORMAL,
    ConvTile(64, 32, 32, 4, 4): Pressure.NORMAL,
    ConvTile(128, 64, 16, 8, 3): Pressure.HIGH,
    ConvTile(64, 64, 16, 4, 3): Pressure.HIGH,
}
# Of 64 x 64 x 16, four warps spill in the loop on 10.0, where a reduction is in parts.
_BLACKWELL_F32 = {
    ConvTile(128, 64, 16, 8, 3): Pressure.HIGH,
    ConvTile(64, 64, 32, 4, 3): Pressure.NORMAL,
    ConvTile(64, 64, 16, 8, 3): Pressure.HIGH,
    ConvTile(32, 64, 16, 4, 3): Pressure.HIGH,
}
# A CPU keeps the sums of 8 pixels of 32 channels in registers over the whole reduction, so that a
# block of it costs nothing: one divides any number of channels, and no operand has scattered
# addresses. Pixels that do not exist are left out, so that 64 suit any map: more would leave a tile
# of 128 channels no room in L1, fewer read the filters more often.
_CPU = {
    ConvTile(channels, 64, reduction): Pressure.HIGH
    for reduction in (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)
    for channels in (128, 64, 32)
}
DEPTHWISE = (
    ConvTile(64, 32, 1),
    ConvTile(32, 64, 1),
    ConvTile(16, 128, 1),
)
# On a CPU channels that do not exist are left out, and the addresses of a pixel are found once for
# all channels of a tile.
_DEPTHWISE_CPU = (
    ConvTile(256, 64, 1),
    ConvTile(128, 64, 1),
    ConvTile(64, 64, 1),
    ConvTile(32, 64, 1),
    ConvTile(16, 64, 1),
)
# For every width a tile for many pixels and one for few; loads are not pipelined. In half precision
# channels that no block divides park up to 16 bytes on some GPUs, on 12.0 some in the loop.
SEPARABLE = (
    ConvTile(128, 64, 32, 8, 1),
    ConvTile(128, 16, 32, 4, 1),
    ConvTile(64, 64, 32, 8, 1),
    ConvTile(64, 16, 32, 4, 1),
    ConvTile(32, 64, 32, 8, 1),
    ConvTile(32, 16, 32, 4, 1),
    ConvTile(16, 64, 32, 8, 1),
    ConvTile(16, 16, 32, 4, 1),
)
_WINOGRAD_CPU = (
    WinogradTile(4, 32, 16, 64),
    WinogradTile(4, 32, 32, 64),
    WinogradTile(2, 32, 16, 64),
    WinogradTile(2, 32, 32, 64),
)
# The 36 products of a tile of 4 x 4 outputs spill on 10.0.
_WINOGRAD_CUDA = (WinogradTile(2, 32, 16, 16, num_warps=8),)
# By how much other reduction blocks than the largest that divides the channels have to be faster,
# as predicted: in float32 they hardly were on an H200, and in half precision nobody measured them.
SMALL_BLOCK = 1.05
_LINEAR_CUDA_HALF = (
    LinearTile(64, 128, 32, 8, 3),
    LinearTile(64, 64, 64, 4, 3),
    LinearTile(32, 32, 128, 4, 4),
    LinearTile(64, 16, 128, 4, 4),
    LinearTile(4, 1, 1024, 4, 1),
)
_LINEAR_CUDA_F32 = (
    LinearTile(64, 64, 16, 4, 3),
    LinearTile(16, 32, 64, 4, 4),
    LinearTile(32, 16, 64, 4, 4),
    LinearTile(4, 1, 1024, 4, 1),
)
_LINEAR_CPU_HALF = (
    LinearTile(16, 64, 64),
    LinearTile(16, 16, 64),
    LinearTile(8, 1, 64),
)
# As of a convolution: one copy of the weights, and one kernel, serve any number of rows. One row
# has a kernel that is as quick, and reads the weights where the graph has them.
_LINEAR_CPU_F32 = (
    *(LinearTile(tile.channels, tile.pixels, tile.reduction) for tile in _CPU),
    LinearTile(8, 1, 64),
)


@dataclass(frozen=True)
class DeviceTraits:
    """What the choice of kernels, and the bounds on their errors, depend on: a row for each device.

    Attributes:
        unit: Unit roundoff of products and sums of half-precision operands.
        unit_f32: The same of float32 operands.
        conv: Tiles of a convolution, each with the highest pressure it bears.
        conv_f32: Those of float32.
        depthwise: Tiles of a depthwise convolution, the widest first.
        linear: Tiles of a linear layer.
        linear_f32: Those of float32.
        weights: The order of a filter in memory: tensor cores take both operands with the reduction
            contiguous; the vectors of a CPU lie along the output channels.
        panel: Channels that lie side by side in a panel of a channel-major filter; 0: all do.
        leaves_out: Of how many pixels the blocks are of which a convolution leaves out those behind
            the last live pixel of a tile; 0 where it computes whole tiles.
        paired: What a product takes of a sum of products of bfloat16 in pairs, in products.
        products_per_byte: How many products outside of tensor cores, with the reads of their
            factors, take the time of moving a byte to or from memory.
        programs: How many keep the device busy.
        prices_half: What work beside the products takes, of half-precision operands.
        prices_f32: The same of float32 operands.
        parts: In how many parts at most programs of their own sum a reduction; 1 where few programs
            leave nothing idle that another kernel would be worth.
        parts_f32: The same of float32 operands.
        winograd: Tiles of a convolution by minimal filtering.
        winograd_f32: Those of float32.
        transform: What transforming a number of a tile there takes, in products; None where nobody
            has measured it, so that only tuning takes such tiles.
        workers: How many programs with memory of their own keep the device busy.
        cache: Bytes of weights that programs read again without going to memory.
        batches: Batch sizes that have kernels of their own; others share those of the largest below
            them. Empty where each has its own.
        predicted: Microseconds of a convolution or linear layer with a tile, by a model of the
            device; None where there is no model.
        moving: Microseconds of a kernel that moves so many bytes likewise.
        stem: By dtype tiles of convolutions whose filters' rows are runs, as `conv` has them.
        box: Tiles of a convolution that reads by tensor descriptors, as `conv` has them.
        precision: How float32 is multiplied; the CPU takes "tf32x3" for "ieee".
    """

    unit: float
    unit_f32: float
    conv: Mapping[ConvTile, Pressure]
    conv_f32: Mapping[ConvTile, Pressure]
    depthwise: tuple[ConvTile, ...]
    linear: tuple[LinearTile, ...]
    linear_f32: tuple[LinearTile, ...]
    weights: Literal["reduction_major", "channel_major"]
    products_per_byte: float
    programs: int
    prices_half: Prices
    prices_f32: Prices
    winograd: tuple[WinogradTile, ...]
    winograd_f32: tuple[WinogradTile, ...]
    transform: float | None
    workers: int
    cache: int
    batches: tuple[int, ...] = ()
    predicted: Callable[[Any, Any], float] | None = None
    moving: Callable[[int], float] | None = None
    stem: Mapping[str, Mapping[ConvTile, Pressure]] = field(default_factory=dict)
    box: Mapping[ConvTile, Pressure] = field(default_factory=dict)
    panel: int = 0
    leaves_out: int = 0
    paired: float = 1.0
    parts: int = 1
    parts_f32: int = 1
    precision: Precision = "tf32x3"

    def images(self, batch: int) -> int:
        """The batch size whose kernels serve another."""
        return max((size for size in self.batches if size <= batch), default=batch)

    def conv_tiles(self, dtype: str) -> Mapping[ConvTile, Pressure]:
        """Tiles of a convolution with operands of this dtype."""
        return self.conv_f32 if dtype == "f32" else self.conv

    def times(self, dtype: str) -> Callable[[Any, Any], float] | None:
        """`predicted` of operands of this dtype: no model knows another precision of float32."""
        return None if dtype == "f32" and self.precision != "tf32x3" else self.predicted

    def most_parts(self, dtype: str) -> int:
        """Parts of a reduction likewise."""
        return self.parts_f32 if dtype == "f32" else self.parts

    def winograd_tiles(self, dtype: str) -> tuple[WinogradTile, ...]:
        """Tiles of a convolution by minimal filtering likewise."""
        return self.winograd_f32 if dtype == "f32" else self.winograd

    def prices(self, dtype: str) -> Prices:
        """What work beside the products takes with operands of this dtype."""
        return self.prices_f32 if dtype == "f32" else self.prices_half

    def linear_tiles(self, dtype: str) -> tuple[LinearTile, ...]:
        """Tiles of a linear layer likewise."""
        return self.linear_f32 if dtype == "f32" else self.linear


# Tensor cores truncate where they add, which doubles the unit of float32 (Fasi et al., Numerical
# behavior of NVIDIA tensor cores, 2021); float32 operands are two tf32 parts of 11 bits each.
# Programs: about one wave on a large GPU. Products: a third of the six that an A100 multiplies and
# adds in the time of a byte (its data sheet), as each is loaded and converted too; with this price
# MobileNetV2's groups take 0.46 to 0.97 of their parts' time on an H200.
# Balance: of published rates, 125e12 products and 1.75e12 bytes a second on an A100, 88 products a
# byte on an RTX 4090; three tf32 products make one of float32. Channels: as on an H200.
CUDA = DeviceTraits(
    unit=2.0**-23,
    unit_f32=2.0**-21,
    conv=_CUDA_HALF,
    conv_f32=_CUDA_F32,
    stem=STEM,
    depthwise=DEPTHWISE,
    linear=_LINEAR_CUDA_HALF,
    linear_f32=_LINEAR_CUDA_F32,
    weights="reduction_major",
    products_per_byte=2.0,
    programs=128,
    prices_half=Prices(
        balance=80.0, channels=0.0, exchange=80.0, wide=40.0, scattered=7.0, launch=4e8
    ),
    prices_f32=Prices(
        balance=10.0, channels=490.0, exchange=10.0, wide=5.0, scattered=4.6, launch=8e7
    ),
    winograd=(),
    winograd_f32=_WINOGRAD_CUDA,
    transform=None,
    workers=128,
    cache=32 << 20,
    parts=16,
    parts_f32=16,
)
# Prices: of `bench/results/h200_fusions.json`, at 190e12 products a second of half precision and
# 37e12 of float32.
HOPPER = replace(
    CUDA,
    prices_half=CUDA.prices_half._replace(balance=40.0),
    prices_f32=CUDA.prices_f32._replace(balance=8.0),
    conv=_HOPPER_HALF,
    conv_f32=_HOPPER_F32,
    box=BOX,
)
# A tile of 128 x 256 fills what a multiprocessor of these shares among its blocks, and on 12.0 it
# spills in its loop.
CUDA_SMALL = replace(CUDA, conv={tile: p for tile, p in _CUDA_HALF.items() if tile.pixels < 256})
# On 10.0 tcgen05 takes 64 channels at least.
BLACKWELL = replace(
    CUDA,
    conv={tile: p for tile, p in _CUDA_HALF.items() if tile.channels >= 64},
    conv_f32=_BLACKWELL_F32,
    box=BOX,
)
# Where a part of a float32 reduction begins and ends, registers spill in the loop on 12.0.
BLACKWELL_SMALL = replace(CUDA_SMALL, box=BOX_SMALL, parts_f32=1)
# Programs: four a thread on two threads. Tiles differ by a few percent and a kernel takes a second
# to compile, so most batch sizes share kernels. Products, head: MobileNetV2's depthwise layers take
# 1.5 to 2.6 times as long in the kernels behind them as in their own, where they keep their sums in
# registers. Prices: of `bench/results/cpu_fusions.json`, at 50e9 products a second of a thread in
# float32, and 20e9 of halves, which are widened first; caches hold most maps, so that a trip costs
# little.
CPU = DeviceTraits(
    unit=2.0**-24,
    unit_f32=2.0**-24,
    conv=_CPU,
    conv_f32=_CPU,
    depthwise=_DEPTHWISE_CPU,
    linear=_LINEAR_CPU_HALF,
    linear_f32=_LINEAR_CPU_F32,
    weights="channel_major",
    products_per_byte=0.5,
    programs=8,
    prices_half=Prices(balance=2.0, exchange=6.0, wide=75.0, channels=70.0, head=2.0),
    prices_f32=Prices(balance=2.0, exchange=12.0, wide=150.0, channels=140.0, head=2.0, lookup=4.0),
    winograd=_WINOGRAD_CPU,
    winograd_f32=_WINOGRAD_CPU,
    transform=8.0,
    workers=4,
    cache=1 << 20,
    batches=(1, 8),
    panel=32,
    leaves_out=8,
)


# AVX512-BF16: one instruction adds up two products in the time of one. Paired: of layers of VGG-16
# and ResNet-50, computed so and by minimal filtering, which is quicker from maps of 112 x 112 on.
CPU_BF16 = replace(CPU, paired=0.38)


def cpu_traits(bf16: bool) -> DeviceTraits:
    """The row of the CPU, by whether it has instructions that multiply bfloat16."""
    return CPU_BF16 if bf16 else CPU


def cuda_traits(capability: int) -> DeviceTraits:
    """The row of a CUDA device by its compute capability, ten times.

    A block of the devices of 8.6, 8.9 and 12.x has 99 KiB of shared memory at most.
    """
    if capability == 90:
        return HOPPER
    if capability > 90:
        return BLACKWELL_SMALL if capability in (120, 121) else BLACKWELL
    return CUDA_SMALL if capability in (86, 89) else CUDA
