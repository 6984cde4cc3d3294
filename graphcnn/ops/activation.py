"""Activations: functions of one element, and softmax along a dimension."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import erfc, pi, sqrt
from typing import ClassVar

import numpy as np

from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import (
    FLOAT,
    check_choice,
    check_dim,
    check_integer,
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
        monotone: Whether f never decreases: it then commutes with the maximum.
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
        """The input's type."""
        check_operands(self, inputs, input=FLOAT)
        return inputs[0]

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The slope times the operand's error, plus the function's own rounding."""
        bound: Array = self.slope * errors[0]
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

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type; raises InvalidAttribute for a slope beyond its arithmetic's range."""
        type = super().infer(*inputs)
        check_range(self, "negative_slope", type.dtype.arithmetic)
        return type

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
class Normalized(Op):
    """An op whose output elements depend on all input elements along `dim`."""

    kind: ClassVar[OpKind] = OpKind.REDUCTION
    dim: int = 1

    def __post_init__(self) -> None:
        check_integer(self, "dim", 0)

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type; raises RankError when it lacks the dimension."""
        check_operands(self, inputs, input=FLOAT)
        check_dim(self, self.dim, inputs[0])
        return inputs[0]

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """Maximum, subtraction, exponential, sum, and a division or subtraction, per element."""
        return Cost(0, 5 * output.size, output.size, output.size)


@dataclass(frozen=True)
class Softmax(Normalized):
    """y_i = exp(x_i - m) / sum over j of exp(x_j - m), m = max over j of x_j, along `dim`."""

    name: ClassVar[str] = "softmax"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        powers = np.exp(inputs[0] - inputs[0].max(axis=self.dim, keepdims=True))
        y: Array = powers / powers.sum(axis=self.dim, keepdims=True)
        return y

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """Perturbation of numerators and of the weighted denominator.

        With every exponent x_j - m off by at most r_j, the exact numerator is scaled by a factor
        in exp(+-r_i) and the denominator by one in sum_j y_j exp(+-r_j); so the relative error is
        at most exp(r_i) / sum_j y_j exp(-r_j) - 1 (upwards; downwards it is less).
        """
        slack = exponent_slack(inputs[0], errors[0], self.dim, unit)
        terms = inputs[0].shape[self.dim] + 4
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            shrunk = (output * np.exp(-slack)).sum(axis=self.dim, keepdims=True)
            grown = np.exp(slack) / shrunk
            bound = output * ((1 + gamma(terms, unit)) * grown - 1) + 2 * UNDERFLOW
        # Both the exact and the computed value lie in [0, 1]; fmin also drops 0 * inf.
        largest: Array = np.fmin(bound, 1 + gamma(terms, unit))
        return largest


@dataclass(frozen=True)
class LogSoftmax(Normalized):
    """y_i = x_i - m - log(sum over j of exp(x_j - m)), m = max over j of x_j, along `dim`."""

    name: ClassVar[str] = "log_softmax"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        centred = inputs[0] - inputs[0].max(axis=self.dim, keepdims=True)
        y: Array = centred - np.log(np.exp(centred).sum(axis=self.dim, keepdims=True))
        return y

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The numerator's own slack, plus the logarithm of the denominator's factor.

        With exponents off by r_j the sum is scaled by a factor in sum_j p_j exp(+-r_j), where p is
        the softmax; rounding the sum adds a factor 1 + gamma(n).
        """
        (x,) = inputs
        slack = exponent_slack(x, errors[0], self.dim, unit)
        terms = x.shape[self.dim] + 2
        with np.errstate(over="ignore", invalid="ignore"):
            logarithm = (x - x.max(axis=self.dim, keepdims=True)) - output
            odds = np.exp(output)
            up = np.log((odds * np.exp(slack)).sum(axis=self.dim, keepdims=True))
            down = -np.log((odds * np.exp(-slack)).sum(axis=self.dim, keepdims=True))
        factor = np.maximum(up, down) + 2 * gamma(terms, unit)
        own = TRANSCENDENTAL * unit * (1 + np.abs(logarithm)) + 4 * unit * np.abs(output)
        bound: Array = (1 + 2 * unit) * (slack + factor) + own + UNDERFLOW
        return bound


def exponent_slack(x: Array, error: Array, dim: int, unit: float) -> Array:
    """Bound r on the error of the exponents x - max(x), rounding of the exponential included.

    The computed maximum may be off by the largest error, but any common shift of the exponents
    cancels; so only each element's own error, the rounding of the difference, and the relative
    error of the exponential count. An infinite difference and its exponential, 0, are exact.
    """
    distance = np.abs(x - x.max(axis=dim, keepdims=True))
    distance = distance + error + error.max(axis=dim, keepdims=True)
    slack: Array = error + np.where(np.isinf(distance), 0.0, unit * (distance + TRANSCENDENTAL))
    return slack


def _logistic(x: Array) -> Array:
    # exp of -|x| cannot overflow.
    power = np.exp(-np.abs(x))
    y: Array = np.where(x >= 0, 1.0, power) / (1 + power)
    return y
