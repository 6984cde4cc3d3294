"""Why a module, or a part of it, cannot be taken: all of it at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphcnn.errors import UnsupportedOp, Where


class Refused(Exception):
    """A conversion lacks a form of its operator.

    Args:
        because: What is lacking.
        nearest: The form that is there, or what to write instead.
    """

    def __init__(self, because: str, nearest: str = "") -> None:
        super().__init__(because)
        self.because, self.nearest = because, nearest


@dataclass(frozen=True, slots=True)
class Gap:
    """A call in a module that graphcnn has no operator for.

    Attributes:
        op: The operator's name in ATen, such as "aten.conv3d.default".
        path: The module that calls it, such as "layer1.0.conv1"; "" for the outermost.
        because: What is lacking.
        nearest: The nearest form that is supported, or "".
        where: The user's line, when known.
    """

    op: str
    path: str
    because: str
    nearest: str
    where: Where | None


@dataclass(frozen=True)
class Coverage:
    """What of a module graphcnn can take; prints as a table.

    Attributes:
        module: The module's class.
        calls: How many calls of operators it makes, without those that only make constants.
        gaps: Those that cannot be taken.
    """

    module: str
    calls: int
    gaps: tuple[Gap, ...]

    @property
    def ok(self) -> bool:
        """Whether `from_torch` takes it."""
        return not self.gaps

    def __str__(self) -> str:
        taken = self.calls - len(self.gaps)
        head = f"{self.module}: {taken} of {self.calls} calls are supported"
        return "\n".join([head, *listed(self.gaps)])


def listed(gaps: Sequence[Gap]) -> list[str]:
    """A line for each operator and reason, with its count and its modules."""
    groups: dict[tuple[str, str, str], list[Gap]] = {}
    for gap in gaps:
        groups.setdefault((gap.op, gap.because, gap.nearest), []).append(gap)
    lines = []
    for (op, because, nearest), calls in groups.items():
        paths = list(dict.fromkeys(gap.path or "the module itself" for gap in calls))
        more = f" and {len(paths) - 4} more" if len(paths) > 4 else ""
        hint = f"; nearest: {nearest}" if nearest else ""
        line = next((f" ({gap.where})" for gap in calls if gap.where), "")
        lines.append(
            f"  {op} x {len(calls)} in {', '.join(paths[:4])}{more}{line}: {because}{hint}"
        )
    return lines


def unsupported(coverage: Coverage) -> UnsupportedOp:
    """The error that lists everything that cannot be taken."""
    return UnsupportedOp(
        f"{coverage.module} calls operators that graphcnn does not have",
        got="\n".join(["", *listed(coverage.gaps)]),
        wanted="operators of the README's list",
        remedy="write these parts with others, or run them in torch between two graphs",
    )
