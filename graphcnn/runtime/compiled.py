"""A compiled network: call it with arrays, get arrays back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from graphcnn import forks, settings
from graphcnn.arguments import batch_sizes, count, flag
from graphcnn.errors import BatchError, InputKindError, TooLarge
from graphcnn.ir import Chosen, CompileLog, Graph, Refusal, batch_of, check_graph, inline, rebatch
from graphcnn.plan import Device, Lowered, Plan, Target, plan_memory
from graphcnn.runtime.boundary import check_device, check_inputs, give_back, to_tensor
from graphcnn.runtime.executor import Executor, WeightStore, allocate


def check_model(model: object) -> None:
    """Check that something is a compiled model at all.

    Raises:
        InputKindError: naming what it is instead.
    """
    if not isinstance(model, CompiledModel):
        raise InputKindError(
            "this is not a compiled model",
            where="the argument model",
            got=type(model).__name__,
            wanted="what gx.compile(graph) returns",
            remedy="compile the graph first: gx.compile(graph)",
        )


class Workspace:
    """What one call at a time uses: an arena, and the plans of all batch sizes bound to it.

    Attributes:
        executors: The plans that are bound, by batch size (None: that of the model's graph).
        done: The device's event after the last call; the next one may be on another stream.
    """

    def __init__(self, device: Device) -> None:
        self.executors: dict[int | None, Executor] = {}
        self.done: Any = None
        self._memory = device.memory
        self._arena = torch.empty(0, device=self._memory)

    def arena(self, nbytes: int) -> torch.Tensor:
        """An arena of at least `nbytes`; one that is too small is let go, with all bound to it."""
        if nbytes > self._arena.nbytes:
            self.executors.clear()
            # The old one is free before there is a new one.
            self._arena = torch.empty(0, device=self._memory)
            (self._arena,) = allocate([nbytes], self._memory)
        return self._arena


class CompiledModel:
    """A network ready to run on one device.

    Calling it takes one array per graph input, by name, all NumPy or all torch, and returns the
    same kind: one array for a graph with one output, otherwise a dict by output name. Another
    batch size is planned at its first call and remembered; all share one arena, as large as the
    largest needs. Calls from several threads are safe: they take turns. So are calls from several
    CUDA streams: each is queued on its caller's current stream, behind the call before it. A call
    inside a call, from a signal handler or a finalizer, gets memory of its own.

    Attributes:
        source: The graph as the user gave it.
        graph: The graph after the passes, and after lowering took groups apart.
        plan: Steps and memory for the batch size of `graph`.
        log: What the passes, and the lowering of `graph`, did and declined, with reasons.
        target: What it was compiled for.
    """

    def __init__(self, source: Graph, graph: Graph, target: Target, log: CompileLog) -> None:
        self.source, self.graph, self.target, self.log = source, graph, target, log
        self._lock = forks.lock()
        self._idle: list[Workspace] = []
        self._weights = WeightStore(target.on, graph.param_by_name)
        self._plans: dict[int, tuple[Graph, Plan]] = {}
        self.graph, self.plan = self._plan(graph, log)

    def __call__(self, /, *arrays: object, **inputs: Any) -> Any:
        """Run the network; every array is passed by the name of its input.

        Raises:
            MissingInput, UnexpectedInput, InputKindError, InputDTypeError, InputShapeError,
                InputDeviceError: for arrays that do not fit.
            BatchError: when the graph cannot be re-planned for the call's batch size.
            TooLarge: for a batch beyond what the kernels can address.
        """
        if arrays:
            names = ", ".join(f"{value.name}=..." for value in self.graph.inputs)
            raise InputKindError(
                "the inputs of a model are passed by name",
                where=f"graph '{self.graph.name}'",
                got=f"{len(arrays)} without a name",
                remedy=f"call model({names})",
            )
        with self.loaded(inputs) as executor:
            executor.run()
            like, device = next(iter(inputs.values()), None), self.target.on
            results = {
                name: give_back(
                    executor.value(value), self.graph.type_of(value).dtype, like, device
                )
                for name, value in zip(self.source.outputs, self.graph.outputs, strict=True)
            }
        return results if len(self.source.outputs) > 1 else results[self.source.outputs[0]]

    @contextmanager
    def loaded(self, inputs: Mapping[str, Any], *, poison: bool = False) -> Iterator[Executor]:
        """The executor for a call's arrays, with these loaded; other threads wait until the end.

        Args:
            inputs: One array per graph input, by name.
            poison: Whether to fill the memory of all activations with NaN first, so that reading
                what no step has written shows.

        Raises:
            The errors of a call.
        """
        flag(poison, "poison")
        batch = check_inputs(self.graph, inputs)
        check_device(inputs, self.target.on)
        with self.turn(batch) as executor:
            tensors = {name: to_tensor(array) for name, array in inputs.items()}
            executor.load(tensors, poison=poison)
            yield executor

    @contextmanager
    def turn(self, batch: int | None = None) -> Iterator[Executor]:
        """The executor of a batch size (None: that of `graph`) for this caller alone, to the end.

        The current stream waits for the call before. The lock is reentrant, so that a call inside
        a call is not locked out for good; it finds no idle workspace, and makes one.

        Raises:
            The errors of `prepare`.
        """
        batch = batch if batch is None else count(batch, "batch", 1)
        with self._lock, self.target.on.guard():
            workspace = self._idle.pop() if self._idle else Workspace(self.target.on)
            try:
                if workspace.done is not None:
                    self.target.on.wait(workspace.done)
                yield self._executor(workspace, batch)
            finally:
                workspace.done = self.target.on.record()
                # One is kept: the outermost call's, which ends last.
                self._idle[:] = [workspace]

    def part(self, graph: Graph) -> CompiledModel:
        """A model of another graph over the same params: same target, same packed weights."""
        check_graph(graph)
        model = CompiledModel(graph, graph, self.target, CompileLog())
        model._weights = self._weights
        return model

    def prepare(self, batches: Sequence[int] = ()) -> None:
        """Compile the kernels, and take the memory, for the graph's batch size and for others.

        Raises:
            InputKindError, InvalidAttribute: for what is no sequence of batch sizes.
            MissingWeights: when a param has no data.
            BatchError: when the graph cannot be re-planned for one of them.
            TooLarge: for a batch beyond what the kernels can address.
        """
        sizes = set(batch_sizes(batches))
        if sizes:
            sizes.discard(batch_of(self.graph))
        for batch in (*sorted(sizes, reverse=True), None):
            with self.turn(batch):
                pass

    def _executor(self, workspace: Workspace, batch: int | None) -> Executor:
        if batch not in workspace.executors:
            graph, plan = self.graph, self.plan
            if batch is not None:
                if batch not in self._plans:
                    rebatch(self.source, batch)  # what refuses it may be dead, hence gone
                    self._plans[batch] = self._plan(rebatch(self.graph, batch), CompileLog())
                graph, plan = self._plans[batch]
            arena = workspace.arena(0 if settings.sanitize() else plan.arena_bytes)
            workspace.executors[batch] = Executor(graph, plan, self.target.on, self._weights, arena)
        return workspace.executors[batch]

    def _plan(self, graph: Graph, log: CompileLog) -> tuple[Graph, Plan]:
        """A plan, and the graph where the groups that it takes apart are apart."""
        inputs = tuple(value.name for value in graph.inputs)
        lowered = self._lower(graph)
        events: tuple[Refusal | Chosen, ...] = (*lowered.refusals, *lowered.choices)
        for event in events:
            log.add(event)
        apart = [refusal.node for refusal in lowered.refusals]
        return inline(graph, apart), plan_memory(lowered, inputs, graph.outputs)

    def _lower(self, graph: Graph) -> Lowered:
        try:
            return self.target.lower(graph)
        except TooLarge as error:
            most = self._largest_batch(graph)
            if not most:
                raise
            raise TooLarge(
                "the kernels cannot address a batch of this size",
                where=error.where,
                got=f"{batch_of(graph)} samples: {error.got}",
                wanted=f"at most {most} samples in a call",
                remedy="split the batch",
            ) from None

    def _largest_batch(self, graph: Graph) -> int:
        """The largest batch size below a graph's own that can be lowered; 0 if none can."""

        def fits(batch: int) -> bool:
            try:
                self.target.lower(rebatch(graph, batch))
            except (BatchError, TooLarge):
                return False
            return True

        try:
            beyond = batch_of(graph)
        except BatchError:
            return 0
        most, middle = 0, 1  # one sample first: where it does not fit, the batch is not at fault
        while beyond - most > 1:
            most, beyond = (middle, beyond) if fits(middle) else (most, middle)
            middle = (most + beyond) // 2
        return most
