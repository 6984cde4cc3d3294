"""Operators as functions on symbolic tensors, under PyTorch's functional names.

Weights are NumPy arrays, torch tensors or `gx.param`s; they are converted to the input's dtype.
Shapes are checked when the function is called, so an error names the line it was written on. Every
function takes `name=`, the name of its value in the graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphcnn.arguments import sequence
from graphcnn.frontend.expr import Call, Tensor, WeightLike, apply, on_the_users_line, symbolic
from graphcnn.frontend.short_forms import integer, integers, number
from graphcnn.frontend.unary import unary
from graphcnn.ops import (
    BatchNorm,
    Concat,
    Dropout,
    Flatten,
    Gelu,
    GlobalAvgPool2d,
    Hardswish,
    LeakyRelu,
    Linear,
    LogSoftmax,
    Relu,
    Reshape,
    Sigmoid,
    Silu,
    Softmax,
    Tanh,
)

relu = unary(Relu)
leaky_relu = unary(LeakyRelu)
sigmoid = unary(Sigmoid)
tanh = unary(Tanh)
silu = unary(Silu)
hardswish = unary(Hardswish)
gelu = unary(Gelu)
dropout = unary(Dropout)
global_avg_pool2d = unary(GlobalAvgPool2d)


@on_the_users_line
def linear(
    input: Tensor, weight: WeightLike, bias: WeightLike | None = None, *, name: str | None = None
) -> Tensor:
    """input[..., I] times weight[O, I] transposed, plus bias[O]: [..., O].

    Raises:
        RankError, ChannelMismatch, ShapeError, NonFiniteWeights: with the user's line.
    """
    return apply(Linear(), name, input, weight=weight, bias=bias)


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
    channels = symbolic(input).shape[1:2]
    return apply(
        BatchNorm(number(eps)),
        name,
        input,
        running_mean=running_mean,
        running_var=running_var,
        weight=np.broadcast_to(1.0, channels) if weight is None else weight,
        bias=np.broadcast_to(0.0, channels) if bias is None else bias,
    )


@on_the_users_line
def softmax(input: Tensor, dim: int = 1, *, name: str | None = None) -> Tensor:
    """exp(x) / sum of exp(x) along `dim`, which may be negative.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return apply(Softmax(_dimension(input, dim)), name, input)


@on_the_users_line
def log_softmax(input: Tensor, dim: int = 1, *, name: str | None = None) -> Tensor:
    """Logarithm of the softmax along `dim`, which may be negative.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return apply(LogSoftmax(_dimension(input, dim)), name, input)


@on_the_users_line
def flatten(input: Tensor, start_dim: int = 1, *, name: str | None = None) -> Tensor:
    """Make one dimension of those from `start_dim` on, in row-major order.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return apply(Flatten(_dimension(input, start_dim)), name, input)


@on_the_users_line
def reshape(input: Tensor, shape: Sequence[int], *, name: str | None = None) -> Tensor:
    """The same elements in row-major order under another shape; one size may be -1.

    Raises:
        ShapeError, InvalidAttribute: with the user's line.
    """
    return apply(Reshape(integers(shape)), name, input)


@on_the_users_line
def concat(tensors: Sequence[Tensor], dim: int = 1, *, name: str | None = None) -> Tensor:
    """Tensors side by side along `dim`, which may be negative.

    Raises:
        RankError, ShapeError, InvalidGraph, DTypeMismatch: with the user's line.
    """
    operands = sequence(tensors, "tensors", Tensor, "what the functions of graphcnn return")
    axis = _dimension(operands[0], dim) if operands else dim
    return Call(Concat(axis), operands, [f"input{i}" for i in range(len(operands))], name)


def _dimension(input: Tensor, dim: int) -> int:
    """`dim` counted from the front."""
    dim = integer(dim)
    rank = len(symbolic(input).shape)
    return dim + rank if isinstance(dim, int) and -rank <= dim < 0 else dim
