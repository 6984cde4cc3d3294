"""GPUs that are not here."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from graphcnn.costs.devices import Gpu
from graphcnn.costs.traits import traits_of
from graphcnn.targets.device import Device


@dataclass(frozen=True)
class AbsentGpu(Device):
    """A GPU for which graphs are fused and lowered, and on which nothing runs.

    Attributes:
        gpu: Which.
    """

    gpu: Gpu

    @classmethod
    def of(cls, gpu: Gpu) -> AbsentGpu:
        """The device of a row."""
        return cls(traits_of(gpu), torch.device("cpu"), None, gpu)

    @property
    def name(self) -> str:
        """The product's name."""
        return self.gpu.name

    @property
    def capability(self) -> int:
        """The compute capability whose kernels stand for its own, ten times."""
        return self.gpu.family.code
