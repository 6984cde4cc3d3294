"""What a target is to the rest of the compiler, and what the runtime makes of its plans."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from graphcnn.ir import Array, DType, Graph, Param, Refusal
from graphcnn.plan.plan import Buffer, Lowered, PackedWeight


class Shadow(Protocol):
    """Which buffer's data each byte of an arena holds, as the sanitizer sees kernels store."""

    def begin(self, filled: Collection[str]) -> None:
        """From now on these buffers hold data, and no others."""

    def check(self, name: str, tensor: Any) -> None:
        """Check that a tensor inside one of the buffers holds what kernels stored there.

        Raises:
            SanitizerFault: naming it, and what holds its elements instead.
        """


class Device(Protocol):
    """Where steps run."""

    @property
    def name(self) -> str:
        """The device as a user names it."""

    @property
    def memory(self) -> Any:
        """The torch device that holds the tensors."""

    def guard(self) -> AbstractContextManager[object]:
        """Inside it this is the current device."""

    def copy(self, source: Any, into: Any) -> None:
        """Copy a tensor on the current stream, converting dtype and device."""

    def record(self) -> Any:
        """An event: what the current stream has been given so far."""

    def wait(self, event: Any) -> None:
        """Let the current stream go on only after an event."""

    def hold(self, memory: Any) -> None:
        """Once freed, memory is not given away before the current stream is done with it."""

    def finish(self) -> None:
        """Wait until the current stream has done what it was given so far."""

    def synchronize(self) -> None:
        """Wait until everything launched so far has finished, on any stream."""

    def shadow(self, nbytes: int, buffers: Mapping[str, tuple[Any, int]]) -> Shadow | None:
        """What checks the use of an arena under the sanitizer; None elsewhere.

        Args:
            nbytes: Size of the arena.
            buffers: By name, the tensor that stands for each, and its first byte in the arena.
        """

    def stopwatch(self) -> Callable[[], float]:
        """Start a clock; calling the result stops it and gives seconds of the device's time."""


class Target(Protocol):
    """Turns graphs into steps.

    Attributes:
        name: The word a user selects it by.
        on: Its device.
    """

    name: str

    @property
    def on(self) -> Device:
        """The device the steps run on."""

    @property
    def supports(self) -> Callable[[Graph], Refusal | None] | None:
        """Whether one kernel can compute a group, the reason when not; None when none ever can."""

    def unit(self, graph: Graph) -> float:
        """Unit roundoff of the arithmetic that computes this graph's values."""

    def lower(self, graph: Graph) -> Lowered:
        """Steps for every node, in order.

        Raises:
            TooLarge: for a value beyond what the steps can address.
            UnsupportedOp: naming the node for which there is no lowering.
        """


@runtime_checkable
class KernelTarget(Target, Protocol):
    """A target whose steps are kernels that read and write one planned arena."""

    def pack(self, weight: PackedWeight, params: Mapping[str, Param]) -> tuple[Array, DType]:
        """A weight's numbers in the layout its kernel reads."""

    def prepare(self, launch: object, resolve: Callable[[Buffer], Any]) -> Callable[[], None]:
        """Compile a launch for the memory its buffers resolve to."""


@runtime_checkable
class OperatorTarget(Target, Protocol):
    """A target whose steps are calls that allocate their results: `step.launch(*operands)`."""

    def enter(self, array: Any, dtype: DType) -> Any:
        """A caller's array (NumPy or torch) or a param's data, as the steps take it."""
