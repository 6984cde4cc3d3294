"""Comparisons, and the choice between two operands.

There is no type of truth values: a comparison is 1 where it is true and 0 elsewhere, in the dtype
of its operands, so that it can be a factor, a mean or a step of a kernel's tail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn.ir.op import Array, Op, OpKind
from graphcnn.ir.types import TensorType
from graphcnn.ops.arithmetic import Arithmetic, broadcast, demoted
from graphcnn.ops.checks import FLOAT, check_operands


class Comparison(Arithmetic):
    """1 where it is true and 0 where it is not. NaN equals nothing, and is in no order."""

    commutative: ClassVar[bool] = False
    monotone: ClassVar[bool] = False  # it makes a number of NaN
    holds: ClassVar[np.ufunc]

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        return np.asarray(self.holds(inputs[0], inputs[1]), np.float64)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """None, but 1 where the operands' errors may exchange them."""
        slack = errors[0] + errors[1]
        with np.errstate(invalid="ignore"):  # of two infinities
            near = (slack > 0) & (np.abs(inputs[0] - inputs[1]) <= slack)
        return np.where(near, 1.0, 0.0)


@dataclass(frozen=True)
class Eq(Comparison):
    """y = 1 where a == b, else 0."""

    name: ClassVar[str] = "eq"
    commutative: ClassVar[bool] = True
    holds: ClassVar[np.ufunc] = np.equal


@dataclass(frozen=True)
class Ne(Comparison):
    """y = 1 where a != b, else 0."""

    name: ClassVar[str] = "ne"
    commutative: ClassVar[bool] = True
    holds: ClassVar[np.ufunc] = np.not_equal


@dataclass(frozen=True)
class Lt(Comparison):
    """y = 1 where a < b, else 0."""

    name: ClassVar[str] = "lt"
    holds: ClassVar[np.ufunc] = np.less


@dataclass(frozen=True)
class Le(Comparison):
    """y = 1 where a <= b, else 0."""

    name: ClassVar[str] = "le"
    holds: ClassVar[np.ufunc] = np.less_equal


@dataclass(frozen=True)
class Gt(Comparison):
    """y = 1 where a > b, else 0."""

    name: ClassVar[str] = "gt"
    holds: ClassVar[np.ufunc] = np.greater


@dataclass(frozen=True)
class Ge(Comparison):
    """y = 1 where a >= b, else 0."""

    name: ClassVar[str] = "ge"
    holds: ClassVar[np.ufunc] = np.greater_equal


@dataclass(frozen=True)
class Where(Op):
    """y = a where the condition is not 0, else b: three operands, broadcast against each other.

    NaN is not 0. Dtypes are those of `Arithmetic`.
    """

    name: ClassVar[str] = "where"
    kind: ClassVar[OpKind] = OpKind.BROADCAST

    def infer(self, *inputs: TensorType) -> TensorType:
        """The broadcast type; raises ShapeError when the shapes do not broadcast."""
        inputs = demoted(inputs)
        check_operands(self, inputs, condition=FLOAT, input=FLOAT, other=FLOAT)
        return broadcast(self, *inputs)

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        condition, a, b = inputs
        return np.where(condition != 0, a, b)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """That of the chosen operand; beside their distance where the condition may be 0 or not."""
        condition, a, b = inputs
        unsure, left, right = errors
        chosen = np.where(condition != 0, left, right)
        unknown = (unsure > 0) & (np.abs(condition) <= unsure)
        with np.errstate(invalid="ignore"):
            either = np.abs(a - b) + np.maximum(left, right)
        return np.where(unknown, either, chosen)
