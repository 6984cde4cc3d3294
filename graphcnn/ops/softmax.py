"""Softmax along a dimension, and its logarithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import FLOAT, check_dim, check_integer, check_operands
from graphcnn.ops.rounding import TRANSCENDENTAL, UNDERFLOW


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
