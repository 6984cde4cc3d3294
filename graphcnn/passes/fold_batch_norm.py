"""batch_norm(conv(x, W) + b) -> conv(x, s*W) + s*(b - mean) + beta, s = gamma / sqrt(var + eps).

At inference a batch norm is an affine map per channel, so it disappears into the convolution or
linear layer in front of it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from graphcnn.ir import Array, CompileLog, DType, Graph, Node, Param, Refusal, TensorType
from graphcnn.ir.evaluate import weights
from graphcnn.ops import Anchor, BatchNorm
from graphcnn.passes.base import Pass
from graphcnn.passes.rewrite import Rewrite, apply_rules, new_name


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Only after a convolution or linear layer whose value nothing else reads, and never across
    another op.

    The new weights are computed in float64 and rounded once. They are not taken where that loses
    more than rounding normal numbers does: a small scale can push half-precision weights below the
    normal range, which the product of the two in float32 keeps. A batch norm that cannot be folded
    stays, a scale and a shift in float32, and the log says why.

    Given:
        graph g {
          input x: f32[1,4,8,8]
          param w: f32[2,4,3,3]
          param mean: f32[2]
          param var: f32[2]
          param gamma: f32[2]
          param beta: f32[2]
          conv: f32[1,2,6,6] = conv2d(x, w)
          norm: f32[1,2,6,6] = batch_norm(conv, mean, var, gamma, beta)
          relu: f32[1,2,6,6] = relu(norm)
          return relu
        }
    Result:
        graph g {
          input x: f32[1,4,8,8]
          param norm.folded_weight: f32[2,4,3,3]
          param norm.folded_bias: f32[2]
          norm: f32[1,2,6,6] = conv2d(x, norm.folded_weight, norm.folded_bias)
          relu: f32[1,2,6,6] = relu(norm)
          return relu
        }
    """

    name: ClassVar[str] = "fold-batch-norm"

    def run(self, graph: Graph, log: CompileLog) -> Graph:
        """The graph with every batch norm that can be folded gone."""
        folded = apply_rules(graph, (partial(fold, taken=log.names),), log, self.name)
        # Only now, so that a batch norm folded into folded weights is not folded into rounded ones.
        params = tuple(
            param if graph.defines(param.name) else replace(param, data=_rounded(param))
            for param in folded.params
        )
        return folded.replace(params=params)


def _rounded(param: Param) -> Array:
    return param.type.dtype.round(param.values)


def fold(node: Node, graph: Graph, taken: Collection[str]) -> Rewrite | Refusal | None:
    """batch_norm(anchor(x, W, b)) -> anchor(x, W', b').

    The params' names are not `taken`, and their data are in float64 whatever their dtype is.
    """
    if not isinstance(node.op, BatchNorm):
        return None

    def refuse(because: str, *blame: str) -> Refusal:
        return Refusal(FoldBatchNorm.name, node.name, because, blame)

    value, *statistics = node.inputs
    anchor = graph.producer(value)
    if anchor is None:
        return refuse(f"its input '{value}' is no convolution's or linear layer's value", value)
    if not isinstance(anchor.op, Anchor):
        behind = graph.producer(anchor.inputs[0])
        if behind is not None and isinstance(behind.op, Anchor):
            return refuse(
                f"{anchor.op.name} '{anchor.name}' stands between it and '{behind.name}'",
                anchor.name,
            )
        return refuse(f"its input is the value of {anchor.op.name} '{anchor.name}'", anchor.name)
    if anchor.op.channel_axis % len(anchor.type.shape) != 1:
        because = f"dimension 1 of {anchor.type} is not the features of {anchor.op.name}"
        return refuse(because, value)
    if value in graph.outputs:
        return refuse(f"'{value}' is an output of the graph", value)
    others = tuple(user.name for user in graph.users(value) if user.name != node.name)
    if others:
        return refuse(f"'{value}' is also read by {', '.join(others)}", *others)
    needed = (*anchor.inputs[1:], *statistics)
    for name in needed:
        if not graph.is_param(name):
            return refuse(f"'{name}' is computed by the graph, not a param", name)
        if graph.param_by_name[name].data is None:
            return refuse(f"'{name}' has a type and no data", name)

    dtype, axis = node.type.dtype, anchor.op.filter_axis
    if graph.type_of(anchor.inputs[1]).shape[axis] != node.type.shape[1]:
        because = f"the groups of '{anchor.name}' share the features of its weight"
        return refuse(because, anchor.name)
    params: dict[str, Param] = {}
    for role, exact in _folded(node.op, anchor, axis, statistics, graph).items():
        data = dtype.round(exact)
        if not np.isfinite(data).all():
            return refuse(f"the folded {role} is not finite in {dtype}", value)
        # A bias below the normal range is off by less than storing the result is.
        lost = rounding_loss(exact, data, axis, dtype) if role == "weight" else 0.0
        if lost > dtype.unit_roundoff:
            because = (
                f"the folded weight falls below the normal range of {dtype}: rounding takes "
                f"{lost:.2g} of a filter's norm, and {dtype.unit_roundoff:.2g} of normal numbers"
            )
            return refuse(because, value)
        name = new_name(f"{node.name}.folded_{role}", taken)
        params[name] = Param(name, TensorType(exact.shape, dtype), exact)
    merged = replace(node, op=anchor.op, inputs=(anchor.inputs[0], *params))
    return Rewrite(
        f"is folded into '{anchor.name}'", {anchor.name: node.name, node.name: merged, **params}
    )


def rounding_loss(exact: Array, rounded: Array, axis: int, dtype: DType) -> float:
    """How much of an output channel's weights rounding takes, by Euclidean norm, at most.

    Of normal numbers it takes at most the unit roundoff: it moves each by no more than that.
    """
    if np.abs(rounded).min() > np.finfo(rounded.dtype).smallest_normal:
        return dtype.unit_roundoff
    axes = range(exact.ndim)
    error, size = (
        np.sqrt(np.einsum(array, axes, array, axes, [axis])) for array in (rounded - exact, exact)
    )
    return float((error / np.where(size > 0, size, 1.0)).max())


def _folded(
    norm: BatchNorm, anchor: Node, axis: int, statistics: list[str], graph: Graph
) -> dict[str, Array]:
    """The anchor's new weight, whose features lie along an axis, and bias, in float64."""
    mean, var, gamma, beta = (weights(graph.param_by_name[name]) for name in statistics)
    shift = weights(graph.param_by_name[anchor.inputs[2]]) if len(anchor.inputs) == 3 else 0.0
    scale = gamma / np.sqrt(var + norm.eps)
    weight = weights(graph.param_by_name[anchor.inputs[1]])
    weight *= scale.reshape(-1, *(1,) * (weight.ndim - 1 - axis))
    return {"weight": weight, "bias": (shift - mean) * scale + beta}
