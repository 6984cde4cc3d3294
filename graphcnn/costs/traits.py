"""The row of a GPU by which kernels are chosen, with the model that chooses."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

from graphcnn.costs.devices import Gpu
from graphcnn.costs.others import layer_time, work_time
from graphcnn.kernels import (
    ConvProblem,
    ConvTile,
    DeviceTraits,
    LinearProblem,
    LinearTile,
    cuda_traits,
)


@lru_cache
def traits_of(gpu: Gpu) -> DeviceTraits:
    """The row of a GPU's capability, with its own multiprocessors and predicted times."""
    row, predicted = cuda_traits(gpu.family.code), partial(_predicted, gpu)
    return replace(row, programs=gpu.sms, predicted=predicted, moving=partial(_moving, gpu))


def _predicted(
    gpu: Gpu, problem: ConvProblem | LinearProblem, tile: ConvTile | LinearTile
) -> float:
    return layer_time(problem, tile, gpu).microseconds


def _moving(gpu: Gpu, nbytes: int) -> float:
    return work_time(nbytes, 0, gpu).microseconds
