"""Where the time of a call goes, beside what torch's operators take for the same nodes."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from graphcnn import arguments
from graphcnn.errors import UnsupportedOp
from graphcnn.ir import CompileLog, Node, inline, node_cost
from graphcnn.progress import doing
from graphcnn.report.end_to_end import References
from graphcnn.report.environment import Environment, target_of
from graphcnn.report.result import Result
from graphcnn.report.schedule import kernels, steps_of
from graphcnn.report.tables import Table
from graphcnn.report.verification import checked
from graphcnn.runtime.boundary import given_inputs
from graphcnn.runtime.compiled import CompiledModel, check_model
from graphcnn.runtime.timing import Ratio, Timing, interleave, timed
from graphcnn.targets import resolve


@dataclass(frozen=True, slots=True)
class StepTime:
    """One node of the compiled graph that runs, or all of them.

    Attributes:
        name: The node.
        kernel: What computes it.
        timing: Seconds of its kernels together.
        torch: Seconds of torch's operators for the same nodes together; None where torch lacks an
            operator of the network.
        to_torch: The one over the other in the same round; None likewise.
        share: Its part of the sum of all medians.
        gflops: 1e9 floating-point operations per second; two per multiply-accumulate.
        gbytes: 1e9 bytes per second: every operand, weights included, read once and every result
            written once.
    """

    name: str
    kernel: str
    timing: Timing
    torch: Timing | None
    to_torch: Ratio | None
    share: float
    gflops: float
    gbytes: float


@dataclass(frozen=True)
class Profile(Result):
    """A call, step by step.

    Attributes:
        model: Name of the network.
        target: What it was compiled for.
        environment: Where it ran.
        ok: Whether the outputs are right.
        problem: Why nothing was timed, or None.
        rows: In order of execution; none where nothing was timed.
        total: All rows together, their sum in each round; None likewise.
    """

    model: str
    target: str
    environment: Environment
    ok: bool
    problem: str | None
    rows: tuple[StepTime, ...] = ()
    total: StepTime | None = None

    def tables(self) -> tuple[Table, ...]:
        """Every step; and what torch takes for its nodes, where torch has them all."""
        title = f"profile {self.model}, target {self.target}, on {self.environment}"
        if self.total is None:
            return (Table(title, notes=(f"not timed: {self.problem}",)),)
        rows = (*self.rows, self.total)
        steps = tuple(
            (
                row.name,
                row.kernel,
                str(row.timing),
                f"{100 * row.share:.1f} %",
                f"{row.gflops:.1f}",
                f"{row.gbytes:.1f}",
            )
            for row in rows
        )
        columns = ("node", "kernel", "time", "share", "GFLOP/s", "GB/s")
        beside = tuple((row.name, str(row.torch), str(row.to_torch)) for row in rows if row.torch)
        torchs = Table("torch's operators for the same nodes", ("node", "time", "to torch"), beside)
        return (Table(title, columns, steps, words=2), *([torchs] if beside else []))


def profile(
    model: CompiledModel,
    arrays: Mapping[str, Any] | None = None,
    /,
    *,
    seconds: float = 5.0,
    **inputs: Any,
) -> Profile:
    """Check a model's outputs against the float64 reference, then time every step.

    Beside each step stands what torch's operators take for the nodes that it computes, on the same
    values; rounds of the one and of the other take turns. When the outputs of either are wrong,
    neither is timed; `verify` names the node at fault. Each step is waited for before the next one
    starts, so the sum is more than a call takes on a device that runs asynchronously.

    Args:
        model: What to time.
        arrays: Inputs, as a mapping: the way to pass one that is called "seconds".
        seconds: About how long to measure; at least five rounds are run.
        inputs: One array per graph input; when there are none, seeded standard normal arrays.

    Raises:
        InputKindError: for what is not a compiled model.
        InvalidAttribute: for `seconds` that are no time.
        The errors of a call, for inputs that do not fit.
    """
    check_model(model)
    seconds = arguments.seconds(seconds)
    arrays = given_inputs(model.graph, arrays, inputs)
    told = (model.source.name, target_of(model), Environment.of(model.target.on))
    library = _library(model)
    models = (model,) if library is None else (model, library)
    references = References(arrays)
    for each in models:
        found = checked(each, references)
        if not found.ok:
            return Profile(*told, False, found.verdict)
    with model.loaded(arrays) as executor:
        graph, steps = executor.graph, steps_of(executor.plan)
    if not steps:
        nothing = "no kernel runs: the outputs are inputs or params, perhaps reshaped"
        return Profile(*told, True, nothing)
    doing("timing every kernel")
    names = ("own", "torch")
    takes = {n: partial(step_seconds, m, arrays) for n, m in zip(names, models, strict=False)}
    own, *others = map(_by_node, interleave(takes, seconds=seconds).values())
    ran = [node for node in graph.nodes if node.name in steps]
    medians = sum(statistics.median(own[node.name]) for node in ran)

    def row(name: str, kernel: str, nodes: Sequence[Node]) -> StepTime:
        taken = _sums([own[node.name] for node in nodes])
        parts = [part.name for node in nodes for part in node.members]
        beside = _sums([others[0][part] for part in parts]) if others else None
        costs = [(node_cost(node, graph), node.type.dtype.itemsize) for node in nodes]
        timing = Timing.of(taken)
        return StepTime(
            name,
            kernel,
            timing,
            Timing.of(beside) if beside else None,
            Ratio.between(taken, beside) if beside else None,
            sum(statistics.median(own[node.name]) for node in nodes) / medians,
            sum(cost.flops for cost, _ in costs) / timing.median / 1e9,
            sum((cost.reads + cost.writes) * size for cost, size in costs) / timing.median / 1e9,
        )

    rows = tuple(row(node.name, kernels(steps[node.name]), [node]) for node in ran)
    return Profile(*told, True, None, rows, row("total", "", ran))


def _library(model: CompiledModel) -> CompiledModel | None:
    """The nodes of a compiled graph through torch's operators; None where torch lacks one."""
    try:
        target = resolve("library", model.target.on.memory)
        return CompiledModel(model.source, inline(model.graph), target, CompileLog())
    except UnsupportedOp:
        return None


def _by_node(rounds: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    return {node: [of_round[node] for of_round in rounds] for node in rounds[0]}


def _sums(samples: Sequence[list[float]]) -> list[float]:
    return [sum(of_round) for of_round in zip(*samples, strict=True)]


def step_seconds(model: CompiledModel, arrays: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of every node that runs, in one call that waits for each of its steps."""
    taken: dict[str, float] = defaultdict(float)
    with model.loaded(arrays) as executor, torch.inference_mode():
        for step, run in executor.steps():
            taken[step.node] += timed(run, model.target.on)
    return taken
