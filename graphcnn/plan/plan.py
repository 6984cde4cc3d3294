"""What runs, in which order, and where every value lives. Printable; holds no tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphcnn.ir import TensorType


@dataclass(frozen=True, slots=True)
class Buffer:
    """A handle to memory in a launch's arguments: a slot of the arena or a packed weight.

    `offset` counts elements from the buffer's start.
    """

    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Location:
    """Where a value lives: strides in elements, in the order of the logical shape."""

    buffer: Buffer
    type: TensorType
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PackedWeight:
    """A constant in the layout a kernel reads, made from params when the model is bound.

    Attributes:
        name: Name of the buffer.
        layout: Name of the packing function.
        sources: Params it is made from.
        options: Numbers the packing needs, such as a batch norm's eps.
    """

    name: str
    layout: str
    sources: tuple[str, ...]
    options: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel launch, or one call of an operator library.

    Attributes:
        node: The graph's node this step belongs to.
        kernel: What is launched, for people.
        reads: Buffers, or values for a target without an arena, that it reads.
        writes: Likewise what it writes.
        launch: The target's own description of the launch.
        in_place: Whether the first buffer written may be the first one read.
    """

    node: str
    kernel: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    launch: object
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """A buffer's place in the arena, in bytes, and the steps between which it is alive."""

    name: str
    offset: int
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Lowered:
    """What a target makes of a graph: steps and where values live, before memory is planned."""

    steps: tuple[Step, ...]
    locations: Mapping[str, Location]
    buffers: Mapping[str, int]
    weights: tuple[PackedWeight, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule with addresses."""

    steps: tuple[Step, ...]
    locations: Mapping[str, Location]
    slots: tuple[Slot, ...]
    arena_bytes: int
    weights: tuple[PackedWeight, ...]

    def __str__(self) -> str:
        where = {slot.name: slot for slot in self.slots}
        lines = [f"arena {self.arena_bytes} bytes, {len(self.steps)} steps"]
        for index, step in enumerate(self.steps):
            places = ", ".join(
                f"{name}@{where[name].offset}+{where[name].nbytes}"
                for name in (*step.reads, *step.writes)
                if name in where
            )
            lines.append(f"{index:3} {step.node:20} {step.kernel:28} {places}")
        return "\n".join(lines)
