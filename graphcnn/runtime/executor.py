"""Plans bound to memory: the same loop over steps, on an arena or on operators' own results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Protocol

import torch

from graphcnn import settings
from graphcnn.ir import Graph, Param
from graphcnn.plan import Buffer, KernelTarget, OperatorTarget, PackedWeight, Plan, Shadow, Step
from graphcnn.plan.memory import ALIGNMENT, check_sharing
from graphcnn.runtime.boundary import to_tensor, torch_dtype

# Masked lanes of an asynchronous copy still translate their address: every block of memory keeps
# this distance from unmapped pages. The kernels promise not to reach further (MASKED_REACH).
GUARD_BYTES = 4 << 20


class Executor(Protocol):
    """A plan that is ready to run. Not safe for two threads at once.

    Attributes:
        graph: What it computes, for its own batch size.
        plan: Its steps.
    """

    graph: Graph
    plan: Plan

    def load(self, inputs: Mapping[str, Any], *, poison: bool = False) -> None:
        """Put a call's arrays where the steps read them.

        Args:
            inputs: An array per graph input.
            poison: Whether to fill the memory of all activations with NaN first, so that reading
                what no step has written shows. Nothing happens where steps allocate their results.
        """

    def steps(self) -> Iterator[tuple[Step, Callable[[], None]]]:
        """The steps in order, each with what runs it."""

    def value(self, name: str) -> Any:
        """A value of the graph as it is now, in its logical shape; later steps may overwrite it."""


class WeightStore:
    """Packed weights on the device, shared by the plans of all batch sizes."""

    def __init__(self, target: KernelTarget, params: Mapping[str, Param]) -> None:
        self.target, self.params = target, params
        self.tensors: dict[str, torch.Tensor] = {}
        self._homes: list[torch.Tensor] = []

    def add(self, weights: tuple[PackedWeight, ...]) -> None:
        """Pack what is not there yet.

        Raises:
            MissingWeights: when a param has no data.
        """
        missing = [weight for weight in weights if weight.name not in self.tensors]
        if not missing:
            return
        packed = [self.target.pack(weight, self.params) for weight in missing]
        sizes = [array.size * dtype.itemsize for array, dtype in packed]
        homes = allocate(sizes, self.target.on.memory)
        # All share one block of memory; under the sanitizer, which has no streams, they do not.
        self._homes.append(homes[0])
        for weight, (array, dtype), home in zip(missing, packed, homes, strict=True):
            tensor = home.view(torch_dtype(dtype))
            tensor.copy_(torch.from_numpy(array.reshape(-1)))
            self.tensors[weight.name] = tensor

    def hold(self) -> None:
        """Keep the memory, once freed, for the work of the current stream."""
        for home in self._homes:
            self.target.on.hold(home)


class ArenaExecutor:
    """Kernels that read and write an arena, or, under the sanitizer, buffers of exact size.

    `arena` may be larger than the plan's, and other executors may use it in their turn.
    """

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        target: KernelTarget,
        weights: WeightStore,
        arena: torch.Tensor,
    ) -> None:
        self.graph, self.plan, self._weights, self._arena = graph, plan, weights, arena
        weights.add(plan.weights)
        self._device = target.on
        if settings.sanitize():
            homes = allocate([slot.nbytes for slot in plan.slots], target.on.memory)
        else:
            homes = [arena[slot.offset :][: slot.nbytes] for slot in plan.slots]
        self._slots = {slot.name: home for slot, home in zip(plan.slots, homes, strict=True)}
        self._types = {location.buffer.name: location.type for location in plan.locations.values()}
        places = {slot.name: (self._slots[slot.name], slot.offset) for slot in plan.slots}
        self._shadow = target.on.shadow(plan.arena_bytes, places)
        self._steps = tuple(
            (step, target.prepare(step.launch, self._resolve)) for step in plan.steps
        )
        if self._shadow is not None and self._steps:
            check_sharing(plan)
            *before, (step, launch) = self._steps
            self._steps = (*before, (step, partial(self._finish, launch, self._shadow)))

    def _resolve(self, buffer: Buffer) -> torch.Tensor:
        if buffer.name in self._slots:
            slot = self._slots[buffer.name]
            tensor = slot.view(torch_dtype(self._types[buffer.name].dtype))
        else:
            tensor = self._weights.tensors[buffer.name]
        return tensor[buffer.offset :]

    def _finish(self, launch: Callable[[], None], shadow: Shadow) -> None:
        """The last step under the sanitizer, which then looks at the outputs."""
        launch()
        for name in self.graph.outputs:
            location = self.plan.locations.get(name)
            if location is not None and location.buffer.name in self._slots:
                shadow.check(name, self.value(name))

    def load(self, inputs: Mapping[str, Any], *, poison: bool = False) -> None:
        """Copy a call's tensors into their slots, converting dtype and device."""
        self._device.hold(self._arena)
        self._weights.hold()
        if self._shadow is not None:
            self._shadow.begin([name for name in inputs if name in self._slots])
        for slot in self._slots.values() if poison else ():
            slot.fill_(-1)  # all bits set: NaN in every floating-point format
        for name, tensor in inputs.items():
            if name in self._slots:
                self._device.copy(tensor, self.value(name))

    def steps(self) -> Iterator[tuple[Step, Callable[[], None]]]:
        """The steps in order, each with its launch."""
        return iter(self._steps)

    def value(self, name: str) -> torch.Tensor:
        """A view of a value as it is in memory now, in its logical shape; a param's own data."""
        if name not in self.plan.locations:
            return to_tensor(self.graph.param_by_name[name].values)
        location = self.plan.locations[name]
        return self._resolve(location.buffer).as_strided(location.type.shape, location.strides)


class OperatorExecutor:
    """Calls that allocate their results, each freed after its last reader.

    `constants` are the params as the operators take them.
    """

    def __init__(
        self, graph: Graph, plan: Plan, target: OperatorTarget, constants: Mapping[str, Any]
    ) -> None:
        self.graph, self.plan, self._target, self._constants = graph, plan, target, constants
        self._values: dict[str, Any] = {}
        last = {name: step.node for step in plan.steps for name in step.reads}
        self._dying = {
            step.node: [
                name
                for name in dict.fromkeys(step.reads)
                if last[name] == step.node and name not in graph.outputs
            ]
            for step in plan.steps
        }

    def load(self, inputs: Mapping[str, Any], *, poison: bool = False) -> None:
        """Take a call's arrays as they are, in the form the operators want."""
        types = {value.name: value.type.dtype for value in self.graph.inputs}
        for constant in self._constants.values():
            self._target.on.hold(constant)
        self._values = dict(self._constants)
        for name, array in inputs.items():
            self._values[name] = self._target.enter(array, types[name])

    def steps(self) -> Iterator[tuple[Step, Callable[[], None]]]:
        """The steps in order, each with its call."""
        for step in self.plan.steps:
            yield step, lambda step=step: self._run(step)  # type: ignore[misc]  # bound per step

    def _run(self, step: Step) -> None:
        assert callable(step.launch)
        results = step.launch(*(self._values[name] for name in step.reads))
        self._values.update(zip(step.writes, results, strict=True))
        for name in self._dying[step.node]:
            del self._values[name]

    def value(self, name: str) -> Any:
        """A value, as long as a later step reads it or it is an output."""
        return self._values[name]


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
