"""Reductions: the sum, the mean, the largest or the smallest element over whole dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from graphcnn.errors import InvalidAttribute, shown
from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import FLOAT, check_dim, check_flag, check_operands, is_integer
from graphcnn.ops.rounding import UNDERFLOW, beyond_range, sum_noise


@dataclass(frozen=True)
class Reduction(Op):
    """One number for all elements along the dimensions `dim`, which are counted from the front.

    With `keepdim` these stay, with size 1.

    Raises:
        InvalidAttribute: unless `dim` names at least one dimension, each once and in order.
    """

    kind: ClassVar[OpKind] = OpKind.REDUCTION
    dim: tuple[int, ...]
    keepdim: bool = False

    def __post_init__(self) -> None:
        dim = self.dim
        whole = type(dim) is tuple and all(is_integer(axis, 0) for axis in dim)
        if not (whole and dim and dim == tuple(sorted(set(dim)))):
            raise InvalidAttribute(
                f"{self.name}: dim is a tuple of dimensions, each once and in ascending order",
                got=f"dim={shown(dim)}",
                wanted="a tuple of at least one integer of at least 0",
                remedy="for example dim=(2, 3)",
            )
        check_flag(self, "keepdim")

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type without those dimensions; raises RankError when one is lacking."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        check_dim(self, self.dim[-1], x)
        if self.keepdim:
            return x.with_shape(tuple(1 if d in self.dim else n for d, n in enumerate(x.shape)))
        return x.with_shape(tuple(n for d, n in enumerate(x.shape) if d not in self.dim))

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """One operation per input element."""
        return Cost(0, inputs[0].size, inputs[0].size, output.size)

    def _folded(self, fold: np.ufunc, x: Array) -> Array:
        """A function of two numbers applied along the dimensions, by NumPy."""
        return np.asarray(fold.reduce(x, axis=self.dim, keepdims=self.keepdim))


@dataclass(frozen=True)
class Amax(Reduction):
    """The largest element along the dimensions `dim`; NaN where there is one."""

    name: ClassVar[str] = "amax"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        return self._folded(np.maximum, inputs[0])

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The largest error: |max a - max b| <= max |a - b|."""
        return self._folded(np.maximum, errors[0])


@dataclass(frozen=True)
class Amin(Reduction):
    """The smallest element along the dimensions `dim`; NaN where there is one."""

    name: ClassVar[str] = "amin"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        return self._folded(np.minimum, inputs[0])

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The largest error: |min a - min b| <= max |a - b|."""
        return self._folded(np.maximum, errors[0])


@dataclass(frozen=True)
class Sum(Reduction):
    """The sum of the elements along the dimensions `dim`."""

    name: ClassVar[str] = "sum"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        return self._folded(np.add, inputs[0])

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The sum of the errors, plus the rounding of a sum in any order."""
        terms = self._terms(inputs[0])
        slack = self._folded(np.add, errors[0])
        magnitude = self._folded(np.add, np.abs(inputs[0])) + slack
        return beyond_range(magnitude, slack + gamma(terms, unit) * magnitude + terms * UNDERFLOW)

    def noise(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """That of a long sum (see `sum_noise`); the operands' errors add up by their squares."""
        terms = self._terms(inputs[0])
        magnitude = self._folded(np.add, np.abs(inputs[0]))
        own = sum_noise(output, self._folded(np.add, inputs[0] ** 2), magnitude, terms, unit)
        noise = np.hypot(own, np.sqrt(self._folded(np.add, errors[0] ** 2)))
        return beyond_range(magnitude, noise + 2 * unit * np.abs(output) + terms * UNDERFLOW)

    def _terms(self, x: Array) -> int:
        """How many elements an output element adds up."""
        return prod(x.shape[axis] for axis in self.dim)


@dataclass(frozen=True)
class Mean(Sum):
    """The mean of the elements along the dimensions `dim`."""

    name: ClassVar[str] = "mean"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        mean: Array = super().reference(*inputs) / self._terms(inputs[0])
        return mean

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """That of the sum, divided, and the rounding of the division."""
        terms = self._terms(inputs[0])
        total = super().error(inputs, errors, output * terms, unit)
        return self._divided(total, terms, output, unit)

    def noise(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """Likewise from the sum's."""
        terms = self._terms(inputs[0])
        total = super().noise(inputs, errors, output * terms, unit)
        return self._divided(total, terms, output, unit)

    def _divided(self, total: Array, terms: int, output: Array, unit: float) -> Array:
        # Whether by a division, or by a product with the rounded inverse.
        off = total / terms
        bound: Array = off + gamma(2, unit) * (np.abs(output) + off) + UNDERFLOW
        return bound
