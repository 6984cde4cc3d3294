"""What a device with memory of its own has to do with arrays that are not torch's."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from graphcnn.ir import TensorType
from graphcnn.plan import Device
from graphcnn.runtime.boundary import to_tensor, torch_dtype, write


class Staging:
    """Pinned memory of the host, one tensor for each input and output of a plan, to and from which
    copies are queued on the current stream.

    Attributes:
        direct: Whether there is no need of it: the device reads arrays of NumPy where they are.

    Args:
        device: The other side.
    """

    def __init__(self, device: Device) -> None:
        self._device, self.direct = device, device.reads_host
        self._pinned: dict[str | int, torch.Tensor] = {}
        self._filled = False
        self._read: Any = None  # event: the device has read what was put here

    def put(self, name: str, array: Any, type: TensorType) -> torch.Tensor | None:
        """An input that is an array of NumPy as a pinned tensor of its type; None for a tensor.

        The host waits until the device has read what was put here before.
        """
        if self.direct or not isinstance(array, np.ndarray):
            return None
        if self._read is not None:
            self._device.reach(self._read)
            self._read = None
        pinned = self._tensor(name, type)
        pinned.copy_(to_tensor(array))
        self._filled = True
        return pinned

    def sent(self) -> None:
        """What was put here has been queued to be copied to the device."""
        if self._filled:
            self._read, self._filled = self._device.record(), False

    def deliver(self, results: Iterable[tuple[Any, TensorType, Any]]) -> None:
        """Copy results to arrays of the caller's.

        Tensors are written by the current stream, as torch's own results are. For arrays of NumPy
        the host waits, once for all of them.

        Args:
            results: Each with its type, and the array to write to.
        """
        waiting = []
        for number, (result, type, array) in enumerate(results):
            if isinstance(array, torch.Tensor):
                with torch.inference_mode() if array.is_inference() else nullcontext():
                    self._device.copy(to_tensor(result), array)
                continue
            found = result if self.direct else self._tensor(number, type)
            if found is not result:
                self._device.copy(to_tensor(result), found)
            waiting.append((found, type, array))
        if waiting:
            self._device.finish()
        for found, type, array in waiting:
            write(found, type.dtype, array)

    @torch.inference_mode(False)  # torch lets nobody write to a tensor made inside, once outside
    def _tensor(self, key: str | int, type: TensorType) -> torch.Tensor:
        if key not in self._pinned:
            self._pinned[key] = self._device.pinned(type.shape, torch_dtype(type.dtype))
        return self._pinned[key]
