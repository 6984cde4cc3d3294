"""GPUs that are not here: networks are lowered for them, as far as what they would launch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from graphcnn.costs.devices import Gpu
from graphcnn.costs.traits import traits_of
from graphcnn.kernels import Precision, in_precision
from graphcnn.plan import Buffer, Call, Lowered, Step
from graphcnn.targets.device import Device, substituted
from graphcnn.triton_api import Call as KernelCall

# Of the memory behind a buffer, which kernels are specialised by.
ALIGNMENT = 64


@dataclass(frozen=True)
class AbsentGpu(Device):
    """A GPU for which graphs are fused and lowered, and on which nothing runs.

    Attributes:
        gpu: Which.
    """

    gpu: Gpu

    @classmethod
    def of(cls, gpu: Gpu, precision: Precision = "tf32x3") -> AbsentGpu:
        """The device of a row, whose kernels multiply float32 in a precision."""
        return cls(in_precision(traits_of(gpu), precision), torch.device("cpu"), None, gpu)

    @property
    def name(self) -> str:
        """The product's name."""
        return self.gpu.name

    @property
    def precision(self) -> Precision:
        """How float32 is multiplied."""
        return self.traits.precision

    @property
    def capability(self) -> int:
        """The compute capability whose kernels stand for its own, ten times."""
        return self.gpu.family.code


def kernel_calls(lowered: Lowered) -> Iterator[tuple[Step, KernelCall]]:
    """The launches of a lowered network, with what a compiler looks at: for each buffer a tensor of
    its dtype, which lies where the buffer does as far as alignment goes."""
    dtypes = {place.buffer.name: place.type.dtype for place in lowered.locations.values()}
    dtypes |= {weight.name: weight.dtype for weight in lowered.weights}
    memory = {
        name: torch.empty(2 * ALIGNMENT, dtype=getattr(torch, dtype.long_name))
        for name, dtype in dtypes.items()
    }

    def resolve(buffer: Buffer) -> torch.Tensor:
        return memory[buffer.name][buffer.offset % ALIGNMENT :]

    for step in lowered.steps:
        if not isinstance(step.work, Call):
            args = tuple(substituted(arg, resolve) for arg in step.work.args)
            yield step, (step.work.kernel, args, step.work.meta)
