"""What was measured on a device, as values that JSON holds and gives back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.engines.results import of
from bench.gpu.cases import Case
from graphcnn.runtime.timing import Ratio, Timing

TORCH, UNFUSED, FUSED = "torch", "unfused", "fused"


@dataclass(frozen=True)
class Clocks:
    """What a device ran at.

    Attributes:
        sm_mhz: Clock of its multiprocessors.
        memory_mhz: And of its memory.
        celsius: Its temperature.
    """

    sm_mhz: int
    memory_mhz: int
    celsius: int

    def __str__(self) -> str:
        return f"{self.sm_mhz} MHz, memory {self.memory_mhz} MHz, {self.celsius} C"


@dataclass(frozen=True)
class Row:
    """One contender on one case.

    Attributes:
        contender: Its name.
        absent: Why it was not run, or None.
        error: Largest difference from the float64 output, over its range; None where a number of
            the output is none.
        replay: Seconds of all its kernels as one CUDA graph; None for one absent or wrong.
        call: Seconds of a call from Python.
        to_torch: Its replay over that of torch in the same round.
        to_unfused: Likewise over that of the unfused kernels.
    """

    contender: str
    absent: str | None = None
    error: float | None = None
    replay: Timing | None = None
    call: Timing | None = None
    to_torch: Ratio | None = None
    to_unfused: Ratio | None = None

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Row:
        """From JSON."""
        kinds = {"replay": Timing, "call": Timing, "to_torch": Ratio, "to_unfused": Ratio}
        return cls(**fields | {name: of(kind, fields[name]) for name, kind in kinds.items()})


@dataclass(frozen=True)
class Measured:
    """All contenders on one case.

    Attributes:
        case: Workload, dtype, batch.
        date: When, UTC.
        tolerance: The error beyond which a contender is wrong.
        rows: A contender each.
        before: What the device ran at before the first turn; None where nobody says.
        after: And after the last one.
    """

    case: Case
    date: str
    tolerance: float
    rows: tuple[Row, ...]
    before: Clocks | None
    after: Clocks | None

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Measured:
        """From JSON."""
        clocks = {name: fields[name] and Clocks(**fields[name]) for name in ("before", "after")}
        rows = tuple(map(Row.of, fields["rows"]))
        return cls(**fields | clocks | {"case": Case(**fields["case"]), "rows": rows})

    def row(self, contender: str) -> Row | None:
        """What a contender took, if it was timed."""
        timed = (r for r in self.rows if r.contender == contender and r.replay is not None)
        return next(timed, None)


@dataclass
class Results:
    """All of it, in one file.

    Attributes:
        dry: Whether a CPU stood in for the device, with networks of a tiny size.
        facts: What the machine is: what is asked, and the answer.
        minutes: What the run was given.
        cases: In the order in which they were measured for the first time.
        left: What was asked for and not measured, with the reason.
    """

    dry: bool
    facts: tuple[tuple[str, str], ...]
    minutes: float
    cases: list[Measured] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Results:
        """From a file."""
        known = json.loads(path.read_text())
        facts = tuple((what, found) for what, found in known["facts"])
        cases = [Measured.of(case) for case in known["cases"]]
        return cls(**known | {"facts": facts, "cases": cases})

    def save(self, path: Path) -> None:
        """To a file."""
        path.write_text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n")

    def add(self, found: Measured) -> None:
        """Take a case in; one that is known gives way."""
        at = next((n for n, known in enumerate(self.cases) if known.case == found.case), None)
        if at is None:
            self.cases.append(found)
        else:
            self.cases[at] = found

    def bought(self) -> Iterator[tuple[Case, Ratio]]:
        """What fused took of the unfused kernels' time, case by case."""
        for found in self.cases:
            row = found.row(FUSED)
            if row is not None and row.to_unfused is not None:
                yield found.case, row.to_unfused
