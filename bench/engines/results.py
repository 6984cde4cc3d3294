"""What was measured, as values that JSON holds and gives back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from bench.engines.cases import Case
from graphcnn.runtime.timing import Measurement, Ratio, Timing

M = TypeVar("M", bound=Measurement)


def now() -> str:
    """The date and time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class EngineRow:
    """One engine on one case.

    Attributes:
        engine: Its name.
        own: Whether it is graphcnn.
        absent: Why it was not run, or None.
        version: Of its package.
        error: Largest difference from the expected output, over its range; None where a number of
            the output is none.
        memory_bytes: Most that was in memory during a call beyond what the engine takes without a
            network: weights, in whatever form it keeps them, and activations.
        wall: Seconds of a call; None for an engine that is absent or wrong.
        cpu: Likewise of all processors together.
        to_best: Its time over that of the best peer in the same round.
    """

    engine: str
    own: bool
    absent: str | None
    version: str | None
    error: float | None
    memory_bytes: int | None
    wall: Timing | None
    cpu: Timing | None
    to_best: Ratio | None

    @classmethod
    def of(cls, fields: dict[str, Any]) -> EngineRow:
        """From JSON."""
        kinds = {"wall": Timing, "cpu": Timing, "to_best": Ratio}
        return cls(**fields | {name: of(kind, fields[name]) for name, kind in kinds.items()})


@dataclass(frozen=True)
class SideBySide:
    """All engines on one case.

    Attributes:
        case: Network, batch, dtype, threads.
        date: When, UTC.
        tolerance: The error beyond which an engine is wrong.
        weights_bytes: Of the network as it is stored in the case's dtype.
        best: The fastest of the engines that are not graphcnn; None where there is none.
        rows: An engine each.
    """

    case: Case
    date: str
    tolerance: float
    weights_bytes: int
    best: str | None
    rows: tuple[EngineRow, ...]

    @classmethod
    def of(cls, fields: dict[str, Any]) -> SideBySide:
        """From JSON."""
        rows = tuple(map(EngineRow.of, fields["rows"]))
        return cls(**fields | {"case": Case(**fields["case"]), "rows": rows})

    def row(self, engine: str) -> EngineRow | None:
        """What an engine took, if it was timed."""
        return next((r for r in self.rows if r.engine == engine and r.wall is not None), None)


@dataclass(frozen=True)
class Layer:
    """One kernel of a fused network beside the unfused ones for the same nodes.

    Attributes:
        name: Its node.
        kernel: What it computes.
        flops: Floating-point operations, two per multiply-accumulate.
        fused: Seconds.
        unfused: Seconds of the kernels of its nodes together; None where none runs for them.
        to_unfused: The one over the other in the same round.
        fused_bytes: What it reads and writes, weights included.
        unfused_bytes: Likewise of the unfused kernels together.
    """

    name: str
    kernel: str
    flops: int
    fused: Timing
    unfused: Timing | None
    to_unfused: Ratio | None
    fused_bytes: int
    unfused_bytes: int

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Layer:
        """From JSON."""
        kinds = {"fused": Timing, "unfused": Timing, "to_unfused": Ratio}
        return cls(**fields | {name: of(kind, fields[name]) for name, kind in kinds.items()})


@dataclass(frozen=True)
class Memory:
    """A plan's use of its arena.

    Attributes:
        arena_bytes: Its size.
        live_bytes: Of the values that are alive at each step.
    """

    arena_bytes: int
    live_bytes: tuple[int, ...]

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Memory:
        """From JSON."""
        return cls(fields["arena_bytes"], tuple(fields["live_bytes"]))


@dataclass(frozen=True)
class Inside:
    """A network from the inside: kernels and memory.

    Attributes:
        case: The network.
        date: When, UTC.
        layers: Its kernels, in order.
        fused: The arena of the fused plan.
        unfused: And of the unfused one.
    """

    case: Case
    date: str
    layers: tuple[Layer, ...]
    fused: Memory
    unfused: Memory

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Inside:
        """From JSON."""
        parts = {
            "case": Case(**fields["case"]),
            "layers": tuple(map(Layer.of, fields["layers"])),
            "fused": Memory.of(fields["fused"]),
            "unfused": Memory.of(fields["unfused"]),
        }
        return cls(**fields | parts)


@dataclass(frozen=True)
class Machine:
    """Where everything was measured.

    Attributes:
        processor: Its name.
        instructions: Vector extensions that kernels may use.
        cores: Processors that this process may run on.
        memory_bytes: Of the machine.
        system: Operating system and Python.
        versions: Of the packages, by name.
        date: When the peaks were measured, UTC.
        fma: Peak of float32 multiply-adds of all threads, 1e9 operations per second.
        copy: Bandwidth of a copy by all threads, 1e9 bytes read or written per second.
    """

    processor: str
    instructions: str
    cores: int
    memory_bytes: int
    system: str
    versions: dict[str, str]
    date: str
    fma: Measurement
    copy: Measurement

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Machine:
        """From JSON."""
        peaks = {name: Measurement(**fields[name]) for name in ("fma", "copy")}
        return cls(**fields | peaks)


@dataclass
class Results:
    """All of it, in one file; what is there is not measured again."""

    machine: Machine | None = None
    cases: list[SideBySide] = field(default_factory=list)
    insides: list[Inside] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Results:
        """From a file; nothing where there is none."""
        if not path.exists():
            return cls()
        known = json.loads(path.read_text())
        return cls(
            known["machine"] and Machine.of(known["machine"]),
            [SideBySide.of(case) for case in known["cases"]],
            [Inside.of(inside) for inside in known["insides"]],
        )

    def save(self, path: Path) -> None:
        """To a file."""
        path.write_text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n")

    def case(self, case: Case) -> SideBySide | None:
        """What is known of a case."""
        return next((known for known in self.cases if known.case == case), None)

    def inside(self, case: Case) -> Inside | None:
        """Likewise of a network from the inside."""
        return next((known for known in self.insides if known.case == case), None)


def of(kind: type[M], fields: dict[str, Any] | None) -> M | None:
    """A measurement from JSON."""
    return None if fields is None else kind(**fields)
