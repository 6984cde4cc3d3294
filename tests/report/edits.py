"""Passes that change the meaning of one node, as a faulty pass would."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from graphcnn import ops
from graphcnn.ir import CompileLog, Graph
from graphcnn.passes import Pass
from graphcnn.passes.rewrite import substitute


@dataclass(frozen=True)
class Edit(Pass):
    """A pass that changes one thing in a graph."""

    name: ClassVar[str] = "edit"
    edit: Callable[[Graph], Graph]

    def run(self, graph: Graph, log: CompileLog) -> Graph:
        return self.edit(graph)


def without(name: str) -> Callable[[Graph], Graph]:
    """The graph without a node; its operand stands for it."""

    def edit(graph: Graph) -> Graph:
        return substitute(graph, {name: graph[name].inputs[0]}, CompileLog())

    return edit


def with_op(name: str, **attributes: object) -> Callable[[Graph], Graph]:
    """The graph with other attributes at one node."""

    def edit(graph: Graph) -> Graph:
        op = replace(graph[name].op, **attributes)
        nodes = (replace(n, op=op) if n.name == name else n for n in graph.nodes)
        return graph.replace(nodes=tuple(nodes))

    return edit


def with_weight(
    name: str, change: Callable[[np.ndarray], np.ndarray], new: str = "new"
) -> Callable[[Graph], Graph]:
    """The graph with another weight at one node, as a param of another name or of the same."""

    def edit(graph: Graph) -> Graph:
        old = graph.param_by_name[graph[name].inputs[1]]
        called = new or old.name
        param = replace(old, name=called, data=change(old.values).astype(old.values.dtype))
        nodes = (
            replace(n, inputs=tuple(called if i == old.name else i for i in n.inputs))
            for n in graph.nodes
        )
        params = (p for p in graph.params if p.name != called)
        return graph.replace(params=(*params, param), nodes=tuple(nodes))

    return edit


def averaging(name: str) -> Callable[[Graph], Graph]:
    """The graph with an average pool in place of a max pool."""

    def edit(graph: Graph) -> Graph:
        pool = graph[name].op
        op = ops.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)
        nodes = (replace(n, op=op) if n.name == name else n for n in graph.nodes)
        return graph.replace(nodes=tuple(nodes))

    return edit


def reading(name: str, *order: int) -> Callable[[Graph], Graph]:
    """The graph with operands of a node in another order, or one in place of others."""

    def edit(graph: Graph) -> Graph:
        inputs = tuple(graph[name].inputs[at] for at in order)
        nodes = (replace(n, inputs=inputs) if n.name == name else n for n in graph.nodes)
        return graph.replace(nodes=tuple(nodes))

    return edit


def shifted(weight: np.ndarray) -> np.ndarray:
    """A filter whose taps are one further along the last dimension."""
    return np.roll(weight, 1, axis=-1)
