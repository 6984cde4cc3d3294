"""A part of a graph that runs as one plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from graphcnn import forks
from graphcnn.compiler import compile
from graphcnn.errors import (
    BatchError,
    DTypeMismatch,
    InvalidAttribute,
    NonFiniteWeights,
    RefitRefused,
    ShapeError,
    TooLarge,
    UnknownDType,
    UnsupportedOp,
)
from graphcnn.frontend import graph, sources
from graphcnn.frontend.expr import Call
from graphcnn.ir import DType, Graph, batch_of, rebatch
from graphcnn.torch_import.movement import Size
from graphcnn.torch_import.origin import valid
from graphcnn.torch_import.refusal import Refused
from graphcnn.torch_import.walk import Walk

if TYPE_CHECKING:
    from graphcnn.kernels import Precision

# What torch can still compute; other errors, such as a missing compiler, are the user's to know.
LEFT_TO_TORCH = (
    DTypeMismatch,
    InvalidAttribute,
    NonFiniteWeights,
    Refused,
    ShapeError,
    TooLarge,
    UnknownDType,
    UnsupportedOp,
)


class Region(torch.nn.Module):
    """A function of the batch and of the tensors that it reads, in their order.

    One plan serves every batch size, unless the graph uses the size as a number: then each size
    has its own.

    Args:
        module: The part, whose placeholders are what it reads.
        constants: Values of those placeholders that depend on weights alone, by name.
        names: What constants are called that are weights, by name of the placeholder.
        symbol: The batch; None where no size is free.
        batch: The size to build for.
        precision: How float32 is multiplied.

    Raises:
        Refused: when a conversion refuses what the whole graph's did not.
        The errors of `compile`.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        constants: Mapping[str, Any],
        names: Mapping[str, str],
        symbol: Any,
        batch: int | None,
        precision: Precision,
    ) -> None:
        super().__init__()
        self.module, self._precision = module, precision
        self._constants, self._names, self._symbol = constants, names, symbol
        nodes = module.graph.find_nodes(op="placeholder")
        self._nodes: list[fx.Node] = [node for node in nodes if node.name not in constants]
        self._lock = forks.lock()
        self._plans: dict[int | None, _Plan] = {}
        self.plan(batch)

    @property
    def kernels(self) -> int:
        """How many kernels a call launches."""
        return len(next(iter(self._plans.values())).model.plan.steps)

    def forward(self, batch: int | None, *args: Any) -> Any:
        """What the part computes, by the plan for the call's batch size."""
        return self.plan(batch)(args)

    def plan(self, batch: int | None) -> _Plan:
        """The plan for a batch size; None where no size is free."""
        with self._lock:
            found = self._plans.get(None) or self._plans.get(batch)
            if found is None:
                walk, precision = self._walked(batch), self._precision
                found = _Plan(walk, self._nodes, self.module, batch, precision)
                self._plans[None if found.free else batch] = found
            return found

    def refit(self, constants: Mapping[str, Any]) -> bool:
        """Whether its plans could take other values of the constants.

        They cannot where these make another graph; after False some may have them already.
        """
        with self._lock:
            self._constants = constants
            try:
                return all(
                    plan.refit(self._walked(plan.batch), self.module)
                    for plan in self._plans.values()
                )
            except (*LEFT_TO_TORCH, RefitRefused):
                return False

    def _walked(self, batch: int | None) -> Walk:
        walk = Walk({} if batch is None else {self._symbol: batch})
        for node in self.module.graph.find_nodes(op="placeholder"):
            if node.name in self._constants:
                walk.hold(node, self._constants[node.name], self._names.get(node.name))
            elif isinstance(node.meta["val"], torch.Tensor):
                shape = tuple(map(int, walk.shape(node.meta["val"])))
                walk.values[node] = sources.input(walk.fresh(valid(node.name)), shape, _fed(node))
            else:
                walk.values[node] = walk.size(node.meta["val"])
        return walk


class _Plan:
    """A region for one batch size, or for all of them.

    Attributes:
        batch: The one that it was made for.
        free: Whether for all of them.
        model: What runs.
    """

    def __init__(
        self,
        walk: Walk,
        nodes: list[fx.Node],
        module: fx.GraphModule,
        batch: int | None,
        precision: Precision,
    ) -> None:
        self.batch = batch
        self._single = isinstance(module.graph.output_node().args[0], fx.Node)
        made, named = _graph(walk, module)
        self._outputs, self._names = list(named), list(named.values())
        tensors = [node for node in nodes if isinstance(node.meta["val"], torch.Tensor)]
        self._fed = [walk.values[node].name if node in tensors else None for node in nodes]
        shapes = [walk.shape(node.meta["val"]) for node in tensors]
        heads = all(
            [isinstance(size, Size) for size in shape] == [True] + [False] * (len(shape) - 1)
            for shape in shapes
        )
        self.free = heads and not walk.pinned and _follows_batch(made)
        self._walk = walk
        device = tensors[0].meta["val"].device
        self.model = compile(made, device=device, precision=precision)

    def refit(self, walk: Walk, module: fx.GraphModule) -> bool:
        """Whether the model could take the weights of a walk."""
        made, _ = _graph(walk, module)
        if made != self.model.source:
            return False
        self.model.refit({param.name: param.values for param in made.params})
        return True

    def __call__(self, args: tuple[Any, ...]) -> Any:
        fed = {
            name: value.to(torch.float32) if value.dtype is torch.bool else value
            for name, value in zip(self._fed, args, strict=True)
            if name is not None
        }
        found = self.model(**{value.name: fed[value.name] for value in self.model.graph.inputs})
        outputs = self.model.source.outputs
        values = fed | (found if len(outputs) > 1 else {outputs[0]: found})
        results = [
            self._as_torch(values[name], node.meta["val"])
            for name, node in zip(self._names, self._outputs, strict=True)
        ]
        return results[0] if self._single else tuple(results)

    def _as_torch(self, result: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        """A result in the dtype and the order of strides that torch's operators would give."""
        result = result.to(kind.dtype)
        strides = [self._walk.size(stride) for stride in kind.stride()]
        order = sorted(range(kind.dim()), key=lambda axis: -strides[axis])
        if order == list(range(kind.dim())):
            return result
        back = sorted(range(kind.dim()), key=order.__getitem__)
        return result.permute(order).contiguous().permute(back)


def _graph(walk: Walk, module: fx.GraphModule) -> tuple[Graph, dict[fx.Node, str]]:
    """A part as a graph, and what each node of its output is called there."""
    output = walk.convert(module.graph).args[0]
    if walk.gaps:
        raise Refused(walk.gaps[0].because)
    outputs = output if isinstance(output, list | tuple) else (output,)
    values = {node: walk.values[node] for node in outputs if isinstance(node, fx.Node)}
    computed = list(dict.fromkeys(value for value in values.values() if isinstance(value, Call)))
    made = graph("region", computed)
    names = dict(zip(computed, made.outputs, strict=True))
    return made, {node: names.get(value, value.name) for node, value in values.items()}


def _follows_batch(made: Graph) -> bool:
    """Whether a graph can be planned for another batch size."""
    try:
        rebatch(made, batch_of(made) + 1)
    except BatchError:
        return False
    return True


def _fed(node: fx.Node) -> DType:
    """The dtype of an input; truth values come as 0 and 1."""
    dtype = node.meta["val"].dtype
    return DType.F32 if dtype is torch.bool else DType.of(dtype)
