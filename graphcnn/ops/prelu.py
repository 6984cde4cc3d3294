"""The rectifier with a learned slope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphcnn.errors import ChannelMismatch, RankError
from graphcnn.ir.op import Array, Op, OpKind
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import FLOAT, check_operands, check_rank
from graphcnn.ops.rounding import UNDERFLOW


@dataclass(frozen=True)
class Prelu(Op):
    """y = x where x > 0, else weight * x: one slope, or one for each channel of x[N, C, ...].

    Source: K. He et al., Delving Deep into Rectifiers, 2015.
    """

    name: ClassVar[str] = "prelu"
    kind: ClassVar[OpKind] = OpKind.BROADCAST

    def infer(self, *inputs: TensorType) -> TensorType:
        """The input's type; raises RankError or ChannelMismatch for a weight that does not fit."""
        check_operands(self, inputs, input=FLOAT, weight=FLOAT)
        x, weight = inputs
        check_rank(self, "weight", weight, "C")
        if weight.size == 1:
            return x
        if len(x.shape) < 2:
            raise RankError(
                "prelu: an input without channels takes one slope",
                got=f"input {x} and weight {weight}",
                wanted="weight[1], or input[N, C, ...]",
                remedy=f"reshape the input to [1, {x.size}], if these are its channels",
            )
        if weight.size != x.shape[1]:
            raise ChannelMismatch(
                "prelu: the weight has one element, or one per channel",
                got=f"weight {weight} for the {x.shape[1]} channels of {x}",
                wanted=f"weight[{x.shape[1]}] or weight[1]",
                remedy="check the number of channels",
            )
        return x

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        x, weight = inputs
        with np.errstate(invalid="ignore"):
            return np.where(x > 0, x, _along_channels(weight, x) * x)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """That of x times the steeper slope, |x| times that of the slope, plus one rounding."""
        x = np.abs(inputs[0])
        slope, wrong = _along_channels(np.abs(inputs[1]), x), _along_channels(errors[1], x)
        slack = errors[0] * np.maximum(1.0, slope + wrong) + x * wrong
        bound: Array = slack + unit * (np.abs(output) + slack) + UNDERFLOW
        return bound


def _along_channels(weight: Array, x: Array) -> Array:
    """One slope, or one for each channel, that broadcasts to x."""
    return weight.reshape(-1, *(1,) * (x.ndim - 2)) if x.ndim else weight[0]
