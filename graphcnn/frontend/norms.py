"""Norms by statistics, running ones or of the tensor itself, under PyTorch's functional names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcnn import ops
from graphcnn.errors import InvalidAttribute
from graphcnn.frontend.expr import Tensor, Weight, WeightLike, apply, on_the_users_line, symbolic
from graphcnn.frontend.short_forms import integer, number, per_axis
from graphcnn.ir.types import TensorType


@on_the_users_line
def batch_norm(
    input: Tensor,
    running_mean: WeightLike,
    running_var: WeightLike,
    weight: WeightLike | None = None,
    bias: WeightLike | None = None,
    eps: float = 1e-5,
    *,
    name: str | None = None,
) -> Tensor:
    """Normalise each channel of input[N, C, ...] by running statistics; all vectors are [C].

    Raises:
        RankError, ChannelMismatch, InvalidAttribute, NonFiniteWeights: with the user's line.
    """
    type = symbolic(input).type
    channels = type.with_shape(type.shape[1:2])
    return apply(
        ops.BatchNorm(number(eps)),
        name,
        input,
        running_mean=running_mean,
        running_var=running_var,
        weight=_filled(1.0, channels) if weight is None else weight,
        bias=_filled(0.0, channels) if bias is None else bias,
    )


@on_the_users_line
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: WeightLike | None = None,
    bias: WeightLike | None = None,
    eps: float = 1e-5,
    *,
    name: str | None = None,
) -> Tensor:
    """Normalise each group of channels of each sample of input[N, C, ...]; the vectors are [C].

    Raises:
        RankError, ChannelMismatch, InvalidAttribute, NonFiniteWeights: with the user's line.
    """
    op = ops.GroupNorm(integer(num_groups), number(eps))
    return _applied(op, input, weight, bias, symbolic(input).shape[1:2], name)


@on_the_users_line
def instance_norm(
    input: Tensor,
    running_mean: WeightLike | None = None,
    running_var: WeightLike | None = None,
    weight: WeightLike | None = None,
    bias: WeightLike | None = None,
    use_input_stats: bool = True,
    eps: float = 1e-5,
    *,
    name: str | None = None,
) -> Tensor:
    """Normalise each channel of each sample of input[N, C, ...]; all vectors are [C].

    As in PyTorch it is by the channel's own statistics, and running ones are ignored, unless
    `use_input_stats` is False: then it is `batch_norm`.

    Raises:
        RankError, ChannelMismatch, InvalidAttribute, NonFiniteWeights: with the user's line.
    """
    if not isinstance(use_input_stats, bool):
        raise _no_statistics("use_input_stats is a flag", type(use_input_stats).__name__)
    if use_input_stats:
        op = ops.InstanceNorm(number(eps))
        return _applied(op, input, weight, bias, symbolic(input).shape[1:2], name)
    if running_mean is None or running_var is None:
        raise _no_statistics("without the input's statistics it takes running ones", "None")
    return batch_norm(input, running_mean, running_var, weight, bias, eps, name=name)


@on_the_users_line
def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: WeightLike | None = None,
    bias: WeightLike | None = None,
    eps: float = 1e-5,
    *,
    name: str | None = None,
) -> Tensor:
    """Normalise the last dimensions of the input, whose shape weight and bias have.

    Raises:
        ShapeError, ChannelMismatch, InvalidAttribute, NonFiniteWeights: with the user's line.
    """
    op = ops.LayerNorm(per_axis(normalized_shape, 1), number(eps))
    return _applied(op, input, weight, bias, op.normalized_shape, name)


def _applied(
    op: ops.Standardize,
    input: Tensor,
    weight: WeightLike | None,
    bias: WeightLike | None,
    shape: tuple[int, ...],
    name: str | None,
) -> Tensor:
    """The norm with the weights that are given; a bias alone stands behind ones."""
    weights: dict[str, Any] = {}
    if weight is not None or bias is not None:
        ones = _filled(1.0, symbolic(input).type.with_shape(shape))
        weights["weight"] = ones if weight is None else weight
    return apply(op, name, input, **weights, bias=bias)


def _filled(number: float, type: TensorType) -> Weight:
    """What stands in the place of a vector that is not given."""
    return Weight.of(np.broadcast_to(number, type.shape), type.dtype, "a norm", constant=True)


def _no_statistics(what: str, got: str) -> InvalidAttribute:
    return InvalidAttribute(
        f"instance_norm: {what}",
        got=got,
        wanted="True, or False with running_mean and running_var",
        remedy="leave it out, or pass both running statistics",
    )
