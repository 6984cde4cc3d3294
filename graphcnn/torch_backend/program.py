"""A graph of Dynamo's, of which regions run as plans and the rest as torch's operators."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from graphcnn import forks
from graphcnn.errors import (
    DTypeMismatch,
    InvalidAttribute,
    NonFiniteWeights,
    ShapeError,
    TooLarge,
    UnknownDType,
    UnsupportedOp,
)
from graphcnn.report.captured import GraphReport, Piece
from graphcnn.torch_backend.partition import partitioned
from graphcnn.torch_backend.region import Region
from graphcnn.torch_backend.state import State
from graphcnn.torch_import.origin import valid
from graphcnn.torch_import.refusal import Refused
from graphcnn.torch_import.walk import Walk

# What torch can still compute; other errors, such as a missing compiler, are the user's to know.
_LEFT_TO_TORCH = (
    DTypeMismatch,
    InvalidAttribute,
    NonFiniteWeights,
    Refused,
    ShapeError,
    TooLarge,
    UnknownDType,
    UnsupportedOp,
)


@dataclass(frozen=True)
class Traced:
    """A graph as the backend got it.

    Attributes:
        module: Dynamo's graph.
        lowered: The same of ATen's operators.
        state: Where Dynamo found the inputs that are weights, by their number.
        batch: Which of the inputs is the batch; None when no size is free.
    """

    module: fx.GraphModule
    lowered: fx.GraphModule
    state: Mapping[int, str]
    batch: int | None

    @property
    def symbol(self) -> Any:
        """What the batch is called in sizes."""
        return None if self.batch is None else self.placeholders[self.batch].meta["val"].node.expr

    @property
    def placeholders(self) -> list[fx.Node]:
        """The inputs."""
        return list(self.lowered.graph.find_nodes(op="placeholder"))


class Program:
    """What Dynamo calls. It is built at the first call, which has the weights, and anew when they
    have changed. Calls from several threads are safe.
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
                    state = State(args, self._traced.state)
                    self._built = _Built(self._traced, state, batch)
                    self._state = state
                built = self._built
            assert built is not None
            return built.module.forward(*args)

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
        graph = fx.Graph()
        graph.output(graph.graph_copy(traced.lowered.graph, {}))
        self.module = fx.GraphModule(traced.lowered, graph)
        walk = Walk({} if batch is None else {traced.symbol: batch})
        names = {}
        for number, node in enumerate(graph.find_nodes(op="placeholder")):
            if number in state.copies:
                names[node.name] = _name(traced.state[number], node)
                walk.hold(node, state.copies[number], names[node.name])
        self._parts = partitioned(self.module, walk)
        self._regions: list[Region] = []
        self._left = list(self._parts.left)
        for part in self._parts.parts:
            self._place(part, names, traced, batch)
        self.module.graph.eliminate_dead_code()
        self.module.recompile()

    def _place(
        self, part: fx.Node, names: Mapping[str, str], traced: Traced, batch: int | None
    ) -> None:
        """Put a region in the place of a part, or note why it stays with torch."""
        inside = self.module.get_submodule(str(part.target))
        assert isinstance(inside, fx.GraphModule)
        outer = [str(argument) for argument in part.args]
        inner = [node.name for node in inside.graph.find_nodes(op="placeholder")]
        pairs = list(zip(inner, outer, strict=True))
        constants = self._parts.constants
        known = {name: constants[source] for name, source in pairs if source in constants}
        named = {name: names[source] for name, source in pairs if source in names}
        try:
            region = Region(inside, known, named, traced.symbol, batch)
        except _LEFT_TO_TORCH as error:
            self._left.append(_piece("torch", inside, str(getattr(error, "what", error))))
            return
        self.module.add_submodule(str(part.target), region)
        placeholders = self.module.graph.find_nodes(op="placeholder")
        size = None if traced.batch is None else placeholders[traced.batch]
        part.args = (size, *(one for one in part.args if str(one) not in constants))
        self._regions.append(region)

    def report(self) -> GraphReport:
        """What `explain` shows of it."""
        ours = [
            _piece("graphcnn", region.module, kernels=region.kernels) for region in self._regions
        ]
        return GraphReport((*ours, *self._left))


def _piece(runs: str, module: fx.GraphModule, because: str = "", kernels: int = 0) -> Piece:
    ops = [str(node.target) for node in module.graph.nodes if node.op == "call_function"]
    return Piece(runs, len(ops), kernels, tuple(dict.fromkeys(ops)), because)


def _name(source: str, node: fx.Node) -> str:
    """What a weight is called in the module's state_dict."""
    parts = re.findall(r"\._(?:modules|parameters|buffers)\['([^']+)'\]", source)
    return valid(".".join(parts) or node.name)
