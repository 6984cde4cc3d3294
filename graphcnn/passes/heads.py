"""Interpolations and flattens that the kernel of the anchor behind them reads through: its head."""

from __future__ import annotations

from math import prod

from graphcnn.ir import CompileLog, Fused, Graph, Node, OpKind, Refusal, Unprofitable
from graphcnn.ops import Flatten, Interpolate
from graphcnn.passes.chains import RULE, Chain, Supports, outlined
from graphcnn.passes.demands import Demands


def with_heads(
    chains: list[Chain], graph: Graph, supports: Supports, demands: Demands, log: CompileLog
) -> list[Chain]:
    """The chains, and anchors that had none, with a head in front where their kernels do without
    its value."""
    found = {node.name: chain for chain in chains for node in chain}
    for head in graph.nodes:
        reader = graph.sole_user(head.name)
        if not _may_lead(head, graph):
            continue
        if reader is None:
            users = tuple(node.name for node in graph.users(head.name))
            log.refuse(Refusal(RULE, head.name, "its value has other readers", users))
        elif reader.op.kind is OpKind.ANCHOR and reader.name in graph.varying:
            chain = found.get(reader.name, (reader,))
            if refusal := _refusal(head, chain, graph, supports, demands):
                log.refuse(refusal)
                continue
            log.did(RULE, head.name, f"is read through by the kernel of '{reader.name}'")
            chain = (head, *chain)
            found |= {node.name: chain for node in chain}
    return list(dict.fromkeys(found.values()))


def _may_lead(node: Node, graph: Graph) -> bool:
    """Whether to ask for a kernel that reads what a node reads: of an interpolation, and of a
    flatten to rows, of maps that a kernel stores and whose elements have an order to choose."""
    if not isinstance(node.op, Flatten) or node.op.start_dim != 1:
        return isinstance(node.op, Interpolate)
    _, channels, *sizes = graph.type_of(node.inputs[0]).shape
    return graph.producer(node.inputs[0]) is not None and channels > 1 and prod(sizes) > 1


def _refusal(
    head: Node, chain: Chain, graph: Graph, supports: Supports, demands: Demands
) -> Refusal | None:
    """Why a node cannot stand in front of a chain, or None."""
    names = {node.name for node in chain}
    if rivals := demands.separated(head.name, names):
        because = f"must_not_fuse keeps it from {', '.join(rivals)}"
        return Refusal(RULE, head.name, because, rivals)
    fused = outlined(graph, (head, *chain)).op
    assert isinstance(fused, Fused)
    refusal = supports(fused.body)
    demanded = isinstance(refusal, Unprofitable) and demands.join(head.name, chain[0].name)
    if refusal is None or demanded:
        return None
    return Refusal(refusal.rule, head.name, refusal.because, (refusal.node,))
