"""The elementary functions: powers, exponentials, logarithms, sine and cosine, sizes and signs."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, inf, pi, sqrt
from typing import ClassVar

import numpy as np

from graphcnn.ir.op import Array
from graphcnn.ops.activation import Unary
from graphcnn.ops.checks import check_number
from graphcnn.ops.rounding import UNDERFLOW


@dataclass(frozen=True)
class Abs(Unary):
    """y = |x|."""

    name: ClassVar[str] = "abs"
    roundings = 0
    monotone = False

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.abs(inputs[0])
        return y


@dataclass(frozen=True)
class Neg(Unary):
    """y = -x."""

    name: ClassVar[str] = "neg"
    roundings = 0
    monotone = False

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.negative(inputs[0])
        return y


@dataclass(frozen=True)
class Erf(Unary):
    """y = 2 / sqrt(pi) * the integral of exp(-t^2) from 0 to x."""

    name: ClassVar[str] = "erf"
    slope = 2 / sqrt(pi)

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.vectorize(erf, otypes=[np.float64])(inputs[0])
        return y


@dataclass(frozen=True)
class Sin(Unary):
    """y = sin(x), x in radians and of any size; NaN where it is infinite.

    Large x are reduced by as many digits of pi as they take: no more is lost than by x's rounding.
    """

    name: ClassVar[str] = "sin"
    monotone = False

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.sin(inputs[0])
        return y


@dataclass(frozen=True)
class Cos(Unary):
    """y = cos(x), x in radians and of any size; NaN where it is infinite.

    Large x are reduced by as many digits of pi as they take: no more is lost than by x's rounding.
    """

    name: ClassVar[str] = "cos"
    monotone = False

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.cos(inputs[0])
        return y


class Steep(Unary):
    """A function without a largest slope, monotone or with one pole or extremum, at 0."""

    slope = inf

    def spread(self, x: Array, error: Array, y: Array) -> Array:
        """The farther of the function's values at both ends; infinite where one is undefined.

        But 0 where all are: there is no value. The ends are rounded outwards, as an error may be
        less than half of the last place of x.
        """
        with np.errstate(all="ignore"):
            ends = np.nextafter(x - error, -inf), np.nextafter(x + error, inf)
            low, high = (np.abs(self.reference(end) - y) for end in ends)
            undefined = [np.isnan(self.reference(end)) for end in (x, *ends)]
            farther = np.maximum(low, high)
        certain = (error == 0) | np.logical_and.reduce(undefined)
        return np.where(certain, 0.0, np.where(np.isnan(farther), inf, farther))

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The general one; but NaN and infinities, as at a pole, have no rounding."""
        bound = super().error(inputs, errors, output, unit)
        unrounded = self.spread(inputs[0], errors[0], output)
        return np.where(np.isfinite(output), bound, unrounded)


@dataclass(frozen=True)
class Exp(Steep):
    """y = e^x: 0 at -inf."""

    name: ClassVar[str] = "exp"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.exp(inputs[0])
        return y


@dataclass(frozen=True)
class Log(Steep):
    """The natural logarithm: -inf at 0, NaN below."""

    name: ClassVar[str] = "log"
    monotone = False  # NaN below

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        with np.errstate(divide="ignore", invalid="ignore"):
            y: Array = np.log(inputs[0])
        return y


@dataclass(frozen=True)
class Sqrt(Steep):
    """The square root: -0 at -0, NaN below."""

    name: ClassVar[str] = "sqrt"
    roundings = 2  # the kernels' root takes one, torch's on the CPU is within a last place
    monotone = False  # NaN below

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        with np.errstate(invalid="ignore"):
            y: Array = np.sqrt(inputs[0])
        return y


@dataclass(frozen=True)
class Rsqrt(Steep):
    """y = 1 / sqrt(x): infinite of the zero's sign at 0, NaN below."""

    name: ClassVar[str] = "rsqrt"
    roundings = 6  # the root, a quotient within two units in the last place, and a second order
    monotone = False

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        with np.errstate(divide="ignore", invalid="ignore"):
            y: Array = 1 / np.sqrt(inputs[0])
        return y


@dataclass(frozen=True)
class Pow(Steep):
    """y = x^exponent: NaN where x is negative and the exponent is no integer.

    As in torch, exponents of 0.5 and -0.5 are `Sqrt` and `Rsqrt`, which differ at -0 and -inf.

    Raises:
        InvalidAttribute: for an exponent that is not finite in the arithmetic's range.
    """

    name: ClassVar[str] = "pow"
    exponent: float = 2.0

    def __post_init__(self) -> None:
        check_number(self, "exponent")

    @property
    def monotone(self) -> bool:
        """For odd powers; others fall somewhere, or are NaN there."""
        return self.exponent > 0 and self.exponent % 2 == 1

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        with np.errstate(all="ignore"):
            match self.exponent:
                case 0.5:
                    y: Array = np.sqrt(inputs[0])
                case -0.5:
                    y = 1 / np.sqrt(inputs[0])
                case _:
                    y = np.power(inputs[0], self.exponent)
        return y

    def spread(self, x: Array, error: Array, y: Array) -> Array:
        """That of both ends, and infinite around a pole.

        An operand below the normal range may count as 0.
        """
        error = np.where((x != 0) & (np.abs(x) < UNDERFLOW), error + UNDERFLOW, error)
        pole = (self.exponent < 0) & (error > 0) & (np.abs(x) <= error)
        return np.where(pole, inf, super().spread(x, error, y))

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The general one, and what rounding the exponent to float32 takes: y = e^(exponent log x).

        An exact 0 or infinity stays one.
        """
        bound = super().error(inputs, errors, output, unit)
        rounded = float(np.float32(self.exponent))
        if rounded == self.exponent:
            return bound
        off = abs(rounded / self.exponent - 1)
        with np.errstate(all="ignore"):
            power = np.abs(np.log(np.abs(output)))
            moved = (np.abs(output) + bound) * np.expm1(off * power)
        return bound + np.where(np.isfinite(power), moved, 0.0)
