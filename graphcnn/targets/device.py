"""The devices of the Triton target, and how to name them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from graphcnn import settings, triton_api
from graphcnn.cpu import sanitize, team
from graphcnn.cpu.team import LEAST_ROW, Bound, Launches, Member
from graphcnn.errors import GraphCNNError, KernelFailed
from graphcnn.ir import DType
from graphcnn.kernels import Block, DeviceTraits, Precision
from graphcnn.plan import Address, Arithmetic, Buffer, Call, Shadow, Step
from graphcnn.targets.availability import available_memory
from graphcnn.targets.cuda_graph import Queued

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
    def identity(self) -> str | None:
        """What a kernel's results depend on beside its code: the product and its driver. None where
        the machine's own compiler makes the code, which is trusted."""
        return None

    @property
    def precision(self) -> Precision:
        """How float32 is multiplied: without tensor cores as it is, but that it may be rounded."""
        return "tf32" if self.traits.precision == "tf32" else "ieee"

    def free_bytes(self) -> int | None:
        """Memory that can still be taken; None where the system does not say."""
        return available_memory()

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
            (launch.kernel, tuple(substituted(arg, resolve) for arg in launch.args), launch.meta)
            for launch in launches
        ]
        if len(calls) > 1:
            triton_api.compile_ahead(calls, self.driver)
        return [
            self._bound(_prepared(call, self.driver, step.node), launch.grid, step)
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

    def code_of(self, launch: Callable[[], None]) -> str | None:
        """What names a prepared launch's machine code; None for that of the C compiler."""
        return launch.prepared.compiled.hash if isinstance(launch, Queued) else None

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


def _prepared(call: triton_api.Call, driver: object, node: str) -> triton_api.Prepared:
    """A prepared kernel; its errors name the node that it computes."""
    try:
        return triton_api.prepare(*call, driver)
    except GraphCNNError as error:
        error.where = f"node '{node}', {error.where}"
        if isinstance(error, KernelFailed):
            error.node = node
        raise


def _run(launches: Sequence[Callable[[], None]]) -> None:
    for launch in launches:
        launch()


def substituted(arg: Any, resolve: Callable[[Buffer], Any]) -> Any:
    """An argument of a launch with what its buffers resolve to in place of these."""
    if isinstance(arg, Buffer):
        return resolve(arg)
    if isinstance(arg, Block):
        return arg.descriptor(resolve(arg.ptr))
    if isinstance(arg, tuple):
        parts = [substituted(part, resolve) for part in arg]
        return type(arg)(*parts) if hasattr(arg, "_fields") else tuple(parts)
    return arg
