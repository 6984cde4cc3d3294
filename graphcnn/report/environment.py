"""Where figures were measured, and what models are compiled for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton

from graphcnn.errors import counted
from graphcnn.ir import DType, OpKind, inline
from graphcnn.plan import Device
from graphcnn.runtime.compiled import CompiledModel


@dataclass(frozen=True, slots=True)
class Environment:
    """The device, and the versions of what runs on it."""

    device: str
    threads: int
    torch: str
    triton: str

    @classmethod
    def of(cls, device: Device) -> Environment:
        """This process's."""
        return cls(device.name, torch.get_num_threads(), torch.__version__, triton.__version__)

    def __str__(self) -> str:
        threads = f", {counted(self.threads, 'thread')}" if self.device == "cpu" else ""
        return f"{self.device}{threads}, torch {self.torch}, triton {self.triton}"


def target_of(model: CompiledModel) -> str:
    """What a model is compiled for, in words: "triton, float32 as tf32x3" where it has products of
    float32 that may be taken in several ways."""
    target = model.target
    products = (n for n in inline(model.graph).nodes if n.op.kind is OpKind.ANCHOR)
    if not target.precision or all(node.type.dtype is not DType.F32 for node in products):
        return target.name
    return f"{target.name}, float32 as {target.precision}"
