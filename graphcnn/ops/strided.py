"""Ops whose value is a strided view of their operand: they pick elements by a step and an offset,
so that a plan needs no kernel for them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn.errors import InvalidAttribute, RankError, ShapeError, shown
from graphcnn.ir.op import Array
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import (
    FLOAT,
    check_dim,
    check_integer,
    check_operands,
    is_integer,
)
from graphcnn.ops.shape import Movement

# A stop that no size reaches: to the end.
END = 2**31 - 1
Place = tuple[int, tuple[int, ...]]


class Strided(Movement):
    """An op whose value is a strided view of its operand's memory."""

    @abstractmethod
    def place(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Place:
        """Where the value lies in the memory of an operand of this shape: the distance of its
        first element from the operand's, and its strides, in elements."""


@dataclass(frozen=True)
class Slice(Strided):
    """Every `step`-th element along `dim` from `start` on, up to and without `stop`.

    Negative ones count from the end, and those beyond it stand for it, as in Python.
    """

    name: ClassVar[str] = "slice"
    dim: int
    start: int = 0
    stop: int = END
    step: int = 1

    def __post_init__(self) -> None:
        check_integer(self, "dim", 0)
        for field in ("start", "stop"):
            if not is_integer(getattr(self, field), -END):
                raise InvalidAttribute(
                    f"slice: {field} is a position along the dimension, from its end if negative",
                    got=f"{field}={shown(getattr(self, field))}",
                    wanted="an integer",
                    remedy=f"for example {field}=-1",
                )
        if not is_integer(self.step, 1):
            raise InvalidAttribute(
                "slice step must be positive",
                got=f"step={shown(self.step)}",
                wanted="an integer of at least 1",
                remedy="take every step-th element forwards",
            )

    def infer(self, *inputs: TensorType) -> TensorType:
        """As many elements along `dim` as there are; raises RankError, or ShapeError for none."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        check_dim(self, self.dim, x)
        count = len(self._range(x.shape[self.dim]))
        if not count:
            raise ShapeError(
                "a slice keeps at least one element",
                got=f"elements {self.start} to {self.stop} of {x.shape[self.dim]} in dimension "
                f"{self.dim} of {x}",
                wanted="start before stop, and before the end",
                remedy="check both against the size, or leave the slice out",
            )
        return x.with_shape((*x.shape[: self.dim], count, *x.shape[self.dim + 1 :]))

    def reference(self, *inputs: Array) -> Array:
        """A slice."""
        (x,) = inputs
        return x[(slice(None),) * self.dim + (slice(self.start, self.stop, self.step),)].copy()

    def place(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Place:
        """As much further as it starts; `step` times the stride."""
        stride = strides[self.dim]
        kept = (*strides[: self.dim], stride * self.step, *strides[self.dim + 1 :])
        return self._range(shape[self.dim]).start * stride, kept

    def _range(self, size: int) -> range:
        return range(size)[self.start : self.stop : self.step]


@dataclass(frozen=True)
class Permute(Strided):
    """Dimensions in another order: the value's dimension i is the operand's dims[i]."""

    name: ClassVar[str] = "permute"
    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        dims = self.dims
        if type(dims) is not tuple or not all(is_integer(dim, 0) for dim in dims):
            raise self._no_order("a tuple of integers from 0 on")
        if sorted(dims) != list(range(len(dims))):
            raise self._no_order("each dimension once")

    def _no_order(self, wanted: str) -> InvalidAttribute:
        return InvalidAttribute(
            "permute: dims is an order of all dimensions",
            got=f"dims={shown(self.dims)}",
            wanted=wanted,
            remedy="for example dims=(0, 2, 3, 1)",
        )

    def infer(self, *inputs: TensorType) -> TensorType:
        """The sizes in that order; raises RankError for another number of them."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        if len(x.shape) != len(self.dims):
            raise RankError(
                "number of dimensions in the tensor input does not match the length of the "
                "desired ordering of dimensions",
                got=f"{x}, dims={self.dims}",
                wanted=f"an order of {len(x.shape)} dimensions",
                remedy="name every dimension of the input once",
            )
        return x.with_shape(tuple(x.shape[dim] for dim in self.dims))

    def reference(self, *inputs: Array) -> Array:
        """A transposition."""
        return inputs[0].transpose(self.dims).copy()

    def place(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Place:
        """The strides in that order."""
        return 0, tuple(strides[dim] for dim in self.dims)


@dataclass(frozen=True)
class Squeeze(Strided):
    """Without some dimensions of size 1."""

    name: ClassVar[str] = "squeeze"
    dim: tuple[int, ...]

    def __post_init__(self) -> None:
        dim = self.dim
        if (
            type(dim) is not tuple
            or not dim
            or not all(is_integer(one, 0) for one in dim)
            or dim != tuple(sorted(set(dim)))
        ):
            raise InvalidAttribute(
                "squeeze: dim holds dimensions, each once and in ascending order",
                got=f"dim={shown(dim)}",
                wanted="a tuple of at least one integer from 0 on",
                remedy="for example dim=(2, 3)",
            )

    def infer(self, *inputs: TensorType) -> TensorType:
        """The other sizes; raises RankError, or ShapeError for a dimension of more elements."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        check_dim(self, self.dim[-1], x)
        if wide := [one for one in self.dim if x.shape[one] != 1]:
            raise ShapeError(
                "squeeze leaves out dimensions of size 1",
                got=f"{x.shape[wide[0]]} elements in dimension {wide[0]} of {x}",
                wanted="size 1",
                remedy="leave that dimension out of dim, or index it: x[:, 0]",
            )
        return x.with_shape(self._left(x.shape))

    def reference(self, *inputs: Array) -> Array:
        """Fewer dimensions."""
        return inputs[0].squeeze(self.dim).copy()

    def place(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Place:
        """The strides of the other dimensions."""
        return 0, self._left(strides)

    def _left(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(number for axis, number in enumerate(numbers) if axis not in self.dim)


@dataclass(frozen=True)
class Unsqueeze(Strided):
    """With one more dimension, of size 1, that is number `dim` of the value's."""

    name: ClassVar[str] = "unsqueeze"
    dim: int

    def __post_init__(self) -> None:
        check_integer(self, "dim", 0)

    def infer(self, *inputs: TensorType) -> TensorType:
        """The sizes with a 1 among them; raises RankError."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        if self.dim > len(x.shape):
            raise RankError(
                f"unsqueeze: the value has no dimension {self.dim}",
                got=f"{len(x.shape)} dimensions: {x}",
                wanted=f"dim of at most {len(x.shape)}",
                remedy="dim=-1 puts the new dimension behind all others",
            )
        return x.with_shape((*x.shape[: self.dim], 1, *x.shape[self.dim :]))

    def reference(self, *inputs: Array) -> Array:
        """One dimension more."""
        return np.expand_dims(inputs[0], self.dim).copy()

    def place(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Place:
        """The stride of a dimension that holds all behind it, as in row-major order."""
        new = shape[self.dim] * strides[self.dim] if self.dim < len(shape) else 1
        return 0, (*strides[: self.dim], new, *strides[self.dim :])


@dataclass(frozen=True)
class Expand(Strided):
    """Dimensions of size 1, and new ones in front, repeated to a shape; -1 keeps a size."""

    name: ClassVar[str] = "expand"
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        shape = self.shape
        if type(shape) is not tuple or not all(is_integer(n, -1) and n != 0 for n in shape):
            raise InvalidAttribute(
                "expand: shape holds positive sizes, or -1 for those that stay",
                got=f"shape={shown(shape)}",
                wanted="a tuple of positive integers or -1",
                remedy="for example shape=(-1, 3, -1, -1)",
            )

    @property
    def keeps_first(self) -> bool:
        """Whether the first size stays: only then does it follow another batch size."""
        return self.shape[:1] in ((), (-1,))

    def infer(self, *inputs: TensorType) -> TensorType:
        """The shape with sizes for -1; raises RankError or ShapeError."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        more = len(self.shape) - len(x.shape)
        if more < 0:
            raise RankError(
                f"the number of sizes provided ({len(self.shape)}) must be greater or equal to the "
                f"number of dimensions in the tensor ({len(x.shape)})",
                got=f"{x}, shape={self.shape}",
                wanted=f"at least {len(x.shape)} sizes",
                remedy="give -1 for each dimension that stays",
            )
        if -1 in self.shape[:more]:
            raise ShapeError(
                f"the expanded size of the tensor (-1) isn't allowed in a leading, non-existing "
                f"dimension {self.shape.index(-1)}",
                got=f"{x}, shape={self.shape}",
                wanted="a number for each new dimension",
                remedy="give the sizes of new dimensions, which come first",
            )
        sizes = list(self.shape)
        for axis, size in enumerate(x.shape, more):
            if sizes[axis] == -1:
                sizes[axis] = size
            elif size not in (1, sizes[axis]):
                raise ShapeError(
                    f"the expanded size of the tensor ({sizes[axis]}) must match the existing size "
                    f"({size}) at non-singleton dimension {axis}",
                    got=f"{x}, shape={self.shape}",
                    wanted=f"{size} or -1",
                    remedy="only dimensions of size 1 can be repeated",
                )
        return x.with_shape(tuple(sizes))

    def reference(self, *inputs: Array) -> Array:
        """Repetition."""
        (x,) = inputs
        more = len(self.shape) - x.ndim
        kept = zip(self.shape[more:], x.shape, strict=True)
        sizes = tuple(size if wanted == -1 else wanted for wanted, size in kept)
        return np.broadcast_to(x, (*self.shape[:more], *sizes)).copy()

    def place(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Place:
        """Stride 0 where it repeats."""
        more = len(self.shape) - len(shape)
        axes = zip(self.shape[more:], shape, strides, strict=True)
        return 0, (0,) * more + tuple(s if wanted in (-1, n) else 0 for wanted, n, s in axes)
