"""Whole numbers that name places: where the largest element is, and elements and rows by number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphcnn.errors import IndexOutOfRange, RankError, ShapeError
from graphcnn.ir.op import Array, Cost, Op, OpKind
from graphcnn.ir.types import DType, TensorType
from graphcnn.ops.checks import (
    FLOAT,
    INTEGER,
    check_choice,
    check_dim,
    check_flag,
    check_integer,
    check_operands,
    check_rank,
)

_FLOATS = tuple(dtype.value for dtype in DType if dtype.is_float)


class Indexed(Op):
    """An op that reads elements by their numbers, which count from 0."""

    kind: ClassVar[OpKind] = OpKind.OPAQUE

    def check_indices(self, least: int, most: int, count: int) -> None:
        """Check the smallest and the largest number that a call passes.

        Raises:
            IndexOutOfRange: unless both are in [0, count).
        """
        if least < 0 or most >= count:
            raise IndexOutOfRange(
                f"{self.name} was called with a number that names no element",
                got=least if least < 0 else most,
                wanted=f"0 to {count - 1}",
                remedy="check how the numbers were made; negative ones do not count from the end",
            )

    def _indices(self, numbers: Array, count: int) -> NDArray[np.int64]:
        """An operand of whole numbers, which values are float64 here, checked."""
        indices = np.rint(numbers).astype(np.int64)
        self.check_indices(int(indices.min()), int(indices.max()), count)
        return indices


@dataclass(frozen=True)
class Argmax(Op):
    """Where the largest element along the dimension `dim` is, in int64: the first of several; that
    of a NaN, where there is one.

    With `keepdim` the dimension stays, with size 1.

    Raises:
        InvalidAttribute: for a negative `dim`.
    """

    name: ClassVar[str] = "argmax"
    kind: ClassVar[OpKind] = OpKind.REDUCTION
    dim: int
    keepdim: bool = False

    def __post_init__(self) -> None:
        check_integer(self, "dim", 0)
        check_flag(self, "keepdim")

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's shape without that dimension; raises RankError when it is lacking."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        check_dim(self, self.dim, x)
        kept = (1,) if self.keepdim else ()
        return TensorType((*x.shape[: self.dim], *kept, *x.shape[self.dim + 1 :]), DType.I64)

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        found = np.argmax(inputs[0], self.dim, keepdims=self.keepdim)
        return np.asarray(found, np.float64)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """None; nothing is known where the operand's errors may make another element the largest.

        Without errors the largest of equal elements is the first one.
        """
        (x,), (e,) = inputs, np.broadcast_arrays(*errors, inputs[0])[:1]
        top = np.argmax(x, self.dim, keepdims=True)
        others = np.arange(x.shape[self.dim]).reshape(-1, *(1,) * (x.ndim - 1 - self.dim)) != top
        lowest = np.take_along_axis(x - e, top, self.dim)
        loose = (x + e >= lowest) & others & ((e > 0) | (np.take_along_axis(e, top, self.dim) > 0))
        return np.where(loose.any(self.dim, keepdims=self.keepdim), np.inf, 0.0)


@dataclass(frozen=True)
class Embedding(Indexed):
    """y[..., :] = weight[x[...], :]: a row of the weight for each number."""

    name: ClassVar[str] = "embedding"

    def infer(self, *inputs: TensorType) -> TensorType:
        """[..., D] for a weight[V, D], whose dtype it has; raises RankError."""
        check_operands(self, inputs, input=INTEGER, weight=FLOAT)
        indices, weight = inputs
        check_rank(self, "weight", weight, "V, D")
        return weight.with_shape((*indices.shape, weight.shape[1]))

    def choices(self, *inputs: TensorType) -> int:
        """Rows of the weight."""
        return inputs[1].shape[0]

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = inputs[1][self._indices(inputs[0], len(inputs[1]))]
        return y

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """A copy."""
        return Cost(reads=sum(type.size for type in inputs), writes=output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The row's."""
        return self.reference(inputs[0], np.broadcast_to(errors[1], inputs[1].shape))


@dataclass(frozen=True)
class OneHot(Indexed):
    """y[..., k] = 1 where x[...] is k, else 0, for k below `num_classes`.

    Raises:
        InvalidAttribute: for `num_classes` below 1, or a `dtype` that is not the name of one in
            floating point.
    """

    name: ClassVar[str] = "one_hot"
    num_classes: int
    dtype: str = "f32"

    def __post_init__(self) -> None:
        check_integer(self, "num_classes", 1)
        check_choice(self, "dtype", _FLOATS)

    def infer(self, *inputs: TensorType) -> TensorType:
        """[..., num_classes] in `dtype`."""
        check_operands(self, inputs, input=INTEGER)
        return TensorType((*inputs[0].shape, self.num_classes), DType(self.dtype))

    def choices(self, *inputs: TensorType) -> int:
        """The classes."""
        return self.num_classes

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        indices = self._indices(inputs[0], self.num_classes)
        return np.equal(indices[..., None], np.arange(self.num_classes)).astype(np.float64)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """None."""
        return np.zeros(output.shape)


@dataclass(frozen=True)
class Gather(Indexed):
    """y[i, j, k] = x[i, index[i, j, k], k] for `dim` = 1, and alike for others.

    Raises:
        InvalidAttribute: for a negative `dim`.
    """

    name: ClassVar[str] = "gather"
    dim: int

    def __post_init__(self) -> None:
        check_integer(self, "dim", 0)

    def infer(self, *inputs: TensorType) -> TensorType:
        """The index's shape; raises RankError or ShapeError where that is beyond the input's."""
        check_operands(self, inputs, input=FLOAT, index=INTEGER)
        x, index = inputs
        check_dim(self, self.dim, x)
        if len(x.shape) != len(index.shape):
            raise RankError(
                "gather: the index has the input's number of dimensions",
                got=f"input {x} and index {index}",
                wanted=f"{len(x.shape)} dimensions",
                remedy="reshape the index",
            )
        for axis, (size, limit) in enumerate(zip(index.shape, x.shape, strict=True)):
            if axis != self.dim and size > limit:
                raise ShapeError(
                    f"gather: but for dimension {self.dim}, the index reaches no further than the "
                    "input",
                    got=f"input {x} and index {index}: {size} above {limit} in dimension {axis}",
                    wanted=f"at most {limit}",
                    remedy="pass a smaller index",
                )
        return x.with_shape(index.shape)

    def choices(self, *inputs: TensorType) -> int:
        """Elements along the dimension."""
        return inputs[0].shape[self.dim]

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        x, numbers = inputs
        indices = self._indices(numbers, x.shape[self.dim])
        near = (
            slice(None) if axis == self.dim else slice(n) for axis, n in enumerate(numbers.shape)
        )
        return np.take_along_axis(x[tuple(near)], indices, self.dim)

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """A copy."""
        return Cost(reads=sum(type.size for type in inputs), writes=output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The element's."""
        return self.reference(np.broadcast_to(errors[0], inputs[0].shape), inputs[1])
