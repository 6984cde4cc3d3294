"""What one call of a model at a time uses."""

from __future__ import annotations

from typing import Any

import torch

from graphcnn.plan import Device
from graphcnn.runtime.executor import Executor
from graphcnn.runtime.memory import allocate


class Workspace:
    """What one call at a time uses: an arena, and the plans of all batch sizes bound to it.

    Attributes:
        executors: The plans that are bound, by batch size (None: that of the model's graph).
        done: The device's event after the last call; the next one may be on another stream.
    """

    def __init__(self, device: Device) -> None:
        self.executors: dict[int | None, Executor] = {}
        self.done: Any = None
        self._memory = device.memory
        self._arena = torch.empty(0, device=self._memory)

    def arena(self, nbytes: int) -> torch.Tensor:
        """An arena of at least `nbytes`; one that is too small is let go, with all bound to it.

        Raises:
            OutOfMemory: when there is not as much.
        """
        if nbytes > self._arena.nbytes:
            self.clear()  # the old one is free before there is a new one
            (self._arena,) = allocate([nbytes], self._memory)
        return self._arena

    def clear(self) -> None:
        """Let the arena go, with all bound to it."""
        self.executors.clear()
        self._arena = torch.empty(0, device=self._memory)
