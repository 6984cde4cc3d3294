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
        users = graph.users(head.name)
        if not isinstance(head.op, Flatten | Interpolate) or not users:
            continue
        reader, *others = users
        if because := _useless(head, graph):
            if demands.names(head.name):
                log.refuse(Refusal(RULE, head.name, because, head.inputs))
        elif head.name in graph.outputs:
            log.refuse(Refusal(RULE, head.name, "the caller reads its value as well"))
        elif others:
            names = tuple(node.name for node in users)
            log.refuse(Refusal(RULE, head.name, "its value has several readers", names))
        elif reader.op.kind is OpKind.ANCHOR and reader.name in graph.varying:
            chain = found.get(reader.name, (reader,))
            if refusal := _refusal(head, chain, graph, supports, demands):
                log.refuse(refusal)
                continue
            log.did(RULE, head.name, f"is read through by the kernel of '{reader.name}'")
            chain = (head, *chain)
            found |= {node.name: chain for node in chain}
    return list(dict.fromkeys(found.values()))


def _useless(node: Node, graph: Graph) -> str | None:
    """Why a kernel that reads what a flatten or interpolation reads would gain nothing, or None."""
    if not isinstance(node.op, Flatten):
        return None
    if node.op.start_dim != 1:
        return "what it flattens to is not one row an image"
    maps = graph.producer(node.inputs[0])
    _, channels, *sizes = graph.type_of(node.inputs[0]).shape
    free = maps is not None and maps.op.kind is not OpKind.VIEW and len(sizes) in (1, 2)
    if free and channels > 1 and prod(sizes) > 1:
        return None
    return "its maps are row-major, so that it costs nothing"


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
    demanded = any(demands.join(head.name, node.name) for node in chain)
    if refusal is None or (demanded and isinstance(refusal, Unprofitable)):
        return None
    return Refusal(refusal.rule, head.name, refusal.because, (refusal.node,))
