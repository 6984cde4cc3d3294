"""Interpolations that the kernel of the convolution behind them reads through: its head."""

from __future__ import annotations

from graphcnn.ir import CompileLog, Fused, Graph, Node, OpKind, Refusal, Unprofitable
from graphcnn.ops import Interpolate
from graphcnn.passes.chains import RULE, Chain, Supports, outlined
from graphcnn.passes.demands import Demands


def with_heads(
    chains: list[Chain], graph: Graph, supports: Supports, demands: Demands, log: CompileLog
) -> list[Chain]:
    """The chains, and anchors that had none, with an interpolation in front where their kernels do
    without its value."""
    found = {node.name: chain for chain in chains for node in chain}
    for head in graph.nodes:
        reader = graph.sole_user(head.name)
        if not isinstance(head.op, Interpolate):
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


def _refusal(
    head: Node, chain: Chain, graph: Graph, supports: Supports, demands: Demands
) -> Refusal | None:
    """Why an interpolation cannot stand in front of a chain, or None."""
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
