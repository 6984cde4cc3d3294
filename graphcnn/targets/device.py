"""The devices of the Triton target, and how to name them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from graphcnn import cpu, settings, triton_api
from graphcnn.cpu import sanitize, team
from graphcnn.cpu.team import LEAST_ROW, Bound, Launches, Member
from graphcnn.errors import DeviceUnavailable, shown
from graphcnn.ir import DType
from graphcnn.kernels import DeviceTraits, cpu_traits, cuda_traits
from graphcnn.plan import Address, Arithmetic, Buffer, Call, Shadow, Step
from graphcnn.targets.cuda_driver import CudaGraph
from graphcnn.targets.cuda_graph import Queued, Row
from graphcnn.targets.cuda_memory import Places, is_mapped

# What a thread of a CPU computes in the time that an element takes from or to a cache.
FLOPS_PER_ELEMENT = 4


@dataclass(frozen=True)
class Device:
    """Where kernels run. This class is the CPU, which finishes each launch before the next.

    Attributes:
        traits: What the choice of kernels depends on.
        memory: The torch device whose tensors the kernels read.
        driver: Triton's driver; None is Triton's own default, CUDA.
    """

    traits: DeviceTraits
    memory: torch.device
    driver: object | None

    @property
    def name(self) -> str:
        """The device as a user names it, with the product's name where there is one."""
        return str(self.memory)

    @property
    def capability(self) -> int | None:
        """Compute capability of a CUDA device, ten times; None for the CPU."""
        return None

    @property
    def reads_host(self) -> bool:
        """Whether its kernels read the host's memory, where NumPy's arrays are."""
        return True

    def guard(self) -> AbstractContextManager[object]:
        """Inside it this is the current device, of torch and of Triton."""
        return nullcontext()

    def stream(self) -> int:
        """Handle of this thread's current stream, to which launches and copies go."""
        return 0

    def arithmetic(self, dtype: DType) -> Arithmetic:
        """What kernels compute values of a dtype in."""
        traits = self.traits
        return Arithmetic(traits.unit_f32 if dtype is DType.F32 else traits.unit)

    def prepare(
        self, steps: Sequence[Step], resolve: Callable[[Buffer], Any]
    ) -> list[Callable[[], None]]:
        """Compile the launches of steps for the memory their buffers resolve to."""
        launches = [step.work for step in steps if not isinstance(step.work, Call)]
        calls = [
            (launch.kernel, tuple(_substitute(arg, resolve) for arg in launch.args), launch.meta)
            for launch in launches
        ]
        if len(calls) > 1:
            triton_api.compile_ahead(calls, self.driver)
        return [
            self._bound(triton_api.prepare(*call, self.driver), launch.grid, step)
            for call, launch, step in zip(calls, launches, steps, strict=True)
        ]

    def _bound(
        self, prepared: triton_api.Prepared, grid: tuple[int, int, int], step: Step
    ) -> Callable[[], None]:
        if isinstance(prepared.launch, Bound):
            cost = step.cost
            work = cost.flops + FLOPS_PER_ELEMENT * (cost.reads + cost.writes)
            return Launches([Member(prepared.launch, grid, work)])
        return Queued(prepared, grid, self.stream, step.node)

    def address(
        self,
        launches: Sequence[Callable[[], None]],
        home: torch.Tensor,
        parts: Sequence[torch.Tensor],
        reach: int,
    ) -> Address | None:
        """Where prepared launches find a buffer; None where they cannot be told another place."""
        if not all(isinstance(launch, Launches) for launch in launches):
            return None
        members = [m for launch in launches if isinstance(launch, Launches) for m in launch.members]
        return team.Address([member.bound for member in members], home, parts)

    def in_a_row(self, launches: Sequence[Callable[[], None]]) -> Callable[[], None]:
        """What runs prepared launches one after the other: one call of C, where they are C."""
        members = [m for launch in launches if isinstance(launch, Launches) for m in launch.members]
        if len(members) < len(launches):
            return partial(_run, launches)
        return Launches(members, alone=sum(member.work for member in members) < LEAST_ROW)

    def copy(self, source: torch.Tensor, into: torch.Tensor) -> None:
        """Copy a tensor on the current stream, converting dtype and device."""
        into.copy_(source)

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor in memory of the host that copies to and from the device are queued for."""
        return torch.empty(shape, dtype=dtype, device="cpu")

    def is_captured(self) -> bool:
        """Whether the caller captures what this thread gives the device, to replay it later."""
        return False

    def record(self, event: Any = None) -> Any:
        """An event, that which is given or a new one: what the current stream has been given so
        far."""
        return None

    def wait(self, event: Any) -> None:
        """Let the current stream go on only after an event; the host does not wait."""

    def reach(self, event: Any) -> None:
        """Wait, on the host, until an event."""

    def done(self, event: Any) -> bool:
        """Whether an event has been reached."""
        return True

    def hold(self, *memory: torch.Tensor) -> None:
        """Once freed, memory is not given away before the current stream is done with it."""

    def finish(self) -> None:
        """Wait for what the current stream has been given so far."""

    def synchronize(self) -> None:
        """Wait for everything launched so far, on any stream."""

    def shadow(self, nbytes: int, buffers: Mapping[str, tuple[torch.Tensor, int]]) -> Shadow | None:
        """What checks the use of an arena under the sanitizer; None elsewhere."""
        return sanitize.Shadow(nbytes, buffers) if settings.sanitize() else None

    def stopwatch(self) -> Callable[[], float]:
        """Start a clock on the device; calling the result stops it and gives seconds."""
        begin = time.perf_counter()
        return lambda: time.perf_counter() - begin


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
        return _capability(self.memory, self.cuda)

    @property
    def reads_host(self) -> bool:
        """False: arrays of NumPy are copied, through pinned memory."""
        return False

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


def _run(launches: Sequence[Callable[[], None]]) -> None:
    for launch in launches:
        launch()


def _substitute(arg: Any, resolve: Callable[[Buffer], Any]) -> Any:
    if isinstance(arg, Buffer):
        return resolve(arg)
    if isinstance(arg, tuple):
        parts = [_substitute(part, resolve) for part in arg]
        return type(arg)(*parts) if hasattr(arg, "_fields") else tuple(parts)
    return arg


def _capability(memory: torch.device, cuda: Any = torch.cuda) -> int:
    major, minor = cuda.get_device_capability(memory)
    return 10 * int(major) + int(minor)


def resolve_device(name: str | torch.device, cuda_graph: bool = True) -> Device:
    """The device meant by "auto", "cpu", "cuda", "cuda:1" or a torch.device.

    "auto" is CUDA where there is one; "cuda" is torch's current CUDA device.

    Args:
        name: What it is called.
        cuda_graph: Whether a CUDA device captures launches in a row in a CUDA graph.

    Raises:
        DeviceUnavailable: for CUDA on a machine without it, for an index that no device has, and
            for other names.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if isinstance(name, str) and name == "auto":
        name = "cuda" if count else "cpu"
    try:
        wanted = torch.device(name) if isinstance(name, str | torch.device) else None
    except RuntimeError:  # torch's, for a name that it does not know
        wanted = None
    if wanted is not None and wanted.type == "cpu" and not wanted.index:
        return Device(cpu_traits(cpu.has_bf16()), torch.device("cpu"), cpu.driver())
    if wanted is not None and wanted.type == "cuda" and count:
        index = torch.cuda.current_device() if wanted.index is None else wanted.index
        if index < count:
            memory = torch.device("cuda", index)
            return CudaDevice(cuda_traits(_capability(memory)), memory, None, cuda_graph)
    there = ", ".join(('"auto"', '"cpu"', *(f'"cuda:{index}"' for index in range(count))))
    raise DeviceUnavailable(
        "this device is not available",
        where="the argument device",
        got=shown(name),
        wanted=f"{there}, or the same as a torch.device"
        + ("" if count else "; CUDA needs a torch that finds a CUDA device"),
        remedy='compile(..., device="cpu") runs the same kernels natively on the CPU',
    )
