"""Batch normalisation at inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn.errors import ChannelMismatch, InvalidAttribute, RankError
from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import FLOAT, check_number, check_operands, check_range
from graphcnn.ops.rounding import UNDERFLOW, beyond_range

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


def _column(vector: Array, x: Array) -> Array:
    """A [C] vector that broadcasts along dimension 1 of x."""
    return vector.reshape(-1, *(1,) * (x.ndim - 2))
