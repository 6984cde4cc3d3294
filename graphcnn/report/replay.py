"""Running parts of a failing group alone, to find the node at fault."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from graphcnn.ir import Array, Graph, Node, Value, inline, outline
from graphcnn.report.deviation import deviation
from graphcnn.report.schedule import arithmetic
from graphcnn.runtime.boundary import to_tensor
from graphcnn.runtime.compiled import CompiledModel
from graphcnn.runtime.executor import Executor


def first_bad_member(
    model: CompiledModel, graph: Graph, nodes: tuple[Node, ...], operands: Mapping[str, Array]
) -> Node | None:
    """The last node of the shortest prefix of a group that is wrong by itself, or None.

    Each prefix is compiled for the model's target and reads the same operands and the same packed
    weights. It may still be right where the group is wrong: its operands and results lie in memory
    of its own, in the caller's layout.

    Args:
        model: Whose group it is.
        graph: The compiled graph, for the batch size at hand.
        nodes: The group's nodes, in order.
        operands: float64 arrays of what the group reads.
    """
    if len(nodes) == 1:
        return nodes[0]
    flat = inline(graph)
    for length in range(1, len(nodes) + 1):
        prefix = nodes[:length]
        last = prefix[-1]
        part = model.part(_graph_of(prefix, flat))
        computed = {last.name: _run(part, operands)}
        dtypes = {last.name: last.type.dtype}
        if deviation(prefix, operands, computed, dtypes, arithmetic(part.plan.steps)).problem:
            return last
    return None


def read(executor: Executor, name: str) -> Array:
    """A copy of a value as it is now, in float64."""
    value = executor.value(name)
    if isinstance(value, torch.Tensor):
        value = value.detach().to("cpu", torch.float64).numpy()
    copied: Array = np.array(value, np.float64, order="C")
    return copied


def _graph_of(nodes: tuple[Node, ...], graph: Graph) -> Graph:
    """A graph that computes the last of some nodes, with one kernel."""
    last = nodes[-1].name
    head = nodes[0] if len(nodes) == 1 else outline(nodes, (last,), graph)
    reads = dict.fromkeys(head.inputs)
    inputs = tuple(Value(name, graph.type_of(name)) for name in reads if not graph.is_param(name))
    return Graph(last, inputs, graph.params, (head,), (last,)).replace()


def _run(model: CompiledModel, operands: Mapping[str, Array]) -> Array:
    tensors = {value.name: to_tensor(operands[value.name]) for value in model.graph.inputs}
    with model.turn() as executor:
        executor.load(tensors)
        executor.run()
        return read(executor, model.graph.outputs[0])
