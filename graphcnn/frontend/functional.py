"""The operators as functions on symbolic tensors, under PyTorch's functional names.

Weights are NumPy arrays, torch tensors or `gx.param`s; they are converted to the input's dtype.
Shapes are checked when the function is called, so an error names the line it was written on. Every
function takes `name=`, the name of its value in the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcnn.arguments import sequence
from graphcnn.errors import InputKindError
from graphcnn.frontend.expr import Call, Tensor, on_the_users_line
from graphcnn.frontend.short_forms import integer, integers, number, pair, sides
from graphcnn.frontend.weights import as_operand, as_weight
from graphcnn.ir.op import Op
from graphcnn.ops import (
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    LeakyRelu,
    Linear,
    LogSoftmax,
    MaxPool2d,
    Mul,
    Pad,
    Relu,
    Reshape,
    Sigmoid,
    Silu,
    Softmax,
    Tanh,
)

Pair = int | tuple[int, int]
Sides = int | tuple[int, int] | tuple[int, int, int, int]
# A NumPy array, a torch tensor or a Tensor. torch is not imported, so mypy cannot name its class.
WeightLike = Any


@on_the_users_line
def conv2d(
    input: Tensor,
    weight: WeightLike,
    bias: WeightLike | None = None,
    stride: Pair = 1,
    padding: Sides = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    name: str | None = None,
) -> Tensor:
    """Convolution (cross-correlation) of input[N, C, H, W] with weight[K, C/groups, R, S].

    Args:
        input: [N, C, H, W].
        weight: [K, C/groups, R, S].
        bias: [K].
        stride: Steps of the window, one number or (height, width).
        padding: Zeros around the input: one number, (height, width), or
            (top, left, bottom, right).
        dilation: Spacing of the filter's taps.
        groups: Number of groups; C for a depthwise convolution.
        name: Name of the value.

    Returns:
        [N, K, P, Q] with P = floor((H + top + bottom - dh*(R-1) - 1)/sh) + 1, Q alike.

    Raises:
        RankError, ChannelMismatch, InputTooSmall, ShapeError, InvalidAttribute, DTypeMismatch,
        NonFiniteWeights, InputKindError: with the user's line.
    """
    op = Conv2d(pair(stride), sides(padding), pair(dilation), integer(groups))
    return _call(op, name, input, weight=weight, bias=bias)


@on_the_users_line
def linear(
    input: Tensor, weight: WeightLike, bias: WeightLike | None = None, *, name: str | None = None
) -> Tensor:
    """input[..., I] times weight[O, I] transposed, plus bias[O]: [..., O].

    Raises:
        RankError, ChannelMismatch, ShapeError, NonFiniteWeights: with the user's line.
    """
    return _call(Linear(), name, input, weight=weight, bias=bias)


@on_the_users_line
def max_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Sides = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    *,
    name: str | None = None,
) -> Tensor:
    """Largest element of each window of input[N, C, H, W]; the stride defaults to the window.

    Raises:
        RankError, InputTooSmall, InvalidAttribute: with the user's line.
    """
    size = pair(kernel_size)
    step = size if stride is None else pair(stride)
    return _call(MaxPool2d(size, step, sides(padding), pair(dilation), ceil_mode), name, input)


@on_the_users_line
def avg_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Sides = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    name: str | None = None,
) -> Tensor:
    """Mean of each window of input[N, C, H, W]; the stride defaults to the window.

    Raises:
        RankError, InputTooSmall, InvalidAttribute: with the user's line.
    """
    size = pair(kernel_size)
    step = size if stride is None else pair(stride)
    op = AvgPool2d(size, step, sides(padding), ceil_mode, count_include_pad)
    return _call(op, name, input)


@on_the_users_line
def global_avg_pool2d(input: Tensor, *, name: str | None = None) -> Tensor:
    """Mean over height and width of input[N, C, H, W]: [N, C, 1, 1]."""
    return _call(GlobalAvgPool2d(), name, input)


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
    channels = _symbolic(input).shape[1:2]
    return _call(
        BatchNorm(number(eps)),
        name,
        input,
        running_mean=running_mean,
        running_var=running_var,
        weight=np.broadcast_to(1.0, channels) if weight is None else weight,
        bias=np.broadcast_to(0.0, channels) if bias is None else bias,
    )


@on_the_users_line
def relu(input: Tensor, *, name: str | None = None) -> Tensor:
    """max(x, 0)."""
    return _call(Relu(), name, input)


@on_the_users_line
def leaky_relu(input: Tensor, negative_slope: float = 0.01, *, name: str | None = None) -> Tensor:
    """x where x > 0, else negative_slope * x.

    Raises:
        InvalidAttribute: with the user's line, for a slope that is not finite in float32 (in
            float64, for float64 tensors).
    """
    return _call(LeakyRelu(number(negative_slope)), name, input)


@on_the_users_line
def sigmoid(input: Tensor, *, name: str | None = None) -> Tensor:
    """1 / (1 + exp(-x))."""
    return _call(Sigmoid(), name, input)


@on_the_users_line
def tanh(input: Tensor, *, name: str | None = None) -> Tensor:
    """tanh(x)."""
    return _call(Tanh(), name, input)


@on_the_users_line
def silu(input: Tensor, *, name: str | None = None) -> Tensor:
    """x / (1 + exp(-x))."""
    return _call(Silu(), name, input)


@on_the_users_line
def softmax(input: Tensor, dim: int = 1, *, name: str | None = None) -> Tensor:
    """exp(x) / sum of exp(x) along `dim`, which may be negative.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return _call(Softmax(_dimension(input, dim)), name, input)


@on_the_users_line
def log_softmax(input: Tensor, dim: int = 1, *, name: str | None = None) -> Tensor:
    """Logarithm of the softmax along `dim`, which may be negative.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return _call(LogSoftmax(_dimension(input, dim)), name, input)


@on_the_users_line
def dropout(input: Tensor, p: float = 0.5, *, name: str | None = None) -> Tensor:
    """The identity: graphcnn compiles for inference."""
    return _call(Dropout(number(p)), name, input)


@on_the_users_line
def add(input: Tensor, other: WeightLike, *, name: str | None = None) -> Tensor:
    """x + y with NumPy's broadcasting; `other` may be a tensor, an array or a number.

    A number keeps float32's precision beside half-precision tensors, as in PyTorch.

    Raises:
        ShapeError, DTypeMismatch, NonFiniteWeights: with the user's line.
    """
    return _arithmetic(Add(), name, input, other)


@on_the_users_line
def mul(input: Tensor, other: WeightLike, *, name: str | None = None) -> Tensor:
    """x * y with NumPy's broadcasting; `other` may be a tensor, an array or a number.

    A number keeps float32's precision beside half-precision tensors, as in PyTorch.

    Raises:
        ShapeError, DTypeMismatch, NonFiniteWeights: with the user's line.
    """
    return _arithmetic(Mul(), name, input, other)


@on_the_users_line
def flatten(input: Tensor, start_dim: int = 1, *, name: str | None = None) -> Tensor:
    """Make one dimension of those from `start_dim` on, in row-major order.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return _call(Flatten(_dimension(input, start_dim)), name, input)


@on_the_users_line
def reshape(input: Tensor, shape: Sequence[int], *, name: str | None = None) -> Tensor:
    """The same elements in row-major order under another shape; one size may be -1.

    Raises:
        ShapeError, InvalidAttribute: with the user's line.
    """
    return _call(Reshape(integers(shape)), name, input)


@on_the_users_line
def concat(tensors: Sequence[Tensor], dim: int = 1, *, name: str | None = None) -> Tensor:
    """Tensors side by side along `dim`, which may be negative.

    Raises:
        RankError, ShapeError, InvalidGraph, DTypeMismatch: with the user's line.
    """
    operands = sequence(tensors, "tensors", Tensor, "what the functions of graphcnn return")
    axis = _dimension(operands[0], dim) if operands else dim
    return Call(Concat(axis), operands, [f"input{i}" for i in range(len(operands))], name)


@on_the_users_line
def pad(input: Tensor, padding: Sides, value: float = 0.0, *, name: str | None = None) -> Tensor:
    """Surround the images of input[N, C, H, W] by `value`.

    Args:
        input: [N, C, H, W].
        padding: One number, (height, width), or (top, left, bottom, right); this is not the
            order of torch's `pad`.
        value: What to pad with; may be an infinity.
        name: Name of the value.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return _call(Pad(sides(padding), number(value)), name, input)


def _dimension(input: Tensor, dim: int) -> int:
    """`dim` counted from the front."""
    dim = integer(dim)
    rank = len(_symbolic(input).shape)
    return dim + rank if isinstance(dim, int) and -rank <= dim < 0 else dim


def _arithmetic(op: Op, name: str | None, input: Tensor, other: WeightLike) -> Call:
    first = _symbolic(input)
    if not isinstance(other, Tensor):
        other = as_operand(other, first.dtype, f"{name or op.name}.other")
    return Call(op, [first, other], ["input", "other"], name)


def _symbolic(value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise InputKindError(
            "an operator reads symbolic tensors",
            got=type(value).__name__,
            wanted="what gx.input(...) or another function of graphcnn returns",
            remedy="pass arrays as weights, or when the compiled network is called",
        )
    return value


def _call(op: Op, name: str | None, input: Tensor, **weights: WeightLike | None) -> Call:
    """The op applied to an input and its weights; a bias of None is left out."""
    first = _symbolic(input)
    given = {
        role: weight for role, weight in weights.items() if weight is not None or role != "bias"
    }
    operands = [
        weight
        if isinstance(weight, Tensor)
        else as_weight(weight, first.dtype, f"{name or op.name}.{role}")
        for role, weight in given.items()
    ]
    return Call(op, [first, *operands], ["input", *given], name)
