"""Remove what computes nothing, what nobody reads, what is computed twice, and constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn.errors import GraphCNNError
from graphcnn.ir import CompileLog, Graph, Node, OpKind, Param, Refusal, check_data, inline
from graphcnn.ir.evaluate import weights
from graphcnn.ops import (
    Arithmetic,
    Concat,
    Expand,
    GlobalAvgPool2d,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Pooling,
    Reshape,
    Roll,
    Slice,
)
from graphcnn.ops.activation import LeakyRelu, Relu
from graphcnn.ops.strided import END
from graphcnn.passes.base import Pass
from graphcnn.passes.rewrite import Rewrite, apply_rules, substitute

# A constant may be larger than what it is computed from, as in a broadcast, up to this size.
SMALL_CONSTANT_BYTES = 1 << 20


@dataclass(frozen=True)
class Simplify(Pass):
    """Identities, constants, common subexpressions and dead nodes, to a fixed point.

    A graph that arrives fused is inlined first: how to group it is decided anew.

    Finite results are bit-identical, up to the sign of zero (x + 0 turns -0 into +0). NaN stays
    NaN.

    Given:
        graph g {
          input x: f32[1,4,8,8]
          param w: f32[4,4,1,1]
          conv: f32[1,4,8,8] = conv2d(x, w)
          drop: f32[1,4,8,8] = dropout(conv)
          relu: f32[1,4,8,8] = relu(drop)
          again: f32[1,4,8,8] = relu(conv)
          dead: f32[1,4,8,8] = sigmoid(conv)
          sum: f32[1,4,8,8] = add(relu, again)
          return sum
        }
    Result:
        graph g {
          input x: f32[1,4,8,8]
          param w: f32[4,4,1,1]
          conv: f32[1,4,8,8] = conv2d(x, w)
          relu: f32[1,4,8,8] = relu(conv)
          sum: f32[1,4,8,8] = add(relu, relu)
          return sum
        }
    """

    name: ClassVar[str] = "simplify"

    def run(self, graph: Graph, log: CompileLog) -> Graph:
        """The graph without what it does not need."""
        before, after = None, inline(graph)
        while after != before:
            before = after
            ruled = apply_rules(before, (drop_identity, fold_constant), log, self.name)
            after = _without_dead(_without_twins(ruled, log), log)
        return after


def drop_identity(node: Node, graph: Graph) -> Rewrite | None:
    """op(x) -> x, where op changes nothing, for any batch size."""
    kept = _equal_operand(node, graph)
    if kept is None:
        return None
    return Rewrite(f"{node.op} changes nothing; '{kept}' is read instead", {node.name: kept})


def _equal_operand(node: Node, graph: Graph) -> str | None:
    """The operand that a node's value is equal to, if any."""
    x = node.inputs[0]
    if isinstance(node.op, Arithmetic):
        return _operand_beside(node, graph, node.op)
    if node.type != graph.type_of(x):
        return None
    match node.op:
        case Reshape(infers_first=False):
            return None
        case op if op.kind is OpKind.VIEW:
            return x
        case Pad() | GlobalAvgPool2d():
            return x
        case Permute(dims) if dims == tuple(sorted(dims)):
            return x
        case Slice(dim, start, stop, step) if dim > 0 or (start, stop, step) == (0, END, 1):
            return x
        case Expand(keeps_first=True) | PixelShuffle(1) | PixelUnshuffle(1):
            return x
        case Roll(shifts) if not any(shifts):
            return x
        case Concat() if len(node.inputs) == 1:
            return x
        case Pooling(kernel_size=taps) if set(taps) == {1}:
            return x
        case Relu() | LeakyRelu() if (maker := graph.producer(x)) and maker.op == Relu():
            return x
    return None


def _operand_beside(node: Node, graph: Graph, op: Arithmetic) -> str | None:
    """The operand whose partner is a param that holds the neutral element only."""
    orders = (node.inputs, node.inputs[::-1]) if op.commutative else (node.inputs,)
    for kept, other in orders:
        param = graph.param_by_name.get(other)
        if param is None or param.data is None or graph.type_of(kept) != node.type:
            continue
        if len(param.type.shape) == len(node.type.shape) and param.type.shape[:1] > (1,):
            continue  # a number for each sample, which fixes the batch size
        if op.neutral is not None and np.all(param.data == op.neutral):
            return kept
    return None


def fold_constant(node: Node, graph: Graph) -> Rewrite | Refusal | None:
    """op(params) -> param, computed in float64 and rounded once, as running the node stores it.

    So a product of two half-precision params is a half-precision number here too, and may
    underflow: what the graph says, and what torch computes.
    """
    params = [graph.param_by_name[name] for name in node.inputs if graph.is_param(name)]
    if (
        not node.op.pure
        or len(params) < len(node.inputs)
        or any(param.data is None for param in params)
    ):
        return None
    room = max(SMALL_CONSTANT_BYTES, sum(param.type.nbytes for param in params))
    if node.type.nbytes > room:
        because = (
            f"the constant would take {node.type.nbytes} bytes, more than its operands and than "
            f"{SMALL_CONSTANT_BYTES}"
        )
        return Refusal(Simplify.name, node.name, because, node.inputs)
    with np.errstate(over="ignore", invalid="ignore"):
        value = node.type.dtype.round(node.op.reference(*map(weights, params)))
    constant = Param(node.name, node.type, value)
    try:
        check_data(constant)
        for reader in graph.users(node.name):
            known = (value if name == node.name else None for name in reader.inputs)
            reader.op.check_constants(*known)
    except GraphCNNError as error:
        return Refusal(Simplify.name, node.name, f"as a constant, {error.what}", node.inputs)
    return Rewrite("constant", {node.name: constant})


def _without_twins(graph: Graph, log: CompileLog) -> Graph:
    """The graph with nodes of equal op and operands merged into the first of them."""
    twins: dict[str, str] = {}
    first: dict[object, str] = {}
    for node in graph.nodes:
        operands = [twins.get(name, name) for name in node.inputs]
        if isinstance(node.op, Arithmetic) and node.op.commutative:
            operands.sort()
        apart = () if node.op.pure else (node.name,)
        twin = first.setdefault((node.op, *operands, *apart), node.name)
        if twin != node.name:
            twins[node.name] = twin
            log.did(Simplify.name, node.name, f"computes the same as '{twin}'")
    return substitute(graph, twins, log)


def _without_dead(graph: Graph, log: CompileLog) -> Graph:
    """The graph without nodes that no output depends on."""
    needed = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    for node in graph.nodes:
        if node.name not in needed:
            log.did(Simplify.name, node.name, "nothing reads it")
    return graph.replace(nodes=tuple(node for node in graph.nodes if node.name in needed))
