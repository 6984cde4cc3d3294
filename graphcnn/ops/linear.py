"""The fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphcnn.errors import ChannelMismatch, RankError
from graphcnn.ir.op import Array, Cost, Op, OpKind
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import check_bias, check_operands, check_rank
from graphcnn.ops.rounding import product_error, product_noise


@dataclass(frozen=True)
class Linear(Op):
    """y[..., o] = bias[o] + sum over i of x[..., i] * w[o, i].

    Operands are input[..., I], weight[O, I] and optionally bias[O].
    """

    name: ClassVar[str] = "linear"
    kind: ClassVar[OpKind] = OpKind.ANCHOR

    def infer(self, *inputs: TensorType) -> TensorType:
        """[..., O]; raises RankError, ChannelMismatch or ShapeError."""
        check_operands(self, inputs, ("input", "weight"), "bias")
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

    def reference(self, *inputs: Array) -> Array:
        """A matrix product."""
        y = _product(inputs[0], inputs[1])
        return y + inputs[2] if len(inputs) == 3 else y

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """I MACs per output element."""
        macs = output.size * inputs[1].shape[1]
        biased = output.size if len(inputs) == 3 else 0
        return Cost(macs, 2 * macs + biased, sum(type.size for type in inputs), output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """gamma(n) * sum |x||w|, in any order of summation, plus the operands' errors."""
        terms = inputs[1].shape[1] + 2
        return product_error(_product, inputs, errors, terms, unit)

    def noise(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """That of a long sum, from a second pass over squares."""
        terms = inputs[1].shape[1] + 2
        return product_noise(_product, inputs, errors, output, terms, unit)


def _product(x: Array, weight: Array) -> Array:
    y: Array = x @ weight.T
    return y
