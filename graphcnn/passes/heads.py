"""Interpolations that the kernel of the convolution behind them reads through: its head."""

from __future__ import annotations

from collections.abc import Callable

from graphcnn.ir import CompileLog, Fused, Graph, Node, OpKind, Refusal
from graphcnn.ops import Interpolate
from graphcnn.passes.demands import Demands

Chain = tuple[Node, ...]


def with_heads(
    chains: list[Chain],
    graph: Graph,
    supports: Callable[[Graph], Refusal | None],
    outlined: Callable[[Graph, Chain], Node],
    demands: Demands,
    log: CompileLog,
) -> list[Chain]:
    """The chains, and anchors that had none, with an interpolation in front where their kernels do
    without its value; `supports` is the target's answer to a body, `outlined` makes the node that
    has it."""
    found = {node.name: chain for chain in chains for node in chain}
    for head in graph.nodes:
        if not isinstance(head.op, Interpolate):
            continue
        reader = graph.sole_user(head.name)
        if reader is None:
            users = tuple(node.name for node in graph.users(head.name))
            log.refuse(Refusal("fuse", head.name, "its value has other readers", users))
            continue
        if reader.op.kind is not OpKind.ANCHOR:
            continue
        chain = found.get(reader.name, (reader,))
        names = {node.name for node in chain}
        fused = outlined(graph, (head, *chain)).op
        assert isinstance(fused, Fused)
        if rivals := demands.separated(head.name, names):
            because = f"must_not_fuse keeps it from {', '.join(rivals)}"
            log.refuse(Refusal("fuse", head.name, because, tuple(rivals)))
        elif refusal := supports(fused.body):
            log.refuse(refusal)
        else:
            log.did("fuse", head.name, f"is read through by the kernel of '{reader.name}'")
            found |= dict.fromkeys([head.name, *names], (head, *chain))
    return list(dict.fromkeys(found.values()))
