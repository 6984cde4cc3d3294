"""Plans bound to memory: an arena for what kernels read and write, results kept beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch.autograd import profiler
from torch.autograd.graph import increment_version

from graphcnn import settings
from graphcnn.errors import CaptureFailed, SanitizerFault
from graphcnn.ir import CompileLog, Graph
from graphcnn.plan import Address, Buffer, Call, Device, Location, Plan, Step, Target
from graphcnn.plan.memory import check_sharing
from graphcnn.runtime.boundary import empty, in_place, to_tensor, torch_dtype
from graphcnn.runtime.loans import Loans
from graphcnn.runtime.memory import allocate, taking
from graphcnn.runtime.staging import Staging
from graphcnn.runtime.weights import WeightStore


class Executor:
    """A plan that is ready to run. Not safe for two threads at once.

    Kernels read and write an arena, or, under the sanitizer, buffers of exact size. What a call
    returns is copied there where it has a place, and otherwise freed after its last reader. Inputs
    and outputs of kernels may lie in memory of the caller's instead.

    Attributes:
        graph: What it computes.
        plan: How.
        loans: Those that do.
        staging: What becomes of arrays that are not torch's.

    Args:
        graph: What it computes, for its own batch size.
        plan: Its steps.
        device: Where they run.
        weights: The constants of the graph.
        arena: At least as large as the plan's; other executors may use it in their turn.

    Raises:
        MissingWeights: when a param has no data.
        CaptureFailed: when launches cannot be captured in a CUDA graph, naming the node.
    """

    def __init__(
        self, graph: Graph, plan: Plan, device: Device, weights: WeightStore, arena: torch.Tensor
    ) -> None:
        self.graph, self.plan = graph, plan
        self._device, self._weights, self._arena = device, weights, arena
        weights.pack(plan.weights)
        if settings.sanitize():
            homes = allocate([slot.nbytes for slot in plan.slots], device.memory)
        else:
            homes = [arena[slot.offset :][: slot.nbytes] for slot in plan.slots]
        self._slots = {slot.name: home for slot, home in zip(plan.slots, homes, strict=True)}
        self._types = {location.buffer.name: location.type for location in plan.locations.values()}
        calls = (step for step in plan.steps if isinstance(step.work, Call))
        weights.enter((*graph.outputs, *(name for step in calls for name in step.reads)))
        self._values: dict[str, Any] = dict(weights.params)
        self._views: dict[str, torch.Tensor] = {}  # of the arena, which stays where it is
        self._resolved: dict[Buffer, torch.Tensor] = {}
        places = {slot.name: (self._slots[slot.name], slot.offset) for slot in plan.slots}
        self._shadow = device.shadow(plan.arena_bytes, places)
        if self._shadow is not None:
            check_sharing(plan)
        last = {name: index for index, step in enumerate(plan.steps) for name in step.reads}
        stay = {*graph.outputs, *plan.locations, *weights.params}
        self._freed = [
            {name for name in step.reads if last[name] == index} - stay
            for index, step in enumerate(plan.steps)
        ]
        kernels = [step for step in plan.steps if not isinstance(step.work, Call)]
        launches = device.prepare(kernels, self._resolve)
        ready = iter(launches)
        self._launches = [
            None if isinstance(step.work, Call) else next(ready) for step in plan.steps
        ]
        sizes = {slot.name: slot.nbytes for slot in plan.slots}
        # Before the rows: launches that were asked for an address know that it may change.
        self.loans = Loans(graph, sizes, partial(self._address, launches), device.memory)
        self._rows = [*self._in_rows()]
        self.staging = Staging(device)

    def _in_rows(self) -> Iterator[Callable[[], None] | int]:
        """What `run` does: launches in rows, and between them calls, by the number of the step."""
        for kernels, numbered in groupby(enumerate(self._launches), lambda at: at[1] is not None):
            numbers, launches = zip(*numbered, strict=True)
            if not kernels:
                yield from numbers
                continue
            try:
                yield self._device.in_a_row(launches)
            except CaptureFailed as failure:
                at_fault = [node for node in self.graph.nodes if node.name == failure.node]
                failure.where = at_fault[0].place if at_fault else failure.where
                raise

    def _address(self, launches: Sequence[Callable[[], None]], name: str) -> Address | None:
        """Where launches find a value's own buffer, if it is row-major, as callers' arrays are."""
        at = self.plan.locations[name]
        if at.buffer != Buffer(name) or not self._view(at).is_contiguous():
            return None
        parts = [tensor for buffer, tensor in self._resolved.items() if buffer.name == name]
        readers = [s.work for s in self.plan.steps if name in s.reads]
        reach = max(
            (work.masked_reach for work in readers if not isinstance(work, Call)), default=0
        )
        return self._device.address(launches, self._slots[name], parts, reach)

    def _resolve(self, buffer: Buffer) -> torch.Tensor:
        if buffer not in self._resolved:
            if buffer.name in self._slots:
                slot = self._slots[buffer.name]
                tensor = slot.view(torch_dtype(self._types[buffer.name].dtype))
            else:
                tensor = self._weights.tensors[buffer.name]
            self._resolved[buffer] = tensor[buffer.offset :]
        return self._resolved[buffer]

    def _call(self, step: Step, freed: set[str]) -> None:
        """Run a call, and let go of the values that no later step reads."""
        assert isinstance(step.work, Call)
        self._check(step.reads)
        result = step.work.function(*map(self.value, step.reads))
        (written,) = step.writes
        if written in self.plan.locations:
            self._store(written, to_tensor(result))
        else:
            self._values[written] = result
        for name in freed:
            del self._values[name]

    def _store(self, name: str, tensor: torch.Tensor) -> None:
        """Copy a tensor to a value's place in the arena."""
        self._device.copy(tensor, self.value(name))
        if self._shadow is not None:
            self._shadow.fill(self.value(name))

    def _finish(self, run: Callable[[], None]) -> None:
        """The last step under the sanitizer, which then looks at the outputs."""
        run()
        self._check(self.graph.outputs)

    def _check(self, names: Iterable[str]) -> None:
        """Let the sanitizer look at those of some values that live in the arena."""
        if self._shadow is not None:
            for name in names:
                if name in self.plan.locations:
                    self._shadow.check(name, self.value(name))

    def load(self, inputs: Mapping[str, Any], *, poison: bool = False) -> None:
        """Put a call's arrays where the steps read them, converting dtype and device, or let these
        read them where they are.

        Args:
            inputs: A tensor or array of NumPy per graph input.
            poison: Whether to fill the memory of all activations with NaN first, so that reading
                what no step has written shows. Values that calls keep have no memory to fill.
        """
        self._device.hold(self._arena)
        self._weights.hold()
        if self._shadow is not None:
            self._shadow.begin()
        for slot in self._slots.values() if poison else ():
            slot.fill_(-1)  # all bits set: NaN in every floating-point format
        self.loans.take_back()
        self._values = dict(self._weights.params)
        for name, array in inputs.items():
            type = self.graph.type_of(name)
            staged = self.staging.put(name, array, type)
            tensor = to_tensor(array) if staged is None else staged
            if staged is None and self._lend(name, tensor):
                continue
            if name in self._slots:
                self._store(name, tensor)
            else:
                self._values[name] = tensor.to(self._device.memory, torch_dtype(type.dtype))
        self.staging.sent()

    def _lend(self, name: str, tensor: torch.Tensor) -> bool:
        """Whether a value lies in the memory of a tensor now, for the current stream."""
        lent = self.loans.lend(name, tensor)
        if lent:
            self._device.hold(tensor)
        return lent

    def run(self) -> None:
        """Run all steps. While a profiler of torch's runs, each is launched by itself and has a
        range of its own, which bears the name of its node, also among those of NVTX.

        Raises:
            SanitizerFault: under the sanitizer, naming the node.
        """
        if self._shadow is not None or profiler._is_profiler_enabled:
            for step, run in self.steps():
                with _named(step), profiler.record_function(f"{step.node}: {step.label}"):
                    run()
            return
        for row in self._rows:
            if isinstance(row, int):
                self._call(self.plan.steps[row], self._freed[row])
            else:
                row()

    def results(self, like: Any, out: list[Any] | None = None) -> list[Any]:
        """Run all steps, and give the outputs, in their order. Kernels write to them where they are
        given, where they can.

        Args:
            like: An array of the kind that is made for each.
            out: Arrays of the caller's for them, instead.

        Raises:
            OutOfMemory: when there is no room for the outputs.
            SanitizerFault: under the sanitizer, naming the node.
        """
        outputs = [(name, self.graph.type_of(name)) for name in self.graph.outputs]
        if out is None:
            with taking(sum(type.nbytes for _, type in outputs), self._device.memory):
                arrays = [empty(type, like) for _, type in outputs]
        else:
            arrays = out
        written = set()
        for name in self.loans.outputs:
            index = self.graph.outputs.index(name)  # returned twice, it is copied the second time
            if self._lend_result(name, arrays[index]):
                written.add(index)
        self.run()
        if out is not None:  # autograd hears of copies, but not of what kernels write
            tensors = [out[i] for i in written if isinstance(out[i], torch.Tensor)]
            increment_version(tensor for tensor in tensors if not tensor.is_inference())
        rest = [
            (name, type, arrays[i]) for i, (name, type) in enumerate(outputs) if i not in written
        ]
        self.staging.deliver((self.value(name), type, array) for name, type, array in rest)
        return arrays

    def _lend_result(self, name: str, array: Any) -> bool:
        """Whether an output is an array of the caller's now."""
        if not isinstance(array, torch.Tensor) and not self.staging.direct:
            return False
        tensor = in_place(array)
        return tensor is not None and self._lend(name, tensor)

    def steps(self) -> Iterator[tuple[Step, Callable[[], None]]]:
        """The steps in order, each with what runs it."""
        for step, launch, freed in zip(self.plan.steps, self._launches, self._freed, strict=True):
            run = launch or partial(self._call, step, freed)
            if self._shadow is not None and step is self.plan.steps[-1]:
                run = partial(self._finish, run)
            yield step, run

    def value(self, name: str) -> Any:
        """A value as it is now, in its logical shape: later steps may overwrite what is a view of
        the arena, and free what a call has kept, unless it is an output.
        """
        if name in self._values:
            return self._values[name]
        at = self.plan.locations[name]
        if at.buffer.name in self.loans.lent:
            lent = self.loans.lent[at.buffer.name].view(-1)[at.buffer.offset :]
            return lent.as_strided(at.type.shape, at.strides)
        if name not in self._views:
            self._views[name] = self._view(at)
        return self._views[name]

    @torch.inference_mode(False)  # what is made inside, torch lets nobody use freely outside
    def _view(self, at: Location) -> torch.Tensor:
        return self._resolve(at.buffer).as_strided(at.type.shape, at.strides)


@contextmanager
def _named(step: Step) -> Iterator[None]:
    """Let a fault of the sanitizer name the node at whose step it was found."""
    try:
        yield
    except SanitizerFault as fault:
        fault.where = f"{fault.where}, at node '{step.node}'"
        raise


# Makes an executor of a plan, or of one in its place, by what binds plans to memory.
Bind = Callable[[Callable[[Plan], Executor], Plan], Executor]
# Makes that for a target; the log is told of plans that take another's place.
Binder = Callable[[Target, CompileLog], Bind]


def plain_binder(*_: object) -> Bind:
    """What binds plans as they are."""
    return lambda make, plan: make(plan)
