"""A compiled network: call it with arrays, get arrays back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from graphcnn import forks
from graphcnn.errors import InputKindError
from graphcnn.ir import CompileLog, Graph, rebatch
from graphcnn.plan import KernelTarget, OperatorTarget, Plan, Target, plan_memory
from graphcnn.plan.plan import Lowered
from graphcnn.runtime.boundary import check_inputs, give_back, to_tensor
from graphcnn.runtime.executor import ArenaExecutor, Executor, OperatorExecutor, WeightStore


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

    Calling it takes one array per graph input, by name, all NumPy or all torch, and returns the
    same kind: one array for a graph with one output, otherwise a dict by output name. Another
    batch size is planned at its first call and remembered. Calls from several threads are safe:
    they take turns, since they share the memory of the plan.

    Attributes:
        source: The graph as the user gave it.
        graph: The graph after the passes.
        plan: Steps and memory for the batch size of `graph`.
        log: What the passes did and declined, with reasons.
        target: What it was compiled for.
    """

    def __init__(self, source: Graph, graph: Graph, target: Target, log: CompileLog) -> None:
        self.source, self.graph, self.target, self.log = source, graph, target, log
        self._lock = forks.lock()
        self._weights: WeightStore | None = None
        self._executors: dict[int | None, Executor] = {}
        self.plan = self._plan(graph)

    def __call__(self, /, *arrays: object, **inputs: Any) -> Any:
        """Run the network; every array is passed by the name of its input.

        Raises:
            MissingInput, UnexpectedInput, InputKindError, InputDTypeError, InputShapeError: for
                arrays that do not fit.
            BatchError: when the graph cannot be re-planned for the call's batch size.
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
            for _, run in executor.steps():
                run()
            like = next(iter(inputs.values()), None)
            results = {
                name: give_back(executor.value(value), self.graph.type_of(value).dtype, like)
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
        batch = check_inputs(self.graph, inputs)
        with self._lock:
            executor = self.executor(batch)
            tensors = {name: to_tensor(array) for name, array in inputs.items()}
            executor.load(tensors, poison=poison)
            yield executor

    def part(self, graph: Graph) -> CompiledModel:
        """A model of another graph over the same params: same target, same packed weights."""
        model = CompiledModel(graph, graph, self.target, self.log)
        model._weights = self._weights
        return model

    def executor(self, batch: int | None = None) -> Executor:
        """What runs the plan of a batch size (None: that of `graph`); made at first use."""
        with self._lock:
            if batch not in self._executors:
                graph = self.graph if batch is None else rebatch(self.graph, batch)
                plan = self.plan if batch is None else self._plan(graph)
                self._executors[batch] = self._bind(graph, plan)
            return self._executors[batch]

    def _plan(self, graph: Graph) -> Plan:
        lowered: Lowered = self.target.lower(graph)
        where = lowered.locations
        if not where:
            return Plan(lowered.steps, {}, (), 0, ())
        inputs = tuple(where[value.name].buffer.name for value in graph.inputs)
        outputs = tuple(where[name].buffer.name for name in graph.outputs if name in where)
        return plan_memory(lowered, inputs, outputs)

    def _bind(self, graph: Graph, plan: Plan) -> Executor:
        if not plan.locations:
            target: OperatorTarget = self.target  # type: ignore[assignment]  # its plans have no locations
            return OperatorExecutor(graph, plan, target)
        kernels: KernelTarget = self.target  # type: ignore[assignment]  # its plans have locations
        if self._weights is None:
            self._weights = WeightStore(kernels, graph.param_by_name)
        return ArenaExecutor(graph, plan, kernels, self._weights)
