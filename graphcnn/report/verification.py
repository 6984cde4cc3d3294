"""Is a compiled model right? Every group against the float64 reference, on the operands it read.

Each group is judged alone: its operands are read from memory just before it runs and its results
just after, so an error is found where it is made and not where it shows. The bound comes from the
operators' running-error analysis (`ir.bounded`), not from a chosen tolerance: a failure is a bug.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphcnn.ir import Array, Graph, Node, weights
from graphcnn.report.deviation import Deviation, deviation
from graphcnn.report.end_to_end import OutputCheck, References
from graphcnn.report.replay import first_bad_member, read
from graphcnn.report.result import Result
from graphcnn.report.schedule import kernels, members, steps_of
from graphcnn.report.tables import scientific, table
from graphcnn.runtime.boundary import example_inputs
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
    """Where the first error is made.

    Attributes:
        node: The user's node; the whole group's name when no part of it fails alone.
        group: The node of the compiled graph that it belongs to.
        where: The user's line, when known.
        because: What is wrong.
    """

    node: str
    group: str
    where: str | None
    because: str


@dataclass(frozen=True)
class Verification(Result):
    """The verdict on a model.

    Attributes:
        model: Name of the network.
        target: What it was compiled for, and where it ran.
        random_inputs: Whether the inputs were drawn here, because none were given.
        ok: Whether every group stays within its bound, no operand was overwritten, and the outputs
            agree with the graph as the user gave it.
        rows: Every group, in order of execution.
        outputs: The outputs, end to end.
        first_bad: Where the first error is made, or None.
        warnings: What makes the verdict weaker than it looks.
    """

    model: str
    target: str
    random_inputs: bool
    ok: bool
    rows: tuple[GroupCheck, ...]
    outputs: tuple[OutputCheck, ...]
    first_bad: BadNode | None
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        origin = "seeded random inputs" if self.random_inputs else "the inputs given"
        groups = table(
            f"verify {self.model} on {self.target}, {origin}, against the float64 reference",
            ("group", "kernel", "verdict", "largest error", "bound there", "bound used"),
            (
                (
                    row.name,
                    row.kernel,
                    row.problem or "pass",
                    scientific(row.worst.error),
                    scientific(row.worst.bound),
                    f"{100 * row.worst.share:.2g} %",
                )
                for row in self.rows
            ),
            words=3,
        )
        outputs = table(
            "end to end",
            ("output", "verdict", "largest error", "allowed", "relative to the range"),
            (
                (
                    output.name,
                    "pass" if output.passed else "fail",
                    scientific(output.error),
                    scientific(output.allowed),
                    scientific(output.relative),
                )
                for output in self.outputs
            ),
            words=2,
        )
        warnings = (f"warning: {text}" for text in self.warnings)
        return "\n".join((groups, outputs, *warnings, self.verdict))

    @property
    def verdict(self) -> str:
        """Pass or fail, in a line."""
        if self.ok:
            return f"PASS: all {len(self.rows)} groups stay within their bounds"
        bad = self.first_bad
        lost = [output.name for output in self.outputs if not math.isfinite(output.error)]
        if bad is None and lost:
            return (
                f"FAIL: output '{lost[0]}' is NaN or infinite where the reference is finite though "
                "no group exceeds its bound: values exceed the range of their dtype"
            )
        if bad is None:
            return (
                "FAIL: the outputs differ from the reference though no group exceeds its bound: a "
                "pass has changed what the network computes, or an error hides in a wide bound"
            )
        line = f", {bad.where}" if bad.where else ""
        return f"FAIL: node '{bad.node}' (group '{bad.group}'{line}): {bad.because}"


def verify(model: CompiledModel, /, **inputs: Any) -> Verification:
    """Check a compiled model against the float64 reference.

    The memory of all activations is filled with NaN first. A group fails when an element of its
    result is further from the reference than rounding can take it, is NaN where the reference is
    finite, or when an operand is not what was stored for it: the planner gave its memory away. The
    first group that fails is replayed, node by node, to name the node at fault. An output fails
    when it is further from the reference of the graph as the user gave it than rounding-sized
    noise explains. A reference output that is constant, or not finite, is a warning only.

    Args:
        model: What to check.
        inputs: One array per graph input, as for a call; when there are none, seeded standard
            normal arrays are drawn (`runtime.boundary.example_inputs`).

    Raises:
        InputKindError: for what is not a compiled model.
        The errors of a call, for inputs that do not fit.
    """
    check_model(model)
    arrays = inputs or example_inputs(model.graph)
    references = References(arrays)
    with model.loaded(arrays, poison=True) as executor:
        rows, bad = _check_groups(model, executor, references.given(executor.graph))
        outputs = references.check(model, executor)
    return Verification(
        model.source.name,
        f"{model.target.name} ({model.target.on.name})",
        not inputs,
        bad is None and all(output.passed for output in outputs),
        rows,
        outputs,
        bad,
        tuple(warning for output in outputs for warning in _warnings(output)),
    )


def _warnings(output: OutputCheck) -> Iterator[str]:
    """What makes the check of an output weaker than it looks."""
    if output.constant:
        yield f"the reference of output '{output.name}' is constant: nearly anything would pass"
    if output.unjudged:
        yield (
            f"the reference of output '{output.name}' has {output.unjudged} elements that are NaN "
            "or infinite: these are not judged"
        )


def fault(model: CompiledModel, arrays: Mapping[str, Any]) -> str | None:
    """What is wrong with a model's outputs on some arrays, in a line; None when they are right.

    No figure is reported of a model for which this is not None.
    """
    right = all(output.passed for output in References(arrays).run(model))
    return None if right else verify(model, **arrays).verdict


def _check_groups(
    model: CompiledModel, executor: Executor, given: Mapping[str, Array]
) -> tuple[tuple[GroupCheck, ...], BadNode | None]:
    """Run the model step by step, checking each group and naming the first bad node."""
    graph = executor.graph
    steps = steps_of(executor.plan)
    running = iter(executor.steps())
    stored = {name: _checksum(array) for name, array in given.items()}
    rows: list[GroupCheck] = []
    bad: BadNode | None = None
    for node in graph.nodes:
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
        unit = model.target.unit(graph)
        worst = deviation(members(node), operands, computed, dtypes, unit)
        lost = [n for n, crc in stored.items() if n in operands and crc != _checksum(operands[n])]
        problem = f"operand '{lost[0]}' was overwritten before it was read" if lost else None
        problem = problem or worst.problem
        if problem is not None and bad is None:
            bad = _blame(model, graph, node, operands, problem, replay=not lost)
        names = tuple(member.name for member in members(node))
        rows.append(GroupCheck(node.name, kernels(own), names, worst, problem))
        stored.update({name: _checksum(array) for name, array in computed.items()})
    return tuple(rows), bad


def _blame(
    model: CompiledModel,
    graph: Graph,
    node: Node,
    operands: Mapping[str, Array],
    problem: str,
    *,
    replay: bool,
) -> BadNode:
    parts = members(node)
    culprit = first_bad_member(model, graph, parts, operands) if replay else None
    if culprit is None:
        alone = "; no part of the group fails alone" if replay and len(parts) > 1 else ""
        where = str(node.where) if node.where else None
        return BadNode(node.name, node.name, where, problem + alone)
    where = str(culprit.where) if culprit.where else None
    return BadNode(culprit.name, node.name, where, problem)


def _checksum(array: Array) -> int:
    return zlib.crc32(array.data)
