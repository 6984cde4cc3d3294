"""What runs, in which order, and where every value lives. Printable; holds no tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from graphcnn.errors import counted
from graphcnn.ir import Array, Chosen, Cost, DType, Op, Param, Refusal, TensorType


@dataclass(frozen=True, slots=True)
class Buffer:
    """A handle to memory in a launch's arguments: a slot of the arena or a packed weight.

    `offset` counts elements from the buffer's start.
    """

    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Location:
    """Where a value lives: strides in elements, in the order of the logical shape.

    Several values may live in one buffer: other names for one memory, and parts of one of them.
    `tf32`: its numbers are rounded to tf32.
    """

    buffer: Buffer
    type: TensorType
    strides: tuple[int, ...]
    tf32: bool = False

    @property
    def reach(self) -> int:
        """Elements from the first one to the last, both included."""
        return 1 + sum((d - 1) * s for d, s in zip(self.type.shape, self.strides, strict=True))


@dataclass(frozen=True, slots=True)
class Packing:
    """A constant in the layout that a kernel reads, made from params when the model is bound.

    Attributes:
        name: Name of the buffer.
        sources: Params it is made from.
        shape: As the kernel sees it.
        strides: Likewise, in elements.
        dtype: Of its numbers.
        arrange: From the data of the sources to the numbers as they lie in memory; `np.asarray`
            where these are the same.
    """

    name: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DType
    arrange: Callable[..., Array]

    @property
    def is_plain(self) -> bool:
        """Whether the numbers are those of the one source, as they lie there."""
        return self.arrange is np.asarray and self.dtype.numpy.itemsize == self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers: repeated ones count once."""
        steps = zip(self.shape, self.strides, strict=True)
        return (1 + sum((d - 1) * s for d, s in steps)) * self.dtype.itemsize

    def pack(self, params: Mapping[str, Param]) -> Array:
        """The numbers, contiguous.

        Raises:
            MissingWeights: when a source has no data.
        """
        arranged = self.arrange(*(params[name].values for name in self.sources))
        return np.ascontiguousarray(self.dtype.round(arranged))


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a step computes in, and so how far its results may be from the reference.

    Attributes:
        unit: Unit roundoff; 0 where nothing is rounded.
        growth: What the bounds on the errors of ops are multiplied with, where no more is known of
            the algorithm: 1 for a sum of products as it is written.
        rounded_as: By the names of nodes that the step computes in another way than their ops do,
            ops of the same values whose rounding is that of this way.
        tf32: Values that the step rounds to tf32 before it stores them.
    """

    unit: float
    growth: float = 1.0
    rounded_as: Mapping[str, Op] = field(default_factory=dict)
    tf32: frozenset[str] = frozenset()


class Launch(Protocol):
    """`kernel[grid](*args, **meta)` as `graphcnn.kernels` describes it, on buffers of the plan."""

    @property
    def kernel(self) -> Any:
        """The Triton function."""

    @property
    def grid(self) -> tuple[int, int, int]:
        """Programs along each axis."""

    @property
    def args(self) -> tuple[Any, ...]:
        """Positional arguments, tuples of them among these; a `Buffer` stands for its memory."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """Compile-time values by name."""

    @property
    def masked_reach(self) -> int:
        """Bytes past either end of its first operand that masked lanes may address."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of torch or NumPy: `function(*operands)`, in the order of the step's reads.

    It returns one array of its own, which is copied to the value's place in the arena, or kept
    until its last reader has run where the value has no place. Operands are tensors, or what an
    earlier call returned.
    """

    function: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel launch, or one call of an operator library.

    Attributes:
        node: The graph's node this step belongs to.
        label: What it runs, for people.
        work: The launch or the call.
        reads: Values, or buffers, which bear the name of the value they were made for. A call
            reads params as well; those of a launch are packed weights, and not listed.
        writes: Likewise what it writes; one value for a call.
        arithmetic: What it computes in.
        in_place: Whether the first buffer that a launch writes may be the first one it reads.
        cost: The work of its node, which this step may share with others.
    """

    node: str
    label: str
    work: Launch | Call
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    arithmetic: Arithmetic
    in_place: bool = False
    cost: Cost = field(default_factory=Cost)


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
    """What a target makes of a graph: steps and where values live, before memory is planned.

    Attributes:
        steps: In order.
        locations: Where values live, by name; calls keep those that are not here.
        buffers: Bytes of each buffer that the arena has to hold.
        weights: What the launches read beside these.
        refusals: Groups that were taken apart, so that steps bear their members' names, nodes that
            are a library's calls between kernels, concats that copy, and why.
        choices: What was taken for a node where several kernels would do.
    """

    steps: tuple[Step, ...]
    locations: Mapping[str, Location]
    buffers: Mapping[str, int]
    weights: tuple[Packing, ...]
    refusals: tuple[Refusal, ...] = ()
    choices: tuple[Chosen, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule with addresses."""

    steps: tuple[Step, ...]
    locations: Mapping[str, Location]
    slots: tuple[Slot, ...]
    arena_bytes: int
    weights: tuple[Packing, ...]

    def __str__(self) -> str:
        where = {slot.name: slot for slot in self.slots}
        lines = [f"arena {self.arena_bytes} bytes, {counted(len(self.steps), 'step')}"]
        for index, step in enumerate(self.steps):
            lines.append(f"{index:3} {step.node}: {step.label}")
            for word, names in (("reads", step.reads), ("writes", step.writes)):
                slots = [where[name] for name in names if name in where]
                lines += [f"      {word} {s.name}@{s.offset}+{s.nbytes}" for s in slots]
        return "\n".join(lines)
