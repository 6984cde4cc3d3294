"""A GPU that is not here: networks are lowered for it, as far as what they would launch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from graphcnn.kernels import cuda_traits
from graphcnn.plan import Buffer, Call, Lowered, Step
from graphcnn.targets.device import Device, substituted
from graphcnn.triton_api import Call as KernelCall

# Of the memory behind a buffer, which kernels are specialised by.
ALIGNMENT = 64


@dataclass(frozen=True)
class AbsentGpu(Device):
    """A CUDA device that is known by its architecture alone. Nothing runs on it.

    Attributes:
        label: What it is called.
        tens: Its compute capability, ten times.
    """

    label: str
    tens: int

    @classmethod
    def of(cls, label: str, capability: int) -> AbsentGpu:
        """The device of a compute capability, given ten times."""
        return cls(cuda_traits(capability), torch.device("cpu"), None, label, capability)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.label

    @property
    def capability(self) -> int:
        """Compute capability, ten times."""
        return self.tens


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
