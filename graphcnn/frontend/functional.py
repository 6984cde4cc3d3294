"""Operators as functions on symbolic tensors, under PyTorch's functional names.

Weights are NumPy arrays, torch tensors or `gx.param`s; they are converted to the input's dtype.
Shapes are checked when the function is called, so an error names the line it was written on. Every
function takes `name=`, the name of its value in the graph.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from functools import cache
from math import prod
from typing import Any

from graphcnn import ops
from graphcnn.arguments import flag, sequence
from graphcnn.errors import InvalidAttribute, RankError, counted, shown
from graphcnn.frontend.expr import (
    Call,
    Tensor,
    WeightLike,
    apply,
    on_the_users_line,
    symbolic,
)
from graphcnn.frontend.short_forms import integer, number, per_axis
from graphcnn.ir.op import Op
from graphcnn.ir.types import DType

Function = Callable[..., Tensor]
# The significant bits of dtypes that have fewer than float32.
_RANDOM_BITS = {DType.F16: 11, DType.BF16: 8}


@cache
def unary(op: type[Op]) -> Function:
    """The function that applies an op of one operand, under the op's name.

    Its parameters are `input`, the op's attributes, and `name`.
    """
    kind = inspect.Parameter
    attributes = [
        kind(
            f.name,
            kind.POSITIONAL_OR_KEYWORD,
            default=kind.empty if f.default is MISSING else f.default,
            annotation=f.type,
        )
        for f in fields(op)  # type: ignore[arg-type]  # every op is a dataclass
    ]
    signature = inspect.Signature(
        [
            kind("input", kind.POSITIONAL_OR_KEYWORD, annotation="Tensor"),
            *attributes,
            kind("name", kind.KEYWORD_ONLY, default=None, annotation="str | None"),
        ],
        return_annotation="Tensor",
    )

    def function(*args: Any, **kwargs: Any) -> Tensor:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{op.name}() {error}") from None
        input, name = given.pop("input"), given.pop("name", None)
        made = op(**{field: number(value) for field, value in given.items()})
        return apply(made, name, input)

    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.__doc__
    function.__signature__ = signature  # type: ignore[attr-defined]  # what `inspect` looks for
    return on_the_users_line(function)


def _activation(name: str) -> Function:
    """The function of an activation."""
    op = Op.registry.get(name)
    if op is None or not issubclass(op, ops.Unary):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return unary(op)


# A variable: of a function, mypy re-exports the return type before it knows what that is.
__getattr__: Callable[[str], Function] = _activation

dropout = unary(ops.Dropout)
global_avg_pool2d = unary(ops.GlobalAvgPool2d)
local_response_norm = unary(ops.LocalResponseNorm)


random_normal = unary(ops.RandomNormal)


@on_the_users_line
def random_uniform(
    input: Tensor,
    seed: int,
    offset: int = 0,
    bits: int | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """Uniform numbers in [0, 1) of the input's shape and dtype; nothing else of it is read.

    Element i in row-major order has the highest `bits` of block `offset` + i of the stream `seed`
    of Philox-4x32-10: by default 24, 11 for float16 and 8 for bfloat16.

    Raises:
        InvalidAttribute, DTypeMismatch: with the user's line.
    """
    default = _RANDOM_BITS.get(symbolic(input).dtype, 24)
    bits = default if bits is None else integer(bits)
    return apply(ops.RandomUniform(integer(seed), integer(offset), bits), name, input)


def _reduction(op: type[ops.Reduction]) -> Function:
    """The function that applies a reduction, under its name."""

    def function(
        input: Tensor,
        dim: int | Sequence[int] | None = None,
        keepdim: bool = False,
        *,
        name: str | None = None,
    ) -> Tensor:
        return apply(op(_dimensions(input, dim), keepdim), name, input)

    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = f"""{op.__doc__}

    These are one or several, may be negative, and are all of them by default, and for (). With
    `keepdim` they stay, with size 1.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return on_the_users_line(function)


amax = _reduction(ops.Amax)
amin = _reduction(ops.Amin)
mean = _reduction(ops.Mean)
sum = _reduction(ops.Sum)


@on_the_users_line
def var(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: int | None = None,
    name: str | None = None,
) -> Tensor:
    """The variance along the dimensions `dim`: all of them by default.

    The sum of squared distances from the mean is divided by the number of elements, less the
    correction: 1 by default and where `unbiased` is true, 0 where that is false. Dimensions are
    those of `sum`.

    Raises:
        RankError, ShapeError, InvalidAttribute: with the user's line.
    """
    if unbiased is not None:
        flag(unbiased, "unbiased")
        if correction is not None:
            raise InvalidAttribute(
                "var: unbiased and correction say the same",
                got=f"unbiased={unbiased}, correction={shown(correction)}",
                wanted="one of both",
                remedy=f"leave out unbiased: correction={int(unbiased)} stands for it",
            )
        correction = int(unbiased)
    less = 1 if correction is None else integer(correction)
    return apply(ops.Var(_dimensions(input, dim), keepdim, less), name, input)


@on_the_users_line
def linear(
    input: Tensor, weight: WeightLike, bias: WeightLike | None = None, *, name: str | None = None
) -> Tensor:
    """input[..., I] times weight[O, I] transposed, plus bias[O]: [..., O].

    Raises:
        RankError, ChannelMismatch, ShapeError, NonFiniteWeights: with the user's line.
    """
    return apply(ops.Linear(), name, input, weight=weight, bias=bias)


@on_the_users_line
def prelu(input: Tensor, weight: WeightLike, *, name: str | None = None) -> Tensor:
    """x where x > 0, else weight * x. The weight is [1], or [C], a slope for each channel of
    input[N, C, ...].

    Raises:
        RankError, ChannelMismatch, DTypeMismatch, NonFiniteWeights: with the user's line.
    """
    return apply(ops.Prelu(), name, input, weight=weight)


@on_the_users_line
def argmax(input: Tensor, dim: int, keepdim: bool = False, *, name: str | None = None) -> Tensor:
    """Where the largest element along `dim` is, in int64: the first of several, and that of a NaN.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return apply(ops.Argmax(_dimension(input, dim), keepdim), name, input)


@on_the_users_line
def gather(input: Tensor, dim: int, index: Tensor, *, name: str | None = None) -> Tensor:
    """Elements by their numbers along `dim`: y[i, j] = input[i, index[i, j]] for dim=1.

    The index is an input of whole numbers, or computed. A call with one that is not along the
    input's dimension raises IndexOutOfRange.

    Raises:
        RankError, ShapeError, DTypeMismatch, InvalidAttribute: with the user's line.
    """
    operands = [symbolic(input), symbolic(index)]
    return Call(ops.Gather(_dimension(input, dim)), operands, ("input", "index"), name)


@on_the_users_line
def softmax(input: Tensor, dim: int = 1, *, name: str | None = None) -> Tensor:
    """exp(x) / sum of exp(x) along `dim`, which may be negative.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return apply(ops.Softmax(_dimension(input, dim)), name, input)


@on_the_users_line
def log_softmax(input: Tensor, dim: int = 1, *, name: str | None = None) -> Tensor:
    """Logarithm of the softmax along `dim`, which may be negative.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    return apply(ops.LogSoftmax(_dimension(input, dim)), name, input)


@on_the_users_line
def flatten(
    input: Tensor, start_dim: int = 1, end_dim: int = -1, *, name: str | None = None
) -> Tensor:
    """Make one dimension of those from `start_dim` to `end_dim`, in row-major order.

    Raises:
        RankError, InvalidAttribute: with the user's line.
    """
    start, shape = _dimension(input, start_dim), symbolic(input).shape
    end = _dimension(input, end_dim) if shape else -1
    if type(end) is int and end == len(shape) - 1:
        return apply(ops.Flatten(start), name, input)
    for dim in (start, end):
        ops.Flatten(dim).infer(input.type)
    if start > end:
        raise InvalidAttribute(
            "flatten() has invalid args: start_dim cannot come after end_dim",
            got=f"start_dim={start_dim}, end_dim={end_dim} of {input.type}",
            wanted="start_dim up to end_dim",
            remedy=f"for example start_dim={end}, end_dim={start}",
        )
    # The first size is not told, so that it follows another batch size.
    joined = (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])
    return apply(ops.Reshape((-1, *joined[1:])), name, input)


@on_the_users_line
def reshape(
    input: Tensor, shape: Sequence[int] | int, *sizes: int, name: str | None = None
) -> Tensor:
    """The same elements in row-major order under another shape; one size may be -1.

    The shape is a tuple, or its sizes are arguments, as in `x.reshape(2, -1)`.

    Raises:
        ShapeError, InvalidAttribute: with the user's line.
    """
    return apply(ops.Reshape(per_axis((shape, *sizes) if sizes else shape, 1)), name, input)


@on_the_users_line
def concat(tensors: Sequence[Tensor], dim: int = 1, *, name: str | None = None) -> Tensor:
    """Tensors side by side along `dim`, which may be negative.

    Raises:
        RankError, ShapeError, InvalidGraph, DTypeMismatch: with the user's line.
    """
    operands = sequence(tensors, "tensors", Tensor, "what the functions of graphcnn return")
    axis = _dimension(operands[0], dim) if operands else dim
    return Call(ops.Concat(axis), operands, [f"input{i}" for i in range(len(operands))], name)


def _dimensions(input: Tensor, dim: Any) -> Any:
    """Those of some dimensions, counted from the front and in order; None stands for all."""
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return tuple(range(len(symbolic(input).shape)))
    if not isinstance(dim, list | tuple):
        return (_dimension(input, dim),)
    counted = tuple(_dimension(input, one) for one in dim)
    return tuple(sorted(counted)) if all(type(one) is int for one in counted) else counted


def _dimension(input: Tensor, dim: int) -> int:
    """`dim` counted from the front."""
    dim = integer(dim)
    rank = len(symbolic(input).shape)
    if type(dim) is int and dim < -rank:
        raise RankError(
            f"dimension {shown(dim)} is out of range: the input has {counted(rank, 'dimension')}",
            got=str(input.type),
            wanted=f"a dimension from {-rank} to {rank - 1}" if rank else "none, of a scalar",
            remedy="count dimensions from 0, or from -1 backwards",
        )
    return dim + rank if type(dim) is int and dim < 0 else dim
