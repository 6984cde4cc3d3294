"""Functions of one element, and the smooth activations."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import erfc, pi, sqrt
from typing import ClassVar

import numpy as np

from graphcnn.ir.op import Array, Op, OpKind
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import (
    FLOAT,
    check_choice,
    check_number,
    check_operands,
    check_range,
)
from graphcnn.ops.rounding import TRANSCENDENTAL, UNDERFLOW


@dataclass(frozen=True)
class Unary(Op):
    """y = f(x), element by element: f is `reference`, and an error bound follows from its traits.

    Attributes:
        slope: Largest |f(a) - f(b)| / |a - b|.
        roundings: Relative error of a computed f, in units; none where it only selects.
        gate: For f(x) = x * g(x) whose computed g, of size at most 1, has an absolute error: that
            error in units, beside underflow.
        monotone: Whether f never decreases, nor makes NaN of a number or an infinity: it then
            commutes with the maximum.
    """

    kind: ClassVar[OpKind] = OpKind.ELEMENTWISE
    roundings: ClassVar[float] = TRANSCENDENTAL
    gate: ClassVar[float | None] = None

    @property
    def slope(self) -> float:
        """1 unless a subclass says otherwise."""
        return 1.0

    @property
    def monotone(self) -> bool:
        """True unless a subclass says otherwise."""
        return True

    @property
    def params(self) -> tuple[float, ...]:
        """What the device function of this op's name takes after its value: the attributes."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type; raises InvalidAttribute for a number beyond its arithmetic's range."""
        check_operands(self, inputs, input=FLOAT)
        for field in fields(self):
            if isinstance(getattr(self, field.name), int | float):
                check_range(self, field.name, inputs[0].dtype.arithmetic)
        return inputs[0]

    def spread(self, x: Array, error: Array, y: Array) -> Array:
        """How far f gets from y = f(x) within `error` of x: the slope times that."""
        bound: Array = self.slope * error
        return bound

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """What the operand's error makes of the value, plus the function's own rounding."""
        bound = self.spread(inputs[0], errors[0], output)
        if not self.roundings:
            return bound
        bound = bound + self.roundings * unit * (np.abs(output) + bound) + UNDERFLOW
        if self.gate is not None:
            bound = bound + (np.abs(inputs[0]) + errors[0]) * (self.gate * unit + UNDERFLOW)
        return bound


@dataclass(frozen=True)
class Relu(Unary):
    """y = max(x, 0)."""

    name: ClassVar[str] = "relu"
    roundings = 0

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.maximum(inputs[0], 0.0)
        return y


@dataclass(frozen=True)
class LeakyRelu(Unary):
    """y = x where x > 0, else negative_slope * x.

    Raises:
        InvalidAttribute: for a slope that is not finite in the arithmetic's range: float32, or
            float64 for float64 tensors.
    """

    name: ClassVar[str] = "leaky_relu"
    roundings = 2  # of the slope and of the product
    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        check_number(self, "negative_slope")

    @property
    def slope(self) -> float:
        """The larger of both."""
        return max(1.0, abs(self.negative_slope))

    @property
    def monotone(self) -> bool:
        """Not with a negative slope; one of 0 makes NaN of -inf."""
        return self.negative_slope > 0

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        (x,) = inputs
        return np.where(x > 0, x, self.negative_slope * x)


@dataclass(frozen=True)
class Sigmoid(Unary):
    """y = 1 / (1 + exp(-x))."""

    name: ClassVar[str] = "sigmoid"
    slope = 1 / 4

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        return _logistic(inputs[0])


@dataclass(frozen=True)
class Tanh(Unary):
    """y = tanh(x)."""

    name: ClassVar[str] = "tanh"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.tanh(inputs[0])
        return y


@dataclass(frozen=True)
class Silu(Unary):
    """y = x / (1 + exp(-x))."""

    name: ClassVar[str] = "silu"
    slope = 1.1  # 1.0998 at x = 2.3994
    gate = 0  # the logistic function may underflow
    monotone = False

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = inputs[0] * _logistic(inputs[0])
        return y


@dataclass(frozen=True)
class Hardswish(Unary):
    """y = x * min(max(x + 3, 0), 6) / 6.

    Source: A. Howard et al., Searching for MobileNetV3, 2019.
    """

    name: ClassVar[str] = "hardswish"
    slope = 1.5  # at x = 3
    roundings = 5  # the sum, the factor 1/6, two products, and what these four add to each other
    monotone = False

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = inputs[0] * (np.clip(inputs[0] + 3, 0, 6) / 6)
        return y


@dataclass(frozen=True)
class Gelu(Unary):
    """y = x * P(X <= x) of a standard normal X: x/2 * (1 + erf(x / sqrt(2))).

    With approximate="tanh": x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).

    Source: D. Hendrycks and K. Gimpel, Gaussian Error Linear Units, 2016.

    Raises:
        InvalidAttribute: for an `approximate` other than "none" and "tanh".
    """

    name: ClassVar[str] = "gelu"
    slope = 1.129  # 1.12891 at sqrt(2); with tanh 1.12900 at x = 1.4185
    # Where 1 + erf or 1 + tanh cancels, the errors of these are left: with those of their
    # arguments up to 2.5 and 5.5 units of half the sum.
    gate = TRANSCENDENTAL
    monotone = False
    approximate: str = "none"

    @property
    def params(self) -> tuple[float, ...]:
        """Whether by the approximation."""
        return (self.approximate == "tanh",)

    def __post_init__(self) -> None:
        check_choice(self, "approximate", ("none", "tanh"))

    def reference(self, *inputs: Array) -> Array:
        """The formula; erf's by its complement, which does not cancel."""
        (x,) = inputs
        if self.approximate == "tanh":
            tail = 2 * _logistic(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))
        else:
            tail = np.vectorize(erfc, otypes=[np.float64])(x * -sqrt(0.5))
        y: Array = x * (tail / 2)
        return y


@dataclass(frozen=True)
class Softsign(Unary):
    """y = x / (1 + |x|): NaN at infinities."""

    name: ClassVar[str] = "softsign"
    monotone = False  # NaN at -inf
    roundings = 6  # the sum, a quotient within two units in the last place, and a second order

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = inputs[0] / (1 + np.abs(inputs[0]))
        return y


@dataclass(frozen=True)
class Softplus(Unary):
    """y = log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold.

    Raises:
        InvalidAttribute: for a beta that is not positive, or a threshold that is not finite.
    """

    name: ClassVar[str] = "softplus"
    # The exponential and the logarithm within two units in the last place, the sum, the factor
    # 1 / beta, its product, and what these add to each other.
    roundings = 12
    beta: float = 1.0
    threshold: float = 20.0

    def __post_init__(self) -> None:
        check_number(self, "beta", least=UNDERFLOW)
        check_number(self, "threshold")

    @property
    def monotone(self) -> bool:
        """Where the step down to x at the threshold, of exp(-threshold), is below rounding."""
        return self.threshold >= 17

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        (x,) = inputs
        y: Array = np.where(x * self.beta > self.threshold, x, _softplus(x * self.beta) / self.beta)
        return y

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The general one, that of beta * x, and the step where this may pass the threshold."""
        reach = np.abs(inputs[0]) + errors[0]
        bound = super().error(inputs, errors, output, unit) + UNDERFLOW / self.beta
        # An error r of x counts r times the slope, which is at most 1 and at most beta * y.
        slope = np.minimum(1.0, self.beta * (np.abs(output) + bound))
        scaled = 0.0 if self.beta == 1 else 3 * unit * reach
        bound = bound + scaled * slope
        distance = np.abs(inputs[0] * self.beta - self.threshold)
        near = distance <= self.beta * (errors[0] + scaled) + unit * abs(self.threshold)
        step = np.logaddexp(0.0, -self.threshold) / self.beta
        return bound + np.where(near, step, 0.0)


@dataclass(frozen=True)
class Logsigmoid(Unary):
    """y = log(1 / (1 + exp(-x)))."""

    name: ClassVar[str] = "logsigmoid"
    # The exponential and the logarithm within two units in the last place, and the difference.
    roundings = 10

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = -_softplus(-inputs[0])
        return y


@dataclass(frozen=True)
class Mish(Unary):
    """y = x * tanh(log(1 + exp(x))): NaN at -inf.

    Source: D. Misra, Mish: A Self Regularized Non-Monotonic Activation Function, 2020.
    """

    name: ClassVar[str] = "mish"
    slope = 1.0885  # 1.08850 at x = 1.4915
    roundings = 12
    gate = 0  # the exponential may underflow
    monotone = False

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = inputs[0] * np.tanh(_softplus(inputs[0]))
        return y


def _logistic(x: Array) -> Array:
    # exp of -|x| cannot overflow.
    power = np.exp(-np.abs(x))
    y: Array = np.where(x >= 0, 1.0, power) / (1 + power)
    return y


def _softplus(x: Array) -> Array:
    y: Array = np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))
    return y
