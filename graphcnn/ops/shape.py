"""Ops that compute nothing, and those of them that keep their operands' elements in order."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from graphcnn.errors import InvalidAttribute, InvalidGraph, RankError, ShapeError, shown
from graphcnn.ir.op import Array, Cost, Op, OpKind
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import (
    FLOAT,
    check_dim,
    check_integer,
    check_number,
    check_operands,
    is_integer,
)


class Movement(Op):
    """An op that computes nothing."""

    kind: ClassVar[OpKind] = OpKind.INJECTIVE

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """A copy."""
        return Cost(reads=sum(type.size for type in inputs), writes=output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The operands' errors, moved alike."""
        return self.reference(*errors)


class View(Movement):
    """An op whose value is another name for its operand's elements, in the same order."""

    kind: ClassVar[OpKind] = OpKind.VIEW


@dataclass(frozen=True)
class Flatten(View):
    """Dimensions from `start_dim` on become one, in row-major (C, H, W) order."""

    name: ClassVar[str] = "flatten"
    start_dim: int = 1

    def __post_init__(self) -> None:
        check_integer(self, "start_dim", 0)

    def infer(self, *inputs: TensorType) -> TensorType:
        """[..., product of the rest]; raises RankError when the dimension is lacking."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        check_dim(self, self.start_dim, x)
        return x.with_shape((*x.shape[: self.start_dim], prod(x.shape[self.start_dim :])))

    def reference(self, *inputs: Array) -> Array:
        """A reshape."""
        (x,) = inputs
        return x.reshape(*x.shape[: self.start_dim], -1)


@dataclass(frozen=True)
class Reshape(View):
    """The same elements in row-major order under another shape; one size may be -1."""

    name: ClassVar[str] = "reshape"
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        shape = self.shape
        if (
            type(shape) is not tuple
            or not all(is_integer(size, -1) and size != 0 for size in shape)
            or shape.count(-1) > 1
        ):
            raise InvalidAttribute(
                "reshape: shape holds positive sizes, one of which may be -1",
                got=f"shape={shown(shape)}",
                wanted="a tuple of positive integers with at most one -1",
                remedy="for example shape=(1, -1)",
            )

    @property
    def infers_first(self) -> bool:
        """Whether the first size is inferred: only then does it follow another batch size."""
        return self.shape[:1] == (-1,)

    def infer(self, *inputs: TensorType) -> TensorType:
        """The shape with -1 filled in; raises ShapeError when the number of elements differs."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        known = prod(size for size in self.shape if size != -1)
        if x.size % known or (x.size != known and -1 not in self.shape):
            product = " * ".join(str(size) for size in self.shape if size != -1) or "1"
            raise ShapeError(
                "reshape keeps the number of elements",
                got=f"{x} has {x.size} elements, shape={self.shape} has {product} = {known}",
                wanted=f"a shape of {x.size} elements",
                remedy=f"for example shape=({x.shape[0] if x.shape else 1}, -1)",
            )
        return x.with_shape(tuple(x.size // known if size == -1 else size for size in self.shape))

    def reference(self, *inputs: Array) -> Array:
        """A reshape."""
        return inputs[0].reshape(self.shape)


@dataclass(frozen=True)
class Dropout(View):
    """y = x: at inference nothing is dropped; `p` is kept for the record."""

    name: ClassVar[str] = "dropout"
    p: float = 0.5

    def __post_init__(self) -> None:
        check_number(self, "p", least=0.0, most=1.0)

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type."""
        check_operands(self, inputs, input=FLOAT)
        return inputs[0]

    def reference(self, *inputs: Array) -> Array:
        """The identity."""
        return inputs[0].copy()


@dataclass(frozen=True)
class Concat(Movement):
    """The operands side by side along `dim`; there may be any number of them."""

    name: ClassVar[str] = "concat"
    dim: int = 1

    def __post_init__(self) -> None:
        check_integer(self, "dim", 0)

    def infer(self, *inputs: TensorType) -> TensorType:
        """The first type with sizes summed along `dim`; raises RankError or ShapeError."""
        if not inputs:
            raise InvalidGraph(
                "concat reads at least one value",
                got="0 operands",
                wanted="concat(first, second, ...)",
                remedy="pass the values to put side by side",
            )
        check_operands(self, inputs, **{f"input{i}": FLOAT for i in range(len(inputs))})
        first = inputs[0]
        check_dim(self, self.dim, first)
        for position, type in enumerate(inputs[1:], 1):
            if len(type.shape) != len(first.shape):
                raise RankError(
                    "the operands of concat have the same number of dimensions",
                    got=f"{first} and, at position {position}, {type}",
                    wanted=f"{len(first.shape)} dimensions",
                    remedy="reshape it to the rank of the first",
                )
            for axis, (size, other) in enumerate(zip(first.shape, type.shape, strict=True)):
                if axis != self.dim and size != other:
                    raise ShapeError(
                        f"the operands of concat agree in every dimension but dim={self.dim}",
                        got=f"{first} and, at position {position}, {type}: {size} against "
                        f"{other} in dimension {axis}",
                        wanted=f"{size} in dimension {axis}",
                        remedy="pad the smaller one, or check strides and padding on its branch",
                    )
        total = sum(type.shape[self.dim] for type in inputs)
        return first.with_shape((*first.shape[: self.dim], total, *first.shape[self.dim + 1 :]))

    def reference(self, *inputs: Array) -> Array:
        """A concatenation."""
        return np.concatenate(inputs, axis=self.dim)
