"""Batch normalisation at inference, and normalisation across channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn.errors import ChannelMismatch, InvalidAttribute, RankError
from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import (
    FLOAT,
    check_integer,
    check_number,
    check_operands,
    check_range,
)
from graphcnn.ops.rounding import TRANSCENDENTAL, UNDERFLOW, beyond_range

# Roundings in x*s + (b - m*s) with s = w / sqrt(v + eps), and in (x - m)*s + b: both forms stay
# below this many.
_ROUNDINGS = 12


@dataclass(frozen=True)
class BatchNorm(Op):
    """y[n,c,...] = (x[n,c,...] - mean[c]) * weight[c] / sqrt(var[c] + eps) + bias[c].

    Operands are input[N, C, ...], running_mean[C], running_var[C], weight[C], bias[C].
    """

    name: ClassVar[str] = "batch_norm"
    kind: ClassVar[OpKind] = OpKind.BROADCAST
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_number(self, "eps", least=0.0)

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type; raises RankError, ChannelMismatch or InvalidAttribute."""
        roles = ("running_mean", "running_var", "weight", "bias")
        check_operands(self, inputs, **dict.fromkeys(("input", *roles), FLOAT))
        x = inputs[0]
        check_range(self, "eps", x.dtype.arithmetic)
        if len(x.shape) < 2:
            raise RankError(
                "the input of batch_norm has at least 2 dimensions, [N, C, ...]",
                got=str(x),
                wanted="[N, C, ...]",
                remedy=f"reshape it to [1, {x.size}]",
            )
        for role, type in zip(roles, inputs[1:], strict=True):
            if type.shape != (x.shape[1],):
                raise ChannelMismatch(
                    f"batch_norm: {role} has one element per input channel",
                    got=f"{role} {type}, input {x} with {x.shape[1]} channels",
                    wanted=f"{role}[{x.shape[1]}]",
                    remedy="normalise the value that these statistics were taken of",
                )
        return x

    def check_constants(self, *inputs: Array | None) -> None:
        """Raise InvalidAttribute unless running_var + eps > 0 where the variance is known."""
        variance = inputs[2]
        least = np.inf if variance is None else float(variance.min())
        if least + self.eps <= 0:
            raise InvalidAttribute(
                "batch_norm divides by sqrt(running_var + eps)",
                got=f"a running_var of {least:g} and eps={self.eps:g}",
                wanted="running_var + eps > 0",
                remedy="check the order of the arguments: running_mean, then running_var",
            )

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        x, mean, var, weight, bias = inputs
        scale = weight / np.sqrt(var + self.eps)
        y: Array = (x - _column(mean, x)) * _column(scale, x) + _column(bias, x)
        return y

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """A multiplication and an addition per element, the scale being known beforehand."""
        return Cost(0, 2 * output.size, sum(type.size for type in inputs), output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """Rounding of the affine form, plus the operands' errors through scale and shift."""
        x, mean, var, weight, bias = (np.abs(array) for array in inputs)
        e_x, e_mean, e_var, e_weight, e_bias = errors
        with np.errstate(divide="ignore", invalid="ignore"):
            steepest = 1 / np.sqrt(np.maximum(inputs[2] - e_var + self.eps, 0))
            scale = (weight + e_weight) * steepest
            e_scale = np.where(
                (e_weight == 0) & (e_var == 0), 0.0, scale - weight / np.sqrt(var + self.eps)
            )
        spread = _column(e_mean, x) + e_x
        reach = x + _column(mean, x)
        slack = spread * _column(scale, x) + reach * _column(e_scale, x) + _column(e_bias, x)
        magnitude = (reach + spread) * _column(scale, x) + _column(bias + e_bias, x)
        bound = slack + gamma(_ROUNDINGS, unit) * magnitude + _ROUNDINGS * UNDERFLOW
        return beyond_range(magnitude, bound)


@dataclass(frozen=True)
class LocalResponseNorm(Op):
    """y[n,c,...] = x[n,c,...] / (k + alpha/size * sum over d of x[n,d,...]^2)^beta.

    The sum runs over `size` neighbouring channels, d from c - size // 2 to c + (size - 1) // 2;
    those that are not there count as zeros. As in PyTorch, alpha is divided by size: that of the
    paper multiplies the sum itself, so pass the paper's times `size`.

    Source: A. Krizhevsky, I. Sutskever and G. Hinton, ImageNet Classification with Deep
    Convolutional Neural Networks, 2012, section 3.3: size 5, beta 0.75, k 2, and 1e-4 on the sum,
    which is alpha=5e-4.

    Raises:
        InvalidAttribute: for an alpha or beta below 0, a k below 2^-126, with which the division
            might be one by 0, and what is infinite in the arithmetic's range.
    """

    name: ClassVar[str] = "local_response_norm"
    kind: ClassVar[OpKind] = OpKind.REDUCTION
    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        check_integer(self, "size", 1)
        check_number(self, "alpha", least=0.0)
        check_number(self, "beta", least=0.0)
        check_number(self, "k", least=UNDERFLOW)

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type; raises RankError or InvalidAttribute."""
        check_operands(self, inputs, input=FLOAT)
        (x,) = inputs
        for field in ("alpha", "beta", "k"):
            check_range(self, field, x.dtype.arithmetic)
        if len(x.shape) < 3:
            raise RankError(
                "the input of local_response_norm has at least 3 dimensions, [N, C, ...]",
                got=str(x),
                wanted="[N, C, sizes]",
                remedy=f"reshape it to {[*x.shape, *(1,) * (3 - len(x.shape))]}",
            )
        return x

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        (x,) = inputs
        y: Array = x / self._base(self._sum(x**2)) ** self.beta
        return y

    def _sum(self, squares: Array) -> Array:
        """The sum over the neighbouring channels."""
        channels = squares.shape[1]
        before, after = min(self.size // 2, channels), min((self.size - 1) // 2, channels)
        total = squares.copy()
        for step in range(1, before + 1):
            total[:, step:] += squares[:, : channels - step]
        for step in range(1, after + 1):
            total[:, : channels - step] += squares[:, step:]
        return total

    def _base(self, total: Array) -> Array:
        return self.k + self.alpha / self.size * total

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """A square and an addition per neighbour, and the scale, the power and the division."""
        neighbours = min(self.size, output.shape[1])
        return Cost(0, (2 * neighbours + 4) * output.size, output.size, output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """The numerator's error, and what the error of the base makes of the power.

        A base b that is off by a share s of it takes the power to at most b^-beta (1 - s)^-beta.
        One that is taken as 2^(beta log2 b) is off by a few units of the exponent, or of 1 where
        the logarithm is near 0.
        """
        x, slack = np.abs(inputs[0]), errors[0]
        squares = self._sum((x + slack) ** 2)
        reach = self._base(squares)
        terms = min(self.size, x.shape[1]) + 6
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            base = self._base(self._sum(x**2))
            off = self.alpha / self.size * self._sum(slack * (2 * x + slack))
            off = off + gamma(terms, unit) * reach
            # The factor may underflow, and squares may.
            off = off + (terms * (1 + self.alpha) + squares) * UNDERFLOW
            # A sum of squares is not negative, so that the base is at least k.
            share = np.minimum(off / base, 1 - self.k * (1 - gamma(terms, unit)) / base)
            exponent = 4 * self.beta * (1 + np.abs(np.log(base)) + np.log1p(off / base))
            own = (TRANSCENDENTAL + exponent) * unit
            growth = np.exp(-self.beta * np.log1p(-share)) * (1 + own)
            change = np.expm1(-self.beta * np.log1p(-share)) * (1 + own) + own
            power = base**self.beta
            bound = np.abs(output) * change + slack / power * growth + UNDERFLOW
            # The power or its inverse may leave the range on the way.
            sizes = (squares, reach, 4 * power * growth, 4 * growth / power)
            return beyond_range(np.maximum.reduce(sizes), bound)


def _column(vector: Array, x: Array) -> Array:
    """A [C] vector that broadcasts along dimension 1 of x."""
    return vector.reshape(-1, *(1,) * (x.ndim - 2))
