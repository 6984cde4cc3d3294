"""The fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import ChannelMismatch, RankError
from graphcnn.ir.op import Array
from graphcnn.ir.types import TensorType
from graphcnn.ops.anchor import Anchor
from graphcnn.ops.checks import FLOAT, check_bias, check_operands, check_rank


@dataclass(frozen=True)
class Linear(Anchor):
    """y[..., o] = bias[o] + sum over i of x[..., i] * w[o, i].

    Operands are input[..., I], weight[O, I] and optionally bias[O].
    """

    name: ClassVar[str] = "linear"
    channel_axis: ClassVar[int] = -1

    def infer(self, *inputs: TensorType) -> TensorType:
        """[..., O]; raises RankError, ChannelMismatch or ShapeError."""
        check_operands(self, inputs, 2, input=FLOAT, weight=FLOAT, bias=FLOAT)
        x, weight = inputs[:2]
        check_rank(self, "weight", weight, "O, I")
        if len(x.shape) < 2:
            raise RankError(
                "the input of linear has at least 2 dimensions, [N, I]",
                got=str(x),
                wanted="[N, I]",
                remedy=f"reshape it to [1, {x.size}]",
            )
        if x.shape[-1] != weight.shape[1]:
            flat = x.size // x.shape[0]
            raise ChannelMismatch(
                "linear: the input's last dimension is the weight's second",
                got=f"input {x} has {x.shape[-1]} features, weight {weight} reads "
                f"{weight.shape[1]}",
                wanted=f"weight[{weight.shape[0]}, {x.shape[-1]}]",
                remedy="put flatten(x) in front of it"
                if flat == weight.shape[1]
                else f"use a weight for {x.shape[-1]} features",
            )
        check_bias(self, inputs, weight.shape[0])
        return x.with_shape((*x.shape[:-1], weight.shape[0]))

    def _product(self, x: Array, weight: Array) -> Array:
        y: Array = x @ weight.T
        return y
