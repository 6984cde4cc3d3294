"""A graph of Dynamo's, of which regions run as plans and the rest as torch's operators."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from graphcnn import forks
from graphcnn.report.captured import GraphReport, Piece
from graphcnn.torch_backend.partition import partitioned
from graphcnn.torch_backend.region import LEFT_TO_TORCH, Region
from graphcnn.torch_backend.state import State
from graphcnn.torch_import.origin import valid
from graphcnn.torch_import.walk import Walk

if TYPE_CHECKING:
    from graphcnn.kernels import Precision


@dataclass(frozen=True)
class Traced:
    """A graph as the backend got it.

    Attributes:
        module: Dynamo's graph.
        lowered: The same of ATen's operators.
        state: Where Dynamo found the inputs that are weights, by their number.
        batch: Which of the inputs is the batch; None when no size is free.
        precision: How float32 is multiplied.
    """

    module: fx.GraphModule
    lowered: fx.GraphModule
    state: Mapping[int, str]
    batch: int | None
    precision: Precision

    @property
    def symbol(self) -> Any:
        """What the batch is called in sizes."""
        return None if self.batch is None else self.placeholders[self.batch].meta["val"].node.expr

    @property
    def placeholders(self) -> list[fx.Node]:
        """The inputs."""
        return list(self.lowered.graph.find_nodes(op="placeholder"))


class Program:
    """What Dynamo calls. It is built at the first call, which has the weights. When they have
    changed its plans are refit, and where these depend on their values it is built anew. Calls from
    several threads are safe.
    """

    def __init__(self, traced: Traced) -> None:
        self._traced = traced
        self._lock = forks.lock()
        self._state: State | None = None
        self._built: _Built | None = None

    def __call__(self, *args: Any) -> Any:
        """What Dynamo's graph computes."""
        number = self._traced.batch
        batch = None if number is None else args[number]
        if batch == 0:
            return self._traced.module.forward(*args)
        with torch.no_grad():
            with self._lock:
                if self._state is None or not self._state.is_that_of(args):
                    self._take(State(args, self._traced.state), batch)
                built = self._built
            assert built is not None
            return built.module.forward(*args)

    def _take(self, state: State, batch: int | None) -> None:
        """Compute with these weights from now on."""
        # Until all plans have them, no weights are those of what was built.
        self._state = None
        if self._built is None or not self._built.refit(state):
            self._built = _Built(self._traced, state, batch)
        self._state = state

    def report(self) -> GraphReport:
        """What `explain` shows of it."""
        return (
            self._built.report() if self._built else GraphReport((), "compiled at its first call")
        )


class _Built:
    """The program for weights as they are.

    Attributes:
        module: What runs: torch's operators, and regions.
    """

    def __init__(self, traced: Traced, state: State, batch: int | None) -> None:
        self._traced = traced
        graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
        graph.output(graph.graph_copy(traced.lowered.graph, copies))
        self._called = {node: copy.name for node, copy in copies.items()}
        self.module = fx.GraphModule(traced.lowered, graph)
        walk = Walk({} if batch is None else {traced.symbol: batch})
        self._names: dict[str, str] = {}
        for number, node in enumerate(graph.find_nodes(op="placeholder")):
            if number in state.copies:
                self._names[node.name] = _name(traced.state[number], node)
                walk.hold(node, state.copies[number], self._names[node.name])
        self._parts = partitioned(self.module, walk)
        # Each with the names of the constants that its placeholders stand for.
        self._regions: dict[Region, dict[str, str]] = {}
        self._refused: list[Piece] = []
        self._finite = state.is_finite
        for part in self._parts.parts:
            self._place(part, batch)
        self.module.graph.eliminate_dead_code()
        self.module.recompile()

    def _place(self, part: fx.Node, batch: int | None) -> None:
        """Put a region in the place of a part, or note why it stays with torch."""
        inside = self.module.get_submodule(str(part.target))
        assert isinstance(inside, fx.GraphModule)
        constants = self._parts.constants
        inner = [node.name for node in inside.graph.find_nodes(op="placeholder")]
        pairs = zip(inner, map(str, part.args), strict=True)
        sources = {name: source for name, source in pairs if source in constants}
        named = {n: self._names[source] for n, source in sources.items() if source in self._names}
        known = {name: constants[source] for name, source in sources.items()}
        try:
            asked = self._traced.precision
            region = Region(inside, known, named, self._traced.symbol, batch, asked)
        except LEFT_TO_TORCH as error:
            self._refused.append(_piece("torch", inside, str(getattr(error, "what", error))))
            return
        self.module.add_submodule(str(part.target), region)
        placeholders = self.module.graph.find_nodes(op="placeholder")
        size = None if self._traced.batch is None else placeholders[self._traced.batch]
        part.args = (size, *(one for one in part.args if str(one) not in constants))
        self._regions[region] = sources

    def refit(self, state: State) -> bool:
        """Whether the regions could take other weights; after False they are of no use."""
        if self._refused or not self._finite:
            return False  # with these weights more may run
        values = dict(self._parts.known)
        for number, node in enumerate(self._traced.placeholders):
            if number in state.copies:
                values[self._called[node]] = state.copies[number]
        for node, name in self._called.items():
            if name in values and node.op == "call_function":
                operands = {one: values[self._called[one]] for one in node.all_input_nodes}
                args, kwargs = fx.node.map_arg((node.args, node.kwargs), operands.__getitem__)
                values[name] = node.target(*args, **kwargs)  # type: ignore[operator]
        return all(
            region.refit({name: values[source] for name, source in sources.items()})
            for region, sources in self._regions.items()
        )

    def report(self) -> GraphReport:
        """What `explain` shows of it."""
        ours = [
            _piece("graphcnn", region.module, kernels=region.kernels) for region in self._regions
        ]
        return GraphReport((*ours, *self._parts.left, *self._refused))


def _piece(runs: str, module: fx.GraphModule, because: str = "", kernels: int = 0) -> Piece:
    ops = [str(node.target) for node in module.graph.nodes if node.op == "call_function"]
    return Piece(runs, len(ops), kernels, tuple(dict.fromkeys(ops)), because)


def _name(source: str, node: fx.Node) -> str:
    """What a weight is called in the module's state_dict."""
    parts = re.findall(r"\._(?:modules|parameters|buffers)\['([^']+)'\]", source)
    return valid(".".join(parts) or node.name)
