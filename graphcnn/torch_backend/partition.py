"""Which parts of a graph become regions, and why the rest stays with torch."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload
from torch.fx.passes.infra.partitioner import CapabilityBasedPartitioner
from torch.fx.passes.operator_support import OperatorSupportBase
from torch.utils._pytree import tree_leaves

from graphcnn.errors import UnknownDType
from graphcnn.frontend.expr import Tensor
from graphcnn.ir import DType
from graphcnn.report.captured import Piece
from graphcnn.torch_import.draws import is_drawn
from graphcnn.torch_import.walk import Walk


@dataclass(frozen=True)
class Parts:
    """A graph whose supported parts are calls of submodules.

    Attributes:
        parts: These calls, in order.
        constants: What depends on weights alone, by name of the node.
        left: What stays with torch.
        known: The same, and the numbers that do.
    """

    parts: tuple[fx.Node, ...]
    constants: Mapping[str, Any]
    left: tuple[Piece, ...]
    known: Mapping[str, Any]


class _Among(OperatorSupportBase):
    def __init__(self, nodes: set[fx.Node]) -> None:
        self._nodes = nodes

    def is_node_supported(self, submodules: Mapping[str, torch.nn.Module], node: fx.Node) -> bool:
        return node in self._nodes


def partitioned(module: fx.GraphModule, walk: Walk) -> Parts:
    """Outline the largest parts of a graph that graphcnn supports; the module is changed.

    Args:
        module: Calls of ATen's operators.
        walk: Has the values of the placeholders that are weights.
    """
    nodes = list(module.graph.nodes)
    varying = _varying(module, walk)
    walk.convert(module.graph)
    roots = _roots(nodes, walk)
    reasons = {node: gap.because for node, gap in walk.lacking.items()}
    reasons |= _aliases(module.graph, roots)
    calls = [node for node in nodes if node in varying and _computes_tensors(node)]
    taken = {node for node in calls if node not in reasons and not _part_of(node, reasons)}
    known = {node.name: value for node, value in walk.values.items() if node not in varying}
    constants = {n: v for n, v in known.items() if isinstance(v, torch.Tensor | list | tuple)}
    partitioner = CapabilityBasedPartitioner(
        module, _Among(taken), allows_single_node_partition=True
    )
    kept = []
    for partition in partitioner.propose_partitions():
        if any(roots[node] is node and _is_call(node) for node in partition.nodes):
            kept.append(partition)
        else:
            reasons |= dict.fromkeys(partition.nodes, "nothing but views")
    left = _left(calls, reasons)
    partitioner.fuse_partitions(kept, prefix="region_")
    parts = [node for node in module.graph.nodes if node.op == "call_module"]
    return Parts(tuple(parts), constants, left, known)


def _varying(module: fx.GraphModule, walk: Walk) -> set[fx.Node]:
    """What depends on inputs; the walk is told what it cannot convert of it."""
    varying: set[fx.Node] = set()
    numbers: set[fx.Node] = set()
    for node in module.graph.nodes:
        kind = node.meta.get("val")
        operands = [one for one in node.all_input_nodes if one in varying]
        if node.op == "placeholder" and node not in walk.values:
            varying.add(node)
            walk.values[node] = (
                walk.stand_in(kind) if isinstance(kind, torch.Tensor) else walk.size(kind)
            )
        elif node.op == "get_attr":
            walk.values[node] = getattr(module, str(node.target))
        elif node.op == "call_function" and (operands or is_drawn(node)):
            varying.add(node)
            odd = [because for one in operands if (because := _odd(one, walk))]
            if isinstance(kind, torch.SymFloat | torch.SymBool):
                numbers.add(node)
                walk.values[node] = None
            elif not isinstance(node.target, OpOverload) and node.target is not operator.getitem:
                if not isinstance(kind, torch.SymInt):
                    walk.leave(node, "no operator of ATen's")
            elif numbers.intersection(operands):
                walk.leave(node, "it takes a number that is known at the call alone")
            elif odd and node.target is not operator.getitem:
                walk.leave(node, odd[0])
    return varying


def _odd(node: fx.Node, walk: Walk) -> str:
    """Why a tensor cannot be an input of ours; "" for one that can, as truth values as numbers."""
    kind = node.meta.get("val")
    if not isinstance(kind, torch.Tensor):
        return ""
    if 0 in walk.shape(kind):
        return "an operand without elements"
    try:
        DType.of(DType.F32 if kind.dtype is torch.bool else kind.dtype)
    except UnknownDType:
        return f"an operand in {kind.dtype}"
    return ""


def _roots(nodes: list[fx.Node], walk: Walk) -> dict[fx.Node, fx.Node]:
    """By node: the node whose memory it is a view of, or itself."""
    roots: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        value = walk.values.get(node)
        roots[node] = next(
            (
                roots[one]
                for one in node.all_input_nodes
                if _memory(node) & _memory(one)
                or (isinstance(value, Tensor) and value is walk.values.get(one))
            ),
            node,
        )
    return roots


def _memory(node: fx.Node) -> set[int]:
    kinds = tree_leaves(node.meta.get("val"))
    return {k.untyped_storage()._cdata for k in kinds if isinstance(k, torch.Tensor)}


def _aliases(graph: fx.Graph, roots: Mapping[fx.Node, fx.Node]) -> dict[fx.Node, str]:
    """The views among what a graph returns, of an input or of another result.

    Who writes to one sees it in the other, so that a copy would not do.
    """
    returned = list(dict.fromkeys(graph.output_node().all_input_nodes))
    shared = Counter(roots[node] for node in returned)
    reasons = {}
    for node in returned:
        root, view = roots[node], node
        if root.op == "placeholder" or shared[root] > 1:
            what = "an input" if root.op == "placeholder" else "another result"
            while view is not root:
                reasons[view] = f"it returns a view of {what}"
                view = next(one for one in view.all_input_nodes if roots[one] is root)
    return reasons


def _computes_tensors(node: fx.Node) -> bool:
    kinds = tree_leaves(node.meta.get("val"))
    return node.op == "call_function" and any(isinstance(k, torch.Tensor) for k in kinds)


def _is_call(node: fx.Node) -> bool:
    return node.target is not operator.getitem


def _part_of(node: fx.Node, reasons: Mapping[fx.Node, str]) -> bool:
    """Whether a node is an element of what stays with torch."""
    return not _is_call(node) and node.args[0] in reasons


def _left(calls: list[fx.Node], reasons: Mapping[fx.Node, str]) -> tuple[Piece, ...]:
    """What stays with torch, by reason."""
    groups: dict[str, list[str]] = {}
    for node in calls:
        if node in reasons and _is_call(node):
            groups.setdefault(reasons[node], []).append(str(node.target))
    return tuple(
        Piece("torch", len(ops), 0, tuple(dict.fromkeys(ops)), because)
        for because, ops in groups.items()
    )
