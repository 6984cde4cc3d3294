"""What was measured on this machine so far, as a report."""

from __future__ import annotations

from dataclasses import dataclass

from graphcnn.errors import counted
from graphcnn.report.result import Result
from graphcnn.report.tables import Table, binary_size
from graphcnn.runtime.timing import Timing
from graphcnn.tuning.cache import Cache, Entry
from graphcnn.tuning.trial import fastest


@dataclass(frozen=True, slots=True)
class Row:
    """One node that was measured.

    Attributes:
        node: Its operators and the type of its last value.
        device: Where.
        taken: The fastest way.
        timing: What that takes; None where nothing is right.
        tried: How many ways were tried.
    """

    node: str
    device: str
    taken: str
    timing: Timing | None
    tried: int

    @classmethod
    def of(cls, entry: Entry) -> Row:
        """What an entry says, in short."""
        lines = [line.partition(" = ") for line in entry.node.splitlines() if " = " in line]
        ops = "+".join(call.partition("(")[0] for _, _, call in lines)
        type = lines[-1][0].partition(": ")[2] if lines else ""
        best = fastest(entry.trials)
        device = entry.where.get("device", "")
        return cls(f"{ops} {type}", device, best.way, best.timing, len(entry.trials))


@dataclass(frozen=True)
class Kept(Result):
    """What lies on the disk.

    Attributes:
        folder: Where.
        nbytes: Of all files.
        rows: The nodes.
        notes: What was dropped, or removed.
    """

    folder: str
    nbytes: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def tables(self) -> tuple[Table, ...]:
        """Every node that was measured, on all devices and by all versions."""
        rows = tuple(
            (row.node, row.device, row.taken, str(row.timing or "wrong"), str(row.tried))
            for row in self.rows
        )
        title = f"{counted(len(rows), 'node')} measured, {binary_size(self.nbytes)}: {self.folder}"
        columns = ("node", "device", "taken", "time", "tried")
        return (Table(title, columns if rows else (), rows, words=3, notes=self.notes),)


def kept() -> Kept:
    """What was measured so far."""
    cache = Cache()
    entries = cache.entries()
    rows, nbytes = tuple(map(Row.of, entries)), sum(entry.nbytes for entry in entries)
    return Kept(str(cache.folder), nbytes, rows, tuple(cache.notes))


def clear() -> Kept:
    """Remove all that was measured.

    Raises:
        FileProblem: when the folder cannot be made.
    """
    cache, before = Cache(), kept()
    with cache.turn():
        cache.clear()
    told = f"removed {counted(len(before.rows), 'node')}, {binary_size(before.nbytes)}"
    return Kept(str(cache.folder), 0, (), (told,))
