"""One run of a model: what it returned and how long it took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphcnn.errors import counted
from graphcnn.ir import Array
from graphcnn.progress import doing
from graphcnn.report.end_to_end import References
from graphcnn.report.environment import Environment
from graphcnn.report.result import Result
from graphcnn.report.tables import Table, dimensions
from graphcnn.report.verification import checked
from graphcnn.runtime.boundary import example_inputs
from graphcnn.runtime.compiled import CompiledModel, check_model
from graphcnn.runtime.timing import LEAST_ROUNDS, Timing, duration, timed


@dataclass(frozen=True, slots=True)
class OutputSummary:
    """One output: shape, range, and the largest entries of its first sample."""

    name: str
    shape: tuple[int, ...]
    low: float
    high: float
    largest: tuple[int, ...]


@dataclass(frozen=True)
class Execution(Result):
    """A run.

    Attributes:
        network: Its name.
        environment: Where it ran.
        kernels: Kernels that a call launches.
        ok: Whether the outputs are right.
        first_seconds: The first call, once, which also makes everything ready; None for a model
            whose outputs are wrong.
        timing: Seconds of the calls after it, copies in and out included; None likewise.
        outputs: What it returned.
        problem: What is wrong, or None.
    """

    network: str
    environment: Environment
    kernels: int
    ok: bool
    first_seconds: float | None
    timing: Timing | None
    outputs: tuple[OutputSummary, ...]
    problem: str | None

    def tables(self) -> tuple[Table, ...]:
        """Every output, under the time it took."""
        title = f"run {self.network} on {self.environment}: {counted(self.kernels, 'kernel')}, "
        if self.timing is None or self.first_seconds is None:
            title += f"not timed: {self.problem}"
        else:
            title += f"{self.timing} a call; the first, cold, {duration(self.first_seconds)}"
        rows = tuple(
            (
                output.name,
                dimensions(output.shape),
                f"{output.low:.4g}",
                f"{output.high:.4g}",
                ", ".join(map(str, output.largest)),
            )
            for output in self.outputs
        )
        columns = ("output", "shape", "min", "max", "first sample's top 5")
        return (Table(title, columns, rows, words=2),)


def run_once(model: CompiledModel, seed: int = 0) -> Execution:
    """Call a model a few times on seeded standard normal inputs, and check its outputs.

    Raises:
        InputKindError, InvalidAttribute: for what is not a compiled model, or a negative seed.
    """
    check_model(model)
    inputs, device = example_inputs(model.graph, seed), model.target.on
    doing("running")
    first, *later = (timed(lambda: model(**inputs), device) for _ in range(1 + LEAST_ROUNDS))
    named = model.source.named(model(**inputs))
    found = checked(model, References(inputs))
    return Execution(
        model.source.name,
        Environment.of(device),
        len(model.plan.steps),
        found.ok,
        first if found.ok else None,
        Timing.of(later) if found.ok else None,
        tuple(_summary(name, array) for name, array in named.items()),
        None if found.ok else found.verdict,
    )


def _summary(name: str, array: Array) -> OutputSummary:
    first = np.ravel(array[0]) if array.ndim else np.ravel(array)
    largest = tuple(int(index) for index in np.argsort(-first, kind="stable")[:5])
    return OutputSummary(name, array.shape, float(array.min()), float(array.max()), largest)
