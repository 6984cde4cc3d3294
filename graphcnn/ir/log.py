"""What the compiler did and what it declined to do, with reasons (law 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from graphcnn.ir.graph import Graph


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
class Unprofitable(Refusal):
    """A fusion that a kernel can do, and that costs more than it saves; a demand overrides it."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What a pass did to a node, in words."""

    rule: str
    node: str
    what: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was taken for a node where several would do: a tile, an algorithm.

    Attributes:
        node: The node.
        what: What was to be chosen, in a word.
        chosen: What was taken.
        alternatives: All that would do, `chosen` among them.
        because: The reason, in words, with the numbers that decided.
    """

    node: str
    what: str
    chosen: object
    alternatives: tuple[object, ...]
    because: str


@dataclass(frozen=True, slots=True)
class Started:
    """A pass begins on a graph."""

    name: str
    graph: Graph = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finished:
    """A pass has run: how long it took, and the graphs around it."""

    name: str
    seconds: float
    before: Graph = field(repr=False)
    after: Graph = field(repr=False)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A pass of the default pipeline that a compile does without, and why."""

    name: str
    because: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A pass ended in an error, which goes on after this is told."""

    name: str
    seconds: float
    error: Exception


Event = Refusal | Rewritten | Chosen | Started | Finished | Skipped | Failed
Listener = Callable[[Event], None]
E = TypeVar("E", bound=Event)


@dataclass
class CompileLog:
    """The journal of one compile; passes append to it, and listeners hear of each event.

    Attributes:
        listeners: Called with every event, in the order of the events.
        events: All of them.
        absorbed: Name of a value that a pass removed, to the value that does its work now; which
            may have been absorbed in its turn (see `survivor`).
        names: Every name that a graph of this compile has had; a new value bears none of them.
    """

    listeners: tuple[Listener, ...] = ()
    events: list[Event] = field(default_factory=list)
    absorbed: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def add(self, event: Event) -> None:
        """Record an event, and tell the listeners."""
        self.events.append(event)
        for listen in self.listeners:
            listen(event)

    def did(self, rule: str, node: str, what: str) -> None:
        """Record a rewrite."""
        self.add(Rewritten(rule, node, what))

    def refuse(self, refusal: Refusal) -> None:
        """Record a refusal, once."""
        if refusal not in self.events:
            self.add(refusal)

    def of(self, kind: type[E]) -> list[E]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def rewrites(self) -> list[Rewritten]:
        """What the passes did."""
        return self.of(Rewritten)

    @property
    def refusals(self) -> list[Refusal]:
        """What they declined to do."""
        return self.of(Refusal)

    @property
    def graphs(self) -> dict[str, Graph]:
        """The graph as it came, by the name "source", and as each pass left it, run or skipped."""
        found: dict[str, Graph] = {}
        for event in self.events:
            match event:
                case Started(_, graph):
                    found.setdefault("source", graph)
                case Finished(name, _, _, graph):
                    found[name] = graph
                case Skipped(name) if found:
                    found[name] = [*found.values()][-1]
        return found

    def survivor(self, name: str) -> str:
        """The value that does the work of `name` now: itself, unless a pass absorbed it."""
        while name in self.absorbed:
            name = self.absorbed[name]
        return name
