"""Activations: elementwise functions, softmax along a dimension, and dropout."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import (
    check_dim,
    check_integer,
    check_number,
    check_operands,
    check_range,
)
from graphcnn.ops.rounding import TRANSCENDENTAL, UNDERFLOW


class Elementwise(Op):
    """An op of one operand whose output elements each depend on one input element."""

    kind: ClassVar[OpKind] = OpKind.ELEMENTWISE

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type."""
        check_operands(self, inputs, ("input",))
        return inputs[0]

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The slope times the operand's error, plus the function's own rounding."""
        return self._bound(np.abs(inputs[0]) + errors[0], errors[0], np.abs(output), unit)

    @abstractmethod
    def _bound(self, reach: Array, error: Array, size: Array, unit: float) -> Array:
        """The bound, from the largest |operand|, its error, and |output|."""


@dataclass(frozen=True)
class Relu(Elementwise):
    """y = max(x, 0)."""

    name: ClassVar[str] = "relu"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.maximum(inputs[0], 0.0)
        return y

    def _bound(self, reach: Array, error: Array, size: Array, unit: float) -> Array:
        return error.copy()


@dataclass(frozen=True)
class LeakyRelu(Elementwise):
    """y = x where x > 0, else negative_slope * x."""

    name: ClassVar[str] = "leaky_relu"
    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        check_number(self, "negative_slope")

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type; raises InvalidAttribute for a slope beyond its arithmetic's range."""
        type = super().infer(*inputs)
        check_range(self, "negative_slope", type.dtype.arithmetic)
        return type

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        (x,) = inputs
        return np.where(x > 0, x, self.negative_slope * x)

    def _bound(self, reach: Array, error: Array, size: Array, unit: float) -> Array:
        spread = max(1.0, abs(self.negative_slope)) * error
        bound: Array = spread + gamma(2, unit) * (size + spread) + UNDERFLOW
        return bound


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """y = 1 / (1 + exp(-x))."""

    name: ClassVar[str] = "sigmoid"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        return _logistic(inputs[0])

    def _bound(self, reach: Array, error: Array, size: Array, unit: float) -> Array:
        # Its slope is at most 1/4.
        spread = error / 4
        bound: Array = spread + TRANSCENDENTAL * unit * (size + spread) + UNDERFLOW
        return bound


@dataclass(frozen=True)
class Tanh(Elementwise):
    """y = tanh(x)."""

    name: ClassVar[str] = "tanh"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = np.tanh(inputs[0])
        return y

    def _bound(self, reach: Array, error: Array, size: Array, unit: float) -> Array:
        # The slope is at most 1.
        bound: Array = error + TRANSCENDENTAL * unit * (size + error) + UNDERFLOW
        return bound


@dataclass(frozen=True)
class Silu(Elementwise):
    """y = x / (1 + exp(-x))."""

    name: ClassVar[str] = "silu"

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        y: Array = inputs[0] * _logistic(inputs[0])
        return y

    def _bound(self, reach: Array, error: Array, size: Array, unit: float) -> Array:
        # Its slope is at most 1.0998 (at x = 2.3994).
        spread = 1.1 * error
        rounding = TRANSCENDENTAL * unit * (size + spread)
        # x may multiply a logistic function that underflowed.
        bound: Array = spread + rounding + (1 + reach) * UNDERFLOW
        return bound


@dataclass(frozen=True)
class Dropout(Elementwise):
    """y = x: at inference nothing is dropped; `p` is kept for the record."""

    name: ClassVar[str] = "dropout"
    p: float = 0.5

    def __post_init__(self) -> None:
        check_number(self, "p", least=0.0, most=1.0)

    def reference(self, *inputs: Array) -> Array:
        """The identity."""
        return inputs[0].copy()

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """A copy."""
        return Cost(reads=output.size, writes=output.size)

    def _bound(self, reach: Array, error: Array, size: Array, unit: float) -> Array:
        return error.copy()


@dataclass(frozen=True)
class Normalized(Op):
    """An op whose output elements depend on all input elements along `dim`."""

    kind: ClassVar[OpKind] = OpKind.OPAQUE
    dim: int = 1

    def __post_init__(self) -> None:
        check_integer(self, "dim", 0)

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type; raises RankError when it lacks the dimension."""
        check_operands(self, inputs, ("input",))
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
