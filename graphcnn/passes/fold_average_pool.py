"""avg_pool(conv(x, W) + b) -> conv(x, W') + b, with a longer stride and W' the mean of W shifted.

An average of neighbouring products with one filter is a product with the average of the filter at
its places. Where windows do not overlap much, the one convolution multiplies less often than the
first did.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import gcd, prod
from typing import ClassVar

import numpy as np

from graphcnn.ir import Array, CompileLog, Graph, Node, Param, Refusal
from graphcnn.ir.evaluate import weights
from graphcnn.ops import AvgPool, Conv
from graphcnn.passes.base import Pass
from graphcnn.passes.fold_batch_norm import rounding_loss
from graphcnn.passes.rewrite import Rewrite, apply_rules, new_name


@dataclass(frozen=True)
class FoldAveragePool(Pass):
    """Only a pool without padding, right behind a convolution whose value nothing else reads, and
    only where that is fewer products.

    The new weights are computed in float64 and rounded once; not in half precision where they fall
    below its normal range.

    Given:
        graph g {
          input x: f32[1,4,8,8]
          param w: f32[2,4,3,3]
          param b: f32[2]
          conv: f32[1,2,6,6] = conv2d(x, w, b)
          pool: f32[1,2,3,3] = avg_pool2d(conv, kernel_size=(2, 2), stride=(2, 2))
          return pool
        }
    Result:
        graph g {
          input x: f32[1,4,8,8]
          param b: f32[2]
          param pool.averaged_weight: f32[2,4,4,4]
          pool: f32[1,2,3,3] = conv2d(x, pool.averaged_weight, b, stride=(2, 2))
          return pool
        }
    """

    name: ClassVar[str] = "fold-average-pool"

    def run(self, graph: Graph, log: CompileLog) -> Graph:
        """The graph with every average pool that can be folded gone."""
        return apply_rules(graph, (partial(fold, taken=log.names),), log, self.name)


def fold(node: Node, graph: Graph, taken: Collection[str]) -> Rewrite | Refusal | None:
    """avg_pool(conv(x, W, b)) -> conv(x, W', b); the name of W' is not `taken`."""
    conv = graph.producer(node.inputs[0]) if isinstance(node.op, AvgPool) else None
    if conv is None or not isinstance(conv.op, Conv) or not isinstance(node.op, AvgPool):
        return None

    def refuse(because: str, *blame: str) -> Refusal:
        return Refusal(FoldAveragePool.name, node.name, because, blame)

    if not graph.sole_user(conv.name):
        return refuse(f"'{conv.name}' is also read by others", conv.name)
    if any(node.op.padding) or node.op.ceil_mode:
        return refuse("at the border its windows average fewer products than inside")
    weight = graph.param_by_name.get(conv.inputs[1])
    if weight is None or weight.data is None:
        return refuse(f"'{conv.inputs[1]}' has no data yet", conv.inputs[1])
    op, pool, taps = conv.op, node.op, weight.type.shape[2:]
    steps = tuple(
        gcd(stride if p > 1 else 0, dilation if r > 1 else 0) or 1
        for p, r, stride, dilation in zip(
            pool.kernel_size, taps, op.stride, op.dilation, strict=True
        )
    )
    sizes = tuple(
        ((p - 1) * stride + (r - 1) * dilation) // step + 1
        for p, r, stride, dilation, step in zip(
            pool.kernel_size, taps, op.stride, op.dilation, steps, strict=True
        )
    )
    before = prod(taps) * prod(conv.type.shape[2:])
    after = prod(sizes) * prod(node.type.shape[2:])
    if after >= before:
        because = f"{after:,} products of each two channels, against {before:,} before the pool"
        return refuse(because, conv.name)
    dtype = node.type.dtype
    exact = _averaged(weights(weight), sizes, steps, op, pool)
    data = dtype.round(exact)
    if (lost := rounding_loss(exact, data, 0, dtype)) > dtype.unit_roundoff:
        because = f"rounding takes {lost:.2g} of a filter's norm below the normal range"
        return refuse(because, conv.name)
    name = new_name(f"{node.name}.averaged_weight", taken)
    param = Param(name, weight.type.with_shape(exact.shape), data)
    strides = tuple(a * b for a, b in zip(op.stride, pool.stride, strict=True))
    inputs = (conv.inputs[0], name, *conv.inputs[2:])
    merged = replace(node, op=replace(op, stride=strides, dilation=steps), inputs=inputs)
    what = f"with '{conv.name}', is one convolution of {after:,} products, not {before:,}"
    return Rewrite(what, {conv.name: node.name, node.name: merged, name: param})


def _averaged(
    weight: Array, sizes: tuple[int, ...], steps: tuple[int, ...], op: Conv, pool: AvgPool
) -> Array:
    """The mean of a filter at the places of a window's elements, on a grid of `steps`."""
    total = np.zeros((*weight.shape[:2], *sizes))
    for at in product(*map(range, pool.kernel_size)):
        places = tuple(
            slice(
                t * stride // step,
                t * stride // step + (r - 1) * dilation // step + 1,
                max(1, dilation // step),
            )
            for t, stride, dilation, step, r in zip(
                at, op.stride, op.dilation, steps, weight.shape[2:], strict=True
            )
        )
        total[(slice(None), slice(None), *places)] += weight
    return total / prod(pool.kernel_size)
