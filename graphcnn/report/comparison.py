"""Models against each other: checked first, then timed by turns."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from graphcnn import arguments
from graphcnn.errors import DeviceUnavailable, InvalidAttribute, shown
from graphcnn.progress import doing
from graphcnn.report.end_to_end import References
from graphcnn.report.environment import Environment, target_of
from graphcnn.report.result import Result
from graphcnn.report.schedule import moved
from graphcnn.report.tables import Table, binary_size, scientific
from graphcnn.report.verification import Verification, checked
from graphcnn.runtime.boundary import given_inputs, to_tensor
from graphcnn.runtime.compiled import CompiledModel, check_model
from graphcnn.runtime.executor import Executor
from graphcnn.runtime.timing import Ratio, Timing, interleave, timed

UNFUSED = "unfused"


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One model.

    Attributes:
        name: Its key.
        target: What it was compiled for.
        kernels: Kernels, or operators, that a call launches.
        timing: Seconds of a call, or None for a model whose outputs are wrong.
        to_baseline: Its time over the baseline's in the same round; None where either has no
            timing.
        to_unfused: Likewise to the model called "unfused".
        moved_bytes: Activations read and written, and weights read, in bytes.
        arena_bytes: Memory of all activations; 0 where operators allocate their results.
        error: Largest error of an output against the float64 reference, over the output's range.
        problem: What is wrong with it, or None.
    """

    name: str
    target: str
    kernels: int
    timing: Timing | None
    to_baseline: Ratio | None
    to_unfused: Ratio | None
    moved_bytes: int
    arena_bytes: int
    error: float
    problem: str | None


@dataclass(frozen=True)
class Comparison(Result):
    """The figures.

    Attributes:
        model: Name of the network.
        environment: Where it ran.
        baseline: The key that ratios refer to.
        rounds: Timed calls of each model.
        ok: Whether the outputs of every model are right.
        rows: A model each, in the order given.
    """

    model: str
    environment: Environment
    baseline: str
    rounds: int
    ok: bool
    rows: tuple[ComparisonRow, ...]

    def tables(self) -> tuple[Table, ...]:
        """Times and ratios; what the models launch and move."""
        ratios = (f"to {self.baseline}", f"to {UNFUSED}")
        notes = [
            f"Times are of the steps alone, inputs in place; ratios {' and '.join(ratios)} are of "
            f"the same round: medians and quartiles over {self.rounds} rounds by turns."
        ]
        notes += [f"Target of {row.name}: {row.target}." for row in self.rows if "," in row.target]
        if self.environment.device == "cpu":
            notes.append("All kernels ran on the CPU: no GPU figure is shown.")
        failed = [f"FAIL {row.name}: not timed: {row.problem}" for row in self.rows if row.problem]
        times = tuple(
            (row.name, *(str(f or "-") for f in (row.timing, row.to_baseline, row.to_unfused)))
            for row in self.rows
        )
        rest = tuple(
            (
                row.name,
                str(row.kernels),
                binary_size(row.moved_bytes),
                binary_size(row.arena_bytes) if row.arena_bytes else "-",
                scientific(row.error),
            )
            for row in self.rows
        )
        title = f"compare {self.model} on {self.environment}"
        launched = ("model", "kernels", "moved", "arena", "error")
        return (
            Table(title, ("model", "time", *ratios), times, notes=tuple(notes)),
            Table("what they launch and move", launched, rest, notes=tuple(failed)),
        )


def compare(
    models: Mapping[str, CompiledModel],
    arrays: Mapping[str, Any] | None = None,
    /,
    *,
    seconds: float = 10.0,
    **inputs: Any,
) -> Comparison:
    """Check models and time them by turns on the same inputs.

    First each is verified; a model that fails is not timed. What is timed are the steps, with the
    inputs in place and without gradients; each model is called once per round, so that what
    disturbs the machine disturbs all alike. Ratios refer to the first model of target "library", or
    to the first of all, and to the one called "unfused".

    Args:
        models: What to compare, by name; all for one device.
        arrays: Inputs, as a mapping: the way to pass one that is called "seconds".
        seconds: About how long to measure; at least five rounds are run.
        inputs: One array per graph input; when there are none, seeded standard normal arrays.

    Raises:
        InvalidAttribute: when there is nothing to compare, for a key that is no string, or for
            `seconds` that are no time.
        InputKindError: for what is not a compiled model.
        DeviceUnavailable: when the models are for different devices.
        The errors of a call, for inputs that do not fit.
    """
    if not isinstance(models, Mapping) or not models:
        raise InvalidAttribute(
            "there is nothing to compare",
            where="the argument models",
            got="no model" if isinstance(models, Mapping) else type(models).__name__,
            remedy='pass {"fused": compiled model, ...}',
        )
    for name, model in models.items():
        check_model(model)
        if not isinstance(name, str):
            raise InvalidAttribute(
                "a model to compare is called by a name",
                where="the argument models",
                got=shown(name),
                wanted="a string",
                remedy='pass {"fused": compiled model, ...}',
            )
    first = next(iter(models.values()))
    devices = {model.target.on.name for model in models.values()}
    if len(devices) > 1:
        raise DeviceUnavailable(
            "a comparison needs one device, whose clock counts",
            got=", ".join(sorted(devices)),
            remedy="compile all models for the same device",
        )
    seconds = arguments.seconds(seconds)
    arrays = given_inputs(first.graph, arrays, inputs)
    references = References(arrays)
    checks = {name: checked(model, references) for name, model in models.items()}
    sound = {name: model for name, model in models.items() if checks[name].ok}
    samples = _time(sound, arrays, seconds) if sound else {}
    library = (name for name, model in models.items() if model.target.name == "library")
    baseline = next(library, next(iter(models)))
    rows = tuple(
        _row(name, model, arrays, checks[name], samples, baseline) for name, model in models.items()
    )
    return Comparison(
        first.source.name,
        Environment.of(first.target.on),
        baseline,
        max((len(taken) for taken in samples.values()), default=0),
        len(sound) == len(models),
        rows,
    )


def _time(
    models: Mapping[str, CompiledModel], arrays: Mapping[str, Any], seconds: float
) -> dict[str, list[float]]:
    device = next(iter(models.values())).target.on
    tensors = {name: to_tensor(array) for name, array in arrays.items()}

    def take(executor: Executor) -> float:
        # Loaded anew each time: a step may have put its result where the input was.
        executor.load(tensors)
        return timed(executor.run, device)

    with ExitStack() as stack:
        takes = {
            name: partial(take, stack.enter_context(model.loaded(arrays)))
            for name, model in models.items()
        }
        doing(f"timing {', '.join(models)}")
        with torch.inference_mode():
            return interleave(takes, seconds=seconds)


def _row(
    name: str,
    model: CompiledModel,
    arrays: Mapping[str, Any],
    check: Verification,
    samples: Mapping[str, list[float]],
    baseline: str,
) -> ComparisonRow:
    def ratio(other: str) -> Ratio | None:
        if name not in samples or other not in samples:
            return None
        return Ratio.between(samples[name], samples[other])

    with model.loaded(arrays) as executor:
        graph, plan = executor.graph, executor.plan
    itemsize = graph.type_of(graph.outputs[0]).dtype.itemsize
    return ComparisonRow(
        name,
        target_of(model),
        len(plan.steps),
        Timing.of(samples[name]) if name in samples else None,
        ratio(baseline),
        ratio(UNFUSED),
        moved(graph, plan) * itemsize + sum(param.type.nbytes for param in graph.params),
        plan.arena_bytes,
        max(output.relative for output in check.outputs),
        None if check.ok else check.verdict,
    )
