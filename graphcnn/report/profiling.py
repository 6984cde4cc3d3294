"""Where the time of a call goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from graphcnn import arguments
from graphcnn.ir import Node, node_cost
from graphcnn.report.environment import Environment
from graphcnn.report.result import Result
from graphcnn.report.schedule import kernels, steps_of
from graphcnn.report.tables import milliseconds, table
from graphcnn.report.verification import fault
from graphcnn.runtime.boundary import given_inputs
from graphcnn.runtime.compiled import CompiledModel, check_model
from graphcnn.runtime.executor import Executor
from graphcnn.runtime.timing import LEAST_ROUNDS, MOST_ROUNDS, Timing, timed

WARMUP = 2


@dataclass(frozen=True, slots=True)
class StepTime:
    """One node of the compiled graph that runs.

    Attributes:
        name: The node.
        kernel: What computes it.
        timing: Seconds of its kernels together.
        share: Its part of the sum of all medians.
        gflops: 1e9 floating-point operations per second; two per multiply-accumulate.
        gbytes: 1e9 bytes per second: every operand, weights included, read once and every result
            written once.
    """

    name: str
    kernel: str
    timing: Timing
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
        seconds: Sum of the medians; None for a model whose outputs are wrong.
        gflops: Rate of the whole; None likewise.
        rows: In order of execution; none likewise.
        problem: What is wrong, or None.
    """

    model: str
    target: str
    environment: Environment
    ok: bool
    seconds: float | None
    gflops: float | None
    rows: tuple[StepTime, ...]
    problem: str | None

    def __str__(self) -> str:
        title = f"profile {self.model}, target {self.target}, on {self.environment}"
        if self.seconds is None or self.gflops is None:
            return f"{title}\nnot timed: {self.problem}"
        rows = [
            (
                row.name,
                row.kernel,
                milliseconds(row.timing.median),
                f"{100 * row.share:.1f} %",
                f"{row.gflops:.1f}",
                f"{row.gbytes:.1f}",
            )
            for row in self.rows
        ]
        rows.append(("total", "", milliseconds(self.seconds), "", f"{self.gflops:.1f}", ""))
        return table(
            title,
            ("node", "kernel", "median", "share", "GFLOP/s", "GB/s"),
            rows,
            words=2,
        )


def profile(
    model: CompiledModel,
    arrays: Mapping[str, Any] | None = None,
    /,
    *,
    seconds: float = 5.0,
    **inputs: Any,
) -> Profile:
    """Check a model's outputs against the float64 reference, then time every step.

    A model whose outputs are wrong is not timed; `verify` names the node at fault. Each step is
    waited for before the next one starts, so the sum is more than a call takes on a device that
    runs asynchronously.

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
    target, environment = model.target.name, Environment.of(model.target.on)
    if problem := fault(model, arrays):
        return Profile(model.source.name, target, environment, False, None, None, (), problem)
    samples: dict[str, list[float]] = {}
    rounds, spent = 0, 0.0
    while rounds < WARMUP + LEAST_ROUNDS or (spent < seconds and rounds < WARMUP + MOST_ROUNDS):
        with model.loaded(arrays) as executor, torch.no_grad():
            taken = _one_round(model, executor)
            graph, plan = executor.graph, executor.plan
        rounds += 1
        if rounds > WARMUP:
            spent += sum(taken.values())
            for name, elapsed in taken.items():
                samples.setdefault(name, []).append(elapsed)
    timings = {name: Timing.of(taken) for name, taken in samples.items()}
    total = sum(timing.median for timing in timings.values())
    steps = steps_of(plan)
    costs = {node.name: node_cost(node, graph) for node in graph.nodes}

    def row(node: Node) -> StepTime:
        cost, timing = costs[node.name], timings[node.name]
        moved = (cost.reads + cost.writes) * node.type.dtype.itemsize
        return StepTime(
            node.name,
            kernels(steps[node.name]),
            timing,
            timing.median / total,
            cost.flops / timing.median / 1e9,
            moved / timing.median / 1e9,
        )

    return Profile(
        model.source.name,
        target,
        environment,
        True,
        total,
        sum(costs[name].flops for name in steps) / total / 1e9,
        tuple(row(node) for node in graph.nodes if node.name in steps),
        None,
    )


def _one_round(model: CompiledModel, executor: Executor) -> dict[str, float]:
    """Seconds of every node that runs."""
    taken: dict[str, float] = {}
    for step, run in executor.steps():
        taken[step.node] = taken.get(step.node, 0.0) + timed(run, model.target.on)
    return taken
