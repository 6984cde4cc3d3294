"""GPUs as data: what the model of a kernel's time depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple


class Family(NamedTuple):
    """What the products of one architecture share. Of registers a multiprocessor has 65,536.

    Attributes:
        capability: Compute capability, ten times; 0 for another maker's.
        code: The capability whose compiled kernels stand for its own.
        cores: Products of float32, outside of tensor cores, of a multiprocessor in a cycle.
        shared: Bytes of shared memory that the programs of a multiprocessor share.
        warps: How many a multiprocessor holds.
        blocks: How many programs it holds.
        reached: What a loop reaches of the rate of tensor cores.
        narrow: The same of tiles of less than 64 channels, which wgmma and tcgen05 do not take.
    """

    capability: int
    code: int
    cores: int
    shared: int
    warps: int
    blocks: int
    reached: float
    narrow: float


@dataclass(frozen=True, slots=True)
class Gpu:
    """One product. All rates are those that kernels reach, but for the `peaks`.

    Attributes:
        name: Short form of the product's name.
        family: Its architecture.
        sms: Multiprocessors.
        clock: 1e9 cycles a second while tensor cores work.
        tensor: Products of half precision, summed in float32, of a multiprocessor in a cycle.
        tf32: Likewise of tf32; 0 where there are none.
        l2_rate: Bytes that a multiprocessor gets from L2 in a cycle, while all read.
        l2: Bytes of L2.
        dram: 1e9 bytes a second.
        peaks: `clock` and `dram` of the data sheet.
    """

    name: str
    family: Family
    sms: int
    clock: float
    tensor: int
    tf32: int
    l2_rate: float
    l2: int
    dram: float
    peaks: tuple[float, float]


# Shared memory, warps, blocks: CUDA C++ Programming Guide, technical specifications per compute
# capability; CDNA 3's: AMD's white paper. Reached: of wgmma on the H200, of mma.sync on the RTX
# 3070, by the measurements named below; of tcgen05 as of wgmma. Narrow tiles are multiplied by
# mma.sync there, a guess: at half the rate of 9.0, and at that of 8.0 on 10.0.
_KIB = 1 << 10
_TURING = Family(75, 80, 64, 64 * _KIB, 32, 16, 0.95, 0.95)
_AMPERE = Family(80, 80, 64, 164 * _KIB, 64, 32, 0.95, 0.95)
_GA10X = Family(86, 86, 128, 100 * _KIB, 48, 16, 0.95, 0.95)
_ADA = Family(89, 86, 128, 100 * _KIB, 48, 24, 0.95, 0.95)
_HOPPER = Family(90, 90, 128, 228 * _KIB, 64, 32, 0.83, 0.4)
_BLACKWELL = Family(100, 100, 128, 228 * _KIB, 64, 32, 0.83, 0.2)
_GB20X = Family(120, 120, 128, 100 * _KIB, 48, 24, 0.95, 0.95)
_CDNA3 = Family(0, 80, 128, 64 * _KIB, 64, 32, 0.95, 0.95)
# Multiprocessors, products, bytes of L2 and peaks: data sheets and white papers of the makers. What
# kernels reach is measured where a comment says so, and else a guess from another product.
_MB = 10**6
_ROWS = (
    # L2: 1,270 GB/s; clock: at 70 W (Z. Jia et al., Dissecting the NVidia Turing T4, 2019).
    Gpu("t4", _TURING, 40, 0.95, 512, 0, 20, 4 * _MB, 270, (1.59, 320)),
    # L2, DRAM: published microbenchmarks. Clock: below the sheet's, at 400 W.
    Gpu("a100", _AMPERE, 108, 1.35, 1024, 512, 35.5, 40 * _MB, 1750, (1.41, 2039)),
    # L2 as of the RTX 3070; clock: between base and boost, at 150 W.
    Gpu("a10", _GA10X, 72, 1.3, 512, 256, 22, 6 * _MB, 540, (1.695, 600)),
    # L2, DRAM, clock: of 19 convolutions by 13 tiles of CUTLASS (masahi/tvm-cutlass-eval).
    Gpu("rtx3070", _GA10X, 46, 1.75, 256, 128, 22, 4 * _MB, 440, (1.725, 448)),
    # L2 as of the RTX 4090; clocks: between base and boost, at 72, 300 and 350 W.
    Gpu("l4", _ADA, 58, 1.3, 512, 256, 15, 48 * _MB, 270, (2.04, 300)),
    Gpu("l40", _ADA, 142, 2.0, 256, 128, 15, 96 * _MB, 780, (2.49, 864)),
    Gpu("l40s", _ADA, 142, 2.2, 512, 256, 15, 96 * _MB, 780, (2.52, 864)),
    # L2, DRAM: published microbenchmarks.
    Gpu("rtx4090", _ADA, 128, 2.52, 256, 128, 15, 72 * _MB, 930, (2.52, 1008)),
    # L2 as of the H200; clock: below the sheet's, in long products.
    Gpu("h100", _HOPPER, 132, 1.6, 2048, 1024, 60, 50 * _MB, 2700, (1.83, 3352)),
    # L2, DRAM: fitted to `bench/results/h200_tiles.json`, kernels of this project.
    Gpu("h200", _HOPPER, 132, 1.7, 2048, 1024, 60, 50 * _MB, 3350, (1.83, 4800)),
    # L2 as of the H200.
    Gpu("b200", _BLACKWELL, 148, 1.75, 4096, 2048, 60, 126 * _MB, 6000, (1.85, 8000)),
    # L2 as of the RTX 4090.
    Gpu("rtxpro6000", _GB20X, 188, 2.4, 512, 256, 15, 128 * _MB, 1600, (2.617, 1792)),
    # L2: most of a line of 128 bytes for each of 16 channels, shared by 38 units.
    Gpu("mi300x", _CDNA3, 304, 1.7, 1024, 512, 50, 256 * _MB, 4300, (2.1, 5300)),
)
GPUS: Mapping[str, Gpu] = {row.name: row for row in _ROWS}
# What stands for a product that is not listed, by capability.
_LIKE = {75: "t4", 80: "a100", 86: "a10", 89: "rtx4090", 90: "h100", 100: "b200", 120: "rtxpro6000"}


def spelled(name: str) -> str:
    """A product's name in the short form: "NVIDIA GeForce RTX 4090" as "nvidiageforcertx4090"."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def gpu_like(name: str, capability: int, sms: int) -> Gpu:
    """The row of a device that is here, with its own multiprocessors.

    Args:
        name: As its driver has it: of the rows of its capability that whose name is the longest in
            it, if there is one; else one that stands for the capability, or the nearest below.
        capability: Ten times.
        sms: How many there are.
    """
    own = [
        row for row in _ROWS if row.family.capability == capability and row.name in spelled(name)
    ]
    return replace(
        max(own, key=lambda row: len(row.name), default=of_capability(capability)), sms=sms
    )


def of_capability(capability: int) -> Gpu:
    """The row that stands for products of a capability, ten times, or of the nearest below."""
    nearest = max((c for c in _LIKE if c <= capability), default=min(_LIKE))
    return GPUS[_LIKE[nearest]]
