"""Is a compiled model right? What the kernels did is judged apart from what the passes did.

The kernels: every group against the float64 reference, on the operands it read. Each group is
judged alone: its operands are read from memory just before it runs and its results just after, so
an error is found where it is made and not where it shows. The bounds come from the operators'
rounding analysis (`report.deviation`), not from a chosen tolerance: a failure is a bug.

The passes: the compiled graph against the source, both in float64 (`report.equivalence`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphcnn.errors import counted
from graphcnn.ir import Array, Graph, Node, by_name, inline, weights
from graphcnn.progress import doing
from graphcnn.report.deviation import Deviation, deviation
from graphcnn.report.end_to_end import OutputError, References, source_for
from graphcnn.report.environment import target_of
from graphcnn.report.equivalence import ValueCheck, equivalence
from graphcnn.report.replay import first_bad_member, read
from graphcnn.report.result import Result
from graphcnn.report.schedule import arithmetic, kernels, steps_of
from graphcnn.report.tables import Table, scientific
from graphcnn.runtime.boundary import given_inputs
from graphcnn.runtime.compiled import CompiledModel, check_model
from graphcnn.runtime.executor import Executor


@dataclass(frozen=True, slots=True)
class GroupCheck:
    """One fused group or plain node.

    Attributes:
        name: The node of the compiled graph.
        kernel: What computes it; "-" when it only names its operand's memory anew.
        nodes: The user's nodes it stands for.
        worst: Its largest deviation from the reference.
        problem: What is wrong, or None.
    """

    name: str
    kernel: str
    nodes: tuple[str, ...]
    worst: Deviation
    problem: str | None


@dataclass(frozen=True, slots=True)
class BadNode:
    """Where an error is made.

    Attributes:
        node: The user's node; the whole group's name when no part of it fails alone.
        group: The node of the compiled graph that it belongs to; None where a pass is at fault.
        where: The user's line, when known.
        because: What is wrong.
    """

    node: str
    group: str | None
    where: str | None
    because: str

    def __str__(self) -> str:
        group = f"group '{self.group}'" if self.group else None
        place = ", ".join(part for part in (group, self.where) if part)
        return f"node '{self.node}'{place and f' ({place})'}: {self.because}"


@dataclass(frozen=True)
class Verification(Result):
    """The verdict on a model.

    Attributes:
        model: Name of the network.
        target: What it was compiled for, and where it ran.
        random_inputs: Whether the inputs were drawn here, because none were given.
        ok: Whether nothing is wrong.
        rows: What the kernels did: every group, in order of execution.
        values: What the passes did: every value that the compiled graph computes in another way
            than the source.
        outputs: How far the outputs are from the reference, end to end.
        first_bad: The first node that a pass changed, or else where the kernels make their first
            error, or None.
        problems: What is wrong, a line for each check that failed.
        warnings: What makes the verdict weaker than it looks.
    """

    model: str
    target: str
    random_inputs: bool
    ok: bool
    rows: tuple[GroupCheck, ...]
    values: tuple[ValueCheck, ...]
    outputs: tuple[OutputError, ...]
    first_bad: BadNode | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    def tables(self) -> tuple[Table, ...]:
        """The groups; the outputs, and the verdict."""
        origin = "seeded random inputs" if self.random_inputs else "the inputs given"
        title = f"verify {self.model} on {self.target}, {origin}, against the float64 reference"
        groups = tuple(
            (
                row.name,
                row.kernel,
                "FAIL" if row.problem else "pass",
                scientific(row.worst.error),
                scientific(row.worst.bound),
                f"{100 * row.worst.share:.2g} %",
            )
            for row in self.rows
        )
        outputs = tuple((o.name, scientific(o.error), scientific(o.relative)) for o in self.outputs)
        warnings = (f"warning: {text}" for text in self.warnings)
        verdicts = (self.verdict,) if self.ok else (f"FAIL: {text}" for text in self.problems)
        judged = ("group", "kernel", "verdict", "largest error", "bound there", "bound used")
        columns = ("output", "largest error", "relative to the range")
        return (
            Table(title, judged, groups, words=3),
            Table("end to end", columns, outputs, notes=(*warnings, *verdicts)),
        )

    @property
    def verdict(self) -> str:
        """Pass or fail, in a line."""
        if not self.ok:
            return f"FAIL: {'; '.join(self.problems)}"
        groups = len(self.rows)
        if groups == 1:
            return "PASS: the only group stays within its bound"
        return f"PASS: all {groups} groups stay within their bounds"


def verify(model: CompiledModel, /, *arrays: Any, **inputs: Any) -> Verification:
    """Check a compiled model against the float64 reference.

    What the kernels did: the memory of all activations is filled with NaN first. A group fails when
    an element of its result is further from the reference than rounding can take it, or than it
    does in practice, or is not the reference's NaN or infinity, or when an operand is not what was
    stored for it: the planner gave its memory away. The first group that fails is replayed, node by
    node, to name the node at fault.

    What the passes did: a value fails when the compiled graph, in float64, makes something else of
    the values before it than the source does, apart from rounding weights that were folded.

    A reference output that is constant, or not finite, is a warning only, and so are values beyond
    the range of their dtype: these are infinite, as they would be anywhere.

    Args:
        model: What to check.
        arrays: One array per graph input, as for a call; when there are none, seeded standard
            normal arrays are drawn (`runtime.boundary.example_inputs`).
        inputs: The same by name.

    Raises:
        InputKindError: for what is not a compiled model.
        The errors of a call, for inputs that do not fit.
    """
    check_model(model)
    given = by_name(model.graph, arrays, inputs)
    references = References(given_inputs(model.graph, None, given))
    return checked(model, references, random_inputs=not given)


def checked(
    model: CompiledModel, references: References, *, random_inputs: bool = False
) -> Verification:
    """`verify`, on arrays whose references other models may share."""
    with model.loaded(references.arrays, poison=True) as executor:
        given = references.given(executor.graph)
        rows, bad, overwritten = _check_groups(model, executor, given)
        doing("checking what the passes did")
        values = equivalence(source_for(model, executor), inline(executor.graph), given)
        doing("checking the outputs")
        outputs = references.errors(model, executor)
    changed = next((_changed(value) for value in values if value.problem), None)
    nodes = tuple(node for node in (changed, bad) if node)
    problems = (*_spoilt(model.source), *map(str, nodes), *overwritten)
    return Verification(
        model.source.name,
        f"{target_of(model)} ({model.target.on.name})",
        random_inputs,
        not problems,
        rows,
        values,
        outputs,
        nodes[0] if nodes else None,
        problems,
        tuple(_warnings(rows, outputs)),
    )


def _changed(value: ValueCheck) -> BadNode:
    return BadNode(value.name, None, value.where, f"a pass changed its meaning: {value.problem}")


def _spoilt(source: Graph) -> Iterator[str]:
    """Params that are not finite: no compile takes them, but they share the caller's arrays."""
    for param in source.params:
        if not np.isfinite(param.values).all():
            yield f"param '{param.name}' has become NaN or infinite since the model was compiled"


def _warnings(rows: tuple[GroupCheck, ...], outputs: tuple[OutputError, ...]) -> Iterator[str]:
    """What makes a verdict weaker than it looks."""
    for output in outputs:
        if output.constant:
            yield f"the reference of output '{output.name}' is constant: nearly anything would pass"
        if output.unbounded:
            yield (
                f"the reference of output '{output.name}' is NaN or infinite at "
                f"{counted(output.unbounded, 'element')}"
            )
    for row in rows:
        if row.worst.overflowed:
            yield (
                f"group '{row.name}' exceeds the range of its dtype at "
                f"{counted(row.worst.overflowed, 'element')}, infinite now"
            )
        if row.worst.unjudged:
            yield (
                f"group '{row.name}' is not judged at {counted(row.worst.unjudged, 'element')}, "
                "which may overflow on the way"
            )


def _check_groups(
    model: CompiledModel, executor: Executor, given: Mapping[str, Array]
) -> tuple[tuple[GroupCheck, ...], BadNode | None, tuple[str, ...]]:
    """Run the model step by step: every group, the first bad node, and outputs that were lost."""
    graph = executor.graph
    steps = steps_of(executor.plan)
    running = iter(executor.steps())
    stored = {name: _checksum(array) for name, array in given.items()}
    rows: list[GroupCheck] = []
    bad: BadNode | None = None
    for number, node in enumerate(graph.nodes, 1):
        doing(f"checking group {number} of {len(graph.nodes)}: {node.name}")
        operands = {
            name: weights(graph.param_by_name[name])
            if graph.is_param(name)
            else read(executor, name)
            for name in node.inputs
        }
        own = steps.get(node.name, ())
        for _ in own:
            _, run = next(running)
            run()
        computed = {value.name: read(executor, value.name) for value in node.outputs}
        dtypes = {value.name: value.type.dtype for value in node.outputs}
        worst = deviation(node.members, operands, computed, dtypes, arithmetic(own))
        lost = [n for n in operands if n in stored and stored[n] != _checksum(operands[n])]
        problem = f"operand '{lost[0]}' was overwritten before it was read" if lost else None
        problem = problem or worst.problem
        if problem is not None and bad is None:
            bad = _blame(model, graph, node, operands, problem, replay=not lost)
        names = tuple(member.name for member in node.members)
        rows.append(GroupCheck(node.name, kernels(own), names, worst, problem))
        stored.update({name: _checksum(array) for name, array in computed.items()})
    overwritten = tuple(
        f"output '{name}' was overwritten after it was computed"
        for name in dict.fromkeys(graph.outputs)
        if name in stored and stored[name] != _checksum(read(executor, name))
    )
    return tuple(rows), bad, overwritten


def _blame(
    model: CompiledModel,
    graph: Graph,
    node: Node,
    operands: Mapping[str, Array],
    problem: str,
    *,
    replay: bool,
) -> BadNode:
    parts = node.members
    culprit = first_bad_member(model, graph, parts, operands) if replay else None
    if culprit is None:
        alone = "; no part of the group fails alone" if replay and len(parts) > 1 else ""
        where = str(node.where) if node.where else None
        return BadNode(node.name, node.name, where, problem + alone)
    where = str(culprit.where) if culprit.where else None
    return BadNode(culprit.name, node.name, where, problem)


def _checksum(array: Array) -> int:
    """A checksum of values; a copy may turn one NaN into another."""
    return zlib.crc32(np.ascontiguousarray(np.where(np.isnan(array), np.nan, array)).data)
