"""Where figures were measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton

from graphcnn.plan import Device


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
        count = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        threads = f", {count}" if self.device == "cpu" else ""
        return f"{self.device}{threads}, torch {self.torch}, triton {self.triton}"
