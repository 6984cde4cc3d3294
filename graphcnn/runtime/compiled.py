"""A compiled network: call it with arrays, get arrays back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from graphcnn import forks, settings
from graphcnn.arguments import batch_sizes, count, flag
from graphcnn.checkpoint import load_weights
from graphcnn.errors import InputKindError, OutOfMemory, RefitRefused, shown
from graphcnn.ir import (
    Chosen,
    CompileLog,
    Graph,
    Param,
    Refusal,
    batch_of,
    by_name,
    check_graph,
    inline,
    let_go,
    rebatch,
)
from graphcnn.plan import Device, Plan, Target, plan_memory
from graphcnn.runtime.boundary import Expected, check_device, check_inputs, tensors
from graphcnn.runtime.executor import Bind, Executor, bind
from graphcnn.runtime.limits import lowered, out_of_memory
from graphcnn.runtime.memory import allocate
from graphcnn.runtime.sharing import Sharing
from graphcnn.runtime.weights import WeightStore


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
        """An arena of at least `nbytes`; one that is too small is let go, with all bound to it.

        Raises:
            OutOfMemory: when there is not as much.
        """
        if nbytes > self._arena.nbytes:
            self.clear()  # the old one is free before there is a new one
            (self._arena,) = allocate([nbytes], self._memory)
        return self._arena

    def clear(self) -> None:
        """Let the arena go, with all bound to it."""
        self.executors.clear()
        self._arena = torch.empty(0, device=self._memory)


class CompiledModel:
    """A network ready to run on one device.

    Calling it takes one array per graph input, by name or in the graph's order, all NumPy or all
    torch, and returns the same kind: one array for a graph with one output; several in the graph's
    structure, that of the imported module, or in a dict by output name. Another batch size is
    planned at its first call and remembered; all share one arena, as large as the largest needs.
    Calls from several threads are safe: they take turns. So are calls from several CUDA streams:
    each is queued on its caller's current stream, behind the call before it. A call inside a call,
    from a signal handler or a finalizer, gets memory of its own.

    Attributes:
        source: The graph as the user gave it.
        graph: The graph after the passes, and after lowering took groups apart.
        plan: Steps and memory for the batch size of `graph`.
        log: What the passes, and the lowering of `graph`, did and declined, with reasons.
        target: What it was compiled for.
        optimize: What makes `graph` of `source`, and the same of it with other weights.
        bind: What binds a plan to memory; it may change the plan.
    """

    def __init__(
        self,
        source: Graph,
        graph: Graph,
        target: Target,
        log: CompileLog,
        optimize: Callable[[Graph], Graph] = inline,
        bind: Bind = bind,
    ) -> None:
        self.source, self.graph, self.target, self.log = source, graph, target, log
        self.optimize, self._bind = optimize, bind
        self._lock, self._refits = forks.lock(), forks.lock()
        self._caller: int | None = None  # the thread that is inside of a call
        self._idle: list[Workspace] = []
        self._expected = Expected(graph, target.on)
        self._weights = WeightStore(target.on, graph.param_by_name)
        self._plans: dict[int, tuple[Graph, Plan]] = {}
        self._sharing = Sharing(target, graph)
        self.graph, self.plan = self._plan(graph, log)

    def __call__(self, /, *arrays: object, **inputs: Any) -> Any:
        """Run the network; arrays without a name are for the first inputs, in the graph's order.

        Raises:
            MissingInput, UnexpectedInput, InputKindError, InputDTypeError, InputShapeError,
                InputDeviceError: for arrays that do not fit.
            BatchError: when the graph cannot be re-planned for the call's batch size.
            TooLarge: for a batch beyond what the kernels can address.
            OutOfMemory: for one whose memory cannot be taken; smaller ones go on as before.
        """
        inputs = by_name(self.graph, arrays, inputs)
        with self.turn(self._batch_of(inputs)) as executor:
            executor.load(tensors(inputs))
            results = executor.results(next(iter(inputs.values()), None))
        return self.source.returned(results)

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
        with self.turn(self._batch_of(inputs)) as executor:
            executor.load(tensors(inputs), poison=poison)
            yield executor

    def _batch_of(self, inputs: Mapping[str, Any]) -> int | None:
        """The batch size of a call; None for that of `graph`.

        Raises:
            The errors of a call, for arrays that do not fit.
        """
        if self._expected.is_met(inputs):
            return None
        batch = check_inputs(self.graph, inputs)
        check_device(inputs, self.target.on)
        return batch

    @contextmanager
    def turn(self, batch: int | None = None) -> Iterator[Executor]:
        """The executor of a batch size (None: that of `graph`) for this caller alone, to the end.

        The current stream waits for the call before. The lock is reentrant, so that a call inside
        a call is not locked out for good; it finds no idle workspace, and makes one.

        Raises:
            The errors of `prepare`.
        """
        batch = batch if batch is None else count(batch, "batch", 1)
        with self._workspace() as workspace:
            executor = self._executor(workspace, batch)
            try:
                yield executor
            finally:
                executor.loans.take_back()

    @contextmanager
    def _workspace(self) -> Iterator[Workspace]:
        """What `turn` uses, for this caller alone."""
        with self._lock, self.target.on.guard():
            workspace = self._idle.pop() if self._idle else Workspace(self.target.on)
            outer, self._caller = self._caller, threading.get_ident()
            try:
                if workspace.done is not None:
                    self.target.on.wait(workspace.done)
                yield workspace
            finally:
                self._caller = outer
                workspace.done = self.target.on.record()
                # One is kept: the outermost call's, which ends last.
                self._idle[:] = [workspace]

    def refit(self, weights: Mapping[str, Any] | str | Path, *, strict: bool = True) -> None:
        """Take new values for the params of `source`, as `load_weights` does, and keep the plan.

        It costs the passes (milliseconds a layer, most of it folding) and the packing of weights,
        and neither plans memory nor compiles a kernel; kernels that read params where they are hear
        of the new place at the next call. `gx.verify` checks the result as it checks a compile.
        Calls from other threads go on meanwhile, and wait while the new values are copied: each
        sees all of the old or all of the new ones. After an error all are the old ones. What was
        made of the model before, as a stream, keeps its own; `log` stays that of the compile.

        Raises:
            RefitRefused: when the passes make other nodes with these values: a param is all zeros
                where it is added, or all ones where it multiplies, and was not before, or the
                reverse; or a folded weight leaves the range of half precision. Also in the middle
                of a call, from a signal handler.
            WeightsMismatch, InputKindError, NonFiniteWeights, FileProblem: as `load_weights`.
        """
        if self._caller == threading.get_ident():
            raise RefitRefused(
                "a model is refit between its calls",
                where=f"graph '{self.graph.name}'",
                got="a refit inside of a call of the same thread",
                remedy="refit it when the call has returned; not from a signal handler",
            )
        with self._refits:
            source = load_weights(self.source, weights, strict=strict)
            graph = self.optimize(source)
            self._check_same_nodes(graph)
            packed = self._weights.packed(graph.param_by_name)
            with self._workspace() as workspace:
                moved = self._weights.replace(graph.param_by_name, packed)
                self.source, self.graph = source, _with_params(self.graph, graph.param_by_name)
                self._plans = {
                    batch: (_with_params(planned, graph.param_by_name), plan)
                    for batch, (planned, plan) in self._plans.items()
                }
                for executor in workspace.executors.values():
                    executor.graph = _with_params(executor.graph, graph.param_by_name)
                if moved:
                    workspace.executors.clear()
        self._let_go()

    def _check_same_nodes(self, graph: Graph) -> None:
        """Check that what the passes made computes as `graph` does, with other params."""
        before, after = inline(self.graph), inline(graph)
        if before == after:
            return
        gone = [node.name for node in before.nodes if node not in after.nodes]
        new = [node.name for node in after.nodes if node not in before.nodes]
        raise RefitRefused(
            "the plan of a model depends on these values",
            where=f"graph '{self.graph.name}'",
            got=f"other nodes after the passes: {shown(list(dict.fromkeys((*gone, *new))))}",
            wanted="the nodes of model.graph",
            remedy="compile anew: gx.compile(gx.load_weights(model.source, weights))",
        )

    def part(self, graph: Graph) -> CompiledModel:
        """A model of another graph over the same params: same target, same packed weights."""
        check_graph(graph)
        model = CompiledModel(graph, graph, self.target, CompileLog())
        model._weights = self._weights
        return model

    def prepare(self, batches: Sequence[int] = ()) -> None:
        """Compile the kernels, and take the memory, for the graph's batch size and for others.

        These have kernels picked for them from now on; other sizes take those of the largest
        prepared one below them.

        Raises:
            InputKindError, InvalidAttribute: for what is no sequence of batch sizes.
            MissingWeights: when a param has no data.
            BatchError: when the graph cannot be re-planned for one of them.
            TooLarge: for a batch beyond what the kernels can address.
            OutOfMemory: for one whose memory cannot be taken; smaller ones go on as before.
        """
        sizes = set(batch_sizes(batches))
        if sizes:
            sizes.discard(batch_of(self.graph))
            with self._workspace() as workspace:
                for size in self._sharing.prepare(sizes):
                    self._plans.pop(size, None)
                    workspace.executors.pop(size, None)
        for batch in (*sorted(sizes, reverse=True), None):
            with self.turn(batch):
                pass
        self._let_go()

    def _let_go(self) -> None:
        """Take the memory of weights that lie in a file back; what kernels read is packed."""
        for param in self.source.params:
            if param.data is not None:
                let_go(param.data)

    def _executor(self, workspace: Workspace, batch: int | None) -> Executor:
        if batch not in workspace.executors:
            graph, plan = self._planned(batch)
            try:
                arena = workspace.arena(0 if settings.sanitize() else plan.arena_bytes)
                executor = self._bind(
                    lambda plan: Executor(graph, plan, self.target.on, self._weights, arena), plan
                )
            except OutOfMemory as error:
                workspace.clear()
                plans = (graph, plan, lambda g: self._plan(g, CompileLog())[1])
                raise out_of_memory(error, *plans, self.target.on, self._weights) from error
            if batch is None:
                self.plan = executor.plan
            else:
                self._plans[batch] = graph, executor.plan
            workspace.executors[batch] = executor
        return workspace.executors[batch]

    def _planned(self, batch: int | None) -> tuple[Graph, Plan]:
        """The graph and the plan for a batch size, which are kept once they are bound."""
        if batch is None:
            return self.graph, self.plan
        if batch not in self._plans:
            rebatch(self.source, batch)  # what refuses it may be dead, hence gone
            return self._plan(rebatch(self.graph, batch), CompileLog())
        return self._plans[batch]

    def _plan(self, graph: Graph, log: CompileLog) -> tuple[Graph, Plan]:
        """A plan, and the graph where the groups that it takes apart are apart."""
        inputs = tuple(value.name for value in graph.inputs)
        found = lowered(self._sharing.target(graph), graph)
        events: tuple[Refusal | Chosen, ...] = (*found.refusals, *found.choices)
        for event in events:
            log.add(event)
        apart = [refusal.node for refusal in found.refusals]
        return inline(graph, apart), plan_memory(found, inputs, graph.outputs)


def _with_params(graph: Graph, params: Mapping[str, Param]) -> Graph:
    """A graph with the data of other params."""
    return replace(graph, params=tuple(params[param.name] for param in graph.params))
