"""One spelling for each computation, so that later passes and targets look for one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from math import inf
from typing import ClassVar

import numpy as np

from graphcnn.errors import GraphCNNError
from graphcnn.ir import CompileLog, Graph, Node, Param, Refusal
from graphcnn.ir.op import Op
from graphcnn.ops import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptivePool,
    Add,
    Amax,
    Anchor,
    Arithmetic,
    AvgPool,
    AvgPool1d,
    AvgPool2d,
    Concat,
    Conv,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    Matmul,
    MaxPool,
    MaxPool1d,
    MaxPool2d,
    Mean,
    Mul,
    Pad,
    Reshape,
    Slice,
)
from graphcnn.ops.activation import Sigmoid, Silu
from graphcnn.passes.base import Pass
from graphcnn.passes.rewrite import Change, Rewrite, apply_rules, new_name

# The pool whose windows, of a given size and stride, are those of an adaptive pool.
PLAIN: dict[type[Op], Callable[[tuple[int, ...], tuple[int, ...]], Op]] = {
    AdaptiveAvgPool1d: AvgPool1d,
    AdaptiveAvgPool2d: AvgPool2d,
    AdaptiveMaxPool1d: MaxPool1d,
    AdaptiveMaxPool2d: MaxPool2d,
}


@dataclass(frozen=True)
class Canonicalize(Pass):
    """x * sigmoid(x) -> silu(x); constant operands on the right; conv + constant per channel ->
    bias; pad + conv or pool -> padding; conv + slice -> less padding; an adaptive pool -> a pool
    where its windows are alike; the mean of a whole map -> global_avg_pool2d; a reshape that
    flattens -> flatten; `ceil_mode` only where it adds a window; a concat of what another concat
    holds already -> a concat of that one; matmul with a constant matrix -> linear.

    Given:
        graph g {
          input x: f32[1,4,8,8]
          param w: f32[2,4,3,3]
          param b: f32[2,1,1]
          pad: f32[1,4,10,10] = pad(x, padding=(1, 1, 1, 1))
          conv: f32[1,2,8,8] = conv2d(pad, w)
          sum: f32[1,2,8,8] = add(b, conv)
          gate: f32[1,2,8,8] = sigmoid(sum)
          act: f32[1,2,8,8] = mul(gate, sum)
          pool: f32[1,2,1,1] = avg_pool2d(act, kernel_size=(8, 8), stride=(8, 8))
          flat: f32[1,2] = reshape(pool, shape=(-1, 2))
          return flat
        }
    Result:
        graph g {
          input x: f32[1,4,8,8]
          param w: f32[2,4,3,3]
          param sum.bias: f32[2]
          sum: f32[1,2,8,8] = conv2d(x, w, sum.bias, padding=(1, 1, 1, 1))
          act: f32[1,2,8,8] = silu(sum)
          pool: f32[1,2,1,1] = global_avg_pool2d(act)
          flat: f32[1,2] = flatten(pool)
          return flat
        }
    """

    name: ClassVar[str] = "canonicalize"

    def run(self, graph: Graph, log: CompileLog) -> Graph:
        """The graph in its one spelling."""
        rules = (
            silu,
            param_on_the_right,
            partial(bias, taken=log.names),
            padding,
            chomp,
            plain_pool,
            global_average,
            flatten,
            floor_mode,
            nested_concat,
            partial(linear, taken=log.names),
        )
        return apply_rules(graph, rules, log, self.name)


def silu(node: Node, graph: Graph) -> Rewrite | Refusal | None:
    """x * sigmoid(x) -> silu(x)."""
    if not isinstance(node.op, Mul):
        return None
    for x, gate in (node.inputs, node.inputs[::-1]):
        maker = graph.producer(gate)
        if maker is None or maker.op != Sigmoid() or maker.inputs != (x,):
            continue
        if not graph.sole_user(gate):
            return _read_elsewhere(node, gate, graph)
        merged = replace(node, op=Silu(), inputs=(x,))
        return Rewrite(f"with '{gate}', is silu({x})", {node.name: merged, gate: node.name})
    return None


def param_on_the_right(node: Node, graph: Graph) -> Rewrite | None:
    """add(p, x) -> add(x, p), and other commutative ops likewise."""
    if not (isinstance(node.op, Arithmetic) and node.op.commutative):
        return None
    left, right = node.inputs
    if not graph.is_param(left) or graph.is_param(right):
        return None
    swapped = replace(node, inputs=(right, left))
    return Rewrite("the constant goes to the right", {node.name: swapped})


def bias(node: Node, graph: Graph, taken: Collection[str]) -> Rewrite | Refusal | None:
    """add(conv2d(x, w), p[C,1,1]) -> conv2d(x, w, p[C]); other anchors likewise.

    A param of another shape gets a name that is not `taken`.
    """
    if not isinstance(node.op, Add):
        return None
    value, constant = node.inputs
    anchor, param = graph.producer(value), graph.param_by_name.get(constant)
    if anchor is None or param is None or not isinstance(anchor.op, Anchor):
        return None
    shape = anchor.type.shape
    axis = anchor.op.channel_axis % len(shape)
    per_channel = (shape[axis], *(1,) * (len(shape) - 1 - axis))
    if param.type.shape[-len(per_channel) :] != per_channel or param.type.size != shape[axis]:
        return None
    if len(anchor.inputs) == 3 or node.type != anchor.type:
        return None
    if not graph.sole_user(value):
        return _read_elsewhere(node, value, graph)
    vector = param.type.with_shape((param.type.size,))
    changes: dict[str, Change] = {anchor.name: node.name}
    name = constant
    if param.type != vector:
        name = new_name(f"{node.name}.bias", taken)
        data = None if param.data is None else param.data.reshape(vector.shape)
        changes[name] = Param(name, vector, data)
    changes[node.name] = replace(node, op=anchor.op, inputs=(*anchor.inputs, name))
    return Rewrite(f"with '{anchor.name}', is {anchor.op.name} with a bias", changes)


def padding(node: Node, graph: Graph) -> Rewrite | Refusal | None:
    """op(pad(x, p)) -> op(x, padding + p), for an op whose own padding has the pad's value."""
    pad = graph.producer(node.inputs[0])
    if pad is None or not isinstance(pad.op, Pad):
        return None
    own: float
    match node.op:
        case Conv() | AvgPool(ceil_mode=False, count_include_pad=True):
            own = 0.0
        case MaxPool(ceil_mode=False):
            own = -inf
        case AvgPool() | MaxPool():
            because = "with ceil_mode or without count_include_pad, padding does not count alike"
            return Refusal(Canonicalize.name, node.name, because, (pad.name,))
        case _:
            return None
    if pad.op.mode != "constant" or pad.op.value != own:
        other = pad.op.value if pad.op.mode == "constant" else f"mode '{pad.op.mode}'"
        because = f"it pads with {own}, and '{pad.name}' with {other}"
        return Refusal(Canonicalize.name, node.name, because, (pad.name,))
    if not graph.sole_user(pad.name):
        return _read_elsewhere(node, pad.name, graph)
    sides = tuple(a + b for a, b in zip(node.op.padding, pad.op.padding, strict=True))
    operands = (pad.inputs[0], *node.inputs[1:])
    try:
        op = replace(node.op, padding=sides)
        op.infer(*graph.types_of(operands))
    except GraphCNNError as error:
        return Refusal(Canonicalize.name, node.name, error.what, (pad.name,))
    padded = replace(node, op=op, inputs=operands)
    return Rewrite(f"pads by itself; '{pad.name}' goes", {node.name: padded, pad.name: node.name})


def chomp(node: Node, graph: Graph) -> Rewrite | Refusal | None:
    """slice(conv(x, padding)) -> conv(x, less padding), as in a causal convolution that pads both
    sides and drops what looks ahead."""
    conv = graph.producer(node.inputs[0]) if isinstance(node.op, Slice) else None
    if conv is None or not isinstance(conv.op, Conv) or not isinstance(node.op, Slice):
        return None
    axis = node.op.dim - 2
    if axis < 0 or node.op.step > 1:
        return None
    if not graph.sole_user(conv.name):
        return _read_elsewhere(node, conv.name, graph)
    size, stride = conv.type.shape[node.op.dim], conv.op.stride[axis]
    kept = range(size)[node.op.start : node.op.stop]
    sides = [*conv.op.padding]
    sides[axis] -= kept.start * stride
    sides[axis + conv.op.rank] -= (size - kept.stop) * stride
    if min(sides) < 0:
        because = f"it drops more of '{conv.name}' than padding makes"
        return Refusal(Canonicalize.name, node.name, because, (conv.name,))
    op = replace(conv.op, padding=tuple(sides))
    less = replace(node, op=op, inputs=conv.inputs)
    what = f"'{conv.name}' makes no more than it keeps"
    return Rewrite(what, {node.name: less, conv.name: node.name})


def plain_pool(node: Node, graph: Graph) -> Rewrite | None:
    """adaptive_pool(x) -> pool(x) where the output's sizes divide the input's; of a whole map, its
    largest element or its mean."""
    if not isinstance(node.op, AdaptivePool):
        return None
    sizes, windows = graph.type_of(node.inputs[0]).shape[2:], node.op.output_size
    if any(size % count for size, count in zip(sizes, windows, strict=True)):
        return None
    op: Op
    if set(windows) == {1}:
        whole = tuple(range(2, 2 + len(sizes)))
        largest = isinstance(node.op, AdaptiveMaxPool)
        op = Amax(whole, keepdim=True) if largest else Mean(whole, keepdim=True)
        op = GlobalAvgPool2d() if isinstance(node.op, AdaptiveAvgPool2d) else op
        return Rewrite("its window is the whole map", {node.name: replace(node, op=op)})
    kernel = tuple(size // count for size, count in zip(sizes, windows, strict=True))
    op = PLAIN[type(node.op)](kernel, kernel)
    return Rewrite("its windows are alike", {node.name: replace(node, op=op)})


def global_average(node: Node, graph: Graph) -> Rewrite | None:
    """avg_pool2d over the whole map -> global_avg_pool2d."""
    if not isinstance(node.op, AvgPool2d) or any(node.op.padding):
        return None
    if node.op.kernel_size != graph.type_of(node.inputs[0]).shape[2:]:
        return None
    return Rewrite("its window is the whole map", {node.name: replace(node, op=GlobalAvgPool2d())})


def flatten(node: Node, graph: Graph) -> Rewrite | None:
    """reshape to [-1, ..., product of the rest] -> flatten.

    Not where the first size is a number: such a reshape refuses other batch sizes.
    """
    shape = graph.type_of(node.inputs[0]).shape
    kept = len(node.type.shape) - 1
    if not isinstance(node.op, Reshape) or not node.op.infers_first or kept >= len(shape):
        return None
    if node.type.shape[:kept] != shape[:kept]:
        return None
    return Rewrite(f"joins dimension {kept} and up", {node.name: replace(node, op=Flatten(kept))})


def floor_mode(node: Node, graph: Graph) -> Rewrite | None:
    """ceil_mode=True -> False, where both give the same windows."""
    if not isinstance(node.op, AvgPool | MaxPool) or not node.op.ceil_mode:
        return None
    floored = replace(node.op, ceil_mode=False)
    try:
        if floored.infer(*graph.types_of(node.inputs)) != node.type:
            return None
    except GraphCNNError:
        return None
    return Rewrite("ceil_mode adds no window", {node.name: replace(node, op=floored)})


def nested_concat(node: Node, graph: Graph) -> Rewrite | None:
    """concat(a, b, c) -> concat(ab, c), where ab = concat(a, b) stands before it.

    So a DenseNet that lists all its features for each layer becomes one whose features grow.
    """
    if not isinstance(node.op, Concat):
        return None
    runs = {}  # the operands side by side that a concat before it holds
    for other in takewhile(lambda other: other is not node, graph.nodes):
        if other.op == node.op and 1 < len(other.inputs) < len(node.inputs):
            runs[other.inputs] = other.name
    for length in range(len(node.inputs) - 1, 1, -1) if runs else ():
        for at in range(len(node.inputs) - length + 1):
            end = at + length
            if (held := runs.get(node.inputs[at:end])) is not None:
                inputs = (*node.inputs[:at], held, *node.inputs[end:])
                what = f"reads '{held}', which holds {length} of its operands side by side"
                return Rewrite(what, {node.name: replace(node, inputs=inputs)})
    return None


def linear(node: Node, graph: Graph, taken: Collection[str]) -> Rewrite | None:
    """matmul(x, p[I, O]) -> linear(x, p transposed), which has kernels.

    The weight gets a name that is not `taken`.
    """
    if not isinstance(node.op, Matmul):
        return None
    x, matrix = node.inputs
    param = graph.param_by_name.get(matrix)
    if param is None or len(param.type.shape) != 2:
        return None
    data = None if param.data is None else np.ascontiguousarray(param.data.T)
    name = new_name(f"{node.name}.weight", taken)
    weight = Param(name, param.type.with_shape(param.type.shape[::-1]), data)
    product = replace(node, op=Linear(), inputs=(x, name))
    return Rewrite("its second operand is a constant", {name: weight, node.name: product})


def _read_elsewhere(node: Node, value: str, graph: Graph) -> Refusal:
    """The refusal to merge a value that more than `node` reads."""
    others = tuple(user.name for user in graph.users(value) if user.name != node.name)
    readers = " and ".join([*others, *["the caller"] * (value in graph.outputs)])
    because = f"'{value}' is also read by {readers}"
    return Refusal(Canonicalize.name, node.name, because, others or (value,))
