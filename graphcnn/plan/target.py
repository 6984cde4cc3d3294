"""What a target and its device are to the rest of the compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from graphcnn.ir import Graph, Refusal
from graphcnn.plan.plan import Buffer, Lowered, Step


class Shadow(Protocol):
    """Which buffer's data each byte of an arena holds, as the sanitizer sees kernels store."""

    def begin(self) -> None:
        """From now on no buffer holds data."""

    def fill(self, tensor: Any) -> None:
        """A tensor inside one of the buffers has been written by other means than kernels."""

    def check(self, name: str, tensor: Any) -> None:
        """Check that a tensor inside one of the buffers holds what kernels stored there.

        Raises:
            SanitizerFault: naming it, and what holds its elements instead.
        """


class Address(Protocol):
    """Where prepared launches find a buffer."""

    def move(self, tensor: Any) -> bool:
        """From now on they find it in the memory of a tensor, of the same size and layout.

        Returns:
            Whether they do: what lies around it may be no memory at all.
        """

    def reset(self) -> None:
        """They find it where they were prepared to."""


class Device(Protocol):
    """Where steps run."""

    @property
    def name(self) -> str:
        """The device as a user names it."""

    @property
    def memory(self) -> Any:
        """The torch device that holds the tensors."""

    @property
    def identity(self) -> str | None:
        """What a kernel's results depend on beside its code: the product and its driver. None where
        the machine's own compiler makes the code, which is trusted."""

    def free_bytes(self) -> int | None:
        """Memory that can still be taken; None where the system does not say."""

    @property
    def reads_host(self) -> bool:
        """Whether its kernels read the host's memory, where NumPy's arrays are."""

    def guard(self) -> AbstractContextManager[object]:
        """Inside it this is the current device."""

    def prepare(
        self, steps: Sequence[Step], resolve: Callable[[Buffer], Any]
    ) -> list[Callable[[], None]]:
        """Compile the launches of steps for the memory their buffers resolve to."""

    def code_of(self, launch: Callable[[], None]) -> str | None:
        """What names the machine code of a prepared launch; None where nothing does."""

    def address(
        self, launches: Sequence[Callable[[], None]], home: Any, parts: Sequence[Any], reach: int
    ) -> Address | None:
        """Where prepared launches find a buffer; None where they cannot be told another place.

        Args:
            launches: All that read or write it.
            home: The tensor that begins where the buffer does.
            parts: What handles of the buffer resolved to.
            reach: Bytes past either end of it that masked lanes may address.
        """

    def in_a_row(self, launches: Sequence[Callable[[], None]]) -> Callable[[], None]:
        """What runs prepared launches one after the other.

        Raises:
            CaptureFailed: where they cannot be captured in a CUDA graph.
        """

    def copy(self, source: Any, into: Any) -> None:
        """Copy a tensor on the current stream, converting dtype and device."""

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A tensor in memory of the host that copies to and from the device are queued for."""

    def is_captured(self) -> bool:
        """Whether the caller captures what this thread gives the device, to replay it later."""

    def record(self, event: Any = None) -> Any:
        """An event, that which is given or a new one: what the current stream has been given so
        far."""

    def wait(self, event: Any) -> None:
        """Let the current stream go on only after an event."""

    def reach(self, event: Any) -> None:
        """Wait, on the host, until an event."""

    def done(self, event: Any) -> bool:
        """Whether an event has been reached."""

    def hold(self, *memory: Any) -> None:
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
        precision: How it multiplies float32; "" where nobody chooses.
    """

    name: str

    @property
    def precision(self) -> str:
        """How it multiplies float32; "" where nobody chooses."""

    @property
    def on(self) -> Device:
        """The device the steps run on."""

    def at(self, device: Any) -> Target:
        """The same target on another device, where it runs on others."""

    @property
    def supports(self) -> Callable[[Graph], Refusal | None] | None:
        """Whether one kernel can compute a group, the reason when not; None when none ever can."""

    @property
    def time(self) -> Callable[[Graph], float] | None:
        """Microseconds that one kernel is predicted to take for a group, or for a node alone; None
        where there is no model of the device."""

    def following(self, graph: Graph) -> Target:
        """The target for other batch sizes of a graph: with the kernels that this one takes for it,
        so that none is compiled anew."""

    def lower(self, graph: Graph) -> Lowered:
        """Steps for every node, in order.

        Raises:
            TooLarge: for a value beyond what the steps can address.
            UnsupportedOp: naming the node for which there is no lowering.
        """
