"""The variance over whole dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from graphcnn.errors import ShapeError
from graphcnn.ir.op import Array, Cost, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import check_integer
from graphcnn.ops.reduction import Reduction
from graphcnn.ops.rounding import UNDERFLOW, beyond_range


@dataclass(frozen=True)
class Var(Reduction):
    """The variance of the n elements along the dimensions `dim`: the sum of the squares of their
    distances from the mean, divided by n - correction.

    Attributes:
        correction: 1 estimates the variance of what n elements are a sample of (F. W. Bessel); 0 is
            that of these elements themselves, which normalisation takes.
    """

    name: ClassVar[str] = "var"
    correction: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self, "correction", 0)

    def infer(self, *inputs: TensorType) -> TensorType:
        """As of any reduction; raises ShapeError where n is not more than the correction."""
        result = super().infer(*inputs)
        count = self._count(inputs[0].shape)
        if count <= self.correction:
            raise ShapeError(
                f"var over {count} element{'s' * (count > 1)} with correction={self.correction} "
                "would divide by zero",
                got=str(inputs[0]),
                wanted=f"more than {self.correction} elements along dim={self.dim}",
                remedy="pass correction=0" if self.correction == 1 else "lower the correction",
            )
        return result

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        (x,) = inputs
        with np.errstate(invalid="ignore"):
            off = x - x.mean(self.dim, keepdims=True)
        return self._folded(np.add, off * off) / self._divisor(x)

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """A sum, a difference, a square and another sum."""
        return Cost(0, 4 * inputs[0].size, inputs[0].size, output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """That of any of the usual algorithms, which are off by n units times the sum S of squares
        and the condition number sqrt(sum of x^2 / S), and of the operand.

        Source: T. F. Chan, G. H. Golub and R. J. LeVeque, Algorithms for Computing the Sample
        Variance, The American Statistician 37, 1983. The distances from the mean are a projection
        of x: an error e of x changes S by at most 2 sqrt(S) |e| + |e|^2.
        """
        (x,), (e,) = inputs, errors
        total = output * self._divisor(x)
        off = np.sqrt(self._folded(np.add, e * e))
        slack = 2 * np.sqrt(total) * off + off * off
        length = np.sqrt(self._folded(np.add, x * x)) + off
        rounding = gamma(2 * self._count(x.shape) + 4, unit)
        spread = np.sqrt(total + slack)
        bound = slack + rounding * (total + slack + spread * length) + (rounding * length) ** 2
        bound = bound / self._divisor(x) * (1 + 4 * unit) + UNDERFLOW
        return beyond_range(length * length, bound)

    def _count(self, shape: tuple[int, ...]) -> int:
        return prod(shape[axis] for axis in self.dim)

    def _divisor(self, x: Array) -> int:
        return self._count(x.shape) - self.correction
