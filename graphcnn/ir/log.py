"""What the compiler did and what it declined to do, with reasons (law 5)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule that nearly matched.

    Attributes:
        rule: The pass or rule that declined.
        node: The node it looked at.
        because: The reason, in words, with the numbers that decided.
        blame: Nodes or values that stand in the way.
    """

    rule: str
    node: str
    because: str
    blame: tuple[str, ...] = ()

    def __str__(self) -> str:
        blamed = f" [{', '.join(self.blame)}]" if self.blame else ""
        return f"{self.rule}: {self.node}: {self.because}{blamed}"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a compile: its name, how long it took, and the node counts around it."""

    name: str
    seconds: float
    nodes_before: int
    nodes_after: int


@dataclass
class CompileLog:
    """The journal of one compile; passes append to it.

    Attributes:
        stages: The passes that ran.
        rewrites: What they did, a line each.
        refusals: What they declined to do.
        absorbed: Name of a value that a pass removed, to the value that does its work now; which
            may have been absorbed in its turn (see `survivor`).
        names: Every name that a graph of this compile has had; a new value bears none of them.
    """

    stages: list[Stage] = field(default_factory=list)
    rewrites: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    absorbed: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def did(self, rule: str, node: str, what: str) -> None:
        """Record a rewrite."""
        self.rewrites.append(f"{rule}: {node}: {what}")

    def refuse(self, refusal: Refusal) -> None:
        """Record a refusal, once."""
        if refusal not in self.refusals:
            self.refusals.append(refusal)

    def survivor(self, name: str) -> str:
        """The value that does the work of `name` now: itself, unless a pass absorbed it."""
        while name in self.absorbed:
            name = self.absorbed[name]
        return name
