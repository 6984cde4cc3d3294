"""A part of a graph that runs as one plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from graphcnn import forks
from graphcnn.compiler import compile
from graphcnn.errors import BatchError
from graphcnn.frontend import expr, graph
from graphcnn.frontend.expr import Call, Input
from graphcnn.ir import DType, Graph, rebatch
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.torch_import.movement import Size
from graphcnn.torch_import.refusal import Refused
from graphcnn.torch_import.walk import Walk, valid


class Region(torch.nn.Module):
    """Called with the tensors that it reads, in their order; returns what it computes.

    One plan serves every batch size, unless the graph uses the size as a number: then each size
    has its own.

    Args:
        module: The part, whose placeholders are what it reads.
        constants: Values of those placeholders that depend on weights alone, by name.
        names: What constants are called that are weights, by name of the placeholder.
        symbol: The batch; None where no size is free.
        batch: The size to build for.

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
        batch: int,
    ) -> None:
        super().__init__()
        self.module = module
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

    def forward(self, *args: Any) -> Any:
        """What the part computes, by the plan for the call's batch size."""
        return self.plan(self._batch(args))(args)

    def plan(self, batch: int) -> _Plan:
        """The plan for a batch size."""
        with self._lock:
            found = self._plans.get(None) or self._plans.get(batch)
            if found is None:
                found = _Plan(self._walked(batch), self._nodes, self.module)
                self._plans[None if found.free else batch] = found
            return found

    def _batch(self, args: tuple[Any, ...]) -> int:
        """The batch size of a call."""
        for node, value in zip(self._nodes, args, strict=True):
            sizes = node.meta["val"].shape if isinstance(value, torch.Tensor) else (value,)
            for axis, size in enumerate(sizes):
                if isinstance(size, torch.SymInt) and size.node.expr == self._symbol:
                    return int(value.shape[axis])
        return 0

    def _walked(self, batch: int) -> Walk:
        walk = Walk({} if self._symbol is None else {self._symbol: batch}, set())
        for node in self.module.graph.find_nodes(op="placeholder"):
            if node.name in self._constants:
                walk.values[node] = self._constants[node.name]
                if node.name in self._names:
                    walk.name_constant(node, self._names[node.name])
            elif isinstance(node.meta["val"], torch.Tensor):
                shape = tuple(map(int, walk.shape(node.meta["val"])))
                walk.values[node] = expr.input(valid(node.name), shape, _fed(node))
            else:
                walk.values[node] = walk.size(node.meta["val"])
        return walk


class _Plan:
    """A region for one batch size, or for all."""

    def __init__(self, walk: Walk, nodes: list[fx.Node], module: fx.GraphModule) -> None:
        self._walk, self._nodes = walk, nodes
        output = module.graph.output_node().args[0]
        self._single = isinstance(output, fx.Node)
        self._outputs: list[fx.Node] = [output] if self._single else list(output)  # type: ignore[list-item, arg-type]
        with torch.no_grad():
            walk.run(module.graph)
        if walk.gaps:
            raise Refused(walk.gaps[0].because)
        values = [walk.values[node] for node in self._outputs]
        computed = list({id(value): value for value in values if isinstance(value, Call)}.values())
        made = graph("region", computed)
        self._names = {id(value): name for value, name in zip(computed, made.outputs, strict=True)}
        self.free = not walk.pinned and self._follows_batch() and _rebatches(made)
        self.model: CompiledModel = compile(made, device=_device(nodes))

    def __call__(self, args: tuple[Any, ...]) -> Any:
        fed = {
            node.name: value.to(torch.float32) if value.dtype is torch.bool else value
            for node, value in zip(self._nodes, args, strict=True)
            if isinstance(value, torch.Tensor)
        }
        given = {valid(name): value for name, value in fed.items()}
        found = self.model(**{v.name: given[v.name] for v in self.model.graph.inputs})
        if len(self.model.source.outputs) == 1:
            found = {self.model.source.outputs[0]: found}
        results = []
        for node in self._outputs:
            value = self._walk.values[node]
            result = (
                given[value.name] if isinstance(value, Input) else found[self._names[id(value)]]
            )
            results.append(_as_torch(result, node.meta["val"]))
        return results[0] if self._single else tuple(results)

    def _follows_batch(self) -> bool:
        """Whether the first dimension, and no other, of every input is the batch."""
        shapes = [
            self._walk.shape(node.meta["val"])
            for node in self._nodes
            if isinstance(node.meta["val"], torch.Tensor)
        ]
        return all(
            [isinstance(size, Size) for size in shape] == [True] + [False] * (len(shape) - 1)
            for shape in shapes
        )


def _device(nodes: list[fx.Node]) -> torch.device:
    kinds = [node.meta["val"] for node in nodes]
    found: torch.device = next(k.device for k in kinds if isinstance(k, torch.Tensor))
    return found


def _fed(node: fx.Node) -> DType:
    """The dtype of an input; truth values come as 0 and 1."""
    dtype = node.meta["val"].dtype
    return DType.F32 if dtype is torch.bool else DType.of(dtype)


def _rebatches(made: Graph) -> bool:
    try:
        rebatch(made, made.inputs[0].type.shape[0] + 1)
    except BatchError:
        return False
    return True


def _as_torch(result: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
    """A result in the dtype and the order of strides that torch's operators would give."""
    result = result.to(kind.dtype)
    strides = [hint(stride) for stride in kind.stride()]
    order = sorted(range(kind.dim()), key=lambda axis: -strides[axis])
    if order == list(range(kind.dim())):
        return result
    back = sorted(range(kind.dim()), key=order.__getitem__)
    return result.permute(order).contiguous().permute(back)


def hint(size: Any) -> int:
    """The number that a size was when it was traced, without a guard on it."""
    return int(size.node.hint) if isinstance(size, torch.SymInt) else int(size)
