"""Plans bound to memory: an arena for what kernels read and write, results kept beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, groupby
from typing import Any

import torch

from graphcnn import settings
from graphcnn.errors import SanitizerFault
from graphcnn.ir import Array, Graph, Param, is_frozen, let_go
from graphcnn.plan import Address, Buffer, Call, Device, Location, Packing, Plan, Step
from graphcnn.plan.memory import ALIGNMENT, check_sharing
from graphcnn.runtime.boundary import empty, give_back, to_tensor, torch_dtype
from graphcnn.runtime.loans import Loans

# Masked lanes of an asynchronous copy still translate their address: every block of memory keeps
# this distance from unmapped pages. The kernels promise not to reach further (MASKED_REACH).
GUARD_BYTES = 4 << 20


class WeightStore:
    """A model's constants on its device, shared by the plans of all batch sizes.

    On the CPU, params that nobody can write to are read where they are, if kernels want them as
    they lie there.

    Attributes:
        tensors: Packed weights, by name.
        params: Params as calls read them, by name.
        lent: Names of the packed weights whose memory is the graph's.
    """

    def __init__(self, device: Device, given: Mapping[str, Param]) -> None:
        self._device, self._given = device, given
        self.tensors: dict[str, torch.Tensor] = {}
        self.params: dict[str, torch.Tensor] = {}
        self.lent: frozenset[str] = frozenset()
        self._homes: list[torch.Tensor] = []
        self._packings: dict[str, Packing] = {}

    def pack(self, weights: Iterable[Packing]) -> None:
        """Pack what is not there yet, one after the other.

        Raises:
            MissingWeights: when a param has no data.
        """
        missing = [weight for weight in weights if weight.name not in self.tensors]
        plain = {w.name: w.pack(self._given) for w in missing if w.is_plain}
        lent = self._lend(plain)
        self.tensors.update(lent)
        self.lent |= lent.keys()
        self._packings.update({weight.name: weight for weight in missing if weight.name in lent})
        own = [weight for weight in missing if weight.name not in lent]
        for weight, tensor in zip(own, self._allocate(own), strict=True):
            tensor.copy_(to_tensor(weight.pack(self._given).reshape(-1)))
            self.tensors[weight.name], self._packings[weight.name] = tensor, weight
            for source in weight.sources:
                let_go(self._given[source].values)

    def _lend(self, arrays: Mapping[str, Array]) -> dict[str, torch.Tensor]:
        """Those of some packed arrays that are params as they are, and that kernels may read."""
        if self._device.memory.type != "cpu":
            return {}
        flat = {n: array.reshape(-1) for n, array in arrays.items() if is_frozen(array)}
        return {name: to_tensor(array) for name, array in flat.items()}

    def _allocate(self, weights: Sequence[Packing]) -> list[torch.Tensor]:
        if not weights:
            return []
        homes = allocate([weight.nbytes for weight in weights], self._device.memory)
        # All share one block of memory; under the sanitizer, which has no streams, they do not.
        self._homes.append(homes[0])
        return [h.view(torch_dtype(w.dtype)) for w, h in zip(weights, homes, strict=True)]

    def packed(self, given: Mapping[str, Param]) -> dict[str, Array]:
        """What is packed so far, made of other values.

        Raises:
            MissingWeights: when a param has no data.
        """
        return {name: weight.pack(given) for name, weight in [*self._packings.items()]}

    def replace(self, given: Mapping[str, Param], packed: Mapping[str, Array]) -> bool:
        """Take other values; `packed` are those of them that are packed already.

        Returns:
            Whether some of them are elsewhere than where kernels have been told to read.
        """
        rest = {name: w.pack(given) for name, w in self._packings.items() if name not in packed}
        arrays = {**packed, **rest}
        lent = self._lend(arrays)
        own = [self._packings[name] for name in sorted(self.lent - lent.keys())]
        homes = self._allocate(own)
        moved = bool(self.lent or lent)
        self._given, self.lent = given, frozenset(lent)
        self.tensors.update(lent)
        self.tensors.update({w.name: home for w, home in zip(own, homes, strict=True)})
        for name in arrays.keys() - lent.keys():
            self.tensors[name].copy_(to_tensor(arrays[name].reshape(-1)))
        # These may be the memory of the old values, which are not ours.
        names = [*self.params]
        self.params.clear()
        self.enter(names)
        return moved

    def enter(self, names: Iterable[str]) -> None:
        """Take the params among some names as they are.

        Raises:
            MissingWeights: when one has no data.
        """
        for name in names:
            if name in self._given and name not in self.params:
                param = self._given[name]
                dtype = torch_dtype(param.type.dtype)
                self.params[name] = to_tensor(param.values).to(self._device.memory, dtype)

    def hold(self) -> None:
        """Keep the memory, once freed, for the work of the current stream."""
        lent = (self.tensors[name] for name in self.lent)
        for home in (*self._homes, *lent, *self.params.values()):
            self._device.hold(home)


class Executor:
    """A plan that is ready to run. Not safe for two threads at once.

    Kernels read and write an arena, or, under the sanitizer, buffers of exact size. What a call
    returns is copied there where it has a place, and otherwise freed after its last reader. Inputs
    and outputs of kernels may lie in memory of the caller's instead.

    Attributes:
        graph: What it computes.
        plan: How.
        loans: Those that do.

    Args:
        graph: What it computes, for its own batch size.
        plan: Its steps.
        device: Where they run.
        weights: The constants of the graph.
        arena: At least as large as the plan's; other executors may use it in their turn.

    Raises:
        MissingWeights: when a param has no data.
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
        self._rows = [*self._in_rows()]
        sizes = {slot.name: slot.nbytes for slot in plan.slots}
        self.loans = Loans(graph, sizes, partial(self._address, launches))

    def _in_rows(self) -> Iterator[Callable[[], None] | int]:
        """What `run` does: launches in rows, and between them calls, by the number of the step."""
        for kernels, numbered in groupby(enumerate(self._launches), lambda at: at[1] is not None):
            numbers, launches = zip(*numbered, strict=True)
            if kernels:
                yield self._device.in_a_row(launches)
            else:
                yield from numbers

    def _address(self, launches: Sequence[Callable[[], None]], name: str) -> Address | None:
        """Where launches find a value's own buffer, if it is row-major, as callers' arrays are."""
        at = self.plan.locations[name]
        if at.buffer != Buffer(name) or not self._view(at).is_contiguous():
            return None
        parts = [tensor for buffer, tensor in self._resolved.items() if buffer.name == name]
        return self._device.address(launches, self._slots[name], parts)

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

    def load(self, inputs: Mapping[str, torch.Tensor], *, poison: bool = False) -> None:
        """Put a call's tensors where the steps read them, converting dtype and device, or let these
        read them where they are.

        Args:
            inputs: A tensor per graph input.
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
        for name, tensor in inputs.items():
            if self.loans.lend(name, tensor):
                continue
            if name in self._slots:
                self._store(name, tensor)
            else:
                dtype = torch_dtype(self.graph.type_of(name).dtype)
                self._values[name] = tensor.to(self._device.memory, dtype)

    def run(self) -> None:
        """Run all steps.

        Raises:
            SanitizerFault: under the sanitizer, naming the node.
        """
        if self._shadow is not None:
            for step, run in self.steps():
                with _named(step):
                    run()
            return
        for row in self._rows:
            if isinstance(row, int):
                self._call(self.plan.steps[row], self._freed[row])
            else:
                row()

    def results(self, like: Any) -> list[Any]:
        """Run all steps, and give the outputs, in their order, in the kind of an array. Kernels
        write to these themselves where they can.

        Raises:
            SanitizerFault: under the sanitizer, naming the node.
        """
        written = {}
        for name, type in self.loans.outputs.items():
            array = empty(type, like)
            if self.loans.lend(name, to_tensor(array)):
                written[name] = array
        self.run()
        return [
            written.pop(name)  # where it is returned twice, it is copied the second time
            if name in written
            else give_back(self.value(name), self.graph.type_of(name).dtype, like, self._device)
            for name in self.graph.outputs
        ]

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


@torch.inference_mode(False)  # torch lets nobody write to a tensor made inside, once outside
def allocate(sizes: Sequence[int], memory: torch.device) -> list[torch.Tensor]:
    """Aligned runs of bytes in one block with guard bands on both sides.

    Under the sanitizer each is an allocation of exactly its size, whose borders it can see.
    """
    if settings.sanitize():
        return [torch.empty(nbytes, dtype=torch.int8, device=memory) for nbytes in sizes]
    starts = list(accumulate((-(-n // ALIGNMENT) * ALIGNMENT for n in sizes), initial=GUARD_BYTES))
    total = starts[-1] + GUARD_BYTES + ALIGNMENT
    block = torch.empty(total, dtype=torch.int8, device=memory)
    shift = -block.data_ptr() % ALIGNMENT
    return [block[shift + s :][:n] for s, n in zip(starts, sizes, strict=False)]
