"""The two devices of the Triton target, and how to name them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from graphcnn import cpu, settings
from graphcnn.errors import DeviceUnavailable
from graphcnn.plan import Shadow


@dataclass(frozen=True)
class Device:
    """Where kernels run.

    Attributes:
        kind: Which tables of tiles and weight layouts apply.
        memory: The torch device whose tensors the kernels read.
        driver: Triton's driver; None is Triton's own default, CUDA.
    """

    kind: Literal["cuda", "cpu"]
    memory: torch.device
    driver: object | None

    @property
    def name(self) -> str:
        """The device as a user names it, with the product's name where there is one."""
        if self.memory.type == "cuda":
            return f"cuda ({torch.cuda.get_device_name(self.memory)})"
        return self.kind

    def stream(self) -> int:
        """Handle of the stream that launches go to."""
        if self.memory.type == "cuda":
            return int(torch.cuda.current_stream(self.memory).cuda_stream)
        return 0

    def synchronize(self) -> None:
        """Wait for everything launched so far."""
        if self.memory.type == "cuda":
            torch.cuda.synchronize(self.memory)

    def shadow(self, nbytes: int, buffers: Mapping[str, tuple[torch.Tensor, int]]) -> Shadow | None:
        """What checks the use of an arena under the sanitizer; None elsewhere."""
        if settings.sanitize() and self.kind == "cpu":
            return cpu.shadow(nbytes, buffers)
        return None

    def stopwatch(self) -> Callable[[], float]:
        """Start a clock on the device; calling the result stops it and gives seconds."""
        if self.memory.type == "cuda":
            start, stop = _event(), _event()
            start.record()

            def elapsed() -> float:
                stop.record()
                stop.synchronize()
                return float(start.elapsed_time(stop)) / 1e3

            return elapsed
        begin = time.perf_counter()
        return lambda: time.perf_counter() - begin


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's stub


def resolve_device(name: str) -> Device:
    """The device meant by "auto", "cuda" or "cpu"; "auto" is CUDA where there is one.

    Raises:
        DeviceUnavailable: for CUDA on a machine without it, and for other names.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return Device("cpu", torch.device("cpu"), cpu.driver())
    if name == "cuda" and torch.cuda.is_available():
        return Device("cuda", torch.device("cuda", torch.cuda.current_device()), None)
    raise DeviceUnavailable(
        "this device is not available",
        where="the argument device",
        got=name,
        wanted='"auto", "cpu", or "cuda" on a machine whose torch finds a CUDA device',
        remedy='compile(..., device="cpu") runs the same kernels natively on the CPU',
    )
