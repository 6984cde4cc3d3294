"""Plans bound to memory: an arena for what kernels read and write, results kept beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, groupby
from typing import Any

import torch

from graphcnn import settings
from graphcnn.errors import SanitizerFault
from graphcnn.ir import Array, Graph, Param
from graphcnn.plan import Buffer, Call, Device, Packing, Plan, Step
from graphcnn.plan.memory import ALIGNMENT, check_sharing
from graphcnn.runtime.boundary import to_tensor, torch_dtype

# Masked lanes of an asynchronous copy still translate their address: every block of memory keeps
# this distance from unmapped pages. The kernels promise not to reach further (MASKED_REACH).
GUARD_BYTES = 4 << 20


class WeightStore:
    """A model's constants on its device, shared by the plans of all batch sizes.

    Attributes:
        tensors: Packed weights, by name.
        params: Params as calls read them, by name.
    """

    def __init__(self, device: Device, given: Mapping[str, Param]) -> None:
        self._device, self._given = device, given
        self.tensors: dict[str, torch.Tensor] = {}
        self.params: dict[str, torch.Tensor] = {}
        self._homes: list[torch.Tensor] = []
        self._packings: dict[str, Packing] = {}

    @contextmanager
    def packing(self, weights: Iterable[Packing]) -> Iterator[None]:
        """Pack what is not there yet, beside what the block does: kernels can be told already where
        it will lie. It is there behind the block.

        Raises:
            MissingWeights: when a param has no data.
        """
        missing = [weight for weight in weights if weight.name not in self.tensors]
        if not missing:
            yield
            return
        for name in {name for weight in missing for name in weight.sources}:
            _ = self._given[name].values  # before kernels are compiled, rather than after
        homes = allocate([weight.nbytes for weight in missing], self._device.memory)
        for weight, home in zip(missing, homes, strict=True):
            self.tensors[weight.name] = home.view(torch_dtype(weight.dtype))
        try:
            with ThreadPoolExecutor(1) as pool:
                packed = pool.submit(self._fill, missing)
                yield
                packed.result()
        except BaseException:
            for weight in missing:
                del self.tensors[weight.name]
            raise
        # All share one block of memory; under the sanitizer, which has no streams, they do not.
        self._homes.append(homes[0])
        self._packings.update({weight.name: weight for weight in missing})

    def _fill(self, weights: Iterable[Packing]) -> None:
        for weight in weights:
            array = weight.pack(self._given)
            self.tensors[weight.name].copy_(torch.from_numpy(array.reshape(-1)))

    def packed(self, given: Mapping[str, Param]) -> dict[str, Array]:
        """What is packed so far, made of other values.

        Raises:
            MissingWeights: when a param has no data.
        """
        return {name: weight.pack(given) for name, weight in [*self._packings.items()]}

    def replace(self, given: Mapping[str, Param], packed: Mapping[str, Array]) -> None:
        """Take other values, where kernels have been told to read; `packed` are those of them that
        are packed already.
        """
        rest = {name: w.pack(given) for name, w in self._packings.items() if name not in packed}
        self._given = given
        for name, array in (*packed.items(), *rest.items()):
            self.tensors[name].copy_(torch.from_numpy(array.reshape(-1)))
        # These may be the memory of the old values, which are not ours.
        names = [*self.params]
        self.params.clear()
        self.enter(names)

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
        for home in (*self._homes, *self.params.values()):
            self._device.hold(home)


class Executor:
    """A plan that is ready to run. Not safe for two threads at once.

    Kernels read and write an arena, or, under the sanitizer, buffers of exact size. What a call
    returns is copied there where it has a place, and otherwise freed after its last reader.

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
        works = [step.work for step in plan.steps]
        kernels = [work for work in works if not isinstance(work, Call)]
        with weights.packing(plan.weights):
            ready = iter(device.prepare(kernels, self._resolve))
        self._launches = [None if isinstance(work, Call) else next(ready) for work in works]
        self._rows = [*self._in_rows()]

    def _in_rows(self) -> Iterator[Callable[[], None] | int]:
        """What `run` does: launches in rows, and between them calls, by the number of the step."""
        for kernels, numbered in groupby(enumerate(self._launches), lambda at: at[1] is not None):
            numbers, launches = zip(*numbered, strict=True)
            if kernels:
                yield self._device.in_a_row(launches)
            else:
                yield from numbers

    def _resolve(self, buffer: Buffer) -> torch.Tensor:
        if buffer.name in self._slots:
            slot = self._slots[buffer.name]
            tensor = slot.view(torch_dtype(self._types[buffer.name].dtype))
        else:
            tensor = self._weights.tensors[buffer.name]
        return tensor[buffer.offset :]

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
        """Put a call's tensors where the steps read them, converting dtype and device.

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
        self._values = dict(self._weights.params)
        for name, tensor in inputs.items():
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
        if name not in self._views:
            self._views[name] = self._view(name)
        return self._views[name]

    @torch.inference_mode(False)  # what is made inside, torch lets nobody use freely outside
    def _view(self, name: str) -> torch.Tensor:
        at = self.plan.locations[name]
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
