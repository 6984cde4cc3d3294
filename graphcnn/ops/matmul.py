"""The product of two matrices, neither of which has to be a param."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import ClassVar

import numpy as np

from graphcnn.errors import RankError, ShapeError
from graphcnn.ir.op import Array, Cost, Op, OpKind, gamma
from graphcnn.ir.types import TensorType
from graphcnn.ops.checks import FLOAT, check_operands
from graphcnn.ops.rounding import UNDERFLOW, beyond_range, sum_noise


@dataclass(frozen=True)
class Matmul(Op):
    """y[..., i, j] = sum over k of a[..., i, k] * b[..., k, j].

    The dimensions before the last two are broadcast against each other.
    """

    name: ClassVar[str] = "matmul"
    kind: ClassVar[OpKind] = OpKind.OPAQUE

    def infer(self, *inputs: TensorType) -> TensorType:
        """[..., I, J]; raises RankError or ShapeError."""
        check_operands(self, inputs, input=FLOAT, other=FLOAT)
        a, b = inputs
        for role, type in (("first", a), ("second", b)):
            if len(type.shape) < 2:
                raise RankError(
                    f"the {role} operand of matmul has at least 2 dimensions",
                    got=str(type),
                    wanted="[..., I, K] and [..., K, J]",
                    remedy=f"reshape it to [1, {type.size}] or [{type.size}, 1]",
                )
        if a.shape[-1] != b.shape[-2]:
            raise ShapeError(
                "matmul: the first operand's last dimension is the second's last but one",
                got=f"{a} and {b}: {a.shape[-1]} against {b.shape[-2]}",
                wanted=f"a second operand [..., {a.shape[-1]}, {b.shape[-1]}]",
                remedy="exchange the last two dimensions of one of them"
                if a.shape[-1] == b.shape[-1] or a.shape[-2] == b.shape[-2]
                else "make the inner sizes agree",
            )
        pairs = list(zip_longest(a.shape[-3::-1], b.shape[-3::-1], fillvalue=1))
        for back, (size, other) in enumerate(pairs, 3):
            if size != other and 1 not in (size, other):
                raise ShapeError(
                    "the operands of matmul broadcast but for their last two dimensions",
                    got=f"{a} and {b}: {size} against {other} in dimension -{back}",
                    wanted=f"{size} or 1",
                    remedy="pass as many matrices on both sides, or one",
                )
        batch = tuple(max(pair) for pair in reversed(pairs))
        return a.with_shape((*batch, a.shape[-2], b.shape[-1]))

    def reference(self, *inputs: Array) -> Array:
        """The formula."""
        with np.errstate(invalid="ignore"):
            y: Array = inputs[0] @ inputs[1]
        return y

    def cost(self, inputs: tuple[TensorType, ...], output: TensorType) -> Cost:
        """A MAC for each product."""
        macs = output.size * inputs[0].shape[-1]
        return Cost(macs, 2 * macs, sum(type.size for type in inputs), output.size)

    def error(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """gamma(n) * sum |a||b|, in any order of summation, plus the operands' errors."""
        terms = inputs[0].shape[-1]
        a, b = np.abs(inputs[0]), np.abs(inputs[1])
        slack = errors[0] @ (b + errors[1]) + a @ errors[1]
        magnitude = a @ b + slack
        return beyond_range(magnitude, slack + gamma(terms, unit) * magnitude + terms * UNDERFLOW)

    def noise(
        self, inputs: tuple[Array, ...], errors: tuple[Array, ...], output: Array, unit: float
    ) -> Array:
        """That of a long sum (see `sum_noise`); the operands' errors add up by their squares."""
        terms = inputs[0].shape[-1]
        a, b = inputs
        magnitude = np.abs(a) @ np.abs(b)
        own = sum_noise(output, a**2 @ b**2, magnitude, terms, unit)
        given = np.sqrt(errors[0] ** 2 @ b**2 + a**2 @ errors[1] ** 2)
        noise = np.hypot(own, given) + 2 * unit * np.abs(output) + terms * UNDERFLOW
        return beyond_range(magnitude, noise)
