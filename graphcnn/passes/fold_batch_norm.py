"""batch_norm(conv(x, W) + b) -> conv(x, s*W) + s*(b - mean) + beta, s = gamma / sqrt(var + eps).

At inference a batch norm is an affine map per channel, so it disappears into the convolution or
linear layer in front of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from graphcnn.ir import CompileLog, Graph, Node, Param, Refusal
from graphcnn.ir.evaluate import weights
from graphcnn.ops import BatchNorm, Conv2d, Linear
from graphcnn.passes.base import Pass
from graphcnn.passes.rewrite import Rewrite, apply_rules, param_name


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Only after a conv2d or linear whose value nothing else reads, and never across another op.

    The new weights are computed in float64 and rounded once. A batch norm that cannot be folded
    stays, and the log says why.

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
          param conv.weight: f32[2,4,3,3]
          param conv.bias: f32[2]
          conv: f32[1,2,6,6] = conv2d(x, conv.weight, conv.bias)
          relu: f32[1,2,6,6] = relu(conv)
          return relu
        }
    """

    name: ClassVar[str] = "fold-batch-norm"

    def run(self, graph: Graph, log: CompileLog) -> Graph:
        """The graph with every batch norm that can be folded gone."""
        return apply_rules(graph, (fold,), log, self.name)


def fold(node: Node, graph: Graph) -> Rewrite | Refusal | None:
    """batch_norm(anchor(x, W, b)) -> anchor(x, W', b')."""
    if not isinstance(node.op, BatchNorm):
        return None

    def refuse(because: str, *blame: str) -> Refusal:
        return Refusal(FoldBatchNorm.name, node.name, because, blame)

    value, *statistics = node.inputs
    anchor = graph.producer(value)
    if anchor is None:
        return refuse(f"its input '{value}' is no conv2d's or linear's value", value)
    if not isinstance(anchor.op, Conv2d | Linear):
        behind = graph.producer(anchor.inputs[0])
        if behind is not None and isinstance(behind.op, Conv2d | Linear):
            return refuse(
                f"{anchor.op.name} '{anchor.name}' stands between it and '{behind.name}'",
                anchor.name,
            )
        return refuse(f"its input is the value of {anchor.op.name} '{anchor.name}'", anchor.name)
    if isinstance(anchor.op, Linear) and len(anchor.type.shape) != 2:
        return refuse(f"dimension 1 of {anchor.type} is not the linear layer's features", value)
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

    folded = _folded(node.op, anchor, statistics, graph)
    for param in folded.values():
        if not np.isfinite(weights(param)).all():
            return refuse(f"the folded '{param.name}' is not finite in {param.type.dtype}", value)
    merged = replace(anchor, inputs=(anchor.inputs[0], *folded))
    return Rewrite(
        f"is folded into '{anchor.name}'",
        {node.name: anchor.name, anchor.name: merged, **folded},
    )


def _folded(norm: BatchNorm, anchor: Node, statistics: list[str], graph: Graph) -> dict[str, Param]:
    """The anchor's new weight and bias, by name."""
    mean, var, gamma, beta = (weights(graph.param_by_name[name]) for name in statistics)
    old = graph.param_by_name[anchor.inputs[1]]
    shift = weights(graph.param_by_name[anchor.inputs[2]]) if len(anchor.inputs) == 3 else 0.0
    scale = gamma / np.sqrt(var + norm.eps)
    dtype = old.type.dtype
    wide = weights(old)
    wide *= scale.reshape(-1, *(1,) * (wide.ndim - 1))
    bias_of = anchor.inputs[2] if len(anchor.inputs) == 3 else ""
    bias_type = old.type.with_shape(scale.shape)
    with np.errstate(over="ignore"):
        weight = dtype.round(wide)
        bias = dtype.round((shift - mean) * scale + beta)
    params = (
        Param(param_name(graph, f"{anchor.name}.weight", anchor.inputs[1]), old.type, weight),
        Param(param_name(graph, f"{anchor.name}.bias", bias_of), bias_type, bias),
    )
    return {param.name: param for param in params}
