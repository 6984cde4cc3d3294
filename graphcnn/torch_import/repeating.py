"""Constants that are repeated for each sample, such as a learned token in front of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import fx

from graphcnn.frontend import arithmetic, functional
from graphcnn.frontend.expr import Tensor
from graphcnn.torch_import.movement import Shape, Size, expanded


def sample(
    node: fx.Node, values: Mapping[fx.Node, Any], shape: Callable[[Any], Shape]
) -> Tensor | None:
    """An input with the batch that a constant is repeated for, if a call does just that."""
    if str(node.target) not in ("aten.expand.default", "aten.expand_as.default"):
        return None
    own, made = node.all_input_nodes[0].meta["val"], node.meta["val"]
    follows = [isinstance(size, Size) for size in shape(made)]
    alone = own.is_floating_point() and (own.dim() < made.dim() or own.shape[0] == 1)
    if follows[:1] != [True] or any(follows[1:]) or not alone:
        return None
    for one in node.graph.find_nodes(op="placeholder"):
        value = values.get(one)
        is_fed = isinstance(value, Tensor) and value.dtype.is_float
        if is_fed and one.meta["val"].shape[:1] == made.shape[:1]:
            return value
    return None


def per_sample(x: Tensor, shape: Shape, sample: Tensor) -> Tensor:
    """x, which no sample is part of, for each sample: added to a zero of each, also of NaN."""
    first = sample[(slice(None), *(slice(0, 1),) * (len(sample.shape) - 1))]
    zeros = arithmetic.mul(arithmetic.ne(first, first), 0.0)
    zeros = functional.reshape(zeros, (-1, *(1,) * (len(shape) - 1)))
    return arithmetic.add(zeros, expanded(x, (1, *shape[1:])))
