"""Arithmetic of two operands with NumPy's broadcasting."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from math import inf
from typing import ClassVar

import numpy as np

from graphcnn.errors import ShapeError
from graphcnn.ir.op import Array, Op, OpKind
from graphcnn.ir.types import DType, TensorType
from graphcnn.ops.checks import FLOAT, check_operands
from graphcnn.ops.rounding import TRANSCENDENTAL, UNDERFLOW


class Arithmetic(Op):
    """An op of two operands, broadcast against each other.

    Both have one dtype; but beside half precision a number, an operand of rank 0, may be float32.
    It does not promote: the result is half precision, computed in float32 and rounded once. So
    x * 1e-8 is right where the number itself is below float16's range.

    Attributes:
        commutative: Whether the operands may be exchanged.
        monotone: Whether the result never falls where the first operand rises and the second is
            a finite number, and is NaN where the first is: it then commutes with the maximum.
        neutral: What changes nothing as the second operand, if there is such a number.
    """

    kind: ClassVar[OpKind] = OpKind.BROADCAST
    commutative: ClassVar[bool] = True
    monotone: ClassVar[bool] = True
    neutral: ClassVar[float | None] = None

    def infer(self, *inputs: TensorType) -> TensorType:
        """The broadcast type; raises ShapeError when the shapes do not broadcast."""
        inputs = demoted(inputs)
        check_operands(self, inputs, input=FLOAT, other=FLOAT)
        return broadcast(self, *inputs)


def demoted(types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    """The types of operands, where a float32 number beside half precision is half precision."""
    halves = [t.dtype for t in types if t.dtype.is_float and t.dtype is not t.dtype.arithmetic]
    return tuple(
        TensorType((), halves[0]) if halves and t == TensorType((), DType.F32) else t for t in types
    )


def broadcast(op: Op, *types: TensorType) -> TensorType:
    """The type that operands have when they are broadcast against each other.

    Raises:
        ShapeError: when they are not.
    """
    result = types[0]
    for other in types[1:]:
        pairs = list(zip_longest(reversed(result.shape), reversed(other.shape), fillvalue=1))
        for back, (size, beside) in enumerate(pairs, 1):
            if size != beside and 1 not in (size, beside):
                raise ShapeError(
                    f"the operands of {op.name} broadcast: aligned at the right, sizes are "
                    "equal or 1",
                    got=f"{result} and {other}: {size} against {beside} in dimension -{back}",
                    wanted=f"{size} or 1",
                    remedy="reshape a vector per channel to [C, 1, 1]"
                    if 1 in (len(result.shape), len(other.shape))
                    else "make the branches agree: check stride, padding and filter counts",
                )
        result = result.with_shape(tuple(max(pair) for pair in reversed(pairs)))
    return result


class Additive(Arithmetic):
    """A sum or a difference."""

    neutral: ClassVar[float] = 0.0

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """Both errors, plus one rounding."""
        slack = errors[0] + errors[1]
        bound: Array = slack + unit * (np.abs(output) + slack)
        return bound


@dataclass(frozen=True)
class Add(Additive):
    """y = a + b."""

    name: ClassVar[str] = "add"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = inputs[0] + inputs[1]
        return y


@dataclass(frozen=True)
class Sub(Additive):
    """y = a - b."""

    name: ClassVar[str] = "sub"
    commutative: ClassVar[bool] = False

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = inputs[0] - inputs[1]
        return y


@dataclass(frozen=True)
class Mul(Arithmetic):
    """y = a * b."""

    name: ClassVar[str] = "mul"
    monotone: ClassVar[bool] = False
    neutral: ClassVar[float] = 1.0

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = inputs[0] * inputs[1]
        return y

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """e_a|b| + |a|e_b + e_a e_b, plus one rounding."""
        a, b = np.abs(inputs[0]), np.abs(inputs[1])
        slack = errors[0] * (b + errors[1]) + a * errors[1]
        bound: Array = slack + unit * (np.abs(output) + slack) + UNDERFLOW
        return bound


@dataclass(frozen=True)
class Div(Arithmetic):
    """y = a / b; a number by zero is infinite, and zero by zero is NaN."""

    name: ClassVar[str] = "div"
    commutative: ClassVar[bool] = False
    monotone: ClassVar[bool] = False
    neutral: ClassVar[float] = 1.0

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        with np.errstate(divide="ignore", invalid="ignore"):
            y: Array = inputs[0] / inputs[1]
        return y

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """(e_a + |y|e_b) / (|b| - e_b), plus that of a division within two units in the last place.

        For (a + s) / (b + t) - y = (s - y t) / (b + t). Where b may be zero nothing is known: not
        even of an exact zero, whose sign decides that of an infinite quotient.
        """
        size, least = np.abs(output), np.abs(inputs[1]) - errors[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            slack = (errors[0] + size * errors[1]) / least
            bound = slack + 4 * unit * (size + slack) + UNDERFLOW
        return np.where(least > 0, bound, np.inf)


@dataclass(frozen=True)
class Power(Arithmetic):
    """y = a^b; NaN where a is negative and b is no integer."""

    name: ClassVar[str] = "power"
    commutative: ClassVar[bool] = False
    monotone: ClassVar[bool] = False
    neutral: ClassVar[float] = 1.0

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        with np.errstate(all="ignore"):
            y: Array = np.power(inputs[0], inputs[1])
        return y

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The farthest of the values at the operands' ends, plus the function's own rounding.

        Between positive ends it rises or falls along each operand. Where a may be negative nothing
        is known unless b is exact, nor is it around the pole of a negative b. An operand below the
        normal range may count as 0.
        """
        a, b = inputs
        off = errors[0] + np.where((a != 0) & (np.abs(a) < UNDERFLOW), UNDERFLOW, 0.0)
        ends = [self.reference(x, y) for x in _ends(a, off) for y in _ends(b, errors[1])]
        undefined = np.logical_and.reduce([np.isnan(end) for end in (output, *ends)])
        with np.errstate(invalid="ignore"):
            far = [np.where(end == output, 0.0, np.abs(end - output)) for end in ends]
        slack = np.max(far, axis=0)
        pole = (off > 0) & (np.abs(a) <= off) & (b - errors[1] < 0)
        unknown = pole | (errors[1] > 0) & (a - off < 0) | np.isnan(slack) & ~undefined
        slack = np.where(unknown, np.inf, np.where(undefined, 0.0, slack))
        rounded = slack + TRANSCENDENTAL * unit * (np.abs(output) + slack) + UNDERFLOW
        return np.where(np.isfinite(output), rounded, slack)


def _ends(x: Array, error: Array) -> tuple[Array, Array]:
    """x less and plus its error, rounded outwards; x itself where it is exact."""
    low, high = np.nextafter(x - error, -inf), np.nextafter(x + error, inf)
    return np.where(error == 0, x, low), np.where(error == 0, x, high)


class Extremum(Arithmetic):
    """One of both operands; NaN if either is."""

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The larger error: nothing is rounded."""
        bound: Array = np.maximum(errors[0], errors[1])
        return bound


@dataclass(frozen=True)
class Minimum(Extremum):
    """y = min(a, b), NaN if either is."""

    name: ClassVar[str] = "minimum"
    neutral: ClassVar[float] = inf

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.minimum(inputs[0], inputs[1])
        return y


@dataclass(frozen=True)
class Maximum(Extremum):
    """y = max(a, b), NaN if either is."""

    name: ClassVar[str] = "maximum"
    neutral: ClassVar[float] = -inf

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.maximum(inputs[0], inputs[1])
        return y
