"""How long kernels take that do not multiply in tiles, and what a data sheet allows any kernel."""

from __future__ import annotations

from graphcnn.costs.devices import Gpu
from graphcnn.costs.tiles import LAUNCH, Product, Time, moving_time, product_time
from graphcnn.kernels import (
    Choice,
    ConvProblem,
    ConvTile,
    LinearProblem,
    LinearTile,
    Problem,
    SeparableProblem,
    conv2d,
    linear,
)
from graphcnn.kernels.launch import ceil_div

# Cycles until operands come that nothing asked for beforehand: latencies of DRAM.
DELAY = 800.0


def layer_time(problem: ConvProblem | LinearProblem, tile: ConvTile | LinearTile, gpu: Gpu) -> Time:
    """What a convolution or linear layer takes with a tile of this project's kernels."""
    product = Product.of(problem, tile)
    if isinstance(tile, LinearTile) and tile.rows == 1:
        programs = ceil_div(product.filters, tile.features) * tile.parts
        steps = ceil_div(ceil_div(product.channels, tile.reduction), tile.parts)
        waves = ceil_div(programs * tile.num_warps, gpu.sms * gpu.family.warps)
        return work_time(product.nbytes, 0, gpu, waiting=waves * steps * DELAY, parts=tile.parts)
    return product_time(product, tile, gpu)


def choice_time(problem: Problem, choice: Choice, gpu: Gpu) -> Time | None:
    """What a chosen kernel takes; None for those whose time is that of what they move."""
    if choice.launch not in (conv2d, linear):
        return None
    assert not isinstance(problem, SeparableProblem)
    return layer_time(problem, choice.tile, gpu)


def work_time(nbytes: float, flops: float, gpu: Gpu, waiting: float = 0.0, parts: int = 1) -> Time:
    """What a kernel takes that moves so many bytes and computes outside of tensor cores.

    Args:
        nbytes: All that it reads and writes.
        flops: Its operations.
        gpu: Where it runs.
        waiting: Cycles that each multiprocessor waits for operands.
        parts: How many sums are brought together by one more kernel, where there are several.
    """
    memory = "DRAM" if nbytes >= gpu.l2 / 2 else "L2"
    times = {
        memory: moving_time(nbytes, gpu),
        "issue": flops / (2 * gpu.family.cores * gpu.sms * gpu.clock) / 1e3,
        "latency": waiting / gpu.clock / 1e3,
    }
    bound = max(times, key=lambda name: times[name])
    taken = times[bound] + (LAUNCH if parts > 1 else 0.0)
    return Time(taken + LAUNCH, bound if taken >= LAUNCH else "launch")


def floor(nbytes: float, flops: float, gpu: Gpu, dtype: str) -> float:
    """Microseconds that no kernel can do without, by the data sheet: its operations on tensor
    cores, and its bytes, each moved once, beyond those that L2 holds."""
    rate = gpu.tf32 or gpu.family.cores if dtype == "f32" else gpu.tensor
    computing = flops / (2 * rate * gpu.sms * gpu.peaks[0]) / 1e3
    return max(computing, (nbytes - gpu.l2) / gpu.peaks[1] / 1e3, 0.0)
