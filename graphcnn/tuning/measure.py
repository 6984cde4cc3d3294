"""Trying the ways of one node: alone, on operands and memory of its own, checked before timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from graphcnn.errors import KernelFailed
from graphcnn.ir import Array, Graph, Node, Value, weights
from graphcnn.kernels import Refused
from graphcnn.plan import Plan, plan_memory
from graphcnn.report.deviation import Deviation, deviation
from graphcnn.report.replay import read
from graphcnn.report.schedule import arithmetic
from graphcnn.runtime.boundary import example_inputs, to_tensor
from graphcnn.runtime.executor import Executor
from graphcnn.runtime.memory import GUARD_BYTES, allocate
from graphcnn.runtime.timing import Timing, interleave, timed
from graphcnn.runtime.weights import WeightStore
from graphcnn.targets.tf32 import tf32
from graphcnn.tuning.candidates import Candidate, Tunable, base_of
from graphcnn.tuning.trial import Trial

# Of all the ways of a node together, beside the least number of rounds.
SECONDS = 0.25
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Bound:
    """A way that is ready to run.

    Attributes:
        name: Its name.
        plan: The steps of the node, and where its values lie.
        executor: What runs them.
        memory: The arena, and a band on both sides that nothing may be written to.
    """

    name: str
    plan: Plan
    executor: Executor
    memory: torch.Tensor


class Subject:
    """A node of a compiled graph, as it lies there, with seeded operands.

    Args:
        graph: After lowering took groups apart.
        node: One of its nodes.
        target: Where it runs.
    """

    def __init__(self, graph: Graph, node: Node, target: Tunable) -> None:
        self._graph, self._node, self._target, self._on = graph, node, target, target.on
        self._store = WeightStore(target.on, graph.param_by_name)
        reads = [name for name in dict.fromkeys(node.inputs) if not graph.is_param(name)]
        inputs = tuple(Value(name, graph.type_of(name)) for name in reads)
        outputs = tuple(value.name for value in node.outputs)
        part = Graph(node.name, inputs, graph.params, (node,), outputs)
        self._part, self._arrays = part, example_inputs(part)

    def bind(self, candidate: Candidate) -> Bound:
        """A way on memory of its own; compiles its kernels.

        Raises:
            Refused: where a kernel cannot take the values as they lie.
        """
        target = type(self._target)(self._on, candidate.policy(self._node, base_of(self._target)))
        lowered = target.alone(self._graph, self._node)
        # The operands outlive the node: nothing is written over them.
        kept = (*self._arrays, *self._part.outputs)
        plan = plan_memory(lowered, tuple(self._arrays), kept)
        (memory,) = allocate([plan.arena_bytes + 2 * GUARD_BYTES], self._on.memory)
        arena = memory[GUARD_BYTES:][: plan.arena_bytes]
        executor = Executor(self._part, plan, self._on, self._store, arena)
        return Bound(candidate.name, plan, executor, memory)

    def check(self, bound: Bound) -> tuple[Deviation, str | None]:
        """How far off a way is, and what is wrong with it, if anything.

        Its memory is NaN before. Only results, and what its own steps hand on, may change.
        """
        executor, memory = bound.executor, bound.memory
        memory.fill_(-1)  # all bits set: NaN in every floating-point format
        self._load(bound, poison=True)
        operands = {name: self._operand(executor, name) for name in self._node.inputs}
        before = memory.clone()
        executor.run()
        self._on.synchronize()
        outputs = self._node.outputs
        computed = {value.name: read(executor, value.name) for value in outputs}
        dtypes = {value.name: value.type.dtype for value in outputs}
        node, found = self._node, arithmetic(bound.plan.steps)
        worst = deviation(node.members, operands, computed, dtypes, found)
        self._erase(bound)
        beyond = None if torch.equal(memory, before) else "it writes beside its results"
        return worst, worst.problem or beyond

    def _load(self, bound: Bound, *, poison: bool = False) -> None:
        """Put the operands where they lie; images that lie nowhere are channels last, as most ways
        of torch leave them."""
        values, locations = bound.executor.value, bound.plan.locations
        rounded = [n for n in self._arrays if n in locations and locations[n].tf32]
        arrays = self._arrays | {name: tf32(self._arrays[name]) for name in rounded}
        tensors = {name: to_tensor(array) for name, array in arrays.items()}
        free = {name: _channels_last(t) for name, t in tensors.items() if name not in locations}
        bound.executor.load(free, poison=poison)
        for name in tensors.keys() - free.keys():
            self._on.copy(tensors[name], values(name))

    def _operand(self, executor: Executor, name: str) -> Array:
        if self._graph.is_param(name):
            return weights(self._graph.param_by_name[name])
        return read(executor, name)

    def _erase(self, bound: Bound) -> None:
        """Set all bits of what a way may write to."""
        locations = bound.plan.locations
        placed = [name for name in (*self._arrays, *self._part.outputs) if name in locations]
        for name in placed:
            if name in self._part.outputs:
                value = bound.executor.value(name)
                value.view(_BITS[value.dtype.itemsize]).fill_(-1)
        values = {locations[name].buffer.name for name in placed}
        for slot in bound.plan.slots:
            if slot.name not in values:
                bound.memory[GUARD_BYTES + slot.offset :][: slot.nbytes].fill_(-1)

    def sample(self, bound: Bound) -> float:
        """Seconds of a run, on operands that a node before has just stored."""
        self._load(bound)
        return timed(bound.executor.run, self._on)


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def trials(
    subject: Subject,
    ways: Sequence[Candidate],
    tell: Callable[[str], object],
    in_time: Callable[[], bool],
) -> tuple[Trial, ...] | None:
    """Try all ways of a node; None when the time is up before that.

    A way that is wrong, or that cannot be compiled, is told and not timed. The first is the
    model's, whose errors go on.
    """
    bounds: dict[str, Bound] = {}
    found: dict[str, Trial] = {}
    for candidate in ways:
        if not in_time():
            return None
        tell(f"trying {candidate.name}")
        try:
            bound = subject.bind(candidate)
            worst, problem = subject.check(bound)
        except (Refused, KernelFailed, RuntimeError, ValueError) as error:
            if candidate is ways[0]:
                raise
            said = str(error).strip().partition("\n")[0] or type(error).__name__
            found[candidate.name] = Trial(
                candidate.name, None, 0.0, 0.0, f"it does not run: {said}"
            )
            continue
        found[candidate.name] = Trial(candidate.name, None, worst.error, worst.share, problem)
        if problem is None:
            bounds[candidate.name] = bound
    tell(f"timing {len(bounds)} ways")
    for way, timing in _timings(subject, bounds).items():
        found[way] = Trial(way, timing, found[way].error, found[way].share)
    return tuple(found[candidate.name] for candidate in ways)


def _timings(subject: Subject, bounds: Mapping[str, Bound]) -> dict[str, Timing]:
    """The times of several ways, which take turns."""
    takes = {way: partial(subject.sample, bound) for way, bound in bounds.items()}
    with torch.inference_mode():
        samples = interleave(takes, seconds=SECONDS)
    return {way: Timing.of(own) for way, own in samples.items()}
