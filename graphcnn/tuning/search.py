"""Tuning a model: for each node, the fastest way that is right, within a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from graphcnn import arguments
from graphcnn.errors import InvalidAttribute, counted
from graphcnn.ir import Node, Refusal, TensorType, node_cost
from graphcnn.kernels import Choice, Problem
from graphcnn.progress import doing
from graphcnn.report.environment import Environment
from graphcnn.report.result import Result
from graphcnn.report.tables import Table
from graphcnn.runtime.compiled import CompiledModel, check_model
from graphcnn.runtime.timing import Timing, three_digits
from graphcnn.targets.policy import Called, Measured
from graphcnn.tuning.cache import Cache, environment
from graphcnn.tuning.candidates import Candidate, Tunable, base_of, candidates, spelled
from graphcnn.tuning.measure import Subject, trials
from graphcnn.tuning.trial import Trial, fastest

RULE = "tune"
SECONDS = 60.0
clock = time.monotonic


@dataclass(frozen=True, slots=True)
class Tuned:
    """What became of one node.

    Attributes:
        node: Its name.
        taken: The way it takes from now on.
        timing: What that takes, seconds; None where nothing is right.
        model: The model's way.
        model_timing: What that takes, likewise.
        tried: How many ways were tried.
        refused: The wrong ones among them, and why.
    """

    node: str
    taken: str
    timing: Timing | None
    model: str
    model_timing: Timing | None
    tried: int
    refused: tuple[str, ...]

    @classmethod
    def of(cls, node: str, made: tuple[Trial, ...]) -> Tuned:
        """Decide by its trials."""
        first, best = made[0], fastest(made)
        refused = tuple(f"{t.way}: {t.problem}" for t in made if t.problem is not None)
        return cls(node, best.way, best.timing, first.way, first.timing, len(made), refused)

    @property
    def because(self) -> str:
        """Why it takes another way than the model's."""
        return f"{self.timing}, where {self.model} takes {self.model_timing}"


@dataclass(frozen=True)
class Tuning(Result):
    """What was measured, and what is taken from now on.

    Attributes:
        network: Its name.
        environment: Where it ran.
        seconds: How long measuring might take.
        rows: The nodes whose ways are known, the costliest first.
        measured: How many of them were measured now; the others were known before.
        left: Nodes that take the model's way, as the time was up.
        interrupted: Whether the user ended it before.
        notes: What else there is to say.
    """

    network: str
    environment: Environment
    seconds: float
    rows: tuple[Tuned, ...]
    measured: int
    left: tuple[str, ...]
    interrupted: bool
    notes: tuple[str, ...]

    def tables(self) -> tuple[Table, ...]:
        """Every node whose ways are known, and what was refused."""
        others = sum(row.taken != row.model for row in self.rows)
        title = (
            f"tune {self.network} on {self.environment}: {counted(len(self.rows), 'node')} known, "
            f"{self.measured} of them measured now; {others} not as the model has it"
        )
        rows = tuple(
            (
                row.node,
                row.taken,
                str(row.timing or "wrong"),
                "" if row.taken == row.model else str(row.model_timing or "wrong"),
                str(row.tried),
            )
            for row in self.rows
        )
        refused = tuple((r.node, r.because) for r in self.refusals)
        ended = ("interrupted: what was measured until then is kept",) if self.interrupted else ()
        columns = ("node", "taken", "time", "the model's", "tried")
        found = (
            Table(title, columns, rows, words=2, notes=(*ended, *self.notes)),
            Table("not taken", ("node", "because"), refused, words=2),
        )
        return tuple(table for table in found if table.rows or table.title == title)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What is not taken, and why."""
        wrong = (Refusal(RULE, row.node, said) for row in self.rows for said in row.refused)
        late = f"{three_digits(self.seconds)} s were over before all its ways were tried"
        return (*wrong, *(Refusal(RULE, node, late) for node in self.left))


def tune(model: CompiledModel, seconds: float = SECONDS) -> Tuning:
    """Measure the ways of computing each node of a compiled model, and keep the times on the disk.

    From then on `compile(..., tune=True)` takes the fastest ways. Each is tried alone, on seeded
    operands, for the batch size of the model's graph; one whose result is further from the float64
    reference than rounding explains, or that writes elsewhere, is not timed. The costliest nodes
    come first. An interrupt (Ctrl-C) ends it; what was measured until then is kept.

    Args:
        model: Compiled for the target "triton" or "library".
        seconds: How long it may take, to the end of the trial at hand; a way that is known already
            takes no time.

    Raises:
        InputKindError: for what is not a compiled model.
        InvalidAttribute: for `seconds` that are no time, and for another target.
        MissingWeights: when a param has no data.
        FileProblem: when the times cannot be kept.
    """
    return search(model, seconds)[1]


def search(model: CompiledModel, seconds: float) -> tuple[Tunable, Tuning]:
    """`tune`, and the model's target with what it found."""
    check_model(model)
    limit = arguments.seconds(seconds)
    target = model.target
    if not isinstance(target, Tunable):
        raise InvalidAttribute(
            "there is nothing to choose from for this target",
            where=f"graph '{model.source.name}'",
            got=f"target '{target.name}'",
            wanted="target 'triton' or 'library'",
            remedy="leave out tune, or compile for another target",
        )
    with target.on.guard():
        return _Search(model, target, limit).run()


class _Search:
    """One tuning, as it goes on."""

    def __init__(self, model: CompiledModel, target: Tunable, seconds: float) -> None:
        self._graph, self._target, self._name = model.graph, target, model.source.name
        self._seconds, self._deadline = seconds, clock() + seconds
        self._cache, self._where = Cache(), environment(target)
        self._locations = model.plan.locations
        self._rows: list[Tuned] = []
        self._left: list[str] = []
        self._measured = 0
        self._kernels: dict[tuple[str, Problem], Choice] = {}
        self._calls: dict[tuple[str, TensorType], Called] = {}

    def run(self) -> tuple[Tunable, Tuning]:
        """Go through the nodes, the costliest first."""
        ways = candidates(self._graph, self._target)
        nodes = [node for node in self._graph.nodes if node.name in ways]
        nodes.sort(key=self._cost, reverse=True)
        interrupted = False
        try:
            for number, node in enumerate(nodes, 1):
                told = f"node {number} of {len(nodes)}, {node.name}"
                self._node(node, ways[node.name], told)
        except KeyboardInterrupt:
            interrupted = True
        found = Tuning(
            self._name,
            Environment.of(self._target.on),
            self._seconds,
            tuple(self._rows),
            self._measured,
            tuple(self._left),
            interrupted,
            tuple(self._cache.notes),
        )
        policy = Measured(base_of(self._target), self._kernels, self._calls)
        return type(self._target)(self._target.on, policy), found

    def _cost(self, node: Node) -> int:
        cost = node_cost(node, self._graph)
        return cost.flops + cost.reads + cost.writes

    def _node(self, node: Node, ways: Sequence[Candidate], told: str) -> None:
        text = spelled(self._graph, node, self._locations)
        made = self._known(text, ways)
        if made is None and clock() < self._deadline:
            with self._cache.turn():
                # Another process may have measured it while this one waited for its turn.
                made = self._known(text, ways)
                if made is None and (made := self._try(node, ways, told)) is not None:
                    self._measured += 1
                    self._cache.keep(self._where, text, made)
        if made is None:
            self._left.append(node.name)
            return
        tuned = Tuned.of(node.name, made)
        self._rows.append(tuned)
        for way in ways:
            if way.name == tuned.taken != tuned.model:
                self._kernels |= way.kernels
                if way.call:
                    self._calls[node.name, node.type] = Called(way.call, tuned.because)

    def _known(self, text: str, ways: Sequence[Candidate]) -> tuple[Trial, ...] | None:
        """The trials of a node, if all its ways were tried."""
        kept = {trial.way: trial for trial in self._cache.find(self._where, text) or ()}
        if any(way.name not in kept for way in ways):
            return None
        return tuple(kept[way.name] for way in ways)

    def _try(self, node: Node, ways: Sequence[Candidate], told: str) -> tuple[Trial, ...] | None:
        def tell(what: str) -> None:
            left = max(0.0, self._deadline - clock())
            doing(f"{told}: {what}; {left:.0f} s left")

        subject = Subject(self._graph, node, self._target)
        return trials(subject, ways, tell, lambda: clock() < self._deadline)
