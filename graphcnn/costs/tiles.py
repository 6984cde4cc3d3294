"""How long a kernel takes that multiplies in tiles: a model, whose numbers are predictions.

A multiprocessor holds some programs at a time (a wave), by their registers and shared memory. A
step of the loop takes what tensor cores, L2 or the issue of instructions take for all of a wave,
whichever is most, but no less than one program alone waits for: its own share and a latency. Memory
is moved at the same time, but for what the first and last steps of a program leave exposed. What L2
holds moves at its rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from graphcnn.costs.counts import COUNTS, Count, Counted
from graphcnn.costs.devices import Gpu
from graphcnn.kernels import ConvProblem, ConvTile, LinearProblem, LinearTile
from graphcnn.kernels.launch import ceil_div

# Fitted, with the rates of the H200, to `bench/results/h200_tiles.json`: every layer of VGG-16 and
# ResNet-50 but the stems, by six tiles; `bench/tile_choice.py` says how far off they are.
REACHED_F32 = 0.51  # of what a loop of half precision reaches of the rate of tensor cores
ISSUED = 0.6  # instructions a cycle of each of a multiprocessor's four schedulers
BARRIER = 12.0  # cycles of a step in which a program keeps its multiprocessor waiting
LATENCY = 130.0  # cycles that a step takes beyond its work
FILL = 800.0  # cycles until a program's first operands are there
STORED, READ = 0.38, 1.65  # of the time of stores, and of loads, behind the loop: what is exposed
JOINED, JOINED_WIDE = 10, 5  # instructions for each value of windows that threads bring together
LAUNCH = 2.2  # microseconds between a kernel and the next
FROM_L2 = 0.52  # of L2's rate, where all that a kernel moves is in L2
REGISTERS = 65_536
TF32_PRODUCTS = 3  # of one product of float32


class Time(NamedTuple):
    """What a kernel is predicted to take.

    Attributes:
        microseconds: How long.
        bound: What takes most of it: "tensor", "L2", "issue", "latency", "DRAM" or "launch".
    """

    microseconds: float
    bound: str


@dataclass(frozen=True, slots=True)
class Product:
    """A product of matrices that a kernel makes in tiles, with what it moves.

    Attributes:
        filters: Rows of a group.
        pixels: Columns that are computed: whole tiles.
        channels: Of a group; the reduction is as often as many as there are taps.
        taps: How many there are.
        groups: How many products there are.
        itemsize: Bytes of an operand's number.
        read: Bytes of both operands.
        stored: Bytes of the output.
        beside: Bytes of what is read, or stored, behind the loop beside the output.
        joining: Instructions of a thread behind the loop, for windows that several threads hold.
    """

    filters: int
    pixels: int
    channels: int
    taps: int
    groups: int
    itemsize: int
    read: int
    stored: int
    beside: int
    joining: int = 0

    @property
    def nbytes(self) -> int:
        """All that is moved."""
        return self.read + self.stored + self.beside

    @property
    def is_f32(self) -> bool:
        """Whether a product is three of tf32."""
        return self.itemsize == 4

    @classmethod
    def of(cls, problem: ConvProblem | LinearProblem, tile: ConvTile | LinearTile) -> Product:
        """What a layer asks of a kernel with tiles of a size."""
        itemsize = 4 if problem.dtype == "f32" else 2
        if isinstance(problem, LinearProblem):
            rows, features, reduction = problem.rows, problem.features, problem.reduction
            width = tile[1]
            pixels = ceil_div(rows, width) * width
            read = (rows + features) * reduction * itemsize
            stored = rows * features * itemsize
            return cls(features, pixels, reduction, 1, 1, itemsize, read, stored, 0)
        assert isinstance(tile, ConvTile)
        depth = problem.channels * problem.groups
        filters = problem.filters * problem.groups
        inputs = problem.pixels * min(problem.stride, problem.taps) * depth
        weights = filters * problem.channels * problem.taps
        outputs = (problem.windows or problem.pixels) * filters
        computed = problem.computed(tile)
        joining = JOINED if problem.overlaps else JOINED_WIDE if problem.wide else 0
        return cls(
            problem.filters,
            computed,
            problem.channels,
            problem.taps,
            problem.groups,
            itemsize,
            (inputs + weights) * itemsize,
            outputs * itemsize,
            problem.beside * problem.pixels * filters * itemsize,
            joining * computed * filters,
        )


def product_time(
    product: Product, tile: ConvTile | LinearTile, gpu: Gpu, count: Count | None = None
) -> Time:
    """What a kernel takes for a product with a tile.

    Args:
        product: The product.
        tile: Channels or features, pixels or rows, the reduction of a step, warps, stages, parts.
        gpu: Where it runs.
        count: What the compiler made of the kernel; None for this project's.
    """
    channels, pixels, block, warps, _, parts = tile
    if count is None:
        count = count_of(product, tile, gpu)
    programs = ceil_div(product.filters, channels) * (product.pixels // pixels) * product.groups
    steps = ceil_div(ceil_div(product.channels * product.taps, block), parts)
    busiest = ceil_div(programs * parts, gpu.sms)
    room = resident(tile, product.itemsize, count, gpu)
    rate = gpu.tensor * (gpu.family.narrow if channels < 64 else gpu.family.reached)
    if product.is_f32:
        rate *= (gpu.tf32 or gpu.family.cores) / gpu.tensor * REACHED_F32 / TF32_PRODUCTS
    work = {
        "tensor": channels * pixels * block / rate,
        "L2": (channels + pixels) * block * product.itemsize / gpu.l2_rate,
        "issue": count.step * warps / 4 / ISSUED,
    }
    step = max(work.values()) + BARRIER
    end = max(channels * pixels * product.itemsize / gpu.l2_rate, count.around * warps / 4)

    def wave(held: int) -> float:
        """Cycles of a multiprocessor with so many programs at a time."""
        return steps * max(held * step, step + LATENCY) + held * end if held else 0.0

    waves, rest = divmod(busiest, room)
    fills = FILL * (1 + (ceil_div(busiest, room) - 1) / room)
    computing = (waves * wave(room) + wave(rest) + fills) / gpu.clock / 1e3
    moving = moving_time(product.nbytes, gpu)
    held = min(room, busiest)
    exposed = moving_time(product.stored, gpu, product.nbytes) * STORED
    exposed += moving_time(product.beside, gpu, product.nbytes) * READ
    taken = max(computing, moving) + min(computing, exposed / held)
    taken += product.joining / (32 * 4 * ISSUED * gpu.sms * gpu.clock) / 1e3
    if parts > 1:  # the sums of each part are written and read again, by one more kernel
        sums = 2 * parts * product.filters * product.groups * product.pixels * 4
        taken += moving_time(sums, gpu) + LAUNCH
    alone = held * step < step + LATENCY
    bound = "latency" if alone and step < LATENCY else max(work, key=lambda name: work[name])
    bound = bound if computing >= moving else "DRAM"
    return Time(taken + LAUNCH, bound if taken >= LAUNCH else "launch")


def count_of(
    product: Product, tile: ConvTile | LinearTile, gpu: Gpu, counts: Counted = COUNTS
) -> Count:
    """What the compiler made of this project's kernel with a tile: with scattered addresses, where
    no block divides the channels of a convolution."""
    dtype = "f32" if product.is_f32 else "f16"
    size = "x".join(map(str, tile[:5]))
    plain = counts[gpu.family.code, dtype, size]
    if isinstance(tile, LinearTile) or product.channels % tile[2] == 0:
        return plain
    return counts.get((gpu.family.code, dtype, f"{size} scattered"), plain)


def resident(tile: ConvTile | LinearTile, itemsize: int, count: Count, gpu: Gpu) -> int:
    """How many programs with a tile a multiprocessor holds at a time."""
    channels, pixels, block, warps, stages, _ = tile
    registers = ceil_div(count.registers, 8) * 8 * 32 * warps
    shared = (channels + pixels) * block * itemsize * stages + 1024
    room = min(
        gpu.family.blocks,
        REGISTERS // registers,
        gpu.family.shared // shared,
        gpu.family.warps // warps,
    )
    return max(1, room)


def moving_time(nbytes: float, gpu: Gpu, among: float = 0) -> float:
    """Microseconds in which so many bytes move, `among` others of a kernel: from and to L2 where
    half of it holds all."""
    rate = gpu.dram
    if max(nbytes, among) < gpu.l2 / 2:
        rate = max(rate, FROM_L2 * gpu.l2_rate * gpu.sms * gpu.clock)
    return nbytes / rate / 1e3
