"""A compiled network: call it with arrays, get arrays back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from traceback import clear_frames
from typing import Any

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
from graphcnn.plan import Plan, Target, plan_memory
from graphcnn.runtime.boundary import Expected
from graphcnn.runtime.destinations import destinations
from graphcnn.runtime.dlpack import Kept, exported, imported
from graphcnn.runtime.executor import Binder, Executor, plain_binder
from graphcnn.runtime.limits import lowered, out_of_memory
from graphcnn.runtime.plans import Plans
from graphcnn.runtime.sharing import Sharing
from graphcnn.runtime.weights import WeightStore
from graphcnn.runtime.workspace import Workspace


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


class CompiledModel:
    """A network ready to run on one device.

    Calling it takes one array per graph input, by name or in the graph's order, all NumPy, all
    torch or all of another library that exports DLPack, and returns the same kind: one array for a
    graph with one output; several in the graph's structure, that of the imported module, or in a
    dict by output name. Another batch size is planned at its first call and remembered (see
    `Plans`); all share one arena, as large as the largest needs. Calls from several threads are
    safe: they take turns. So are calls from several CUDA streams: each is queued on its caller's
    current stream, behind the call before it. Calls inside a call, from a signal handler or a
    finalizer, or captured by the caller, get own memory.

    Attributes:
        source: The graph as the user gave it.
        graph: The graph after the passes, and after lowering took groups apart.
        plan: Steps and memory for the batch size of `graph`.
        log: What the passes, and the lowering of `graph`, did and declined, with reasons.
        target: What it was compiled for.
        optimize: What makes `graph` of `source`, and the same of it with other weights.
        binder: Makes what binds plans to memory, which may change them.
    """

    def __init__(
        self,
        source: Graph,
        graph: Graph,
        target: Target,
        log: CompileLog,
        optimize: Callable[[Graph], Graph] = inline,
        binder: Binder = plain_binder,
    ) -> None:
        self.source, self.graph, self.target, self.log = source, graph, target, log
        self.optimize, self.binder = optimize, binder
        self._bind = binder(target, log)
        self._lock, self._refits = forks.lock(), forks.lock()
        self._caller: int | None = None  # the thread that is inside of a call
        self._idle: list[Workspace] = []
        self._expected = Expected(graph, target.on)
        self._weights = WeightStore(target.on, graph.param_by_name)
        self._plans, self._kept = Plans(), Kept(target.on)
        self._sharing = Sharing(target, graph)
        self.graph, self.plan = self._plan(graph, log)

    def __call__(self, /, *arrays: object, out: Any = None, **inputs: Any) -> Any:
        """Run the network; arrays without a name are for the first inputs, in the graph's order.

        Args:
            arrays, inputs: One array per graph input.
            out: Arrays for the results, in the structure of what is returned and in the kind of the
                inputs (torch tensors for those of other libraries); it is returned then. Any
                strides will do, but negative ones. For a graph that has an input called `out` it is
                that input, and no result can be given a place.

        Raises:
            MissingInput, UnexpectedInput, InputKindError, InputDTypeError, InputShapeError,
                InputDeviceError: for arrays that do not fit.
            OutputShapeError, OutputDTypeError, OutputDeviceError, OutputMemoryError: for arrays in
                `out` that no result can be written to; InputKindError for another structure.
            BatchError: when the graph cannot be re-planned for the call's batch size.
            TooLarge: for a batch beyond what the kernels can address.
            OutOfMemory: for one whose memory cannot be taken; smaller ones go on as before.
            CaptureFailed, KernelFailed: for another batch size, as `prepare`.
        """
        if out is not None and self._expected.has("out"):
            inputs["out"], out = out, None
        given = by_name(self.graph, arrays, inputs)
        taken = imported(given)
        with self.turn(self._expected.batch(taken)) as executor:
            places = destinations(self.source, executor.graph, out, taken, self.target.on.memory)
            executor.load(taken)
            results = executor.results(next(iter(taken.values()), None), places)
            if taken is not given:
                self._kept.keep(taken.values())
            return self.source.returned(exported(results, given)) if out is None else out

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
        with self.turn(self._expected.batch(inputs)) as executor:
            executor.load(inputs, poison=poison)
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
        with self._workspace() as workspace:
            executor = self._executor(workspace, batch)
            try:
                yield executor
            finally:
                executor.loans.take_back()

    @contextmanager
    def _workspace(self) -> Iterator[Workspace]:
        """What `turn` uses, for this caller alone."""
        device = self.target.on
        with self._lock, device.guard():
            outer, self._caller = self._caller, threading.get_ident()
            try:
                if device.is_captured():  # to be replayed at any time, beside any call
                    yield Workspace(device)
                    return
                workspace = self._idle.pop() if self._idle else Workspace(device)
                try:
                    if workspace.done is not None:
                        device.wait(workspace.done)
                    yield workspace
                except BaseException:
                    with suppress(RuntimeError):  # a device that has stopped takes no events
                        self._give_back(workspace)
                    raise
                self._give_back(workspace)
            finally:
                self._caller = outer

    def _give_back(self, workspace: Workspace) -> None:
        """Let later calls use a workspace, behind this one."""
        workspace.done = self.target.on.record(workspace.done)
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
                self._plans.replace(lambda planned: _with_params(planned, graph.param_by_name))
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
        model = CompiledModel(graph, graph, self.target, CompileLog(), binder=self.binder)
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
            CaptureFailed: when kernels cannot be captured in a CUDA graph.
            KernelFailed: for a kernel that does not run on the device, or is wrong there.
        """
        sizes = set(batch_sizes(batches))
        own = batch_of(self.graph) if sizes else 0
        sizes.discard(own)
        if sizes:
            with self._workspace() as workspace:
                for size in self._sharing.prepare(sizes):
                    self._plans.drop(size)
                    workspace.executors.pop(size, None)
        # The largest first, as a larger arena takes the place of the one before.
        for batch in sorted({*sizes, own}, reverse=True):
            with self.turn(None if batch == own else batch):
                pass
        self._let_go()

    def _let_go(self) -> None:
        """Take the memory of weights that lie in a file back; what kernels read is packed."""
        for param in self.source.params:
            if param.data is not None:
                let_go(param.data)

    def _executor(self, workspace: Workspace, batch: int | None) -> Executor:
        graph, plan = self._planned(batch)
        if batch not in workspace.executors:
            try:
                executor = self._bind(partial(self._bound, workspace, graph), plan)
            except OutOfMemory as error:
                clear_frames(error.__traceback__)  # which hold the arena
                workspace.clear()
                plans = (graph, plan, lambda g: self._plan(g, CompileLog())[1])
                raise out_of_memory(error, *plans, self.target.on, self._weights) from error
            if batch is None:
                self.plan = executor.plan
            else:
                self._plans.put(batch, graph, executor.plan, self._sharing.prepared)
                for gone in workspace.executors.keys() - {*self._plans, None}:
                    del workspace.executors[gone]
            workspace.executors[batch] = executor
        return workspace.executors[batch]

    def _bound(self, workspace: Workspace, graph: Graph, plan: Plan) -> Executor:
        arena = workspace.arena(0 if settings.sanitize() else plan.arena_bytes)
        return Executor(graph, plan, self.target.on, self._weights, arena)

    def _planned(self, batch: int | None) -> tuple[Graph, Plan]:
        """The graph and the plan for a batch size, which are kept once they are bound."""
        if batch is None:
            return self.graph, self.plan
        if known := self._plans.of(batch):
            return known
        rebatch(self.source, batch)  # what refuses it may be dead, hence gone
        return self._plan(rebatch(self.graph, batch), CompileLog())

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
