"""The CUDA device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from graphcnn import nvidia
from graphcnn.kernels import Precision
from graphcnn.plan import Address
from graphcnn.targets.cuda_driver import CudaGraph
from graphcnn.targets.cuda_graph import Queued, Row
from graphcnn.targets.cuda_memory import Places, is_mapped
from graphcnn.targets.device import Device


@dataclass(frozen=True)
class CudaDevice(Device):
    """One CUDA device of torch's. Launches and copies are queued on the caller's stream.

    Attributes:
        cuda_graph: Whether launches in a row are captured in a CUDA graph, and replayed.
        cuda: Streams and events, as torch has them.
    """

    cuda_graph: bool = True
    cuda: Any = torch.cuda

    @property
    def name(self) -> str:
        """The device as a user names it, with the product's name."""
        return f"{self.memory} ({self.cuda.get_device_name(self.memory)})"

    @property
    def capability(self) -> int:
        """Compute capability, ten times."""
        return capability_of(self.memory, self.cuda)

    @property
    def precision(self) -> Precision:
        """How float32 is multiplied."""
        return self.traits.precision

    @property
    def reads_host(self) -> bool:
        """False: arrays of NumPy are copied, through pinned memory."""
        return False

    @property
    def identity(self) -> str:
        """What a kernel's results depend on beside its code: the product and its driver."""
        return f"{self.cuda.get_device_name(self.memory)}, driver {nvidia.driver_version()}"

    def free_bytes(self) -> int:
        """Memory that can still be taken: what torch keeps and does not use is given back."""
        free, _ = self.cuda.mem_get_info(self.memory)
        kept = self.cuda.memory_reserved(self.memory) - self.cuda.memory_allocated(self.memory)
        return int(free + kept)

    def shadow(self, nbytes: int, buffers: Mapping[str, tuple[torch.Tensor, int]]) -> None:
        """The sanitizer sees kernels on the CPU only."""

    def address(
        self,
        launches: Sequence[Callable[[], None]],
        home: torch.Tensor,
        parts: Sequence[torch.Tensor],
        reach: int,
    ) -> Address:
        """Where prepared launches find a buffer."""
        queued = [launch for launch in launches if isinstance(launch, Queued)]
        return Places(queued, home, parts, is_mapped, reach)

    def copy(self, source: torch.Tensor, into: torch.Tensor) -> None:
        """Queue a copy, converting dtype and device; the host waits only where memory of its own
        that is not pinned is one side of it."""
        into.copy_(source, non_blocking=True)

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor in memory of the host that copies to and from the device are queued for."""
        return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=True)

    def guard(self) -> AbstractContextManager[object]:
        """Inside it this is the current device, of torch and of Triton."""
        current: AbstractContextManager[object] = self.cuda.device(self.memory)
        return current

    def in_a_row(self, launches: Sequence[Callable[[], None]]) -> Callable[[], None]:
        """What runs prepared launches one after the other: a CUDA graph, where it may be.

        Raises:
            CaptureFailed: where they cannot be captured.
        """
        queued = [launch for launch in launches if isinstance(launch, Queued)]
        return Row(queued, self.is_captured, self.capture if self.cuda_graph else None)

    def capture(self, give: Callable[[int], None]) -> Callable[[int], None]:
        """Capture what a function gives a stream, whose handle it gets, as what replays that."""
        return CudaGraph(give)

    def _current(self) -> Any:
        return self.cuda.current_stream(self.memory)

    def stream(self) -> int:
        """Handle of this thread's current stream, to which launches and copies go."""
        return int(self._current().cuda_stream)

    def is_captured(self) -> bool:
        """Whether the caller captures what this thread gives the device, to replay it later."""
        return bool(self.cuda.is_current_stream_capturing())

    def record(self, event: Any = None) -> Any:
        """An event, that which is given or a new one: what the current stream has been given so
        far."""
        event = self.cuda.Event() if event is None else event
        event.record(self._current())
        return event

    def wait(self, event: Any) -> None:
        """Let the current stream go on only after an event; the host does not wait."""
        self._current().wait_event(event)

    def reach(self, event: Any) -> None:
        """Wait, on the host, until an event."""
        event.synchronize()

    def done(self, event: Any) -> bool:
        """Whether an event has been reached."""
        return bool(event.query())

    def hold(self, *memory: torch.Tensor) -> None:
        """Once freed, memory is not given away before the current stream is done with it."""
        current = self._current()
        for block in memory:
            block.record_stream(current)

    def finish(self) -> None:
        """Wait for what the current stream has been given so far."""
        self._current().synchronize()

    def synchronize(self) -> None:
        """Wait for everything launched so far, on any stream."""
        self.cuda.synchronize(self.memory)

    def stopwatch(self) -> Callable[[], float]:
        """Start a clock on the device; calling the result stops it and gives seconds."""
        start, stop = (self.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(self._current())

        def elapsed() -> float:
            stop.record(self._current())
            stop.synchronize()
            return float(start.elapsed_time(stop)) / 1e3

        return elapsed


def capability_of(memory: torch.device, cuda: Any = torch.cuda) -> int:
    """Compute capability of a device, ten times."""
    major, minor = cuda.get_device_capability(memory)
    return 10 * int(major) + int(minor)
