"""How long each name is needed over a schedule of steps, whatever the steps are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class LiveRange:
    """Steps between which a name holds something that is still needed, both inclusive.

    `first` is -1 for what is there before the first step, `last` the number of steps for what
    must outlive them all.
    """

    first: int
    last: int

    def overlaps(self, other: LiveRange) -> bool:
        """Whether both are needed at some step, so that they cannot share memory."""
        return self.first <= other.last and other.first <= self.last


def live_ranges(
    reads: Sequence[Iterable[str]],
    writes: Sequence[Iterable[str]],
    *,
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
) -> dict[str, LiveRange]:
    """Live range of every name, in order of first appearance.

    Args:
        reads: Names that each step reads.
        writes: Names that each step writes, as many entries as `reads`.
        inputs: Names that hold something before the first step; those that a step reads and none
            wrote before are taken as such, too.
        outputs: Names that are still needed after the last step.
    """
    first: dict[str, int] = dict.fromkeys(inputs, -1)
    last: dict[str, int] = dict(first)
    for step, (read, written) in enumerate(zip(reads, writes, strict=True)):
        for name in read:
            first.setdefault(name, -1)
            last[name] = step
        for name in written:
            first.setdefault(name, step)
            last[name] = step
    for name in outputs:
        first.setdefault(name, -1)
        last[name] = len(reads)
    return {name: LiveRange(start, last[name]) for name, start in first.items()}
